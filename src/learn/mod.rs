//! The learning room: what is fitted on features.
//!
//! Variance filter, analysis of variance, PCA, multi-layer perceptron, logistic regression, nearest neighbours, folds and scores, each with the meaning and the numbers of its scikit-learn
//! counterpart, held to them by `tests/golden/sklearn.py`. Features come in and go out as [`FeatureMatrix`] or as
//! row-major blocks of `f32`; linfa, ndarray, faer and candle stay behind these doors. Nothing here reads files or prints:
//! what is fitted is plain data with public fields, and the stages store it.
//!
//! [`FeatureMatrix`]: crate::table::FeatureMatrix

pub mod anova;
pub mod classifier;
pub mod folds;
pub mod knn;
pub mod lbfgs;
pub mod logistic;
pub mod metrics;
pub mod mlp;
pub mod neighbours;
pub mod pca;
pub mod quality;
pub mod reduction;
pub mod scale;
pub mod variance;

#[cfg(test)]
pub(crate) mod golden;
