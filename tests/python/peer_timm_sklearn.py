#!/usr/bin/env python3
"""Compares a run of featurize with the script that it replaces: timm's network, scikit-learn's selection, PCA and MLP.

    pip install torch torchvision timm scikit-learn pillow pyarrow numpy safetensors
    python tests/python/peer_timm_sklearn.py data/fruits
    python tests/python/peer_timm_sklearn.py FOLDER --train "train/**" --test "test/**" --precision int8

timm's tf_efficientnet_lite0 gets the weights that featurize carries (data/weights/), reads the pictures with Pillow and
prepares them with its own transform. Printed are

* for each picture |ours - timm| / |timm| over its 1280 features: median, largest, and the share below 1e-5. Twice: on
  the files as they are, and on PNG copies of what Pillow decoded, so that the second line has no JPEG decoder in it.
  A yardstick for the first line: how far timm is from itself when Pillow saves the pictures again in its best usual
  quality (JPEG 95 without subsampling) before;
* the accuracy on the test pictures over the seeds: timm + scikit-learn, featurize, and featurize's features +
  scikit-learn, which tells the features' part in a difference from the classifier's.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import timm
import torch
from PIL import Image
from safetensors.numpy import load_file
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import VarianceThreshold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from timm.data import create_transform, resolve_model_data_config

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "data" / "weights" / "efficientnet_lite0.f16.safetensors"
BATCH = 16
COMPONENTS, HIDDEN = 64, (100, 10)


class Peer:
    """timm's network without its classifier."""

    def __init__(self):
        self.model = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).eval()
        state = {name: torch.from_numpy(values.astype(np.float32)) for name, values in load_file(WEIGHTS).items()}
        missing, unexpected = self.model.load_state_dict(state, strict=False)
        missing = [name for name in missing if not name.endswith(".num_batches_tracked")]
        if missing or set(unexpected) != {"classifier.weight", "classifier.bias"}:
            sys.exit(f"{WEIGHTS.name}: missing {missing}, unexpected {unexpected}")
        self.transform = create_transform(**resolve_model_data_config(self.model), is_training=False)

    def features(self, pictures, change=lambda picture: picture):
        """(pictures, 1280) of paths; `change` is applied to the decoded pictures."""
        rows = []
        with torch.inference_mode():
            for first in range(0, len(pictures), BATCH):
                loaded = (Image.open(path).convert("RGB") for path in pictures[first : first + BATCH])
                batch = [self.transform(change(picture)) for picture in loaded]
                rows.append(self.model(torch.stack(batch)).numpy())
        return np.concatenate(rows)


class Run:
    """Runs of featurize on one folder, into one run folder: only the first extracts the features."""

    def __init__(self, binary, folder, globs, precision, work):
        self.binary, self.out, self.pipeline = binary, work / "run", work / "peer.yaml"
        work.mkdir()
        pipeline = {
            "version": 1,
            "name": "peer",
            "input": {"root": str(folder.resolve()), "split": dict(zip(("train", "test"), globs))},
            "extract": {"model": "efficientnet_lite0", "weights": "bundled", "precision": precision},
            "select": {"variance_threshold": 0.0},
            "reduce": {"pca": {"components": COMPONENTS}},
            "train": {"mlp": {"hidden": list(HIDDEN)}},
        }
        self.pipeline.write_text(json.dumps(pipeline))  # JSON is YAML

    def execute(self, *more):
        command = [str(self.binary), "run", str(self.pipeline), "--out", str(self.out), "-q", *more]
        outcome = subprocess.run(command, capture_output=True, text=True)
        if outcome.returncode != 0:
            sys.exit(f"{' '.join(command)}: exit code {outcome.returncode}\n{outcome.stderr}")

    def table(self):
        """paths, labels, splits and the (rows, 1280) features."""
        table = pq.read_table(self.out / "features")
        keys = [np.array(table[name].to_pylist()) for name in ("path", "label", "split")]
        columns = [name for name in table.column_names if name.startswith("efficientnet_lite0_avg_")]
        return *keys, np.stack([table[name].to_numpy() for name in columns], axis=1)

    def accuracy(self, seed):
        self.execute("--set", f"train.mlp.seed={seed}")
        return json.loads((self.out / "metrics.json").read_text())["test"]["accuracy"]


def copy_as_png(folder, paths, to):
    """What Pillow decodes, lossless, under the same names."""
    for path in paths:
        copy = (to / path).with_suffix(".png")
        if copy.exists():
            sys.exit(f"{path}: another picture has this name with another extension")
        copy.parent.mkdir(parents=True, exist_ok=True)
        Image.open(folder / path).convert("RGB").save(copy, compress_level=1)


def saved_again(picture):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95, subsampling=0)
    return Image.open(file).convert("RGB")


def distances(ours, theirs):
    """Relative error of each row."""
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    return np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)


def print_distances(title, errors, paths):
    worst = int(errors.argmax())
    close = np.mean(errors < 1e-5)
    print(
        f"{title:<32} median {np.median(errors):.2e}   largest {errors.max():.2e} ({paths[worst]})   "
        f"below 1e-5: {100 * close:.1f} %",
        flush=True,
    )


def learn(x, labels, splits, seed):
    """Test accuracy of the notebook's pipeline."""
    steps = VarianceThreshold(), PCA(COMPONENTS, svd_solver="full"), MLPClassifier(HIDDEN, random_state=seed)
    train, test = splits == "train", splits == "test"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 200 epochs at most, as in featurize
        return make_pipeline(*steps).fit(x[train], labels[train]).score(x[test], labels[test])


def print_accuracies(title, accuracies):
    all_of_them = " ".join(f"{100 * accuracy:.2f}" for accuracy in accuracies)
    mean, spread = 100 * np.mean(accuracies), 100 * np.std(accuracies, ddof=min(1, len(accuracies) - 1))
    print(f"{title:<32} mean {mean:.2f} %, deviation {spread:.2f} %   ({all_of_them})", flush=True)


def globs_of(folder, args):
    """The split: as given, else by the two names that such folders have."""
    names = (("Training", "train"), ("Test", "test"))
    globs = []
    for given, known in zip((args.train, args.test), names):
        there = [name for name in known if (folder / name).is_dir()]
        if not given and not there:
            sys.exit(f"{folder} has no folder {' or '.join(known)}: say --train GLOB --test GLOB")
        globs.append(given or f"{there[0]}/**")
    return globs


def main():
    parser = argparse.ArgumentParser(description="Compares featurize with timm and scikit-learn on a folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", metavar="GLOB", help="default: Training/** or train/**, whichever is there")
    parser.add_argument("--test", metavar="GLOB", help="default: Test/** or test/**")
    parser.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "featurize")
    parser.add_argument("--precision", default="f32", help="of featurize; timm computes in f32")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    globs, binary, seeds = globs_of(args.folder, args), args.binary.resolve(), range(args.seeds)

    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        run = Run(binary, args.folder, globs, args.precision, work / "files")
        ours = [run.accuracy(seed) for seed in seeds]
        paths, labels, splits, features = run.table()
        counts = [int(np.sum(splits == split)) for split in ("train", "test")]
        print(f"{args.folder.name}: {len(set(labels))} classes, {counts[0]} train and {counts[1]} test pictures")
        network, pictures = Peer(), [args.folder / path for path in paths]
        peer = network.features(pictures)
        print_distances("features, files as they are", distances(features, peer), paths)

        copy_as_png(args.folder, paths, work / "copies")
        copies = Run(binary, work / "copies", globs, args.precision, work / "png")
        copies.execute("--until", "extract")
        stems, _, _, lossless = copies.table()
        place = {str(Path(path).with_suffix(".png")): i for i, path in enumerate(paths)}
        peer_of_copies = peer[[place[path] for path in stems]]  # sorted with another extension
        print_distances("features, Pillow's pixels (PNG)", distances(lossless, peer_of_copies), stems)
        again = network.features(pictures, saved_again)
        print_distances("timm, pictures saved again", distances(again, peer), paths)

    print_accuracies("accuracy, timm + scikit-learn", [learn(peer, labels, splits, seed) for seed in seeds])
    print_accuracies("accuracy, featurize", ours)
    print_accuracies("accuracy, ours + scikit-learn", [learn(features, labels, splits, seed) for seed in seeds])


if __name__ == "__main__":
    main()
