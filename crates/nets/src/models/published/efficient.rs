//! EfficientNet, MobileNet and MobileNetV3, MNASNet, ShuffleNetV2, SqueezeNet. Where the facts stand: see [`super`].

use super::*;

pub(in crate::models) const EFFICIENTNET_B0: &[WeightsSpec] = &[
    keras(
        keras_efficientnet!("b0", "902e53a9f72be733fc0bcb005b3ebbac", "50bc09e76180e00e4465e1a485ddc09d"),
        raw(224),
        77.1,
        "Apache-2.0",
    ),
    torchvision(&[torchvision!("efficientnet_b0_rwightman", "7f5810bc")], cut(224, 256, Filter::Bicubic), 77.692),
    timm(
        "ImageNet-1k, RandAugment",
        &[timm!("efficientnet_b0.ra_in1k")],
        timm_recipe(224, 0.875, Filter::Bicubic),
        None,
        "Apache-2.0",
    ),
];

pub(in crate::models) const EFFICIENTNET_B1: &[WeightsSpec] = &[
    keras(
        keras_efficientnet!("b1", "1d254153d4ab51201f1646940f018540", "74c4e6b3e1f6a1eea24c589628592432"),
        raw(240),
        79.1,
        "Apache-2.0",
    ),
    torchvision(&[torchvision!("efficientnet_b1_rwightman", "bac287d4")], cut(240, 256, Filter::Bicubic), 78.642),
    timm(
        "ImageNet-1k, fine-tuned",
        &[timm!("efficientnet_b1.ft_in1k")],
        timm_recipe(224, 0.875, Filter::Bicubic),
        None,
        "Apache-2.0",
    ),
];

pub(in crate::models) const EFFICIENTNET_B2: &[WeightsSpec] = &[
    keras(
        keras_efficientnet!("b2", "b15cce36ff4dcbd00b6dd88e7857a6ad", "111f8e2ac8aa800a7a99e3239f7bfb39"),
        raw(260),
        80.1,
        "Apache-2.0",
    ),
    torchvision(&[torchvision!("efficientnet_b2_rwightman", "c35c1473")], cut(288, 288, Filter::Bicubic), 80.608),
    timm(
        "ImageNet-1k, RandAugment",
        &[timm!("efficientnet_b2.ra_in1k")],
        timm_recipe(256, 0.875, Filter::Bicubic),
        None,
        "Apache-2.0",
    ),
];

pub(in crate::models) const EFFICIENTNET_B3: &[WeightsSpec] = &[
    keras(
        keras_efficientnet!("b3", "ffd1fdc53d0ce67064dc6a9c7960ede0", "af6d107764bb5b1abb91932881670226"),
        raw(300),
        81.6,
        "Apache-2.0",
    ),
    torchvision(&[torchvision!("efficientnet_b3_rwightman", "b3899882")], cut(300, 320, Filter::Bicubic), 82.008),
    timm(
        "ImageNet-1k, RandAugment",
        &[timm!("efficientnet_b3.ra2_in1k")],
        timm_recipe(288, 0.875, Filter::Bicubic),
        None,
        "Apache-2.0",
    ),
];

pub(in crate::models) const EFFICIENTNET_B4: &[WeightsSpec] = &[
    keras(
        keras_efficientnet!("b4", "18c95ad55216b8f92d7e70b3a046e2fc", "ebc24e6d6c33eaebbd558eafbeedf1ba"),
        raw(380),
        82.9,
        "Apache-2.0",
    ),
    torchvision(&[torchvision!("efficientnet_b4_rwightman", "23ab8bcd")], cut(380, 384, Filter::Bicubic), 83.384),
    timm(
        "ImageNet-1k, RandAugment",
        &[timm!("efficientnet_b4.ra2_in1k")],
        timm_recipe(320, 0.875, Filter::Bicubic),
        None,
        "Apache-2.0",
    ),
];

pub(in crate::models) const EFFICIENTNET_B5: &[WeightsSpec] = &[
    keras(
        keras_efficientnet!("b5", "ace28f2a6363774853a83a0b21b9421a", "38879255a25d3c92d5e44e04ae6cec6f"),
        raw(456),
        83.6,
        "Apache-2.0",
    ),
    torchvision(&[torchvision!("efficientnet_b5_lukemelas", "1a07897c")], cut(456, 456, Filter::Bicubic), 83.444),
    timm(
        "ImageNet-1k, fine-tuned from ImageNet-12k",
        &[timm!("efficientnet_b5.sw_in12k_ft_in1k")],
        timm_recipe(448, 1.0, Filter::Bicubic),
        None,
        "Apache-2.0",
    ),
];

pub(in crate::models) const EFFICIENTNET_B6: &[WeightsSpec] = &[
    keras(
        keras_efficientnet!("b6", "165f6e37dce68623721b423839de8be5", "9ecce42647a20130c1f39a5d4cb75743"),
        raw(528),
        84.0,
        "Apache-2.0",
    ),
    torchvision(&[torchvision!("efficientnet_b6_lukemelas", "24a108a5")], cut(528, 528, Filter::Bicubic), 84.008),
];

pub(in crate::models) const EFFICIENTNET_B7: &[WeightsSpec] = &[
    keras(
        keras_efficientnet!("b7", "8c03f828fec3ef71311cd463b6759d99", "cbcfe4450ddf6f3ad90b1b398090fe4a"),
        raw(600),
        84.3,
        "Apache-2.0",
    ),
    torchvision(&[torchvision!("efficientnet_b7_lukemelas", "c5b4e57e")], cut(600, 600, Filter::Bicubic), 84.122),
];

pub(in crate::models) const TF_EFFICIENTNET_B0: &[WeightsSpec] = &[timm(
    "ImageNet-1k, Google's, AutoAugment",
    &[timm!("tf_efficientnet_b0.aa_in1k")],
    timm_recipe(224, 0.875, Filter::Bicubic),
    None,
    "Apache-2.0",
)];

pub(in crate::models) const TF_EFFICIENTNET_B1: &[WeightsSpec] = &[timm(
    "ImageNet-1k, Google's, AutoAugment",
    &[timm!("tf_efficientnet_b1.aa_in1k")],
    timm_recipe(240, 0.882, Filter::Bicubic),
    None,
    "Apache-2.0",
)];

pub(in crate::models) const TF_EFFICIENTNET_B2: &[WeightsSpec] = &[timm(
    "ImageNet-1k, Google's, AutoAugment",
    &[timm!("tf_efficientnet_b2.aa_in1k")],
    timm_recipe(260, 0.89, Filter::Bicubic),
    None,
    "Apache-2.0",
)];

pub(in crate::models) const TF_EFFICIENTNET_B3: &[WeightsSpec] = &[timm(
    "ImageNet-1k, Google's, AutoAugment",
    &[timm!("tf_efficientnet_b3.aa_in1k")],
    timm_recipe(300, 0.904, Filter::Bicubic),
    None,
    "Apache-2.0",
)];

pub(in crate::models) const TF_EFFICIENTNET_B4: &[WeightsSpec] = &[timm(
    "ImageNet-1k, Google's, AutoAugment",
    &[timm!("tf_efficientnet_b4.aa_in1k")],
    timm_recipe(380, 0.922, Filter::Bicubic),
    None,
    "Apache-2.0",
)];

pub(in crate::models) const TF_EFFICIENTNET_B5: &[WeightsSpec] = &[timm(
    "ImageNet-1k, Google's, AutoAugment",
    &[timm!("tf_efficientnet_b5.aa_in1k")],
    timm_recipe(456, 0.934, Filter::Bicubic),
    None,
    "Apache-2.0",
)];

pub(in crate::models) const TF_EFFICIENTNET_B6: &[WeightsSpec] = &[timm(
    "ImageNet-1k, Google's, AutoAugment",
    &[timm!("tf_efficientnet_b6.aa_in1k")],
    timm_recipe(528, 0.942, Filter::Bicubic),
    None,
    "Apache-2.0",
)];

pub(in crate::models) const TF_EFFICIENTNET_B7: &[WeightsSpec] = &[timm(
    "ImageNet-1k, Google's, AutoAugment",
    &[timm!("tf_efficientnet_b7.aa_in1k")],
    timm_recipe(600, 0.949, Filter::Bicubic),
    None,
    "Apache-2.0",
)];

pub(in crate::models) const MOBILENET_V3_SMALL: &[WeightsSpec] = &[
    row(
        Source::Keras,
        "ImageNet-1k, keras.applications",
        keras!("mobilenet_v3", v3 "small", "8768d4c2e7dee89b9d02b2d03d65d862", "d3e8ec802a04aa4fc771ee12a9a9b836"),
        raw(224),
        None,
        "Apache-2.0",
    ),
    torchvision(&[torchvision!("mobilenet_v3_small", "047dcff4")], TORCHVISION, 67.668),
    timm(
        "ImageNet-1k, LAMB",
        &[timm!("mobilenetv3_small_100.lamb_in1k")],
        timm_recipe(224, 0.875, Filter::Bicubic),
        None,
        "Apache-2.0",
    ),
];

pub(in crate::models) const MOBILENET_V3_LARGE: &[WeightsSpec] = &[
    row(
        Source::Keras,
        "ImageNet-1k, keras.applications",
        keras!("mobilenet_v3", v3 "large", "59e551e166be033d707958cf9e29a6a7", "07fb09a5933dd0c8eaafa16978110389"),
        raw(224),
        None,
        "Apache-2.0",
    ),
    torchvision(&[torchvision!("mobilenet_v3_large", "8738ca79")], TORCHVISION, 74.042),
    timm(
        "ImageNet-1k, RandAugment",
        &[timm!("mobilenetv3_large_100.ra_in1k")],
        timm_recipe(224, 0.875, Filter::Bicubic),
        None,
        "Apache-2.0",
    ),
];

pub(in crate::models) const MOBILENET: &[WeightsSpec] = &[keras(
    &[
        keras!("mobilenet", "mobilenet_1_0_224_tf.h5", Hash::Unknown, true),
        keras!("mobilenet", "mobilenet_1_0_224_tf_no_top.h5", Hash::Unknown, false),
    ],
    KERAS_TF,
    70.4,
    "Apache-2.0",
)];

pub(in crate::models) const SQUEEZENET1_0: &[WeightsSpec] =
    &[torchvision(&[torchvision!("squeezenet1_0", "b66bff10")], TORCHVISION, 58.092)];

pub(in crate::models) const SQUEEZENET1_1: &[WeightsSpec] =
    &[torchvision(&[torchvision!("squeezenet1_1", "b8a52dc0")], TORCHVISION, 58.178)];

pub(in crate::models) const MNASNET0_5: &[WeightsSpec] =
    &[torchvision(&[torchvision!("mnasnet0.5_top1_67.823", "3ffadce67e")], TORCHVISION, 67.734)];

pub(in crate::models) const MNASNET0_75: &[WeightsSpec] =
    &[torchvision(&[torchvision!("mnasnet0_75", "7090bc5f")], cut(224, 232, Filter::Bilinear), 71.18)];

pub(in crate::models) const MNASNET1_0: &[WeightsSpec] =
    &[torchvision(&[torchvision!("mnasnet1.0_top1_73.512", "f206786ef8")], TORCHVISION, 73.456)];

pub(in crate::models) const MNASNET1_3: &[WeightsSpec] =
    &[torchvision(&[torchvision!("mnasnet1_3", "a4c69d6f")], cut(224, 232, Filter::Bilinear), 76.506)];

pub(in crate::models) const SHUFFLENET_V2_X0_5: &[WeightsSpec] =
    &[torchvision(&[torchvision!("shufflenetv2_x0.5", "f707e7126e")], TORCHVISION, 60.552)];

pub(in crate::models) const SHUFFLENET_V2_X1_0: &[WeightsSpec] =
    &[torchvision(&[torchvision!("shufflenetv2_x1", "5666bf0f80")], TORCHVISION, 69.362)];

pub(in crate::models) const SHUFFLENET_V2_X1_5: &[WeightsSpec] =
    &[torchvision(&[torchvision!("shufflenetv2_x1_5", "3c479a10")], cut(224, 232, Filter::Bilinear), 72.996)];

pub(in crate::models) const SHUFFLENET_V2_X2_0: &[WeightsSpec] =
    &[torchvision(&[torchvision!("shufflenetv2_x2_0", "8be3c8ee")], cut(224, 232, Filter::Bilinear), 76.23)];
