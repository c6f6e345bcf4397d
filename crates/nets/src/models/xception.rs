//! Xception (Chollet 2016, arXiv:1610.02357) after keras/applications/xception.py, and timm's `legacy_xception` after
//! timm/models/xception.py. timm's weights come from Keras, but its padding is symmetric where Keras' is TensorFlow's,
//! and its epsilon differs.

use super::builder::{Conv, Pool};
use super::graph::{Graph, GraphError, LayerId};
use super::inception::numbered;
use super::spec::{BuildOptions, Source};
use super::twin::Twin;

/// Xception: 22.9 M parameters, 8.4 G multiply-accumulates at 299 × 299; feature map `block14_sepconv2_act` (`act4`) of
/// 2048 channels.
///
/// Layers to which Keras' source gives no name have the names of a fresh session: the shortcuts are `conv2d` …
/// `conv2d_3`, the sums `add` … `add_11`. Keras' names are aliases in timm's network, except `predictions`; timm's
/// first block is Keras' `block2`.
pub(super) fn xception(options: &BuildOptions) -> Result<Graph, GraphError> {
    let eps = if options.source == Source::Keras { 1e-3 } else { 1e-5 };
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

/// The network while it is built, with the numbers of Keras' shortcuts and sums so far.
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

    /// Keras' block `k`: separable convolutions to `outs` channels, each after a ReLU except the first of the network;
    /// the input is added, at half the size if the block `shrinks`. timm's first ReLU of a block is not in place, so
    /// that its shortcut takes the input before the ReLU, too.
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

    /// Depthwise 3 × 3, then 1 × 1 to `out` channels.
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

    /// The `i`-th of the two separable convolutions of Keras' block 14, with batch norm and ReLU; timm numbers them
    /// after those of its stem.
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
    use crate::models::graph::{Op, Pad};

    #[test]
    fn pools_are_padded_as_each_library_does() {
        let even = Pad { top: 1, bottom: 1, left: 1, right: 1 };
        let uneven = Pad { bottom: 1, right: 1, ..Pad::default() }; // 74 to 37
        for (source, expected) in [(Source::Keras, uneven), (Source::Timm, even)] {
            let g = xception(&BuildOptions { channels: 3, size: [299; 2], classes: 1000, source }).expect("built");
            match g.layer(g.find("block3_pool").expect("a pool")).op {
                Op::Pool { window, .. } => assert_eq!(window.pad, expected, "{source}"),
                op => panic!("{op:?}"),
            }
        }
    }
}
