//! The published weights of every model that the binary does not carry: where they lie, their hashes, their recipes,
//! licences and accuracies. One row for each library, the default first.
//!
//! Where the facts stand:
//!
//! * torchvision: `*_Weights.IMAGENET1K_V1` of `torchvision.models` 0.29 (`url`, whose name ends in the first digits of
//!   the SHA-256; `transforms`; `acc@1` of `meta`). The licence is the package's.
//! * timm: `timm.get_pretrained_cfg(name)` 1.0.31 (`hf_hub_id` or `url`, `mean`, `std`, `crop_pct`, `interpolation`,
//!   `input_size`, `license`); top-1 from `results/results-imagenet.csv` of its repository, left out where that was
//!   measured at another size than the recipe's.
//! * Keras: `keras.applications` 3.15 (URLs and MD5 in its sources; `preprocess_input`); top-1 from the table at
//!   keras.io/api/applications, which was measured on centre crops and not, as the recipe and notebooks have it, on
//!   `load_img(target_size=…)`. Licences from the section "License" of each model in the documentation of Keras 2:
//!   VGG's weights are Oxford's (CC-BY), ResNet's Kaiming He's (MIT), ResNet v2's Facebook's (BSD), Inception's and
//!   MobileNet's Google's (Apache), DenseNet's its authors' (BSD 3-clause), Xception's Keras' own (MIT). Those of
//!   EfficientNet and MobileNetV3 were converted from Google's (github.com/tensorflow/tpu,
//!   github.com/tensorflow/models: Apache).

use super::spec::{FileSpec, Hash, Source, WeightsSpec};
use crate::image::{ChannelOrder, Filter, Fit, Preset, Recipe};

/// Mean and standard deviation of ImageNet's pixels divided by 255: torchvision, timm, Keras' `torch` mode.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// torchvision's `ImageClassification(crop_size=224)`: short side to 256, bilinear with antialiasing, centre crop.
const TORCHVISION: Recipe = Recipe {
    size: [224; 2],
    fit: Fit::Crop,
    filter: Filter::Bilinear,
    antialias: true,
    crop_pct: 0.875,
    channels: ChannelOrder::Rgb,
    divisor: 255.0,
    mean: MEAN,
    std: STD,
};

/// The same for Inception v3: short side to 342.
const TORCHVISION_299: Recipe = Recipe { size: [299; 2], crop_pct: 299.0 / 342.0, ..TORCHVISION };

/// timm's A1 recipe: short side to 235, bicubic.
const TIMM_A1: Recipe = Recipe { filter: Filter::Bicubic, crop_pct: 0.95, ..TORCHVISION };

/// timm's Inception v3: short side to 341, bicubic, [-1, 1].
const TIMM_INCEPTION: Recipe =
    Recipe { size: [299; 2], filter: Filter::Bicubic, mean: [0.5; 3], std: [0.5; 3], ..TORCHVISION };

/// timm's `legacy_xception`: short side to 333.
const TIMM_XCEPTION: Recipe = Recipe { crop_pct: 0.8975, ..TIMM_INCEPTION };

/// `load_img(target_size=(224, 224))` and `preprocess_input` in `caffe` mode: BGR less its mean.
const KERAS_CAFFE: Recipe = Recipe {
    size: [224; 2],
    fit: Fit::Stretch,
    filter: Filter::Nearest,
    antialias: true,
    crop_pct: 1.0,
    channels: ChannelOrder::Bgr,
    divisor: 1.0,
    mean: [103.939, 116.779, 123.68],
    std: [1.0; 3],
};

/// The same in `tf` mode: `v / 127.5 - 1`.
const KERAS_TF: Recipe = Recipe { channels: ChannelOrder::Rgb, divisor: 127.5, mean: [1.0; 3], ..KERAS_CAFFE };

/// The same at 299 pixels.
const KERAS_TF_299: Recipe = Recipe { size: [299; 2], ..KERAS_TF };

/// The same in `torch` mode.
const KERAS_TORCH: Recipe = Recipe { channels: ChannelOrder::Rgb, divisor: 255.0, mean: MEAN, std: STD, ..KERAS_CAFFE };

/// The recipe that most networks of a library have; Keras has three, and none is that of most.
pub(crate) fn usual(preset: Preset) -> Option<Recipe> {
    match preset {
        Preset::Torchvision => Some(TORCHVISION),
        Preset::Timm => Some(Recipe { filter: Filter::Bicubic, ..TORCHVISION }),
        Preset::Keras => None,
    }
}

/// torch hub writes the beginning of the SHA-256 into the file's name.
macro_rules! torchvision {
    ($name:literal, $hash:literal) => {
        FileSpec {
            url: concat!("https://download.pytorch.org/models/", $name, "-", $hash, ".pth"),
            name: concat!($name, "-", $hash, ".pth"),
            hash: Hash::Sha256($hash),
            top: true,
        }
    };
}

/// A repository of the hub; its hashes are told when a file is asked for.
macro_rules! timm {
    ($tag:literal) => {
        FileSpec {
            url: concat!("https://huggingface.co/timm/", $tag, "/resolve/main/model.safetensors"),
            name: "model.safetensors",
            hash: Hash::Unknown,
            top: true,
        }
    };
}

/// The two files of an EfficientNet of Keras, each with its MD5.
macro_rules! keras_efficientnet {
    ($model:literal, $full:literal, $bare:literal) => {
        &[
            keras_efficientnet!(concat!("efficientnet", $model, ".h5"), $full, true),
            keras_efficientnet!(concat!("efficientnet", $model, "_notop.h5"), $bare, false),
        ]
    };
    ($name:expr, $hash:literal, $top:literal) => {
        FileSpec {
            url: concat!("https://storage.googleapis.com/keras-applications/", $name),
            name: $name,
            hash: Hash::Md5($hash),
            top: $top,
        }
    };
}

/// A folder of `keras-applications`: the file with the classifier on top and the one without, each with its MD5.
macro_rules! keras {
    ($folder:literal, v3 $size:literal, $full:literal, $bare:literal) => {
        &[
            keras!($folder, concat!("weights_mobilenet_v3_", $size, "_224_1.0_float.h5"), Hash::Md5($full), true),
            keras!(
                $folder,
                concat!("weights_mobilenet_v3_", $size, "_224_1.0_float_no_top_v2.h5"),
                Hash::Md5($bare),
                false
            ),
        ]
    };
    ($folder:literal, $model:literal, $full:literal, $bare:literal) => {
        &[
            keras!($folder, concat!($model, "_weights_tf_dim_ordering_tf_kernels.h5"), Hash::Md5($full), true),
            keras!($folder, concat!($model, "_weights_tf_dim_ordering_tf_kernels_notop.h5"), Hash::Md5($bare), false),
        ]
    };
    ($folder:literal, $name:expr, $hash:expr, $top:literal) => {
        FileSpec {
            url: concat!("https://storage.googleapis.com/tensorflow/keras-applications/", $folder, "/", $name),
            name: $name,
            hash: $hash,
            top: $top,
        }
    };
}

const fn torchvision(file: &'static [FileSpec], recipe: Recipe, top1: f64) -> WeightsSpec {
    let about = "ImageNet-1k, torchvision's IMAGENET1K_V1";
    row(Source::Torchvision, about, file, recipe, Some(top1), "BSD-3-Clause")
}

const fn timm(
    about: &'static str,
    file: &'static [FileSpec],
    recipe: Recipe,
    top1: Option<f64>,
    licence: &'static str,
) -> WeightsSpec {
    row(Source::Timm, about, file, recipe, top1, licence)
}

const fn keras(files: &'static [FileSpec], recipe: Recipe, top1: f64, licence: &'static str) -> WeightsSpec {
    row(Source::Keras, "ImageNet-1k, keras.applications", files, recipe, Some(top1), licence)
}

const fn row(
    source: Source,
    about: &'static str,
    files: &'static [FileSpec],
    recipe: Recipe,
    top1: Option<f64>,
    licence: &'static str,
) -> WeightsSpec {
    let name = match source {
        Source::Keras => "keras",
        Source::Torchvision => "torchvision",
        Source::Timm => "timm",
    };
    WeightsSpec { name, source, about, files, sha256: None, recipe, classes: 1000, top1, licence }
}

pub(super) const ALEXNET: &[WeightsSpec] =
    &[torchvision(&[torchvision!("alexnet-owt", "7be5be79")], TORCHVISION, 56.522)];

pub(super) const VGG11: &[WeightsSpec] = &[torchvision(&[torchvision!("vgg11", "8a719046")], TORCHVISION, 69.02)];

pub(super) const VGG13: &[WeightsSpec] = &[torchvision(&[torchvision!("vgg13", "19584684")], TORCHVISION, 69.928)];

pub(super) const VGG16: &[WeightsSpec] = &[
    keras(
        keras!("vgg16", "vgg16", "64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"),
        KERAS_CAFFE,
        71.3,
        "CC-BY-4.0",
    ),
    torchvision(&[torchvision!("vgg16", "397923af")], TORCHVISION, 71.592),
    timm("ImageNet-1k, torchvision's weights", &[timm!("vgg16.tv_in1k")], TORCHVISION, Some(71.592), "BSD-3-Clause"),
];

pub(super) const VGG19: &[WeightsSpec] = &[
    keras(
        keras!("vgg19", "vgg19", "cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"),
        KERAS_CAFFE,
        71.3,
        "CC-BY-4.0",
    ),
    torchvision(&[torchvision!("vgg19", "dcbb9e9d")], TORCHVISION, 72.376),
    timm("ImageNet-1k, torchvision's weights", &[timm!("vgg19.tv_in1k")], TORCHVISION, Some(72.378), "BSD-3-Clause"),
];

pub(super) const VGG11_BN: &[WeightsSpec] = &[torchvision(&[torchvision!("vgg11_bn", "6002323d")], TORCHVISION, 70.37)];

pub(super) const VGG13_BN: &[WeightsSpec] =
    &[torchvision(&[torchvision!("vgg13_bn", "abd245e5")], TORCHVISION, 71.586)];

pub(super) const VGG16_BN: &[WeightsSpec] = &[
    torchvision(&[torchvision!("vgg16_bn", "6c64b313")], TORCHVISION, 73.36),
    timm("ImageNet-1k, torchvision's weights", &[timm!("vgg16_bn.tv_in1k")], TORCHVISION, Some(73.37), "BSD-3-Clause"),
];

pub(super) const VGG19_BN: &[WeightsSpec] =
    &[torchvision(&[torchvision!("vgg19_bn", "c79401a0")], TORCHVISION, 74.218)];

pub(super) const GOOGLENET: &[WeightsSpec] =
    &[torchvision(&[torchvision!("googlenet", "1378be20")], TORCHVISION, 69.778)];

pub(super) const INCEPTION_V3: &[WeightsSpec] = &[
    keras(
        keras!("inception_v3", "inception_v3", "9a0d58056eeedaa3f26cb7ebd46da564", "bcbd6486424b2319ff4ef7d526e38f63"),
        KERAS_TF_299,
        77.9,
        "Apache-2.0",
    ),
    torchvision(&[torchvision!("inception_v3_google", "0cc3c7bd")], TORCHVISION_299, 77.294),
    timm(
        "ImageNet-1k, torchvision's weights",
        &[timm!("inception_v3.tv_in1k")],
        TIMM_INCEPTION,
        Some(77.434),
        "Apache-2.0",
    ),
];

pub(super) const RESNET18: &[WeightsSpec] = &[
    torchvision(&[torchvision!("resnet18", "f37072fd")], TORCHVISION, 69.758),
    timm("ImageNet-1k, ResNet Strikes Back A1", &[timm!("resnet18.a1_in1k")], TIMM_A1, None, "Apache-2.0"),
];

pub(super) const RESNET34: &[WeightsSpec] = &[
    torchvision(&[torchvision!("resnet34", "b627a593")], TORCHVISION, 73.314),
    timm("ImageNet-1k, ResNet Strikes Back A1", &[timm!("resnet34.a1_in1k")], TIMM_A1, None, "Apache-2.0"),
];

pub(super) const RESNET50: &[WeightsSpec] = &[
    keras(
        keras!("resnet", "resnet50", "2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"),
        KERAS_CAFFE,
        74.9,
        "MIT",
    ),
    torchvision(&[torchvision!("resnet50", "0676ba61")], TORCHVISION, 76.13),
    timm("ImageNet-1k, ResNet Strikes Back A1", &[timm!("resnet50.a1_in1k")], TIMM_A1, None, "Apache-2.0"),
];

pub(super) const RESNET101: &[WeightsSpec] = &[
    keras(
        keras!("resnet", "resnet101", "f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"),
        KERAS_CAFFE,
        76.4,
        "MIT",
    ),
    torchvision(&[torchvision!("resnet101", "63fe2227")], TORCHVISION, 77.374),
];

pub(super) const RESNET152: &[WeightsSpec] = &[
    keras(
        keras!("resnet", "resnet152", "100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
        KERAS_CAFFE,
        76.6,
        "MIT",
    ),
    torchvision(&[torchvision!("resnet152", "394f9c45")], TORCHVISION, 78.312),
];

pub(super) const RESNET50V2: &[WeightsSpec] = &[keras(
    keras!("resnet", "resnet50v2", "3ef43a0b657b3be2300d5770ece849e0", "fac2f116257151a9d068a22e544a4917"),
    KERAS_TF,
    76.0,
    "BSD-3-Clause",
)];

pub(super) const RESNET101V2: &[WeightsSpec] = &[keras(
    keras!("resnet", "resnet101v2", "6343647c601c52e1368623803854d971", "c0ed64b8031c3730f411d2eb4eea35b5"),
    KERAS_TF,
    77.2,
    "BSD-3-Clause",
)];

pub(super) const RESNET152V2: &[WeightsSpec] = &[keras(
    keras!("resnet", "resnet152v2", "a49b44d1979771252814e80f8ec446f9", "ed17cf2e0169df9d443503ef94b23b33"),
    KERAS_TF,
    78.0,
    "BSD-3-Clause",
)];

pub(super) const XCEPTION: &[WeightsSpec] = &[
    keras(
        keras!("xception", "xception", "0a58e3b7378bc2990ea3b43d5981f1f6", "b0042744bf5b25fce3cb969f33bebb97"),
        KERAS_TF_299,
        79.0,
        "MIT",
    ),
    timm(
        "ImageNet-1k, Keras' weights converted to PyTorch",
        &[FileSpec {
            url: "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene/xception-43020ad28.pth",
            name: "xception-43020ad28.pth",
            hash: Hash::Sha256("43020ad28"),
            top: true,
        }],
        TIMM_XCEPTION,
        Some(79.04),
        "Apache-2.0",
    ),
];

pub(super) const MOBILENET_V2: &[WeightsSpec] = &[
    keras(
        &[
            keras!("mobilenet_v2", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5", Hash::Unknown, true),
            keras!(
                "mobilenet_v2",
                "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
                Hash::Unknown,
                false
            ),
        ],
        KERAS_TF,
        71.3,
        "Apache-2.0",
    ),
    torchvision(&[torchvision!("mobilenet_v2", "b0353104")], TORCHVISION, 71.878),
];

pub(super) const DENSENET121: &[WeightsSpec] = &[
    keras(
        keras!("densenet", "densenet121", "9d60b8095a5708f2dcce2bca79d332c7", "30ee3e1110167f948a6b9946edeeb738"),
        KERAS_TORCH,
        75.0,
        "BSD-3-Clause",
    ),
    torchvision(&[torchvision!("densenet121", "a639ec97")], TORCHVISION, 74.434),
];

pub(super) const DENSENET161: &[WeightsSpec] =
    &[torchvision(&[torchvision!("densenet161", "8d451a50")], TORCHVISION, 77.138)];

pub(super) const DENSENET169: &[WeightsSpec] = &[
    keras(
        keras!("densenet", "densenet169", "d699b8f76981ab1b30698df4c175e90b", "b8c4d4c20dd625c148057b9ff1c1176b"),
        KERAS_TORCH,
        76.2,
        "BSD-3-Clause",
    ),
    torchvision(&[torchvision!("densenet169", "b2777c0a")], TORCHVISION, 75.6),
];

pub(super) const DENSENET201: &[WeightsSpec] = &[
    keras(
        keras!("densenet", "densenet201", "1ceb130c1ea1b78c3bf6114dbdfd8807", "c13680b51ded0fb44dff2d8f86ac8bb1"),
        KERAS_TORCH,
        77.3,
        "BSD-3-Clause",
    ),
    torchvision(&[torchvision!("densenet201", "c1103571")], TORCHVISION, 76.896),
];

/// `load_img` to a square and pixels as they are: the network normalises them.
const fn raw(side: usize) -> Recipe {
    Recipe { size: [side; 2], channels: ChannelOrder::Rgb, mean: [0.0; 3], ..KERAS_CAFFE }
}

/// torchvision's `ImageClassification(crop_size, resize_size, interpolation)`.
const fn cut(crop: usize, resize: usize, filter: Filter) -> Recipe {
    Recipe { size: [crop; 2], crop_pct: crop as f64 / resize as f64, filter, ..TORCHVISION }
}

/// timm's, with the mean and deviation of ImageNet.
const fn timm_recipe(side: usize, crop_pct: f64, filter: Filter) -> Recipe {
    Recipe { size: [side; 2], crop_pct, filter, ..TORCHVISION }
}

mod convnext;
mod efficient;
mod resnet_like;

pub(super) use convnext::*;
pub(super) use efficient::*;
pub(super) use resnet_like::*;

#[cfg(test)]
mod tests;
