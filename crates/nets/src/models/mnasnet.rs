//! MNASNet-B1 (Tan et al. 2018, arXiv:1807.11626) in four widths, after torchvision/models/mnasnet.py.

use super::builder::{Builder, Conv};
use super::graph::{Graph, GraphError, LayerId, Shape};
use super::inverted::divisible_by_eight;
use super::spec::{BuildOptions, Source};

/// PyTorch's default batch-norm epsilon.
const EPS: f64 = 1e-5;
/// Channels after the stem, after the first separable convolution, and before the classifier, which does not scale.
const STEM: usize = 32;
const FIRST: usize = 16;
const HEAD: usize = 1280;

/// A stack of inverted residuals: output channels, kernel, stride of the first, expansion, repeats.
struct Stack {
    out: usize,
    kernel: usize,
    stride: usize,
    expand: usize,
    repeats: usize,
}

const fn stack(out: usize, kernel: usize, stride: usize, expand: usize, repeats: usize) -> Stack {
    Stack { out, kernel, stride, expand, repeats }
}

const STACKS: [Stack; 6] = [
    stack(24, 3, 2, 3, 3),
    stack(40, 5, 2, 3, 3),
    stack(80, 5, 2, 6, 3),
    stack(96, 3, 1, 6, 2),
    stack(192, 5, 2, 6, 4),
    stack(320, 3, 1, 6, 1),
];

/// MNASNet 0.5: 2.2 M parameters, 0.1 G multiply-accumulates at 224 × 224; feature map `layers` of 1280 channels.
pub(super) fn mnasnet0_5(options: &BuildOptions) -> Result<Graph, GraphError> {
    mnasnet(options, 0.5)
}

/// MNASNet 0.75: 3.2 M parameters, 0.2 G multiply-accumulates.
pub(super) fn mnasnet0_75(options: &BuildOptions) -> Result<Graph, GraphError> {
    mnasnet(options, 0.75)
}

/// MNASNet 1.0: 4.4 M parameters, 0.3 G multiply-accumulates.
pub(super) fn mnasnet1_0(options: &BuildOptions) -> Result<Graph, GraphError> {
    mnasnet(options, 1.0)
}

/// MNASNet 1.3: 6.3 M parameters, 0.5 G multiply-accumulates.
pub(super) fn mnasnet1_3(options: &BuildOptions) -> Result<Graph, GraphError> {
    mnasnet(options, 1.3)
}

fn mnasnet(options: &BuildOptions, width: f64) -> Result<Graph, GraphError> {
    if options.source != Source::Torchvision {
        return Err(options.refuse("MNASNet"));
    }
    let wide = |channels: usize| divisible_by_eight(channels as f64 * width);
    let [h, w] = options.size;
    let (mut g, x) = Builder::new(options.channels, h, w); // (224, 224, 3)
    let x = layer(&mut g, "layers", 0, x, Conv::new(wide(STEM)).kernel(3).stride(2).pad(1), true);
    let x = layer(&mut g, "layers", 3, x, Conv::depthwise().kernel(3).pad(1), true);
    let mut x = layer(&mut g, "layers", 6, x, Conv::new(wide(FIRST)), false); // (112, 112, 16)
    for (k, stack) in (8..).zip(&STACKS) {
        for i in 0..stack.repeats {
            x = block(
                &mut g,
                &format!("layers.{k}.{i}"),
                x,
                stack,
                if i == 0 { stack.stride } else { 1 },
                wide(stack.out),
            );
        }
        g.alias(&format!("layers.{k}"), x);
    }
    let features = layer(&mut g, "layers", 14, x, Conv::new(HEAD), true); // (7, 7, 1280)
    g.alias("layers", features);
    let x = g.global_avg_pool("mean", features);
    g.alias("avg_pool", x);
    let logits = g.dense("classifier.1", x, options.classes);
    g.alias("classifier", logits);
    g.finish(features, logits)
}

/// A convolution, its batch norm and ReLU: the modules `at`, `at + 1` and `at + 2` of a list.
fn layer(g: &mut Builder, list: &str, at: usize, x: LayerId, conv: Conv, relu: bool) -> LayerId {
    let x = g.conv(&format!("{list}.{at}"), x, conv);
    let x = g.batch_norm(&format!("{list}.{}", at + 1), x, EPS);
    if relu { g.relu(&format!("{list}.{}", at + 2), x) } else { x }
}

fn block(g: &mut Builder, name: &str, input: LayerId, stack: &Stack, stride: usize, out: usize) -> LayerId {
    let Shape::Map { c, .. } = g.shape(input) else { return input };
    let list = format!("{name}.layers");
    let depthwise = Conv::depthwise().kernel(stack.kernel).stride(stride).pad(stack.kernel / 2);
    let x = layer(g, &list, 0, input, Conv::new(c * stack.expand), true);
    let x = layer(g, &list, 3, x, depthwise, true);
    let x = layer(g, &list, 6, x, Conv::new(out), false);
    g.alias(&list, x);
    if g.shape(x) == g.shape(input) {
        return g.add(name, x, input);
    }
    g.alias(name, x);
    x
}
