//! ResNet: "Deep residual learning for image recognition" (He, Zhang, Ren and Sun 2015, arXiv:1512.03385), table 1.
//!
//! Layer names and constants are those of
//! * Keras: keras/src/applications/resnet.py, the paper's network: a block that halves its map does so in the first 1 ×
//!   1 convolution, and convolutions have biases;
//! * torchvision: torchvision/models/resnet.py, and timm: timm/models/resnet.py, known as v1.5: a block halves its map
//!   in the 3 × 3 convolution, and convolutions have no biases. Both have the same tensors under the same names; ReLUs
//!   and the last pooling have different names.
//!
//! torchvision runs one module `relu` several times in a block; its outputs are named `relu`, `relu_1`, `relu_2`, as in
//! its feature extraction (torchvision/models/feature_extraction.py). A block has the name of its output: `layer3.5`.
//! In the networks of torchvision and timm Keras' names of block outputs and pools are aliases: `conv1_relu`,
//! `pool1_pool`, `conv4_block6_out` for `layer3.5`, `avg_pool`.

use super::builder::{Builder, Conv, Pool};
use super::graph::{Graph, GraphError, LayerId, Shape};
use super::spec::{BuildOptions, Source};

/// Batch-norm epsilon of `keras.applications`.
pub(super) const KERAS_EPS: f64 = 1.001e-5;
/// PyTorch's default epsilon, which torchvision and timm use.
const TORCH_EPS: f64 = 1e-5;
/// Filters of the 3 × 3 convolutions in the four stages.
pub(super) const WIDTHS: [usize; 4] = [64, 128, 256, 512];
/// Output channels of a bottleneck block as a multiple of the channels of its 3 × 3 convolution.
pub(super) const EXPANSION: usize = 4;

/// Blocks in the four stages.
pub(super) const STAGES_18: [usize; 4] = [2, 2, 2, 2];
pub(super) const STAGES_50: [usize; 4] = [3, 4, 6, 3];
pub(super) const STAGES_101: [usize; 4] = [3, 4, 23, 3];
pub(super) const STAGES_152: [usize; 4] = [3, 8, 36, 3];

/// A network with so many blocks in its `stages`. The feature map is `layer4`, in Keras, which has [`BOTTLENECK`]s
/// alone, `conv5_block3_out`; it has 2048 channels, with [`Kind::Basic`] 512.
pub(super) fn network(options: &BuildOptions, stages: [usize; 4], kind: Kind) -> Result<Graph, GraphError> {
    match options.source {
        Source::Keras => keras(options, stages),
        _ => torch(options, stages, kind),
    }
}

/// ResNeXt with `groups` of `width` channels.
pub(super) fn resnext(o: &BuildOptions, stages: [usize; 4], groups: usize, width: usize) -> Result<Graph, GraphError> {
    torch(o, stages, Kind::Bottleneck { groups, per_group: width })
}

fn keras(options: &BuildOptions, stages: [usize; 4]) -> Result<Graph, GraphError> {
    let (mut g, x) = Builder::of(options); // (224, 224, 3)
    let x = g.zero_pad("conv1_pad", x, [3; 4]);
    let x = g.conv("conv1_conv", x, Conv::new(64).kernel(7).stride(2).bias());
    let x = g.batch_norm("conv1_bn", x, KERAS_EPS);
    let x = g.relu("conv1_relu", x); // (112, 112, 64)
    let x = g.zero_pad("pool1_pad", x, [1; 4]);
    let mut x = g.pool("pool1_pool", x, Pool::max(3).stride(2)); // (56, 56, 64)
    for (stage, (blocks, width)) in (2..).zip(stages.into_iter().zip(WIDTHS)) {
        for block in 1..=blocks {
            let stride = if block == 1 && stage > 2 { 2 } else { 1 };
            x = keras_block(&mut g, &format!("conv{stage}_block{block}"), x, width, stride, block == 1);
        }
    }
    let features = x; // (7, 7, 2048)
    let x = g.global_avg_pool("avg_pool", features); // (2048,)
    let logits = g.dense_softmax("predictions", x, options.classes);
    g.finish(features, logits)
}

/// Adds the layers in the order of Keras' `model.layers`.
fn keras_block(g: &mut Builder, name: &str, input: LayerId, width: usize, stride: usize, project: bool) -> LayerId {
    let at = |part: &str| format!("{name}_{part}");
    let x = g.conv(&at("1_conv"), input, Conv::new(width).stride(stride).bias());
    let x = g.batch_norm(&at("1_bn"), x, KERAS_EPS);
    let x = g.relu(&at("1_relu"), x);
    let x = g.conv(&at("2_conv"), x, Conv::new(width).kernel(3).same().bias());
    let x = g.batch_norm(&at("2_bn"), x, KERAS_EPS);
    let x = g.relu(&at("2_relu"), x);
    let (mut shortcut, out) = (input, EXPANSION * width);
    if project {
        shortcut = g.conv(&at("0_conv"), input, Conv::new(out).stride(stride).bias());
    }
    let x = g.conv(&at("3_conv"), x, Conv::new(out).bias());
    if project {
        shortcut = g.batch_norm(&at("0_bn"), shortcut, KERAS_EPS);
    }
    let x = g.batch_norm(&at("3_bn"), x, KERAS_EPS);
    let x = g.add(&at("add"), shortcut, x);
    g.relu(&at("out"), x)
}

/// The two blocks of the paper's figure 5; ResNeXt (Xie et al. 2016, arXiv:1611.05431) and Wide ResNet (Zagoruyko and
/// Komodakis 2016, arXiv:1605.07146) vary the second.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// 3 × 3, 3 × 3
    Basic,
    /// 1 × 1, 3 × 3 in `groups`, 1 × 1 to 4 · width channels. The first two have width · `per_group` / 64 channels for
    /// each group.
    Bottleneck { groups: usize, per_group: usize },
}

/// The bottleneck of the paper, and that of Wide ResNet, twice as wide within.
pub(super) const BOTTLENECK: Kind = Kind::Bottleneck { groups: 1, per_group: 64 };
pub(super) const WIDE: Kind = Kind::Bottleneck { groups: 1, per_group: 128 };

/// The names that the two PyTorch libraries give to parts without tensors.
struct Names {
    /// The first, second and third ReLU of a block; the first also that of the stem.
    relus: [&'static str; 3],
    pool: &'static str,
}

const TORCHVISION: Names = Names { relus: ["relu", "relu_1", "relu_2"], pool: "avgpool" };
const TIMM: Names = Names { relus: ["act1", "act2", "act3"], pool: "global_pool" };

fn torch(options: &BuildOptions, stages: [usize; 4], kind: Kind) -> Result<Graph, GraphError> {
    let names = if options.source == Source::Torchvision { &TORCHVISION } else { &TIMM };
    let (mut g, x) = Builder::of(options); // (224, 224, 3)
    let x = g.conv("conv1", x, Conv::new(64).kernel(7).stride(2).pad(3));
    let x = g.batch_norm("bn1", x, TORCH_EPS);
    let x = g.relu(names.relus[0], x); // (112, 112, 64)
    g.alias("conv1_relu", x);
    let mut x = g.pool("maxpool", x, Pool::max(3).stride(2).pad(1)); // (56, 56, 64)
    g.alias("pool1_pool", x);
    for (stage, (blocks, width)) in (1..).zip(stages.into_iter().zip(WIDTHS)) {
        for block in 0..blocks {
            let stride = if block == 0 && stage > 1 { 2 } else { 1 };
            x = torch_block(&mut g, &format!("layer{stage}.{block}"), x, kind, width, stride, names);
            g.alias(&format!("conv{}_block{}_out", stage + 1, block + 1), x);
        }
        g.alias(&format!("layer{stage}"), x);
    }
    let features = x; // (7, 7, 2048), for basic blocks (7, 7, 512)
    let x = g.global_avg_pool(names.pool, features); // (2048,)
    g.alias("avg_pool", x);
    if options.source == Source::Torchvision {
        g.alias("flatten", x);
    }
    let logits = g.dense("fc", x, options.classes);
    g.finish(features, logits)
}

fn torch_block(
    g: &mut Builder,
    name: &str,
    input: LayerId,
    kind: Kind,
    width: usize,
    stride: usize,
    names: &Names,
) -> LayerId {
    let at = |part: &str| format!("{name}.{part}");
    let wide = |conv: Conv| conv.kernel(3).pad(1);
    let (convs, last) = match kind {
        Kind::Basic => (vec![wide(Conv::new(width)).stride(stride), wide(Conv::new(width))], width),
        Kind::Bottleneck { groups, per_group } => {
            let (inner, out) = (width * per_group / 64 * groups, EXPANSION * width);
            let spatial = wide(Conv::new(inner).groups(groups)).stride(stride);
            (vec![Conv::new(inner), spatial, Conv::new(out)], out)
        }
    };
    let mut x = input;
    for (i, conv) in convs.iter().enumerate() {
        if i > 0 {
            x = g.relu(&at(names.relus[i - 1]), x);
        }
        x = g.conv(&at(&format!("conv{}", i + 1)), x, *conv);
        x = g.batch_norm(&at(&format!("bn{}", i + 1)), x, TORCH_EPS);
    }
    let mut shortcut = input;
    if stride > 1 || !matches!(g.shape(input), Shape::Map { c, .. } if c == last) {
        shortcut = g.conv(&at("downsample.0"), input, Conv::new(last).stride(stride));
        shortcut = g.batch_norm(&at("downsample.1"), shortcut, TORCH_EPS);
        g.alias(&at("downsample"), shortcut);
    }
    let x = g.add(&at("add"), x, shortcut);
    let x = g.relu(&at(names.relus[convs.len() - 1]), x);
    g.alias(name, x);
    x
}
