//! The models that featurize fits on features, with the meaning and the numbers of their scikit-learn counterparts.
//!
//! Read in this order:
//!
//! 1. [`table`]: [`FeatureMatrix`](table::FeatureMatrix), the row-major table of `f32` that all models take and return,
//!    and [`Rows`](table::Rows), a table that may lie on disk. [`dataset`] makes them linfa's records.
//! 2. [`hyperparameters`]: the macro that declares a model's parameters, one line each. The YAML fills these structs;
//!    defaults, ranges and JSON Schema come from the same lines.
//! 3. The models, in the order of a run:
//!
//! | module | scikit-learn's name |
//! |--------|---------------------|
//! | [`variance`], [`anova`] | `VarianceThreshold`, `f_classif` with `SelectKBest` |
//! | [`scale`] | `StandardScaler`, `Normalizer` |
//! | [`pca`] | `PCA`, `TruncatedSVD` |
//! | [`reduction`] | `make_pipeline` of a scaler and a decomposition |
//! | [`mlp`], [`logistic`] (on [`lbfgs`]), [`knn`] | `MLPClassifier`, `LogisticRegression`, `KNeighborsClassifier` |
//! | [`classifier`] | one of the three, fitted |
//! | [`temperature`] | `CalibratedClassifierCV(method="temperature")` |
//! | [`slope`] | the gradient of a class's score by the features, which scikit-learn does not have |
//! | [`folds`], [`metrics`] | `StratifiedKFold`, `StratifiedGroupKFold`, `sklearn.metrics` |
//! | [`novelty`] (on [`knn`]) | `LocalOutlierFactor(novelty=True)` has the same purpose and other numbers |
//! | [`neighbours`], [`quality`] | copies, labels in doubt and outliers, which scikit-learn does not have |
//!
//! Every model is one of linfa's: parameters implement [`Fit`](dataset::Fit), or [`FitWith`](dataset::FitWith) where
//! one pass over pieces of a table is enough (variance, analysis of variance, covariance); fitted models implement
//! [`Transformer`](dataset::Transformer) or [`Predict`](dataset::Predict). Their results may be errors, such as for
//! rows of another width. A training of several passes has its own driver behind `Fit`: [`mlp`], [`lbfgs`] and
//! [`pca::Subspace`].
//!
//! ```
//! use featurize_learn::dataset::{DatasetBase, Fit, Transformer};
//! use featurize_learn::pca::{Components, PcaParams};
//! use featurize_learn::table::FeatureMatrix;
//!
//! let table = FeatureMatrix::from_vec(3, 2, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.5]).expect("3 × 2 values");
//! let params = PcaParams { components: Components::Count(1), whiten: false };
//! let pca = params.fit(&DatasetBase::new(&table, ())).expect("two rows or more");
//! assert_eq!(pca.transform(&table).expect("two columns").cols(), 1);
//! ```
//!
//! ndarray, faer and candle are not visible outside. Nothing here reads files or prints: a fitted model is plain data
//! with public fields, and the caller stores it. `tests/golden/sklearn.py` and its neighbours made the numbers with
//! which the tests compare the models.

#![forbid(unsafe_code)]

pub mod anova;
pub mod classifier;
pub mod dataset;
pub mod folds;
pub mod hyperparameters;
pub mod knn;
pub mod lbfgs;
pub mod logistic;
pub mod metrics;
pub mod mlp;
pub mod neighbours;
pub mod novelty;
mod parallel;
pub mod pca;
pub mod quality;
pub mod reduction;
pub mod scale;
mod search;
pub mod slope;
pub mod table;
pub mod temperature;
pub mod variance;

#[cfg(test)]
mod golden;
