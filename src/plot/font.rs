//! Draws and measures text, and shortens it to a width. All pictures that featurize draws use this font.
//!
//! The font is Inter, regular weight, in Latin, Greek and Cyrillic (`data/fonts/NOTICE`). There is no fallback font: a
//! missing character is drawn as a box. Characters are placed from left to right with the kerning of the font, without
//! shaping.

use std::borrow::Cow;
use std::sync::OnceLock;

use ab_glyph::{Font, FontRef, GlyphId, PxScale, ScaleFont, point};

pub(super) const BYTES: &[u8] = include_bytes!("../../data/fonts/inter-subset.ttf");

/// The character that replaces omitted characters.
const ELLIPSIS: char = '…';

/// Returns the font; none only if the embedded bytes were not a font, which a test rules out.
fn font() -> Option<&'static FontRef<'static>> {
    static FONT: OnceLock<Option<FontRef<'static>>> = OnceLock::new();
    FONT.get_or_init(|| FontRef::try_from_slice(BYTES).ok()).as_ref()
}

/// Calls `put` with each glyph of `text` and its position in pixels from the start of the text. Returns the position
/// behind the last glyph.
fn for_each_glyph(text: &str, size: f32, mut put: impl FnMut(&FontRef<'static>, PxScale, GlyphId, f32)) -> f32 {
    let Some(font) = font() else { return 0.0 };
    // The crate measures in line heights, and this module in ems.
    let scale = PxScale::from(size * font.height_unscaled() / font.units_per_em().unwrap_or(1000.0));
    let scaled = font.as_scaled(scale);
    let mut at = 0.0;
    let mut before = None;
    for character in text.chars() {
        let glyph = font.glyph_id(character);
        if let Some(before) = before {
            at += scaled.kern(before, glyph);
        }
        put(font, scale, glyph, at);
        at += scaled.h_advance(glyph);
        before = Some(glyph);
    }
    at
}

/// Returns the width of `text` in pixels; `size` is the number of pixels per em.
pub fn width(text: &str, size: f32) -> f32 {
    for_each_glyph(text, size, |_, _, _, _| {})
}

/// Whether the font has every character of `text`.
pub fn has(text: &str) -> bool {
    font().is_some_and(|font| text.chars().all(|character| font.glyph_id(character) != GlyphId(0)))
}

/// Calls `ink` with column, row and coverage (0 to 1) of every pixel that `text` touches; the text begins at `x` on
/// `baseline`.
pub fn draw(text: &str, size: f32, x: f32, baseline: f32, mut ink: impl FnMut(i64, i64, f32)) {
    for_each_glyph(text, size, |font, scale, glyph, at| {
        let glyph = glyph.with_scale_and_position(scale, point(x + at, baseline));
        let Some(outline) = font.outline_glyph(glyph) else { return };
        let corner = outline.px_bounds().min;
        let (left, top) = (corner.x as i64, corner.y as i64);
        outline.draw(|column, row, coverage| ink(left + i64::from(column), top + i64::from(row), coverage));
    });
}

/// Shortens `text` to at most `room` pixels. An ellipsis replaces its middle, because beginnings and ends tell file
/// names apart.
pub fn shorten_middle(text: &str, size: f32, room: f32) -> Cow<'_, str> {
    shorten(text, size, room, |kept| (kept.div_ceil(2), kept / 2))
}

/// Shortens `text` to at most `room` pixels; an ellipsis replaces its end.
pub fn shorten_end(text: &str, size: f32, room: f32) -> Cow<'_, str> {
    shorten(text, size, room, |kept| (kept, 0))
}

/// Returns the longest shortened text that fits. `parts` maps a number of kept characters to their numbers at the
/// beginning and at the end.
fn shorten(text: &str, size: f32, room: f32, parts: impl Fn(usize) -> (usize, usize)) -> Cow<'_, str> {
    if width(text, size) <= room {
        return text.into();
    }
    let characters: Vec<char> = text.chars().collect();
    let cut = |kept: usize| {
        let (begin, end) = parts(kept);
        let begin: String = characters.iter().take(begin).collect();
        let end: String = characters.iter().skip(characters.len() - end).collect();
        format!("{}{ELLIPSIS}{}", begin.trim_end(), end.trim_start())
    };
    // The width grows with the number of characters, so a binary search finds the largest number that fits.
    let (mut fits, mut too_many) = (0, characters.len());
    while fits + 1 < too_many {
        let middle = usize::midpoint(fits, too_many);
        if width(&cut(middle), size) <= room { fits = middle } else { too_many = middle }
    }
    cut(fits).into()
}

/// Breaks `text` into at most `most` lines of `room` pixels, at spaces where possible; an ellipsis replaces the rest
/// that does not fit.
pub fn wrap(text: &str, size: f32, room: f32, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() && lines.len() + 1 < most {
        let end = line_end(rest, size, room);
        lines.push(rest[..end].trim_end().to_string());
        rest = rest[end..].trim_start();
    }
    if !rest.is_empty() && most > 0 {
        lines.push(shorten_end(rest, size, room).into_owned());
    }
    lines
}

/// Returns the length in bytes of the first line of `text`: up to the last word that fits, or inside a word that is
/// wider than the line.
fn line_end(text: &str, size: f32, room: f32) -> usize {
    let (mut whole, mut part) = (0, 0);
    for (at, character) in text.char_indices() {
        let end = at + character.len_utf8();
        if part > 0 && width(&text[..end], size) > room {
            return if character == ' ' {
                at
            } else if whole > 0 {
                whole
            } else {
                part
            };
        }
        part = end;
        if character == ' ' {
            whole = end;
        }
    }
    text.len()
}

/// Replaces control characters and marks of text direction by U+FFFD, since they are not allowed in a line or in XML.
pub fn clean(text: &str) -> String {
    let bad = |c: char| {
        c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
    };
    text.chars().map(|c| if bad(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns left, top, right and bottom of the ink of `text`; right and bottom are exclusive.
    fn bounds(text: &str, size: f32) -> [i64; 4] {
        let mut bounds = [i64::MAX, i64::MAX, i64::MIN, i64::MIN];
        draw(text, size, 0.0, 0.0, |x, y, coverage| {
            if coverage > 0.02 {
                let [left, top, right, bottom] = bounds;
                bounds = [left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1)];
            }
        });
        bounds
    }

    #[test]
    fn the_bytes_are_a_font_with_the_letters_of_europe() {
        let font = font().expect("a font");
        for character in "azAZ09 éßÅøŁžő ΑΩαωά ЖяёҐ – — … “” ‘’ € → ← ↑ ↓ ≈ ≤ − × µ °".chars()
        {
            assert!(character == ' ' || font.glyph_id(character) != GlyphId(0), "{character}");
        }
        assert_eq!(font.glyph_id('漢'), GlyphId(0));
        // The box of a missing character must be visible.
        let [left, top, right, bottom] = bounds("漢", 40.0);
        assert!(right - left > 10 && bottom - top > 20, "{left} {top} {right} {bottom}");
    }

    #[test]
    fn widths_are_those_of_the_font_file() {
        // fontTools gives these advances of H, i and the tabular digits 1 and 8, in units of 1/2048 em.
        for (text, units) in [("H", 1522.0), ("i", 496.0), ("1", 1328.0), ("8", 1328.0)] {
            assert!((width(text, 2048.0) - units).abs() < 0.5, "{text}: {}", width(text, 2048.0));
        }
        assert_eq!(width("", 12.0), 0.0);
        assert!((width("Hi", 20.0) - width("H", 20.0) - width("i", 20.0)).abs() < 1e-3);
        assert!(width("AV", 100.0) < width("A", 100.0) + width("V", 100.0) - 2.0, "kerned");
        assert!((width("banana", 26.0) - 2.0 * width("banana", 13.0)).abs() < 1e-3);
    }

    #[test]
    fn letters_stand_on_the_baseline_as_high_as_the_font_says() {
        assert_eq!(bounds("H", 100.0)[1..], [-73, bounds("H", 100.0)[2], 0]);
        assert!(bounds("g", 100.0)[3] > 15);
        let [left, _, right, _] = bounds("banana", 50.0);
        assert!(left >= 0 && right as f32 <= width("banana", 50.0) && right as f32 > width("banana", 50.0) - 8.0);
    }

    #[test]
    fn a_text_is_shortened_where_it_must_be_and_no_more() {
        assert_eq!(shorten_middle("a.jpg", 12.0, 100.0), "a.jpg");
        let name = "DSC_0001_of_a_very_long_afternoon_in_the_orchard_2024.jpeg";
        let short = shorten_middle(name, 12.0, 150.0);
        assert!(short.starts_with("DSC_0001_") && short.ends_with("_2024.jpeg") && short.contains('…'), "{short}");
        assert!((130.0..=150.0).contains(&width(&short, 12.0)), "{}", width(&short, 12.0));
        let end = shorten_end("West Highland white terrier", 12.0, 90.0);
        assert!(end.starts_with("West Highl") && end.ends_with('…') && width(&end, 12.0) <= 90.0, "{end}");
        assert_eq!(shorten_end("abc", 12.0, 1.0), "…");
        assert_eq!(shorten_middle("日本語の写真.jpg", 12.0, 60.0).chars().last(), Some('g'));
    }

    #[test]
    fn lines_break_at_spaces_and_the_last_one_is_cut() {
        let text = "not a picture: the file ends in the middle of its data";
        let lines = wrap(text, 12.0, 120.0, 9);
        assert!(lines.len() > 2 && lines.iter().all(|line| width(line, 12.0) <= 120.0), "{lines:?}");
        assert_eq!(lines.join(" "), text);
        let lines = wrap(text, 12.0, 120.0, 2);
        assert!(lines.len() == 2 && lines[1].ends_with('…'), "{lines:?}");
        let lines = wrap("/a/path/without/any/space/that/is/longer/than/a/line.jpg", 12.0, 120.0, 9);
        assert!(lines.len() > 2 && lines.iter().all(|line| width(line, 12.0) <= 120.0), "{lines:?}");
        assert!(wrap("  ", 12.0, 120.0, 3).is_empty());
        assert_eq!(wrap("ää öö", 12.0, 0.0, 9).concat(), "ääöö");
    }

    #[test]
    fn nothing_that_breaks_a_line_or_xml_is_left() {
        assert_eq!(clean("a\nb\u{7}c\u{202e}d é→"), "a\u{fffd}b\u{fffd}c\u{fffd}d é→");
    }
}
