//! Xception (Chollet 2016, arXiv:1610.02357). Keras after keras/applications/xception.py; timm's `legacy_xception`
//! after timm/models/xception.py, which got its weights from Keras but pads on all sides where Keras pads as TensorFlow
//! does, and has another epsilon.

use super::builder::{Conv, Pool};
use super::graph::{Graph, GraphError, LayerId};
use super::inception::numbered;
use super::spec::{BuildOptions, Source};
use super::twin::Twin;

/// Xception: 22.9 M parameters, 8.4 G multiply-accumulates at 299 × 299; feature map `block14_sepconv2_act` (`act4`) of
/// 2048 channels.
///
/// Layers of Keras without a name of their own bear the one that a fresh session gives: the shortcuts are `conv2d` …
/// `conv2d_3`, the sums `add` … `add_11`. Keras' names are known in timm's network too, save `predictions`; timm counts
/// its blocks from Keras' `block2`.
pub(super) fn xception(options: &BuildOptions) -> Result<Graph, GraphError> {
    let eps = match options.source {
        Source::Keras => 1e-3,
        Source::Timm => 1e-5,
        Source::Torchvision => return Err(options.refuse("Xception")),
    };
    let (twin, x) = Twin::new(options, eps); // (299, 299, 3)
    let mut net = Net { twin, shortcuts: 0, sums: 0 };
    let x = net.stem(1, x, Conv::new(32).kernel(3).stride(2)); // (149, 149, 32)
    let x = net.stem(2, x, Conv::new(64).kernel(3)); // (147, 147, 64)
    let x = net.block(2, x, &[128, 128], true); // (74, 74, 128)
    let x = net.block(3, x, &[256, 256], true); // (37, 37, 256)
    let mut x = net.block(4, x, &[728, 728], true); // (19, 19, 728)
    for k in 5..=12 {
        x = net.block(k, x, &[728, 728, 728], false);
    }
    let x = net.block(13, x, &[728, 1024], true); // (10, 10, 1024)
    let x = net.last(1, x, 1536);
    let features = net.last(2, x, 2048); // (10, 10, 2048)
    net.top(features, options.classes)
}

/// The network while it is built, with what Keras has counted so far.
struct Net {
    twin: Twin,
    shortcuts: usize,
    sums: usize,
}

impl Net {
    /// The `i`-th of the two plain convolutions at the start.
    fn stem(&mut self, i: usize, x: LayerId, conv: Conv) -> LayerId {
        let keras = format!("block1_conv{i}");
        let x = self.twin.conv(&keras, &format!("conv{i}"), x, conv);
        let x = self.twin.norm(&format!("{keras}_bn"), &format!("bn{i}"), x);
        self.twin.relu(&format!("{keras}_act"), &format!("act{i}"), x)
    }

    /// Keras' block `k`: separable convolutions of `outs` channels, each behind a ReLU save the first of all; the input
    /// is added, at half the size if the block `shrinks`. timm's first ReLU of a block is not in place, so that its
    /// shortcut too takes the input as it came.
    fn block(&mut self, k: usize, input: LayerId, outs: &[usize], shrinks: bool) -> LayerId {
        let timm = format!("block{}", k - 1);
        let mut shortcut = input;
        if let (true, Some(&out)) = (shrinks, outs.last()) {
            shortcut = self.shortcut(&timm, input, out);
        }
        let mut rep = 0; // timm numbers the modules of a block
        let mut at = || {
            rep += 1;
            format!("{timm}.rep.{}", rep - 1)
        };
        let mut x = input;
        for (i, &out) in (1..).zip(outs) {
            let keras = format!("block{k}_sepconv{i}");
            if k > 2 || i > 1 {
                x = self.twin.relu(&format!("{keras}_act"), &at(), x);
            }
            x = self.separable(&keras, &at(), x, out);
            x = self.twin.norm(&format!("{keras}_bn"), &at(), x);
        }
        if shrinks {
            let pool = Pool::max(3).stride(2);
            let pool = if self.twin.keras { pool.same() } else { pool.pad(1) };
            x = self.twin.named(&format!("block{k}_pool"), &at(), |g, name| g.pool(name, x, pool));
        }
        self.twin.module(&format!("{timm}.rep"), x);
        let sum = numbered("add", self.sums);
        self.sums += 1;
        self.twin.named(&sum, &timm, |g, name| g.add(name, x, shortcut))
    }

    /// The input at half the size, with `out` channels.
    fn shortcut(&mut self, timm: &str, x: LayerId, out: usize) -> LayerId {
        let n = self.shortcuts;
        self.shortcuts += 1;
        let conv = Conv::new(out).stride(2);
        let x = self.twin.conv(&numbered("conv2d", n), &format!("{timm}.skip"), x, conv);
        self.twin.norm(&numbered("batch_normalization", n), &format!("{timm}.skipbn"), x)
    }

    /// Depthwise 3 × 3, then 1 × 1 to `out` channels, without anything between them.
    fn separable(&mut self, keras: &str, timm: &str, x: LayerId, out: usize) -> LayerId {
        let depthwise = Conv::depthwise().kernel(3).pad(1);
        if self.twin.keras {
            return self.twin.g.separable(keras, x, depthwise, out);
        }
        let x = self.twin.g.conv(&format!("{timm}.conv1"), x, depthwise);
        let x = self.twin.g.conv(&format!("{timm}.pointwise"), x, Conv::new(out));
        self.twin.g.alias(timm, x);
        self.twin.g.alias(keras, x);
        x
    }

    /// The `i`-th of the two separable convolutions of Keras' block 14, here with the ReLU behind; timm counts on from
    /// its stem.
    fn last(&mut self, i: usize, x: LayerId, out: usize) -> LayerId {
        let (keras, n) = (format!("block14_sepconv{i}"), i + 2);
        let x = self.separable(&keras, &format!("conv{n}"), x, out);
        let x = self.twin.norm(&format!("{keras}_bn"), &format!("bn{n}"), x);
        self.twin.relu(&format!("{keras}_act"), &format!("act{n}"), x)
    }

    /// The mean of the map and the classifier.
    fn top(mut self, features: LayerId, classes: usize) -> Result<Graph, GraphError> {
        let x = self.twin.named("avg_pool", "global_pool", |g, name| g.global_avg_pool(name, features)); // (2048,)
        let logits = self.twin.classifier("fc", x, classes);
        self.twin.g.finish(features, logits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::graph::{Op, Pad, Shape};

    fn build(source: Source, channels: usize, size: [usize; 2]) -> Graph {
        xception(&BuildOptions { channels, size, classes: 1000, source }).expect("xception")
    }

    fn shape_of_tensor(g: &Graph, name: &str) -> Option<Vec<usize>> {
        g.parameters().into_iter().find(|p| p.name == name).map(|p| p.shape)
    }

    #[test]
    fn it_has_the_parameters_of_each_library() {
        for (source, learned) in [(Source::Keras, 22_855_952), (Source::Timm, 22_855_952)] {
            let g = build(source, 3, [299, 299]);
            let count = |kept: &dyn Fn(&str) -> bool| -> usize {
                g.parameters().iter().filter(|p| kept(&p.name)).map(|p| p.shape.iter().product::<usize>()).sum()
            };
            assert_eq!(count(&|name| !name.contains("running_")), learned, "{source}");
            assert_eq!(count(&|_| true), 22_910_480, "{source}"); // Keras' count_params()
        }
    }

    #[test]
    fn keras_names_its_layers_and_counts_the_others() {
        let g = build(Source::Keras, 3, [299, 299]);
        assert_eq!(g.shape_of("block1_conv1"), Shape::Map { c: 32, h: 149, w: 149 });
        assert_eq!(g.shape_of("conv2d_3"), Shape::Map { c: 1024, h: 10, w: 10 });
        assert_eq!(g.shape_of("add_11"), Shape::Map { c: 1024, h: 10, w: 10 });
        assert_eq!(g.shape_of("block5_sepconv3_bn"), Shape::Map { c: 728, h: 19, w: 19 });
        assert_eq!(g.find("block2_sepconv1_act"), None);
        assert_eq!(g.find("block14_sepconv2_act"), Some(g.features()));
        assert_eq!(g.shape_of("block14_sepconv2_act"), Shape::Map { c: 2048, h: 10, w: 10 });
        assert_eq!(shape_of_tensor(&g, "block13_sepconv2/depthwise.weight"), Some(vec![728, 1, 3, 3]));
        assert_eq!(shape_of_tensor(&g, "block13_sepconv2/pointwise.weight"), Some(vec![1024, 728, 1, 1]));
    }

    #[test]
    fn timm_numbers_modules_and_knows_keras_names_of_blocks() {
        let g = build(Source::Timm, 3, [299, 299]);
        assert_eq!(shape_of_tensor(&g, "block1.rep.0.conv1.weight"), Some(vec![64, 1, 3, 3]));
        assert_eq!(shape_of_tensor(&g, "block12.rep.4.pointwise.weight"), Some(vec![1024, 728, 1, 1]));
        assert_eq!(shape_of_tensor(&g, "block11.rep.8.weight"), Some(vec![728]));
        assert_eq!(g.find("block13_pool"), g.find("block12.rep.6"));
        assert_eq!(g.find("block12.rep"), g.find("block12.rep.6"));
        assert_eq!(g.find("block13_sepconv2_bn"), g.find("block12.rep.5"));
        assert_eq!(g.find("add_3"), g.find("block4"));
        assert_eq!(g.find("block14_sepconv2_act"), Some(g.features()));
        assert_eq!(g.shape_of("conv3"), Shape::Map { c: 1536, h: 10, w: 10 });
    }

    #[test]
    fn pools_are_padded_as_each_library_does() {
        let pad = |g: &Graph, name: &str| match g.layer(g.find(name).expect("a pool")).op {
            Op::Pool { window, .. } => window.pad,
            op => panic!("{op:?}"),
        };
        let uneven = Pad { bottom: 1, right: 1, ..Pad::default() };
        assert_eq!(pad(&build(Source::Keras, 3, [299, 299]), "block3_pool"), uneven); // 74 to 37
        assert_eq!(
            pad(&build(Source::Timm, 3, [299, 299]), "block3_pool"),
            Pad { top: 1, bottom: 1, left: 1, right: 1 }
        );
    }

    #[test]
    fn other_sizes_and_one_channel() {
        for source in [Source::Keras, Source::Timm] {
            let g = build(source, 1, [225, 300]);
            assert_eq!(g.shape_of("block14_sepconv2_act"), Shape::Map { c: 2048, h: 7, w: 10 });
            assert_eq!(g.parameters()[0].shape, [32, 1, 3, 3]);
        }
    }

    #[test]
    fn torchvision_has_none() {
        let options = BuildOptions { channels: 3, size: [299, 299], classes: 1000, source: Source::Torchvision };
        assert!(matches!(xception(&options), Err(GraphError::NoSource { .. })));
    }
}
