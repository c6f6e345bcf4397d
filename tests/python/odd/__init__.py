"""Odd files by kind, made byte by byte: `odd.cases()` gives name and content of some two thousand."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

W, H = 33, 21


def levels(width=W, height=H, channels=3, seed=0):
    """Smooth, with edges and noise: every byte matters."""
    y, x, c = np.mgrid[0:height, 0:width, 0:channels]
    noise = (x * 7919 + y * 104729 + c * 1299709 + seed * 15485863) * 2654435761 % 2**32 >> 24
    return ((x * (c + 2) + y * (5 - c) + (x // 8 + y // 8) % 2 * 60 + noise % 48) % 256).astype(np.uint8)


def picture(width=W, height=H):
    return Image.fromarray(levels(width, height))


def saved(image, **how):
    out = io.BytesIO()
    image.save(out, **how)
    return out.getvalue()


def chunk(kind, body, crc=None):
    """A chunk of a PNG."""
    return (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) if crc is None else crc)
    )


def cases():
    from . import bmp, gif, orientation, other, png, tiff

    for module in (orientation, gif, bmp, png, tiff, other):
        kind = module.__name__.rsplit(".", 1)[-1]
        for name, data in module.files():
            yield f"{kind}_{name}", data
