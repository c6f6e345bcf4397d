//! Executor over candle tensors, channels first: CUDA, Metal, and the CPU as the reference that our own executor is
//! tested against.
//!
//! A whole batch is computed at once, by cuDNN or a library like it. A depthwise convolution is a sum of shifted
//! products, since candle runs a grouped one as a convolution for each channel.

mod attention;

use candle_core::{D, Tensor};

use super::lower::{Kernel, Program, Step};
use super::{Device, ExecError};
use crate::models::Shape;
use crate::models::graph::{Activation, FlattenOrder, Pad, Pooling, Window};

/// A network with its weights on a device, ready to run.
#[derive(Debug)]
pub struct Network {
    program: Program,
    /// Weights and bias of each step, where it has them.
    tensors: Vec<Option<(Tensor, Tensor)>>,
    device: Device,
}

impl Network {
    /// Puts the weights of `program` on `device`.
    pub fn new(mut program: Program, device: &Device) -> Result<Self, ExecError> {
        let steps = program.steps.iter_mut();
        let tensors = steps.map(|step| upload(step, &device.inner)).collect::<Result<_, _>>()?;
        Ok(Self { program, tensors, device: device.clone() })
    }

    /// Runs `n` pictures, `pictures` being `(n, c, h, w)`; gives for each tap its values for all pictures, maps in
    /// Keras' order `(n, h, w, c)`.
    pub fn forward(&self, pictures: &[f32], n: usize) -> Result<Vec<Vec<f32>>, ExecError> {
        let dims = batch_dims(self.program.input_shape, n);
        let mut values: Vec<Option<Tensor>> = vec![None; self.program.last_use.len()];
        values[0] = Some(Tensor::from_slice(pictures, dims, &self.device.inner)?);
        for (i, (step, tensors)) in self.program.steps.iter().zip(&self.tensors).enumerate() {
            let wrong = |reason: &str| ExecError::Layer { layer: step.layer.clone(), reason: reason.to_string() };
            let mut inputs = Vec::with_capacity(step.inputs.len());
            for &value in &step.inputs {
                inputs.push(values[value].clone().ok_or_else(|| wrong("an input was not computed"))?);
            }
            let output = compute(step, tensors.as_ref(), &inputs)?;
            for &value in step.inputs.iter().filter(|&&value| self.program.last_use[value] <= i) {
                values[value] = None;
            }
            values[step.output] = Some(output);
        }
        let taps = self.program.taps.iter().map(|&value| {
            let missing = || ExecError::Layer { layer: "tap".into(), reason: "it was not computed".into() };
            let tensor = values[value].as_ref().ok_or_else(missing)?;
            let tensor = if tensor.rank() == 4 { tensor.permute((0, 2, 3, 1))? } else { tensor.clone() };
            Ok(tensor.flatten_all()?.to_vec1()?)
        });
        taps.collect()
    }
}

fn batch_dims(shape: Shape, n: usize) -> Vec<usize> {
    match shape {
        Shape::Map { c, h, w } => vec![n, c, h, w],
        Shape::Tokens { n: tokens, c } => vec![n, tokens, c],
        Shape::Vector(len) => vec![n, len],
    }
}

/// Moves the weights out of a step into tensors.
fn upload(step: &mut Step, device: &candle_core::Device) -> Result<Option<(Tensor, Tensor)>, ExecError> {
    if let Kernel::LayerNorm { weight, bias, .. } | Kernel::Scale { scale: weight, shift: bias, .. } = &mut step.kernel
    {
        let dims = [bias.len()];
        return Ok(Some((tensor(weight, &dims, device)?, tensor(bias, &dims, device)?)));
    }
    let channels = step.in_shape.channels();
    match &mut step.kernel {
        Kernel::Dense { weight, bias, .. } => {
            let out = bias.len();
            Ok(Some((tensor(weight, &[out, channels], device)?, tensor(bias, &[out], device)?)))
        }
        Kernel::Tokens { first, positions } => {
            let dims = |values: &[f32]| [values.len() / channels, channels];
            let (tokens, places) = (dims(first), dims(positions));
            Ok(Some((tensor(first, &tokens, device)?, tensor(positions, &places, device)?)))
        }
        Kernel::Turn { heads, cos, sin } => {
            let size = channels / 3 / *heads;
            let dims = [cos.len() / size, 1, size];
            Ok(Some((tensor(cos, &dims, device)?, tensor(sin, &dims, device)?)))
        }
        Kernel::Attention(kernel) => Ok(Some(attention::upload(kernel, step.in_shape, device)?)),
        Kernel::AttentionPool { query, .. } => {
            let query = tensor(query, &[channels / 2], device)?;
            Ok(Some((query.clone(), query)))
        }
        Kernel::Conv { groups, window, weight, bias, .. } => {
            if window.stride[0] != window.stride[1] || window.dilation[0] != window.dilation[1] {
                let reason = "candle has no convolution with different strides or dilations".to_string();
                return Err(ExecError::Layer { layer: step.layer.clone(), reason });
            }
            let dims = [bias.len(), channels / *groups, window.kernel[0], window.kernel[1]];
            let bias_dims = [bias.len()];
            Ok(Some((tensor(weight, &dims, device)?, tensor(bias, &bias_dims, device)?)))
        }
        Kernel::Depthwise { window, weight, bias, .. } => {
            let dims = [channels, window.kernel[0], window.kernel[1]];
            Ok(Some((tensor(weight, &dims, device)?, tensor(bias, &[channels], device)?)))
        }
        _ => Ok(None),
    }
}

fn tensor(values: &mut Vec<f32>, dims: &[usize], device: &candle_core::Device) -> Result<Tensor, candle_core::Error> {
    Tensor::from_vec(std::mem::take(values), dims, device)
}

fn compute(step: &Step, tensors: Option<&(Tensor, Tensor)>, inputs: &[Tensor]) -> Result<Tensor, ExecError> {
    let wrong = |reason: &str| ExecError::Layer { layer: step.layer.clone(), reason: reason.to_string() };
    let x = inputs.first().ok_or_else(|| wrong("it has no input"))?;
    let weights = || tensors.ok_or_else(|| wrong("it has no weights"));
    match &step.kernel {
        Kernel::Conv { groups, window, activation, .. } => {
            let (weight, bias) = weights()?;
            let x = match x.rank() {
                3 => x.broadcast_matmul(&weight.flatten_from(1)?.t()?)?,
                _ => convolve(x, weight, *window, *groups)?,
            };
            finish(x, bias, *activation)
        }
        Kernel::Depthwise { window, activation, .. } => {
            let (weight, bias) = weights()?;
            finish(depthwise(x, weight, *window, step.out_shape)?, bias, *activation)
        }
        Kernel::Scale { activation, .. } => {
            let (scale, shift) = weights()?;
            finish(x.broadcast_mul(&by_channel(scale, x)?)?, shift, *activation)
        }
        Kernel::LayerNorm { eps, .. } => {
            let (weight, bias) = weights()?;
            let dim = channel_dim(x);
            let apart = x.broadcast_sub(&x.mean_keepdim(dim)?)?;
            let deviation = (apart.sqr()?.mean_keepdim(dim)? + f64::from(*eps))?.sqrt()?;
            let scaled = apart.broadcast_div(&deviation)?.broadcast_mul(&by_channel(weight, x)?)?;
            Ok(scaled.broadcast_add(&by_channel(bias, x)?)?)
        }
        Kernel::Activation(activation) => activate(x, *activation),
        Kernel::Softmax => Ok(candle_nn::ops::softmax(x, D::Minus1)?),
        Kernel::Normalize => {
            let length = x.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(f32::MIN_POSITIVE)?;
            Ok(x.broadcast_div(&length)?)
        }
        Kernel::Responses(eps) => {
            let lengths = x.sqr()?.sum((2, 3))?.sqrt()?; // (n, c)
            Ok(lengths.broadcast_div(&(lengths.mean_keepdim(1)? + f64::from(*eps))?)?)
        }
        Kernel::ZeroPad(pad) => zero_pad(x, *pad),
        Kernel::Add => Ok((x + inputs.get(1).ok_or_else(|| wrong("it has one input"))?)?),
        Kernel::Multiply => {
            let gate = inputs.get(1).ok_or_else(|| wrong("it has one input"))?;
            let (n, c, _, _) = x.dims4()?;
            Ok(x.broadcast_mul(&gate.reshape((n, c, 1, 1))?)?)
        }
        Kernel::Concat => Ok(Tensor::cat(inputs, 1)?),
        Kernel::Slice(first) => Ok(x.narrow(channel_dim(x), *first, step.out_shape.channels())?.contiguous()?),
        Kernel::Shuffle(groups) => {
            let (n, c, h, w) = x.dims4()?;
            let table = x.reshape(vec![n, *groups, c / *groups, h, w])?;
            Ok(table.transpose(1, 2)?.contiguous()?.reshape((n, c, h, w))?)
        }
        Kernel::Pool { pooling, window, zeros } => pool(x, *pooling, *window, *zeros, step.out_shape),
        Kernel::AdaptiveAvgPool => adaptive(x, step.out_shape),
        Kernel::GlobalAvgPool => Ok(x.mean((2, 3))?), // (n, c)
        Kernel::Flatten(FlattenOrder::ChannelsLast) if x.rank() == 4 => Ok(x.permute((0, 2, 3, 1))?.flatten_from(1)?),
        Kernel::Flatten(_) => Ok(x.flatten_from(1)?),
        Kernel::Dense { activation, .. } => {
            let (weight, bias) = weights()?;
            let x = x.matmul(&weight.t()?)?.broadcast_add(bias)?;
            activation.map_or(Ok(x.clone()), |activation| activate(&x, activation))
        }
        Kernel::Tokens { .. } => attention::tokens(x, inputs.get(1), weights()?),
        Kernel::Attention(kernel) => attention::attention(x, kernel, weights()?),
        Kernel::Turn { heads, .. } => attention::turn(x, *heads, weights()?),
        Kernel::AttentionPool { heads, .. } => attention::pool(x, &weights()?.0, *heads),
        Kernel::Select(first) => attention::select(x, *first, step.out_shape),
        Kernel::Merge => attention::merge(x),
    }
}

/// The dimension of the channels: the last of tokens, the second of maps.
fn channel_dim(x: &Tensor) -> usize {
    if x.rank() == 3 { 2 } else { 1 }
}

fn zero_pad(x: &Tensor, pad: Pad) -> Result<Tensor, ExecError> {
    Ok(x.pad_with_zeros(2, pad.top, pad.bottom)?.pad_with_zeros(3, pad.left, pad.right)?)
}

/// `x` with `value` around it, cut or padded so that `window` fits `out` times.
fn surround(x: &Tensor, window: Window, out: Shape, value: f32) -> Result<Tensor, ExecError> {
    let (n, c, h, w) = x.dims4()?;
    let Shape::Map { h: oh, w: ow, .. } = out else {
        return Err(ExecError::Layer { layer: "pool".into(), reason: "its output is not a map".into() });
    };
    let spanned = |out: usize, i: usize| (out - 1) * window.stride[i] + window.kernel[i];
    let (tall, wide) = (spanned(oh, 0), spanned(ow, 1));
    let fill = |n: usize, c: usize, h: usize, w: usize| Tensor::full(value, (n, c, h, w), x.device());
    let (top, left) = (window.pad.top, window.pad.left);
    let mut x = x.clone();
    if top > 0 {
        x = Tensor::cat(&[&fill(n, c, top, w)?, &x], 2)?;
    }
    // rows and columns that no window reaches are cut off; those beyond the map that a window covers are added
    x = if tall > top + h { Tensor::cat(&[&x, &fill(n, c, tall - top - h, w)?], 2)? } else { x.narrow(2, 0, tall)? };
    if left > 0 {
        x = Tensor::cat(&[&fill(n, c, tall, left)?, &x], 3)?;
    }
    x = if wide > left + w {
        Tensor::cat(&[&x, &fill(n, c, tall, wide - left - w)?], 3)?
    } else {
        x.narrow(3, 0, wide)?
    };
    Ok(x.contiguous()?)
}

fn pool(x: &Tensor, pooling: Pooling, window: Window, zeros: bool, out: Shape) -> Result<Tensor, ExecError> {
    let ([kh, kw], [sh, sw]) = (window.kernel, window.stride);
    if pooling == Pooling::Max {
        let around = if zeros { 0.0 } else { f32::NEG_INFINITY };
        return Ok(surround(x, window, out, around)?.max_pool2d_with_stride((kh, kw), (sh, sw))?);
    }
    let (_, _, h, w) = x.dims4()?;
    let sum = surround(x, window, out, 0.0)?.avg_pool2d_with_stride((kh, kw), (sh, sw))?;
    // the mean is divided by the share of each window that counts
    let counted = match pooling {
        Pooling::AvgWithPad => {
            let pad = window.pad;
            let inside =
                Tensor::ones((1, 1, h + pad.top + pad.bottom, w + pad.left + pad.right), x.dtype(), x.device())?;
            surround(&inside, Window { pad: Pad::default(), ..window }, out, 0.0)?
        }
        _ => surround(&Tensor::ones((1, 1, h, w), x.dtype(), x.device())?, window, out, 0.0)?,
    };
    Ok(sum.broadcast_div(&counted.avg_pool2d_with_stride((kh, kw), (sh, sw))?)?)
}

/// The mean of each cell; cell i of n covers positions ⌊i·size/n⌋ to ⌈(i+1)·size/n⌉.
fn adaptive(x: &Tensor, out: Shape) -> Result<Tensor, ExecError> {
    let (_, _, h, w) = x.dims4()?;
    let Shape::Map { h: oh, w: ow, .. } = out else {
        return Err(ExecError::Layer { layer: "adaptive pool".into(), reason: "its output is not a map".into() });
    };
    let cells = |size: usize, n: usize| (0..n).map(move |i| (i * size / n, ((i + 1) * size).div_ceil(n)));
    let mut rows = Vec::with_capacity(oh);
    for (top, bottom) in cells(h, oh) {
        let row = x.narrow(2, top, bottom - top)?;
        let cells: Vec<Tensor> = cells(w, ow)
            .map(|(left, right)| row.narrow(3, left, right - left)?.mean_keepdim((2, 3)))
            .collect::<Result<_, _>>()?;
        rows.push(Tensor::cat(&cells, 3)?);
    }
    Ok(Tensor::cat(&rows, 2)?)
}

/// (n, in, h, w) → (n, out, oh, ow)
fn convolve(x: &Tensor, weight: &Tensor, window: Window, groups: usize) -> Result<Tensor, ExecError> {
    let Window { pad, stride: [stride, _], dilation: [dilation, _], .. } = window;
    let even = pad.top == pad.bottom && pad.left == pad.right && pad.top == pad.left;
    if even {
        return Ok(x.conv2d(weight, pad.top, stride, dilation, groups)?);
    }
    Ok(zero_pad(x, pad)?.conv2d(weight, 0, stride, dilation, groups)?)
}

/// One value for each channel, in the dimensions of `x`.
fn by_channel(values: &Tensor, x: &Tensor) -> Result<Tensor, candle_core::Error> {
    let channels = |dim| if dim == channel_dim(x) { values.elem_count() } else { 1 };
    let dims: Vec<usize> = (0..x.rank()).map(channels).collect();
    values.reshape(dims)
}

/// Adds the bias of each channel and applies the activation.
fn finish(x: Tensor, bias: &Tensor, activation: Option<Activation>) -> Result<Tensor, ExecError> {
    let x = x.broadcast_add(&by_channel(bias, &x)?)?;
    activation.map_or(Ok(x.clone()), |activation| activate(&x, activation))
}

fn activate(x: &Tensor, activation: Activation) -> Result<Tensor, ExecError> {
    match activation {
        Activation::Relu => Ok(x.relu()?),
        Activation::Relu6 => Ok(x.clamp(0f32, 6f32)?),
        Activation::Sigmoid => Ok(candle_nn::ops::sigmoid(x)?),
        Activation::Silu => Ok(x.silu()?),
        Activation::HardSigmoid => Ok(((x + 3.0)?.clamp(0f32, 6f32)? / 6.0)?),
        Activation::HardSwish => Ok((x * ((x + 3.0)?.clamp(0f32, 6f32)? / 6.0)?)?),
        Activation::Gelu => Ok(x.gelu_erf()?),
        Activation::GeluTanh => Ok(x.gelu()?),
        Activation::QuickGelu => Ok((x * candle_nn::ops::sigmoid(&(x * 1.702)?)?)?),
    }
}

/// A depthwise convolution without candle's grouped one: for every tap of the kernel the shifted input times the tap's
/// weight of each channel. For a stride, rows and columns are cut into groups of that many, and the first of each is
/// kept.
fn depthwise(x: &Tensor, weight: &Tensor, window: Window, out: Shape) -> Result<Tensor, ExecError> {
    let (n, c, _, _) = x.dims4()?;
    let Shape::Map { h: oh, w: ow, .. } = out else {
        return Err(ExecError::Layer { layer: "depthwise".into(), reason: "its output is not a map".into() });
    };
    let Window { pad, stride: [sh, sw], dilation: [down, across], .. } = window;
    // room for whole groups at the end
    let x = x.pad_with_zeros(2, pad.top, pad.bottom + sh - 1)?.pad_with_zeros(3, pad.left, pad.right + sw - 1)?;
    let mut sum: Option<Tensor> = None;
    for (ky, kx) in (0..window.kernel[0]).flat_map(|y| (0..window.kernel[1]).map(move |x| (y, x))) {
        let shifted = x.narrow(2, ky * down, oh * sh)?.narrow(3, kx * across, ow * sw)?;
        let shifted = match (sh, sw) {
            (1, 1) => shifted,
            _ => {
                let groups = shifted.contiguous()?.reshape(vec![n, c, oh, sh, ow, sw])?;
                groups.narrow(3, 0, 1)?.narrow(5, 0, 1)?.reshape((n, c, oh, ow))?
            }
        };
        let tap = weight.narrow(1, ky, 1)?.narrow(2, kx, 1)?.reshape((1, c, 1, 1))?;
        let product = shifted.broadcast_mul(&tap)?;
        sum = Some(match sum {
            Some(sum) => (sum + product)?,
            None => product,
        });
    }
    sum.ok_or_else(|| ExecError::Layer { layer: "depthwise".into(), reason: "its kernel is empty".into() })
}
