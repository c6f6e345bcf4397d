//! VGG: "Very deep convolutional networks for large-scale image recognition" (Simonyan and Zisserman 2014,
//! arXiv:1409.1556), table 1.
//!
//! Layer names, and where the libraries differ the rest too, are those of
//! * Keras: keras/src/applications/vgg16.py and vgg19.py;
//! * torchvision: torchvision/models/vgg.py. An adaptive pooling lets the classifier take maps of any size;
//! * timm: timm/models/vgg.py. The two hidden dense layers are convolutions (7 × 7, then 1 × 1) before a global
//!   pooling; a map that is less than 7 high or wide is first pooled up to 7.
//!
//! In the networks of torchvision and timm Keras' names are found too: `block5_conv3` (after its ReLU, as in Keras),
//! `block5_pool`, `fc1`, `fc2`.

use super::builder::{Builder, Conv, Pool};
use super::graph::{Activation, FlattenOrder, Graph, GraphError, LayerId, Shape};
use super::spec::{BuildOptions, Source};

/// Filters of the convolutions in the five blocks; a max pooling ends each.
const WIDTHS: [usize; 5] = [64, 128, 256, 512, 512];
/// Values of the two hidden dense layers.
const HIDDEN: usize = 4096;
/// Height and width of the map that the classifier is made for.
const GRID: usize = 7;
/// PyTorch's default, which both of its libraries leave.
const EPS: f64 = 1e-5;

/// Configurations A, B, D and E of the paper: convolutions in each block.
const A: [usize; 5] = [1, 1, 2, 2, 2];
const B: [usize; 5] = [2, 2, 2, 2, 2];
const D: [usize; 5] = [2, 2, 3, 3, 3];
const E: [usize; 5] = [2, 2, 4, 4, 4];

/// VGG-11: 132.9 M parameters, 7.6 G multiply-accumulates at 224 × 224; the feature map has 512 channels, as in all of
/// the family.
pub(super) fn vgg11(options: &BuildOptions) -> Result<Graph, GraphError> {
    torch(options, "VGG-11", A, false)
}

/// VGG-13: 133.0 M parameters, 11.3 G multiply-accumulates.
pub(super) fn vgg13(options: &BuildOptions) -> Result<Graph, GraphError> {
    torch(options, "VGG-13", B, false)
}

/// VGG-16: 138.4 M parameters, 15.5 G multiply-accumulates.
pub(super) fn vgg16(options: &BuildOptions) -> Result<Graph, GraphError> {
    match options.source {
        Source::Keras => keras(options, D),
        _ => torch(options, "VGG-16", D, false),
    }
}

/// VGG-19: 143.7 M parameters, 19.6 G multiply-accumulates.
pub(super) fn vgg19(options: &BuildOptions) -> Result<Graph, GraphError> {
    match options.source {
        Source::Keras => keras(options, E),
        _ => torch(options, "VGG-19", E, false),
    }
}

/// VGG-11 with a batch norm behind each convolution.
pub(super) fn vgg11_bn(options: &BuildOptions) -> Result<Graph, GraphError> {
    torch(options, "VGG-11 with batch norm", A, true)
}

/// VGG-13 with a batch norm behind each convolution.
pub(super) fn vgg13_bn(options: &BuildOptions) -> Result<Graph, GraphError> {
    torch(options, "VGG-13 with batch norm", B, true)
}

/// VGG-16 with a batch norm behind each convolution.
pub(super) fn vgg16_bn(options: &BuildOptions) -> Result<Graph, GraphError> {
    torch(options, "VGG-16 with batch norm", D, true)
}

/// VGG-19 with a batch norm behind each convolution.
pub(super) fn vgg19_bn(options: &BuildOptions) -> Result<Graph, GraphError> {
    torch(options, "VGG-19 with batch norm", E, true)
}

fn keras(options: &BuildOptions, depths: [usize; 5]) -> Result<Graph, GraphError> {
    let [h, w] = options.size;
    let (mut g, mut x) = Builder::new(options.channels, h, w); // (224, 224, 3)
    for (block, (depth, width)) in (1..).zip(depths.into_iter().zip(WIDTHS)) {
        for i in 1..=depth {
            let conv = Conv::new(width).kernel(3).same().bias();
            x = g.conv_act(&format!("block{block}_conv{i}"), x, conv, Activation::Relu);
        }
        x = g.pool(&format!("block{block}_pool"), x, Pool::max(2));
    }
    let features = x; // (7, 7, 512)
    let x = g.flatten("flatten", features, FlattenOrder::ChannelsLast); // (25088,)
    let x = g.dense_act("fc1", x, HIDDEN, Activation::Relu); // (4096,)
    let x = g.dense_act("fc2", x, HIDDEN, Activation::Relu); // (4096,)
    let logits = g.dense_softmax("predictions", x, options.classes);
    g.finish(features, logits)
}

fn torch(options: &BuildOptions, title: &'static str, depths: [usize; 5], norm: bool) -> Result<Graph, GraphError> {
    let [h, w] = options.size;
    let (mut g, x) = Builder::new(options.channels, h, w); // (224, 224, 3)
    let features = torch_features(&mut g, x, depths, norm); // (7, 7, 512)
    let logits = match options.source {
        Source::Torchvision => torchvision_top(&mut g, features, options.classes),
        Source::Timm => timm_top(&mut g, features, options.classes),
        Source::Keras => return Err(options.refuse(title)),
    };
    g.finish(features, logits)
}

fn torch_features(g: &mut Builder, mut x: LayerId, depths: [usize; 5], norm: bool) -> LayerId {
    let mut index = 0;
    let mut next = || {
        index += 1;
        format!("features.{}", index - 1)
    };
    for (block, (depth, width)) in (1..).zip(depths.into_iter().zip(WIDTHS)) {
        for i in 1..=depth {
            x = g.conv(&next(), x, Conv::new(width).kernel(3).pad(1).bias());
            if norm {
                x = g.batch_norm(&next(), x, EPS);
            }
            x = g.relu(&next(), x);
            g.alias(&format!("block{block}_conv{i}"), x);
        }
        x = g.pool(&next(), x, Pool::max(2));
        g.alias(&format!("block{block}_pool"), x);
    }
    g.alias("features", x);
    x
}

/// Dropout does nothing when a network is only run, so that its modules are further names of what goes into them.
fn torchvision_top(g: &mut Builder, x: LayerId, classes: usize) -> LayerId {
    let x = g.adaptive_avg_pool("avgpool", x, GRID); // (7, 7, 512)
    let x = g.flatten("flatten", x, FlattenOrder::ChannelsFirst); // (25088,)
    let x = g.dense("classifier.0", x, HIDDEN);
    let x = g.relu("classifier.1", x); // (4096,)
    ["classifier.2", "fc1"].iter().for_each(|name| g.alias(name, x));
    let x = g.dense("classifier.3", x, HIDDEN);
    let x = g.relu("classifier.4", x); // (4096,)
    ["classifier.5", "fc2"].iter().for_each(|name| g.alias(name, x));
    let x = g.dense("classifier.6", x, classes);
    g.alias("classifier", x);
    x
}

fn timm_top(g: &mut Builder, mut x: LayerId, classes: usize) -> LayerId {
    if let Shape::Map { h, w, .. } = g.shape(x)
        && (h < GRID || w < GRID)
    {
        // A call inside `pre_logits`, no module of its own.
        x = g.adaptive_avg_pool2("pre_logits.adaptive_avg_pool2d", x, [h.max(GRID), w.max(GRID)]); // (7, 7, 512)
    }
    let x = g.conv("pre_logits.fc1", x, Conv::new(HIDDEN).kernel(GRID).bias());
    let x = g.relu("pre_logits.act1", x); // (1, 1, 4096)
    ["pre_logits.drop", "fc1"].iter().for_each(|name| g.alias(name, x));
    let x = g.conv("pre_logits.fc2", x, Conv::new(HIDDEN).bias());
    let x = g.relu("pre_logits.act2", x); // (1, 1, 4096)
    ["pre_logits", "fc2"].iter().for_each(|name| g.alias(name, x));
    let x = g.global_avg_pool("head.global_pool", x); // (4096,)
    g.alias("head.drop", x);
    let x = g.dense("head.fc", x, classes);
    g.alias("head", x);
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    type Family = fn(&BuildOptions) -> Result<Graph, GraphError>;

    fn build(family: Family, source: Source, channels: usize, size: [usize; 2]) -> Result<Graph, GraphError> {
        family(&BuildOptions { channels, size, classes: 1000, source })
    }

    /// Without the running statistics, as the libraries count.
    fn trained(g: &Graph) -> usize {
        let learned = g.parameters().into_iter().filter(|p| !p.name.contains(".running_"));
        learned.map(|p| p.shape.iter().product::<usize>()).sum()
    }

    #[test]
    fn they_have_the_sizes_that_torchvision_publishes() {
        // VGG*_Weights.meta["num_params"] and ["_ops"] (10⁹, three digits)
        let published: [(Family, usize, u64); 8] = [
            (vgg11, 132_863_336, 7_609),
            (vgg13, 133_047_848, 11_308),
            (vgg16, 138_357_544, 15_470),
            (vgg19, 143_667_240, 19_632),
            (vgg11_bn, 132_868_840, 7_609),
            (vgg13_bn, 133_053_736, 11_308),
            (vgg16_bn, 138_365_992, 15_470),
            (vgg19_bn, 143_678_248, 19_632),
        ];
        for (family, parameters, mega) in published {
            for source in [Source::Torchvision, Source::Timm] {
                let g = build(family, source, 3, [224, 224]).expect("vgg");
                assert_eq!(trained(&g), parameters, "{source}");
                let macs: u64 = g.layers().iter().map(|layer| g.macs_of(layer)).sum();
                assert_eq!((macs + 500_000) / 1_000_000, mega, "{source}, {parameters} parameters");
            }
        }
    }

    #[test]
    fn keras_has_the_same_sizes_and_its_own_names() {
        // VGG16().count_params(), VGG19().count_params()
        let published: [(Family, usize, &str); 2] =
            [(vgg16, 138_357_544, "block5_conv3"), (vgg19, 143_667_240, "block5_conv4")];
        for (family, parameters, last) in published {
            let g = build(family, Source::Keras, 3, [224, 224]).expect("vgg");
            assert_eq!(trained(&g), parameters);
            assert_eq!(g.shape_of(last), Shape::Map { c: 512, h: 14, w: 14 });
            assert_eq!(g.features(), g.find("block5_pool").expect("block5_pool"));
            assert_eq!(g.shape_of("flatten"), Shape::Vector(25_088));
            assert_eq!(g.logits(), g.find("predictions/BiasAdd").expect("the logits"));
            assert_eq!(g.shape_of("predictions"), Shape::Vector(1000));
            assert_eq!(g.parameters()[0].name, "block1_conv1.weight");
            assert!(g.parameters().iter().any(|p| p.name == "fc1.weight" && p.shape == [4096, 25_088]));
        }
    }

    #[test]
    fn keras_names_are_found_in_the_others() {
        let g = build(vgg16, Source::Torchvision, 3, [224, 224]).expect("vgg16");
        for (keras, torch) in [
            ("block1_conv1", "features.1"),
            ("block5_conv3", "features.29"),
            ("block5_pool", "features.30"),
            ("fc1", "classifier.1"),
            ("fc2", "classifier.4"),
        ] {
            assert_eq!(g.find(keras), g.find(torch), "{keras}");
        }
        assert_eq!(g.features(), g.find("features").expect("features"));
        assert_eq!(g.shape_of("features.30"), Shape::Map { c: 512, h: 7, w: 7 });
        let g = build(vgg19_bn, Source::Timm, 3, [224, 224]).expect("vgg19_bn");
        assert_eq!(g.find("block5_conv4"), g.find("features.51"));
        assert_eq!(g.shape_of("fc2"), Shape::Map { c: 4096, h: 1, w: 1 });
        assert!(g.parameters().iter().any(|p| p.name == "pre_logits.fc1.weight" && p.shape == [4096, 512, 7, 7]));
        assert!(g.parameters().iter().any(|p| p.name == "features.1.running_var" && p.shape == [64]));
        assert!(g.find("pre_logits.adaptive_avg_pool2d").is_none());
    }

    #[test]
    fn each_library_takes_other_picture_sizes_in_its_own_way() {
        let g = build(vgg16, Source::Keras, 3, [321, 289]).expect("keras");
        assert_eq!(g.layer(g.features()).shape, Shape::Map { c: 512, h: 10, w: 9 });
        assert_eq!(g.shape_of("flatten"), Shape::Vector(512 * 10 * 9));
        let g = build(vgg16, Source::Torchvision, 3, [321, 289]).expect("torchvision");
        assert_eq!(g.shape_of("avgpool"), Shape::Map { c: 512, h: 7, w: 7 });
        let g = build(vgg16, Source::Timm, 3, [321, 289]).expect("timm");
        assert_eq!(g.shape_of("pre_logits"), Shape::Map { c: 4096, h: 4, w: 3 });
        let g = build(vgg16, Source::Timm, 3, [160, 289]).expect("timm, a low picture");
        assert_eq!(g.shape_of("pre_logits.adaptive_avg_pool2d"), Shape::Map { c: 512, h: 7, w: 9 });
        assert_eq!(g.shape_of("pre_logits"), Shape::Map { c: 4096, h: 1, w: 3 });
        for source in Source::ALL {
            let g = build(vgg19, source, 1, [225, 225]).expect("an odd size, grey");
            assert_eq!(g.layer(g.features()).shape, Shape::Map { c: 512, h: 7, w: 7 });
            assert_eq!(g.parameters()[0].shape, [64, 1, 3, 3]);
            assert!(matches!(build(vgg19, source, 3, [31, 32]), Err(GraphError::TooSmall { .. })), "{source}");
        }
    }

    #[test]
    fn what_keras_does_not_have_is_said() {
        for family in [vgg11, vgg13, vgg11_bn, vgg13_bn, vgg16_bn, vgg19_bn] as [Family; 6] {
            let error = build(family, Source::Keras, 3, [224, 224]).expect_err("not in keras.applications");
            assert!(error.to_string().contains("keras has no VGG-1"), "{error}");
        }
    }
}
