//! Attention over candle tensors. Tokens are `(n, tokens, channels)`, maps `(n, channels, height, width)`.

use candle_core::{D, DType, Device, Tensor};

use super::ops::in_f32;
use crate::exec::ExecError;
use crate::exec::lower::AttentionKernel;
use crate::models::Shape;
use crate::models::graph::AttentionWindow;

/// The factors of the scores `(heads, 1, 1)`, and the tensor that is added to them `(windows, heads, queries, keys)`;
/// sizes are 1 where all are the same.
pub(super) fn upload(
    kernel: &AttentionKernel,
    shape: Shape,
    device: &Device,
) -> Result<(Tensor, Tensor), candle_core::Error> {
    let scale = Tensor::from_slice(&kernel.scale, (kernel.heads, 1, 1), device)?;
    let keys = (kernel.bias.len() / kernel.heads).isqrt();
    let bias = match keys {
        0 => Tensor::zeros((1, 1, 1, 1), DType::F32, device)?,
        _ => Tensor::from_slice(&kernel.bias, (1, kernel.heads, keys, keys), device)?,
    };
    let bias = match (kernel.window, shape) {
        (Some(window), Shape::Map { h, w, .. }) if window.shift != [0, 0] => {
            bias.broadcast_add(&mask(window, [h, w], device)?)?
        }
        _ => bias,
    };
    Ok((scale, bias))
}

/// The mask `(windows, 1, queries, keys)` of windows that are shifted over a map of that size.
fn mask(window: AttentionWindow, size: [usize; 2], device: &Device) -> Result<Tensor, candle_core::Error> {
    let keys = window.size[0] * window.size[1];
    let values: Vec<f32> =
        window.apart(size).into_iter().map(|apart| if apart { AttentionWindow::MASK } else { 0.0 }).collect();
    let windows = values.len() / (keys * keys);
    Tensor::from_vec(values, (windows, 1, keys, keys), device)
}

/// Attention over `x`, whose channels are queries, keys and values.
pub(super) fn attention(
    x: &Tensor,
    kernel: &AttentionKernel,
    (scale, bias): &(Tensor, Tensor),
) -> Result<Tensor, ExecError> {
    let n = x.dim(0)?;
    let windows = match (kernel.window, x.dims()) {
        (Some(window), &[_, _, h, w]) => Some((window, [h, w])),
        _ => None,
    };
    let (x, shape) = match windows {
        Some((window, size)) => (cut(x, window, size)?, None),
        None if x.rank() == 4 => (x.flatten_from(2)?.transpose(1, 2)?, Some(x.shape().clone())),
        None => (x.clone(), None),
    };
    let (b, t, c) = x.dims3()?;
    let (heads, c) = (kernel.heads, c / 3);
    let parts = x.reshape(vec![b, t, 3, heads, c / heads])?.permute(vec![2, 0, 3, 1, 4])?.contiguous()?;
    let [mut q, mut k, v] = [parts.get(0)?, parts.get(1)?, parts.get(2)?]; // (b, heads, t, c / heads)
    if kernel.cosine {
        (q, k) = (in_f32(&q, unit)?, in_f32(&k, unit)?);
    }
    let weights = in_f32(&q.matmul(&k.t()?.contiguous()?)?, |scores| {
        let scores = scores.broadcast_mul(scale)?.reshape(vec![n, b / n, heads, t, t])?;
        let scores = scores.broadcast_add(bias)?.reshape((b, heads, t, t))?;
        Ok(candle_nn::ops::softmax(&scores, D::Minus1)?)
    })?;
    let mixed = weights.matmul(&v)?;
    let mixed = mixed.transpose(1, 2)?.contiguous()?.reshape((b, t, c))?;
    match (windows, shape) {
        (Some((window, size)), _) => join(&mixed, window, size),
        (None, Some(shape)) => {
            let (n, _, h, w) = shape.dims4()?;
            Ok(mixed.transpose(1, 2)?.contiguous()?.reshape((n, c, h, w))?)
        }
        (None, None) => Ok(mixed),
    }
}

/// Vectors divided by their lengths.
fn unit(x: &Tensor) -> Result<Tensor, ExecError> {
    Ok(x.broadcast_div(&x.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(1e-12)?)?)
}

/// Windows `(n · windows, positions, channels)` of a map.
fn cut(x: &Tensor, window: AttentionWindow, [h, w]: [usize; 2]) -> Result<Tensor, ExecError> {
    let ([th, tw], (n, c)) = (window.size, (x.dim(0)?, x.dim(1)?));
    let rolled = roll(&roll(x, 2, window.shift[0])?, 3, window.shift[1])?;
    let parts = rolled.reshape(vec![n, c, h / th, th, w / tw, tw])?.permute(vec![0, 2, 4, 3, 5, 1])?;
    Ok(parts.contiguous()?.reshape((n * (h / th) * (w / tw), th * tw, c))?)
}

/// The map of its windows.
fn join(x: &Tensor, window: AttentionWindow, [h, w]: [usize; 2]) -> Result<Tensor, ExecError> {
    let [th, tw] = window.size;
    let (b, t, c) = x.dims3()?;
    let parts = x.reshape(vec![b * t / (h * w), h / th, w / tw, th, tw, c])?.permute(vec![0, 5, 1, 3, 2, 4])?;
    let map = parts.contiguous()?.reshape((b * t / (h * w), c, h, w))?;
    let [down, across] = window.shift;
    Ok(roll(&roll(&map, 2, (h - down) % h)?, 3, (w - across) % w)?)
}

/// Moves the elements before `first` along a dimension to its end.
fn roll(x: &Tensor, dim: usize, first: usize) -> Result<Tensor, candle_core::Error> {
    if first == 0 {
        return Ok(x.clone());
    }
    Tensor::cat(&[x.narrow(dim, first, x.dim(dim)? - first)?, x.narrow(dim, 0, first)?], dim)
}

/// Rotary position embedding: turns queries and keys by angles, given by their `cos` and `sin` `(tokens, 1, channels of
/// a head)`.
pub(super) fn turn(x: &Tensor, heads: usize, (cos, sin): &(Tensor, Tensor)) -> Result<Tensor, ExecError> {
    let (n, t, c) = x.dims3()?;
    let (size, turned) = (c / 3 / heads, 2 * c / 3);
    let vectors = x.narrow(2, 0, turned)?.contiguous()?.reshape((n, t, 2 * heads, size))?;
    let halves = [vectors.narrow(3, size / 2, size / 2)?.neg()?, vectors.narrow(3, 0, size / 2)?];
    let across = Tensor::cat(&halves, 3)?.broadcast_mul(sin)?;
    let turned = (vectors.broadcast_mul(cos)? + across)?.reshape((n, t, turned))?;
    Ok(Tensor::cat(&[&turned, &x.narrow(2, 2 * c / 3, c / 3)?], 2)?.contiguous()?)
}

/// One `query` of all heads attends to tokens whose channels are keys and values.
pub(super) fn pool(x: &Tensor, query: &Tensor, heads: usize) -> Result<Tensor, ExecError> {
    let (n, t, c) = x.dims3()?;
    let each = c / 2 / heads;
    let parts = x.reshape(vec![n, t, 2, heads, each])?.permute(vec![2, 0, 3, 1, 4])?.contiguous()?;
    let (k, v) = (parts.get(0)?, parts.get(1)?); // (n, heads, t, each)
    let query = query.reshape((1, heads, 1, each))?.broadcast_as((n, heads, 1, each))?.contiguous()?;
    let scores = query.matmul(&k.t()?.contiguous()?)?;
    let weights = in_f32(&scores, |scores| Ok(candle_nn::ops::softmax(scores, D::Minus1)?))?;
    Ok(weights.matmul(&v)?.reshape((n, c / 2))?)
}

/// The tokens of a map: the `first` ones with `given` `(n, channels)` added, then the positions of the map with their
/// embeddings.
pub(super) fn tokens(
    x: &Tensor,
    given: Option<&Tensor>,
    (first, positions): &(Tensor, Tensor),
) -> Result<Tensor, ExecError> {
    let n = x.dim(0)?;
    let x = x.flatten_from(2)?.transpose(1, 2)?.broadcast_add(positions)?; // (n, positions, channels)
    let (tokens, c) = first.dims2()?;
    if tokens == 0 {
        return Ok(x.contiguous()?);
    }
    let mut first = first.broadcast_as((n, tokens, c))?;
    if let Some(given) = given {
        first = first.broadcast_add(&given.unsqueeze(1)?)?;
    }
    Ok(Tensor::cat(&[&first, &x], 1)?)
}

/// The tokens from `first` on, as many as `out` has positions.
pub(super) fn select(x: &Tensor, first: usize, out: Shape) -> Result<Tensor, ExecError> {
    let n = x.dim(0)?;
    Ok(match out {
        Shape::Vector(_) => x.narrow(1, first, 1)?.squeeze(1)?.contiguous()?,
        Shape::Tokens { n: tokens, .. } => x.narrow(1, first, tokens)?.contiguous()?,
        Shape::Map { c, h, w } => x.narrow(1, first, h * w)?.transpose(1, 2)?.contiguous()?.reshape((n, c, h, w))?,
    })
}

/// Patch merging: the channels of each square of 2 × 2 positions become those of one position.
pub(super) fn merge(x: &Tensor) -> Result<Tensor, ExecError> {
    let (n, c, h, w) = x.dims4()?;
    let parts = x.reshape(vec![n, c, h / 2, 2, w / 2, 2])?.permute(vec![0, 5, 3, 1, 2, 4])?;
    Ok(parts.contiguous()?.reshape((n, 4 * c, h / 2, w / 2))?)
}
