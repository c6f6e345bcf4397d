//! Files that give an error, with the kind of the error: truncated, corrupt, unsupported, too large, and not a picture.

use super::*;

#[test]
fn a_file_that_ends_early_is_truncated() {
    for name in ["420.jpg", "444.jpg", "progressive.jpg", "restart.jpg", "cmyk.jpg", "rgb.png", "lzw.tif", "rgb.bmp"] {
        let bytes = golden(&format!("image_{name}"));
        for part in 1..16 {
            let end = bytes.len() * part / 16;
            assert_eq!(kind(&bytes[..end]), Some(DecodeErrorKind::Truncated), "{name}, {part}/16");
        }
    }
    // These formats give their length in the header or have an end marker.
    for (name, header) in [("lossy.webp", 12), ("lossless.webp", 12), ("rgb.ico", 6), ("rgb.qoi", 14), ("rgb.ppm", 13)]
    {
        let bytes = golden(&format!("image_{name}"));
        for end in (header..bytes.len() - 16).step_by(7) {
            assert_eq!(kind(&bytes[..end]), Some(DecodeErrorKind::Truncated), "{name}, {end} of {}", bytes.len());
        }
    }
    for name in ["420.jpg", "progressive.jpg", "restart.jpg"] {
        let jpeg = golden(&format!("image_{name}"));
        for missing in 3..=40 {
            let end = jpeg.len() - missing;
            assert_eq!(kind(&jpeg[..end]), Some(DecodeErrorKind::Truncated), "{name}, {missing} bytes missing");
        }
    }
}

#[test]
fn a_jpeg_that_lacks_nothing_but_its_end_marker_is_whole() {
    for name in ["420.jpg", "444.jpg", "progressive.jpg", "restart.jpg", "cmyk.jpg", "grey.jpg"] {
        let jpeg = golden(&format!("image_{name}"));
        let expected = decode(&jpeg, &DecodeOptions::default());
        let without = &jpeg[..jpeg.len() - 2];
        for end in [&b""[..], b"\xff", b"\0\0", b"\0\0\0\0\0\0\0\0\xff", b"\xff\xe1\0\x40cut"] {
            let bytes = [without, end].concat();
            assert_eq!(decode(&bytes, &DecodeOptions::default()), expected, "{name} with {end:?}");
        }
    }
    // The last scan, which refines the picture, is missing.
    let progressive = golden("image_progressive.jpg");
    let last = progressive.windows(2).rposition(|w| w == [0xff, 0xda]).expect("the last scan");
    assert_eq!(kind(&progressive[..last]), Some(DecodeErrorKind::Truncated));
}

#[test]
fn no_cut_of_any_file_gives_a_picture_or_a_panic() {
    // These two files hold several pictures, and a cut leaves the first one whole.
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
    for (offset, value, text) in [(1, 0xc3, "lossless"), (1, 0xcd, "hierarchical"), (4, 12, "12 bits")] {
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
fn files_that_are_not_pictures_are_named() {
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
        (b"\0\0\0\x10ftypmif1\0\0\0\0", Unsupported, "HEIC"),
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
    // With the right checksum the decoder accepts the header.
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
fn a_bitmap_of_a_hundred_thousand_squared_is_too_large_and_not_corrupt() {
    let side = 100_000u32;
    let mut files: Vec<(&str, Vec<u8>)> = Vec::new();
    for (name, at) in [("rgb.bmp", 18), ("rgb.qoi", 4), ("rgb.png", 16)] {
        let mut bytes = golden(&format!("image_{name}"));
        let number = if name == "rgb.bmp" { side.to_le_bytes() } else { side.to_be_bytes() };
        bytes[at..at + 8].copy_from_slice(&[number, number].concat());
        files.push((name, bytes));
    }
    // A negative height means that the rows are stored from the top.
    let mut bmp = golden("image_rgb.bmp");
    bmp[18..26].copy_from_slice(&[100_000i32, -100_000].map(i32::to_le_bytes).concat());
    files.push(("a BMP from the top", bmp));
    // The height of a bitmap inside an icon covers the colours and the mask.
    let dib =
        [&40u32.to_le_bytes()[..], &side.to_le_bytes(), &(2 * side).to_le_bytes(), &[1, 0, 32, 0], &[0; 200]].concat();
    let entry = [&[0, 0, 0, 0, 1, 0, 32, 0][..], &(dib.len() as u32).to_le_bytes(), &22u32.to_le_bytes()].concat();
    files.push(("an icon", [&[0, 0, 1, 0, 1, 0][..], &entry, &dib].concat()));
    for (name, bytes) in files {
        let error = decode(&bytes, &DecodeOptions::default()).expect_err("too large");
        assert!(error.kind == DecodeErrorKind::TooLarge && error.detail.contains("100000x100000"), "{name}: {error:?}");
    }
}

#[test]
fn a_profile_of_many_megabytes_is_not_unpacked_for_a_few_pixels() {
    use std::io::Write;
    let png = golden("image_rgb.png");
    let mut packed = flate2::write::ZlibEncoder::new(b"name\0\0".to_vec(), flate2::Compression::fast());
    packed.write_all(&vec![b'a'; 200 << 20]).expect("packed");
    let body = packed.finish().expect("packed");
    let chunk = [b"iCCP".as_slice(), &body].concat();
    let mut bomb = png[..33].to_vec();
    bomb.extend((body.len() as u32).to_be_bytes());
    bomb.extend(&chunk);
    bomb.extend(crc(&chunk).to_be_bytes());
    bomb.extend(&png[33..]);
    // The decoder may leave the profile out or refuse the file, but it must not keep 200 MB.
    match decode(&bomb, &DecodeOptions::default()) {
        Ok(image) => assert_eq!(Ok(image), decode(&png, &DecodeOptions::default())),
        Err(error) => assert_eq!(error.kind, DecodeErrorKind::TooLarge, "{error}"),
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
    // A cut progressive file gives a coarse picture.
    let progressive = golden("image_progressive.jpg");
    let whole = decode(&progressive, &pad).expect("the whole file");
    let part = decode(&progressive[..progressive.len() * 9 / 10], &pad).expect("most of it");
    let far = whole.data.iter().zip(&part.data).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>();
    assert!(far > 0 && far / (whole.data.len() as u64) < 8, "{far} in {} bytes", whole.data.len());
}
