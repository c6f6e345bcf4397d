//! Tests that the rows are consistent: hashes, URLs, recipes.

use super::*;
use crate::models::MODELS;

/// Every row except the bundled one.
fn all() -> impl Iterator<Item = (&'static str, &'static WeightsSpec)> {
    let rows = MODELS.iter().flat_map(|model| model.weights.iter().map(|row| (model.name, row)));
    rows.filter(|(_, row)| row.name != "bundled")
}

fn files() -> impl Iterator<Item = &'static FileSpec> {
    all().flat_map(|(_, row)| row.files)
}

#[test]
fn every_row_tells_what_it_must() {
    for (model, row) in all() {
        let library = row.name.split(':').next();
        assert_eq!((library, row.sha256), (Some(row.source.word()), None), "{model}");
        assert!(row.recipe.check().is_ok() && !row.licence.is_empty(), "{model}");
        assert!(row.top1.is_none_or(|top1| (55.0..89.0).contains(&top1)), "{model}: {:?}", row.top1);
        assert_eq!(row.recipe.fit == Fit::Stretch, row.source == Source::Keras, "{model}");
        let tops: &[bool] = if row.source == Source::Keras { &[true, false] } else { &[true] };
        assert!(row.files.iter().map(|file| file.top).eq(tops.iter().copied()), "{model}: with the top first");
    }
}

#[test]
fn rows_of_a_library_stand_together_and_differ_in_their_names() {
    for model in MODELS {
        let sources: Vec<_> = model.weights.iter().map(|row| row.source).collect();
        assert!(sources.is_sorted(), "{}", model.name);
        let names: std::collections::BTreeSet<_> = model.weights.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), model.weights.len(), "{}", model.name);
        for row in model.weights {
            assert_eq!(model.weights(row.name).map(|found| found.name), Some(row.name), "{}", model.name);
        }
    }
    let names =
        |model: &str| -> Vec<_> { crate::models::find(model).expect(model).defaults().map(|row| row.name).collect() };
    assert_eq!(names("resnet50"), ["keras", "torchvision:IMAGENET1K_V1", "timm:a1_in1k"]);
    assert_eq!(names("efficientnet_lite0"), ["bundled"]);
}

#[test]
fn urls_end_in_the_files_name_and_are_all_different() {
    let mut seen = std::collections::BTreeSet::new();
    for FileSpec { url, name, .. } in files() {
        // files of NASNet have other names in Keras' cache, and for a package the URL is its page
        let named = url.ends_with(&format!("/{name}")) || name.starts_with("nasnet_") || url.ends_with("/0.1.0/");
        assert!(url.starts_with("https://") && named, "{url}");
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
                let named = file.name.ends_with(&format!("-{digits}.pth")) || digits.len() == 64;
                assert!(hexadecimal(digits) && named, "{}", file.name);
                assert!(digits.len() >= 8 && digests.insert(digits), "{}", file.name);
            }
            Hash::Md5(digits) => {
                assert!(hexadecimal(digits) && digits.len() == 32 && digests.insert(digits), "{}", file.name);
            }
            Hash::Unknown => assert!(
                file.url.starts_with("https://huggingface.co/")
                    || file.url.starts_with("https://dl.fbaipublicfiles.com/")
                    || file.name.starts_with("mobilenet_"),
                "{}",
                file.name
            ),
        }
    }
    assert!(!digests.is_empty());
}

/// `floor(size / crop_pct)`, timm's formula, gives the sizes in torchvision's `transforms()`.
#[test]
fn the_short_side_is_resized_as_each_library_says() {
    let resized = |model: &str, name: &str| {
        let recipe = &crate::models::find(model).and_then(|model| model.weights(name)).expect(name).recipe;
        (recipe.size[0] as f64 / recipe.crop_pct).floor()
    };
    for (model, name, side) in [
        ("resnet50", "torchvision", 256.0),
        ("resnet50", "torchvision:IMAGENET1K_V2", 232.0),
        ("resnet50", "timm:a1_in1k", 235.0),
        ("inception_v3", "torchvision", 342.0),
        ("inception_v3", "timm", 341.0),
        ("xception", "timm", 333.0),
        ("efficientnet_b1", "torchvision:IMAGENET1K_V2", 255.0),
        ("efficientnet_b3", "torchvision", 320.0),
        ("convnext_tiny", "torchvision", 236.0),
        ("vit_b_16", "torchvision", 256.0),
        ("swin_v2_t", "torchvision", 260.0),
        ("vit_small_patch14_dinov2", "facebook", 256.0),
    ] {
        assert_eq!(resized(model, name), side, "{model} {name}");
    }
}

/// `numpy.frombuffer(preprocess_input(x).tobytes(), "<u4")` of Keras 3.15 for a pixel of the levels 1, 100, 254.
#[test]
fn kerass_preprocessing_is_met_to_the_bit() {
    let picture = crate::image::RgbImage::from_fn(1, 1, |_, _| [1, 100, 254]);
    let expected = [
        (caffe(1), [0x43160f9e, 0xc1863b64, 0xc2f55c29]),
        (tf(1), [0xbf7dfdfe, 0xbe5cdcdc, 0x3f7dfdfe]),
        (torch(1), [0xc006732b, 0xbe91ed5a, 0x4027d834]),
    ];
    for (recipe, bits) in expected {
        let mut values = [0.0; 3];
        recipe.apply(&picture, crate::image::Layout::Hwc, &mut values);
        assert_eq!(values.map(f32::to_bits), bits, "{recipe:?}");
    }
}
