//! `reduce`: columns scaled and projected on fewer, fitted on the train split, applied to every row.

mod stored;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::{self, Reduce, Scale};
use crate::io::features::Key;
use crate::io::table::Table;
use crate::io::{IoError, features};
use crate::learn::pca::{
    self, Components, CovarianceAccumulator, Pca, PcaError, PcaValidParams, Route, Subspace, TruncatedSvd,
};
use crate::learn::reduction::{Projection, Reduction, ReductionError};
use crate::learn::scale::{Normalizer, ScaleError, Scaler, StandardScaler};
use crate::learn::variance::{ColumnStats, VarianceAccumulator};
use crate::plan::Plan;
use crate::progress::{Interrupted, Ui};
use crate::stages::StageId;
use crate::stages::rows::Shards;
use crate::stages::scan::Split;
use crate::store::OutputFile;
use crate::table::{Dtype, FeatureMatrix};

pub use stored::open;

/// What `reduce` commits; the numbers stand in `classifier/<kind>.safetensors`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reduced {
    #[serde(default)]
    pub kind: Kind,
    #[serde(default)]
    pub scale: Scale,
    /// Columns that come out.
    pub components: usize,
    /// Of the columns that came in.
    pub columns: usize,
    /// Share of the train split's variance that the components explain; 1 without a projection.
    pub explained: f64,
    /// The same for each component; none without a projection.
    pub ratio: Vec<f64>,
}

impl Reduced {
    /// Share of the variance of each component and of all before it.
    pub fn cumulative(&self) -> Vec<f64> {
        let sums = self.ratio.iter().scan(0.0, |sum, share| {
            *sum += share;
            Some(*sum)
        });
        sums.collect()
    }
}

/// What makes the new columns of the old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    #[default]
    Pca,
    Svd,
    /// A scale alone.
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

    /// The word in names of files.
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
    #[error("reduce: {0}")]
    Learn(#[from] PcaError),
    #[error("reduce: {0}")]
    Scale(#[from] ScaleError),
    #[error("reduce: {0}")]
    Reduction(#[from] ReductionError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(
        "reduce: the classifier's card names `{file}`, which this version of featurize does not read; use the one that made it"
    )]
    Unknown { file: String },
}

/// What the stage reads.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub shards: &'a Shards,
    pub train_rows: usize,
    /// The columns that `select` kept.
    pub kept: Option<&'a [usize]>,
    pub classes: &'a [String],
}

/// Fits on the train rows, writes what was fitted and `reduced.parquet`.
pub fn run(plan: &Plan, settings: &Reduce, input: Input, ui: &Ui) -> Result<(Reduced, Vec<OutputFile>), ReduceError> {
    let line = ui.stage(StageId::Reduce, None, "rows");
    let reduction = Fitting { plan, input, ui }.reduction(settings)?;
    let stored = stored::save(&plan.dir, &reduction)?;
    let (mut keys, mut all): (Vec<Key>, _) = (Vec::new(), FeatureMatrix::with_cols(reduction.outputs()));
    input.shards.for_each::<ReduceError>(input.kept, ui, |some, rows| {
        keys.extend_from_slice(some);
        all.append(&reduction.transform(rows)?);
        Ok(())
    })?;
    let path = plan.dir.reduced();
    write(plan, &path, &keys, &all, &names(plan, &reduction, input.kept), input.classes)?;
    let ratio = reduction.projection.as_ref().map_or(Vec::new(), |projection| projection.ratio().to_vec());
    let reduced = Reduced {
        kind: Kind::of(&reduction),
        scale: settings.scale,
        components: reduction.outputs(),
        columns: reduction.columns,
        explained: if reduction.projection.is_some() { ratio.iter().sum() } else { 1.0 },
        ratio,
    };
    line.finish(&reduced.describe());
    Ok((reduced, vec![OutputFile::of(&plan.dir, &stored)?, OutputFile::of(&plan.dir, &path)?]))
}

impl Reduced {
    /// One line for the summary.
    pub fn describe(&self) -> String {
        let scaled = match self.scale {
            Scale::None => "",
            Scale::Standard => "columns scaled to variance 1",
            Scale::L2 => "rows scaled to length 1",
        };
        if self.kind == Kind::Scale {
            return format!("{}, {scaled}", self.components);
        }
        let percent = 100.0 * self.explained;
        let after = if scaled.is_empty() { String::new() } else { format!(" ({scaled} before)") };
        format!("{}, explaining {percent:.1} % of the variance{after}", self.components)
    }
}

/// The train rows, read as often as something is fitted on them.
struct Fitting<'a> {
    plan: &'a Plan,
    input: Input<'a>,
    ui: &'a Ui,
}

impl Fitting<'_> {
    fn reduction(&self, settings: &Reduce) -> Result<Reduction, ReduceError> {
        let columns = self.columns();
        let scaler = match settings.scale {
            Scale::None => None,
            Scale::Standard => Some(Scaler::Standard(StandardScaler::of(&self.statistics(None)?)?)),
            Scale::L2 => Some(Scaler::L2(Normalizer)),
        };
        let projection = match (&settings.pca, &settings.svd) {
            (Some(pca), _) => Some(Projection::Pca(self.pca(pca, scaler.as_ref())?)),
            (None, Some(svd)) => Some(Projection::Svd(self.svd(svd, scaler.as_ref())?)),
            (None, None) => None,
        };
        Ok(Reduction { columns, scaler, projection })
    }

    fn columns(&self) -> usize {
        self.input.kept.map_or(self.plan.width(), <[usize]>::len)
    }

    /// Hands over the train rows, scaled, block by block.
    fn rows(
        &self,
        scaler: Option<&Scaler>,
        mut take: impl FnMut(&FeatureMatrix) -> Result<(), ReduceError>,
    ) -> Result<(), ReduceError> {
        self.input.shards.for_each_train::<ReduceError>(self.input.kept, self.ui, |rows| match scaler {
            None => take(rows),
            Some(scaler) => take(&scaler.transform(rows)?),
        })
    }

    fn statistics(&self, scaler: Option<&Scaler>) -> Result<ColumnStats, ReduceError> {
        let mut statistics = VarianceAccumulator::new(self.columns());
        self.rows(scaler, |rows| {
            statistics.update(rows.as_slice());
            Ok(())
        })?;
        Ok(statistics.finish())
    }

    fn randomised(&self, params: &PcaValidParams, scaler: Option<&Scaler>) -> Result<Pca, ReduceError> {
        let mut subspace = Subspace::new(&self.statistics(scaler)?, params)?;
        loop {
            self.rows(scaler, |rows| Ok(subspace.update(rows.as_slice())?))?;
            if subspace.turn()? {
                break;
            }
        }
        let (passes, change) = subspace.accuracy();
        self.ui.note(&format!(
            "reduce: the table is too large for an exact PCA; {passes} passes of a randomised one, the variances changed by {change:.0e} \
             in the last"
        ));
        Ok(subspace.finish(params))
    }

    fn pca(&self, settings: &config::Pca, scaler: Option<&Scaler>) -> Result<Pca, ReduceError> {
        let components = match settings.components {
            config::Components::Count(n) => Components::Count(n),
            config::Components::Fraction(f) => Components::Fraction(f),
            config::Components::Mle => Components::Mle,
        };
        let params = pca::valid_params(components, settings.whiten)?;
        params.suits(self.input.train_rows as u64, self.columns())?;
        if let Components::Count(n) = components {
            self.warn_of_too_many(n);
        }
        match pca::route(self.input.train_rows, self.columns()) {
            Route::Covariance => Ok(self.covariance(scaler)?.finish(&params)?),
            Route::Gram => Ok(pca::fit_rows(&self.table(scaler)?, &params)?),
            Route::Randomised => self.randomised(&params, scaler),
        }
    }

    fn svd(&self, settings: &config::Svd, scaler: Option<&Scaler>) -> Result<TruncatedSvd, ReduceError> {
        let params = pca::valid_svd_params(settings.components)?;
        self.warn_of_too_many(settings.components);
        match pca::route(self.input.train_rows, self.columns()) {
            Route::Covariance | Route::Randomised => Ok(self.covariance(scaler)?.finish_svd(&params)?),
            Route::Gram => Ok(pca::fit_svd(&self.table(scaler)?, &params)?),
        }
    }

    /// A table has no more directions than it has rows or columns.
    fn warn_of_too_many(&self, asked: usize) {
        let (rows, columns) = (self.input.train_rows, self.columns());
        let most = rows.min(columns);
        if asked > most {
            self.ui.warn(&format!(
                "reduce: {asked} components are asked for, and {rows} train pictures of {columns} columns have at most {most}: all \
                 {most} are kept"
            ));
        }
    }

    fn covariance(&self, scaler: Option<&Scaler>) -> Result<CovarianceAccumulator, ReduceError> {
        let mut covariance = CovarianceAccumulator::new(self.columns())?;
        self.rows(scaler, |rows| Ok(covariance.update(rows.as_slice())?))?;
        Ok(covariance)
    }

    fn table(&self, scaler: Option<&Scaler>) -> Result<FeatureMatrix, ReduceError> {
        let gigabytes = self.input.train_rows as f64 * self.columns() as f64 * 4e-9;
        if gigabytes > 2.0 {
            self.ui.warn(&format!(
                "reduce: the train table is held in memory, {gigabytes:.1} GB; where that is too much, keep fewer columns with `select.top_k`"
            ));
        }
        let mut all = FeatureMatrix::with_cols(self.columns());
        self.rows(scaler, |rows| {
            all.append(rows);
            Ok(())
        })?;
        Ok(all)
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

fn write(
    plan: &Plan,
    path: &std::path::Path,
    keys: &[Key],
    matrix: &FeatureMatrix,
    columns: &[String],
    classes: &[String],
) -> Result<(), IoError> {
    let [name, label, split] = features::KEYS;
    let keys = Table::new(keys.len())
        .text(name, keys.iter().map(|key| Some(key.path.as_str())))
        .category(label, classes, keys.iter().map(|key| key.label.as_deref()))
        .category(split, &Split::WORDS.map(String::from), keys.iter().map(|key| key.split.as_deref()));
    let rows: Vec<&[f32]> = matrix.iter_rows().collect();
    features::write(path, keys, features::Layout::Wide(columns), Dtype::F32, &rows, &plan.metadata())
}
