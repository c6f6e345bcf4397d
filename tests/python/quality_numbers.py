#!/usr/bin/env python3
"""The numbers that docs/outputs.md gives of `report.quality`: how similar copies and different pictures are, and how
many wrong labels are found.

    pip install pillow pyarrow numpy
    python quality_numbers.py FEATURIZE LABELLED [MORE]

FEATURIZE is the binary; LABELLED a folder of photographs, train/<class>/ and test/<class>/ with two classes; MORE a
folder of other photographs.

* Of 80 photographs of LABELLED and 60 of MORE, five changed copies each go through `extract`. Printed is the share of
  the copies whose cosine with their original (features less the mean of the originals, as `compare` centres them) is
  0.9 and more, and the largest cosine between two originals.
* In copies of LABELLED, nine labels of the train pictures are exchanged and a picture of noise is put in, with three
  seeds. Printed is how many of the nine `quality.parquet` suspects, and what else it suspects.
"""

import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageEnhance, ImageOps

NEAR, CHANGED, SEEDS = 0.9, 9, 3
SUFFIXES = {".jpg", ".jpeg", ".png"}


def pictures(folder):
    return sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)


def run(binary, root, out, **sections):
    """`featurize run` over `root`."""
    config = out.with_suffix(".yaml")
    document = {"version": 1, "input": {"root": str(root)}, "extract": {"model": "efficientnet_lite0"}} | sections
    document["input"] |= sections.pop("split", {})
    document.pop("split", None)
    config.write_text(json.dumps(document))
    subprocess.run([binary, "run", str(config), "--out", str(out), "--quiet"], check=True)
    return out


def copies(image):
    """Name, changed picture, quality of the JPEG that it is saved as."""
    width, height = image.size
    edge = int(width * 0.03), int(height * 0.03)
    yield "saved as JPEG of quality 60", image, 60
    yield "made smaller (0.6)", image.resize((int(width * 0.6), int(height * 0.6)), Image.LANCZOS), 90
    yield "cropped (3 % each side)", image.crop((*edge, width - edge[0], height - edge[1])), 92
    yield "made brighter (1.12)", ImageEnhance.Brightness(image).enhance(1.12), 92
    yield "mirrored", ImageOps.mirror(image), 95


def similarities(binary, sources, work):
    root = work / "copies"
    for number, path in enumerate(sources):
        folder = root / f"{number:03d}"
        folder.mkdir(parents=True)
        image = Image.open(path).convert("RGB")
        shutil.copy(path, folder / f"original{path.suffix}")
        for name, changed, quality in copies(image):
            changed.save(folder / f"{name}.jpg", quality=quality)
    out = run(binary, root, work / "copies-run", split={"label": "none"})
    table = pq.read_table(out / "features")
    features = np.column_stack([table.column(name).to_numpy() for name in table.column_names[3:]])
    keys = [path.split("/") for path in table.column("path").to_pylist()]
    kinds = np.array([name.rsplit(".", 1)[0] for _, name in keys])
    numbers = np.array([int(folder) for folder, _ in keys])
    features = features - features[kinds == "original"].mean(0)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    originals = features[kinds == "original"][np.argsort(numbers[kinds == "original"])]
    print(f"{len(originals)} photographs and five copies of each")
    for kind in sorted(set(kinds) - {"original"}):
        mine = features[kinds == kind][np.argsort(numbers[kinds == kind])]
        cosine = (mine * originals).sum(1)
        print(f"  {kind:28} {100 * (cosine >= NEAR).mean():5.1f} % at {NEAR} and above, least {cosine.min():.3f}")
    among = originals @ originals.T
    np.fill_diagonal(among, -1)
    print(f"  two different photographs    {among.max():.3f} at most")


def labels(binary, labelled, seed, work):
    chance = random.Random(seed)
    root = work / f"labels{seed}"
    shutil.copytree(labelled, root)
    train = pictures(root / "train")
    classes = sorted({path.parent.name for path in train})
    assert len(classes) == 2, classes
    changed = set()
    for path in chance.sample(train, CHANGED):
        other = classes[1 - classes.index(path.parent.name)]
        target = root / "train" / other / f"moved_{path.name}"
        path.rename(target)
        changed.add(str(target.relative_to(root)))
    Image.effect_noise((200, 200), 90).convert("RGB").save(root / "train" / classes[0] / "noise.jpg")
    split = {"split": {"train": "train/**", "test": "test/**"}}
    out = run(binary, root, work / f"labels{seed}-run", split=split, report={})
    rows = pq.read_table(out / "quality.parquet").to_pylist()
    suspected = {row["path"] for row in rows if row["suspected_label"] is not None}
    others = suspected - changed
    noise = [row["path"] for row in rows if row["outlier"]]
    print(
        f"seed {seed}: {len(suspected & changed)} of {CHANGED} among {len(train)}, "
        f"and {len(others)} others {sorted(others)}; outliers {noise}"
    )


def main():
    binary, labelled, *more = sys.argv[1:]
    binary = str(Path(binary).resolve())
    chance = random.Random(3)
    some = [chance.sample(pictures(labelled), 80)] + [chance.sample(pictures(folder), 60) for folder in more]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        similarities(binary, sum(some, []), work)
        for seed in range(SEEDS):
            labels(binary, labelled, seed, work)


if __name__ == "__main__":
    main()
