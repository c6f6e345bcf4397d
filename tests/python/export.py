#!/usr/bin/env python3
"""Compares what `featurize export` writes, run by ONNX Runtime, with the program: every network.

    pip install numpy onnx onnxruntime pyarrow
    python tests/python/export.py                     # target/release/featurize; all networks, some minutes
    python tests/python/export.py resnet18 vgg16      # these networks

Each network, as each library has it, gets random weights and the smallest picture size that it takes, and logistic
regression classifies 18 of the pictures that ship. The exported file is checked by `onnx.checker`. For the program's
own prepared pictures ONNX Runtime must give the features of the run (‖a − b‖ ≤ 1e-5 ‖b‖) and its probabilities (1e-4
and the same class). `python/tests/test_runs.py` compares the classifiers one by one on 200 pictures. Exit code 1 when a
number differs.
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

ROOT = Path(__file__).resolve().parents[2]
FRUITS = ROOT / "data" / "fruits"
CLASSES = ["Banana", "Lemon", "Strawberry"]
FEATURES, PROBABILITIES = 1e-5, 1e-4
# the sizes that are tried until a network takes one
SIDES = (64, 70, 96, 128, 160, 224, 256, 384)
# what a network says of a size that it does not take
REFUSED = ("does not fit", "are not divided into patches", "do not fill the maps")


def call(binary, *arguments):
    done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


def pipeline(name, source, side):
    return {
        "version": 1,
        "name": name.replace("/", "_"),
        "input": {
            "root": str(FRUITS),
            "split": {"train": "Training/**", "test": "Test/**"},
            "classes": CLASSES,
            "limit_per_class": 3,
        },
        "extract": {"model": name, "source": source, "weights": "random", "recipe": {"size": side}},
        "reduce": {"scale": "standard"},
        "train": {"logistic": {}},
    }


def rows(folder, skipped=("path", "label", "split")):
    table = ds.dataset(folder).to_table().to_pandas().sort_values("path")
    return table.drop(columns=[name for name in skipped if name in table]).to_numpy(np.float32)


def run(binary, folder, name, source):
    """Runs the pipeline in the smallest size that the network takes."""
    for side in SIDES:
        yaml = folder / "pipeline.yaml"
        yaml.write_text(json.dumps(pipeline(name, source, side)))
        try:
            call(binary, "run", yaml, "--out", folder / "run", "--quiet")
            return side
        except RuntimeError as error:
            if not any(words in str(error) for words in REFUSED) or side == SIDES[-1]:
                raise
    return None


def compare(binary, folder, name, source):
    side = run(binary, folder, name, source)
    out, path = folder / "run", folder / "export.onnx"
    said = call(binary, "export", out, "--onnx", path).splitlines()[-1].strip()
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(str(path))
    assert [entry.version for entry in model.opset_import] == [17]
    model.graph.output.append(onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    # the prepared pictures, as the program itself has them
    yaml = folder / "input.yaml"
    prepared = pipeline(name, source, side)
    prepared["extract"] |= {"layer": "input", "features": "flatten"}
    del prepared["train"], prepared["reduce"]
    yaml.write_text(json.dumps(prepared))
    call(binary, "run", yaml, "--out", folder / "input", "--quiet")
    channels = session.get_inputs()[0].shape[1]
    pictures = rows(folder / "input" / "features").reshape(-1, side, side, channels).transpose(0, 3, 1, 2)
    found = session.run(["features", "probabilities"], {"input": np.ascontiguousarray(pictures)})
    features = rows(out / "features")
    others = ("path", "label", "split", "predicted", "confidence", "known", "distance")
    probabilities = rows(out / "predictions.parquet", others)
    far = max(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30) for a, b in zip(found[0], features))
    apart = np.abs(found[1] - probabilities).max()
    clear = np.diff(np.sort(probabilities, axis=1))[:, -1] > 2 * PROBABILITIES
    same = (found[1].argmax(1) == probabilities.argmax(1))[clear].all()
    right = far <= FEATURES and apart <= PROBABILITIES and same
    print(f"{name:24} {source:11} {side:4} {far:8.1e} {apart:8.1e}  {said}{'' if right else '  WRONG'}", flush=True)
    return right


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*")
    parser.add_argument("--binary", default=str(ROOT / "target" / "release" / "featurize"))
    options = parser.parse_args()
    wrong = []
    known = [json.loads(line) for line in call(options.binary, "models", "list", "--json").splitlines()]
    for model in known:
        name, sources = model["name"], sorted({weights["source"] for weights in model["weights"]})
        for source in sources if name in (options.models or [name]) else []:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    right = compare(options.binary, Path(folder), name, source)
                except (RuntimeError, AssertionError, onnx.checker.ValidationError) as error:
                    print(f"{name:24} {source:11} {error}", flush=True)
                    right = False
            wrong += [] if right else [f"{name} ({source})"]
    print(f"{len(wrong)} wrong: {', '.join(wrong)}" if wrong else "all right")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
