#!/usr/bin/env python3
"""Some thousands of odd picture files: each must give Pillow's picture (two levels at most), or a reason.

Made with Pillow and OpenCV: every mode and bit depth, interlace, sides of one pixel, odd sides, restart intervals,
CMYK, the compressions of TIFF, palettes with transparency, WebP with and without loss, icons, PNM. Made byte by byte
(`odd/`): orientation told in every way, GIF frames beyond their canvas, bitmaps of every header and mask, TIFF of every
layout, PNG without an end. A folder of files goes through `featurize run` with `layer: input` and a recipe that changes
nothing, so that the tables hold the pixels; transparent ones lie on white, 16 bits lose their lower byte.

    pip install pillow numpy opencv-python-headless pyarrow
    python odd_files.py FEATURIZE [FOLDER]

FEATURIZE is the binary. Ends with 1 and the list if a file's picture is another one, or if one that Pillow reads fails
without a known reason.
"""

import io
import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import odd

# what is refused, with its reason, though Pillow reads it
REASONS = ("by its extension", "is not supported", "no picture format begins", "floating-point", "unsupported", "does not support")

# where Pillow 13 is wrong, or where both may be right
DEVIATIONS = {
    r"tiff_white0_16": "a 16-bit grey whose 0 is white is not inverted",
    r"tiff_(rgb|rgba|cmyk)16_.._(planar|planar_strips|tiles_planar)\.": "planes of 16 bits are read as if they had 8",
    r"tiff_(white0|black0|palette)_?[1248]?_?[1248]?_.._(planar|planar_strips|tiles_planar)\.": "a plane alone is read as bytes, and not inverted",
    r"tiff_(palette|grey)_alpha_.._(planar_deflate|planar_predictor|tiles_planar_lzw)\.": "the opacity of planes is lost",
    r"tiff_pillow_[A-Za-z]+_[a-z_]+_7\.": "Pillow writes pixels side by side and says that they are in planes",
    r"tiff_fewer_strips": "pixels of strips that are not there are black",
    r"gif_.*_grey_local\.": "a palette of greys of the frame's own gives way to that of the file",
    r"png_k3_d._no_palette": "a palette that is not there is one of greys",
}  # fmt: skip


def deviates(name):
    """Why another picture than Pillow's is right, if it is."""
    return next((reason for pattern, reason in DEVIATIONS.items() if re.match(pattern, name)), None)


def pattern(width, height):
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    level = x * 255 // max(width - 1, 1) * (c == 0) + y * 255 // max(height - 1, 1) * (c == 1) + ((x ^ y) * 9 % 256) * (c == 2)
    return Image.fromarray(level.astype(np.uint8))


def variants(image):
    """The picture in every mode."""
    yield "RGB", image
    for mode in "L", "1", "P", "CMYK", "YCbCr", "LAB", "HSV", "I", "F":
        try:
            yield mode, image.convert(mode)
        except (ValueError, OSError):
            pass
    alpha = Image.linear_gradient("L").resize(image.size)
    rgba = image.copy()
    rgba.putalpha(alpha)
    yield "RGBA", rgba
    yield "LA", rgba.convert("LA")
    yield "PA", rgba.convert("PA")
    grey = np.asarray(image.convert("L")).astype(np.uint16)
    yield "I;16", Image.fromarray(grey * 257 + 3)
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    palette.info["transparency"] = 3
    yield "P with a transparent colour", palette


WAYS = {
    "png": [{}, {"bits": 4}, {"bits": 2}, {"optimize": True}],
    "jpg": [{}, {"quality": 30, "progressive": True}, {"quality": 95, "subsampling": 0}, {"subsampling": 1}, {"restart_marker_blocks": 1},
            {"restart_marker_rows": 1, "subsampling": 2}, {"optimize": True, "quality": 100}, {"keep_rgb": True}],
    "gif": [{}, {"interlace": 0}],
    "webp": [{"lossless": True}, {"quality": 50}, {"lossless": True, "exact": True}],
    "bmp": [{}],
    "tif": [{}] + [{"compression": c} for c in ("tiff_lzw", "packbits", "tiff_adobe_deflate", "group4", "group3", "tiff_ccitt", "jpeg", "zstd", "lzma", "webp")]
           + [{"tiled": True}],
    "ico": [{"sizes": [(16, 16)]}, {"sizes": [(32, 32)], "bitmap_format": "bmp"}],
    "ppm": [{}], "tga": [{}], "pcx": [{}], "jp2": [{}], "avif": [{}], "qoi": [{}], "dds": [{}], "sgi": [{}], "im": [{}],
}  # fmt: skip


def made(folder):
    for size in (1, 1), (1, 9), (17, 1), (16, 16), (33, 21), (64, 47):
        for (mode, image), (suffix, ways) in itertools.product(variants(pattern(*size)), WAYS.items()):
            for number, how in enumerate(ways):
                path = folder / f"{suffix}_{mode}_{size[0]}x{size[1]}_{number}.{suffix}".replace(" ", "_").replace(";", "")
                try:
                    image.save(path, **how)
                except Exception:  # not every mode has a file in every format
                    path.unlink(missing_ok=True)
    for name, data in odd.cases():
        (folder / name).write_bytes(data)
    try:
        import cv2
    except ImportError:
        return
    colour = np.asarray(pattern(33, 21))[:, :, ::-1]
    wide = colour.astype(np.uint16) * 257
    for suffix, data in itertools.product(("png", "tiff", "jpg", "webp", "bmp", "ppm", "pgm", "pbm", "jp2", "exr"), (colour, wide, colour[:, :, 0], wide[:, :, 0])):
        path = folder / f"cv_{data.dtype}_{data.ndim}.{suffix}"
        try:
            cv2.imwrite(str(path), data)
        except cv2.error:
            path.unlink(missing_ok=True)


def of_pillow(data):
    """The pixels by our rules, or why Pillow has none. Of bytes: a file that has a name it maps, and forgets to turn a
    TIFF.
    """
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
        if image.format == "ICO" and image.mode == "P":
            return "Pillow forgets which colour of an icon is transparent"
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16 bits in all files that are read
            data = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
            return np.repeat(data[:, :, None], 3, 2)
        if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
            image = image.convert("RGBA")
            white = Image.new("RGB", image.size, "white")
            white.paste(image, mask=image.getchannel("A"))
            return np.asarray(white)
        return np.asarray(image.convert("RGB"))
    except Exception as error:
        return str(error)


def of_featurize(binary, folder, out):
    """The pixels of each file, or the reason why there are none: a run for each size of picture, since a recipe has
    one.
    """
    import pyarrow.parquet as pq

    pixels = {}
    sizes = {}
    for path in sorted(folder.iterdir()):
        picture = of_pillow(path.read_bytes())
        sizes.setdefault(picture.shape[:2] if not isinstance(picture, str) else (16, 16), []).append(path)
    for (height, width), paths in sizes.items():
        place = out / f"{width}x{height}"
        (place / "in").mkdir(parents=True)
        for path in paths:
            (place / "in" / path.name).symlink_to(path)
        recipe = {"size": [height, width], "fit": "stretch", "resize": "nearest", "crop_pct": 1.0, "channels": "rgb", "divisor": 1}
        recipe |= {"mean": [0, 0, 0], "std": [1, 1, 1]}
        yaml = {"version": 1, "name": "odd", "input": {"root": str(place / "in"), "label": "none", "max_bad_fraction": 1.0}}
        yaml |= {"extract": {"model": "efficientnet_lite0", "weights": "bundled", "layer": "input", "features": "flatten", "recipe": recipe}}
        yaml |= {"output": {"dir": str(place / "run"), "layout": "array"}}
        (place / "odd.yaml").write_text(json.dumps(yaml))
        done = subprocess.run([binary, "run", "-q", str(place / "odd.yaml")], capture_output=True, text=True)
        manifest = place / "run" / "manifest.parquet"
        if not manifest.exists():
            sys.exit(done.stderr)
        for row in pq.read_table(manifest).to_pylist():
            pixels[row["path"]] = str(row["error"] or row["status"])
        features = place / "run" / "features"
        for part in sorted(features.glob("*.parquet")) if features.exists() else []:
            table = pq.read_table(part)
            column = [name for name in table.column_names if name not in ("path", "label", "split")][0]
            for row in table.to_pylist():
                pixels[row["path"]] = np.asarray(row[column], dtype=np.int64).reshape(height, width, 3)
    return pixels


def main():
    binary = str(Path(sys.argv[1]).resolve())
    counts, wrong, refused = Counter(), [], Counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(scratch) / "files"
        folder.mkdir(exist_ok=True)
        if len(sys.argv) <= 2:
            made(folder)
        ours = of_featurize(binary, folder, Path(scratch) / "runs")
        for path in sorted(folder.iterdir()):
            theirs, got = of_pillow(path.read_bytes()), ours.get(path.name, "not in the manifest")
            if deviates(path.name):
                counts["Pillow is wrong"] += 1
                continue
            if isinstance(theirs, str) or isinstance(got, str):
                kind = "both refuse" if isinstance(theirs, str) and isinstance(got, str) else "only Pillow reads" if isinstance(got, str) else "only featurize reads"
                counts[kind] += 1
                if kind == "only Pillow reads":
                    refused[f"{path.suffix}: {got[:110]}"] += 1
                    if got != "skipped" and not any(reason in got.lower() for reason in REASONS):
                        wrong.append(f"{path.name}: {got}")
                continue
            if theirs.shape != got.shape:
                wrong.append(f"{path.name}: {got.shape}, not {theirs.shape}")
                continue
            far = int(np.abs(theirs.astype(np.int64) - got).max())
            counts["equal" if far == 0 else f"{far} levels away" if far <= 2 else "another picture"] += 1
            if far > 2:
                wrong.append(f"{path.name}: {far} levels away")
    print(dict(counts))
    for reason, count in sorted(refused.items()):
        print(f"  {count:4} only by Pillow: {reason}")
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
