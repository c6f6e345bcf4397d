//! Computes once all parts of attention that do not depend on the picture: the factors and biases of its scores, the
//! class and register tokens, and the query of an attention pool.

use super::{ExecError, Kernel, Lowering};
use crate::models::graph::{Attention, AttentionWindow, LayerId, RelativeBias, TokenTensors};

/// Attention: the channels of a position are the queries of all heads, then their keys, then their values. The output
/// has as many channels as the values, at the position of the query: softmax over the keys of
/// `scale` · query · key + `bias`, times the values.
#[derive(Clone, Debug)]
pub struct AttentionKernel {
    pub heads: usize,
    /// The factor of the scores of each head.
    pub scale: Vec<f32>,
    /// Queries and keys are first divided by their lengths, which are at least 10⁻¹².
    pub cosine: bool,
    /// `(heads, queries, keys)`, positions of a window counted row by row; empty where nothing is added.
    pub bias: Vec<f32>,
    /// The windows; none: all positions.
    pub window: Option<AttentionWindow>,
}

impl Lowering<'_> {
    pub(super) fn tokens(&mut self, id: LayerId, tensors: TokenTensors) -> Result<Kernel, ExecError> {
        let layer = self.graph.layer(id);
        let channels = layer.shape.channels();
        let mut positions = self.tensor(id, tensors.positions)?;
        let mut first = match tensors.class {
            Some(class) => self.tensor(id, class)?,
            None => vec![0.0; (layer.inputs.len() - 1) * channels],
        };
        if tensors.class_position {
            let rest = positions.split_off(channels);
            first.iter_mut().zip(positions).for_each(|(value, position)| *value += position);
            positions = rest;
        }
        if let Some((registers, _)) = tensors.registers {
            first.extend(self.tensor(id, registers)?);
        }
        Ok(Kernel::Tokens { first, positions })
    }

    pub(super) fn attention(&mut self, id: LayerId, attention: Attention) -> Result<AttentionKernel, ExecError> {
        let Attention { heads, window, bias } = attention;
        let each = self.graph.layer(id).shape.channels() / heads.max(1);
        let mut scale = vec![factor(each); heads];
        let size = window.map_or([1, 1], |window| window.size);
        let bias = match bias {
            RelativeBias::None => Vec::new(),
            RelativeBias::Table => by_distance(&self.tensor(id, "relative_position_bias_table")?, heads, size),
            RelativeBias::Given { cosine } => {
                if cosine {
                    scale = self.tensor(id, "scale")?;
                }
                self.tensor(id, "bias")?
            }
            RelativeBias::Network { window: counted, apart } => {
                self.mend_biases(id, apart)?;
                let largest = 100f64.ln();
                let logits = self.tensor(id, "logit_scale")?;
                scale = logits.iter().map(|&logit| f64::from(logit).min(largest).exp() as f32).collect();
                let words = ["cpb_mlp.0.weight", "cpb_mlp.0.bias", "cpb_mlp.2.weight"];
                let [first, bias, second] = words.map(|word| self.tensor(id, word));
                let network = DistanceNetwork { first: first?, bias: bias?, second: second? };
                by_distance(&network.table(heads, size, counted), heads, size)
            }
        };
        let cosine = matches!(attention.bias, RelativeBias::Network { .. } | RelativeBias::Given { cosine: true });
        Ok(AttentionKernel { heads, scale, cosine, bias, window })
    }

    /// Sets the biases of queries and values in the layer before SwinV2's attention, where they are tensors `apart`,
    /// and those of the keys to 0.
    fn mend_biases(&mut self, id: LayerId, apart: bool) -> Result<(), ExecError> {
        let layer = self.graph.layer(id);
        let channels = layer.shape.channels();
        let given = if apart { Some([self.tensor(id, "q_bias")?, self.tensor(id, "v_bias")?]) } else { None };
        let value = self.value[layer.inputs[0].0];
        let step = self.steps.iter_mut().rfind(|step| Some(step.output) == value);
        if let Some(Kernel::Conv { bias, .. }) = step.map(|step| &mut step.kernel) {
            bias[channels..2 * channels].fill(0.0);
            if let Some([queries, values]) = given {
                bias[..channels].copy_from_slice(&queries);
                bias[2 * channels..].copy_from_slice(&values);
            }
        }
        Ok(())
    }

    pub(super) fn attention_pool(&mut self, id: LayerId, heads: usize) -> Result<Kernel, ExecError> {
        let latent = self.tensor(id, "latent")?;
        let (weight, bias) = (self.tensor(id, "q.weight")?, self.tensor(id, "q.bias")?);
        let factor = f64::from(factor(latent.len() / heads.max(1)));
        let products = weight.chunks_exact(latent.len()).zip(&bias);
        let query = products.map(|(row, &bias)| ((dot(row, &latent) + f64::from(bias)) * factor) as f32).collect();
        Ok(Kernel::AttentionPool { heads, query })
    }
}

/// 1 / √n
fn factor(n: usize) -> f32 {
    (1.0 / (n as f64).sqrt()) as f32
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// The biases `(heads, queries, keys)` of a window from a `table` `(distances, heads)`: it has a row for each distance
/// of two positions, those across before those down, the most negative first.
fn by_distance(table: &[f32], heads: usize, [h, w]: [usize; 2]) -> Vec<f32> {
    let positions = h * w;
    let mut scores = Vec::with_capacity(heads * positions * positions);
    for (head, query) in (0..heads).flat_map(|head| (0..positions).map(move |query| (head, query))) {
        scores.extend((0..positions).map(|key| {
            let [down, across] = [query / w + h - 1 - key / w, query % w + w - 1 - key % w];
            table[(down * (2 * w - 1) + across) * heads + head]
        }));
    }
    scores
}

/// SwinV2's `cpb_mlp`: from the two distances over a hidden layer with ReLU to a bias for each head.
struct DistanceNetwork {
    /// `(hidden, 2)`
    first: Vec<f32>,
    bias: Vec<f32>,
    /// `(heads, hidden)`
    second: Vec<f32>,
}

impl DistanceNetwork {
    /// The table of [`by_distance`]: distances are scaled so that `counted` − 1 positions are 8, then their logarithm
    /// is taken.
    fn table(&self, heads: usize, [h, w]: [usize; 2], counted: [usize; 2]) -> Vec<f32> {
        let distance = |at: usize, size: usize, counted: usize| {
            let steps = at as f64 - (size - 1) as f64;
            let scaled = steps / counted.saturating_sub(1).max(1) as f64 * 8.0;
            scaled.signum() * (scaled.abs() + 1.0).log2() / 3.0
        };
        let mut table = Vec::with_capacity((2 * h - 1) * (2 * w - 1) * heads);
        for (down, across) in (0..2 * h - 1).flat_map(|down| (0..2 * w - 1).map(move |across| (down, across))) {
            let (down, across) = (distance(down, h, counted[0]), distance(across, w, counted[1]));
            let units = self.first.chunks_exact(2).zip(&self.bias);
            let hidden: Vec<f32> = units
                .map(|(unit, &bias)| (f64::from(unit[0]) * down + f64::from(unit[1]) * across + f64::from(bias)) as f32)
                .map(|sum| sum.max(0.0))
                .collect();
            let scores = self.second.chunks_exact(hidden.len()).map(|row| dot(row, &hidden));
            table.extend(scores.map(|score| (16.0 / (1.0 + (-score).exp())) as f32));
        }
        table
    }
}
