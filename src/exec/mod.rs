//! Running a network: lowered once ([`lower`]), executed by candle ([`candle`]) with our own kernels ([`cpu`]) where candle has none.

pub mod candle;
pub mod cpu;
pub mod lower;

use thiserror::Error;

pub use candle::{Device, Network};

use crate::config::Features;
use crate::models::Shape;
use crate::weights::WeightError;

/// A network cannot be run.
#[derive(Debug, Error)]
pub enum ExecError {
    #[error(transparent)]
    Weights(#[from] WeightError),
    #[error("the device `{device}` was asked for, but {reason}")]
    Device { device: String, reason: String },
    #[error("layer `{layer}`: {reason}")]
    Layer { layer: String, reason: String },
    #[error("the tensor library failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// Shape of the features that `kind` makes of a layer's output: as Keras' `pooling=` and `flatten()`.
pub fn feature_shape(kind: Features, shape: Shape) -> Shape {
    match (kind, shape) {
        (Features::Avg | Features::Max, Shape::Map { c, .. }) => Shape::Vector(c),
        (Features::Flatten, shape) => Shape::Vector(shape.len()),
        (_, shape) => shape,
    }
}

/// Writes the features of one picture to `out`: `values` is the layer's output in Keras' order (h, w, c). Means are summed in f64.
pub fn pool(kind: Features, shape: Shape, values: &[f32], out: &mut [f32]) {
    match (kind, shape) {
        (Features::Avg, Shape::Map { c, h, w }) => {
            let mut sums = vec![0.0f64; c];
            for position in values.chunks_exact(c) {
                sums.iter_mut().zip(position).for_each(|(sum, &v)| *sum += f64::from(v));
            }
            out.iter_mut().zip(sums).for_each(|(o, sum)| *o = (sum / (h * w) as f64) as f32);
        }
        (Features::Max, Shape::Map { c, .. }) => {
            out.fill(f32::NEG_INFINITY);
            for position in values.chunks_exact(c) {
                out.iter_mut().zip(position).for_each(|(o, &v)| *o = o.max(v));
            }
        }
        _ => out.copy_from_slice(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_is_over_positions() {
        let map = Shape::Map { c: 2, h: 1, w: 3 };
        let values = [1.0, 10.0, 2.0, 20.0, 6.0, -30.0];
        let mut out = [0.0; 2];
        pool(Features::Avg, map, &values, &mut out);
        assert_eq!(out, [3.0, 0.0]);
        pool(Features::Max, map, &values, &mut out);
        assert_eq!(out, [6.0, 20.0]);
        assert_eq!(feature_shape(Features::Flatten, map), Shape::Vector(6));
        assert_eq!(feature_shape(Features::Map, map).dims(), [1, 3, 2]);
    }
}
