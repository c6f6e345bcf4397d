//! The hyperparameters of the perceptron.
//!
//! Names, ranges and defaults are those of `sklearn.neural_network.MLPClassifier` (1.9), but for the default of
//! `hidden`, (100, 10), and of `seed`, 0. `dropout` and `label_smoothing` are torch's and Keras'.

use std::path::PathBuf;

use schemars::{Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use crate::hyperparameters::{
    ClassWeight, InMemory, ParamError, Range, any_of, auto_or_whole, hyperparameters, inline_schema, whole_or_list,
};

/// Units of a hidden layer.
const UNITS: Range = Range::Whole(1, 65_536);
/// Hidden layers at most.
const LAYERS: usize = 64;

hyperparameters! {
    /// `train.mlp`: a multi-layer perceptron by the names and ranges of scikit-learn's `MLPClassifier`.
    #[schemars(rename = "Mlp")]
    pub struct MlpParams {
        /// Units of each hidden layer, 1 to 65536 each, at most 64 layers; one number: one layer; `[]`: none. Default:
        /// `[100, 10]`. Also written `hidden_layer_sizes`.
        #[serde(deserialize_with = "whole_or_list")]
        #[schemars(schema_with = "hidden_schema")]
        pub hidden: Vec<usize> = vec![100, 10], also "hidden_layer_sizes";
        /// Of the hidden layers: `identity`, `logistic`, `tanh` or `relu`. Default: `relu`.
        pub activation: Activation = Activation::Relu;
        /// `adam`, `sgd` or `lbfgs` (all rows at every step; good for few rows). Default: `adam`.
        pub solver: Solver = Solver::Adam;
        /// Strength of the L2 penalty, at least 0. Default: 0.0001.
        pub alpha: f64 = 1e-4, in Range::AtLeast(0.0);
        /// Rows per step, 1 to 1000000000, or `auto` (200, or all rows when there are fewer). Default: `auto`.
        #[schemars(extend("default" = "auto"))]
        pub batch_size: BatchSize = BatchSize::Auto;
        /// Schedule of the learning rate for `sgd`: `constant`, `invscaling` or `adaptive`. Default: `constant`.
        pub learning_rate: LearningRate = LearningRate::Constant;
        /// The learning rate at the start, greater than 0. Default: 0.001.
        pub learning_rate_init: f64 = 1e-3, in Range::Above(0.0);
        /// Exponent of `invscaling`, at least 0. Default: 0.5.
        pub power_t: f64 = 0.5, in Range::AtLeast(0.0);
        /// Passes over the rows at most, 1 to 1000000000. Default: 200.
        pub max_iter: usize = 200, in Range::COUNT;
        /// Evaluations of the loss at most for `lbfgs`, 1 to 1000000000. Default: 15000.
        pub max_fun: usize = 15_000, in Range::COUNT;
        /// Shuffle the rows before each pass. Default: true.
        pub shuffle: bool = true;
        /// Seed of the weights, the shuffling and the validation part. Default: 0. Also written `random_state`.
        pub seed: u64 = 0, also "random_state";
        /// The loss has to fall by this, at least 0, or a pass counts for `n_iter_no_change`. Default: 0.0001.
        pub tol: f64 = 1e-4, in Range::AtLeast(0.0);
        /// Momentum of `sgd`, 0 to 1. Default: 0.9.
        pub momentum: f64 = 0.9, in Range::Between(0.0, 1.0);
        /// Nesterov's momentum for `sgd`. Default: true. Also written `nesterovs_momentum`.
        pub nesterov: bool = true, also "nesterovs_momentum";
        /// Keep a part of the train rows aside and stop when its accuracy no longer rises. Default: false.
        pub early_stopping: bool = false;
        /// That part, at least 0 and less than 1. Default: 0.1.
        pub validation_fraction: f64 = 0.1, in Range::SHARE;
        /// Decay of `adam`'s first moment, at least 0 and less than 1. Default: 0.9.
        pub beta_1: f64 = 0.9, in Range::SHARE;
        /// Decay of `adam`'s second moment, at least 0 and less than 1. Default: 0.999.
        pub beta_2: f64 = 0.999, in Range::SHARE;
        /// Keeps `adam` from dividing by zero, greater than 0. Default: 0.00000001.
        pub epsilon: f64 = 1e-8, in Range::Above(0.0);
        /// Passes in a row without an improvement of `tol` that end the training, 1 to 1000000000. Default: 10.
        pub n_iter_no_change: usize = 10, in Range::COUNT;
        /// `balanced`: every class weighs the same, whatever its number of pictures; or what a picture of a class
        /// weighs, greater than 0: `{Banana: 2.0}`, 1 for those that are not named. Default: every picture weighs the
        /// same.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub class_weight: Option<ClassWeight> = None;
        /// Share of the hidden units that each picture is trained without, at least 0 and less than 1; not for `lbfgs`.
        /// Default: 0.
        pub dropout: f64 = 0.0, in Range::SHARE;
        /// Share of a picture's truth that is spread evenly over all classes, at least 0 and less than 1. Default: 0.
        pub label_smoothing: f64 = 0.0, in Range::SHARE;
        /// The folder of an earlier run whose `mlp` the training starts from, instead of random weights: of the same
        /// features, columns, components, `hidden`, `activation` and classes. Not with cross-validation: it may have
        /// learnt the pictures that are held out. Default: none.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub warm_start: Option<PathBuf> = None;
        /// Whether the train table is held in memory: `true`, `false`, or `auto` (`false` from 2 GiB on). With `false`
        /// its rows are copied to a file without a name in `output.dir`, 4 bytes a value, and read from there batch by
        /// batch, in the same order, so that the classifier is the same; best on an SSD. So are the folds of a
        /// cross-validation; of several classifiers that are compared, one that holds them (`knn` always does) has them
        /// held for all. Default: `auto`.
        #[schemars(extend("default" = "auto"))]
        pub in_memory: InMemory = InMemory::Auto;
    }
}

/// Activation of the hidden layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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

inline_schema!(BatchSize: any_of(&[json!({"const": "auto"}), Range::COUNT.schema()]));

impl<'de> Deserialize<'de> for BatchSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(auto_or_whole(deserializer)?.map_or(Self::Auto, Self::Rows))
    }
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

impl Activation {
    /// scikit-learn's word for it.
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
    /// An error about a hyperparameter that is out of its range, or does not go with another one.
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
