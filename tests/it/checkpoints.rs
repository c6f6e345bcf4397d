//! Files of weights in the forms that users have: wrapped, in shards, with several networks, with another head, with
//! NaN, and files without weights.

use std::path::Path;
use std::time::{Duration, Instant};

use featurize::io::features::FeatureFile;
use featurize::models::{self, Graph, Source};
use featurize::weights::{Origin, WeightSet};
use safetensors::tensor::{Dtype, TensorView};

use crate::support::{Run, Workspace, built, featurize};

pub const MODEL: &str = "mobilenet_v2";

/// Name, shape and bytes of a tensor.
pub type Stored = (String, Vec<usize>, Vec<u8>);

/// The tensors of a network; `name` gives their names in the file, none for those left out, and may alter their values.
pub fn stored(graph: &Graph, set: &WeightSet, name: impl Fn(&str, &mut [f32]) -> Option<String>) -> Vec<Stored> {
    let stored = |parameter: models::graph::Parameter| {
        let mut values = set.get(&parameter).expect("drawn");
        let name = name(&parameter.name, &mut values)?;
        Some((name, parameter.shape, values.iter().flat_map(|value| value.to_le_bytes()).collect()))
    };
    graph.parameters().into_iter().filter_map(stored).collect()
}

/// The seeded weights of the network with names under `prefix`; `change` may alter their values.
pub fn network(seed: u64, prefix: &str, change: impl Fn(&str, &mut [f32])) -> Vec<Stored> {
    let graph = built(MODEL, Source::Torchvision, 64, 5);
    let set = Origin::Random(seed).load(&graph, Source::Torchvision, &[]).expect("random");
    stored(&graph, &set, |name, values| {
        change(name, values);
        Some(format!("{prefix}{name}"))
    })
}

pub fn same(_: &str, _: &mut [f32]) {}

pub fn write(path: &Path, tensors: &[Stored]) {
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("as many bytes"))
    });
    safetensors::serialize_to_file(views, None, path).expect("written");
}

/// `featurize <command>` with torchvision's network and a file of weights.
fn call(workspace: &Workspace, command: &str, weights: &str, more: &[&str]) -> Run {
    let mut call = featurize();
    call.current_dir(workspace.path("")).args([command, "--model", MODEL, "--source", "torchvision"]);
    Run::of(call.args(["--weights", weights]).args(more).output().expect("started"))
}

fn embed(workspace: &Workspace, weights: &str, more: &[&str]) -> Run {
    let size = ["--set", "extract.recipe.size=64", "--layout", "array", "pictures", "-o", "e.parquet"];
    call(workspace, "embed", weights, &[&size, more].concat())
}

/// The features, and the key of the weights in the table's metadata.
fn embedded(workspace: &Workspace, weights: &str, more: &[&str]) -> (Vec<f32>, Option<String>) {
    let path = workspace.path("e.parquet");
    std::fs::remove_file(&path).ok();
    embed(workspace, weights, more).ok();
    let file = FeatureFile::open(&path).expect("a table");
    let features = file.read_features(None).expect("features");
    (features.as_slice().to_vec(), file.metadata().get("featurize.weights_key").cloned())
}

#[test]
fn wrapped_weights_are_those_within_and_tables_tell_where_they_were() {
    let workspace = Workspace::with_fruits(1, 1);
    write(&workspace.path("plain.safetensors"), &network(5, "", same));
    let (plain, key) = embedded(&workspace, "plain.safetensors", &[]);
    assert_eq!(key, None);
    let mut wrapped = network(5, "module.encoder.", same);
    wrapped.retain(|(name, ..)| !name.contains("classifier"));
    for name in ["module.projector.0.weight", "module.encoder.classifier.3.weight", "queue"] {
        wrapped.push((name.to_string(), vec![1], vec![0; 4]));
    }
    write(&workspace.path("wrapped.safetensors"), &wrapped);
    let (features, key) = embedded(&workspace, "wrapped.safetensors", &[]);
    assert!(features == plain && features.iter().any(|value| *value != 0.0));
    assert_eq!(key.as_deref(), Some("module.encoder"));
}

#[test]
fn of_several_networks_in_a_file_one_is_taken_told_and_may_be_chosen() {
    let workspace = Workspace::with_fruits(3, 1);
    write(&workspace.path("t.safetensors"), &network(5, "", same));
    write(&workspace.path("s.safetensors"), &network(6, "", same));
    let both = [network(5, "teacher.backbone.", same), network(6, "student.backbone.", same)].concat();
    write(&workspace.path("both.safetensors"), &both);
    let [teacher, student] = ["t", "s"].map(|name| embedded(&workspace, &format!("{name}.safetensors"), &[]).0);
    assert_ne!(teacher, student);
    let (features, key) = embedded(&workspace, "both.safetensors", &[]);
    assert!(features == teacher && key.as_deref() == Some("teacher.backbone"));
    let told = embed(&workspace, "both.safetensors", &["--set", "output.dtype=f32"]).stderr;
    assert!(told.contains("taken from `teacher.backbone`") && told.contains("`student.backbone`"), "{told}");
    let (features, key) = embedded(&workspace, "both.safetensors", &["--set", "extract.weights_key=student"]);
    assert!(features == student && key.as_deref() == Some("student.backbone"));
    embed(&workspace, "both.safetensors", &["--set", "extract.weights_key=pupil"]).ended(1, &["`pupil`"]);
    call(&workspace, "classify", "both.safetensors", &["--weights-key", "student", "pictures", "--json"])
        .ended(0, &["`student.backbone`"]);

    // a run names the key, too, and `predict` uses the same weights
    let sets = |key: &str| {
        let file = workspace.path("both.safetensors").display().to_string();
        let mut sets = vec![
            format!("extract.model={MODEL}"),
            format!("extract.weights={file}"),
            "extract.source=torchvision".to_string(),
            "extract.recipe.size=64".to_string(),
        ];
        sets.extend((!key.is_empty()).then(|| format!("extract.weights_key={key}")));
        sets.into_iter().flat_map(|set| ["--set".to_string(), set]).collect::<Vec<_>>()
    };
    let run = |key: &str| {
        let sets = sets(key);
        workspace.run("run", &sets.iter().map(String::as_str).collect::<Vec<_>>()).ok()
    };
    assert!(run("").stderr.contains("taken from `teacher.backbone`"));
    assert!(run("").computed().is_empty());
    let card = workspace.json("run/classifier/classifier.json");
    assert_eq!(card["weights_key"], "teacher.backbone");
    // other weights of the same file give other features
    assert!(run("student").computed().contains(&"extract".to_string()));
    workspace.call(&["predict", "run", "pictures"]).ok();
}

#[test]
fn an_index_brings_its_shards() {
    let workspace = Workspace::with_fruits(1, 1);
    let all = network(5, "", same);
    write(&workspace.path("one.safetensors"), &all);
    let (first, second) = all.split_at(all.len() / 2);
    let mut map = serde_json::Map::new();
    for (name, part) in [("model-00001-of-00002.safetensors", first), ("model-00002-of-00002.safetensors", second)] {
        write(&workspace.path(name), part);
        map.extend(part.iter().map(|(tensor, ..)| (tensor.clone(), name.into())));
    }
    let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map});
    workspace.write("model.safetensors.index.json", index.to_string().as_bytes());
    let whole = embedded(&workspace, "one.safetensors", &[]);
    assert_eq!(embedded(&workspace, "model.safetensors.index.json", &[]), whole);
    let alone = embed(&workspace, "model-00001-of-00002.safetensors", &[]);
    assert_eq!(alone.code, Some(1));
    assert!(
        alone.stderr.contains("more missing")
            && alone.stderr.contains("give their index")
            && alone.stderr.lines().count() < 12,
        "{}",
        alone.stderr
    );
}

#[test]
fn weights_that_are_no_numbers_are_named_by_every_command() {
    let workspace = Workspace::with_fruits(2, 1);
    let spoilt = |name: &str, values: &mut [f32]| {
        if name == "features.18.1.weight" {
            values[7] = f32::NAN;
            values[9] = f32::INFINITY;
        }
    };
    write(&workspace.path("nan.safetensors"), &network(5, "", spoilt));
    let expected = "tensor `features.18.1.weight` of the weights holds values that are no finite numbers, 2 of 1280; \
                    the first is NaN at place 7";
    let file = format!("extract.weights={}", workspace.path("nan.safetensors").display());
    let sets = ["--set", "extract.model=mobilenet_v2", "--set", &file, "--set", "extract.source=torchvision"];
    let runs = [
        embed(&workspace, "nan.safetensors", &[]),
        call(&workspace, "classify", "nan.safetensors", &["pictures"]),
        workspace.run("run", &sets),
    ];
    for run in runs {
        run.ended(1, &[expected]);
    }
    let negative = |name: &str, values: &mut [f32]| {
        if name == "features.1.conv.0.1.running_var" {
            values[3] = -1.0;
        }
    };
    write(&workspace.path("negative.safetensors"), &network(5, "", negative));
    let run = embed(&workspace, "negative.safetensors", &[]);
    let expected = "tensor `features.1.conv.0.1.running_var` of the weights is a variance and holds -1 at place 3";
    run.ended(1, &[expected]);
}

#[test]
fn features_that_are_no_numbers_are_named_by_picture_and_layer() {
    let workspace = Workspace::with_fruits(2, 1);
    // finite weights whose sums overflow
    let large = |name: &str, values: &mut [f32]| {
        if name == "features.17.conv.3.bias" {
            values.fill(3e38);
        }
    };
    write(&workspace.path("large.safetensors"), &network(5, "", large));
    let run = embed(&workspace, "large.safetensors", &["--layer", "features.18.0"]);
    let failed = run.stderr.lines().filter(|line| line.contains("not_finite: layer `features.18.0` gives ")).count();
    assert!(run.code == Some(1) && failed == 9 && run.stderr.contains("Banana/"), "{}", run.stderr);
    let file = format!("extract.weights={}", workspace.path("large.safetensors").display());
    let sets = [
        "extract.model=mobilenet_v2",
        &file,
        "extract.source=torchvision",
        "extract.layer=features.18.0",
        "extract.features=max",
    ];
    workspace.run("run", &sets.map(|set| ["--set", set]).concat()).ended(1, &[".jpg: layer `features.18.0` gives "]);
}

#[test]
fn files_that_hold_no_weights_are_called_what_they_are() {
    let workspace = Workspace::with_fruits(1, 1);
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 46830571\n";
    let cases: [(&str, &[u8], &str); 3] = [
        ("empty.pth", b"", "it is empty"),
        ("page.pth", b"<!DOCTYPE html><html>Google Drive - Virus scan warning</html>", "it is a web page"),
        ("lfs.safetensors", lfs, "it is a pointer of Git LFS"),
    ];
    for (name, bytes, expected) in cases {
        workspace.write(name, bytes);
        embed(&workspace, name, &[]).ended(1, &[expected]);
    }
    if cfg!(unix) {
        let fifo = workspace.path("fifo.pth");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("started").success());
        let start = Instant::now();
        for command in ["classify", "embed"] {
            let run = call(
                &workspace,
                command,
                "fifo.pth",
                &["pictures", "-o", "x.parquet"][..if command == "embed" { 3 } else { 1 }],
            );
            assert!(run.code.is_some_and(|code| code > 0) && run.stderr.contains("fifo.pth"), "{}", run.stderr);
        }
        assert!(start.elapsed() < Duration::from_secs(20), "nothing is waited for");
    }
}
