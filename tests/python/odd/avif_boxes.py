"""AVIF of tiles, put together of files that libavif wrote."""

import struct

from PIL import Image

from . import saved

ALPHA = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"


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
    offset, length = struct.unpack(">II", inside[b"iloc"][-8:])
    return avif[offset : offset + length], properties


def tiles_of(image, columns, rows, side, **how):
    whole = Image.new(image.mode, (columns * side, rows * side), "gray")
    whole.paste(image)
    parts = [
        whole.crop((x * side, y * side, (x + 1) * side, (y + 1) * side)) for y in range(rows) for x in range(columns)
    ]
    return [frame_of(saved(part, format="AVIF", speed=6, **how)) for part in parts]


def grid(image, columns, rows, side, opacity, **how):
    """`image` (RGBA) in tiles of `side`; its opacity is left out, one item, a grid of its own, or an item for each tile
    (or for some).
    """
    width, height = image.size
    colours = tiles_of(image.convert("RGB"), columns, rows, side, **how)
    grey = {"quality": 100, "subsampling": "4:0:0"}
    alpha = image.getchannel("A")
    spec = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    items, references, ipco = [], [], []  # items: (kind, data, properties)

    def prop(content):
        if content not in ipco:
            ipco.append(content)
        return ipco.index(content) + 1

    def item(kind, data, size, properties, is_alpha=False):
        ids = [prop(full(b"ispe", 0, struct.pack(">II", *size))), prop(box(b"pixi", properties[b"pixi"]))]
        if kind == b"av01":
            ids.append(0x80 | prop(box(b"av1C", properties[b"av1C"])))
        if b"colr" in properties and not is_alpha:
            ids.append(prop(box(b"colr", properties[b"colr"])))
        if is_alpha:
            ids.append(prop(full(b"auxC", 0, ALPHA)))
        items.append((kind, data, ids))
        return len(items)

    whole = item(b"grid", spec, (width, height), colours[0][1])
    parts = [item(b"av01", data, (side, side), properties) for data, properties in colours]
    references.append((b"dimg", whole, parts))
    if opacity == "item":
        data, properties = frame_of(saved(alpha, format="AVIF", **grey))
        references.append((b"auxl", item(b"av01", data, (width, height), properties, True), [whole]))
    if opacity in ("grid", "tiles", "some_tiles"):
        pieces = tiles_of(alpha, columns, rows, side, **grey)
        one_by_one = opacity != "grid"
        ids = [item(b"av01", data, (side, side), properties, one_by_one) for data, properties in pieces]
        if opacity == "grid":
            over = item(b"grid", spec, (width, height), pieces[0][1], True)
            references += [(b"dimg", over, ids), (b"auxl", over, [whole])]
        else:
            pairs = list(zip(ids, parts))[: len(ids) - (opacity == "some_tiles")]
            references += [(b"auxl", own, [tile]) for own, tile in pairs]
    entries = [full(b"infe", 2, struct.pack(">HH4sx", n + 1, 0, kind)) for n, (kind, _, _) in enumerate(items)]
    ipma = struct.pack(">I", len(items)) + b"".join(
        struct.pack(">HB", n + 1, len(ids)) + bytes(ids) for n, (_, _, ids) in enumerate(items)
    )
    iref = b"".join(box(kind, struct.pack(f">HH{len(to)}H", source, len(to), *to)) for kind, source, to in references)

    def meta(start):
        iloc, at = struct.pack(">HH", 0x4400, len(items)), start
        for n, (_, data, _) in enumerate(items):
            iloc += struct.pack(">HHHII", n + 1, 0, 1, at, len(data))
            at += len(data)
        return full(
            b"meta", 0, full(b"hdlr", 0, struct.pack(">I4s12xx", 0, b"pict")), full(b"pitm", 0, struct.pack(">H", whole)), full(b"iloc", 0, iloc),
            full(b"iinf", 0, struct.pack(">H", len(items)), *entries), full(b"iref", 0, iref), box(b"iprp", box(b"ipco", *ipco), full(b"ipma", 0, ipma)),
        )  # fmt: skip

    head = box(b"ftyp", b"avif", bytes(4), b"avifmif1miaf")
    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", *(data for _, data, _ in items))
