//! Reads `run.json` and `metrics.json` of a finished run for `show`, `runs` and `diff`. Keys that are not in the files
//! of another version count as absent.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use serde_json::Value;

use super::{Record, RunDir};
use crate::io::{IoError, sealed};
use crate::onnx::is_onnx;
use crate::stage::StageId;

/// A finished run.
#[derive(Clone, Debug)]
pub struct Summary {
    pub dir: RunDir,
    /// The content of `run.json`.
    pub run: Value,
    /// The content of `metrics.json`; null where the run has no metrics.
    pub metrics: Value,
    /// The time when `run.json` was written.
    pub written: Option<SystemTime>,
    /// The stages without a valid record: the run was interrupted while it computed them again.
    pub unfinished: Vec<StageId>,
}

/// The scores of one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassScore {
    pub recall: f64,
    pub precision: f64,
    pub support: u64,
}

impl Summary {
    /// Reads the run in `dir`; none where it has no `run.json` that featurize wrote.
    pub fn read(dir: &RunDir) -> Result<Option<Self>, IoError> {
        let path = dir.run_json();
        let written = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.modified().ok(),
            Err(_) => return Ok(None),
        };
        let mut run = json(&path)?;
        if !run["featurize"].is_string() {
            return Ok(None);
        }
        let unfinished = apply_records(dir, &mut run);
        let metrics = dir.metrics();
        // Metrics of a run without an evaluation come from other settings.
        let scored = !run["evaluate"].is_null() && metrics.is_file();
        let metrics = if scored { json(&metrics)? } else { Value::Null };
        Ok(Some(Self { dir: dir.clone(), run, metrics, written, unfinished }))
    }

    /// The name of the run, or the name of its folder.
    pub fn name(&self) -> String {
        let folder = || self.dir.root().file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
        self.run["name"].as_str().map_or_else(folder, str::to_string)
    }

    /// The name of the network, or of its ONNX file.
    pub fn model(&self) -> &str {
        let weights = Path::new(self.run["weights"].as_str().unwrap_or_default());
        match weights.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_onnx(weights)) {
            Some(stem) => stem,
            None => self.run["config"]["extract"]["model"].as_str().unwrap_or("?"),
        }
    }

    /// Returns the number of pictures with features and the number of pictures that failed.
    pub fn pictures(&self) -> (u64, u64) {
        let count = |key: &str| self.run["extract"][key].as_u64().unwrap_or(0);
        (count("ok"), count("failed"))
    }

    /// Returns the accuracy on the test split, or on the train split where there is no test split, and the split's
    /// name.
    pub fn accuracy(&self) -> Option<(f64, &'static str)> {
        let of = |split: &'static str| Some((self.metrics[split]["accuracy"].as_f64()?, split));
        of("test").or_else(|| of("train"))
    }

    /// Returns the scores of every class on the split of [`accuracy`](Self::accuracy).
    pub fn classes(&self) -> BTreeMap<String, ClassScore> {
        let split = self.accuracy().map_or("test", |(_, split)| split);
        let names = self.metrics["classes"].as_array().into_iter().flatten();
        let scores = self.metrics[split]["per_class"].as_array().into_iter().flatten();
        let score = |value: &Value| ClassScore {
            recall: value["recall"].as_f64().unwrap_or(0.0),
            precision: value["precision"].as_f64().unwrap_or(0.0),
            support: value["support"].as_u64().unwrap_or(0),
        };
        names.zip(scores).map(|(name, value)| (name.as_str().unwrap_or("?").to_string(), score(value))).collect()
    }

    /// Returns the seconds of every stage in their order.
    pub fn seconds(&self) -> Vec<(StageId, f64)> {
        let of = |stage: StageId| Some((stage, self.run["seconds"][stage.name()].as_f64()?));
        StageId::ALL.into_iter().filter_map(of).collect()
    }

    /// Returns every setting by its dotted key.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let mut settings = flat(&self.run["config"]);
        // The path of the pipeline's file is not a setting.
        settings.remove("file");
        settings
    }

    /// Returns the files of the run with their sizes, sorted, without those of the store.
    pub fn files(&self) -> Vec<(String, u64)> {
        let mut files = Vec::new();
        for entry in walkdir::WalkDir::new(self.dir.root()).into_iter().flatten() {
            let path = entry.path().strip_prefix(self.dir.root()).unwrap_or(entry.path());
            if entry.file_type().is_file() && !path.starts_with(".store") {
                let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
                files.push((path.to_string_lossy().replace('\\', "/"), bytes));
            }
        }
        files.sort();
        files
    }
}

/// Replaces the results in `run` by those of the records, and removes the results of stages without a valid record,
/// which were being computed again when the run was killed. Returns these stages. The results of a run that was copied
/// without its records are kept.
fn apply_records(dir: &RunDir, run: &mut Value) -> Vec<StageId> {
    if !dir.store().is_dir() {
        return Vec::new();
    }
    let mut unfinished = Vec::new();
    for stage in StageId::ALL.into_iter().filter(|stage| *stage != StageId::Scan) {
        let name = stage.name();
        if !run["seconds"][name].is_number() {
            continue;
        }
        let record = Record::read(dir, stage).filter(|record| run["fingerprints"][name] == record.fingerprint);
        let result = record.as_ref().map_or(Value::Null, |record| record.result.clone());
        match stage {
            StageId::Extract | StageId::Select | StageId::Reduce | StageId::Evaluate => run[name] = result,
            StageId::Report => run["quality"] = result["quality"].clone(),
            StageId::Scan | StageId::Train | StageId::Compare | StageId::Atlas => {}
        }
        run["seconds"][name] = record.as_ref().map_or(Value::Null, |record| record.seconds.into());
        unfinished.extend(record.is_none().then_some(stage));
    }
    unfinished
}

/// Prefixes of keys in records that have the name of a variant, which is not in the YAML, and the prefixes in the YAML.
const CHOICES: [(&str, &str); 9] = [
    ("input.split.folders.", "input.split."),
    ("input.split.fraction.", "input.split."),
    ("input.split.csv.path", "input.split.csv"),
    ("input.split.csv.", "input.split."),
    ("extract.weights.published", "extract.weights"),
    ("extract.weights.remote", "extract.weights"),
    ("extract.weights.path", "extract.weights"),
    ("reduce.pca.components.count", "reduce.pca.components"),
    ("reduce.pca.components.fraction", "reduce.pca.components"),
];

/// Returns every value of a configuration as text, by the dotted key of the YAML.
pub fn flat(value: &Value) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    flatten("", value, &mut settings);
    settings.into_iter().map(|(key, value)| (yaml_key(key), value)).collect()
}

/// Returns the key of the YAML for a key of the record.
fn yaml_key(key: String) -> String {
    let choice = CHOICES.iter().find_map(|(recorded, yaml)| Some((yaml, key.strip_prefix(recorded)?)));
    choice.map_or(key.clone(), |(yaml, rest)| format!("{yaml}{rest}"))
}

fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, inner) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, inner, into);
            }
        }
        Value::String(text) => {
            into.insert(path.to_string(), text.clone());
        }
        other => {
            into.insert(path.to_string(), other.to_string());
        }
    }
}

fn json(path: &Path) -> Result<Value, IoError> {
    sealed::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn settings_have_the_keys_of_the_yaml() {
        for (yaml, keys) in [
            ("split: {fraction: 0.3, seed: 7}", &[("input.split.fraction", "0.3"), ("input.split.seed", "7")][..]),
            ("split: {train: 'a/**', test: 'b/**'}", &[("input.split.train", "a/**"), ("input.split.test", "b/**")]),
            ("split: {csv: /t.csv, fraction: 0.5}", &[("input.split.csv", "/t.csv"), ("input.split.fraction", "0.5")]),
        ] {
            for (components, text) in [("6", "6"), ("0.95", "0.95"), ("mle", "mle")] {
                let yaml = format!(
                    "version: 1\ninput: {{root: ., {yaml}}}\nextract: {{weights: keras, model: vgg16}}\n\
                     reduce: {{pca: {{components: {components}}}}}\n"
                );
                let pipeline = config::parse(&yaml, "pipeline.yaml".as_ref(), &[]).expect("sound");
                let found = flat(&serde_json::json!(pipeline));
                let more = [("reduce.pca.components", text), ("extract.weights", "keras")];
                for (key, value) in keys.iter().chain(&more) {
                    assert_eq!(found.get(*key).map(String::as_str), Some(*value), "{key} in {found:?}");
                }
            }
        }
    }
}
