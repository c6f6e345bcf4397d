#!/usr/bin/env python3
"""Makes `image_decoding.json` and `image_decoding.bin`: files that say which way up they are, and files that end early.

For each: what it is, its place in the `.bin`, the settings of the section `image:`, the size and the sha256 of the
pixels that Pillow gives with these settings: `ImageOps.exif_transpose` for `exif: apply`,
`ImageFile.LOAD_TRUNCATED_IMAGES` for `truncated: pad`. What is transparent lies on white.

    pip install pillow numpy
    python image_decoding.py            # writes beside itself
"""

import hashlib
import io
import json
import zlib
from pathlib import Path

from PIL import Image, ImageFile, ImageOps

from image import pattern, smooth

HERE = Path(__file__).resolve().parent


def saved(image, **how):
    out = io.BytesIO()
    image.save(out, **how)
    return out.getvalue()


def pixels(image):
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")


def expected(data, exif, pad):
    ImageFile.LOAD_TRUNCATED_IMAGES = pad
    image = Image.open(io.BytesIO(data))
    image.load()
    image = pixels(ImageOps.exif_transpose(image) if exif == "apply" else image)
    return {"size": list(image.size), "sha256": hashlib.sha256(image.tobytes()).hexdigest()}


def orientations():
    ways = {
        "JPEG": {"quality": 90}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {},
    }  # fmt: skip
    for value in range(10):  # 0 and 9 say nothing
        exif = Image.Exif()
        exif[0x0112] = value
        exif[0x010F] = "a maker's name, so that there is more than one entry"
        for kind, how in ways.items():
            for name, block in ("big endian", exif), ("little endian", exif):
                if kind == "TIFF" and name == "big endian":
                    continue
                block.endian = ">" if name == "big endian" else "<"
                data = saved(smooth(21, 12), format=kind, exif=block, **how)
                yield f"{kind}, orientation {value}, {name}", data
    exif[0x0112] = 6
    sideways = saved(pattern(100, 70), format="JPEG", exif=exif, quality=75)
    yield "a JPEG of more than one row of blocks, sideways", sideways
    # a PNG whose EXIF comes after its pixels
    png = saved(smooth(21, 12), format="PNG")
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = b"eXIf" + block
    chunk = len(block).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    yield "PNG, EXIF after the pixels", png[:-12] + chunk + png[-12:]


def cut():
    base, small = pattern(83, 61), smooth(83, 61)
    files = {
        "JPEG 4:2:0": saved(small, format="JPEG", quality=90, subsampling=2),
        "JPEG 4:2:2": saved(base, format="JPEG", quality=80, subsampling=1),
        "JPEG 4:4:4": saved(base, format="JPEG", quality=70, subsampling=0),
        "JPEG, grey": saved(base.convert("L"), format="JPEG", quality=75),
        "JPEG, restarts": saved(base, format="JPEG", quality=75, restart_marker_blocks=3),
        "JPEG, optimised": saved(base, format="JPEG", quality=95, optimize=True),
        "PNG": saved(base, format="PNG"),
        "PNG, grey": saved(base.convert("L"), format="PNG"),
        "PNG, smooth": saved(small, format="PNG", compress_level=9),
        "PNG, stored": saved(base, format="PNG", compress_level=0),
    }  # fmt: skip
    for name, data in files.items():
        for part in 3, 5, 6, 7, 9:
            end = len(data) * part // 10
            if "JPEG" in name and data.find(b"\xff\xda") + 14 > end:
                continue  # nothing of the picture
            yield f"{name}, {part}/10", data[:end]


def main():
    rows, blob = [], b""
    cases = [(what, data, exif, False) for what, data in orientations() for exif in ("apply", "ignore")]
    cases += [(what, data, "apply", True) for what, data in cut()]
    for what, data, exif, pad in cases:
        row = {"what": what, "bytes": [len(blob), len(blob) + len(data)], "exif": exif}
        row |= {"truncated": "pad" if pad else "fail"} | expected(data, exif, pad)
        rows.append(row)
        blob += data
    (HERE / "image_decoding.bin").write_bytes(blob)
    lines = ",\n".join(json.dumps(row) for row in rows)
    (HERE / "image_decoding.json").write_text(f"[\n{lines}\n]\n")
    print(len(rows), "files,", len(blob), "bytes")


if __name__ == "__main__":
    main()
