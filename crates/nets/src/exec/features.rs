//! The features that are made of a layer's output.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::models::Shape;

/// How the map of a layer becomes features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Features {
    /// The features that the library of the network makes: of a map the mean over the positions, of tokens the class
    /// token (ViT, DINOv2), its projection (CLIP), or what an attention pool gives (SigLIP).
    #[default]
    Pooled,
    /// The class token.
    Cls,
    /// The mean over the positions, one number for each channel. Class and register tokens are no positions.
    Avg,
    /// The maximum over the positions, one number for each channel.
    Max,
    /// The whole map as one row of numbers, in the order (height, width, channel).
    Flatten,
    /// The whole map with its shape.
    Map,
}

/// Shape of the features that `kind` makes of a layer's output: as Keras' `pooling=` and `flatten()`.
pub fn feature_shape(kind: Features, shape: Shape) -> Shape {
    match (kind, shape) {
        (Features::Pooled | Features::Avg | Features::Max, Shape::Map { c, .. } | Shape::Tokens { c, .. }) => {
            Shape::Vector(c)
        }
        (Features::Flatten, shape) => Shape::Vector(shape.len()),
        (_, shape) => shape,
    }
}

/// Writes the features of one picture to `out`: `values` is the layer's output in Keras' order (h, w, c). Means are
/// summed in f64.
pub fn pool(kind: Features, shape: Shape, values: &[f32], out: &mut [f32]) {
    match (kind, shape) {
        (Features::Pooled | Features::Avg, Shape::Map { c, .. } | Shape::Tokens { c, .. }) => {
            let mut sums = vec![0.0f64; c];
            for position in values.chunks_exact(c) {
                sums.iter_mut().zip(position).for_each(|(sum, &v)| *sum += f64::from(v));
            }
            out.iter_mut().zip(sums).for_each(|(o, sum)| *o = (sum / (values.len() / c) as f64) as f32);
        }
        (Features::Max, Shape::Map { c, .. } | Shape::Tokens { c, .. }) => {
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
