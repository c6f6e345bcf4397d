//! MobileNetV3 (Howard et al. 2019, arXiv:1905.02244), width 1.0, after
//! * Keras: keras/src/applications/mobilenet_v3.py, which takes pixels from 0 to 255 and brings them to ±1 in the
//!   network;
//! * torchvision: torchvision/models/mobilenetv3.py;
//! * timm: `mobilenetv3_small_100` and `mobilenetv3_large_100` in timm/models/mobilenetv3.py, and their namesakes with
//!   `tf_`, Google's weights with TensorFlow's `SAME` padding.
//!
//! The classifier has a hidden layer after the mean over the map. Features are the output of each library without its
//! classes: in Keras the last map, in the others that hidden layer. Layers to which Keras' source gives no name are
//! named after the layer before: `conv_bn/act`.

use super::builder::Conv;
use super::efficientnet::{EPS, TORCH_EPS};
use super::graph::Activation::{self, HardSwish, Relu};
use super::graph::{FlattenOrder, Graph, GraphError, LayerId};
use super::inverted::{Block, Inverted, Names, Part, Squeeze, divisible_by_eight, timm, torchvision};
use super::spec::{BuildOptions, Source};

/// Channels after the stem.
const STEM: usize = 16;

/// The inverted residuals of one stage: kernel, stride of the first, output channels, inner channels of each, whether
/// they have squeeze-and-excitation, activation.
struct Stage {
    kernel: usize,
    stride: usize,
    out: usize,
    inner: &'static [usize],
    squeezes: bool,
    activation: Activation,
}

const fn stage(
    [kernel, stride, out]: [usize; 3],
    inner: &'static [usize],
    squeezes: bool,
    activation: Activation,
) -> Stage {
    Stage { kernel, stride, out, inner, squeezes, activation }
}

/// Table 1 of the paper, in timm's stages.
const LARGE: &[Stage] = &[
    stage([3, 1, 16], &[16], false, Relu),
    stage([3, 2, 24], &[64, 72], false, Relu),
    stage([5, 2, 40], &[72, 120, 120], true, Relu),
    stage([3, 2, 80], &[240, 200, 184, 184], false, HardSwish),
    stage([3, 1, 112], &[480, 672], true, HardSwish),
    stage([5, 2, 160], &[672, 960, 960], true, HardSwish),
];

/// Table 2.
const SMALL: &[Stage] = &[
    stage([3, 2, 16], &[16], true, Relu),
    stage([3, 2, 24], &[72, 88], false, Relu),
    stage([5, 2, 40], &[96, 240, 240], true, HardSwish),
    stage([5, 1, 48], &[120, 144], true, HardSwish),
    stage([5, 2, 96], &[288, 576, 576], true, HardSwish),
];

/// MobileNetV3-Large, with `SAME` timm's `tf_mobilenetv3_large_100`: last map of 960 channels, hidden layer of 1280.
pub(super) fn large<const SAME: bool>(options: &BuildOptions) -> Result<Graph, GraphError> {
    mobilenet_v3(options, LARGE, [960, 1280], SAME)
}

/// MobileNetV3-Small, with `SAME` timm's `tf_mobilenetv3_small_100`: last map of 576 channels, hidden layer of 1024.
pub(super) fn small<const SAME: bool>(options: &BuildOptions) -> Result<Graph, GraphError> {
    mobilenet_v3(options, SMALL, [576, 1024], SAME)
}

/// The network; `same`: with TensorFlow's padding and epsilon in timm.
fn mobilenet_v3(
    options: &BuildOptions,
    stages: &[Stage],
    [last, hidden]: [usize; 2],
    same: bool,
) -> Result<Graph, GraphError> {
    let source = options.source;
    // torchvision keeps TensorFlow's epsilon
    let eps = if source == Source::Timm && !same { TORCH_EPS } else { EPS };
    let (mut net, mut x) = Inverted::new(options, eps, same, [Relu, Activation::HardSigmoid]);
    if source == Source::Keras {
        x = net.g.rescale("rescaling", x, [1.0 / 127.5; 3], [-1.0; 3]);
    }
    let stem = net.padded(Conv::new(STEM).kernel(3).stride(2), 3);
    let names = match source {
        Source::Keras => Part::new("conv", "conv_bn", "conv_bn/act"),
        Source::Torchvision => Part::sequence("features.0", 0).module("features.0"),
        _ => Part::new("conv_stem", "bn1", ""),
    };
    x = net.part(&names, x, stem, Some(HardSwish)); // (112, 112, 16)
    let mut k = 0;
    for (s, stage) in stages.iter().enumerate() {
        for (i, &inner) in stage.inner.iter().enumerate() {
            let block = Block {
                kernel: stage.kernel,
                stride: if i == 0 { stage.stride } else { 1 },
                inner,
                expands: k > 0,
                out: stage.out,
                squeezed: stage.squeezes.then(|| divisible_by_eight(inner as f64 / 4.0)),
                activation: stage.activation,
                fused: false,
            };
            let names = match source {
                Source::Keras if k == 0 => keras_names("expanded_conv"),
                Source::Keras => keras_names(&format!("expanded_conv_{k}")),
                Source::Torchvision => torchvision(&format!("features.{}", k + 1), &block),
                _ => timm(&format!("blocks.{s}.{i}"), &block),
            };
            x = net.block(&names, x, &block);
            k += 1;
        }
    }
    let torch = format!("features.{}", k + 1);
    let timm_module = format!("blocks.{}.0", stages.len());
    let names = match source {
        Source::Keras => Part::new("conv_1", "conv_1_bn", "conv_1_bn/act"),
        Source::Torchvision => Part::sequence(&torch, 0).module(&torch),
        _ => Part::new(&format!("{timm_module}.conv"), &format!("{timm_module}.bn1"), "").module(&timm_module),
    };
    let map = net.part(&names, x, Conv::new(last), Some(HardSwish)); // (7, 7, 960)
    head(net, options, map, hidden)
}

/// The mean over the map, the hidden layer and the classes.
fn head(mut net: Inverted, options: &BuildOptions, map: LayerId, hidden: usize) -> Result<Graph, GraphError> {
    let g = &mut net.g;
    let (features, logits) = match options.source {
        // both dense layers are convolutions over a map of one position
        Source::Keras => {
            let x = g.adaptive_avg_pool("avg_pool", map, 1);
            let x = g.conv("conv_2", x, Conv::new(hidden).bias());
            let x = g.activation("conv_2/act", x, HardSwish);
            let x = g.conv("logits", x, Conv::new(options.classes).bias());
            let logits = g.flatten("flatten", x, FlattenOrder::ChannelsLast);
            g.softmax("predictions", logits);
            (map, logits)
        }
        Source::Torchvision => {
            let x = g.global_avg_pool("avgpool", map);
            g.alias("features", map);
            let x = g.dense("classifier.0", x, hidden);
            let features = g.activation("classifier.1", x, HardSwish);
            let logits = g.dense("classifier.3", features, options.classes);
            g.alias("classifier", logits);
            (features, logits)
        }
        _ => {
            let x = g.adaptive_avg_pool("global_pool", map, 1);
            let x = g.conv("conv_head", x, Conv::new(hidden).bias());
            let x = g.activation("act2", x, HardSwish);
            let features = g.flatten("flatten", x, FlattenOrder::ChannelsFirst);
            let logits = g.dense("classifier", features, options.classes);
            (features, logits)
        }
    };
    net.g.finish(features, logits)
}

fn keras_names(block: &str) -> Names {
    let at = |name: &str| format!("{block}_{name}");
    let part = |name: &str| {
        let norm = at(&format!("{name}_bn"));
        Part::new(&at(name), &norm, &format!("{norm}/act"))
    };
    Names {
        expand: part("expand"),
        pad: at("depthwise_pad"),
        depthwise: part("depthwise"),
        squeeze: Squeeze {
            pool: at("squeeze_excite_avg_pool"),
            reduce: at("squeeze_excite_conv"),
            activation: Some(at("squeeze_excite_relu")),
            expand: at("squeeze_excite_conv_1"),
            gate: Some(at("squeeze_excite_conv_1/act")),
            product: at("squeeze_excite_mul"),
        },
        project: part("project"),
        sum: at("add"),
        ..Names::default()
    }
}
