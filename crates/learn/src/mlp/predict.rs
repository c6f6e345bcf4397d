//! Computes probabilities of trained layers by plain loops in a fixed order, so that a row's result does not depend, to
//! the bit, on the other rows, on threads, or on the machine's matrix product.

use rayon::prelude::*;

use super::{Activation, Mlp, MlpError, outputs};
use crate::dataset::Predict;
use crate::table::FeatureMatrix;

/// The number of products that are summed in `f32` before the sum is added in `f64`, so that 100,352 features are as
/// exact as 512.
const CHUNK: usize = 512;

impl Mlp {
    /// Returns the probability of every class for rows (n, d): (n, classes), each row adding up to 1.
    pub fn predict_proba(&self, x: &FeatureMatrix) -> Result<FeatureMatrix, MlpError> {
        self.check()?;
        let features = self.layers.first().map_or(0, |layer| layer.inputs);
        if x.cols() != features {
            return Err(MlpError::Layers { what: format!("{} features where {features} are expected", x.cols()) });
        }
        let mut out = FeatureMatrix::zeros(x.rows(), self.classes);
        let rows = x.as_slice().par_chunks(features);
        out.as_mut_slice().par_chunks_mut(self.classes).zip(rows).for_each(|(out, row)| self.probabilities(row, out));
        Ok(out)
    }

    /// Checks that the shapes of the layers match. It must be called on a classifier that was read from a file.
    pub fn check(&self) -> Result<(), MlpError> {
        let fail = |what: String| Err(MlpError::Layers { what });
        let outputs = outputs(self.classes);
        if self.classes < 2 || self.layers.last().map(|layer| layer.outputs) != Some(outputs) {
            return fail(format!("the last layer does not have the {outputs} outputs of {} classes", self.classes));
        }
        for (at, layer) in self.layers.iter().enumerate() {
            let (inputs, outputs) = (layer.inputs, layer.outputs);
            if inputs == 0 || outputs == 0 {
                return fail(format!("layer {at} is {inputs} × {outputs}"));
            }
            if inputs.checked_mul(outputs) != Some(layer.weights.len()) || layer.bias.len() != outputs {
                let (weights, bias) = (layer.weights.len(), layer.bias.len());
                return fail(format!("layer {at} has {weights} weights and {bias} biases for {inputs} × {outputs}"));
            }
            if at > 0 && self.layers[at - 1].outputs != inputs {
                return fail(format!(
                    "layer {at} takes {inputs} values, the one before gives {}",
                    self.layers[at - 1].outputs
                ));
            }
        }
        Ok(())
    }

    fn probabilities(&self, row: &[f32], out: &mut [f32]) {
        let mut values = row.to_vec();
        for (at, layer) in self.layers.iter().enumerate() {
            values = layer.sums(&values);
            if at + 1 < self.layers.len() {
                values.iter_mut().for_each(|value| *value = self.activation.of(*value));
            }
        }
        if self.classes == 2 {
            let second = Activation::Logistic.of(values[0]);
            out.copy_from_slice(&[1.0 - second, second]);
        } else {
            softmax(&values, out);
        }
    }
}

impl Predict<&FeatureMatrix, Result<Vec<usize>, MlpError>> for Mlp {
    /// Returns the most probable class of every row; of equal ones the lowest.
    fn predict(&self, x: &FeatureMatrix) -> Result<Vec<usize>, MlpError> {
        Ok(self.predict_proba(x)?.iter_rows().map(argmax).collect())
    }
}

impl super::Dense {
    /// x W + b
    fn sums(&self, x: &[f32]) -> Vec<f32> {
        let mut sums: Vec<f64> = self.bias.iter().map(|&bias| f64::from(bias)).collect();
        let mut part = vec![0.0_f32; self.outputs];
        for (x, weights) in x.chunks(CHUNK).zip(self.weights.chunks(CHUNK * self.outputs)) {
            part.fill(0.0);
            for (x, weights) in x.iter().zip(weights.chunks_exact(self.outputs)) {
                part.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += x * weight);
            }
            sums.iter_mut().zip(&part).for_each(|(sum, &part)| *sum += f64::from(part));
        }
        sums.into_iter().map(|sum| sum as f32).collect()
    }
}

impl Activation {
    /// Returns the activation at `x`.
    pub(crate) fn of<F: linfa::Float>(self, x: F) -> F {
        match self {
            Self::Identity => x,
            Self::Logistic => F::one() / (F::one() + (-x).exp()),
            Self::Tanh => x.tanh(),
            Self::Relu => x.max(F::zero()),
        }
    }
}

fn softmax(logits: &[f32], out: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    out.iter_mut().zip(logits).for_each(|(out, logit)| *out = (logit - largest).exp());
    let sum: f32 = out.iter().sum();
    out.iter_mut().for_each(|out| *out /= sum);
}

/// Returns the index of the largest value; of equal ones the first.
pub fn argmax(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (at, value)| if *value > row[best] { at } else { best })
}
