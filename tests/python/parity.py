#!/usr/bin/env python3
"""Runs every network that featurize builds against the library that it comes from, at full width and from every kind of
weight file.

    pip install torch torchvision timm keras tensorflow-cpu h5py numpy pillow pyarrow safetensors
    python tests/python/parity.py                         # target/release/featurize, everything; an hour on two cores
    python tests/python/parity.py --only resnet50.keras vgg16.timm --formats keras pth
    python tests/python/parity.py --binary target/debug/featurize --device cuda

Each network of `tests/golden/zoo.py` gets its weights from the formula that stands there. They are written in the
library's own formats, one after the other:

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
positions) and the logits; from the first and from those without a top also what it extracts by default, the mean of the
last feature map, of Keras' files without being told the source. The reference is the library in float64. Printed is the
largest relative error |ours - reference| / |reference| of a picture, beside it the library's own in F32. Exit code 1
when one is over 1e-5 or a file could not be read. Files go to a temporary folder and are removed as soon as they have
been read; the largest is 600 MB.
"""

# ruff: noqa: E402, I001
import argparse
import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "golden"))
import zoo  # first: it imports torch and TensorFlow in the order that works

import h5py
import numpy as np
import pyarrow.dataset as ds
import torch
from keras.src.legacy.saving import legacy_h5_format
from PIL import Image
from safetensors.torch import save_file

LIMIT = 1e-5
KEYS = ["path", "label", "split"]
FORMATS = {
    "torchvision": ["pth", "pth-legacy", "pth-old", "safetensors"],
    "timm": ["pth", "pth-legacy", "safetensors"],
    "keras": ["h5", "h5-notop", "h5-model", "weights.h5", "keras"],
}


def pictures(size):
    """Levels (3, size, size, 3): the formula, the same upside down, and slopes with a disc."""
    first = zoo.formula_levels(size)
    y, x = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    slopes = np.stack([x * 255 // size, y * 255 // size, (x + y) * 127 // size], axis=-1)
    slopes[(x - size // 3) ** 2 + (y - size // 2) ** 2 < (size // 4) ** 2] = (230, 120, 40)
    return np.stack([first, first[::-1], slopes]).astype(np.uint8)


def logits_layer(pair):
    """The layer that gives the logits."""
    if pair.source == "keras":
        return "predictions/BiasAdd"
    if pair.model.startswith("vgg"):
        return "head.fc" if pair.source == "timm" else "classifier.6"
    named = {"alexnet": "classifier.6", "mobilenet_v2": "classifier.1"}
    return named.get(pair.model, "classifier" if pair.model.startswith("densenet") else "fc")


# references


def reference(pair, batch):
    """(single, double): for each precision the arrays `tap`, `logits` and `avg`, one row a picture."""
    positions = (1, 2) if pair.source == "keras" else (2, 3)
    both = []
    for result in zoo.outputs(pair, batch):
        wide = {name: values.astype(np.float64) for name, values in result.items()}
        both.append({
            "tap": wide["tap"].mean(positions),
            "logits": wide["logits"],
            "avg": wide["map"].mean(positions),
        })
    return both


# files


def torch_writers(pair):
    """A function for each format that writes the file at a path."""
    state = zoo.torch_model(pair).state_dict()
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
            more = {} if top else {"input_shape": (pair.size, pair.size, 3)}
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
        """(pictures, columns): the features of the layers, of the last feature map when there are none."""
        recipe = {
            "size": [pair.size, pair.size],
            "fit": "stretch",
            "resize": "nearest",
            "crop_pct": 1.0,
            "channels": "rgb",
            "divisor": 255,
            "mean": [0.5] * 3,
            "std": [0.5] * 3,
        }
        extract = {"model": pair.model, "weights": str(weights), "features": "avg", "recipe": recipe}
        if layers:
            extract["layers"] = layers
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


def compare(binary, pair, weights, kind, double):
    """The errors of what is read from one file, by name."""
    errors, top = {}, kind != "h5-notop"
    if top:
        ours = binary.features(pair, weights, [pair.tap, logits_layer(pair)], pair.source)
        width = double["tap"].shape[1]
        errors["tap"] = error(ours[:, :width], double["tap"])
        errors["logits"] = error(ours[:, width:], double["logits"])
    if kind in ("pth", "h5", "h5-notop"):
        told = None if pair.source == "keras" else pair.source
        errors["avg"] = error(binary.features(pair, weights, None, told), double["avg"])
    return errors


def check(binary, pair, formats):
    """Prints a line for each format of a pair; how many were wrong."""
    levels, wrong = pictures(pair.size), 0
    folder = binary.work / "pictures" / "all"
    folder.mkdir(parents=True, exist_ok=True)
    for k, picture in enumerate(levels):
        Image.fromarray(picture).save(folder / f"{k}.png", compress_level=1)
    single, double = reference(pair, zoo.values_of(levels))
    own = {name: error(single[name], double[name]) for name in double}
    gc.collect()
    writers = keras_writers(pair) if pair.source == "keras" else torch_writers(pair)
    for kind, write in writers.items():
        if kind not in formats:
            continue
        weights = binary.work / FILE_NAMES[kind]
        write(weights)
        try:
            errors = compare(binary, pair, weights, kind, double)
            text = "  ".join(f"{name} {value:.1e} ({own[name]:.1e})" for name, value in errors.items())
            bad = not all(value <= LIMIT for value in errors.values())
        except (RuntimeError, OSError) as failure:
            text, bad = str(failure), True
        finally:
            weights.unlink(missing_ok=True)
        wrong += bad
        print(f"{'FAILED' if bad else 'ok    '} {pair.key:<25} {kind:<12} {text}", flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "featurize")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="*", metavar="MODEL.SOURCE", help="these networks; default: all")
    parser.add_argument("--formats", nargs="*", help="these formats; default: all")
    arguments = parser.parse_args()
    known = {pair.key: pair for pair in zoo.PAIRS}
    unknown = set(arguments.only or ()) - known.keys()
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    print("largest |ours - float64| / |float64| of a picture (in brackets: the library's own F32)")
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        binary = Binary(arguments.binary.resolve(), arguments.device, Path(folder))
        for key in arguments.only or known:
            pair = known[key]
            wrong += check(binary, pair, arguments.formats or FORMATS[pair.source])
            gc.collect()
    print(f"{wrong} wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
