"""TIFF of every layout, depth, colour, compression and order."""

import itertools
import struct
import zlib

import numpy as np
from PIL import Image

from . import H, W, levels, picture, saved

SHORT, LONG, LONG8 = 3, 4, 16
COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}


def directory(tags, e, big, at):
    """The bytes of a directory at `at`: tags are {number: (type, values)}; values that are bytes stand as they are."""
    word, width = ("Q", 8) if big else ("I", 4)
    out, tail = struct.pack(e + ("Q" if big else "H"), len(tags)), b""
    behind = at + len(out) + len(tags) * (4 + 2 * width) + width
    for tag, (kind, values) in sorted(tags.items()):
        body = values if isinstance(values, bytes) else b"".join(struct.pack(e + {SHORT: "H", LONG: "I", LONG8: "Q"}[kind], v) for v in values)
        count = len(values)
        if len(body) > width:
            place = struct.pack(e + word, behind + len(tail))
            tail += body + bytes(len(body) % 2)
        else:
            place = body.ljust(width, b"\0")
        out += struct.pack(e + "HH" + word, tag, kind, count) + place
    return out + struct.pack(e + word, 0) + tail


def packed_rows(samples, bits, e):
    """Rows of samples (height, width * channels), each from a byte on."""
    if bits == 16:
        return [row.astype(e + "u2").tobytes() for row in samples]
    if bits == 32:
        return [row.astype(e + "u4").tobytes() for row in samples]
    if bits == 8:
        return [row.astype(np.uint8).tobytes() for row in samples]
    out = []
    for row in samples:
        digits = (row[:, None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8).reshape(-1)
        out.append(np.packbits(digits).tobytes())
    return out


def differences(samples, channels, bits):
    samples = samples.astype(np.int64)
    out = samples.copy()
    out[:, channels:] -= samples[:, :-channels]
    return out % (1 << bits)


def lzw(data):
    """Codes of nine bits, cleared before they grow."""
    codes = []
    for i in range(0, len(data), 200):
        codes += [256, *data[i : i + 200]]
    codes.append(257)
    bits = "".join(f"{c:09b}" for c in codes)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def pack_bits(data):
    out, i = b"", 0
    while i < len(data):
        run = 1
        while i + run < len(data) and run < 128 and data[i + run] == data[i]:
            run += 1
        if run > 2:
            out += bytes([257 - run, data[i]])
            i += run
        else:
            out += bytes([min(127, len(data) - i - 1)]) + data[i : i + 128] if run < 3 and len(data) - i <= 5 else bytes([0, data[i]])
            i += len(data) - i if run < 3 and len(data) - i <= 5 else 1
    return out


PACK = {1: bytes, 5: lzw, 8: zlib.compress, 32946: zlib.compress, 32773: pack_bits}


def flipped(data):
    return bytes(int(f"{b:08b}"[::-1], 2) for b in data)


def tiff(photo, bits=8, extra=(), e="<", big=False, compression=1, predictor=1, tile=None, rows=None, planar=False, order=1, width=W, height=H,
         seed=0, more=None, drop=(), with_extra=True, samples=None):  # fmt: skip
    """A file of pixels that `seed` chooses."""
    channels = COLOURS[photo] + len(extra)
    if samples is None:
        values = levels(width, height, channels, seed).astype(np.uint16)
        if 1 in extra:  # multiplied
            at = COLOURS[photo]
            values[:, :, :at] = values[:, :, :at] * values[:, :, at : at + 1] // 255
        samples = values * 257 if bits == 16 else values.astype(np.uint32) * 16843009 if bits == 32 else values >> max(0, 8 - bits) if bits < 12 else values << (bits - 8)
    tw, th = tile or (width, rows or height)
    chunks = []
    for plane in range(channels if planar else 1):
        part = samples[:, :, plane : plane + 1] if planar else samples
        for y, x in itertools.product(range(0, height, th), range(0, width, tw)):
            piece = part[y : y + th, x : x + tw]
            if tile:
                piece = np.pad(piece, ((0, th - piece.shape[0]), (0, tw - piece.shape[1]), (0, 0)))
            flat = piece.reshape(piece.shape[0], -1)
            if predictor == 2:
                flat = differences(flat, part.shape[2], bits)
            data = PACK[compression](b"".join(packed_rows(flat, bits, e)))
            chunks.append(flipped(data) if order == 2 else data)
    head = 16 if big else 8
    offsets = [head + sum(map(len, chunks[:i])) for i in range(len(chunks))]
    place = LONG8 if big else LONG
    tags = {256: (LONG, [width]), 257: (LONG, [height]), 258: (SHORT, [bits] * channels), 259: (SHORT, [compression]), 262: (SHORT, [photo]), 277: (SHORT, [channels])}
    if planar:
        tags[284] = (SHORT, [2])
    if tile:
        tags |= {322: (LONG, [tw]), 323: (LONG, [th]), 324: (place, offsets), 325: (place, [len(c) for c in chunks])}
    else:
        tags |= {273: (place, offsets), 278: (LONG, [th]), 279: (place, [len(c) for c in chunks])}
    if extra and with_extra:
        tags[338] = (SHORT, list(extra))
    if order == 2:
        tags[266] = (SHORT, [2])
    if predictor != 1:
        tags[317] = (SHORT, [predictor])
    if photo == 3:
        count = 1 << bits
        tags[320] = (SHORT, [int(v) * 257 for c in range(3) for v in levels(count, 1, 3, 9)[0, :, c]])
    if photo == 6:
        tags[530] = (SHORT, [1, 1])
    tags |= more or {}
    for tag in drop:
        del tags[tag]
    body = b"".join(chunks)
    body += bytes(len(body) % 2)
    start = head + len(body)
    if big:
        first = (b"II" if e == "<" else b"MM") + struct.pack(e + "HHHQ", 43, 8, 0, start)
    else:
        first = (b"II" if e == "<" else b"MM") + struct.pack(e + "HI", 42, start)
    return first + body + directory(tags, e, big, start)


KINDS = {
    "white0_1": (0, 1, ()), "black0_1": (1, 1, ()), "white0_2": (0, 2, ()), "black0_2": (1, 2, ()), "white0_4": (0, 4, ()), "black0_4": (1, 4, ()),
    "white0_8": (0, 8, ()), "black0_8": (1, 8, ()), "white0_16": (0, 16, ()), "black0_16": (1, 16, ()), "grey12": (1, 12, ()), "grey32": (1, 32, ()),
    "grey_x": (1, 8, (0,)), "grey_premultiplied": (1, 8, (1,)), "grey_alpha": (1, 8, (2,)), "grey_alpha16": (1, 16, (2,)), "white0_alpha": (0, 8, (2,)),
    "rgb8": (2, 8, ()), "rgb16": (2, 16, ()), "rgbx8": (2, 8, (0,)), "rgb_premultiplied8": (2, 8, (1,)), "rgba8": (2, 8, (2,)), "rgb_corel": (2, 8, (999,)),
    "rgbx16": (2, 16, (0,)), "rgb_premultiplied16": (2, 16, (1,)), "rgba16": (2, 16, (2,)), "rgbxx": (2, 8, (0, 0)), "rgbxxx": (2, 8, (0, 0, 0)),
    "rgbax": (2, 8, (2, 0)), "rgbaxx": (2, 8, (2, 0, 0)), "rgb_premultiplied_x": (2, 8, (1, 0)), "rgb_premultiplied_xx": (2, 8, (1, 0, 0)),
    "palette1": (3, 1, ()), "palette2": (3, 2, ()), "palette4": (3, 4, ()), "palette8": (3, 8, ()), "palette_x": (3, 8, (0,)), "palette_alpha": (3, 8, (2,)),
    "cmyk8": (5, 8, ()), "cmyk16": (5, 16, ()), "cmykx": (5, 8, (0,)), "cmykxx": (5, 8, (0, 0)), "ycbcr": (6, 8, ()),
}  # fmt: skip


def files():
    for name, (photo, bits, extra) in KINDS.items():
        make = lambda **how: tiff(photo, bits, extra, **how)  # noqa: B023, E731
        for e in "<>":
            order = "le" if e == "<" else "be"
            yield f"{name}_{order}.tif", make(e=e)
            yield f"{name}_{order}_strips.tif", make(e=e, rows=4)
            yield f"{name}_{order}_big.tif", make(e=e, big=True, rows=5)
            yield f"{name}_{order}_reversed.tif", make(e=e, order=2)
            yield f"{name}_{order}_reversed_lzw.tif", make(e=e, order=2, compression=5)
            yield f"{name}_{order}_planar.tif", make(e=e, planar=True)
            yield f"{name}_{order}_planar_strips.tif", make(e=e, planar=True, rows=4)
            yield f"{name}_{order}_planar_deflate.tif", make(e=e, planar=True, rows=4, compression=8)
            yield f"{name}_{order}_tiles.tif", make(e=e, tile=(16, 16))
            yield f"{name}_{order}_tile.tif", make(e=e, tile=(48, 32))
            yield f"{name}_{order}_tiles_lzw.tif", make(e=e, tile=(16, 16), compression=5)
            yield f"{name}_{order}_tiles_planar.tif", make(e=e, tile=(16, 16), planar=True)
            yield f"{name}_{order}_tiles_planar_lzw.tif", make(e=e, tile=(16, 32), planar=True, compression=5)
            for compression in PACK:
                yield f"{name}_{order}_c{compression}.tif", make(e=e, compression=compression, rows=8)
                yield f"{name}_{order}_c{compression}_predictor.tif", make(e=e, compression=compression, predictor=2, rows=8)
            yield f"{name}_{order}_planar_predictor.tif", make(e=e, planar=True, predictor=2, compression=8)
            yield f"{name}_{order}_tiles_predictor.tif", make(e=e, tile=(16, 16), predictor=2, compression=5)
        yield f"{name}_one_pixel.tif", make(width=1, height=1)
        yield f"{name}_one_column.tif", make(width=1, height=7)
        yield f"{name}_turned.tif", make(more={274: (SHORT, [6])})
        yield f"{name}_one_bits.tif", make(more={258: (SHORT, [bits])})
        yield f"{name}_no_counts.tif", make(drop=(279,))
        yield f"{name}_no_rows.tif", make(drop=(278,))
        yield f"{name}_rows_beyond.tif", make(more={278: (LONG, [2**32 - 1])})
        yield f"{name}_no_extra.tif", make(with_extra=False)
        yield f"{name}_wrong_counts.tif", make(rows=4, more={279: (LONG, [1] * 6)})
        yield f"{name}_formats.tif", make(more={339: (SHORT, [1] * (COLOURS[photo] + len(extra)))})
        yield f"{name}_signed.tif", make(more={339: (SHORT, [2] * (COLOURS[photo] + len(extra)))})
        yield f"{name}_cut.tif", make()[:8] + make()[8:]
    for photo, bits in itertools.product((0, 1), (1, 8)):
        yield f"fewer_strips_{photo}_{bits}.tif", tiff(photo, bits, rows=4, more={273: (LONG, [8, 40, 72])})
        yield f"more_strips_{photo}_{bits}.tif", tiff(photo, bits, more={273: (LONG, [8, 12, 16])})
        yield f"no_photometric_{photo}_{bits}.tif", tiff(photo, bits, drop=(262,))
    for drop in (258, 259, 262, 277):
        yield f"no_{drop}_grey.tif", tiff(1, 8, drop=(drop,))
        yield f"no_{drop}_rgb.tif", tiff(2, 8, drop=(drop,))
        yield f"no_{drop}_bits.tif", tiff(1, 1, drop=(drop,))
    yield from of_pillow()


def of_pillow():
    """What Pillow and its libtiff write."""
    base = picture(64, 48)
    alpha = base.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(base.size))
    modes = {m: base.convert(m) for m in ("RGB", "L", "1", "CMYK", "YCbCr", "P")} | {"RGBA": alpha, "LA": alpha.convert("LA")}
    for mode, image in modes.items():
        for compression in ("raw", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "webp", "lzma", "group3", "group4", "tiff_ccitt"):
            for number, how in enumerate(({}, {"tiffinfo": {278: 16}}, {"tiled": True}, {"big_tiff": True}, {"tiffinfo": {317: 2}}, {"quality": 40}, {"tiffinfo": {266: 2}}, {"tiffinfo": {284: 2}})):
                try:
                    data = saved(image, format="TIFF", compression=compression, **how)
                except Exception:  # not every mode has every compression
                    continue
                yield f"pillow_{mode}_{compression}_{number}.tif", data
    for rows, width in itertools.product((8, 16, 24), (61, 64)):
        image = picture(width, 45)
        yield f"jpeg_{rows}_{width}.tif", saved(image, format="TIFF", compression="jpeg", tiffinfo={278: rows})
        yield f"jpeg_{rows}_{width}_sharp.tif", saved(image, format="TIFF", compression="jpeg", quality=98, tiffinfo={278: rows})
    for width, height in (1, 1), (7, 5), (8, 8), (130, 9), (2600, 3):
        for compression in ("group3", "group4", "tiff_ccitt"):
            yield f"fax_{compression}_{width}x{height}.tif", saved(picture(width, height).convert("1"), format="TIFF", compression=compression)
            yield f"fax_{compression}_{width}x{height}_noise.tif", saved(picture(width, height).convert("L").point(lambda v: v * 37 % 256).convert("1", dither=0), format="TIFF", compression=compression)
