"""WebP with and without loss, opacity and a header; AVIF of tiles with opacity; JPEG with odd markers and components,
and of arithmetic codes where there is a jpegtran (JPEGTRAN names it)."""

import os
import shutil
import struct
import subprocess
import tempfile

import numpy as np
from PIL import Image

from . import H, W, levels, picture, saved
from .orientation import riff


def files():
    yield from webps()
    yield from avifs()
    yield from jpegs()
    yield from arithmetic()


def with_alpha(image):
    image = image.convert("RGBA")
    image.putalpha(Image.fromarray(levels(*image.size, 1, 4)[:, :, 0]))
    return image


def webps():
    for size in (1, 1), (2, 3), (W, H), (64, 47):
        base = picture(*size)
        for name, image in ("rgb", base), ("rgba", with_alpha(base)), ("grey", base.convert("L")):
            for number, how in enumerate(({"lossless": True}, {"lossless": True, "exact": True}, {"quality": 30}, {"quality": 95}, {"quality": 80, "alpha_quality": 20}, {"quality": 0, "method": 6})):
                yield f"webp_{name}_{size[0]}x{size[1]}_{number}.webp", saved(image, format="WEBP", **how)
    frames = [with_alpha(picture()), with_alpha(picture()).rotate(180), with_alpha(picture()).resize((W, H))]
    for name, how in {"lossless": {"lossless": True}, "lossy": {"quality": 80}, "background": {"lossless": True, "background": (255, 0, 0, 255)}, "min": {"minimize_size": True}}.items():
        yield f"webp_animated_{name}.webp", saved(frames[0], format="WEBP", save_all=True, append_images=frames[1:], **how)
    small = saved(with_alpha(picture(10, 6)), format="WEBP", lossless=True)[12:]
    for x, y in (0, 0), (4, 2), (22, 14):
        for flags in (0, 2):
            anmf = struct.pack("<I", x // 2)[:3] + struct.pack("<I", y // 2)[:3] + struct.pack("<I", 9)[:3] + struct.pack("<I", 5)[:3] + b"\x10\0\0" + bytes([flags]) + small
            head = riff(b"VP8X", bytes([0x12, 0, 0, 0]) + struct.pack("<I", W - 1)[:3] + struct.pack("<I", H - 1)[:3]) + riff(b"ANIM", b"\x10\x20\x30\xff\0\0")
            body = head + riff(b"ANMF", anmf)
            yield f"webp_frame_{x}_{y}_{flags}.webp", b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    lossy, lossless = saved(picture(), format="WEBP", quality=80), saved(picture(), format="WEBP", lossless=True)
    yield "webp_riff_too_long.webp", lossy[:4] + struct.pack("<I", len(lossy) + 100) + lossy[8:]
    yield "webp_riff_too_short.webp", lossy[:4] + struct.pack("<I", len(lossy) - 20) + lossy[8:]
    yield "webp_behind.webp", lossless + b"junk behind"
    yield "webp_cut.webp", lossless[:-9]


def avifs():
    from .avif_boxes import grid

    photo = with_alpha(picture(150, 100))
    for opacity in ("none", "item", "grid", "tiles", "some_tiles"):
        for sampling in ("4:4:4", "4:2:0"):
            yield f"avif_grid_{opacity}_{sampling[2]}{sampling[4]}.avif", grid(photo, 3, 2, 64, opacity, quality=90, subsampling=sampling)
    for size in (1, 1), (W, H), (64, 47):
        for sampling in ("4:4:4", "4:2:2", "4:2:0", "4:0:0"):
            yield f"avif_{size[0]}x{size[1]}_{sampling[2]}{sampling[4]}.avif", saved(picture(*size), format="AVIF", quality=70, subsampling=sampling)
            yield f"avif_alpha_{size[0]}x{size[1]}_{sampling[2]}{sampling[4]}.avif", saved(with_alpha(picture(*size)), format="AVIF", quality=90, subsampling=sampling)


def jpegs():
    base = picture(64, 47)
    for mode in ("RGB", "L", "CMYK", "YCbCr"):
        image = base.convert(mode)
        for number, how in enumerate(({}, {"progressive": True}, {"quality": 100, "subsampling": 0}, {"subsampling": 1}, {"restart_marker_blocks": 2}, {"optimize": True, "quality": 5})):
            data = saved(image, format="JPEG", **how)
            yield f"jpeg_{mode}_{number}.jpg", data
            frame = data.index(b"\xff\xc2" if how.get("progressive") else b"\xff\xc0")
            yield f"jpeg_{mode}_{number}_junk.jpg", data[:frame] + b"\x12\x34" + data[frame:]
            yield f"jpeg_{mode}_{number}_fill.jpg", data[:frame] + b"\xff\xff" + data[frame:]
            yield f"jpeg_{mode}_{number}_no_end.jpg", data[:-2]
            yield f"jpeg_{mode}_{number}_half_end.jpg", data[:-1]
            yield f"jpeg_{mode}_{number}_zeros_for_end.jpg", data[:-2] + bytes(2)
            yield f"jpeg_{mode}_{number}_behind.jpg", data + bytes(500) + data
            yield f"jpeg_{mode}_{number}_no_jfif.jpg", data[:2] + data[4 + struct.unpack(">H", data[4:6])[0] :]
            yield f"jpeg_{mode}_{number}_junk_before_end.jpg", data[:-2] + bytes(range(1, 200)) + data[-2:]
            if number == 0 and mode in ("RGB", "CMYK"):
                for transform in (0, 1, 2):
                    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform])
                    start = 4 + struct.unpack(">H", data[4:6])[0]
                    yield f"jpeg_{mode}_adobe{transform}.jpg", data[:2] + adobe + data[start:]
                    yield f"jpeg_{mode}_jfif_adobe{transform}.jpg", data[:start] + adobe + data[start:]
    two = saved(np_image(), format="MPO", save_all=True, append_images=[picture(20, 20)])
    yield "mpo.jpg", two


def arithmetic():
    tool = os.environ.get("JPEGTRAN") or shutil.which("jpegtran")
    ways = {"plain": [], "progressive": ["-progressive"], "restart": ["-restart", "1"], "both": ["-progressive", "-restart", "1"]}
    for size in (1, 1), (W, H), (64, 47):
        for mode, quality, subsampling in ("RGB", 90, 0), ("RGB", 70, 2), ("RGB", 100, 1), ("L", 80, 0), ("CMYK", 60, 0):
            data = saved(picture(*size).convert(mode), format="JPEG", quality=quality, **({"subsampling": subsampling} if mode == "RGB" else {}))
            for name, options in ways.items() if tool else ():
                with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
                    file.write(data)
                    file.flush()
                    made = subprocess.run([tool, "-arithmetic", *options, file.name], capture_output=True, check=True).stdout
                yield f"arithmetic_{mode}{quality}_{size[0]}x{size[1]}_{name}.jpg", made


def np_image():
    return Image.fromarray(np.ascontiguousarray(levels()[:, ::-1]))
