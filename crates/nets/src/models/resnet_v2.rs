//! ResNet v2: "Identity mappings in deep residual networks" (He, Zhang, Ren and Sun 2016, arXiv:1603.05027): batch norm
//! and ReLU stand before the convolutions of a block, nothing behind its sum. Layer names and constants are those of
//! Keras' keras/src/applications/resnet.py and resnet_v2.py.
//!
//! Against ResNet v1 there: it is the last block of a stage that shrinks the map, its 3 × 3 convolution and its
//! shortcut (the value in the corner of each 2 × 2 square: a max pooling with a window of 1 × 1) alike; convolutions
//! that a batch norm follows have no biases. No ReLU stands before the first pooling, so that the zeros around its
//! input do win where values are negative.

use super::builder::{Builder, Conv, Pool};
use super::graph::{Graph, GraphError, LayerId};
use super::resnet::{EXPANSION, KERAS_EPS, STAGES_50, STAGES_101, STAGES_152, WIDTHS};
use super::spec::{BuildOptions, Source};

/// ResNet-50 v2: 25.6 M parameters, 3.5 G multiply-accumulates at 224 × 224; feature map `post_relu` of 2048 channels.
/// Only Keras has it.
pub(super) fn resnet50v2(options: &BuildOptions) -> Result<Graph, GraphError> {
    keras(options, STAGES_50)
}

/// ResNet-101 v2: 44.6 M parameters, 7.2 G multiply-accumulates. Only Keras has it.
pub(super) fn resnet101v2(options: &BuildOptions) -> Result<Graph, GraphError> {
    keras(options, STAGES_101)
}

/// ResNet-152 v2: 60.3 M parameters, 10.9 G multiply-accumulates. Only Keras has it.
pub(super) fn resnet152v2(options: &BuildOptions) -> Result<Graph, GraphError> {
    keras(options, STAGES_152)
}

fn keras(options: &BuildOptions, stages: [usize; 4]) -> Result<Graph, GraphError> {
    if options.source != Source::Keras {
        return Err(options.refuse("ResNet v2"));
    }
    let [h, w] = options.size;
    let (mut g, x) = Builder::new(options.channels, h, w); // (224, 224, 3)
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
    /// As it is.
    Identity,
    /// Through a 1 × 1 convolution, after batch norm and ReLU.
    Project,
    /// Every second value, by a pooling of this name; the block shrinks the map.
    Shrink(&'static str),
}

/// Keras gives these layers no names, so that they bear those that a fresh session counts.
const SHORTCUT_POOLS: [&str; 3] = ["max_pooling2d", "max_pooling2d_1", "max_pooling2d_2"];

/// The layers stand in the order of Keras' `model.layers`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::graph::Shape;

    type Family = fn(&BuildOptions) -> Result<Graph, GraphError>;

    fn build(family: Family, channels: usize, size: [usize; 2]) -> Graph {
        family(&BuildOptions { channels, size, classes: 1000, source: Source::Keras }).expect("resnet v2")
    }

    #[test]
    fn they_have_the_sizes_that_keras_counts() {
        // ResNet50V2().count_params() …, which counts running statistics too; multiply-accumulates by the shapes of its
        // layers
        let published: [(Family, usize, u64); 3] =
            [(resnet50v2, 25_613_800, 3_482), (resnet101v2, 44_675_560, 7_194), (resnet152v2, 60_380_648, 10_907)];
        for (family, parameters, mega) in published {
            let g = build(family, 3, [224, 224]);
            let count: usize = g.parameters().iter().map(|p| p.shape.iter().product::<usize>()).sum();
            let macs: u64 = g.layers().iter().map(|layer| g.macs_of(layer)).sum();
            assert_eq!((count, (macs + 500_000) / 1_000_000), (parameters, mega));
        }
    }

    #[test]
    fn keras_layers_are_found_by_name() {
        let g = build(resnet50v2, 3, [224, 224]);
        assert_eq!(g.shape_of("pool1_pad"), Shape::Map { c: 64, h: 114, w: 114 });
        assert_eq!(g.shape_of("conv2_block2_out"), Shape::Map { c: 256, h: 56, w: 56 });
        assert_eq!(g.shape_of("conv2_block3_2_pad"), Shape::Map { c: 64, h: 58, w: 58 });
        assert_eq!(g.shape_of("conv2_block3_out"), Shape::Map { c: 256, h: 28, w: 28 });
        assert_eq!(g.shape_of("max_pooling2d_2"), Shape::Map { c: 1024, h: 7, w: 7 });
        assert_eq!(g.shape_of("conv5_block3_out"), Shape::Map { c: 2048, h: 7, w: 7 });
        assert_eq!(g.features(), g.find("post_relu").expect("post_relu"));
        assert_eq!(g.logits(), g.find("predictions/BiasAdd").expect("the logits"));
        let names: Vec<_> = g.parameters().into_iter().map(|p| p.name).collect();
        for (layer, biased) in [("conv1", true), ("conv2_block1_0", true), ("conv3_block4_2", false)] {
            assert!(names.contains(&format!("{layer}_conv.weight")), "{layer}");
            assert_eq!(names.contains(&format!("{layer}_conv.bias")), biased, "{layer}");
        }
        assert!(g.find("max_pooling2d_3").is_none());
        assert!(g.find("conv1_relu").is_none());
    }

    #[test]
    fn odd_sizes_and_grey_pictures_fit() {
        let g = build(resnet152v2, 1, [225, 193]);
        assert_eq!(g.shape_of("conv3_block8_out"), Shape::Map { c: 512, h: 15, w: 13 });
        assert_eq!(g.layer(g.features()).shape, Shape::Map { c: 2048, h: 8, w: 7 });
        assert_eq!(g.parameters()[0].shape, [64, 1, 7, 7]);
    }

    #[test]
    fn it_is_keras_alone() {
        for source in [Source::Torchvision, Source::Timm] {
            let options = BuildOptions { channels: 3, size: [224, 224], classes: 1000, source };
            assert!(resnet50v2(&options).is_err_and(|error| error.to_string().contains("has no ResNet v2")));
        }
    }
}
