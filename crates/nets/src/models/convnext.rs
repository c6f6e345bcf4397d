//! ConvNeXt (Liu et al. 2022, arXiv:2201.03545) after torchvision/models/convnext.py and timm/models/convnext.py, which
//! differ in names alone.
//!
//! Features are what both give without the classes: the mean over the last map, normalised. The map itself is
//! `features`, in timm `stages`.

use super::builder::{Builder, Conv};
use super::graph::{Activation, Graph, GraphError, LayerId};
use super::spec::{BuildOptions, Source};

/// Layer-norm epsilon.
const EPS: f64 = 1e-6;
/// So many times wider is a block inside.
const EXPANSION: usize = 4;

/// ConvNeXt-Tiny: 28.6 M parameters, 4.5 G multiply-accumulates at 224 × 224; 768 features.
pub(super) fn tiny(options: &BuildOptions) -> Result<Graph, GraphError> {
    convnext(options, [3, 3, 9, 3], [96, 192, 384, 768])
}

/// ConvNeXt-Small: 50.2 M parameters, 8.7 G multiply-accumulates.
pub(super) fn small(options: &BuildOptions) -> Result<Graph, GraphError> {
    convnext(options, [3, 3, 27, 3], [96, 192, 384, 768])
}

/// ConvNeXt-Base: 88.6 M parameters, 15.4 G multiply-accumulates; 1024 features.
pub(super) fn base(options: &BuildOptions) -> Result<Graph, GraphError> {
    convnext(options, [3, 3, 27, 3], [128, 256, 512, 1024])
}

/// ConvNeXt-Large: 197.8 M parameters, 34.4 G multiply-accumulates; 1536 features.
pub(super) fn large(options: &BuildOptions) -> Result<Graph, GraphError> {
    convnext(options, [3, 3, 27, 3], [192, 384, 768, 1536])
}

/// The names of a block's layers, behind the block's own.
struct Names {
    depthwise: &'static str,
    norm: &'static str,
    /// The dense layers and the activation between them.
    dense: [&'static str; 3],
    scale: &'static str,
}

const TORCHVISION: Names =
    Names { depthwise: "block.0", norm: "block.2", dense: ["block.3", "block.4", "block.5"], scale: "layer_scale" };
const TIMM: Names =
    Names { depthwise: "conv_dw", norm: "norm", dense: ["mlp.fc1", "mlp.act", "mlp.fc2"], scale: "gamma" };

fn convnext(options: &BuildOptions, depths: [usize; 4], widths: [usize; 4]) -> Result<Graph, GraphError> {
    let (torchvision, names) = match options.source {
        Source::Torchvision => (true, &TORCHVISION),
        Source::Timm => (false, &TIMM),
        Source::Keras => return Err(options.refuse("ConvNeXt")),
    };
    let [h, w] = options.size;
    let (mut g, x) = Builder::new(options.channels, h, w); // (224, 224, 3)
    let stem = if torchvision { "features.0" } else { "stem" };
    let x = g.conv(&format!("{stem}.0"), x, Conv::new(widths[0]).kernel(4).stride(4).bias());
    let mut x = g.layer_norm(&format!("{stem}.1"), x, EPS); // (56, 56, 96)
    g.alias(stem, x);
    for (s, (depth, width)) in depths.into_iter().zip(widths).enumerate() {
        let (before, stage) = match torchvision {
            true => (format!("features.{}", 2 * s), format!("features.{}", 2 * s + 1)),
            false => (format!("stages.{s}.downsample"), format!("stages.{s}.blocks")),
        };
        if s > 0 {
            x = g.layer_norm(&format!("{before}.0"), x, EPS);
            x = g.conv(&format!("{before}.1"), x, Conv::new(width).kernel(2).stride(2).bias());
            g.alias(&before, x);
        }
        for i in 0..depth {
            x = block(&mut g, &format!("{stage}.{i}"), x, width, names);
        }
        g.alias(if torchvision { &stage } else { &stage[.."stages.0".len()] }, x);
    }
    g.alias(if torchvision { "features" } else { "stages" }, x); // (7, 7, 768)
    let [pool, norm, classifier] = match torchvision {
        true => ["avgpool", "classifier.0", "classifier.2"],
        false => ["head.global_pool", "head.norm", "head.fc"],
    };
    let x = g.global_avg_pool(pool, x);
    g.alias("avg_pool", x);
    let features = g.layer_norm(norm, x, EPS); // (768,)
    let logits = g.dense(classifier, features, options.classes);
    g.finish(features, logits)
}

/// Depthwise 7 × 7, layer norm, two dense layers at each position with GELU between, and the input added.
fn block(g: &mut Builder, name: &str, input: LayerId, width: usize, names: &Names) -> LayerId {
    let at = |part: &str| format!("{name}.{part}");
    let [first, activation, second] = names.dense;
    let x = g.conv(&at(names.depthwise), input, Conv::depthwise().kernel(7).pad(3).bias());
    let x = g.layer_norm(&at(names.norm), x, EPS);
    let x = g.dense_map(&at(first), x, EXPANSION * width);
    let x = g.activation(&at(activation), x, Activation::Gelu);
    let x = g.dense_map(&at(second), x, width);
    let x = g.layer_scale(name, names.scale, x);
    g.add(name, x, input)
}
