//! EfficientNet, MobileNet and MobileNetV3, MNASNet, ShuffleNetV2, SqueezeNet. Where the facts stand: see [`super`].

use super::*;

published! {
    EFFICIENTNET_B0:
        keras_b("b0", "902e53a9f72be733fc0bcb005b3ebbac", "50bc09e76180e00e4465e1a485ddc09d", raw(224), 77.1),
        torchvision("efficientnet_b0_rwightman", "7f5810bc", cut(224, 256, Bicubic), 77.692),
        timm("efficientnet_b0.ra_in1k", "RandAugment", timm_recipe(224, 0.875, Bicubic));
    EFFICIENTNET_B1:
        keras_b("b1", "1d254153d4ab51201f1646940f018540", "74c4e6b3e1f6a1eea24c589628592432", raw(240), 79.1),
        torchvision("efficientnet_b1_rwightman", "bac287d4", cut(240, 256, Bicubic), 78.642),
        timm("efficientnet_b1.ft_in1k", "fine-tuned", timm_recipe(224, 0.875, Bicubic));
    EFFICIENTNET_B2:
        keras_b("b2", "b15cce36ff4dcbd00b6dd88e7857a6ad", "111f8e2ac8aa800a7a99e3239f7bfb39", raw(260), 80.1),
        torchvision("efficientnet_b2_rwightman", "c35c1473", cut(288, 288, Bicubic), 80.608),
        timm("efficientnet_b2.ra_in1k", "RandAugment", timm_recipe(256, 0.875, Bicubic));
    EFFICIENTNET_B3:
        keras_b("b3", "ffd1fdc53d0ce67064dc6a9c7960ede0", "af6d107764bb5b1abb91932881670226", raw(300), 81.6),
        torchvision("efficientnet_b3_rwightman", "b3899882", cut(300, 320, Bicubic), 82.008),
        timm("efficientnet_b3.ra2_in1k", "RandAugment", timm_recipe(288, 0.875, Bicubic));
    EFFICIENTNET_B4:
        keras_b("b4", "18c95ad55216b8f92d7e70b3a046e2fc", "ebc24e6d6c33eaebbd558eafbeedf1ba", raw(380), 82.9),
        torchvision("efficientnet_b4_rwightman", "23ab8bcd", cut(380, 384, Bicubic), 83.384),
        timm("efficientnet_b4.ra2_in1k", "RandAugment", timm_recipe(320, 0.875, Bicubic));
    EFFICIENTNET_B5:
        keras_b("b5", "ace28f2a6363774853a83a0b21b9421a", "38879255a25d3c92d5e44e04ae6cec6f", raw(456), 83.6),
        torchvision("efficientnet_b5_lukemelas", "1a07897c", cut(456, 456, Bicubic), 83.444),
        timm("efficientnet_b5.sw_in12k_ft_in1k", "fine-tuned from ImageNet-12k", timm_recipe(448, 1.0, Bicubic));
    EFFICIENTNET_B6:
        keras_b("b6", "165f6e37dce68623721b423839de8be5", "9ecce42647a20130c1f39a5d4cb75743", raw(528), 84.0),
        torchvision("efficientnet_b6_lukemelas", "24a108a5", cut(528, 528, Bicubic), 84.008);
    EFFICIENTNET_B7:
        keras_b("b7", "8c03f828fec3ef71311cd463b6759d99", "cbcfe4450ddf6f3ad90b1b398090fe4a", raw(600), 84.3),
        torchvision("efficientnet_b7_lukemelas", "c5b4e57e", cut(600, 600, Bicubic), 84.122);
    TF_EFFICIENTNET_B0: timm("tf_efficientnet_b0.aa_in1k", "Google's, AutoAugment", timm_recipe(224, 0.875, Bicubic));
    TF_EFFICIENTNET_B1: timm("tf_efficientnet_b1.aa_in1k", "Google's, AutoAugment", timm_recipe(240, 0.882, Bicubic));
    TF_EFFICIENTNET_B2: timm("tf_efficientnet_b2.aa_in1k", "Google's, AutoAugment", timm_recipe(260, 0.89, Bicubic));
    TF_EFFICIENTNET_B3: timm("tf_efficientnet_b3.aa_in1k", "Google's, AutoAugment", timm_recipe(300, 0.904, Bicubic));
    TF_EFFICIENTNET_B4: timm("tf_efficientnet_b4.aa_in1k", "Google's, AutoAugment", timm_recipe(380, 0.922, Bicubic));
    TF_EFFICIENTNET_B5: timm("tf_efficientnet_b5.aa_in1k", "Google's, AutoAugment", timm_recipe(456, 0.934, Bicubic));
    TF_EFFICIENTNET_B6: timm("tf_efficientnet_b6.aa_in1k", "Google's, AutoAugment", timm_recipe(528, 0.942, Bicubic));
    TF_EFFICIENTNET_B7: timm("tf_efficientnet_b7.aa_in1k", "Google's, AutoAugment", timm_recipe(600, 0.949, Bicubic));
    MOBILENET_V3_SMALL:
        keras_v3("small", "8768d4c2e7dee89b9d02b2d03d65d862", "d3e8ec802a04aa4fc771ee12a9a9b836", raw(224)),
        torchvision("mobilenet_v3_small", "047dcff4", TORCHVISION, 67.668),
        timm("mobilenetv3_small_100.lamb_in1k", "LAMB", timm_recipe(224, 0.875, Bicubic));
    MOBILENET_V3_LARGE:
        keras_v3("large", "59e551e166be033d707958cf9e29a6a7", "07fb09a5933dd0c8eaafa16978110389", raw(224)),
        torchvision("mobilenet_v3_large", "8738ca79", TORCHVISION, 74.042),
        timm("mobilenetv3_large_100.ra_in1k", "RandAugment", timm_recipe(224, 0.875, Bicubic));
}

pub(in crate::models) const MOBILENET: &[WeightsSpec] = &[keras(
    &[
        keras!("mobilenet", "mobilenet_1_0_224_tf.h5", Hash::Unknown, true),
        keras!("mobilenet", "mobilenet_1_0_224_tf_no_top.h5", Hash::Unknown, false),
    ],
    KERAS_TF,
    70.4,
    "Apache-2.0",
)];

published! {
    SQUEEZENET1_0: torchvision("squeezenet1_0", "b66bff10", TORCHVISION, 58.092);
    SQUEEZENET1_1: torchvision("squeezenet1_1", "b8a52dc0", TORCHVISION, 58.178);
    MNASNET0_5: torchvision("mnasnet0.5_top1_67.823", "3ffadce67e", TORCHVISION, 67.734);
    MNASNET0_75: torchvision("mnasnet0_75", "7090bc5f", cut(224, 232, Bilinear), 71.18);
    MNASNET1_0: torchvision("mnasnet1.0_top1_73.512", "f206786ef8", TORCHVISION, 73.456);
    MNASNET1_3: torchvision("mnasnet1_3", "a4c69d6f", cut(224, 232, Bilinear), 76.506);
    SHUFFLENET_V2_X0_5: torchvision("shufflenetv2_x0.5", "f707e7126e", TORCHVISION, 60.552);
    SHUFFLENET_V2_X1_0: torchvision("shufflenetv2_x1", "5666bf0f80", TORCHVISION, 69.362);
    SHUFFLENET_V2_X1_5: torchvision("shufflenetv2_x1_5", "3c479a10", cut(224, 232, Bilinear), 72.996);
    SHUFFLENET_V2_X2_0: torchvision("shufflenetv2_x2_0", "8be3c8ee", cut(224, 232, Bilinear), 76.23);
}
