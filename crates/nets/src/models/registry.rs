//! All models: one row a model, in it one row a set of weights.

use super::graph::{Graph, GraphError};
use super::spec::{BuildOptions, ModelSpec, WeightsSpec};
use super::{
    alexnet, convnext, densenet, efficientnet, efficientnet_v2, googlenet, inception, inception_resnet, mnasnet,
    mobilenet, mobilenet_v1, mobilenet_v3, nasnet, published, regnet, resnet, resnet_v2, shufflenet, squeezenet, vgg,
    xception,
};
use crate::suggest::near;

/// Every model, in the order in which they are listed.
pub const MODELS: &[ModelSpec] = &[
    model("efficientnet_lite0", "EfficientNet-Lite0", efficientnet::lite::<0>, published::EFFICIENTNET_LITE0),
    model("efficientnet_lite1", "EfficientNet-Lite1", efficientnet::lite::<1>, published::EFFICIENTNET_LITE1),
    model("efficientnet_lite2", "EfficientNet-Lite2", efficientnet::lite::<2>, published::EFFICIENTNET_LITE2),
    model("efficientnet_lite3", "EfficientNet-Lite3", efficientnet::lite::<3>, published::EFFICIENTNET_LITE3),
    model("efficientnet_lite4", "EfficientNet-Lite4", efficientnet::lite::<4>, published::EFFICIENTNET_LITE4),
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
    model("inception_resnet_v2", "Inception-ResNet v2", inception_resnet::v2, published::INCEPTION_RESNET_V2),
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
    model("densenet161", "DenseNet-161", densenet::densenet161, published::DENSENET161),
    model("densenet169", "DenseNet-169", densenet::densenet169, published::DENSENET169),
    model("densenet201", "DenseNet-201", densenet::densenet201, published::DENSENET201),
    model("efficientnet_b0", "EfficientNet-B0", efficientnet::b::<0>, published::EFFICIENTNET_B0),
    model("efficientnet_b1", "EfficientNet-B1", efficientnet::b::<1>, published::EFFICIENTNET_B1),
    model("efficientnet_b2", "EfficientNet-B2", efficientnet::b::<2>, published::EFFICIENTNET_B2),
    model("efficientnet_b3", "EfficientNet-B3", efficientnet::b::<3>, published::EFFICIENTNET_B3),
    model("efficientnet_b4", "EfficientNet-B4", efficientnet::b::<4>, published::EFFICIENTNET_B4),
    model("efficientnet_b5", "EfficientNet-B5", efficientnet::b::<5>, published::EFFICIENTNET_B5),
    model("efficientnet_b6", "EfficientNet-B6", efficientnet::b::<6>, published::EFFICIENTNET_B6),
    model("efficientnet_b7", "EfficientNet-B7", efficientnet::b::<7>, published::EFFICIENTNET_B7),
    model("tf_efficientnet_b0", "EfficientNet-B0, Google's", efficientnet::tf_b::<0>, published::TF_EFFICIENTNET_B0),
    model("tf_efficientnet_b1", "EfficientNet-B1, Google's", efficientnet::tf_b::<1>, published::TF_EFFICIENTNET_B1),
    model("tf_efficientnet_b2", "EfficientNet-B2, Google's", efficientnet::tf_b::<2>, published::TF_EFFICIENTNET_B2),
    model("tf_efficientnet_b3", "EfficientNet-B3, Google's", efficientnet::tf_b::<3>, published::TF_EFFICIENTNET_B3),
    model("tf_efficientnet_b4", "EfficientNet-B4, Google's", efficientnet::tf_b::<4>, published::TF_EFFICIENTNET_B4),
    model("tf_efficientnet_b5", "EfficientNet-B5, Google's", efficientnet::tf_b::<5>, published::TF_EFFICIENTNET_B5),
    model("tf_efficientnet_b6", "EfficientNet-B6, Google's", efficientnet::tf_b::<6>, published::TF_EFFICIENTNET_B6),
    model("tf_efficientnet_b7", "EfficientNet-B7, Google's", efficientnet::tf_b::<7>, published::TF_EFFICIENTNET_B7),
    model("efficientnetv2_b0", "EfficientNetV2-B0", efficientnet_v2::b::<0>, published::EFFICIENTNETV2_B0),
    model("efficientnetv2_b1", "EfficientNetV2-B1", efficientnet_v2::b::<1>, published::EFFICIENTNETV2_B1),
    model("efficientnetv2_b2", "EfficientNetV2-B2", efficientnet_v2::b::<2>, published::EFFICIENTNETV2_B2),
    model("efficientnetv2_b3", "EfficientNetV2-B3", efficientnet_v2::b::<3>, published::EFFICIENTNETV2_B3),
    model("efficientnet_v2_s", "EfficientNetV2-S", efficientnet_v2::s, published::EFFICIENTNET_V2_S),
    model("efficientnet_v2_m", "EfficientNetV2-M", efficientnet_v2::m, published::EFFICIENTNET_V2_M),
    model("efficientnet_v2_l", "EfficientNetV2-L", efficientnet_v2::l, published::EFFICIENTNET_V2_L),
    model("efficientnet_v2_xl", "EfficientNetV2-XL", efficientnet_v2::xl, published::EFFICIENTNET_V2_XL),
    model("nasnet_mobile", "NASNet-A mobile", nasnet::mobile, published::NASNET_MOBILE),
    model("nasnet_large", "NASNet-A large", nasnet::large, published::NASNET_LARGE),
    model("mobilenet", "MobileNet", mobilenet_v1::mobilenet, published::MOBILENET),
    model("mobilenet_v3_small", "MobileNetV3-Small", mobilenet_v3::small, published::MOBILENET_V3_SMALL),
    model("mobilenet_v3_large", "MobileNetV3-Large", mobilenet_v3::large, published::MOBILENET_V3_LARGE),
    model(
        "tf_mobilenet_v3_small",
        "MobileNetV3-Small, Google's",
        mobilenet_v3::tf_small,
        published::TF_MOBILENET_V3_SMALL,
    ),
    model(
        "tf_mobilenet_v3_large",
        "MobileNetV3-Large, Google's",
        mobilenet_v3::tf_large,
        published::TF_MOBILENET_V3_LARGE,
    ),
    model("resnext50_32x4d", "ResNeXt-50 32×4d", resnet::resnext50_32x4d, published::RESNEXT50_32X4D),
    model("resnext101_32x8d", "ResNeXt-101 32×8d", resnet::resnext101_32x8d, published::RESNEXT101_32X8D),
    model("resnext101_64x4d", "ResNeXt-101 64×4d", resnet::resnext101_64x4d, published::RESNEXT101_64X4D),
    model("wide_resnet50_2", "Wide ResNet-50-2", resnet::wide_resnet50_2, published::WIDE_RESNET50_2),
    model("wide_resnet101_2", "Wide ResNet-101-2", resnet::wide_resnet101_2, published::WIDE_RESNET101_2),
    model("squeezenet1_0", "SqueezeNet 1.0", squeezenet::squeezenet1_0, published::SQUEEZENET1_0),
    model("squeezenet1_1", "SqueezeNet 1.1", squeezenet::squeezenet1_1, published::SQUEEZENET1_1),
    model("mnasnet0_5", "MNASNet 0.5", mnasnet::mnasnet0_5, published::MNASNET0_5),
    model("mnasnet0_75", "MNASNet 0.75", mnasnet::mnasnet0_75, published::MNASNET0_75),
    model("mnasnet1_0", "MNASNet 1.0", mnasnet::mnasnet1_0, published::MNASNET1_0),
    model("mnasnet1_3", "MNASNet 1.3", mnasnet::mnasnet1_3, published::MNASNET1_3),
    model("shufflenet_v2_x0_5", "ShuffleNetV2 ×0.5", shufflenet::x0_5, published::SHUFFLENET_V2_X0_5),
    model("shufflenet_v2_x1_0", "ShuffleNetV2 ×1.0", shufflenet::x1_0, published::SHUFFLENET_V2_X1_0),
    model("shufflenet_v2_x1_5", "ShuffleNetV2 ×1.5", shufflenet::x1_5, published::SHUFFLENET_V2_X1_5),
    model("shufflenet_v2_x2_0", "ShuffleNetV2 ×2.0", shufflenet::x2_0, published::SHUFFLENET_V2_X2_0),
    model("convnext_tiny", "ConvNeXt-Tiny", convnext::tiny, published::CONVNEXT_TINY),
    model("convnext_small", "ConvNeXt-Small", convnext::small, published::CONVNEXT_SMALL),
    model("convnext_base", "ConvNeXt-Base", convnext::base, published::CONVNEXT_BASE),
    model("convnext_large", "ConvNeXt-Large", convnext::large, published::CONVNEXT_LARGE),
    model("convnext_xlarge", "ConvNeXt-XLarge", convnext::xlarge, published::CONVNEXT_XLARGE),
    model("regnet_y_400mf", "RegNetY-400MF", regnet::y_400mf, published::REGNET_Y_400MF),
    model("regnet_y_800mf", "RegNetY-800MF", regnet::y_800mf, published::REGNET_Y_800MF),
    model("regnet_y_1_6gf", "RegNetY-1.6GF", regnet::y_1_6gf, published::REGNET_Y_1_6GF),
    model("regnet_y_3_2gf", "RegNetY-3.2GF", regnet::y_3_2gf, published::REGNET_Y_3_2GF),
    model("regnet_y_8gf", "RegNetY-8GF", regnet::y_8gf, published::REGNET_Y_8GF),
    model("regnet_y_16gf", "RegNetY-16GF", regnet::y_16gf, published::REGNET_Y_16GF),
    model("regnet_y_32gf", "RegNetY-32GF", regnet::y_32gf, published::REGNET_Y_32GF),
    model("regnet_x_400mf", "RegNetX-400MF", regnet::x_400mf, published::REGNET_X_400MF),
    model("regnet_x_800mf", "RegNetX-800MF", regnet::x_800mf, published::REGNET_X_800MF),
    model("regnet_x_1_6gf", "RegNetX-1.6GF", regnet::x_1_6gf, published::REGNET_X_1_6GF),
    model("regnet_x_3_2gf", "RegNetX-3.2GF", regnet::x_3_2gf, published::REGNET_X_3_2GF),
    model("regnet_x_8gf", "RegNetX-8GF", regnet::x_8gf, published::REGNET_X_8GF),
    model("regnet_x_16gf", "RegNetX-16GF", regnet::x_16gf, published::REGNET_X_16GF),
    model("regnet_x_32gf", "RegNetX-32GF", regnet::x_32gf, published::REGNET_X_32GF),
];

const fn model(
    name: &'static str,
    title: &'static str,
    build: fn(&BuildOptions) -> Result<Graph, GraphError>,
    weights: &'static [WeightsSpec],
) -> ModelSpec {
    ModelSpec { name, title, build, weights }
}

/// The model called `name`, be it as Keras spells its class: `EfficientNetB0` is `efficientnet_b0`.
pub fn find(name: &str) -> Option<&'static ModelSpec> {
    let letters = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let is_class = |model: &&ModelSpec| !name.contains('_') && letters(model.name) == letters(name);
    MODELS.iter().find(|model| model.name == name).or_else(|| MODELS.iter().find(is_class))
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
    fn keras_classes_are_found_in_any_case() {
        for (class, name) in [
            ("EfficientNetB0", "efficientnet_b0"),
            ("MobileNetV3Large", "mobilenet_v3_large"),
            ("mobilenetv2", "mobilenet_v2"),
            ("MobileNet", "mobilenet"),
            ("ResNet50V2", "resnet50v2"),
            ("Xception", "xception"),
            ("EfficientNetV2B0", "efficientnetv2_b0"),
            ("EfficientNetV2S", "efficientnet_v2_s"),
            ("ConvNeXtXLarge", "convnext_xlarge"),
            ("nasnetmobile", "nasnet_mobile"),
            ("InceptionResNetV2", "inception_resnet_v2"),
        ] {
            assert_eq!(find(class).map(|model| model.name), Some(name));
        }
        assert!(find("ResNet_50").is_none() && find("EfficientNet").is_none());
    }

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
                // without their classes these networks end in a vector
                let hidden = ["mobilenet_v3", "tf_mobilenet_v3", "convnext"];
                let hidden = hidden.iter().any(|family| model.name.starts_with(family));
                let is_map = matches!(graph.layer(graph.features()).shape, Shape::Map { .. });
                assert!(is_map || hidden, "{}", model.name);
                assert!(weights.sha256.is_none_or(|hash| hash.len() == 64));
                assert_eq!(weights.name == "bundled", weights.files.is_empty());
            }
        }
    }
}
