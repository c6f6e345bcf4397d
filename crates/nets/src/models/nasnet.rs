//! NASNet-A (Zoph et al. 2017, arXiv:1707.07012), mobile (4 @ 1056) and large (6 @ 4032), after
//! keras/src/applications/nasnet.py.
//!
//! Each cell takes the outputs of the two cells before it. Layers to which Keras' source gives no name have the names
//! of a fresh session: `activation`, `add_1`.

use super::builder::{Builder, Conv, Pool};
use super::graph::{Graph, GraphError, LayerId, Shape};
use super::inception::numbered;
use super::spec::BuildOptions;

const EPS: f64 = 1e-3;

/// NASNet-A (N @ P).
struct Size {
    /// Normal cells in each of the three stages: N.
    cells: usize,
    /// Channels of the last map: P.
    channels: usize,
    /// Channels after the first convolution.
    stem: usize,
    /// Whether the first cell after a reduction takes, as its second input, the output of the cell before the
    /// reduction's input instead of that input.
    skips: bool,
}

/// NASNet-A mobile: 5.3 M parameters, 0.6 G multiply-accumulates at 224 × 224; feature map `activation_187` of 1056
/// channels.
pub(super) fn mobile(options: &BuildOptions) -> Result<Graph, GraphError> {
    nasnet(options, &Size { cells: 4, channels: 1056, stem: 32, skips: false })
}

/// NASNet-A large: 88.9 M parameters, 23.8 G multiply-accumulates at 331 × 331; feature map `activation_259` of 4032
/// channels.
pub(super) fn large(options: &BuildOptions) -> Result<Graph, GraphError> {
    nasnet(options, &Size { cells: 6, channels: 4032, stem: 96, skips: true })
}

fn nasnet(options: &BuildOptions, size: &Size) -> Result<Graph, GraphError> {
    let (mut g, x) = Builder::of(options); // (224, 224, 3)
    let x = g.conv("stem_conv1", x, Conv::new(size.stem).kernel(3).stride(2));
    let x = g.batch_norm("stem_bn1", x, EPS);
    let mut net = Net { g, relus: 0, pads: 0, concats: 0, sums: 0 };
    let (cells, filters) = (size.cells, size.channels / 24);
    let first = net.reduction(x, x, filters / 4, "stem_1");
    let (mut x, mut before) = (net.reduction(first, x, filters / 2, "stem_2"), first);
    for stage in 0..3 {
        let filters = filters << stage;
        if stage > 0 {
            let reduced = net.reduction(x, before, filters, &format!("reduce_{}", stage * cells));
            if !size.skips {
                before = x;
            }
            x = reduced;
        }
        for i in 0..cells {
            let id = stage * cells + i + usize::from(stage > 0);
            (x, before) = (net.normal(x, before, filters, &id.to_string()), x);
        }
    }
    let features = net.relu(x); // (7, 7, 1056)
    let x = net.g.global_avg_pool("global_average_pooling2d", features);
    net.g.alias("avg_pool", x);
    let logits = net.g.dense_softmax("predictions", x, options.classes);
    net.g.finish(features, logits)
}

/// The network while it is built, with the numbers of Keras' layers of each kind so far.
struct Net {
    g: Builder,
    relus: usize,
    pads: usize,
    concats: usize,
    sums: usize,
}

impl Net {
    fn relu(&mut self, x: LayerId) -> LayerId {
        self.relus += 1;
        self.g.relu(&numbered("activation", self.relus - 1), x)
    }

    /// Twice ReLU, separable convolution and batch norm; the first convolution has the stride.
    fn separable(&mut self, x: LayerId, filters: usize, kernel: usize, stride: usize, id: &str) -> LayerId {
        let mut x = self.relu(x);
        let mut first = Conv::depthwise().kernel(kernel).stride(stride);
        if stride == 2 {
            x = self.g.correct_pad(&format!("separable_conv_1_pad_{id}"), x, kernel);
        } else {
            first = first.same();
        }
        let x = self.g.separable(&format!("separable_conv_1_{id}"), x, first, filters);
        let x = self.g.batch_norm(&format!("separable_conv_1_bn_{id}"), x, EPS);
        let x = self.relu(x);
        let second = Conv::depthwise().kernel(kernel).same();
        let x = self.g.separable(&format!("separable_conv_2_{id}"), x, second, filters);
        self.g.batch_norm(&format!("separable_conv_2_bn_{id}"), x, EPS)
    }

    /// The output `before` of an earlier cell, resized to the map `x` and projected to `filters` channels.
    fn adjusted(&mut self, before: LayerId, x: LayerId, filters: usize, id: &str) -> LayerId {
        let (Shape::Map { c, w, .. }, Shape::Map { w: wanted, .. }) = (self.g.shape(before), self.g.shape(x)) else {
            return before;
        };
        let norm = format!("adjust_bn_{id}");
        if before == x || (w == wanted && c == filters) {
            return before;
        }
        if w == wanted {
            let x = self.relu(before);
            let x = self.g.conv(&format!("adjust_conv_projection_{id}"), x, Conv::new(filters));
            return self.g.batch_norm(&norm, x, EPS);
        }
        // every second position, and the positions one to the right and one below these
        let relu = self.g.relu(&format!("adjust_relu_1_{id}"), before);
        let half = |net: &mut Self, part: usize, x: LayerId| {
            let x = net.g.pool(&format!("adjust_avg_pool_{part}_{id}"), x, Pool::avg(1).stride(2));
            net.g.conv(&format!("adjust_conv_{part}_{id}"), x, Conv::new(filters / 2))
        };
        let first = half(self, 1, relu);
        let shifted = self.g.zero_pad(&numbered("zero_padding2d", self.pads), relu, [0, 1, 0, 1]);
        let shifted = self.g.crop(&numbered("cropping2d", self.pads), shifted);
        self.pads += 1;
        let second = half(self, 2, shifted);
        let x = self.g.concat(&numbered("concatenate", self.concats), &[first, second]);
        self.concats += 1;
        self.g.batch_norm(&norm, x, EPS)
    }

    /// ReLU, 1 × 1 and batch norm: the beginning of each cell.
    fn projected(&mut self, cell: &str, x: LayerId, filters: usize, id: &str) -> LayerId {
        let x = self.relu(x);
        let x = self.g.conv(&format!("{cell}_conv_1_{id}"), x, Conv::new(filters));
        self.g.batch_norm(&format!("{cell}_bn_1_{id}"), x, EPS)
    }

    fn average(&mut self, name: &str, x: LayerId) -> LayerId {
        self.g.pool(name, x, Pool::avg(3).stride(1).same())
    }

    /// `_normal_a_cell` of the output `x` of the last cell and the output `before` of the one before.
    fn normal(&mut self, x: LayerId, before: LayerId, filters: usize, id: &str) -> LayerId {
        let at = |part: &str| format!("normal_{part}_{id}");
        let p = self.adjusted(before, x, filters, id);
        let h = self.projected("normal", x, filters, id);
        let left = self.separable(h, filters, 5, 1, &at("left1"));
        let right = self.separable(p, filters, 3, 1, &at("right1"));
        let x1 = self.g.add(&at("add_1"), left, right);
        let left = self.separable(p, filters, 5, 1, &at("left2"));
        let right = self.separable(p, filters, 3, 1, &at("right2"));
        let x2 = self.g.add(&at("add_2"), left, right);
        let left = self.average(&at("left3"), h);
        let x3 = self.g.add(&at("add_3"), left, p);
        let left = self.average(&at("left4"), p);
        let right = self.average(&at("right4"), p);
        let x4 = self.g.add(&at("add_4"), left, right);
        let left = self.separable(h, filters, 3, 1, &at("left5"));
        let x5 = self.g.add(&at("add_5"), left, h);
        self.g.concat(&at("concat"), &[p, x1, x2, x3, x4, x5])
    }

    /// `_reduction_a_cell` of the output `x` of the last cell and the output `before` of the one before.
    fn reduction(&mut self, x: LayerId, before: LayerId, filters: usize, id: &str) -> LayerId {
        let at = |part: &str| format!("reduction_{part}_{id}");
        let p = self.adjusted(before, x, filters, id);
        let h = self.projected("reduction", x, filters, id);
        let padded = self.g.correct_pad(&at("pad_1"), h, 3);
        let left = self.separable(h, filters, 5, 2, &at("left1"));
        let right = self.separable(p, filters, 7, 2, &at("right1"));
        let x1 = self.g.add(&at("add_1"), left, right);
        let left = self.g.pool(&at("left2"), padded, Pool::max(3).stride(2));
        let right = self.separable(p, filters, 7, 2, &at("right2"));
        let x2 = self.g.add(&at("add_2"), left, right);
        let left = self.g.pool(&at("left3"), padded, Pool::avg(3).stride(2));
        let right = self.separable(p, filters, 5, 2, &at("right3"));
        let x3 = self.g.add(&at("add3"), left, right);
        let left = self.average(&at("left4"), x1);
        let x4 = self.g.add(&numbered("add", self.sums), x2, left);
        self.sums += 1;
        let left = self.separable(x1, filters, 3, 1, &at("left4"));
        let right = self.g.pool(&at("right5"), padded, Pool::max(3).stride(2));
        let x5 = self.g.add(&at("add4"), left, right);
        self.g.concat(&at("concat"), &[x2, x3, x4, x5])
    }
}
