//! torchvision's AlexNet: the one-tower network of "One weird trick for parallelizing convolutional neural networks"
//! (Krizhevsky 2014, arXiv:1404.5997), without the local response normalisation and the two towers of the paper of
//! 2012. Layer names and constants are those of torchvision/models/alexnet.py. The names of the Caffe model are aliases
//! of its blocks, each after its ReLU: `conv1` … `conv5`, `pool1`, `pool2`, `pool5`, `fc6`, `fc7`.

use super::builder::{Builder, Conv, Pool};
use super::graph::{FlattenOrder, Graph, GraphError, LayerId};
use super::spec::BuildOptions;

/// Values of the two hidden dense layers.
const HIDDEN: usize = 4096;
/// Height and width of the map that the classifier takes, whatever the picture's size.
const GRID: usize = 6;

/// A convolution, a ReLU and, in some blocks, a max pooling (3 × 3, stride 2).
struct Block {
    conv: Conv,
    caffe: &'static str,
    pool: Option<&'static str>,
}

fn blocks() -> [Block; 5] {
    let same = |out, kernel: usize| Conv::new(out).kernel(kernel).pad(kernel / 2).bias();
    [
        // (27, 27, 64)
        Block { conv: Conv::new(64).kernel(11).stride(4).pad(2).bias(), caffe: "conv1", pool: Some("pool1") },
        Block { conv: same(192, 5), caffe: "conv2", pool: Some("pool2") }, // (13, 13, 192)
        Block { conv: same(384, 3), caffe: "conv3", pool: None },
        Block { conv: same(256, 3), caffe: "conv4", pool: None },
        Block { conv: same(256, 3), caffe: "conv5", pool: Some("pool5") }, // (6, 6, 256)
    ]
}

/// torchvision's AlexNet: 61.1 M parameters, 0.71 G multiply-accumulates at 224 × 224; feature map `features.12` of 256
/// channels. Pictures smaller than 63 × 63 do not fit. Only torchvision has it.
pub(super) fn alexnet(options: &BuildOptions) -> Result<Graph, GraphError> {
    let (mut g, mut x) = Builder::of(options); // (224, 224, 3)
    let mut index = 0;
    let mut next = || {
        index += 1;
        format!("features.{}", index - 1)
    };
    for block in blocks() {
        x = g.conv(&next(), x, block.conv);
        x = g.relu(&next(), x);
        g.alias(block.caffe, x);
        if let Some(pool) = block.pool {
            x = g.pool(&next(), x, Pool::max(3).stride(2));
            g.alias(pool, x);
        }
    }
    g.alias("features", x);
    let logits = classifier(&mut g, x, options.classes);
    g.finish(x, logits)
}

/// Dropout does nothing in inference, so that its modules are aliases of their inputs.
fn classifier(g: &mut Builder, x: LayerId, classes: usize) -> LayerId {
    let x = g.adaptive_avg_pool("avgpool", x, GRID); // (6, 6, 256)
    let x = g.flatten("flatten", x, FlattenOrder::ChannelsFirst); // (9216,)
    g.alias("classifier.0", x);
    let x = g.dense("classifier.1", x, HIDDEN);
    let x = g.relu("classifier.2", x); // (4096,)
    g.alias("classifier.3", x);
    g.alias("fc6", x);
    let x = g.dense("classifier.4", x, HIDDEN);
    let x = g.relu("classifier.5", x); // (4096,)
    g.alias("fc7", x);
    let x = g.dense("classifier.6", x, classes);
    g.alias("classifier", x);
    x
}
