//! DenseNet-BC (Huang et al. 2016, arXiv:1608.06993) with growth 32, for 161 layers 48, after
//! keras/applications/densenet.py, torchvision/models/densenet.py and timm/models/densenet.py. Keras' weights are old
//! ones of torchvision; torchvision and timm have the same tensors. They differ in names and in the epsilon.

use super::builder::{Conv, Pool};
use super::graph::{Graph, GraphError, LayerId, Shape};
use super::spec::{BuildOptions, Source};
use super::twin::Twin;

/// Channels between the two convolutions of a layer, as a multiple of the growth.
const BOTTLENECK: usize = 4;

/// A DenseNet with so many layers in its four dense `blocks`, each of which adds `growth` channels; feature map `relu`.
///
/// Keras' names are aliases in the other networks, except `predictions`, the two zero paddings and, in timm, norms that
/// a ReLU follows. The concatenation after each layer (`conv4_block24_concat`) is no module in torchvision and timm,
/// nor is the last `relu` in torchvision; `features` is the map before that ReLU, in timm after it.
pub(super) fn network(options: &BuildOptions, blocks: [usize; 4], growth: usize) -> Result<Graph, GraphError> {
    let eps = match options.source {
        Source::Keras => 1.001e-5,
        _ => 1e-5,
    };
    let (twin, x) = Twin::new(options, eps); // (224, 224, 3)
    let mut net = Net { twin, growth };
    let mut x = net.stem(x); // (56, 56, 64)
    for (block, layers) in (1..).zip(blocks) {
        for layer in 1..=layers {
            x = net.layer(block, layer, x);
        }
        net.twin.module(&format!("features.denseblock{block}"), x);
        if block < blocks.len() {
            x = net.transition(block, x);
        }
    }
    let features = if options.source == Source::Timm {
        let x = net.twin.norm_relu(["bn", "relu"], ["features.norm5", ""], x);
        net.twin.module("features", x);
        x
    } else {
        let x = net.twin.norm("bn", "features.norm5", x);
        net.twin.module("features", x);
        net.twin.g.relu("relu", x)
    }; // (7, 7, 1024) for 121
    net.top(features, options.classes)
}

/// The network while it is built.
struct Net {
    twin: Twin,
    growth: usize,
}

impl Net {
    /// 7 × 7 and a max pool, each of stride 2. Keras pads in layers of its own; since a ReLU comes before the pool, the
    /// zeros do not change its maxima.
    fn stem(&mut self, mut x: LayerId) -> LayerId {
        let mut conv = Conv::new(2 * self.growth).kernel(7).stride(2);
        let mut pool = Pool::max(3).stride(2);
        if self.twin.keras {
            x = self.twin.g.zero_pad("zero_padding2d", x, [3; 4]);
        } else {
            (conv, pool) = (conv.pad(3), pool.pad(1));
        }
        x = self.twin.conv("conv1_conv", "features.conv0", x, conv);
        x = self.twin.norm_relu(["conv1_bn", "conv1_relu"], ["features.norm0", "features.relu0"], x);
        if self.twin.keras {
            x = self.twin.g.zero_pad("zero_padding2d_1", x, [1; 4]);
        }
        self.twin.named("pool1", "features.pool0", |g, name| g.pool(name, x, pool))
    }

    /// Norm, ReLU, 1 × 1, norm, ReLU, 3 × 3; the output is concatenated to the input. The concatenation is no module in
    /// torchvision and has Keras' name; the module's name is that of the new channels.
    fn layer(&mut self, block: usize, layer: usize, input: LayerId) -> LayerId {
        let keras = format!("conv{}_block{layer}", block + 1);
        let torch = format!("features.denseblock{block}.denselayer{layer}");
        let (k, t) = (|part: &str| format!("{keras}_{part}"), |part: &str| format!("{torch}.{part}"));
        let x = self.twin.norm_relu([&k("0_bn"), &k("0_relu")], [&t("norm1"), &t("relu1")], input);
        let x = self.twin.conv(&k("1_conv"), &t("conv1"), x, Conv::new(BOTTLENECK * self.growth));
        let x = self.twin.norm_relu([&k("1_bn"), &k("1_relu")], [&t("norm2"), &t("relu2")], x);
        let x = self.twin.conv(&k("2_conv"), &t("conv2"), x, Conv::new(self.growth).kernel(3).pad(1));
        self.twin.module(&torch, x);
        self.twin.g.concat(&k("concat"), &[input, x])
    }

    /// Half the channels, half the size.
    fn transition(&mut self, block: usize, x: LayerId) -> LayerId {
        let Shape::Map { c, .. } = self.twin.g.shape(x) else { return x };
        let (keras, torch) = (format!("pool{}", block + 1), format!("features.transition{block}"));
        let (k, t) = (|part: &str| format!("{keras}_{part}"), |part: &str| format!("{torch}.{part}"));
        let x = self.twin.norm_relu([&k("bn"), &k("relu")], [&t("norm"), &t("relu")], x);
        let x = self.twin.conv(&k("conv"), &t("conv"), x, Conv::new(c / 2));
        let x = self.twin.named(&k("pool"), &t("pool"), |g, name| g.pool(name, x, Pool::avg(2)));
        self.twin.module(&torch, x);
        x
    }

    /// The mean of the map and the classifier.
    fn top(mut self, features: LayerId, classes: usize) -> Result<Graph, GraphError> {
        let x = self.twin.g.global_avg_pool("avg_pool", features); // (1024,) for 121
        let logits = self.twin.classifier("classifier", x, classes);
        self.twin.g.finish(features, logits)
    }
}
