//! Inception-ResNet v2 (Szegedy et al. 2016, arXiv:1602.07261) after keras/src/applications/inception_resnet_v2.py and
//! timm/models/inception_resnet_v2.py: both have Google's weights and differ only in names.

use super::builder::{Builder, Conv, Pool};
use super::graph::{Graph, GraphError, LayerId, Shape};
use super::inception::{EPS, Net, column, numbered, row};
use super::spec::{BuildOptions, Source};

/// Inception-ResNet v2: 55.8 M parameters, 13.2 G multiply-accumulates at 299 × 299; feature map `conv_7b_ac`
/// (`conv2d_7b`) of 1536 channels. No side may be shorter than 75.
///
/// Layers to which Keras' source gives no name have the names of a fresh session: `conv2d`, `activation_1`,
/// `custom_scale_layer`.
pub(super) fn v2(options: &BuildOptions) -> Result<Graph, GraphError> {
    let (g, x) = Builder::of(options); // (299, 299, 3)
    let mut net = Residual { net: Net::new(g, options.source), sums: 0 };
    let one = Conv::new;
    let three = |out: usize| Conv::new(out).kernel(3).pad(1);
    let shrink = |out: usize| Conv::new(out).kernel(3).stride(2);
    let x = net.net.conv("conv2d_1a", x, shrink(32));
    let x = net.net.conv("conv2d_2a", x, one(32).kernel(3));
    let x = net.net.conv("conv2d_2b", x, three(64)); // (147, 147, 64)
    let x = net.net.max_pool("maxpool_3a", x);
    let x = net.net.conv("conv2d_3b", x, one(80));
    let x = net.net.conv("conv2d_4a", x, one(192).kernel(3));
    let x = net.net.max_pool("maxpool_5a", x); // (35, 35, 192)
    let mut x = net.first(x); // (35, 35, 320)
    for i in 0..10 {
        let branches: [&[Conv]; 3] = [&[one(32)], &[one(32), three(32)], &[one(32), three(48), three(64)]];
        x = net.block("block35", i, &format!("repeat.{i}"), x, &branches, 0.17);
    }
    x = net.reduction("mixed_6a", x, &[&[shrink(384)], &[one(256), three(256), shrink(384)]]); // (17, 17, 1088)
    for i in 0..20 {
        let branches: [&[Conv]; 2] = [&[one(192)], &[one(128), row(160, 7), column(192, 7)]];
        x = net.block("block17", i, &format!("repeat_1.{i}"), x, &branches, 0.1);
    }
    let branches: [&[Conv]; 3] =
        [&[one(256), shrink(384)], &[one(256), shrink(288)], &[one(256), three(288), shrink(320)]];
    x = net.reduction("mixed_7a", x, &branches); // (8, 8, 2080)
    for i in 0..10 {
        let branches: [&[Conv]; 2] = [&[one(192)], &[one(192), row(224, 3), column(256, 3)]];
        let (timm, factor) = if i < 9 { (format!("repeat_2.{i}"), 0.2) } else { ("block8".to_string(), 1.0) };
        x = net.block("block8", i, &timm, x, &branches, factor);
    }
    net.top(x, options.classes)
}

/// The network while it is built, with the number of Keras' sums so far.
struct Residual {
    net: Net,
    sums: usize,
}

impl Residual {
    /// Convolutions one after the other; timm numbers them if there are several.
    fn branch(&mut self, name: &str, x: LayerId, convs: &[Conv]) -> LayerId {
        let at = |i: usize| if convs.len() == 1 { name.to_string() } else { format!("{name}.{i}") };
        convs.iter().enumerate().fold(x, |x, (i, conv)| self.net.conv(&at(i), x, *conv))
    }

    fn branches(&mut self, module: &str, x: LayerId, branches: &[&[Conv]]) -> Vec<LayerId> {
        let each = branches.iter().enumerate();
        each.map(|(i, convs)| self.branch(&format!("{module}.branch{i}"), x, convs)).collect()
    }

    /// `mixed_5b`; its last branch is an average pool and a projection.
    fn first(&mut self, x: LayerId) -> LayerId {
        let module = "mixed_5b";
        let branches: [&[Conv]; 3] = [
            &[Conv::new(96)],
            &[Conv::new(48), Conv::new(64).kernel(5).pad(2)],
            &[Conv::new(64), Conv::new(96).kernel(3).pad(1), Conv::new(96).kernel(3).pad(1)],
        ];
        let mut parts = self.branches(module, x, &branches);
        let pool = if self.keras() { "average_pooling2d" } else { "mixed_5b.branch3.0" };
        let pooled = self.net.g.pool(pool, x, Pool::avg(3).stride(1).pad(1));
        parts.push(self.net.conv("mixed_5b.branch3.1", pooled, Conv::new(64)));
        self.net.g.concat(module, &parts)
    }

    /// Branches that halve the map, concatenated with a max pool.
    fn reduction(&mut self, module: &str, x: LayerId, branches: &[&[Conv]]) -> LayerId {
        let mut parts = self.branches(module, x, branches);
        parts.push(self.net.max_pool(&format!("{module}.branch{}", branches.len()), x));
        self.net.g.concat(module, &parts)
    }

    /// The input plus `factor` times the branches, which are projected to as many channels. The last block of the
    /// network, whose factor is 1, has no ReLU.
    fn block(
        &mut self,
        kind: &str,
        i: usize,
        timm: &str,
        input: LayerId,
        branches: &[&[Conv]],
        factor: f64,
    ) -> LayerId {
        let Shape::Map { c, .. } = self.net.g.shape(input) else { return input };
        let parts = self.branches(timm, input, branches);
        let (keras, at) = (self.keras(), format!("{kind}_{}", i + 1));
        let g = &mut self.net.g;
        let mixed = g.concat(&format!("{at}_mixed"), &parts);
        let conv = if keras { format!("{at}_conv") } else { format!("{timm}.conv2d") };
        let x = g.conv(&conv, mixed, Conv::new(c).bias());
        let scaled = numbered("custom_scale_layer", self.sums);
        self.sums += 1;
        let x = g.scale(&format!("{scaled}/scale"), x, factor);
        let mut x = g.add(&scaled, input, x);
        if factor < 1.0 {
            x = g.relu(&if keras { format!("{at}_ac") } else { format!("{timm}.act") }, x);
        }
        if !keras {
            g.alias(timm, x);
        }
        x
    }

    fn keras(&self) -> bool {
        self.net.source == Source::Keras
    }

    /// The last convolution, the mean of the map and the classifier.
    fn top(mut self, x: LayerId, classes: usize) -> Result<Graph, GraphError> {
        if !self.keras() {
            let features = self.net.conv("conv2d_7b", x, Conv::new(1536)); // (8, 8, 1536)
            let x = self.net.g.global_avg_pool("global_pool", features);
            self.net.g.alias("avg_pool", x);
            let logits = self.net.g.dense("classif", x, classes);
            return self.net.g.finish(features, logits);
        }
        let mut g = self.net.g;
        let x = g.conv("conv_7b", x, Conv::new(1536));
        let x = g.batch_norm_unscaled("conv_7b_bn", x, EPS);
        let features = g.relu("conv_7b_ac", x); // (8, 8, 1536)
        let x = g.global_avg_pool("avg_pool", features);
        let logits = g.dense_softmax("predictions", x, classes);
        g.finish(features, logits)
    }
}
