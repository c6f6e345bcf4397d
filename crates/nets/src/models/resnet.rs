//! ResNet: "Deep residual learning for image recognition" (He, Zhang, Ren and Sun 2015, arXiv:1512.03385), table 1.
//!
//! Layer names and constants are those of
//! * Keras: keras/src/applications/resnet.py, the paper's network: a block that shrinks its map does so in the first 1
//!   × 1 convolution, and convolutions have biases;
//! * torchvision: torchvision/models/resnet.py, and timm: timm/models/resnet.py, called v1.5: it shrinks in the 3 × 3
//!   convolution, and convolutions have no biases. The two hold the same tensors under the same names, and call ReLUs
//!   and the last pooling differently.
//!
//! torchvision runs one module `relu` several times in a block; its outputs are `relu`, `relu_1`, `relu_2`, as its
//! feature extraction (torchvision/models/feature_extraction.py) calls them. A block is called after its output:
//! `layer3.5`. In the networks of torchvision and timm Keras' names of block outputs and pools are found too:
//! `conv1_relu`, `pool1_pool`, `conv4_block6_out` for `layer3.5`, `avg_pool`.

use super::builder::{Builder, Conv, Pool};
use super::graph::{Graph, GraphError, LayerId, Shape};
use super::spec::{BuildOptions, Source};

/// Batch-norm epsilon of `keras.applications`.
pub(super) const KERAS_EPS: f64 = 1.001e-5;
/// PyTorch's default, which both of its libraries leave.
const TORCH_EPS: f64 = 1e-5;
/// Filters of the 3 × 3 convolutions in the four stages.
pub(super) const WIDTHS: [usize; 4] = [64, 128, 256, 512];
/// How many times more channels leave a bottleneck block than its 3 × 3 convolution has.
pub(super) const EXPANSION: usize = 4;

/// Blocks in the four stages.
const STAGES_18: [usize; 4] = [2, 2, 2, 2];
pub(super) const STAGES_50: [usize; 4] = [3, 4, 6, 3];
pub(super) const STAGES_101: [usize; 4] = [3, 4, 23, 3];
pub(super) const STAGES_152: [usize; 4] = [3, 8, 36, 3];

/// ResNet-18: 11.7 M parameters, 1.8 G multiply-accumulates at 224 × 224; feature map `layer4` of 512 channels. Keras
/// has none.
pub(super) fn resnet18(options: &BuildOptions) -> Result<Graph, GraphError> {
    torch(options, STAGES_18, Kind::Basic)
}

/// ResNet-34: 21.8 M parameters, 3.7 G multiply-accumulates at 224 × 224; feature map `layer4` of 512 channels. Keras
/// has none.
pub(super) fn resnet34(options: &BuildOptions) -> Result<Graph, GraphError> {
    torch(options, STAGES_50, Kind::Basic)
}

/// ResNet-50: 25.6 M parameters, 4.1 G multiply-accumulates at 224 × 224 (Keras' 3.9 G); feature map `layer4`, in Keras
/// `conv5_block3_out`, of 2048 channels.
pub(super) fn resnet50(options: &BuildOptions) -> Result<Graph, GraphError> {
    bottlenecks(options, STAGES_50)
}

/// ResNet-101: 44.5 M parameters, 7.8 G multiply-accumulates (Keras' 7.6 G).
pub(super) fn resnet101(options: &BuildOptions) -> Result<Graph, GraphError> {
    bottlenecks(options, STAGES_101)
}

/// ResNet-152: 60.2 M parameters, 11.5 G multiply-accumulates (Keras' 11.3 G).
pub(super) fn resnet152(options: &BuildOptions) -> Result<Graph, GraphError> {
    bottlenecks(options, STAGES_152)
}

/// ResNeXt-50 (Xie et al. 2016, arXiv:1611.05431), 32 groups of 4 channels: 25.0 M parameters, 4.2 G
/// multiply-accumulates. Keras has none.
pub(super) fn resnext50_32x4d(options: &BuildOptions) -> Result<Graph, GraphError> {
    torch(options, STAGES_50, Kind::Bottleneck { groups: 32, per_group: 4 })
}

/// ResNeXt-101, 32 groups of 8 channels: 88.8 M parameters, 16.4 G multiply-accumulates.
pub(super) fn resnext101_32x8d(options: &BuildOptions) -> Result<Graph, GraphError> {
    torch(options, STAGES_101, Kind::Bottleneck { groups: 32, per_group: 8 })
}

/// ResNeXt-101, 64 groups of 4 channels: 83.5 M parameters, 15.5 G multiply-accumulates.
pub(super) fn resnext101_64x4d(options: &BuildOptions) -> Result<Graph, GraphError> {
    torch(options, STAGES_101, Kind::Bottleneck { groups: 64, per_group: 4 })
}

/// Wide ResNet-50 (Zagoruyko and Komodakis 2016, arXiv:1605.07146), twice as wide within its blocks: 68.9 M parameters,
/// 11.4 G multiply-accumulates. Keras has none.
pub(super) fn wide_resnet50_2(options: &BuildOptions) -> Result<Graph, GraphError> {
    torch(options, STAGES_50, Kind::Bottleneck { groups: 1, per_group: 128 })
}

/// Wide ResNet-101: 126.9 M parameters, 22.8 G multiply-accumulates.
pub(super) fn wide_resnet101_2(options: &BuildOptions) -> Result<Graph, GraphError> {
    torch(options, STAGES_101, Kind::Bottleneck { groups: 1, per_group: 128 })
}

fn bottlenecks(options: &BuildOptions, stages: [usize; 4]) -> Result<Graph, GraphError> {
    match options.source {
        Source::Keras => keras(options, stages),
        Source::Torchvision | Source::Timm => torch(options, stages, BOTTLENECK),
    }
}

fn keras(options: &BuildOptions, stages: [usize; 4]) -> Result<Graph, GraphError> {
    let [h, w] = options.size;
    let (mut g, x) = Builder::new(options.channels, h, w); // (224, 224, 3)
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

/// The layers stand in the order of Keras' `model.layers`.
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

/// The two blocks of the paper's figure 5, the second as ResNeXt and Wide ResNet have it, too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// 3 × 3, 3 × 3
    Basic,
    /// 1 × 1, 3 × 3 in groups, 1 × 1 to four times as many channels as the paper's first two have; these have
    /// `per_group` of 64 as many in each group.
    Bottleneck { groups: usize, per_group: usize },
}

/// The paper's.
const BOTTLENECK: Kind = Kind::Bottleneck { groups: 1, per_group: 64 };

/// The names that the two PyTorch libraries give to parts without tensors.
struct Names {
    /// The first, second and third ReLU of a block; the first also that of the stem.
    relus: [&'static str; 3],
    pool: &'static str,
}

const TORCHVISION: Names = Names { relus: ["relu", "relu_1", "relu_2"], pool: "avgpool" };
const TIMM: Names = Names { relus: ["act1", "act2", "act3"], pool: "global_pool" };

fn torch(options: &BuildOptions, stages: [usize; 4], kind: Kind) -> Result<Graph, GraphError> {
    let names = match options.source {
        Source::Torchvision => &TORCHVISION,
        Source::Timm => &TIMM,
        Source::Keras => return Err(options.refuse("ResNet-18, ResNet-34, ResNeXt or Wide ResNet")),
    };
    let [h, w] = options.size;
    let (mut g, x) = Builder::new(options.channels, h, w); // (224, 224, 3)
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

#[cfg(test)]
mod tests {
    use super::*;

    type Family = fn(&BuildOptions) -> Result<Graph, GraphError>;

    fn build(family: Family, source: Source, channels: usize, size: [usize; 2]) -> Graph {
        family(&BuildOptions { channels, size, classes: 1000, source }).expect("resnet")
    }

    fn mega_macs(g: &Graph) -> u64 {
        let macs: u64 = g.layers().iter().map(|layer| g.macs_of(layer)).sum();
        (macs + 500_000) / 1_000_000
    }

    #[test]
    fn they_have_the_sizes_that_torchvision_publishes() {
        // ResNet*_Weights.meta["num_params"] and ["_ops"] (10⁹, three digits)
        let published: [(Family, usize, u64); 10] = [
            (resnet18, 11_689_512, 1_814),
            (resnet34, 21_797_672, 3_664),
            (resnet50, 25_557_032, 4_089),
            (resnet101, 44_549_160, 7_801),
            (resnet152, 60_192_808, 11_514),
            (resnext50_32x4d, 25_028_904, 4_230),
            (resnext101_32x8d, 88_791_336, 16_414),
            (resnext101_64x4d, 83_455_272, 15460),
            (wide_resnet50_2, 68_883_240, 11_398),
            (wide_resnet101_2, 126_886_696, 22_753),
        ];
        for (family, parameters, mega) in published {
            for source in [Source::Torchvision, Source::Timm] {
                let g = build(family, source, 3, [224, 224]);
                let learned = g.parameters().into_iter().filter(|p| !p.name.contains(".running_"));
                let count: usize = learned.map(|p| p.shape.iter().product::<usize>()).sum();
                assert_eq!((count, mega_macs(&g)), (parameters, mega), "{source}");
            }
        }
    }

    #[test]
    fn they_have_the_sizes_that_keras_counts() {
        // ResNet50().count_params() …, which counts running statistics too; multiply-accumulates by the shapes of its
        // layers
        let published: [(Family, usize, u64); 3] =
            [(resnet50, 25_636_712, 3_858), (resnet101, 44_707_176, 7_570), (resnet152, 60_419_944, 11_282)];
        for (family, parameters, mega) in published {
            let g = build(family, Source::Keras, 3, [224, 224]);
            let count: usize = g.parameters().iter().map(|p| p.shape.iter().product::<usize>()).sum();
            assert_eq!((count, mega_macs(&g)), (parameters, mega));
        }
    }

    #[test]
    fn the_stride_stands_where_the_library_has_it() {
        let g = build(resnet50, Source::Keras, 3, [224, 224]);
        assert_eq!(g.shape_of("conv3_block1_1_relu"), Shape::Map { c: 128, h: 28, w: 28 });
        for (source, relu) in [(Source::Torchvision, "layer2.0.relu"), (Source::Timm, "layer2.0.act1")] {
            let g = build(resnet50, source, 3, [224, 224]);
            assert_eq!(g.shape_of(relu), Shape::Map { c: 128, h: 56, w: 56 });
            assert_eq!(g.shape_of("layer2.0.bn2"), Shape::Map { c: 128, h: 28, w: 28 });
        }
    }

    #[test]
    fn keras_layers_are_found_by_name() {
        let g = build(resnet50, Source::Keras, 3, [224, 224]);
        assert_eq!(g.shape_of("conv1_pad"), Shape::Map { c: 3, h: 230, w: 230 });
        assert_eq!(g.shape_of("pool1_pad"), Shape::Map { c: 64, h: 114, w: 114 });
        assert_eq!(g.shape_of("conv4_block6_add"), Shape::Map { c: 1024, h: 14, w: 14 });
        assert_eq!(g.features(), g.find("conv5_block3_out").expect("conv5_block3_out"));
        assert_eq!(g.logits(), g.find("predictions/BiasAdd").expect("the logits"));
        assert_eq!(g.shape_of("predictions"), Shape::Vector(1000));
        let names: Vec<_> = g.parameters().into_iter().map(|p| p.name).collect();
        assert!(names.contains(&"conv2_block1_0_conv.bias".to_string()));
        assert!(!names.iter().any(|name| name.starts_with("conv2_block2_0")));
    }

    #[test]
    fn modules_are_found_by_torch_and_keras_names() {
        let g = build(resnet50, Source::Torchvision, 3, [224, 224]);
        for (keras, torch) in [
            ("conv1_relu", "relu"),
            ("pool1_pool", "maxpool"),
            ("conv4_block6_out", "layer3.5"),
            ("conv5_block3_out", "layer4"),
            ("avg_pool", "avgpool"),
        ] {
            assert_eq!(g.find(keras).map(|id| &g.layer(id).name), g.find(torch).map(|id| &g.layer(id).name));
            assert!(g.find(keras).is_some(), "{keras}");
        }
        assert_eq!(g.find("layer3.5.relu_2"), g.find("layer3.5"));
        assert_eq!(g.shape_of("layer4"), Shape::Map { c: 2048, h: 7, w: 7 });
        assert_eq!(g.shape_of("fc"), Shape::Vector(1000));
        let g = build(resnet34, Source::Timm, 3, [224, 224]);
        assert_eq!(g.find("layer3.5.act2"), g.find("conv4_block6_out"));
        assert_eq!(g.shape_of("global_pool"), Shape::Vector(512));
        let names: Vec<_> = g.parameters().into_iter().map(|p| p.name).collect();
        assert!(names.contains(&"layer2.0.downsample.1.running_mean".to_string()));
        assert!(!names.iter().any(|name| name.starts_with("layer1.0.downsample") || name == "conv1.bias"));
    }

    #[test]
    fn odd_sizes_and_grey_pictures_fit() {
        for source in Source::ALL {
            let g = build(resnet50, source, 1, [225, 193]);
            assert_eq!(g.shape_of("pool1_pool"), Shape::Map { c: 64, h: 57, w: 49 });
            assert_eq!(g.layer(g.features()).shape, Shape::Map { c: 2048, h: 8, w: 7 });
            assert_eq!(g.parameters()[0].shape, [64, 1, 7, 7]);
        }
    }

    #[test]
    fn what_keras_does_not_have_is_said() {
        let options = BuildOptions { channels: 3, size: [224, 224], classes: 1000, source: Source::Keras };
        assert!(resnet18(&options).is_err_and(|error| error.to_string().contains("keras has no ResNet-18")));
    }
}
