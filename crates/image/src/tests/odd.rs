//! Compares unusual files of every format with Pillow; `tests/golden/image_odd.py` makes the files and Pillow's pixels.
//! Files that Pillow reads differently, or not at all, are made here.

use super::*;

/// Returns the files whose names begin with `beginning`.
fn odd(beginning: &str) -> impl Iterator<Item = (Case, Vec<u8>)> {
    let (cases, all) = (rows::<Case>("image_odd.json"), golden("image_odd.bin"));
    let wanted = beginning.to_string();
    cases.into_iter().filter(move |case| case.what.starts_with(&wanted)).map(move |case| {
        let bytes = all[case.bytes[0]..case.bytes[1]].to_vec();
        (case, bytes)
    })
}

fn expect_pillows(beginning: &str, at_least: usize) {
    let (mut count, mut wrong) = (0, Vec::new());
    for (Case { what, size: [width, height], sha256: hash, .. }, bytes) in odd(beginning) {
        if what.ends_with(".avif") && !cfg!(feature = "avif") {
            continue;
        }
        count += 1;
        match decode(&bytes, &DecodeOptions::default()) {
            Ok(image) if (image.width, image.height) == (width, height) && sha256(&image.data) == hash => {}
            Ok(image) => wrong.push(format!("{what}: {} x {}, other pixels", image.width, image.height)),
            Err(error) => wrong.push(format!("{what}: {error}")),
        }
    }
    assert!(count >= at_least, "{count} files {beginning}");
    assert!(wrong.is_empty(), "{} of {count}: {wrong:#?}", wrong.len());
}

#[test]
fn an_orientation_counts_however_it_is_told() {
    expect_pillows("orientation", 70);
}

#[test]
fn a_gif_shows_its_first_frame_on_its_canvas() {
    expect_pillows("gif", 120);
}

#[test]
fn bitmaps_of_every_header_mask_and_run_are_pillows() {
    expect_pillows("bmp", 70);
}

#[test]
fn pngs_without_an_end_pnms_and_icons_are_pillows() {
    expect_pillows("png", 40);
}

#[test]
fn tiffs_of_every_layout_and_compression_are_pillows() {
    expect_pillows("tiff", 90);
}

#[test]
fn frames_tiles_and_components_are_pillows() {
    expect_pillows("other", 24);
}

#[test]
fn the_size_is_known_before_the_pixels() {
    for (Case { what, size, .. }, bytes) in odd("") {
        if what.starts_with("orientation") || what.ends_with("avif") {
            continue;
        }
        // The orientation of this file swaps its sides.
        let size = if what == "tiff_rgb8_turned.tif" { [size[1], size[0]] } else { size };
        assert_eq!(dimensions(&bytes), Some((size[0], size[1])), "{what}");
    }
}

/// Makes a little-endian TIFF of 4x1 pixels with the usual tags and `tags`, each of one short value, and with `data`
/// behind them.
fn tiff(tags: &[(u16, u16)], data: &[u8]) -> Vec<u8> {
    let count = tags.len() as u16 + 4;
    let start = 8 + 2 + 12 * u32::from(count) + 4;
    let usual = [(256, 4), (257, 1), (273, start as u16), (279, data.len() as u16)];
    let mut tags: Vec<(u16, u16)> = usual.into_iter().chain(tags.iter().copied()).collect();
    tags.sort_unstable();
    let entries = tags.iter().flat_map(|(tag, value)| {
        [&tag.to_le_bytes()[..], &3u16.to_le_bytes(), &1u32.to_le_bytes(), &value.to_le_bytes(), &[0, 0]].concat()
    });
    let entries: Vec<u8> = entries.collect();
    [b"II*\0\x08\0\0\0", &count.to_le_bytes()[..], &entries, &[0; 4], data].concat()
}

#[test]
fn sixteen_bits_whose_zero_is_white_are_inverted() {
    // Pillow 13 does not invert them.
    let data: Vec<u8> = [0u16, 0x12ff, 0x8000, 0xffff].iter().flat_map(|level| level.to_le_bytes()).collect();
    let image = decode(&tiff(&[(258, 16), (262, 0)], &data), &DecodeOptions::default()).expect("a TIFF");
    assert_eq!(image.data, [[255; 3], [0xed; 3], [0x7f; 3], [0; 3]].concat());
}

#[test]
fn grey_that_has_been_multiplied_by_its_opacity_is_divided_by_it() {
    // Pillow 13 does not convert this to RGB.
    let bytes = tiff(&[(258, 8), (262, 1), (277, 2), (338, 1)], &[60, 60, 60, 120, 0, 0, 200, 255]);
    let image = decode(&bytes, &DecodeOptions::default()).expect("a TIFF");
    // A level of 60 with the opacity 60 is white, with the opacity 120 it is 127.
    assert_eq!(image.data, [[255; 3], [195; 3], [255; 3], [200; 3]].concat());
}

#[test]
fn tiffs_that_are_not_read_are_named() {
    /// The tags, the kind of the error, and a part of its text.
    type Case = (&'static [(u16, u16)], DecodeErrorKind, &'static str);
    let grey = [(258, 8), (262, 1)];
    let cases: [Case; 12] = [
        (&[(258, 12), (262, 1)], DecodeErrorKind::Unsupported, "12-bit samples"),
        (&[(258, 32), (262, 1)], DecodeErrorKind::Unsupported, "32-bit samples"),
        (&[(258, 32), (262, 1), (339, 3)], DecodeErrorKind::Unsupported, "floating-point samples"),
        (&[(258, 16), (262, 1), (339, 2)], DecodeErrorKind::Unsupported, "signed samples"),
        (&[(258, 8), (262, 8), (277, 3)], DecodeErrorKind::Unsupported, "CIELab"),
        (&[(258, 8), (262, 6), (277, 3), (259, 5)], DecodeErrorKind::Unsupported, "YCbCr of less resolution"),
        (&[(258, 8), (262, 2), (277, 4), (338, 2), (259, 7)], DecodeErrorKind::Unsupported, "JPEG of 4 8-bit samples"),
        (&[(258, 8), (262, 1), (277, 9)], DecodeErrorKind::Unsupported, "9 samples a pixel"),
        (&[(258, 1), (262, 1), (259, 3), (292, 1)], DecodeErrorKind::Unsupported, "two-dimensional"),
        (&[(258, 8), (262, 1), (259, 34925)], DecodeErrorKind::Unsupported, "LZMA"),
        (&[(258, 8), (262, 1), (259, 6)], DecodeErrorKind::Unsupported, "JPEG of the time before TIFF 6"),
        (&[(258, 8), (262, 3)], DecodeErrorKind::Corrupt, "no palette"),
    ];
    assert!(decode(&tiff(&grey, &[1, 2, 3, 4]), &DecodeOptions::default()).is_ok());
    for (tags, kind, text) in cases {
        let error = decode(&tiff(tags, &[0x80; 40]), &DecodeOptions::default()).expect_err(text);
        assert!(error.kind == kind && error.detail.contains(text), "{error}, not {text}");
    }
    let strips = decode(&tiff(&[(258, 8), (262, 1), (278, 0)], &[0; 4]), &DecodeOptions::default());
    assert!(strips.is_err_and(|error| error.detail.contains("strips of no size")));
}

#[test]
fn tiles_of_gigabytes_are_refused_before_they_are_made() {
    let tile = [(258, 16), (262, 2), (277, 3), (259, 8), (322, 60_000), (323, 60_000), (324, 8), (325, 40)];
    let mut bytes = tiff(&tile, &[0; 40]);
    // This removes the tag StripOffsets that `tiff` writes, so that the picture has tiles.
    let at = bytes.windows(2).position(|w| w == 273u16.to_le_bytes()).expect("the tag of the strip");
    bytes[at..at + 2].copy_from_slice(&65_000u16.to_le_bytes());
    assert_eq!(kind(&bytes), Some(DecodeErrorKind::TooLarge));
}

#[test]
fn a_tiff_that_ends_early_is_black_from_there_where_this_is_wanted() {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &[10, 20, 30]).expect("packed");
    let bytes = tiff(&[(258, 8), (262, 1), (259, 8)], &packed.finish().expect("packed"));
    assert_eq!(kind(&bytes), Some(DecodeErrorKind::Truncated));
    let pad = DecodeOptions { truncated: Truncated::Pad, ..DecodeOptions::default() };
    assert_eq!(decode(&bytes, &pad).expect("a part").data, [[10; 3], [20; 3], [30; 3], [0; 3]].concat());
}

#[test]
fn a_png_of_sixteen_bits_that_ends_early_keeps_their_upper_byte() {
    let bytes = golden("image_grey16.png");
    let whole = decode(&bytes, &DecodeOptions::default()).expect("a PNG");
    let pad = DecodeOptions { truncated: Truncated::Pad, ..DecodeOptions::default() };
    let part = decode(&bytes[..bytes.len() * 9 / 10], &pad).expect("most of it");
    assert_eq!((part.row(0), part.row(1)), (whole.row(0), whole.row(1)));
}

#[test]
fn masks_of_any_width_are_read() {
    // Pillow refuses masks of four bits.
    let head = [
        &40u32.to_le_bytes()[..],
        &2u32.to_le_bytes(),
        &1u32.to_le_bytes(),
        &[1, 0, 16, 0],
        &3u32.to_le_bytes(),
        &[0; 20],
    ]
    .concat();
    let masks = [0xf00u32, 0xf0, 0xf].map(u32::to_le_bytes).concat();
    let bytes = [b"BM".as_slice(), &[0; 8], &66u32.to_le_bytes(), &head, &masks, &[0x5a, 0x0f, 0xff, 0xff]].concat();
    let image = decode(&bytes, &DecodeOptions::default()).expect("a bitmap");
    assert_eq!(image.data, [255, 85, 170, 255, 255, 255]);
}

#[test]
fn a_palette_of_greys_of_the_frames_own_counts() {
    // Pillow 13 shows the colours of the file's palette.
    let head = b"GIF89a\x02\0\x01\0\x80\0\0\xff\0\0\0\0\xff";
    let frame = b",\0\0\0\0\x02\0\x01\0\x80\0\0\0\x01\x01\x01\x02\x02\x44\x0a\0;";
    let image = decode(&[&head[..], frame].concat(), &DecodeOptions::default()).expect("a GIF");
    assert_eq!(image.data, [0, 0, 0, 1, 1, 1]);
}
