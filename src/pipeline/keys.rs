//! The fingerprint of each stage: a hash of its settings and of the fingerprints of its inputs.

use serde_json::{Value, json};

use crate::error::Error;
use crate::plan::Plan;
use crate::stages::scan::Listing;
use crate::stages::{StageId, atlas, compare, train};
use crate::store::{Record, fingerprint};

/// The fingerprint of every stage, known before the stages are computed.
#[derive(Debug)]
pub struct Keys {
    keys: Vec<Key>,
}

/// The fingerprint of one stage.
#[derive(Debug)]
struct Key {
    stage: StageId,
    fingerprint: String,
    /// The hash that fingerprints of later stages cover instead of this one.
    read: String,
    settings: Value,
}

impl Keys {
    /// Computes the fingerprints for the pictures of `listing`; each covers the settings of its stage and the results
    /// that the stage reads.
    pub fn of(plan: &Plan, listing: &Listing) -> Result<Self, Error> {
        let config = &plan.pipeline;
        let scanned = listing.fingerprint();
        let scan = Key { stage: StageId::Scan, fingerprint: scanned.clone(), read: scanned, settings: Value::Null };
        let mut keys = vec![scan];
        for &stage in plan.stages.iter().filter(|&&stage| stage != StageId::Scan) {
            if matches!(stage, StageId::Train | StageId::Evaluate) && listing.classes.is_empty() {
                continue;
            }
            let settings = match stage {
                StageId::Extract => json!({"extract": plan.extract_settings(), "layout": config.output.layout,
                    "shard_rows": plan.shard_rows(), "max_bad_fraction": config.input.max_bad_fraction}),
                StageId::Select => json!(config.select),
                StageId::Reduce => json!(config.reduce),
                StageId::Train => train::fingerprinted(config)?,
                StageId::Report => {
                    json!({"report": config.report, "name": config.name, "hash": config.input.hash,
                        "version": env!("CARGO_PKG_VERSION")})
                }
                StageId::Compare => compare::settings(),
                StageId::Atlas => atlas::settings(),
                StageId::Scan | StageId::Evaluate => Value::Null,
            };
            let run = |stage: &StageId| keys.iter().find(|key| key.stage == *stage);
            let inputs = stage.inputs().iter().filter_map(|choice| choice.iter().find_map(run));
            let inputs: Vec<&str> = inputs.map(|key| key.read.as_str()).collect();
            let read = fingerprint(stage.name(), &settings, &inputs)?;
            let mut key = read.clone();
            if stage == StageId::Extract {
                // the manifest gets one more column, and the features one more file, on which no later stage depends
                for (name, _) in
                    [("hash", config.input.hash), ("npy", config.output.npy)].iter().filter(|asked| asked.1)
                {
                    key = fingerprint(name, &true, &[&key])?;
                }
            }
            keys.push(Key { stage, fingerprint: key, read, settings });
        }
        Ok(Self { keys })
    }

    /// The stages that will be run, in order.
    pub fn stages(&self) -> impl Iterator<Item = StageId> + '_ {
        self.keys.iter().map(|key| key.stage)
    }

    /// Fingerprint and settings of a stage; none if it is not asked for.
    pub fn get(&self, stage: StageId) -> Option<(&str, &Value)> {
        let found = self.keys.iter().find(|key| key.stage == stage);
        found.map(|key| (key.fingerprint.as_str(), &key.settings))
    }

    /// The committed record of a stage, if it has the current fingerprint and its files exist.
    pub fn committed(&self, plan: &Plan, stage: StageId) -> Option<Record> {
        let (key, _) = self.get(stage)?;
        Record::read(&plan.dir, stage).filter(|record| record.fingerprint == key && record.damaged(&plan.dir).is_none())
    }

    /// Returns the reason why a stage has to be computed; `above` is the first earlier stage that has to be. None if
    /// its committed result is valid.
    pub fn why(&self, plan: &Plan, stage: StageId, above: Option<StageId>) -> Option<String> {
        let above = above.filter(|&above| stage.follows(above));
        if self.committed(plan, stage).is_some() && above.is_none() {
            return None;
        }
        Some(match (Record::read(&plan.dir, stage), above) {
            (_, Some(above)) if stage != StageId::Extract => format!("to run, since {} runs", above.name()),
            (None, _) => "to run: it never finished".to_string(),
            (Some(record), _) => match (self.get(stage), record.damaged(&plan.dir)) {
                (Some((key, _)), Some(file)) if record.fingerprint == key => {
                    format!("to run: {} is gone or changed", file.file)
                }
                (Some((_, settings)), _) if record.settings != *settings => "to run: its settings changed".to_string(),
                _ => "to run: its input changed".to_string(),
            },
        })
    }
}
