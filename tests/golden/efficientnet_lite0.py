#!/usr/bin/env python3
"""Makes `efficientnet_lite0.safetensors` and `pictures/*.png`: what timm's `tf_efficientnet_lite0` gives with the
bundled weights.

The model is timm's, its parameters are those of `data/weights/efficientnet_lite0.f16.safetensors` widened to F32. All
network outputs are computed in float64 and stored as F32, so the numbers are the true ones to the last digit or so and
the file does not depend on the machine; the script prints how far timm's own F32 run is from them.

Input of `input.*`, an integer formula that any language repeats exactly (all products modulo 2^32):

    i     = (y * 224 + x) * 3 + c                         y, x in 0..224, c in 0..3 (R, G, B)
    noise = ((i * 2654435761) mod 2^32) >> 16
    level = (x * (c + 2) + y * (3 - c) + noise mod 64) mod 256
    value = (level / 255 - 0.5) / 0.5                     in F32, at [0, c, y, x] of the (1, 3, 224, 224) tensor

Tensors (F32):

    input.first              (64,)         the first values of the input tensor, in memory order
    input.stem.first         (256,)        `bn1`, the stem after its ReLU6, (32, 112, 112): the first values
    input.stem.mean          (32,)         and the mean of each channel
    input.blocks.2.1.first   (256,)        `blocks.2.1`, (40, 28, 28), after the residual sum
    input.blocks.2.1.mean    (40,)
    input.avg, input.max     (1280,)       `bn2`, the last map after its ReLU6, (1280, 7, 7), pooled
    input.logits             (1000,)       `classifier`

and for each picture NAME of `pictures/`, after timm's evaluation transform (Pillow's bicubic to 256, centre crop 224):

    NAME.pixels.first        (256,)        the first values of the (3, 224, 224) tensor
    NAME.pixels.row          (3, 224)      its row 112
    NAME.pixels.cells        (3, 28, 28)   its means over cells of 8 x 8
    NAME.pixels.sum          (3,)          the sum of each channel
    NAME.avg                 (1280,)
    NAME.logits              (1000,)

    pip install torch torchvision timm pillow numpy safetensors
    python efficientnet_lite0.py                          # writes beside itself
"""

from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.numpy import load_file, save
from timm.data import create_transform

HERE = Path(__file__).resolve().parent
WEIGHTS = HERE.parents[1] / "data" / "weights" / "efficientnet_lite0.f16.safetensors"
OUTPUT = HERE / "efficientnet_lite0.safetensors"
SIZE = 224
PICTURES = [("wide", 320, 240), ("small", 100, 100), ("tall", 375, 500)]  # name, width, height


def noise(i):
    """The noise of the formula above, for an array of non-negative indices: 16 bits."""
    return ((i.astype(np.uint64) * 2654435761) % 2**32 >> 16).astype(np.int64)


def formula_input():
    """The (1, 3, 224, 224) tensor of the formula above."""
    y, x, c = np.meshgrid(np.arange(SIZE), np.arange(SIZE), np.arange(3), indexing="ij")
    levels = (x * (c + 2) + y * (3 - c) + noise((y * SIZE + x) * 3 + c) % 64) % 256
    values = (levels.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    return torch.from_numpy(values.transpose(2, 0, 1)[None].copy())


def draw(width, height):
    """A picture with what pictures have: slopes, an edge at every angle, a thin pattern, grain. Integers only."""
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    red, green, blue = 60 + 150 * x // width, 200 - 120 * y // height, 40 + 160 * (x + y) // (width + height)
    distance = (x - width * 3 // 8) ** 2 + (y - height * 9 // 20) ** 2
    radius = min(width, height) // 4
    disc = distance < radius**2
    orange = 175 - 90 * distance // radius**2
    red, green, blue = (np.where(disc, v, w) for v, w in ((235, red), (orange, green), (40, blue)))
    bar = (x * 2 + y > width * 2) & (x * 2 + y < width * 2 + width // 4)
    red, green, blue = (np.where(bar, v, w) for v, w in ((25, red), (60, green), (110, blue)))
    stripes = (y > height * 3 // 4) & (x < width // 3) & (x // 3 % 2 == 0)
    red, green, blue = (np.where(stripes, 245, w) for w in (red, green, blue))
    grain = noise(noise(y * width + x) + y) % 16 * (y < height // 2)
    return np.clip(np.stack([red, green, blue], axis=-1) + grain[..., None], 0, 255).astype(np.uint8)


def build_model():
    """timm's network in evaluation mode, in float64, with the bundled weights."""
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    state = {name: torch.from_numpy(values.astype(np.float32)) for name, values in load_file(WEIGHTS).items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith(".num_batches_tracked")]
    if missing or unexpected:
        raise SystemExit(f"{WEIGHTS.name}: missing {missing}, unexpected {unexpected}")
    return model.eval()


def run(model, batch):
    """Every output of the network that is stored, for a batch of one, in the precision of the model."""
    taps = {}

    def keep(name):
        return lambda _module, _inputs, output: taps.update({name: output[0]})

    names = ("bn1", "blocks.2.1", "bn2", "global_pool")
    hooks = [model.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    with torch.inference_mode():
        logits = model(batch)[0]
    for hook in hooks:
        hook.remove()
    return {
        "stem.first": taps["bn1"].flatten()[:256],
        "stem.mean": taps["bn1"].mean((1, 2)),
        "blocks.2.1.first": taps["blocks.2.1"].flatten()[:256],
        "blocks.2.1.mean": taps["blocks.2.1"].mean((1, 2)),
        "avg": taps["global_pool"],
        "max": taps["bn2"].amax((1, 2)),
        "logits": logits,
    }


def run_both(model, batch, label):
    """The float64 outputs; prints the distance of the F32 run from them."""
    single = run(model.float(), batch)
    double = run(model.double(), batch.double())
    for name, reference in double.items():
        distance = torch.linalg.norm(single[name].double() - reference) / torch.linalg.norm(reference)
        print(f"{label + '.' + name:<24} |f32 - f64| / |f64| = {distance:.2e}")
    return double


def pixel_tensors(pixels):
    """What is stored of a preprocessed (3, 224, 224) picture."""
    double = pixels.double()
    return {
        "pixels.first": pixels.flatten()[:256],
        "pixels.row": pixels[:, 112],
        "pixels.cells": double.reshape(3, 28, 8, 28, 8).mean((2, 4)),
        "pixels.sum": double.sum((1, 2)),
    }


def main():
    torch.set_num_threads(1)
    model = build_model()
    batch = formula_input()
    golden = {"input.first": batch.flatten()[:64]}
    golden.update({f"input.{name}": values for name, values in run_both(model, batch, "input").items()})

    transform = create_transform(
        input_size=(3, SIZE, SIZE),
        interpolation="bicubic",
        crop_pct=0.875,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        is_training=False,
    )
    print(transform)
    (HERE / "pictures").mkdir(exist_ok=True)
    for name, width, height in PICTURES:
        path = HERE / "pictures" / f"{name}.png"
        Image.fromarray(draw(width, height)).save(path, optimize=True)
        pixels = transform(Image.open(path).convert("RGB"))
        golden.update({f"{name}.{part}": values for part, values in pixel_tensors(pixels).items()})
        outputs = run_both(model, pixels[None], name)
        golden.update({f"{name}.{part}": outputs[part] for part in ("avg", "logits")})

    arrays = {name: np.ascontiguousarray(values.numpy().astype(np.float32)) for name, values in golden.items()}
    OUTPUT.write_bytes(save(arrays, metadata={"made_by": f"{Path(__file__).name}, timm tf_efficientnet_lite0"}))
    print(f"{OUTPUT.name}: {len(arrays)} tensors, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
