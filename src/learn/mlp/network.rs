//! Forward and backward pass of one batch, in candle tensors on the CPU.

use candle_core::{Device, Result, Tensor};
use candle_nn::{Linear, Module, ops};

use super::optimizer::Each2;
use super::{Activation, Dense};

/// The layers while they are trained. Each holds its weights as (inputs, outputs) behind a transposed view, because
/// `Linear` wants (outputs, inputs).
pub struct Network {
    layers: Vec<Linear>,
    activation: Activation,
    /// Strength of the L2 penalty.
    alpha: f64,
}

/// Gradients of one layer, shaped as its parameters.
pub struct Gradients {
    /// (inputs, outputs)
    pub weights: Tensor,
    /// (outputs)
    pub bias: Tensor,
}

/// The parameters of one layer: tensors that share their storage with the network.
pub struct Parameters {
    /// (inputs, outputs)
    pub weights: Tensor,
    /// (outputs)
    pub bias: Tensor,
}

impl Network {
    /// Takes layers that fit together.
    pub fn new(layers: &[Dense], activation: Activation, alpha: f64) -> Result<Self> {
        let linear = |layer: &Dense| {
            let weights = Tensor::from_slice(&layer.weights, (layer.inputs, layer.outputs), &Device::Cpu)?;
            let bias = Tensor::from_slice(&layer.bias, layer.outputs, &Device::Cpu)?;
            Ok(Linear::new(weights.t()?, Some(bias)))
        };
        Ok(Self { layers: layers.iter().map(linear).collect::<Result<_>>()?, activation, alpha })
    }

    /// The parameters, from the first layer to the last, for an optimizer to change in place.
    pub fn parameters(&self) -> Result<Vec<Parameters>> {
        let of = |layer: &Linear| {
            let bias = layer.bias().cloned().ok_or_else(|| candle_core::Error::Msg("a layer without bias".into()))?;
            Ok(Parameters { weights: layer.weight().t()?, bias })
        };
        self.layers.iter().map(of).collect()
    }

    /// The layers as plain numbers.
    pub fn to_layers(&self) -> Result<Vec<Dense>> {
        let dense = |parameters: Parameters| {
            let (inputs, outputs) = parameters.weights.dims2()?;
            let weights = parameters.weights.flatten_all()?.to_vec1()?;
            Ok(Dense { inputs, outputs, weights, bias: parameters.bias.to_vec1()? })
        };
        self.parameters()?.into_iter().map(dense).collect()
    }

    /// Loss of a batch (n, d) with class numbers `y` (n), penalty included, and the gradients of every layer.
    pub fn backward(&self, x: Tensor, y: &[usize]) -> Result<(f64, Vec<Gradients>)> {
        let rows = y.len() as f64;
        let mut inputs = vec![x];
        let mut output = None;
        for (at, layer) in self.layers.iter().enumerate() {
            let sums = layer.forward(&inputs[at])?;
            if at + 1 < self.layers.len() {
                inputs.push(self.activate(sums)?);
            } else {
                output = Some(sums);
            }
        }
        let sums = output.ok_or_else(|| candle_core::Error::Msg("a network without layers".into()))?;
        let (mut loss, mut delta) = loss_and_delta(&sums, y)?; // (n, outputs)
        let mut gradients = Vec::with_capacity(self.layers.len());
        for at in (0..self.layers.len()).rev() {
            let weights = self.layers[at].weight().t()?; // (inputs, outputs)
            let slope = inputs[at].t()?.matmul(&delta)?; // (inputs, outputs)
            let (alpha, scale) = (self.alpha as f32, rows as f32);
            slope
                .inplace_op2(&weights, &Each2(move |slope: &mut f32, w: f32| *slope = (*slope + alpha * w) / scale))?;
            gradients.push(Gradients { weights: slope, bias: (delta.sum(0)? / rows)? });
            loss += 0.5 * self.alpha * squared_length(&weights)? / rows;
            if at > 0 {
                delta = delta.matmul(&weights.t()?)?; // (n, inputs)
                self.times_derivative(&delta, &inputs[at])?;
            }
        }
        gradients.reverse();
        Ok((loss, gradients))
    }

    fn activate(&self, sums: Tensor) -> Result<Tensor> {
        match self.activation {
            Activation::Identity => Ok(sums),
            Activation::Logistic => candle_nn::Activation::Sigmoid.forward(&sums),
            Activation::Tanh => sums.tanh(),
            Activation::Relu => candle_nn::Activation::Relu.forward(&sums),
        }
    }

    /// Multiplies `delta` in place by the derivative of the activation, told from its value.
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
}

/// Mean log loss of a batch, and its gradient by the last sums times n: probability minus truth, (n, outputs).
///
/// One output is the logit of class 1, more are softmaxed. Probabilities are clipped at the `f32` epsilon for the loss, as
/// scikit-learn does, not for the gradient.
fn loss_and_delta(sums: &Tensor, y: &[usize]) -> Result<(f64, Tensor)> {
    let (rows, outputs) = sums.dims2()?;
    let probabilities = if outputs == 1 { ops::sigmoid(sums)? } else { ops::softmax_last_dim(sums)? };
    let mut delta: Vec<f32> = probabilities.flatten_all()?.to_vec1()?;
    let mut loss = 0.0;
    for (row, &class) in delta.chunks_exact_mut(outputs).zip(y) {
        let clipped = |p: f32| p.clamp(f32::EPSILON, 1.0 - f32::EPSILON);
        let right = match (outputs, class) {
            (1, 0) => 1.0 - clipped(row[0]),
            (1, _) => clipped(row[0]),
            (_, class) => clipped(row[class]),
        };
        loss -= f64::from(right).ln();
        if outputs == 1 {
            row[0] -= class as f32;
        } else {
            row[class] -= 1.0;
        }
    }
    Ok((loss / rows as f64, Tensor::from_vec(delta, (rows, outputs), &Device::Cpu)?))
}

fn squared_length(weights: &Tensor) -> Result<f64> {
    weights.sqr()?.sum_all()?.to_scalar::<f32>().map(f64::from)
}
