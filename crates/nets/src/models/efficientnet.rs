//! EfficientNet-Lite: EfficientNet (Tan and Le 2019, arXiv:1905.11946) without squeeze-and-excitation and with ReLU6, as Google released it
//! for devices (github.com/tensorflow/tpu, `efficientnet/lite`). Layer names, block strings and constants are those of timm's
//! `tf_efficientnet_lite0` (timm/models/efficientnet.py, `_gen_efficientnet_lite`): TensorFlow's `SAME` padding, batch-norm eps 1e-3.

use super::builder::{Builder, Conv};
use super::graph::{Activation, Graph, GraphError, LayerId};
use super::spec::BuildOptions;

/// Batch-norm epsilon of the TensorFlow originals.
const EPS: f64 = 1e-3;
/// Channels after the stem and before the classifier: Lite models do not scale either.
const STEM: usize = 32;
const HEAD: usize = 1280;

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

/// Width and depth multiplier 1.0 / 1.0.
const LITE0: [Stage; 7] = [
    stage(1, 3, 1, 1, 16),
    stage(2, 3, 2, 6, 24),
    stage(2, 5, 2, 6, 40),
    stage(3, 3, 2, 6, 80),
    stage(3, 5, 1, 6, 112),
    stage(4, 5, 2, 6, 192),
    stage(1, 3, 1, 6, 320),
];

/// EfficientNet-Lite0: 4.65 M parameters, 0.4 G multiply-accumulates at 224 × 224; feature map `bn2` of 1280 channels.
pub(super) fn lite0(options: &BuildOptions) -> Result<Graph, GraphError> {
    let [h, w] = options.size;
    let (mut g, x) = Builder::new(options.channels, h, w); // (224, 224, 3)
    let x = g.conv("conv_stem", x, Conv::new(STEM).kernel(3).stride(2).same());
    let mut x = g.batch_norm_act("bn1", x, EPS, Activation::Relu6); // (112, 112, 32)
    let mut channels = STEM;
    for (s, stage) in LITE0.iter().enumerate() {
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

/// Inverted residual: expand 1×1 → depthwise → project 1×1 (linear), and the input added where the shapes agree. Without expansion it is
/// timm's depthwise-separable block, whose projection is called `conv_pw`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::graph::Shape;
    use crate::models::spec::Source;

    fn build(size: usize) -> Graph {
        lite0(&BuildOptions { channels: 3, size: [size, size], classes: 1000, source: Source::Timm }).expect("lite0")
    }

    #[test]
    fn it_has_the_size_that_its_authors_publish() {
        let g = build(224);
        let stored: usize = g.parameters().iter().map(|p| p.shape.iter().product::<usize>()).sum();
        assert_eq!(stored, 4_694_024); // timm's state_dict without num_batches_tracked
        let macs: u64 = g.layers().iter().map(|layer| g.macs_of(layer)).sum();
        assert_eq!(macs / 1_000_000, 385);
    }

    #[test]
    fn blocks_and_modules_are_found_by_their_timm_names() {
        let g = build(224);
        let shape = |name: &str| g.layer(g.find(name).unwrap_or_else(|| panic!("{name}"))).shape;
        assert_eq!(shape("blocks.2.1"), Shape::Map { c: 40, h: 28, w: 28 });
        assert_eq!(shape("blocks.6.0"), Shape::Map { c: 320, h: 7, w: 7 });
        assert_eq!(shape("bn2"), Shape::Map { c: 1280, h: 7, w: 7 });
        assert_eq!(shape("classifier"), Shape::Vector(1000));
    }

    #[test]
    fn other_picture_sizes_are_padded_anew() {
        let g = build(225);
        assert_eq!(g.layer(g.find("bn2").expect("bn2")).shape, Shape::Map { c: 1280, h: 8, w: 8 });
    }
}
