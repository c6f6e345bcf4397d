"""Orientation told in every way: the types of EXIF, XMP, raw profiles, in every format that has them."""

import struct
import zlib

from . import H, W, chunk, picture, saved


def exif(entries, e="<", start=8, magic=42, tail=b"", following=0):
    """A block of EXIF: entries are (tag, type, count, four bytes)."""
    block = (b"II" if e == "<" else b"MM") + struct.pack(e + "HI", magic, start) + bytes(start - 8)
    block += struct.pack(e + "H", len(entries))
    for tag, kind, count, value in entries:
        block += struct.pack(e + "HHI", tag, kind, count) + value
    return block + struct.pack(e + "I", following) + tail


def blocks(value):
    """The same orientation in every spelling."""
    for e in "<>":
        short, long = struct.pack(e + "HH", value, 0), struct.pack(e + "I", value)
        end = 8 + 2 + 12 + 4
        name = "le" if e == "<" else "be"
        yield f"{name}_short", exif([(274, 3, 1, short)], e)
        yield f"{name}_long", exif([(274, 4, 1, long)], e)
        yield f"{name}_byte", exif([(274, 1, 1, bytes([value, 0, 0, 0]))], e)
        yield f"{name}_undefined", exif([(274, 7, 1, bytes([value, 0, 0, 0]))], e)
        yield f"{name}_ascii", exif([(274, 2, 2, b"%d\0\0\0" % value)], e)
        yield f"{name}_sbyte", exif([(274, 6, 1, bytes([value, 0, 0, 0]))], e)
        yield f"{name}_sshort", exif([(274, 8, 1, short)], e)
        yield f"{name}_slong", exif([(274, 9, 1, long)], e)
        yield f"{name}_ifd", exif([(274, 13, 1, long)], e)
        yield f"{name}_float", exif([(274, 11, 1, struct.pack(e + "f", value))], e)
        yield f"{name}_float_half", exif([(274, 11, 1, struct.pack(e + "f", value + 0.5))], e)
        yield f"{name}_double", exif([(274, 12, 1, struct.pack(e + "I", end))], e, tail=struct.pack(e + "d", value))
        yield f"{name}_rational", exif([(274, 5, 1, struct.pack(e + "I", end))], e, tail=struct.pack(e + "II", value * 3, 3))
        yield f"{name}_srational", exif([(274, 10, 1, struct.pack(e + "I", end))], e, tail=struct.pack(e + "ii", -value, -1))
        yield f"{name}_count2", exif([(274, 3, 2, struct.pack(e + "HH", value, 1))], e)
        yield f"{name}_count3", exif([(274, 3, 3, struct.pack(e + "I", end))], e, tail=struct.pack(e + "HHH", value, 1, 1))
        yield f"{name}_count0", exif([(274, 3, 0, short)], e)
        yield f"{name}_unknown_type", exif([(274, 99, 1, short)], e)
        yield f"{name}_far_directory", exif([(274, 3, 1, short)], e, start=100)
        yield f"{name}_twice", exif([(274, 3, 1, short), (274, 3, 1, struct.pack(e + "HH", 3, 0))], e)
        yield f"{name}_unreadable_then_right", exif([(274, 99, 1, short), (274, 3, 1, short)], e)
        yield f"{name}_huge_tag_before", exif([(271, 2, 2**32 - 1, long), (274, 3, 1, short)], e)
        yield f"{name}_count_lies", exif([(274, 3, 1, short)], e)[:8] + struct.pack(e + "H", 500) + exif([(274, 3, 1, short)], e)[10:]
        yield f"{name}_other_magic", (b"II\0\x2a" if e == "<" else b"MM\x2a\0") + exif([(274, 3, 1, short)], e)[4:]
        yield f"{name}_in_thumbnail", exif([(271, 2, 4, b"abc\0")], e, following=26, tail=struct.pack(e + "H", 1) + struct.pack(e + "HHI", 274, 3, 1) + short + bytes(4))
        yield f"{name}_no_tag", exif([(271, 2, 4, b"abc\0")], e)
    yield "empty", b""
    yield "garbage", b"garbage that is no EXIF"


def xmps(value):
    head = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
    tail = "</rdf:RDF></x:xmpmeta>"
    yield "attribute", f'{head} tiff:Orientation="{value}"/>{tail}'.encode()
    yield "element", f"{head}><tiff:Orientation>{value}</tiff:Orientation></rdf:Description>{tail}".encode()
    yield "apostrophes", f"{head} tiff:Orientation='{value}'/>{tail}".encode()
    yield "blank", f'{head} tiff:Orientation = "{value}"/>{tail}'.encode()
    yield "first_is_none", f'{head} tiff:Orientation="x" tiff:Orientation="{value}"/>{tail}'.encode()
    yield "two", f'{head} tiff:Orientation="{value}" tiff:Orientation="3"/>{tail}'.encode()
    yield "prefix", f'{head} xtiff:Orientation="{value}"/>{tail}'.encode()
    yield "none", f"{head}/>{tail}".encode()


def jpeg_with(segments, behind=b""):
    data = saved(picture(), format="JPEG", quality=92, progressive=True)
    out = data[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments)
    scan = data.index(b"\xff\xda") + 2
    later = data.index(b"\xff\xda", scan)  # between the first and the second scan
    return out + data[2:later] + (b"\xff\xe1" + struct.pack(">H", len(behind) + 2) + behind if behind else b"") + data[later:]


def png_with(chunks, behind=()):
    data = saved(picture(), format="PNG")
    idat = data.index(b"IDAT") - 4
    return data[:idat] + b"".join(chunk(*c) for c in chunks) + data[idat:-12] + b"".join(chunk(*c) for c in behind) + data[-12:]


def riff(kind, body):
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def webp_with(chunks, flags, lossless=True):
    data = saved(picture(), format="WEBP", lossless=lossless, quality=90)
    image = data[12:]
    size = struct.pack("<I", W - 1)[:3] + struct.pack("<I", H - 1)[:3]
    body = riff(b"VP8X", bytes([flags, 0, 0, 0]) + size) + image + b"".join(riff(*c) for c in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def raw_profile(block):
    return f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()


def files():
    head = b"Exif\0\0"
    for name, block in blocks(6):
        yield f"exif_{name}.jpg", jpeg_with([head + block])
        yield f"exif_{name}.png", png_with([(b"eXIf", block)])
        yield f"exif_{name}.webp", webp_with([(b"EXIF", block)], 8)
        yield f"exif_head_{name}.webp", webp_with([(b"EXIF", head + block)], 8)
    for value in range(10):
        short = exif([(274, 3, 1, struct.pack("<HH", value, 0))])
        yield f"value{value}.jpg", jpeg_with([head + short])
        yield f"value{value}_head.png", png_with([(b"eXIf", head + short)])
        yield f"value{value}_raw.png", png_with([(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile(head + short)))])
        yield f"value{value}.webp", webp_with([(b"EXIF", head + short)], 8)
        xmp = dict(xmps(value))["attribute"]
        yield f"xmp_value{value}.jpg", jpeg_with([b"http://ns.adobe.com/xap/1.0/\0" + xmp])
        yield f"xmp_value{value}.tif", saved(picture(), format="TIFF", tiffinfo={700: xmp})
        yield f"xmp_value{value}.avif", saved(picture(), format="AVIF", quality=100, subsampling="4:4:4", xmp=xmp)
    six, three = (exif([(274, 3, 1, struct.pack("<HH", v, 0))]) for v in (6, 3))
    none = exif([(271, 2, 4, b"abc\0")])
    for name, xmp in xmps(6):
        app = b"http://ns.adobe.com/xap/1.0/\0" + xmp
        key = b"XML:com.adobe.xmp"
        yield f"xmp_{name}.jpg", jpeg_with([app])
        yield f"xmp_{name}_exif_without.jpg", jpeg_with([head + none, app])
        yield f"xmp_{name}_exif_three.jpg", jpeg_with([app, head + three])
        yield f"xmp_{name}_itxt.png", png_with([(b"iTXt", key + b"\0\0\0\0\0" + xmp)])
        yield f"xmp_{name}_itxt_packed.png", png_with([(b"iTXt", key + b"\0\1\0en\0key\0" + zlib.compress(xmp))])
        yield f"xmp_{name}_text.png", png_with([(b"tEXt", key + b"\0" + xmp)])
        yield f"xmp_{name}_ztxt.png", png_with([(b"zTXt", key + b"\0\0" + zlib.compress(xmp))])
        yield f"xmp_{name}_behind.png", png_with([], [(b"iTXt", key + b"\0\0\0\0\0" + xmp)])
        yield f"xmp_{name}_exif_three.png", png_with([(b"iTXt", key + b"\0\0\0\0\0" + xmp), (b"eXIf", three)])
        yield f"xmp_{name}.webp", webp_with([(b"XMP ", xmp)], 4)
        yield f"xmp_{name}_no_flag.webp", webp_with([(b"XMP ", xmp)], 0)
        yield f"xmp_{name}_exif_three.webp", webp_with([(b"XMP ", xmp), (b"EXIF", three)], 12)
        yield f"xmp_{name}.tif", saved(picture(), format="TIFF", tiffinfo={700: xmp})
        yield f"xmp_{name}_tag_three.tif", saved(picture(), format="TIFF", tiffinfo={700: xmp, 274: 3})
        yield f"xmp_{name}.avif", saved(picture(), format="AVIF", quality=100, subsampling="4:4:4", xmp=xmp)
        yield f"xmp_{name}_exif_without.avif", saved(picture(), format="AVIF", quality=100, subsampling="4:4:4", xmp=xmp, exif=head + none)
        yield f"xmp_{name}_exif_three.avif", saved(picture(), format="AVIF", quality=100, subsampling="4:4:4", xmp=xmp, exif=head + three)
    # several, in odd places
    yield "two_blocks.jpg", jpeg_with([head + six, head + three])
    yield "split_block.jpg", jpeg_with([head + six[:12], head + six[12:]])
    yield "double_head.jpg", jpeg_with([head + head + six])
    yield "behind_scan.jpg", jpeg_with([], head + six)
    yield "two_xmps.jpg", jpeg_with([b"http://ns.adobe.com/xap/1.0/\0" + x for x in (dict(xmps(6))["attribute"], dict(xmps(3))["attribute"])])
    yield "two_exifs.png", png_with([(b"eXIf", six), (b"eXIf", three)])
    yield "exif_behind.png", png_with([], [(b"eXIf", six)])
    yield "exif_text.png", png_with([(b"tEXt", b"exif\0" + six)])
    yield "raw_text.png", png_with([(b"tEXt", b"Raw profile type exif\0" + raw_profile(head + six))])
    yield "raw_itxt.png", png_with([(b"iTXt", b"Raw profile type exif\0\0\0\0\0" + raw_profile(head + six))])
    yield "raw_and_exif.png", png_with([(b"tEXt", b"Raw profile type exif\0" + raw_profile(head + six)), (b"eXIf", three)])
    yield "raw_lines.png", png_with([(b"tEXt", b"Raw profile type exif\0\nexif\n  40\n" + b"\n".join(raw_profile(head + six)[15:].strip()[i : i + 7] for i in range(0, 90, 7)) + b"\n")])
    yield "raw_app1.png", png_with([(b"tEXt", b"Raw profile type APP1\0" + raw_profile(head + six))])
    yield "exif_no_flag.webp", webp_with([(b"EXIF", six)], 0)
    yield "two_exifs.webp", webp_with([(b"EXIF", six), (b"EXIF", three)], 8)
    yield "odd_chunk_before.webp", webp_with([(b"abcd", b"xyz"), (b"EXIF", six)], 8)
    yield "lossy_exif.webp", webp_with([(b"EXIF", head + six)], 8, lossless=False)
    for value in range(1, 10):
        yield f"tag{value}.tif", saved(picture(), format="TIFF", tiffinfo={274: value})
        if value < 9:
            yield f"tag{value}_lzw.tif", saved(picture(), format="TIFF", tiffinfo={274: value}, compression="tiff_lzw")
