//! ConvNeXt. Where the facts stand: see [`super`].

use super::*;

published! {
    CONVNEXT_TINY: torchvision("convnext_tiny", "983f1562", cut(224, 236, Bilinear), 82.52),
        timm("convnext_tiny.in12k_ft_in1k", "fine-tuned from ImageNet-12k", timm_recipe(224, 0.95, Bicubic));
    CONVNEXT_SMALL: torchvision("convnext_small", "0c510722", cut(224, 230, Bilinear), 83.616),
        timm("convnext_small.in12k_ft_in1k", "fine-tuned from ImageNet-12k", timm_recipe(224, 0.95, Bicubic));
    CONVNEXT_BASE: torchvision("convnext_base", "6075fbad", cut(224, 232, Bilinear), 84.062),
        timm("convnext_base.fb_in1k", "its authors' weights", timm_recipe(224, 0.875, Bicubic));
    CONVNEXT_LARGE: torchvision("convnext_large", "ea097f82", cut(224, 232, Bilinear), 84.414),
        timm("convnext_large.fb_in1k", "its authors' weights", timm_recipe(224, 0.875, Bicubic));
}
