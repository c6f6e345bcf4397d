//! RegNet (Radosavovic et al. 2020, arXiv:2003.13678), with squeeze-and-excitation (y) and without (x), after
//! torchvision/models/regnet.py and timm/models/regnet.py (`regnety_004`, …). `BlockParams.from_init_params` computes
//! the widths and depths from the paper's four numbers. The libraries differ in names and in the widths of three
//! networks: both round a width to whole groups, but torchvision rounds up where rounding down would lose more than a
//! tenth.

use super::builder::{Builder, Conv};
use super::graph::{Activation, Graph, GraphError, LayerId, Shape};
use super::spec::{BuildOptions, Source};

/// PyTorch's default batch-norm epsilon.
const EPS: f64 = 1e-5;
/// Channels after the stem.
const STEM: usize = 32;

/// The four stages of a network.
struct Stages {
    depths: [usize; 4],
    widths: [usize; 4],
    /// Channels in a group of the 3 × 3 convolutions, at most the width.
    group: usize,
}

/// RegNetX.
pub(super) fn x(o: &BuildOptions, depths: [usize; 4], widths: [usize; 4], group: usize) -> Result<Graph, GraphError> {
    regnet(o, &Stages { depths, widths, group }, false)
}

/// RegNetY.
pub(super) fn y(o: &BuildOptions, depths: [usize; 4], widths: [usize; 4], group: usize) -> Result<Graph, GraphError> {
    regnet(o, &Stages { depths, widths, group }, true)
}

/// A RegNet; `y` with squeeze-and-excitation. The feature map is `trunk_output`, in timm `s4`.
fn regnet(options: &BuildOptions, stages: &Stages, y: bool) -> Result<Graph, GraphError> {
    let timm = options.source == Source::Timm;
    let (g, x) = Builder::of(options); // (224, 224, 3)
    let mut net = Net { g, timm };
    let mut x = net.layer("stem", x, Conv::new(STEM).kernel(3).stride(2).pad(1), true);
    let widths = if timm { stages.timm_widths() } else { stages.widths };
    for (stage, (depth, width)) in (1..).zip(stages.depths.into_iter().zip(widths)) {
        let module = if timm { format!("s{stage}") } else { format!("trunk_output.block{stage}") };
        for i in 0..depth {
            let stride = if i == 0 { 2 } else { 1 };
            let name = if timm { format!("{module}.b{}", i + 1) } else { format!("{module}.block{stage}-{i}") };
            x = net.block(&name, x, [width, stages.group, stride], y);
        }
        net.g.alias(&module, x);
    }
    let (features, mut g) = (x, net.g);
    let [pool, classifier] = if timm { ["head.global_pool", "head.fc"] } else { ["avgpool", "fc"] };
    if !timm {
        g.alias("trunk_output", features);
    }
    let x = g.global_avg_pool(pool, features);
    g.alias("avg_pool", x);
    let logits = g.dense(classifier, x, options.classes);
    g.finish(features, logits)
}

/// The network while it is built.
struct Net {
    g: Builder,
    timm: bool,
}

impl Stages {
    /// The widths of timm: `adjust_widths_groups_comp` with a `min_ratio` of 0.
    fn timm_widths(&self) -> [usize; 4] {
        match (self.widths, self.group) {
            ([32, 64, 160, 400], 16) => [32, 64, 160, 384],
            ([64, 144, 320, 784], 16) => [64, 128, 320, 768],
            ([224, 448, 896, 2016], 56) => [168, 448, 896, 2016],
            (widths, _) => widths,
        }
    }
}

impl Net {
    /// A convolution, its batch norm and ReLU: the module `name`.
    fn layer(&mut self, name: &str, x: LayerId, conv: Conv, relu: bool) -> LayerId {
        let (g, [first, norm, last]) = (&mut self.g, if self.timm { ["conv", "bn", ""] } else { ["0", "1", "2"] });
        let x = g.conv(&format!("{name}.{first}"), x, conv);
        let norm = format!("{name}.{norm}");
        let x = if relu && self.timm {
            g.batch_norm_act(&norm, x, EPS, Activation::Relu)
        } else {
            let x = g.batch_norm(&norm, x, EPS);
            if relu { g.relu(&format!("{name}.{last}"), x) } else { x }
        };
        g.alias(name, x);
        x
    }

    fn block(&mut self, name: &str, input: LayerId, [width, group, stride]: [usize; 3], y: bool) -> LayerId {
        let Shape::Map { c, .. } = self.g.shape(input) else { return input };
        let [shortcut, a, b, se, last, act] = match self.timm {
            true => ["downsample", "conv1", "conv2", "se", "conv3", "act3"],
            false => ["proj", "f.a", "f.b", "f.se", "f.c", "activation"],
        }
        .map(|part| format!("{name}.{part}"));
        let other = match c != width || stride != 1 {
            true => self.layer(&shortcut, input, Conv::new(width).stride(stride), false),
            false => input,
        };
        let grouped = Conv::new(width).groups(width / group.min(width)).kernel(3).stride(stride).pad(1);
        let x = self.layer(&a, input, Conv::new(width), true);
        let mut x = self.layer(&b, x, grouped, true);
        if y {
            x = self.squeeze(&se, x, (0.25 * c as f64).round_ties_even() as usize, width);
        }
        let x = self.layer(&last, x, Conv::new(width), false);
        if !self.timm {
            self.g.alias(&format!("{name}.f"), x);
        }
        let x = self.g.add(&format!("{name}.add"), other, x);
        let x = self.g.relu(&act, x);
        self.g.alias(name, x);
        x
    }

    fn squeeze(&mut self, name: &str, x: LayerId, squeezed: usize, width: usize) -> LayerId {
        let [pool, act, gate] = match self.timm {
            true => ["pool", "act", "gate"],
            false => ["avgpool", "activation", "scale_activation"],
        }
        .map(|part| format!("{name}.{part}"));
        let g = &mut self.g;
        let s = g.adaptive_avg_pool(&pool, x, 1);
        let s = g.conv(&format!("{name}.fc1"), s, Conv::new(squeezed).bias());
        let s = g.relu(&act, s);
        let s = g.conv(&format!("{name}.fc2"), s, Conv::new(width).bias());
        let s = g.activation(&gate, s, Activation::Sigmoid);
        g.multiply(name, x, s)
    }
}
