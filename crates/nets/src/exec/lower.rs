//! Lowers a graph, its weights and the taps to the steps that an executor runs: only the layers that the taps need,
//! batch norm folded into the convolution before it (in f64) and the activation joined to it, unless the value between
//! them is a tap or has other readers.

mod attention;

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::{ExecError, not_finite};
use crate::models::graph::{Activation, FlattenOrder, Graph, LayerId, Op, Pad, Parameter, Pooling, Shape, Window};
use crate::weights::{WeightError, WeightSet};

pub use attention::AttentionKernel;

/// The operation of a step. Weights are owned, in PyTorch's layout.
#[derive(Clone, Debug)]
pub enum Kernel {
    /// `weight` `(out, in / groups, kh, kw)`, a bias a filter.
    Conv {
        groups: usize,
        window: Window,
        weight: Vec<f32>,
        bias: Vec<f32>,
        activation: Option<Activation>,
    },
    /// `weight` `(channels, kh, kw)`, a bias a channel.
    Depthwise {
        window: Window,
        weight: Vec<f32>,
        bias: Vec<f32>,
        activation: Option<Activation>,
    },
    /// x · scale + shift, by channel.
    Scale {
        scale: Vec<f32>,
        shift: Vec<f32>,
        activation: Option<Activation>,
    },
    /// (x − mean) / √(variance + eps) · weight + bias over the channels of a position.
    LayerNorm {
        eps: f32,
        weight: Vec<f32>,
        bias: Vec<f32>,
    },
    Activation(Activation),
    Softmax,
    /// x / √(Σ x²).
    Normalize,
    /// For each channel √(Σ x²), divided by their mean plus this epsilon (global response normalisation).
    Responses(f32),
    ZeroPad(Pad),
    Add,
    /// A map times one value for each of its channels.
    Multiply,
    Concat,
    /// The channels from this one on.
    Slice(usize),
    Shuffle(usize),
    Pool {
        pooling: Pooling,
        window: Window,
        /// Whether the padding counts as zeros, so that the maximum of a window of negative values may be such a zero.
        zeros: bool,
    },
    AdaptiveAvgPool,
    GlobalAvgPool,
    Flatten(FlattenOrder),
    /// `weight` `(out, in)`.
    Dense {
        weight: Vec<f32>,
        bias: Vec<f32>,
        activation: Option<Activation>,
    },
    /// A map becomes tokens: the `first` ones, then its positions row by row, with `positions` added. A second input, a
    /// vector, is added to `first`, which then is one token.
    Tokens {
        /// `(tokens, channels)`
        first: Vec<f32>,
        /// `(h · w, channels)`
        positions: Vec<f32>,
    },
    Attention(AttentionKernel),
    /// Rotary position embedding of queries and keys: x · cos + (−second half, first half) · sin.
    Turn {
        heads: usize,
        /// `(tokens, channels of a head)`
        cos: Vec<f32>,
        sin: Vec<f32>,
    },
    /// For each head the mean of the values of all tokens, weighted by the softmax of query · key. The channels of a
    /// token are keys, then values.
    AttentionPool {
        heads: usize,
        /// The queries of all heads, one after the other, times the factor of the scores.
        query: Vec<f32>,
    },
    /// The tokens from this one on, as many as the output has positions.
    Select(usize),
    /// Patch merging: the channels of the positions (0, 0), (1, 0), (0, 1) and (1, 1) of each 2 × 2 square, one after
    /// the other.
    Merge,
}

impl Kernel {
    /// The activation of this kernel, for kernels that apply one.
    fn activation(&mut self) -> Option<&mut Option<Activation>> {
        match self {
            Kernel::Conv { activation, .. }
            | Kernel::Depthwise { activation, .. }
            | Kernel::Scale { activation, .. }
            | Kernel::Dense { activation, .. } => Some(activation),
            _ => None,
        }
    }
}

/// One step: reads the values `inputs`, writes value `output`.
#[derive(Clone, Debug)]
pub struct Step {
    /// The last layer that this step covers.
    pub layer: String,
    pub kernel: Kernel,
    pub inputs: Vec<usize>,
    pub output: usize,
    pub in_shape: Shape,
    pub out_shape: Shape,
}

/// The steps in order; value 0 is the picture.
#[derive(Clone, Debug)]
pub struct Program {
    pub steps: Vec<Step>,
    /// The value of each tap.
    pub taps: Vec<usize>,
    pub input_shape: Shape,
    /// The last step that reads each value; `usize::MAX` for a tap.
    pub last_use: Vec<usize>,
}

impl Program {
    /// The program of `steps` over so many `values`.
    pub(super) fn new(steps: Vec<Step>, taps: Vec<usize>, input_shape: Shape, values: usize) -> Self {
        let mut last_use = vec![0; values];
        for (i, step) in steps.iter().enumerate() {
            step.inputs.iter().for_each(|&value| last_use[value] = i);
        }
        taps.iter().for_each(|&value| last_use[value] = usize::MAX);
        Self { steps, taps, input_shape, last_use }
    }
}

/// Lowers the layers that `taps` need. Every tensor of theirs must be in `weights` with the shape of the graph.
pub fn lower(graph: &Graph, weights: &WeightSet, taps: &[LayerId]) -> Result<Program, ExecError> {
    let mut lowering = Lowering::new(graph, weights, taps);
    for index in 0..graph.layers().len() {
        if lowering.needed[index] {
            lowering.layer(LayerId(index))?;
        }
    }
    lowering.check()?;
    Ok(lowering.finish(taps))
}

struct Lowering<'a> {
    graph: &'a Graph,
    /// The values of the tensors that the taps need.
    tensors: BTreeMap<String, Result<Vec<f32>, WeightError>>,
    needed: Vec<bool>,
    /// How many needed layers read each layer; a tap counts as one more reader.
    readers: Vec<usize>,
    /// For each layer the value that holds its output, once computed.
    value: Vec<Option<usize>>,
    steps: Vec<Step>,
    /// Shape of each value.
    shapes: Vec<Shape>,
}

impl<'a> Lowering<'a> {
    fn new(graph: &'a Graph, weights: &'a WeightSet, taps: &[LayerId]) -> Self {
        let needed = graph.needed_for(taps);
        let mut readers = vec![0; needed.len()];
        taps.iter().for_each(|tap| readers[tap.0] += 1);
        for (layer, _) in graph.layers().iter().zip(&needed).filter(|(_, needed)| **needed) {
            layer.inputs.iter().for_each(|input| readers[input.0] += 1);
        }
        let shapes = graph.layers().first().map(|input| input.shape).into_iter().collect();
        let layers = graph.layers().iter().zip(&needed).filter(|(_, needed)| **needed);
        let parameters: Vec<Parameter> = layers.flat_map(|(layer, _)| graph.parameters_of(layer)).collect();
        let tensors = parameters.into_par_iter().map(|parameter| {
            let values = weights.get(&parameter);
            (parameter.name, values)
        });
        let (tensors, value) = (tensors.collect(), vec![None; needed.len()]);
        Self { graph, tensors, value, needed, readers, steps: Vec::new(), shapes }
    }

    /// An error where folding batch norm made weights larger than f32 can hold.
    fn check(&self) -> Result<(), ExecError> {
        let is_too_large = |step: &&Step| {
            let values: [&[f32]; 2] = match &step.kernel {
                Kernel::Conv { weight, bias, .. }
                | Kernel::Depthwise { weight, bias, .. }
                | Kernel::Dense { weight, bias, .. } => [weight, bias],
                Kernel::Scale { scale, shift, .. } => [scale, shift],
                _ => return false,
            };
            values.into_iter().any(|values| not_finite(values).is_some())
        };
        let Some(step) = self.steps.par_iter().find_first(is_too_large) else { return Ok(()) };
        let reason = "its weights are too large for numbers of 32 bits, once batch norm is part of them";
        Err(ExecError::Layer { layer: step.layer.clone(), reason: reason.to_string() })
    }

    fn finish(self, taps: &[LayerId]) -> Program {
        let taps: Vec<usize> = taps.iter().map(|tap| self.value[tap.0].unwrap_or(0)).collect();
        let input_shape = self.graph.layers().first().map_or(Shape::Vector(0), |layer| layer.shape);
        Program::new(self.steps, taps, input_shape, self.shapes.len())
    }

    fn layer(&mut self, id: LayerId) -> Result<(), ExecError> {
        let layer = self.graph.layer(id);
        let kernel = match layer.op {
            Op::Input => {
                self.value[id.0] = Some(0);
                return Ok(());
            }
            Op::BatchNorm { eps, scale } => {
                let (scale, shift) = self.batch_norm(id, eps, scale)?;
                if self.fold(id, &scale, &shift) {
                    return Ok(());
                }
                scaling(&scale, &shift)
            }
            Op::LayerNorm { eps } => {
                let (weight, bias) = (self.tensor(id, "weight")?, self.tensor(id, "bias")?);
                Kernel::LayerNorm { eps: eps as f32, weight, bias }
            }
            Op::LayerScale(word) => {
                let scale: Vec<f64> = self.tensor(id, word)?.into_iter().map(f64::from).collect();
                match self.scaled(id, &scale) {
                    Some(kernel) => kernel,
                    None => return Ok(()),
                }
            }
            Op::Scale(factor) => match self.scaled(id, &vec![factor; layer.shape.channels()]) {
                Some(kernel) => kernel,
                None => return Ok(()),
            },
            Op::Rescale { scale, shift } => {
                let channels = layer.shape.channels();
                scaling(&scale[..channels], &shift[..channels])
            }
            Op::Activation(activation) => {
                if self.join(id, activation) {
                    return Ok(());
                }
                Kernel::Activation(activation)
            }
            Op::Softmax => Kernel::Softmax,
            Op::Normalize => Kernel::Normalize,
            Op::Responses { eps } => Kernel::Responses(eps as f32),
            Op::Conv { window, out, groups, bias } => {
                let (weight, bias) = (self.tensor(id, "weight")?, self.bias(id, bias, out)?);
                let window = Window { pad: added(window.pad, self.zeros_before(id)), ..window };
                match self.graph.input_shape(layer) {
                    Shape::Map { c, .. } if groups > 1 && groups == c && groups == out => {
                        Kernel::Depthwise { window, weight, bias, activation: None }
                    }
                    _ => Kernel::Conv { groups, window, weight, bias, activation: None },
                }
            }
            Op::Pool { pooling: Pooling::Max, window } if window.pad.is_zero() => {
                let pad = self.zeros_before(id);
                // positions beyond the map that the last window covers in ceil mode do not count as zeros
                let zeros = !pad.is_zero();
                Kernel::Pool { pooling: Pooling::Max, window: Window { pad, ..window }, zeros }
            }
            Op::Pool { pooling, window } => Kernel::Pool { pooling, window, zeros: false },
            Op::AdaptiveAvgPool(_) | Op::Flatten(_) if self.same(id) => return Ok(()),
            Op::AdaptiveAvgPool(_) => Kernel::AdaptiveAvgPool,
            Op::Flatten(order) => Kernel::Flatten(order),
            Op::ZeroPad(pad) => Kernel::ZeroPad(pad),
            Op::Crop => {
                // the kernel keeps the last of the four positions of a window
                let channels = layer.shape.channels();
                let window = Window::new([2, 2], [1, 1], self.zeros_before(id));
                let (weight, bias) = ([0.0, 0.0, 0.0, 1.0].repeat(channels), vec![0.0; channels]);
                Kernel::Depthwise { window, weight, bias, activation: None }
            }
            Op::Dense { out, bias } => {
                let (weight, bias) = (self.tensor(id, "weight")?, self.bias(id, bias, out)?);
                Kernel::Dense { weight, bias, activation: None }
            }
            Op::DenseMap { out, bias } => {
                let (weight, bias) = (self.tensor(id, "weight")?, self.bias(id, bias, out)?);
                let window = Window::new([1, 1], [1, 1], Pad::default());
                Kernel::Conv { groups: 1, window, weight, bias, activation: None }
            }
            Op::Add => Kernel::Add,
            Op::Multiply => Kernel::Multiply,
            Op::Concat => Kernel::Concat,
            Op::Slice(first) => Kernel::Slice(first),
            Op::Shuffle(groups) => Kernel::Shuffle(groups),
            Op::GlobalAvgPool => Kernel::GlobalAvgPool,
            Op::Tokens(tensors) => self.tokens(id, tensors)?,
            Op::Attention(attention) => Kernel::Attention(self.attention(id, attention)?),
            Op::Turn { heads } => Kernel::Turn { heads, cos: self.tensor(id, "cos")?, sin: self.tensor(id, "sin")? },
            Op::AttentionPool { heads } => self.attention_pool(id, heads)?,
            Op::Select(first) => Kernel::Select(first),
            Op::Merge => Kernel::Merge,
        };
        let inputs: Vec<usize> = layer.inputs.iter().filter_map(|input| self.value[input.0]).collect();
        // where zero padding was joined to a window, the input is smaller than its layer
        let in_shape = inputs.first().map_or(layer.shape, |&value| self.shapes[value]);
        let output = self.shapes.len();
        self.shapes.push(layer.shape);
        self.value[id.0] = Some(output);
        self.steps.push(Step { layer: layer.name.clone(), kernel, inputs, output, in_shape, out_shape: layer.shape });
        Ok(())
    }

    /// Removes the step that pads the only input of `id` with zeros, if `id` is its only reader, and returns its
    /// padding; `id` then reads the map without it.
    fn zeros_before(&mut self, id: LayerId) -> Pad {
        let Some(at) = self.producer(id) else { return Pad::default() };
        let Kernel::ZeroPad(pad) = self.steps[at].kernel else { return Pad::default() };
        let step = self.steps.remove(at);
        let input = self.graph.layer(id).inputs[0];
        self.value[input.0] = step.inputs.first().copied();
        pad
    }

    /// Makes a layer that changes nothing share the value of its input, if it is the only reader of it.
    fn same(&mut self, id: LayerId) -> bool {
        let layer = self.graph.layer(id);
        let input = layer.inputs[0];
        if self.graph.layer(input).shape != layer.shape || self.readers[input.0] != 1 {
            return false;
        }
        self.value[id.0] = self.value[input.0];
        true
    }

    /// Takes the values of a parameter; each is taken once.
    fn tensor(&mut self, id: LayerId, word: &str) -> Result<Vec<f32>, WeightError> {
        let name = self.graph.layer(id).tensor(word);
        self.tensors.remove(&name).unwrap_or(Err(WeightError::Missing(name)))
    }

    /// The bias of a layer, zeros where it has none.
    fn bias(&mut self, id: LayerId, has: bool, out: usize) -> Result<Vec<f32>, WeightError> {
        if has { self.tensor(id, "bias") } else { Ok(vec![0.0; out]) }
    }

    /// Batch norm as x · scale + shift, in f64.
    fn batch_norm(&mut self, id: LayerId, eps: f64, scaled: bool) -> Result<(Vec<f64>, Vec<f64>), WeightError> {
        let beta = self.tensor(id, "bias")?;
        let gamma = if scaled { self.tensor(id, "weight")? } else { vec![1.0; beta.len()] };
        let (mean, variance) = (self.tensor(id, "running_mean")?, self.tensor(id, "running_var")?);
        let name = || self.graph.layer(id).tensor("running_var");
        if let Some((at, &value)) = variance.iter().enumerate().find(|(_, v)| f64::from(**v) + eps <= 0.0) {
            return Err(WeightError::Variance { name: name(), at, value });
        }
        let scale: Vec<f64> =
            gamma.iter().zip(&variance).map(|(&g, &v)| f64::from(g) / (f64::from(v) + eps).sqrt()).collect();
        let shift = scale.iter().zip(&beta).zip(&mean).map(|((s, &b), &m)| f64::from(b) - f64::from(m) * s).collect();
        Ok((scale, shift))
    }

    /// The step that computes the first input of `id`, if no other layer reads that. It need not be the last step: in a
    /// residual block the steps of the other branch may follow it.
    fn producer(&self, id: LayerId) -> Option<usize> {
        let input = *self.graph.layer(id).inputs.first()?;
        if self.readers[input.0] != 1 {
            return None;
        }
        let value = self.value[input.0]?;
        self.steps.iter().rposition(|step| step.output == value)
    }

    /// A step that multiplies by a factor a channel; none where the factors were folded into the step before.
    fn scaled(&mut self, id: LayerId, scale: &[f64]) -> Option<Kernel> {
        let shift = vec![0.0; scale.len()];
        (!self.fold(id, scale, &shift)).then(|| scaling(scale, &shift))
    }

    /// Folds a batch norm, or a factor a channel, into the weights of the step before; false where that cannot be done.
    fn fold(&mut self, id: LayerId, scale: &[f64], shift: &[f64]) -> bool {
        let name = self.graph.layer(id).name.clone();
        let Some(at) = self.producer(id) else { return false };
        let step = &mut self.steps[at];
        let (Kernel::Conv { weight, bias, activation: None, .. }
        | Kernel::Depthwise { weight, bias, activation: None, .. }
        | Kernel::Dense { weight, bias, activation: None }
        | Kernel::LayerNorm { weight, bias, .. }) = &mut step.kernel
        else {
            return false;
        };
        let per_filter = weight.len() / scale.len();
        weight.par_chunks_exact_mut(per_filter).zip(scale).for_each(|(filter, s)| {
            filter.iter_mut().for_each(|w| *w = (f64::from(*w) * s) as f32);
        });
        for ((b, s), t) in bias.iter_mut().zip(scale).zip(shift) {
            *b = (f64::from(*b) * s + t) as f32;
        }
        step.layer = name;
        let output = step.output;
        self.value[id.0] = Some(output);
        true
    }

    /// Joins an activation to the step before; false where that cannot be done.
    fn join(&mut self, id: LayerId, wanted: Activation) -> bool {
        let name = self.graph.layer(id).name.clone();
        let Some(at) = self.producer(id) else { return false };
        let step = &mut self.steps[at];
        match step.kernel.activation() {
            Some(activation @ None) => *activation = Some(wanted),
            _ => return false,
        }
        step.layer = name;
        let output = step.output;
        self.value[id.0] = Some(output);
        true
    }
}

fn scaling(scale: &[f64], shift: &[f64]) -> Kernel {
    let narrow = |v: &[f64]| v.iter().map(|&x| x as f32).collect();
    Kernel::Scale { scale: narrow(scale), shift: narrow(shift), activation: None }
}

fn added(a: Pad, b: Pad) -> Pad {
    Pad { top: a.top + b.top, bottom: a.bottom + b.bottom, left: a.left + b.left, right: a.right + b.right }
}
