//! The ResNet-50 of CLIP (Radford et al. 2021, arXiv:2103.00020, section 2.4) after timm/models/byobnet.py and
//! timm/layers/attention_pool2d.py, with the same names of layers and tensors; queries, keys and values are one
//! product.
//!
//! It differs from ResNet-50 in its stem of three convolutions, in its strides, each of which is an average pool of 2 ×
//! 2 before a 1 × 1 convolution, and in its end: an attention pool, in which the mean of the last map attends to all
//! positions and to itself. Features are its output after the projection into the space shared with texts.

use super::builder::{Builder, Conv, Pool};
use super::graph::{Activation, Attention, Graph, GraphError, LayerId, PositionResize, RelativeBias, TokenTensors};
use super::resnet::{EXPANSION, STAGES_50, WIDTHS};
use super::spec::BuildOptions;

/// Batch-norm epsilon.
const EPS: f64 = 1e-5;
/// Filters of the convolutions of the stem.
const STEM: [usize; 3] = [32, 32, 64];
/// Pixels of a side that one position of the last map covers.
const STRIDE: usize = 32;
/// Channels of a head.
const HEAD: usize = 64;
/// Width of the space shared with texts.
const FEATURES: usize = 1024;

/// CLIP's RN50: 38.3 M parameters; 1024 features.
pub(super) fn resnet50(options: &BuildOptions) -> Result<Graph, GraphError> {
    let [h, w] = options.size;
    let (mut g, mut x) = Builder::of(options); // (224, 224, 3)
    if h % STRIDE + w % STRIDE > 0 {
        let reason = format!("{h}×{w} pixels are not halved five times; take sides that are multiples of {STRIDE}");
        return Err(GraphError::Invalid { layer: "stem".into(), reason });
    }
    for (i, out) in (1..).zip(STEM) {
        let conv = Conv::new(out).kernel(3).pad(1).stride(if i == 1 { 2 } else { 1 });
        x = conv_norm_act(&mut g, &format!("stem.conv{i}"), x, conv); // (112, 112, 64)
    }
    x = g.pool("stem.pool", x, Pool::avg(2)); // (56, 56, 64)
    g.alias("stem", x);
    for (stage, (blocks, width)) in STAGES_50.into_iter().zip(WIDTHS).enumerate() {
        for block in 0..blocks {
            let down = block == 0 && stage > 0;
            x = bottleneck(&mut g, &format!("stages.{stage}.{block}"), x, width, down);
        }
        g.alias(&format!("stages.{stage}"), x);
    }
    g.alias("stages", x); // (7, 7, 2048)
    g.pools(x);
    let x = attention_pool(&mut g, x);
    let classes = if options.classes > 0 { options.classes } else { FEATURES };
    let logits = g.dense("head.proj", x, classes);
    g.finish(if options.classes > 0 { x } else { logits }, logits)
}

fn conv_norm(g: &mut Builder, name: &str, x: LayerId, conv: Conv) -> LayerId {
    let x = g.conv(&format!("{name}.conv"), x, conv);
    let x = g.batch_norm(&format!("{name}.bn"), x, EPS);
    g.alias(name, x);
    x
}

fn conv_norm_act(g: &mut Builder, name: &str, x: LayerId, conv: Conv) -> LayerId {
    let x = g.conv(&format!("{name}.conv"), x, conv);
    g.batch_norm_act(&format!("{name}.bn"), x, EPS, Activation::Relu)
}

fn bottleneck(g: &mut Builder, name: &str, input: LayerId, width: usize, down: bool) -> LayerId {
    let at = |part: &str| format!("{name}.{part}");
    let x = conv_norm_act(g, &at("conv1_1x1"), input, Conv::new(width));
    let x = conv_norm_act(g, &at("conv2_kxk"), x, Conv::new(width).kernel(3).pad(1));
    let x = if down { g.pool(&at("conv2_kxk.aa"), x, Pool::avg(2)) } else { x };
    let x = conv_norm(g, &at("conv3_1x1"), x, Conv::new(EXPANSION * width));
    let mut shortcut = input;
    if g.shape(input).channels() != EXPANSION * width {
        let pooled = if down { g.pool(&at("shortcut.pool"), input, Pool::avg(2)) } else { input };
        shortcut = conv_norm(g, &at("shortcut.conv"), pooled, Conv::new(EXPANSION * width));
        g.alias(&at("shortcut"), shortcut);
    }
    let x = g.add(&at("add"), x, shortcut);
    let x = g.relu(&at("act"), x);
    g.alias(name, x);
    x
}

/// timm's `AttentionPool2d` without its projection.
fn attention_pool(g: &mut Builder, x: LayerId) -> LayerId {
    let channels = g.shape(x).channels();
    let tensors = TokenTensors {
        class: None,
        registers: None,
        positions: "head.pos_embed",
        class_position: true,
        resize: PositionResize::Antialiased,
    };
    let mean = g.global_avg_pool("head.mean", x); // (2048,)
    let x = g.tokens_after("head.tokens", mean, x, tensors); // (50, 2048)
    let x = g.dense_map("head.qkv", x, 3 * channels);
    let attention = Attention { heads: channels / HEAD, window: None, bias: RelativeBias::None };
    let x = g.attention("head.heads", "head", x, attention);
    g.token("head.drop", x, 0) // (2048,)
}
