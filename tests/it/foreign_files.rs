//! Files of the user in a run folder are kept: a run overwrites, and `clean` deletes, only files that records name.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::{Run, Workspace, rows};

/// Settings for small pictures and for every file that a run can write.
const ALL: [&str; 8] = [
    "--set",
    "extract.recipe.size=64",
    "--set",
    "output.npy=true",
    "--set",
    "report.figures=true",
    "--set",
    "train={candidates: [{mlp: {hidden: [4], max_iter: 5}}, {knn: {k: 1}}], cv: 2}",
];

/// Every file and link below a folder with its bytes; folders end with `/`.
fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = walkdir::WalkDir::new(root).min_depth(1).into_iter().map(|entry| entry.expect("entry"));
    let one = |entry: walkdir::DirEntry| {
        let name = entry.path().strip_prefix(root).expect("below").to_string_lossy().into_owned();
        let end = if entry.file_type().is_dir() { "/" } else { "" };
        (name + end, std::fs::read(entry.path()).unwrap_or_default())
    };
    entries.map(one).collect()
}

#[test]
fn files_of_the_user_stay_in_a_run_folder() {
    let workspace = Workspace::with_fruits(4, 1);
    workspace.run("other", &["--until", "extract", "--set", "extract.shard_rows=4"]).ok();
    let mine = [
        "notes.txt",
        "data.parquet",
        ".writing-notes",
        "features/mine.parquet",
        "features/part-00099.parquet",
        "features/part-00098.parquet",
        "classifier/mine.safetensors",
        "figures/mine.svg",
        "figures/loss.svg",
        ".store/mine.json",
        ".store/shards/mine.json",
        ".store/shards/mine.rows",
    ];
    for name in mine {
        workspace.write(&format!("out/{name}"), name.as_bytes());
    }
    // a table of another run, with a name that this run does not need
    let table = workspace.read("other/features/part-00000.parquet");
    workspace.write("out/features/part-00098.parquet", &table);
    let kept = |when: &str| {
        for name in mine.iter().filter(|name| **name != "features/part-00098.parquet") {
            assert_eq!(workspace.read(&format!("out/{name}")), name.as_bytes(), "{name} {when}");
        }
        assert!(workspace.read("out/features/part-00098.parquet") == table, "{when}");
    };
    workspace.run("out", &[]).ok();
    kept("after a run");
    workspace.run("out", &["--set", "extract.recipe.size=64", "--set", "reduce=null"]).ok();
    kept("after other settings");
    workspace.run("out", &["--set", "reduce=null", "--force", "extract"]).ok();
    kept("after a forced run");
    workspace.call(&["clean", "out", "--all", "--yes"]).ok();
    kept("after clean");
    let left: Vec<String> = contents(&workspace.path("out")).into_keys().filter(|name| !name.ends_with('/')).collect();
    let mut mine = mine.map(String::from);
    mine.sort();
    assert_eq!(left, mine);
}

#[test]
fn a_file_at_a_name_that_is_needed_is_refused_before_anything_is_computed() {
    let workspace = Workspace::with_fruits(3, 1);
    let names = [
        "manifest.parquet",
        "features/part-00000.parquet",
        "features/part-00001.parquet",
        "features.npy",
        "index.parquet",
        "classifier/columns.parquet",
        "classifier/pca.safetensors",
        "classifier/knn.safetensors",
        "classifier/classifier.json",
        "reduced.parquet",
        "predictions.parquet",
        "metrics.json",
        "quality.parquet",
        "relabel.csv",
        "report.html",
        "figures/loss.png",
        "run.json",
        ".store/extract.json",
        ".store/owner.json",
    ];
    for name in names {
        workspace.write(&format!("out/{name}"), b"mine");
        let before = contents(&workspace.path("out"));
        let path = workspace.path("out").join(name);
        workspace.run("out", &ALL).ended(1, &[&path.to_string_lossy(), "--out"]);
        let mut after = contents(&workspace.path("out"));
        // the lock remains only if `.store` existed before
        after.remove(".store/lock");
        assert!(before == after, "{name}: {:?}", after.keys());
        std::fs::remove_dir_all(workspace.path("out")).expect("removed");
    }
    // files with names that these settings do not write are kept
    for name in ["features.npy", "classifier/svd.safetensors", "figures/loss.png"] {
        workspace.write(&format!("out/{name}"), b"mine");
    }
    workspace.run("out", &["--set", "extract.recipe.size=64"]).ok();
    assert_eq!(workspace.read("out/features.npy"), b"mine");
    workspace.run("out", &ALL).ended(1, &["features.npy", "loss.png"]);
    // a stage that was not started owns no files
    workspace.run("until", &["--until", "extract"]).ok();
    workspace.write("until/reduced.parquet", b"mine");
    assert_eq!(workspace.run("until", &[]).code, Some(1));
    assert_eq!(workspace.read("until/reduced.parquet"), b"mine");
    workspace.run("until", &["--until", "extract"]).ok();
}

#[test]
fn the_run_of_another_pipeline_is_refused_and_an_edited_one_goes_on() {
    let workspace = Workspace::after_run(3, 1);
    let before = contents(&workspace.path("out"));
    for owner in [true, false] {
        // 0.3.0 wrote the name only to run.json
        if !owner {
            std::fs::remove_file(workspace.path("out/.store/owner.json")).expect("removed");
        }
        workspace.run("out", &["--set", "name=other"]).ended(1, &["`three`", "`other`", "--out"]);
    }
    // `plan` reports the error that a run would end with
    workspace.call(&["plan", "pipeline.yaml", "--set", "name=other", "--out", "out"]).ended(1, &["`three`"]);
    workspace.write("out/.store/owner.json", &before[".store/owner.json"]);
    assert!(before == contents(&workspace.path("out")));
    workspace.run("out", &["--set", "reduce.pca.components=3"]).ok();
    // the name is known from the first commit on
    workspace.run("begun", &["--until", "scan"]).ok();
    assert_eq!(workspace.run("begun", &["--set", "name=other"]).code, Some(1));
}

#[test]
fn a_run_of_a_version_without_claims_goes_on() {
    let workspace = Workspace::after_run(4, 1);
    let whole = workspace.results("out");
    let remove = |names: &[&str]| {
        names.iter().for_each(|name| std::fs::remove_file(workspace.path("out").join(name)).expect("removed"));
    };
    remove(&[".store/owner.json"]);
    assert!(workspace.run("out", &[]).ok().computed().is_empty());
    // killed during `train`: the reduced table exists, but neither its record nor any later file
    remove(&[".store/reduce.json", ".store/train.json", ".store/evaluate.json", ".store/report.json"]);
    remove(&["classifier/mlp.safetensors", "classifier/classifier.json", "classifier/novelty.safetensors"]);
    remove(&["predictions.parquet", "metrics.json"]);
    remove(&["report.html", "run.json"]);
    assert_eq!(workspace.run("out", &[]).ok().computed(), ["reduce", "train", "evaluate", "report"]);
    assert!(workspace.results("out") == whole);
    // killed during `extract`, and afterwards the pictures of one table were deleted: the table is recognised by its id
    let records = ["extract", "select", "reduce", "train", "evaluate", "compare", "report"];
    let records: Vec<String> = records.iter().map(|stage| format!(".store/{stage}.json")).collect();
    remove(&records.iter().map(String::as_str).collect::<Vec<_>>());
    let others = whole.keys().filter(|name| !name.starts_with("features/") && *name != "manifest.parquet");
    remove(&others.map(String::as_str).collect::<Vec<_>>());
    remove(&[".store/owner.json", "report.html", "run.json"]);
    for split in ["Training", "Test"] {
        std::fs::remove_dir_all(workspace.path(&format!("pictures/{split}/Strawberry"))).expect("removed");
    }
    workspace.run("out", &[]).ok();
    workspace.run("fresh", &[]).ok();
    assert!(workspace.results("out") == workspace.results("fresh"));
}

#[cfg(unix)]
#[test]
fn nothing_is_written_or_deleted_through_a_link() {
    use std::os::unix::fs::symlink;
    let workspace = Workspace::with_fruits(3, 1);
    workspace.run("real", &[]).ok();
    let real = contents(&workspace.path("real"));
    for name in ["features", "classifier", ".store", ".store/shards", "report.html", "figures"] {
        let link = workspace.path("out").join(name);
        std::fs::create_dir_all(link.parent().expect("a folder")).expect("folder");
        symlink(workspace.path("real").join(name), &link).expect("link");
        workspace.run("out", &ALL).ended(1, &[&*link.to_string_lossy()]);
        std::fs::remove_dir_all(workspace.path("out")).expect("removed");
    }
    // files that were moved and linked back are read, but neither replaced nor deleted
    workspace.run("out", &[]).ok();
    for name in ["features", "report.html"] {
        let path = workspace.path("out").join(name);
        std::fs::rename(&path, workspace.path(&format!("moved_{name}"))).expect("moved");
        symlink(workspace.path(&format!("moved_{name}")), &path).expect("link");
    }
    assert!(workspace.run("out", &[]).ok().computed().is_empty());
    workspace.run("out", &["--force", "report"]).ended(1, &[]);
    workspace.call(&["clean", "out", "--all", "--yes"]).ok();
    let left: Vec<String> = contents(&workspace.path("out")).into_keys().collect();
    assert_eq!(left, ["features", "report.html"]);
    assert!(workspace.path("moved_features/part-00000.parquet").is_file());
    assert!(workspace.path("moved_report.html").is_file());
    assert!(real == contents(&workspace.path("real")));
}

#[test]
fn a_run_among_its_pictures_takes_none_of_its_charts_for_one() {
    let workspace = Workspace::with_fruits(3, 1);
    let split = ["--set", "input.split={fraction: 0.3, seed: 1}", "--set", "input.label=parent"];
    let train = ["--set", "train={mlp: {hidden: [4], max_iter: 5}}"];
    let sets: Vec<&str> = ALL.iter().chain(&split).chain(&train).copied().collect();
    let ok = |run: &Run| run.event("summary")["extract"]["ok"].as_u64();
    workspace.write("pictures/figures/lemon.jpg", &workspace.read("pictures/Test/Lemon/0_0_100.jpg"));
    let first = workspace.run("pictures", &sets).ok();
    assert_eq!(ok(&first), Some(13), "a picture of the user's beside the charts is one");
    assert!(workspace.path("pictures/figures/network.png").is_file());
    let manifest = workspace.read("pictures/manifest.parquet");
    let again = workspace.run("pictures", &sets).ok();
    assert!(again.computed().is_empty(), "{:?}", again.computed());
    let forced: Vec<&str> = sets.iter().chain(&["--force", "extract"]).copied().collect();
    assert_eq!(ok(&workspace.run("pictures", &forced).ok()), Some(13));
    assert!(manifest == workspace.read("pictures/manifest.parquet"), "whether the files are there or not");
    let rows = rows(&workspace.path("pictures/manifest.parquet"), ["path", "kind"]);
    for name in ["figures/", "features/", "manifest.parquet", "run.json"] {
        assert!(rows.contains(&[name, "run_folder"].map(String::from)), "{name}");
    }
}
