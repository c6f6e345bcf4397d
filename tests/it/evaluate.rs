//! `evaluate`: the classifier of a run on new labelled pictures.

use crate::support::{Run, Workspace, set};

fn call(workspace: &Workspace, arguments: &[&str]) -> Run {
    workspace.call(&[&["evaluate", "out", "--quiet"], arguments].concat())
}

/// A run over fruits with a classifier that makes mistakes.
fn workspace() -> Workspace {
    let workspace = Workspace::with_fruits(6, 4);
    let sets = ["train={logistic: {}}", "reduce={pca: {components: 2}}", "extract.layer=blocks.1.0"];
    let sets = [&sets[..], &["extract.recipe.size=64"]].concat();
    workspace.run("out", &set(&sets)).ok();
    workspace
}

#[test]
fn the_test_split_has_the_scores_that_the_run_gave_it() {
    let workspace = workspace();
    let metrics = workspace.json("out/metrics.json");
    let more = ["pictures/Test", "--json", "--parquet", "p.parquet", "--report", "scores.html"];
    let found = call(&workspace, &more).ok().json();
    assert_eq!(found["scores"], metrics["test"]);
    assert_eq!((&found["classes"], &found["pictures"], &found["failed"]), (&metrics["classes"], &12.into(), &0.into()));
    let report = workspace.text("scores.html");
    assert!(report.contains("Confusion") && report.contains("data:image/jpeg"), "{}", report.len());
    assert!(workspace.read("p.parquet").starts_with(b"PAR1"));
    let text = call(&workspace, &["pictures/Test"]).ok().stdout;
    let support = &metrics["test"]["support"];
    assert!(text.starts_with(&format!("{support} pictures of pictures/Test\n  accuracy ")), "{text}");
    let wrong: u64 =
        text.lines().filter_map(|line| line.trim().split_once(" of ")?.0.parse::<u64>().ok()).skip(1).sum();
    let right = metrics["test"]["accuracy"].as_f64().expect("a number") * 12.0;
    assert_eq!(12 - wrong, right.round() as u64, "{text}");
}

#[test]
fn predict_with_labels_is_the_same() {
    let workspace = workspace();
    workspace.write("labels.csv", b"path,label\nTest/Lemon/0_0_100.jpg,Lemon\n");
    for (pictures, labels, more) in
        [("pictures/Test", "folder", &[][..]), ("pictures", "labels.csv", &["--labels", "labels.csv"][..])]
    {
        let evaluated = call(&workspace, &[&[pictures][..], more].concat()).ok();
        let run = ["predict", "out", pictures, "--labels", labels, "--quiet"];
        let predicted = workspace.call(&run).ok();
        assert_eq!(predicted.stdout, evaluated.stdout);
        assert!(evaluated.stdout.contains("\n  unknown "), "{}", evaluated.stdout);
    }
    let told = ["evaluate", "out", "pictures/Test", "--json"];
    let told = workspace.call(&told).ok();
    assert!(told.stderr.contains("12 images, 3 classes") && !told.stderr.contains("0 test"), "{}", told.stderr);
    let two = ["predict", "out", "pictures/Test", "pictures/Training", "--labels", "folder"];
    workspace.call(&two).ended(2, &["name one PATH"]);
}

#[test]
fn labels_may_come_from_a_table_and_what_is_not_known_is_wrong() {
    let workspace = workspace();
    let table = "path,label\nTest/Lemon/0_0_100.jpg,Lemon\nTest/Lemon/0_1_100.jpg,Pear\n";
    workspace.write("labels.csv", table.as_bytes());
    let run = call(&workspace, &["pictures", "--labels", "labels.csv", "--json"]);
    assert!(run.stderr.contains("does not know the classes Pear"), "{}", run.stderr);
    let found = run.ok().json();
    assert_eq!(found["classes"], serde_json::json!(["Banana", "Lemon", "Strawberry", "Pear"]));
    assert_eq!((&found["scores"]["support"], &found["scores"]["per_class"][3]["recall"]), (&2.into(), &0.0.into()));
    workspace.write("labels.csv", format!("{table}Test/Lemon/gone.jpg,Lemon\n").as_bytes());
    let failed = call(&workspace, &["pictures", "--labels", "labels.csv", "--json"]);
    failed.ended(1, &["gone.jpg: missing"]);
    let found = failed.json();
    assert_eq!((&found["pictures"], &found["failed"]), (&3.into(), &1.into()));
    workspace.write("pictures/Test/Lemon/broken.jpg", b"no picture");
    let failed = call(&workspace, &["pictures/Test"]);
    failed.ended(1, &["Lemon/broken.jpg: not_an_image"]);
    assert!(failed.stdout.starts_with("12 pictures"), "the others are scored: {}", failed.stdout);
    for (arguments, text) in [
        (&["nowhere"][..], "there is no folder"),
        (&["pictures/Test/Lemon"], "no picture has a label"),
        (&["pictures", "--labels", "none.csv"], "none.csv"),
        (&["pictures/Test", "--report", "pictures/Test/Lemon/0_0_100.jpg"], "0_0_100.jpg"),
    ] {
        call(&workspace, arguments).ended(2, &[text]);
    }
}
