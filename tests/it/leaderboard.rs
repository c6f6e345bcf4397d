//! `featurize leaderboard`: one pipeline, several networks, one table.

use serde_json::Value;

use crate::support::{Run, Workspace};

fn leaderboard(workspace: &Workspace, more: &[&str]) -> Run {
    let small = ["--set", "extract.recipe.size=64", "--set", "train={knn: {k: 1}}", "--set", "report=null"];
    workspace.call(&[&["leaderboard", "pipeline.yaml"], &small[..], more].concat())
}

#[test]
fn networks_are_compared_on_the_same_pictures_and_their_runs_stay() {
    let workspace = Workspace::with_fruits(5, 3);
    let models = ["--models", "efficientnet_lite0,squeezenet1_1=random"];
    let first = leaderboard(&workspace, &[&models[..], &["--json"]].concat()).ok();
    let table = first.json_lines().remove(0);
    let rows = table["models"].as_array().expect("a list");
    assert_eq!((table["test_pictures"].as_u64(), rows.len()), (Some(9), 2));
    let accuracy = |row: &Value| row["accuracy"].as_f64().expect("a number");
    assert!(accuracy(&rows[0]) >= accuracy(&rows[1]));
    for row in rows {
        let dir = row["dir"].as_str().expect("a folder");
        let metrics = workspace.json(&format!("{dir}/metrics.json"));
        assert_eq!(metrics["test"]["accuracy"], row["accuracy"], "{dir}");
        assert_eq!(metrics["test"]["accuracy_interval_95"], row["interval_95"], "{dir}");
        assert_eq!(metrics["test"]["log_loss"], row["log_loss"], "{dir}");
        assert!(row["images_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{row}");
    }
    assert!(workspace.path("runs/three-leaderboard/squeezenet1_1-random/predictions.parquet").is_file());
    // the pictures were listed only for the first run, and all runs are finished now
    assert_eq!(first.stderr.matches("scan ").count(), 1, "{}", first.stderr);
    let again = leaderboard(&workspace, &models).ok();
    assert!(again.stdout.contains("2 networks on 9 test images") && again.stdout.contains("95 % interval"));
}

#[test]
fn a_leaderboard_that_cannot_be_made_is_told_before_anything_runs() {
    let workspace = Workspace::with_fruits(3, 1);
    for (more, expected) in [
        (&["--models", "efficientnet_lite0,resnet5"][..], "resnet5"),
        (&["--models", "efficientnet_lite0,efficientnet_lite0"], "names `efficientnet_lite0` twice"),
        (&["--models", "efficientnet_lite0", "--set", "train=null"], "the pipeline has none: write `train: auto`"),
        (&["--models", "efficientnet_lite0", "--set", "input.split=null"], "no test split to compare networks on"),
        (&[], "--models"),
    ] {
        leaderboard(&workspace, more).ended(2, &[expected]);
        assert!(!workspace.path("runs/three-leaderboard/efficientnet_lite0/features").exists(), "{more:?}");
    }
}
