//! Compares decoding, resizing and recipes with Pillow, torchvision and timm; `tests/golden/image.py` makes the numbers
//! and the files.

use super::*;
use proptest::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::PathBuf;

#[cfg(feature = "avif")]
mod avif;
mod fuzz;
mod odd;
mod refused;

fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn rows<T: for<'de> Deserialize<'de>>(name: &str) -> Vec<T> {
    serde_json::from_slice(&golden(name)).expect("golden rows")
}

/// Returns the rows under `key`.
pub(crate) fn rows_of<T: for<'de> Deserialize<'de>>(name: &str, key: &str) -> Vec<T> {
    let mut all: serde_json::Value = serde_json::from_slice(&golden(name)).expect("golden rows");
    serde_json::from_value(all[key].take()).expect("rows")
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// The same picture as `pattern` of `image.py`.
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

/// Computes the checksum of a PNG chunk.
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
        sha256: String,
        first: Vec<u8>,
    }
    let cases: Vec<Case> = rows("image_resize.json");
    assert!(cases.len() > 100, "{} cases", cases.len());
    for case in cases {
        let source = pattern(case.source[0], case.source[1]);
        let [width, height] = case.size;
        let out = resize(&source, width, height, case.filter);
        let what = format!("{:?} {:?} to {:?}", case.filter, case.source, case.size);
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
        assert_eq!(sha256(&recipe.prepare(&image).data), levels, "levels of {source:?}, {recipe:?}");
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
    /// The hash of the pixels.
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
    /// The range of the file in `image_grid.bin`.
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
struct DecodingCase {
    what: String,
    bytes: [usize; 2],
    exif: Exif,
    truncated: Truncated,
    size: [usize; 2],
    sha256: String,
}

#[test]
fn orientations_are_applied_and_cut_files_filled_up_as_in_pillow() {
    let (cases, all) = (rows::<DecodingCase>("image_decoding.json"), golden("image_decoding.bin"));
    assert!(cases.len() > 150, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for DecodingCase { what, bytes: [start, end], exif, truncated, size, sha256: hash } in cases {
        let options = DecodeOptions { exif, truncated, ..DecodeOptions::default() };
        match decode(&all[start..end], &options) {
            Ok(image) if [image.width, image.height] == size && sha256(&image.data) == hash => {}
            Ok(image) => wrong.push(format!("{what}: {} x {}, other pixels", image.width, image.height)),
            Err(error) => wrong.push(format!("{what}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A recipe that resizes every picture to this size.
fn stretched(width: usize, height: usize) -> Recipe {
    Recipe { size: [height, width], fit: Fit::Stretch, crop_pct: 1.0, ..Recipe::TORCHVISION }
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
        let made = super::jpeg::decode_scaled(&data, part).unwrap_or_else(|e| panic!("{what}: {e}"));
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
        // The network's input is nearly the same.
        let [a, b] = [decoded, slow].map(|d| stretched(wanted[0], wanted[1]).prepare(&d.image).data);
        let far = a.iter().zip(&b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>() as f64 / a.len() as f64;
        assert!(far < 12.0, "{far} levels apart for {wanted:?}");
    }
    // The picture is on its side: 200 x 400 pixels are wanted of 400 x 200.
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

fn kind(bytes: &[u8]) -> Option<DecodeErrorKind> {
    decode(bytes, &DecodeOptions::default()).err().map(|e| e.kind)
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
        let window = resize_crop(&image, [full.1, full.0], filter, [top, left], [height, width]);
        let whole = resize(&image, full.0, full.1, filter);
        prop_assert_eq!(window, crop(&whole, left, top, width, height));
    }

    #[test]
    fn any_bytes_never_panic(head in prop::sample::select(HEADS.to_vec()), bytes: Vec<u8>) {
        prop_assert_ne!(kind(&[head, &bytes].concat()), Some(DecodeErrorKind::Panicked));
    }
}

/// The first bytes of the formats, so that random bytes behind them reach the decoders.
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
