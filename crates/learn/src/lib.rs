//! The models that featurize fits on features, with the meaning and the numbers of their scikit-learn counterparts.
//!
//! | module | scikit-learn's name |
//! |--------|---------------------|
//! | [`variance`], [`anova`] | `VarianceThreshold`, `f_classif` |
//! | [`scale`], [`pca`] (and the truncated SVD), [`reduction`] | `StandardScaler` and `Normalizer`, `PCA`, `TruncatedSVD` |
//! | [`mlp`], [`logistic`], [`knn`], [`classifier`] | `MLPClassifier`, `LogisticRegression`, `KNeighborsClassifier` |
//! | [`folds`], [`metrics`] | `StratifiedKFold`, `StratifiedGroupKFold`, `sklearn.metrics` |
//! | [`neighbours`], [`quality`] | copies, labels in doubt and outliers, which scikit-learn does not have |
//!
//! Features come in and go out as [`FeatureMatrix`](table::FeatureMatrix) or as row-major blocks of `f32`; linfa, ndarray, faer and candle are
//! not visible outside. Nothing here reads files or prints: a fitted model is plain data with public fields, and the caller stores it.
//! `tests/golden/sklearn.py` and its neighbours made the numbers that the tests hold the models to.

#![forbid(unsafe_code)]

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
pub mod table;
pub mod variance;

#[cfg(test)]
mod golden;
