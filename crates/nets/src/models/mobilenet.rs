//! MobileNet v2 (Sandler et al. 2018, arXiv:1801.04381), width 1.0. Keras after keras/applications/mobilenet_v2.py,
//! torchvision after torchvision/models/mobilenetv2.py: they differ in names, in padding (TensorFlow's and symmetric)
//! and in the epsilon.

use super::builder::Conv;
use super::graph::{Activation, Graph, GraphError, LayerId, Shape};
use super::spec::{BuildOptions, Source};
use super::twin::Twin;

/// Channels after the stem and before the classifier.
const STEM: usize = 32;
const HEAD: usize = 1280;
/// Inverted residuals, table 2 of the paper: (expansion, output channels, repeats, stride of the first).
const STAGES: [(usize, usize, usize, usize); 7] =
    [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];

/// MobileNet v2: 3.5 M parameters, 0.3 G multiply-accumulates at 224 × 224; feature map `out_relu` (`features.18`) of
/// 1280 channels.
///
/// Keras' names are known in torchvision's network too, save `predictions` and the `block_1_pad` that it does not have.
pub(super) fn mobilenet_v2(options: &BuildOptions) -> Result<Graph, GraphError> {
    let eps = match options.source {
        Source::Keras => 1e-3,
        Source::Torchvision => 1e-5,
        Source::Timm => return Err(options.refuse("MobileNetV2")),
    };
    let (twin, x) = Twin::new(options, eps); // (224, 224, 3)
    let mut net = Net { twin };
    let stem = Conv::new(STEM).kernel(3).stride(2);
    let stem = if net.twin.keras { stem.same() } else { stem.pad(1) };
    let mut x = net.conv(["Conv1", "bn_Conv1", "Conv1_relu"], "features.0", x, stem); // (112, 112, 32)
    let mut k = 0;
    for (expand, out, repeats, stride) in STAGES {
        for i in 0..repeats {
            x = net.block(k, x, expand, out, if i == 0 { stride } else { 1 });
            k += 1;
        }
    }
    let features = net.conv(["Conv_1", "Conv_1_bn", "out_relu"], "features.18", x, Conv::new(HEAD)); // (7, 7, 1280)
    net.top(features, options.classes)
}

/// The network while it is built.
struct Net {
    twin: Twin,
}

impl Net {
    /// Convolution, batch norm and ReLU6: three layers of Keras, or torchvision's module `torch` with three parts.
    fn conv(&mut self, keras: [&str; 3], torch: &str, x: LayerId, conv: Conv) -> LayerId {
        let x = self.twin.conv(keras[0], &format!("{torch}.0"), x, conv);
        let x = self.twin.norm(keras[1], &format!("{torch}.1"), x);
        let x = self.twin.named(keras[2], &format!("{torch}.2"), |g, name| g.activation(name, x, Activation::Relu6));
        self.twin.module(torch, x);
        x
    }

    /// Inverted residual `k`: expand 1 × 1 → depthwise 3 × 3 → project 1 × 1 (linear), and the input added where the
    /// shapes agree.
    fn block(&mut self, k: usize, input: LayerId, expand: usize, out: usize, stride: usize) -> LayerId {
        let torch = format!("features.{}", k + 1);
        let keras = |part: &str| if k == 0 { format!("expanded_conv_{part}") } else { format!("block_{k}_{part}") };
        let three = |part: &str| [keras(part), keras(&format!("{part}_BN")), keras(&format!("{part}_relu"))];
        let (mut x, mut module) = (input, 0);
        if expand > 1 {
            let Shape::Map { c, .. } = self.twin.g.shape(input) else { return input };
            let names = three("expand");
            x = self.conv(names.each_ref().map(String::as_str), &format!("{torch}.conv.0"), x, Conv::new(c * expand));
            module = 1;
        }
        let depthwise = Conv::depthwise().kernel(3).stride(stride);
        let depthwise = if self.twin.keras && stride == 2 {
            x = self.pad(&keras("pad"), x);
            depthwise
        } else {
            depthwise.pad(1)
        };
        let names = three("depthwise");
        x = self.conv(names.each_ref().map(String::as_str), &format!("{torch}.conv.{module}"), x, depthwise);
        let [project, norm] = [1, 2].map(|i| format!("{torch}.conv.{}", module + i));
        x = self.twin.conv(&keras("project"), &project, x, Conv::new(out));
        x = self.twin.norm(&keras("project_BN"), &norm, x);
        self.twin.module(&format!("{torch}.conv"), x);
        if self.twin.g.shape(x) == self.twin.g.shape(input) {
            return self.twin.named(&keras("add"), &torch, |g, name| g.add(name, input, x));
        }
        self.twin.module(&torch, x);
        x
    }

    /// Keras' `correct_pad` for a 3 × 3 window of stride 2: nothing above a map of even height, nor left of one of even
    /// width.
    fn pad(&mut self, name: &str, x: LayerId) -> LayerId {
        let Shape::Map { h, w, .. } = self.twin.g.shape(x) else { return x };
        self.twin.g.zero_pad(name, x, [h % 2, 1, w % 2, 1])
    }

    /// The mean of the map and the classifier; the pool has no name of its own in either library.
    fn top(mut self, features: LayerId, classes: usize) -> Result<Graph, GraphError> {
        let x = self.twin.g.global_avg_pool("global_average_pooling2d", features); // (1280,)
        self.twin.g.alias("avg_pool", x);
        let logits = self.twin.classifier("classifier.1", x, classes);
        self.twin.module("features", features);
        self.twin.module("classifier", logits);
        self.twin.g.finish(features, logits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::graph::{Op, Pad};

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
