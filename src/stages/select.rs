//! `select`: drops the columns whose variance over the train split is not above the threshold.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::Select;
use crate::io::IoError;
use crate::io::columns::Columns;
use crate::io::table::Table;
use crate::learn::variance::{SelectError as LearnError, VarianceAccumulator, VarianceThreshold};
use crate::plan::Plan;
use crate::progress::{Interrupted, Ui};
use crate::stages::StageId;
use crate::stages::rows::Shards;
use crate::store::{OutputFile, RunDir};

/// What `select` commits; the columns themselves stand in `classifier/columns.parquet`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Selected {
    pub kept: usize,
    pub of: usize,
    pub threshold: f64,
}

/// No columns can be selected.
#[derive(Debug, Error)]
pub enum SelectError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error("select: {0}")]
    Learn(#[from] LearnError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Measures every column over the train rows of `shards` tables, and keeps those that vary.
pub fn run(plan: &Plan, settings: &Select, shards: usize, ui: &Ui) -> Result<(Selected, Vec<OutputFile>), SelectError> {
    let line = ui.stage(StageId::Select, None, "rows");
    let mut statistics = VarianceAccumulator::new(plan.width());
    Shards::of(&plan.dir, shards).for_each_train::<SelectError>(None, ui, |rows| {
        statistics.update(rows.as_slice());
        Ok(())
    })?;
    let statistics = statistics.finish();
    let kept = VarianceThreshold { threshold: settings.variance_threshold }.kept(&statistics)?;
    let mut flags = vec![false; plan.width()];
    kept.iter().for_each(|&column| flags[column] = true);
    let names = plan.columns();
    let path = plan.dir.columns();
    Table::new(names.len())
        .text("column", names.iter().map(|name| Some(name.as_str())))
        .reals("mean", statistics.mean)
        .reals("variance", statistics.variance)
        .flags("kept", flags)
        .write(&path, &plan.metadata())?;
    let selected = Selected { kept: kept.len(), of: names.len(), threshold: settings.variance_threshold };
    line.finish(&format!("{} of {} columns kept", selected.kept, selected.of));
    Ok((selected, vec![OutputFile::of(&plan.dir, &path)?]))
}

/// The columns that were kept, ascending.
pub fn kept(dir: &RunDir) -> Result<Vec<usize>, IoError> {
    let flags = Columns::read(&dir.columns(), &["kept"])?.flags("kept")?;
    Ok((0..flags.len()).filter(|&i| flags[i]).collect())
}
