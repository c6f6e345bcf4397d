//! The text of every kind of error, with its place.

use std::path::Path;

use super::{ConfigError, load, parse};

const FILE: &str = "pipelines/fruits.yaml";

/// The whole error of a YAML text.
fn error_of(text: &str, sets: &[&str]) -> String {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    match parse(text, Path::new(FILE), &sets) {
        Ok(_) => panic!("no error in\n{text}"),
        Err(error) => error.to_string(),
    }
}

/// The first line of the error, without the file: `LINE:COLUMN: message`.
fn line_of(text: &str) -> String {
    let error = error_of(text, &[]);
    let line = error.lines().next().unwrap();
    line.strip_prefix(FILE).unwrap().strip_prefix(':').unwrap().to_owned()
}

#[test]
fn every_error_names_its_place_and_the_remedy() {
    let (mut kind, mut wrong) = ("", Vec::new());
    let mut lines = include_str!("errors.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    while let Some(line) = lines.next() {
        if ["[whole]", "[below]", "[input]", "[set]"].contains(&line) {
            kind = line;
            continue;
        }
        let yaml = line.replace("\\n", "\n").replace("\\t", "\t");
        let found = match kind {
            "[whole]" => line_of(&yaml),
            "[below]" => line_of(&format!("version: 1\ninput: {{root: d}}\n{yaml}\n")),
            "[input]" => line_of(&format!("version: 1\ninput:\n  root: d\n  {yaml}\n")),
            _ => error_of("version: 1\ninput: {root: d, classes: [a, b]}\n", &[&yaml])
                .strip_prefix(&format!("--set {yaml}: "))
                .map_or_else(|| "the place is not named".to_owned(), str::to_owned),
        };
        let expected = lines.next().expect("an error below the YAML").trim_start();
        if found != expected {
            wrong.push(format!("{line}\n    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} other errors:\n{}", wrong.len(), wrong.join("\n"));
    for (text, place) in [("", "1:1"), ("# nothing\n", "2:1")] {
        let empty = "the pipeline is empty; it begins with `version: 1` and needs `input`";
        assert_eq!(line_of(text), format!("{place}: {empty}"));
    }
    let layers = format!("train: {{mlp: {{hidden: [{}1]}}}}", "1, ".repeat(64));
    let expected = "3:23: `train.mlp.hidden`: expected at most 64 layers, found `65`";
    assert_eq!(line_of(&format!("version: 1\ninput: {{root: d}}\n{layers}\n")), expected);
    // nested too deeply for the stack
    assert!(line_of(&"[".repeat(5000)).contains("not valid YAML"));
}

#[test]
fn an_error_shows_its_line() {
    let text = "version: 1\ninput:\n  root: ../data\n\n# the network\nextract:\n  features: avg\n  modle: resnet50\n";
    assert_eq!(
        error_of(text, &[]),
        "pipelines/fruits.yaml:8:3: unknown key `modle` in `extract`; did you mean `model`?
  |
8 |   modle: resnet50
  |   ^^^^^"
    );
    let text = "version: 1\r\ninput: {root: ä, label: földer}\r\n";
    assert_eq!(
        error_of(text, &[]),
        "pipelines/fruits.yaml:2:25: `input.label`: expected `folder`, `parent`, `none` or `{pattern: …}`, found `földer`; did you mean `folder`?
  |
2 | input: {root: ä, label: földer}
  |                         ^^^^^^"
    );
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.yaml");
    let error = load(&missing, &[]).unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }));
    assert!(error.to_string().starts_with(&format!("{}: cannot read the pipeline: ", missing.display())), "{error}");
    assert!(matches!(load(dir.path(), &[]).unwrap_err(), ConfigError::Read { .. }));
    let latin = dir.path().join("latin.yaml");
    std::fs::write(&latin, b"version: 1\nname: f\xfcr\n").unwrap();
    let error = load(&latin, &[]).unwrap_err();
    assert_eq!(error.to_string(), format!("{}:2: not UTF-8 text; save the pipeline as UTF-8", latin.display()));
}

#[test]
fn a_replayed_value_points_at_the_text_to_change() {
    let text = "version: 1\nx-base: &base\n  seed: -1\ninput: {root: d}\nextract:\n  <<: *base\n  model: vgg16\n";
    assert_eq!(line_of(text), "3:9: `extract.seed`: expected a whole number, 0 or more, found `-1`");
    let text = "version: 1\nname: &n fruits\ninput: {root: d}\nextract:\n  seed: *n\n";
    assert_eq!(line_of(text), "5:9: `extract.seed`: expected a whole number, 0 or more, found `fruits`");
}

#[test]
fn later_checks_point_into_the_file() {
    let text = "version: 1\ninput: {root: d}\nextract:\n  model: resnet5\n";
    let pipeline = parse(text, Path::new(FILE), &["report.samples=3".to_owned()]).unwrap();
    assert_eq!(
        pipeline.error_at("extract.model", "no such model").to_string(),
        "pipelines/fruits.yaml:4:10: no such model\n  |\n4 |   model: resnet5\n  |          ^^^^^^^"
    );
    // the key is not written, so the error is at the section around it
    assert_eq!(
        pipeline.error_at("extract.layer", "no").to_string(),
        "pipelines/fruits.yaml:3:1: no\n  |\n3 | extract:\n  | ^^^^^^^"
    );
    assert_eq!(pipeline.error_at("report.samples", "no").to_string(), "--set report.samples=3: no");
    assert_eq!(pipeline.error_at("runtime.device", "no").to_string(), "pipelines/fruits.yaml: no");
}
