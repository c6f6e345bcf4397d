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
pub(super) const A: [usize; 5] = [1, 1, 2, 2, 2];
pub(super) const B: [usize; 5] = [2, 2, 2, 2, 2];
pub(super) const D: [usize; 5] = [2, 2, 3, 3, 3];
pub(super) const E: [usize; 5] = [2, 2, 4, 4, 4];

/// A VGG with `depths` convolutions in its blocks, with `norm` a batch norm after each, which Keras does not have. The
/// feature map has 512 channels.
pub(super) fn network(options: &BuildOptions, depths: [usize; 5], norm: bool) -> Result<Graph, GraphError> {
    match options.source {
        Source::Keras => keras(options, depths),
        _ => torch(options, depths, norm),
    }
}

fn keras(options: &BuildOptions, depths: [usize; 5]) -> Result<Graph, GraphError> {
    let (mut g, mut x) = Builder::of(options); // (224, 224, 3)
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

fn torch(options: &BuildOptions, depths: [usize; 5], norm: bool) -> Result<Graph, GraphError> {
    let (mut g, x) = Builder::of(options); // (224, 224, 3)
    let features = torch_features(&mut g, x, depths, norm); // (7, 7, 512)
    let logits = match options.source {
        Source::Torchvision => torchvision_top(&mut g, features, options.classes),
        _ => timm_top(&mut g, features, options.classes),
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
