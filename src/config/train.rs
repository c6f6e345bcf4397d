//! `train`: the classifier's settings, with scikit-learn's names.
//!
//! Names, ranges and defaults are those of `sklearn.neural_network.MLPClassifier` (1.9), but for the default of
//! `hidden`, (100, 10), and of `seed`, 0.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{forms, schema};

/// `train`: a classifier on the columns that are left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// A multi-layer perceptron. `{}`: with its defaults.
    pub mlp: Mlp,
}

/// `train.mlp`: a multi-layer perceptron by the names and ranges of scikit-learn's `MLPClassifier`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(transform = schema::aliases_of_mlp)]
pub struct Mlp {
    /// Units of each hidden layer, at least 1 each; one number: one layer; `[]`: none. Default: `[100, 10]`.
    /// Also written `hidden_layer_sizes`.
    #[serde(alias = "hidden_layer_sizes", deserialize_with = "forms::whole_or_list")]
    #[schemars(schema_with = "schema::whole_or_list")]
    pub hidden: Vec<usize>,
    /// Of the hidden layers: `identity`, `logistic`, `tanh` or `relu`. Default: `relu`.
    pub activation: Activation,
    /// `adam`, `sgd` or `lbfgs` (all rows at every step; good for few rows). Default: `adam`.
    pub solver: Solver,
    /// Strength of the L2 penalty, at least 0. Default: 0.0001.
    #[schemars(range(min = 0))]
    pub alpha: f64,
    /// Rows per step, at least 1, or `auto` (200, or all rows when there are fewer). Default: `auto`.
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
    /// Passes over the rows at most, at least 1. Default: 200.
    #[schemars(range(min = 1))]
    pub max_iter: usize,
    /// Evaluations of the loss at most for `lbfgs`, at least 1. Default: 15000.
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
    /// Passes in a row without an improvement of `tol` that end the training, at least 1. Default: 10.
    #[schemars(range(min = 1))]
    pub n_iter_no_change: usize,
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
        }
    }
}

/// Activation of the hidden layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x
    Identity,
    /// 1 / (1 + exp(-x))
    Logistic,
    /// tanh(x)
    Tanh,
    /// max(0, x)
    Relu,
}

/// Optimizer of the perceptron.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// Kingma and Ba's Adam.
    Adam,
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Limited-memory BFGS.
    Lbfgs,
}

/// Schedule of the learning rate of `sgd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LearningRate {
    /// `learning_rate_init` throughout.
    Constant,
    /// `learning_rate_init / t.powf(power_t)` after `t` rows.
    Invscaling,
    /// Divided by 5 whenever two passes in a row bring no improvement of `tol`.
    Adaptive,
}

/// Rows per step of the optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchSize {
    /// min(200, rows).
    Auto,
    /// So many, at least 1.
    Rows(usize),
}

impl BatchSize {
    /// Rows per step when there are `rows` of them: never more than there are, never 0.
    pub fn of(self, rows: usize) -> usize {
        let wanted = match self {
            Self::Auto => 200,
            Self::Rows(n) => n,
        };
        wanted.min(rows).max(1)
    }
}
