"""GIF: frames beside, beyond and smaller than their canvas, transparent and not, with and without palettes."""

import itertools
import struct

from . import H, W, levels, picture, saved


def gif_codes(indices, bits, end=True, clear=True):
    """LZW that never grows: a clear code as often as needed."""
    stop, width, out, acc, n = (1 << bits) + 1, bits + 1, bytearray(), 0, 0
    codes = []
    for i, v in enumerate(indices):
        if clear and i % max(1, (1 << bits) - 2) == 0:
            codes.append(1 << bits)
        codes.append(int(v))
    for code in codes + [stop] * end:
        acc |= code << n
        n += width
        while n >= 8:
            out.append(acc & 255)
            acc, n = acc >> 8, n - 8
    if n:
        out.append(acc & 255)
    out = bytes(out)
    return bytes([bits]) + b"".join(bytes([len(out[i : i + 255])]) + out[i : i + 255] for i in range(0, len(out), 255)) + b"\0"


COLOURS = [(10, 200, 30), (255, 0, 0), (0, 0, 255), (250, 250, 10), (1, 2, 3), (200, 100, 50), (90, 90, 90), (255, 255, 255)]


def gif(canvas, box, background=0, transparent=None, colours=COLOURS, local=None, interlaced=False, version=b"GIF89a", bits=3, extensions=b"", end=b";", indices=None, **how):
    left, top, w, h = box
    size = max(1, (len(colours) - 1).bit_length()) if colours else 1
    out = version + struct.pack("<HHBBB", *canvas, (0x80 | size - 1) if colours else 0, background, 0)
    out += b"".join(bytes(c) for c in (colours + [(0, 0, 0)] * (2**size - len(colours)))) if colours else b""
    out += extensions
    if transparent is not None:
        out += b"\x21\xf9\x04" + bytes([1, 5, 0, transparent]) + b"\0"
    flags = 0x40 * interlaced
    if local:
        flags |= 0x80 | (len(local) - 1).bit_length() - 1
    out += b"," + struct.pack("<HHHHB", left, top, w, h, flags) + b"".join(bytes(c) for c in local or [])
    if indices is None:
        indices = [(x // 3 + y // 2 + x * y % 3) % 2**bits for y in range(h) for x in range(w)]
    return out + gif_codes(indices, bits, **how) + end


def files():
    whole = (0, 0, W, H)
    boxes = {
        "whole": ((W, H), whole), "part": ((W, H), (5, 4, 20, 10)), "corner": ((W, H), (30, 20, 3, 1)), "larger": ((20, 10), whole),
        "wider": ((10, H), whole), "higher": ((W, 10), whole), "beyond": ((25, 15), (13, 11, 20, 10)), "beside": ((5, 5), (23, 11, 10, 10)),
        "canvas_0": ((0, 0), whole), "canvas_0_offset": ((0, 0), (3, 1, 30, 20)), "canvas_w0": ((0, H), whole), "one_pixel": ((W, H), (7, 7, 1, 1)),
        "one_row": ((W, H), (0, 9, W, 1)), "one_column": ((W, H), (9, 0, 1, H)), "frame_0": ((W, H), (0, 0, 0, 0)), "frame_w0": ((W, H), (0, 0, 0, 5)),
        "frame_0_offset": ((W, H), (5, 5, 0, 0)),
    }  # fmt: skip
    grey = [(i, i, i) for i in range(8)]
    for name, (canvas, box) in boxes.items():
        for transparent in (None, 0, 3, 9, 255):
            for background in (0, 2, 200):
                yield f"{name}_t{transparent}_b{background}.gif", gif(canvas, box, background, transparent)
        yield f"{name}_interlaced.gif", gif(canvas, box, interlaced=True)
        yield f"{name}_87a.gif", gif(canvas, box, version=b"GIF87a")
        yield f"{name}_local.gif", gif(canvas, box, local=COLOURS[::-1])
        yield f"{name}_local_alone.gif", gif(canvas, box, colours=None, local=COLOURS[::-1])
        yield f"{name}_no_colours.gif", gif(canvas, box, colours=None)
        yield f"{name}_no_colours_t2.gif", gif(canvas, box, colours=None, transparent=2)
        yield f"{name}_few_colours.gif", gif(canvas, box, colours=COLOURS[:4])
        yield f"{name}_grey.gif", gif(canvas, box, colours=grey)
        yield f"{name}_grey_local.gif", gif(canvas, box, local=grey)
        yield f"{name}_no_end.gif", gif(canvas, box, end=b"")
        yield f"{name}_no_stop.gif", gif(canvas, box, **{"end": b";"}, indices=None)
    comment = b"\x21\xfe\x05hello\0"
    text = b"\x21\x01\x0c" + bytes(12) + b"\x03abc\0"
    netscape = b"\x21\xff\x0bNETSCAPE2.0\x03\1\0\0\0"
    control = b"\x21\xf9\x04\1\0\0\2\0"
    for name, blocks_ in {"comment": comment, "text": text, "loop": netscape, "two_controls": control + b"\x21\xf9\x04\0\0\0\5\0", "junk": b"\0\0\0", "unknown": b"\x21\x77\2ab\0"}.items():
        yield f"block_{name}.gif", gif((W, H), (5, 4, 20, 10), extensions=blocks_)
    for bits in range(1, 9):
        count = 2**bits
        colours = [tuple(int(v) for v in c) for c in levels(count, 1)[0]]
        indices = [int(v) % count for v in levels(channels=1).reshape(-1)]
        for interlaced in (False, True):
            yield f"bits{bits}_{int(interlaced)}.gif", gif((W, H), whole, colours=colours, bits=max(bits, 1), indices=indices, interlaced=interlaced)
        yield f"code{bits}_of_2.gif", gif((W, H), whole, colours=COLOURS[:2], bits=bits, indices=[v % 2 for v in indices])
    for w, h in itertools.product((1, 2, 5, 8, 9), (1, 2, 3, 4, 5, 6, 7, 8, 9, 17)):
        yield f"interlaced_{w}x{h}.gif", gif((W, H), (0, 0, w, h), interlaced=True)
    animated = [picture().quantize(16), picture().rotate(180).quantize(16)]
    yield "animated.gif", saved(animated[0], format="GIF", save_all=True, append_images=animated[1:])
    yield "no_first_clear.gif", gif((W, H), (0, 0, 2, 1), clear=False, indices=[1, 2])
    yield "too_few.gif", gif((W, H), whole, indices=[1] * 100)
    yield "too_many.gif", gif((W, H), (0, 0, 10, 10), indices=[1, 2, 3] * 100)
