//! Fits the statistics of `select` and the reduction of `reduce`: on all train rows in these stages, and on the rows
//! outside a fold in cross-validation.

use crate::config::{Reduce, Scale, Score, Select};
use crate::io::features::Key;
use crate::learn::anova::{Anova, AnovaAccumulator, AnovaParams, k_best};
use crate::learn::dataset::{self, DatasetBase, Fit, FitWith, Transformer};
use crate::learn::pca::{
    self, Components, CovarianceAccumulator, CovarianceParams, Pca, PcaParams, Route, Subspace, SvdParams, TruncatedSvd,
};
use crate::learn::reduction::{Projection, Reduction};
use crate::learn::scale::{Normalizer, Scaler, StandardScaler};
use crate::learn::variance::{ColumnStats, ColumnStatsParams, VarianceAccumulator, VarianceThreshold};
use crate::memory::{self, NoRoom};
use crate::progress::{Ui, bytes};
use crate::stages::reduce::ReduceError;
use crate::stages::rows::TrainRows;
use crate::stages::select::SelectError;
use crate::table::FeatureMatrix;

/// Bytes of memory above which the user is warned of a need.
const TOLD: u64 = 2_000_000_000;

/// The rows to fit on. They are read again for everything that is fitted.
#[derive(Clone, Copy, Debug)]
pub struct Fitting<'a> {
    rows: TrainRows<'a>,
    /// Columns of the tables.
    width: usize,
    /// The columns to fit on; None means all of them.
    kept: Option<&'a [usize]>,
    ui: &'a Ui,
    /// Whether the user is warned of oddities in the data: one warning is enough.
    told: bool,
}

/// The decision of `select`.
#[derive(Debug)]
pub struct Choice {
    pub statistics: ColumnStats,
    /// F and p of every column, where columns are ranked by them.
    pub anova: Option<Anova>,
    /// The columns whose variance is above the threshold.
    pub varying: Vec<usize>,
    /// The columns of `varying` that are kept.
    pub kept: Vec<usize>,
}

impl<'a> Fitting<'a> {
    /// Fits on `rows` of tables with `width` columns.
    pub fn of_all(rows: TrainRows<'a>, width: usize, ui: &'a Ui) -> Self {
        Self { rows, width, kept: None, ui, told: true }
    }

    /// Fits on a part of the rows. Oddities are not told, since the fit on all rows tells them.
    pub fn of_part(rows: TrainRows<'a>, width: usize, ui: &'a Ui) -> Self {
        Self { told: false, ..Self::of_all(rows, width, ui) }
    }

    /// Chooses the columns to keep; F values compare the `classes`.
    pub fn columns(&self, settings: &Select, classes: &[String]) -> Result<Choice, SelectError> {
        let ranked = settings.top_k.is_some() && settings.score == Score::FClassif;
        let number = |key: &Key| classes.iter().position(|class| key.label.as_ref() == Some(class));
        let (mut statistics, mut anova) = (None, None);
        self.rows.for_each::<SelectError>(None, self.ui, |keys, rows| {
            statistics = Some(ColumnStatsParams.fit_with(statistics.take(), &DatasetBase::new(rows, ()))?);
            if ranked {
                let dataset = DatasetBase::new(rows, keys.iter().map(number).collect());
                anova = Some(AnovaParams { classes: classes.len() }.fit_with(anova.take(), &dataset)?);
            }
            Ok(())
        })?;
        let statistics = statistics.unwrap_or_else(|| VarianceAccumulator::new(self.width)).finish();
        let empty = ranked.then(|| AnovaAccumulator::new(self.width, classes.len()));
        let anova = anova.or(empty).map(AnovaAccumulator::finish).transpose()?;
        let varying = VarianceThreshold { threshold: settings.variance_threshold }.kept(&statistics)?;
        let score = anova.as_ref().map_or(&statistics.variance, |anova| &anova.f);
        let kept = settings.top_k.map_or_else(|| varying.clone(), |k| k_best(score, &varying, k));
        Ok(Choice { statistics, anova, varying, kept })
    }

    /// Fits the scaler and the decomposition on the `kept` columns.
    pub fn reduction(&self, settings: &Reduce, kept: Option<&'a [usize]>) -> Result<Reduction, ReduceError> {
        Self { kept, ..*self }.reduce(settings)
    }

    fn reduce(&self, settings: &Reduce) -> Result<Reduction, ReduceError> {
        let columns = self.cols();
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

    fn cols(&self) -> usize {
        self.kept.map_or(self.width, <[usize]>::len)
    }

    /// Calls `take` with the train rows, scaled, block by block.
    fn each(
        &self,
        scaler: Option<&Scaler>,
        mut take: impl FnMut(&FeatureMatrix) -> Result<(), ReduceError>,
    ) -> Result<(), ReduceError> {
        self.rows.for_each::<ReduceError>(self.kept, self.ui, |_, rows| match scaler {
            None => take(rows),
            Some(scaler) => take(&scaler.transform(rows)?),
        })
    }

    /// Fits the statistics that `params` describes on the scaled train rows; none where there are no rows.
    fn collect<A, E>(
        &self,
        params: &impl for<'r> FitWith<'r, &'r FeatureMatrix, (), E, ObjectIn = Option<A>, ObjectOut = A>,
        scaler: Option<&Scaler>,
    ) -> Result<Option<A>, ReduceError>
    where
        E: std::error::Error + From<dataset::Error>,
        ReduceError: From<E>,
    {
        let mut collected = None;
        self.each(scaler, |rows| {
            collected = Some(params.fit_with(collected.take(), &DatasetBase::new(rows, ()))?);
            Ok(())
        })?;
        Ok(collected)
    }

    fn statistics(&self, scaler: Option<&Scaler>) -> Result<ColumnStats, ReduceError> {
        let statistics = self.collect(&ColumnStatsParams, scaler)?;
        Ok(statistics.unwrap_or_else(|| VarianceAccumulator::new(self.cols())).finish())
    }

    fn randomised(&self, params: &PcaParams, scaler: Option<&Scaler>) -> Result<Pca, ReduceError> {
        let mut subspace = Subspace::new(&self.statistics(scaler)?, params)?;
        loop {
            self.each(scaler, |rows| Ok(subspace.update(rows.as_slice())?))?;
            if subspace.end_pass()? {
                break;
            }
        }
        let (passes, change) = subspace.accuracy();
        if self.told {
            self.ui.note(&format!(
                "reduce: the table is too large for an exact PCA; {passes} passes of a randomised one, the variances \
                 changed by {change:.0e} in the last"
            ));
        }
        Ok(subspace.finish(params))
    }

    fn pca(&self, params: &PcaParams, scaler: Option<&Scaler>) -> Result<Pca, ReduceError> {
        params.suits(self.rows.count() as u64, self.cols())?;
        if let Components::Count(n) = params.components {
            self.warn_of_too_many(n);
        }
        match pca::route(self.rows.count(), self.cols()) {
            Route::Covariance => Ok(self.covariance(scaler)?.finish(params)?),
            Route::Gram => Ok(params.fit(&DatasetBase::new(&self.table(scaler)?, ()))?),
            Route::Randomised => self.randomised(params, scaler),
        }
    }

    fn svd(&self, params: &SvdParams, scaler: Option<&Scaler>) -> Result<TruncatedSvd, ReduceError> {
        self.warn_of_too_many(params.components);
        match pca::route(self.rows.count(), self.cols()) {
            Route::Covariance | Route::Randomised => Ok(self.covariance(scaler)?.finish_svd(params)?),
            Route::Gram => Ok(params.fit(&DatasetBase::new(&self.table(scaler)?, ()))?),
        }
    }

    /// Warns if more components are asked for than the table has rows or columns.
    fn warn_of_too_many(&self, asked: usize) {
        let (rows, columns) = (self.rows.count(), self.cols());
        let most = rows.min(columns);
        if asked > most && self.told {
            self.ui.warn(&format!(
                "reduce: {asked} components are asked for, and {rows} train pictures of {columns} columns have at most \
                 {most}: all {most} are kept"
            ));
        }
    }

    /// Returns an error where the eigenvectors of a `side` × `side` matrix need more memory than there is. Their
    /// computation takes four and a half times the memory of the matrix: 2.35 GB were measured for 8,112 columns.
    fn room_for_side(&self, side: usize, instead: &str) -> Result<(), ReduceError> {
        let needed = 4.5 * 8.0 * side as f64 * side as f64;
        self.room_for(&format!("the {side} × {side} matrix of the components"), needed as u64, instead)
    }

    /// Returns an error where `what` needs more memory than there is, and a warning where it needs a lot.
    fn room_for(&self, what: &str, needed: u64, instead: &str) -> Result<(), ReduceError> {
        if let Some(limit) = memory::limit().filter(|limit| needed > limit.bytes) {
            let (subject, limit, advice) = (format!("`reduce`: {what}"), limit.clone(), instead.to_string());
            return Err(NoRoom { subject, needed, limit, advice }.into());
        }
        if needed > TOLD && self.told {
            let needed = bytes(needed);
            let text = format!("reduce: {what} takes about {needed} of memory; where that is too much, {instead}");
            self.ui.warn(&text);
        }
        Ok(())
    }

    fn covariance(&self, scaler: Option<&Scaler>) -> Result<CovarianceAccumulator, ReduceError> {
        self.room_for_side(self.cols(), "keep fewer columns with `select.top_k`")?;
        let covariance = self.collect(&CovarianceParams, scaler)?;
        Ok(covariance.map_or_else(|| CovarianceAccumulator::new(self.cols()), Ok)?)
    }

    fn table(&self, scaler: Option<&Scaler>) -> Result<FeatureMatrix, ReduceError> {
        self.room_for_side(self.rows.count(), "fit on fewer pictures (`input.limit_per_class`)")?;
        let table = (self.rows.count() as u64).saturating_mul(self.cols() as u64).saturating_mul(4);
        self.room_for("the train table in memory", table, "keep fewer columns with `select.top_k`")?;
        let mut all = FeatureMatrix::with_capacity(self.rows.count(), self.cols());
        self.each(scaler, |rows| {
            all.append(rows);
            Ok(())
        })?;
        Ok(all)
    }
}
