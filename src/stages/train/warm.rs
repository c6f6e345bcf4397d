//! `train.mlp.warm_start`: starts from the layers of an earlier run's perceptron, if its columns and classes mean the
//! same as those of this run.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::{Saved, TrainError, open, saved};
use crate::config::{self, ConfigError};
use crate::io::IoError;
use crate::io::columns::Columns;
use crate::io::tensors::Tensors;
use crate::learn::classifier::Classifier;
use crate::learn::mlp::Dense;
use crate::plan::Plan;
use crate::store::RunDir;
use crate::terminal::printable;

/// Entries of the card that must be the same for a column to mean the same.
const SAME: [&str; 7] = ["model", "source", "weights_sha256", "layer", "features", "shape", "recipe"];

/// Returns the settings for the fingerprint; a path to an earlier run is replaced by a hash of its classifier.
pub fn fingerprinted(pipeline: &config::Pipeline) -> Result<Value, Box<ConfigError>> {
    let mut value = json!(pipeline.train);
    for (key, _) in pipeline.train.iter().flat_map(config::Train::keyed) {
        // the result does not depend on where the rows are held
        if let Some(settings) = value.pointer_mut(&pointer(&key)).and_then(Value::as_object_mut) {
            settings.remove("in_memory");
        }
    }
    for (key, run) in asked(pipeline) {
        let dir = RunDir::new(run);
        let mut hash = blake3::Hasher::new();
        for path in [dir.card(), dir.fitted(saved::KINDS[0])] {
            let bytes = std::fs::read(&path).map_err(|error| {
                let key = pipeline.written(&key);
                Box::new(pipeline.error_at(&key, format!("`{key}`: cannot read {}: {error}", path.display())))
            })?;
            hash.update(&bytes);
        }
        if let Some(place) = value.pointer_mut(&pointer(&key)) {
            *place = json!(hash.finalize().to_hex().as_str());
        }
    }
    if pipeline.train.as_ref().is_some_and(|train| train.folds().is_some()) {
        // versions that fitted `select` and `reduce` once for all folds had other scores
        value["fitted_without_fold"] = json!(true);
    }
    if let Some(train) = pipeline.train.as_ref().filter(|train| train.auto.is_some()) {
        value["grid"] = json!(train.grid);
    }
    Ok(value)
}

/// The JSON pointer in `train` for a key of the YAML.
fn pointer(key: &str) -> String {
    key.trim_start_matches("train").replace(['.', '['], "/").replace(']', "")
}

/// The runs to start from, each with its YAML key.
fn asked(pipeline: &config::Pipeline) -> Vec<(String, &Path)> {
    let all = pipeline.train.iter().flat_map(config::Train::keyed);
    let own = |(key, classifier)| match classifier {
        config::Classifier::Mlp(mlp) => Some((format!("{key}.warm_start"), mlp.warm_start.as_deref()?)),
        _ => None,
    };
    all.filter_map(own).collect()
}

/// Checks whether the earlier run is suitable, as far as that is known before anything is computed; `classes` are those
/// of the whole listing.
pub fn check(plan: &Plan, classes: &[String]) -> Result<(), Box<ConfigError>> {
    let pipeline = &plan.pipeline;
    for (key, run) in asked(pipeline) {
        let key = pipeline.written(&key);
        let wrong = |message: String| Box::new(pipeline.error_at(&key, format!("`{key}`: {message}")));
        let same_folder =
            run.canonicalize().is_ok_and(|run| plan.dir.root().canonicalize().is_ok_and(|own| own == run));
        if same_folder {
            return Err(wrong("a run cannot start from itself; write another `output.dir`".to_string()));
        }
        let card = card(run).map_err(|error| wrong(format!("{error}; give the folder of a run with a classifier")))?;
        if card["kind"].as_str().is_some_and(|kind| kind != saved::KINDS[0]) {
            return Err(wrong(format!(
                "the classifier of {} is {}, and an mlp is to start from it",
                run.display(),
                card["kind"]
            )));
        }
        if let Some(differs) = other_features(plan, &card) {
            return Err(wrong(format!("{} was made with {differs}", run.display())));
        }
        let theirs: Vec<&str> = card["classes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if let Some(class) = theirs.iter().find(|class| !classes.iter().any(|own| own == *class)) {
            let [theirs, ours] = [theirs.join(", "), classes.join(", ")].map(|names| printable(&names).into_owned());
            let run = run.display();
            return Err(wrong(format!("{run} knows the classes {theirs}, of which `{class}` is not among {ours}")));
        }
    }
    Ok(())
}

/// Returns the layers that the settings at `key` start from. If columns, components, shape or classes differ, it is an
/// error that names both values.
pub fn start(
    plan: &Plan,
    (key, settings): (&str, &config::MlpParams),
    kept: Option<&[usize]>,
    inputs: usize,
    classes: &[String],
) -> Result<Option<Vec<Dense>>, TrainError> {
    let Some(run) = &settings.warm_start else { return Ok(None) };
    let dir = RunDir::new(run);
    let wrong = |what: String| Err(TrainError::Start { key: format!("{key}.warm_start"), run: run.clone(), what });
    let card = card(run)?;
    if let Some(differs) = other_features(plan, &card).or(other_columns(plan, &dir, &card, kept)?) {
        return wrong(format!("it was made with {differs}"));
    }
    let Saved { classifier: Classifier::Layers(mlp), classes: theirs, .. } = open(&dir)? else {
        return wrong("its classifier has no layers".to_string());
    };
    if theirs != classes {
        return wrong(format!(
            "it knows the classes {}, this train split has {}",
            printable(&theirs.join(", ")),
            printable(&classes.join(", "))
        ));
    }
    let shape = |layers: &[Dense]| layers.iter().map(|layer| layer.inputs).collect::<Vec<usize>>();
    let (found, expected) = (shape(&mlp.layers), [&[inputs], settings.hidden.as_slice()].concat());
    if found != expected {
        return wrong(format!(
            "it has {} columns and hidden layers of {:?}, this run {inputs} and {:?}",
            found[0],
            &found[1..],
            settings.hidden
        ));
    }
    let asked = settings.activation;
    if mlp.activation != asked {
        return wrong(format!("its activation is {}, this run's {}", mlp.activation.name(), asked.name()));
    }
    Ok(Some(mlp.layers))
}

fn card(run: &Path) -> Result<Value, IoError> {
    saved::checked(&RunDir::new(run))
}

/// Returns the first entry in which the card differs, with both values.
fn other_features(plan: &Plan, card: &Value) -> Option<String> {
    let own = saved::origin(plan);
    let key = SAME.into_iter().find(|key| card[key] != own[key])?;
    Some(format!("{key} {}, this run with {}", card[key], own[key]))
}

/// Returns the first difference in the columns that `select` kept and in the components of `reduce`. The scale may
/// differ, since it depends on the pictures; components may not.
fn other_columns(
    plan: &Plan,
    dir: &RunDir,
    card: &Value,
    kept: Option<&[usize]>,
) -> Result<Option<String>, TrainError> {
    let theirs = match &card["select"] {
        Value::Null => None,
        _ => Some(Columns::read(&dir.columns(), &["kept"])?.flags("kept")?),
    };
    let width = theirs.as_ref().map_or(plan.width(), Vec::len);
    let theirs: BTreeSet<usize> = (0..width).filter(|&i| theirs.as_ref().is_none_or(|flags| flags[i])).collect();
    let ours: BTreeSet<usize> = kept.map_or_else(|| (0..plan.width()).collect(), |kept| kept.iter().copied().collect());
    if let Some(&first) = theirs.symmetric_difference(&ours).next() {
        let name = plan.columns().get(first).cloned().unwrap_or_default();
        let (theirs, ours) = (theirs.len(), ours.len());
        return Ok(Some(format!(
            "{theirs} columns kept, this run with {ours}; the first that only one has is `{name}`"
        )));
    }
    let reduce = plan.pipeline.reduce.as_ref();
    let (theirs, ours) = (&card["reduce"], json!(reduce.map(|reduce| format!("{}.safetensors", reduce.word()))));
    if *theirs != ours {
        return Ok(Some(format!("the reduction {theirs}, this run with {ours}")));
    }
    let Some(word) = reduce.map(config::Reduce::word).filter(|word| *word != "scale") else { return Ok(None) };
    let components = |dir: &RunDir| Tensors::read(&dir.fitted(word))?.f32s("components");
    let other = components(dir)? != components(&plan.dir)?;
    Ok(other.then(|| {
        format!(
            "other components in {word}.safetensors than this run: `reduce` has been fitted on other pictures or \
             settings, so that its columns mean something else; start from a run without `{word}`"
        )
    }))
}
