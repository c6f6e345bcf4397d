//! EfficientNet (Tan and Le 2019, arXiv:1905.11946), B0 to B7, after
//! * Keras: keras/src/applications/efficientnet.py, which takes pixels from 0 to 255 and normalises them in the
//!   network;
//! * torchvision: torchvision/models/efficientnet.py;
//! * timm: `efficientnet_b0` … in timm/models/efficientnet.py, and `tf_efficientnet_b0` …, Google's weights with
//!   TensorFlow's `SAME` padding.
//!
//! EfficientNet-Lite is the same network without squeeze-and-excitation and with ReLU6, which Google released for
//! mobile devices (github.com/tensorflow/tpu, `efficientnet/lite`). Layer names, block strings and constants are those
//! of timm's `tf_efficientnet_lite0` (`_gen_efficientnet_lite`).

use super::builder::Conv;
use super::graph::{Activation, Graph, GraphError};
use super::inverted::{Inverted, Names, Part, Squeeze, Stage, divisible_by_eight, stage, timm, torchvision};
use super::spec::{BuildOptions, Source};

/// Batch-norm epsilon of the TensorFlow originals, and PyTorch's default.
pub(super) const EPS: f64 = 1e-3;
pub(super) const TORCH_EPS: f64 = 1e-5;
/// Channels after the stem and before the classifier.
const ENDS: [usize; 2] = [32, 1280];
/// Mean and standard deviation of ImageNet's pixels.
const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const STD: [f64; 3] = [0.229, 0.224, 0.225];

/// B0 and Lite0.
const STAGES: [Stage; 7] = [
    stage(1, 3, 1, 1, 16),
    stage(2, 3, 2, 6, 24),
    stage(2, 5, 2, 6, 40),
    stage(3, 3, 2, 6, 80),
    stage(3, 5, 1, 6, 112),
    stage(4, 5, 2, 6, 192),
    stage(1, 3, 1, 6, 320),
];

/// Multipliers of width and depth: B0 to B7. Lite0 to Lite4 have those of B0 to B4.
pub(super) const SCALES: [[f64; 2]; 8] =
    [[1.0, 1.0], [1.0, 1.1], [1.1, 1.2], [1.2, 1.4], [1.4, 1.8], [1.6, 2.2], [1.8, 2.6], [2.0, 3.1]];

/// The settings in which networks of inverted residuals differ.
pub(super) struct Variant<'a> {
    pub stages: &'a [Stage],
    /// Channels after the stem and before the classifier.
    pub ends: [usize; 2],
    pub activation: Activation,
    /// Batch-norm epsilon.
    pub eps: f64,
    /// TensorFlow's `SAME` padding in timm.
    pub same: bool,
    /// Factors and offsets with which Keras' network normalises pixels.
    pub rescale: [[f64; 3]; 2],
    /// Whether Keras pads in layers of its own.
    pub pads: bool,
}

/// EfficientNet-B`K`: B0 has 5.3 M parameters and 0.4 G multiply-accumulates at 224 × 224, B7 66 M and 37 G at 600 ×
/// 600; the last feature map has 1280 to 2560 channels.
pub(super) fn b<const K: usize>(options: &BuildOptions) -> Result<Graph, GraphError> {
    let eps = match options.source {
        Source::Keras => EPS,
        // the weights of B5 to B7 are TensorFlow's
        Source::Torchvision if K >= 5 => EPS,
        _ => TORCH_EPS,
    };
    efficientnet(options, SCALES[K], eps, false)
}

/// timm's `tf_efficientnet_b0` …: TensorFlow's padding and epsilon.
pub(super) fn tf_b<const K: usize>(options: &BuildOptions) -> Result<Graph, GraphError> {
    efficientnet(options, SCALES[K], EPS, true)
}

/// EfficientNet-Lite`K`: Lite0 has 4.65 M parameters and 0.4 G multiply-accumulates at 224 × 224, Lite4 13 M and 4.0 G
/// at 380 × 380; feature map `bn2` of 1280 channels. The channels of stem and head, and the repeats of the first and
/// last stage, do not scale.
pub(super) fn lite<const K: usize>(options: &BuildOptions) -> Result<Graph, GraphError> {
    let mut stages = scaled(&STAGES, SCALES[K], divisible_by_eight);
    let last = stages.len() - 1;
    (stages[0].repeats, stages[last].repeats) = (1, 1);
    let (activation, rescale) = (Activation::Relu6, imagenet(options));
    network(options, &Variant { stages: &stages, ends: ENDS, activation, eps: EPS, same: true, rescale, pads: false })
}

fn efficientnet(options: &BuildOptions, scale: [f64; 2], eps: f64, same: bool) -> Result<Graph, GraphError> {
    let stages = STAGES.map(|stage| Stage { squeezes: true, ..stage });
    let stages = scaled(&stages, scale, divisible_by_eight);
    let ends = ENDS.map(|channels| divisible_by_eight(channels as f64 * scale[0]));
    let (activation, rescale) = (Activation::Silu, imagenet(options));
    network(options, &Variant { stages: &stages, ends, activation, eps, same, rescale, pads: true })
}

/// `stages` with channels and repeats multiplied by width and depth; channels are `rounded`, repeats rounded up.
pub(super) fn scaled(stages: &[Stage], [width, depth]: [f64; 2], rounded: fn(f64) -> usize) -> Vec<Stage> {
    let scale = |stage: &Stage| Stage {
        out: rounded(stage.out as f64 * width),
        repeats: (stage.repeats as f64 * depth).ceil() as usize,
        ..*stage
    };
    stages.iter().map(scale).collect()
}

/// Factors and offsets that normalise pixels from 0 to 255 by ImageNet's mean and deviation; a single channel gets the
/// means of the three.
pub(super) fn imagenet(options: &BuildOptions) -> [[f64; 3]; 2] {
    let each = |values: [f64; 3]| if options.channels == 3 { values } else { [values.iter().sum::<f64>() / 3.0; 3] };
    [each(STD.map(|std| 1.0 / (255.0 * std))), each(std::array::from_fn(|i| -MEAN[i] / STD[i]))]
}

/// The network under the names of its library. Its feature map is Keras' `top_activation`, torchvision's `features` and
/// timm's `bn2`.
pub(super) fn network(options: &BuildOptions, variant: &Variant) -> Result<Graph, GraphError> {
    let Variant { stages, ends: [stem, head], activation, eps, same, rescale, pads } = *variant;
    let source = options.source;
    let (mut net, mut x) = Inverted::new(options, eps, same, [activation, Activation::Sigmoid]);
    let first = Conv::new(stem).kernel(3).stride(2);
    let mut first_padded = net.padded(first, 3);
    if source == Source::Keras {
        x = net.g.rescale("rescaling", x, rescale[0], rescale[1]);
        if pads {
            x = net.g.correct_pad("stem_conv_pad", x, 3);
            first_padded = first;
        }
    }
    let last = format!("features.{}", stages.len() + 1);
    let [stem_names, head_names] = match source {
        Source::Keras => ["stem", "top"].map(|at| {
            let [conv, norm, activation] = ["conv", "bn", "activation"].map(|part| format!("{at}_{part}"));
            Part::new(&conv, &norm, &activation)
        }),
        Source::Torchvision => ["features.0", &last].map(|module| Part::sequence(module, 0).module(module)),
        _ => [["conv_stem", "bn1"], ["conv_head", "bn2"]].map(|[conv, norm]| Part::new(conv, norm, "")),
    };
    x = net.part(&stem_names, x, first_padded, Some(activation)); // B0: (112, 112, 32)
    x = net.stages(x, stages, activation, |[s, i, _], block| match source {
        Source::Keras => keras_names(&format!("block{}{}_", s + 1, char::from(b'a' + i as u8)), pads),
        Source::Torchvision => torchvision(&format!("features.{}.{i}", s + 1), block),
        _ => timm(&format!("blocks.{s}.{i}"), block),
    });
    let features = net.part(&head_names, x, Conv::new(head), Some(activation)); // B0: (7, 7, 1280)
    let [pool, classifier] = match source {
        Source::Keras => ["avg_pool", "predictions"],
        Source::Torchvision => ["avgpool", "classifier.1"],
        _ => ["global_pool", "classifier"],
    };
    let x = net.g.global_avg_pool(pool, features);
    let logits = match source {
        Source::Keras => net.g.dense_softmax(classifier, x, options.classes),
        _ => net.g.dense(classifier, x, options.classes),
    };
    net.g.finish(features, logits)
}

/// Keras' names of a block. EfficientNet pads in layers of its own; V2 does not, and calls its depthwise convolution
/// `dwconv2`.
fn keras_names(block: &str, pads: bool) -> Names {
    let at = |name: &str| format!("{block}{name}");
    let part = |conv: &str, norm: &str, activation: &str| Part::new(&at(conv), &at(norm), &at(activation));
    Names {
        expand: part("expand_conv", "expand_bn", "expand_activation"),
        pad: if pads { at("dwconv_pad") } else { String::new() },
        depthwise: part(if pads { "dwconv" } else { "dwconv2" }, "bn", "activation"),
        squeeze: Squeeze {
            pool: at("se_squeeze"),
            reduce: at("se_reduce"),
            expand: at("se_expand"),
            product: at("se_excite"),
            ..Squeeze::default()
        },
        project: part("project_conv", "project_bn", "project_activation"),
        sum: at("add"),
        ..Names::default()
    }
}
