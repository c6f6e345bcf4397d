//! Inception v3 (Szegedy et al. 2015, arXiv:1512.00567) after keras/applications/inception_v3.py,
//! torchvision/models/inception.py and timm/models/inception_v3.py; all three are ports of TensorFlow's.
//!
//! The networks differ in three points: Keras' batch norm has no weight, its average pools do not count padding, and
//! torchvision's pretrained weights expect another range of pixels, to which the network converts.

use super::builder::{Builder, Conv, Pool};
use super::googlenet::TO_PLUS_MINUS_ONE;
use super::graph::{Activation, Graph, GraphError, LayerId};
use super::spec::{BuildOptions, Source};

/// Batch-norm epsilon of all three libraries.
pub(super) const EPS: f64 = 1e-3;

/// Inception v3: 23.8 M parameters, 5.7 G multiply-accumulates at 299 × 299; feature map `mixed10` (`Mixed_7c`) of 2048
/// channels. No side may be shorter than 75.
///
/// Layers of Keras have the names of a fresh session (`conv2d`, `conv2d_1`, …), and `mixed0` … `mixed10`, which are
/// aliases in the other libraries' networks. With `source: torchvision` and three channels the picture goes through
/// `transform_input`, with other numbers it does not; timm has none. The auxiliary head `AuxLogits` serves training
/// only.
pub(super) fn inception_v3(options: &BuildOptions) -> Result<Graph, GraphError> {
    let (g, mut x) = Builder::of(options); // (299, 299, 3)
    let mut net = Net::new(g, options.source);
    if options.source != Source::Keras {
        net.g.drop_tensors("AuxLogits.");
    }
    if options.source == Source::Torchvision && options.channels == 3 {
        let (scale, shift) = TO_PLUS_MINUS_ONE;
        x = net.g.rescale("transform_input", x, scale, shift);
    }
    x = net.conv("Conv2d_1a_3x3", x, Conv::new(32).kernel(3).stride(2)); // (149, 149, 32)
    x = net.conv("Conv2d_2a_3x3", x, Conv::new(32).kernel(3));
    x = net.conv("Conv2d_2b_3x3", x, Conv::new(64).kernel(3).pad(1)); // (147, 147, 64)
    x = net.max_pool(if options.source == Source::Timm { "Pool1" } else { "maxpool1" }, x); // (73, 73, 64)
    x = net.conv("Conv2d_3b_1x1", x, Conv::new(80));
    x = net.conv("Conv2d_4a_3x3", x, Conv::new(192).kernel(3)); // (71, 71, 192)
    x = net.max_pool(if options.source == Source::Timm { "Pool2" } else { "maxpool2" }, x); // (35, 35, 192)
    x = net.a("Mixed_5b", x, 32); // (35, 35, 256)
    x = net.a("Mixed_5c", x, 64);
    x = net.a("Mixed_5d", x, 64); // (35, 35, 288)
    x = net.b("Mixed_6a", x); // (17, 17, 768)
    x = net.c("Mixed_6b", x, 128);
    x = net.c("Mixed_6c", x, 160);
    x = net.c("Mixed_6d", x, 160);
    x = net.c("Mixed_6e", x, 192); // (17, 17, 768)
    x = net.d("Mixed_7a", x); // (8, 8, 1280)
    x = net.e("Mixed_7b", x, "mixed9_0", "concatenate");
    let features = net.e("Mixed_7c", x, "mixed9_1", "concatenate_1"); // (8, 8, 2048)
    net.top(features, options.classes)
}

/// The network while it is built, with the counts of Keras' layers of each kind: Keras numbers layers without a name.
pub(super) struct Net {
    pub g: Builder,
    pub source: Source,
    convs: usize,
    max_pools: usize,
    avg_pools: usize,
    mixed: usize,
}

/// Keras' name for a layer of a kind after `count` others, in a fresh session.
pub(super) fn numbered(kind: &str, count: usize) -> String {
    if count == 0 { kind.to_string() } else { format!("{kind}_{count}") }
}

impl Net {
    pub(super) fn new(g: Builder, source: Source) -> Self {
        Self { g, source, convs: 0, max_pools: 0, avg_pools: 0, mixed: 0 }
    }

    /// Convolution, batch norm and ReLU: the module `name` of torchvision and timm, the next three layers of Keras.
    pub(super) fn conv(&mut self, name: &str, x: LayerId, conv: Conv) -> LayerId {
        let n = self.convs;
        self.convs += 1;
        let g = &mut self.g;
        match self.source {
            Source::Keras => {
                let x = g.conv(&numbered("conv2d", n), x, conv);
                let x = g.batch_norm_unscaled(&numbered("batch_normalization", n), x, EPS);
                g.relu(&numbered("activation", n), x)
            }
            Source::Torchvision => {
                let x = g.conv(&format!("{name}.conv"), x, conv);
                let x = g.batch_norm(&format!("{name}.bn"), x, EPS);
                g.relu(name, x)
            }
            _ => {
                let x = g.conv(&format!("{name}.conv"), x, conv);
                let x = g.batch_norm_act(&format!("{name}.bn"), x, EPS, Activation::Relu);
                g.alias(name, x);
                x
            }
        }
    }

    /// 3 × 3, stride 2.
    pub(super) fn max_pool(&mut self, name: &str, x: LayerId) -> LayerId {
        let pool = Pool::max(3).stride(2);
        let keras = numbered("max_pooling2d", self.max_pools);
        self.max_pools += 1;
        self.g.pool(if self.source == Source::Keras { &keras } else { name }, x, pool)
    }

    /// 3 × 3, stride 1, same size: only torchvision and timm count the padding.
    fn avg_pool(&mut self, name: &str, x: LayerId) -> LayerId {
        let n = self.avg_pools;
        self.avg_pools += 1;
        match self.source {
            Source::Keras => self.g.pool(&numbered("average_pooling2d", n), x, Pool::avg(3).stride(1).pad(1)),
            _ => self.g.pool(name, x, Pool::avg_with_pad(3).stride(1).pad(1)),
        }
    }

    /// Concatenates channels: named `keras` in Keras, in the other libraries `name` with `keras` as an alias where
    /// Keras' source names the layer.
    fn concat(&mut self, name: &str, keras: &str, parts: &[LayerId]) -> LayerId {
        if self.source == Source::Keras {
            return self.g.concat(keras, parts);
        }
        let x = self.g.concat(name, parts);
        if keras.starts_with("mixed") {
            self.g.alias(keras, x);
        }
        x
    }

    /// The output of a module; Keras names them `mixed0`, `mixed1`, ….
    fn mixed(&mut self, name: &str, parts: &[LayerId]) -> LayerId {
        let keras = format!("mixed{}", self.mixed);
        self.mixed += 1;
        self.concat(name, &keras, parts)
    }

    /// Convolutions one after the other: (part of the name, convolution).
    pub(super) fn chain(&mut self, name: &str, x: LayerId, convs: &[(&str, Conv)]) -> LayerId {
        convs.iter().fold(x, |x, (part, conv)| self.conv(&format!("{name}.{part}"), x, *conv))
    }

    /// The branch of an average pool and a projection.
    fn pooled(&mut self, name: &str, x: LayerId, out: usize) -> LayerId {
        let x = self.avg_pool(&format!("{name}.avg_pool"), x);
        self.conv(&format!("{name}.branch_pool"), x, Conv::new(out))
    }

    /// torchvision's `InceptionA`, at 35 × 35.
    fn a(&mut self, name: &str, x: LayerId, pooled: usize) -> LayerId {
        let five = Conv::new(64).kernel(5).pad(2);
        let three = Conv::new(96).kernel(3).pad(1);
        let first = self.chain(name, x, &[("branch1x1", Conv::new(64))]);
        let second = self.chain(name, x, &[("branch5x5_1", Conv::new(48)), ("branch5x5_2", five)]);
        let doubled = [("branch3x3dbl_1", Conv::new(64)), ("branch3x3dbl_2", three), ("branch3x3dbl_3", three)];
        let third = self.chain(name, x, &doubled);
        let fourth = self.pooled(name, x, pooled);
        self.mixed(name, &[first, second, third, fourth])
    }

    /// `InceptionB`: 35 × 35 to 17 × 17.
    fn b(&mut self, name: &str, x: LayerId) -> LayerId {
        let first = self.chain(name, x, &[("branch3x3", Conv::new(384).kernel(3).stride(2))]);
        let doubled = [
            ("branch3x3dbl_1", Conv::new(64)),
            ("branch3x3dbl_2", Conv::new(96).kernel(3).pad(1)),
            ("branch3x3dbl_3", Conv::new(96).kernel(3).stride(2)),
        ];
        let second = self.chain(name, x, &doubled);
        let third = self.max_pool(&format!("{name}.max_pool"), x);
        self.mixed(name, &[first, second, third])
    }

    /// `InceptionC`, at 17 × 17: 7 × 7 windows as 1 × 7 and 7 × 1 with `inner` channels.
    fn c(&mut self, name: &str, x: LayerId, inner: usize) -> LayerId {
        let first = self.chain(name, x, &[("branch1x1", Conv::new(192))]);
        let single =
            [("branch7x7_1", Conv::new(inner)), ("branch7x7_2", row(inner, 7)), ("branch7x7_3", column(192, 7))];
        let second = self.chain(name, x, &single);
        let doubled = [
            ("branch7x7dbl_1", Conv::new(inner)),
            ("branch7x7dbl_2", column(inner, 7)),
            ("branch7x7dbl_3", row(inner, 7)),
            ("branch7x7dbl_4", column(inner, 7)),
            ("branch7x7dbl_5", row(192, 7)),
        ];
        let third = self.chain(name, x, &doubled);
        let fourth = self.pooled(name, x, 192);
        self.mixed(name, &[first, second, third, fourth])
    }

    /// `InceptionD`: 17 × 17 to 8 × 8.
    fn d(&mut self, name: &str, x: LayerId) -> LayerId {
        let three = [("branch3x3_1", Conv::new(192)), ("branch3x3_2", Conv::new(320).kernel(3).stride(2))];
        let first = self.chain(name, x, &three);
        let seven = [
            ("branch7x7x3_1", Conv::new(192)),
            ("branch7x7x3_2", row(192, 7)),
            ("branch7x7x3_3", column(192, 7)),
            ("branch7x7x3_4", Conv::new(192).kernel(3).stride(2)),
        ];
        let second = self.chain(name, x, &seven);
        let third = self.max_pool(&format!("{name}.max_pool"), x);
        self.mixed(name, &[first, second, third])
    }

    /// `InceptionE`, at 8 × 8: two branches end in the concatenation of a 1 × 3 and a 3 × 1 convolution, which Keras
    /// calls `three` and `doubled`.
    fn e(&mut self, name: &str, x: LayerId, three: &str, doubled: &str) -> LayerId {
        let first = self.chain(name, x, &[("branch1x1", Conv::new(320))]);
        let second = self.chain(name, x, &[("branch3x3_1", Conv::new(384))]);
        let across = self.chain(name, second, &[("branch3x3_2a", row(384, 3))]);
        let down = self.chain(name, second, &[("branch3x3_2b", column(384, 3))]);
        let second = self.concat(&format!("{name}.branch3x3"), three, &[across, down]);
        let wide = [("branch3x3dbl_1", Conv::new(448)), ("branch3x3dbl_2", Conv::new(384).kernel(3).pad(1))];
        let third = self.chain(name, x, &wide);
        let across = self.chain(name, third, &[("branch3x3dbl_3a", row(384, 3))]);
        let down = self.chain(name, third, &[("branch3x3dbl_3b", column(384, 3))]);
        let third = self.concat(&format!("{name}.branch3x3dbl"), doubled, &[across, down]);
        let fourth = self.pooled(name, x, 192);
        self.mixed(name, &[first, second, third, fourth])
    }

    /// The mean of the map and the classifier.
    fn top(mut self, features: LayerId, classes: usize) -> Result<Graph, GraphError> {
        let name = match self.source {
            Source::Keras => "avg_pool",
            Source::Torchvision => "avgpool",
            _ => "global_pool",
        };
        let x = self.g.global_avg_pool(name, features); // (2048,)
        let logits = if self.source == Source::Keras {
            self.g.dense_softmax("predictions", x, classes)
        } else {
            self.g.alias("avg_pool", x);
            self.g.dense("fc", x, classes)
        };
        self.g.finish(features, logits)
    }
}

/// 1 × `k`; the map keeps its size.
pub(super) fn row(out: usize, k: usize) -> Conv {
    Conv::new(out).kernel2(1, k).pad2(0, k / 2)
}

/// `k` × 1; the map keeps its size.
pub(super) fn column(out: usize, k: usize) -> Conv {
    Conv::new(out).kernel2(k, 1).pad2(k / 2, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::graph::{Op, Pooling};

    #[test]
    fn only_torch_counts_padding() {
        for source in Source::ALL {
            let g = inception_v3(&BuildOptions { channels: 3, size: [299; 2], classes: 1000, source }).expect("built");
            let counts = |op: &Op| matches!(op, Op::Pool { pooling: Pooling::AvgWithPad, .. });
            assert_eq!(g.layers().iter().any(|layer| counts(&layer.op)), source != Source::Keras);
        }
    }
}
