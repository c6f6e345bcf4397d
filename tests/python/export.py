#!/usr/bin/env python3
"""Compares what `featurize export` writes, run by ONNX Runtime, with what `featurize predict` says.

    pip install numpy onnx onnxruntime pillow pyarrow
    python tests/python/export.py                         # target/release/featurize; two minutes on two cores

Pipelines over the pictures that ship, with every classifier, scale and reduction, are run, exported from the prepared picture,
from pixels and without the network, and checked by `onnx.checker`. 200 pictures, in the network's size so that no
resize stands between, must get the probabilities of `predict` to 1e-4, and the same class each. Exit code 1 when one
does not.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pyarrow.dataset as ds
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
FRUITS = ROOT / "data" / "fruits"
LIMIT, SIDE, PICTURES = 1e-4, 64, 200
PIPELINES = {
    "mlp": {"select": {}, "reduce": {"pca": {"components": 8}}, "train": {"mlp": {"hidden": [16], "seed": 1}}},
    "two": {"classes": 2, "reduce": {"scale": "standard", "pca": {"components": 8, "whiten": True}}, "train": {"mlp": {"hidden": [8, 4], "activation": "tanh"}}},
    "logistic": {"select": {"top_k": 200}, "reduce": {"scale": "l2", "svd": {"components": 8}}, "train": {"logistic": {}}},
    "cosine": {"train": {"knn": {"k": 3}}},
    "euclidean": {"reduce": {"scale": "standard"}, "train": {"knn": {"k": 5, "metric": "euclidean", "weights": "distance"}}},
    "layers": {"extract": {"layers": ["blocks.2", "blocks.6"], "features": "max"}, "train": {"logistic": {}}},
    "map": {"extract": {"layer": "blocks.4", "features": "flatten"}, "train": {"logistic": {}}},
}


def pictures(folder):
    """Pictures that are cut to the network's size already."""
    files = sorted(FRUITS.glob("Test/*/*")) + sorted(FRUITS.glob("Training/*/*"))
    folder.mkdir()
    for i, file in enumerate(files[:PICTURES]):
        with Image.open(file) as image:
            image.convert("RGB").resize((SIDE, SIDE)).save(folder / f"{i:03}.png")
    return sorted(folder.iterdir())


def session(path):
    onnx.checker.check_model(str(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(binary, *arguments):
    done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def compare(binary, name, keys, folder, files):
    keys = dict(keys)
    classes = sorted(path.name for path in (FRUITS / "Training").iterdir())[: keys.pop("classes", 3)]
    recipe = {"size": SIDE, "fit": "stretch"}
    extract = keys.pop("extract", {}) | {"recipe": recipe}
    pipeline = {"version": 1, "name": name, "input": {"root": str(FRUITS), "split": {"train": "Training/**", "test": "Test/**"}, "classes": classes}}
    yaml = folder / f"{name}.yaml"
    yaml.write_text(json.dumps(pipeline | {"extract": extract} | keys))
    out = folder / name
    run(binary, "run", yaml, "--out", out)
    lines = run(binary, "predict", out, *files, "--json", "--top", len(classes)).splitlines()
    order = {name: i for i, name in enumerate(classes)}
    expected = np.zeros((len(files), len(classes)))
    for i, line in enumerate(lines):
        for guess in json.loads(line)["top"]:
            expected[i, order[guess["label"]]] = guess["probability"]
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    wrong = 0
    for form in ("prepared", "pixels", "head"):
        path = folder / f"{name}.{form}.onnx"
        more = {"prepared": [], "pixels": ["--from-pixels"], "head": ["--head"]}[form]
        run(binary, "export", out, "--onnx", path, *more)
        model = session(path)
        notes = model.get_modelmeta().custom_metadata_map
        assert json.loads(notes["featurize.classes"]) == classes
        if form == "head":
            table = ds.dataset(out / "features").to_table().to_pandas()
            rows = table.drop(columns=["path", "label", "split"]).to_numpy(np.float32)
            stored = ds.dataset(out / "predictions.parquet").to_table().to_pandas()
            target = stored[[f"p_{name}" for name in classes]].to_numpy()
            found = model.run(None, {"features": rows})[0]
        elif form == "pixels":
            target, found = expected, model.run(None, {"pixels": pixels})[0]
        else:
            noted = json.loads(notes["featurize.recipe"])
            mean, std = (np.array(noted[key], np.float32) for key in ("mean", "std"))
            prepared = ((pixels.astype(np.float32) / np.float32(noted["divisor"]) - mean) / std).transpose(0, 3, 1, 2)
            target, found = expected, model.run(None, {"input": np.ascontiguousarray(prepared)})[0]
        apart = np.abs(found - target).max()
        same = (found.argmax(1) == target.argmax(1)).all()
        print(f"{name:10} {form:9} {len(found):4} pictures, {apart:.1e} {'' if same else 'OTHER CLASSES'}", flush=True)
        wrong += apart > LIMIT or not same
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default=str(ROOT / "target" / "release" / "featurize"))
    binary = parser.parse_args().binary
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        files = pictures(folder / "pictures")
        wrong = sum(compare(binary, name, keys, folder, files) for name, keys in PIPELINES.items())
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
