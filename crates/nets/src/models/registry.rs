//! All models: one row for each model, in it one row for each set of weights.

use super::efficientnet_v2::{V2_L, V2_M, V2_S, V2_XL};
use super::graph::{Graph, GraphError};
use super::published::*;
use super::resnet::{BOTTLENECK, Kind, STAGES_18, STAGES_50, STAGES_101, STAGES_152, WIDE};
use super::spec::{BuildOptions, ModelSpec, WeightsSpec};
use super::{
    alexnet, clip_resnet, convnext, densenet, efficientnet, efficientnet_v2, googlenet, inception, inception_resnet,
    mnasnet, mobilenet, mobilenet_v1, mobilenet_v3, nasnet, regnet, resnet, resnet_v2, shufflenet, squeezenet, swin,
    vgg, vit, xception,
};
use crate::suggest::near;

/// Every model, in the order in which they are listed.
pub const MODELS: &[ModelSpec] = &[
    model("efficientnet_lite0", "EfficientNet-Lite0", efficientnet::lite::<0>, EFFICIENTNET_LITE0),
    model("efficientnet_lite1", "EfficientNet-Lite1", efficientnet::lite::<1>, EFFICIENTNET_LITE1),
    model("efficientnet_lite2", "EfficientNet-Lite2", efficientnet::lite::<2>, EFFICIENTNET_LITE2),
    model("efficientnet_lite3", "EfficientNet-Lite3", efficientnet::lite::<3>, EFFICIENTNET_LITE3),
    model("efficientnet_lite4", "EfficientNet-Lite4", efficientnet::lite::<4>, EFFICIENTNET_LITE4),
    model("alexnet", "AlexNet", alexnet::alexnet, ALEXNET),
    model("vgg11", "VGG11", |o| vgg::network(o, vgg::A, false), VGG11),
    model("vgg13", "VGG13", |o| vgg::network(o, vgg::B, false), VGG13),
    model("vgg16", "VGG16", |o| vgg::network(o, vgg::D, false), VGG16),
    model("vgg19", "VGG19", |o| vgg::network(o, vgg::E, false), VGG19),
    model("vgg11_bn", "VGG11 with batch norm", |o| vgg::network(o, vgg::A, true), VGG11_BN),
    model("vgg13_bn", "VGG13 with batch norm", |o| vgg::network(o, vgg::B, true), VGG13_BN),
    model("vgg16_bn", "VGG16 with batch norm", |o| vgg::network(o, vgg::D, true), VGG16_BN),
    model("vgg19_bn", "VGG19 with batch norm", |o| vgg::network(o, vgg::E, true), VGG19_BN),
    model("googlenet", "GoogLeNet", googlenet::googlenet, GOOGLENET),
    model("inception_v3", "Inception v3", inception::inception_v3, INCEPTION_V3),
    model("inception_resnet_v2", "Inception-ResNet v2", inception_resnet::v2, INCEPTION_RESNET_V2),
    model("resnet18", "ResNet-18", |o| resnet::network(o, STAGES_18, Kind::Basic), RESNET18),
    model("resnet34", "ResNet-34", |o| resnet::network(o, STAGES_50, Kind::Basic), RESNET34),
    model("resnet50", "ResNet-50", |o| resnet::network(o, STAGES_50, BOTTLENECK), RESNET50),
    model("resnet101", "ResNet-101", |o| resnet::network(o, STAGES_101, BOTTLENECK), RESNET101),
    model("resnet152", "ResNet-152", |o| resnet::network(o, STAGES_152, BOTTLENECK), RESNET152),
    model("resnet50v2", "ResNet-50 v2", |o| resnet_v2::network(o, STAGES_50), RESNET50V2),
    model("resnet101v2", "ResNet-101 v2", |o| resnet_v2::network(o, STAGES_101), RESNET101V2),
    model("resnet152v2", "ResNet-152 v2", |o| resnet_v2::network(o, STAGES_152), RESNET152V2),
    model("xception", "Xception", xception::xception, XCEPTION),
    model("mobilenet_v2", "MobileNetV2", mobilenet::mobilenet_v2, MOBILENET_V2),
    model("densenet121", "DenseNet-121", |o| densenet::network(o, [6, 12, 24, 16], 32), DENSENET121),
    model("densenet161", "DenseNet-161", |o| densenet::network(o, [6, 12, 36, 24], 48), DENSENET161),
    model("densenet169", "DenseNet-169", |o| densenet::network(o, [6, 12, 32, 32], 32), DENSENET169),
    model("densenet201", "DenseNet-201", |o| densenet::network(o, [6, 12, 48, 32], 32), DENSENET201),
    model("efficientnet_b0", "EfficientNet-B0", efficientnet::b::<0>, EFFICIENTNET_B0),
    model("efficientnet_b1", "EfficientNet-B1", efficientnet::b::<1>, EFFICIENTNET_B1),
    model("efficientnet_b2", "EfficientNet-B2", efficientnet::b::<2>, EFFICIENTNET_B2),
    model("efficientnet_b3", "EfficientNet-B3", efficientnet::b::<3>, EFFICIENTNET_B3),
    model("efficientnet_b4", "EfficientNet-B4", efficientnet::b::<4>, EFFICIENTNET_B4),
    model("efficientnet_b5", "EfficientNet-B5", efficientnet::b::<5>, EFFICIENTNET_B5),
    model("efficientnet_b6", "EfficientNet-B6", efficientnet::b::<6>, EFFICIENTNET_B6),
    model("efficientnet_b7", "EfficientNet-B7", efficientnet::b::<7>, EFFICIENTNET_B7),
    model("tf_efficientnet_b0", "EfficientNet-B0, Google's", efficientnet::tf_b::<0>, TF_EFFICIENTNET_B0),
    model("tf_efficientnet_b1", "EfficientNet-B1, Google's", efficientnet::tf_b::<1>, TF_EFFICIENTNET_B1),
    model("tf_efficientnet_b2", "EfficientNet-B2, Google's", efficientnet::tf_b::<2>, TF_EFFICIENTNET_B2),
    model("tf_efficientnet_b3", "EfficientNet-B3, Google's", efficientnet::tf_b::<3>, TF_EFFICIENTNET_B3),
    model("tf_efficientnet_b4", "EfficientNet-B4, Google's", efficientnet::tf_b::<4>, TF_EFFICIENTNET_B4),
    model("tf_efficientnet_b5", "EfficientNet-B5, Google's", efficientnet::tf_b::<5>, TF_EFFICIENTNET_B5),
    model("tf_efficientnet_b6", "EfficientNet-B6, Google's", efficientnet::tf_b::<6>, TF_EFFICIENTNET_B6),
    model("tf_efficientnet_b7", "EfficientNet-B7, Google's", efficientnet::tf_b::<7>, TF_EFFICIENTNET_B7),
    model("efficientnetv2_b0", "EfficientNetV2-B0", efficientnet_v2::b::<0>, EFFICIENTNETV2_B0),
    model("efficientnetv2_b1", "EfficientNetV2-B1", efficientnet_v2::b::<1>, EFFICIENTNETV2_B1),
    model("efficientnetv2_b2", "EfficientNetV2-B2", efficientnet_v2::b::<2>, EFFICIENTNETV2_B2),
    model("efficientnetv2_b3", "EfficientNetV2-B3", efficientnet_v2::b::<3>, EFFICIENTNETV2_B3),
    model("efficientnet_v2_s", "EfficientNetV2-S", |o| efficientnet_v2::sized(o, &V2_S, 24), EFFICIENTNET_V2_S),
    model("efficientnet_v2_m", "EfficientNetV2-M", |o| efficientnet_v2::sized(o, &V2_M, 24), EFFICIENTNET_V2_M),
    model("efficientnet_v2_l", "EfficientNetV2-L", |o| efficientnet_v2::sized(o, &V2_L, 32), EFFICIENTNET_V2_L),
    model("efficientnet_v2_xl", "EfficientNetV2-XL", |o| efficientnet_v2::sized(o, &V2_XL, 32), EFFICIENTNET_V2_XL),
    model("nasnet_mobile", "NASNet-A mobile", nasnet::mobile, NASNET_MOBILE),
    model("nasnet_large", "NASNet-A large", nasnet::large, NASNET_LARGE),
    model("mobilenet", "MobileNet", mobilenet_v1::mobilenet, MOBILENET),
    model("mobilenet_v3_small", "MobileNetV3-Small", mobilenet_v3::small::<false>, MOBILENET_V3_SMALL),
    model("mobilenet_v3_large", "MobileNetV3-Large", mobilenet_v3::large::<false>, MOBILENET_V3_LARGE),
    model("tf_mobilenet_v3_small", "MobileNetV3-Small, Google's", mobilenet_v3::small::<true>, TF_MOBILENET_V3_SMALL),
    model("tf_mobilenet_v3_large", "MobileNetV3-Large, Google's", mobilenet_v3::large::<true>, TF_MOBILENET_V3_LARGE),
    model("resnext50_32x4d", "ResNeXt-50 32×4d", |o| resnet::resnext(o, STAGES_50, 32, 4), RESNEXT50_32X4D),
    model("resnext101_32x8d", "ResNeXt-101 32×8d", |o| resnet::resnext(o, STAGES_101, 32, 8), RESNEXT101_32X8D),
    model("resnext101_64x4d", "ResNeXt-101 64×4d", |o| resnet::resnext(o, STAGES_101, 64, 4), RESNEXT101_64X4D),
    model("wide_resnet50_2", "Wide ResNet-50-2", |o| resnet::network(o, STAGES_50, WIDE), WIDE_RESNET50_2),
    model("wide_resnet101_2", "Wide ResNet-101-2", |o| resnet::network(o, STAGES_101, WIDE), WIDE_RESNET101_2),
    model("squeezenet1_0", "SqueezeNet 1.0", |o| squeezenet::network(o, [96, 7], [0, 3, 7]), SQUEEZENET1_0),
    model("squeezenet1_1", "SqueezeNet 1.1", |o| squeezenet::network(o, [64, 3], [0, 2, 4]), SQUEEZENET1_1),
    model("mnasnet0_5", "MNASNet 0.5", |o| mnasnet::network(o, 0.5), MNASNET0_5),
    model("mnasnet0_75", "MNASNet 0.75", |o| mnasnet::network(o, 0.75), MNASNET0_75),
    model("mnasnet1_0", "MNASNet 1.0", |o| mnasnet::network(o, 1.0), MNASNET1_0),
    model("mnasnet1_3", "MNASNet 1.3", |o| mnasnet::network(o, 1.3), MNASNET1_3),
    model("shufflenet_v2_x0_5", "ShuffleNetV2 ×0.5", |o| shufflenet::v2(o, [48, 96, 192], 1024), SHUFFLENET_V2_X0_5),
    model("shufflenet_v2_x1_0", "ShuffleNetV2 ×1.0", |o| shufflenet::v2(o, [116, 232, 464], 1024), SHUFFLENET_V2_X1_0),
    model("shufflenet_v2_x1_5", "ShuffleNetV2 ×1.5", |o| shufflenet::v2(o, [176, 352, 704], 1024), SHUFFLENET_V2_X1_5),
    model("shufflenet_v2_x2_0", "ShuffleNetV2 ×2.0", |o| shufflenet::v2(o, [244, 488, 976], 2048), SHUFFLENET_V2_X2_0),
    model("convnext_tiny", "ConvNeXt-Tiny", |o| convnext::network(o, "convnext_tiny", 9, 96), CONVNEXT_TINY),
    model("convnext_small", "ConvNeXt-Small", |o| convnext::network(o, "convnext_small", 27, 96), CONVNEXT_SMALL),
    model("convnext_base", "ConvNeXt-Base", |o| convnext::network(o, "convnext_base", 27, 128), CONVNEXT_BASE),
    model("convnext_large", "ConvNeXt-Large", |o| convnext::network(o, "convnext_large", 27, 192), CONVNEXT_LARGE),
    model("convnext_xlarge", "ConvNeXt-XLarge", |o| convnext::network(o, "convnext_xlarge", 27, 256), CONVNEXT_XLARGE),
    model("regnet_y_400mf", "RegNetY-400MF", |o| regnet::y(o, [1, 3, 6, 6], [48, 104, 208, 440], 8), REGNET_Y_400MF),
    model("regnet_y_800mf", "RegNetY-800MF", |o| regnet::y(o, [1, 3, 8, 2], [64, 144, 320, 784], 16), REGNET_Y_800MF),
    model("regnet_y_1_6gf", "RegNetY-1.6GF", |o| regnet::y(o, [2, 6, 17, 2], [48, 120, 336, 888], 24), REGNET_Y_1_6GF),
    model("regnet_y_3_2gf", "RegNetY-3.2GF", |o| regnet::y(o, [2, 5, 13, 1], [72, 216, 576, 1512], 24), REGNET_Y_3_2GF),
    model("regnet_y_8gf", "RegNetY-8GF", |o| regnet::y(o, [2, 4, 10, 1], [224, 448, 896, 2016], 56), REGNET_Y_8GF),
    model("regnet_y_16gf", "RegNetY-16GF", |o| regnet::y(o, [2, 4, 11, 1], [224, 448, 1232, 3024], 112), REGNET_Y_16GF),
    model("regnet_y_32gf", "RegNetY-32GF", |o| regnet::y(o, [2, 5, 12, 1], [232, 696, 1392, 3712], 232), REGNET_Y_32GF),
    model("regnet_x_400mf", "RegNetX-400MF", |o| regnet::x(o, [1, 2, 7, 12], [32, 64, 160, 400], 16), REGNET_X_400MF),
    model("regnet_x_800mf", "RegNetX-800MF", |o| regnet::x(o, [1, 3, 7, 5], [64, 128, 288, 672], 16), REGNET_X_800MF),
    model("regnet_x_1_6gf", "RegNetX-1.6GF", |o| regnet::x(o, [2, 4, 10, 2], [72, 168, 408, 912], 24), REGNET_X_1_6GF),
    model("regnet_x_3_2gf", "RegNetX-3.2GF", |o| regnet::x(o, [2, 6, 15, 2], [96, 192, 432, 1008], 48), REGNET_X_3_2GF),
    model("regnet_x_8gf", "RegNetX-8GF", |o| regnet::x(o, [2, 5, 15, 1], [80, 240, 720, 1920], 120), REGNET_X_8GF),
    model("regnet_x_16gf", "RegNetX-16GF", |o| regnet::x(o, [2, 6, 13, 1], [256, 512, 896, 2048], 128), REGNET_X_16GF),
    model("regnet_x_32gf", "RegNetX-32GF", |o| regnet::x(o, [2, 7, 13, 1], [336, 672, 1344, 2520], 168), REGNET_X_32GF),
    model("vit_b_16", "ViT-B/16, torchvision's", |o| vit::BASE.build(o, 16), VIT_B_16),
    model("vit_b_32", "ViT-B/32, torchvision's", |o| vit::BASE.build(o, 32), VIT_B_32),
    model("vit_l_16", "ViT-L/16, torchvision's", |o| vit::LARGE.build(o, 16), VIT_L_16),
    model("vit_l_32", "ViT-L/32, torchvision's", |o| vit::LARGE.build(o, 32), VIT_L_32),
    model("vit_tiny_patch16_224", "ViT-Ti/16", |o| vit::TINY.build(o, 16), VIT_TINY_PATCH16_224),
    model("vit_tiny_patch16_384", "ViT-Ti/16 at 384", |o| vit::TINY.build(o, 16), VIT_TINY_PATCH16_384),
    model("vit_small_patch16_224", "ViT-S/16", |o| vit::SMALL.build(o, 16), VIT_SMALL_PATCH16_224),
    model("vit_small_patch16_384", "ViT-S/16 at 384", |o| vit::SMALL.build(o, 16), VIT_SMALL_PATCH16_384),
    model("vit_base_patch16_224", "ViT-B/16", |o| vit::BASE.build(o, 16), VIT_BASE_PATCH16_224),
    model("vit_base_patch16_384", "ViT-B/16 at 384", |o| vit::BASE.build(o, 16), VIT_BASE_PATCH16_384),
    model("vit_large_patch16_224", "ViT-L/16", |o| vit::LARGE.build(o, 16), VIT_LARGE_PATCH16_224),
    model("vit_large_patch16_384", "ViT-L/16 at 384", |o| vit::LARGE.build(o, 16), VIT_LARGE_PATCH16_384),
    model("vit_small_patch32_224", "ViT-S/32", |o| vit::SMALL.build(o, 32), VIT_SMALL_PATCH32_224),
    model("vit_small_patch32_384", "ViT-S/32 at 384", |o| vit::SMALL.build(o, 32), VIT_SMALL_PATCH32_384),
    model("vit_base_patch32_224", "ViT-B/32", |o| vit::BASE.build(o, 32), VIT_BASE_PATCH32_224),
    model("vit_base_patch32_384", "ViT-B/32 at 384", |o| vit::BASE.build(o, 32), VIT_BASE_PATCH32_384),
    model("vit_large_patch32_224", "ViT-L/32", |o| vit::LARGE.build(o, 32), VIT_LARGE_PATCH32_224),
    model("vit_large_patch32_384", "ViT-L/32 at 384", |o| vit::LARGE.build(o, 32), VIT_LARGE_PATCH32_384),
    model("vit_small_patch8_224", "ViT-S/8", |o| vit::SMALL.build(o, 8), VIT_SMALL_PATCH8_224),
    model("vit_base_patch8_224", "ViT-B/8", |o| vit::BASE.build(o, 8), VIT_BASE_PATCH8_224),
    model("deit_tiny_patch16_224", "DeiT-Ti/16", |o| vit::TINY.build(o, 16), DEIT_TINY_PATCH16_224),
    model("deit_small_patch16_224", "DeiT-S/16", |o| vit::SMALL.build(o, 16), DEIT_SMALL_PATCH16_224),
    model("deit_base_patch16_224", "DeiT-B/16", |o| vit::BASE.build(o, 16), DEIT_BASE_PATCH16_224),
    model("deit_base_patch16_384", "DeiT-B/16 at 384", |o| vit::BASE.build(o, 16), DEIT_BASE_PATCH16_384),
    model("vit_small_patch14_dinov2", "DINOv2 ViT-S/14", |o| vit::SMALL.dinov2(o, 0), VIT_SMALL_PATCH14_DINOV2),
    model("vit_base_patch14_dinov2", "DINOv2 ViT-B/14", |o| vit::BASE.dinov2(o, 0), VIT_BASE_PATCH14_DINOV2),
    model("vit_large_patch14_dinov2", "DINOv2 ViT-L/14", |o| vit::LARGE.dinov2(o, 0), VIT_LARGE_PATCH14_DINOV2),
    model(
        "vit_small_patch14_reg4_dinov2",
        "DINOv2 ViT-S/14 with registers",
        |o| vit::SMALL.dinov2(o, 4),
        VIT_SMALL_PATCH14_REG4_DINOV2,
    ),
    model(
        "vit_base_patch14_reg4_dinov2",
        "DINOv2 ViT-B/14 with registers",
        |o| vit::BASE.dinov2(o, 4),
        VIT_BASE_PATCH14_REG4_DINOV2,
    ),
    model(
        "vit_large_patch14_reg4_dinov2",
        "DINOv2 ViT-L/14 with registers",
        |o| vit::LARGE.dinov2(o, 4),
        VIT_LARGE_PATCH14_REG4_DINOV2,
    ),
    model(
        "vit_base_patch32_clip_quickgelu_224",
        "CLIP ViT-B/32, OpenAI's GELU",
        |o| vit::BASE.clip(o, 32, true),
        VIT_BASE_PATCH32_CLIP_QUICKGELU_224,
    ),
    model(
        "vit_base_patch16_clip_quickgelu_224",
        "CLIP ViT-B/16, OpenAI's GELU",
        |o| vit::BASE.clip(o, 16, true),
        VIT_BASE_PATCH16_CLIP_QUICKGELU_224,
    ),
    model(
        "vit_large_patch14_clip_quickgelu_224",
        "CLIP ViT-L/14, OpenAI's GELU",
        |o| vit::LARGE.clip(o, 14, true),
        VIT_LARGE_PATCH14_CLIP_QUICKGELU_224,
    ),
    model("vit_base_patch32_clip_224", "CLIP ViT-B/32", |o| vit::BASE.clip(o, 32, false), VIT_BASE_PATCH32_CLIP_224),
    model("vit_base_patch16_clip_224", "CLIP ViT-B/16", |o| vit::BASE.clip(o, 16, false), VIT_BASE_PATCH16_CLIP_224),
    model("vit_large_patch14_clip_224", "CLIP ViT-L/14", |o| vit::LARGE.clip(o, 14, false), VIT_LARGE_PATCH14_CLIP_224),
    model("resnet50_clip", "CLIP ResNet-50", clip_resnet::resnet50, RESNET50_CLIP),
    model("vit_base_patch16_siglip_224", "SigLIP ViT-B/16", vit::siglip, VIT_BASE_PATCH16_SIGLIP_224),
    model("vit_base_patch16_siglip_256", "SigLIP ViT-B/16 at 256", vit::siglip, VIT_BASE_PATCH16_SIGLIP_256),
    model("vit_base_patch16_siglip_384", "SigLIP ViT-B/16 at 384", vit::siglip, VIT_BASE_PATCH16_SIGLIP_384),
    model("vit_base_patch16_siglip_512", "SigLIP ViT-B/16 at 512", vit::siglip, VIT_BASE_PATCH16_SIGLIP_512),
    model("swin_t", "Swin-T, torchvision's", |o| swin::TINY.v1(o, 7), SWIN_T),
    model("swin_s", "Swin-S, torchvision's", |o| swin::SMALL.v1(o, 7), SWIN_S),
    model("swin_b", "Swin-B, torchvision's", |o| swin::BASE.v1(o, 7), SWIN_B),
    model("swin_tiny_patch4_window7_224", "Swin-T", |o| swin::TINY.v1(o, 7), SWIN_TINY_PATCH4_WINDOW7_224),
    model("swin_small_patch4_window7_224", "Swin-S", |o| swin::SMALL.v1(o, 7), SWIN_SMALL_PATCH4_WINDOW7_224),
    model("swin_base_patch4_window7_224", "Swin-B", |o| swin::BASE.v1(o, 7), SWIN_BASE_PATCH4_WINDOW7_224),
    model("swin_base_patch4_window12_384", "Swin-B at 384", |o| swin::BASE.v1(o, 12), SWIN_BASE_PATCH4_WINDOW12_384),
    model("swin_v2_t", "SwinV2-T, torchvision's", |o| swin::TINY.v2(o, 8), SWIN_V2_T),
    model("swin_v2_s", "SwinV2-S, torchvision's", |o| swin::SMALL.v2(o, 8), SWIN_V2_S),
    model("swin_v2_b", "SwinV2-B, torchvision's", |o| swin::BASE.v2(o, 8), SWIN_V2_B),
    model("swinv2_tiny_window8_256", "SwinV2-T, windows of 8", |o| swin::TINY.v2(o, 8), SWINV2_TINY_WINDOW8_256),
    model("swinv2_small_window8_256", "SwinV2-S, windows of 8", |o| swin::SMALL.v2(o, 8), SWINV2_SMALL_WINDOW8_256),
    model("swinv2_base_window8_256", "SwinV2-B, windows of 8", |o| swin::BASE.v2(o, 8), SWINV2_BASE_WINDOW8_256),
    model("swinv2_tiny_window16_256", "SwinV2-T, windows of 16", |o| swin::TINY.v2(o, 16), SWINV2_TINY_WINDOW16_256),
    model("swinv2_small_window16_256", "SwinV2-S, windows of 16", |o| swin::SMALL.v2(o, 16), SWINV2_SMALL_WINDOW16_256),
    model("swinv2_base_window16_256", "SwinV2-B, windows of 16", |o| swin::BASE.v2(o, 16), SWINV2_BASE_WINDOW16_256),
    model(
        "swinv2_base_window12_192",
        "SwinV2-B at 192, windows of 12",
        |o| swin::BASE.v2(o, 12),
        SWINV2_BASE_WINDOW12_192,
    ),
    model(
        "swinv2_base_window12to16_192to256",
        "SwinV2-B, windows of 16 after 12",
        |o| swin::BASE.v2_from_12(o, 16),
        SWINV2_BASE_WINDOW12TO16_192TO256,
    ),
    model(
        "swinv2_base_window12to24_192to384",
        "SwinV2-B at 384, windows of 24 after 12",
        |o| swin::BASE.v2_from_12(o, 24),
        SWINV2_BASE_WINDOW12TO24_192TO384,
    ),
];

const fn model(
    name: &'static str,
    title: &'static str,
    build: fn(&BuildOptions) -> Result<Graph, GraphError>,
    weights: &'static [WeightsSpec],
) -> ModelSpec {
    ModelSpec { name, title, build, weights }
}

/// The model called `name`, which may be the name of a class in Keras: `EfficientNetB0` is `efficientnet_b0`.
pub fn find(name: &str) -> Option<&'static ModelSpec> {
    let letters = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let is_class = |model: &&ModelSpec| !name.contains('_') && letters(model.name) == letters(name);
    MODELS.iter().find(|model| model.name == name).or_else(|| MODELS.iter().find(is_class))
}

/// The message that there is no model called `name`, with similar names, and with the command that lists all.
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
                let graph =
                    model.build(&BuildOptions::of(weights)).unwrap_or_else(|error| panic!("{}: {error}", model.name));
                let logits = graph.layer(graph.logits()).shape;
                let has_head = weights.classes > 0;
                assert!(logits == Shape::Vector(weights.classes) || !has_head, "{}", model.name);
                assert_eq!(graph.features() == graph.logits(), !has_head, "{}", model.name);
                // the features of these networks are a vector
                let hidden = ["mobilenet_v3", "tf_mobilenet_v3", "convnext"];
                let hidden = hidden.iter().any(|family| model.name.starts_with(family)) || graph.pooled().is_some();
                let is_map = matches!(graph.layer(graph.features()).shape, Shape::Map { .. });
                assert!(is_map || hidden, "{}", model.name);
                assert!(weights.sha256.is_none_or(|hash| hash.len() == 64));
                assert_eq!(weights.name == "bundled", weights.files.is_empty());
            }
        }
    }
}
