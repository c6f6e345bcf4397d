//! ResNeXt, Wide ResNet, RegNet. Where the facts stand: see [`super`].

use super::*;

published! {
    RESNEXT50_32X4D: torchvision("resnext50_32x4d", "7cdf4587", TORCHVISION, 77.618),
        timm("resnext50_32x4d.a1_in1k", "ResNet Strikes Back A1", timm_recipe(224, 0.95, Bicubic));
    RESNEXT101_32X8D: torchvision("resnext101_32x8d", "8ba56ff5", TORCHVISION, 79.312),
        timm("resnext101_32x8d.tv_in1k", "torchvision's weights", timm_recipe(224, 0.875, Bilinear), None,
            "BSD-3-Clause");
    RESNEXT101_64X4D: torchvision("resnext101_64x4d", "173b62eb", cut(224, 232, Bilinear), 83.246);
    WIDE_RESNET50_2: torchvision("wide_resnet50_2", "95faca4d", TORCHVISION, 78.468),
        timm("wide_resnet50_2.racm_in1k", "RandAugment", timm_recipe(224, 0.875, Bicubic));
    WIDE_RESNET101_2: torchvision("wide_resnet101_2", "32ee1156", TORCHVISION, 78.848),
        timm("wide_resnet101_2.tv_in1k", "torchvision's weights", timm_recipe(224, 0.875, Bilinear), None,
            "BSD-3-Clause");
    REGNET_Y_400MF: torchvision("regnet_y_400mf", "c65dace8", TORCHVISION, 74.046);
    REGNET_Y_800MF: torchvision("regnet_y_800mf", "1b27b58c", TORCHVISION, 76.42);
    REGNET_Y_1_6GF: torchvision("regnet_y_1_6gf", "b11a554e", TORCHVISION, 77.95);
    REGNET_Y_3_2GF: torchvision("regnet_y_3_2gf", "b5a9779c", TORCHVISION, 78.948);
    REGNET_Y_8GF: torchvision("regnet_y_8gf", "d0d0e4a8", TORCHVISION, 80.032);
    REGNET_Y_16GF: torchvision("regnet_y_16gf", "9e6ed7dd", TORCHVISION, 80.424);
    REGNET_Y_32GF: torchvision("regnet_y_32gf", "4dee3f7a", TORCHVISION, 80.878);
    REGNET_X_400MF: torchvision("regnet_x_400mf", "adf1edd5", TORCHVISION, 72.834);
    REGNET_X_800MF: torchvision("regnet_x_800mf", "ad17e45c", TORCHVISION, 75.212);
    REGNET_X_1_6GF: torchvision("regnet_x_1_6gf", "e3633e7f", TORCHVISION, 77.04);
    REGNET_X_3_2GF: torchvision("regnet_x_3_2gf", "f342aeae", TORCHVISION, 78.364);
    REGNET_X_8GF: torchvision("regnet_x_8gf", "03ceed89", TORCHVISION, 79.344);
    REGNET_X_16GF: torchvision("regnet_x_16gf", "2007eb11", TORCHVISION, 80.058);
    REGNET_X_32GF: torchvision("regnet_x_32gf", "9d47f8d0", TORCHVISION, 80.622);
}
