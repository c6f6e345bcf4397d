//! Small files that would take much memory, time or stack, and damaged notes.

use super::*;
use crate::onnx::{notes, shape};
use crate::weights::Tensor;

/// The picture under the sizes that `nodes` compute as `s`.
fn reshaped(mut nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> ModelProto {
    nodes.extend([node("Reshape", &["x", "s"], &["r"]), node("Relu", &["r"], &["y"])]);
    model(nodes, constants)
}

#[test]
fn a_slice_of_nothing_is_nothing() {
    for step in [1, -1] {
        let nodes = vec![
            node("Slice", &["none", "start", "end", "axis", "step"], &["e"]),
            node("Shape", &["x"], &["all"]),
            node("Concat", &["e", "all"], &["s"]).with(int("axis", 0)),
        ];
        let ends = [longs("start", &[-1]), longs("end", &[i64::MIN]), longs("axis", &[0]), longs("step", &[step])];
        let (values, _) = run(&reshaped(nodes, [&ends[..], &[longs("none", &[])]].concat()));
        assert_eq!(values.len(), 72);
    }
}

#[test]
fn a_range_that_overflows_is_refused() {
    for [start, limit, step] in [[0, i64::MIN, -1], [-2, i64::MAX, 1], [0, 8, 0], [0, 1 << 40, 1]] {
        let ends = vec![longs("start", &[start]), longs("limit", &[limit]), longs("step", &[step])];
        let error = refused(&reshaped(vec![node("Range", &["start", "limit", "step"], &["s"])], ends), &["y"]);
        assert!(error.contains("a range is too large"), "{error}");
    }
}

#[test]
fn functions_are_called_so_often_and_no_more() {
    let call = |i: usize| NodeProto { domain: "mine".into(), ..node(&format!("F{i}"), &["in"], &["out"]) };
    let function = |i: usize| FunctionProto {
        name: format!("F{i}"),
        domain: "mine".into(),
        input: text(&["in"]),
        output: text(&["out"]),
        node: if i < 31 { vec![call(i + 1), call(i + 1)] } else { Vec::new() },
        ..Default::default()
    };
    let mut file = model(vec![call(0)], Vec::new());
    file.functions = (0..32).map(function).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let error = opened(&file, folder.path()).expect_err("2^31 calls");
    assert!(error.contains("it calls functions more than 131072 times"), "{error}");
    // a long list of integers, copied at each of 64 calls
    let long = node("Constant", &[], &["c"]).with(ints("value_ints", &vec![i64::MAX; 1 << 19]));
    file.functions[6].node = vec![long];
    let error = opened(&file, folder.path()).expect_err("300 MB");
    assert!(error.contains("take more than 268435456 bytes"), "{error}");
}

#[test]
fn integers_that_are_read_and_computed_are_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("w.bin"), vec![0; 1 << 20]).expect("written");
    let entry = |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into() };
    let tensor = |i: usize| TensorProto {
        name: if i < 16 { format!("w{i}") } else { "s".to_string() },
        dims: vec![1 << 20],
        data_type: dtype::INT8,
        data_location: 1,
        external_data: vec![entry("location", "w.bin")],
        ..Default::default()
    };
    let file = opened(&reshaped(Vec::new(), (0..17).map(tensor).collect()), folder.path()).expect("read in part");
    let asked = Asked { channels: 3, size: [4, 6], layers: &text(&["y"]), logits: false };
    let error = file.import(asked).map(|import| import.graph).expect_err("too many").to_string();
    assert!(error.contains("elements of type integer, and as many, are not read"), "{error}");

    let mut value = node("ConstantOfShape", &["n"], &["c0"]);
    value.attribute = vec![AttributeProto { name: "value".into(), t: Some(longs("", &[1])), ..Default::default() }];
    let name = |i: usize| if i < 16 { format!("c{i}") } else { "s".to_string() };
    let steps = (1..17).map(|i| node("Neg", &[&name(i - 1)], &[&name(i)]));
    let error = refused(&reshaped([value].into_iter().chain(steps).collect(), vec![longs("n", &[1 << 20])]), &["y"]);
    assert!(error.contains("too many values are computed of constants"), "{error}");
}

#[test]
fn so_many_nodes_change_a_weight_and_no_more() {
    let turned = |times: usize| {
        let turn = |i: usize| node("Transpose", &[&format!("m{i}")], &[&format!("m{}", i + 1)]);
        let mut nodes: Vec<NodeProto> = (0..times).map(turn).collect();
        let last = format!("m{times}");
        nodes.extend([
            node("GlobalAveragePool", &["x"], &["p"]),
            node("Flatten", &["p"], &["f"]),
            node("MatMul", &["f", &last], &["y"]),
        ]);
        model(nodes, vec![floats("m0", &[3, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0])])
    };
    assert_eq!(run(&turned(2)).0, run(&turned(60)).0);
    let error = refused(&turned(100_000), &["y"]);
    assert!(error.contains("more than 64 nodes change one constant"), "{error}");
}

#[test]
fn places_that_are_picked_are_bounded() {
    let picked = |count: usize| {
        let mut nodes = Vec::new();
        for i in 0..count {
            let [all, first, from] = [format!("all{i}"), format!("first{i}"), format!("x{i}")];
            let to = if i + 1 == count { "y".to_string() } else { format!("x{}", i + 1) };
            nodes.push(node("GatherND", &["table", "places"], &[&all]));
            nodes.push(node("Gather", &[&all, "zero"], &[&first]));
            nodes.push(node("Add", &[if i == 0 { "x" } else { &from }, &first], &[&to]));
        }
        let places = TensorProto { dims: vec![1 << 20, 1], ..longs("places", &vec![0; 1 << 20]) };
        model(nodes, vec![floats("table", &[1, 1, 1], &[1.0]), places, longs("zero", &[0])])
    };
    assert_eq!(run(&picked(15)).0[..3], [15.0, 39.0, 63.0]);
    let error = refused(&picked(16), &["y"]);
    assert!(error.contains("too many values are computed of constants"), "{error}");
}

#[test]
fn sizes_beside_a_zero_are_bounded() {
    for dims in [vec![0, 1 << 32, 1 << 32], vec![1 << 32, 0, 1 << 32]] {
        let error = shape::count(&dims).expect_err("products of two of them overflow");
        assert!(error.contains("are too many values"), "{error}");
    }
    assert_eq!(shape::count(&[3, 0, 1 << 20]), Ok(0));
}

#[test]
fn a_tensor_that_is_read_twice_counts_twice() {
    let mut tensor = Tensor::ready(vec![1], vec![1.0]);
    for _ in 0..80 {
        tensor = Tensor::joined(vec![tensor.clone(), tensor], vec![1], |all| all.concat());
    }
    assert_eq!(tensor.changes(), usize::MAX);
}

#[test]
fn products_of_constants_without_values_are_zeros_and_bounded() {
    let product = |n: i64| {
        let nodes = vec![node("MatMul", &["a", "b"], &["zero"]), node("Add", &["x", "zero"], &["y"])];
        model(nodes, vec![floats("a", &[n, 0], &[]), floats("b", &[0, n], &[])])
    };
    assert_eq!(run(&product(1)).0[..3], [0.0, 24.0, 48.0]);
    let error = refused(&product(1 << 15), &["y"]);
    assert!(error.contains("is too large to be computed"), "{error}");
}

#[test]
fn tables_of_some_million_values_are_computed() {
    let nodes = vec![
        node("MatMul", &["a", "b"], &["table"]),
        node("Add", &["table", "row"], &["sum"]),
        node("Relu", &["sum"], &["relu"]),
        node("Mul", &["relu", "two"], &["twice"]),
        node("MatMul", &["twice", "mean"], &["means"]),
        node("Gather", &["means", "place"], &["values"]),
        node("Reshape", &["values", "column"], &["m"]),
        node("Add", &["x", "m"], &["y"]),
    ];
    let constants = vec![
        floats("a", &[1 << 11, 2], &[0.5; 1 << 12]),
        floats("b", &[2, 1 << 10], &[0.25; 1 << 11]),
        floats("row", &[1 << 10], &[1.0; 1 << 10]),
        floats("two", &[], &[2.0]),
        floats("mean", &[1 << 10, 3], &[1.0 / 1024.0; 3 << 10]),
        longs("place", &[2047]),
        longs("column", &[3, 1, 1]),
    ];
    // 2 · (0.25 + 1), and the first pixel of the channels
    assert_eq!(run(&model(nodes, constants)).0[..3], [2.5, 26.5, 50.5]);
}

#[test]
fn values_of_a_constant_are_collected_by_their_places() {
    let collected = |places: [i64; 3], batch: i64| {
        let nodes = vec![
            node("GatherND", &["table", "places"], &["g"]).with(int("batch_dims", batch)),
            node("Add", &["x", "g"], &["y"]),
        ];
        let places = TensorProto { dims: vec![3, 1], ..longs("places", &places) };
        model(nodes, vec![floats("table", &[4, 1, 1], &[1.0, 2.0, 3.0, 4.0]), places])
    };
    // the first pixel of the channels is 0, 24 and 48
    assert_eq!(run(&collected([3, -4, 1], 0)).0[..3], [4.0, 25.0, 50.0]);
    for (places, batch, told) in [
        ([0, 4, 0], 0, "there is no place [4] in [4, 1, 1]"),
        ([0, i64::MIN, 0], 0, "there is no place"),
        ([0, 1, 2], 1, "the operator is not known"),
    ] {
        let error = refused(&collected(places, batch), &["y"]);
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn constants_are_resized_as_onnx_says_or_not_at_all() {
    let words = |name: &str, word: &str| {
        let s = Some(word.as_bytes().to_vec());
        AttributeProto { name: name.into(), s, r#type: 3, ..Default::default() }
    };
    let resized = |coordinates: &str, policy: &str, [c, tall]: [i64; 2]| {
        let nodes = vec![
            node("Resize", &["grid", "", "", "sizes"], &["r"])
                .with(words("mode", "cubic"))
                .with(words("coordinate_transformation_mode", coordinates))
                .with(words("keep_aspect_ratio_policy", policy)),
            node("Reshape", &["r", "matrix"], &["m"]),
            node("GlobalAveragePool", &["x"], &["p"]),
            node("Flatten", &["p"], &["f"]),
            node("MatMul", &["f", "m"], &["y"]),
        ];
        let sizes = longs("sizes", &[1, c, tall, if tall > 4 { tall } else { 1 }]);
        let grid = floats("grid", &[1, c, 2, 2], &[0.25].repeat(4 * c as usize));
        model(nodes, vec![grid, sizes, longs("matrix", &[-1, 1])])
    };
    assert!(import(&resized("half_pixel", "stretch", [1, 3]), &["y"]).is_ok());
    for (coordinates, policy, sizes, told) in [
        ("pytorch_half_pixel", "stretch", [1, 3], "a constant is resized by"),
        ("half_pixel", "not_larger", [1, 3], "a constant is resized by"),
        ("half_pixel", "stretch", [2, 1 << 12], "is too large to be computed"),
    ] {
        let error = refused(&resized(coordinates, policy, sizes), &["y"]);
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn a_damaged_note_is_told_with_its_file() {
    let mut model = model(vec![node("Relu", &["x"], &["y"])], Vec::new());
    let note = |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into() };
    model.metadata_props = vec![note(notes::CLASSES, "[\"a\", \"b\"]"), note(notes::RECIPE, "{\"size\": ")];
    let folder = tempfile::tempdir().expect("a folder");
    let file = opened(&model, folder.path()).expect("read");
    assert_eq!(file.note(notes::CLASSES).expect("sound"), Some(text(&["a", "b"])));
    assert_eq!(file.note::<f64>(notes::TEMPERATURE).expect("none"), None);
    let error = file.recipe().expect_err("damaged").to_string();
    assert!(error.contains("net.onnx") && error.contains("its note `featurize.recipe` is damaged"), "{error}");
}
