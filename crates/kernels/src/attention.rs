//! Multi-head attention, softmax(q · kᵀ · scale + bias) · v for each head, over tokens whose channels lie side by side.
//! Tokens attend to those of their window alone; a network without windows has one that holds all of them.
//!
//! A head's keys, transposed, and its values are packed like the weights of a convolution, and the micro-kernel of
//! [`matmul`](crate::matmul) computes both products, for a block of queries at a time, so that the scores between them
//! stay in the first-level cache, or in the second where keys are many. A row of scores holds all keys, as in the
//! definition; so nothing has to be rescaled, and the sums of a query run in one order whatever the block. Windows are
//! read and written where their tokens lie in the map, so that the shifted windows of Swin need no copy of the map.
//!
//! Sums and scores are f32 for maps of bf16, too. eˣ has a relative error of at most 10⁻⁷, see
//! [`activation`](crate::activation); below −87.7 it is 0.

mod kernel;
#[cfg(test)]
mod tests;

use self::kernel::compute_blocks;
use super::aligned::LINE;
use super::bf16::{Bf16Isa, bf16};
use super::elements::Element;
use super::matmul::ENOUGH_TILES;
use super::parallel::{self, split};
use super::simd::Isa;

/// The sizes of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    pub heads: usize,
    /// Values of a query, a key or a value of one head.
    pub size: usize,
    /// Queries, and keys, of a window.
    pub queries: usize,
    pub keys: usize,
    /// Whether queries and keys are divided by their lengths, so that their products are the cosines of the angles
    /// between them (SwinV2).
    pub cosine: bool,
}

/// Where the tokens of all windows lie: offsets in elements of the first head's first value, window after window.
#[derive(Clone, Debug)]
pub struct AttentionPlaces {
    /// (windows, queries), in the slice of the queries.
    pub queries: Vec<u32>,
    /// (windows, keys), in the slice of keys and values.
    pub keys: Vec<u32>,
    /// Elements from a key to its value.
    pub value_offset: usize,
    /// (windows, queries), in the output.
    pub outputs: Vec<u32>,
    /// For each window, picture after picture, the index of its bias among the kinds of [`Attention`].
    pub kinds: Vec<usize>,
}

/// An attention.
#[derive(Clone, Debug)]
pub struct Attention {
    shape: AttentionShape,
    /// (heads)
    scales: Vec<f32>,
    /// (kinds, heads, queries, keys); empty where nothing is added to the scores.
    bias: Vec<f32>,
    places: AttentionPlaces,
    /// For each picture the lengths that the slices of queries, keys and outputs must have to hold it.
    spans: Vec<[usize; 3]>,
    isa: Isa,
    rows: Rows,
}

/// A block of queries and how it lies in the scratch.
#[derive(Clone, Debug)]
struct Rows {
    /// Queries of a block, at most.
    most: usize,
    /// Elements from the scores of a query to those of the next.
    pitch: usize,
    /// The offsets of the rows: multiples of the size, of the pitch, and of the number of keys.
    values: Vec<u32>,
    scores: Vec<u32>,
    biases: Vec<u32>,
    /// A bias of zeros for the products.
    zeros: Vec<f32>,
}

/// The bytes of the scores of a block, which fit into the first-level cache together with a panel of keys.
const NEAR: usize = 24 << 10;

impl Attention {
    /// Scores are multiplied by the scale of their head, usually 1/√size. `bias` is `(kinds, heads, queries, keys)`, or
    /// empty; `isa` computes the products.
    ///
    /// Panics when a size is zero, when other lengths are not those of `shape`, or when two tokens share an output.
    pub fn new(isa: Isa, shape: AttentionShape, scales: Vec<f32>, bias: Vec<f32>, places: AttentionPlaces) -> Self {
        let AttentionShape { heads, size, queries, keys, .. } = shape;
        let AttentionPlaces { queries: from, keys: key_starts, value_offset, outputs, kinds } = &places;
        assert!(heads * size * queries * keys > 0 && !kinds.is_empty(), "an attention of no values");
        let windows = from.len() / queries;
        let whole = from.len() == windows * queries && windows.is_multiple_of(kinds.len());
        assert!(whole && key_starts.len() == windows * keys && outputs.len() == from.len(), "offsets for each token");
        let each = heads * queries * keys;
        let has_bias = kinds.iter().all(|kind| (kind + 1) * each <= bias.len());
        assert!(bias.is_empty() || has_bias, "a bias for each kind of window");
        assert!(scales.len() == heads, "a scale for each head");
        let mut sorted = outputs.clone();
        sorted.sort_unstable();
        parallel::assert_disjoint(&sorted, heads * size);
        let ends = |starts: &[u32], each: usize| {
            let last = starts.chunks(each * kinds.len()).map(|starts| starts.iter().copied().max().unwrap_or(0));
            last.map(|last| last as usize + heads * size).collect::<Vec<_>>()
        };
        let [from, to] = [from, outputs].map(|starts| ends(starts, queries));
        let read = from.into_iter().zip(ends(key_starts, keys)).zip(to);
        let spans = read.scan([0; 3], |most, ((from, keys), to)| {
            let span = [from, keys + value_offset, to];
            (0..3).for_each(|i| most[i] = most[i].max(span[i]));
            Some(*most)
        });
        let spans = spans.collect();
        // An odd number of cache lines: rows a power of two apart would share a few sets of the cache.
        let pitch = (keys.div_ceil(LINE) | 1) * LINE;
        let tiles = (NEAR / (pitch * size_of::<f32>() * isa.tile_rows())).max(ENOUGH_TILES);
        let most = queries.min(tiles * isa.tile_rows());
        // The blocks are as equal as possible.
        let most = queries.div_ceil(queries.div_ceil(most));
        let multiples = |of: usize| (0..most).map(|i| (i * of) as u32).collect::<Vec<_>>();
        let zeros = vec![0.0; keys.max(size).next_multiple_of(2 * isa.lanes())];
        let (values, scores, biases) = (multiples(size), multiples(pitch), multiples(keys));
        let rows = Rows { most, pitch, values, scores, biases, zeros };
        Self { shape, scales, bias, places, spans, isa, rows }
    }

    /// Returns the number of windows of a picture.
    pub fn windows(&self) -> usize {
        self.places.kinds.len()
    }

    /// Returns the floats of scratch that a run needs for `threads`.
    pub fn scratch_len(&self, threads: usize) -> usize {
        threads * self.parts().iter().sum::<usize>() + LINE
    }

    /// Returns the floats of a thread's packed keys, packed values, rows of keys, queries, scores, and inverse sums,
    /// each in whole cache lines.
    fn parts(&self) -> [usize; 6] {
        let (panel, AttentionShape { size, keys, .. }) = (2 * self.isa.lanes(), self.shape);
        let rows = self.rows.most;
        let padded = size.next_multiple_of(LINE);
        let packed = [keys.next_multiple_of(panel) * padded, size.next_multiple_of(panel) * keys];
        [packed[0], packed[1], panel * padded, rows * size, rows * self.rows.pitch, rows]
            .map(|len| len.next_multiple_of(LINE))
    }

    /// Computes the first `windows` windows over f32 by `threads` threads of the pool that it is called on. Keys and
    /// values lie in one slice, which may be that of the queries. The contents of `scratch` do not matter.
    ///
    /// Panics when a token lies outside its slice, or the scratch is shorter than [`scratch_len`](Self::scratch_len).
    pub fn run(
        &self,
        threads: usize,
        windows: usize,
        [queries, keys]: [&[f32]; 2],
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        self.run_over(self.isa, threads, windows, [queries, keys], output, scratch);
    }

    /// The same over bf16 by `isa`, which must have the vectors that the attention was made for: values are widened to
    /// f32, and the results rounded.
    pub fn run_bf16(
        &self,
        isa: Bf16Isa,
        threads: usize,
        windows: usize,
        [queries, keys]: [&[bf16]; 2],
        output: &mut [bf16],
        scratch: &mut [f32],
    ) {
        assert!(isa.isa() == self.isa, "the attention is packed for {}", self.isa.name());
        self.run_over(isa, threads, windows, [queries, keys], output, scratch);
    }

    fn run_over<E: Element>(
        &self,
        isa: E::Isa,
        threads: usize,
        windows: usize,
        [queries, keys]: [&[E]; 2],
        output: &mut [E],
        scratch: &mut [f32],
    ) {
        let Some(picture) = windows.checked_sub(1).map(|last| last / self.windows()) else { return };
        let lens = [queries.len(), keys.len(), output.len()];
        let fits = self.spans.get(picture).is_some_and(|spans| spans.iter().zip(&lens).all(|(span, len)| span <= len));
        assert!(fits, "a token lies outside its slice, or there are not so many windows");
        assert!(scratch.len() >= self.scratch_len(threads), "the scratch is too short");
        let aligned = scratch.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        let args = RunArgs {
            attention: self,
            isa,
            queries: queries.as_ptr(),
            keys: keys.as_ptr(),
            output: output.as_mut_ptr(),
            scratch: scratch[aligned..].as_mut_ptr(),
        };
        let blocks = windows * self.shape.heads * self.shape.queries.div_ceil(self.rows.most);
        let threads = threads.clamp(1, blocks.max(1));
        parallel::run_parts(threads, &args, |args, thread| {
            // SAFETY: the tokens lie within their slices and the scratch is long enough, as asserted; output and
            // scratch are borrowed mutably; each thread has blocks and scratch of its own, and no two tokens share an
            // output.
            unsafe { compute_blocks(args, split(blocks, thread, threads), thread) }
        });
    }
}

/// The arguments of a run, which its threads share. The offsets of the attention lie within the slices behind the
/// pointers, and the scratch has room for each thread.
struct RunArgs<'a, E: Element> {
    attention: &'a Attention,
    isa: E::Isa,
    queries: *const E,
    keys: *const E,
    output: *mut E,
    scratch: *mut f32,
}

// SAFETY: the threads only read queries and keys; each writes the outputs of its own blocks and its own scratch alone.
unsafe impl<E: Element> Sync for RunArgs<'_, E> {}
