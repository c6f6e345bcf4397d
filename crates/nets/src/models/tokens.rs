//! The layers of transformers: the tokens of a map, and attention over all of them or within windows.

use super::graph::Shape;

/// The tensors that make tokens of a map: class token, register tokens, then the positions of the map, row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenTensors {
    /// `(1, 1, c)`
    pub class: Option<&'static str>,
    /// `(1, n, c)`, and how many there are.
    pub registers: Option<(&'static str, usize)>,
    /// `(1, n, c)`: the embedding of each position is added to it.
    pub positions: &'static str,
    /// Whether the class token, or the one that a layer gives, has an embedding, too, which comes before the others.
    pub class_position: bool,
    /// How the source makes the embeddings of a grid of those of another.
    pub resize: PositionResize,
}

impl TokenTensors {
    /// Number of tokens before those of the map.
    pub fn prefix(&self) -> usize {
        usize::from(self.class.is_some()) + self.registers.map_or(0, |(_, n)| n)
    }
}

/// How position embeddings are resized, always by cubic splines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionResize {
    /// timm and OpenCLIP: each value is a mean over the positions that it stands for, where there are fewer.
    Antialiased,
    /// Transformers: values between four neighbours.
    Plain,
    /// torchvision: corners stay corners.
    Corners,
    /// DINOv2: [`Plain`](Self::Plain), a tenth of a position beside the grid.
    Offset,
}

/// Multi-head attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    pub heads: usize,
    /// None: every position attends to all positions.
    pub window: Option<AttentionWindow>,
    /// The learned values for the distances of two positions.
    pub bias: RelativeBias,
}

/// The windows of a map within which positions attend to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionWindow {
    /// Height and width.
    pub size: [usize; 2],
    /// The first window begins so many rows and columns from the corner. The map goes on where it began, but positions
    /// from its two ends do not see each other.
    pub shift: [usize; 2],
}

impl AttentionWindow {
    /// Whether two positions of a window do not see each other, `(windows, queries, keys)`, on a map of that height and
    /// width.
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

/// Scores that are learned for the distance between two positions of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelativeBias {
    /// Nothing.
    None,
    /// Swin: a table with a row for each distance.
    Table,
    /// SwinV2: a small network gives the score of a distance, which is counted in windows of so many positions a side;
    /// queries and keys have length 1, and the factor of their product is learned.
    ///
    /// Keys have no bias. `apart`: those of queries and values are tensors of the layer, and not of the one before.
    Network { window: [usize; 2], apart: bool },
    /// One for each head and each pair of positions. `cosine`: queries and keys have length 1, and each head has a
    /// factor of their product.
    Given { cosine: bool },
}

impl Attention {
    /// Number of positions that one attends to.
    pub fn keys(&self, shape: Shape) -> usize {
        let of_window = self.window.map(|window| window.size[0] * window.size[1]);
        of_window.unwrap_or(shape.len() / shape.channels().max(1))
    }

    /// The tensors behind the layer's owner.
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
