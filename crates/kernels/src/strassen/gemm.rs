//! The loops over groups of positions, outer steps, panels of filters and chains.

use std::ops::Range;

use super::super::aligned::LINE;
use super::super::simd::Simd;
use super::kernel::{Action, ChainArgs, MOST_ACTIONS, MOST_ROWS, MOST_STEPS, OutputRows, tile};
use super::operands::{LeftRows, Prefetcher, write_all_sums, write_sum};
use super::schedule::{CHAINS, Chain, Operand, SAVED, STEPS, SUMS, steps};
use super::{ComputeGroups, Group, Levels, RunArgs, StrassenConv};

/// Groups that go through a step together, so that its weights are read once for both. More groups gained nothing.
const GROUPS: usize = 2;

/// How the scratch of a thread is used: offsets and sizes in floats. The inner halving is the only one where there is
/// one level.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScratchLayout {
    /// Values in a row of a quarter of the outer and of the inner halving.
    depth: [usize; 2],
    /// From one row of a sum to the next, for both halvings.
    sum_stride: [usize; 2],
    /// A saved tile.
    tile: usize,
    panels: usize,
    /// The gathered windows, where the kernel has several rows.
    gathered: usize,
    /// From one gathered window to the next.
    gathered_stride: usize,
    /// The sum of quarters of an outer step.
    outer_sum: usize,
    /// The four sums of quarters of the inner steps.
    inner_sums: usize,
    /// The saved tiles of the outer and of the inner chains.
    outer_saved: usize,
    inner_saved: usize,
    /// A tile that is written and never read: the outputs of positions behind the last one.
    waste: usize,
    pub len: usize,
}

impl ScratchLayout {
    pub(super) fn of(conv: &StrassenConv) -> Self {
        // an odd number of cache lines from one row to the next, so that neighbours do not compete for the same sets of
        // the cache
        let odd_lines = |n: usize| (n.div_ceil(LINE) | 1) * LINE;
        let (window, parts, rows) = (conv.kernel_rows * conv.depth, conv.levels.parts(), conv.isa.tile_rows());
        let depth = [2 * window / parts, window / parts];
        let sum_stride = depth.map(odd_lines);
        let gathered_stride = if conv.kernel_rows > 1 { odd_lines(window) } else { 0 };
        let (tile, panels) = (rows * 2 * conv.isa.lanes(), conv.vectors.div_ceil(2));
        let outer = |floats: usize| if conv.levels == Levels::Two { floats } else { 0 };
        let sizes = [
            parts * rows * gathered_stride,
            outer(2 * rows * sum_stride[0]),
            SUMS.len() * rows * sum_stride[1],
            outer(SAVED * 4 * panels * tile),
            SAVED * tile,
        ];
        let begin = |i: usize| GROUPS * sizes[..i].iter().sum::<usize>();
        let waste = begin(sizes.len());
        Self {
            depth,
            sum_stride,
            tile,
            panels,
            gathered: begin(0),
            gathered_stride,
            outer_sum: begin(1),
            inner_sums: begin(2),
            outer_saved: begin(3),
            inner_saved: begin(4),
            waste,
            len: waste + tile,
        }
    }
}

/// The rows of the left operand of each step of a group, in the order of [`steps`].
type LeftOperands = [[*const f32; MOST_ROWS]; STEPS];

/// Computes the groups and panels of a thread.
///
/// # Safety
/// The CPU has the instruction set of `S`; the arguments are as [`ComputeGroups`] demands.
#[inline(always)]
pub(super) unsafe fn compute_groups<S: Simd>(ComputeGroups { args, thread, groups, panels }: ComputeGroups) {
    let (conv, layout) = (args.conv, &args.layout);
    let scratch = args.scratch.wrapping_add(thread * layout.len);
    let mut left: [LeftOperands; GROUPS] = [[[args.input; MOST_ROWS]; STEPS]; GROUPS];
    for begin in groups.clone().step_by(GROUPS) {
        let block = begin..groups.end.min(begin + GROUPS);
        if conv.kernel_rows > 1 {
            for (slot, i) in block.clone().enumerate() {
                // SAFETY: `i` is one of the groups, and `slot` is below `GROUPS`.
                unsafe { gather::<S>(args, &args.groups.group(i), slot, scratch) }
            }
        }
        let tiles = conv.levels.outer_steps() * panels.len() * CHAINS.len() * block.len();
        let mut prefetcher = Prefetcher::of::<S>(args, block.end..groups.end.min(block.end + GROUPS), tiles);
        for outer in 0..conv.levels.outer_steps() {
            let outer = OuterStep::of(conv.levels, outer);
            for (slot, i) in block.clone().enumerate() {
                // SAFETY: `i` is one of the groups, whose windows have been gathered if they must be, and `slot` is
                // below `GROUPS`.
                unsafe { left_operands::<S>(args, &args.groups.group(i), slot, &outer, scratch, &mut left[slot]) }
            }
            for panel in panels.clone() {
                let mut first = 0;
                for chain in &CHAINS {
                    for (slot, i) in block.clone().enumerate() {
                        prefetcher.next::<S>(args);
                        let site = ChainSite { group: args.groups.group(i), slot, outer: &outer, panel, first };
                        let left = &left[slot][first..first + chain.steps.len()];
                        // SAFETY: the group and the panel are the thread's; `left` are the operands of the steps of
                        // this chain.
                        unsafe { compute_chain::<S>(args, &site, chain, left, scratch) }
                    }
                    first += chain.steps.len();
                }
            }
        }
        for i in block {
            // SAFETY: the group and the panels are the thread's.
            unsafe { apply_function::<S>(args, &args.groups.group(i), &panels) }
        }
    }
}

/// Applies an activation that does more than clamp to the outputs of a group.
///
/// # Safety
/// `args` is as [`RunArgs`] says; group and panels are the thread's.
#[inline(always)]
unsafe fn apply_function<S: Simd>(args: &RunArgs, group: &Group, panels: &Range<usize>) {
    let (Some(function), conv) = (args.function, args.conv) else { return };
    let parts = conv.levels.parts();
    let starts = &args.offsets.output_starts[group.first..(group.last + 1).min(group.first + parts * group.rows)];
    let filters = 2 * panels.start * S::LANES..conv.vectors.min(2 * panels.end) * S::LANES;
    for part in 0..parts {
        let first = part * conv.vectors * S::LANES + filters.start;
        // SAFETY: the filters of the panels are there behind each output, by this function's contract.
        unsafe { function.apply(args.output.add(first), starts, filters.len()) };
    }
}

/// Copies the rows of each window of a group side by side.
///
/// # Safety
/// `args` is as [`RunArgs`] says and `group` one of its groups; `scratch` is that of the thread; `slot` is below
/// [`GROUPS`].
#[inline(always)]
unsafe fn gather<S: Simd>(args: &RunArgs, group: &Group, slot: usize, scratch: *mut f32) {
    let RunArgs { conv, layout, offsets, .. } = args;
    for i in 0..args.groups.parts * group.rows {
        let start = offsets.window_starts[(group.first + i).min(group.last)] as usize;
        // SAFETY: the window can be read, as `RunArgs` says, and the scratch has room for `parts` · `TILE_ROWS` windows
        // of each group.
        unsafe {
            let window = slot * conv.levels.parts() * S::TILE_ROWS + i;
            let to = scratch.add(layout.gathered + window * layout.gathered_stride);
            for y in 0..conv.kernel_rows {
                let from = args.input.add(start + y * offsets.row_stride);
                std::ptr::copy_nonoverlapping(from, to.add(y * conv.depth), conv.depth);
            }
        }
    }
}

/// The windows of a group: gathered ones, or those of the map where the kernel has one row.
#[inline(always)]
fn whole_rows<'a, S: Simd>(args: &'a RunArgs, group: &Group, slot: usize, scratch: *mut f32) -> LeftRows<'a> {
    let layout = &args.layout;
    if args.conv.kernel_rows > 1 {
        let first = slot * args.conv.levels.parts() * S::TILE_ROWS;
        let start = scratch.wrapping_add(layout.gathered + first * layout.gathered_stride);
        return LeftRows::Scratch { start, stride: layout.gathered_stride };
    }
    let starts = args.offsets.window_starts;
    LeftRows::Map { input: args.input, starts, first: group.first, last: group.last, skip: 0 }
}

/// A step of the outer halving.
struct OuterStep {
    index: usize,
    /// Its chain and its place there; none for one level, where the only outer step is the whole product.
    step: Option<(&'static Chain, usize)>,
}

impl OuterStep {
    fn of(levels: Levels, index: usize) -> Self {
        Self { index, step: if levels == Levels::Two { steps().nth(index) } else { None } }
    }

    fn input(&self) -> Option<Operand> {
        self.step.map(|(chain, i)| chain.steps[i].input)
    }
}

/// The left operand of an outer step; if it is a sum, [`left_operands`] has made it.
#[inline(always)]
fn outer_rows<'a, S: Simd>(
    args: &'a RunArgs,
    group: &Group,
    slot: usize,
    outer: &OuterStep,
    scratch: *mut f32,
) -> LeftRows<'a> {
    let (layout, whole) = (&args.layout, whole_rows::<S>(args, group, slot, scratch));
    match outer.input() {
        None => whole,
        Some(Operand::Quarter(q)) => whole.quarter(q, 2 * group.rows, layout.depth[0]),
        Some(Operand::Sum(_)) => {
            let start = scratch.wrapping_add(layout.outer_sum + slot * 2 * S::TILE_ROWS * layout.sum_stride[0]);
            LeftRows::Scratch { start, stride: layout.sum_stride[0] }
        }
    }
}

/// Makes the sum of an outer step, if it takes one, then the four sums of its inner steps, and sets `left` to the rows
/// of the left operand of each inner step.
///
/// # Safety
/// The CPU has the instruction set of `S`; `args` is as [`RunArgs`] says and `group` one of its groups, gathered if the
/// kernel has several rows; `scratch` is that of the thread; `slot` is below [`GROUPS`].
#[inline(always)]
unsafe fn left_operands<S: Simd>(
    args: &RunArgs,
    group: &Group,
    slot: usize,
    outer: &OuterStep,
    scratch: *mut f32,
    left: &mut LeftOperands,
) {
    let (layout, rows) = (&args.layout, group.rows);
    // SAFETY: the windows of the group can be read, and `rows` is at most `TILE_ROWS`, for which the layout has room in
    // every sum.
    unsafe {
        if let Some(Operand::Sum(s)) = outer.input() {
            let to = scratch.add(layout.outer_sum + slot * 2 * S::TILE_ROWS * layout.sum_stride[0]);
            let whole = whole_rows::<S>(args, group, slot, scratch);
            write_sum::<S>(s, whole, [2 * rows, layout.depth[0]], to, layout.sum_stride[0]);
        }
        let from = outer_rows::<S>(args, group, slot, outer, scratch);
        let sums = scratch.add(layout.inner_sums + slot * SUMS.len() * S::TILE_ROWS * layout.sum_stride[1]);
        write_all_sums::<S>(from, [rows, layout.depth[1]], sums, layout.sum_stride[1]);
        for (left, (chain, i)) in left.iter_mut().zip(steps()) {
            let rows = match chain.steps[i].input {
                Operand::Quarter(q) => from.quarter(q, rows, layout.depth[1]),
                Operand::Sum(s) => {
                    let start = sums.add(s * S::TILE_ROWS * layout.sum_stride[1]);
                    LeftRows::Scratch { start, stride: layout.sum_stride[1] }
                }
            };
            left.iter_mut().enumerate().take(group.rows).for_each(|(i, left)| *left = rows.row(i));
        }
    }
}

/// Where a chain of products is computed: a group and a panel of an outer step.
struct ChainSite<'a> {
    group: Group,
    /// The place of the group among those that go through the steps together.
    slot: usize,
    outer: &'a OuterStep,
    panel: usize,
    /// The first step of the chain among the steps of all chains.
    first: usize,
}

/// The actions behind the last step of a chain, and the part of the result that it writes, if it does.
struct ChainEnd {
    actions: [Action; MOST_ACTIONS],
    len: usize,
    /// The part of the positions and the part of the filters.
    written: Option<[usize; 2]>,
}

/// Computes a chain of products.
///
/// # Safety
/// The CPU has the instruction set of `S`; `args` is as [`RunArgs`] says; group and panel of `site` are the thread's,
/// and so is `scratch`; `left` has the rows of the left operand of each step of the chain.
#[inline(always)]
unsafe fn compute_chain<S: Simd>(
    args: &RunArgs,
    site: &ChainSite,
    chain: &Chain,
    left: &[[*const f32; MOST_ROWS]],
    scratch: *mut f32,
) {
    let (conv, layout) = (args.conv, &args.layout);
    let ChainSite { group, slot, outer, panel, first } = *site;
    let saved = |i: usize| scratch.wrapping_add(layout.inner_saved + (slot * SAVED + i) * layout.tile);
    let mut saves = [None; MOST_STEPS];
    saves.iter_mut().zip(chain.steps).for_each(|(to, step)| *to = step.save.map(saved));
    let ChainEnd { actions, len, written } = chain_end(args, site, chain, scratch);
    let step = (outer.index * layout.panels + panel) * STEPS + first;
    // SAFETY: the layout has room for every saved tile; the weights are packed in the order of outer steps, panels,
    // steps and values; outputs are those of the thread's group and panel.
    unsafe {
        let output = written.map(|part| output_rows::<S>(args, site, part, scratch));
        let chain = ChainArgs {
            start: [0, 1].map(|i| chain.start.get(i).map(|&i| saved(i).cast_const())),
            left,
            saves: &saves,
            weights: conv.weights.as_ptr().add(step * layout.depth[1] * 2 * S::LANES),
            depth: layout.depth[1],
            actions: &actions[..len],
            output: output.as_ref(),
        };
        tile::<S>(&chain, group.rows, conv.vectors - 2 * panel > 1);
    }
}

/// The end of a chain: what the inner chain adds, then what the outer chain, whose steps do not follow one another in
/// the registers, takes up and saves.
#[inline(always)]
fn chain_end(args: &RunArgs, site: &ChainSite, chain: &Chain, scratch: *mut f32) -> ChainEnd {
    let (layout, slot, q) = (&args.layout, site.slot, chain.result);
    let (mut actions, mut len) = ([Action::Write; MOST_ACTIONS], 0);
    let mut push = |action: Action| {
        actions[len] = action;
        len += 1;
    };
    if let Some(i) = chain.add {
        push(Action::Add(scratch.wrapping_add(layout.inner_saved + (slot * SAVED + i) * layout.tile)));
    }
    let Some((outer, step)) = site.outer.step else {
        push(Action::Write);
        return ChainEnd { actions, len, written: Some([q / 2, q % 2]) };
    };
    let saved = |i: usize| {
        let tile = ((slot * SAVED + i) * 4 + q) * layout.panels + site.panel;
        scratch.wrapping_add(layout.outer_saved + tile * layout.tile)
    };
    let before = step.checked_sub(1).and_then(|before| outer.steps[before].save);
    match before {
        Some(i) => push(Action::Add(saved(i))),
        None => outer.start.iter().for_each(|&i| push(Action::Add(saved(i)))),
    }
    if let Some(i) = outer.steps[step].save {
        push(Action::Save(saved(i)));
    }
    let is_last = step + 1 == outer.steps.len();
    if is_last {
        outer.add.into_iter().for_each(|i| push(Action::Add(saved(i))));
        push(Action::Write);
    }
    let o = outer.result;
    let written = is_last.then_some([o / 2 * 2 + q / 2, o % 2 * 2 + q % 2]);
    ChainEnd { actions, len, written }
}

/// The output rows of a part of the result. Those of positions behind the last one of the picture lie in the waste.
///
/// # Safety
/// `args` is as [`RunArgs`] says; group, panel and `scratch` are the thread's.
#[inline(always)]
unsafe fn output_rows<S: Simd>(
    args: &RunArgs,
    site: &ChainSite,
    [down, right]: [usize; 2],
    scratch: *mut f32,
) -> OutputRows {
    let (conv, group) = (args.conv, &site.group);
    let filter = right * conv.vectors * S::LANES + site.panel * 2 * S::LANES;
    let first = group.first + down * group.rows;
    // SAFETY: positions up to `last` have offsets, and behind each of them lie the filters of the panel; the waste lies
    // within the scratch.
    unsafe {
        let mut outputs = [scratch.add(args.layout.waste); MOST_ROWS];
        for (i, output) in outputs.iter_mut().enumerate().take(group.rows) {
            if first + i <= group.last {
                *output = args.output.add(*args.offsets.output_starts.get_unchecked(first + i) as usize + filter);
            }
        }
        let residuals = args.residual_starts.map(|starts| {
            // a row without a position reads its residual from the waste, not from the output, which another thread
            // might be writing
            let mut residuals = [scratch.add(args.layout.waste).cast_const(); MOST_ROWS];
            for (i, residual) in residuals.iter_mut().enumerate().take(group.rows) {
                if first + i <= group.last {
                    *residual = args.residual.add(*starts.get_unchecked(first + i) as usize + filter);
                }
            }
            residuals
        });
        OutputRows { bias: conv.bias.as_ptr().add(filter), outputs, residuals, clamp: args.clamp }
    }
}
