//! Compares files that Keras wrote, and variants of them, with the formula that filled them:
//! `tests/golden/keras_files.py`.

mod hostile;

use std::fs;
use std::io::Read;

use super::*;
use crate::models::builder::{Builder, Conv, Pool};
use crate::models::graph::{Activation, FlattenOrder, LayerId, Op};

/// A file of `keras_files.zip`.
fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/keras_files.zip");
    let mut zip = zip::ZipArchive::new(fs::File::open(path).expect("golden file")).expect("a zip");
    let mut bytes = Vec::new();
    zip.by_name(name).expect(name).read_to_end(&mut bytes).expect("sound");
    bytes
}

/// Writes the file into a temporary folder.
fn unpacked(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, golden(name)).expect("written");
    (folder, path)
}

fn matched(name: &str, graph: &Graph) -> BTreeMap<String, Tensor> {
    let (_folder, path) = unpacked(name);
    assert!(is_keras(&path), "{name}");
    let file = index(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    file.match_to(graph, &[], None).unwrap_or_else(|error| panic!("{name}: {error}")).0
}

/// `named()` of the script; `name` may change the names of its layers.
fn named(name: impl Fn(&str) -> String) -> Graph {
    let (mut g, x) = Builder::new(3, 6, 6);
    let conv = Conv::new(4).kernel(3).pad(1).bias();
    let x = g.conv_act(&name("block1_conv1"), x, conv, Activation::Relu);
    let x = g.batch_norm(&name("block1_bn"), x, 1e-3);
    let y = g.conv(&name("dw"), x, Conv::depthwise().kernel(3).pad(1));
    let y = g.batch_norm_unscaled(&name("dw_bn"), y, 1e-3);
    let x = g.add("add", y, x);
    let x = g.separable("sep", x, Conv::depthwise().kernel(3).stride(2).same(), 5);
    let features = x;
    let x = g.flatten("flatten", x, FlattenOrder::ChannelsLast);
    let x = g.dense_act("fc1", x, 6, Activation::Relu);
    let logits = g.dense_softmax(&name("predictions"), x, 3);
    g.finish(features, logits).expect("a sound network")
}

/// `branches(0)` of the script.
pub(super) fn branches() -> Graph {
    let (mut g, image) = Builder::new(3, 5, 5);
    let mut made = 0;
    let mut conv_bn = |g: &mut Builder, x: LayerId, kernel: usize| {
        let name = |class: &str| if made == 0 { class.to_string() } else { format!("{class}_{made}") };
        let x = g.conv(&name("conv2d"), x, Conv::new(4).kernel(kernel).pad(kernel / 2));
        let x = g.batch_norm_unscaled(&name("batch_normalization"), x, 1e-3);
        let x = g.relu(&name("activation"), x);
        made += 1;
        x
    };
    let a = conv_bn(&mut g, image, 1);
    let b = conv_bn(&mut g, image, 1);
    let b = conv_bn(&mut g, b, 3);
    let c = g.pool("average_pooling2d", image, Pool::avg(3).stride(1).pad(1));
    let c = conv_bn(&mut g, c, 1);
    let features = g.concat("mixed0", &[a, b, c]);
    let x = g.global_avg_pool("avg_pool", features);
    let logits = g.dense("dense", x, 3);
    g.finish(features, logits).expect("a sound network")
}

/// `convnext` of the script.
fn convnext() -> Graph {
    let (mut g, image) = Builder::new(3, 6, 6);
    let x = g.conv("net_stem_conv", image, Conv::new(4).kernel(2).stride(2).bias());
    let shortcut = g.layer_norm("net_stem_layernorm", x, 1e-6);
    let x = g.conv("net_depthwise_conv", shortcut, Conv::new(4).groups(4).kernel(3).pad(1).bias());
    let x = g.layer_norm("net_layernorm", x, 1e-6);
    let x = g.dense_map("net_pointwise_conv_1", x, 8);
    let x = g.activation("activation", x, Activation::Gelu);
    let x = g.dense_map("net_pointwise_conv_2", x, 4);
    let x = g.layer_scale("net_layer_scale", "net_layer_scale", "gamma", x);
    let x = g.add("add", x, shortcut);
    let x = g.global_avg_pool("pool", x);
    let features = g.layer_norm("net_head_layernorm", x, 1e-6);
    let logits = g.dense("net_head_dense", features, 3);
    g.finish(features, logits).expect("a sound network")
}

fn plain(name: &str) -> String {
    name.to_string()
}

/// The value at index `at` of the k-th variable, as in the script.
fn value(k: usize, at: usize) -> f32 {
    ((7 * at + 13 * k) % 256) as f32 / 64.0 - 2.0
}

/// The expected values of the k-th variable in the layout of the tensor.
fn expected(op: Op, shape: &[usize], k: usize) -> Vec<f32> {
    match (op, shape) {
        (Op::Conv { groups, .. }, &[o, i, kh, kw]) => {
            let mut values = Vec::new();
            for (o_at, i_at) in (0..o).flat_map(|o_at| (0..i).map(move |i_at| (o_at, i_at))) {
                for position in 0..kh * kw {
                    // Keras' index: (in, out), or for depthwise (channels, 1)
                    let channel = if groups > 1 { o_at * i + i_at } else { i_at * o + o_at };
                    values.push(value(k, position * o * i + channel));
                }
            }
            values
        }
        (Op::Dense { .. } | Op::DenseMap { .. }, &[o, i]) => {
            (0..o).flat_map(|o_at| (0..i).map(move |i_at| value(k, i_at * o + o_at))).collect()
        }
        (_, shape) => (0..shape.iter().product()).map(|at| value(k, at)).collect(),
    }
}

/// Asserts that the file gives exactly the tensors of the network with their values, without those of the layers
/// `left_out`.
fn assert_exact(name: &str, graph: &Graph, left_out: &[&str]) {
    let mut tensors = matched(name, graph);
    let mut k = 0;
    for layer in graph.layers() {
        for parameter in graph.parameters_of(layer) {
            let found = tensors.remove(&parameter.name);
            if left_out.iter().any(|owner| parameter.name.starts_with(owner)) {
                assert!(found.is_none(), "{name}: {}", parameter.name);
                continue;
            }
            let found = found.unwrap_or_else(|| panic!("{name}: {} is missing", parameter.name));
            assert_eq!(found.shape(), parameter.shape, "{name}: {}", parameter.name);
            let values = found.values().unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(values, expected(layer.op, &parameter.shape, k), "{name}: {}", parameter.name);
            k += 1;
        }
    }
    assert!(tensors.is_empty(), "{name}: {:?}", tensors.keys());
}

#[test]
fn every_format_type_and_layout_gives_the_same_tensors() {
    let formats = ["named.h5", "named.model.h5", "named.weights.h5", "named.keras", "named_packed.keras"];
    let layouts = ["named_latest.h5", "named_split.h5", "named_f16.h5", "named_f64be.h5", "named_old.h5"];
    for name in formats.into_iter().chain(layouts) {
        assert_exact(name, &named(plain), &[]);
    }
}

#[test]
fn layer_norms_and_layers_in_a_sequential_are_found() {
    for name in ["convnext.h5", "convnext.weights.h5", "convnext.keras"] {
        assert_exact(name, &convnext(), &[]);
    }
    // the norm after the mean has a name only in the model with the classifier on top
    for name in ["convnext_notop.h5", "convnext_notop.weights.h5", "convnext_old.h5"] {
        assert_exact(name, &convnext(), &["net_head_dense"]);
    }
}

#[test]
fn names_that_keras_made_up_are_taken_in_its_order_wherever_they_start() {
    let endings =
        ["1.h5", "94.h5", "1.weights.h5", "94.weights.h5", "94.keras", "nameless.weights.h5", "bf16.weights.h5"];
    for name in endings.map(|ending| format!("branches_{ending}")) {
        assert_exact(&name, &branches(), &[]);
    }
}

#[test]
fn made_up_names_are_taken_by_rank_when_the_order_is_another() {
    assert_exact("branches_sorted.h5", &branches(), &[]);
}

#[test]
fn a_network_that_is_a_layer_of_another_model_is_found() {
    assert_exact("nested.h5", &branches(), &[]);
    assert_exact("nested.weights.h5", &branches(), &[]);
}

#[test]
fn a_network_is_found_below_a_head_of_any_kind() {
    // the network in a model after layers that prepare the input, in a sequential model, and extended by a head
    for kind in ["functional", "sequential", "flat"] {
        for ending in ["h5", "weights.h5", "keras"] {
            let name = format!("{kind}_head.{ending}");
            let tensors = matched(&name, &branches());
            let mut k = 0;
            for layer in branches().layers().iter().filter(|layer| layer.name != "dense") {
                for parameter in branches().parameters_of(layer) {
                    let found = tensors.get(&parameter.name).unwrap_or_else(|| panic!("{name}: no {}", parameter.name));
                    let values = found.values().expect("read");
                    assert_eq!(values, expected(layer.op, &parameter.shape, k), "{name}: {}", parameter.name);
                    k += 1;
                }
            }
            assert_eq!(k, 16);
            let set = crate::weights::WeightSet::from(tensors);
            set.check(&branches(), &[], &name).expect("a head is no fault");
        }
    }
}

#[test]
fn a_deeper_network_beside_it_is_another() {
    for ending in ["h5", "weights.h5", "keras"] {
        assert_exact(&format!("beside.{ending}"), &named(plain), &["fc1", "predictions"]);
    }
}

#[test]
fn one_more_layer_of_a_kind_is_another_network_and_a_head_is_none() {
    let layers = ["conv4_block6_1_conv", "conv1_bn", "conv2d_93"].into();
    for other in ["conv4_block7_1_conv/kernel", "conv12_block7_2_conv/vars/0", "resnet/conv2_bn/gamma"] {
        assert!(is_one_more(other, &layers), "{other}");
    }
    for head in ["dense/vars/0", "conv2d_94/vars/0", "batch_normalization/gamma", "head_conv/kernel", "fc1/kernel"] {
        assert!(!is_one_more(head, &layers), "{head}");
    }
}

#[test]
fn what_a_zip_promises_to_unpack_to_is_bounded() {
    let (folder, path) = unpacked("named_packed.keras");
    assert!(index(&path).is_ok());
    let bomb = folder.path().join("bomb.keras");
    let mut zip = zip::ZipWriter::new(fs::File::create(&bomb).expect("made"));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    zip.start_file("model.weights.h5", options).expect("started");
    std::io::copy(&mut std::io::repeat(0).take(70 << 20), &mut zip).expect("packed");
    zip.finish().expect("written");
    let error = index(&bomb).expect_err("too large").to_string();
    assert!(error.contains("`model.weights.h5` unpacks from") && error.contains("which no weights do"), "{error}");
}

#[test]
fn the_first_resnets_names_are_known() {
    let today = |name: &str| match name {
        "block1_conv1" => "conv1_conv".to_string(),
        "block1_bn" => "conv1_bn".to_string(),
        "dw" => "conv2_block2_1_conv".to_string(),
        "dw_bn" => "conv2_block2_1_bn".to_string(),
        other => other.to_string(),
    };
    assert_exact("named_resnet.h5", &named(today), &[]);
}

#[test]
fn a_file_without_the_top_lacks_nothing_else() {
    for name in ["named_notop.h5", "named_notop.weights.h5"] {
        assert_exact(name, &named(plain), &["fc1", "predictions"]);
    }
}

#[test]
fn a_top_of_other_classes_shows_its_shape() {
    let tensors = matched("named_7.weights.h5", &named(plain));
    assert_eq!(tensors["predictions.weight"].shape(), [7, 6]);
    assert_eq!(tensors["predictions.bias"].shape(), [7]);
    assert_eq!(tensors.len(), named(plain).parameters().len());
}

#[test]
fn what_the_network_lacks_keeps_the_files_names_and_layout() {
    let tensors = matched("named.h5", &branches());
    assert_eq!(tensors["block1_conv1/kernel"].shape(), [3, 3, 3, 4]);
    let values = tensors["block1_conv1/kernel"].values().expect("read");
    assert_eq!(values, (0..108).map(|at| value(0, at)).collect::<Vec<_>>());
    let known: Vec<String> = branches().parameters().into_iter().map(|parameter| parameter.name).collect();
    assert!(tensors.keys().all(|name| !known.contains(name)), "{:?}", tensors.keys());
    let tensors = matched("named_notop.weights.h5", &branches());
    assert!(tensors.contains_key("dw/vars/0"), "{:?}", tensors.keys());
}

#[test]
fn the_order_of_keras_is_by_depth_and_then_by_its_walk() {
    let network = Network::of(&branches());
    let names = |order: &[usize]| order.iter().map(|&index| network.layers[index].name.clone()).collect::<Vec<_>>();
    // `layer_names` of branches_94.h5, its layers with weights
    let expected = ["conv2d_1", "batch_normalization_1", "conv2d", "conv2d_2", "conv2d_3"];
    assert_eq!(names(&network.orders[1])[..5], expected);
    assert_eq!(
        names(&network.orders[0])[5..],
        ["batch_normalization", "batch_normalization_2", "batch_normalization_3", "dense"]
    );
}

#[test]
fn other_files_are_not_of_keras() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weights");
    let mut foreign = std::io::Cursor::new(Vec::new());
    let mut zip = zip::ZipWriter::new(&mut foreign);
    zip.start_file::<_, ()>("archive/data.pkl", Default::default()).expect("written");
    zip.finish().expect("written");
    for bytes in [&b""[..], b"\x89HDF", &[0; 5000], foreign.get_ref()] {
        fs::write(&path, bytes).expect("written");
        assert!(!is_keras(&path));
        let error = index(&path).expect_err("no weights").to_string();
        assert!(error.contains("neither HDF5 nor a `.keras` file") || error.contains("model.weights.h5"), "{error}");
    }
    assert!(!is_keras(folder.path()));
    assert!(matches!(index(&folder.path().join("none")), Err(WeightError::Read { .. })));
}
