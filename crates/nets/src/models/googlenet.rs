//! GoogLeNet, the first Inception (Szegedy et al. 2014, arXiv:1409.4842), with batch norm, as torchvision ported it
//! from TensorFlow. Names and constants are those of torchvision/models/googlenet.py.

use super::builder::{Builder, Conv, Pool};
use super::graph::{Graph, GraphError, LayerId};
use super::spec::BuildOptions;

/// Batch-norm epsilon of `BasicConv2d`.
const EPS: f64 = 1e-3;
/// `transform_input`: from torchvision's normalisation by ImageNet's mean and deviation to the ±1 of TensorFlow, from
/// which the weights were ported.
pub(super) const TO_PLUS_MINUS_ONE: ([f64; 3], [f64; 3]) =
    ([0.229 / 0.5, 0.224 / 0.5, 0.225 / 0.5], [(0.485 - 0.5) / 0.5, (0.456 - 0.5) / 0.5, (0.406 - 0.5) / 0.5]);

/// Channels of one inception module: of the 1 × 1 branch, of two branches as (reduced, out), and of the projection
/// after the pool.
struct Widths {
    single: usize,
    second: (usize, usize),
    third: (usize, usize),
    pooled: usize,
}

const fn widths(single: usize, second: (usize, usize), third: (usize, usize), pooled: usize) -> Widths {
    Widths { single, second, third, pooled }
}

const STAGE_3: [(&str, Widths); 2] =
    [("inception3a", widths(64, (96, 128), (16, 32), 32)), ("inception3b", widths(128, (128, 192), (32, 96), 64))];
const STAGE_4: [(&str, Widths); 5] = [
    ("inception4a", widths(192, (96, 208), (16, 48), 64)),
    ("inception4b", widths(160, (112, 224), (24, 64), 64)),
    ("inception4c", widths(128, (128, 256), (24, 64), 64)),
    ("inception4d", widths(112, (144, 288), (32, 64), 64)),
    ("inception4e", widths(256, (160, 320), (32, 128), 128)),
];
const STAGE_5: [(&str, Widths); 2] = [
    ("inception5a", widths(256, (160, 320), (32, 128), 128)),
    ("inception5b", widths(384, (192, 384), (48, 128), 128)),
];

/// torchvision's GoogLeNet: 6.62 M parameters, 1.5 G multiply-accumulates at 224 × 224; feature map `inception5b` of
/// 1024 channels.
///
/// The pretrained weights take pictures in torchvision's normalisation and bring them to ±1 inside the network
/// (`transform_input`); that needs three channels, and is left out for other numbers. The auxiliary heads `aux1` and
/// `aux2` serve training only.
pub(super) fn googlenet(options: &BuildOptions) -> Result<Graph, GraphError> {
    let (mut g, mut x) = Builder::of(options); // (224, 224, 3)
    g.drop_tensors("aux1.");
    g.drop_tensors("aux2.");
    if options.channels == 3 {
        let (scale, shift) = TO_PLUS_MINUS_ONE;
        x = g.rescale("transform_input", x, scale, shift);
    }
    x = basic_conv(&mut g, "conv1", x, Conv::new(64).kernel(7).stride(2).pad(3)); // (112, 112, 64)
    x = g.pool("maxpool1", x, Pool::max(3).stride(2).ceil()); // (56, 56, 64)
    x = basic_conv(&mut g, "conv2", x, Conv::new(64));
    x = basic_conv(&mut g, "conv3", x, Conv::new(192).kernel(3).pad(1));
    x = g.pool("maxpool2", x, Pool::max(3).stride(2).ceil()); // (28, 28, 192)
    x = stage(&mut g, x, &STAGE_3);
    x = g.pool("maxpool3", x, Pool::max(3).stride(2).ceil()); // (14, 14, 480)
    x = stage(&mut g, x, &STAGE_4);
    x = g.pool("maxpool4", x, Pool::max(2).ceil()); // (7, 7, 832)
    let features = stage(&mut g, x, &STAGE_5); // (7, 7, 1024)
    let x = g.global_avg_pool("avgpool", features); // (1024,)
    g.alias("avg_pool", x);
    let logits = g.dense("fc", x, options.classes);
    g.finish(features, logits)
}

fn stage(g: &mut Builder, mut x: LayerId, modules: &[(&str, Widths)]) -> LayerId {
    for (name, widths) in modules {
        x = inception(g, name, x, widths);
    }
    x
}

/// Four branches side by side. The third is the paper's 5 × 5: torchvision has 3 × 3 there, and its weights are of that
/// shape (github.com/pytorch/vision/issues/906).
fn inception(g: &mut Builder, name: &str, input: LayerId, widths: &Widths) -> LayerId {
    let branch1 = basic_conv(g, &format!("{name}.branch1"), input, Conv::new(widths.single));
    let mut parts = vec![branch1];
    for (branch, (reduced, out)) in [("branch2", widths.second), ("branch3", widths.third)] {
        let x = basic_conv(g, &format!("{name}.{branch}.0"), input, Conv::new(reduced));
        let x = basic_conv(g, &format!("{name}.{branch}.1"), x, Conv::new(out).kernel(3).pad(1));
        g.alias(&format!("{name}.{branch}"), x);
        parts.push(x);
    }
    let x = g.pool(&format!("{name}.branch4.0"), input, Pool::max(3).stride(1).pad(1).ceil());
    let x = basic_conv(g, &format!("{name}.branch4.1"), x, Conv::new(widths.pooled));
    g.alias(&format!("{name}.branch4"), x);
    parts.push(x);
    g.concat(name, &parts)
}

/// `BasicConv2d`: its output, after a ReLU that is no module, has the module's name.
fn basic_conv(g: &mut Builder, name: &str, x: LayerId, conv: Conv) -> LayerId {
    let x = g.conv(&format!("{name}.conv"), x, conv);
    let x = g.batch_norm(&format!("{name}.bn"), x, EPS);
    g.relu(name, x)
}
