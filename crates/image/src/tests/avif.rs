//! Compares AVIF files with Pillow; `tests/golden/image_avif.py` makes the files and Pillow's pixels.

use super::*;

#[derive(Deserialize)]
struct Case {
    what: String,
    /// The range of the file in `image_avif.bin`, and of a PNG with its pixels.
    bytes: [usize; 2],
    pixels: [usize; 2],
    size: [usize; 2],
}

fn cases() -> (Vec<Case>, Vec<u8>) {
    (rows("image_avif.json"), golden("image_avif.bin"))
}

fn case(wanted: &str) -> Vec<u8> {
    let (cases, all) = cases();
    let case = cases.iter().find(|case| case.what == wanted).unwrap_or_else(|| panic!("no case {wanted}"));
    all[case.bytes[0]..case.bytes[1]].to_vec()
}

#[test]
fn avif_is_pillows() {
    let (cases, all) = cases();
    assert!(cases.len() > 40, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for Case { what, bytes, pixels, size } in cases {
        let bytes = &all[bytes[0]..bytes[1]];
        let image = decode(bytes, &DecodeOptions::default()).unwrap_or_else(|e| panic!("{what}: {e}"));
        let expected = decode(&all[pixels[0]..pixels[1]], &DecodeOptions::default()).expect("a PNG");
        assert_eq!([image.width, image.height], size, "{what}");
        let most = image.data.iter().zip(&expected.data).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
        // The division by the opacity rounds, and libyuv's table of reciprocals rounds in another way.
        let bound = if what.contains("premultiplied") { 2 } else { 0 };
        if most > bound {
            wrong.push(format!("{what}: {most} levels"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_avif_that_is_cut_or_contradicts_itself_is_refused() {
    let options = DecodeOptions::default();
    for name in ["4:2:0, odd size", "alpha", "3x2 tiles"] {
        let bytes = case(name);
        for end in (1..bytes.len()).step_by(13) {
            let error = decode(&bytes[..end], &options).expect_err("cut");
            assert_ne!(error.kind, DecodeErrorKind::Panicked, "{name}, {end} bytes: {error}");
        }
        assert_eq!(kind(&bytes[..bytes.len() - 1]), Some(DecodeErrorKind::Truncated), "{name}");
    }
    let changed = |name: &str, find: &[u8], at: usize, new: &[u8]| {
        let mut bytes = case(name);
        let found = bytes.windows(find.len()).position(|w| w == find).expect("the box");
        bytes[found + at..found + at + new.len()].copy_from_slice(new);
        decode(&bytes, &options).map(|_| ()).expect_err("refused")
    };
    let far = [0, 1, 0x86, 0xa0];
    let cases = [
        (changed("alpha", b"ispe", 8, &[far, far].concat()), DecodeErrorKind::TooLarge, "100000x100000"),
        (changed("alpha", b"ispe", 8, &[0; 8]), DecodeErrorKind::Corrupt, "0x0"),
        (changed("alpha", b"ispe", 8, &[0, 0, 0, 9]), DecodeErrorKind::Corrupt, "a frame of 61x47"),
        (changed("alpha", b"pitm", 8, &[9, 9]), DecodeErrorKind::Corrupt, "how large"),
        (changed("alpha", b"av01", 0, b"hvc1"), DecodeErrorKind::Unsupported, "hvc1"),
        (changed("3x2 tiles", b"idat", 7, &[200]), DecodeErrorKind::Corrupt, "with 6 tiles"),
        (changed("3x2 tiles", b"idat", 8, &[0, 40]), DecodeErrorKind::Corrupt, "do not cover"),
    ];
    for (error, kind, text) in cases {
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.detail.contains(text), "{error}, not {text}");
    }
    // The header gives a size that is allowed, but the frame is larger.
    let small = DecodeOptions { max_pixels: 61 * 47 - 1, ..options };
    assert_eq!(decode(&case("alpha"), &small).expect_err("too many").kind, DecodeErrorKind::TooLarge);
}
