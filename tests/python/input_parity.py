#!/usr/bin/env python3
"""From the file to the network's input: featurize against Keras, torchvision and timm, on photographs and on generated
pictures.

Each picture goes through `featurize run` with `layer: input`, and through the library's own loader: `load_img` and
`preprocess_input`, `Weights.IMAGENET1K_V1.transforms()`, `timm.data.create_transform`. Said are the share of values
that are the same, the share that are at most one level of 255 away, and the farthest; fewer than 99.9 % within a level
end with 1.

    pip install pillow numpy pyarrow keras torch torchvision timm
    python input_parity.py FEATURIZE [FOLDER]
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import pyarrow.parquet as pq
import timm
import torchvision
from PIL import Image

# model, library, side, module of keras.applications or name of the weights, levels of 255 in a unit of the input
CASES = [
    ("resnet50", "keras", 224, "resnet", 1.0),
    ("resnet50v2", "keras", 224, "resnet_v2", 127.5),
    ("densenet121", "keras", 224, "densenet", 255 * 0.225),
    ("inception_v3", "keras", 299, "inception_v3", 127.5),
    ("resnet50", "torchvision", 224, "ResNet50", 255 * 0.225),
    ("inception_v3", "torchvision", 299, "Inception_V3", 255 * 0.225),
    ("efficientnet_lite0", "timm", 224, "tf_efficientnet_lite0", 127.5),
    ("resnet50", "timm", 224, "resnet50", 255 * 0.225),
]


def generated(folder):
    rng = np.random.default_rng(5)
    for number, (width, height) in enumerate([(640, 427), (427, 640), (224, 224), (100, 900), (1200, 1200), (33, 47)]):
        y, x = np.mgrid[0:height, 0:width]
        data = np.stack([x * 255 // width, y * 255 // height, (x ^ y) % 256], 2) + rng.integers(
            0, 20, (height, width, 3)
        )
        image = Image.fromarray(data.clip(0, 255).astype(np.uint8))
        image.save(folder / f"{number}.jpg", quality=90, subsampling=number % 3)
        image.save(folder / f"{number}.png")


def theirs(library, side, name):
    if library == "keras":
        module = importlib.import_module(f"keras.applications.{name}")

        def prepare(path):
            array = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(side, side)))
            return module.preprocess_input(array[None].copy())[0]

        return prepare
    if library == "torchvision":
        transform = getattr(torchvision.models, f"{name}_Weights").IMAGENET1K_V1.transforms()
    else:
        cfg = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
        transform = timm.data.create_transform(**cfg, is_training=False)
    return lambda path: transform(Image.open(path).convert("RGB")).numpy().transpose(1, 2, 0)


def ours(binary, folder, out, model, library):
    yaml = {
        "version": 1,
        "name": "input",
        "input": {"root": str(folder), "label": "none"},
        "output": {"dir": str(out), "layout": "array"},
    }
    weights = "bundled" if model == "efficientnet_lite0" else "random"
    yaml["extract"] = {
        "model": model,
        "weights": weights,
        "layer": "input",
        "features": "flatten",
        "recipe": {"preset": library},
    }
    out.mkdir(parents=True)
    (out / "input.yaml").write_text(json.dumps(yaml))
    done = subprocess.run([binary, "run", "-q", str(out / "input.yaml")], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    for part in sorted((out / "features").glob("*.parquet")):
        for batch in pq.ParquetFile(part).iter_batches(16):
            column = [name for name in batch.schema.names if name not in ("path", "label", "split")][0]
            values = batch.column(column)
            yield from zip(batch.column("path").to_pylist(), np.asarray(values.flatten()).reshape(len(batch), -1))


def main():
    binary, bad = str(Path(sys.argv[1]).resolve()), False
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        folder = scratch / "generated"
        folder.mkdir()
        generated(folder)
        for place in [folder] + [Path(name).resolve() for name in sys.argv[2:]]:
            for number, (model, library, side, name, levels) in enumerate(CASES):
                prepare = theirs(library, side, name)
                count = values = same = near = 0
                farthest = 0.0
                for path, got in ours(binary, place, scratch / place.name / str(number), model, library):
                    wanted = prepare(place / path).reshape(-1).astype(np.float32)
                    far = np.abs(got.astype(np.float64) - wanted) * levels
                    count, values, same = count + 1, values + far.size, same + int((got == wanted).sum())
                    near, farthest = near + int((far <= 1.0001).sum()), max(farthest, float(far.max()))
                line = f"{count} pictures, {100 * same / values:.4f} % the same, {100 * near / values:.4f} % within a level, at most {farthest:.4f} away"
                print(f"{place.name:10} {model:20} {library:12} {line}", flush=True)
                bad |= count == 0 or near < 0.999 * values
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
