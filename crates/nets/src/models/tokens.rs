//! The layers of transformers: conversion of a map to tokens, and attention over all of them or within windows.

use super::graph::Shape;

/// The tensors that turn a map into tokens: class token, register tokens, then the positions of the map, row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenTensors {
    /// `(1, 1, c)`
    pub class: Option<&'static str>,
    /// `(1, n, c)`, and `n`.
    pub registers: Option<(&'static str, usize)>,
    /// `(1, n, c)`: the embeddings that are added to the positions.
    pub positions: &'static str,
    /// Whether the class token, or the first token that a layer computes, has an embedding, too; it is the first row.
    pub class_position: bool,
    /// How the source resizes the embeddings to another grid.
    pub resize: PositionResize,
}

impl TokenTensors {
    /// Number of tokens before those of the map.
    pub fn prefix(&self) -> usize {
        usize::from(self.class.is_some()) + self.registers.map_or(0, |(_, n)| n)
    }
}

/// How position embeddings are resized; all sources use bicubic interpolation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionResize {
    /// timm and OpenCLIP: antialiased when there are fewer positions.
    Antialiased,
    /// Hugging Face's transformers: interpolation without antialiasing.
    Plain,
    /// torchvision: `align_corners=True`.
    Corners,
    /// DINOv2: [`Plain`](Self::Plain), with the scale factor computed from the size plus 0.1.
    Offset,
}

/// Multi-head attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    pub heads: usize,
    /// The windows; none: every position attends to all positions.
    pub window: Option<AttentionWindow>,
    /// The bias of the scores.
    pub bias: RelativeBias,
}

/// The windows of a map within which positions attend to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionWindow {
    /// Height and width.
    pub size: [usize; 2],
    /// The first window begins so many rows and columns from the corner. The map wraps around (`torch.roll`), but
    /// positions from opposite sides of the map do not attend to each other.
    pub shift: [usize; 2],
}

impl AttentionWindow {
    /// The number that is added to the score of two positions that do not attend to each other.
    pub(crate) const MASK: f32 = -100.0;

    /// Whether two positions of a window are masked from each other, `(windows, queries, keys)`, on a map of that
    /// height and width.
    pub(crate) fn apart(&self, size: [usize; 2]) -> Vec<bool> {
        let Self { size: tile, shift } = *self;
        let region = |at: usize, i: usize| match at {
            _ if shift[i] == 0 => 0,
            at if at < size[i] - tile[i] => 0,
            at if at < size[i] - shift[i] => 1,
            _ => 2,
        };
        let (count, keys) = ([size[0] / tile[0], size[1] / tile[1]], tile[0] * tile[1]);
        let mut all = Vec::with_capacity(count[0] * count[1] * keys * keys);
        for (top, left) in (0..count[0]).flat_map(|y| (0..count[1]).map(move |x| (y * tile[0], x * tile[1]))) {
            let place = |key: usize| [region(top + key / tile[1], 0), region(left + key % tile[1], 1)];
            all.extend((0..keys * keys).map(|i| place(i / keys) != place(i % keys)));
        }
        all
    }
}

/// The bias of the attention scores, which depends on the positions of query and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelativeBias {
    /// No bias.
    None,
    /// Swin: a table with a row for each distance.
    Table,
    /// SwinV2: a small network computes the bias of a distance, which is scaled by a window of so many positions a
    /// side; queries and keys are normalised to length 1, and the factor of their product is learned.
    ///
    /// Keys have no bias. `apart`: the biases of queries and values are tensors of this layer and not of the dense
    /// layer before.
    Network { window: [usize; 2], apart: bool },
    /// A bias for each head and each pair of positions. `cosine`: queries and keys are normalised to length 1, and each
    /// head has a factor of their product.
    Given { cosine: bool },
}

impl Attention {
    /// Number of positions that one attends to.
    pub fn keys(&self, shape: Shape) -> usize {
        let of_window = self.window.map(|window| window.size[0] * window.size[1]);
        of_window.unwrap_or(shape.len() / shape.channels().max(1))
    }

    /// The names, after the layer's owner, and the shapes of the tensors.
    pub(super) fn parameters(&self, shape: Shape) -> Vec<(&'static str, Vec<usize>)> {
        let (heads, channels, keys) = (self.heads, shape.channels(), self.keys(shape));
        match (self.bias, self.window) {
            (RelativeBias::Table, Some(AttentionWindow { size: [h, w], .. })) => {
                vec![("relative_position_bias_table", vec![(2 * h - 1) * (2 * w - 1), heads])]
            }
            (RelativeBias::Network { apart, .. }, _) => {
                let mut all = vec![
                    ("logit_scale", vec![heads, 1, 1]),
                    ("cpb_mlp.0.weight", vec![Self::HIDDEN, 2]),
                    ("cpb_mlp.0.bias", vec![Self::HIDDEN]),
                    ("cpb_mlp.2.weight", vec![heads, Self::HIDDEN]),
                ];
                if apart {
                    all.extend([("q_bias", vec![channels]), ("v_bias", vec![channels])]);
                }
                all
            }
            (RelativeBias::Given { cosine }, _) => {
                let bias = ("bias", vec![heads, keys, keys]);
                std::iter::once(bias).chain(cosine.then(|| ("scale", vec![heads]))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Width of SwinV2's network.
    pub const HIDDEN: usize = 512;
}
