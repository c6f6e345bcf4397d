//! The rows hold together: hashes, addresses, recipes.

use super::*;
use crate::models::MODELS;

/// Every model but the one inside the binary.
fn all() -> impl Iterator<Item = (&'static str, &'static [WeightsSpec])> {
    let published = MODELS.iter().filter(|model| model.weights[0].name != "bundled");
    published.map(|model| (model.name, model.weights))
}

fn files() -> impl Iterator<Item = &'static FileSpec> {
    all().flat_map(|(_, rows)| rows.iter().flat_map(|row| row.files))
}

#[test]
fn every_row_tells_what_it_must() {
    for (model, rows) in all() {
        assert!(!rows.is_empty(), "{model}");
        for row in rows {
            assert_eq!((row.name, row.sha256, row.classes), (row.source.word(), None, 1000), "{model}");
            assert!(row.recipe.check().is_ok() && !row.licence.is_empty(), "{model}");
            assert!(row.top1.is_none_or(|top1| (55.0..85.0).contains(&top1)), "{model}: {:?}", row.top1);
            assert_eq!(row.recipe.fit == Fit::Stretch, row.source == Source::Keras, "{model}");
            let tops: &[bool] = if row.source == Source::Keras { &[true, false] } else { &[true] };
            assert!(row.files.iter().map(|file| file.top).eq(tops.iter().copied()), "{model}: with the top first");
        }
        let sources: Vec<_> = rows.iter().map(|row| row.source).collect();
        let mut sorted = sources.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sources, sorted, "{model}: each library once, Keras first");
    }
}

#[test]
fn urls_end_in_the_files_name_and_are_all_different() {
    let mut seen = std::collections::BTreeSet::new();
    for FileSpec { url, name, .. } in files() {
        assert!(url.starts_with("https://") && url.ends_with(&format!("/{name}")), "{url}");
        assert!(url.bytes().all(|b| b.is_ascii_graphic()) && seen.insert(url), "{url}");
    }
}

#[test]
fn hashes_are_hexadecimal_and_those_of_torch_hub_stand_in_the_name() {
    let hexadecimal = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let mut digests = std::collections::BTreeSet::new();
    for file in files() {
        match file.hash {
            Hash::Sha256(digits) => {
                assert!(hexadecimal(digits) && file.name.ends_with(&format!("-{digits}.pth")), "{}", file.name);
                assert!(digits.len() >= 8 && digests.insert(digits), "{}", file.name);
            }
            Hash::Md5(digits) => {
                assert!(hexadecimal(digits) && digits.len() == 32 && digests.insert(digits), "{}", file.name);
            }
            Hash::Unknown => assert!(
                file.url.starts_with("https://huggingface.co/") || file.name.starts_with("mobilenet_"),
                "{}",
                file.name
            ),
        }
    }
    assert!(!digests.is_empty());
}

#[test]
fn the_short_side_is_resized_as_each_library_says() {
    let resized = |recipe: &Recipe| (recipe.size[0] as f64 / recipe.crop_pct).floor();
    let expected = [
        (&TORCHVISION, 256.0),
        (&TORCHVISION_299, 342.0),
        (&TIMM_A1, 235.0),
        (&TIMM_INCEPTION, 341.0),
        (&TIMM_XCEPTION, 333.0),
    ];
    for (recipe, side) in expected {
        assert_eq!(resized(recipe), side);
    }
}

/// `EfficientNet_B*_Weights.IMAGENET1K_V1.transforms()`: sides of the picture and of the cut, bicubic.
#[test]
fn torchvisions_efficientnets_have_recipes_of_their_own() {
    let sides = [[256, 224], [256, 240], [288, 288], [320, 300], [384, 380], [456, 456], [528, 528], [600, 600]];
    let rows = [
        EFFICIENTNET_B0,
        EFFICIENTNET_B1,
        EFFICIENTNET_B2,
        EFFICIENTNET_B3,
        EFFICIENTNET_B4,
        EFFICIENTNET_B5,
        EFFICIENTNET_B6,
        EFFICIENTNET_B7,
    ];
    for (rows, [resized, cut]) in rows.into_iter().zip(sides) {
        let recipe = rows.iter().find(|row| row.source == Source::Torchvision).map(|row| &row.recipe).expect("a row");
        assert_eq!((recipe.size, recipe.filter), ([cut; 2], Filter::Bicubic));
        assert_eq!((recipe.size[0] as f64 / recipe.crop_pct).round() as usize, resized);
    }
}

/// `numpy.frombuffer(preprocess_input(x).tobytes(), "<u4")` of Keras 3.15 for a pixel of the levels 1, 100, 254.
#[test]
fn kerass_preprocessing_is_met_to_the_bit() {
    let picture = crate::image::RgbImage::from_fn(1, 1, |_, _| [1, 100, 254]);
    let expected = [
        (&KERAS_CAFFE, [0x43160f9e, 0xc1863b64, 0xc2f55c29]),
        (&KERAS_TF, [0xbf7dfdfe, 0xbe5cdcdc, 0x3f7dfdfe]),
        (&KERAS_TORCH, [0xc006732b, 0xbe91ed5a, 0x4027d834]),
    ];
    for (recipe, bits) in expected {
        let mut values = [0.0; 3];
        Recipe { size: [1; 2], ..recipe.clone() }.apply(&picture, crate::image::Layout::Hwc, &mut values);
        assert_eq!(values.map(f32::to_bits), bits, "{recipe:?}");
    }
}
