//! MobileNet v2 (Sandler et al. 2018, arXiv:1801.04381), width 1.0, after keras/applications/mobilenet_v2.py,
//! torchvision/models/mobilenetv2.py and `mobilenetv2_100` in timm/models/efficientnet.py. They differ in names, in
//! padding (TensorFlow's or symmetric) and in the epsilon.

use super::builder::Conv;
use super::efficientnet::{EPS, TORCH_EPS, Variant, network};
use super::graph::{Activation, Graph, GraphError};
use super::inverted::{Block, Inverted, Names, Part, Stage, stage};
use super::spec::{BuildOptions, Source};

/// Channels after the stem and before the classifier.
const ENDS: [usize; 2] = [32, 1280];
/// Table 2 of the paper.
const STAGES: [Stage; 7] = [
    stage(1, 3, 1, 1, 16),
    stage(2, 3, 2, 6, 24),
    stage(3, 3, 2, 6, 32),
    stage(4, 3, 2, 6, 64),
    stage(3, 3, 1, 6, 96),
    stage(3, 3, 2, 6, 160),
    stage(1, 3, 1, 6, 320),
];

/// MobileNet v2: 3.5 M parameters, 0.3 G multiply-accumulates at 224 × 224; feature map `out_relu` (`features.18`,
/// timm's `bn2`) of 1280 channels.
///
/// Keras' names are aliases in torchvision's network, except `predictions` and `block_1_pad`, which it does not have.
pub(super) fn mobilenet_v2(options: &BuildOptions) -> Result<Graph, GraphError> {
    let (activation, keras) = (Activation::Relu6, options.source == Source::Keras);
    if options.source == Source::Timm {
        let (stages, eps, rescale) = (&STAGES, TORCH_EPS, [[1.0; 3], [0.0; 3]]);
        return network(options, &Variant { stages, ends: ENDS, activation, eps, same: false, rescale, pads: false });
    }
    let eps = if keras { EPS } else { TORCH_EPS };
    let (mut net, x) = Inverted::new(options, eps, false, [activation; 2]); // (224, 224, 3)
    let part = |own: Part, torch: &str| if keras { own } else { torchvision(own, torch, 0).module(torch) };
    let stem = net.padded(Conv::new(ENDS[0]).kernel(3).stride(2), 3);
    let names = part(Part::new("Conv1", "bn_Conv1", "Conv1_relu"), "features.0");
    let x = net.part(&names, x, stem, Some(activation)); // (112, 112, 32)
    let x = net.stages(x, &STAGES, activation, |[_, _, k], block| {
        let names = keras_names(k);
        if keras { names } else { torchvision_names(names, k, block) }
    });
    let names = part(Part::new("Conv_1", "Conv_1_bn", "out_relu"), "features.18");
    let features = net.part(&names, x, Conv::new(ENDS[1]), Some(activation)); // (7, 7, 1280)
    // neither library names the pool
    let x = net.g.global_avg_pool("global_average_pooling2d", features); // (1280,)
    net.g.alias("avg_pool", x);
    let logits = if keras {
        net.g.dense_softmax("predictions", x, options.classes)
    } else {
        let logits = net.g.dense("classifier.1", x, options.classes);
        net.g.alias("features", features);
        net.g.alias("classifier", logits);
        logits
    };
    net.g.finish(features, logits)
}

/// Keras' names of block `k`.
fn keras_names(k: usize) -> Names {
    let at = |part: &str| if k == 0 { format!("expanded_conv_{part}") } else { format!("block_{k}_{part}") };
    let part = |name: &str| Part::new(&at(name), &at(&format!("{name}_BN")), &at(&format!("{name}_relu")));
    Names {
        expand: part("expand"),
        pad: at("pad"),
        depthwise: part("depthwise"),
        project: part("project"),
        sum: at("add"),
        ..Names::default()
    }
}

/// torchvision's names of block `k`, with Keras' names as aliases.
fn torchvision_names(keras: Names, k: usize, block: &Block) -> Names {
    let torch = format!("features.{}", k + 1);
    let first = usize::from(block.expands);
    let child = |keras: Part, i: usize| {
        let module = format!("{torch}.conv.{i}");
        torchvision(keras, &module, 0).module(&module)
    };
    Names {
        expand: child(keras.expand, 0),
        pad: String::new(),
        depthwise: child(keras.depthwise, first),
        project: torchvision(keras.project, &format!("{torch}.conv"), first + 1).module(&format!("{torch}.conv")),
        sum: torch.clone(),
        also: Some(keras.sum),
        module: Some(torch),
        ..Names::default()
    }
}

/// The children of torchvision's `module` from `first` on, with Keras' names as aliases.
fn torchvision(keras: Part, module: &str, first: usize) -> Part {
    Part { also: Some([keras.conv, keras.norm, keras.activation]), ..Part::sequence(module, first) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::graph::{Op, Pad, Shape};

    #[test]
    fn keras_pads_by_the_parity_of_the_map() {
        let pad = |size: [usize; 2]| {
            let g = mobilenet_v2(&BuildOptions { channels: 3, size, classes: 1000, source: Source::Keras });
            let g = g.expect("mobilenet_v2");
            match g.layer(g.find("block_1_pad").expect("a pad")).op {
                Op::ZeroPad(pad) => (pad, g.layer(g.find("block_1_depthwise").expect("a layer")).shape),
                op => panic!("{op:?}"),
            }
        };
        let even = Pad { top: 0, bottom: 1, left: 0, right: 1 };
        assert_eq!(pad([224, 224]), (even, Shape::Map { c: 96, h: 56, w: 56 }));
        assert_eq!(pad([225, 224]), (Pad { top: 1, ..even }, Shape::Map { c: 96, h: 57, w: 56 }));
    }
}
