//! Tests of recipes on small pictures, and of their YAML and JSON.

use super::*;
use crate::WHITE;

#[test]
fn layouts_hold_the_same_values_and_channels_keep_their_own_mean() {
    let image = RgbImage::from_fn(2, 1, |x, _| [10 + x as u8, 20 + x as u8, 30 + x as u8]);
    let rgb = Recipe {
        size: [1, 2],
        crop_pct: 1.0,
        divisor: 1.0,
        mean: [1., 2., 3.],
        std: [1., 2., 4.],
        ..Recipe::TORCHVISION
    };
    let bgr = Recipe { channels: ChannelOrder::Bgr, ..rgb.clone() };
    let mut out = [0.0; 6];
    rgb.apply(&image, Layout::Hwc, &mut out);
    assert_eq!(out, [9.0, 9.0, 6.75, 10.0, 9.5, 7.0]);
    rgb.apply(&image, Layout::Chw, &mut out);
    assert_eq!(out, [9.0, 10.0, 9.0, 9.5, 6.75, 7.0]);
    bgr.apply(&image, Layout::Hwc, &mut out);
    assert_eq!(out, [29.0, 9.0, 1.75, 30.0, 9.5, 2.0]);
}

#[test]
fn bytes_are_normalised_to_the_numbers_of_the_recipe() {
    let image = RgbImage::from_fn(61, 47, |x, y| [(5 * x) as u8, (3 * y) as u8, (x * y) as u8]);
    for channels in [ChannelOrder::Rgb, ChannelOrder::Bgr, ChannelOrder::Grey] {
        let recipe = Recipe { size: [32, 32], channels, ..Recipe::TORCHVISION };
        let (mut bytes, mut values) = (vec![0; recipe.input_len()], vec![0.0; recipe.input_len()]);
        for layout in [Layout::Hwc, Layout::Chw] {
            recipe.apply_bytes(&image, layout, &mut bytes);
            recipe.apply(&image, layout, &mut values);
            for (i, (&byte, value)) in bytes.iter().zip(&values).enumerate() {
                let channel = if layout == Layout::Hwc { i % recipe.depth() } else { i / (32 * 32) };
                assert_eq!(recipe.normalise(channel, byte), *value, "{channels:?} {layout:?} {i}");
            }
        }
    }
    let fractions = Recipe { antialias: false, ..Recipe::TORCHVISION };
    assert!(Recipe::TORCHVISION.gives_bytes() && !fractions.gives_bytes());
    assert!(Recipe { filter: Filter::Nearest, ..fractions }.gives_bytes());
}

#[test]
fn a_grey_input_is_pillows_luminance_in_one_channel() {
    let image = RgbImage::from_fn(2, 1, |x, _| if x == 0 { [255, 0, 0] } else { [10, 200, 30] });
    let recipe = Recipe {
        size: [1, 2],
        crop_pct: 1.0,
        channels: ChannelOrder::Grey,
        divisor: 1.0,
        mean: [0.0, 1.0, 5.0],
        std: [1.0, 2.0, 3.0],
        ..Recipe::TORCHVISION
    };
    let mut out = [0.0; 2];
    recipe.apply(&image, Layout::Hwc, &mut out);
    // Pillow: Image.new("RGB", (1, 1), (255, 0, 0)).convert("L") is 76, and (10, 200, 30) is 124.
    assert_eq!(out, [(76.0 - 2.0) / 2.0, (124.0 - 2.0) / 2.0]);
    assert_eq!(recipe.depth(), 1);
}

#[test]
fn a_strip_of_a_picture_is_cropped_and_padded_without_its_full_size() {
    let strip = RgbImage::from_fn(1, 5000, |_, y| [y as u8; 3]);
    assert_eq!(Recipe::TORCHVISION.prepare(&strip).data.len(), Recipe::TORCHVISION.input_len());
    let padded = Recipe { fit: Fit::Pad, ..Recipe::TORCHVISION }.prepare(&strip);
    let dark = padded.row(100).chunks_exact(3).filter(|p| *p != WHITE).count();
    assert_eq!(dark, 1, "one column, all the rest is border");
}

#[test]
fn nonsense_is_refused_with_its_key() {
    type Change = fn(&mut Recipe);
    let cases: [(&str, Change); 9] = [
        ("size", |r| r.size = [0, 224]),
        ("size", |r| r.size = [224, 4097]),
        ("crop_pct", |r| r.crop_pct = 0.0),
        ("crop_pct", |r| r.crop_pct = 1.01),
        ("crop_pct", |r| r.crop_pct = f64::NAN),
        ("antialias", |r| (r.antialias, r.filter) = (false, Filter::Bicubic)),
        ("divisor", |r| r.divisor = 0.0),
        ("mean", |r| r.mean[2] = f32::INFINITY),
        ("std", |r| r.std[1] = 0.0),
    ];
    assert_eq!(Recipe::TORCHVISION.check(), Ok(()));
    for (key, change) in cases {
        let mut recipe = Recipe::TORCHVISION;
        change(&mut recipe);
        assert_eq!(recipe.check().map_err(|e| e.key), Err(key), "{recipe:?}");
    }
}

fn parse(yaml: &str) -> Result<RecipeOverrides, String> {
    serde_saphyr::from_str(yaml).map_err(|e| e.to_string())
}

#[test]
fn overrides_replace_what_they_name() {
    let plain = Recipe::TORCHVISION;
    assert_eq!(plain.with(&RecipeOverrides::default()), plain);
    let changed = plain.with(&parse("{size: 299, resize: bicubic, fit: stretch, std: [1, 1, 0.5]}").expect("valid"));
    let expected = Recipe { size: [299; 2], filter: Filter::Bicubic, fit: Fit::Stretch, std: [1., 1., 0.5], ..plain };
    assert_eq!(changed, expected);
    assert_eq!(parse("size: [96, 128]").expect("valid").size, Some([96, 128]));
    assert_eq!(parse("size:").expect("valid").size, None);
}

#[test]
fn a_wrong_override_is_pointed_at() {
    let cases = [
        ("crop_pct: 0.9\nsize: [1, 2, 3]", "a side in pixels"),
        ("crop_pct: 0.9\nsize: [224]", "a side in pixels"),
        ("crop_pct: 0.9\nsize: -1", "a side in pixels"),
        ("crop_pct: 0.9\nsize: big", "a side in pixels"),
        ("crop_pct: 0.9\ninterpolation: cubic", "unknown field"),
        ("crop_pct: 0.9\nresize: cubic", "bicubic"),
    ];
    for (yaml, text) in cases {
        let error = parse(yaml).expect_err(yaml);
        assert!(error.contains(text) && error.contains("line 2"), "{yaml}: {error}");
    }
}

#[test]
fn a_recipe_survives_json_to_the_bit() {
    let text = serde_json::to_string(&Recipe::TORCHVISION).expect("JSON");
    assert!(text.contains(r#""resize":"bilinear""#), "{text}");
    assert_eq!(serde_json::from_str::<Recipe>(&text).expect("a recipe"), Recipe::TORCHVISION);
    let overrides = parse("{size: 299, mean: [0.5, 0.5, 0.5]}").expect("valid");
    let text = serde_json::to_string(&overrides).expect("JSON");
    assert_eq!(text, r#"{"size":[299,299],"mean":[0.5,0.5,0.5]}"#);
    assert_eq!(serde_json::from_str::<RecipeOverrides>(&text).expect("overrides"), overrides);
}
