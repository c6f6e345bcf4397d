#!/usr/bin/env python3
"""The speed of networks on a GPU beside PyTorch on the same GPU, in alternating rounds.

    pip install numpy pillow polars timm torch torchvision
    python tests/python/peer_gpu.py target/release/featurize                       # forward passes alone
    python tests/python/peer_gpu.py target/release/featurize --folder PICTURES     # and from the folder to Parquet
    python tests/python/peer_gpu.py target/release/featurize --make 10000 PICTURES # first make that many pictures

featurize must be built with `--features cudnn`. Forward passes have batches of 256 pictures and random weights:
`featurize bench` beside PyTorch in channels_last, eager and (`--compile`) by torch.compile with max-autotune, under
autocast for bf16 and f16, with tf32 off for f32. From the folder to Parquet, PyTorch has a DataLoader with as many
workers as featurize has threads, which decode and resize by Pillow, and polars writes its table. Start-up and the
reading of weights do not count. Each round measures all sides, in an order that turns; the last line of a network has
median and worst ratio. The memory and the busy share of the GPU come from nvidia-smi, sampled while a side runs.

`--device cpu` tries the script itself where there is no GPU; its numbers mean nothing then.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import timm
import torch
import torchvision
from PIL import Image

MODELS = "resnet50,vgg16,inception_v3.timm,xception.timm,efficientnet_lite0.timm,vit_base_patch16_224.timm"
IN_TIMM = {"xception": "legacy_xception", "efficientnet_lite0": "tf_efficientnet_lite0"}
SIZES = {"inception_v3": 299, "xception": 299}
TYPES = {"f32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
MEAN = STD = 0.5


class Watch(threading.Thread):
    """Samples memory and use of the GPU until it is asked."""

    def __init__(self, device):
        super().__init__(daemon=True)
        self.over, self.memory, self.busy = threading.Event(), [], []
        if device.startswith("cuda"):
            self.start()

    def run(self):
        command = ["nvidia-smi", "--query-gpu=memory.used,utilization.gpu", "--format=csv,noheader,nounits"]
        while not self.over.wait(0.1):
            first = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[0]
            memory, busy = (float(value) for value in first.split(","))
            self.memory.append(memory)
            self.busy.append(busy)

    def told(self):
        self.over.set()
        return f"{max(self.memory):.0f} MiB, busy {statistics.mean(self.busy):.0f} %" if self.memory else "not sampled"


class Pictures(torch.utils.data.Dataset):
    """Photographs as the network of PyTorch takes them."""

    def __init__(self, files, size):
        self.files, self.size = files, size

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        picture = Image.open(self.files[i]).convert("RGB").resize((self.size, self.size), Image.BILINEAR)
        return torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy())


class Bench:
    """One network on all sides."""

    def __init__(self, model, options):
        self.name, _, source = model.partition(".")
        self.source, self.options = source or "torchvision", options
        self.size = SIZES.get(self.name, 224)
        torch.manual_seed(0)
        if self.source == "timm":
            network = timm.create_model(IN_TIMM.get(self.name, self.name), num_classes=0)
        else:
            network = torchvision.models.get_model(self.name)
            last = [key for key, module in network.named_modules() if isinstance(module, torch.nn.Linear)][-1]
            network.set_submodule(last, torch.nn.Identity())
        self.network = network.eval().to(options.device, memory_format=torch.channels_last)
        self.compiled = torch.compile(self.network, mode="max-autotune") if options.compile else None

    def synchronize(self):
        if self.options.device.startswith("cuda"):
            torch.cuda.synchronize()

    def run(self, network, batch):
        """Features of a batch of bytes (n, 3, h, w)."""
        batch = batch.to(self.options.device, non_blocking=True).to(memory_format=torch.channels_last)
        kind, dtype = self.options.device.split(":")[0], TYPES[self.options.precision]
        with torch.inference_mode(), torch.autocast(kind, dtype, enabled=dtype != torch.float32):
            return network(batch.float().div_(255).sub_(MEAN).div_(STD))

    def theirs(self, network):
        batch = torch.zeros(self.options.batch, 3, self.size, self.size, dtype=torch.uint8, device=self.options.device)
        for _ in range(3):
            self.run(network, batch)
        self.synchronize()
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < self.options.seconds:
            self.run(network, batch)
            self.synchronize()
            done += len(batch)
        return done / (time.perf_counter() - start)

    def ours(self):
        command = [self.options.featurize, "bench", "--model", self.name, "--source", self.source, "--json"]
        command += ["--device", self.options.device, "--precision", self.options.precision]
        command += ["--batch-size", self.options.batch, "--seconds", self.options.seconds]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)
        return json.loads(done.stdout)["forward_images_per_s"]

    def their_table(self, files):
        loader = torch.utils.data.DataLoader(
            Pictures(files, self.size), self.options.batch, num_workers=self.options.threads, pin_memory=True
        )
        self.run(self.network, torch.zeros(self.options.batch, 3, self.size, self.size, dtype=torch.uint8))
        start = time.perf_counter()
        rows = [self.run(self.network, batch).float().cpu().numpy() for batch in loader]
        features = np.concatenate(rows).reshape(len(files), -1)
        columns = {f"f{i:05d}": features[:, i] for i in range(features.shape[1])}
        table = pl.DataFrame({"path": [str(file) for file in files], **columns})
        with tempfile.TemporaryDirectory() as folder:
            table.write_parquet(Path(folder) / "theirs.parquet", compression="zstd", statistics=False)
        return len(files) / (time.perf_counter() - start)

    def our_table(self, files):
        recipe = {"size": [self.size] * 2, "fit": "stretch", "resize": "bilinear", "crop_pct": 1.0}
        recipe |= {"channels": "rgb", "divisor": 255, "mean": [MEAN] * 3, "std": [STD] * 3}
        extract = {"model": self.name, "source": self.source, "weights": "random", "recipe": recipe}
        runtime = {"device": self.options.device, "threads": self.options.threads, "batch_size": self.options.batch}
        pipeline = {
            "version": 1,
            "name": "peer",
            "input": {"root": str(self.options.folder)},
            "extract": extract | {"features": "pooled", "precision": self.options.precision},
            "runtime": runtime,
        }
        with tempfile.TemporaryDirectory() as folder:
            yaml, out = Path(folder) / "p.yaml", Path(folder) / "out"
            yaml.write_text(json.dumps(pipeline))  # JSON is YAML
            command = [self.options.featurize, "run", yaml, "--out", out, "--until", "extract", "-q"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(done.stderr)
            timing = json.loads((out / "run.json").read_text())["extract"]["timing"]
        print(f"  seconds of featurize: {json.dumps(timing)}", flush=True)
        return timing["pictures"] / (timing["wall"] - timing["load"])


def measure(title, sides, options):
    """Rates of all sides in alternating rounds; the first side is ours."""
    rates, watched = {name: [] for name in sides}, {}
    for round in range(options.rounds):
        turn = round % len(sides)
        for name in [*sides][turn:] + [*sides][:turn]:
            watch = Watch(options.device)
            rates[name].append(sides[name]())
            watched[name] = watch.told()
        print(f"{title} round {round + 1}: " + ", ".join(f"{name} {rates[name][-1]:.1f}" for name in sides), flush=True)
    ours, *others = sides
    for other in others:
        ratios = [a / b for a, b in zip(rates[ours], rates[other], strict=True)]
        print(f"{title}: over {other} median {statistics.median(ratios):.2f}, worst {min(ratios):.2f}", flush=True)
    print(f"{title}: GPU {watched}", flush=True)
    if options.json:
        with options.json.open("a") as file:
            file.write(json.dumps({"title": title, "rates": rates, "gpu": watched}) + "\n")


def make(count, folder):
    """Photograph-like pictures of 400 × 400 pixels as JPEG files."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0)
    for i in range(count):
        small = noise.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        picture = np.asarray(Image.fromarray(small).resize((400, 400), Image.BICUBIC), np.int16)
        grain = noise.integers(-12, 13, picture.shape, dtype=np.int16)
        Image.fromarray((picture + grain).clip(0, 255).astype(np.uint8)).save(folder / f"{i:06d}.jpg", quality=90)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("featurize", type=Path, help="the program, built with `--features cudnn`")
    parser.add_argument("--folder", type=Path, help="photographs, in any folders below it")
    parser.add_argument("--make", nargs=2, metavar=("N", "FOLDER"), help="makes N pictures in FOLDER, and ends")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--precision", choices=TYPES, default="bf16")
    parser.add_argument("--models", default=MODELS, help="separated by commas; `.timm` for those of timm")
    parser.add_argument("--compile", action="store_true", help="torch.compile with max-autotune, too")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--json", type=Path, metavar="FILE", help="numbers, a line a comparison")
    options = parser.parse_args()
    if options.make:
        return make(int(options.make[0]), Path(options.make[1]))
    options.featurize = options.featurize.resolve()
    tf32 = options.precision != "f32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    device = torch.cuda.get_device_name(options.device) if options.device.startswith("cuda") else "the CPU"
    print(f"{device}, CUDA {torch.version.cuda}, PyTorch {torch.__version__}, Python {platform.python_version()}")
    for model in options.models.split(","):
        bench = Bench(model, options)
        sides = {"featurize": bench.ours, "PyTorch": lambda bench=bench: bench.theirs(bench.network)}
        if options.compile:
            sides["torch.compile"] = lambda bench=bench: bench.theirs(bench.compiled)
        measure(f"{model} {options.precision} forward", sides, options)
        if options.folder:
            files = sorted(file for file in options.folder.resolve().rglob("*.jp*g"))
            tables = {
                "featurize": lambda bench=bench, files=files: bench.our_table(files),
                "PyTorch": lambda bench=bench, files=files: bench.their_table(files),
            }
            measure(f"{model} {options.precision} folder to Parquet", tables, options)


if __name__ == "__main__":
    main()
