//! Random changes of networks: each must give a network that can be lowered, or an error, within a bound of time.
//!
//! `cargo test` tries some thousands, always the same ones. To run it longer:
//!
//!     FUZZ_SECONDS=3600 cargo test -p featurize-nets --release onnx::fuzz -- --ignored --nocapture
//!
//! A file that breaks the rules is written to the folder for temporary files. `tests/fuzz` has a target for libFuzzer.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use prost::Message;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::proto::{AttributeProto, ModelProto, NodeProto};
use super::{Asked, OnnxFile};
use crate::exec::lower::lower;

/// The longest time for one file; it is far more than any of them takes on a busy machine.
const LONGEST: Duration = Duration::from_secs(20);
/// The golden networks that are small.
const SEEDS: [&str; 10] = [
    "torchscript.small_vgg.onnx",
    "tf2onnx.small_vgg.onnx",
    "torchscript.squeezenet1_1.onnx",
    "dynamo.shufflenet_v2_x0_5.onnx",
    "timm.vit_reg_scale.onnx",
    "timm.vit_map.onnx",
    "torchscript.swin.onnx",
    "transformers.swin_v2.onnx",
    "dynamo.swin_v2.onnx",
    "dynamo.dinov3.onnx",
];

fn corpus() -> Vec<ModelProto> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/onnx_files.zip");
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).expect("golden file")).expect("a zip");
    let read = |name: &str| {
        let mut bytes = Vec::new();
        archive.by_name(name).expect("a network").read_to_end(&mut bytes).expect("read");
        ModelProto::decode(bytes.as_slice()).expect("ONNX")
    };
    SEEDS.map(read).to_vec()
}

fn odd(rng: &mut ChaCha8Rng) -> i64 {
    let odd = [0, 1, -1, 2, 3, 7, 64, -5, 1 << 12, 1 << 31, 1 << 40, i64::MAX, i64::MIN];
    if rng.random_bool(0.5) { odd[rng.random_range(0..odd.len())] } else { rng.random_range(-4..9) }
}

/// Makes one random change of a node, a constant or the list of nodes.
fn change(model: &mut ModelProto, rng: &mut ChaCha8Rng) {
    const OPS: [&str; 26] = [
        "Reshape",
        "Transpose",
        "Concat",
        "Split",
        "Slice",
        "Gather",
        "Pad",
        "MatMul",
        "Gemm",
        "Add",
        "Mul",
        "Flatten",
        "ReduceMean",
        "Softmax",
        "Expand",
        "AveragePool",
        "Range",
        "LayerNormalization",
        "ReduceL2",
        "Squeeze",
        "Div",
        "Tile",
        "GatherND",
        "ScatterND",
        "Where",
        "Clip",
    ];
    let Some(graph) = &mut model.graph else { return };
    let nodes = graph.node.len();
    if nodes == 0 {
        return;
    }
    let (at, other) = (rng.random_range(0..nodes), rng.random_range(0..nodes));
    let value = |node: &NodeProto, rng: &mut ChaCha8Rng| {
        let all: Vec<&String> = node.input.iter().chain(&node.output).collect();
        all.get(rng.random_range(0..all.len().max(1))).map(ToString::to_string).unwrap_or_default()
    };
    match rng.random_range(0..10) {
        0 | 1 => {
            let name = value(&graph.node[other], rng);
            let inputs = &mut graph.node[at].input;
            let i = rng.random_range(0..=inputs.len());
            if i < inputs.len() { inputs[i] = name } else { inputs.push(name) }
        }
        2 => graph.node[at].op_type = OPS[rng.random_range(0..OPS.len())].to_string(),
        3 | 4 => {
            let attributes = &mut graph.node[at].attribute;
            let i = rng.random_range(0..=attributes.len());
            let names = ["axis", "axes", "perm", "pads", "strides", "kernel_shape", "group", "keepdims", "split"];
            if i == attributes.len() {
                let name = names[rng.random_range(0..names.len())].to_string();
                attributes.push(AttributeProto { name, ..Default::default() });
            }
            let attribute = &mut attributes[i];
            attribute.i = Some(odd(rng));
            let n = rng.random_range(0..6);
            attribute.ints = (0..n).map(|_| odd(rng)).collect();
        }
        5 | 6 if !graph.initializer.is_empty() => {
            let i = rng.random_range(0..graph.initializer.len());
            let tensor = &mut graph.initializer[i];
            match rng.random_range(0..4) {
                0 => tensor.dims.push(odd(rng)),
                1 => drop(tensor.dims.pop()),
                2 => tensor.data_type = rng.random_range(0..25),
                _ => {
                    // the integers of shapes
                    let n = tensor.raw_data.len() / 8;
                    let values = (0..n).flat_map(|_| odd(rng).to_le_bytes()).collect::<Vec<u8>>();
                    if n > 0 && tensor.data_type == super::proto::dtype::INT64 {
                        tensor.raw_data = values.into();
                    }
                }
            }
        }
        7 => drop(graph.node.remove(at)),
        8 => {
            let node = graph.node[other].clone();
            graph.node.insert(at, node);
        }
        _ => graph.node.swap(at, other),
    }
}

/// Imports one changed file; its number determines all changes. Whether it was a network.
fn attempt(corpus: &[ModelProto], folder: &Path, number: u64) -> bool {
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let mut model = corpus[rng.random_range(0..corpus.len())].clone();
    for _ in 0..rng.random_range(1..5) {
        change(&mut model, &mut rng);
    }
    let mut bytes = model.encode_to_vec();
    if rng.random_bool(0.2) {
        let at = rng.random_range(0..bytes.len());
        bytes[at] = rng.random();
    }
    let path: PathBuf = folder.join("net.onnx");
    std::fs::write(&path, &bytes).expect("written");
    let start = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let logits = number.is_multiple_of(2);
        let asked = Asked { channels: 3, size: [64, 64], layers: &[], logits };
        let Ok(import) = OnnxFile::open(&path).map_err(|_| ()).and_then(|file| file.import(asked).map_err(|_| ()))
        else {
            return false;
        };
        lower(&import.graph, &import.weights, &[import.graph.features(), import.graph.logits()]).is_ok()
    }));
    if result.is_err() || start.elapsed() > LONGEST {
        let kept = std::env::temp_dir().join(format!("featurize_onnx_{number}.onnx"));
        std::fs::write(&kept, &bytes).expect("written");
        panic!("file {number}, kept as {}, after {:?}", kept.display(), start.elapsed());
    }
    result.unwrap_or_default()
}

/// A folder with the weights of every network: zeros, which take no room.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = std::fs::File::create(folder.path().join("weights.bin")).expect("created");
    weights.set_len(1 << 27).expect("zeros");
    folder
}

#[test]
fn changed_networks_give_a_network_or_an_error() {
    let (corpus, folder) = (corpus(), folder());
    let networks = (0..1500).filter(|&number| attempt(&corpus, folder.path(), number)).count();
    // many changes make the file invalid, and many leave a network
    assert!((150..1350).contains(&networks), "{networks} of 1500 gave networks");
}

#[test]
#[ignore = "as long as FUZZ_SECONDS says"]
fn for_as_long_as_wanted() {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let (corpus, folder, start, mut number) = (corpus(), folder(), Instant::now(), 1_000_000);
    while start.elapsed() < Duration::from_secs(seconds) {
        attempt(&corpus, folder.path(), number);
        number += 1;
    }
    assert!(number > 1_000_000, "no file was tried");
}
