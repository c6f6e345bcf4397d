//! ShuffleNetV2 (Ma et al. 2018, arXiv:1807.11164) in four widths, after torchvision/models/shufflenetv2.py.

use super::builder::{Builder, Conv, Pool};
use super::graph::{Graph, GraphError, LayerId, Shape};
use super::spec::BuildOptions;

/// PyTorch's default batch-norm epsilon.
const EPS: f64 = 1e-5;
/// Channels after the stem.
const STEM: usize = 24;
/// Blocks of the three stages.
const REPEATS: [usize; 3] = [4, 8, 4];

/// A network with so many channels after its `stages`; feature map `conv5` of `last` channels.
pub(super) fn v2(options: &BuildOptions, stages: [usize; 3], last: usize) -> Result<Graph, GraphError> {
    let (mut g, x) = Builder::of(options); // (224, 224, 3)
    let x = layer(&mut g, "conv1", 0, x, Conv::new(STEM).kernel(3).stride(2).pad(1), true);
    g.alias("conv1", x);
    let mut x = g.pool("maxpool", x, Pool::max(3).stride(2).pad(1)); // (56, 56, 24)
    for (stage, (out, repeats)) in (2..).zip(stages.into_iter().zip(REPEATS)) {
        for i in 0..repeats {
            x = block(&mut g, &format!("stage{stage}.{i}"), x, out, i == 0);
        }
        g.alias(&format!("stage{stage}"), x);
    }
    let features = layer(&mut g, "conv5", 0, x, Conv::new(last), true); // (7, 7, 1024)
    g.alias("conv5", features);
    let x = g.global_avg_pool("mean", features);
    g.alias("avg_pool", x);
    let logits = g.dense("fc", x, options.classes);
    g.finish(features, logits)
}

/// A convolution, its batch norm and ReLU: the modules `at`, `at + 1` and `at + 2` of a list.
fn layer(g: &mut Builder, list: &str, at: usize, x: LayerId, conv: Conv, relu: bool) -> LayerId {
    let x = g.conv(&format!("{list}.{at}"), x, conv);
    let x = g.batch_norm(&format!("{list}.{}", at + 1), x, EPS);
    if relu { g.relu(&format!("{list}.{}", at + 2), x) } else { x }
}

/// Two branches of half the channels each, which the shuffle mixes. Where the map is not halved, the first branch is
/// the first half of the input's channels.
fn block(g: &mut Builder, name: &str, input: LayerId, out: usize, halves: bool) -> LayerId {
    let Shape::Map { c, .. } = g.shape(input) else { return input };
    let (half, stride) = (out / 2, if halves { 2 } else { 1 });
    let depthwise = Conv::depthwise().kernel(3).stride(stride).pad(1);
    let (left, right) = if halves {
        let list = format!("{name}.branch1");
        let x = layer(g, &list, 0, input, depthwise, false);
        (layer(g, &list, 2, x, Conv::new(half), true), input)
    } else {
        let part = |channels: std::ops::Range<usize>, which: &str, g: &mut Builder| {
            g.slice(&format!("{name}.{which}"), input, channels)
        };
        (part(0..c / 2, "left", g), part(c / 2..c, "right", g))
    };
    let list = format!("{name}.branch2");
    let x = layer(g, &list, 0, right, Conv::new(half), true);
    let x = layer(g, &list, 3, x, depthwise, false);
    let x = layer(g, &list, 5, x, Conv::new(half), true);
    let x = g.concat(&format!("{name}.cat"), &[left, x]);
    g.shuffle(name, x, 2)
}
