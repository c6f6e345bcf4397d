#!/usr/bin/env python3
"""Makes `image_avif.json` and `image_avif.bin`: AVIF of every kind, and what Pillow (libavif, dav1d) makes of them.

For each: what it is, the places of the file and of a PNG with Pillow's pixels in the `.bin`. Pictures lie on white, and
are the right way up (`ImageOps.exif_transpose`). The tiled ones are put together here, of files that libavif wrote.

    pip install pillow numpy imagecodecs       # Pillow 11.3 or newer, imagecodecs for 10 and 12 bits
    python image_avif.py                       # writes beside itself
"""

import io
import json
import struct
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image, ImageOps

from image import pattern, smooth

HERE = Path(__file__).resolve().parent


def saved(image, **how):
    out = io.BytesIO()
    image.save(out, format="AVIF", speed=6, **how)
    return out.getvalue()


def deep(image, bits, pixelformat):
    array = np.asarray(image).astype(np.uint16)
    array = array << (bits - 8) | array >> (16 - bits)
    return imagecodecs.avif_encode(array, level=90, speed=6, bitspersample=bits, pixelformat=pixelformat)


def with_alpha(image):
    image = image.convert("RGBA")
    width, height = image.size
    y, x = np.mgrid[0:height, 0:width]
    image.putalpha(Image.fromarray((np.clip((x + y) * 300 // (width + height), 0, 255)).astype(np.uint8)))
    return image


def boxes(data):
    at = 0
    while at + 8 <= len(data):
        size = struct.unpack(">I", data[at : at + 4])[0] or len(data) - at
        yield data[at + 4 : at + 8], data[at + 8 : at + size]
        at += size


def box(kind, *body):
    body = b"".join(body)
    return struct.pack(">I", 8 + len(body)) + kind + body


def full(kind, version, *body):
    return box(kind, struct.pack(">I", version << 24), *body)


def frame_of(avif):
    """The AV1 data of a file of one item, and its properties by name."""
    (meta,) = [body for kind, body in boxes(avif) if kind == b"meta"]
    inside = dict(boxes(meta[4:]))
    properties = dict(boxes(dict(boxes(inside[b"iprp"]))[b"ipco"]))
    iloc = inside[b"iloc"]
    offset, length = struct.unpack(">II", iloc[-8:])
    return avif[offset : offset + length], properties


def grid(image, columns, rows, side, extra=(), **how):
    """`image` in tiles of `side`; what is missing at the edges is filled with grey."""
    width, height = image.size
    whole = Image.new("RGB", (columns * side, rows * side), "gray")
    whole.paste(image)
    tiles, properties = [], {}
    for y in range(rows):
        for x in range(columns):
            tile = whole.crop((x * side, y * side, (x + 1) * side, (y + 1) * side))
            data, properties = frame_of(saved(tile, **how))
            tiles.append(data)
    count = len(tiles)
    ids = range(2, 2 + count)
    entries = [full(b"infe", 2, struct.pack(">HH4sx", 1, 0, b"grid"))]
    entries += [full(b"infe", 2, struct.pack(">HH4sx", i, 0, b"av01")) for i in ids]
    spec = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    ipco = [
        full(b"ispe", 0, struct.pack(">II", width, height)), full(b"ispe", 0, struct.pack(">II", side, side)),
        box(b"pixi", properties[b"pixi"]), box(b"av1C", properties[b"av1C"]), box(b"colr", properties[b"colr"]), *extra,
    ]  # fmt: skip
    own = [1, 3, 5] + [0x80 | 6 + i for i in range(len(extra))]
    ipma = struct.pack(">I", 1 + count) + struct.pack(">HB", 1, len(own)) + bytes(own)
    ipma += b"".join(struct.pack(">HBBBBB", i, 4, 2, 3, 0x84, 5) for i in ids)

    def meta(start):
        iloc, at = struct.pack(">HHHHHHII", 0x4400, 1 + count, 1, 1, 0, 1, 0, len(spec)), start
        for i, data in zip(ids, tiles):
            iloc += struct.pack(">HHHHII", i, 0, 0, 1, at, len(data))
            at += len(data)
        return full(
            b"meta", 0, full(b"hdlr", 0, struct.pack(">I4s12xx", 0, b"pict")), full(b"pitm", 0, struct.pack(">H", 1)),
            full(b"iloc", 1, iloc), full(b"iinf", 0, struct.pack(">H", 1 + count), *entries),
            full(b"iref", 0, box(b"dimg", struct.pack(f">HH{count}H", 1, count, *ids))),
            box(b"iprp", box(b"ipco", *ipco), full(b"ipma", 0, ipma)), box(b"idat", spec),
        )  # fmt: skip

    head = box(b"ftyp", b"mif1", bytes(4), b"mif1avifmiaf")
    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", *tiles)


def cases():
    base, soft = pattern(45, 35), smooth(61, 47)
    for sampling in "4:2:0", "4:2:2", "4:4:4", "4:0:0":
        yield f"{sampling}, odd size", saved(soft, quality=80, subsampling=sampling)
        yield f"{sampling}, limited range", saved(soft, quality=80, subsampling=sampling, range="limited")
        yield f"{sampling}, sharp", saved(base, quality=95, subsampling=sampling)
    yield "lossless", saved(base, quality=100, subsampling="4:4:4")
    for width, height in (1, 1), (2, 3), (3, 1), (17, 64), (64, 1), (130, 5):
        yield f"{width}x{height}", saved(pattern(width, height), quality=90)
    yield "alpha", saved(with_alpha(soft), quality=85)
    yield "alpha, limited range", saved(with_alpha(soft), quality=85, range="limited")
    yield "alpha, premultiplied", saved(with_alpha(soft), quality=95, alpha_premultiplied=True)
    yield "two frames", saved(soft, quality=80, save_all=True, append_images=[base.resize(soft.size)])
    for bits in 10, 12:
        for pixelformat in "420", "422", "444", "400":
            image = soft.convert("L") if pixelformat == "400" else soft
            yield f"{bits} bits, {pixelformat}", deep(image, bits, pixelformat)
    yield "10 bits, alpha", deep(with_alpha(soft), 10, "444")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"orientation {orientation}", saved(smooth(31, 18), quality=80, exif=exif)
    photo = smooth(150, 100)
    yield "3x2 tiles", grid(photo, 3, 2, 64, quality=80)
    yield "3x2 tiles, 4:4:4, turned", grid(photo, 3, 2, 64, (box(b"irot", b"\1"),), quality=80, subsampling="4:4:4")
    yield "tiles of one column", grid(smooth(64, 190), 1, 3, 64, quality=80)


def main():
    rows, blob = [], b""
    for what, data in cases():
        image = Image.open(io.BytesIO(data))
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode == "RGBA":
            white = Image.new("RGB", image.size, "white")
            white.paste(image, mask=image.getchannel("A"))
            image = white
        image = image.convert("RGB")
        pixels = io.BytesIO()
        image.save(pixels, format="PNG", compress_level=9)
        middle = len(blob) + len(data)
        end = middle + len(pixels.getvalue())
        rows.append({"what": what, "bytes": [len(blob), middle], "pixels": [middle, end], "size": list(image.size)})
        blob += data + pixels.getvalue()
    (HERE / "image_avif.bin").write_bytes(blob)
    lines = ",\n".join(json.dumps(row) for row in rows)
    (HERE / "image_avif.json").write_text(f"[\n{lines}\n]\n")
    print(len(rows), "files,", len(blob), "bytes")


if __name__ == "__main__":
    main()
