//! The hyperparameters of the perceptron.
//!
//! Names, ranges and defaults are those of `sklearn.neural_network.MLPClassifier` (1.9), except for two defaults:
//! `hidden` is (100, 10), and `seed` is 0. `dropout` and `label_smoothing` have the meaning of torch and Keras.

use std::path::PathBuf;

use schemars::{Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use crate::hyperparameters::{
    ClassWeight, InMemory, ParamError, Range, any_of, auto_or_whole, hyperparameters, whole_or_list,
};
use crate::inline_schema;

/// Units of a hidden layer.
const UNITS: Range = Range::Whole(1, 65_536);
/// The most hidden layers.
const LAYERS: usize = 64;

hyperparameters! {
    /// `train.mlp`: a multi-layer perceptron by the names and ranges of scikit-learn's `MLPClassifier`.
    #[schemars(rename = "Mlp")]
    pub struct MlpParams {
        /// Units of each hidden layer. One number is one layer; `[]` is none.
        #[serde(deserialize_with = "whole_or_list")]
        #[schemars(schema_with = "hidden_schema")]
        pub hidden: Vec<usize> = vec![100, 10], also "hidden_layer_sizes";
        /// The activation of the hidden layers.
        pub activation: Activation = Activation::Relu;
        /// The optimizer.
        pub solver: Solver = Solver::Adam;
        /// Strength of the L2 penalty.
        pub alpha: f64 = 1e-4, in Range::AtLeast(0.0);
        /// Rows in one step of the optimizer. `auto` is 200, or all rows where there are fewer.
        #[schemars(extend("default" = "auto"))]
        pub batch_size: BatchSize = BatchSize::Auto;
        /// The schedule of the learning rate for `sgd`.
        pub learning_rate: LearningRate = LearningRate::Constant;
        /// The learning rate at the start.
        pub learning_rate_init: f64 = 1e-3, in Range::Above(0.0);
        /// The exponent of `invscaling`.
        pub power_t: f64 = 0.5, in Range::AtLeast(0.0);
        /// The most passes over the rows.
        pub max_iter: usize = 200, in Range::COUNT;
        /// The most evaluations of the loss with `lbfgs`.
        pub max_fun: usize = 15_000, in Range::COUNT;
        /// Whether the rows are shuffled before each pass.
        pub shuffle: bool = true;
        /// Seed of the weights, of the shuffling and of the rows that are held out.
        pub seed: u64 = 0, also "random_state";
        /// A pass in which the loss falls by less than this counts for `n_iter_no_change`.
        pub tol: f64 = 1e-4, in Range::AtLeast(0.0);
        /// Momentum of `sgd`.
        pub momentum: f64 = 0.9, in Range::Between(0.0, 1.0);
        /// Whether `sgd` uses Nesterov's momentum.
        pub nesterov: bool = true, also "nesterovs_momentum";
        /// Whether a part of the train rows is held out and the training ends when the accuracy on them no longer
        /// rises.
        pub early_stopping: bool = false;
        /// The share of the train rows that `early_stopping` holds out.
        pub validation_fraction: f64 = 0.1, in Range::SHARE;
        /// Decay of the first moment of `adam`.
        pub beta_1: f64 = 0.9, in Range::SHARE;
        /// Decay of the second moment of `adam`.
        pub beta_2: f64 = 0.999, in Range::SHARE;
        /// A small number that keeps `adam` from dividing by zero.
        pub epsilon: f64 = 1e-8, in Range::Above(0.0);
        /// The training ends after this number of passes in a row without an improvement of `tol`.
        pub n_iter_no_change: usize = 10, in Range::COUNT;
        /// Weights of the classes. `balanced` gives every class the same weight, whatever its number of pictures.
        /// `{Banana: 2.0}` sets the weight of each picture of a class; classes that are not named have 1. Default:
        /// every picture weighs the same.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub class_weight: Option<ClassWeight> = None;
        /// The share of the hidden units that each picture is trained without. Not with `lbfgs`.
        pub dropout: f64 = 0.0, in Range::SHARE;
        /// The share of a picture's truth that is spread evenly over all classes.
        pub label_smoothing: f64 = 0.0, in Range::SHARE;
        /// The folder of an earlier run whose `mlp` the training starts from, instead of random weights. Its features,
        /// columns, components, `hidden`, `activation` and classes must be the same. Not with cross-validation, since
        /// it may have learnt the pictures that are held out. Default: none.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub warm_start: Option<PathBuf> = None;
        /// Where the rows of the train table are kept while the classifier is trained. `true` keeps them in memory;
        /// `false` copies them to a file without a name in `output.dir`, 4 bytes a value, and reads them from there
        /// batch by batch, best from an SSD; `auto` is `false` from 2 GiB on. The order of the rows, and so the
        /// classifier, is the same. The folds of a cross-validation are kept in the same way; of several classifiers
        /// that are compared, one that keeps them in memory (`knn` always does) makes all of them do so.
        #[schemars(extend("default" = "auto"))]
        pub in_memory: InMemory = InMemory::Auto;
    }
}

/// Activation of the hidden layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// No activation: the layers together are one linear map.
    Identity,
    /// The logistic sigmoid, `1 / (1 + exp(-x))`.
    Logistic,
    /// The hyperbolic tangent, `tanh(x)`.
    Tanh,
    /// The rectified linear unit, `max(0, x)`.
    Relu,
}

/// Optimizer of the perceptron.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// Kingma and Ba's Adam.
    Adam,
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Limited-memory BFGS: all rows at every step, good for few rows.
    Lbfgs,
}

/// Schedule of the learning rate of `sgd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LearningRate {
    /// `learning_rate_init` throughout.
    Constant,
    /// `learning_rate_init` divided by `t` to the power of `power_t` after `t` rows.
    Invscaling,
    /// `learning_rate_init`, divided by 5 whenever two passes in a row bring no improvement of `tol`.
    Adaptive,
}

/// Rows per step of the optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchSize {
    /// min(200, rows).
    Auto,
    /// This number, at least 1.
    Rows(usize),
}

inline_schema!(BatchSize: any_of(&[json!({"const": "auto"}), Range::COUNT.schema()]));

impl<'de> Deserialize<'de> for BatchSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(auto_or_whole(deserializer)?.map_or(Self::Auto, Self::Rows))
    }
}

impl BatchSize {
    /// Returns the number of rows in a step for a table of `rows` rows: at most `rows`, at least 1.
    pub fn of(self, rows: usize) -> usize {
        let wanted = match self {
            Self::Auto => 200,
            Self::Rows(n) => n,
        };
        wanted.min(rows).max(1)
    }
}

impl Activation {
    /// Returns scikit-learn's name of the activation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Logistic => "logistic",
            Self::Tanh => "tanh",
            Self::Relu => "relu",
        }
    }
}

fn hidden_schema(_: &mut SchemaGenerator) -> Schema {
    let units = UNITS.schema();
    any_of(&[units.clone(), json!({"type": "array", "items": units, "maxItems": LAYERS})])
}

impl MlpParams {
    /// Returns an error about a hyperparameter that is out of its range or cannot be combined with another one.
    pub fn check(&self) -> Result<(), ParamError> {
        self.check_ranges()?;
        if let BatchSize::Rows(rows) = self.batch_size {
            Range::COUNT.check("batch_size", rows)?;
        }
        for (i, &units) in self.hidden.iter().enumerate() {
            UNITS.check(&format!("hidden[{i}]"), units)?;
        }
        if self.hidden.len() > LAYERS {
            return Err(ParamError::range("hidden", format!("at most {LAYERS} layers"), self.hidden.len()));
        }
        self.class_weight.iter().try_for_each(ClassWeight::check)?;
        for (key, asked, why) in [
            ("early_stopping", self.early_stopping, "`lbfgs` has no passes to stop after"),
            ("dropout", self.dropout > 0.0, "`lbfgs` needs the same loss at every step"),
        ] {
            if asked && self.solver == Solver::Lbfgs {
                let reason = format!("goes with `solver: adam` or `sgd`; {why}");
                return Err(ParamError::Combination { key, reason, change: key });
            }
        }
        if self.early_stopping && self.validation_fraction == 0.0 {
            let reason = "watches the validation rows; `validation_fraction` has to be greater than 0".to_string();
            return Err(ParamError::Combination { key: "early_stopping", reason, change: "validation_fraction" });
        }
        Ok(())
    }
}
