//! `select`: drops the columns whose variance over the train split is not above the threshold, and keeps only the best
//! of the others.

use std::path::Path;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::{Score, Select};
use crate::io::columns::Columns;
use crate::io::table::Table;
use crate::io::{Digest, IoError};
use crate::learn::anova::{self, Anova};
use crate::learn::variance::{ColumnStats, SelectError as LearnError};
use crate::plan::Plan;
use crate::progress::{Interrupted, Ui};
use crate::stages::StageId;
use crate::stages::fitting::{Choice, Fitting};
use crate::stages::rows::{Shards, TrainRows};
use crate::store::{OutputFile, RunDir};

/// The result that `select` commits; the columns themselves are in `classifier/columns.parquet`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Selected {
    pub kept: usize,
    pub of: usize,
    pub threshold: f64,
    /// Columns that were dropped because their variance is not above the threshold.
    pub below_threshold: usize,
    /// Columns that were dropped because others have a higher score.
    pub outranked: usize,
    /// The score that the columns were ranked by; none when all columns above the threshold are kept.
    pub score: Option<Score>,
}

/// No columns can be selected.
#[derive(Debug, Error)]
pub enum SelectError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error("select: {0}")]
    Learn(#[from] LearnError),
    #[error("interrupted")]
    Interrupted(#[from] Interrupted),
}

/// Returns an error where the numbers of train pictures of the classes, `counts`, are too small for the score.
pub fn check_rows(settings: &Select, counts: &[usize]) -> Result<(), SelectError> {
    let ranked = settings.top_k.is_some() && settings.score == Score::FClassif;
    if ranked {
        anova::check_rows(counts.iter().map(|&count| count as u64))?;
    }
    Ok(())
}

/// Measures every column over the train rows, whose number is given with the shards, and keeps the columns above the
/// threshold, or the best of these. `classes` are those of the whole listing.
pub fn run(
    plan: &Plan,
    settings: &Select,
    (shards, train_rows): (&Shards, usize),
    classes: &[String],
    ui: &Ui,
) -> Result<(Selected, Vec<OutputFile>), SelectError> {
    let line = ui.stage(StageId::Select, None, "rows");
    let ranking = settings.top_k.map(|_| settings.score);
    let rows = TrainRows::all(shards, train_rows);
    let Choice { statistics, anova, varying, kept } =
        Fitting::of_all(rows, plan.width(), ui).columns(settings, classes)?;
    if let Some(k) = settings.top_k.filter(|&k| k > varying.len()) {
        ui.note(&format!("select.top_k is {k}, and {} columns vary enough: all of them are kept", varying.len()));
    }
    let selected = Selected {
        kept: kept.len(),
        of: plan.width(),
        threshold: settings.variance_threshold,
        below_threshold: plan.width() - varying.len(),
        outranked: varying.len() - kept.len(),
        score: ranking,
    };
    let path = plan.dir.columns();
    let digest = write(plan, &path, statistics, ranking.map(|_| anova), &varying, &kept)?;
    line.finish(&format!("{} of {} columns kept", selected.kept, selected.of));
    Ok((selected, vec![OutputFile::hashed(&plan.dir, &path, digest)?]))
}

/// `columns.parquet`: the statistics of every column, whether it is kept, and the rule that dropped it. With `top_k`
/// there is a column `score`, and `p_value` if the score has one.
fn write(
    plan: &Plan,
    path: &Path,
    statistics: ColumnStats,
    ranking: Option<Option<Anova>>,
    varying: &[usize],
    kept: &[usize],
) -> Result<Digest, IoError> {
    let names = plan.columns();
    let flags = |columns: &[usize]| {
        let mut flags = vec![false; names.len()];
        columns.iter().for_each(|&column| flags[column] = true);
        flags
    };
    let (varying, kept) = (flags(varying), flags(kept));
    let reasons = varying.iter().zip(&kept).map(|(&varies, &kept)| match (varies, kept) {
        (_, true) => None,
        (true, false) => Some("top_k"),
        (false, false) => Some("variance_threshold"),
    });
    let mut table = Table::new(names.len())
        .text("column", names.iter().map(|name| Some(name.as_str())))
        .reals("mean", statistics.mean)
        .reals("variance", statistics.variance.clone());
    table = match ranking {
        None => table,
        Some(None) => table.reals("score", statistics.variance),
        Some(Some(anova)) => table.reals("score", anova.f).reals("p_value", anova.p),
    };
    table.flags("kept", kept.clone()).text("reason", reasons).write(path, &plan.metadata())
}

/// Reads the columns that were kept, ascending.
pub fn kept(dir: &RunDir) -> Result<Vec<usize>, IoError> {
    let flags = Columns::read(&dir.columns(), &["kept"])?.flags("kept")?;
    Ok((0..flags.len()).filter(|&i| flags[i]).collect())
}
