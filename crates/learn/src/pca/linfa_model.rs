//! PCA in linfa's terms: parameters, checked parameters, `Fit`, `Transformer`.

use linfa::dataset::DatasetBase;
use linfa::traits::{Fit, Transformer};
use linfa::{Float, ParamGuard};
use ndarray::{Array2, ArrayBase, Data, Ix2};

use super::{Components, Pca, PcaError, fit_slice};

/// Checked hyperparameters of a PCA.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PcaValidParams {
    components: Components,
    whiten: bool,
    clamp: bool,
}

/// Hyperparameters of a PCA, to be checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PcaParams(PcaValidParams);

/// Checked hyperparameters for callers that do not speak linfa; counts above min(n, d) are clamped.
pub fn valid_params(components: Components, whiten: bool) -> Result<PcaValidParams, PcaError> {
    PcaParams::new(components).whiten(whiten).check()
}

impl PcaValidParams {
    /// How many components to keep.
    pub fn components(&self) -> Components {
        self.components
    }

    /// Whether a table of this shape can have what is asked, as far as its shape tells.
    pub fn suits(&self, rows: u64, features: usize) -> Result<(), PcaError> {
        match self.components {
            Components::Mle if rows < features as u64 => Err(PcaError::MleRows { rows, features }),
            _ if rows < 2 || features == 0 => Err(PcaError::TooSmall { rows, features }),
            _ => Ok(()),
        }
    }

    /// Whether projections are scaled to unit variance.
    pub fn whiten(&self) -> bool {
        self.whiten
    }

    /// Whether a count above min(n, d) is reduced to it, rather than refused.
    pub fn clamp(&self) -> bool {
        self.clamp
    }
}

impl PcaParams {
    /// Keeps `components`, without whitening, and clamps a count that the table cannot have.
    pub fn new(components: Components) -> Self {
        Self(PcaValidParams { components, whiten: false, clamp: true })
    }

    /// Scale projections to unit variance.
    pub fn whiten(mut self, whiten: bool) -> Self {
        self.0.whiten = whiten;
        self
    }

    /// Reduce a count above min(n, d) to it (the default), or refuse it as scikit-learn does.
    pub fn clamp(mut self, clamp: bool) -> Self {
        self.0.clamp = clamp;
        self
    }
}

impl ParamGuard for PcaParams {
    type Checked = PcaValidParams;
    type Error = PcaError;

    fn check_ref(&self) -> Result<&Self::Checked, Self::Error> {
        match self.0.components {
            Components::Count(0) => Err(PcaError::NoComponents),
            Components::Fraction(fraction) if !(fraction > 0.0 && fraction < 1.0) => {
                Err(PcaError::Fraction { fraction })
            }
            _ => Ok(&self.0),
        }
    }

    fn check(self) -> Result<Self::Checked, Self::Error> {
        self.check_ref()?;
        Ok(self.0)
    }
}

impl<F, D, T> Fit<ArrayBase<D, Ix2>, T, PcaError> for PcaValidParams
where
    F: Float + Into<f64>,
    D: Data<Elem = F>,
{
    type Object = Pca;

    /// Fits on records (n, d) of either precision; targets are not looked at.
    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<Pca, PcaError> {
        let records = dataset.records();
        let features = records.ncols();
        let rows = records.as_standard_layout();
        match rows.as_slice() {
            Some(values) => fit_slice(values, features, self),
            None => Err(PcaError::Width { found: rows.len(), features }),
        }
    }
}

/// What `project` makes of records (n, d): (n, k); panics when d is not `features`, as linfa's models do.
pub(super) fn projected<D: Data<Elem = f32>>(
    records: &ArrayBase<D, Ix2>,
    features: usize,
    k: usize,
    project: impl Fn(&[f32], &mut [f32]),
) -> Array2<f32> {
    assert_eq!(records.ncols(), features, "a model of {features} features on {}", records.ncols());
    let mut out = Array2::zeros((records.nrows(), k));
    let rows = records.as_standard_layout();
    if let (Some(rows), Some(out)) = (rows.as_slice(), out.as_slice_mut()) {
        project(rows, out);
    }
    out
}

impl<D: Data<Elem = f32>> Transformer<&ArrayBase<D, Ix2>, Array2<f32>> for Pca {
    /// Projects records (n, d) to (n, k); panics when d is not the d it was fitted on, as linfa's models do.
    fn transform(&self, records: &ArrayBase<D, Ix2>) -> Array2<f32> {
        projected(records, self.features, self.k(), |rows, out| self.project(rows, out))
    }
}

impl<D: Data<Elem = f32>> Transformer<ArrayBase<D, Ix2>, Array2<f32>> for Pca {
    fn transform(&self, records: ArrayBase<D, Ix2>) -> Array2<f32> {
        Transformer::transform(self, &records)
    }
}

impl<D: Data<Elem = f32>, T> Transformer<DatasetBase<ArrayBase<D, Ix2>, T>, DatasetBase<Array2<f32>, T>> for Pca {
    fn transform(&self, dataset: DatasetBase<ArrayBase<D, Ix2>, T>) -> DatasetBase<Array2<f32>, T> {
        let DatasetBase { records, targets, weights, .. } = dataset;
        DatasetBase::new(Transformer::transform(self, &records), targets).with_weights(weights)
    }
}
