//! Compares recipes with the libraries that they are named after, to the bit; `tests/golden/image_presets.py` makes the
//! numbers.

use super::*;
use crate::tests::{pattern, rows_of, sha256};

#[derive(Deserialize)]
struct Prepared {
    source: [usize; 2],
    size: Option<[usize; 2]>,
    crop_pct: Option<f64>,
    fit: Option<Fit>,
    first: Vec<f32>,
    sha256: String,
}

/// Returns a line for each of `cases` whose values differ from the library's under the recipe that `recipe` makes of
/// it.
fn differing(cases: &[Prepared], recipe: impl Fn(&Prepared) -> Recipe) -> Vec<String> {
    let mut wrong = Vec::new();
    for case in cases {
        let recipe = recipe(case);
        recipe.check().expect("a recipe");
        let mut values = vec![f32::NAN; recipe.input_len()];
        recipe.apply(&pattern(case.source[0], case.source[1]), Layout::Hwc, &mut values);
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        if !values.starts_with(&case.first) || sha256(&bytes) != case.sha256 {
            let (ours, theirs) = (&values[..case.first.len().min(values.len())], &case.first);
            wrong.push(format!("{:?}: {recipe:?}: {ours:?}, not {theirs:?}", case.source));
        }
    }
    wrong
}

#[test]
fn squash_and_border_are_timms_to_the_bit() {
    let cases: Vec<Prepared> = rows_of("image_presets.json", "fits");
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let wrong = differing(&cases, |case| Recipe {
        size: case.size.expect("a size"),
        fit: case.fit.expect("a fit"),
        filter: Filter::Bicubic,
        crop_pct: case.crop_pct.expect("a share"),
        ..Recipe::TORCHVISION
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn without_antialiasing_it_is_tensorflows_resize_to_the_bit() {
    let cases: Vec<Prepared> = rows_of("image_presets.json", "fractions");
    assert!(cases.len() >= 20, "{} cases", cases.len());
    let plain = |size| Recipe {
        size,
        fit: Fit::Stretch,
        antialias: false,
        crop_pct: 1.0,
        divisor: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
        ..Recipe::TORCHVISION
    };
    let wrong = differing(&cases, |case| plain(case.size.expect("a size")));
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The other layout holds the same values, and a crop is a window of the whole resized picture.
    let image = pattern(60, 40);
    let recipe = Recipe { fit: Fit::Crop, crop_pct: 0.8, ..plain([16, 16]) };
    let (mut planes, mut pixels) = (vec![0.0; recipe.input_len()], vec![0.0; recipe.input_len()]);
    recipe.apply(&image, Layout::Chw, &mut planes);
    recipe.apply(&image, Layout::Hwc, &mut pixels);
    assert!((0..256).all(|i| (0..3).all(|c| planes[c * 256 + i] == pixels[i * 3 + c])));
    let whole = crate::bilinear(&image, [20, 30], [0, 0], [20, 30]);
    let window = (0..16).flat_map(|y| whole[((y + 2) * 30 + 7) * 3..].iter().take(48).copied());
    assert_eq!(pixels, window.collect::<Vec<f32>>());
}

#[test]
fn torchvisions_tensors_are_a_level_away_at_most() {
    #[derive(Deserialize)]
    struct Tensor {
        source: [usize; 2],
        size: [usize; 2],
        resize: Filter,
        bytes: String,
    }
    let cases: Vec<Tensor> = rows_of("image_presets.json", "tensors");
    assert!(cases.len() >= 12, "{} cases", cases.len());
    for Tensor { source, size, resize, bytes } in cases {
        let ours = crate::resize(&pattern(source[0], source[1]), size[1], size[0], resize).data;
        let theirs = (0..bytes.len()).step_by(2).map(|i| u8::from_str_radix(&bytes[i..i + 2], 16).expect("hex"));
        let theirs: Vec<u8> = theirs.collect();
        assert_eq!(ours.len(), theirs.len());
        let far = ours.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(far <= Some(1), "{far:?} levels: {source:?} to {size:?}, {resize:?}");
    }
}

#[test]
fn numbers_are_written_as_people_write_them_and_keep_their_bits() {
    let text = serde_json::to_value(Recipe::TORCHVISION).expect("JSON").to_string();
    assert!(text.contains("[0.485,0.456,0.406]") && text.contains(r#""divisor":255.0"#), "{text}");
    assert_eq!(serde_json::from_str::<Recipe>(&text).expect("a recipe"), Recipe::TORCHVISION);
    let mut bits = 1u32;
    for _ in 0..2000 {
        bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let value = f32::from_bits(bits);
        if value.is_finite() {
            let recipe = Recipe { divisor: value, ..Recipe::TORCHVISION };
            let text = serde_json::to_value(&recipe).expect("JSON").to_string();
            assert_eq!(serde_json::from_str::<Recipe>(&text).expect("a recipe").divisor.to_bits(), value.to_bits());
        }
    }
    // A record of version 0.2 has the numbers in 64 bits.
    let old = r#"{"size":[224,224],"fit":"crop","resize":"bilinear","crop_pct":0.875,"channels":"rgb","divisor":255.0,
        "mean":[0.48500001430511475,0.4560000002384186,0.4059999883174896],
        "std":[0.2290000021457672,0.2240000069141388,0.22499999403953552]}"#;
    assert_eq!(serde_json::from_str::<Recipe>(old).expect("a recipe"), Recipe::TORCHVISION);
}
