//! Against Pillow, torchvision and timm: the numbers and files are made by `tests/golden/image.py`.

use super::*;
use proptest::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::PathBuf;

mod fuzz;

fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn rows<T: for<'de> Deserialize<'de>>(name: &str) -> Vec<T> {
    serde_json::from_slice(&golden(name)).expect("golden rows")
}

/// The rows under `key`.
pub(crate) fn rows_of<T: for<'de> Deserialize<'de>>(name: &str, key: &str) -> Vec<T> {
    let mut all: serde_json::Value = serde_json::from_slice(&golden(name)).expect("golden rows");
    serde_json::from_value(all[key].take()).expect("rows")
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// `pattern` of `image.py`.
pub(crate) fn pattern(width: usize, height: usize) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        std::array::from_fn(|c| {
            let i = ((y * width + x) * 3 + c) as u64;
            let noise = (i * 2_654_435_761 % (1 << 32)) >> 16;
            let level = (x * (c + 2) + y * (3 - c) + (x / 8 + y / 8) % 2 * 60) as u64 + noise % 32;
            (level % 256) as u8
        })
    })
}

/// A PNG's checksum.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    })
}

fn crop(image: &RgbImage, left: usize, top: usize, width: usize, height: usize) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let at = ((top + y) * image.width + left + x) * 3;
        [image.data[at], image.data[at + 1], image.data[at + 2]]
    })
}

#[test]
fn resizing_is_pillows_to_the_bit() {
    #[derive(Deserialize)]
    struct Case {
        source: [usize; 2],
        filter: Filter,
        size: [usize; 2],
        r#box: Option<[f32; 4]>,
        sha256: String,
        first: Vec<u8>,
    }
    let cases: Vec<Case> = rows("image_resize.json");
    assert!(cases.len() > 100, "{} cases", cases.len());
    for case in cases {
        let source = pattern(case.source[0], case.source[1]);
        let [width, height] = case.size;
        let out = match case.r#box {
            Some(bounds) => resize_box(&source, bounds, width, height, case.filter),
            None => resize(&source, width, height, case.filter),
        };
        let what = format!("{:?} {:?} to {:?}, box {:?}", case.filter, case.source, case.size, case.r#box);
        assert_eq!((out.width, out.height, out.data.len()), (width, height, width * height * 3), "{what}");
        assert!(out.data.starts_with(&case.first), "{what}: {:?}, not {:?}", &out.data[..case.first.len()], case.first);
        assert_eq!(sha256(&out.data), case.sha256, "{what}");
    }
}

#[test]
fn recipes_are_timms_and_keras_to_the_bit() {
    #[derive(Deserialize)]
    struct Case {
        source: [usize; 2],
        recipe: Recipe,
        levels: String,
        values: String,
        first: Vec<f32>,
    }
    let cases: Vec<Case> = rows("image_recipe.json");
    assert!(cases.len() > 50, "{} cases", cases.len());
    for Case { source, recipe, levels, values, first } in cases {
        let image = pattern(source[0], source[1]);
        assert_eq!(recipe.check(), Ok(()));
        assert_eq!(sha256(&recipe.levels(&image).data), levels, "levels of {source:?}, {recipe:?}");
        let mut out = vec![f32::NAN; recipe.input_len()];
        recipe.apply(&image, Layout::Chw, &mut out);
        assert_eq!(&out[..first.len()], first, "first values of {source:?}, {recipe:?}");
        let bytes: Vec<u8> = out.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(sha256(&bytes), values, "values of {source:?}, {recipe:?}");
    }
}

#[derive(Deserialize)]
struct File {
    file: String,
    what: String,
    size: [usize; 2],
    /// Of the pixels.
    sha256: String,
}

/// Asserts that `bytes` give a picture of this size and hash.
fn assert_decodes(bytes: &[u8], [width, height]: [usize; 2], hash: &str, what: &str) {
    assert_eq!(dimensions(bytes), Some((width, height)), "{what}");
    let image = decode(bytes, &DecodeOptions::default()).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!((image.width, image.height), (width, height), "{what}");
    assert_eq!(sha256(&image.data), hash, "{what}");
}

#[test]
fn files_give_pillows_pixels_to_the_bit() {
    let files: Vec<File> = rows("image_files.json");
    assert!(files.len() >= 30, "{} files", files.len());
    for File { file, what, size, sha256 } in files {
        assert_decodes(&golden(&file), size, &sha256, &format!("{file} ({what})"));
    }
}

/// A picture of `image_grid.bin`.
#[derive(Deserialize)]
struct Case {
    what: String,
    /// Where it begins and ends.
    bytes: [usize; 2],
    size: [usize; 2],
    sha256: String,
}

#[test]
fn jpegs_of_any_sampling_and_size_give_pillows_pixels_to_the_bit() {
    let (cases, all) = (rows::<Case>("image_grid.json"), golden("image_grid.bin"));
    assert!(cases.len() > 300, "{} cases", cases.len());
    for Case { what, bytes: [start, end], size, sha256 } in cases {
        assert_decodes(&all[start..end], size, &sha256, &what);
    }
}

/// A picture of `image_decoding.bin`.
#[derive(Deserialize)]
struct Told {
    what: String,
    bytes: [usize; 2],
    exif: Exif,
    truncated: Truncated,
    size: [usize; 2],
    sha256: String,
}

#[test]
fn orientations_are_applied_and_cut_files_filled_up_as_in_pillow() {
    let (cases, all) = (rows::<Told>("image_decoding.json"), golden("image_decoding.bin"));
    assert!(cases.len() > 150, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for Told { what, bytes: [start, end], exif, truncated, size, sha256: hash } in cases {
        let options = DecodeOptions { exif, truncated, ..DecodeOptions::default() };
        match decode(&all[start..end], &options) {
            Ok(image) if [image.width, image.height] == size && sha256(&image.data) == hash => {}
            Ok(image) => wrong.push(format!("{what}: {} x {}, other pixels", image.width, image.height)),
            Err(error) => wrong.push(format!("{what}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A recipe that resizes every picture to so many pixels.
fn stretched(width: usize, height: usize) -> Recipe {
    let model = crate::models::find("resnet50").expect("registered");
    Recipe { size: [height, width], fit: Fit::Stretch, crop_pct: 1.0, ..model.weights[0].recipe.clone() }
}

#[test]
fn jpegs_at_a_part_of_their_size_are_pillows_drafts_to_the_bit() {
    #[derive(Deserialize)]
    struct Draft {
        what: String,
        bytes: Option<[usize; 2]>,
        file: Option<String>,
        part: usize,
        size: [usize; 2],
        sha256: String,
    }
    let (cases, all) = (rows::<Draft>("image_draft.json"), golden("image_grid.bin"));
    assert!(cases.len() > 150, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for Draft { what, bytes, file, part, size: [width, height], sha256: hash } in cases {
        let data = match (bytes, file) {
            (Some([start, end]), _) => all[start..end].to_vec(),
            (None, file) => golden(&file.expect("a file")),
        };
        let made = super::jpeg::decode_part(&data, part).unwrap_or_else(|e| panic!("{what}: {e}"));
        if (made.width, made.height) != (width, height) || sha256(&made.data) != hash {
            wrong.push(format!("{what}, 1/{part}: {} x {}, not {width} x {height}", made.width, made.height));
        }
    }
    assert!(wrong.is_empty(), "{} of them: {wrong:#?}", wrong.len());
}

#[test]
fn fast_decoding_leaves_twice_what_the_recipe_needs_and_keeps_the_size_in_mind() {
    let picture = RgbImage::from_fn(400, 200, |x, y| [(x * 255 / 400) as u8, y as u8, ((x + y) / 3) as u8]);
    let jpeg = thumbnail(&picture, 400).expect("encoded");
    let fast = DecodeOptions { fast_decode: true, ..DecodeOptions::default() };
    for (side, made) in
        [(25, (50, 25)), (13, (100, 50)), (12, (50, 25)), (50, (200, 100)), (51, (400, 200)), (100, (400, 200))]
    {
        let wanted = if side == 25 { [25, 12] } else { [side * 2, side] };
        let decoded = decode_for(&stretched(wanted[0], wanted[1]), &jpeg, &fast).expect("a JPEG");
        assert_eq!((decoded.image.width, decoded.image.height), made, "for {wanted:?}");
        assert_eq!((decoded.width, decoded.height), (400, 200));
        let slow = decode_for(&stretched(wanted[0], wanted[1]), &jpeg, &DecodeOptions::default()).expect("a JPEG");
        assert_eq!((slow.image.width, slow.image.height), (400, 200));
        // what the network sees is nearly the same
        let [a, b] = [decoded, slow].map(|d| stretched(wanted[0], wanted[1]).levels(&d.image).data);
        let far = a.iter().zip(&b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>() as f64 / a.len() as f64;
        assert!(far < 12.0, "{far} levels apart for {wanted:?}");
    }
    // sideways: 200 x 400 is wanted of 400 x 200
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let turned = [&jpeg[..2], exif, &jpeg[2..]].concat();
    let decoded = decode_for(&stretched(50, 100), &turned, &fast).expect("a JPEG");
    assert_eq!((decoded.image.width, decoded.image.height, decoded.width, decoded.height), (100, 200, 200, 400));
    let decoded = decode_for(&stretched(100, 50), &turned, &fast).expect("a JPEG");
    assert_eq!((decoded.image.width, decoded.image.height), (200, 400), "a side would be too small");
}

#[test]
fn an_icon_that_holds_a_png_of_any_kind_is_that_png() {
    for name in ["rgb", "grey", "palette", "grey16"] {
        let png = golden(&format!("image_{name}.png"));
        let mut icon = vec![0, 0, 1, 0, 1, 0, 45, 35, 0, 0, 1, 0, 32, 0];
        icon.extend((png.len() as u32).to_le_bytes());
        icon.extend(22u32.to_le_bytes());
        icon.extend(&png);
        let options = DecodeOptions::default();
        assert_eq!(decode(&icon, &options), decode(&png, &options), "{name}");
    }
}

#[test]
fn a_file_cut_before_its_pixels_is_truncated_whatever_is_asked() {
    let pad = DecodeOptions { truncated: Truncated::Pad, ..DecodeOptions::default() };
    for name in ["420.jpg", "rgb.png", "lossy.webp", "rgb.bmp", "lzw.tif"] {
        let bytes = golden(&format!("image_{name}"));
        for end in [1, 10, 20, 40] {
            let error = decode(&bytes[..end], &pad).expect_err("no pixels");
            assert_ne!(error.kind, DecodeErrorKind::Panicked, "{name}, {end} bytes: {error}");
        }
    }
    // of a progressive file, what there is
    let progressive = golden("image_progressive.jpg");
    let whole = decode(&progressive, &pad).expect("the whole file");
    let part = decode(&progressive[..progressive.len() * 9 / 10], &pad).expect("most of it");
    let far = whole.data.iter().zip(&part.data).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>();
    assert!(far > 0 && far / (whole.data.len() as u64) < 8, "{far} in {} bytes", whole.data.len());
}

fn kind(bytes: &[u8]) -> Option<DecodeErrorKind> {
    decode(bytes, &DecodeOptions::default()).err().map(|e| e.kind)
}

#[test]
fn a_file_that_ends_early_is_truncated() {
    for name in ["420.jpg", "444.jpg", "progressive.jpg", "restart.jpg", "cmyk.jpg", "rgb.png", "lzw.tif", "rgb.bmp"] {
        let bytes = golden(&format!("image_{name}"));
        for part in 1..16 {
            let end = bytes.len() * part / 16;
            assert_eq!(kind(&bytes[..end]), Some(DecodeErrorKind::Truncated), "{name}, {part}/16");
        }
    }
    let jpeg = golden("image_420.jpg");
    for missing in 1..=40 {
        assert_eq!(kind(&jpeg[..jpeg.len() - missing]), Some(DecodeErrorKind::Truncated), "{missing} bytes missing");
    }
}

#[test]
fn no_cut_of_any_file_gives_a_picture_or_a_panic() {
    // the other pictures of these two come after the first one, which is whole when they are cut
    let several = ["image_animated.gif", "image_pages.tif"];
    for file in rows::<File>("image_files.json").iter().filter(|f| !several.contains(&f.file.as_str())) {
        let bytes = golden(&file.file);
        for end in (0..bytes.len() / 2).step_by(7) {
            let found = kind(&bytes[..end]);
            assert!(
                found.is_some_and(|k| k != DecodeErrorKind::Panicked),
                "{} cut to {end} bytes: {found:?}",
                file.file
            );
        }
    }
}

#[test]
fn harmless_oddities_of_a_jpeg_decode_as_in_pillow() {
    let clean = golden("image_420.jpg");
    let expected = decode(&clean, &DecodeOptions::default()).expect("the file itself");
    let table = clean.windows(2).position(|w| w == [0xff, 0xdb]).expect("a quantisation table");
    let with = |at: usize, junk: &[u8]| [&clean[..at], junk, &clean[at..]].concat();
    let odd = [
        ("bytes after the end", with(clean.len(), b"trailing bytes\xff\xd8\xff")),
        ("bytes before a marker", with(table, b"\x01\x02\x03\x04\x05\x06\x07")),
        ("fill bytes", with(table, &[0xff; 5])),
        ("bytes before the end marker", with(clean.len() - 2, b"\x12\x34\x56")),
        ("a broken EXIF segment", with(2, b"\xff\xe1\x00\x0cExif\0\0\xff\xff\xff\xff")),
        ("an unknown segment", with(2, b"\xff\xf3\x00\x04ab")),
    ];
    for (what, bytes) in odd {
        assert_eq!(decode(&bytes, &DecodeOptions::default()).as_ref(), Ok(&expected), "{what}");
    }
}

#[test]
fn jpegs_that_contradict_themselves_are_corrupt() {
    let changed = |name: &str, marker: u8, change: fn(&mut Vec<u8>, usize)| {
        let mut bytes = golden(name);
        let at = bytes.windows(2).position(|w| w == [0xff, marker]).expect("the marker");
        change(&mut bytes, at);
        decode(&bytes, &DecodeOptions::default()).map(|_| ()).expect_err("refused")
    };
    let cases = [
        (changed("image_444.jpg", 0xdb, |b, at| b[at + 4] = 0x0f), "beyond the fourth"),
        (changed("image_444.jpg", 0xc4, |b, at| b[at + 5] = 200), "Huffman table"),
        (changed("image_444.jpg", 0xda, |b, at| b[at + 5] = 99), "unknown component 99"),
        (changed("image_444.jpg", 0xc0, |b, at| b[at + 11] = 0x50), "sampling factors of 5x0"),
        (changed("image_444.jpg", 0xc0, |b, at| b[at + 12] = 3), "quantisation table 3 is missing"),
        (changed("image_restart.jpg", 0xd1, |b, at| b[at + 1] = 0xd3), "restart marker 3 where 1 should be"),
        (changed("image_restart.jpg", 0xd1, |b, at| drop(b.drain(at..at + 2))), "restart"),
        (changed("image_progressive.jpg", 0xda, |b, at| b[at + 11] = 64), "progressive scan"),
        (changed("image_420.jpg", 0xda, |b, _| drop(b.drain(b.len() - 42..b.len() - 2))), "missing before a marker"),
    ];
    for (error, text) in cases {
        assert_eq!(error.kind, DecodeErrorKind::Corrupt, "{error}");
        assert!(error.detail.contains(text), "{error}, not {text}");
    }
}

#[test]
fn a_jpeg_of_endless_scans_is_refused() {
    let mut bytes = golden("image_progressive.jpg");
    let at = bytes.windows(2).position(|w| w == [0xff, 0xda]).expect("the first scan");
    let end = at + bytes[at..].windows(2).position(|w| w == [0xff, 0xc4]).expect("the tables of the second scan");
    let scan = bytes[at..end].to_vec();
    let expected = decode(&bytes, &DecodeOptions::default()).expect("the file itself");
    bytes.splice(at..at, scan.repeat(300));
    assert_eq!(decode(&bytes, &DecodeOptions::default()), Ok(expected));
    bytes.splice(at..at, scan.repeat(300));
    let error = decode(&bytes, &DecodeOptions::default()).expect_err("refused");
    assert!(error.kind == DecodeErrorKind::Corrupt && error.detail.contains("more than 500 scans"), "{error}");
}

#[test]
fn unread_variants_of_jpeg_are_named() {
    let clean = golden("image_444.jpg");
    let frame = clean.windows(2).position(|w| w == [0xff, 0xc0]).expect("a frame header");
    let with = |offset: usize, value: u8| {
        let mut bytes = clean.clone();
        bytes[frame + offset] = value;
        decode(&bytes, &DecodeOptions::default()).expect_err("refused")
    };
    for (offset, value, text) in [(1, 0xc3, "lossless"), (1, 0xc9, "arithmetic-coded"), (4, 12, "12 bits")] {
        let error = with(offset, value);
        assert_eq!(error.kind, DecodeErrorKind::Unsupported);
        assert!(error.detail.contains(text), "{error}");
    }
    let mut fraction = golden("image_422.jpg");
    let frame = fraction.windows(2).position(|w| w == [0xff, 0xc0]).expect("a frame header");
    fraction[frame + 14] = 0x31;
    let error = decode(&fraction, &DecodeOptions::default()).expect_err("refused");
    assert!(error.kind == DecodeErrorKind::Unsupported && error.detail.contains("2x1 in 3x1"), "{error}");
}

#[test]
fn what_is_no_picture_is_told_apart() {
    use DecodeErrorKind::*;
    let cases: [(&[u8], DecodeErrorKind, &str); 12] = [
        (b"", Empty, "empty"),
        (b"just some text\n", NotAnImage, "text"),
        (b"\n<!DOCTYPE html><html>404", NotAnImage, "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", NotAnImage, "git lfs pull"),
        (b"PK\x03\x04\x14\0\0\0", NotAnImage, "zip"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", NotAnImage, "video"),
        (b"\x93\x12\xfe\x00\x01\x02", NotAnImage, "93 12 fe 00"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", Unsupported, "HEIC is not supported; convert it to JPEG or PNG"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", Unsupported, "AVIF"),
        (b"%PDF-1.7\n", Unsupported, "PDF"),
        (b"8BPS\0\x01", Unsupported, "PSD"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", Unsupported, "SVG"),
    ];
    for (bytes, kind, text) in cases {
        let error = decode(bytes, &DecodeOptions::default()).expect_err("no picture");
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(dimensions(bytes), None);
    }
}

#[test]
fn a_header_that_promises_too_much_is_refused_unread() {
    let mut png = golden("image_rgb.png");
    png[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    png[20..24].copy_from_slice(&60_000u32.to_be_bytes());
    // the checksum of the header, so that the size is believed
    let sum = crc(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(dimensions(&png), Some((60_000, 60_000)));
    assert_eq!(kind(&png), Some(DecodeErrorKind::TooLarge));

    let mut jpeg = golden("image_444.jpg");
    let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).expect("a frame header");
    jpeg[frame + 5..frame + 9].fill(0xff);
    assert_eq!(dimensions(&jpeg), Some((65_535, 65_535)));
    assert_eq!(kind(&jpeg), Some(DecodeErrorKind::TooLarge));

    let small = DecodeOptions { max_pixels: 45 * 35 - 1, ..DecodeOptions::default() };
    let error = decode(&golden("image_420.jpg"), &small).expect_err("one pixel too many");
    assert_eq!((error.kind, error.kind.as_str()), (DecodeErrorKind::TooLarge, "too_large"));
}

#[test]
fn transparency_shows_the_background() {
    let alpha = golden("image_alpha.png");
    let white = decode(&alpha, &DecodeOptions::default()).expect("a PNG");
    let black = DecodeOptions { background: [0; 3], ..DecodeOptions::default() };
    let black = decode(&alpha, &black).expect("a PNG");
    assert_ne!(white, black);
    assert!(white.data.iter().zip(&black.data).all(|(w, b)| w >= b));
}

fn filters() -> impl Strategy<Value = Filter> {
    use Filter::*;
    prop::sample::select(vec![Nearest, Box, Bilinear, Hamming, Bicubic, Lanczos])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn a_window_of_the_result_is_cut_out_of_it(
        source in (1usize..80, 1usize..80), full in (1usize..120, 1usize..120), filter in filters(),
        at in (0.0..1.0, 0.0..1.0, 0.0..1.0, 0.0..1.0),
    ) {
        let image = pattern(source.0, source.1);
        let part = |share: f64, of: usize| (share * of as f64) as usize;
        let (left, top) = (part(at.0, full.0), part(at.1, full.1));
        let (width, height) = (1 + part(at.2, full.0 - left - 1), 1 + part(at.3, full.1 - top - 1));
        let window = resize_crop(&image, full.0, full.1, filter, left, top, width, height);
        let whole = resize(&image, full.0, full.1, filter);
        prop_assert_eq!(window, crop(&whole, left, top, width, height));
    }

    #[test]
    fn any_bytes_never_panic(head in prop::sample::select(HEADS.to_vec()), bytes: Vec<u8>) {
        prop_assert_ne!(kind(&[head, &bytes].concat()), Some(DecodeErrorKind::Panicked));
    }

    #[test]
    fn changed_jpegs_never_panic(case in 0usize..1000, changes in prop::collection::vec((0.0..1.0, any::<u8>()), 1..8)) {
        let (cases, all) = (rows::<Case>("image_grid.json"), golden("image_grid.bin"));
        let Case { what, bytes: [start, end], .. } = &cases[case % cases.len()];
        let mut bytes = all[*start..*end].to_vec();
        for (at, value) in &changes {
            let at = (at * bytes.len() as f64) as usize;
            bytes[at] = *value;
        }
        let small = DecodeOptions { max_pixels: 1 << 20, ..DecodeOptions::default() };
        match decode(&bytes, &small) {
            Ok(image) => prop_assert_eq!(image.data.len(), image.width * image.height * 3),
            Err(e) => prop_assert_ne!(e.kind, DecodeErrorKind::Panicked, "{} with {:?}", what, changes),
        }
    }

    #[test]
    fn a_changed_byte_never_panics(file in 0usize..35, at in 0.0..1.0, value: u8) {
        let files: Vec<File> = rows("image_files.json");
        let mut bytes = golden(&files[file % files.len()].file);
        let at = (at * bytes.len() as f64) as usize;
        bytes[at] = value;
        let small = DecodeOptions { max_pixels: 1 << 20, ..DecodeOptions::default() };
        let found = decode(&bytes, &small).err().map(|e| e.kind);
        prop_assert_ne!(found, Some(DecodeErrorKind::Panicked), "{} at {}", files[file % files.len()].file, at);
    }
}

/// What the formats begin with, so that random bytes get past the door.
const HEADS: [&[u8]; 9] = [
    b"",
    b"\xff\xd8\xff",
    b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"GIF89a\x10\0\x10\0\x80\0\0",
    b"RIFF\x40\0\0\0WEBPVP8 ",
    b"BM",
    b"II*\0\x08\0\0\0",
    b"P6\n4 4\n255\n",
];
