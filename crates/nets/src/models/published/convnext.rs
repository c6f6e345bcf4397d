//! ConvNeXt. Where the facts stand: see [`super`].

use super::*;

pub(in crate::models) const CONVNEXT_TINY: &[WeightsSpec] = &[
    torchvision(&[torchvision!("convnext_tiny", "983f1562")], cut(224, 236, Filter::Bilinear), 82.52),
    timm(
        "ImageNet-1k, fine-tuned from ImageNet-12k",
        &[timm!("convnext_tiny.in12k_ft_in1k")],
        timm_recipe(224, 0.95, Filter::Bicubic),
        None,
        "Apache-2.0",
    ),
];

pub(in crate::models) const CONVNEXT_SMALL: &[WeightsSpec] = &[
    torchvision(&[torchvision!("convnext_small", "0c510722")], cut(224, 230, Filter::Bilinear), 83.616),
    timm(
        "ImageNet-1k, fine-tuned from ImageNet-12k",
        &[timm!("convnext_small.in12k_ft_in1k")],
        timm_recipe(224, 0.95, Filter::Bicubic),
        None,
        "Apache-2.0",
    ),
];

pub(in crate::models) const CONVNEXT_BASE: &[WeightsSpec] = &[
    torchvision(&[torchvision!("convnext_base", "6075fbad")], cut(224, 232, Filter::Bilinear), 84.062),
    timm(
        "ImageNet-1k, its authors' weights",
        &[timm!("convnext_base.fb_in1k")],
        timm_recipe(224, 0.875, Filter::Bicubic),
        None,
        "Apache-2.0",
    ),
];

pub(in crate::models) const CONVNEXT_LARGE: &[WeightsSpec] = &[
    torchvision(&[torchvision!("convnext_large", "ea097f82")], cut(224, 232, Filter::Bilinear), 84.414),
    timm(
        "ImageNet-1k, its authors' weights",
        &[timm!("convnext_large.fb_in1k")],
        timm_recipe(224, 0.875, Filter::Bicubic),
        None,
        "Apache-2.0",
    ),
];
