#!/usr/bin/env python3
"""Measures whether `distance` tells pictures of no class from pictures of the known ones: the area under the ROC curve
of scikit-learn, and the share of known pictures that are called unknown.

    pip install scikit-learn
    python tests/python/novelty.py target/release/featurize                   # the shipped fruits, each class left out
    python tests/python/novelty.py target/release/featurize A B               # trained on A, against all pictures of B

A and B are folders with a folder of training pictures and one of test pictures, which hold a folder for each class.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from sklearn.metrics import roc_auc_score

FRUITS = Path(__file__).resolve().parents[2] / "data" / "fruits"
# folders of train and of test pictures, in small letters
SPLITS = ("train", "training"), ("test",)


def split(root, names):
    return next(folder for folder in sorted(root.iterdir()) if folder.name.lower() in names)


def pipeline(root, classes):
    train, test = (split(root, names).name for names in SPLITS)
    return {
        "version": 1,
        "name": "novelty",
        "input": {
            "root": str(root),
            "split": {"train": f"{train}/**", "test": f"{test}/**"},
            **({"classes": classes} if classes else {}),
        },
        "select": {},
        "reduce": {"pca": {"components": 64}},
        "train": {"logistic": {}},
    }


def distances(featurize, run, pictures):
    said = subprocess.run([featurize, "predict", run, *pictures, "--json", "-q"], check=True, capture_output=True)
    lines = [json.loads(line) for line in said.stdout.splitlines()]
    return [line["distance"] for line in lines], [line["known"] for line in lines]


def measure(featurize, root, classes, unknown):
    """The area for a run on the classes of `root`, with its test pictures against those of the folders `unknown`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "novelty.yaml"
        file.write_text(json.dumps(pipeline(root, classes)))
        run = str(Path(folder) / "run")
        subprocess.run([featurize, "run", file, "--out", run, "-q"], check=True, capture_output=True)
        test = split(root, SPLITS[1])
        tested = [str(one) for one in sorted(test.iterdir()) if not classes or one.name in classes]
        (known, called), (strange, told) = (distances(featurize, run, paths) for paths in (tested, unknown))
    area = roc_auc_score([0] * len(known) + [1] * len(strange), known + strange)
    return area, called.count(False) / len(called), told.count(False) / len(told)


def main():
    featurize, roots = sys.argv[1], [Path(root).resolve() for root in sys.argv[2:]]
    if roots:
        area, alarms, found = measure(featurize, roots[0], None, [str(roots[1])])
        print(f"{roots[0].name} against {roots[1].name}: {area:.4f}, {alarms:.1%} false alarms, {found:.1%} found")
        return
    classes = sorted(folder.name for folder in split(FRUITS, SPLITS[0]).iterdir())
    results = []
    for left_out in classes:
        unknown = [str(split(FRUITS, names) / left_out) for names in SPLITS]
        results.append(measure(featurize, FRUITS, [name for name in classes if name != left_out], unknown))
        print(f"{left_out:12} {results[-1][0]:.4f}, {results[-1][1]:.1%} false alarms, {results[-1][2]:.1%} found")
    print("mean         {:.4f}, {:.1%} false alarms, {:.1%} found".format(*(sum(x) / len(x) for x in zip(*results))))


if __name__ == "__main__":
    main()
