//! Our tables as linfa's datasets: a [`FeatureMatrix`] is records, and so are some rows of a table that lies on disk.
//!
//! Callers import linfa's traits from here, so that one version of linfa is in the build.

use std::sync::Arc;

pub use linfa::Error;
pub use linfa::dataset::{DatasetBase, Records};
pub use linfa::traits::{Fit, FitWith, Predict, Transformer};

use crate::table::{FeatureMatrix, Rows};

impl Records for FeatureMatrix {
    type Elem = f32;

    fn nsamples(&self) -> usize {
        self.rows()
    }

    fn nfeatures(&self) -> usize {
        self.cols()
    }
}

/// A table that a model keeps when it is fitted: it is shared, not copied.
#[derive(Clone, Debug)]
pub struct Shared(pub Arc<FeatureMatrix>);

impl Records for Shared {
    type Elem = f32;

    fn nsamples(&self) -> usize {
        self.0.rows()
    }

    fn nfeatures(&self) -> usize {
        self.0.cols()
    }
}

/// Some rows of a table, in memory or on disk: they are read batch by batch, so the table is not copied.
#[derive(Clone, Copy, Debug)]
pub struct Selected<'a> {
    /// (n, d)
    pub table: &'a dyn Rows,
    /// The numbers of the rows.
    pub rows: &'a [usize],
}

impl Records for Selected<'_> {
    type Elem = f32;

    fn nsamples(&self) -> usize {
        self.rows.len()
    }

    fn nfeatures(&self) -> usize {
        self.table.cols()
    }
}

/// The targets of a classifier.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// The number of the class of every row of the table.
    pub y: &'a [usize],
    /// The names of the classes; the rows need not be of each.
    pub classes: &'a [String],
}

/// Rows with their classes: a classifier is fitted on them.
pub type Labelled<'a> = DatasetBase<Selected<'a>, Labels<'a>>;
