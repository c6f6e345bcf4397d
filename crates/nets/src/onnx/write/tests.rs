//! A network of every kind of step, written and read again: both give the same numbers.

use std::collections::BTreeMap;

use super::{Element, Writer};
use crate::exec::lower::lower;
use crate::exec::{Device, Features, candle};
use crate::models::builder::{Builder, Conv, Pool};
use crate::models::graph::{Activation, FlattenOrder, Graph, LayerId, Op, Parameter, Shape};
use crate::onnx::{Asked, INPUT, OnnxFile, notes};
use crate::weights::{Tensor, WeightSet};

mod tokens;

const SIDES: [usize; 2] = [13, 11];

/// Layers that become features, and the one that gives the scores.
fn network() -> (Graph, Vec<LayerId>) {
    let (mut g, x) = Builder::new(3, SIDES[0], SIDES[1]);
    let x = g.rescale("rescale", x, [0.9, 1.0, 1.1], [0.1, 0.0, -0.1]);
    let x = g.conv("conv", x, Conv::new(8).kernel(3).same());
    let x = g.batch_norm_act("norm", x, 1e-3, Activation::Silu);
    let x = g.zero_pad("zeros", x, [1, 0, 0, 1]);
    let x = g.relu("relu", x);
    let most = g.pool("most", x, Pool::max(3).stride(2).pad(1).ceil());
    let mean = g.pool("mean", x, Pool::avg(3).stride(2).pad(1).ceil());
    let both = g.pool("both", x, Pool::avg_with_pad(3).stride(2).pad(1).ceil());
    let x = g.concat("beside", &[most, mean, both]);
    let x = g.shuffle("shuffle", x, 3);
    let x = g.slice("slice", x, 4..20);
    let part = g.conv("groups", x, Conv::new(16).kernel(3).groups(4).same());
    let part = g.activation("hard", part, Activation::HardSwish);
    let deep = g.conv("deep", x, Conv::depthwise().kernel(5).same());
    let deep = g.activation("clipped", deep, Activation::Relu6);
    let x = g.add("sum", part, deep);
    let norm = g.layer_norm("layer norm", x, 1e-6);
    let gelu = g.activation("gelu", norm, Activation::Gelu);
    let gate = g.global_avg_pool("squeeze", gelu);
    let gate = g.dense("excite", gate, 16);
    let gate = g.activation("gate", gate, Activation::HardSigmoid);
    let x = g.multiply("gated", gelu, gate);
    let x = g.crop("crop", x);
    let cells = g.adaptive_avg_pool2("cells", x, [7, 3]);
    let flat = g.flatten("flat", cells, FlattenOrder::ChannelsFirst);
    let narrow = g.dense("narrow", flat, 6);
    let narrow = g.activation("sigmoid", narrow, Activation::Sigmoid);
    let narrow = g.push("unit", Op::Normalize, &[narrow], g.shape(narrow));
    let scores = g.dense("scores", narrow, 4);
    (g.finish(x, scores).expect("a network"), vec![norm, x, scores])
}

fn weights(graph: &Graph) -> WeightSet {
    let value = |i: usize, low: f32| ((i * 2_654_435_761) >> 5 & 0xff) as f32 / 256.0 * 0.8 + low;
    let mut all = BTreeMap::new();
    for Parameter { name, shape } in graph.parameters() {
        let low = if name.ends_with("running_var") { 0.5 } else { -0.4 };
        let values = (0..shape.iter().product()).map(|i: usize| value(i + name.len() * 31, low)).collect();
        all.insert(name, Tensor::ready(shape, values));
    }
    all.into()
}

fn picture(values: usize) -> Vec<f32> {
    (0..values).map(|i| (i as f32 * 0.37).sin()).collect()
}

#[test]
fn every_step_is_written_and_read() {
    let (graph, taps) = network();
    let program = lower(&graph, &weights(&graph), &taps).expect("lowered");
    let [h, w] = SIDES;
    let picture = picture(3 * h * w);
    let forward = |program| {
        candle::Network::new(program, &Device::cpu())
            .and_then(|network| network.forward(&picture, 1))
            .expect("computed")
    };
    let mut writer = Writer::default();
    writer.input(INPUT, Element::F32, &[3, h, w]);
    let values = writer.network(&program, INPUT).expect("written");
    let shapes: Vec<Shape> = taps.iter().map(|tap| graph.layer(*tap).shape).collect();
    let values: Vec<(String, Shape)> = values.into_iter().zip(shapes).collect();
    writer.features(Features::Avg, &values[..2], "features");
    writer.output("features", Element::F32, &[32]);
    let bytes = writer.finish("all", &[(notes::FEATURES.to_string(), "features".to_string())]).expect("small");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("all.onnx");
    std::fs::write(&path, bytes).expect("written");
    let file = OnnxFile::open(&path).expect("read");
    // layers keep their names
    let layers: Vec<String> = ["layer norm", "crop", "scores", "features"].map(String::from).to_vec();
    let import = file.import(Asked { channels: 3, size: SIDES, layers: &layers, logits: false }).expect("a network");
    let found: Vec<LayerId> = layers.iter().map(|name| import.graph.find(name).expect("asked for")).collect();
    let back = forward(lower(&import.graph, &import.weights, &found).expect("lowered"));
    let ours = forward(program);
    let mut expected: Vec<Vec<f32>> = ours.clone();
    let means = ours[..2].iter().zip(&values).flat_map(|(values, (_, shape))| {
        let Shape::Map { c, h, w } = *shape else { unreachable!("both are maps") };
        (0..c).map(move |k| values.iter().skip(k).step_by(c).sum::<f32>() / (h * w) as f32)
    });
    expected.push(means.collect());
    for ((name, ours), back) in layers.iter().zip(&expected).zip(&back) {
        assert_eq!(ours.len(), back.len(), "{name}");
        let apart = ours.iter().zip(back).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart <= 1e-5, "{name}: {apart}");
    }
}
