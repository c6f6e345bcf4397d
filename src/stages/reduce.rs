//! `reduce`: scales the columns and projects them on fewer, fitted on the train split and applied to every row.

mod stored;
mod table;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::{Components, Reduce, Scale};
use crate::io::IoError;
use crate::learn::pca::PcaError;
use crate::learn::reduction::{Projection, Reduction, ReductionError};
use crate::learn::scale::ScaleError;
use crate::learn::variance::SelectError as StatisticsError;
use crate::memory::NoRoom;
use crate::plan::Plan;
use crate::progress::{Interrupted, Ui, plural};
use crate::stages::StageId;
use crate::stages::fitting::Fitting;
use crate::stages::rows::{Shards, TrainRows};
use crate::store::OutputFile;

pub use stored::open;

/// The result that `reduce` commits; the fitted numbers are in `classifier/<kind>.safetensors`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reduced {
    #[serde(default)]
    pub kind: Kind,
    #[serde(default)]
    pub scale: Scale,
    /// The number of new columns.
    pub components: usize,
    /// The number of columns that were reduced.
    pub columns: usize,
    /// Share of the train split's variance that the components explain; 1 without a projection.
    pub explained: f64,
    /// Share of the train split's variance that each component explains; none without a projection.
    pub ratio: Vec<f64>,
}

impl Reduced {
    /// The explained share of the variance, summed over each component and those before it.
    pub fn cumulative(&self) -> Vec<f64> {
        let sums = self.ratio.iter().scan(0.0, |sum, share| {
            *sum += share;
            Some(*sum)
        });
        sums.collect()
    }
}

/// The kind of transformation that makes the new columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    #[default]
    Pca,
    Svd,
    /// Scaling without a projection.
    Scale,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Pca, Self::Svd, Self::Scale];

    fn of(reduction: &Reduction) -> Self {
        match reduction.projection {
            Some(Projection::Pca(_)) => Self::Pca,
            Some(Projection::Svd(_)) => Self::Svd,
            None => Self::Scale,
        }
    }

    /// The word in file names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pca => "pca",
            Self::Svd => "svd",
            Self::Scale => "scale",
        }
    }
}

/// The table cannot be reduced.
#[derive(Debug, Error)]
pub enum ReduceError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error("reduce: {0}")]
    Learn(#[from] PcaError),
    #[error("reduce: {0}")]
    Statistics(#[from] StatisticsError),
    #[error("reduce: {0}")]
    Scale(#[from] ScaleError),
    #[error("reduce: {0}")]
    Reduction(#[from] ReductionError),
    #[error("interrupted")]
    Interrupted(#[from] Interrupted),
    #[error(
        "reduce: the classifier's card names `{file}`, which this version of featurize does not read; use the one \
         that made it"
    )]
    Unknown { file: String },
}

/// The inputs of the stage.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub shards: &'a Shards,
    pub train_rows: usize,
    /// The columns that `select` kept.
    pub kept: Option<&'a [usize]>,
    pub classes: &'a [String],
}

/// Returns an error where `rows` train pictures of `columns` columns cannot be reduced. If `selected`, `select` may
/// still drop some of these columns.
pub fn check_rows(settings: &Reduce, rows: usize, columns: usize, selected: bool) -> Result<(), ReduceError> {
    match &settings.pca {
        // `select` may leave no more columns than there are rows
        Some(pca) if selected && pca.components == Components::Mle && rows > 1 => Ok(()),
        Some(pca) => Ok(pca.suits(rows as u64, columns)?),
        None => Ok(()),
    }
}

/// Fits on the train rows, writes the fitted reduction and `reduced.parquet`.
pub fn run(plan: &Plan, settings: &Reduce, input: Input, ui: &Ui) -> Result<(Reduced, Vec<OutputFile>), ReduceError> {
    let line = ui.stage(StageId::Reduce, None, "rows");
    let rows = TrainRows::all(input.shards, input.train_rows);
    let reduction = Fitting::of_all(rows, plan.width(), ui).reduction(settings, input.kept)?;
    let stored = stored::save(&plan.dir, &reduction)?;
    let path = plan.dir.reduced();
    let digest = table::write(&path, &input, &reduction, &names(plan, &reduction, input.kept), &plan.metadata(), ui)?;
    let ratio = reduction.projection.as_ref().map_or(Vec::new(), |projection| projection.ratio().to_vec());
    let reduced = Reduced {
        kind: Kind::of(&reduction),
        scale: settings.scale,
        components: reduction.outputs(),
        columns: reduction.columns,
        explained: if reduction.projection.is_some() { ratio.iter().sum() } else { 1.0 },
        ratio,
    };
    let unit = if reduced.kind == Kind::Scale { "column" } else { "component" };
    line.finish(&format!("{}, {}", plural(reduced.components, unit), reduced.about()));
    Ok((reduced, vec![stored, OutputFile::hashed(&plan.dir, &path, digest)?]))
}

impl Reduced {
    /// One line for the summary.
    pub fn describe(&self) -> String {
        format!("{}, {}", self.components, self.about())
    }

    /// Says how the new columns were made.
    fn about(&self) -> String {
        let scaled = match self.scale {
            Scale::None => "",
            Scale::Standard => "columns scaled to variance 1",
            Scale::L2 => "rows scaled to length 1",
        };
        if self.kind == Kind::Scale {
            return scaled.to_string();
        }
        let percent = 100.0 * self.explained;
        let after = if scaled.is_empty() { String::new() } else { format!(" ({scaled} before)") };
        format!("explaining {percent:.1} % of the variance{after}")
    }
}

/// `pc_000` … for principal components, `svd_000` … for singular vectors; a column that is only scaled keeps its name.
fn names(plan: &Plan, reduction: &Reduction, kept: Option<&[usize]>) -> Vec<String> {
    let prefix = match reduction.projection {
        Some(Projection::Pca(_)) => "pc",
        Some(Projection::Svd(_)) => "svd",
        None => {
            let all = plan.columns();
            return kept.map_or_else(|| all.clone(), |kept| kept.iter().map(|&j| all[j].clone()).collect());
        }
    };
    let digits = reduction.outputs().saturating_sub(1).to_string().len().max(3);
    (0..reduction.outputs()).map(|i| format!("{prefix}_{i:0digits$}")).collect()
}
