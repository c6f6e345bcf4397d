//! Large convolutions with fewer multiplications, by Strassen's algorithm: seven products of half the size instead of
//! eight, once (7/8 of the multiplications) or twice (49/64).
//!
//! Strassen, "Gaussian Elimination is not Optimal" (1969), in Winograd's form with fifteen additions. A convolution is
//! the product of positions × values by values × filters, see [`matmul`](super::matmul); both factors and the result
//! are cut into quarters, twice for two levels. The sums of quarters of the weights are packed once. Those of the
//! inputs are made for a group of positions and serve all filters. Those of the results cost little: the micro-kernel
//! goes on from the sums in the registers with the next product (a chain), and a product that two
//! results share stays in the first-level cache in between.
//!
//! The positions of a group belong to one picture, and groups are cut by the shape alone, so the bits of a picture
//! depend on nothing else. Each level makes rounding errors larger by a small factor, which `tests` bounds and
//! `tests/it/zoo.rs` measures for whole networks.

mod gemm;
mod kernel;
mod operands;
mod schedule;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::gemm::ScratchLayout;
use self::schedule::{PackWeights, STEPS};
use super::activation::Function;
use super::aligned::Aligned;
use super::matmul::{DirectConv, GemmOffsets, SliceLens};
use super::parallel;
use super::residual::Residual;
use super::simd::{Isa, Simd, SimdKernel};
use crate::{Activation, clamp_bounds};

/// How often the matrices are halved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Levels {
    One,
    Two,
}

impl Levels {
    /// The levels for a convolution over `positions` of a picture whose windows have `depth` values, by `filters`; none
    /// where the direct convolution is faster.
    ///
    /// The choice depends on the shape alone, never on the number of pictures, so that the bits of a picture do not
    /// either. The limits are measured.
    pub fn choose(positions: usize, depth: usize, filters: usize) -> Option<Self> {
        // sums of inputs serve all filters, sums of results all values, and the weights, which become more, all
        // positions: with few of one of them the sums take longer than the multiplications that they save
        let (few, many) = (depth.min(filters), depth * filters);
        if positions < 100 || !depth.is_multiple_of(4) {
            return None;
        }
        if few >= 256 {
            return Some(Levels::Two);
        }
        (few >= 96 && many >= 40_000).then_some(Levels::One)
    }

    /// Into how many parts each side of a matrix is cut.
    fn parts(self) -> usize {
        match self {
            Levels::One => 2,
            Levels::Two => 4,
        }
    }

    /// Steps of the outer halving: seven for two levels; for one level, one step that is the whole product.
    fn outer_steps(self) -> usize {
        match self {
            Levels::One => 1,
            Levels::Two => STEPS,
        }
    }
}

/// A convolution by Strassen's algorithm with its weights summed and packed for an instruction set.
#[derive(Clone, Debug)]
pub struct StrassenConv {
    isa: Isa,
    levels: Levels,
    /// Rows of the kernel.
    kernel_rows: usize,
    /// Values in a row of the kernel: its width × channels.
    depth: usize,
    /// Vectors of filters in a part.
    vectors: usize,
    /// (outer steps, panels of two vectors of filters, inner steps, values of a part, filters of a panel): sums of
    /// parts of the weights.
    weights: Aligned,
    bias: Vec<f32>,
    /// The filters that are left when all parts have the same number of whole vectors.
    rest: Option<DirectConv>,
}

impl StrassenConv {
    /// Sums and packs weights `(filters, kernel_rows, depth)`, row-major, for the vectors of `isa`.
    ///
    /// Panics when the values of a window cannot be cut into equal parts, or the filters are less than one vector for
    /// each part.
    pub fn new(isa: Isa, levels: Levels, weight: &[f32], bias: &[f32], kernel_rows: usize, depth: usize) -> Self {
        let (window, parts) = (kernel_rows * depth, levels.parts());
        assert!(window.is_multiple_of(parts), "the values of a window cannot be cut into {parts} equal parts");
        let vectors = bias.len() / (parts * isa.lanes());
        assert!(vectors > 0, "too few filters");
        let filters = parts * vectors * isa.lanes();
        let kernel = PackWeights { levels, weight: &weight[..filters * window], depth: window, vectors };
        // SAFETY: the kernel has no demands.
        let weights = unsafe { isa.run(kernel) };
        let rest = (filters < bias.len())
            .then(|| DirectConv::new(isa, &weight[filters * window..], &bias[filters..], kernel_rows, depth));
        Self { isa, levels, kernel_rows, depth, vectors, weights, bias: bias[..filters].to_vec(), rest }
    }

    /// Floats of scratch that [`StrassenConv::run`] needs for `threads`.
    pub fn scratch_len(&self, threads: usize) -> usize {
        threads * ScratchLayout::of(self).len
    }

    /// Computes the same as [`DirectConv::run`], for whole pictures of `map` positions each. The contents of
    /// `scratch` do not matter.
    ///
    /// Panics when a window, an output or a residual lies outside its slice, when the scratch is shorter than
    /// [`StrassenConv::scratch_len`], when the positions are not whole pictures, or when outputs overlap that several
    /// threads would write.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &self,
        threads: usize,
        offsets: &GemmOffsets,
        map: usize,
        input: &[f32],
        residual: &[f32],
        activation: Option<Activation>,
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (filters, positions) = (self.bias.len(), offsets.output_starts.len());
        if positions == 0 {
            return;
        }
        let window = (self.kernel_rows - 1) * offsets.row_stride + self.depth;
        let lens = SliceLens { input: input.len(), residual: residual.len(), output: output.len() };
        offsets.check(threads, filters, window, lens);
        assert!(map > 0 && positions.is_multiple_of(map), "the positions are not whole pictures");
        assert!(scratch.len() >= self.scratch_len(threads), "the scratch is too short");
        let output_pointer = output.as_mut_ptr();
        let (residual_starts, residual_pointer) =
            offsets.residual.source(residual, offsets.output_starts, output_pointer);
        let args = RunArgs {
            conv: self,
            offsets,
            groups: GroupGrid::of(map, positions / map, self.levels.parts(), self.isa.tile_rows()),
            layout: ScratchLayout::of(self),
            input: input.as_ptr(),
            residual_starts,
            residual: residual_pointer,
            output: output_pointer,
            scratch: scratch.as_mut_ptr(),
            clamp: clamp_bounds(activation),
            function: Function::of(self.isa, activation),
        };
        parallel::run_parts(threads, &args, |args, thread| {
            let (groups, panels) = split(thread, threads, args.groups.count, self.vectors.div_ceil(2));
            // SAFETY: every window, output and residual lies within its slice and the scratch is long enough, as
            // asserted; output and scratch are borrowed mutably; no two threads compute the same panel of one group,
            // and each has a part of the scratch of its own.
            unsafe { self.isa.run(ComputeGroups { args, thread, groups, panels }) }
        });
        if let Some(rest) = &self.rest {
            let residual = if let Residual::At(_) = offsets.residual { &residual[filters..] } else { &[] };
            rest.run(threads, offsets, input, residual, activation, &mut output[filters..]);
        }
    }
}

/// The groups and panels of thread `i`: some groups, whose sums it makes alone, or some panels of all groups where
/// groups cannot be divided evenly.
fn split(i: usize, threads: usize, groups: usize, panels: usize) -> (Range<usize>, Range<usize>) {
    let idle = groups.div_ceil(threads) * threads - groups;
    if 10 * idle <= groups || panels < threads {
        (parallel::split(groups, i, threads), 0..panels)
    } else {
        (0..groups, parallel::split(panels, i, threads))
    }
}

/// The arguments of a run, which its threads share. [`GemmOffsets::check`] has accepted the offsets for the slices
/// behind the pointers, and `scratch` is as long as [`StrassenConv::scratch_len`] says.
struct RunArgs<'a> {
    conv: &'a StrassenConv,
    offsets: &'a GemmOffsets<'a>,
    groups: GroupGrid,
    layout: ScratchLayout,
    input: *const f32,
    /// Where the residual of each position begins, in `residual`, which may be the output.
    residual_starts: Option<&'a [u32]>,
    residual: *const f32,
    output: *mut f32,
    scratch: *mut f32,
    clamp: [f32; 2],
    function: Option<Function<Isa>>,
}

// SAFETY: each thread writes the outputs of its own groups and panels and its own part of the scratch alone, and a
// residual in place is read by the thread that overwrites it; the rest is only read.
unsafe impl Sync for RunArgs<'_> {}

/// Computes some panels of filters for some groups of positions.
///
/// `args` must be as [`RunArgs`] says; nobody else may access the outputs of these groups and panels, nor the scratch
/// of `thread`.
struct ComputeGroups<'a> {
    args: &'a RunArgs<'a>,
    thread: usize,
    groups: Range<usize>,
    panels: Range<usize>,
}

impl SimdKernel for ComputeGroups<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller of `SimdKernel::run` checked the instruction set, and the arguments are as `ComputeGroups`
        // demands.
        unsafe { gemm::compute_groups::<S>(self) }
    }
}

/// How the positions of pictures are cut into groups: each group has as many positions for each part as a tile has
/// rows, or a few less.
#[derive(Clone, Copy, Debug)]
struct GroupGrid {
    /// Positions of a picture.
    map: usize,
    parts: usize,
    /// Groups of a picture.
    per_picture: usize,
    /// Rows of the parts of all groups of a picture.
    rows: usize,
    /// Groups of all pictures.
    count: usize,
}

/// `parts · rows` positions from `first` on. Those behind `last`, the last position of the picture, are computed and
/// not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Group {
    first: usize,
    rows: usize,
    last: usize,
}

impl GroupGrid {
    fn of(map: usize, pictures: usize, parts: usize, tile_rows: usize) -> Self {
        let rows = map.div_ceil(parts);
        let per_picture = rows.div_ceil(tile_rows);
        Self { map, parts, per_picture, rows, count: per_picture * pictures }
    }

    fn group(&self, index: usize) -> Group {
        let (picture, i) = (index / self.per_picture, index % self.per_picture);
        let rows = parallel::split(self.rows, i, self.per_picture);
        let begin = picture * self.map;
        Group { first: begin + self.parts * rows.start, rows: rows.len(), last: begin + self.map - 1 }
    }
}
