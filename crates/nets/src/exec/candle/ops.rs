//! The steps of a network as operations on candle tensors, and their weights.
//!
//! Steps that sum many values (means, layer norms, softmax) and activations with several operations are computed in
//! f32 whatever the number format of the maps is; products of matrices and convolutions sum in f32 by themselves. A
//! depthwise convolution is a sum of shifted products, since candle runs a grouped one as a convolution for each
//! channel; cuDNN has a convolution in groups.

use candle_core::{D, DType, Device, Tensor};

use super::{Math, attention};
use crate::exec::ExecError;
use crate::exec::lower::{Kernel, Step};
use crate::models::Shape;
use crate::models::graph::{Activation, FlattenOrder, Pad, Pooling, Window};

/// Moves the weights out of a step into tensors.
pub(super) fn upload(step: &mut Step, device: &Device, math: Math) -> Result<Option<(Tensor, Tensor)>, ExecError> {
    let exact = |values: &mut Vec<f32>, dims: &[usize]| Tensor::from_vec(std::mem::take(values), dims, device);
    let tensor = |values: &mut Vec<f32>, dims: &[usize]| exact(values, dims)?.to_dtype(math.dtype);
    if let Kernel::LayerNorm { weight, bias, .. } | Kernel::Scale { scale: weight, shift: bias, .. } = &mut step.kernel
    {
        let dims = [bias.len()];
        return Ok(Some((exact(weight, &dims)?, exact(bias, &dims)?)));
    }
    let channels = step.in_shape.channels();
    match &mut step.kernel {
        Kernel::Dense { weight, bias, .. } => {
            let out = bias.len();
            Ok(Some((tensor(weight, &[out, channels])?, tensor(bias, &[out])?)))
        }
        Kernel::Tokens { first, positions } => {
            let dims = |values: &[f32]| [values.len() / channels, channels];
            let (tokens, places) = (dims(first), dims(positions));
            Ok(Some((tensor(first, &tokens)?, tensor(positions, &places)?)))
        }
        Kernel::Turn { heads, cos, sin } => {
            let size = channels / 3 / *heads;
            let dims = [cos.len() / size, 1, size];
            Ok(Some((exact(cos, &dims)?, exact(sin, &dims)?)))
        }
        Kernel::Attention(kernel) => Ok(Some(attention::upload(kernel, step.in_shape, device)?)),
        Kernel::AttentionPool { query, .. } => {
            let query = tensor(query, &[channels / 2])?;
            Ok(Some((query.clone(), query)))
        }
        Kernel::Conv { groups, window, weight, bias, .. } => {
            if window.stride[0] != window.stride[1] || window.dilation[0] != window.dilation[1] {
                let reason = "candle has no convolution with different strides or dilations".to_string();
                return Err(ExecError::Layer { layer: step.layer.clone(), reason });
            }
            let dims = [bias.len(), channels / *groups, window.kernel[0], window.kernel[1]];
            let bias_dims = [bias.len()];
            Ok(Some((tensor(weight, &dims)?, tensor(bias, &bias_dims)?)))
        }
        Kernel::Depthwise { window, weight, bias, .. } => {
            let [height, width] = window.kernel;
            let weight = exact(weight, &[channels, 1, height, width])?;
            let bias = exact(bias, &[channels])?;
            let by_cudnn = cfg!(feature = "cudnn") && device.is_cuda();
            let dtype = if by_cudnn { math.dtype } else { DType::F32 };
            Ok(Some((weight.to_dtype(dtype)?, bias.to_dtype(dtype)?)))
        }
        _ => Ok(None),
    }
}

/// Computes in f32 and gives the result in the format of `x`.
pub(super) fn in_f32(x: &Tensor, work: impl FnOnce(&Tensor) -> Result<Tensor, ExecError>) -> Result<Tensor, ExecError> {
    Ok(work(&x.to_dtype(DType::F32)?)?.to_dtype(x.dtype())?)
}

/// The output of a step for a batch.
pub(super) fn compute(
    step: &Step,
    tensors: Option<&(Tensor, Tensor)>,
    inputs: &[Tensor],
    math: Math,
) -> Result<Tensor, ExecError> {
    let wrong = |reason: &str| ExecError::Layer { layer: step.layer.clone(), reason: reason.to_string() };
    let x = inputs.first().ok_or_else(|| wrong("it has no input"))?;
    let weights = || tensors.ok_or_else(|| wrong("it has no weights"));
    match &step.kernel {
        Kernel::Conv { groups, window, activation, .. } => {
            let (weight, bias) = weights()?;
            let x = match x.rank() {
                3 => x.broadcast_matmul(&weight.flatten_from(1)?.t()?)?,
                _ => convolve(x, weight, *window, *groups, math)?,
            };
            finish(x, bias, *activation)
        }
        Kernel::Depthwise { window, activation, .. } => {
            let (weight, bias) = weights()?;
            if cfg!(feature = "cudnn") && x.device().is_cuda() {
                return finish(convolve(x, weight, *window, step.out_shape.channels(), math)?, bias, *activation);
            }
            in_f32(x, |x| finish(depthwise(x, weight, *window, step.out_shape)?, bias, *activation))
        }
        Kernel::Scale { activation, .. } => {
            let (scale, shift) = weights()?;
            in_f32(x, |x| finish(x.broadcast_mul(&by_channel(scale, x)?)?, shift, *activation))
        }
        Kernel::LayerNorm { eps, .. } => {
            let (weight, bias) = weights()?;
            let dim = channel_dim(x);
            in_f32(x, |x| {
                let apart = x.broadcast_sub(&x.mean_keepdim(dim)?)?;
                let deviation = (apart.sqr()?.mean_keepdim(dim)? + f64::from(*eps))?.sqrt()?;
                let scaled = apart.broadcast_div(&deviation)?.broadcast_mul(&by_channel(weight, x)?)?;
                Ok(scaled.broadcast_add(&by_channel(bias, x)?)?)
            })
        }
        Kernel::Activation(activation) => activate(x, *activation),
        Kernel::Softmax => in_f32(x, |x| Ok(candle_nn::ops::softmax(x, D::Minus1)?)),
        Kernel::Normalize => in_f32(x, |x| {
            let length = x.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(f32::MIN_POSITIVE)?;
            Ok(x.broadcast_div(&length)?)
        }),
        Kernel::Responses(eps) => in_f32(x, |x| {
            let lengths = x.sqr()?.sum((2, 3))?.sqrt()?; // (n, c)
            Ok(lengths.broadcast_div(&(lengths.mean_keepdim(1)? + f64::from(*eps))?)?)
        }),
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
        Kernel::Pool { pooling: Pooling::Max, window, zeros } => max_pool(x, *window, *zeros, step.out_shape),
        Kernel::Pool { pooling, window, .. } => in_f32(x, |x| mean_pool(x, *pooling, *window, step.out_shape)),
        Kernel::AdaptiveAvgPool => in_f32(x, |x| adaptive(x, step.out_shape)),
        Kernel::GlobalAvgPool => in_f32(x, |x| Ok(x.mean((2, 3))?)), // (n, c)
        Kernel::Flatten(FlattenOrder::ChannelsLast) if x.rank() == 4 => Ok(x.permute((0, 2, 3, 1))?.flatten_from(1)?),
        Kernel::Flatten(_) => Ok(x.flatten_from(1)?),
        Kernel::Dense { activation, .. } => {
            let (weight, bias) = weights()?;
            let x = x.matmul(&weight.t()?)?.broadcast_add(bias)?;
            activation.map_or(Ok(x.clone()), |activation| activate(&x, activation))
        }
        Kernel::Tokens { .. } => attention::tokens(x, inputs.get(1), weights()?),
        Kernel::Attention(kernel) => attention::attention(x, kernel, weights()?),
        Kernel::Turn { heads, .. } => in_f32(x, |x| attention::turn(x, *heads, weights()?)),
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
    let fill =
        |n: usize, c: usize, h: usize, w: usize| Tensor::full(value, (n, c, h, w), x.device())?.to_dtype(x.dtype());
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

fn max_pool(x: &Tensor, window: Window, zeros: bool, out: Shape) -> Result<Tensor, ExecError> {
    let ([kh, kw], [sh, sw]) = (window.kernel, window.stride);
    let around = if zeros { 0.0 } else { f32::NEG_INFINITY };
    Ok(surround(x, window, out, around)?.max_pool2d_with_stride((kh, kw), (sh, sw))?)
}

fn mean_pool(x: &Tensor, pooling: Pooling, window: Window, out: Shape) -> Result<Tensor, ExecError> {
    let ([kh, kw], [sh, sw]) = (window.kernel, window.stride);
    let (_, _, h, w) = x.dims4()?;
    let sum = surround(x, window, out, 0.0)?.avg_pool2d_with_stride((kh, kw), (sh, sw))?;
    // the mean is divided by the share of each window that counts
    let ones = |h: usize, w: usize| Tensor::ones((1, 1, h, w), x.dtype(), x.device());
    let counted = match pooling {
        Pooling::AvgWithPad => {
            let pad = window.pad;
            let inside = ones(h + pad.top + pad.bottom, w + pad.left + pad.right)?;
            surround(&inside, Window { pad: Pad::default(), ..window }, out, 0.0)?
        }
        _ => surround(&ones(h, w)?, window, out, 0.0)?,
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
fn convolve(x: &Tensor, weight: &Tensor, window: Window, groups: usize, math: Math) -> Result<Tensor, ExecError> {
    let Window { pad, stride: [stride, _], dilation: [dilation, _], .. } = window;
    let is_even = pad.top == pad.bottom && pad.left == pad.right && pad.top == pad.left;
    let (x, pad) = if is_even { (x.clone(), pad.top) } else { (zero_pad(x, pad)?, 0) };
    #[cfg(feature = "cudnn")]
    if x.device().is_cuda() {
        let convolution = super::cudnn::Convolution { pad, stride, dilation, groups, tf32: math.tf32 };
        return Ok(x.contiguous()?.apply_op2_no_bwd(weight, &convolution)?);
    }
    if math.dtype == DType::BF16 && x.device().is_cpu() {
        // candle's convolution on the CPU does not know bf16
        let weight = weight.to_dtype(DType::F32)?;
        return in_f32(&x, |x| Ok(x.conv2d(&weight, pad, stride, dilation, groups)?));
    }
    Ok(x.conv2d(weight, pad, stride, dilation, groups)?)
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
    let steps = |x: &Tensor| match activation {
        Activation::Relu => x.relu(),
        Activation::Relu6 => x.clamp(0f32, 6f32),
        Activation::Sigmoid => candle_nn::ops::sigmoid(x),
        Activation::Silu => x.silu(),
        Activation::HardSigmoid => (x + 3.0)?.clamp(0f32, 6f32)? / 6.0,
        Activation::HardSwish => x * ((x + 3.0)?.clamp(0f32, 6f32)? / 6.0)?,
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::QuickGelu => x * candle_nn::ops::sigmoid(&(x * 1.702)?)?,
    };
    match activation {
        // these do not round
        Activation::Relu | Activation::Relu6 => Ok(steps(x)?),
        _ => in_f32(x, |x| Ok(steps(x)?)),
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
        let tap = weight.narrow(2, ky, 1)?.narrow(3, kx, 1)?.reshape((1, c, 1, 1))?;
        let product = shifted.broadcast_mul(&tap)?;
        sum = Some(match sum {
            Some(sum) => (sum + product)?,
            None => product,
        });
    }
    sum.ok_or_else(|| ExecError::Layer { layer: "depthwise".into(), reason: "its kernel is empty".into() })
}
