//! Classes and splits: by folder, by lot, by table; some classes, a few pictures each, no labels at all.

use featurize::io::columns::Columns;

use crate::support::{Run, Workspace};

/// (path, label, split) of the pictures in the manifest that were read.
fn rows(workspace: &Workspace, out: &str) -> Vec<(String, Option<String>, String)> {
    let path = workspace.path(out).join("manifest.parquet");
    let columns = Columns::read(&path, &["path", "label", "split", "status"]).expect("read");
    let text = |name: &str| columns.texts(name).expect("text");
    let all = text("path").into_iter().zip(text("label")).zip(text("split")).zip(text("status"));
    let ok = all.filter(|(_, status)| matches!(status.as_deref(), Some("ok" | "listed")));
    ok.map(|(((path, label), split), _)| (path.unwrap_or_default(), label, split.unwrap_or_default())).collect()
}

fn scan(workspace: &Workspace, out: &str, sets: &[&str]) -> Run {
    let mut more = vec!["--until", "scan"];
    more.extend(sets.iter().flat_map(|set| ["--set", set]));
    workspace.run(out, &more)
}

#[test]
fn by_folder_the_class_is_below_the_split() {
    let workspace = Workspace::with_fruits(3, 2);
    scan(&workspace, "out", &[]).ok();
    let rows = rows(&workspace, "out");
    assert_eq!(rows.len(), 15);
    assert!(rows.iter().all(|(path, label, split)| {
        let parts: Vec<&str> = path.split('/').collect();
        label.as_deref() == Some(parts[1]) && (split == "train") == (parts[0] == "Training")
    }));
    assert!(rows.is_sorted());
}

#[test]
fn by_lot_each_class_gives_its_share() {
    let workspace = Workspace::with_fruits(8, 0);
    scan(&workspace, "out", &["input.split={fraction: 0.25, seed: 7}"]).ok();
    let rows = rows(&workspace, "out");
    let tests: Vec<_> = rows.iter().filter(|(.., split)| split == "test").collect();
    assert_eq!((rows.len(), tests.len()), (24, 6), "a quarter of the one class `Training`");
    let root = format!("input.root={}", workspace.path("pictures/Training").display());
    scan(&workspace, "deep", &[&root, "input.split={fraction: 0.25, seed: 7}"]).ok();
    let rows = self::rows(&workspace, "deep");
    for class in ["Banana", "Lemon", "Strawberry"] {
        let of_class = rows.iter().filter(|(_, label, split)| label.as_deref() == Some(class) && split == "test");
        assert_eq!(of_class.count(), 2, "{class}");
    }
}

#[test]
fn by_table() {
    let workspace = Workspace::with_fruits(2, 1);
    let files = |folder: &str| -> Vec<String> {
        let entries = std::fs::read_dir(workspace.path(&format!("pictures/{folder}"))).expect("folder");
        let mut names: Vec<String> =
            entries.map(|entry| format!("{folder}/{}", entry.expect("entry").file_name().to_string_lossy())).collect();
        names.sort();
        names
    };
    let (bananas, lemons) = (files("Training/Banana"), files("Training/Lemon"));
    let table = format!(
        "path,label,split\n{},yellow,train\n{},sour,train\n{},yellow,test\n\"missing, file.jpg\",sour,test\n",
        bananas[0], lemons[0], bananas[1]
    );
    workspace.write("labels.csv", table.as_bytes());
    let split = format!("input.split={{csv: {}}}", workspace.path("labels.csv").display());
    scan(&workspace, "out", &[&split]).ok();
    let rows = rows(&workspace, "out");
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert!(rows.contains(&(bananas[1].clone(), Some("yellow".into()), "test".into())));
    workspace.write("labels.csv", b"path,label,split\na.jpg,x,train\nb.jpg,x,tset\n");
    let run = scan(&workspace, "out", &[&split]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("line 3") || run.stderr.contains("tset"), "{}", run.stderr);
    workspace.write("labels.csv", b"file,label\na.jpg,x\n");
    let run = scan(&workspace, "out", &[&split]);
    assert!(run.stderr.contains("has no column `path`"), "{}", run.stderr);
}

#[test]
fn some_classes_and_a_few_pictures_of_each() {
    let workspace = Workspace::with_fruits(4, 3);
    scan(&workspace, "out", &["input.classes=[Lemon, Banana]", "input.limit_per_class={train: 2, test: 1}"]).ok();
    let rows = rows(&workspace, "out");
    assert_eq!(rows.len(), 6);
    assert!(rows.iter().all(|(_, label, _)| label.as_deref() != Some("Strawberry")));
    let run = scan(&workspace, "out", &["input.classes=[Lemmon]"]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("did you mean `Lemon`?"), "{}", run.stderr);
}

#[test]
fn without_labels_the_run_ends_after_reduce() {
    let workspace = Workspace::with_fruits(4, 0);
    let flat: Vec<_> = std::fs::read_dir(workspace.path("pictures/Training/Banana")).expect("bananas").collect();
    for (i, entry) in flat.into_iter().enumerate() {
        workspace.write(&format!("flat/{i}.jpg"), &std::fs::read(entry.expect("entry").path()).expect("read"));
    }
    let root = format!("input.root={}", workspace.path("flat").display());
    let run = workspace.run("out", &["--set", &root, "--set", "input.split=null"]).ok();
    assert_eq!(run.computed(), ["extract", "select", "reduce", "report"]);
    assert!(run.stderr.contains("no labels"), "{}", run.stderr);
    assert!(workspace.path("out/reduced.parquet").is_file());
    assert!(!workspace.path("out/predictions.parquet").exists());
}

#[test]
fn an_empty_and_an_absent_folder_are_told_with_their_place() {
    let workspace = Workspace::with_fruits(1, 1);
    std::fs::create_dir(workspace.path("empty")).expect("folder");
    let root = format!("input.root={}", workspace.path("empty").display());
    let run = scan(&workspace, "out", &[&root]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("the folder is empty"), "{}", run.stderr);
    workspace.write("pipeline.yaml", b"version: 1\ninput:\n  root: not here\n");
    let run = scan(&workspace, "out", &[]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("pipeline.yaml:3:9") && run.stderr.contains("there is no folder"), "{}", run.stderr);
}
