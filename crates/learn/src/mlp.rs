//! A multi-layer perceptron with the semantics, defaults and names of `sklearn.neural_network.MLPClassifier`.
//!
//! Training runs on candle in `f32`, as scikit-learn trains on `float32` features: `candle_nn::Linear` layers, backward
//! passes written out (scikit-learn's gradients need none for the inputs, which autograd would compute too), Adam or SGD
//! in scikit-learn's form. Given the same first weights and order of samples it follows the same loss curve; its own come from
//! ChaCha8 and the seed. Source: scikit-learn 1.9, `_multilayer_perceptron.py` and `_stochastic_optimizers.py`.

mod error;
mod full_batch;
mod network;
mod optimizer;
mod predict;
mod step;
#[cfg(test)]
mod tests;
mod train;

pub use error::MlpError;
pub use full_batch::FullBatch;
pub use predict::argmax;
pub use train::{check_rows, held_out};

pub use crate::lbfgs::End;

use std::ops::ControlFlow;

use crate::table::Rows;

/// What a hidden neuron does to its sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// x
    Identity,
    /// 1 / (1 + e⁻ˣ)
    Logistic,
    /// tanh x
    Tanh,
    /// max(0, x)
    #[default]
    Relu,
}

impl Activation {
    /// All, in scikit-learn's order.
    pub const ALL: [Activation; 4] = [Self::Identity, Self::Logistic, Self::Tanh, Self::Relu];

    /// scikit-learn's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Logistic => "logistic",
            Self::Tanh => "tanh",
            Self::Relu => "relu",
        }
    }

    /// The activation of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|activation| activation.name() == name)
    }
}

/// How weights follow gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Solver {
    /// Kingma and Ba, "Adam: a method for stochastic optimization", 2014.
    #[default]
    Adam,
    /// Stochastic gradient descent with (Nesterov's) momentum.
    Sgd,
    /// Limited-memory BFGS: all rows at every step, in `f64`.
    Lbfgs,
}

/// How the learning rate of [`Solver::Sgd`] changes: scikit-learn's `learning_rate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// `learning_rate_init` throughout.
    #[default]
    Constant,
    /// `learning_rate_init / (t + 1)^power_t`, t counting samples, changed after every epoch.
    InvScaling,
    /// Divided by 5 each time training stops improving; training ends below 1e-6.
    Adaptive,
}

/// Hyperparameters, named as scikit-learn's, and three that torch and Keras have. The defaults are scikit-learn's too, but for two hidden
/// layers of (100, 10).
#[derive(Clone, Debug, PartialEq)]
pub struct MlpParams {
    /// Neurons of each hidden layer; empty for plain logistic regression.
    pub hidden: Vec<usize>,
    /// Activation of the hidden layers.
    pub activation: Activation,
    /// Solver.
    pub solver: Solver,
    /// Strength of the L2 penalty on the weights (not on the biases), divided by the rows of a batch.
    pub alpha: f64,
    /// Rows of a batch, at most the rows there are; `None` means min(200, rows).
    pub batch_size: Option<usize>,
    /// Schedule of the learning rate; for [`Solver::Sgd`] only.
    pub learning_rate: Schedule,
    /// Learning rate of the first step.
    pub learning_rate_init: f64,
    /// Exponent of [`Schedule::InvScaling`].
    pub power_t: f64,
    /// Most epochs.
    pub max_iter: usize,
    /// Most evaluations of the loss; for [`Solver::Lbfgs`] only.
    pub max_fun: usize,
    /// Whether each epoch visits the samples in a new order.
    pub shuffle: bool,
    /// Seed of the first weights, of the order of samples and of the validation split.
    pub seed: u64,
    /// An epoch that improves the loss (or the validation score) by less than this does not count as better.
    pub tol: f64,
    /// Momentum of [`Solver::Sgd`].
    pub momentum: f64,
    /// Nesterov's form of momentum.
    pub nesterovs_momentum: bool,
    /// Hold out part of the rows, stop when their accuracy stops rising, and keep the best weights.
    pub early_stopping: bool,
    /// Share of the rows held out, by class.
    pub validation_fraction: f64,
    /// Decay of Adam's first moment.
    pub beta_1: f64,
    /// Decay of Adam's second moment.
    pub beta_2: f64,
    /// Adam's guard against division by zero.
    pub epsilon: f64,
    /// Training stops after more than this many epochs in a row that are not better.
    pub n_iter_no_change: usize,
    /// Weight of a row of each class, as scikit-learn's `sample_weight`; none: all alike.
    pub class_weight: Option<Vec<f64>>,
    /// Share of the hidden neurons that each row of a batch is trained without; not for [`Solver::Lbfgs`].
    pub dropout: f64,
    /// Share of a row's truth that is spread evenly over all classes.
    pub label_smoothing: f64,
}

impl Default for MlpParams {
    fn default() -> Self {
        Self {
            hidden: vec![100, 10],
            activation: Activation::Relu,
            solver: Solver::Adam,
            alpha: 1e-4,
            batch_size: None,
            learning_rate: Schedule::Constant,
            learning_rate_init: 1e-3,
            power_t: 0.5,
            max_iter: 200,
            max_fun: 15_000,
            shuffle: true,
            seed: 0,
            tol: 1e-4,
            momentum: 0.9,
            nesterovs_momentum: true,
            early_stopping: false,
            validation_fraction: 0.1,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            n_iter_no_change: 10,
            class_weight: None,
            dropout: 0.0,
            label_smoothing: 0.0,
        }
    }
}

/// What one epoch came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// 1 for the first.
    pub number: usize,
    /// The most there will be.
    pub max_iter: usize,
    /// Mean loss of its batches, penalty included, each before its step.
    pub loss: f64,
    /// Accuracy on the held-out rows after it, with early stopping.
    pub validation_score: Option<f64>,
}

/// One fully connected layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// Width of its input.
    pub inputs: usize,
    /// Width of its output.
    pub outputs: usize,
    /// (inputs, outputs), row-major: scikit-learn's `coefs_`.
    pub weights: Vec<f32>,
    /// (outputs): scikit-learn's `intercepts_`.
    pub bias: Vec<f32>,
}

/// A trained classifier: plain numbers, so that a stage can store them and read them back to the bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp {
    /// Layers from the features to the output. Two classes have one output, the logit of class 1; more have one each.
    pub layers: Vec<Dense>,
    /// Activation of all layers but the last.
    pub activation: Activation,
    /// Number of classes.
    pub classes: usize,
    /// Loss of each epoch.
    pub loss_curve: Vec<f64>,
    /// Validation accuracy of each epoch; empty without early stopping.
    pub validation_scores: Vec<f64>,
    /// Epochs run.
    pub n_iter: usize,
    /// How training ended.
    pub end: End,
}

impl Mlp {
    /// Whether training stopped by itself, before a limit.
    pub fn converged(&self) -> bool {
        self.end == End::Converged
    }
}

/// Puts the samples of an epoch (0-based) into their order; finds them in the order of the epoch before.
pub type Order<'a> = &'a mut dyn FnMut(usize, &mut [usize]);

/// Hears of every epoch and may stop the training.
pub type OnEpoch<'a> = &'a mut dyn FnMut(&Epoch) -> ControlFlow<()>;

impl MlpParams {
    /// Whether every hyperparameter is in scikit-learn's range.
    pub fn check(&self) -> Result<(), MlpError> {
        let fail = |name, range, value: String| Err(MlpError::Parameter { name, range, value });
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let not_negative = |value: f64| value >= 0.0 && value.is_finite();
        if self.hidden.contains(&0) {
            return fail("hidden", "a list of 1 or more", format!("{:?}", self.hidden));
        }
        for (name, value) in [("learning_rate_init", self.learning_rate_init), ("epsilon", self.epsilon)] {
            if !positive(value) {
                return fail(name, "above 0", value.to_string());
            }
        }
        for (name, value) in [("alpha", self.alpha), ("power_t", self.power_t), ("tol", self.tol)] {
            if !not_negative(value) {
                return fail(name, "0 or more", value.to_string());
            }
        }
        for (name, value) in [
            ("beta_1", self.beta_1),
            ("beta_2", self.beta_2),
            ("validation_fraction", self.validation_fraction),
            ("dropout", self.dropout),
            ("label_smoothing", self.label_smoothing),
        ] {
            if !(0.0..1.0).contains(&value) {
                return fail(name, "at least 0 and below 1", value.to_string());
            }
        }
        if !(0.0..=1.0).contains(&self.momentum) {
            return fail("momentum", "from 0 to 1", self.momentum.to_string());
        }
        for (name, value) in [
            ("batch_size", self.batch_size.unwrap_or(1)),
            ("max_iter", self.max_iter),
            ("max_fun", self.max_fun),
            ("n_iter_no_change", self.n_iter_no_change),
        ] {
            if value == 0 {
                return fail(name, "1 or more", value.to_string());
            }
        }
        if let Some(weight) = self.class_weight.iter().flatten().copied().find(|weight| !positive(*weight)) {
            return fail("class_weight", "above 0", weight.to_string());
        }
        if self.dropout > 0.0 && self.solver == Solver::Lbfgs {
            return fail("dropout", "0 with lbfgs", self.dropout.to_string());
        }
        Ok(())
    }

    /// Trains on features `x` (n, d) and a class number below `classes` for each row. A table that is not in memory is read batch by batch, and
    /// gives the same classifier, to the bit.
    ///
    /// The same inputs and seed give the same classifier. `on_epoch` is called after every epoch; when it breaks, training ends
    /// with [`MlpError::Interrupted`].
    pub fn fit(&self, x: &dyn Rows, y: &[usize], classes: usize, on_epoch: OnEpoch) -> Result<Mlp, MlpError> {
        let rows: Vec<usize> = (0..x.rows()).collect();
        self.fit_rows(x, y, &rows, classes, on_epoch)
    }

    /// [`MlpParams::fit`] on some rows of a table: they are picked batch by batch, so the table is not copied. `y` has a class for every row of it.
    pub fn fit_rows(
        &self,
        x: &dyn Rows,
        y: &[usize],
        rows: &[usize],
        classes: usize,
        on_epoch: OnEpoch,
    ) -> Result<Mlp, MlpError> {
        let start = train::first_layers(self, x.cols(), classes);
        self.fit_rows_from(x, y, rows, classes, start, on_epoch)
    }

    /// The same from given layers: those of an earlier training, which goes on with new averages and the order of the seed.
    pub fn fit_rows_from(
        &self,
        x: &dyn Rows,
        y: &[usize],
        rows: &[usize],
        classes: usize,
        start: Vec<Dense>,
        on_epoch: OnEpoch,
    ) -> Result<Mlp, MlpError> {
        let mut order = train::Shuffler::new(self.seed);
        let shuffle = self.shuffle;
        let mut order = |_: usize, samples: &mut [usize]| {
            if shuffle {
                order.shuffle(samples);
            }
        };
        train::train(self, train::Labelled { x, y, rows, classes }, start, &mut order, on_epoch)
    }

    /// Trains from given layers, visiting samples in a given order: for following scikit-learn step by step.
    pub fn fit_from(
        &self,
        x: &dyn Rows,
        y: &[usize],
        classes: usize,
        start: Vec<Dense>,
        order: Order,
        on_epoch: OnEpoch,
    ) -> Result<Mlp, MlpError> {
        let rows: Vec<usize> = (0..x.rows()).collect();
        train::train(self, train::Labelled { x, y, rows: &rows, classes }, start, order, on_epoch)
    }
}
