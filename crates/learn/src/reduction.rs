//! A scaler and a decomposition in a row, fitted once: a row goes through them before it is classified.

use thiserror::Error;

use crate::dataset::Transformer;
use crate::pca::{Pca, PcaError, TruncatedSvd};
use crate::scale::{ScaleError, Scaler};
use crate::table::FeatureMatrix;

/// A scale and a projection, either of which may be absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Reduction {
    /// The number of columns of the input.
    pub columns: usize,
    pub scaler: Option<Scaler>,
    pub projection: Option<Projection>,
}

/// The directions that rows are projected on.
#[derive(Clone, Debug, PartialEq)]
pub enum Projection {
    Pca(Pca),
    Svd(TruncatedSvd),
}

/// A row cannot be reduced, or a stored reduction contradicts itself.
#[derive(Debug, Error)]
pub enum ReductionError {
    #[error(transparent)]
    Scale(#[from] ScaleError),
    #[error(transparent)]
    Projection(#[from] PcaError),
}

impl Projection {
    /// Returns the number of components.
    pub fn k(&self) -> usize {
        match self {
            Self::Pca(pca) => pca.k(),
            Self::Svd(svd) => svd.k(),
        }
    }

    /// Returns the share of the train split's variance along each component.
    pub fn ratio(&self) -> &[f64] {
        match self {
            Self::Pca(pca) => &pca.explained_variance_ratio,
            Self::Svd(svd) => &svd.explained_variance_ratio,
        }
    }
}

impl Reduction {
    /// Returns the number of columns of the result.
    pub fn outputs(&self) -> usize {
        self.projection.as_ref().map_or(self.columns, Projection::k)
    }

    /// Checks that the parts are valid and of matching widths. It must be called on a reduction that was read from a
    /// file.
    pub fn check(&self) -> Result<(), ReductionError> {
        if let Some(scaler) = &self.scaler {
            scaler.check()?;
            if let Some(expected) = scaler.columns().filter(|&columns| columns != self.columns) {
                return Err(ScaleError::Width { found: self.columns, expected }.into());
            }
        }
        let features = match &self.projection {
            None => return Ok(()),
            Some(Projection::Pca(pca)) => {
                pca.check()?;
                pca.features
            }
            Some(Projection::Svd(svd)) => {
                svd.check()?;
                svd.features
            }
        };
        if features == self.columns {
            return Ok(());
        }
        Err(PcaError::Width { found: self.columns, features }.into())
    }
}

impl Transformer<&FeatureMatrix, Result<FeatureMatrix, ReductionError>> for Reduction {
    /// Reduces the rows of `block`; the result for a row depends, to the bit, on that row alone.
    fn transform(&self, block: &FeatureMatrix) -> Result<FeatureMatrix, ReductionError> {
        let scaled = self.scaler.as_ref().map(|scaler| scaler.transform(block)).transpose()?;
        let block = scaled.as_ref().unwrap_or(block);
        Ok(match &self.projection {
            None => block.clone(),
            Some(Projection::Pca(pca)) => pca.transform(block)?,
            Some(Projection::Svd(svd)) => svd.transform(block)?,
        })
    }
}
