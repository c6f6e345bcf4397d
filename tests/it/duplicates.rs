//! `input.hash`: copies are found, reported if train and test share them, and need no second extraction.

use sha2::Digest;

use crate::support::{Workspace, rows};

/// Three kinds of fruit; the same lemon is twice in train and once in test.
fn with_copies() -> Workspace {
    let workspace = Workspace::with_fruits(4, 2);
    let bytes = workspace.read("pictures/Training/Lemon/0_0_100.jpg");
    workspace.write("pictures/Training/Lemon/zz.jpg", &bytes);
    workspace.write("pictures/Test/Lemon/leaked.jpg", &bytes);
    workspace
}

#[test]
fn copies_are_found_and_a_leak_is_told() {
    let workspace = with_copies();
    let run = workspace.run("out", &["--set", "input.hash=true"]).ok();
    let rows = rows(&workspace.path("out/manifest.parquet"), ["path", "sha256", "duplicate_of"]);
    for [path, sum, _] in &rows {
        let bytes = workspace.read(&format!("pictures/{path}"));
        let expected: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(*sum, expected, "{path}");
    }
    let firsts: Vec<&str> = rows.iter().map(|row| row[2].as_str()).filter(|first| !first.is_empty()).collect();
    assert_eq!(firsts, ["Test/Lemon/leaked.jpg"; 2]);
    assert!(run.stderr.contains("train and test share 1 picture,"), "{}", run.stderr);
    let found = run.event("summary")["extract"]["duplicates"].clone();
    assert_eq!((found["copies"].as_u64(), found["in_both_splits"].as_u64()), (Some(2), Some(1)));
    assert_eq!(workspace.json("out/run.json")["extract"]["duplicates"], found);
}

#[test]
fn hashing_later_computes_nothing_anew_and_gives_the_same() {
    let workspace = with_copies();
    workspace.run("at_once", &["--set", "input.hash=true"]).ok();
    let plain = workspace.run("later", &[]).ok();
    assert!(plain.event("summary")["extract"]["duplicates"].is_null());
    let run = workspace.run("later", &["--set", "input.hash=true"]).ok();
    assert_eq!(run.computed(), ["extract", "report"]);
    assert_eq!(run.event("summary")["extract"]["timing"]["pictures"], 0, "nothing went through the network");
    assert!(workspace.results("later") == workspace.results("at_once"));
    assert!(workspace.run("later", &["--set", "input.hash=true"]).ok().computed().is_empty());
}
