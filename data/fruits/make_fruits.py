"""Draws the sample pictures of this folder: fruits on white, in the manner of the Fruits-360 data set.

    python3 make_fruits.py              # writes Training/<Class>/*.jpg and Test/<Class>/*.jpg beside this file
    python3 make_fruits.py --only Kiwi  # one class
    python3 make_fruits.py --out DIR    # somewhere else

Needs numpy and Pillow. Every fruit is a shaded solid: fruits.py has shapes and skins, raymarch.py the camera. A class
has six individuals for training and three others for the test, each photographed four times on a turntable; the files
are `<individual>_<frame>_100.jpg`. Everything random comes from the class, the split, the individual and the frame, so
a second run writes the same bytes (with the same libraries on the same kind of processor).
"""

import argparse
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

import fruits
from raymarch import Light, column, render, rotation, unit

INDIVIDUALS = {"Training": 6, "Test": 3}
FRAMES = 4

# How a fruit may stand, as ranges in degrees: turn about its own axis, pitch to the camera, roll in the picture.
FREE = ((0, 360), (-15, 65), (-30, 30))
LYING = ((0, 360), (-10, 30), (60, 120))
STANDING = ((0, 360), (-5, 30), (-20, 20))
CUT = ((0, 360), (38, 66), (-20, 20))
ARCH = ((-60, 60), (-25, 25), (-180, 180))
HANGING = ((0, 360), (-8, 15), (-15, 15))
HEART = ((0, 360), (-25, 35), (-60, 60))

# Individuals of a class take these in turn: what to build and how it may stand.
FRUITS = {
    "Apple": [(fruits.apple, FREE), (fruits.apple, STANDING), (fruits.apple, FREE)],
    "Banana": [(fruits.banana, ARCH)],
    "Cherry": [(fruits.cherry, HANGING)],
    "Grape": [(fruits.grape, HANGING)],
    "Kiwi": [(fruits.kiwi_half, CUT), (fruits.kiwi, LYING), (fruits.kiwi_half, CUT)],
    "Lemon": [(fruits.lemon, LYING), (fruits.lemon, HEART), (fruits.lemon_half, CUT)],
    "Orange": [(fruits.orange, FREE), (fruits.orange_half, CUT), (fruits.orange, FREE)],
    "Pear": [(fruits.pear, STANDING), (fruits.pear, STANDING), (fruits.pear, LYING)],
    "Pineapple": [(fruits.pineapple, STANDING)],
    "Strawberry": [(fruits.strawberry, HEART)],
    "Tomato": [(fruits.tomato, FREE)],
}


def pose_of(ranges, phase, rng, frame):
    """The pose of one frame: the turn goes round with the frames, pitch and roll stay near those of the individual."""
    spots = (frame + rng.random()) / FRAMES, phase[0] + rng.uniform(-0.12, 0.12), phase[1] + rng.uniform(-0.12, 0.12)
    degrees = [lo + (hi - lo) * float(np.clip(s, 0, 1)) for (lo, hi), s in zip(ranges, spots)]
    return rotation(*np.radians(degrees))


def light_of(rng):
    """The key light from the upper left or the front, the fill from the right."""
    key = unit(column(rng.uniform(-0.75, 0.1), rng.uniform(0.45, 0.9), 1.0))
    fill = unit(column(rng.uniform(0.5, 1.0), rng.uniform(-0.3, 0.2), 0.7))
    return Light(key, fill, rng.uniform(0.85, 1.0))


def photograph(name, split, folder):
    """All pictures of one class in one split."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(INDIVIDUALS[split]):
        seed = zlib.crc32(f"{name}/{split}/{k}".encode())
        rng = np.random.default_rng(seed)
        build, ranges = FRUITS[name][k % len(FRUITS[name])]
        parts, phase, scale = build(rng, k), rng.random(2), rng.uniform(0.93, 1.0)
        for frame in range(FRAMES):
            rng = np.random.default_rng([seed, frame])
            image = render(parts, pose_of(ranges, phase, rng, frame), light_of(rng), fill=scale)
            Image.fromarray(image).save(folder / f"{k}_{frame}_100.jpg", quality=90, optimize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to")
    parser.add_argument("--only", choices=FRUITS, help="draw one class")
    args = parser.parse_args()
    for split in INDIVIDUALS:
        for name in [args.only] if args.only else FRUITS:
            photograph(name, split, args.out / split / name)


if __name__ == "__main__":
    main()
