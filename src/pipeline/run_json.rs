//! `run.json` is made from the plan and the records only, so that it can be written again at any time.

use serde_json::{Value, json};

use super::Keys;
use crate::plan::Plan;
use crate::stage::StageId;
use crate::store::{Record, RunDir};

/// The entries that depend on the records. The others come from the plan, of which some parts, such as the number of
/// threads, may change without any stage being computed.
const RECORDED: [&str; 7] = ["fingerprints", "seconds", "extract", "select", "reduce", "evaluate", "quality"];

/// The document about the stages that are committed with the current fingerprints.
pub fn document(plan: &Plan, keys: &Keys) -> Value {
    let current = |stage| {
        let record = Record::read(&plan.dir, stage)?;
        keys.get(stage).filter(|(key, _)| record.fingerprint == *key)?;
        Some((stage, record))
    };
    let records: Vec<(StageId, Record)> = keys.stages().filter_map(current).collect();
    let by_stage = |value: &dyn Fn(&Record) -> Value| -> Value {
        records.iter().map(|(stage, record)| (stage.name().to_string(), value(record))).collect()
    };
    let result = |stage: StageId| {
        let found = records.iter().find(|(other, _)| *other == stage);
        found.map_or(Value::Null, |(_, record)| record.result.clone())
    };
    json!({
        "featurize": env!("CARGO_PKG_VERSION"),
        "name": plan.pipeline.name,
        "config": plan.pipeline,
        "recipe": plan.backbone.recipe,
        "precision": plan.backbone.precision,
        "image": plan.backbone.decoding,
        "weights": plan.backbone.weights.describe(),
        "weights_sha256": plan.weights_id,
        "weights_key": plan.backbone.weights_key(),
        "text_tower": plan.backbone.text_tower(),
        "fingerprints": by_stage(&|record| json!(record.fingerprint)),
        "seconds": by_stage(&|record| json!(record.seconds)),
        "peak_memory_mb": records.iter().filter_map(|(_, record)| record.peak_memory_mb).max(),
        "extract": result(StageId::Extract),
        "select": result(StageId::Select),
        "reduce": result(StageId::Reduce),
        "evaluate": result(StageId::Evaluate),
        "quality": result(StageId::Report)["quality"],
    })
}

/// True if `run.json` exists and agrees with the records about every stage in `document`.
pub fn fits(dir: &RunDir, document: &Value) -> bool {
    let written = std::fs::read(dir.run_json()).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let Some(written) = written else { return false };
    // 0.3.0 wrote the time of the last scan, and fingerprints of stages that were not run
    let same = |of: &Value, stage: &str, key: &str| stage == "scan" || of[stage] == document[key][stage];
    RECORDED.into_iter().all(|key| {
        match document[key].as_object().filter(|_| key == "fingerprints" || key == "seconds") {
            Some(stages) => stages.keys().all(|stage| same(&written[key], stage, key)),
            None => written[key] == document[key],
        }
    })
}
