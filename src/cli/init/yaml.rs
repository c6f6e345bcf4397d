//! The text of the pipeline that `init` writes: the most important keys, with comments.

use std::path::Path;

use super::folder::{Found, LabelRule, SplitRule};
use crate::terminal::{printable, printable_path};

/// The number of components if there are enough train pictures.
const COMPONENTS: usize = 64;

/// The YAML for `found`. `from` returns a path as it must be written in the file.
pub fn text(found: &Found, name: &str, from: &dyn Fn(&Path) -> String, out: &Path) -> String {
    let mut lines = vec![
        "# yaml-language-server: $schema=featurize.schema.json".to_string(),
        "# (`featurize schema > featurize.schema.json` beside this file, and an editor completes and explains the keys)".to_string(),
        "#".to_string(),
        format!("# {}", printable(&found.describe())),
    ];
    lines.extend(found.remarks.iter().map(|remark| format!("# {}", printable(remark))));
    lines.extend([
        "#".to_string(),
        format!("#   featurize run {}", if out == Path::new("-") { "FILE".into() } else { printable_path(out) }),
        "#".to_string(),
        "# All keys and what they mean: docs/pipelines.md, or `featurize schema`.".to_string(),
        "version: 1".to_string(),
        format!("name: {}", quoted(name)),
        "input:".to_string(),
        format!("  root: {}", quoted(&from(&found.root))),
    ]);
    lines.extend(split(found, from));
    lines.extend(label(found));
    if found.chosen {
        let classes: Vec<String> = found.classes.keys().map(|class| quoted(class)).collect();
        lines.push(format!("  classes: [{}]", classes.join(", ")));
    }
    lines.extend(
        [
            "extract:",
            "  model: efficientnet_lite0     # `featurize models list` names the others",
            "  weights: bundled              # or keras | torchvision | timm, or a file",
            "  features: avg                 # avg | max | flatten | map",
            "select:",
            "  variance_threshold: 0.0       # drops the columns that are constant",
        ]
        .map(String::from),
    );
    if let Some(components) = components(found.train) {
        lines.push("reduce:".into());
        lines.push(format!("  pca: {{components: {components}}}      # a number, or a share of the variance: 0.95"));
    }
    lines.extend(classifier(found));
    lines.push("report: {}".into());
    lines.join("\n") + "\n"
}

fn split(found: &Found, from: &dyn Fn(&Path) -> String) -> Option<String> {
    match &found.split {
        SplitRule::Globs { train, test } => {
            Some(format!("  split: {{train: {}, test: {}}}", quoted(train), quoted(test)))
        }
        SplitRule::Lot => {
            Some("  split: {fraction: 0.25, seed: 0}    # a quarter of each class is the test, by lot".to_string())
        }
        SplitRule::Table { csv, columns, split } => {
            let named: String = columns.iter().map(|(key, column)| format!(", {key}: {}", quoted(column))).collect();
            let lot = if *split { "" } else { ", fraction: 0.25, seed: 0" };
            Some(format!(
                "  split: {{csv: {}{named}{lot}}}    # the table names pictures and classes",
                quoted(&from(csv))
            ))
        }
        SplitRule::None => None,
    }
}

fn label(found: &Found) -> Option<String> {
    let (value, meaning) = match (&found.label, &found.split) {
        (LabelRule::Column, _) | (_, SplitRule::Table { .. }) => return None,
        (LabelRule::Pattern(pattern), _) => {
            return Some(format!("  label: {{pattern: {}}}    # the class is the first group", quoted(pattern)));
        }
        (LabelRule::Folder, SplitRule::Globs { .. }) => {
            ("folder", "folder: the first folder that the globs leave open; parent: the innermost; none")
        }
        (LabelRule::Folder, _) => ("folder", "folder: the first folder below root; parent: the innermost; none"),
        (LabelRule::None, _) => ("none", "put each class into a folder of its own to train a classifier"),
    };
    Some(format!("  label: {value:<22} # {meaning}"))
}

/// A number of components that suits the size of the train split; none where it is too small for a reduction.
fn components(train: usize) -> Option<usize> {
    (train >= 8).then(|| COMPONENTS.min(train / 2))
}

fn classifier(found: &Found) -> Vec<String> {
    let mlp = "train:\n  mlp: {hidden: [100, 10], seed: 0}    # names and meanings of scikit-learn's MLPClassifier";
    if found.can_train() {
        vec![mlp.into()]
    } else {
        vec!["# train: {mlp: {}}             # needs two classes or more".into()]
    }
}

/// The text as a YAML scalar, quoted where necessary.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
