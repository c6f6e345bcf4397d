//! DenseNet-BC (Huang et al. 2016, arXiv:1608.06993), growth 32, of 161 layers 48. Keras after
//! keras/applications/densenet.py, whose weights are torchvision's of old; torchvision after
//! torchvision/models/densenet.py. They differ in names and in the epsilon.

use super::builder::{Conv, Pool};
use super::graph::{Graph, GraphError, LayerId, Shape};
use super::spec::{BuildOptions, Source};
use super::twin::Twin;

/// So many times the channels that each layer adds stand between its two convolutions.
const BOTTLENECK: usize = 4;

/// DenseNet-121: 8.0 M parameters, 2.8 G multiply-accumulates at 224 × 224; feature map `relu` of 1024 channels.
///
/// Keras' names are known in torchvision's network too, save `predictions` and the two layers of zeros. What each layer
/// has piled up (`conv4_block24_concat`) and the last `relu` have no module there; `features` is the map before that
/// ReLU.
pub(super) fn densenet121(options: &BuildOptions) -> Result<Graph, GraphError> {
    densenet(options, [6, 12, 24, 16], 32)
}

/// DenseNet-169: 14.1 M parameters, 3.4 G multiply-accumulates at 224 × 224; feature map `relu` of 1664 channels. Names
/// as in [`densenet121`].
pub(super) fn densenet169(options: &BuildOptions) -> Result<Graph, GraphError> {
    densenet(options, [6, 12, 32, 32], 32)
}

/// DenseNet-201: 20.0 M parameters, 4.3 G multiply-accumulates at 224 × 224; feature map `relu` of 1920 channels. Names
/// as in [`densenet121`].
pub(super) fn densenet201(options: &BuildOptions) -> Result<Graph, GraphError> {
    densenet(options, [6, 12, 48, 32], 32)
}

/// DenseNet-161: 28.7 M parameters, 7.7 G multiply-accumulates at 224 × 224; feature map `relu` of 2208 channels. Keras
/// has none.
pub(super) fn densenet161(options: &BuildOptions) -> Result<Graph, GraphError> {
    match options.source {
        Source::Torchvision => densenet(options, [6, 12, 36, 24], 48),
        _ => Err(options.refuse("DenseNet-161")),
    }
}

/// `blocks`: layers of each of the four dense blocks; `growth`: channels that each layer adds.
fn densenet(options: &BuildOptions, blocks: [usize; 4], growth: usize) -> Result<Graph, GraphError> {
    let eps = match options.source {
        Source::Keras => 1.001e-5,
        Source::Torchvision => 1e-5,
        Source::Timm => return Err(options.refuse("DenseNet")),
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
    let x = net.twin.norm("bn", "features.norm5", x);
    net.twin.module("features", x);
    let features = net.twin.g.relu("relu", x); // (7, 7, 1024) for 121
    net.top(features, options.classes)
}

/// The network while it is built.
struct Net {
    twin: Twin,
    growth: usize,
}

impl Net {
    /// 7 × 7 and a max pool, each of stride 2. Keras pads by layers of their own; the zeros before the pool stand
    /// behind a ReLU, so that none beats a value.
    fn stem(&mut self, mut x: LayerId) -> LayerId {
        let mut conv = Conv::new(2 * self.growth).kernel(7).stride(2);
        let mut pool = Pool::max(3).stride(2);
        if self.twin.keras {
            x = self.twin.g.zero_pad("zero_padding2d", x, [3; 4]);
        } else {
            (conv, pool) = (conv.pad(3), pool.pad(1));
        }
        x = self.twin.conv("conv1_conv", "features.conv0", x, conv);
        x = self.twin.norm("conv1_bn", "features.norm0", x);
        x = self.twin.relu("conv1_relu", "features.relu0", x);
        if self.twin.keras {
            x = self.twin.g.zero_pad("zero_padding2d_1", x, [1; 4]);
        }
        self.twin.named("pool1", "features.pool0", |g, name| g.pool(name, x, pool))
    }

    /// Norm, ReLU, 1 × 1, norm, ReLU, 3 × 3; what comes out is put behind the input. The pile has no module in
    /// torchvision: it is called as in Keras, the module is what is new.
    fn layer(&mut self, block: usize, layer: usize, input: LayerId) -> LayerId {
        let keras = format!("conv{}_block{layer}", block + 1);
        let torch = format!("features.denseblock{block}.denselayer{layer}");
        let (k, t) = (|part: &str| format!("{keras}_{part}"), |part: &str| format!("{torch}.{part}"));
        let x = self.twin.norm(&k("0_bn"), &t("norm1"), input);
        let x = self.twin.relu(&k("0_relu"), &t("relu1"), x);
        let x = self.twin.conv(&k("1_conv"), &t("conv1"), x, Conv::new(BOTTLENECK * self.growth));
        let x = self.twin.norm(&k("1_bn"), &t("norm2"), x);
        let x = self.twin.relu(&k("1_relu"), &t("relu2"), x);
        let x = self.twin.conv(&k("2_conv"), &t("conv2"), x, Conv::new(self.growth).kernel(3).pad(1));
        self.twin.module(&torch, x);
        self.twin.g.concat(&k("concat"), &[input, x])
    }

    /// Half the channels, half the size.
    fn transition(&mut self, block: usize, x: LayerId) -> LayerId {
        let Shape::Map { c, .. } = self.twin.g.shape(x) else { return x };
        let (keras, torch) = (format!("pool{}", block + 1), format!("features.transition{block}"));
        let (k, t) = (|part: &str| format!("{keras}_{part}"), |part: &str| format!("{torch}.{part}"));
        let x = self.twin.norm(&k("bn"), &t("norm"), x);
        let x = self.twin.relu(&k("relu"), &t("relu"), x);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn options(source: Source, channels: usize, size: [usize; 2]) -> BuildOptions {
        BuildOptions { channels, size, classes: 1000, source }
    }

    fn build(source: Source, channels: usize, size: [usize; 2]) -> Graph {
        densenet121(&options(source, channels, size)).expect("densenet121")
    }

    #[test]
    fn they_have_the_parameters_of_each_library() {
        type Build = fn(&BuildOptions) -> Result<Graph, GraphError>;
        let models: [(Build, usize, usize, u64); 3] = [
            (densenet121, 8_062_504, 7_978_856, 2834),
            (densenet169, 14_307_880, 14_149_480, 3359),
            (densenet201, 20_242_984, 20_013_928, 4291),
        ];
        for (build, stored, learned, macs) in models {
            for source in [Source::Keras, Source::Torchvision] {
                let g = build(&options(source, 3, [224, 224])).expect("a DenseNet");
                let count = |kept: &dyn Fn(&str) -> bool| -> usize {
                    g.parameters().iter().filter(|p| kept(&p.name)).map(|p| p.shape.iter().product::<usize>()).sum()
                };
                assert_eq!(count(&|_| true), stored, "{source}"); // Keras' count_params()
                assert_eq!(count(&|name| !name.contains("running_")), learned, "{source}"); // torchvision's numel()
                let total: u64 = g.layers().iter().map(|layer| g.macs_of(layer)).sum();
                assert_eq!(total / 1_000_000, macs, "{source}"); // torchvision publishes them in G
            }
        }
    }

    #[test]
    fn layers_are_found_by_their_names() {
        let g = build(Source::Keras, 3, [224, 224]);
        assert_eq!(g.shape_of("zero_padding2d_1"), Shape::Map { c: 64, h: 114, w: 114 });
        assert_eq!(g.shape_of("pool2_pool"), Shape::Map { c: 128, h: 28, w: 28 });
        assert_eq!(g.shape_of("conv4_block24_concat"), Shape::Map { c: 1024, h: 14, w: 14 });
        assert_eq!(g.shape_of("conv5_block1_1_relu"), Shape::Map { c: 128, h: 7, w: 7 });
        assert_eq!(g.find("relu"), Some(g.features()));
        let g = build(Source::Torchvision, 3, [224, 224]);
        assert_eq!(g.find("conv4_block24_concat"), g.find("features.denseblock3"));
        assert_eq!(g.find("pool2_pool"), g.find("features.transition1"));
        assert_eq!(g.shape_of("features.denseblock3.denselayer24"), Shape::Map { c: 32, h: 14, w: 14 });
        assert_eq!(g.find("conv2_block1_1_conv"), g.find("features.denseblock1.denselayer1.conv1"));
        assert_eq!((g.find("features"), g.find("bn")), (g.find("features.norm5"), g.find("features.norm5")));
        assert_eq!(g.find("relu"), Some(g.features()));
        assert_ne!(g.find("features"), Some(g.features()));
        let tensor = |name: &str| g.parameters().into_iter().find(|p| p.name == name).map(|p| p.shape);
        assert_eq!(tensor("features.denseblock4.denselayer16.conv1.weight"), Some(vec![128, 992, 1, 1]));
        assert_eq!(tensor("classifier.weight"), Some(vec![1000, 1024]));
    }

    #[test]
    fn other_sizes_and_one_channel() {
        for source in [Source::Keras, Source::Torchvision] {
            let g = build(source, 1, [225, 300]);
            assert_eq!(g.shape_of("relu"), Shape::Map { c: 1024, h: 7, w: 9 });
            assert_eq!(g.parameters()[0].shape, [64, 1, 7, 7]);
        }
    }

    #[test]
    fn the_wide_one_has_the_parameters_that_torchvision_publishes() {
        let g = densenet161(&options(Source::Torchvision, 3, [224, 224])).expect("densenet161");
        assert_eq!(g.count(|name| !name.contains("running_")), 28_681_000);
        assert!(densenet161(&options(Source::Keras, 3, [224, 224])).is_err());
    }

    #[test]
    fn timms_is_not_here() {
        assert!(matches!(densenet121(&options(Source::Timm, 3, [224, 224])), Err(GraphError::NoSource { .. })));
    }
}
