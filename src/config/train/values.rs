//! What the classifiers' settings may be: words, numbers, keys.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// Weights of the classes.
#[derive(Clone, Debug, PartialEq)]
pub enum ClassWeight {
    /// rows / (classes × rows of the class)
    Balanced,
    /// Of the named classes, each greater than 0; 1 for the others.
    Classes(BTreeMap<String, f64>),
}

impl Serialize for ClassWeight {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Balanced => serializer.serialize_str("balanced"),
            Self::Classes(weights) => weights.serialize(serializer),
        }
    }
}

/// How far pictures are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// 1 − cos
    Cosine,
    /// Length of the difference.
    Euclidean,
}

/// What a neighbour's vote counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// 1
    Uniform,
    /// 1 / distance
    Distance,
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

/// Where a table lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InMemory {
    /// In memory, if it is small enough.
    Auto,
    /// In memory, or on disk.
    Always(bool),
}

impl InMemory {
    /// Bytes from which on a table stays on disk by itself.
    const LIMIT: usize = 2 << 30;

    /// Whether a table of so many bytes is held.
    pub fn of(self, bytes: usize) -> bool {
        match self {
            Self::Auto => bytes < Self::LIMIT,
            Self::Always(held) => held,
        }
    }
}

impl Serialize for InMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Always(held) => serializer.serialize_bool(*held),
        }
    }
}
