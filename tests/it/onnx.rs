//! Compares ONNX files with ONNX Runtime: `tests/golden/onnx_files.py` exports networks with the exporters of PyTorch,
//! timm and tf2onnx, and stores the outputs of ONNX Runtime for weights from a formula. Here both executors run the
//! same files.

use std::io::Read;
use std::path::Path;

use featurize::exec::cpu::{self, Engine};
use featurize::exec::lower::lower;
use featurize::exec::{Device, candle};
use featurize::io::columns::Columns;
use featurize::models::{LayerId, Shape};
use featurize::onnx::{Asked, Import, OnnxFile};
use featurize_kernels::simd::Isa;
use serde_json::Value;

use crate::support::{Workspace, project};
use crate::zoo::{self, channels_first};

/// The allowed ‖ours − reference‖ / ‖reference‖.
const TOLERANCE: f64 = 1e-5;

fn write_weights(note: &Value, path: &Path) {
    let mut bytes = Vec::new();
    for (t, tensor) in note["tensors"].as_array().expect("tensors").iter().enumerate() {
        let (n, low, high) = (&tensor[0], tensor[1].as_f64().expect("low"), tensor[2].as_f64().expect("high"));
        let value = |i| (low + (high - low) * zoo::uniform((t as u64) << 32, i)) as f32;
        bytes.extend((0..n.as_u64().expect("a number") as usize).flat_map(|i| value(i).to_le_bytes()));
    }
    std::fs::write(path, bytes).expect("written");
}

/// The relative difference of the first values, and that of the mean of all squares.
fn distance(ours: &[f32], stored: &Value) -> f64 {
    let first: Vec<f64> = stored[0].as_array().expect("values").iter().map(|v| v.as_f64().expect("a number")).collect();
    assert!(first.len() == ours.len().min(256), "{} values, not {}", ours.len(), first.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let near = norm(&mut ours.iter().zip(&first).map(|(&a, &b)| f64::from(a) - b)) / norm(&mut first.iter().copied());
    let squares = ours.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / ours.len() as f64;
    let whole = (squares / stored[1].as_f64().expect("a mean") - 1.0).abs() / 2.0;
    near.max(whole)
}

/// Imports a network and compares its outputs on both executors.
fn check(folder: &Path, note: &Value) {
    let file = note["file"].as_str().expect("a name");
    let side = note["size"].as_u64().expect("a side") as usize;
    let opened = OnnxFile::open(&folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let words: Vec<&str> = ["features", "inner", "logits"].into_iter().filter(|word| note[word].is_string()).collect();
    let layers: Vec<String> = words.iter().map(|word| note[word].as_str().expect("a name").to_string()).collect();
    let asked = Asked { channels: 3, size: [side; 2], layers: &layers, logits: false };
    let Import { graph, weights } = opened.import(asked).unwrap_or_else(|error| panic!("{file}: {error}"));
    let taps: Vec<LayerId> = layers.iter().map(|name| graph.find(name).expect("asked for")).collect();
    // by default the features are the input of the last dense layer
    let default = opened.import(Asked { layers: &[], ..asked }).map(|import| import.graph);
    match (default, note["features"].as_str()) {
        (Ok(graph), Some(name)) => assert_eq!(Some(graph.features()), graph.find(name), "{file}"),
        (Err(error), None) => assert!(error.to_string().contains("name a layer"), "{error}"),
        (default, name) => panic!("{file}: {name:?}, {default:?}"),
    }
    let scores = opened.import(Asked { layers: &[], logits: true, ..asked }).expect("class scores").graph;
    assert_eq!(scores.find(note["logits"].as_str().expect("a name")), Some(scores.logits()), "{file}");
    let program = lower(&graph, &weights, &taps).unwrap_or_else(|error| panic!("{file}: {error}"));
    let hwc = zoo::input(side, false);
    let chw = channels_first(&hwc, Shape::Map { c: 3, h: side, w: side });
    let reference = candle::Network::new(program.clone(), &Device::cpu()).expect("uploaded");
    let network = cpu::Network::new(program, Engine::Vectors(Isa::detect())).expect("planned");
    let by_candle = reference.forward(&chw, 1).unwrap_or_else(|error| panic!("{file}: {error}"));
    let found = [("candle", by_candle), ("cpu", network.forward(&mut network.scratch(1), &hwc, 1))];
    for (executor, values) in found {
        let distances = words.iter().zip(&values).zip(&taps).map(|((word, values), &tap)| match *word {
            "inner" if note["last"] == true => distance(values, &note["values"][word]),
            _ => distance(&channels_first(values, graph.layer(tap).shape), &note["values"][word]),
        });
        let distances: Vec<f64> = distances.collect();
        println!("{file:<40} {executor:<8} {distances:?}");
        assert!(distances.iter().all(|&distance| distance <= TOLERANCE), "{file} by {executor}: {distances:?}");
    }
}

/// Writes the networks whose notes are `wanted` into `folder`, one after the other, and calls `work` for each.
pub fn each(folder: &Path, wanted: impl Fn(&Value) -> bool, mut work: impl FnMut(&Value)) {
    let archive = std::fs::File::open(project().join("tests/golden/onnx_files.zip")).expect("golden file");
    let mut archive = zip::ZipArchive::new(archive).expect("a zip");
    let mut notes = String::new();
    archive.by_name("networks.json").expect("notes").read_to_string(&mut notes).expect("read");
    let notes: Value = serde_json::from_str(&notes).expect("JSON");
    for note in notes.as_array().expect("a list").iter().filter(|note| wanted(note)) {
        let name = note["file"].as_str().expect("a name");
        let mut bytes = Vec::new();
        archive.by_name(name).expect("a network").read_to_end(&mut bytes).expect("read");
        std::fs::write(folder.join(name), bytes).expect("written");
        write_weights(note, &folder.join("weights.bin"));
        work(note);
    }
}

/// Checks every network of an exporter.
fn check_all(exporter: &str) {
    let (folder, mut seen) = (tempfile::tempdir().expect("a folder"), 0);
    each(
        folder.path(),
        |note| note["exporter"] == exporter,
        |note| {
            check(folder.path(), note);
            seen += 1;
        },
    );
    assert!(seen >= 4, "{seen} networks of {exporter}");
}

#[test]
fn an_onnx_file_is_a_network_for_every_command() {
    let workspace = Workspace::with_fruits(4, 3);
    let name = "torchscript.small_vgg.onnx";
    each(&workspace.path(""), |note| note["file"] == name, |_| ());
    let run = |arguments: &[&str]| workspace.call(arguments);
    let embed = ["embed", "--weights", name, "pictures/Test/Lemon", "-o", "f.parquet"];
    run(&embed).ended(2, &["an ONNX file does not say how pictures are prepared"]);
    let recipe = ["--set", "extract.recipe.preset=torchvision"];
    run(&[&embed[..], &recipe, &["--model", "resnet18"]].concat())
        .ended(2, &["`extract.model` means nothing to an ONNX file"]);
    run(&[&embed[..], &recipe].concat()).ok();
    let columns =
        Columns::read(&workspace.path("f.parquet"), &["torchscript_small_vgg_avg_0023"]).expect("the last of 24");
    assert_eq!(columns.reals("torchscript_small_vgg_avg_0023").expect("numbers").len(), 3);
    // names of the ten classes
    let names: Vec<String> = (0..10).map(|i| format!("kind {i}")).collect();
    workspace.write("names.txt", names.join("\n").as_bytes());
    workspace.write("nine.txt", names[..9].join("\n").as_bytes());
    let classify = ["classify", "--weights", name, "pictures/Test/Lemon", "--json", "--classes"];
    let said = run(&[&classify[..], &["names.txt"], &recipe].concat()).ok().stdout;
    assert!(said.lines().count() == 3 && said.lines().all(|line| line.contains(r#""label":"kind "#)), "{said}");
    let said = run(&[&classify[..], &["nine.txt"], &recipe].concat());
    assert!(said.stderr.contains("9 classes are named, the network has 10"), "{said:?}");
    // a run, and its prediction
    let weights = format!("extract.weights={}", workspace.path(name).display());
    workspace.run("out", &["--set", &weights, "--set", recipe[1], "--set", "select=null"]).ok();
    let said = run(&["predict", "out", "pictures/Test/Lemon", "--parquet", "p.parquet"]).ok();
    assert_eq!(said.stdout, "");
    let of = |table: &str| {
        let table = Columns::read(&workspace.path(table), &["path", "p_Lemon"]).expect("read");
        let paths = table.texts("path").expect("paths").into_iter().map(|path| path.expect("a path"));
        let name = |path: String| path.rsplit('/').next().expect("a name").to_string();
        paths.map(name).zip(table.reals("p_Lemon").expect("numbers")).collect::<Vec<_>>()
    };
    let all = of("out/predictions.parquet");
    assert!(of("p.parquet").iter().all(|row| all.contains(row)), "{all:?}");
}

#[test]
fn networks_of_torchscript_give_the_numbers_of_onnx_runtime() {
    check_all("torchscript");
}

#[test]
fn networks_of_torchs_dynamo_give_the_numbers_of_onnx_runtime() {
    check_all("dynamo");
}

#[test]
fn networks_of_timm_give_the_numbers_of_onnx_runtime() {
    check_all("timm");
}

#[test]
fn networks_of_transformers_give_the_numbers_of_onnx_runtime() {
    check_all("transformers");
}

#[test]
fn networks_of_tf2onnx_give_the_numbers_of_onnx_runtime() {
    check_all("tf2onnx");
}
