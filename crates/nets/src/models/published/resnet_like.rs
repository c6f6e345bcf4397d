//! ResNeXt, Wide ResNet, RegNet. Where the facts stand: see [`super`].

use super::*;

pub(in crate::models) const RESNEXT50_32X4D: &[WeightsSpec] = &[
    torchvision(&[torchvision!("resnext50_32x4d", "7cdf4587")], TORCHVISION, 77.618),
    timm(
        "ImageNet-1k, ResNet Strikes Back A1",
        &[timm!("resnext50_32x4d.a1_in1k")],
        timm_recipe(224, 0.95, Filter::Bicubic),
        None,
        "Apache-2.0",
    ),
];

pub(in crate::models) const RESNEXT101_32X8D: &[WeightsSpec] = &[
    torchvision(&[torchvision!("resnext101_32x8d", "8ba56ff5")], TORCHVISION, 79.312),
    timm(
        "ImageNet-1k, torchvision's weights",
        &[timm!("resnext101_32x8d.tv_in1k")],
        timm_recipe(224, 0.875, Filter::Bilinear),
        None,
        "BSD-3-Clause",
    ),
];

pub(in crate::models) const RESNEXT101_64X4D: &[WeightsSpec] =
    &[torchvision(&[torchvision!("resnext101_64x4d", "173b62eb")], cut(224, 232, Filter::Bilinear), 83.246)];

pub(in crate::models) const WIDE_RESNET50_2: &[WeightsSpec] = &[
    torchvision(&[torchvision!("wide_resnet50_2", "95faca4d")], TORCHVISION, 78.468),
    timm(
        "ImageNet-1k, RandAugment",
        &[timm!("wide_resnet50_2.racm_in1k")],
        timm_recipe(224, 0.875, Filter::Bicubic),
        None,
        "Apache-2.0",
    ),
];

pub(in crate::models) const WIDE_RESNET101_2: &[WeightsSpec] = &[
    torchvision(&[torchvision!("wide_resnet101_2", "32ee1156")], TORCHVISION, 78.848),
    timm(
        "ImageNet-1k, torchvision's weights",
        &[timm!("wide_resnet101_2.tv_in1k")],
        timm_recipe(224, 0.875, Filter::Bilinear),
        None,
        "BSD-3-Clause",
    ),
];

pub(in crate::models) const REGNET_Y_400MF: &[WeightsSpec] =
    &[torchvision(&[torchvision!("regnet_y_400mf", "c65dace8")], TORCHVISION, 74.046)];

pub(in crate::models) const REGNET_Y_800MF: &[WeightsSpec] =
    &[torchvision(&[torchvision!("regnet_y_800mf", "1b27b58c")], TORCHVISION, 76.42)];

pub(in crate::models) const REGNET_Y_1_6GF: &[WeightsSpec] =
    &[torchvision(&[torchvision!("regnet_y_1_6gf", "b11a554e")], TORCHVISION, 77.95)];

pub(in crate::models) const REGNET_Y_3_2GF: &[WeightsSpec] =
    &[torchvision(&[torchvision!("regnet_y_3_2gf", "b5a9779c")], TORCHVISION, 78.948)];

pub(in crate::models) const REGNET_Y_8GF: &[WeightsSpec] =
    &[torchvision(&[torchvision!("regnet_y_8gf", "d0d0e4a8")], TORCHVISION, 80.032)];

pub(in crate::models) const REGNET_Y_16GF: &[WeightsSpec] =
    &[torchvision(&[torchvision!("regnet_y_16gf", "9e6ed7dd")], TORCHVISION, 80.424)];

pub(in crate::models) const REGNET_Y_32GF: &[WeightsSpec] =
    &[torchvision(&[torchvision!("regnet_y_32gf", "4dee3f7a")], TORCHVISION, 80.878)];

pub(in crate::models) const REGNET_X_400MF: &[WeightsSpec] =
    &[torchvision(&[torchvision!("regnet_x_400mf", "adf1edd5")], TORCHVISION, 72.834)];

pub(in crate::models) const REGNET_X_800MF: &[WeightsSpec] =
    &[torchvision(&[torchvision!("regnet_x_800mf", "ad17e45c")], TORCHVISION, 75.212)];

pub(in crate::models) const REGNET_X_1_6GF: &[WeightsSpec] =
    &[torchvision(&[torchvision!("regnet_x_1_6gf", "e3633e7f")], TORCHVISION, 77.04)];

pub(in crate::models) const REGNET_X_3_2GF: &[WeightsSpec] =
    &[torchvision(&[torchvision!("regnet_x_3_2gf", "f342aeae")], TORCHVISION, 78.364)];

pub(in crate::models) const REGNET_X_8GF: &[WeightsSpec] =
    &[torchvision(&[torchvision!("regnet_x_8gf", "03ceed89")], TORCHVISION, 79.344)];

pub(in crate::models) const REGNET_X_16GF: &[WeightsSpec] =
    &[torchvision(&[torchvision!("regnet_x_16gf", "2007eb11")], TORCHVISION, 80.058)];

pub(in crate::models) const REGNET_X_32GF: &[WeightsSpec] =
    &[torchvision(&[torchvision!("regnet_x_32gf", "9d47f8d0")], TORCHVISION, 80.622)];
