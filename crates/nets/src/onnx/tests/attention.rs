//! Attention written by hand: forms that give numbers, and forms that are refused.

use super::*;
use crate::models::graph::RelativeBias;

/// Positions of the picture, heads, channels of a head.
const SIZES: [usize; 3] = [24, 2, 2];

fn weights(seed: usize, n: usize) -> Vec<f32> {
    (0..n).map(|i| (((i + 7 * seed) * 2_654_435_761) >> 9 & 0xff) as f32 / 256.0 - 0.5).map(|v| 0.03 * v).collect()
}

/// Softmax of `factor` · q · k + `bias`, times v, of all heads: (positions, channels).
fn expected(parts: [&[f32]; 3], factor: f64, bias: &[f32]) -> Vec<f64> {
    let [n, heads, size] = SIZES;
    let c = heads * size;
    let pixel = |p: usize, i: usize| (i * n + p) as f64;
    let project = |weights: &[f32], p: usize, out: usize| -> f64 {
        (0..3).map(|i| pixel(p, i) * f64::from(weights[i * c + out])).sum()
    };
    let mut all = vec![0.0; n * c];
    for (p, head) in (0..n).flat_map(|p| (0..heads).map(move |head| (p, head))) {
        let channels = || head * size..(head + 1) * size;
        let score = |key: usize| -> f64 {
            let product: f64 = channels().map(|c| project(parts[0], p, c) * project(parts[1], key, c)).sum();
            factor * product + bias.get((head * n + p) * n + key).copied().map_or(0.0, f64::from)
        };
        let shares: Vec<f64> = (0..n).map(|key| score(key).exp()).collect();
        let sum: f64 = shares.iter().sum();
        for c_out in channels() {
            let mixed: f64 = (0..n).map(|key| shares[key] * project(parts[2], key, c_out)).sum();
            all[p * c + c_out] = mixed / sum;
        }
    }
    all
}

/// The picture as (n, 24, 3), and three projections with heads apart.
fn projections() -> Vec<NodeProto> {
    let mut nodes = vec![
        node("Reshape", &["x", "flat"], &["rows"]),
        node("Transpose", &["rows"], &["t"]).with(ints("perm", &[0, 2, 1])),
    ];
    for part in ["q", "k", "v"] {
        let name = |suffix: &str| format!("{part}{suffix}");
        nodes.push(node("MatMul", &["t", &name("w")], &[&name("0")]));
        nodes.push(node("Reshape", &[&name("0"), "heads"], &[&name("1")]));
        nodes.push(node("Transpose", &[&name("1")], &[&name("2")]).with(ints("perm", &[0, 2, 1, 3])));
    }
    nodes.push(node("Transpose", &["k2"], &["kt"]).with(ints("perm", &[0, 1, 3, 2])));
    nodes
}

/// The nodes behind the softmax `soft`.
fn rest() -> Vec<NodeProto> {
    vec![
        node("MatMul", &["soft", "v2"], &["mixed"]),
        node("Transpose", &["mixed"], &["joined"]).with(ints("perm", &[0, 2, 1, 3])),
        node("Reshape", &["joined", "whole"], &["y"]),
    ]
}

fn constants() -> Vec<TensorProto> {
    let mut all = vec![
        longs("flat", &[0, 3, -1]),
        longs("heads", &[0, 24, 2, 2]),
        longs("whole", &[0, 24, 4]),
        longs("some", &[0, 2, 24, 4, 6]),
        longs("again", &[0, 2, 24, 24]),
        floats("factor", &[], &[0.3]),
        floats("root", &[1], &[0.5]),
        floats("bias", &[1, 2, 24, 24], &biases()),
    ];
    all.extend(["qw", "kw", "vw"].iter().enumerate().map(|(i, name)| floats(name, &[3, 4], &weights(i, 12))));
    all
}

fn biases() -> Vec<f32> {
    weights(5, 2 * 24 * 24).into_iter().map(|v| 40.0 * v).collect()
}

#[test]
fn separate_projections_with_any_factor_and_bias_are_attention() {
    let scaled = |q: &[NodeProto]| [projections(), q.to_vec(), rest()].concat();
    let product = |q: &str, k: &str| node("MatMul", &[q, k], &["s"]);
    let softmax = |x: &str| node("Softmax", &[x], &["soft"]).with(int("axis", -1));
    let behind = [product("q2", "kt"), node("Mul", &["factor", "s"], &["m"]), softmax("m")];
    let apart = [
        node("Mul", &["q2", "root"], &["qs"]),
        node("Mul", &["kt", "root"], &["ks"]),
        product("qs", "ks"),
        softmax("s"),
    ];
    let divided = [product("q2", "kt"), node("Div", &["s", "root"], &["m"]), softmax("m")];
    let biased = [product("q2", "kt"), node("Add", &["s", "bias"], &["m"]), softmax("m")];
    let w: Vec<Vec<f32>> = (0..3).map(|i| weights(i, 12)).collect();
    for (nodes, factor, bias) in [
        (scaled(&behind), 0.3f32, Vec::new()),
        (scaled(&apart), 0.25, Vec::new()),
        (scaled(&divided), 2.0, Vec::new()),
        (scaled(&biased), 1.0, biases()),
    ] {
        let (values, ops) = run(&model(nodes, constants()));
        assert!(ops.iter().any(|op| matches!(op, Op::Attention(_))), "{ops:?}");
        let expected = expected([&w[0], &w[1], &w[2]], f64::from(factor), &bias);
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let apart = norm(&mut values.iter().zip(&expected).map(|(&a, b)| f64::from(a) - b));
        assert!(values.len() == 96 && apart <= 1e-5 * norm(&mut expected.iter().copied()), "{factor}: {apart}");
    }
}

/// The operator `Attention` over those inputs, and the nodes that make and take its values.
fn fused(inputs: &[&str], attributes: Vec<AttributeProto>) -> ModelProto {
    let is_apart = inputs[0] == "q2";
    let mut attention = node("Attention", inputs, &[if is_apart { "mixed" } else { "y" }]);
    attention.attribute = attributes;
    let behind = if is_apart { rest().split_off(1) } else { Vec::new() };
    let more = vec![longs("shown", &[1]), longs("hidden", &[1, 0])];
    let mut model = model([projections(), vec![attention], behind].concat(), [constants(), more].concat());
    model.opset_import[0].version = 23;
    model
}

fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: name.into(), f: Some(f), r#type: 1, ..Default::default() }
}

fn two_heads() -> Vec<AttributeProto> {
    vec![int("q_num_heads", 2), int("kv_num_heads", 2)]
}

#[test]
fn the_operator_for_attention_takes_heads_apart_or_together() {
    let scaled = |factor: f32| vec![float("scale", factor)];
    let w: Vec<Vec<f32>> = (0..3).map(|i| weights(i, 12)).collect();
    for (model, factor, bias) in [
        (fused(&["q2", "k2", "v2"], Vec::new()), 0.5f64.sqrt(), Vec::new()),
        (fused(&["q2", "k2", "v2"], scaled(0.3)), f64::from(0.3f32), Vec::new()),
        (fused(&["q2", "k2", "v2", "bias"], scaled(0.3)), f64::from(0.3f32), biases()),
        (fused(&["q0", "k0", "v0"], two_heads()), 0.5f64.sqrt(), Vec::new()),
        (fused(&["q0", "k0", "v0", "bias"], two_heads()), 0.5f64.sqrt(), biases()),
        // booleans that hide nothing
        (fused(&["q2", "k2", "v2", "shown"], scaled(0.3)), f64::from(0.3f32), Vec::new()),
    ] {
        let (values, ops) = run(&model);
        assert!(ops.iter().any(|op| matches!(op, Op::Attention(_))), "{ops:?}");
        let expected = expected([&w[0], &w[1], &w[2]], factor, &bias);
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let apart = norm(&mut values.iter().zip(&expected).map(|(&a, b)| f64::from(a) - b));
        assert!(values.len() == 96 && apart <= 1e-5 * norm(&mut expected.iter().copied()), "{factor}: {apart}");
    }
}

#[test]
fn parts_of_the_operator_for_attention_that_no_network_of_pictures_has_are_refused() {
    let apart = ["q2", "k2", "v2"];
    for (model, told) in [
        (fused(&apart, vec![int("is_causal", 1)]), "it hides later positions"),
        (fused(&apart, vec![float("softcap", 30.0)]), "it bounds its scores"),
        (fused(&["q2", "k2", "v2", "", "k2", "v2"], Vec::new()), "it has keys of the past"),
        (fused(&["q2", "k2", "v2", "hidden"], Vec::new()), "its mask hides positions"),
        (fused(&["q2", "k2", "v2", "q2"], Vec::new()), "its mask depends on the picture"),
        (fused(&["q0", "k0", "v0"], Vec::new()), "are no vectors of 0 heads"),
        (fused(&["q0", "k0", "v0"], vec![int("q_num_heads", 4), int("kv_num_heads", 2)]), "no product of queries"),
    ] {
        let error = refused(&model, &["y"]);
        assert!(error.contains(told), "{error}");
    }
    let mut model = fused(&apart, Vec::new());
    let graph = model.graph.as_mut().expect("a graph");
    let attention = graph.node.iter_mut().find(|node| node.op_type == "Attention").expect("attention");
    attention.output.push("keys".into());
    assert!(import(&model, &["y"]).is_ok(), "nothing reads its keys");
    let graph = model.graph.as_mut().expect("a graph");
    let last = graph.node.iter_mut().find(|node| node.output == ["joined"]).expect("heads put together");
    last.input[0] = "keys".into();
    let error = refused(&model, &["y"]);
    assert!(error.contains("its keys, values or scores are read"), "{error}");
}

#[test]
fn what_is_no_attention_is_refused() {
    let product = || node("MatMul", &["q2", "kt"], &["s"]);
    let softmax = |axis: i64| node("Softmax", &["s"], &["soft"]).with(int("axis", axis));
    let cases: [(&[NodeProto], &str); 7] = [
        (&[product(), softmax(2)], "something else than the keys of attention"),
        (
            &[
                node("MatMul", &["q2", "kt"], &["all"]),
                node("Reshape", &["all", "some"], &["s"]),
                node("Softmax", &["s"], &["some soft"]).with(int("axis", -1)),
                node("Reshape", &["some soft", "again"], &["soft"]),
            ],
            "something else than the keys of attention",
        ),
        (&[product(), node("Relu", &["s"], &["soft"])], "known in attention alone"),
        (&[product(), node("Identity", &["s"], &["soft"])], "is no mean of values"),
        (&[node("MatMul", &["q2", "k2"], &["s"]), softmax(-1)], "is no product of queries and keys"),
        (&[product(), node("Add", &["s", "s"], &["soft"])], "depends on the picture is added"),
        (
            &[product(), softmax(-1), node("Mul", &["soft", "root"], &["more"]), node("Relu", &["more"], &["n"])],
            "is no step of attention",
        ),
    ];
    for (nodes, told) in cases {
        let mut all = [projections(), nodes.to_vec(), rest()].concat();
        if told == "is no step of attention" {
            all.push(node("Add", &["y", "n"], &["z"]));
        }
        let layer = if told == "is no step of attention" { "z" } else { "y" };
        let error = refused(&model(all, constants()), &[layer]);
        assert!(error.contains(told), "{error}");
    }
    // values of another layer than queries and keys
    let mut nodes = projections();
    nodes.insert(2, node("Relu", &["t"], &["other"]));
    let value = nodes.iter_mut().find(|node| node.output == ["v0"]).expect("values");
    value.input[0] = "other".into();
    let error = refused(&model([nodes, vec![product(), softmax(-1)], rest()].concat(), constants()), &["y"]);
    assert!(error.contains("made of different layers"), "{error}");
}

/// Nodes that take and give those values: vectors turned by `cos` and `sin`, halves of which lie along dimension
/// `axis`.
fn turned(x: &str, y: &str, axis: i64) -> Vec<NodeProto> {
    let name = |word: &str| format!("{y}{word}");
    let half = |from: &str, to: &str, out: &str| node("Slice", &[x, from, to, &axis.to_string()], &[&name(out)]);
    vec![
        half("zero", "one", "first"),
        half("one", "two", "second"),
        node("Neg", &[&name("second")], &[&name("negative")]),
        node("Concat", &[&name("negative"), &name("first")], &[&name("across")]).with(int("axis", axis)),
        node("Mul", &[x, "cos"], &[&name("straight")]),
        node("Mul", &[&name("across"), "sin"], &[&name("scaled")]),
        node("Add", &[&name("straight"), &name("scaled")], &[y]),
    ]
}

/// The projections of tokens, with queries `q` and keys `kq` that `change` makes of `q2` and `k2`.
fn with_heads(change: &dyn Fn(&str, &str) -> Vec<NodeProto>) -> ModelProto {
    let mut nodes = projections();
    nodes.pop();
    nodes[1].output[0] = "t0".into();
    nodes.insert(2, node("Add", &["t0", "positions"], &["t"]));
    nodes.extend(change("q2", "q"));
    nodes.extend(change("k2", "k"));
    nodes.extend([
        node("Transpose", &["k"], &["kt"]).with(ints("perm", &[0, 1, 3, 2])),
        node("MatMul", &["q", "kt"], &["s"]),
        node("Softmax", &["s"], &["soft"]).with(int("axis", -1)),
    ]);
    let angles = |seed: usize| weights(seed, 48).into_iter().map(|v| 1.0 + v).collect::<Vec<f32>>();
    let more = vec![
        floats("positions", &[1, 24, 3], &weights(9, 72)),
        floats("cos", &[24, 2], &angles(6)),
        floats("sin", &[24, 2], &angles(7)),
        longs("zero", &[0]),
        longs("one", &[1]),
        longs("two", &[2]),
        longs("four", &[4]),
        longs("end", &[24]),
        longs("2", &[2]),
        longs("3", &[3]),
    ];
    model([nodes, rest()].concat(), [constants(), more].concat())
}

#[test]
fn vectors_of_heads_are_normalized_and_turned_and_no_others() {
    let ops = |model: &ModelProto| -> Vec<Op> {
        let import = import(model, &["y"]).unwrap_or_else(|error| panic!("{error}"));
        import.graph.layers().iter().map(|layer| layer.op).collect()
    };
    let is_cosine = |ops: &[Op]| {
        let is_cosine =
            |op: &Op| matches!(op, Op::Attention(kind) if kind.bias == RelativeBias::Given { cosine: true });
        ops.iter().any(is_cosine)
    };
    let normalized = |x: &str, y: &str| vec![node("LpNormalization", &[x], &[y]).with(int("axis", -1))];
    let divided = |x: &str, y: &str| {
        let length = format!("{y}length");
        let axes = ints("axes", &[-1]);
        vec![node("ReduceL2", &[x], &[&length]).with(axes), node("Div", &[x, &length], &[y])]
    };
    assert!(is_cosine(&ops(&with_heads(&normalized))) && is_cosine(&ops(&with_heads(&divided))));
    let found = ops(&with_heads(&|x, y| turned(x, y, 3)));
    assert!(found.iter().any(|op| matches!(op, Op::Turn { heads: 2 })), "{found:?}");

    let order = |x: &str, y: &str, order: [i64; 4]| node("Transpose", &[x], &[y]).with(ints("perm", &order));
    // over the channels of all heads
    let all = |x: &str, y: &str, change: &dyn Fn(&str, &str) -> Vec<NodeProto>| {
        let (from, [to, apart]) = (x.replace('2', "0"), ["all", "apart"].map(|word| format!("{y}{word}")));
        let mut nodes = change(&from, &to);
        nodes.extend([node("Reshape", &[&to, "heads"], &[&apart]), order(&apart, y, [0, 2, 1, 3])]);
        nodes
    };
    let halves = |x: &str, y: &str| {
        let mut nodes = turned(x, y, 2);
        nodes.truncate(4);
        (nodes[1].input[2], nodes[3].output[0]) = ("four".into(), y.into());
        for half in &mut nodes[..2] {
            half.input.iter_mut().filter(|name| *name == "one").for_each(|name| *name = "two".into());
        }
        nodes
    };
    // over the positions
    let lengths = |x: &str, y: &str| {
        let [a, b] = ["a", "b"].map(|word| format!("{y}{word}"));
        let mut nodes = vec![order(x, &a, [0, 1, 3, 2])];
        nodes.extend(divided(&a, &b));
        nodes.push(order(&b, y, [0, 1, 3, 2]));
        nodes
    };
    // over the same channel of all heads
    let across = |x: &str, y: &str| {
        let [a, b] = ["a", "b"].map(|word| format!("{y}{word}"));
        let mut nodes = vec![order(x, &a, [0, 3, 2, 1])];
        nodes.extend(normalized(&a, &b));
        nodes.push(order(&b, y, [0, 3, 2, 1]));
        nodes
    };
    // tokens that are turned with the others, and then put back
    let begun = |x: &str, y: &str| {
        let [a, first, others] = ["a", "first token", "others"].map(|word| format!("{y}{word}"));
        let mut nodes = turned(x, &a, 3);
        nodes.extend([
            node("Slice", &[x, "zero", "one", "2"], &[&first]),
            node("Slice", &[&a, "one", "end", "2"], &[&others]),
            node("Concat", &[&first, &others], &[y]).with(int("axis", 2)),
        ]);
        nodes
    };
    let cut = "are cut or joined on the way to attention";
    for (change, told) in [
        (&(|x: &str, y: &str| all(x, y, &normalized)) as &dyn Fn(&str, &str) -> Vec<NodeProto>, cut),
        (&|x: &str, y: &str| all(x, y, &divided), cut),
        (&|x: &str, y: &str| all(x, y, &halves), cut),
        (&lengths, "lengths of vectors in the last dimension are known"),
        (&across, "is no product of queries and keys"),
        (&begun, cut),
    ] {
        let error = refused(&with_heads(change), &["y"]);
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn a_softmax_without_an_axis_is_that_of_its_opset() {
    let nodes = [node("MatMul", &["q2", "kt"], &["s"]), node("Softmax", &["s"], &["soft"])];
    let mut model = model([projections(), nodes.to_vec(), rest()].concat(), constants());
    assert!(import(&model, &["y"]).is_ok());
    model.opset_import[0].version = 11;
    let error = refused(&model, &["y"]);
    assert!(error.contains("something else than the keys of attention"), "{error}");
}

#[test]
fn a_bias_that_hides_all_positions_or_is_no_number_is_refused() {
    for (odd, places) in [(f32::NAN, 1), (f32::INFINITY, 1), (f32::NEG_INFINITY, 24)] {
        let mut values = biases();
        values[24..24 + places].fill(odd);
        let nodes = [
            node("MatMul", &["q2", "kt"], &["s"]),
            node("Add", &["s", "odd"], &["m"]),
            node("Softmax", &["m"], &["soft"]),
        ];
        let constants = [constants(), vec![floats("odd", &[1, 2, 24, 24], &values)]].concat();
        let error = refused(&model([projections(), nodes.to_vec(), rest()].concat(), constants), &["y"]);
        assert!(error.contains("leaves positions without shares"), "{odd}: {error}");
    }
}

#[test]
fn so_many_norms_stand_behind_a_projection_and_no_more() {
    let normed = |times: usize| {
        let mut nodes = projections();
        let at = nodes.iter().position(|node| node.output == ["k0"]).expect("keys") + 1;
        nodes[at - 1].output[0] = "n0".into();
        let norm = |i: usize| {
            let (scaled, last) = (format!("n{i} scaled"), i + 1 == times);
            let next = if last { "k0".to_string() } else { format!("n{}", i + 1) };
            let scale = node("Mul", &[&format!("n{i}"), "scale"], &[&scaled]);
            [scale, node("Reshape", &[&scaled, "whole"], &[&next])]
        };
        nodes.splice(at..at, (0..times).flat_map(norm));
        nodes.extend([node("MatMul", &["q2", "kt"], &["s"]), node("Softmax", &["s"], &["soft"])]);
        let scale = floats("scale", &[4], &[1.5, 0.5, 2.0, 0.75]);
        model([nodes, rest()].concat(), [constants(), vec![scale]].concat())
    };
    assert_eq!(run(&normed(3)).0.len(), 96);
    let error = refused(&normed(1000), &["y"]);
    assert!(error.contains("are not those of a dense layer"), "{error}");
}
