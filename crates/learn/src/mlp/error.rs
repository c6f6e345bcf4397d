//! Errors of the training and of the prediction.

use thiserror::Error;

use crate::hyperparameters::ParamError;

/// The error of a training or of a prediction.
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
    Empty { rows: usize, features: usize },
    /// There are more or fewer labels than rows.
    #[error("mlp: {labels} labels for {rows} pictures")]
    Labels { labels: usize, rows: usize },
    /// A class number is too large.
    #[error("mlp: picture {row} has class {class}, but there are {classes} classes")]
    Class { row: usize, class: usize, classes: usize },
    /// All rows are of one class.
    #[error(
        "mlp: all {rows} pictures are of one class: a classifier needs at least two, check input.classes and the split"
    )]
    OneClass { rows: usize },
    /// A feature is NaN or infinite.
    #[error("mlp: feature {column} of picture {row} is NaN or infinite")]
    NotFinite { row: usize, column: usize },
    /// The validation split cannot be made.
    #[error(
        "mlp: early_stopping needs {need}, there are {rows} pictures: give more pictures, raise validation_fraction \
         or turn early_stopping off"
    )]
    Validation { need: String, rows: usize },
    /// A class has one picture, which cannot be both in the validation split and in the rest.
    #[error(
        "mlp: early_stopping needs at least 2 pictures of each class, and class number {class} has 1: give more \
         pictures or turn early_stopping off"
    )]
    OneOfClass { class: usize },
    /// The loss is infinite or NaN.
    #[error(
        "mlp: training diverged, the loss of epoch {epoch} is not finite: scale the features (reduce.pca.whiten) or \
         lower `learning_rate_init`"
    )]
    Diverged { epoch: usize },
    /// The shapes of the layers do not match each other or the features.
    #[error("mlp: {what}")]
    Layers { what: String },
    /// The rows of a table on disk cannot be read.
    #[error("mlp: the train table on disk cannot be read: {0}")]
    Rows(#[from] std::io::Error),
    /// The tensor library failed.
    #[error("mlp: {0}")]
    Candle(#[from] candle_core::Error),
    /// Raised by linfa's traits.
    #[error(transparent)]
    Linfa(#[from] linfa::Error),
}
