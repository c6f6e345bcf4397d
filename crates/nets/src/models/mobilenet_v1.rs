//! MobileNet (Howard et al. 2017, arXiv:1704.04861), width 1.0, after keras/src/applications/mobilenet.py and timm's
//! `mobilenetv1_100` in timm/models/efficientnet.py, which pads on all sides and has another epsilon.

use super::builder::{Builder, Conv};
use super::efficientnet::{EPS, TORCH_EPS};
use super::graph::{Activation, FlattenOrder, Graph, GraphError};
use super::spec::{BuildOptions, Source};

/// Channels after the stem.
const STEM: usize = 32;
/// Output channels and stride of each depthwise-separable convolution.
const BLOCKS: [(usize, usize); 13] = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
];

/// MobileNet: 4.2 M parameters, 0.6 G multiply-accumulates at 224 × 224; feature map `conv_pw_13_relu` of 1024
/// channels, in timm `blocks.4.1`.
pub(super) fn mobilenet(options: &BuildOptions) -> Result<Graph, GraphError> {
    if options.source == Source::Timm {
        return timm(options);
    }
    let (mut g, x) = Builder::of(options); // (224, 224, 3)
    let x = g.conv("conv1", x, Conv::new(STEM).kernel(3).stride(2).same());
    let x = g.batch_norm("conv1_bn", x, EPS);
    let mut x = g.activation("conv1_relu", x, Activation::Relu6); // (112, 112, 32)
    for (k, (out, stride)) in (1..).zip(BLOCKS) {
        let depthwise = Conv::depthwise().kernel(3).stride(stride);
        let depthwise = if stride == 2 {
            x = g.zero_pad(&format!("conv_pad_{k}"), x, [0, 1, 0, 1]);
            depthwise
        } else {
            depthwise.same()
        };
        for (name, conv) in [(format!("conv_dw_{k}"), depthwise), (format!("conv_pw_{k}"), Conv::new(out))] {
            x = g.conv(&name, x, conv);
            x = g.batch_norm(&format!("{name}_bn"), x, EPS);
            x = g.activation(&format!("{name}_relu"), x, Activation::Relu6);
        }
    }
    let features = x; // (7, 7, 1024)
    let x = g.adaptive_avg_pool("global_average_pooling2d", features, 1);
    g.alias("avg_pool", x);
    let x = g.conv("conv_preds", x, Conv::new(options.classes).bias());
    let logits = g.flatten("reshape_2", x, FlattenOrder::ChannelsLast);
    g.softmax("predictions", logits);
    g.finish(features, logits)
}

/// timm's network, in which a block of stride 2 begins a new stage.
fn timm(options: &BuildOptions) -> Result<Graph, GraphError> {
    let (mut g, x) = Builder::of(options); // (224, 224, 3)
    let x = g.conv("conv_stem", x, Conv::new(STEM).kernel(3).stride(2).pad(1));
    let mut x = g.batch_norm_act("bn1", x, TORCH_EPS, Activation::Relu6);
    let (mut stage, mut i) = (0, 0);
    for (out, stride) in BLOCKS {
        if stride == 2 {
            (stage, i) = (stage + 1, 0);
        }
        let name = format!("blocks.{stage}.{i}");
        for (conv, norm, window) in
            [("conv_dw", "bn1", Conv::depthwise().kernel(3).stride(stride).pad(1)), ("conv_pw", "bn2", Conv::new(out))]
        {
            x = g.conv(&format!("{name}.{conv}"), x, window);
            x = g.batch_norm_act(&format!("{name}.{norm}"), x, TORCH_EPS, Activation::Relu6);
        }
        g.alias(&name, x);
        i += 1;
    }
    let features = x; // (7, 7, 1024)
    let x = g.global_avg_pool("global_pool", features);
    g.alias("avg_pool", x);
    let logits = g.dense("classifier", x, options.classes);
    g.finish(features, logits)
}
