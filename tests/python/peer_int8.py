"""int8 beside OpenVINO's, end to end: a folder of photographs -> features -> Parquet, in alternating rounds.

usage: peer_int8.py FEATURIZE FOLDER [--models resnet50,vgg16,...] [--rounds 6] [--cache DIR] [--threads 2]

FEATURIZE is the program, FOLDER has photographs; needs torch, torchvision, timm, openvino, nncf, polars. OpenVINO's
network is that of NNCF's `quantize` with its defaults, calibrated on the 64 pictures whose paths have the smallest
hashes, as ours is; weights are random (He) where no package ships them, since speed does not depend on their values.
Decoding, resizing and writing count, start-up and the reading of weights do not, on either side. Prints a line a round,
then the median and the worst ratio of each network, and how far NNCF's features are from its own f32
(‖a − b‖ / ‖b‖, median over the pictures).
"""
import argparse, glob, hashlib, json, os, statistics, subprocess, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor
import numpy as np

ap = argparse.ArgumentParser()
ap.add_argument('featurize'); ap.add_argument('folder')
ap.add_argument('--models', default='resnet50,vgg16,inception_v3,xception,efficientnet_lite0')
ap.add_argument('--rounds', type=int, default=6)
ap.add_argument('--threads', type=int, default=2)
ap.add_argument('--batch', type=int, default=32)
ap.add_argument('--cache', default=os.path.join(tempfile.gettempdir(), 'peer_int8'))
a = ap.parse_args()
os.makedirs(a.cache, exist_ok=True)
ENDINGS = ('.jpg', '.jpeg', '.png')
files = sorted(f for f in glob.glob(os.path.join(a.folder, '**', '*'), recursive=True) if f.lower().endswith(ENDINGS))
SIZES = {'inception_v3': 299, 'xception': 299}


def load(path, size):
    from PIL import Image
    return np.asarray(Image.open(path).convert('RGB').resize((size, size), Image.BILINEAR), dtype=np.float32)


def prepared(pictures):
    return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2)) / 127.5 - 1


def torch_model(name):
    import timm, torch, torchvision
    torch.manual_seed(0)
    make = {'resnet50': lambda: torchvision.models.resnet50(), 'vgg16': lambda: torchvision.models.vgg16(),
            'inception_v3': lambda: timm.create_model('inception_v3'),
            'xception': lambda: timm.create_model('legacy_xception'),
            'efficientnet_lite0': lambda: timm.create_model('tf_efficientnet_lite0')}[name]
    model = make().eval()
    if name == 'resnet50':
        model.fc = torch.nn.Identity()
    elif name == 'vgg16':
        model = torch.nn.Sequential(model.features, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    else:
        model.reset_classifier(0)
    return model


def openvino_networks(name):
    """The f32 and the int8 network, compiled."""
    import nncf, openvino as ov, torch
    size, path = SIZES.get(name, 224), os.path.join(a.cache, f'{name}.xml')
    core, int8 = ov.Core(), os.path.join(a.cache, f'{name}_int8.xml')
    if not os.path.exists(int8):
        example = torch.zeros(2, 3, size, size)
        network = ov.convert_model(torch_model(name), example_input=example, input=[-1, 3, size, size])
        ov.save_model(network, path, compress_to_fp16=False)
        chosen = sorted(files, key=lambda f: hashlib.sha256(os.path.relpath(f, a.folder).encode()).digest())[:64]
        pictures = nncf.Dataset([prepared([load(f, size)]) for f in chosen])
        ov.save_model(nncf.quantize(core.read_model(path), pictures, subset_size=64), int8)
    settings = {'INFERENCE_NUM_THREADS': a.threads, 'INFERENCE_PRECISION_HINT': 'f32', 'PERFORMANCE_HINT': 'LATENCY'}
    return [core.compile_model(file, 'CPU', settings) for file in (path, int8)]


def theirs(name, network):
    import polars as pl
    size, out = SIZES.get(name, 224), []
    network([prepared([np.zeros((size, size, 3), 'f')] * a.batch)])
    start = time.perf_counter()
    with ThreadPoolExecutor(a.threads) as pool:
        ahead = [pool.submit(load, f, size) for f in files[:a.batch]]
        for i in range(0, len(files), a.batch):
            now, ahead = ahead, [pool.submit(load, f, size) for f in files[i + a.batch:i + 2 * a.batch]]
            out.append(network([prepared([one.result() for one in now])])[0].copy())
    features = np.concatenate(out).reshape(len(files), -1)
    columns = pl.DataFrame({f'f{i:05d}': features[:, i] for i in range(features.shape[1])})
    table = pl.DataFrame({'path': files}).hstack(columns)
    table.write_parquet(os.path.join(a.cache, 'theirs.parquet'), compression='zstd', statistics=False)
    return len(files) / (time.perf_counter() - start), features


def ours(name):
    with tempfile.TemporaryDirectory() as folder:
        pipeline, out = os.path.join(folder, 'p.yaml'), os.path.join(folder, 'out')
        weights = 'default' if name == 'efficientnet_lite0' else 'random'
        with open(pipeline, 'w') as file:
            file.write(f'version: 1\nname: peer\ninput: {{root: {json.dumps(os.path.abspath(a.folder))}}}\n'
                       f'extract: {{model: {name}, weights: {weights}, precision: int8}}\n'
                       f'runtime: {{device: cpu, threads: {a.threads}}}\n')
        command = [a.featurize, 'run', pipeline, '--out', out, '--until', 'extract']
        subprocess.run(command, check=True, capture_output=True)
        with open(os.path.join(out, 'run.json')) as file:
            timing = json.load(file)['extract']['timing']
        return timing['pictures'] / (timing['wall'] - timing['load'])


for name in a.models.split(','):
    f32, int8 = openvino_networks(name)
    near, far = theirs(name, f32)[1], theirs(name, int8)[1]
    error = np.median(np.linalg.norm(near - far, axis=1) / np.linalg.norm(near, axis=1))
    ratios = []
    for round in range(a.rounds):
        pair = (ours(name), theirs(name, int8)[0]) if round % 2 == 0 else (theirs(name, int8)[0], ours(name))[::-1]
        ratios.append(pair[0] / pair[1])
        print(f'{name} round {round + 1}: ours {pair[0]:.1f}, OpenVINO int8 {pair[1]:.1f} images/s, '
              f'ratio {ratios[-1]:.2f}', flush=True)
    print(f'{name}: median ratio {statistics.median(ratios):.2f}, worst {min(ratios):.2f}; '
          f'NNCF is {100 * error:.2f} % from f32', flush=True)
