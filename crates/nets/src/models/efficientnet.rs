//! EfficientNet (Tan and Le 2019, arXiv:1905.11946), B0 to B7, after
//! * Keras: keras/src/applications/efficientnet.py, which takes pixels from 0 to 255 and normalises them in the
//!   network;
//! * torchvision: torchvision/models/efficientnet.py;
//! * timm: `efficientnet_b0` … in timm/models/efficientnet.py, and `tf_efficientnet_b0` …, Google's weights with
//!   TensorFlow's `SAME` padding.
//!
//! EfficientNet-Lite is the same without squeeze-and-excitation and with ReLU6, as Google released it for devices
//! (github.com/tensorflow/tpu, `efficientnet/lite`). Layer names, block strings and constants are those of timm's
//! `tf_efficientnet_lite0` (`_gen_efficientnet_lite`).

use super::builder::{Builder, Conv};
use super::graph::{Activation, Graph, GraphError, LayerId};
use super::inverted::{Block, Inverted, Names, Part, Squeeze, divisible_by_eight, timm, torchvision};
use super::spec::{BuildOptions, Source};

/// Batch-norm epsilon of the TensorFlow originals, and PyTorch's default.
const EPS: f64 = 1e-3;
const TORCH_EPS: f64 = 1e-5;
/// Channels after the stem and before the classifier: Lite models do not scale either.
const STEM: usize = 32;
const HEAD: usize = 1280;
/// Mean and standard deviation of ImageNet's pixels, which Keras' network has inside.
const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const STD: [f64; 3] = [0.229, 0.224, 0.225];

/// One stage of equal blocks: repeats, kernel, stride of the first, expansion, output channels.
struct Stage {
    repeats: usize,
    kernel: usize,
    stride: usize,
    expand: usize,
    out: usize,
}

const fn stage(repeats: usize, kernel: usize, stride: usize, expand: usize, out: usize) -> Stage {
    Stage { repeats, kernel, stride, expand, out }
}

/// B0 and Lite0: width and depth multiplier 1.0 / 1.0.
const STAGES: [Stage; 7] = [
    stage(1, 3, 1, 1, 16),
    stage(2, 3, 2, 6, 24),
    stage(2, 5, 2, 6, 40),
    stage(3, 3, 2, 6, 80),
    stage(3, 5, 1, 6, 112),
    stage(4, 5, 2, 6, 192),
    stage(1, 3, 1, 6, 320),
];

/// Multipliers of width and depth: B0 to B7.
const SCALES: [[f64; 2]; 8] =
    [[1.0, 1.0], [1.0, 1.1], [1.1, 1.2], [1.2, 1.4], [1.4, 1.8], [1.6, 2.2], [1.8, 2.6], [2.0, 3.1]];

/// EfficientNet-B`K`: B0 has 5.3 M parameters and 0.4 G multiply-accumulates at 224 × 224, B7 66 M and 37 G at 600 ×
/// 600; the last feature map has 1280 to 2560 channels.
pub(super) fn b<const K: usize>(options: &BuildOptions) -> Result<Graph, GraphError> {
    let eps = match options.source {
        Source::Keras => EPS,
        // the weights of B5 and more are TensorFlow's
        Source::Torchvision if K >= 5 => EPS,
        Source::Torchvision | Source::Timm => TORCH_EPS,
    };
    efficientnet(options, SCALES[K], eps, false)
}

/// timm's `tf_efficientnet_b0` …: TensorFlow's padding and epsilon.
pub(super) fn tf_b<const K: usize>(options: &BuildOptions) -> Result<Graph, GraphError> {
    match options.source {
        Source::Timm => efficientnet(options, SCALES[K], EPS, true),
        _ => Err(options.refuse("EfficientNet under timm's name of it")),
    }
}

fn efficientnet(options: &BuildOptions, [width, depth]: [f64; 2], eps: f64, same: bool) -> Result<Graph, GraphError> {
    let (source, act) = (options.source, Activation::Silu);
    let (mut net, mut x) = Inverted::new(options, eps, same, [act, Activation::Sigmoid]);
    let wide = |channels: usize| divisible_by_eight(channels as f64 * width);
    if source == Source::Keras {
        // grey pictures get the means of the three
        let each =
            |values: [f64; 3]| if options.channels == 3 { values } else { [values.iter().sum::<f64>() / 3.0; 3] };
        let (scale, shift) = (STD.map(|std| 1.0 / (255.0 * std)), std::array::from_fn(|i| -MEAN[i] / STD[i]));
        x = net.g.rescale("rescaling", x, each(scale), each(shift));
        x = net.correct_pad("stem_conv_pad", x, 3);
    }
    let stem = Conv::new(wide(STEM)).kernel(3).stride(2);
    let stem = if source == Source::Keras { stem } else { net.padded(stem, 3) };
    x = net.part(&stem_names(source), x, stem, Some(act)); // B0: (112, 112, 32)
    let mut channels = wide(STEM);
    for (s, stage) in STAGES.iter().enumerate() {
        let (out, repeats) = (wide(stage.out), (stage.repeats as f64 * depth).ceil() as usize);
        for i in 0..repeats {
            let block = Block {
                kernel: stage.kernel,
                stride: if i == 0 { stage.stride } else { 1 },
                inner: channels * stage.expand,
                expands: stage.expand > 1,
                out,
                squeezed: Some(channels / 4),
                activation: act,
            };
            let names = match source {
                Source::Keras => keras_names(&format!("block{}{}_", s + 1, char::from(b'a' + i as u8))),
                Source::Torchvision => torchvision(&format!("features.{}.{i}", s + 1), &block),
                Source::Timm => timm(&format!("blocks.{s}.{i}"), &block),
            };
            x = net.block(&names, x, &block);
            channels = out;
        }
    }
    let features = net.part(&head_names(source), x, Conv::new(wide(HEAD)), Some(act)); // B0: (7, 7, 1280)
    let [pool, classifier] = match source {
        Source::Keras => ["avg_pool", "predictions"],
        Source::Torchvision => ["avgpool", "classifier.1"],
        Source::Timm => ["global_pool", "classifier"],
    };
    let x = net.g.global_avg_pool(pool, features);
    let logits = match source {
        Source::Keras => net.g.dense_softmax(classifier, x, options.classes),
        _ => net.g.dense(classifier, x, options.classes),
    };
    net.g.finish(features, logits)
}

fn part(conv: &str, norm: &str, activation: &str, module: Option<&str>) -> Part {
    let [conv, norm, activation] = [conv, norm, activation].map(str::to_string);
    Part { conv, norm, activation, module: module.map(str::to_string) }
}

fn stem_names(source: Source) -> Part {
    match source {
        Source::Keras => part("stem_conv", "stem_bn", "stem_activation", None),
        Source::Torchvision => part("features.0.0", "features.0.1", "features.0.2", Some("features.0")),
        Source::Timm => part("conv_stem", "bn1", "", None),
    }
}

fn head_names(source: Source) -> Part {
    match source {
        Source::Keras => part("top_conv", "top_bn", "top_activation", None),
        Source::Torchvision => part("features.8.0", "features.8.1", "features.8.2", Some("features.8")),
        Source::Timm => part("conv_head", "bn2", "", None),
    }
}

fn keras_names(block: &str) -> Names {
    let at = |name: &str| format!("{block}{name}");
    let part = |conv: &str, norm: &str, activation: &str| part(&at(conv), &at(norm), &at(activation), None);
    Names {
        expand: part("expand_conv", "expand_bn", "expand_activation"),
        pad: at("dwconv_pad"),
        depthwise: part("dwconv", "bn", "activation"),
        squeeze: Squeeze {
            pool: at("se_squeeze"),
            reduce: at("se_reduce"),
            activation: None,
            expand: at("se_expand"),
            gate: None,
            product: at("se_excite"),
        },
        project: part("project_conv", "project_bn", ""),
        sum: at("add"),
        module: None,
    }
}

/// EfficientNet-Lite0: 4.65 M parameters, 0.4 G multiply-accumulates at 224 × 224; feature map `bn2` of 1280 channels.
pub(super) fn lite0(options: &BuildOptions) -> Result<Graph, GraphError> {
    let [h, w] = options.size;
    let (mut g, x) = Builder::new(options.channels, h, w); // (224, 224, 3)
    let x = g.conv("conv_stem", x, Conv::new(STEM).kernel(3).stride(2).same());
    let mut x = g.batch_norm_act("bn1", x, EPS, Activation::Relu6); // (112, 112, 32)
    let mut channels = STEM;
    for (s, stage) in STAGES.iter().enumerate() {
        for i in 0..stage.repeats {
            let stride = if i == 0 { stage.stride } else { 1 };
            x = block(&mut g, &format!("blocks.{s}.{i}"), x, stage, stride, channels);
            channels = stage.out;
        }
    }
    let x = g.conv("conv_head", x, Conv::new(HEAD)); // (7, 7, 320) → (7, 7, 1280)
    let features = g.batch_norm_act("bn2", x, EPS, Activation::Relu6);
    let x = g.global_avg_pool("global_pool", features); // (1280,)
    let logits = g.dense("classifier", x, options.classes);
    g.finish(features, logits)
}

/// Inverted residual: expand 1×1 → depthwise → project 1×1 (linear), and the input added where the shapes agree.
/// Without expansion it is timm's depthwise-separable block, whose projection is called `conv_pw`.
fn block(g: &mut Builder, name: &str, input: LayerId, stage: &Stage, stride: usize, channels: usize) -> LayerId {
    let at = |part: &str| format!("{name}.{part}");
    let depthwise = Conv::depthwise().kernel(stage.kernel).stride(stride).same();
    let out = if stage.expand == 1 {
        let x = g.conv(&at("conv_dw"), input, depthwise);
        let x = g.batch_norm_act(&at("bn1"), x, EPS, Activation::Relu6);
        let x = g.conv(&at("conv_pw"), x, Conv::new(stage.out));
        g.batch_norm(&at("bn2"), x, EPS)
    } else {
        let x = g.conv(&at("conv_pw"), input, Conv::new(channels * stage.expand));
        let x = g.batch_norm_act(&at("bn1"), x, EPS, Activation::Relu6);
        let x = g.conv(&at("conv_dw"), x, depthwise);
        let x = g.batch_norm_act(&at("bn2"), x, EPS, Activation::Relu6);
        let x = g.conv(&at("conv_pwl"), x, Conv::new(stage.out));
        g.batch_norm(&at("bn3"), x, EPS)
    };
    if stride == 1 && channels == stage.out && stage.expand != 1 {
        return g.add(name, out, input);
    }
    g.alias(name, out);
    out
}
