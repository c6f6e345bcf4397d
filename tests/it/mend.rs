//! Commands that help to improve the data: the table of doubtful labels, the split that keeps near copies together, and
//! opening the report.

use std::collections::BTreeMap;

use crate::support::Workspace;

const SMALL: [&str; 6] =
    ["--set", "extract.layer=blocks.1.0", "--set", "extract.recipe.size=64", "--set", "input.split=null"];

/// The lines of a table, by path; the fields of these tables have no quotes.
fn lines(text: &str) -> (String, Vec<Vec<String>>) {
    let mut lines = text.lines();
    let head = lines.next().expect("a header").to_string();
    (head, lines.map(|line| line.split(',').map(String::from).collect()).collect())
}

#[test]
fn the_table_to_mend_labels_comes_back_as_it_is_or_with_its_suggestions() {
    let workspace = Workspace::with_fruits(10, 2);
    // a banana among the lemons, which is a copy of another banana
    let copy = workspace.read("pictures/Training/Banana/0_0_100.jpg");
    workspace.write("pictures/Training/Lemon/wrong.jpg", &copy);
    workspace.run("out", &[]).ok();
    let (head, rows) = lines(&workspace.text("out/relabel.csv"));
    assert_eq!(head, "path,label,split,suggested,why");
    assert_eq!(rows.len(), 37);
    let doubted: BTreeMap<&str, &[String]> =
        rows.iter().filter(|row| !row[4].is_empty()).map(|row| (row[0].as_str(), &row[1..])).collect();
    assert!(rows[..doubted.len()].iter().all(|row| !row[4].is_empty()), "those in doubt come first");
    let wrong = doubted["Training/Lemon/wrong.jpg"];
    assert_eq!(wrong[..3], ["Lemon", "train", "Banana"].map(String::from));
    assert!(wrong[3].contains("neighbours are Banana"), "{wrong:?}");
    let right = doubted["Training/Banana/0_0_100.jpg"];
    assert_eq!(right[2], "Banana", "{right:?}");
    assert_eq!(right[3], "the same picture as Training/Lemon/wrong.jpg with the label Lemon");
    // a copy of the table gives the same run; with the column of suggestions the label is corrected
    workspace.write("mended.csv", &workspace.read("out/relabel.csv"));
    let csv = format!("input.split={{csv: {}}}", workspace.path("mended.csv").display());
    let same = workspace.run("out", &["--set", &csv]).ok();
    assert_eq!(same.event("summary")["computed"].as_array().map(Vec::len), Some(0));
    assert_eq!(lines(&workspace.text("out/relabel.csv")).1, rows);
    let mended = format!("input.split={{csv: {}, label: suggested}}", workspace.path("mended.csv").display());
    workspace.run("out", &["--set", &mended]).ok();
    let (_, rows) = lines(&workspace.text("out/relabel.csv"));
    let row = rows.iter().find(|row| row[0] == "Training/Lemon/wrong.jpg").expect("there");
    assert_eq!((row[1].as_str(), row[4].as_str()), ("Banana", ""));
    // the run would overwrite its own input
    let own = format!("input.split={{csv: {}}}", workspace.path("out/relabel.csv").display());
    workspace.run("out", &["--set", &own]).ended(2, &["is written anew by this run: copy it elsewhere"]);
    // without a test split, and without classes
    workspace.run("plain", &SMALL).ok();
    let text = workspace.text("plain/relabel.csv");
    assert!(text.starts_with("path,label,suggested,why\n"), "{text}");
    let none = ["--set", "input.label=none", "--set", "train=null"];
    workspace.run("plain", &[&SMALL[..], &none].concat()).ok();
    assert!(!workspace.path("plain/relabel.csv").exists());
}

#[test]
fn a_split_keeps_near_copies_on_one_side_and_is_read_back() {
    let workspace = Workspace::with_fruits(12, 4);
    let copy = workspace.read("pictures/Training/Lemon/0_0_100.jpg");
    (0..5).for_each(|i| workspace.write(&format!("pictures/Test/Lemon/copy_{i}.jpg"), &copy));
    let split = |more: &[&str]| {
        let out = workspace.path("out");
        let arguments = ["split", "pipeline.yaml", "--out", out.to_str().expect("text")];
        workspace.call(&[&arguments[..], more].concat())
    };
    let alone = split(&["--seed", "3"]).ok();
    assert!(!workspace.path("out/features").exists(), "nothing is extracted for a plain draw");
    let (head, rows) = lines(&alone.stdout);
    assert_eq!(head, "path,label,split,group");
    assert_eq!(rows.len(), 53);
    let groups = |rows: &[Vec<String>]| {
        let mut groups: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
        rows.iter().for_each(|row| groups.entry(row[3].clone()).or_default().push(row.clone()));
        groups
    };
    assert_eq!(groups(&rows).len(), 53);
    let told = split(&["--keep-together", "--table", "split.csv", "--seed", "3"]).ok();
    assert!(told.stderr.contains("near copies in train: of"), "{}", told.stderr);
    let text = workspace.text("split.csv");
    let (_, rows) = lines(&text);
    let groups = groups(&rows);
    assert!(groups.len() < 53 && groups.len() > 3, "{}", groups.len());
    assert!(groups.values().all(|group| group.iter().all(|row| row[2] == group[0][2])));
    let copies: Vec<&Vec<String>> =
        rows.iter().filter(|row| row[0].contains("copy_") || row[0] == "Training/Lemon/0_0_100.jpg").collect();
    assert!(copies.len() == 6 && copies.iter().all(|row| row[3] == copies[0][3]), "copies are one group: {copies:?}");
    for class in ["Banana", "Lemon", "Strawberry"] {
        let tests = rows.iter().filter(|row| row[1] == class && row[2] == "test").count();
        assert!((1..=8).contains(&tests), "{class}: {tests}");
    }
    // the same seed gives the same table, another seed another one; a run reads it
    split(&["--keep-together", "--table", "again.csv", "--seed", "3"]).ok();
    assert_eq!(workspace.read("again.csv"), text.as_bytes());
    split(&["--keep-together", "--table", "other.csv", "--seed", "4"]).ok();
    assert_ne!(workspace.read("other.csv"), text.as_bytes());
    let csv = format!("input.split={{csv: {}}}", workspace.path("split.csv").display());
    let run = workspace.run("out", &["--set", &csv]).ok();
    assert_eq!(run.event("summary")["extract"]["timing"]["pictures"], 0, "the features are there");
    let small = split(&["--keep-together", "--most", "1"]).ok();
    assert!(lines(&small.stdout).1.iter().filter(|row| row[0].contains("copy_")).all(|row| row[3] != "0"));
    for (arguments, code, expected) in [
        (&["--fraction", "1"][..], 2, "expected a number between 0 and 1"),
        (&["--most", "3"], 2, "--keep-together"),
        (&["--table", "pipeline.yaml"], 2, "is read by this command"),
    ] {
        split(arguments).ended(code, &[expected]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_page_is_opened_where_there_is_a_display_and_its_absence_is_no_error() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = Workspace::with_fruits(4, 1);
    workspace.write(
        "bin/xdg-open",
        b"#!/bin/sh\necho \"$1\" > \"${0%/*}/opened.new\"\n/bin/mv \"${0%/*}/opened.new\" \"${0%/*}/opened\"\n",
    );
    let program = workspace.path("bin/xdg-open");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("set");
    let start = |display: Option<&str>, more: &[&str]| {
        let mut command = workspace.command("out", &[&["--open"], more].concat());
        command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        display.map(|display| command.env("DISPLAY", display));
        // no browser of this machine is opened
        crate::support::Run::of(command.env("PATH", workspace.path("bin")).output().expect("started"))
    };
    let page = workspace.path("out/report.html");
    let none = start(None, &[]).ok();
    assert!(none.stderr.contains("there is no browser to open") && !workspace.path("bin/opened").exists());
    start(Some(":7"), &[]).ok();
    let opened = (0..100).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::fs::read_to_string(workspace.path("bin/opened")).ok()
    });
    assert_eq!(opened.as_deref().map(str::trim), page.to_str());
    for more in [&["--set", "report=null"][..], &["--until", "train"]] {
        start(Some(":7"), more).ended(2, &["`--open` opens the report, and this run writes none"]);
    }
    std::fs::remove_file(program).expect("removed");
    assert!(start(Some(":7"), &[]).ok().stderr.contains("there is no browser to open"));
}
