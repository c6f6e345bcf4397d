#!/usr/bin/env python3
"""The speed from a folder of photographs to Parquet beside OpenVINO and ONNX Runtime on the CPU, in alternating rounds.

    pip install numpy onnx onnxruntime openvino pillow polars safetensors timm torch torchvision; int8 wants nncf, too
    python tests/python/peer_cpu.py target/release/featurize FOLDER
    python tests/python/peer_cpu.py target/release/featurize FOLDER --precision bf16 --models convnext_tiny,resnet50
    python tests/python/peer_cpu.py target/release/featurize FOLDER --precision int8 --models vgg16,xception.timm

A model is a network of torchvision by its name there, or `NAME.timm` of timm. Its weights are random, since speed does
not depend on their values, and all sides have the same: the script writes them into a file that featurize reads. (The
weights of EfficientNet-Lite0, which ship, are real.) All sides stretch the pictures to the network's size by Pillow's
bilinear filter, and features of f32 must agree: the exit code is 1 where the median of ‖a − b‖ / ‖b‖ is over 1e-4.

Decoding, resizing and writing count, start-up and the reading of weights do not, on any side. The peers decode the next
batch in threads of their own while the network computes. OpenVINO gets f32, `INFERENCE_PRECISION_HINT: bf16`, or the
network of NNCF's `quantize` with its defaults, calibrated on the 64 pictures whose paths have the smallest hashes, as
ours is. ONNX Runtime takes part in f32. Each round measures all sides, in an order that turns, and gives the ratio to
the faster peer; the last line of a network has median and worst ratio, and how far the features are from OpenVINO's in
f32. `--json FILE` keeps a line a network.
"""

import argparse
import hashlib
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import polars as pl
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "data" / "weights" / "efficientnet_lite0.f16.safetensors"
MODELS = {
    "f32": "mobilenet_v3_large,efficientnet_b0,convnext_tiny,regnet_y_3_2gf,resnext50_32x4d,"
    "resnet50,vgg16,inception_v3.timm,xception.timm,efficientnet_lite0.timm,"
    "vit_small_patch16_224.timm,vit_base_patch16_224.timm,vit_small_patch14_dinov2.timm,swin_t",
    "bf16": "convnext_tiny,resnet50,"
    "vit_small_patch16_224.timm,vit_base_patch16_224.timm,vit_small_patch14_dinov2.timm,swin_t",
    "int8": "resnet50,vgg16,inception_v3.timm,xception.timm,efficientnet_lite0.timm",
}
# names that differ from ours
IN_TIMM = {
    "xception": "legacy_xception",
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "mobilenet_v3_large": "mobilenetv3_large_100",
}
SIZES = {"inception_v3": 299, "xception": 299}
INSTRUCTIONS = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "asimd", "asimddp"]
ENDINGS = {".jpg", ".jpeg", ".png"}
LIMIT = 1e-4


def torch_network(name, source, size):
    """The network without its classifier, and its weights."""
    torch.manual_seed(0)
    make = timm.create_model if source == "timm" else torchvision.models.get_model
    resized = {"img_size": size} if "dinov2" in name else {}
    network = make(IN_TIMM.get(name, name) if source == "timm" else name, **resized).eval()
    if name == "efficientnet_lite0":
        network.load_state_dict({key: tensor.float() for key, tensor in load_file(SHIPPED).items()}, strict=False)
    else:
        # batch norms get the statistics of noise, so that no layer gives values that are all but zero or infinite
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.train().momentum = 1.0
        with torch.inference_mode():
            network(torch.randn(4, 3, size, size))
    network.eval()
    state = network.state_dict()
    if source == "timm":
        network.reset_classifier(0)
    else:
        if name.startswith("vgg"):
            network = torch.nn.Sequential(network.features, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        else:
            last = [key for key, module in network.named_modules() if isinstance(module, torch.nn.Linear)][-1]
            network.set_submodule(last, torch.nn.Identity())
    return network, {key: tensor.contiguous() for key, tensor in state.items() if "num_batches" not in key}


class Bench:
    """One network on all sides."""

    def __init__(self, model, options, files):
        self.name, _, source = model.partition(".")
        self.source, self.options, self.files = source or "torchvision", options, files
        self.size = SIZES.get(self.name, 224)
        self.file = options.cache / f"{model}.safetensors"
        self.onnx = options.cache / f"{model}.onnx"
        if not self.onnx.exists():
            network, state = torch_network(self.name, self.source, self.size)
            save_file(state, self.file)
            example, free = torch.zeros(2, 3, self.size, self.size), {0: "n"}
            torch.onnx.export(
                network, example, self.onnx, dynamo=False, opset_version=17, input_names=["x"], output_names=["y"],
                dynamic_axes={"x": free, "y": free},
            )  # fmt: skip
        self.peers = {"OpenVINO": self.openvino(options.precision)}
        if options.precision == "f32":
            self.peers["ONNX Runtime"] = self.onnxruntime()

    def load(self, path):
        return np.asarray(Image.open(path).convert("RGB").resize((self.size, self.size), Image.BILINEAR), np.float32)

    @staticmethod
    def prepared(pictures):
        return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2)) / np.float32(127.5) - np.float32(1)

    def openvino(self, precision):
        network = self.onnx
        if precision == "int8":
            network = self.onnx.with_suffix(".int8.xml")
            if not network.exists():
                import nncf

                folder = self.options.folder
                by_hash = sorted(self.files, key=lambda f: hashlib.sha256(str(f.relative_to(folder)).encode()).digest())
                pictures = nncf.Dataset([self.prepared([self.load(file)]) for file in by_hash[:64]])
                openvino.save_model(nncf.quantize(openvino.Core().read_model(self.onnx), pictures), network)
        settings = {
            "INFERENCE_NUM_THREADS": self.options.threads,
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = openvino.Core().compile_model(network, "CPU", settings)
        return lambda batch: compiled([batch])[0].copy()

    def onnxruntime(self):
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = self.options.threads
        session = onnxruntime.InferenceSession(self.onnx, settings, providers=["CPUExecutionProvider"])
        return lambda batch: session.run(None, {"x": batch})[0]

    def theirs(self, network):
        """Images a second, and the features."""
        batch, threads, out = self.options.batch, self.options.threads, []
        network(self.prepared([np.zeros((self.size, self.size, 3), np.float32)] * batch))
        start = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            ahead = [pool.submit(self.load, file) for file in self.files[:batch]]
            for i in range(0, len(self.files), batch):
                now, ahead = ahead, [pool.submit(self.load, file) for file in self.files[i + batch : i + 2 * batch]]
                out.append(network(self.prepared([picture.result() for picture in now])))
        features = np.concatenate(out).reshape(len(self.files), -1)
        columns = pl.DataFrame({f"f{i:05d}": features[:, i] for i in range(features.shape[1])})
        table = pl.DataFrame({"path": [str(file) for file in self.files]}).hstack(columns)
        table.write_parquet(self.options.cache / "theirs.parquet", compression="zstd", statistics=False)
        return len(self.files) / (time.perf_counter() - start), features

    def ours(self):
        recipe = {"size": [self.size] * 2, "fit": "stretch", "resize": "bilinear", "crop_pct": 1.0}
        recipe |= {"channels": "rgb", "divisor": 255, "mean": [0.5] * 3, "std": [0.5] * 3}
        extract = {"model": self.name, "source": self.source, "weights": str(self.file), "recipe": recipe}
        pipeline = {
            "version": 1,
            "name": "peer",
            "input": {"root": str(self.options.folder)},
            "extract": extract | {"features": "pooled", "precision": self.options.precision},
            "runtime": {"device": "cpu", "threads": self.options.threads, "kernels": self.options.kernels},
        }
        with tempfile.TemporaryDirectory() as folder:
            yaml, out = Path(folder) / "p.yaml", Path(folder) / "out"
            yaml.write_text(json.dumps(pipeline))  # JSON is YAML
            command = [self.options.featurize, "run", yaml, "--out", out, "--until", "extract", "-q"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(done.stderr)
            timing = json.loads((out / "run.json").read_text())["extract"]["timing"]
            table = pl.read_parquet(out / "features" / "*.parquet").sort("path")
        features = table.drop("path", "label", "split", strict=False).to_numpy()
        return timing["pictures"] / (timing["wall"] - timing["load"]), features

    def sides(self):
        peers = {name: lambda peer=peer: self.theirs(peer) for name, peer in self.peers.items()}
        return {"featurize": self.ours} | peers


def far(a, b):
    """The median over the pictures of ‖a − b‖ / ‖b‖."""
    return float(np.median(np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)))


def measure(model, options, files):
    bench = Bench(model, options, files)
    exact = bench.theirs(bench.openvino("f32"))[1]
    sides, ratios, rates = bench.sides(), [], {name: [] for name in bench.sides()}
    for round in range(options.rounds):
        turn, features = round % len(sides), {}
        for name in [*sides][turn:] + [*sides][:turn]:
            rate, features[name] = sides[name]()
            rates[name].append(rate)
        ours, *theirs = (rates[name][-1] for name in sides)
        ratios.append(ours / max(theirs))
        told = ", ".join(f"{name} {rates[name][-1]:.1f}" for name in sides)
        print(f"{model} {options.precision} round {round + 1}: {told} images/s, ratio {ratios[-1]:.2f}", flush=True)
    apart = {name: far(values, exact) for name, values in features.items()}
    told = ", ".join(f"{name} {value:.1e}" for name, value in apart.items())
    median, worst = statistics.median(ratios), min(ratios)
    print(f"{model} {options.precision}: median ratio {median:.2f}, worst {worst:.2f}; from f32: {told}", flush=True)
    if options.json:
        with options.json.open("a") as file:
            row = {"model": model, "precision": options.precision, "median": median, "worst": worst}
            file.write(json.dumps(row | {"rates": rates, "apart": apart}) + "\n")
    return options.precision != "f32" or max(apart.values()) <= LIMIT


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("featurize", type=Path, help="the program")
    parser.add_argument("folder", type=Path, help="photographs, in any folders below it")
    parser.add_argument("--precision", choices=MODELS, default="f32")
    parser.add_argument("--models", help="separated by commas; default: those of docs/benchmarks.md")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kernels", default="auto", help="ours: runtime.kernels")
    parser.add_argument("--batch", type=int, default=32, help="of the peers")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "peer_cpu", help="for networks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="numbers, a line a network")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    options.folder, options.featurize = options.folder.resolve(), options.featurize.resolve()
    files = [file for file in options.folder.rglob("*") if file.suffix.lower() in ENDINGS]
    files.sort(key=lambda file: file.relative_to(options.folder).as_posix())
    known = Path("/proc/cpuinfo").read_text().split()
    cpu = openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")
    print(f"{cpu}: {', '.join(name for name in INSTRUCTIONS if name in known)}")
    versions = f"OpenVINO {openvino.__version__}, ONNX Runtime {onnxruntime.__version__}"
    settings = f"{options.threads} threads, kernels {options.kernels}"
    print(f"{len(files)} pictures, {settings}, {versions}, Python {platform.python_version()}")
    models = (options.models or MODELS[options.precision]).split(",")
    sys.exit(not all([measure(model, options, files) for model in models]))


if __name__ == "__main__":
    main()
