#!/usr/bin/env python3
"""Makes `inter-subset.ttf`, the font that `featurize classify --plot` writes with.

Source: the PyPI package `fontpkg-inter` 4.1.post1, which carries Inter 4.001 (OFL-1.1) as Google Fonts publishes it.
See NOTICE.

What is changed:

* the axes are fixed: optical size 14, weight 400; hints and OpenType features are left out;
* only the characters of `CHARACTERS` are kept;
* the digits are those of the feature `tnum`, all of one width, so that percentages under each other align;
* the kerning of printable ASCII is copied from the table GPOS to the older `kern`, the one that a rasteriser without a
  shaper reads.

The bytes are a function of the input and of fonttools alone: no time stamp is written.

    pip install fonttools==4.68.0 fontpkg-inter==4.1.post1
    python subset_inter.py            # writes beside itself: the font and SHA256SUMS
"""

import hashlib
from importlib.resources import files
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont, newTable
from fontTools.ttLib.tables._k_e_r_n import KernTable_format_0
from fontTools.varLib.instancer import instantiateVariableFont

HERE = Path(__file__).resolve().parent
OUTPUT = HERE / "inter-subset.ttf"
SOURCE = files("fontpkg_inter") / "files" / "Inter[opsz,wght].ttf"
SOURCE_SHA256 = "29160a80ff49ddcab2c97711247e08b1fab27a484a329ce8b813d820dc559031"
AXES = {"opsz": 14, "wght": 400}

CHARACTERS = [
    (0x0020, 0x007E),  # ASCII
    (0x00A0, 0x017F),  # Latin-1 supplement, Latin Extended-A
    (0x0218, 0x021B),  # the comma below of Romanian
    (0x02C6, 0x02DD),  # spacing accents
    (0x0300, 0x030C),  # combining accents: file names of macOS are decomposed
    (0x0323, 0x0328),
    (0x0370, 0x03FF),  # Greek
    (0x0400, 0x045F),  # Cyrillic
    (0x0490, 0x0491),
    (0x1E9E, 0x1E9E),  # capital sharp s
    (0x2000, 0x203A),  # spaces, dashes, quotes, the ellipsis
    (0x20AC, 0x20AC),  # euro
    (0x2116, 0x2122),  # numero to trade mark
    (0x2190, 0x2199),  # arrows
    (0x2212, 0x221E),  # minus to infinity
    (0x2248, 0x2265),  # comparisons
]
ASCII = range(0x21, 0x7F)


def kerning(font: TTFont) -> dict[tuple[str, str], int]:
    """The horizontal kerning between the glyphs of printable ASCII, in font units: in each lookup the first match
    counts.
    """
    glyphs = [font.getBestCmap()[character] for character in ASCII]
    table = font["GPOS"].table
    lookups = {
        index
        for record in table.FeatureList.FeatureRecord
        if record.FeatureTag == "kern"
        for index in record.Feature.LookupListIndex
    }
    pairs: dict[tuple[str, str], int] = {}
    for index in sorted(lookups):
        subtables = [getattr(one, "ExtSubTable", one) for one in table.LookupList.Lookup[index].SubTable]
        for left in glyphs:
            for right in glyphs:
                found = next((v for one in subtables if (v := value(one, left, right)) is not None), 0)
                if found:
                    pairs[left, right] = pairs.get((left, right), 0) + found
    return pairs


def value(subtable, left: str, right: str) -> int | None:
    """What a PairPos subtable adds to the advance of `left` before `right`; None where the next subtable is asked."""
    if subtable.LookupType != 2 or left not in subtable.Coverage.glyphs:
        return None
    if subtable.Format == 1:
        pairs = subtable.PairSet[subtable.Coverage.glyphs.index(left)].PairValueRecord
        record = next((pair.Value1 for pair in pairs if pair.SecondGlyph == right), None)
        return None if record is None else getattr(record, "XAdvance", 0)
    first = subtable.ClassDef1.classDefs.get(left, 0)
    second = subtable.ClassDef2.classDefs.get(right, 0)
    record = subtable.Class1Record[first].Class2Record[second].Value1
    return 0 if record is None else getattr(record, "XAdvance", 0)


def tabular_digits(font: TTFont) -> None:
    """Lets the characters 0 to 9 be the glyphs that the feature `tnum` puts in their place."""
    table = font["GSUB"].table
    record = next(one for one in table.FeatureList.FeatureRecord if one.FeatureTag == "tnum")
    mapping = {}
    for index in record.Feature.LookupListIndex:
        for subtable in table.LookupList.Lookup[index].SubTable:
            mapping.update(getattr(subtable, "ExtSubTable", subtable).mapping)
    for cmap in font["cmap"].tables:
        for digit in range(0x30, 0x3A):
            if digit in getattr(cmap, "cmap", {}):
                cmap.cmap[digit] = mapping.get(cmap.cmap[digit], cmap.cmap[digit])


def main() -> None:
    data = Path(str(SOURCE)).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != SOURCE_SHA256:
        raise SystemExit(f"{SOURCE} has sha256 {digest}, expected {SOURCE_SHA256}")
    font = instantiateVariableFont(TTFont(str(SOURCE), recalcTimestamp=False), AXES)
    tabular_digits(font)
    pairs = kerning(font)
    options = Options(
        layout_features=[],
        hinting=False,
        notdef_outline=True,
        glyph_names=False,
        legacy_kern=True,
        name_IDs=[0, 1, 2, 3, 4, 5, 6, 7, 13, 14],
        drop_tables=["GSUB", "GPOS", "GDEF", "STAT", "DSIG", "MVAR", "HVAR", "avar", "meta"],
        recalc_timestamp=False,
    )
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=[c for first, last in CHARACTERS for c in range(first, last + 1)])
    table = KernTable_format_0(apple=False)
    table.coverage, table.tupleIndex = 1, None
    kept = set(font.getGlyphOrder())
    table.kernTable = {pair: by for pair, by in pairs.items() if kept.issuperset(pair)}
    font["kern"] = newTable("kern")
    font["kern"].version, font["kern"].kernTables = 0, [table]
    subsetter.subset(font)
    font.save(OUTPUT, reorderTables=True)
    data = OUTPUT.read_bytes()
    (HERE / "SHA256SUMS").write_text(f"{hashlib.sha256(data).hexdigest()}  {OUTPUT.name}\n")
    print(
        f"{OUTPUT.name}: {len(font.getBestCmap())} characters, {len(table.kernTable)} kerned pairs, {len(data)} bytes"
    )


if __name__ == "__main__":
    main()
