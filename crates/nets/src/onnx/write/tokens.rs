//! The steps of transformers as nodes. Tokens are (n, tokens, channels).

use super::{Attribute, Writer};
use crate::exec::lower::AttentionKernel;
use crate::models::Shape;
use crate::models::graph::AttentionWindow;

/// Parts of all positions, a part before positions, and back.
const HEADS: [(&str, Attribute); 1] = [("perm", Attribute::Ints(&[2, 0, 3, 1, 4]))];
const TURNED: [(&str, Attribute); 1] = [("perm", Attribute::Ints(&[0, 1, 3, 2]))];
const POSITIONS: [(&str, Attribute); 1] = [("perm", Attribute::Ints(&[0, 2, 1, 3]))];
const CHANNELS_LAST: [(&str, Attribute); 1] = [("perm", Attribute::Ints(&[0, 2, 1]))];
/// Windows before their positions, and back.
const WINDOWS: [(&str, Attribute); 1] = [("perm", Attribute::Ints(&[0, 1, 3, 2, 4, 5]))];
/// Along the last dimension.
const LAST: [(&str, Attribute); 1] = [("axis", Attribute::Int(-1))];

impl Writer {
    /// A dense layer at each token.
    pub(super) fn dense_tokens(&mut self, x: &str, weight: &[f32], bias: &[f32]) -> String {
        let (out, inputs) = (bias.len(), weight.len() / bias.len().max(1));
        let columns: Vec<f32> = (0..inputs).flat_map(|i| weight.iter().skip(i).step_by(inputs)).copied().collect();
        let (columns, bias) = (self.floats(&[inputs, out], &columns), self.floats(&[out], bias));
        let product = self.op("MatMul", &[x, &columns], &[]);
        self.op("Add", &[&product, &bias], &[])
    }

    /// Tokens of a map: the `first` ones, then its positions, to which `positions` are added. A vector beside the map
    /// is the first token, to which `first` is added.
    pub(super) fn tokens(&mut self, inputs: &[&str], map: Shape, [first, positions]: [&[f32]; 2]) -> String {
        let c = map.channels();
        let x = self.listed(inputs[0], map);
        if let Some(given) = inputs.get(1) {
            let sizes = self.ints(&[0, 1, c as i64]);
            let given = self.op("Reshape", &[given, &sizes], &[]);
            let x = self.op("Concat", &[&given, &x], &[("axis", Attribute::Int(1))]);
            let all = [first, positions].concat();
            let all = self.floats(&[1, all.len() / c, c], &all);
            return self.op("Add", &[&x, &all], &[]);
        }
        let positions = self.floats(&[1, positions.len() / c, c], positions);
        let x = self.op("Add", &[&x, &positions], &[]);
        if first.is_empty() {
            return x;
        }
        let n = first.len() / c;
        let first = self.floats(&[1, n, c], first);
        let pictures = self.op("Shape", &[&x], &[("start", Attribute::Int(0)), ("end", Attribute::Int(1))]);
        let rest = self.ints(&[n as i64, c as i64]);
        let sizes = self.op("Concat", &[&pictures, &rest], &[("axis", Attribute::Int(0))]);
        let first = self.op("Expand", &[&first, &sizes], &[]);
        self.op("Concat", &[&first, &x], &[("axis", Attribute::Int(1))])
    }

    /// A map as (n, positions, channels).
    fn listed(&mut self, x: &str, map: Shape) -> String {
        let sizes = self.ints(&[0, map.channels() as i64, -1]);
        let rows = self.op("Reshape", &[x, &sizes], &[]);
        self.op("Transpose", &[&rows], &CHANNELS_LAST)
    }

    /// The map of (n, positions, channels).
    fn mapped(&mut self, x: &str, map: Shape) -> String {
        let Shape::Map { c, h, w } = map else { return x.to_string() };
        let planes = self.op("Transpose", &[x], &CHANNELS_LAST);
        let sizes = self.ints(&[0, c as i64, h as i64, w as i64]);
        self.op("Reshape", &[&planes, &sizes], &[])
    }

    /// Tokens from `first` on, as `to`.
    pub(super) fn select(&mut self, x: &str, first: usize, to: Shape) -> String {
        let n = to.len() / to.channels().max(1);
        let x = self.cut(x, 1, first..first + n);
        match to {
            Shape::Vector(_) => self.op("Flatten", &[&x], &[]),
            _ => self.mapped(&x, to),
        }
    }

    /// A stretch of a dimension.
    pub(super) fn cut(&mut self, x: &str, axis: i64, range: std::ops::Range<usize>) -> String {
        let [first, end] = [range.start, range.end].map(|place| self.ints(&[place as i64]));
        let axis = self.ints(&[axis]);
        self.op("Slice", &[x, &first, &end, &axis], &[])
    }

    /// The channels of the four positions of each square of a map one after the other.
    pub(super) fn merge(&mut self, x: &str, to: Shape) -> String {
        let Shape::Map { c, h, w } = to else { return x.to_string() };
        let (c, h, w) = (c as i64, h as i64, w as i64);
        let (squares, sizes) = (self.ints(&[0, c / 4, h, 2, w, 2]), self.ints(&[0, c, h, w]));
        let squares = self.op("Reshape", &[x, &squares], &[]);
        let turned = self.op("Transpose", &[&squares], &[("perm", Attribute::Ints(&[0, 5, 3, 1, 2, 4]))]);
        self.op("Reshape", &[&turned, &sizes], &[])
    }

    /// Attention over `x`, of shape `from`, whose channels are queries, keys and values; queries and keys of tokens are
    /// turned by the angles with these cosines and sines.
    pub(super) fn attention(
        &mut self,
        x: &str,
        from: Shape,
        kernel: &AttentionKernel,
        angles: Option<[&[f32]; 2]>,
    ) -> String {
        let to = from.with_channels(from.channels() / 3);
        match (kernel.window, from) {
            (Some(window), Shape::Map { h, w, .. }) => self.windowed_attention(x, window, [h, w], kernel, to),
            (_, Shape::Map { .. }) => {
                let x = self.listed(x, from);
                let mixed = self.heads(&x, kernel, [to.len() / to.channels(), to.channels()], None, None);
                self.mapped(&mixed, to)
            }
            _ => self.heads(x, kernel, [to.len() / to.channels(), to.channels()], None, angles),
        }
    }

    fn windowed_attention(
        &mut self,
        x: &str,
        window: AttentionWindow,
        size: [usize; 2],
        kernel: &AttentionKernel,
        to: Shape,
    ) -> String {
        let AttentionWindow { size: tile, shift } = window;
        let [h, w, th, tw] = [size[0], size[1], tile[0], tile[1]].map(|side| side as i64);
        let (c, keys) = (to.channels(), tile[0] * tile[1]);
        let last = self.op("Transpose", &[x], &[("perm", Attribute::Ints(&[0, 2, 3, 1]))]);
        let x = self.roll(&last, size, shift);
        let (tiles, listed) =
            (self.ints(&[0, h / th, th, w / tw, tw, 3 * c as i64]), self.ints(&[-1, keys as i64, 3 * c as i64]));
        let x = self.op("Reshape", &[&x, &tiles], &[]);
        let x = self.op("Transpose", &[&x], &WINDOWS);
        let x = self.op("Reshape", &[&x, &listed], &[]);
        let mask = (shift != [0, 0]).then(|| {
            let apart = window.apart(size);
            let mask: Vec<f32> =
                apart.into_iter().map(|apart| if apart { AttentionWindow::MASK } else { 0.0 }).collect();
            let count = mask.len() / (keys * keys);
            (self.floats(&[1, count, 1, keys, keys], &mask), count)
        });
        let x = self.heads(&x, kernel, [keys, c], mask, None);
        let (tiles, map) = (self.ints(&[-1, h / th, w / tw, th, tw, c as i64]), self.ints(&[-1, h, w, c as i64]));
        let x = self.op("Reshape", &[&x, &tiles], &[]);
        let x = self.op("Transpose", &[&x], &WINDOWS);
        let x = self.op("Reshape", &[&x, &map], &[]);
        let back = [0, 1].map(|i| (size[i] - shift[i]) % size[i]);
        let x = self.roll(&x, size, back);
        self.op("Transpose", &[&x], &[("perm", Attribute::Ints(&[0, 3, 1, 2]))])
    }

    /// Moves so many rows and columns of (n, h, w, c) from the beginning to the end.
    fn roll(&mut self, x: &str, size: [usize; 2], steps: [usize; 2]) -> String {
        let mut x = x.to_string();
        for (axis, (size, steps)) in (1..).zip(size.into_iter().zip(steps)) {
            if steps > 0 {
                let (end, start) = (self.cut(&x, axis, steps..size), self.cut(&x, axis, 0..steps));
                x = self.op("Concat", &[&end, &start], &[("axis", Attribute::Int(axis))]);
            }
        }
        x
    }

    /// Attention over all of so many positions of `x` (n, positions, 3 c); `mask` is added to the scores of so many
    /// windows.
    fn heads(
        &mut self,
        x: &str,
        kernel: &AttentionKernel,
        [positions, c]: [usize; 2],
        mask: Option<(String, usize)>,
        angles: Option<[&[f32]; 2]>,
    ) -> String {
        let [heads, size, positions] = [kernel.heads, c / kernel.heads, positions].map(|size| size as i64);
        let [mut queries, mut keys, values] = self.parts(x, [positions, 3, heads, size], [0, 1, 2]);
        if kernel.cosine {
            [queries, keys] = [queries, keys].map(|x| self.op("LpNormalization", &[&x], &LAST));
        }
        if let Some(angles) = angles {
            [queries, keys] = [queries, keys].map(|x| self.turned(&x, positions as usize, angles));
        }
        let keys = self.op("Transpose", &[&keys], &TURNED);
        let scores = self.op("MatMul", &[&queries, &keys], &[]);
        let first = kernel.scale.first().copied().unwrap_or(1.0);
        let factor = match kernel.scale.iter().all(|&scale| scale == first) {
            true => self.float(first),
            false => self.floats(&[kernel.heads, 1, 1], &kernel.scale),
        };
        let mut scores = self.op("Mul", &[&scores, &factor], &[]);
        if !kernel.bias.is_empty() {
            let bias = self.floats(&[1, kernel.heads, positions as usize, positions as usize], &kernel.bias);
            scores = self.op("Add", &[&scores, &bias], &[]);
        }
        if let Some((mask, windows)) = mask {
            let apart = self.ints(&[-1, windows as i64, heads, positions, positions]);
            let together = self.ints(&[-1, heads, positions, positions]);
            let by_window = self.op("Reshape", &[&scores, &apart], &[]);
            let masked = self.op("Add", &[&by_window, &mask], &[]);
            scores = self.op("Reshape", &[&masked, &together], &[]);
        }
        let shares = self.op("Softmax", &[&scores], &LAST);
        let mixed = self.op("MatMul", &[&shares, &values], &[]);
        let mixed = self.op("Transpose", &[&mixed], &POSITIONS);
        let sizes = self.ints(&[0, positions, c as i64]);
        self.op("Reshape", &[&mixed, &sizes], &[])
    }

    /// Those parts of the channels of `x` (n, positions, channels), each (n, heads, positions, channels of a head).
    fn parts<const N: usize>(
        &mut self,
        x: &str,
        [positions, count, heads, size]: [i64; 4],
        places: [usize; N],
    ) -> [String; N] {
        let sizes = self.ints(&[0, positions, count, heads, size]);
        let table = self.op("Reshape", &[x, &sizes], &[]);
        let turned = self.op("Transpose", &[&table], &HEADS);
        let first = self.ints(&[0]);
        places.map(|at| {
            let part = self.cut(&turned, 0, at..at + 1);
            self.op("Squeeze", &[&part, &first], &[])
        })
    }

    /// Vectors (n, heads, positions, channels of a head) turned by the angles with these cosines and sines.
    fn turned(&mut self, x: &str, positions: usize, [cos, sin]: [&[f32]; 2]) -> String {
        let size = cos.len() / positions;
        let [cos, sin] = [cos, sin].map(|values| self.floats(&[positions, size], values));
        let [second, first] = [size / 2..size, 0..size / 2].map(|half| self.cut(x, 3, half));
        let second = self.op("Neg", &[&second], &[]);
        let across = self.op("Concat", &[&second, &first], &LAST);
        let (straight, across) = (self.op("Mul", &[x, &cos], &[]), self.op("Mul", &[&across, &sin], &[]));
        self.op("Add", &[&straight, &across], &[])
    }

    /// One query of all heads attends to tokens, whose channels are keys and values.
    pub(super) fn attention_pool(&mut self, x: &str, from: Shape, heads: usize, query: &[f32]) -> String {
        let (c, positions) = (query.len(), from.len() / from.channels().max(1));
        let sizes = [positions, 2, heads, c / heads].map(|size| size as i64);
        let [keys, values] = self.parts(x, sizes, [0, 1]);
        let keys = self.op("Transpose", &[&keys], &TURNED);
        let query = self.floats(&[1, heads, 1, c / heads], query);
        let scores = self.op("MatMul", &[&query, &keys], &[]);
        let shares = self.op("Softmax", &[&scores], &LAST);
        let mixed = self.op("MatMul", &[&shares, &values], &[]);
        self.op("Flatten", &[&mixed], &[])
    }
}
