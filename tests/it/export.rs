//! `export`: the file is read back, and gives the features and the probabilities of the run. `tests/python/export.py`
//! and the tests of the Python package compare it with ONNX Runtime.

use std::collections::BTreeMap;

use featurize::io::columns::Columns;
use featurize::onnx::{OnnxFile, notes};

use crate::support::{Workspace, set};

/// A run over three kinds of fruit in a small size, with further `sets`.
fn run(workspace: &Workspace, out: &str, sets: &[&str]) {
    workspace.run(out, &set(&[&["extract.recipe.size=64"], sets].concat())).ok();
}

/// Probability by path and class.
fn probabilities(workspace: &Workspace, arguments: &[&str]) -> BTreeMap<(String, String), f64> {
    let said = workspace.call(&[arguments, &["pictures/Test", "--json", "--top", "3"]].concat()).ok();
    let mut all = BTreeMap::new();
    for one in said.json_lines() {
        for guess in one["top"].as_array().expect("a list") {
            let [path, class] = [&one["path"], &guess["label"]].map(|text| text.as_str().expect("text").to_string());
            all.insert((path, class), guess["probability"].as_f64().expect("a number"));
        }
    }
    assert_eq!(all.len(), 3 * 12);
    all
}

fn column(workspace: &Workspace, table: &str, name: &str) -> Vec<f64> {
    let table = Columns::read(&workspace.path(table), &[name]).unwrap_or_else(|error| panic!("{name}: {error}"));
    table.reals(name).expect("numbers")
}

#[test]
fn an_exported_run_gives_its_features_and_its_probabilities_again() {
    let workspace = Workspace::with_fruits(6, 4);
    let tanh = "train={mlp: {hidden: [8, 6], activation: tanh, max_iter: 60, seed: 1}}";
    run(&workspace, "mlp", &["reduce.scale=standard", "reduce.pca.whiten=true", tanh]);
    let svd = "reduce={scale: l2, svd: {components: 5}}";
    run(&workspace, "logistic", &["select.top_k=200", svd, "train={logistic: {}}"]);
    run(&workspace, "plain", &["select=null", "reduce=null", "train={logistic: {}}"]);
    for (out, more) in [("mlp", &[][..]), ("logistic", &["--from-pixels"]), ("plain", &["--from-pixels"])] {
        let file = format!("{out}.onnx");
        let said = workspace.call(&[&["export", out, "--onnx", &file], more].concat()).ok().stdout;
        let head = if more.is_empty() { "input (n, 3, 64, 64)" } else { "pixels (n, 64, 64, 3)" };
        assert!(said.contains(&format!("{file}: {head} → probabilities of 3 classes, f32, ")), "{said}");
        assert!(said.contains("read back: its probabilities are "), "{said}");
        let opened = OnnxFile::open(&workspace.path(&file)).expect("read");
        assert_eq!(opened.metadata()[notes::CLASSES], r#"["Banana","Lemon","Strawberry"]"#);
        let predicted = probabilities(&workspace, &["predict", out]);
        for (key, found) in probabilities(&workspace, &["classify", "--weights", &file]) {
            let expected = predicted[&key];
            assert!((found - expected).abs() <= 1e-4, "{file}, {key:?}: {found}, not {expected}");
        }
        let embed = ["embed", "pictures/Test/Banana", "--overwrite"];
        workspace.call(&[&embed[..], &["--weights", &file, "-o", "again.parquet"]].concat()).ok();
        let own = ["--set", "extract.recipe.size=64", "-o", "own.parquet"];
        workspace.call(&[&embed[..], &own].concat()).ok();
        for place in ["0000", "0007", "1279"] {
            let again = column(&workspace, "again.parquet", &format!("{out}_avg_{place}"));
            let own = column(&workspace, "own.parquet", &format!("efficientnet_lite0_avg_{place}"));
            assert!(own.len() == 4 && own.iter().zip(&again).all(|(a, b)| (a - b).abs() <= 1e-5), "{own:?} {again:?}");
        }
    }
}

#[test]
fn what_cannot_be_read_again_is_exported_all_the_same() {
    let workspace = Workspace::with_fruits(6, 4);
    run(&workspace, "out", &["select=null", "reduce=null", "train={knn: {k: 3, weights: distance}}"]);
    let said = workspace.call(&["export", "out", "--onnx", "near.onnx"]).ok().stdout;
    assert!(said.contains("read back: its features are "), "{said}");
    workspace
        .call(&["classify", "--weights", "near.onnx", "pictures/Test"])
        .ended(1, &["by the nearest pictures of its run"]);
    let said = workspace.call(&["export", "out", "--onnx", "head.onnx", "--head", "--card", "card.md"]).ok().stdout;
    assert!(said.contains("head.onnx: features (n, 1280) → probabilities of 3 classes, f32, "), "{said}");
    assert!(workspace.read("head.onnx").len() < 200_000);
    let card = workspace.text("card.md");
    for part in [
        "# three\n",
        "Licence of the weights: Apache-2.0",
        "18 pictures to train on, 12 pictures to test on",
        "| accuracy |",
        "95 % interval",
        "| Lemon | 6 | 4 |",
        "## Limits",
    ] {
        assert!(card.contains(part), "{part} is not in\n{card}");
    }
    // neither a table of the run nor a file of another kind is replaced
    for (file, told) in [("out/predictions.parquet", "is read by this command"), ("card.md", "is no ONNX file")] {
        workspace.call(&["export", "out", "--onnx", file]).ended(2, &[told]);
    }
}
