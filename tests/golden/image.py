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

    image_resize.json    `Image.resize` of patterns: source size, filter, size, sha256 of the RGB bytes, the first of them
    image_recipe.json    timm's evaluation transform and Keras' `preprocess_input` on patterns: sha256 of the bytes before
                         normalising and of the F32 (little endian) after it
    image_files.json     for each picture file: what it is, its size, sha256 of Pillow's pixels
    image_*.jpg ...      the picture files
    image_grid.json      the same for JPEGs of many samplings and sizes, with the place of each one in
    image_grid.bin       their bytes, one after the other

    pip install pillow numpy torch torchvision timm       # a Pillow with libjpeg-turbo, as all its wheels
    python image.py                                       # writes beside itself
"""

import hashlib
import io
import json
import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, features
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
    """Up, down, one side only, to one pixel."""
    sizes = [
        ((61, 47), (32, 24)), ((61, 47), (122, 94)), ((61, 47), (100, 20)), ((61, 47), (61, 20)), ((61, 47), (20, 47)),
        ((61, 47), (61, 47)), ((61, 47), (1, 1)), ((61, 47), (7, 131)), ((100, 100), (224, 224)), ((37, 120), (79, 256)),
        ((500, 375), (341, 256)), ((1, 1), (5, 3)), ((2, 3), (64, 64)), ((3, 200), (9, 7)), ((640, 5), (33, 40)),
        ((40, 60), (30, 40)), ((40, 60), (30, 39)), ((73, 52), (43, 12)), ((63, 74), (64, 73)),  # on both sides of an order
    ]
    cases = []
    for source, size in sizes:
        for name in FILTERS:
            data = pattern(*source).resize(size, resample(name)).tobytes()
            case = {"source": source, "filter": name, "size": size}
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
    assert features.check_feature("libjpeg_turbo"), "another libjpeg rounds otherwise"
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


STANDARD = {}  # Huffman tables as Pillow writes them, by their number in DHT: for each symbol its code and the code's length


def read_standard():
    data = encoded(Image.new("RGB", (8, 8)), "JPEG")
    at = 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xC4:
            counts, symbols, code, codes = data[at + 5 : at + 21], iter(data[at + 21 : end]), 0, {}
            for length, count in enumerate(counts, 1):
                for _ in range(count):
                    codes[next(symbols)] = (code, length)
                    code += 1
                code *= 2
            STANDARD[data[at + 4]] = codes
        at = end


def coded(rng, number, before):
    """A block of random coefficients as a string of bits, and its DC coefficient; `before` is that of the block before.
    """
    dc = rng.randint(-60, 60)
    inside = rng.choice([(), range(1, 10), range(1, 64)])
    places = sorted(rng.sample(inside, rng.randint(1, 6))) if inside else []
    bits, last = "", 0

    def put(table, symbol, value, size):
        code, length = table[symbol]
        value = value if value >= 0 else value + (1 << size) - 1
        return format(code, f"0{length}b") + (format(value, f"0{size}b") if size else "")

    size = abs(dc - before).bit_length()
    bits += put(STANDARD[number], size, dc - before, size)
    for place in places:
        value, zeros = rng.randint(1, 40) * rng.choice((1, -1)), place - last - 1
        bits += put(STANDARD[16 + number], 0xF0, 0, 0) * (zeros // 16)
        size = abs(value).bit_length()
        bits += put(STANDARD[16 + number], zeros % 16 << 4 | size, value, size)
        last = place
    return bits + (put(STANDARD[16 + number], 0, 0, 0) if last < 63 else ""), dc


def random_jpeg(rng, width, height, factors, scans, interval=0, wide=False, before=b"", ids=(1, 2, 3, 4)):
    """A baseline JPEG of any sampling `factors`, its components in `scans`, with the standard Huffman tables, which are
    left out.
    """

    def segment(marker, body):
        return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body

    across, down = max(h for h, _ in factors), max(v for _, v in factors)
    out = b"\xff\xd8" + before
    for number in (0, 1):
        steps = [rng.randint(1, 40) for _ in range(64)]
        out += segment(0xDB, bytes([wide << 4 | number]) + b"".join(s.to_bytes(1 + wide, "big") for s in steps))
    parts = b"".join(bytes([i, h << 4 | v, i != ids[0]]) for i, (h, v) in zip(ids, factors))
    out += segment(0xC0, b"\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big") + bytes([len(factors)]) + parts)
    out += segment(0xDD, interval.to_bytes(2, "big"))
    for scan in scans:
        parts = b"".join(bytes([ids[i], 0x11 if i else 0]) for i in scan)
        out += segment(0xDA, bytes([len(scan)]) + parts + b"\x00\x3f\x00")
        if len(scan) == 1:
            h, v = factors[scan[0]]
            mcus, blocks = -(-(-(-width * h // across)) // 8) * -(-(-(-height * v // down)) // 8), [scan[0]]
        else:
            mcus = -(-width // (8 * across)) * -(-height // (8 * down))
            blocks = [i for i in scan for _ in range(factors[i][0] * factors[i][1])]
        bits, dc = "", [0] * 4
        for mcu in range(mcus):
            if interval and mcu and mcu % interval == 0:
                out += stuffed(bits) + bytes([0xFF, 0xD0 + (mcu // interval - 1) % 8])
                bits, dc = "", [0] * 4
            for i in blocks:
                more, dc[i] = coded(rng, min(i, 1), dc[i])
                bits += more
        out += stuffed(bits)
    return out + b"\xff\xd9"


def stuffed(bits):
    bits += "1" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)).replace(b"\xff", b"\xff\x00")


def grid_files():
    """(what, bytes): all samplings that may be, at sizes around those of blocks and MCUs."""
    rng = random.Random(1)
    read_standard()
    factors = [[(1, 1)], [(2, 2)], [(1, 1)] * 3, [(1, 1)] * 4]
    for luma in [(2, 1), (1, 2), (2, 2), (4, 1), (1, 4), (4, 2), (2, 4), (3, 1), (1, 3), (3, 2)]:
        factors.append([luma, (1, 1), (1, 1)])
    factors += [[(2, 2), (2, 1), (1, 2)], [(1, 1), (2, 2), (1, 2)], [(4, 1), (2, 1), (1, 1)], [(1, 4), (1, 2), (1, 1)]]
    factors += [[(2, 2), (1, 1), (1, 1), (2, 2)], [(2, 1), (1, 1), (2, 1), (1, 1)]]
    for these in factors:
        name = " ".join(f"{h}x{v}" for h, v in these)
        all_in_one = [list(range(len(these)))]
        for number in range(12):
            width, height = rng.choice([(0, 0), (0, 16), (16, 0), (30, 30)])
            width, height = width + rng.randint(1, 17), height + rng.randint(1, 17)
            scans = rng.choice([all_in_one, [[i] for i in range(len(these))], [[0], all_in_one[0][1:]]])
            scans = all_in_one if number < 6 or not scans[-1] else scans
            interval = rng.choice([0, 0, 1, 3])
            data = random_jpeg(rng, width, height, these, scans, interval, wide=number % 4 == 3)
            yield f"{name}, {width} x {height}, scans {scans}, interval {interval}", data
    jfif = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
    for adobe in (None, 0, 1, 2):
        mark = b"" if adobe is None else b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([adobe])
        for before in (mark, jfif + mark):
            for ids in (b"\1\2\3\4", b"RGBA", b"\0\1\2\3"):
                for count in (3, 4):
                    data = random_jpeg(rng, 9, 5, [(1, 1)] * count, [list(range(count))], before=before, ids=ids)
                    yield f"{count} components {list(ids)}, JFIF {before != mark}, Adobe {adobe}", data
    for number in range(48):
        width, height = rng.randint(1, 40), rng.randint(1, 40)
        quality, reduced = rng.choice([1, 30, 75, 95, 100]), ("4:4:4", "4:2:2", "4:2:0")[number % 3]
        more = {"restart_marker_blocks": rng.randint(1, 3)} if number % 5 == 0 else {}
        image = smooth(width, height) if number % 2 else pattern(width, height)
        image = image.convert("CMYK") if number % 12 == 0 else image
        data = encoded(image, "JPEG", quality=quality, subsampling=reduced, progressive=True, **more)
        yield f"progressive {reduced}, {width} x {height}, {image.mode}, quality {quality}, {more}", data


def grid():
    rows, place = [], 0
    with open(HERE / "image_grid.bin", "wb") as out:
        for what, data in grid_files():
            out.write(data)
            pixels = Image.open(io.BytesIO(data)).convert("RGB")
            row = {"what": what, "bytes": [place, place + len(data)], "size": pixels.size}
            rows.append(row | {"sha256": sha256(pixels.tobytes())})
            place += len(data)
    return rows


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
    lossy = [(name, what, data, Image.open(io.BytesIO(data)).convert("RGB")) for name, what, data in lossy_files()]
    for name, what, data, pixels in [*lossy, *lossless_files()]:
        path = HERE / f"image_{name}"
        path.write_bytes(data)
        listed.append({"file": path.name, "what": what, "size": pixels.size, "sha256": sha256(pixels.tobytes())})
    return listed


def main():
    for stale in HERE.glob("image_*"):
        stale.unlink()
    for name, rows in [("resize", resizes()), ("recipe", recipes()), ("files", files()), ("grid", grid())]:
        lines = ",\n".join(json.dumps(row) for row in rows)
        (HERE / f"image_{name}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
