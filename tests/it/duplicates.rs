//! `input.hash`: copies are found, told where train and test share them, and cost no second forward pass.

use featurize::io::columns::Columns;
use sha2::Digest;

use crate::support::Workspace;

/// path → (sha256, duplicate_of)
fn hashes(workspace: &Workspace, out: &str) -> Vec<(String, String, Option<String>)> {
    let names = ["path", "sha256", "duplicate_of"];
    let columns = Columns::read(&workspace.path(out).join("manifest.parquet"), &names).expect("read");
    let [paths, sums, firsts] = names.map(|name| columns.texts(name).expect("text"));
    let rows = paths.into_iter().zip(sums).zip(firsts);
    rows.map(|((path, sum), first)| (path.expect("a path"), sum.unwrap_or_default(), first)).collect()
}

/// Three kinds of fruit; one lemon of train lies twice in train and once in test.
fn with_copies() -> Workspace {
    let workspace = Workspace::with_fruits(4, 2);
    let folder = workspace.path("pictures/Training/Lemon");
    let lemon = std::fs::read_dir(folder).expect("lemons").map(|entry| entry.expect("entry").path()).min();
    let bytes = std::fs::read(lemon.expect("a lemon")).expect("read");
    workspace.write("pictures/Training/Lemon/zz.jpg", &bytes);
    workspace.write("pictures/Test/Lemon/leaked.jpg", &bytes);
    workspace
}

#[test]
fn copies_are_found_and_a_leak_is_told() {
    let workspace = with_copies();
    let run = workspace.run("out", &["--set", "input.hash=true"]).ok();
    let rows = hashes(&workspace, "out");
    for (path, sum, _) in &rows {
        let bytes = std::fs::read(workspace.path("pictures").join(path)).expect("read");
        let expected: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(*sum, expected, "{path}");
    }
    let copies: Vec<&str> = rows.iter().filter(|row| row.2.is_some()).map(|row| row.0.as_str()).collect();
    assert_eq!(copies.len(), 2, "{copies:?}");
    assert!(rows.iter().filter_map(|row| row.2.as_deref()).all(|first| first == "Test/Lemon/leaked.jpg"));
    assert!(run.stderr.contains("train and test share 1 picture,"), "{}", run.stderr);
    let found = run.event("summary")["extract"]["duplicates"].clone();
    assert_eq!((found["copies"].as_u64(), found["in_both_splits"].as_u64()), (Some(2), Some(1)));
    let document: serde_json::Value = serde_json::from_slice(&workspace.read("out/run.json")).expect("JSON");
    assert_eq!(document["extract"]["duplicates"], found);
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
