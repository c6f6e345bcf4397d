//! Compares the recipes of `recipe.preset` with those of the libraries; `tests/golden/image_presets.py` made the
//! numbers.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::preset_of;
use crate::image::{Layout, Preset, RgbImage};
use crate::models;

#[derive(Deserialize)]
struct Golden {
    presets: Vec<Prepared>,
}

#[derive(Deserialize)]
struct Prepared {
    preset: Preset,
    model: String,
    source: [usize; 2],
    first: Vec<f32>,
    sha256: String,
}

/// `pattern` of `tests/golden/image.py`.
fn pattern([width, height]: [usize; 2]) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        std::array::from_fn(|c| {
            let i = ((y * width + x) * 3 + c) as u64;
            let noise = (i * 2_654_435_761 % (1 << 32)) >> 16;
            let level = (x * (c + 2) + y * (3 - c) + (x / 8 + y / 8) % 2 * 60) as u64 + noise % 32;
            (level % 256) as u8
        })
    })
}

#[test]
fn presets_prepare_pictures_as_their_library_does_to_the_bit() {
    let golden: Golden =
        serde_json::from_str(include_str!("../../tests/golden/image_presets.json")).expect("the golden file is JSON");
    assert!(golden.presets.len() >= 40, "{} cases", golden.presets.len());
    let mut wrong = Vec::new();
    for case in golden.presets {
        let model = models::find(&case.model).expect("registered");
        let recipe = preset_of(model, case.preset).expect("a recipe");
        let mut values = vec![f32::NAN; recipe.input_len()];
        recipe.apply(&pattern(case.source), Layout::Hwc, &mut values);
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if !values.starts_with(&case.first) || hash != case.sha256 {
            wrong.push(format!("{} of {:?}: {recipe:?}: not {:?}", case.model, case.source, case.first));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
