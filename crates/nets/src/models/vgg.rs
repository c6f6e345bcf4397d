//! VGG: "Very deep convolutional networks for large-scale image recognition" (Simonyan and Zisserman 2014,
//! arXiv:1409.1556), table 1.
//!
//! Layer names, and constants where the libraries differ, are those of
//! * Keras: keras/src/applications/vgg16.py and vgg19.py;
//! * torchvision: torchvision/models/vgg.py. An adaptive pooling lets the classifier take maps of any size;
//! * timm: timm/models/vgg.py. The two hidden dense layers are convolutions (7 × 7, then 1 × 1) before a global
//!   pooling; a map that is less than 7 high or wide is first pooled up to 7.
//!
//! In the networks of torchvision and timm Keras' names are aliases: `block5_conv3` (after its ReLU, as in Keras),
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
/// PyTorch's default batch-norm epsilon, which torchvision and timm use.
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

/// VGG-11 with a batch norm after each convolution.
pub(super) fn vgg11_bn(options: &BuildOptions) -> Result<Graph, GraphError> {
    torch(options, "VGG-11 with batch norm", A, true)
}

/// VGG-13 with a batch norm after each convolution.
pub(super) fn vgg13_bn(options: &BuildOptions) -> Result<Graph, GraphError> {
    torch(options, "VGG-13 with batch norm", B, true)
}

/// VGG-16 with a batch norm after each convolution.
pub(super) fn vgg16_bn(options: &BuildOptions) -> Result<Graph, GraphError> {
    torch(options, "VGG-16 with batch norm", D, true)
}

/// VGG-19 with a batch norm after each convolution.
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
        _ => return Err(options.refuse(title)),
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

/// Dropout does nothing in inference, so that its modules are aliases of their inputs.
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
        // a function call inside `pre_logits`, not a module
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
