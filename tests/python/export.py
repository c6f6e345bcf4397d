#!/usr/bin/env python3
"""Compares what `featurize export` writes, run by ONNX Runtime, with the program: all families, 200 pictures.

    pip install numpy onnx onnxruntime pyarrow torch torchvision timm keras tensorflow-cpu h5py
    python tests/python/export.py                     # target/release/featurize; a network of each family
    python tests/python/export.py resnet18 vgg16      # these networks
    python tests/python/export.py --all --few         # every network, 20 pictures: hours

Each network, as each library has it, gets random weights and the smallest picture size that it takes, and logistic
regression classifies 200 pictures that it has not seen. Some networks get the weights of `zoo.py` instead: their random
ones make values so large that every forward pass in float32, ours, ONNX Runtime's and torch's, is 3e-5 away from
float64. A convolutional network, one of tokens and one of windows are
run in every other way, too: features, selection, scale, components, classifiers, calibration. The exported file is
checked by `onnx.checker`. For the program's own prepared pictures ONNX Runtime must give the features of the run
(‖a − b‖ ≤ 1e-5 ‖b‖) and its probabilities (1e-4 and the same class). Exit code 1 when a number differs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.dataset as ds

ROOT = Path(__file__).resolve().parents[2]
FRUITS = ROOT / "data" / "fruits"
CLASSES = ["Apple", "Banana", "Cherry", "Grape", "Kiwi", "Lemon", "Orange", "Pear", "Pineapple", "Strawberry"]
FEATURES, PROBABILITIES = 1e-5, 1e-4
# pictures that ONNX Runtime gets at a time
BATCH = 8
# the sizes that are tried until a network takes one
SIDES = (64, 70, 96, 128, 160, 224, 256, 384)
# what a network says of a size that it does not take
REFUSED = ("does not fit", "are not divided into patches", "do not fill the maps")
# the smallest network of each family
FAMILIES = (
    "efficientnet_lite0 alexnet vgg11 vgg11_bn googlenet inception_v3 inception_resnet_v2 resnet18 resnet50v2 xception "
    "mobilenet_v2 densenet121 efficientnet_b0 tf_efficientnet_b0 efficientnetv2_b0 nasnet_mobile mobilenet "
    "mobilenet_v3_small tf_mobilenet_v3_small resnext50_32x4d wide_resnet50_2 squeezenet1_1 mnasnet0_5 "
    "shufflenet_v2_x0_5 convnext_tiny regnet_y_400mf regnet_x_400mf vit_b_32 vit_tiny_patch16_224 "
    "deit_tiny_patch16_224 vit_small_patch14_dinov2 vit_small_patch14_reg4_dinov2 vit_base_patch32_clip_quickgelu_224 "
    "vit_base_patch32_clip_224 resnet50_clip vit_base_patch16_siglip_224 swin_t swin_tiny_patch4_window7_224 swin_v2_t "
    "swinv2_tiny_window8_256"
).split()
LOGISTIC = {"reduce": {"scale": "standard"}, "train": {"logistic": {}}}
# the networks with the weights of `zoo.py`
TAME = ("mobilenet_v2", "efficientnetv2_b0")
# other ways of a run
WAYS = {
    "mlp": {"reduce": {"scale": "standard"}, "train": {"mlp": {"hidden": [16], "seed": 1}}},
    "mlp, PCA, calibrated": {
        "reduce": {"scale": "standard", "pca": {"components": 8, "whiten": True}},
        "train": {"mlp": {"hidden": [8, 4], "activation": "tanh", "seed": 7}, "calibrate": "temperature"},
    },
    "logistic, selected": {"select": {"top_k": 100}, **LOGISTIC},
    "logistic, SVD": {"reduce": {"scale": "l2", "svd": {"components": 8}}, "train": {"logistic": {}}},
    "logistic, calibrated": {"train": {"logistic": {}, "calibrate": "temperature"}},
    "knn": {"train": {"knn": {"k": 3, "weights": "distance"}}},
    "knn, calibrated": {"train": {"knn": {"k": 5, "metric": "euclidean"}, "calibrate": "temperature"}},
    **{f"logistic of {kind}": {"extract": {"features": kind}, **LOGISTIC} for kind in ("avg", "max", "flatten")},
}
OF_TOKENS = {f"logistic of {kind}": {"extract": {"features": kind}, **LOGISTIC} for kind in ("cls", "avg", "flatten")}
EVERY_WAY = {"resnet18": WAYS, "vit_tiny_patch16_224": {**WAYS, **OF_TOKENS}, "swinv2_tiny_window8_256": WAYS}


def call(binary, *arguments):
    done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


def weights_of(folder, name, source):
    """The word for random weights, or a file with those of `zoo.py`."""
    if name not in TAME:
        return "random"
    sys.path.insert(0, str(ROOT / "tests" / "golden"))
    import zoo
    import torch

    pair = next(pair for pair in zoo.PAIRS if pair.key == f"{name}.{source}")
    if source == "keras":
        zoo.keras_model(pair, "float32").save_weights(folder / "tame.weights.h5")
        return str(folder / "tame.weights.h5")
    torch.save(zoo.torch_model(pair).state_dict(), folder / "tame.pth")
    return str(folder / "tame.pth")


def pipeline(name, source, weights, side, few, way):
    way = {**way, "extract": {"model": name, "source": source, "weights": weights, "recipe": {"size": side},
                              **way.get("extract", {})}}  # fmt: skip
    return {
        "version": 1,
        "name": name.replace("/", "_"),
        "input": {
            "root": str(FRUITS),
            # the larger folder is the one to be classified
            "split": {"train": "Test/**", "test": "Training/**"},
            "classes": CLASSES,
            "limit_per_class": 2 if few else {"train": 6, "test": 20},
        },
        "output": {"layout": "array"},
        **way,
    }


def rows(folder, column=None):
    """Of the test pictures the lists of numbers in a column, or the probabilities."""
    table = ds.dataset(folder).to_table(filter=ds.field("split") == "test").sort_by("path")
    if column is None:
        names = [name for name in table.column_names if name.startswith("p_")]
        return np.stack([table.column(name).to_numpy() for name in names], axis=1).astype(np.float32)
    lists = table.column(column).combine_chunks()
    return pa.compute.list_flatten(lists).to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(lists), -1)


def run(binary, folder, name, source, weights, few, way):
    """Runs the pipeline in the smallest size that the network takes."""
    for side in SIDES:
        yaml = folder / "pipeline.yaml"
        yaml.write_text(json.dumps(pipeline(name, source, weights, side, few, way)))
        try:
            call(binary, "run", yaml, "--out", folder / "run", "--quiet")
            return side
        except RuntimeError as error:
            if not any(words in str(error) for words in REFUSED) or side == SIDES[-1]:
                raise
    return None


def compare(binary, folder, name, source, few, way):
    """How far features and probabilities are apart, whether all classes are the same, and what `export` says."""
    weights = weights_of(folder, name, source)
    side = run(binary, folder, name, source, weights, few, way)
    out, path = folder / "run", folder / "export.onnx"
    said = call(binary, "export", out, "--onnx", path).splitlines()[-1].strip()
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(str(path))
    assert [entry.version for entry in model.opset_import] == [17]
    model.graph.output.append(onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    # the prepared pictures, as the program itself has them
    yaml = folder / "input.yaml"
    prepared = pipeline(name, source, weights, side, few, {"extract": {"layer": "input", "features": "flatten"}})
    yaml.write_text(json.dumps(prepared))
    call(binary, "run", yaml, "--out", folder / "input", "--quiet")
    channels = session.get_inputs()[0].shape[1]
    pictures = rows(folder / "input" / "features", "features").reshape(-1, side, side, channels).transpose(0, 3, 1, 2)
    found = []
    for first in range(0, len(pictures), BATCH):
        batch = np.ascontiguousarray(pictures[first : first + BATCH])
        found.append(session.run(["features", "probabilities"], {"input": batch}))
    features, probabilities = (np.concatenate([batch[i] for batch in found]) for i in range(2))
    own, wanted = rows(out / "features", "features"), rows(out / "predictions.parquet")
    assert features.shape == own.shape and probabilities.shape == wanted.shape and len(own) == (20 if few else 200)
    far = max(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30) for a, b in zip(features, own))
    clear = np.diff(np.sort(wanted, axis=1))[:, -1] > 2 * PROBABILITIES
    same = (probabilities.argmax(1) == wanted.argmax(1))[clear].all()
    return side, far, np.abs(probabilities - wanted).max(), same, said


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--few", action="store_true")
    parser.add_argument("--binary", default=str(ROOT / "target" / "release" / "featurize"))
    options = parser.parse_args()
    wrong, worst = [], {}
    known = [json.loads(line) for line in call(options.binary, "models", "list", "--json").splitlines()]
    wanted = options.models or ([model["name"] for model in known] if options.all else FAMILIES)
    for model in (model for model in known if model["name"] in wanted):
        name, sources = model["name"], sorted({weights["source"] for weights in model["weights"]})
        ways = [(source, "logistic", LOGISTIC) for source in sources]
        ways += [("timm", title, way) for title, way in EVERY_WAY.get(name, {}).items()]
        for source, title, way in ways:
            start = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                try:
                    side, far, apart, same, said = compare(
                        options.binary, Path(folder), name, source, options.few, way
                    )
                    text = f"{side:4} {far:8.1e} {apart:8.1e} {time.monotonic() - start:4.0f} s  {said}"
                    right = far <= FEATURES and apart <= PROBABILITIES and same
                    old = worst.get(title, (0, 0, 0))
                    worst[title] = (old[0] + 1, max(old[1], far), max(old[2], apart))
                except (RuntimeError, AssertionError, onnx.checker.ValidationError) as error:
                    text, right = str(error) or repr(error), False
            print(f"{name:36} {source:11} {title:22} {text}{'' if right else '  WRONG'}", flush=True)
            wrong += [] if right else [f"{name} ({source}, {title})"]
    print("\n| run | runs | features | probabilities |\n|---|---|---|---|")
    for title, (count, far, apart) in worst.items():
        print(f"| {title} | {count} | {far:.1e} | {apart:.1e} |")
    print(f"{len(wrong)} wrong: {', '.join(wrong)}" if wrong else "all right")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
