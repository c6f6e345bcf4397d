//! The schema and the deserialisers agree on every key and on many values, and the shipped files are valid.

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::{Value, json};

use super::super::{keys, parse};
use super::docs::{at, inner};
use super::schema;

const SHIPPED: &str = "pipelines/featurize.schema.json";
/// Every stage, with its defaults.
const WHOLE: &str = "version: 1\ninput: {root: x}\nselect: {}\nreduce: {pca: {}}\ntrain: {mlp: {}}\nreport: {}\n";

/// A pipeline in which the key at `path` can be set: with `svd` instead of `pca` for a key of `svd`, and with the
/// classifier to which the key belongs.
fn whole(path: &str) -> String {
    match path.split('.').take(2).collect::<Vec<_>>()[..] {
        ["reduce", "svd"] => WHOLE.replace("pca", "svd"),
        ["train", kind @ ("auto" | "logistic" | "knn")] => WHOLE.replace("mlp", kind),
        _ => WHOLE.to_string(),
    }
}

fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).expect("a schema")
}

/// Every key that is not a section: its dotted path and its schema.
fn leaves(root: &Value) -> Vec<(String, Value)> {
    let mut leaves = Vec::new();
    for (path, names) in keys::sections() {
        let section = at(root, path);
        for name in names {
            let dotted = if path.is_empty() { (*name).to_string() } else { format!("{path}.{name}") };
            let key = section["properties"][name].clone();
            if inner(root, &key)["type"] != "object" {
                leaves.push((dotted, key));
            }
        }
    }
    leaves
}

#[test]
fn the_schema_has_the_keys_that_are_read_and_describes_each() {
    let root = schema();
    for (path, names) in keys::sections() {
        let section = at(&root, path);
        let known = section["properties"].as_object().unwrap_or_else(|| panic!("`{path}` is no section of the schema"));
        let mut names: Vec<&str> = names.to_vec();
        names.sort_unstable();
        assert_eq!(known.keys().map(String::as_str).collect::<Vec<_>>(), names, "{path}");
        assert_eq!(section["additionalProperties"], false, "{path}");
        for (name, key) in known {
            assert!(key["description"].as_str().is_some_and(|text| text.len() > 8), "{path}.{name}: {key}");
        }
    }
}

#[test]
fn the_shipped_schema_is_this_one() {
    let text = serde_json::to_string_pretty(&schema()).expect("JSON") + "\n";
    let file = project(SHIPPED);
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&file, &text).expect("written");
    }
    let shipped = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        shipped == text,
        "{SHIPPED} is not of this version; write it with `UPDATE_SCHEMA=1 cargo test --release --lib schema`, \
         or with `featurize schema > {SHIPPED}`"
    );
}

#[test]
fn the_shipped_pipelines_and_the_readme_are_of_the_schema() {
    let validator = validator();
    let check = |name: &str, yaml: &str| {
        let value: Value = serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{name}: {error}"));
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    };
    let mut count = 0;
    for entry in std::fs::read_dir(project("pipelines")).expect("pipelines") {
        let path = entry.expect("entry").path();
        if path.extension().is_some_and(|ending| ending == "yaml") {
            let text = std::fs::read_to_string(&path).expect("read");
            let line = "# yaml-language-server: $schema=featurize.schema.json\n";
            assert!(text.starts_with(line), "{} begins with {line}", path.display());
            check(&path.display().to_string(), &text);
            count += 1;
        }
    }
    assert!(count >= 1);
    check("docs/pipelines.md", &documented());
}

fn documented() -> String {
    let text = std::fs::read_to_string(project("docs/pipelines.md")).expect("docs/pipelines.md");
    text.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a YAML block").to_string()
}

#[test]
fn defaults_of_the_schema_are_those_of_the_reader() {
    let mut tried = 0;
    for (path, key) in leaves(&schema()) {
        let whole = whole(&path);
        let plain = parse(&whole, Path::new("a.yaml"), &[]).expect("plain");
        let Some(default) = key.get("default").filter(|default| !default.is_null()) else { continue };
        let set = format!("{path}={default}");
        let same = parse(&whole, Path::new("a.yaml"), std::slice::from_ref(&set))
            .unwrap_or_else(|error| panic!("{set}: {error}"));
        // compared as JSON, since the source texts differ by the `--set`
        assert_eq!(serde_json::to_value(&same).ok(), serde_json::to_value(&plain).ok(), "{set}");
        tried += 1;
    }
    assert!(tried >= 40, "only {tried} defaults found");
}

#[test]
fn what_the_schema_takes_is_read_and_what_it_refuses_is_refused() {
    let root = schema();
    let validator = validator();
    let values = [
        json!(-1),
        json!(0),
        json!(1),
        json!(2),
        json!(0.5),
        json!(1.5),
        json!(-0.5),
        json!(5000),
        json!(1_000_000_001),
        json!(true),
        json!("auto"),
        json!("nonsense"),
        json!("relu"),
        json!("cuda:1"),
        json!("avg"),
        json!("f32"),
        json!([]),
        json!([1]),
        json!([32, 33]),
        json!([0.5, 0.25, 0.125]),
        json!(["a", "b"]),
        json!({}),
        json!({"train": 1}),
        json!({"none": 1}),
    ];
    let (mut compared, mut apart) = (0, Vec::new());
    for (path, key) in leaves(&root) {
        let text = matches!(&key["type"], kind if *kind == "string" || *kind == json!(["string", "null"]));
        // keys of the split depend on one another, and so do fits and folds; the schema does not check the characters
        // of a name; models are checked by the plan
        let skipped = ["name", "extract.model", "train.group_by", "train.auto.fits"];
        if path.starts_with("input.split.") || skipped.contains(&path.as_str()) {
            continue;
        }
        let text_of_whole = whole(&path);
        let whole: Value = serde_saphyr::from_str(&text_of_whole).expect("YAML");
        for value in values.iter().filter(|value| !(text && (value.is_number() || value.is_boolean()))) {
            let mut tree = whole.clone();
            let pointer = format!("/{}", path.replace('.', "/"));
            let (parent, name) = pointer.rsplit_once('/').expect("a key");
            for (i, _) in pointer.match_indices('/').skip(1) {
                let (above, section) = pointer[..i].rsplit_once('/').expect("a section");
                let above = tree.pointer_mut(above).and_then(Value::as_object_mut).expect("a section");
                above.entry(section).or_insert_with(|| json!({}));
            }
            tree.pointer_mut(parent).expect("a section")[name] = value.clone();
            let read = parse(&text_of_whole, Path::new("a.yaml"), &[format!("{path}={value}")]);
            let valid = validator.is_valid(&tree);
            if read.is_ok() != valid {
                let said = read.as_ref().err().map(ToString::to_string);
                apart.push(format!("{path}={value}: the schema says {valid}, the reader says {said:?}"));
            }
            compared += 1;
        }
    }
    assert!(apart.is_empty(), "{}", apart.join("\n"));
    assert!(compared > 500, "{compared}");
}
