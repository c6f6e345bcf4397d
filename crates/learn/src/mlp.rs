//! A multi-layer perceptron with the semantics, defaults and names of `sklearn.neural_network.MLPClassifier`.
//!
//! Training runs on candle in `f32`, as scikit-learn trains on `float32` features: `candle_nn::Linear` layers,
//! hand-written backward passes (autograd would also compute the gradient of the first input, which nothing needs),
//! Adam or SGD in scikit-learn's form. With scikit-learn's first weights and orders of samples it has scikit-learn's
//! loss curve; its own weights and orders come from ChaCha8 and the seed. Source: scikit-learn 1.9,
//! `_multilayer_perceptron.py` and `_stochastic_optimizers.py`.

mod error;
mod full_batch;
mod network;
mod optimizer;
mod params;
mod predict;
mod step;
#[cfg(test)]
mod tests;
mod train;

pub use error::MlpError;
pub(crate) use full_batch::FullBatch;
pub use params::{Activation, BatchSize, LearningRate, MlpParams, Solver};
pub use predict::argmax;
pub use train::held_out;
pub(crate) use train::{Samples, outputs};

pub use crate::lbfgs::End;

use std::fmt;
use std::ops::ControlFlow;

use crate::dataset::{Fit, Labelled, Labels, Selected};
use crate::hyperparameters::ClassWeight;

/// The result of one epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// The number of the epoch, from 1 on.
    pub number: usize,
    /// The most epochs of the training.
    pub max_iter: usize,
    /// Mean loss of its batches, penalty included; each is measured before its step.
    pub loss: f64,
    /// Accuracy on the held-out rows after the epoch, with early stopping.
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
    /// The reason why training ended.
    pub end: End,
}

impl Mlp {
    /// Whether training stopped by itself, before a limit.
    pub fn converged(&self) -> bool {
        self.end == End::Converged
    }
}

/// Reorders the samples for an epoch (0-based). It gets them in the order of the epoch before.
pub(crate) type Order<'a> = &'a mut dyn FnMut(usize, &mut [usize]);

/// Called after every epoch; a break stops the training.
pub type OnEpoch<'a> = &'a dyn Fn(&Epoch) -> ControlFlow<()>;

/// A training with two arguments that linfa's `fit` does not have: layers to start from, and a callback.
#[derive(Clone, Copy)]
pub struct Training<'a, P> {
    pub params: &'a P,
    /// The layers of an earlier training from which this one starts, with new running averages and the seed's order of
    /// the samples; none for random layers.
    pub start: Option<&'a [Dense]>,
    /// Called after every epoch or iteration; when it breaks, the training ends with [`MlpError::Interrupted`].
    pub on_epoch: OnEpoch<'a>,
}

impl<P: fmt::Debug> fmt::Debug for Training<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Training").field("params", self.params).field("start", &self.start).finish_non_exhaustive()
    }
}

/// Returns the weight of every class; none where the classes have no weights.
pub(crate) fn weights(asked: Option<&ClassWeight>, dataset: &Labelled<'_>) -> Option<Vec<f64>> {
    let Labels { y, classes } = dataset.targets;
    asked.map(|weights| weights.of(classes, y, dataset.records.rows))
}

impl Fit<Selected<'_>, Labels<'_>, MlpError> for MlpParams {
    type Object = Mlp;

    /// Trains on features (n, d). The same rows and seed give the same classifier, to the bit, whether the table is in
    /// memory or on disk.
    fn fit(&self, dataset: &Labelled<'_>) -> Result<Mlp, MlpError> {
        Training { params: self, start: None, on_epoch: &|_| ControlFlow::Continue(()) }.fit(dataset)
    }
}

impl Fit<Selected<'_>, Labels<'_>, MlpError> for Training<'_, MlpParams> {
    type Object = Mlp;

    fn fit(&self, dataset: &Labelled<'_>) -> Result<Mlp, MlpError> {
        let params = self.params;
        let weights = weights(params.class_weight.as_ref(), dataset);
        let samples = Samples::of(dataset, weights.as_deref());
        let random = || train::first_layers(params, samples.x.cols(), samples.classes);
        let start = self.start.map_or_else(random, <[Dense]>::to_vec);
        let mut shuffler = train::Shuffler::new(params.seed);
        let mut order = |_: usize, places: &mut [usize]| {
            if params.shuffle {
                shuffler.shuffle(places);
            }
        };
        train::train(params, samples, start, &mut order, self.on_epoch)
    }
}
