//! `train`: the classifier's settings, with scikit-learn's names.
//!
//! Names, ranges and defaults are those of `sklearn.neural_network.MLPClassifier` (1.9), but for the default of
//! `hidden`, (100, 10), and of `seed`, 0.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

mod values;

use super::{forms, ranges, schema};
pub use values::{Activation, BatchSize, ClassWeight, InMemory, LearningRate, Metric, Solver, Weighting};

/// `train`: a classifier on the columns that are left, or several, of which the best by cross-validation is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Train {
    /// A multi-layer perceptron. `{}`: with its defaults.
    #[serde(deserialize_with = "forms::present", skip_serializing_if = "Option::is_none")]
    pub mlp: Option<Mlp>,
    /// Multinomial logistic regression. `{}`: with its defaults.
    #[serde(deserialize_with = "forms::present", skip_serializing_if = "Option::is_none")]
    pub logistic: Option<Logistic>,
    /// The classes of the nearest train pictures; its scores on train leave each picture itself out. `{}`: with its defaults.
    #[serde(deserialize_with = "forms::present", skip_serializing_if = "Option::is_none")]
    pub knn: Option<Knn>,
    /// More of them, one each: `[{mlp: {hidden: 50}}, {knn: {k: 3}}]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    /// Folds of a stratified cross-validation, 2 to 10000; `select`, `reduce` and the classifiers are fitted anew without each. Default: 5 to compare several classifiers, none for one.
    #[schemars(range(min = 2, max = ranges::FOLDS))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cv: Option<usize>,
    /// A regular expression over the path: pictures with the same first group, or match, are kept in one fold. Default: each on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
}

/// One of the classifiers that are compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Candidate {
    /// A multi-layer perceptron.
    #[serde(deserialize_with = "forms::present", skip_serializing_if = "Option::is_none")]
    pub mlp: Option<Mlp>,
    /// Multinomial logistic regression.
    #[serde(deserialize_with = "forms::present", skip_serializing_if = "Option::is_none")]
    pub logistic: Option<Logistic>,
    /// The classes of the nearest train pictures.
    #[serde(deserialize_with = "forms::present", skip_serializing_if = "Option::is_none")]
    pub knn: Option<Knn>,
}

/// The settings of one classifier.
#[derive(Clone, Copy, Debug)]
pub enum Classifier<'a> {
    Mlp(&'a Mlp),
    Logistic(&'a Logistic),
    Knn(&'a Knn),
}

impl Train {
    /// All that are asked for, in the order of the reference.
    pub fn classifiers(&self) -> Vec<Classifier<'_>> {
        let own = each(&self.mlp, &self.logistic, &self.knn);
        own.into_iter().chain(self.candidates.iter().flat_map(Candidate::classifiers)).collect()
    }

    /// The same with the key of each in the YAML: `train.mlp`, `train.candidates[0].knn`.
    pub fn keyed(&self) -> Vec<(String, Classifier<'_>)> {
        let own =
            each(&self.mlp, &self.logistic, &self.knn).into_iter().map(|one| (format!("train.{}", one.name()), one));
        let listed = self.candidates.iter().enumerate().flat_map(|(i, candidate)| {
            candidate.classifiers().into_iter().map(move |one| (format!("train.candidates[{i}].{}", one.name()), one))
        });
        own.chain(listed).collect()
    }

    /// Every perceptron, to be changed, with its key in the YAML.
    pub(super) fn perceptrons(&mut self) -> impl Iterator<Item = (String, &mut Mlp)> {
        let listed = self.candidates.iter_mut().enumerate();
        let listed = listed.filter_map(|(i, one)| Some((format!("train.candidates[{i}].mlp"), one.mlp.as_mut()?)));
        self.mlp.as_mut().map(|mlp| ("train.mlp".to_string(), mlp)).into_iter().chain(listed)
    }

    /// Folds to validate by, where it is to be done.
    pub fn folds(&self) -> Option<usize> {
        self.cv.or_else(|| (self.classifiers().len() > 1).then_some(5))
    }
}

impl Candidate {
    /// The one that it should be.
    pub fn classifiers(&self) -> Vec<Classifier<'_>> {
        each(&self.mlp, &self.logistic, &self.knn)
    }
}

fn each<'a>(mlp: &'a Option<Mlp>, logistic: &'a Option<Logistic>, knn: &'a Option<Knn>) -> Vec<Classifier<'a>> {
    let all = [
        mlp.as_ref().map(Classifier::Mlp),
        logistic.as_ref().map(Classifier::Logistic),
        knn.as_ref().map(Classifier::Knn),
    ];
    all.into_iter().flatten().collect()
}

impl Classifier<'_> {
    /// Its key in the YAML.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mlp(_) => "mlp",
            Self::Logistic(_) => "logistic",
            Self::Knn(_) => "knn",
        }
    }

    /// Most epochs or iterations, where there are any.
    pub fn max_iter(self) -> Option<usize> {
        match self {
            Self::Mlp(mlp) => Some(mlp.max_iter),
            Self::Logistic(logistic) => Some(logistic.max_iter),
            Self::Knn(_) => None,
        }
    }

    /// Whether a train table of so many rows and columns is held in memory.
    pub fn holds(self, rows: usize, cols: usize) -> bool {
        let bytes = rows.saturating_mul(cols).saturating_mul(size_of::<f32>());
        match self {
            Self::Mlp(Mlp { in_memory, .. }) | Self::Logistic(Logistic { in_memory, .. }) => in_memory.of(bytes),
            Self::Knn(_) => true,
        }
    }

    /// What tells it from others, in a few words: its kind, its size, and every setting that is not the default.
    pub fn describe(self) -> String {
        let (own, default, told) = match self {
            Self::Mlp(mlp) => (json!(mlp), json!(Mlp::default()), &["hidden", "solver"][..]),
            Self::Logistic(logistic) => (json!(logistic), json!(Logistic::default()), &["c"][..]),
            Self::Knn(knn) => (json!(knn), json!(Knn::default()), &["k"][..]),
        };
        let keys = own
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, value)| told.contains(&key.as_str()) || default[key] != **value)
            .filter(|(key, _)| *key != "in_memory"); // it is the same classifier
        let setting = |(key, value): (&String, &Value)| match value {
            Value::String(word) => format!("{key} {word}"),
            value => format!("{key} {value}"),
        };
        format!("{} ({})", self.name(), keys.map(setting).collect::<Vec<_>>().join(", "))
    }
}

/// `train.logistic`: multinomial logistic regression by the names and ranges of scikit-learn's `LogisticRegression`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(transform = schema::aliases_of_logistic)]
pub struct Logistic {
    /// Inverse strength of the L2 penalty, greater than 0. Default: 1.0. Also written `C`.
    #[serde(alias = "C")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub c: f64,
    /// `balanced`: every class weighs the same, whatever its number of pictures; or what a picture of a class weighs, greater than 0:
    /// `{Banana: 2.0}`, 1 for those that are not named. Default: every picture weighs the same.
    pub class_weight: Option<ClassWeight>,
    /// Iterations at most, 1 to 1000000000. Default: 100.
    #[schemars(range(min = 1, max = ranges::MANY))]
    pub max_iter: usize,
    /// It ends when no component of the gradient is larger, greater than 0. Default: 0.0001.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub tol: f64,
    /// Fit a constant for each class. Default: true.
    pub fit_intercept: bool,
    /// Whether the train table is held in memory: `true`, `false`, or `auto` (`false` from 2 GiB on). With `false` its rows are copied to a
    /// file without a name in `output.dir`, 4 bytes a value, and read from there in order at every evaluation of the loss, for the same
    /// classifier. Of several classifiers that are compared, one that holds the folds has them held for all. Default: `auto`.
    #[schemars(extend("default" = "auto"))]
    pub in_memory: InMemory,
}

impl Default for Logistic {
    fn default() -> Self {
        Self { c: 1.0, class_weight: None, max_iter: 100, tol: 1e-4, fit_intercept: true, in_memory: InMemory::Auto }
    }
}

/// `train.knn`: the nearest train pictures, by the names of scikit-learn's `KNeighborsClassifier`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(transform = schema::aliases_of_knn)]
pub struct Knn {
    /// Neighbours that vote, 1 to 1000000. Default: 5. Also written `n_neighbors`.
    #[serde(alias = "n_neighbors")]
    #[schemars(range(min = 1, max = ranges::NEIGHBOURS))]
    pub k: usize,
    /// `cosine` or `euclidean`. Default: `cosine`.
    pub metric: Metric,
    /// What a vote counts: `uniform` or `distance` (1 / distance). Default: `uniform`.
    pub weights: Weighting,
}

impl Default for Knn {
    fn default() -> Self {
        Self { k: 5, metric: Metric::Cosine, weights: Weighting::Uniform }
    }
}

/// `train.mlp`: a multi-layer perceptron by the names and ranges of scikit-learn's `MLPClassifier`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(transform = schema::aliases_of_mlp)]
pub struct Mlp {
    /// Units of each hidden layer, 1 to 65536 each, at most 64 layers; one number: one layer; `[]`: none. Default: `[100, 10]`.
    /// Also written `hidden_layer_sizes`.
    #[serde(alias = "hidden_layer_sizes", deserialize_with = "forms::whole_or_list")]
    #[schemars(schema_with = "schema::hidden")]
    pub hidden: Vec<usize>,
    /// Of the hidden layers: `identity`, `logistic`, `tanh` or `relu`. Default: `relu`.
    pub activation: Activation,
    /// `adam`, `sgd` or `lbfgs` (all rows at every step; good for few rows). Default: `adam`.
    pub solver: Solver,
    /// Strength of the L2 penalty, at least 0. Default: 0.0001.
    #[schemars(range(min = 0))]
    pub alpha: f64,
    /// Rows per step, 1 to 1000000000, or `auto` (200, or all rows when there are fewer). Default: `auto`.
    #[schemars(extend("default" = "auto"))]
    pub batch_size: BatchSize,
    /// Schedule of the learning rate for `sgd`: `constant`, `invscaling` or `adaptive`. Default: `constant`.
    pub learning_rate: LearningRate,
    /// The learning rate at the start, greater than 0. Default: 0.001.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub learning_rate_init: f64,
    /// Exponent of `invscaling`, at least 0. Default: 0.5.
    #[schemars(range(min = 0))]
    pub power_t: f64,
    /// Passes over the rows at most, 1 to 1000000000. Default: 200.
    #[schemars(range(min = 1, max = ranges::MANY))]
    pub max_iter: usize,
    /// Evaluations of the loss at most for `lbfgs`, 1 to 1000000000. Default: 15000.
    #[schemars(range(min = 1, max = ranges::MANY))]
    pub max_fun: usize,
    /// Shuffle the rows before each pass. Default: true.
    pub shuffle: bool,
    /// Seed of the weights, the shuffling and the validation part. Default: 0. Also written `random_state`.
    #[serde(alias = "random_state")]
    pub seed: u64,
    /// The loss has to fall by this, at least 0, or a pass counts for `n_iter_no_change`. Default: 0.0001.
    #[schemars(range(min = 0))]
    pub tol: f64,
    /// Momentum of `sgd`, 0 to 1. Default: 0.9.
    #[schemars(range(min = 0, max = 1))]
    pub momentum: f64,
    /// Nesterov's momentum for `sgd`. Default: true. Also written `nesterovs_momentum`.
    #[serde(alias = "nesterovs_momentum")]
    pub nesterov: bool,
    /// Keep a part of the train rows aside and stop when its accuracy no longer rises. Default: false.
    pub early_stopping: bool,
    /// That part, at least 0 and less than 1. Default: 0.1.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub validation_fraction: f64,
    /// Decay of `adam`'s first moment, at least 0 and less than 1. Default: 0.9.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub beta_1: f64,
    /// Decay of `adam`'s second moment, at least 0 and less than 1. Default: 0.999.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub beta_2: f64,
    /// Keeps `adam` from dividing by zero, greater than 0. Default: 0.00000001.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub epsilon: f64,
    /// Passes in a row without an improvement of `tol` that end the training, 1 to 1000000000. Default: 10.
    #[schemars(range(min = 1, max = ranges::MANY))]
    pub n_iter_no_change: usize,
    /// `balanced`: every class weighs the same, whatever its number of pictures; or what a picture of a class weighs, greater than 0:
    /// `{Banana: 2.0}`, 1 for those that are not named. Default: every picture weighs the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weight: Option<ClassWeight>,
    /// Share of the hidden units that each picture is trained without, at least 0 and less than 1; not for `lbfgs`. Default: 0.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub dropout: f64,
    /// Share of a picture's truth that is spread evenly over all classes, at least 0 and less than 1. Default: 0.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub label_smoothing: f64,
    /// The folder of an earlier run whose `mlp` the training starts from, instead of random weights: of the same features, columns, components,
    /// `hidden`, `activation` and classes. Not with cross-validation: it may have learnt the pictures that are held out. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_start: Option<PathBuf>,
    /// Whether the train table is held in memory: `true`, `false`, or `auto` (`false` from 2 GiB on). With `false` its rows are copied to a
    /// file without a name in `output.dir`, 4 bytes a value, and read from there batch by batch, in the same order, so that the classifier
    /// is the same; best on an SSD. So are the folds of a cross-validation; of several classifiers that are compared, one that holds them
    /// (`knn` always does) has them held for all. Default: `auto`.
    #[schemars(extend("default" = "auto"))]
    pub in_memory: InMemory,
}

impl Default for Mlp {
    fn default() -> Self {
        Self {
            hidden: vec![100, 10],
            activation: Activation::Relu,
            solver: Solver::Adam,
            alpha: 1e-4,
            batch_size: BatchSize::Auto,
            learning_rate: LearningRate::Constant,
            learning_rate_init: 1e-3,
            power_t: 0.5,
            max_iter: 200,
            max_fun: 15_000,
            shuffle: true,
            seed: 0,
            tol: 1e-4,
            momentum: 0.9,
            nesterov: true,
            early_stopping: false,
            validation_fraction: 0.1,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            n_iter_no_change: 10,
            class_weight: None,
            dropout: 0.0,
            label_smoothing: 0.0,
            warm_start: None,
            in_memory: InMemory::Auto,
        }
    }
}
