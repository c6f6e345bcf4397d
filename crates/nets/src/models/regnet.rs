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

macro_rules! networks {
    ($($name:ident: $y:literal, $depths:expr, $widths:expr, $group:literal, $about:literal;)*) => {
        $(#[doc = $about]
        pub(super) fn $name(options: &BuildOptions) -> Result<Graph, GraphError> {
            regnet(options, &Stages { depths: $depths, widths: $widths, group: $group }, $y)
        })*
    };
}

networks! {
    y_400mf: true, [1, 3, 6, 6], [48, 104, 208, 440], 8, "RegNetY-400MF: 4.3 M parameters.";
    y_800mf: true, [1, 3, 8, 2], [64, 144, 320, 784], 16, "RegNetY-800MF: 6.4 M parameters.";
    y_1_6gf: true, [2, 6, 17, 2], [48, 120, 336, 888], 24, "RegNetY-1.6GF: 11 M parameters.";
    y_3_2gf: true, [2, 5, 13, 1], [72, 216, 576, 1512], 24, "RegNetY-3.2GF: 19 M parameters.";
    y_8gf: true, [2, 4, 10, 1], [224, 448, 896, 2016], 56, "RegNetY-8GF: 39 M parameters.";
    y_16gf: true, [2, 4, 11, 1], [224, 448, 1232, 3024], 112, "RegNetY-16GF: 84 M parameters.";
    y_32gf: true, [2, 5, 12, 1], [232, 696, 1392, 3712], 232, "RegNetY-32GF: 145 M parameters.";
    x_400mf: false, [1, 2, 7, 12], [32, 64, 160, 400], 16, "RegNetX-400MF: 5.5 M parameters.";
    x_800mf: false, [1, 3, 7, 5], [64, 128, 288, 672], 16, "RegNetX-800MF: 7.3 M parameters.";
    x_1_6gf: false, [2, 4, 10, 2], [72, 168, 408, 912], 24, "RegNetX-1.6GF: 9.2 M parameters.";
    x_3_2gf: false, [2, 6, 15, 2], [96, 192, 432, 1008], 48, "RegNetX-3.2GF: 15 M parameters.";
    x_8gf: false, [2, 5, 15, 1], [80, 240, 720, 1920], 120, "RegNetX-8GF: 40 M parameters.";
    x_16gf: false, [2, 6, 13, 1], [256, 512, 896, 2048], 128, "RegNetX-16GF: 54 M parameters.";
    x_32gf: false, [2, 7, 13, 1], [336, 672, 1344, 2520], 168, "RegNetX-32GF: 108 M parameters.";
}

/// A RegNet; `y` with squeeze-and-excitation. The feature map is `trunk_output`, in timm `s4`.
fn regnet(options: &BuildOptions, stages: &Stages, y: bool) -> Result<Graph, GraphError> {
    let timm = match options.source {
        Source::Keras => return Err(options.refuse("RegNet")),
        source => source == Source::Timm,
    };
    let [h, w] = options.size;
    let (g, x) = Builder::new(options.channels, h, w); // (224, 224, 3)
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
