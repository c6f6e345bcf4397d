#!/usr/bin/env python3
"""Makes `image_presets.json`: the input tensors that Keras, torchvision, timm and TensorFlow prepare of pictures that a
formula draws.

The pictures are `pattern(width, height)` of `image.py`, saved as PNG and read by each library's own loader.

    presets     model and library, sha256 of the F32 values (little endian) in (height, width, channel), and the first of them:
                `keras.utils.load_img` + `preprocess_input`, `Weights.IMAGENET1K_V1.transforms()`,
                `timm.data.create_transform`
    fits        timm's crop modes `squash` and `border`
    fractions   `tf.image.resize` (bilinear, no antialiasing), which `keras.utils.image_dataset_from_directory` calls
    tensors     torchvision's `resize` of a tensor of bytes with antialiasing: the bytes

    pip install pillow numpy torch torchvision timm tensorflow keras
    python image_presets.py             # writes beside itself
"""

import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np

HERE = Path(__file__).resolve().parent
SIZES = [(61, 47), (500, 375), (200, 480)]
KERAS = {
    "resnet50": "resnet", "vgg16": "vgg16", "resnet50v2": "resnet_v2", "inception_v3": "inception_v3", "xception": "xception",
    "mobilenet_v2": "mobilenet_v2", "densenet121": "densenet",
}  # fmt: skip
TORCHVISION = {
    "resnet50": "ResNet50", "inception_v3": "Inception_V3", "mobilenet_v2": "MobileNet_V2", "alexnet": "AlexNet",
}  # fmt: skip
TIMM = {
    "efficientnet_lite0": "tf_efficientnet_lite0", "resnet50": "resnet50", "xception": "legacy_xception", "inception_v3": "inception_v3",
}  # fmt: skip


def row(values, **what):
    values = np.ascontiguousarray(values, dtype="<f4")
    first = [float(str(v)) for v in values.reshape(-1)[:6]]
    return what | {"first": first, "sha256": hashlib.sha256(values.tobytes()).hexdigest()}


def hwc(tensor):
    return tensor.numpy().transpose(1, 2, 0)


def pattern(width, height):
    """As in `image.py`, which imports torch, and torch and TensorFlow do not bear one another in one process."""
    from PIL import Image

    y, x, c = np.mgrid[0:height, 0:width, 0:3].astype(np.uint64)
    i = (y * np.uint64(width) + x) * np.uint64(3) + c
    noise = (i * np.uint64(2654435761)) % np.uint64(2**32) >> np.uint64(16)
    level = x * (c + 2) + y * (3 - c) + (x // 8 + y // 8) % 2 * 60 + noise % 32
    return Image.fromarray((level % 256).astype(np.uint8))


def presets(folder):
    import keras
    import timm
    import torchvision

    for width, height in SIZES:
        image, path = pattern(width, height), folder / "picture.png"
        image.save(path)
        what = {"source": [width, height]}
        for model, module in KERAS.items():
            module = importlib.import_module(f"keras.applications.{module}")
            side = 299 if model in ("inception_v3", "xception") else 224
            array = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(side, side)))
            yield row(module.preprocess_input(array[None].copy())[0], preset="keras", model=model, **what)
        for model, name in TORCHVISION.items():
            weights = getattr(torchvision.models, f"{name}_Weights").IMAGENET1K_V1
            yield row(hwc(weights.transforms()(image)), preset="torchvision", model=model, **what)
        for model, name in TIMM.items():
            cfg = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
            transform = timm.data.create_transform(**cfg, is_training=False)
            yield row(hwc(transform(image)), preset="timm", model=model, **what)


def fits():
    from timm.data.transforms_factory import transforms_imagenet_eval

    for source in SIZES + [(30, 400), (64, 64)]:
        for mode in "squash", "border":
            for size, pct in ((64, 0.875), (64, 1.0), ((48, 80), 0.9), ((33, 70), 1.0)):
                sides = (size, size) if isinstance(size, int) else size
                transform = transforms_imagenet_eval(
                    sides, crop_pct=pct, crop_mode=mode, interpolation="bicubic", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
                )  # fmt: skip
                yield row(
                    hwc(transform(pattern(*source))), source=list(source), size=list(sides), crop_pct=pct, fit=mode
                )


def fractions():
    import tensorflow as tf

    for source in SIZES + [(64, 64), (1, 7), (20, 20)]:
        for size in ((64, 64), (20, 30), (224, 224), (1, 1)):
            values = tf.image.resize(np.asarray(pattern(*source)), size, method="bilinear").numpy()
            yield row(values, source=list(source), size=list(size))


def of_tensors():
    import torch
    from torchvision.transforms.v2 import functional as tensors

    for source in SIZES:
        for size in ((24, 20), (9, 30)):
            for how in "bilinear", "bicubic":
                tensor = torch.from_numpy(np.asarray(pattern(*source))).permute(2, 0, 1)
                out = tensors.resize(tensor, list(size), interpolation=tensors.InterpolationMode(how), antialias=True)
                hexed = out.permute(1, 2, 0).contiguous().numpy().tobytes().hex()
                yield {"source": list(source), "size": list(size), "resize": how, "bytes": hexed}


def main():
    if sys.argv[1:] == ["fractions"]:
        return print("rows:" + json.dumps(list(fractions())))
    with tempfile.TemporaryDirectory() as folder:
        kinds = {"presets": list(presets(Path(folder))), "fits": list(fits()), "tensors": list(of_tensors())}
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, __file__, "fractions"]
    alone = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)
    kinds["fractions"] = json.loads(alone.stdout.split("rows:")[1])
    parts = [f'"{kind}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]" for kind, rows in kinds.items()]
    (HERE / "image_presets.json").write_text("{" + ",\n".join(parts) + "}\n")
    print({kind: len(rows) for kind, rows in kinds.items()})


if __name__ == "__main__":
    main()
