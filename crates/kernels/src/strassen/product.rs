//! The steps over groups of positions.

use std::ops::Range;

use super::super::aligned::LINE;
use super::super::simd::Simd;
use super::kernel::{Call, MOST_ROWS, MOST_STEPS, MOST_THEN, Out, Then, dispatch};
use super::rows::{Ahead, Rows, all_sums, sum};
use super::table::{CHAINS, Chain, Operand, SAVED, STEPS, SUMS, steps};
use super::{Group, Levels, Packed, Work};

/// Groups that go through a step together, so that its weights are read once for both. More gained nothing.
const GROUPS: usize = 2;

/// How the scratch of a thread is used, in floats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Values of a window's part, and from one row of a sum to the next, for both levels.
    depth: [usize; 2],
    pitch: [usize; 2],
    /// Values of a tile.
    tile: usize,
    panels: usize,
    /// Where windows begin that are gathered, and from one to the next; sums; products that are kept; what nobody reads.
    gathered: usize,
    window: usize,
    outer_sum: usize,
    inner_sums: usize,
    outer_saved: usize,
    inner_saved: usize,
    waste: usize,
    pub len: usize,
}

impl Room {
    pub(super) fn of(packed: &Packed) -> Self {
        // an odd number of cache lines from one row to the next, so that neighbours do not compete for the same sets of the cache
        let odd = |n: usize| (n.div_ceil(LINE) | 1) * LINE;
        let (all, parts, rows) = (packed.rows * packed.depth, packed.levels.parts(), packed.isa.rows());
        let two = packed.levels == Levels::Two;
        let depth = [2 * all / parts, all / parts];
        let (pitch, window) = (depth.map(odd), if packed.rows > 1 { odd(all) } else { 0 });
        let (tile, panels) = (rows * 2 * packed.isa.lanes(), packed.vectors.div_ceil(2));
        let outer = |floats: usize| if two { floats } else { 0 };
        let sizes = [
            parts * rows * window,
            outer(2 * rows * pitch[0]),
            SUMS.len() * rows * pitch[1],
            outer(SAVED * 4 * panels * tile),
            SAVED * tile,
        ];
        let place = |i: usize| GROUPS * sizes[..i].iter().sum::<usize>();
        let waste = place(sizes.len());
        Self {
            depth,
            pitch,
            tile,
            panels,
            gathered: place(0),
            window,
            outer_sum: place(1),
            inner_sums: place(2),
            outer_saved: place(3),
            inner_saved: place(4),
            waste,
            len: waste + tile,
        }
    }
}

/// Where the rows of a group lie: for each step, see [`steps`], what stands at its left.
type Left = [[*const f32; MOST_ROWS]; STEPS];

/// The groups and panels that a thread computes.
///
/// # Safety
/// The CPU has the instruction set; what `work` points to is there, and nobody else writes these outputs or the scratch of `thread`.
#[inline(always)]
pub(super) unsafe fn groups<S: Simd>(work: &Work, thread: usize, groups: Range<usize>, panels: Range<usize>) {
    let (packed, room) = (work.packed, &work.room);
    let scratch = work.scratch.wrapping_add(thread * room.len);
    let mut left: [Left; GROUPS] = [[[work.input; MOST_ROWS]; STEPS]; GROUPS];
    for begin in groups.clone().step_by(GROUPS) {
        let block = begin..groups.end.min(begin + GROUPS);
        if packed.rows > 1 {
            // SAFETY: as the caller's.
            block
                .clone()
                .enumerate()
                .for_each(|(g, i)| unsafe { gather::<S>(work, &work.groups.group(i), g, scratch) });
        }
        let tiles = packed.levels.outer() * panels.len() * CHAINS.len() * block.len();
        let mut ahead = Ahead::of::<S>(work, block.end..groups.end.min(block.end + GROUPS), tiles);
        for outer in 0..packed.levels.outer() {
            let outer = Outer::of(packed.levels, outer);
            for (g, i) in block.clone().enumerate() {
                // SAFETY: as the caller's; the scratch has room for the sums of a group.
                unsafe { sums::<S>(work, &work.groups.group(i), g, &outer, scratch, &mut left[g]) }
            }
            for panel in panels.clone() {
                let mut first = 0;
                for chain in &CHAINS {
                    for (g, i) in block.clone().enumerate() {
                        ahead.some::<S>(work);
                        let at = At { group: work.groups.group(i), g, outer: &outer, panel, first };
                        // SAFETY: as the caller's.
                        unsafe { tile::<S>(work, &at, chain, &left[g][first..first + chain.steps.len()], scratch) }
                    }
                    first += chain.steps.len();
                }
            }
        }
    }
}

/// Copies the rows of the kernel of each window side by side.
#[inline(always)]
unsafe fn gather<S: Simd>(work: &Work, group: &Group, g: usize, scratch: *mut f32) {
    let Work { packed, room, places, .. } = work;
    let rows = work.groups.parts * group.rows;
    for i in 0..rows {
        let start = places.starts[(group.first + i).min(group.last)] as usize;
        // SAFETY: the window can be read, and the scratch has room for it.
        unsafe {
            let to = scratch.add(room.gathered + (g * packed.levels.parts() * S::ROWS + i) * room.window);
            for y in 0..packed.rows {
                let from = work.input.add(start + y * places.row);
                std::ptr::copy_nonoverlapping(from, to.add(y * packed.depth), packed.depth);
            }
        }
    }
}

/// The rows of a group.
#[inline(always)]
fn whole<'a, S: Simd>(work: &'a Work, group: &Group, g: usize, scratch: *mut f32) -> Rows<'a> {
    let room = &work.room;
    if work.packed.rows > 1 {
        let from = scratch.wrapping_add(room.gathered + g * work.packed.levels.parts() * S::ROWS * room.window);
        return Rows::Dense { from, pitch: room.window };
    }
    Rows::Map { input: work.input, starts: work.places.starts, first: group.first, last: group.last, skip: 0 }
}

/// A step of the first halving of two; with one there is one step, which is the whole.
struct Outer {
    index: usize,
    step: Option<(&'static Chain, usize)>,
}

impl Outer {
    fn of(levels: Levels, index: usize) -> Self {
        Self { index, step: if levels == Levels::Two { steps().nth(index) } else { None } }
    }

    fn input(&self) -> Option<Operand> {
        self.step.map(|(chain, i)| chain.steps[i].input)
    }
}

/// What stands at the left of an outer step; its sum was made by [`sums`].
#[inline(always)]
fn outer_rows<'a, S: Simd>(work: &'a Work, group: &Group, g: usize, outer: &Outer, scratch: *mut f32) -> Rows<'a> {
    let (room, whole) = (&work.room, whole::<S>(work, group, g, scratch));
    match outer.input() {
        None => whole,
        Some(Operand::Quarter(q)) => whole.quarter(q, 2 * group.rows, room.depth[0]),
        Some(Operand::Sum(_)) => {
            let from = scratch.wrapping_add(room.outer_sum + g * 2 * S::ROWS * room.pitch[0]);
            Rows::Dense { from, pitch: room.pitch[0] }
        }
    }
}

/// Makes the sum of an outer step, where it takes one, then the four sums of its inner steps, and tells where all lie.
#[inline(always)]
unsafe fn sums<S: Simd>(work: &Work, group: &Group, g: usize, outer: &Outer, scratch: *mut f32, left: &mut Left) {
    let (room, rows) = (&work.room, group.rows);
    // SAFETY: as the caller's.
    unsafe {
        if let Some(Operand::Sum(s)) = outer.input() {
            let to = scratch.add(room.outer_sum + g * 2 * S::ROWS * room.pitch[0]);
            let whole = whole::<S>(work, group, g, scratch);
            sum::<S>(s, whole, [2 * rows, room.depth[0]], to, room.pitch[0]);
        }
        let from = outer_rows::<S>(work, group, g, outer, scratch);
        let sums = scratch.add(room.inner_sums + g * SUMS.len() * S::ROWS * room.pitch[1]);
        all_sums::<S>(from, [rows, room.depth[1]], sums, room.pitch[1]);
        for (left, (chain, i)) in left.iter_mut().zip(steps()) {
            let rows = match chain.steps[i].input {
                Operand::Quarter(q) => from.quarter(q, rows, room.depth[1]),
                Operand::Sum(s) => Rows::Dense { from: sums.add(s * S::ROWS * room.pitch[1]), pitch: room.pitch[1] },
            };
            left.iter_mut().enumerate().take(group.rows).for_each(|(i, left)| *left = rows.at(i));
        }
    }
}

/// A chain of products of a group and a panel.
struct At<'a> {
    group: Group,
    g: usize,
    outer: &'a Outer,
    panel: usize,
    /// The chain's first step, of all.
    first: usize,
}

#[inline(always)]
unsafe fn tile<S: Simd>(work: &Work, at: &At, chain: &Chain, left: &[[*const f32; MOST_ROWS]], scratch: *mut f32) {
    let (packed, room) = (work.packed, &work.room);
    let At { group, g, outer, panel, first } = *at;
    let saved = |i: usize| scratch.wrapping_add(room.inner_saved + (g * SAVED + i) * room.tile);
    let mut saves = [None; MOST_STEPS];
    saves.iter_mut().zip(chain.steps).for_each(|(to, step)| *to = step.save.map(saved));
    let (then, n, given) = then(work, at, chain, scratch);
    let step = (outer.index * room.panels + panel) * STEPS + first;
    // SAFETY: as the caller's.
    unsafe {
        let out = given.map(|given| out::<S>(work, at, given, scratch));
        let call = Call {
            start: [0, 1].map(|i| chain.start.get(i).map(|&i| saved(i).cast_const())),
            left,
            saves: &saves,
            weight: packed.values.as_ptr().add(step * room.depth[1] * 2 * S::W),
            depth: room.depth[1],
            then: &then[..n],
            out: out.as_ref(),
        };
        dispatch::<S>(&call, group.rows, packed.vectors - 2 * panel > 1);
    }
}

/// What becomes of the end of a chain, and the part of the result that it is: its part of the positions and of the filters.
#[inline(always)]
fn then(work: &Work, at: &At, chain: &Chain, scratch: *mut f32) -> ([Then; MOST_THEN], usize, Option<[usize; 2]>) {
    let (room, g, q) = (&work.room, at.g, chain.give);
    let (mut all, mut n) = ([Then::Give; MOST_THEN], 0);
    let mut push = |what: Then| {
        all[n] = what;
        n += 1;
    };
    if let Some(i) = chain.add {
        push(Then::Add(scratch.wrapping_add(room.inner_saved + (g * SAVED + i) * room.tile)));
    }
    let Some((outer, step)) = at.outer.step else {
        push(Then::Give);
        return (all, n, Some([q / 2, q % 2]));
    };
    let saved = |i: usize| {
        scratch.wrapping_add(room.outer_saved + (((g * SAVED + i) * 4 + q) * room.panels + at.panel) * room.tile)
    };
    // the outer chain does not go on in the registers: it takes up what it saved
    let before = step.checked_sub(1).and_then(|before| outer.steps[before].save);
    match before {
        Some(i) => push(Then::Add(saved(i))),
        None => outer.start.iter().for_each(|&i| push(Then::Add(saved(i)))),
    }
    if let Some(i) = outer.steps[step].save {
        push(Then::Save(saved(i)));
    }
    let last = step + 1 == outer.steps.len();
    if last {
        outer.add.into_iter().for_each(|i| push(Then::Add(saved(i))));
        push(Then::Give);
    }
    let o = outer.give;
    (all, n, last.then_some([o / 2 * 2 + q / 2, o % 2 * 2 + q % 2]))
}

/// Where a part of the result goes.
#[inline(always)]
unsafe fn out<S: Simd>(work: &Work, at: &At, [down, right]: [usize; 2], scratch: *mut f32) -> Out {
    let (packed, group) = (work.packed, &at.group);
    let filter = right * packed.vectors * S::W + at.panel * 2 * S::W;
    let first = group.first + down * group.rows;
    // SAFETY: as the caller's: positions up to `last` are there, with all their filters.
    unsafe {
        let mut outs = [scratch.add(work.room.waste); MOST_ROWS];
        for (i, out) in outs.iter_mut().enumerate().take(group.rows) {
            if first + i <= group.last {
                *out = work.output.add(*work.places.outs.get_unchecked(first + i) as usize + filter);
            }
        }
        let adds = work.adds.map(|places| {
            // a row without a position adds to what nobody reads: not of the output, which it might meet while it is written
            let mut adds = [scratch.add(work.room.waste).cast_const(); MOST_ROWS];
            for (i, add) in adds.iter_mut().enumerate().take(group.rows) {
                if first + i <= group.last {
                    *add = work.added.add(*places.get_unchecked(first + i) as usize + filter);
                }
            }
            adds
        });
        Out { bias: packed.bias.as_ptr().add(filter), outs, adds, limits: work.limits }
    }
}
