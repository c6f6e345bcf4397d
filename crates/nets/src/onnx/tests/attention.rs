//! Attention written by hand: forms that give numbers, and forms that are refused.

use super::*;

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

/// What follows the softmax `soft`.
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

#[test]
fn what_is_no_attention_is_refused() {
    let product = || node("MatMul", &["q2", "kt"], &["s"]);
    let softmax = |axis: i64| node("Softmax", &["s"], &["soft"]).with(int("axis", axis));
    let cases: [(&[NodeProto], &str); 6] = [
        (&[product(), softmax(2)], "something else than the keys of attention"),
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
