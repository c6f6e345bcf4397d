"""PNG of every depth, without an end, with odd chunks; PNM; icons."""

import struct
import zlib

import numpy as np

from . import H, W, bmp, chunk, levels, orientation, picture, saved


def png(width, height, depth, kind, raw, before=(), idat=None, interlace=0, end=None):
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlace))
    out += b"".join(chunk(*c) for c in before)
    out += chunk(b"IDAT", zlib.compress(raw)) if idat is None else idat
    return out + (chunk(b"IEND", b"") if end is None else end)


def png_raw(width, height, depth, kind, seed=0, limit=None):
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    samples = levels(width, height, channels, seed).astype(np.uint16)
    if limit:
        samples %= limit
    samples = samples * 257 if depth == 16 else samples >> (8 - depth) if not limit else samples
    if depth == 16:
        samples = samples + levels(width, height, channels, seed + 1) // 3
        return b"".join(bytes([0]) + row.astype(">u2").tobytes() for row in samples.reshape(height, -1))
    if depth == 8:
        return b"".join(bytes([0]) + row.astype(np.uint8).tobytes() for row in samples.reshape(height, -1))
    rows = []
    for row in samples.reshape(height, -1):
        digits = np.zeros(-(-len(row) * depth // 8) * 8 // depth, np.uint8)
        digits[: len(row)] = row
        rows.append(b"\0" + np.packbits(np.unpackbits(digits[:, None], axis=1)[:, 8 - depth :].reshape(-1)).tobytes())
    return b"".join(rows)


def pngs():
    kinds = [(0, d) for d in (1, 2, 4, 8, 16)] + [(3, d) for d in (1, 2, 4, 8)] + [(k, d) for k in (2, 4, 6) for d in (8, 16)]
    for kind, depth in kinds:
        colours = levels(256, 1, 3, 5)[0][: 1 << min(depth, 8)].tobytes()
        before = [(b"PLTE", colours)] if kind == 3 else []
        for width in (1, 3, 8, 9, 33):
            yield f"k{kind}_d{depth}_{width}.png", png(width, 7, depth, kind, png_raw(width, 7, depth, kind), before)
        raw = png_raw(W, H, depth, kind)
        whole = png(W, H, depth, kind, raw, before)
        packed = zlib.compress(raw)
        data = chunk(b"IDAT", packed)
        yield f"k{kind}_d{depth}_no_end.png", whole[:-12]
        yield f"k{kind}_d{depth}_half_end.png", whole[:-5]
        yield f"k{kind}_d{depth}_no_crc.png", whole[:-16]
        yield f"k{kind}_d{depth}_half_crc.png", whole[:-14]
        yield f"k{kind}_d{depth}_no_adler.png", whole[:-20]
        yield f"k{kind}_d{depth}_cut.png", whole[: -12 - len(packed) // 2]
        yield f"k{kind}_d{depth}_idat_crc.png", png(W, H, depth, kind, raw, before, chunk(b"IDAT", packed, 7))
        yield f"k{kind}_d{depth}_junk_behind.png", png(W, H, depth, kind, raw, before, end=b"junk behind the pixels, and no end")
        yield f"k{kind}_d{depth}_zeros_behind.png", png(W, H, depth, kind, raw, before, end=bytes(40))
        yield f"k{kind}_d{depth}_text_cut.png", png(W, H, depth, kind, raw, before, end=chunk(b"tEXt", b"key\0" + b"x" * 90)[:-40])
        yield f"k{kind}_d{depth}_text_no_end.png", png(W, H, depth, kind, raw, before, end=chunk(b"tEXt", b"key\0some text"))
        yield f"k{kind}_d{depth}_end_crc.png", png(W, H, depth, kind, raw, before, end=chunk(b"IEND", b"", 5))
        yield f"k{kind}_d{depth}_text_crc.png", png(W, H, depth, kind, raw, before, end=chunk(b"tEXt", b"key\0some text", 5) + chunk(b"IEND", b""))
        pieces = b"".join(chunk(b"IDAT", packed[i : i + 37]) for i in range(0, len(packed), 37))
        yield f"k{kind}_d{depth}_pieces.png", png(W, H, depth, kind, raw, before, pieces)
        yield f"k{kind}_d{depth}_empty_pieces.png", png(W, H, depth, kind, raw, before, chunk(b"IDAT", b"") + data + chunk(b"IDAT", b""))
        yield f"k{kind}_d{depth}_two_pictures.png", png(W, H, depth, kind, raw, before, data + chunk(b"tEXt", b"k\0v") + data)
        yield f"k{kind}_d{depth}_more_rows.png", png(W, H, depth, kind, raw + raw, before)
        yield f"k{kind}_d{depth}_fewer_rows.png", png(W, H, depth, kind, raw[: len(raw) // 2], before)
        if kind in (0, 2):
            sample = struct.pack(">H", int(levels(channels=1)[0, 0, 0]) >> max(0, 8 - depth)) * (1 if kind == 0 else 3)
            yield f"k{kind}_d{depth}_trns.png", png(W, H, depth, kind, raw, [(b"tRNS", sample)])
            yield f"k{kind}_d{depth}_trns0.png", png(W, H, depth, kind, raw, [(b"tRNS", bytes(len(sample)))])
        if kind == 3:
            count = 1 << depth
            for n, alphas in enumerate((b"\0", b"\xff\0", b"\x80\x40", bytes(range(0, 256, 3))[:count], b"\xff" * count, b"")):
                yield f"k3_d{depth}_alphas{n}.png", png(W, H, depth, kind, raw, [*before, (b"tRNS", alphas)])
            yield f"k3_d{depth}_short_palette.png", png(W, H, depth, kind, raw, [(b"PLTE", colours[: max(3, len(colours) // 2 // 3 * 3)])])
            yield f"k3_d{depth}_no_palette.png", png(W, H, depth, kind, raw)
            yield f"k3_d{depth}_grey_palette.png", png(W, H, depth, kind, raw, [(b"PLTE", bytes(v for i in range(count) for v in (i, i, i)))])
        yield f"k{kind}_d{depth}_crc.png", png(W, H, depth, kind, raw, [*before, (b"tEXt", b"key\0text", 3)])
    for kind, mode in (2, "RGB"), (6, "RGBA"), (0, "L"):
        yield f"filters_{mode}.png", saved(picture().convert(mode), format="PNG", compress_level=9)
    frames = [picture(), picture().rotate(180)]
    yield "animated.png", saved(frames[0], format="PNG", save_all=True, append_images=frames[1:])
    yield "animated_default.png", saved(frames[0], format="PNG", save_all=True, append_images=frames[1:], default_image=True)


def pnms():
    array = levels()
    grey = array[:, :, 0]
    bits = np.packbits(grey > 127, axis=1).tobytes()
    text = lambda values, per=11: b"\n".join(b" ".join(b"%d" % v for v in values[i : i + per]) for i in range(0, len(values), per))  # noqa: E731
    for head in (b"%d %d\n", b"# comment\n%d %d\n", b"%d\n# c\n%d\n", b"\t%d  %d\r\n"):
        size = head % (W, H)
        name = zlib.crc32(head) % 1000
        yield f"p1_{name}.pbm", b"P1\n" + size + text([int(v > 127) for v in grey.reshape(-1)])
        yield f"p4_{name}.pbm", b"P4\n" + size + bits
        for maxval in (1, 3, 15, 100, 255, 256, 1000, 4095, 65535):
            scaled = (grey.astype(np.int64) * maxval // 255).reshape(-1)
            wide = (array.astype(np.int64) * maxval // 255).reshape(-1)
            kind = ">u2" if maxval > 255 else "u1"
            for magic, values, suffix in (b"P2", scaled, "pgm"), (b"P3", wide, "ppm"):
                yield f"{magic.decode().lower()}_{maxval}_{name}.{suffix}", magic + b"\n" + size + b"%d\n" % maxval + text(values.tolist())
            for magic, values, suffix in (b"P5", scaled, "pgm"), (b"P6", wide, "ppm"):
                yield f"{magic.decode().lower()}_{maxval}_{name}.{suffix}", magic + b"\n" + size + b"%d\n" % maxval + values.astype(kind).tobytes()
    yield "p1_packed.pbm", b"P1\n%d %d\n" % (W, H) + b"".join(b"1" if v > 127 else b"0" for v in grey.reshape(-1))
    yield "over_maxval.pgm", b"P5\n%d %d\n100\n" % (W, H) + grey.tobytes()
    yield "cut.ppm", (b"P6\n%d %d\n255\n" % (W, H) + array.tobytes())[:-1]
    yield "more.ppm", b"P6\n%d %d\n255\n" % (W, H) + array.tobytes() + b"more"
    yield "comment_behind_maxval.ppm", b"P6\n%d %d\n255 # c\n" % (W, H) + array.tobytes()
    for kind, channels in (b"GRAYSCALE", 1), (b"RGB", 3), (b"RGB_ALPHA", 4), (b"GRAYSCALE_ALPHA", 2):
        yield f"pam_{channels}.pam", b"P7\nWIDTH %d\nHEIGHT %d\nDEPTH %d\nMAXVAL 255\nTUPLTYPE %s\nENDHDR\n" % (W, H, channels, kind) + levels(channels=channels).tobytes()


def ico(entries):
    at = 6 + 16 * len(entries)
    head, body = struct.pack("<HHH", 0, 1, len(entries)), b""
    for width, height, colours, bits, data in entries:
        head += struct.pack("<BBBBHHII", width % 256, height % 256, colours, 0, 1, bits, len(data), at + len(body))
        body += data
    return head + body


def icon_bitmap(width, height, bits, mask=True, seed=0):
    palette = bmp.palette(1 << bits, 4, seed) if bits <= 8 else b""
    if bits == 24:
        data = bmp.rows(levels(width, height, 3, seed), 24, False)
    elif bits == 32:
        data = bmp.rows(levels(width, height, 4, seed).view("<u4")[:, :, 0], 32, False)
    elif bits == 16:
        data = bmp.rows(levels(width, height, 2, seed).view("<u2")[:, :, 0], 16, False)
    else:
        data = bmp.rows(levels(width, height, 1, seed)[:, :, 0] >> (8 - bits), bits, False)
    holes = bmp.rows((levels(width, height, 1, seed + 1)[:, :, 0] > 200).astype(np.uint8), 1, False) if mask else b""
    return struct.pack("<IiiHHIIiiII", 40, width, height * 2, 1, bits, 0, 0, 0, 0, 0, 0) + palette + data + holes


def files():
    yield from pngs()
    yield from pnms()
    yield from icons()


def icons():
    for bits in (1, 4, 8, 16, 24, 32):
        for side in (8, 16, 17, 31, 32):
            yield f"b{bits}_{side}.ico", ico([(side, side, 0, bits, icon_bitmap(side, side, bits))])
            yield f"b{bits}_{side}_bits0.ico", ico([(side, side, 0, 0, icon_bitmap(side, side, bits))])
        yield f"b{bits}_no_mask.ico", ico([(16, 16, 0, bits, icon_bitmap(16, 16, bits, mask=False))])
        yield f"b{bits}_size_lies.ico", ico([(32, 32, 0, bits, icon_bitmap(16, 16, bits))])
        yield f"b{bits}_two.ico", ico([(16, 16, 0, bits, icon_bitmap(16, 16, bits)), (32, 32, 0, bits, icon_bitmap(32, 32, bits))])
        yield f"b{bits}_two_depths.ico", ico([(16, 16, 0, bits, icon_bitmap(16, 16, bits)), (16, 16, 0, 24, icon_bitmap(16, 16, 24, seed=3))])
    six = orientation.exif([(274, 3, 1, struct.pack("<HH", 6, 0))])
    yield "png_exif.ico", ico([(W, H, 0, 32, orientation.png_with([(b"eXIf", six)]))])
    for mode in ("RGB", "RGBA", "L", "LA", "1"):
        yield f"png_{mode}.ico", ico([(W, H, 0, 32, saved(picture().convert(mode), format="PNG"))])
    yield "png_size_lies.ico", ico([(16, 16, 0, 32, saved(picture(), format="PNG"))])
