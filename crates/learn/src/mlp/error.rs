//! Errors of the training and of the prediction.

use thiserror::Error;

use crate::hyperparameters::ParamError;

/// Why there is no classifier, or no prediction.
#[derive(Debug, Error)]
pub enum MlpError {
    /// The caller asked to stop.
    #[error("training interrupted")]
    Interrupted,
    /// A hyperparameter cannot be used.
    #[error("mlp: {0}")]
    Parameter(#[from] ParamError),
    /// No rows, or no features.
    #[error("mlp: {rows} pictures of {features} features are nothing to train on")]
    Empty {
        /// Rows.
        rows: usize,
        /// Columns.
        features: usize,
    },
    /// Not one class per row.
    #[error("mlp: {labels} labels for {rows} pictures")]
    Labels {
        /// Labels.
        labels: usize,
        /// Rows.
        rows: usize,
    },
    /// A class number is too large.
    #[error("mlp: picture {row} has class {class}, but there are {classes} classes")]
    Class {
        /// The row.
        row: usize,
        /// Its class.
        class: usize,
        /// Number of classes.
        classes: usize,
    },
    /// All rows are of one class.
    #[error(
        "mlp: all {rows} pictures are of one class: a classifier needs at least two, check input.classes and the split"
    )]
    OneClass {
        /// Rows.
        rows: usize,
    },
    /// A feature is NaN or infinite.
    #[error("mlp: feature {column} of picture {row} is NaN or infinite")]
    NotFinite {
        /// The row.
        row: usize,
        /// The column.
        column: usize,
    },
    /// The validation split cannot be made.
    #[error(
        "mlp: early_stopping needs {need}, there are {rows} pictures: give more pictures, raise validation_fraction \
         or turn early_stopping off"
    )]
    Validation {
        /// The number of rows that are missing, in words.
        need: String,
        /// Rows.
        rows: usize,
    },
    /// A class has one picture, which cannot be both in the validation split and in the rest.
    #[error(
        "mlp: early_stopping needs at least 2 pictures of each class, and class number {class} has 1: give more \
         pictures or turn early_stopping off"
    )]
    OneOfClass {
        /// Its number, from 0.
        class: usize,
    },
    /// The loss is infinite or NaN.
    #[error(
        "mlp: training diverged, the loss of epoch {epoch} is not finite: scale the features (reduce.pca.whiten) or \
         lower `learning_rate_init`"
    )]
    Diverged {
        /// 1 for the first.
        epoch: usize,
    },
    /// Layers do not fit together, or not to the features.
    #[error("mlp: {what}")]
    Layers {
        /// The sizes that do not fit.
        what: String,
    },
    /// The rows do not lie in memory and cannot be read.
    #[error("mlp: the train table on disk cannot be read: {0}")]
    Rows(#[from] std::io::Error),
    /// The tensor library failed.
    #[error("mlp: {0}")]
    Candle(#[from] candle_core::Error),
    /// Raised by linfa's traits.
    #[error(transparent)]
    Linfa(#[from] linfa::Error),
}
