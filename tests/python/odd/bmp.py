"""Bitmaps of every depth, header, mask and run-length code."""

import itertools
import struct

import numpy as np

from . import H, W, levels


def rows(array, bits, top_down):
    """Rows of whole words; `array` holds samples of `bits` bits."""
    out = []
    for row in array if top_down else array[::-1]:
        if bits < 8:
            digits = np.zeros(-(-len(row) * bits // 8) * 8 // bits, np.uint8)
            digits[: len(row)] = row
            packed = np.packbits(np.unpackbits(digits[:, None], axis=1)[:, 8 - bits :].reshape(-1)).tobytes()
        else:
            packed = row.astype("<u%d" % (bits // 8)).tobytes() if bits != 24 else row.tobytes()
        out.append(packed + bytes(-len(packed) % 4))
    return b"".join(out)


def bmp(width, height, bits, data, header=40, compression=0, colours=b"", masks=(), top_down=False, used=0, gap=0, offset=None, planes=1):
    if header == 12:
        head = struct.pack("<IHHHH", 12, width, height, planes, bits)
    else:
        head = struct.pack("<IiiHHIIiiII", header, width, -height if top_down else height, planes, bits, compression, len(data), 2835, 2835, used, 0)
        head += b"".join(struct.pack("<I", m) for m in masks)
        head = head[: max(header, 40 + 4 * len(masks) if header == 40 else header)].ljust(header, b"\0")
    start = 14 + len(head) + len(colours) + gap
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start if offset is None else offset) + head + colours + bytes(gap) + data


def palette(count, size, seed=0, grey=False):
    colours = np.repeat(np.linspace(0, 255, count).astype(np.uint8)[:, None], 3, 1) if grey else levels(count, 1, 3, seed)[0]
    return b"".join(bytes(c[::-1]) + b"\0" * (size - 3) for c in colours)


def rle8(array, how):
    """Rows from below, in runs, absolute pieces, or both with jumps."""
    out, height, width = b"", len(array), len(array[0])
    for n, row in enumerate(array[::-1]):
        if how == "runs":
            for value, group in itertools.groupby(row):
                length = len(list(group))
                out += bytes([length, value])
        elif how == "absolute":
            for i in range(0, width, 11):
                piece = bytes(row[i : i + 11])
                out += bytes([0, len(piece)]) + piece + bytes(len(piece) % 2) if len(piece) > 2 else b"".join(bytes([1, v]) for v in piece)
        elif how == "short":
            out += b"".join(bytes([1, v]) for v in row[: width // 2])
        elif how == "delta":
            out += bytes([3, row[0], 0, 2, 5, 0]) + bytes([width - 8, row[9]])
        elif how == "long":
            out += bytes([width + 3, row[0]])
        out += b"\0\0"
        if how == "delta" and n == 3:
            out += bytes([0, 2, 3, 2])
        if how == "early" and n == height // 2:
            break
        if how == "early":
            out = out[:-2] + b"".join(bytes([1, v]) for v in row) + b"\0\0"
    return out + b"\0\1"


def rle4(array, how):
    out, width = b"", len(array[0])
    for row in array[::-1]:
        if how == "runs":
            for i in range(0, width, 6):
                piece = row[i : i + 6]
                out += bytes([len(piece), piece[0] << 4 | piece[min(1, len(piece) - 1)]])
        elif how == "absolute":
            for i in range(0, width, 7):
                piece = list(row[i : i + 7])
                if len(piece) < 3:
                    out += b"".join(bytes([1, v << 4]) for v in piece)
                    continue
                digits = piece + [0] * (len(piece) % 2)
                body = bytes(a << 4 | b for a, b in zip(digits[::2], digits[1::2]))
                out += bytes([0, len(piece)]) + body + bytes(len(body) % 2)
        elif how == "delta":
            out += bytes([5, row[0] << 4 | row[1], 0, 2, 4, 0, width - 9, row[3] << 4])
        out += b"\0\0"
    return out + b"\0\1"


def files():
    for bits, header, top_down in itertools.product((1, 4, 8), (12, 16, 40, 52, 56, 64, 108, 124), (False, True)):
        if header in (12, 16) and top_down:
            continue
        for width in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33):
            height = 7
            array = levels(width, height, 1)[:, :, 0] >> (8 - bits)
            colours = palette(1 << bits, 3 if header == 12 else 4)
            name = f"b{bits}_h{header}_{'down' if top_down else 'up'}_{width}.bmp"
            yield name, bmp(width, height, bits, rows(array, bits, top_down), header, colours=colours, top_down=top_down)
    for bits in (1, 2, 4, 8):
        array = levels(channels=1)[:, :, 0] >> (8 - bits)
        data = rows(array, bits, False)
        for used in sorted({0, 1, 2, 3, (1 << bits) - 1, 1 << bits, 300}):
            yield f"used{used}_b{bits}.bmp", bmp(W, H, bits, data, colours=palette(used or 1 << bits, 4), used=used)
        yield f"grey_b{bits}.bmp", bmp(W, H, bits, data, colours=palette(1 << bits, 4, grey=True))
        yield f"gap_b{bits}.bmp", bmp(W, H, bits, data, colours=palette(1 << bits, 4), gap=6)
        yield f"offset0_b{bits}.bmp", bmp(W, H, bits, data, colours=palette(1 << bits, 4), offset=0)
        yield f"offset54_b{bits}.bmp", bmp(W, H, bits, data, colours=palette(1 << bits, 4), offset=54)
    for width in (1, 2, 3, 4, 5, 33):
        array = levels(width, 7)
        for top_down in (False, True):
            for header in (12, 40, 64, 108, 124):
                if header == 12 and top_down:
                    continue
                yield f"b24_h{header}_{width}_{int(top_down)}.bmp", bmp(width, 7, 24, rows(array, 24, top_down), header, top_down=top_down)
            sixteen = levels(width, 7, 1)[:, :, 0].astype(np.uint16) * 256 + levels(width, 7, 1, 1)[:, :, 0]
            yield f"b16_{width}_{int(top_down)}.bmp", bmp(width, 7, 16, rows(sixteen, 16, top_down), top_down=top_down)
            wide = sixteen.astype(np.uint32) * np.uint32(65521)
            yield f"b32_{width}_{int(top_down)}.bmp", bmp(width, 7, 32, rows(wide, 32, top_down), top_down=top_down)
    masks = {
        16: [(0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F), (0xF00, 0xF0, 0xF), (0x1F, 0x7E0, 0xF800), (0x7C00, 0x3E0, 0x1F, 0x8000)],
        24: [(0xFF0000, 0xFF00, 0xFF), (0xFF, 0xFF00, 0xFF0000)],
        32: [(0xFF0000, 0xFF00, 0xFF), (0xFF0000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF0000, 0xFF00, 0), (0xFF000000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
             (0xFF, 0xFF00, 0xFF0000, 0xFF000000), (0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0xFF000000, 0xFF00, 0xFF, 0xFF0000), (0, 0, 0, 0), (0x3FF00000, 0xFFC00, 0x3FF), (0, 0, 0)],
    }  # fmt: skip
    for bits, all_masks in masks.items():
        array = levels(W, H, 3) if bits == 24 else (levels(channels=4).view("<u4")[:, :, 0] >> (32 - bits) if bits == 16 else levels(channels=4).view("<u4")[:, :, 0])
        for n, mask in enumerate(all_masks):
            for header in (40, 52, 56, 108, 124):
                yield f"masks_b{bits}_{n}_h{header}.bmp", bmp(W, H, bits, rows(array, bits, False), header, 3, masks=mask)
        yield f"alpha_b{bits}.bmp", bmp(W, H, bits, rows(array, bits, False), 124, 0, masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000))
        yield f"alphamasks_b{bits}.bmp", bmp(W, H, bits, rows(array, bits, False), 40, 6, masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000))
    flat = np.repeat(levels(W // 3 + 1, H, 1)[:, :, 0], 3, 1)[:, :W]
    for how in ("runs", "absolute", "short", "delta", "long", "early"):
        yield f"rle8_{how}.bmp", bmp(W, H, 8, rle8(flat.tolist(), how), 40, 1, palette(256, 4))
        yield f"rle8_{how}_grey.bmp", bmp(W, H, 8, rle8(flat.tolist(), how), 40, 1, palette(256, 4, grey=True))
        yield f"rle8_{how}_down.bmp", bmp(W, H, 8, rle8(flat.tolist(), how), 40, 1, palette(256, 4), top_down=True)
    for how in ("runs", "absolute", "delta"):
        yield f"rle4_{how}.bmp", bmp(W, H, 4, rle4((flat >> 4).tolist(), how), 40, 2, palette(16, 4))
    yield "planes3.bmp", bmp(W, H, 24, rows(levels(), 24, False), planes=3)
    yield "cut_last_row.bmp", bmp(W, H, 24, rows(levels(), 24, False))[:-3]
    yield "cut_padding.bmp", bmp(33, 7, 24, rows(levels(33, 7), 24, False))[:-1]
    yield "height0.bmp", bmp(W, 0, 24, b"")
    for compression in (4, 5, 7):
        yield f"compression{compression}.bmp", bmp(W, H, 24, rows(levels(), 24, False), 40, compression)
