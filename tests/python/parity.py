#!/usr/bin/env python3
"""Runs every network that featurize builds against the library that it comes from, at full width and from every kind of
weight file.

    pip install torch torchvision timm keras tensorflow-cpu h5py numpy pillow pyarrow safetensors
    python tests/python/parity.py                         # target/release/featurize, everything; hours on two cores
    python tests/python/parity.py --only resnet50.keras vgg16.timm --formats keras pth
    python tests/python/parity.py --binary target/debug/featurize --device cuda
    python tests/python/parity.py --formats pth safetensors weights.h5 --first --pictures 1 --results parity.jsonl

The last one makes the table of docs/models.md, small networks first: what stands in `parity.jsonl` already is not
computed again, and the table is printed at the end.

Each network of `tests/golden/zoo.py` gets its weights from the formula that stands there, and pictures of the size that
its published weights want. The weights are written in the library's own formats, one after the other:

    torchvision, timm   pth           torch.save, a zip
                        pth-legacy    as before torch 1.6
                        pth-old       DenseNet of torchvision: with the names of the published files (`norm.1.weight`)
                        safetensors
    Keras               h5            what keras.applications downloads
                        h5-notop      the same without the classifier on top
                        h5-model      model.save("x.h5")
                        weights.h5    Keras 3's model.save_weights
                        keras         model.save("x.keras")

`featurize run` reads pictures of exactly the network's size, prepared by a recipe that gives the reference's tensor bit
for bit, so that nothing but the network is compared. From each file it extracts an inner layer (averaged over the
positions) and the logits, and what it extracts by default, of Keras' files without being told the source. The reference
is the library in float64. Printed is the largest relative error |ours - reference| / |reference| of a picture. Exit
code 1 when one is over 1e-5 or a file could not be read. Files go to a temporary folder and are removed as soon as they
have been read; the largest is 1.4 GB.
"""

# ruff: noqa: E402, I001
import argparse
import gc
import json
import math
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "golden"))
import zoo  # first: it imports torch and TensorFlow in the order that works

import h5py
import keras
import numpy as np
import pyarrow.dataset as ds
import torch
from keras.src.legacy.saving import legacy_h5_format
from PIL import Image
from safetensors.torch import save_file

LIMIT = 1e-5
NUMBERS = ("features", "logits", "tap")
KEYS = ["path", "label", "split"]
FORMATS = {
    "torchvision": ["pth", "pth-legacy", "pth-old", "safetensors"],
    "timm": ["pth", "pth-legacy", "safetensors"],
    "facebook": ["pth"],
    "keras": ["h5", "h5-notop", "h5-model", "weights.h5", "keras"],
}


def pictures(size):
    """Levels (3, size, size, 3): the formula, the same upside down, and slopes with a disc."""
    first = zoo.formula_levels(size)
    y, x = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    slopes = np.stack([x * 255 // size, y * 255 // size, (x + y) * 127 // size], axis=-1)
    slopes[(x - size // 3) ** 2 + (y - size // 2) ** 2 < (size // 4) ** 2] = (230, 120, 40)
    return np.stack([first, first[::-1], slopes]).astype(np.uint8)


def logits_layer(pair, model):
    """The layer that gives the logits, None of a network that has no classes; `model` is PyTorch's network."""
    if pair.source == "keras":
        last = f"{pair.model}_head_dense" if pair.model.startswith("convnext") else "predictions"
        named = {"mobilenet": "reshape_2", "mobilenet_v3_small": "flatten", "mobilenet_v3_large": "flatten"}
        return named.get(pair.model, f"{last}/BiasAdd")
    if pair.source in ("timm", "facebook"):
        name = model.default_cfg["classifier"]
        return None if isinstance(model.get_submodule(name), torch.nn.Identity) else name
    if pair.model.startswith("squeezenet"):
        return "classifier"
    return [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)][-1]


# references


def averaged(values, pair):
    """The mean over the positions of maps, and over the patches of tokens, which follow a class token and registers;
    vectors as they are."""
    wide = values.astype(np.float64)
    if wide.ndim == 3:
        return wide[:, -(math.isqrt(wide.shape[1]) ** 2) :].mean(1)
    channels_last = pair.source == "keras" or pair.model.startswith("swin")
    return wide.mean((1, 2) if channels_last else (2, 3)) if wide.ndim == 4 else wide


def reference(pair, model, batch):
    """The arrays `tap`, `logits` and `avg` in float64, one row a picture; `model` is PyTorch's network."""
    if pair.source == "keras":
        result = zoo.keras_outputs(pair, "float64", batch)
    else:
        result = zoo.torch_outputs(pair, model.double(), batch)
    return {name: averaged(result[part], pair) for name, part in (("tap", "tap"), ("logits", "logits"), ("avg", "map"))}


# files


def torch_writers(pair, state):
    """A function for each format that writes the file of these tensors at a path."""
    writers = {
        "pth": lambda path: torch.save(state, path),
        "pth-legacy": lambda path: torch.save(state, path, _use_new_zipfile_serialization=False),
        "safetensors": lambda path: save_file({name: t.contiguous() for name, t in state.items()}, path),
    }
    if pair.source == "torchvision" and pair.model.startswith("densenet"):
        writers["pth-old"] = lambda path: torch.save({old_densenet_name(name): t for name, t in state.items()}, path)
    return writers


def old_densenet_name(name):
    """`…denselayer1.norm1.weight` as it stands in torchvision's published files: `…denselayer1.norm.1.weight`."""
    parts = name.split(".")
    if len(parts) > 2 and parts[-3].startswith("denselayer"):
        parts[-2] = f"{parts[-2][:-1]}.{parts[-2][-1]}"
    return ".".join(parts)


def keras_writers(pair):
    """A function for each format that writes the file at a path."""
    models = {}

    def model(top):
        if top not in models:
            models.clear()  # one at a time, and the names of each are counted from a fresh session
            more = {} if top else {"input_shape": (pair.size, pair.size, 3), "pooling": "avg"}
            models[top] = zoo.keras_model(pair, "float32", include_top=top, **more)
        return models[top]

    def weights(path, top):
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, model(top))

    return {
        "h5": lambda path: weights(path, True),
        "h5-model": lambda path: model(True).save(path),
        "weights.h5": lambda path: model(True).save_weights(path),
        "keras": lambda path: model(True).save(path),
        "h5-notop": lambda path: weights(path, False),
    }


FILE_NAMES = {
    "pth-legacy": "legacy.pth",
    "pth-old": "old.pth",
    "pth": "weights.pth",
    "safetensors": "model.safetensors",
    "h5": "top.h5",
    "h5-notop": "notop.h5",
    "h5-model": "model.h5",
    "weights.h5": "model.weights.h5",
    "keras": "model.keras",
}


# featurize


class Binary:
    """featurize on one folder of pictures."""

    def __init__(self, path, device, work):
        self.path, self.device, self.work = path, device, work

    def features(self, pair, weights, layers, source):
        """(pictures, columns): the means of the layers, the library's own features when there are none."""
        recipe = {
            "size": [pair.size, pair.size],
            "fit": "stretch",
            "resize": "nearest",
            "crop_pct": 1.0,
            "channels": "rgb",
            "divisor": 1 if pair.levels else 255,
            "mean": [0] * 3 if pair.levels else [0.5] * 3,
            "std": [1] * 3 if pair.levels else [0.5] * 3,
        }
        extract = {"model": pair.model, "weights": str(weights), "features": "pooled", "recipe": recipe}
        if layers:
            extract |= {"layers": layers, "features": "avg"}
        if source:
            extract["source"] = source
        pipeline = {
            "version": 1,
            "name": "parity",
            "input": {"root": str(self.work / "pictures")},
            "extract": extract,
            "runtime": {"device": self.device},
        }
        file, out = self.work / "parity.yaml", self.work / "run"
        file.write_text(json.dumps(pipeline))  # JSON is YAML
        command = [str(self.path), "run", str(file), "--out", str(out), "--force", "scan", "-q"]
        outcome = subprocess.run(command, capture_output=True, text=True)
        if outcome.returncode != 0:
            raise RuntimeError(outcome.stderr.strip() or f"exit code {outcome.returncode}")
        table = ds.dataset(out / "features", format="parquet").to_table()
        columns = [table[name].to_numpy() for name in table.column_names if name not in KEYS]
        order = np.argsort(table["path"].to_pylist())
        return np.stack(columns, axis=1)[order].astype(np.float64)


def error(ours, theirs):
    """The largest relative error of a row."""
    if ours.shape != theirs.shape:
        raise RuntimeError(f"{ours.shape} numbers, the reference has {theirs.shape}")
    return float((np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)).max())


def compare(binary, pair, weights, logits, double):
    """The errors of what is read from one file, by name; `logits` is the layer, of a file that has it."""
    errors = {}
    told = None if pair.source == "keras" else pair.source
    errors["features"] = error(binary.features(pair, weights, None, told), double["avg"])
    ours = binary.features(pair, weights, [pair.tap, logits] if logits else [pair.tap], pair.source)
    width = double["tap"].shape[1]
    errors["tap"] = error(ours[:, :width], double["tap"])
    if logits:
        errors["logits"] = error(ours[:, width:], double["logits"])
    return errors


def check(binary, pair, formats, arguments):
    """Prints a line for each format of a pair; gives the errors of each, None for a file that could not be read."""
    levels, found = pictures(pair.size)[: arguments.pictures], {}
    folder = binary.work / "pictures" / "all"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for k, picture in enumerate(levels):
        Image.fromarray(picture).save(folder / f"{k}.png", compress_level=1)
    if pair.source == "keras":
        model, writers = None, keras_writers(pair)
    else:
        model = zoo.torch_model(pair)
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        writers = torch_writers(pair, zoo.facebooks_file(state, pair) if pair.source == "facebook" else state)
    logits = logits_layer(pair, model)
    double = reference(pair, model, levels.astype(np.float32) if pair.levels else zoo.values_of(levels))
    del model
    gc.collect()
    for kind, write in [(kind, writers[kind]) for kind in formats if kind in writers]:
        weights = binary.work / FILE_NAMES[kind]
        if pair.source == "keras":
            keras.config.set_floatx("float32")
            keras.config.set_dtype_policy("float32")
        write(weights)
        try:
            found[kind] = compare(binary, pair, weights, None if kind == "h5-notop" else logits, double)
            text = "  ".join(f"{name} {value:.1e}" for name, value in found[kind].items())
        except (RuntimeError, OSError) as failure:
            found[kind], text = None, str(failure)
        finally:
            weights.unlink(missing_ok=True)
        print(f"{'ok    ' if is_good(found[kind]) else 'FAILED'} {pair.key:<25} {kind:<12} {text}", flush=True)
        if arguments.first:
            break
    return found


def is_good(errors):
    """Whether a file could be read and gave the reference's numbers."""
    return errors is not None and all(value <= LIMIT for value in errors.values())


def published(path):
    """For each network and library the side of the pictures that its default weights want, and the network's cost."""
    lines = subprocess.run([path, "models", "list", "--json"], capture_output=True, text=True, check=True).stdout
    sides = {}
    for model in map(json.loads, lines.splitlines()):
        for row in model["weights"]:
            cost = model["macs"] * (row["recipe"]["size"][0] / model["input"][0]) ** 2
            sides.setdefault(f"{model['name']}.{row['source']}", (row["recipe"]["size"][0], cost))
    return sides


def cell(row):
    """The side of the pictures and the errors of one network from one kind of file."""
    worst = next(iter(row["errors"].values()))
    numbers = [f"{worst[name]:.0e}".replace("e-0", "e-") for name in NUMBERS if name in worst]
    return f"{row['side']}: {', '.join(numbers)}"


def table(results):
    """The errors within the limit of all networks as Markdown; those of files of DINOv2's authors stand beside timm's."""
    print("| network | Keras | torchvision | timm |\n|---|---|---|---|")
    for model in dict.fromkeys(pair.model for pair in zoo.PAIRS):
        cells = []
        for sources in (["keras"], ["torchvision"], ["timm", "facebook"]):
            rows = [results.get(f"{model}.{source}") for source in sources]
            cells.append("; ".join(cell(row) for row in rows if row and all(map(is_good, row["errors"].values()))))
        if any(cells):
            print(f"| `{model}` | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "featurize")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="*", metavar="MODEL.SOURCE", help="these networks; default: all")
    parser.add_argument("--formats", nargs="*", help="these formats, in this order; default: all")
    parser.add_argument("--first", action="store_true", help="of these the first that the library has, alone")
    parser.add_argument("--pictures", type=int, default=3, help="so many of the three pictures")
    parser.add_argument("--results", type=Path, metavar="FILE", help="a line of JSON a network, each computed once")
    arguments = parser.parse_args()
    sides = published(arguments.binary.resolve())
    known = {pair.key: pair for pair in zoo.PAIRS}
    unknown = set(arguments.only or ()) - known.keys()
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    known = {key: pair._replace(size=sides[key][0], few=True) for key, pair in known.items()}
    results = {}
    if arguments.results and arguments.results.exists():
        lines = arguments.results.read_text().splitlines()
        results = {row["key"]: row for row in map(json.loads, lines) if all(map(is_good, row["errors"].values()))}
    print("largest |ours - float64| / |float64| of a picture")
    with tempfile.TemporaryDirectory() as folder:
        binary = Binary(arguments.binary.resolve(), arguments.device, Path(folder))
        for key in sorted(arguments.only or known, key=lambda key: sides[key][1]):
            pair = known[key]
            if key in results:
                continue
            errors = check(binary, pair, arguments.formats or FORMATS[pair.source], arguments)
            results[key] = {"key": key, "side": pair.size, "errors": errors}
            if arguments.results:
                with arguments.results.open("a") as file:
                    file.write(json.dumps(results[key]) + "\n")
            gc.collect()
    if arguments.results:
        table(results)
    wrong = sum(not is_good(errors) for row in results.values() for errors in row["errors"].values())
    print(f"{wrong} wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
