//! Transformers, written and read again.

use super::{picture, weights};
use crate::exec::Features;
use crate::exec::lower::lower;
use crate::exec::{Device, candle};
use crate::models::builder::{Builder, Conv};
use crate::models::graph::{
    Activation, Attention, AttentionWindow, Graph, LayerId, Op, PositionResize, RelativeBias, Shape, TokenTensors,
};
use crate::onnx::{Asked, INPUT, OnnxFile};
use crate::onnx::{Element, Writer, notes};

/// A layer of 4 × 5 patches with three tokens before them, two blocks, and everything that is made of tokens.
fn vit() -> Graph {
    let (mut g, x) = Builder::new(3, 8, 10);
    let x = g.conv("patches", x, Conv::new(12).kernel(2).stride(2).bias());
    let tensors = TokenTensors {
        class: Some("cls_token"),
        registers: Some(("reg_token", 2)),
        positions: "pos_embed",
        class_position: true,
        resize: PositionResize::Plain,
    };
    let mut x = g.tokens("tokens", x, tensors);
    for i in 0..2 {
        let y = g.layer_norm(&format!("norm1.{i}"), x, 1e-6);
        let mut y = g.dense_map(&format!("qkv.{i}"), y, 36);
        if i == 1 {
            y = g.push("turn", Op::Turn { heads: 3 }, &[y], g.shape(y));
        }
        let attention = Attention { heads: 3, window: None, bias: RelativeBias::None };
        let y = g.attention(&format!("heads.{i}"), "heads", y, attention);
        let y = g.dense_map(&format!("proj.{i}"), y, 12);
        let y = g.layer_scale(&format!("ls.{i}"), &format!("ls.{i}"), "gamma", y);
        let sum = g.add(&format!("sum1.{i}"), x, y);
        let y = g.layer_norm(&format!("norm2.{i}"), sum, 1e-6);
        let y = g.dense_map(&format!("fc1.{i}"), y, 20);
        let y = g.activation(&format!("act.{i}"), y, [Activation::GeluTanh, Activation::QuickGelu][i]);
        let y = g.dense_map(&format!("fc2.{i}"), y, 12);
        x = g.add(&format!("sum2.{i}"), sum, y);
    }
    let x = g.layer_norm("norm", x, 1e-6);
    let part = g.slice("slice", x, 3..9);
    let map = g.push("map", Op::Select(3), &[part], Shape::Map { c: 6, h: 4, w: 5 });
    let tokens = g.push("patch tokens", Op::Select(3), &[x], Shape::Tokens { n: 20, c: 12 });
    let class = g.token("class", x, 0);
    let pool = g.dense_map("kv", tokens, 24);
    let pool = g.attention_pool("pool", "pool", pool, 3);
    let sum = g.add("sum", class, pool);
    let scores = g.dense("scores", sum, 4);
    g.finish(map, scores).expect("a network")
}

/// The end of CLIP's ResNet: the mean of a map is the token before its positions.
fn clip() -> Graph {
    let (mut g, x) = Builder::new(3, 8, 10);
    let x = g.conv("patches", x, Conv::new(12).kernel(2).stride(2).bias());
    let x = g.relu("act", x);
    let mean = g.global_avg_pool("mean", x);
    let tensors = TokenTensors {
        class: None,
        registers: None,
        positions: "pos_embed",
        class_position: true,
        resize: PositionResize::Plain,
    };
    let x = g.tokens_after("tokens", mean, x, tensors);
    let y = g.dense_map("qkv", x, 36);
    let y = g.attention("heads", "heads", y, Attention { heads: 3, window: None, bias: RelativeBias::None });
    let first = g.token("first", y, 0);
    let scores = g.dense("scores", first, 4);
    g.finish(first, scores).expect("a network")
}

/// Blocks of windows over a map of 8 × 12: plain ones, shifted ones, shifted ones of cosine attention, and one of
/// attention over the whole map.
fn swin() -> Graph {
    let (mut g, x) = Builder::new(3, 16, 24);
    let x = g.conv("patches", x, Conv::new(8).kernel(2).stride(2).bias());
    let mut x = g.layer_norm("norm", x, 1e-5);
    let size = [4, 3];
    let second = RelativeBias::Network { window: size, apart: false };
    let window = |shift| Some(AttentionWindow { size, shift });
    let blocks = [
        (window([0, 0]), RelativeBias::Table),
        (window([2, 1]), RelativeBias::Table),
        (window([0, 2]), second),
        (None, RelativeBias::None),
    ];
    for (i, (window, bias)) in blocks.into_iter().enumerate() {
        let y = g.dense_map(&format!("qkv.{i}"), x, 24);
        let y = g.attention(&format!("heads.{i}"), &format!("heads.{i}"), y, Attention { heads: 2, window, bias });
        let y = g.dense_map(&format!("proj.{i}"), y, 8);
        x = g.add(&format!("sum.{i}"), x, y);
    }
    let x = g.merge("merge", x);
    let x = g.layer_norm("norm2", x, 1e-5);
    let x = g.dense_map_unbiased("reduction", x, 16);
    let responses = g.push("responses", Op::Responses { eps: 1e-6 }, &[x], Shape::Vector(16));
    let x = g.multiply("answered", x, responses);
    let pool = g.global_avg_pool("pool", x);
    let scores = g.dense("scores", pool, 4);
    g.finish(x, scores).expect("a network")
}

/// The layers give the same numbers before they are written and after they are read, and so do features of them.
fn compare(graph: &Graph, layers: &[&str], pooled: usize) {
    let Shape::Map { h, w, .. } = graph.layer(LayerId(0)).shape else { unreachable!("a picture") };
    let taps: Vec<LayerId> = layers.iter().map(|name| graph.find(name).expect(name)).collect();
    let weights = weights(graph);
    let program = lower(graph, &weights, &taps).expect("lowered");
    let mut writer = Writer::default();
    writer.input(INPUT, Element::F32, &[3, h, w]);
    let values = writer.network(&program, INPUT).expect("written");
    let shapes: Vec<Shape> = taps.iter().map(|tap| graph.layer(*tap).shape).collect();
    let values: Vec<(String, Shape)> = values.into_iter().zip(shapes.iter().copied()).collect();
    writer.features(Features::Avg, &values[pooled..=pooled], "features");
    writer.output("features", Element::F32, &[shapes[pooled].channels()]);
    let bytes = writer.finish("all", &[(notes::FEATURES.to_string(), "features".to_string())]).expect("small");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("all.onnx");
    std::fs::write(&path, bytes).expect("written");
    let file = OnnxFile::open(&path).expect("read");
    let names: Vec<String> = layers.iter().copied().chain(["features"]).map(String::from).collect();
    let asked = Asked { channels: 3, size: [h, w], layers: &names, logits: false };
    let import = file.import(asked).unwrap_or_else(|error| panic!("{error}"));
    let found: Vec<LayerId> = names.iter().map(|name| import.graph.find(name).expect("asked for")).collect();
    let forward = |program| {
        let network = candle::Network::new(program, &Device::cpu()).expect("uploaded");
        network.forward(&picture(3 * h * w), 1).expect("computed")
    };
    let back = forward(lower(&import.graph, &import.weights, &found).expect("lowered"));
    let mut ours = forward(program);
    let c = shapes[pooled].channels();
    let whole = &ours[pooled];
    let mean = |k: usize| whole.iter().skip(k).step_by(c).sum::<f32>() / (whole.len() / c) as f32;
    ours.push((0..c).map(mean).collect());
    for ((name, ours), back) in names.iter().zip(&ours).zip(&back) {
        assert_eq!(ours.len(), back.len(), "{name}");
        let apart = ours.iter().zip(back).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart <= 1e-5 && ours.iter().any(|&value| value.abs() > 1e-3), "{name}: {apart}");
    }
}

#[test]
fn networks_of_tokens_are_written_and_read() {
    let layers = ["tokens", "qkv.0", "heads.0", "sum1.0", "act.0", "sum2.1", "map", "class", "pool", "scores", "norm"];
    compare(&vit(), &layers, 10);
    compare(&vit(), &["scores", "patch tokens"], 1);
    compare(&vit(), &["map", "scores"], 0);
    compare(&clip(), &["tokens", "qkv", "heads", "first", "scores"], 3);
}

#[test]
fn networks_of_windows_are_written_and_read() {
    let layers = [
        "heads.0",
        "sum.0",
        "heads.1",
        "heads.2",
        "sum.2",
        "heads.3",
        "merge",
        "norm2",
        "pool",
        "responses",
        "answered",
        "scores",
    ];
    compare(&swin(), &layers, 6);
    compare(&swin(), &["reduction", "scores"], 0);
}

#[test]
fn turned_queries_and_keys_are_for_attention_alone() {
    let graph = vit();
    let weights = weights(&graph);
    let written = |graph: &Graph, tap: LayerId| {
        let program = lower(graph, &weights, &[tap]).expect("lowered");
        let mut writer = Writer::default();
        writer.input(INPUT, Element::F32, &[3, 8, 10]);
        writer.network(&program, INPUT).map(drop).map_err(|error| error.to_string())
    };
    let turn = graph.find("turn").expect("turned");
    let error = written(&graph, turn).expect_err("a tap");
    assert!(error.contains("layer `turn`") && error.contains("attention alone"), "{error}");

    let (mut g, x) = Builder::new(3, 8, 10);
    let x = g.conv("patches", x, Conv::new(12).kernel(2).stride(2).bias());
    let tokens = vit().layers().iter().find_map(|layer| match layer.op {
        Op::Tokens(tensors) => Some(tensors),
        _ => None,
    });
    let x = g.tokens("tokens", x, tokens.expect("tokens"));
    let x = g.dense_map("qkv.1", x, 36);
    let x = g.push("turn", Op::Turn { heads: 3 }, &[x], g.shape(x));
    let x = g.activation("act", x, Activation::QuickGelu);
    let graph = g.finish(x, x).expect("a network");
    let error = written(&graph, x).expect_err("a reader");
    assert!(error.contains("layer `act`") && error.contains("attention alone"), "{error}");
}
