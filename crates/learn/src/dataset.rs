//! Implements linfa's `Records` for our tables: a [`FeatureMatrix`], a shared one, and some rows of a table that may be
//! on disk.
//!
//! Callers import linfa's traits from here, so that one version of linfa is in the build.

use std::sync::Arc;

pub use linfa::Error;
pub use linfa::dataset::{DatasetBase, Records};
pub use linfa::traits::{Fit, FitWith, Predict, Transformer};

use crate::table::{FeatureMatrix, Rows};

/// A train table that the fitted model keeps (nearest neighbours); it is shared and not copied.
#[derive(Clone, Debug)]
pub struct Shared(pub Arc<FeatureMatrix>);

/// Some rows of a table, in memory or on disk: they are read batch by batch, so the table is not copied.
#[derive(Clone, Copy, Debug)]
pub struct Selected<'a> {
    /// (n, d)
    pub table: &'a dyn Rows,
    /// The numbers of the rows.
    pub rows: &'a [usize],
}

/// The targets of a classifier.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// The number of the class of every row of the table.
    pub y: &'a [usize],
    /// The names of the classes; a class may have no rows.
    pub classes: &'a [String],
}

/// The dataset that a classifier is fitted on: rows with their classes.
pub type Labelled<'a> = DatasetBase<Selected<'a>, Labels<'a>>;

/// Tells linfa how many rows and columns a table has.
macro_rules! records {
    ($($table:ty: |$it:ident| ($rows:expr, $cols:expr);)*) => {$(
        impl Records for $table {
            type Elem = f32;

            fn nsamples(&self) -> usize {
                let $it = self;
                $rows
            }

            fn nfeatures(&self) -> usize {
                let $it = self;
                $cols
            }
        }
    )*};
}

records! {
    FeatureMatrix: |it| (it.rows(), it.cols());
    Shared: |it| (it.0.rows(), it.0.cols());
    Selected<'_>: |it| (it.rows.len(), it.table.cols());
}
