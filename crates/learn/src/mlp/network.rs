//! Forward and backward pass of one batch, in candle tensors on the CPU.

use candle_core::{Device, Result, Tensor};
use candle_nn::{Module, ops};

use super::step::{Each2, Slope, product};
use super::{Activation, Dense, MlpParams};

/// The layers while they are trained.
pub(super) struct Network {
    layers: Vec<Parameters>,
    activation: Activation,
    /// Strength of the L2 penalty.
    alpha: f64,
    /// Weight of a row of each class.
    class_weight: Option<Vec<f64>>,
    label_smoothing: f64,
}

/// Draws the dropout factors of the given number of activations of a hidden layer: 0 for a neuron that is left out,
/// else 1 / (1 − dropout).
pub(super) type Factors<'a> = &'a mut dyn FnMut(usize) -> Vec<f32>;

/// Called with the number and the slope of each layer, from the last to the first. It may change the layer's
/// parameters, which the pass no longer needs, and returns the squared norm of the weights before the change.
pub(super) type OnSlope<'a> = &'a mut dyn FnMut(usize, &Slope) -> Result<f64>;

/// The parameters of one layer. Clones share their storage.
#[derive(Clone)]
pub(super) struct Parameters {
    /// (inputs, outputs)
    pub weights: Tensor,
    /// (outputs)
    pub bias: Tensor,
}

impl Network {
    /// Makes the network of layers whose shapes match.
    pub(super) fn new(layers: &[Dense], params: &MlpParams, class_weight: Option<&[f64]>) -> Result<Self> {
        let tensors = |layer: &Dense| {
            let weights = Tensor::from_slice(&layer.weights, (layer.inputs, layer.outputs), &Device::Cpu)?;
            let bias = Tensor::from_slice(&layer.bias, layer.outputs, &Device::Cpu)?;
            Ok(Parameters { weights, bias })
        };
        Ok(Self {
            layers: layers.iter().map(tensors).collect::<Result<_>>()?,
            activation: params.activation,
            alpha: params.alpha,
            class_weight: class_weight.map(<[f64]>::to_vec),
            label_smoothing: params.label_smoothing,
        })
    }

    /// Returns the parameters, from the first layer to the last; an optimizer changes them in place.
    pub(super) fn parameters(&self) -> Vec<Parameters> {
        self.layers.clone()
    }

    /// Returns the layers as plain numbers.
    pub(super) fn to_layers(&self) -> Result<Vec<Dense>> {
        let dense = |parameters: &Parameters| {
            let (inputs, outputs) = parameters.weights.dims2()?;
            let weights = parameters.weights.flatten_all()?.to_vec1()?;
            Ok(Dense { inputs, outputs, weights, bias: parameters.bias.to_vec1()? })
        };
        self.layers.iter().map(dense).collect()
    }

    /// Returns the loss of a batch (n, d) with class numbers `y` (n), penalty included; `on_slope` is called with every
    /// layer. `dropout` draws the factors of hidden layers, from the first to the last.
    pub(super) fn backward(&self, x: Tensor, y: &[usize], dropout: Option<Factors>, on_slope: OnSlope) -> Result<f64> {
        let mut pass = self.forward(x, dropout)?;
        let (mut loss, mut delta, weight) = self.loss_and_delta(&pass.sums, y)?; // (n, outputs)
        while let Some(inputs) = pass.inputs.pop() {
            let at = pass.inputs.len();
            let below = match pass.hidden.pop() {
                Some(hidden) => {
                    let below = product(&delta, &self.layers[at].weights.t()?)?; // (n, inputs)
                    if let Some(factors) = &hidden.factors {
                        below.inplace_op2(factors, &Each2(|d: &mut f32, factor| *d *= factor))?;
                    }
                    self.times_derivative(&below, &hidden.value)?;
                    Some(below)
                }
                None => None,
            };
            let slope = Slope { inputs, delta, alpha: self.alpha as f32, scale: weight as f32 };
            loss += 0.5 * self.alpha * on_slope(at, &slope)? / weight;
            let Some(below) = below else { break };
            delta = below;
        }
        Ok(loss)
    }

    fn forward(&self, x: Tensor, mut dropout: Option<Factors>) -> Result<Pass> {
        let (mut inputs, mut hidden) = (vec![x], Vec::with_capacity(self.layers.len()));
        for (at, layer) in self.layers.iter().enumerate() {
            let sums = product(&inputs[at], &layer.weights)?.broadcast_add(&layer.bias)?;
            if at + 1 == self.layers.len() {
                return Ok(Pass { inputs, hidden, sums });
            }
            let value = self.activate(sums)?;
            let factors = match &mut dropout {
                Some(factors) => Some(Tensor::from_vec(factors(value.elem_count()), value.shape(), &Device::Cpu)?),
                None => None,
            };
            inputs.push(factors.as_ref().map_or_else(|| Ok(value.clone()), |factors| value.mul(factors))?);
            hidden.push(Hidden { value, factors });
        }
        Err(candle_core::Error::Msg("a network without layers".into()))
    }

    fn activate(&self, sums: Tensor) -> Result<Tensor> {
        match self.activation {
            Activation::Identity => Ok(sums),
            Activation::Logistic => candle_nn::Activation::Sigmoid.forward(&sums),
            Activation::Tanh => sums.tanh(),
            Activation::Relu => candle_nn::Activation::Relu.forward(&sums),
        }
    }

    /// Multiplies `delta` in place by the derivative of the activation, which follows from its value.
    fn times_derivative(&self, delta: &Tensor, value: &Tensor) -> Result<()> {
        match self.activation {
            Activation::Identity => Ok(()),
            Activation::Logistic => delta.inplace_op2(value, &Each2(|d: &mut f32, a: f32| *d *= a * (1.0 - a))),
            Activation::Tanh => delta.inplace_op2(value, &Each2(|d: &mut f32, a: f32| *d *= 1.0 - a * a)),
            Activation::Relu => {
                delta.inplace_op2(value, &Each2(|d: &mut f32, a: f32| *d = if a == 0.0 { 0.0 } else { *d }))
            }
        }
    }

    /// Returns the mean log loss of a batch; its gradient with respect to the logits (n, outputs), times the sum of the
    /// rows' weights; and that sum.
    ///
    /// One output is the logit of class 1, more are softmaxed. Probabilities are clipped at the `f32` epsilon for the
    /// loss, as scikit-learn does, not for the gradient.
    fn loss_and_delta(&self, sums: &Tensor, y: &[usize]) -> Result<(f64, Tensor, f64)> {
        let (rows, outputs) = sums.dims2()?;
        let probabilities = if outputs == 1 { ops::sigmoid(sums)? } else { ops::softmax_last_dim(sums)? };
        let mut delta: Vec<f32> = probabilities.flatten_all()?.to_vec1()?;
        let (mut loss, mut total) = (0.0, 0.0);
        let log = |p: f32| f64::from(p.clamp(f32::EPSILON, 1.0 - f32::EPSILON)).ln();
        let other = |p: f32| f64::from(1.0 - p.clamp(f32::EPSILON, 1.0 - f32::EPSILON)).ln();
        let smoothing = self.label_smoothing;
        for (row, &class) in delta.chunks_exact_mut(outputs).zip(y) {
            let weight = self.class_weight.as_ref().map_or(1.0, |weights| weights[class]);
            total += weight;
            let right = match (outputs, class) {
                (1, 0) => other(row[0]),
                (_, class) => log(row[if outputs == 1 { 0 } else { class }]),
            };
            loss -= weight * (1.0 - smoothing) * right;
            if smoothing > 0.0 {
                let all = if outputs == 1 { 0.5 * (log(row[0]) + other(row[0])) } else { mean(row, log) };
                loss -= weight * smoothing * all;
                let share = smoothing / outputs.max(2) as f64;
                row.iter_mut().for_each(|p| *p -= share as f32);
            }
            let truth = (1.0 - smoothing) as f32;
            match outputs {
                1 => row[0] -= truth * class as f32,
                _ => row[class] -= truth,
            }
            if self.class_weight.is_some() {
                row.iter_mut().for_each(|d| *d *= weight as f32);
            }
        }
        Ok((loss / total, Tensor::from_vec(delta, (rows, outputs), &Device::Cpu)?, total))
    }
}

/// The values of a batch in every layer, kept for the backward pass.
struct Pass {
    /// The input of each layer.
    inputs: Vec<Tensor>,
    /// One entry for each hidden layer.
    hidden: Vec<Hidden>,
    /// (n, outputs)
    sums: Tensor,
}

struct Hidden {
    /// The activations before the dropout.
    value: Tensor,
    /// The factors of the dropout.
    factors: Option<Tensor>,
}

fn mean(row: &[f32], of: impl Fn(f32) -> f64) -> f64 {
    row.iter().map(|&p| of(p)).sum::<f64>() / row.len() as f64
}
