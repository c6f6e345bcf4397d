//! Adam and SGD in scikit-learn's form, changing parameters in place.
//!
//! candle's own optimizers are not used: its SGD has no momentum, its AdamW corrects the moments instead of the
//! learning rate (which moves epsilon) and decays weights on its own.

use candle_core::Result;

use super::network::Parameters;
use super::step::{Memory, Rule, Slope};
use super::{LearningRate, MlpParams, Solver};

/// An optimizer, with its running averages of every parameter.
pub(super) struct Optimizer {
    method: Method,
    learning_rate: f64,
    learning_rate_init: f64,
    schedule: LearningRate,
    power_t: f64,
    /// The parameters of every layer, with the running averages of its weights and of its biases.
    layers: Vec<(Parameters, [Memory; 2])>,
}

enum Method {
    Adam { beta_1: f64, beta_2: f64, epsilon: f64, step: i32 },
    Sgd { momentum: f64, nesterov: bool },
}

impl Optimizer {
    /// Starts with averages of 0 for `parameters`.
    pub(super) fn new(params: &MlpParams, parameters: Vec<Parameters>) -> Self {
        let adam = params.solver == Solver::Adam;
        let method = if adam {
            Method::Adam { beta_1: params.beta_1, beta_2: params.beta_2, epsilon: params.epsilon, step: 0 }
        } else {
            Method::Sgd { momentum: params.momentum, nesterov: params.nesterov }
        };
        let remembered = |layer: Parameters| {
            let memories = [&layer.weights, &layer.bias].map(|tensor| Memory::new(tensor.elem_count()));
            (layer, memories)
        };
        Self {
            method,
            learning_rate: params.learning_rate_init,
            learning_rate_init: params.learning_rate_init,
            // scikit-learn's Adam ignores the schedule.
            schedule: if adam { LearningRate::Constant } else { params.learning_rate },
            power_t: params.power_t,
            layers: parameters.into_iter().map(remembered).collect(),
        }
    }

    /// Adapts the learning rate before the layers are updated by a batch.
    pub(super) fn batch_begins(&mut self) {
        if let Method::Adam { beta_1, beta_2, step, .. } = &mut self.method {
            *step += 1;
            self.learning_rate =
                self.learning_rate_init * (1.0 - beta_2.powi(*step)).sqrt() / (1.0 - beta_1.powi(*step));
        }
    }

    /// Updates one layer by its gradient and returns the squared norm of its weights before the update.
    pub(super) fn step(&mut self, layer: usize, slope: &Slope) -> Result<f64> {
        let rate = self.learning_rate as f32;
        match self.method {
            Method::Adam { beta_1, beta_2, epsilon, .. } => {
                let mean = [beta_1 as f32, (1.0 - beta_1) as f32];
                let square = [beta_2 as f32, (1.0 - beta_2) as f32];
                self.follow(layer, slope, Adam { mean, square, rate, epsilon: epsilon as f32 })
            }
            Method::Sgd { momentum, nesterov: true } => {
                self.follow(layer, slope, Sgd::<true> { momentum: momentum as f32, rate })
            }
            Method::Sgd { momentum, nesterov: false } => {
                self.follow(layer, slope, Sgd::<false> { momentum: momentum as f32, rate })
            }
        }
    }

    fn follow(&mut self, layer: usize, slope: &Slope, rule: impl Rule) -> Result<f64> {
        let (parameters, [weights, bias]) = &mut self.layers[layer];
        slope.step_bias(&parameters.bias, rule, bias)?;
        slope.step_weights(&parameters.weights, rule, weights)
    }

    /// Adapts the learning rate after an epoch; `samples` have been trained on since the beginning.
    pub(super) fn epoch_ends(&mut self, samples: usize) {
        if self.schedule == LearningRate::Invscaling {
            self.learning_rate = self.learning_rate_init / (samples as f64 + 1.0).powf(self.power_t);
        }
    }

    /// Is called when training no longer improves: lowers an adaptive learning rate, or returns true, which ends the
    /// training.
    pub(super) fn gives_up(&mut self) -> bool {
        if self.schedule != LearningRate::Adaptive || self.learning_rate <= 1e-6 {
            return true;
        }
        self.learning_rate /= 5.0;
        false
    }
}

/// Kingma and Ba's rule. `mean` and `square` are the weights of the old average and of the gradient in the new average.
#[derive(Clone, Copy)]
struct Adam {
    mean: [f32; 2],
    square: [f32; 2],
    rate: f32,
    epsilon: f32,
}

impl Rule for Adam {
    #[inline(always)]
    fn apply(self, p: &mut f32, gradient: f32, first: &mut f32, second: &mut f32) {
        *first = self.mean[0] * *first + self.mean[1] * gradient;
        *second = self.square[0] * *second + self.square[1] * (gradient * gradient);
        *p += -self.rate * *first / (second.sqrt() + self.epsilon);
    }
}

/// SGD with a velocity that decays. Nesterov's momentum looks ahead by one step.
#[derive(Clone, Copy)]
struct Sgd<const NESTEROV: bool> {
    momentum: f32,
    rate: f32,
}

impl<const NESTEROV: bool> Rule for Sgd<NESTEROV> {
    #[inline(always)]
    fn apply(self, p: &mut f32, gradient: f32, velocity: &mut f32, _: &mut f32) {
        *velocity = self.momentum * *velocity - self.rate * gradient;
        *p += if NESTEROV { self.momentum * *velocity - self.rate * gradient } else { *velocity };
    }
}
