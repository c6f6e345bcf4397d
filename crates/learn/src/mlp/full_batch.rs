//! Trains by L-BFGS, on the loss and the gradient of all rows in `f64`: the perceptron, and logistic regression, which
//! is a perceptron without hidden layers. The `f32` table is converted to `f64` one block of rows at a time, whether it
//! is in memory or on disk.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef};

use super::{Activation, Dense, Epoch, Mlp, MlpError, OnEpoch};
use crate::lbfgs::{Limits, minimize};
use crate::parallel::parallelism;
use crate::table::Rows;

/// Rows that are converted to `f64` at a time.
const BLOCK: usize = 512;

/// The rows and the settings that the loss depends on.
#[derive(Debug)]
pub(crate) struct FullBatch<'a> {
    pub x: &'a dyn Rows,
    pub y: &'a [usize],
    /// The rows trained on.
    pub rows: &'a [usize],
    /// The number of classes.
    pub classes: usize,
    /// Weight of a row of each class.
    pub weights: Option<&'a [f64]>,
    /// The share of the target probability that is spread evenly over all classes.
    pub label_smoothing: f64,
    pub activation: Activation,
    /// Inputs, hidden layers, outputs.
    pub widths: Vec<usize>,
    /// The L2 penalty is half of this times the squared weights, over the sum of the rows' weights.
    pub alpha: f64,
    /// Whether the biases are trained.
    pub intercept: bool,
}

impl FullBatch<'_> {
    /// Returns all parameters in one vector: weights (inputs, outputs), then biases, layer by layer.
    pub(crate) fn pack(layers: &[Dense]) -> Vec<f64> {
        layers.iter().flat_map(|layer| layer.weights.iter().chain(&layer.bias)).map(|&v| f64::from(v)).collect()
    }

    /// Returns the layers of packed parameters: the inverse of [`FullBatch::pack`].
    fn unpack(&self, packed: &[f64]) -> Vec<Dense> {
        let (mut layers, mut rest) = (Vec::new(), packed);
        for pair in self.widths.windows(2) {
            let (weights, after) = rest.split_at(pair[0] * pair[1]);
            let (bias, after) = after.split_at(pair[1]);
            rest = after;
            let narrow = |values: &[f64]| values.iter().map(|&v| v as f32).collect();
            layers.push(Dense { inputs: pair[0], outputs: pair[1], weights: narrow(weights), bias: narrow(bias) });
        }
        layers
    }

    /// Minimises the loss from `start` on by L-BFGS; an iteration counts as an epoch.
    pub(crate) fn train(&self, start: Vec<f64>, limits: Limits, on_epoch: OnEpoch) -> Result<Mlp, MlpError> {
        let mut loss_curve = Vec::new();
        let mut on_iteration = |number: usize, loss: f64| {
            loss_curve.push(loss);
            let epoch = Epoch { number, max_iter: limits.max_iter, loss, validation_score: None };
            on_epoch(&epoch).map_break(|()| MlpError::Interrupted)
        };
        let found = minimize(start, limits, &mut |at, gradient| self.loss(at, gradient), &mut on_iteration)?;
        if !found.value.is_finite() {
            return Err(MlpError::Diverged { epoch: found.iterations });
        }
        Ok(Mlp {
            layers: self.unpack(&found.x),
            activation: self.activation,
            classes: self.classes,
            loss_curve,
            validation_scores: Vec::new(),
            n_iter: found.iterations,
            end: found.end,
        })
    }

    /// Returns the loss at `packed` and writes its gradient into `gradient`.
    pub(crate) fn loss(&self, packed: &[f64], gradient: &mut [f64]) -> Result<f64, MlpError> {
        gradient.fill(0.0);
        let (mut loss, mut weight) = (0.0, 0.0);
        for rows in self.rows.chunks(BLOCK) {
            let (own, own_weight) = self.block(rows, packed, gradient)?;
            (loss, weight) = (loss + own, weight + own_weight);
        }
        loss /= weight;
        gradient.iter_mut().for_each(|g| *g /= weight);
        let mut at = 0;
        for pair in self.widths.windows(2) {
            let weights = at..at + pair[0] * pair[1];
            let squares: f64 = packed[weights.clone()].iter().map(|w| w * w).sum();
            loss += 0.5 * self.alpha * squares / weight;
            gradient[weights.clone()]
                .iter_mut()
                .zip(&packed[weights.clone()])
                .for_each(|(g, w)| *g += self.alpha * w / weight);
            at = weights.end + pair[1];
            if !self.intercept {
                gradient[weights.end..at].fill(0.0);
            }
        }
        Ok(loss)
    }

    /// Returns the given rows (n, d) in `f64`.
    fn in_f64(&self, rows: &[usize]) -> Result<Vec<f64>, MlpError> {
        if let Some(table) = self.x.in_memory() {
            return Ok(rows.iter().flat_map(|&row| table.row(row)).map(|&v| f64::from(v)).collect());
        }
        let mut values = Vec::new();
        self.x.pick(rows, &mut values)?;
        Ok(values.into_iter().map(f64::from).collect())
    }

    /// Adds the gradient of some rows to `gradient`; returns their loss and the sum of their weights.
    fn block(&self, rows: &[usize], packed: &[f64], gradient: &mut [f64]) -> Result<(f64, f64), MlpError> {
        let (n, layers) = (rows.len(), self.widths.len() - 1);
        let mut values: Vec<Vec<f64>> = vec![self.in_f64(rows)?]; // (n, width) of every layer
        let (mut at, mut places) = (0, Vec::with_capacity(layers));
        for (layer, pair) in self.widths.windows(2).enumerate() {
            let bias = at + pair[0] * pair[1];
            let mut sums: Vec<f64> = packed[bias..bias + pair[1]].iter().copied().cycle().take(n * pair[1]).collect();
            let (left, right) = (&values[layer], &packed[at..bias]);
            product(&mut sums, (n, pair[1]), row_major(left, n, pair[0]), row_major(right, pair[0], pair[1]));
            if layer + 1 < layers {
                sums.iter_mut().for_each(|value| *value = self.activation.of(*value));
            }
            values.push(sums);
            places.push((at, bias));
            at = bias + pair[1];
        }
        let mut delta = values.pop().unwrap_or_default();
        let (loss, weight) = self.deltas(rows, &mut delta);
        for layer in (0..layers).rev() {
            let (inputs, outputs) = (self.widths[layer], self.widths[layer + 1]);
            let ((at, bias), value) = (places[layer], &values[layer]);
            for row in delta.chunks_exact(outputs) {
                gradient[bias..bias + outputs].iter_mut().zip(row).for_each(|(g, d)| *g += d);
            }
            let left = row_major(value, n, inputs).transpose();
            product(&mut gradient[at..bias], (inputs, outputs), left, row_major(&delta, n, outputs));
            if layer > 0 {
                let mut back = vec![0.0; n * inputs];
                let weights = row_major(&packed[at..bias], inputs, outputs).transpose();
                product(&mut back, (n, inputs), row_major(&delta, n, outputs), weights);
                back.iter_mut().zip(value).for_each(|(d, &v)| *d *= self.activation.slope_f64(v));
                delta = back;
            }
        }
        Ok((loss, weight))
    }

    /// Replaces the logits by weight × (probability − truth); returns the summed loss and weight.
    fn deltas(&self, rows: &[usize], sums: &mut [f64]) -> (f64, f64) {
        let outputs = sums.len() / rows.len();
        let (mut loss, mut total) = (0.0, 0.0);
        let truth = 1.0 - self.label_smoothing;
        let share = self.label_smoothing / outputs.max(2) as f64; // of every class
        for (row, &at) in sums.chunks_exact_mut(outputs).zip(rows) {
            let class = self.y[at];
            let weight = self.weights.map_or(1.0, |weights| weights[class]);
            total += weight;
            if outputs == 1 {
                // ln(1 + eᶻ) − y z
                let (z, y) = (row[0], truth * class as f64 + share);
                loss += weight * (z.max(0.0) + (-z.abs()).exp().ln_1p() - y * z);
                row[0] = weight * (1.0 / (1.0 + (-z).exp()) - y);
                continue;
            }
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.iter().map(|z| (z - largest).exp()).sum();
            let spread: f64 = if share > 0.0 { share * row.iter().sum::<f64>() } else { 0.0 };
            loss += weight * (sum.ln() + largest - truth * row[class] - spread);
            row.iter_mut().for_each(|z| *z = weight * ((*z - largest).exp() / sum - share));
            row[class] -= weight * truth;
        }
        (loss, total)
    }
}

fn row_major(values: &[f64], rows: usize, cols: usize) -> MatRef<'_, f64> {
    MatRef::from_row_major_slice(values, rows, cols)
}

/// out += left right
fn product(out: &mut [f64], (rows, cols): (usize, usize), left: MatRef<'_, f64>, right: MatRef<'_, f64>) {
    let out = MatMut::from_row_major_slice_mut(out, rows, cols);
    matmul(out, Accum::Add, left, right, 1.0, parallelism());
}

impl Activation {
    /// Returns the derivative, computed from the value of the activation.
    pub(crate) fn slope_f64(self, value: f64) -> f64 {
        match self {
            Self::Identity => 1.0,
            Self::Logistic => value * (1.0 - value),
            Self::Tanh => 1.0 - value * value,
            Self::Relu => f64::from(value > 0.0),
        }
    }
}
