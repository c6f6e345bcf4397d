//! ResNet v2: "Identity mappings in deep residual networks" (He, Zhang, Ren and Sun 2016, arXiv:1603.05027): batch norm
//! and ReLU come before the convolutions of a block, none after its sum. Layer names and constants are those of Keras'
//! keras/src/applications/resnet.py and resnet_v2.py.
//!
//! Differences to Keras' ResNet v1: the last block of a stage halves the map, in its 3 × 3 convolution and in its
//! shortcut (a max pooling with a window of 1 × 1 takes one of 2 × 2 values); convolutions before a batch norm have no
//! biases. No ReLU comes before the first pooling, so that its zero padding exceeds negative values.

use super::builder::{Builder, Conv, Pool};
use super::graph::{Graph, GraphError, LayerId};
use super::resnet::{EXPANSION, KERAS_EPS, WIDTHS};
use super::spec::BuildOptions;

/// A network with so many blocks in its `stages`; feature map `post_relu` of 2048 channels. Only Keras has it.
pub(super) fn network(options: &BuildOptions, stages: [usize; 4]) -> Result<Graph, GraphError> {
    let (mut g, x) = Builder::of(options); // (224, 224, 3)
    let x = g.zero_pad("conv1_pad", x, [3; 4]);
    let x = g.conv("conv1_conv", x, Conv::new(64).kernel(7).stride(2).bias()); // (112, 112, 64)
    let x = g.zero_pad("pool1_pad", x, [1; 4]);
    let mut x = g.pool("pool1_pool", x, Pool::max(3).stride(2)); // (56, 56, 64)
    for (stage, (blocks, width)) in stages.into_iter().zip(WIDTHS).enumerate() {
        for block in 1..=blocks {
            let name = format!("conv{}_block{block}", stage + 2);
            let shortcut = match block {
                1 => Shortcut::Project,
                _ if block == blocks && stage < 3 => Shortcut::Shrink(SHORTCUT_POOLS[stage]),
                _ => Shortcut::Identity,
            };
            x = self::block(&mut g, &name, x, width, shortcut);
        }
    }
    let x = g.batch_norm("post_bn", x, KERAS_EPS);
    let features = g.relu("post_relu", x); // (7, 7, 2048)
    let x = g.global_avg_pool("avg_pool", features); // (2048,)
    let logits = g.dense_softmax("predictions", x, options.classes);
    g.finish(features, logits)
}

/// How the input of a block reaches its sum.
#[derive(Clone, Copy)]
enum Shortcut {
    /// Unchanged.
    Identity,
    /// Through a 1 × 1 convolution, after batch norm and ReLU.
    Project,
    /// Every second value, by a pooling of this name; the block halves the map.
    Shrink(&'static str),
}

/// Keras' source gives these layers no names; these are the names of a fresh session.
const SHORTCUT_POOLS: [&str; 3] = ["max_pooling2d", "max_pooling2d_1", "max_pooling2d_2"];

/// Adds the layers in the order of Keras' `model.layers`.
fn block(g: &mut Builder, name: &str, input: LayerId, width: usize, shortcut: Shortcut) -> LayerId {
    let at = |part: &str| format!("{name}_{part}");
    let active = g.batch_norm(&at("preact_bn"), input, KERAS_EPS);
    let active = g.relu(&at("preact_relu"), active);
    let stride = if matches!(shortcut, Shortcut::Shrink(_)) { 2 } else { 1 };
    let x = g.conv(&at("1_conv"), active, Conv::new(width));
    let x = g.batch_norm(&at("1_bn"), x, KERAS_EPS);
    let x = g.relu(&at("1_relu"), x);
    let x = g.zero_pad(&at("2_pad"), x, [1; 4]);
    let x = g.conv(&at("2_conv"), x, Conv::new(width).kernel(3).stride(stride));
    let x = g.batch_norm(&at("2_bn"), x, KERAS_EPS);
    let x = g.relu(&at("2_relu"), x);
    let beside = match shortcut {
        Shortcut::Identity => input,
        Shortcut::Project => g.conv(&at("0_conv"), active, Conv::new(EXPANSION * width).bias()),
        Shortcut::Shrink(pool) => g.pool(pool, input, Pool::max(1).stride(stride)),
    };
    let x = g.conv(&at("3_conv"), x, Conv::new(EXPANSION * width).bias());
    g.add(&at("out"), beside, x)
}
