//! The pipeline that `init` writes: the keys that matter, with what they mean.

use std::path::Path;

use super::folder::{Found, Shape};
use crate::terminal::{printable, printable_path};

/// Components of a table that is large enough.
const COMPONENTS: usize = 64;

/// The YAML for `found`; `from` names a path as the file `out` has to.
pub fn text(found: &Found, name: &str, from: &dyn Fn(&Path) -> String, out: &Path) -> String {
    let mut lines = vec![
        format!("# {}", printable(&found.describe())),
        "#".to_string(),
        format!("#   featurize run {}", printable_path(out)),
        "#".to_string(),
        "# All keys and what they mean: the section \"The YAML\" of the README, or `featurize schema`.".to_string(),
        "version: 1".to_string(),
        format!("name: {}", quoted(name)),
        "input:".to_string(),
        format!("  root: {}", quoted(&from(&found.root))),
    ];
    lines.extend(split(found, from));
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

fn split(found: &Found, from: &dyn Fn(&Path) -> String) -> Vec<String> {
    const LOT: &str = "  split: {fraction: 0.25, seed: 0}    # a quarter of each class is the test, by lot";
    match &found.shape {
        Shape::Splits { train, test, others } => {
            let rest =
                if others.is_empty() { String::new() } else { format!("    # not {}", printable(&others.join(", "))) };
            let globs = format!("  split: {{train: {}, test: {}}}{rest}", quoted(train), quoted(test));
            vec![globs, label(found, "the first folder that the globs leave open")]
        }
        Shape::Classes => vec![LOT.into(), label(found, "the first folder below root")],
        Shape::Table { csv, label, split } => {
            let lot = if *split { "" } else { ", fraction: 0.25, seed: 0" };
            let told = if *label { "path, label" } else { "path" };
            vec![format!("  split: {{csv: {}{lot}}}    # by its columns {told}", quoted(&from(csv)))]
        }
        Shape::Flat => vec![
            "  label: none                   # put each class into a folder of its own to train a classifier".into(),
        ],
    }
}

fn label(found: &Found, meaning: &str) -> String {
    let kind = if found.classes.is_empty() { "none" } else { "folder" };
    format!("  label: {kind:<22} # folder: {meaning}; parent: the innermost; none")
}

/// So many that the train split can bear them; none where there is too little to reduce.
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

/// A text that YAML reads as it is, whatever is in it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
