//! Long convolutions with fewer multiplications: Strassen's seven products of half the size instead of eight, once (7/8 of the multiplications)
//! or twice (49/64).
//!
//! Strassen, "Gaussian Elimination is not Optimal" (1969), in Winograd's form with fifteen additions. A convolution is the product of positions ×
//! values by values × filters, see [`super::matmul`]; all three are halved, twice for two levels. The sums of weights are made once. Those of
//! the inputs are made for a group of positions and serve all filters. Those of the results cost little: a product goes on from the
//! registers of the one before, and what two results share lies in the first cache in between.
//!
//! The positions of a group are all of one picture, and groups are cut by the shape alone: the bits of a picture depend on nothing else.
//! Rounding grows by a small factor a level, which `tests` bounds and `tests/it/zoo.rs` sees for whole networks.

mod kernel;
mod product;
mod rows;
mod table;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::product::Room;
use self::table::STEPS;
use super::added::Added;
use super::aligned::Aligned;
use super::matmul::{self, Places};
use super::share;
#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Isa, Portable};
use crate::Activation;

/// How often a product is halved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Levels {
    One,
    Two,
}

impl Levels {
    /// For a convolution over `positions` of a picture whose windows see `depth` values, by `filters`; none where the direct one is faster.
    ///
    /// Depends on the shape alone, never on how many pictures are there, so that the bits of a picture do not either. The limits are measured.
    pub fn choose(positions: usize, depth: usize, filters: usize) -> Option<Self> {
        // the sums of inputs serve all filters, those of results all values, and the weights, which become more, all positions: with few of
        // either they take longer than they save
        let (few, many) = (depth.min(filters), depth * filters);
        if positions < 100 || !depth.is_multiple_of(4) {
            return None;
        }
        if few >= 256 {
            return Some(Levels::Two);
        }
        (few >= 96 && many >= 40_000).then_some(Levels::One)
    }

    /// Into how many parts each side is cut.
    fn parts(self) -> usize {
        match self {
            Levels::One => 2,
            Levels::Two => 4,
        }
    }

    /// Outer steps: the seven of the first halving where there are two.
    fn outer(self) -> usize {
        match self {
            Levels::One => 1,
            Levels::Two => STEPS,
        }
    }
}

/// Sums of weights, in the order in which the kernel reads them: for each outer step panels of two vectors of filters; in a panel, for each
/// inner step and value, one weight for each of its filters.
#[derive(Clone, Debug)]
pub struct Packed {
    isa: Isa,
    levels: Levels,
    /// Kernel rows, and values in each.
    rows: usize,
    depth: usize,
    /// Vectors of filters in a part.
    vectors: usize,
    values: Aligned,
    bias: Vec<f32>,
    /// The filters that are left when the parts have whole vectors.
    rest: Option<matmul::Packed>,
}

impl Packed {
    /// Sums and packs weights `(filters, rows, depth)`, row-major, for the vectors of `isa`.
    ///
    /// Panics when the values of a window cannot be cut into equal parts, or the filters are less than a vector a part.
    pub fn new(isa: Isa, levels: Levels, weight: &[f32], bias: &[f32], rows: usize, depth: usize) -> Self {
        let (all, parts) = (rows * depth, levels.parts());
        assert!(all.is_multiple_of(parts), "the values of a window cannot be cut into {parts} equal parts");
        let vectors = bias.len() / (parts * isa.lanes());
        assert!(vectors > 0, "too few filters");
        let filters = parts * vectors * isa.lanes();
        let values = table::weights(levels, &weight[..filters * all], all, [vectors, isa.lanes()]);
        let rest = (filters < bias.len())
            .then(|| matmul::Packed::new(isa, &weight[filters * all..], &bias[filters..], rows, depth));
        Self { isa, levels, rows, depth, vectors, values, bias: bias[..filters].to_vec(), rest }
    }

    /// Floats of scratch that [`Packed::run`] wants for `threads`.
    pub fn scratch_len(&self, threads: usize) -> usize {
        threads * Room::of(self).len
    }

    /// What [`matmul::Packed::run`] computes, for whole pictures of `map` positions each.
    ///
    /// `scratch` may hold anything. Panics when a place lies outside its slice, when the scratch is shorter than [`Packed::scratch_len`], when
    /// the positions are not whole pictures, or when several threads would write one output.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &self,
        threads: usize,
        places: &Places,
        map: usize,
        input: &[f32],
        added: &[f32],
        activation: Option<Activation>,
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (filters, positions) = (self.bias.len(), places.outs.len());
        if positions == 0 {
            return;
        }
        let span = (self.rows - 1) * places.row + self.depth;
        places.check(threads, filters, span, [input.len(), added.len(), output.len()]);
        assert!(map > 0 && positions.is_multiple_of(map), "the positions are not whole pictures");
        assert!(scratch.len() >= self.scratch_len(threads), "the scratch is too short");
        let groups = Groups::of(map, positions / map, self.levels.parts(), self.isa.rows());
        let room = Room::of(self);
        let output_at = output.as_mut_ptr();
        let (adds, added_at) = places.adds.read(added, places.outs, output_at);
        let work = Work {
            packed: self,
            places,
            groups,
            room,
            input: input.as_ptr(),
            adds,
            added: added_at,
            output: output_at,
            scratch: scratch.as_mut_ptr(),
            limits: super::limits(activation),
        };
        share::share(threads, |i| {
            // all of it: a closure takes what it names by field
            let work = &work;
            let (groups, panels) = part(i, threads, work.groups.count, self.vectors.div_ceil(2));
            // SAFETY: the instruction set was detected; every window, output and addend lies within its slice, as asserted; output and scratch
            // are borrowed alone, no two parts write one value of the output, and each has a scratch of its own.
            unsafe { self.part(work, i, groups, panels) }
        });
        if let Some(rest) = &self.rest {
            let added = if let Added::At(_) = places.adds { &added[filters..] } else { &[] };
            rest.run(threads, places, input, added, activation, &mut output[filters..]);
        }
    }

    /// # Safety
    /// The CPU has the instruction set; what `work` points to is there, and nobody else writes what the part does.
    unsafe fn part(&self, work: &Work, thread: usize, groups: Range<usize>, panels: Range<usize>) {
        // SAFETY: as the caller's.
        unsafe {
            match self.isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => run_avx512(work, thread, groups, panels),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => run_avx2(work, thread, groups, panels),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => product::groups::<Neon>(work, thread, groups, panels),
                Isa::Portable => product::groups::<Portable>(work, thread, groups, panels),
            }
        }
    }
}

/// The groups and panels that thread `i` computes: groups, whose sums it makes alone, or panels where the groups cannot be shared evenly.
fn part(i: usize, threads: usize, groups: usize, panels: usize) -> (Range<usize>, Range<usize>) {
    let idle = groups.div_ceil(threads) * threads - groups;
    if 10 * idle <= groups || panels < threads {
        (share::range(groups, i, threads), 0..panels)
    } else {
        (0..groups, share::range(panels, i, threads))
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn run_avx512(work: &Work, thread: usize, groups: Range<usize>, panels: Range<usize>) {
    // SAFETY: as the caller's.
    unsafe { product::groups::<Avx512>(work, thread, groups, panels) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2(work: &Work, thread: usize, groups: Range<usize>, panels: Range<usize>) {
    // SAFETY: as the caller's.
    unsafe { product::groups::<Avx2>(work, thread, groups, panels) }
}

/// What a run works on.
struct Work<'a> {
    packed: &'a Packed,
    places: &'a Places<'a>,
    groups: Groups,
    room: Room,
    input: *const f32,
    /// Where the values to add lie, of `added`, which may be the output.
    adds: Option<&'a [u32]>,
    added: *const f32,
    output: *mut f32,
    scratch: *mut f32,
    limits: [f32; 2],
}

// SAFETY: what is only read nobody writes; what is written, and what is added where it lies, is divided among the threads, see `run`.
unsafe impl Sync for Work<'_> {}

/// How the positions of pictures are cut into groups, whose parts go through the steps together.
#[derive(Clone, Copy, Debug)]
struct Groups {
    /// Positions of a picture.
    map: usize,
    parts: usize,
    /// Groups of a picture, and rows of all their parts.
    each: usize,
    rows: usize,
    count: usize,
}

/// Positions `parts · rows` from `first` on; those behind `last`, the last of the picture, are computed and not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Group {
    first: usize,
    rows: usize,
    last: usize,
}

impl Groups {
    fn of(map: usize, pictures: usize, parts: usize, most: usize) -> Self {
        let rows = map.div_ceil(parts);
        let each = rows.div_ceil(most);
        Self { map, parts, each, rows, count: each * pictures }
    }

    fn group(&self, index: usize) -> Group {
        let (picture, i) = (index / self.each, index % self.each);
        let rows = share::range(self.rows, i, self.each);
        let begin = picture * self.map;
        Group { first: begin + self.parts * rows.start, rows: rows.len(), last: begin + self.map - 1 }
    }
}
