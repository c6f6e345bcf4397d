//! What a run exports, read again: the features and the probabilities of the run. `tests/python/export.py` compares with
//! ONNX Runtime.

use std::process::Command;

use featurize::io::columns::Columns;
use featurize::onnx::{CLASSES, OnnxFile};
use serde_json::Value;

use crate::support::{Run, Workspace, featurize};

fn in_folder(workspace: &Workspace, arguments: &[&str]) -> Run {
    let mut command: Command = featurize();
    Run::of(command.current_dir(workspace.path("")).args(arguments).output().expect("started"))
}

/// Probabilities of pictures by path and class.
fn probabilities(workspace: &Workspace, arguments: &[&str]) -> Vec<(String, Vec<f64>)> {
    let said = in_folder(workspace, &[arguments, &["pictures/Test", "--json", "--top", "3"]].concat()).ok();
    let row = |line: &str| {
        let one: Value = serde_json::from_str(line).expect("JSON");
        let top = one["top"].as_array().expect("a list").iter();
        let mut all: Vec<(String, f64)> = top
            .map(|guess| {
                (
                    guess["label"].as_str().expect("a label").to_string(),
                    guess["probability"].as_f64().expect("a number"),
                )
            })
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        (one["path"].as_str().expect("a path").to_string(), all.into_iter().map(|(_, p)| p).collect())
    };
    said.stdout.lines().map(row).collect()
}

#[test]
fn an_exported_run_gives_its_features_and_its_probabilities_again() {
    let workspace = Workspace::with_fruits(6, 4);
    let small = ["--set", "extract.recipe.size=64", "--set", "select=null", "--set", "reduce.scale=standard"];
    workspace.run("out", &small).ok();
    let predicted = probabilities(&workspace, &["predict", "out"]);
    for (file, more) in [("prepared.onnx", &[][..]), ("pixels.onnx", &["--from-pixels"])] {
        let said = in_folder(&workspace, &[&["export", "out", "--onnx", file][..], more].concat()).ok().stdout;
        assert!(
            said.contains("→ probabilities of 3 classes, f32") && said.contains("read back: its features"),
            "{said}"
        );
        let opened = OnnxFile::open(&workspace.path(file)).expect("read");
        assert_eq!(opened.metadata()[CLASSES], r#"["Banana","Lemon","Strawberry"]"#);
        // classes and recipe are in the file
        let classified = probabilities(&workspace, &["classify", "--weights", file]);
        assert_eq!(classified.len(), predicted.len());
        for ((path, found), (_, expected)) in classified.iter().zip(&predicted) {
            let apart = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(apart <= 1e-4, "{file}, {path}: {found:?}, not {expected:?}");
        }
        in_folder(&workspace, &["embed", "--weights", file, "pictures/Test/Banana", "-o", "again.parquet"]).ok();
        let stem = file.trim_end_matches(".onnx");
        let again = Columns::read(&workspace.path("again.parquet"), &[&format!("{stem}_avg_0007")]).expect("read");
        let again = again.reals(&format!("{stem}_avg_0007")).expect("numbers");
        in_folder(
            &workspace,
            &["embed", "--set", "extract.recipe.size=64", "pictures/Test/Banana", "-o", "own.parquet"],
        )
        .ok();
        let own = Columns::read(&workspace.path("own.parquet"), &["efficientnet_lite0_avg_0007"]).expect("read");
        let own = own.reals("efficientnet_lite0_avg_0007").expect("numbers");
        assert!(own.len() == 4 && own.iter().zip(&again).all(|(a, b)| (a - b).abs() <= 1e-5), "{own:?} {again:?}");
    }
    in_folder(&workspace, &["export", "out", "--onnx", "head.onnx", "--head", "--card", "card.md"]).ok();
    assert!(workspace.read("head.onnx").len() < 100_000);
    let card = String::from_utf8(workspace.read("card.md")).expect("text");
    for part in ["# three\n", "Apache-2.0", "18 to train on, 12 to test on", "95 % interval", "| Lemon |", "## Limits"]
    {
        assert!(card.contains(part), "{part} is not in\n{card}");
    }
    // a table is not replaced, a run is not written into
    let said = in_folder(&workspace, &["export", "out", "--onnx", "own.parquet"]);
    assert!(
        said.code == Some(2) && said.stderr.contains("own.parquet is there already and is no ONNX file"),
        "{said:?}"
    );
}
