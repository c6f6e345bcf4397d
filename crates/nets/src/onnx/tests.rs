//! Small files made by hand: what is refused and how that is told, and forms that the golden networks do not have.

mod attention;
mod bounds;

use std::path::Path;

use prost::Message;

use super::proto::*;
use super::{Asked, Import, OnnxError, OnnxFile};
use crate::exec::lower::lower;
use crate::exec::{Device, candle};
use crate::models::Shape;
use crate::models::graph::{Activation, Op};

fn text(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let name = format!("n_{}", outputs[0]);
    NodeProto { name, op_type: op.into(), input: text(inputs), output: text(outputs), ..Default::default() }
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), ints: ints.to_vec(), r#type: 7, ..Default::default() }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: Some(i), r#type: 2, ..Default::default() }
}

impl NodeProto {
    fn with(mut self, attribute: AttributeProto) -> Self {
        self.attribute.push(attribute);
        self
    }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into();
    TensorProto { name: name.into(), dims: dims.to_vec(), data_type: dtype::FLOAT, raw_data, ..Default::default() }
}

fn longs(name: &str, values: &[i64]) -> TensorProto {
    let dims = vec![values.len() as i64];
    TensorProto { name: name.into(), dims, data_type: dtype::INT64, int64_data: values.to_vec(), ..Default::default() }
}

/// A file of a picture `x` with four channels-first dimensions and those nodes, the last of which gives `y`.
fn model(nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> ModelProto {
    let dim = |size: i64| DimensionProto { dim_value: (size > 0).then_some(size), ..Default::default() };
    let shape = Some(TensorShapeProto { dim: [0, 3, 0, 0].map(dim).to_vec() });
    let tensor_type = Some(TensorTypeProto { elem_type: dtype::FLOAT, shape });
    let value =
        |name: &str| ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type: tensor_type.clone() }) };
    let (input, output) = (vec![value("x")], vec![value("y")]);
    let graph = Some(GraphProto { node: nodes, initializer, input, output, ..Default::default() });
    let opset_import = vec![OperatorSetIdProto { version: 17, ..Default::default() }];
    ModelProto { ir_version: 8, graph, opset_import, ..Default::default() }
}

fn opened(model: &ModelProto, folder: &Path) -> Result<OnnxFile, String> {
    let path = folder.join("net.onnx");
    std::fs::write(&path, model.encode_to_vec()).expect("written");
    OnnxFile::open(&path).map_err(|error| error.to_string())
}

/// The import of `layers` for a picture of 4 × 6.
fn import(model: &ModelProto, layers: &[&str]) -> Result<Import, OnnxError> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = opened(model, folder.path()).unwrap_or_else(|error| panic!("{error}"));
    file.import(Asked { channels: 3, size: [4, 6], layers: &text(layers), logits: false })
}

fn refused(model: &ModelProto, layers: &[&str]) -> String {
    import(model, layers).map(|import| format!("{:?}", import.graph)).expect_err("refused").to_string()
}

/// The values of layer `y` for a picture of 0, 1, 2, …, in the order (h, w, c).
fn run(model: &ModelProto) -> (Vec<f32>, Vec<Op>) {
    let import = import(model, &["y"]).unwrap_or_else(|error| panic!("{error}"));
    (values(&import, "y"), import.graph.layers().iter().map(|layer| layer.op).collect())
}

/// The same values of any layer.
fn values(Import { graph, weights }: &Import, layer: &str) -> Vec<f32> {
    let tap = graph.find(layer).unwrap_or_else(|| panic!("there is no layer `{layer}`"));
    let program = lower(graph, weights, &[tap]).expect("lowered");
    let picture: Vec<f32> = (0..72u8).map(f32::from).collect();
    let network = candle::Network::new(program, &Device::cpu()).expect("uploaded");
    network.forward(&picture, 1).expect("computed").remove(0)
}

#[test]
fn unknown_operators_are_told_together_with_node_and_domain() {
    let mut custom = node("Deformed", &["a"], &["b"]);
    custom.domain = "com.example".into();
    let nodes =
        vec![node("Resize", &["x"], &["a"]), node("STFT", &["x"], &["c"]), custom, node("Add", &["b", "c"], &["y"])];
    let error = refused(&model(nodes, Vec::new()), &["y"]);
    for part in ["`Resize` of node `n_a` (domain ai.onnx): the operator is not known", "`STFT` of node `n_c`"] {
        assert!(error.contains(part), "{error}");
    }
    // nodes behind them are no faults of their own, and nodes that nobody asked for are none at all
    assert_eq!(error.lines().count(), 4, "{error}");
    let nodes = vec![node("Resize", &["x"], &["a"]), node("Relu", &["x"], &["b"]), node("Add", &["a", "b"], &["y"])];
    assert!(import(&model(nodes, Vec::new()), &["b"]).is_ok());
}

#[test]
fn layers_have_the_names_of_nodes_and_of_values() {
    let weights = vec![floats("w", &[3, 3, 1, 1], &[0.5; 9]), floats("m", &[3, 2], &[1.0; 6])];
    let conv = node("Conv", &["x", "w"], &["a"]);
    let nodes = vec![
        conv,
        node("Relu", &["a"], &["b"]),
        node("GlobalAveragePool", &["b"], &["c"]),
        node("Flatten", &["c"], &["d"]),
        node("MatMul", &["d", "m"], &["y"]),
    ];
    let model = model(nodes, weights);
    for (name, shape) in [
        ("a", Shape::Map { c: 3, h: 4, w: 6 }),
        ("n_b", Shape::Map { c: 3, h: 4, w: 6 }),
        ("n_c", Shape::Map { c: 3, h: 1, w: 1 }),
        ("d", Shape::Vector(3)),
        ("n_y", Shape::Vector(2)),
        ("x", Shape::Map { c: 3, h: 4, w: 6 }),
    ] {
        let Import { graph, .. } = import(&model, &[name]).expect("imported");
        assert_eq!(graph.layer(graph.find(name).expect("found")).shape, shape, "{name}");
    }
    let Import { graph, .. } = import(&model, &[]).expect("imported");
    assert_eq!(graph.title(graph.features()), "n_d");
    let error = refused(&model, &["n_bb"]);
    assert!(error.contains("has no node or value `n_bb`; did you mean `n_b`?"), "{error}");
}

#[test]
fn a_part_of_a_value_and_its_numbers_in_a_row_have_the_names_of_their_nodes() {
    let places = || ["one", "two", "three"].iter().zip(1..).map(|(name, at)| longs(name, &[at]));
    let constants = || places().chain([floats("factors", &[3, 1, 1], &[1.0, 2.0, 3.0])]).collect::<Vec<_>>();
    let pixels = |range: std::ops::Range<u8>| range.map(f32::from).collect::<Vec<f32>>();
    let (relu, flat) = (|| node("Relu", &["x"], &["r"]), |x: &str| node("Flatten", &[x], &["y"]));
    let channels = |end: &str, to: &str| node("Slice", &["r", "one", end, "one"], &[to]);
    let scaled: Vec<f32> = pixels(0..72).iter().enumerate().map(|(i, v)| v * (i / 24 + 1) as f32).collect();
    let by_position: Vec<f32> = (0..24u8).flat_map(|at| [at + 24, at + 48]).map(f32::from).collect();
    for (mut nodes, expected) in [
        (vec![relu(), flat("r")], pixels(0..72)),
        (vec![node("Mul", &["x", "factors"], &["r"]), flat("r")], scaled),
        (vec![relu(), channels("three", "y")], by_position),
        (vec![relu(), channels("two", "one channel"), flat("one channel")], pixels(24..48)),
    ] {
        for names in [&["y", "n_y"][..], &["y"]] {
            for name in names {
                let import = import(&model(nodes.clone(), constants()), &[name]).expect("imported");
                assert_eq!(values(&import, name), expected, "{name} of {:?}", import.graph);
            }
            nodes.iter_mut().for_each(|node| node.name.clear());
        }
    }
}

#[test]
fn the_last_layer_of_a_value_has_its_names() {
    let half = || vec![floats("half", &[], &[0.5])];
    let scaled = vec![node("Relu", &["x"], &["b"]), node("Mul", &["b", "half"], &["y"])];
    let tanh = vec![node("Tanh", &["x"], &["y"])];
    // pixels of the first channel are 0, 1, 2, … along a row
    for (nodes, expected) in [(scaled, [0.0, 0.5, 1.0]), (tanh, [0.0, 1f32.tanh(), 2f32.tanh()])] {
        let model = model(nodes, half());
        for name in ["y", "n_y"] {
            let values = values(&import(&model, &[name]).expect("imported"), name);
            for (i, expected) in expected.into_iter().enumerate() {
                assert!((values[3 * i] - expected).abs() < 1e-5, "{name}: {} for {expected}", values[3 * i]);
            }
        }
    }
    // the default has a name by which it is found again
    let dense = |activation: Vec<NodeProto>| {
        let mut nodes = vec![
            node("GlobalAveragePool", &["x"], &["p"]),
            node("Flatten", &["p"], &["f"]),
            node("Gemm", &["f", "m"], &["a"]),
        ];
        nodes.extend(activation);
        nodes.push(node("Gemm", &["t", "n"], &["y"]));
        let matrix = |name: &str, rows: i64| floats(name, &[rows, 2], &vec![0.01; 2 * rows as usize]);
        model(nodes, [half(), vec![matrix("m", 3), matrix("n", 2)]].concat())
    };
    let scaled = vec![node("Sigmoid", &["a"], &["s"]), node("Mul", &["s", "half"], &["t"])];
    // the mean pixels of the channels are 11.5, 35.5 and 59.5
    let a = 1.065f32;
    for (model, expected) in
        [(dense(vec![node("Tanh", &["a"], &["t"])]), a.tanh()), (dense(scaled), 0.5 / (1.0 + (-a).exp()))]
    {
        let default = import(&model, &[]).expect("imported");
        let title = default.graph.title(default.graph.features());
        assert_eq!(title, "n_t");
        for (found, name) in [(&default, "n_t"), (&import(&model, &["t"]).expect("imported"), "t")] {
            let values = values(found, name);
            assert!(values.iter().all(|value| (value - expected).abs() < 1e-5), "{values:?} for {expected}");
        }
        assert!(import(&model, &[title]).is_ok());
    }
    // a layer on the way takes no name of another value
    let nodes = vec![node("Tanh", &["x"], &["y"]), node("Relu", &["x"], &["y/1"])];
    let import = import(&model(nodes, Vec::new()), &["y", "y/1"]).expect("imported");
    let relu = import.graph.find("y/1").expect("asked for");
    assert_eq!(import.graph.layer(relu).op, Op::Activation(Activation::Relu));
}

#[test]
fn a_layer_norm_of_single_nodes_is_one_layer() {
    let nodes = vec![
        node("Transpose", &["x"], &["t"]).with(ints("perm", &[0, 2, 3, 1])),
        node("ReduceMean", &["t"], &["mean"]).with(ints("axes", &[-1])),
        node("Sub", &["t", "mean"], &["centred"]),
        node("Pow", &["centred", "two"], &["squares"]),
        node("ReduceMean", &["squares"], &["variance"]).with(ints("axes", &[-1])),
        node("Add", &["variance", "eps"], &["more"]),
        node("Sqrt", &["more"], &["deviation"]),
        node("Div", &["centred", "deviation"], &["norm"]),
        node("Mul", &["norm", "gamma"], &["scaled"]),
        node("Add", &["scaled", "beta"], &["y"]),
    ];
    let constants = vec![
        floats("two", &[], &[2.0]),
        floats("eps", &[1], &[1e-5]),
        floats("gamma", &[3], &[1.0, 2.0, 3.0]),
        floats("beta", &[3], &[0.0, 0.5, 1.0]),
    ];
    let (values, ops) = run(&model(nodes, constants));
    assert!(ops.iter().any(|op| matches!(op, Op::LayerNorm { .. })) && ops.len() == 3, "{ops:?}");
    // channels are 24 apart: (−1.2247, 0, 1.2247)
    let expected = [-1.2247, 0.5, 1.0 + 3.0 * 1.2247];
    assert!(values[..3].iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3), "{:?}", &values[..3]);
}

#[test]
fn one_vector_of_any_rank_is_divided_by_its_length() {
    let vector = |nodes: &[NodeProto], last: &str| {
        let pool = [node("GlobalAveragePool", &["x"], &["p"]), node("Reshape", &["p", "row"], &["v"])];
        let squeezed = node("Squeeze", &[last, "axis"], &["y"]);
        model([&pool[..], nodes, &[squeezed]].concat(), vec![longs("row", &[1, 1, 3]), longs("axis", &[1])])
    };
    let normalized = [node("LpNormalization", &["v"], &["n"]).with(int("axis", -1))];
    let divided = [node("ReduceL2", &["v"], &["l"]).with(ints("axes", &[-1])), node("Div", &["v", "l"], &["n"])];
    // the mean pixels of the channels
    let (means, length) = ([11.5f32, 35.5, 59.5], 4_932.75f32.sqrt());
    for nodes in [&normalized[..], &divided[..]] {
        let (values, ops) = run(&vector(nodes, "n"));
        assert!(ops.contains(&Op::Normalize), "{ops:?}");
        assert!(values.iter().zip(means).all(|(a, mean)| (a - mean / length).abs() < 1e-5), "{values:?}");
    }
}

#[test]
fn a_map_loses_its_first_row_and_column_together() {
    let cropped = |starts: &[i64]| {
        let nodes = vec![
            node("Pad", &["x", "pads"], &["p"]),
            node("Slice", &["p", "starts", "ends", "axes"], &["c"]),
            node("AveragePool", &["c"], &["y"]).with(ints("kernel_shape", &[1, 1])).with(ints("strides", &[2, 2])),
        ];
        let ends = longs("ends", &[i64::MAX; 2]);
        let pads = longs("pads", &[0, 0, 0, 0, 0, 0, 1, 1]);
        model(nodes, vec![pads, longs("starts", starts), ends, longs("axes", &[2, 3])])
    };
    // of the first channel the pixels of rows 1 and 3 and of columns 1, 3 and 5
    let (values, _) = run(&cropped(&[1, 1]));
    let first: Vec<f32> = values.iter().step_by(3).copied().collect();
    assert_eq!(first, [7.0, 9.0, 11.0, 19.0, 21.0, 23.0]);
    assert!(refused(&cropped(&[1, 0]), &["y"]).contains("a part of a layer that is not computed alone"));
}

#[test]
fn a_dropout_that_trains_is_refused() {
    let dropout = |train: i64| {
        let nodes = vec![node("Dropout", &["x", "ratio", "mode"], &["d"]), node("Relu", &["d"], &["y"])];
        model(nodes, vec![floats("ratio", &[], &[0.5]), longs("mode", &[train])])
    };
    assert!(import(&dropout(0), &["y"]).is_ok());
    assert!(refused(&dropout(1), &["y"]).contains("it is in training mode"));
    let mut constant = dropout(1);
    let graph = constant.graph.as_mut().expect("a graph");
    (graph.node[0].input[0], graph.node[1]) = ("w".into(), node("Mul", &["x", "d"], &["y"]));
    graph.initializer.push(floats("w", &[], &[2.0]));
    assert!(refused(&constant, &["y"]).contains("it is in training mode"));
}

#[test]
fn what_fails_inside_a_branch_is_told_once() {
    let output = vec![ValueInfoProto { name: "q".into(), ..Default::default() }];
    let nodes = vec![node("STFT", &["x"], &["p"]), node("Relu", &["p"], &["q"])];
    let g = Some(GraphProto { node: nodes, output, ..Default::default() });
    let graph = AttributeProto { name: "then_branch".into(), g, r#type: 5, ..Default::default() };
    let chosen = node("If", &["condition"], &["y"]).with(graph);
    let error = refused(&model(vec![chosen], vec![longs("condition", &[1])]), &["y"]);
    assert!(error.contains("`STFT`") && !error.contains("nothing gives"), "{error}");
}

#[test]
fn functions_of_the_file_are_inlined_with_their_attributes() {
    let by_reference =
        AttributeProto { name: "perm".into(), ref_attr_name: "order".into(), r#type: 7, ..Default::default() };
    let function = FunctionProto {
        name: "Turned".into(),
        domain: "mine".into(),
        input: text(&["in"]),
        output: text(&["out"]),
        node: vec![node("Transpose", &["in"], &["t"]).with(by_reference), node("Relu", &["t"], &["out"])],
        ..Default::default()
    };
    let call = |input: &str, output: &str, order: &[i64]| {
        let mut call = node("Turned", &[input], &[output]).with(ints("order", order));
        call.domain = "mine".into();
        call
    };
    let nodes = vec![call("x", "a", &[0, 2, 3, 1]), call("a", "y", &[0, 3, 1, 2])];
    let mut file = model(nodes, Vec::new());
    file.functions.push(function.clone());
    let (values, ops) = run(&file);
    assert_eq!(values[..3], [0.0, 24.0, 48.0]);
    // ReLU of ReLU is ReLU
    assert_eq!(ops[1..], [Op::Activation(Activation::Relu)]);
    // one that calls itself
    let mut own = function;
    own.node = vec![call("in", "out", &[0])];
    file.functions = vec![own];
    let folder = tempfile::tempdir().expect("a folder");
    assert!(opened(&file, folder.path()).expect_err("endless").contains("call one another more than 32 deep"));
}

#[test]
fn shape_arithmetic_is_computed_at_load() {
    // x.reshape(n, c, h * w), and back
    let nodes = vec![
        node("Shape", &["x"], &["shape"]),
        node("Gather", &["shape", "one"], &["c"]),
        node("Slice", &["shape", "two", "last"], &["hw"]),
        node("ReduceProd", &["hw"], &["positions"]).with(int("keepdims", 1)),
        node("Concat", &["minus", "c", "positions"], &["flat"]).with(int("axis", 0)),
        node("Reshape", &["x", "flat"], &["a"]),
        node("Relu", &["a"], &["b"]),
        node("Reshape", &["b", "shape"], &["y"]),
    ];
    let last = i64::MAX;
    let constants = vec![longs("one", &[1]), longs("two", &[2]), longs("last", &[last]), longs("minus", &[-1])];
    let (values, ops) = run(&model(nodes, constants));
    assert_eq!((ops.len(), values.len()), (2, 72));
}

#[test]
fn external_data_lies_in_the_folder_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("in");
    std::fs::create_dir(&inside).expect("a folder");
    std::fs::write(folder.path().join("w.bin"), [0; 64]).expect("written");
    std::fs::write(inside.join("w.bin"), [0; 64]).expect("written");
    let place = |location: &str, offset: &str| {
        let entry = |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into() };
        let tensor = TensorProto {
            data_location: 1,
            external_data: vec![entry("location", location), entry("offset", offset), entry("length", "36")],
            ..floats("w", &[3, 3, 1, 1], &[])
        };
        opened(&model(vec![node("Conv", &["x", "w"], &["y"])], vec![tensor]), &inside)
    };
    let file = place("w.bin", "28").expect("it ends with the file");
    assert_eq!(file.beside(), [inside.join("w.bin")]);
    assert!(place("w.bin", "29").expect_err("beyond").contains("do not lie at byte 29 of w.bin, which has 64"));
    assert!(place("w.bin", "18446744073709551600").is_err());
    let absolute = folder.path().join("w.bin").display().to_string();
    for location in ["../w.bin", "sub/../../w.bin", absolute.as_str(), "", ".."] {
        let error = place(location, "0").expect_err(location);
        assert!(error.contains("which is not in the folder of the file"), "{error}");
    }
    assert!(place("other.bin", "0").expect_err("missing").contains("its values lie in a file beside this one"));
}

#[test]
fn what_is_no_network_of_pictures_says_so() {
    let relu = || vec![node("Relu", &["x"], &["y"])];
    let changed = |change: &dyn Fn(&mut ModelProto)| {
        let mut model = model(relu(), Vec::new());
        change(&mut model);
        let folder = tempfile::tempdir().expect("a folder");
        let file = opened(&model, folder.path())?;
        let asked = Asked { channels: 3, size: [4, 6], layers: &[], logits: true };
        file.import(asked).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(changed(&|_| ()), Ok(()));
    let graph = |model: &mut ModelProto| model.graph.take().expect("a graph");
    let dims = |model: &mut ModelProto, sizes: [i64; 4]| {
        let mut own = graph(model);
        let shape = own.input[0].r#type.as_mut().and_then(|kind| kind.tensor_type.as_mut()).expect("a tensor");
        let dim = |size: i64| DimensionProto { dim_value: Some(size), ..Default::default() };
        shape.shape = Some(TensorShapeProto { dim: sizes.map(dim).to_vec() });
        model.graph = Some(own);
    };
    for (change, expected) in [
        (
            &(|model: &mut ModelProto| dims(model, [8, 3, 4, 6])) as &dyn Fn(&mut ModelProto),
            "it takes 8 pictures at a time",
        ),
        (
            &|model| dims(model, [1, 3, 224, 224]),
            "it takes pictures of 224 pixels, the recipe gives 4: set `extract.recipe.size`",
        ),
        (&|model| dims(model, [1, 1, 4, 6]), "it takes pictures of 1 channels, not of 3"),
        (&|model| dims(model, [1, 9, 4, 6]), "pictures have one channel or three"),
        (&|model| model.opset_import[0].version = 3, "it has opset 3"),
        (&|model| drop(graph(model)), "it has no graph"),
        (&|model| model.graph.as_mut().expect("a graph").node[0].input[0] = "z".into(), "nothing gives its input `z`"),
    ] {
        let error = changed(change).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("net.onnx");
    for bytes in [&b""[..], b"\x08", b"PK\x03\x04", &[0xff; 64]] {
        std::fs::write(&path, bytes).expect("written");
        assert!(OnnxFile::open(&path).is_err(), "{bytes:?}");
    }
}
