//! Any bytes: a picture of the size that it says, or an error; as it stands, and at reduced scale with what is missing
//! filled.
#![no_main]

use featurize_image::{self as image, ChannelOrder, DecodeOptions, Filter, Fit, Layout, Recipe, Truncated};
use libfuzzer_sys::fuzz_target;

/// Small, so that JPEGs of any size are reduced.
fn recipe() -> Recipe {
    Recipe {
        size: [24, 32],
        fit: Fit::Crop,
        filter: Filter::Bicubic,
        antialias: true,
        crop_pct: 0.875,
        channels: ChannelOrder::Rgb,
        divisor: 255.0,
        mean: [0.5; 3],
        std: [0.5; 3],
    }
}

fuzz_target!(
    init: {
        // a decoder that panics loses its picture, which is no fault of the pipeline; any other panic is
        let fault = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !image::is_decoding() {
                fault(panic);
            }
        }));
    },
    |bytes: &[u8]| {
        let strict = DecodeOptions { max_pixels: 1 << 22, ..DecodeOptions::default() };
        if let Ok(picture) = image::decode(bytes, &strict) {
            assert!(picture.data.len() == 3 * picture.width * picture.height && picture.width > 0);
        }
        let lenient = DecodeOptions { truncated: Truncated::Pad, fast_decode: true, ..strict };
        let recipe = recipe();
        if let Ok(decoded) = image::decode_for(&recipe, bytes, &lenient) {
            let mut input = vec![f32::NAN; recipe.input_len()];
            recipe.apply(&decoded.image, Layout::Hwc, &mut input);
            assert!(input.iter().all(|v| v.is_finite()), "the network's input is not whole");
        }
    }
);
