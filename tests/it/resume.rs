//! Killed, interrupted and changed runs are continued from their files, and give the same bytes as an uninterrupted
//! run.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::support::{Run, Workspace, files, set};

const TRAIN: usize = 12;
const TEST: usize = 4;
const ALL: u64 = 3 * (TRAIN + TEST) as u64;

/// Waits until `done` holds or the child has ended.
fn wait(child: &mut Child, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() && child.try_wait().expect("a child").is_none() {
        assert!(start.elapsed() < Duration::from_secs(120), "the run hangs");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn shards(workspace: &Workspace, out: &str) -> usize {
    let entries = std::fs::read_dir(workspace.path(out).join("features")).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("part-")).count()
}

#[test]
fn killed_while_the_array_is_written_it_ends_with_the_same_bytes() {
    let workspace = Workspace::with_fruits(4, 2);
    let array = ["--set", "output.npy=true", "--until", "extract"];
    workspace.run("whole", &array).ok();
    // the tables exist; the array is being written or was just written
    for pause in [0, 1, 3, 10] {
        let _ = std::fs::remove_file(workspace.path("killed/features.npy"));
        let mut child = workspace.command("killed", &array).spawn().expect("started");
        wait(&mut child, || {
            let files = std::fs::read_dir(workspace.path("killed")).into_iter().flatten().flatten();
            shards(&workspace, "killed") >= 2
                && files
                    .map(|file| file.file_name())
                    .any(|name| name == "features.npy" || name.to_string_lossy().starts_with(".writing-"))
        });
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
    workspace.run("killed", &array).ok();
    assert!(workspace.results("killed") == workspace.results("whole"));
}

#[test]
fn killed_at_any_moment_it_ends_with_the_same_bytes() {
    let workspace = Workspace::with_fruits(TRAIN, TEST);
    workspace.run("whole", &[]).ok();
    let whole = workspace.results("whole");
    assert!(whole.len() >= 9, "{:?}", whole.keys());
    // killed after some shards, then as soon as each later file appears
    for count in [1, 2, 4] {
        let mut child = workspace.command("killed", &[]).spawn().expect("started");
        wait(&mut child, || shards(&workspace, "killed") >= count);
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
    for file in ["classifier/columns.parquet", "reduced.parquet", "classifier/mlp.safetensors", "metrics.json"] {
        let mut child = workspace.command("killed", &[]).spawn().expect("started");
        wait(&mut child, || workspace.path("killed").join(file).exists());
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
    workspace.run("killed", &[]).ok();
    workspace.same_results("killed", "whole");
}

#[test]
fn a_finished_run_does_nothing_and_says_so() {
    let workspace = Workspace::after_run(4, 2);
    let kept = || ["run.json", ".store/scan.json"].map(|file| workspace.read(&format!("out/{file}")));
    let before = kept();
    let text = || workspace.call(&["run", "pipeline.yaml", "--out", "out"]).ok().stdout;
    assert!(text().contains("nothing to do"));
    assert!(before == kept(), "nothing is written anew");
    let start = Instant::now();
    let again = workspace.run("out", &[]).ok();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(again.computed().is_empty());
    assert!(before == kept());
    // without the record of the scan, which repeats facts of the extraction, nothing more has to be done
    let manifest = workspace.read("out/manifest.parquet");
    std::fs::remove_file(workspace.path("out/.store/scan.json")).expect("removed");
    assert!(text().contains("nothing to do"));
    assert!(manifest == workspace.read("out/manifest.parquet") && before[0] == workspace.read("out/run.json"));
}

#[test]
fn a_changed_section_runs_its_stage_and_what_follows() {
    let workspace = Workspace::with_fruits(4, 2);
    assert_eq!(
        workspace.run("out", &[]).ok().computed(),
        ["extract", "select", "reduce", "train", "evaluate", "compare", "report"]
    );
    let features = workspace.read("out/features/part-00000.parquet");
    let run = workspace.run("out", &["--set", "reduce.pca.components=4"]).ok();
    assert_eq!(run.computed(), ["reduce", "train", "evaluate", "report"]);
    assert_eq!(features, workspace.read("out/features/part-00000.parquet"));
    let run = workspace.run("out", &["--set", "reduce.pca.components=4", "--set", "train.mlp.seed=2"]).ok();
    assert_eq!(run.computed(), ["train", "evaluate", "report"]);
    // the files of a removed stage are deleted
    let run = workspace.run("out", &["--set", "reduce=null"]).ok();
    assert_eq!(run.computed(), ["train", "evaluate", "report"]);
    assert!(!workspace.path("out/reduced.parquet").exists());
    // settings that only affect speed change nothing
    let run =
        workspace.run("out", &["--set", "reduce=null", "--set", "extract.batch_size=2", "--set", "runtime.threads=1"]);
    assert!(run.ok().computed().is_empty());
}

#[test]
fn other_settings_leave_no_file_of_those_before_and_every_file_of_the_user() {
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("out", &["--set", "report={figures: true}"]).ok();
    assert!(workspace.path("out/figures/loss.svg").is_file() && workspace.path("out/figures/loss.png").is_file());
    assert!(workspace.path("out/quality.parquet").is_file());
    workspace.write("out/figures/mine.svg", b"mine");
    let sets = ["reduce={svd: {components: 4}}", "train={knn: {k: 1}}", "report={quality: false}"];
    let sets = set(&sets);
    workspace.run("out", &sets).ok();
    let names = |folder: &str| files(&workspace.path(folder));
    assert_eq!(
        names("out/classifier"),
        ["classifier.json", "columns.parquet", "knn.safetensors", "novelty.safetensors", "svd.safetensors"]
    );
    assert_eq!(names("out/figures"), ["mine.svg"]);
    assert!(!workspace.path("out/quality.parquet").exists());
    // a fresh run gives the same results
    workspace.run("fresh", &sets).ok();
    assert!(workspace.results("out") == workspace.results("fresh"));
}

#[test]
fn a_changed_and_a_new_picture_touch_only_their_shards() {
    let workspace = Workspace::with_fruits(TRAIN, TEST);
    let first = workspace.run("out", &[]).ok();
    assert_eq!(first.extracted(), ALL);
    workspace.write("pictures/Training/Banana/zz_new.jpg", &workspace.read("pictures/Test/Lemon/0_0_100.jpg"));
    let run = workspace.run("out", &[]).ok();
    let again = run.extracted();
    assert!((1..=24).contains(&again), "{again} of {ALL} pictures again");
    // the results are those of a single run
    workspace.run("fresh", &[]).ok();
    workspace.same_results("out", "fresh");
}

#[test]
fn another_split_moves_labels_and_computes_no_picture() {
    let workspace = Workspace::after_run(4, 2);
    let split = ["--set", "input.split={fraction: 0.5, seed: 3}", "--set", "input.label=parent"];
    let run = workspace.run("out", &split).ok();
    assert_eq!(run.event("summary")["extract"]["timing"]["pictures"], 0);
    workspace.run("fresh", &split).ok();
    assert!(workspace.results("out") == workspace.results("fresh"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_with_130_and_a_line_that_says_how_to_go_on() {
    let workspace = Workspace::with_fruits(TRAIN, TEST);
    let mut child = workspace.command("out", &[]).spawn().expect("started");
    wait(&mut child, || shards(&workspace, "out") >= 1);
    let pid = child.id().to_string();
    std::process::Command::new("kill").args(["-INT", &pid]).status().expect("signalled");
    Run::of(child.wait_with_output().expect("ended")).ended(130, &["goes on from there"]);
    workspace.run("out", &[]).ok();
    workspace.run("whole", &[]).ok();
    assert!(workspace.results("out") == workspace.results("whole"));
}

#[test]
fn two_runs_in_one_folder_do_not_meet() {
    let workspace = Workspace::with_fruits(TRAIN, TEST);
    let mut child = workspace.command("out", &[]).spawn().expect("started");
    wait(&mut child, || shards(&workspace, "out") >= 1);
    // a start waits for a moment for the lock, during which the first run would end
    let signal = |name: &str| {
        let pid = child.id().to_string();
        std::process::Command::new("kill").args([name, &pid]).status().expect("signalled");
    };
    signal("-STOP");
    let second = workspace.run("out", &[]);
    signal("-CONT");
    second.ended(1, &["another featurize is at work"]);
    assert_eq!(child.wait().expect("ended").code(), Some(0));
}
