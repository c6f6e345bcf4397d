//! MNASNet-B1 (Tan et al. 2018, arXiv:1807.11626) in four widths, after torchvision/models/mnasnet.py, and in the width
//! 1.0 after timm's `mnasnet_100` in timm/models/efficientnet.py.

use super::builder::Conv;
use super::efficientnet::{self, TORCH_EPS, Variant, scaled};
use super::graph::{Activation, Graph, GraphError};
use super::inverted::{Inverted, Names, Part, Stage, divisible_by_eight, stage};
use super::spec::{BuildOptions, Source};

/// Channels after the stem, and before the classifier; only the former scale.
const ENDS: [usize; 2] = [32, 1280];
/// The first stage is torchvision's separable convolution after its stem.
const STAGES: [Stage; 7] = [
    stage(1, 3, 1, 1, 16),
    stage(3, 3, 2, 3, 24),
    stage(3, 5, 2, 3, 40),
    stage(3, 5, 2, 6, 80),
    stage(2, 3, 1, 6, 96),
    stage(4, 5, 2, 6, 192),
    stage(1, 3, 1, 6, 320),
];

/// MNASNet of a `width`, which timm has as 1.0; feature map `layers` of 1280 channels, in timm `bn2`.
pub(super) fn network(options: &BuildOptions, width: f64) -> Result<Graph, GraphError> {
    let stages = scaled(&STAGES, [width, 1.0], divisible_by_eight);
    let (stem, head, activation) = (divisible_by_eight(ENDS[0] as f64 * width), ENDS[1], Activation::Relu);
    if options.source == Source::Timm {
        let (stages, eps, rescale) = (&stages, TORCH_EPS, [[1.0; 3], [0.0; 3]]);
        let variant = Variant { stages, ends: ENDS, activation, eps, same: false, rescale, pads: false };
        return efficientnet::network(options, &variant);
    }
    let (mut net, x) = Inverted::new(options, TORCH_EPS, false, [activation; 2]); // (224, 224, 3)
    let names = Part::sequence("layers", 0);
    let mut x = net.part(&names, x, Conv::new(stem).kernel(3).stride(2).pad(1), Some(activation));
    for (s, stage) in stages.chunks(1).enumerate() {
        x = net.stages(x, stage, activation, |[_, i, _], _| match s {
            0 => Names {
                depthwise: Part::sequence("layers", 3),
                project: Part::sequence("layers", 6),
                ..Names::default()
            },
            _ => names_of(&format!("layers.{}.{i}", s + 7)),
        });
        if s > 0 {
            net.g.alias(&format!("layers.{}", s + 7), x);
        }
    }
    let features = net.part(&Part::sequence("layers", 14), x, Conv::new(head), Some(activation)); // (7, 7, 1280)
    net.g.alias("layers", features);
    let x = net.g.global_avg_pool("mean", features);
    net.g.alias("avg_pool", x);
    let logits = net.g.dense("classifier.1", x, options.classes);
    net.g.alias("classifier", logits);
    net.g.finish(features, logits)
}

/// The names of torchvision's block: eight modules in a list.
fn names_of(block: &str) -> Names {
    let list = format!("{block}.layers");
    Names {
        expand: Part::sequence(&list, 0),
        depthwise: Part::sequence(&list, 3),
        project: Part::sequence(&list, 6).module(&list),
        sum: block.to_string(),
        module: Some(block.to_string()),
        ..Names::default()
    }
}
