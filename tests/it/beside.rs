//! A run reuses the feature tables of another run with the same settings and pictures.

use std::path::Path;

use crate::support::{Run, Workspace};

/// `featurize run` as users start it, without the `output.cache=none` of the other tests.
fn run(workspace: &Workspace, out: &str, sets: &[&str]) -> Run {
    let out = workspace.path(out);
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    let arguments = ["run", "pipeline.yaml", "--log", "json", "--out", out.to_str().expect("text")];
    workspace.call(&arguments.into_iter().chain(sets).collect::<Vec<_>>())
}

fn computed(run: &Run) -> u64 {
    run.event("summary")["extract"]["timing"]["pictures"].as_u64().expect("a count")
}

#[test]
fn the_tables_of_a_run_beside_it_are_copied_and_stay_without_it() {
    let workspace = Workspace::with_fruits(6, 2);
    workspace.run("runs/a", &[]).ok();
    let taken = run(&workspace, "runs/b", &[]).ok();
    assert_eq!(computed(&taken), 0, "{}", taken.stderr);
    assert!(taken.stderr.contains("taken from"), "{}", taken.stderr);
    assert!(workspace.results("runs/b") == workspace.results("runs/a"));
    let rows = |count: &str| taken.event("summary")["extract"][count].as_u64();
    assert_eq!((rows("ok"), rows("train_rows")), (Some(24), Some(18)));
    // other labels are written into the copied table; the other run keeps its own
    let before = workspace.results("runs/a");
    let other = run(&workspace, "runs/c", &["input.split={fraction: 0.5}", "input.label=parent"]).ok();
    assert_eq!(computed(&other), 0);
    assert!(workspace.results("runs/a") == before && workspace.results("runs/c") != before);
    // the run does not need the other runs any more
    for gone in ["runs/a", "runs/c"] {
        std::fs::remove_dir_all(workspace.path(gone)).expect("removed");
    }
    assert!(run(&workspace, "runs/b", &[]).ok().computed().is_empty());
    assert_eq!(computed(&run(&workspace, "runs/b", &["train={knn: {k: 1}}"]).ok()), 0);
}

#[test]
fn a_run_whose_labels_were_mended_gives_its_tables_like_any_other() {
    let workspace = Workspace::with_fruits(6, 2);
    workspace.run("runs/a", &[]).ok();
    workspace.run("runs/a", &["--set", "input.split={fraction: 0.5}", "--set", "input.label=parent"]).ok();
    let taken = run(&workspace, "runs/b", &[]).ok();
    assert_eq!(computed(&taken), 0, "{}", taken.stderr);
    workspace.run("elsewhere/c", &[]).ok();
    workspace.same_results("runs/b", "elsewhere/c");
    assert!(run(&workspace, "runs/b", &[]).ok().computed().is_empty());
}

#[test]
fn only_the_same_extraction_of_the_same_pictures_is_taken() {
    let workspace = Workspace::with_fruits(6, 2);
    workspace.run("runs/a", &[]).ok();
    for (out, sets) in [
        ("runs/size", &["extract.recipe.size=64"][..]),
        ("runs/cut", &["extract.shard_rows=5"]),
        ("runs/none", &["output.cache=none"]),
        ("elsewhere/b", &[]),
    ] {
        assert_eq!(computed(&run(&workspace, out, sets).ok()), 24, "{out}");
    }
    // a table with another picture is computed
    let banana = workspace.read("pictures/Training/Banana/0_0_100.jpg");
    let lemon = workspace.read("pictures/Training/Lemon/0_0_100.jpg");
    workspace.write("pictures/Training/Lemon/0_0_100.jpg", &banana);
    let changed = run(&workspace, "runs/changed", &[]).ok();
    assert!((1..=8).contains(&computed(&changed)), "{}", computed(&changed));
    workspace.write("pictures/Training/Lemon/0_0_100.jpg", &lemon);
    // a picture that was rewritten with the same contents counts as the same picture
    assert_eq!(computed(&run(&workspace, "runs/same", &[]).ok()), 0);
}

#[test]
fn of_other_pictures_with_the_same_names_some_are_read_to_see_that() {
    let workspace = Workspace::with_fruits(6, 2);
    workspace.run("runs/a", &[]).ok();
    let names: Vec<String> = walkdir::WalkDir::new(workspace.path("pictures"))
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.path().strip_prefix(workspace.path("")).expect("below").display().to_string())
        .collect();
    let rewrite = |more: &[u8]| {
        names.iter().for_each(|name| workspace.write(name, &[&workspace.read(name)[..], more].concat()));
    };
    rewrite(b"");
    let same = run(&workspace, "runs/same", &[]).ok();
    assert!(computed(&same) == 0 && same.stderr.matches("read again in case of changes: 0 changed").count() == 2);
    // appended bytes make the file another picture
    rewrite(b"more");
    let cache = format!("output.cache={}", workspace.path("runs/a").display());
    let others = run(&workspace, "elsewhere/others", &[&cache]).ok();
    assert!(others.stderr.contains("12 files read again in case of changes: 12 changed"), "{}", others.stderr);
    assert_eq!((computed(&others), others.stderr.matches("read again").count()), (24, 1), "{}", others.stderr);
}

#[test]
fn a_cache_is_named_and_its_damaged_tables_are_computed() {
    let workspace = Workspace::with_fruits(6, 2);
    workspace.run("cache/a", &[]).ok();
    let expected = workspace.results("cache/a");
    // the cache is the folder of runs, or a run itself
    for (out, cache) in [("one/b", "cache"), ("two/b", "cache/a")] {
        let cache = format!("output.cache={}", workspace.path(cache).display());
        let taken = run(&workspace, out, &[&cache]).ok();
        assert_eq!(computed(&taken), 0, "{out}: {}", taken.stderr);
        assert!(workspace.results(out) == expected, "{out}");
        // a run that began with copied tables is continued without the cache
        assert!(run(&workspace, out, &[]).ok().computed().is_empty());
    }
    let table = "cache/a/features/part-00001.parquet";
    let mut bytes = workspace.read(table);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    workspace.write(table, &bytes);
    let cache = format!("output.cache={}", workspace.path("cache").display());
    let partly = run(&workspace, "three/b", &[&cache]).ok();
    assert!((1..=8).contains(&computed(&partly)), "{}", partly.stderr);
    assert!(workspace.results("three/b") == expected);
    assert_eq!(workspace.read(table), bytes, "the cache is only read");
    run(&workspace, "four/b", &["output.cache=nowhere"])
        .ended(2, &["there is no folder nowhere; name a folder of runs, or `none`"]);
    assert!(!Path::new(&workspace.path("four")).exists());
}

#[test]
fn pictures_that_failed_are_taken_unless_they_are_to_be_tried_again() {
    let workspace = Workspace::with_fruits(6, 2);
    workspace.write("pictures/Training/Lemon/broken.jpg", b"\xff\xd8 no picture");
    workspace.run("runs/a", &[]).ok();
    let taken = run(&workspace, "runs/b", &[]).ok();
    assert_eq!((computed(&taken), taken.event("summary")["extract"]["failed"].as_u64()), (0, Some(1)));
    assert!(workspace.results("runs/b") == workspace.results("runs/a"));
    let out = workspace.path("runs/c");
    let arguments = ["run", "pipeline.yaml", "--log", "json", "--retry-failed", "--out", out.to_str().expect("text")];
    assert!((1..=8).contains(&computed(&workspace.call(&arguments).ok())));
}
