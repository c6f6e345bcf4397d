//! From a graph, its weights and the taps asked for to the steps that an executor runs: only what the taps need, batch norm folded into the
//! convolution before it (in f64) and the activation joined to it, unless somebody taps the value between them.

use super::ExecError;
use crate::models::graph::{Activation, Graph, LayerId, Op, Shape, Window};
use crate::weights::{WeightError, WeightSet};

/// What a step computes. Weights are owned, in PyTorch's layout.
#[derive(Clone, Debug)]
pub enum Kernel {
    /// `weight` `(out, in, kh, kw)`, a bias a filter.
    Conv {
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
    },
    Activation(Activation),
    Add,
    GlobalAvgPool,
    /// `weight` `(out, in)`.
    Dense {
        weight: Vec<f32>,
        bias: Vec<f32>,
    },
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
    /// For each tap the value that it names.
    pub taps: Vec<usize>,
    pub input_shape: Shape,
    /// For each value the last step that reads it; a tap is read after the end.
    pub last_use: Vec<usize>,
}

/// Lowers what `taps` need. Every tensor needed must be in `weights` with the shape of the graph.
pub fn lower(graph: &Graph, weights: &WeightSet, taps: &[LayerId]) -> Result<Program, ExecError> {
    let mut lowering = Lowering::new(graph, weights, taps);
    for index in 0..graph.layers().len() {
        if lowering.needed[index] {
            lowering.layer(LayerId(index))?;
        }
    }
    Ok(lowering.finish(taps))
}

struct Lowering<'a> {
    graph: &'a Graph,
    weights: &'a WeightSet,
    needed: Vec<bool>,
    /// How many needed layers read each layer; a tap counts as one more reader.
    readers: Vec<usize>,
    /// For each layer the value that holds its output, once computed.
    value: Vec<Option<usize>>,
    steps: Vec<Step>,
    values: usize,
}

impl<'a> Lowering<'a> {
    fn new(graph: &'a Graph, weights: &'a WeightSet, taps: &[LayerId]) -> Self {
        let needed = graph.needed_for(taps);
        let mut readers = vec![0; needed.len()];
        taps.iter().for_each(|tap| readers[tap.0] += 1);
        for (layer, _) in graph.layers().iter().zip(&needed).filter(|(_, needed)| **needed) {
            layer.inputs.iter().for_each(|input| readers[input.0] += 1);
        }
        Self { graph, weights, value: vec![None; needed.len()], needed, readers, steps: Vec::new(), values: 1 }
    }

    fn finish(self, taps: &[LayerId]) -> Program {
        let taps: Vec<usize> = taps.iter().map(|tap| self.value[tap.0].unwrap_or(0)).collect();
        let mut last_use = vec![0; self.values];
        for (i, step) in self.steps.iter().enumerate() {
            step.inputs.iter().for_each(|&value| last_use[value] = i);
        }
        taps.iter().for_each(|&value| last_use[value] = usize::MAX);
        let input_shape = self.graph.layers().first().map_or(Shape::Vector(0), |layer| layer.shape);
        Program { steps: self.steps, taps, input_shape, last_use }
    }

    fn layer(&mut self, id: LayerId) -> Result<(), ExecError> {
        let layer = self.graph.layer(id);
        let kernel = match layer.op {
            Op::Input => {
                self.value[id.0] = Some(0);
                return Ok(());
            }
            Op::BatchNorm { eps } => {
                let (scale, shift) = self.batch_norm(id, eps)?;
                if self.fold(id, &scale, &shift) {
                    return Ok(());
                }
                let narrow = |v: Vec<f64>| v.into_iter().map(|x| x as f32).collect();
                Kernel::Scale { scale: narrow(scale), shift: narrow(shift) }
            }
            Op::Activation(activation) => {
                if self.join(id, activation) {
                    return Ok(());
                }
                Kernel::Activation(activation)
            }
            Op::Conv { window, out, groups, bias } => {
                let weight = self.tensor(id, "weight")?;
                let bias = if bias { self.tensor(id, "bias")? } else { vec![0.0; out] };
                match groups {
                    1 => Kernel::Conv { window, weight, bias, activation: None },
                    _ => Kernel::Depthwise { window, weight, bias, activation: None },
                }
            }
            Op::Dense { .. } => Kernel::Dense { weight: self.tensor(id, "weight")?, bias: self.tensor(id, "bias")? },
            Op::Add => Kernel::Add,
            Op::GlobalAvgPool => Kernel::GlobalAvgPool,
        };
        let inputs = layer.inputs.iter().filter_map(|input| self.value[input.0]).collect();
        let (in_shape, out_shape) = (self.graph.input_shape(layer), layer.shape);
        let output = self.values;
        self.values += 1;
        self.value[id.0] = Some(output);
        self.steps.push(Step { layer: layer.name.clone(), kernel, inputs, output, in_shape, out_shape });
        Ok(())
    }

    fn tensor(&self, id: LayerId, word: &str) -> Result<Vec<f32>, WeightError> {
        let layer = self.graph.layer(id);
        let name = format!("{}.{word}", layer.owner);
        let parameters = self.graph.parameters_of(layer);
        let expected = parameters.into_iter().find(|parameter| parameter.name == name);
        let expected = expected.ok_or_else(|| WeightError::Missing(name.clone()))?;
        self.weights.get(&expected).map(<[f32]>::to_vec)
    }

    /// Batch norm as x · scale + shift, in f64.
    fn batch_norm(&self, id: LayerId, eps: f64) -> Result<(Vec<f64>, Vec<f64>), WeightError> {
        let (gamma, beta) = (self.tensor(id, "weight")?, self.tensor(id, "bias")?);
        let (mean, variance) = (self.tensor(id, "running_mean")?, self.tensor(id, "running_var")?);
        let scale: Vec<f64> =
            gamma.iter().zip(&variance).map(|(&g, &v)| f64::from(g) / (f64::from(v) + eps).sqrt()).collect();
        let shift = scale.iter().zip(&beta).zip(&mean).map(|((s, &b), &m)| f64::from(b) - f64::from(m) * s).collect();
        Ok((scale, shift))
    }

    /// The step that computes the only input of `id`, when nobody else reads that value.
    fn producer(&mut self, id: LayerId) -> Option<&mut Step> {
        let input = *self.graph.layer(id).inputs.first()?;
        if self.readers[input.0] != 1 {
            return None;
        }
        let value = self.value[input.0]?;
        self.steps.last_mut().filter(|step| step.output == value)
    }

    fn fold(&mut self, id: LayerId, scale: &[f64], shift: &[f64]) -> bool {
        let name = self.graph.layer(id).name.clone();
        let Some(step) = self.producer(id) else { return false };
        let (Kernel::Conv { weight, bias, activation: None, .. }
        | Kernel::Depthwise { weight, bias, activation: None, .. }) = &mut step.kernel
        else {
            return false;
        };
        let per_filter = weight.len() / scale.len();
        for (filter, s) in weight.chunks_exact_mut(per_filter).zip(scale) {
            filter.iter_mut().for_each(|w| *w = (f64::from(*w) * s) as f32);
        }
        for ((b, s), t) in bias.iter_mut().zip(scale).zip(shift) {
            *b = (f64::from(*b) * s + t) as f32;
        }
        step.layer = name;
        let output = step.output;
        self.value[id.0] = Some(output);
        true
    }

    fn join(&mut self, id: LayerId, wanted: Activation) -> bool {
        let name = self.graph.layer(id).name.clone();
        if wanted == Activation::Softmax {
            return false;
        }
        let Some(step) = self.producer(id) else { return false };
        let (Kernel::Conv { activation: activation @ None, .. }
        | Kernel::Depthwise { activation: activation @ None, .. }) = &mut step.kernel
        else {
            return false;
        };
        *activation = Some(wanted);
        step.layer = name;
        let output = step.output;
        self.value[id.0] = Some(output);
        true
    }
}
