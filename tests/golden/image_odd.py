#!/usr/bin/env python3
"""Makes `image_odd.json` and `image_odd.bin`: odd files of every kind (`tests/python/odd`), and the pixels that Pillow
gives.

For each: its name, its place in the `.bin`, the size and the sha256 of the pixels: the right way up
(`ImageOps.exif_transpose`), on white, of 16 bits the upper eight. Of the thousands of `tests/python/odd_files.py`,
which compares them all, these are a few hundred small ones, of those that featurize and Pillow read alike.

    pip install pillow numpy
    JPEGTRAN=jpegtran python image_odd.py                 # of libjpeg-turbo, for arithmetic codes; writes beside itself
"""

import hashlib
import json
import re
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))

import odd  # noqa: E402
from odd_files import deviates, of_pillow  # noqa: E402

# a few of each kind
WANTED = [
    r"orientation_exif_(le|be)_(short|long|sshort|float|rational|count[023]|unknown_type|twice|byte|huge_tag_before|count_lies|other_magic|in_thumbnail|no_tag)\.jpg",
    r"orientation_exif_head_le_(short|long)\.webp", r"orientation_exif_le_(long|count2)\.(png|webp)", r"orientation_value6(_raw|_head)?\.(png|webp)",
    r"orientation_xmp_(attribute|element|apostrophes|two)(_exif_three|_exif_without|_itxt|_no_flag)?\.(jpg|png|webp)", r"orientation_xmp_attribute_(itxt_packed|ztxt|behind)\.png",
    r"orientation_xmp_(attribute|element)(_tag_three)?\.tif", r"orientation_xmp_attribute(_exif_three|_exif_without)?\.avif",
    r"orientation_(two_blocks|split|double|behind|two_xmps|exif_behind|exif_text|raw_text|raw_lines|raw_and|exif_no_flag).*",
    r"gif_(?!.*_t[0-9]|.*_b2|interlaced_|bits|code).*", r"gif_(part|beyond|canvas_0)_t(0|3|9)_b200\.gif", r"gif_interlaced_[28]x(1|2|3|5|8|17)\.gif", r"gif_(bits|code)[148].*",
    r"bmp_b[148]_h(12|40|64)_(up|down)_(3|9)\.bmp", r"bmp_(used|gap|offset)[0-9_]*b[14]\.bmp", r"bmp_masks_b16_[01]_h40\.bmp", r"bmp_masks_b32_[0-8]_h56\.bmp", r"bmp_masks_b24_0_h40\.bmp",
    r"bmp_b(16|24|32)_.*(3|5)_[01]\.bmp", r"bmp_alpha_.*", r"bmp_rle(8_(runs|absolute|delta|long)(_down)?|4_(runs|absolute|delta))\.bmp", r"bmp_(planes3|cut_padding)\.bmp",
    r"png_k2_d8_(no_end|half_end|no_crc|no_adler|idat_crc|junk_behind|two_pictures|more_rows)\.png", r"png_k3_d4_(no_end|short|alphas).*", r"png_k0_d(1|16)_no_end\.png",
    r"png_p1_362.pbm", r"png_p4_371.pbm", r"png_p[25]_(3|100|1000|65535)_456\.pgm", r"png_p[36]_(15|1000)_922\.ppm", r"png_(p1_packed|over_maxval|comment_behind_maxval).*",
    r"png_b(1|4|8|16|24|32)_17\.ico", r"png_b(4|32)_(two_depths|no_mask|size_lies)\.ico", r"png_png_exif\.ico",
    r"tiff_(?!grey12|grey32|ycbcr).*(?<!x)(?<!xx)_le\.tif", r"tiff_(black0_1|palette4)_le_(big|reversed|reversed_lzw|planar_deflate|tiles_lzw|c5|c8|c32773)\.tif",
    r"tiff_rgb8_(le_big|le_planar|le_planar_deflate|le_tiles|le_tiles_planar|le_tiles_planar_lzw|le_c5_predictor|turned|no_counts|rows_beyond|one_bits|wrong_counts)\.tif",
    r"tiff_(rgb16|black0_16)_(le|be)_(c5|c8)_predictor\.tif", r"tiff_more_strips_1_8\.tif", r"tiff_no_(258|259|262|277)_grey\.tif", r"tiff_jpeg_8_(61|64)\.tif", r"tiff_fax_.*_(1x1|7x5|130x9)\.tif",
    r"tiff_pillow_(RGB|L|CMYK|YCbCr)_jpeg_[02]\.tif", r"tiff_pillow_YCbCr_tiff_lzw_0\.tif", r"tiff_pillow_RGBA?_(zstd|webp)_0\.tif", r"tiff_pillow_1_(group3|group4|tiff_ccitt)_[16]\.tif",
    r"other_webp_frame_4_2_[02].*", r"other_avif_grid_(item|tiles|some_tiles)_444.avif", r"other_jpeg_(RGB|CMYK)_(adobe|jfif).*",
    r"other_arithmetic_(RGB70|L80)_(33x21|1x1)_.*", r"other_arithmetic_(RGB90|CMYK60)_33x21_(plain|both).*",
]  # fmt: skip


def main():
    warnings.simplefilter("ignore")
    wanted = re.compile("|".join(f"(?:{pattern})$" for pattern in WANTED))
    rows, blob, places = [], b"", {}
    for name, data in odd.cases():
        if not wanted.match(name) or deviates(name):
            continue
        pixels = of_pillow(data)
        if isinstance(pixels, str):
            continue  # Pillow does not read it
        if data not in places:
            places[data] = len(blob)
            blob += data
        start = places[data]
        row = {"what": name, "bytes": [start, start + len(data)], "size": [pixels.shape[1], pixels.shape[0]]}
        rows.append(row | {"sha256": hashlib.sha256(pixels.tobytes()).hexdigest()})
    (HERE / "image_odd.bin").write_bytes(blob)
    lines = ",\n".join(json.dumps(row) for row in rows)
    (HERE / "image_odd.json").write_text(f"[\n{lines}\n]\n")
    print(len(rows), "files,", len(blob), "bytes")


if __name__ == "__main__":
    main()
