//! Why a perceptron is not trained, or not asked.

use thiserror::Error;

/// Why there is no classifier, or no prediction.
#[derive(Debug, Error)]
pub enum MlpError {
    /// The caller asked to stop.
    #[error("training interrupted")]
    Interrupted,
    /// A hyperparameter is out of range.
    #[error("mlp: {name} must be {range}, not {value}")]
    Parameter {
        /// Its name.
        name: &'static str,
        /// What it may be.
        range: &'static str,
        /// What it is.
        value: String,
    },
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
        "mlp: early_stopping needs {need}, there are {rows} pictures: give more pictures, raise validation_fraction or turn early_stopping off"
    )]
    Validation {
        /// What is missing.
        need: String,
        /// Rows.
        rows: usize,
    },
    /// The same: a class has one picture, which cannot be in both parts.
    #[error(
        "mlp: early_stopping needs at least 2 pictures of each class, and class number {class} has 1: give more pictures or turn \
         early_stopping off"
    )]
    OneOfClass {
        /// Its number, from 0.
        class: usize,
    },
    /// The loss left the numbers.
    #[error(
        "mlp: training diverged, the loss of epoch {epoch} is not finite: scale the features (reduce.pca.whiten) or lower `learning_rate_init`"
    )]
    Diverged {
        /// 1 for the first.
        epoch: usize,
    },
    /// Layers do not fit together, or not to the features.
    #[error("mlp: {what}")]
    Layers {
        /// What does not fit.
        what: String,
    },
    /// The rows do not lie in memory and cannot be read.
    #[error("mlp: the train table on disk cannot be read: {0}")]
    Rows(#[from] std::io::Error),
    /// The tensor library failed.
    #[error("mlp: {0}")]
    Candle(#[from] candle_core::Error),
}
