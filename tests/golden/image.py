#!/usr/bin/env python3
"""Makes `image_*`: what Pillow, torchvision and timm make of pictures that an integer formula draws.

The picture `pattern(width, height)`, which any language repeats exactly, holds gradients, edges and noise:

    i     = (y * width + x) * 3 + c                       x, y from the upper left, c in 0..3 (R, G, B)
    noise = ((i * 2654435761) mod 2^32) >> 16
    level = (x * (c + 2) + y * (3 - c) + (x // 8 + y // 8) mod 2 * 60 + noise mod 32) mod 256

and `smooth(width, height)`, for the codecs that lose something:

    level = (x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)), and (230, 40, 60) where
            4 * (2 * x - width)^2 + 4 * (2 * y - height)^2 < min(width, height)^2

Written:

    image_resize.json    `Image.resize` of patterns: source size, filter, size, box, sha256 of the RGB bytes, the first of them
    image_recipe.json    timm's evaluation transform and Keras' `preprocess_input` on patterns: sha256 of the bytes before
                         normalising and of the F32 (little endian) after it
    image_files.json     for each picture file: what it is, and either the sha256 of Pillow's pixels (lossless formats) or the
                         PNG that holds them
    image_*.jpg ...      the picture files

    pip install pillow numpy torch torchvision timm
    python image.py                                       # writes beside itself
"""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from timm.data.transforms_factory import transforms_imagenet_eval

HERE = Path(__file__).resolve().parent
FILTERS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pattern(width, height):
    y, x, c = np.mgrid[0:height, 0:width, 0:3].astype(np.uint64)
    i = (y * np.uint64(width) + x) * np.uint64(3) + c
    noise = (i * np.uint64(2654435761)) % np.uint64(2**32) >> np.uint64(16)
    level = x * (c + 2) + y * (3 - c) + (x // 8 + y // 8) % 2 * 60 + noise % 32
    return Image.fromarray((level % 256).astype(np.uint8))


def smooth(width, height):
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    image = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], axis=2)
    disc = 4 * (2 * x - width) ** 2 + 4 * (2 * y - height) ** 2 < min(width, height) ** 2
    image[disc] = (230, 40, 60)
    return Image.fromarray(image.astype(np.uint8))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def resample(name):
    return Image.Resampling[name.upper()]


def resizes():
    """Up, down, one side only, to one pixel, with and without a box."""
    plain = [
        ((61, 47), (32, 24)), ((61, 47), (122, 94)), ((61, 47), (100, 20)), ((61, 47), (61, 20)), ((61, 47), (20, 47)),
        ((61, 47), (61, 47)), ((61, 47), (1, 1)), ((61, 47), (7, 131)), ((100, 100), (224, 224)), ((37, 120), (79, 256)),
        ((500, 375), (341, 256)), ((1, 1), (5, 3)), ((2, 3), (64, 64)), ((3, 200), (9, 7)), ((640, 5), (33, 40)),
        ((40, 60), (30, 40)), ((40, 60), (30, 39)), ((73, 52), (43, 12)), ((63, 74), (64, 73)),  # on both sides of an order
    ]
    boxed = [
        ((61, 47), (32, 24), (3.25, 5.5, 50.75, 40.0)), ((61, 47), (61, 47), (0.5, 0.5, 60.5, 46.5)),
        ((100, 100), (130, 90), (10.1, 20.2, 99.9, 70.7)), ((61, 47), (30, 47), (0, 0, 30, 47)),
    ]  # fmt: skip
    cases = []
    for source, size, box in [(*c, None) for c in plain] + boxed:
        for name in FILTERS:
            data = pattern(*source).resize(size, resample(name), box=box).tobytes()
            case = {"source": source, "filter": name, "size": size, "box": box}
            cases.append(case | {"sha256": sha256(data), "first": list(data[:12])})
    return cases


def recipe(size, fit, name, crop_pct, channels="rgb", divisor=255.0, mean=MEAN, std=STD):
    return {
        "size": size, "fit": fit, "resize": name, "crop_pct": crop_pct,
        "channels": channels, "divisor": divisor, "mean": mean, "std": std,
    }  # fmt: skip


def keras(levels, recipe):
    """`preprocess_input` in its three modes, as keras.src.applications.imagenet_utils computes it on a NumPy array."""
    x = np.asarray(levels, dtype=np.float32)
    if recipe["divisor"] == 127.5:
        x = x / np.float32(127.5) - np.float32(1.0)
    else:
        x = x[..., ::-1] - np.array(recipe["mean"], dtype=np.float32)
    return x.transpose(2, 0, 1)


def recipes():
    cases = []
    sources = [(61, 47), (100, 100), (37, 120), (500, 375), (375, 501), (641, 97), (3, 5)]
    for source in sources:
        image = pattern(*source)
        for size, crop_pct, name in [
            ([224, 224], 0.875, "bicubic"), ([224, 224], 0.875, "bilinear"), ([224, 224], 0.95, "bicubic"),
            ([299, 299], 1.0, "bicubic"), ([96, 128], 0.9, "bilinear"), ([65, 33], 0.77, "lanczos"),
        ]:  # fmt: skip
            kwargs = dict(img_size=tuple(size), crop_pct=crop_pct, interpolation=name, mean=MEAN, std=STD)
            levels = transforms_imagenet_eval(**kwargs, normalize=False)(image).numpy()
            values = transforms_imagenet_eval(**kwargs)(image).numpy()
            cases.append((source, recipe(size, "crop", name, crop_pct), levels.transpose(1, 2, 0), values))
        for size, name, rest in [
            ([224, 224], "nearest", dict(channels="bgr", divisor=1.0, mean=(103.939, 116.779, 123.68), std=(1, 1, 1))),
            ([299, 150], "bilinear", dict(divisor=127.5, mean=(1, 1, 1), std=(1, 1, 1))),
        ]:
            how = recipe(size, "stretch", name, 1.0, **rest)
            levels = np.asarray(image.resize((size[1], size[0]), resample(name)))
            cases.append((source, how, levels, keras(levels, how)))
        for size in ([64, 64], [40, 90]):
            how = recipe(size, "pad", "bicubic", 1.0, divisor=127.5, mean=(1, 1, 1), std=(1, 1, 1))
            try:
                levels = np.asarray(ImageOps.pad(image, (size[1], size[0]), resample("bicubic"), color=(255, 255, 255)))
            except ValueError:  # a side would become 0
                continue
            cases.append((source, how, levels, keras(levels, how)))
    return [
        {
            "source": source,
            "recipe": how,
            "levels": sha256(np.ascontiguousarray(levels).tobytes()),
            "values": sha256(np.ascontiguousarray(values, dtype="<f4").tobytes()),
            "first": [float(v) for v in values.reshape(-1)[:4]],
        }
        for source, how, levels, values in cases
    ]


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.copy().save(out, kind, **options)  # a copy: Pillow leaves an encoder's settings behind on the picture
    return out.getvalue()


def adobe_rgb(data):
    """A JPEG whose three components are R, G and B: without JFIF, with Adobe's marker saying so."""
    assert data[2:4] == b"\xff\xe0"
    rest = data[4 + int.from_bytes(data[4:6], "big") :]
    return data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + rest


def ycck(data):
    """Adobe's marker of a four-component JPEG changed to say YCCK."""
    at = data.index(b"Adobe")
    return data[: at + 11] + b"\x02" + data[at + 12 :]


def resampled(data, factors, width, height):
    """The same blocks under other sampling factors of the first component (Pillow writes only three kinds)."""
    at = data.index(b"\xff\xc0") + 5
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return data[:at] + size + data[at + 4 : at + 6] + bytes([factors]) + data[at + 7 :]


def lossy_files():
    """(name, what, bytes): Pillow's own decoder is the reference."""
    odd, even = smooth(45, 35), smooth(48, 32)
    yield "444.jpg", "4:4:4, odd size", encoded(odd, "JPEG", quality=90, subsampling="4:4:4")
    yield "422.jpg", "4:2:2, odd size", encoded(odd, "JPEG", quality=90, subsampling="4:2:2")
    yield "420.jpg", "4:2:0, odd size", encoded(odd, "JPEG", quality=90, subsampling="4:2:0")
    yield "420_even.jpg", "4:2:0, whole blocks", encoded(even, "JPEG", quality=90, subsampling="4:2:0")
    blocks = encoded(smooth(48, 32), "JPEG", quality=90, subsampling="4:2:0")
    yield "411.jpg", "4:1:1, odd size", resampled(blocks, 0x41, 93, 15)
    blocks = encoded(smooth(48, 32), "JPEG", quality=90, subsampling="4:2:2")
    yield "440.jpg", "4:4:0, odd size", resampled(blocks, 0x12, 23, 61)
    yield "tiny.jpg", "4:2:0, 3 x 2 pixels", encoded(smooth(3, 2), "JPEG", quality=90, subsampling="4:2:0")
    yield "grey.jpg", "one component", encoded(odd.convert("L"), "JPEG", quality=90)
    yield "progressive.jpg", "progressive 4:2:0", encoded(odd, "JPEG", quality=90, progressive=True)
    yield "restart.jpg", "restart markers", encoded(odd, "JPEG", quality=90, restart_marker_blocks=2)
    yield "cmyk.jpg", "CMYK, Adobe", encoded(odd.convert("CMYK"), "JPEG", quality=90)
    yield "ycck.jpg", "YCCK, Adobe", ycck(encoded(odd.convert("CMYK"), "JPEG", quality=90))
    yield "rgb.jpg", "RGB, Adobe", adobe_rgb(encoded(odd, "JPEG", quality=90, subsampling="4:4:4"))
    yield "q30.jpg", "4:2:0, strong compression", encoded(pattern(64, 48), "JPEG", quality=30)
    yield "lossy.webp", "lossy WebP", encoded(odd, "WEBP", quality=80)


def on_white(image):
    out = Image.new("RGB", image.size, (255, 255, 255))
    out.paste(image, mask=image.getchannel("A"))
    return out


def lossless_files():
    """(name, what, bytes, the RGB pixels that our rules make of it)."""
    image = pattern(31, 23)
    grey = image.convert("L")
    alpha = image.copy()
    alpha.putalpha(grey)
    deep = np.asarray(grey).astype(np.uint16) * 256 + 77
    yield "rgb.png", "RGB", encoded(image, "PNG"), image
    yield "grey.png", "grey", encoded(grey, "PNG"), grey.convert("RGB")
    yield "alpha.png", "transparency on white", encoded(alpha, "PNG"), on_white(alpha)
    yield "grey_alpha.png", "grey with transparency", encoded(alpha.convert("LA"), "PNG"), on_white(alpha.convert("LA").convert("RGBA"))
    yield "grey16.png", "16-bit grey", encoded(Image.fromarray(deep), "PNG"), grey.convert("RGB")
    yield "palette.png", "palette", encoded(image.quantize(64), "PNG"), image.quantize(64).convert("RGB")
    yield "bit.png", "one bit", encoded(grey.convert("1"), "PNG"), grey.convert("1").convert("RGB")
    yield "lossless.webp", "lossless WebP", encoded(image, "WEBP", lossless=True), image
    frames = [image.quantize(64), grey.convert("P")]
    yield "animated.gif", "first frame", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), frames[0].convert("RGB")
    yield "rgb.bmp", "BMP", encoded(image, "BMP"), image
    yield "lzw.tif", "TIFF, LZW", encoded(image, "TIFF", compression="tiff_lzw"), image
    yield "pages.tif", "first page", encoded(image, "TIFF", save_all=True, append_images=[grey.copy()]), image
    yield "rgb.ppm", "PPM", encoded(image, "PPM"), image
    yield "rgb.ico", "ICO", encoded(image.resize((32, 32)), "ICO", sizes=[(32, 32)], bitmap_format="bmp"), image.resize((32, 32))
    yield "rgb.qoi", "QOI", encoded(image, "QOI"), image


def files():
    listed = []
    for name, what, data in lossy_files():
        path = HERE / f"image_{name}"
        path.write_bytes(data)
        pixels = Image.open(io.BytesIO(data)).convert("RGB")
        png = path.with_name(path.name.replace(".", "_") + ".png")
        pixels.save(png, optimize=True)
        listed.append({"file": path.name, "what": what, "pixels": png.name})
    for name, what, data, pixels in lossless_files():
        path = HERE / f"image_{name}"
        path.write_bytes(data)
        listed.append({"file": path.name, "what": what, "size": pixels.size, "sha256": sha256(pixels.tobytes())})
    return listed


def main():
    for stale in HERE.glob("image_*"):
        stale.unlink()
    for name, rows in [("resize", resizes()), ("recipe", recipes()), ("files", files())]:
        lines = ",\n".join(json.dumps(row) for row in rows)
        (HERE / f"image_{name}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
