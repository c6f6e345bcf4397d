//! The parts of an attention that a thread computes, block after block of queries.

use std::ops::Range;

use super::{Attention, AttentionShape, RunArgs};
use crate::activation::exp;
use crate::aligned::LINE;
use crate::elements::{Element, ElementsKernel, MapElements};
use crate::matmul::{BlockProduct, Columns, Panel, TileRows};
use crate::parallel::split;
use crate::simd::{MOST_LANES, Simd, SimdKernel, total};

/// A thread's pieces of the scratch, as [`Attention::parts`] lists them.
#[derive(Clone, Copy)]
struct Scratch {
    keys: *mut f32,
    values: *mut f32,
    key_rows: *mut f32,
    queries: *mut f32,
    scores: *mut f32,
    inverses: *mut f32,
}

/// Computes some blocks of queries: those of a head follow one another, then those of the next head, then those of the
/// next window.
///
/// # Safety
/// `args` is as [`RunArgs`] says; nobody else accesses the outputs of the blocks or the scratch of `thread`.
pub(super) unsafe fn compute_blocks<E: Element>(args: &RunArgs<E>, blocks: Range<usize>, thread: usize) {
    let Attention { shape, rows, .. } = args.attention;
    let parts = args.attention.parts();
    let mut at = args.scratch.wrapping_add(thread * parts.iter().sum::<usize>());
    let [keys, values, key_rows, queries, scores, inverses] = parts.map(|len| {
        let part = at;
        at = at.wrapping_add(len);
        part
    });
    let scratch = Scratch { keys, values, key_rows, queries, scores, inverses };
    let each = shape.queries.div_ceil(rows.most);
    let mut packed = None;
    for block in blocks {
        let head = Head { args, scratch, window: block / each / shape.heads, head: block / each % shape.heads };
        // SAFETY: by this function's contract: the head belongs to one of the windows, and the queries are some of its
        // own; its keys are packed before its first block.
        unsafe {
            if packed.replace(block / each) != Some(block / each) {
                E::run(args.isa, PackKeys(head));
            }
            head.block(split(shape.queries, block % each, each));
        }
    }
}

/// A head of a window. `args` and `scratch` are as [`compute_blocks`] demands.
struct Head<'a, E: Element> {
    args: &'a RunArgs<'a, E>,
    scratch: Scratch,
    window: usize,
    head: usize,
}

impl<E: Element> Clone for Head<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E: Element> Copy for Head<'_, E> {}

impl<E: Element> Head<'_, E> {
    /// Computes the block of `queries`.
    ///
    /// # Safety
    /// The head is as [`compute_blocks`] demands, and its keys and values are packed.
    unsafe fn block(self, queries: Range<usize>) {
        let Attention { shape, bias, places, isa, rows, .. } = self.args.attention;
        let Scratch { keys, values, queries: packed, scores, .. } = self.scratch;
        let n = queries.len();
        let product = |depth: usize, filters: usize, weights: *mut f32, rows: TileRows| {
            let clamp = [f32::NEG_INFINITY, f32::INFINITY];
            let (columns, bias) = (Columns::ADJACENT, self.args.attention.rows.zeros.as_ptr());
            let weights = weights.cast_const();
            let panels =
                Panel { kernel_rows: 1, columns, depth, row_stride: 0, weights, bias, filters, clamp, function: None };
            // SAFETY: both products below have as many rows in the scratch as `rows` has offsets, packed weights for
            // each filter and zeros for their bias, and nobody else accesses the scratch; the bias of the scores has a
            // value for each query and key.
            unsafe { isa.run(BlockProduct { panels, rows, filters: 0..filters }) }
        };
        let kind = places.kinds[self.window % places.kinds.len()];
        let bias_row = (kind * shape.heads + self.head) * shape.queries + queries.start;
        let scored = TileRows {
            input: packed,
            window_starts: &rows.values[..n],
            output: scores,
            output_starts: &rows.scores[..n],
            residual: bias.as_ptr().wrapping_add(bias_row * shape.keys),
            residual_starts: (!bias.is_empty()).then_some(&rows.biases[..n]),
        };
        // the sums of the values take the place of the queries
        let summed = TileRows {
            input: scores,
            window_starts: &rows.scores[..n],
            output: packed,
            output_starts: &rows.values[..n],
            residual: packed,
            residual_starts: None,
        };
        // SAFETY: by this function's contract: the queries are some of the window's, and each step writes what the next
        // one reads.
        unsafe {
            E::run(self.args.isa, PackQueries(self, queries.clone()));
            product(shape.size, shape.keys, keys, scored);
            isa.run(Softmax { scores, inverses: self.scratch.inverses, rows: n, pitch: rows.pitch, keys: shape.keys });
            product(shape.keys, shape.size, values, summed);
            E::run(self.args.isa, WriteOutputs(self, queries));
        }
    }

    /// Returns 1 over the length of the query or key at `from` where cosines are computed, else 1. As in PyTorch's
    /// `normalize` a length is at least 10⁻¹².
    ///
    /// # Safety
    /// The CPU has the instruction set; `size` values can be read at `from`.
    #[inline(always)]
    unsafe fn inverse_length<M: MapElements<Element = E>>(self, from: *const E) -> f32 {
        let AttentionShape { size, cosine, .. } = self.args.attention.shape;
        if !cosine {
            return 1.0;
        }
        // SAFETY: by this function's contract: `lanes` values are left from `at` on.
        unsafe {
            let mut sum = M::Simd::splat(0.0);
            for at in (0..size).step_by(M::Simd::LANES) {
                let v = M::load_partial(from.add(at), M::Simd::LANES.min(size - at));
                sum = M::Simd::mul_add(v, v, sum);
            }
            1.0 / total::<M::Simd>(sum).sqrt().max(1e-12)
        }
    }

    /// Writes the query or key at `from` times `factor` to `to`.
    ///
    /// # Safety
    /// The CPU has the instruction set; `size` values can be read at `from` and written at `to`.
    #[inline(always)]
    unsafe fn scaled<M: MapElements<Element = E>>(self, from: *const E, factor: f32, to: *mut f32) {
        let size = self.args.attention.shape.size;
        for at in (0..size).step_by(M::Simd::LANES) {
            let lanes = M::Simd::LANES.min(size - at);
            // SAFETY: by this function's contract: `lanes` values are left from `at` on.
            unsafe {
                let v = M::Simd::mul(M::load_partial(from.add(at), lanes), M::Simd::splat(factor));
                M::Simd::store_partial(to.add(at), lanes, v);
            }
        }
    }
}

/// Packs the keys of a head, transposed, and its values. The head is as [`compute_blocks`] demands.
struct PackKeys<'a, E: Element>(Head<'a, E>);

impl<E: Element> ElementsKernel<E> for PackKeys<'_, E> {
    #[inline(always)]
    unsafe fn run<M: MapElements<Element = E>>(self) {
        let head = self.0;
        let Attention { shape, places, .. } = head.args.attention;
        let AttentionShape { size, keys, .. } = *shape;
        let (lanes, panel, padded) = (M::Simd::LANES, 2 * M::Simd::LANES, size.next_multiple_of(LINE));
        let starts = &places.keys[head.window * keys..][..keys];
        // SAFETY: the caller of `ElementsKernel::run` checked the instruction set; the tokens lie within their slices
        // and `Attention::parts` has room for whole panels of keys and values; a row of keys has room for whole lines,
        // and a packed panel of keys for as many values.
        unsafe {
            for (p, starts) in starts.chunks(panel).enumerate() {
                let to = head.scratch.keys.add(p * panel * size);
                for (j, &start) in starts.iter().enumerate() {
                    let from = head.args.keys.add(start as usize + head.head * size);
                    let factor = head.inverse_length::<M>(from);
                    head.scaled::<M>(from, factor, head.scratch.key_rows.add(j * padded));
                    let value = from.add(places.value_offset);
                    for first in (0..size).step_by(lanes) {
                        let v = M::load_partial(value.add(first), lanes.min(size - first));
                        let at = first / panel * panel * keys + (p * panel + j) * panel + first % panel;
                        M::Simd::store(head.scratch.values.add(at), v);
                    }
                }
                // Rows behind the last key still hold keys of the panel before; their scores are not read.
                for (first, half) in (0..size).step_by(lanes).flat_map(|first| [(first, 0), (first, lanes)]) {
                    if half < starts.len() {
                        let from = head.scratch.key_rows.add(half * padded + first);
                        M::Simd::transpose(from, padded, to.add(first * panel + half), panel);
                    }
                }
            }
        }
    }
}

/// Writes some queries of a head, times their scale, to the scratch. The head is as [`compute_blocks`] demands.
struct PackQueries<'a, E: Element>(Head<'a, E>, Range<usize>);

impl<E: Element> ElementsKernel<E> for PackQueries<'_, E> {
    #[inline(always)]
    unsafe fn run<M: MapElements<Element = E>>(self) {
        let Self(head, queries) = self;
        let Attention { shape, scales, places, .. } = head.args.attention;
        let starts = &places.queries[head.window * shape.queries..][queries];
        for (i, &start) in starts.iter().enumerate() {
            // SAFETY: the caller of `ElementsKernel::run` checked the instruction set; the tokens lie within their
            // slices, and the scratch has room for a block of queries.
            unsafe {
                let from = head.args.queries.add(start as usize + head.head * shape.size);
                let factor = head.inverse_length::<M>(from) * scales[head.head];
                head.scaled::<M>(from, factor, head.scratch.queries.add(i * shape.size));
            }
        }
    }
}

/// Writes the sums of the values, divided by those of the weights, to the output. The head is as [`compute_blocks`]
/// demands.
struct WriteOutputs<'a, E: Element>(Head<'a, E>, Range<usize>);

impl<E: Element> ElementsKernel<E> for WriteOutputs<'_, E> {
    #[inline(always)]
    unsafe fn run<M: MapElements<Element = E>>(self) {
        let Self(head, queries) = self;
        let Attention { shape, places, .. } = head.args.attention;
        let starts = &places.outputs[head.window * shape.queries..][queries];
        for (i, &start) in starts.iter().enumerate() {
            // SAFETY: the caller of `ElementsKernel::run` checked the instruction set; the tokens lie within the output
            // and are nobody else's, and the scratch has a block of sums.
            unsafe {
                let inverse = M::Simd::splat(*head.scratch.inverses.add(i));
                let from = head.scratch.queries.add(i * shape.size).cast_const();
                let to = head.args.output.add(start as usize + head.head * shape.size);
                for at in (0..shape.size).step_by(M::Simd::LANES) {
                    let lanes = M::Simd::LANES.min(shape.size - at);
                    let v = M::Simd::mul(M::Simd::load_partial(from.add(at), lanes), inverse);
                    M::store_partial(to.add(at), lanes, v);
                }
            }
        }
    }
}

/// Replaces each score s of a row by e^(s − m), where m is the largest score of the row, and writes the reciprocal of
/// their sum to `inverses`.
///
/// Each of `rows` rows, `pitch` apart, has `keys` scores and room for whole lines.
struct Softmax {
    scores: *mut f32,
    inverses: *mut f32,
    rows: usize,
    pitch: usize,
    keys: usize,
}

impl SimdKernel for Softmax {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for i in 0..self.rows {
            // SAFETY: the caller of `SimdKernel::run` checked the instruction set; a row has room for whole vectors.
            unsafe {
                let row = self.scores.add(i * self.pitch);
                // Lanes behind the last key add nothing.
                (self.keys..self.keys.next_multiple_of(S::LANES)).for_each(|j| *row.add(j) = f32::NEG_INFINITY);
                let mut most = S::splat(f32::NEG_INFINITY);
                for j in (0..self.keys).step_by(S::LANES) {
                    most = S::max(most, S::load(row.add(j)));
                }
                let mut lanes = [f32::NEG_INFINITY; MOST_LANES];
                S::store(lanes.as_mut_ptr(), most);
                let most = S::splat(lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max));
                let mut sum = S::splat(0.0);
                for j in (0..self.keys).step_by(S::LANES) {
                    let e = exp::<S>(S::sub(S::load(row.add(j)), most));
                    sum = S::add(sum, e);
                    S::store(row.add(j), e);
                }
                *self.inverses.add(i) = 1.0 / total::<S>(sum);
            }
        }
    }
}
