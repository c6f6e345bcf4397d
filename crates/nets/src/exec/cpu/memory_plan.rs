//! Decides where every value lies: in which buffer, with how many zeros around it, inside which concatenation; and
//! which steps compute picture by picture, which a whole micro-batch.
//!
//! The terms of a concatenation are written to their place in it, so that most concatenations cost nothing. A sum is
//! written over a term that no later step reads, and a product with a gate over its map: this saves memory and traffic.
//! No other step writes into a buffer that it reads. Large maps are computed picture by picture, so that they stay in
//! the cache; from the first small map on, each layer computes a whole micro-batch, so that its weights are read once
//! for all pictures. The results are the same either way.

#[cfg(test)]
mod tests;

use super::int8::Int8Layer;
use super::map::Map;
use super::row_schedule::{self, RowSchedule};
use crate::exec::lower::{Kernel, Step};
use crate::models::graph::{Activation, Pad};
use featurize_kernels::aligned::LINE;
use featurize_kernels::winograd::TileSize;

/// Positions of a map up to which a layer computes a whole micro-batch.
const SMALL: usize = 1000;

/// A step, and the sum and the activation that were joined to it.
#[derive(Debug)]
pub(crate) struct Fused {
    pub step: Step,
    /// For a convolution: the value added to it.
    pub added: Option<usize>,
    pub activation: Option<Activation>,
    /// Whether it may compute some rows at a time.
    pub by_rows: bool,
    /// The Winograd tile, where Winograd computes it.
    pub winograd: Option<TileSize>,
    /// The integer weights, where it reads bytes.
    pub int8: Option<Int8Layer>,
}

impl Fused {
    /// Every value that the step reads.
    pub(crate) fn inputs(&self) -> Vec<usize> {
        self.step.inputs.iter().copied().chain(self.added).collect()
    }
}

/// The map of every value, and the order of rows.
#[derive(Debug)]
pub(crate) struct MemoryPlan {
    /// For each value.
    pub maps: Vec<Map>,
    /// For each value the one at the root of `parents`, in whose map it lies.
    pub roots: Vec<usize>,
    /// Floats in each buffer.
    pub buffers: Vec<usize>,
    /// The first step that runs over the whole micro-batch.
    pub cut: usize,
    /// For each step whether it is the first to write into its buffer's map; it clears the halo.
    pub clears: Vec<bool>,
    /// Groups of early steps that compute a picture some rows at a time.
    pub schedules: Vec<RowSchedule>,
}

/// Places the values of `steps`; `maps` has the sizes of all of them, value 0 is the picture.
pub(crate) fn plan(
    steps: &[Fused],
    taps: &[usize],
    mut maps: Vec<Map>,
    micro_batch: usize,
    by_rows: bool,
) -> MemoryPlan {
    let mut whole = read_whole(steps, maps.len());
    let mut parents = in_place(steps, &maps, &whole);
    onto(steps, taps, &maps, by_rows, &mut parents);
    let roots: Vec<usize> = (0..maps.len()).map(|value| root(&parents, value)).collect();
    for value in 0..maps.len() {
        whole[roots[value]] |= whole[value];
    }
    halos(steps, &roots, &mut maps);
    pitches(&roots, &whole, &mut maps);
    for value in 0..maps.len() {
        let (halo, pixel) = (maps[roots[value]].halo, maps[roots[value]].pixel);
        let mut at = value;
        while let Some((parent, channel)) = parents[at] {
            maps[value].channel += channel;
            at = parent;
        }
        (maps[value].halo, maps[value].pixel) = (halo, pixel);
    }
    // a gate is small, but no late layer while the maps that it multiplies are large
    let is_early = |fused: &Fused| matches!(fused.step.kernel, Kernel::Multiply) && !small(&maps[fused.step.output]);
    let early = steps.iter().rposition(is_early).map_or(0, |last| last + 1);
    // a term that is written into a concatenation has the size of its own map
    let cut = (early..steps.len()).find(|&i| small(&maps[steps[i].step.output])).unwrap_or(steps.len());
    for value in batched(steps, taps, cut) {
        maps[roots[value]].batched = true;
    }
    let schedules = if by_rows { row_schedule::plan(steps, taps, &roots, &maps, cut) } else { Vec::new() };
    let (buffers, clears) = assign(steps, taps, &roots, &mut maps, (cut, &schedules), micro_batch);
    for value in 0..maps.len() {
        (maps[value].buffer, maps[value].batched) = (maps[roots[value]].buffer, maps[roots[value]].batched);
    }
    MemoryPlan { maps, roots, buffers, cut, clears, schedules }
}

fn small(map: &Map) -> bool {
    map.h * map.w <= SMALL
}

/// For each value whether its rows must be runs without a gap: the picture is copied by rows, and some kernels read so.
fn read_whole(steps: &[Fused], values: usize) -> Vec<bool> {
    let mut whole = vec![false; values];
    whole[0] = true;
    let readers = steps.iter().filter(|fused| needs_whole_rows(fused));
    readers.for_each(|fused| whole[fused.step.inputs[0]] = true);
    whole
}

/// For each value the concatenation that it is written into, and its first channel there.
fn in_place(steps: &[Fused], maps: &[Map], whole: &[bool]) -> Vec<Option<(usize, usize)>> {
    let mut parents = vec![None; maps.len()];
    for Fused { step, .. } in steps.iter().filter(|fused| matches!(fused.step.kernel, Kernel::Concat)) {
        let mut channel = 0;
        for &term in &step.inputs {
            let once = step.inputs.iter().filter(|&&other| other == term).count() == 1;
            if once && parents[term].is_none() && !whole[term] && maps[term].bytes == maps[step.output].bytes {
                parents[term] = Some((step.output, channel));
            }
            channel += maps[term].c;
        }
    }
    // no step may read and write one buffer
    while let Some(value) = steps.iter().find_map(|fused| conflict(fused, &parents)) {
        parents[value] = None;
    }
    parents
}

/// Lets a sum lie at one of its terms, if no later step reads any value there: the other term is added onto it. By the
/// same rule a map is multiplied in place, unless it is large and a row schedule may hold only some rows of the
/// product.
fn onto(steps: &[Fused], taps: &[usize], maps: &[Map], by_rows: bool, parents: &mut [Option<(usize, usize)>]) {
    let last = last_use(steps, taps, maps.len());
    for (i, fused) in steps.iter().enumerate() {
        let output = fused.step.output;
        let terms: Vec<usize> = match fused.step.kernel {
            Kernel::Add => fused.inputs(),
            Kernel::Multiply if by_rows && !small(&maps[output]) => Vec::new(),
            Kernel::Multiply => vec![fused.step.inputs[0]],
            _ => fused.added.into_iter().collect(),
        };
        let free = |&term: &usize| {
            let home = root(parents, term);
            // no value there is read later, and this step reads no other value there
            let dead = (0..maps.len()).all(|value| root(parents, value) != home || last[value] <= i);
            let read = fused.inputs().into_iter().filter(|&value| root(parents, value) == home).count();
            dead && read == 1 && size(&maps[home]) == size(&maps[output])
        };
        if parents[output].is_none()
            && let Some(term) = terms.into_iter().find(free)
        {
            parents[output] = Some((term, 0));
        }
    }
}

fn size(map: &Map) -> [usize; 4] {
    [map.h, map.w, map.c, map.bytes]
}

/// The last step that reads or writes each value; `usize::MAX` for a tap.
fn last_use(steps: &[Fused], taps: &[usize], values: usize) -> Vec<usize> {
    let mut last = vec![0; values];
    for (i, fused) in steps.iter().enumerate() {
        fused.inputs().iter().chain([&fused.step.output]).for_each(|&value| last[value] = i);
    }
    taps.iter().for_each(|&value| last[value] = usize::MAX);
    last
}

/// A value that must leave its concatenation, because a step would read and write one buffer.
fn conflict(fused: &Fused, parents: &[Option<(usize, usize)>]) -> Option<usize> {
    let output = fused.step.output;
    let own = root(parents, output);
    let is_concat = matches!(fused.step.kernel, Kernel::Concat);
    let there = |value: usize| is_concat && parents[value].is_some_and(|(parent, _)| parent == output);
    let shared = fused.inputs().into_iter().find(|&value| !there(value) && root(parents, value) == own)?;
    Some(if parents[output].is_some() { output } else { shared })
}

/// Whether the kernel reads the values of neighbouring positions as one run.
fn needs_whole_rows(fused: &Fused) -> bool {
    match &fused.step.kernel {
        Kernel::Conv { window, .. } => window.kernel[1] > 1 && fused.winograd.is_none(),
        Kernel::Depthwise { .. } => true,
        _ => false,
    }
}

fn root(parents: &[Option<(usize, usize)>], mut value: usize) -> usize {
    while let Some((parent, _)) = parents[value] {
        value = parent;
    }
    value
}

/// Gives each map as many zeros around it as the windows that read it need.
fn halos(steps: &[Fused], roots: &[usize], maps: &mut [Map]) {
    for fused in steps {
        if let Kernel::Conv { window, .. } | Kernel::Depthwise { window, .. } = &fused.step.kernel {
            let halo = &mut maps[roots[fused.step.inputs[0]]].halo;
            let Pad { top, bottom, left, right } = window.pad;
            halo.top = halo.top.max(top);
            halo.bottom = halo.bottom.max(bottom);
            halo.left = halo.left.max(left);
            halo.right = halo.right.max(right);
        }
    }
}

/// Positions a power of two apart fall into the same few sets of the L1 cache; one more cache line a position spreads
/// them.
fn pitches(roots: &[usize], whole: &[bool], maps: &mut [Map]) {
    const APART: usize = 512;
    // also sets the maps of terms inside a concatenation: `in_place` allows only terms that are read by position
    for value in (0..maps.len()).filter(|&value| roots[value] == value && !whole[value]) {
        let map = &mut maps[value];
        if map.c.is_multiple_of(APART) && map.h * map.w > 1 {
            map.pixel = map.c + LINE;
        }
    }
}

/// Values that are held for each picture of a micro-batch: those from the cut on, those that cross it, and the taps.
fn batched(steps: &[Fused], taps: &[usize], cut: usize) -> Vec<usize> {
    let after = steps[cut..].iter().flat_map(|fused| fused.inputs().into_iter().chain([fused.step.output]));
    after.chain(taps.iter().copied()).collect()
}

/// Gives every root a buffer: the smallest free one that is large enough, else the largest free one, enlarged.
fn assign(
    steps: &[Fused],
    taps: &[usize],
    roots: &[usize],
    maps: &mut [Map],
    (cut, schedules): (usize, &[RowSchedule]),
    micro_batch: usize,
) -> (Vec<usize>, Vec<bool>) {
    let mut last = vec![0; maps.len()];
    for (value, &used) in last_use(steps, taps, maps.len()).iter().enumerate() {
        // a value that a step of a schedule uses is in use until the schedule ends
        let schedule = schedules.iter().find(|schedule| schedule.steps.contains(&used));
        let end = schedule.map_or(used, |schedule| schedule.steps.end - 1);
        last[roots[value]] = last[roots[value]].max(end);
    }
    let need = |map: &Map, value: usize| {
        let elements = match schedules.iter().find_map(|schedule| schedule.held(value)) {
            Some(rows) => rows * map.row(),
            None => map.picture() * if map.batched { micro_batch } else { 1 },
        };
        (elements * map.bytes).div_ceil(size_of::<f32>())
    };
    let mut buffers: Vec<usize> = vec![need(&maps[0], 0)];
    let mut placed = vec![false; maps.len()];
    placed[0] = true;
    let (mut free, mut clears): (Vec<usize>, _) = (Vec::new(), Vec::with_capacity(steps.len()));
    // a batched value that is computed before the cut shares its buffer with no other until the cut: the next picture
    // still runs the steps before
    let early = |value: usize, first: usize, maps: &[Map]| first < cut && maps[value].batched;
    let mut first = vec![0; maps.len()];
    for (i, fused) in steps.iter().enumerate() {
        let value = roots[fused.step.output];
        clears.push(!placed[value]);
        if !placed[value] {
            (placed[value], first[value]) = (true, i);
            let need = need(&maps[value], value);
            let alone = early(value, i, maps);
            let fits = free.iter().copied().filter(|&b| buffers[b] >= need).min_by_key(|&b| buffers[b]);
            let buffer = fits.or_else(|| free.iter().copied().max_by_key(|&b| buffers[b])).filter(|_| !alone);
            let buffer = buffer.unwrap_or(buffers.len());
            free.retain(|&b| b != buffer);
            match buffers.get_mut(buffer) {
                Some(len) => *len = (*len).max(need),
                None => buffers.push(need),
            }
            maps[value].buffer = buffer;
        }
        let done = (0..maps.len()).filter(|&value| roots[value] == value && placed[value] && last[value] == i);
        let done = done.filter(|&root| !(early(root, first[root], maps) && i < cut)).collect::<Vec<_>>();
        free.extend(done.iter().map(|&root| maps[root].buffer));
    }
    (buffers, clears)
}
