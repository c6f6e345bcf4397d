//! The row schedule: a group of early steps computes a picture some rows at a time, so that the rows that one step
//! writes are still in the cache when the next step reads them. The buffer of a map that only this group reads holds
//! only the rows that are still to be read.
//!
//! The order of rows is planned once, from the shapes alone. The values are the same as those of whole maps.

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::map::Map;
use super::memory_plan::Fused;
use crate::exec::lower::Kernel;

/// Most bytes of all rows that a schedule uses at a time. Measured with an L2 cache of 1 MiB; not all of them are
/// needed at once.
const NEAR: usize = 3 << 19;
/// Bytes of a map below which it stays in the L2 cache as a whole.
const SMALL: usize = 256 << 10;
/// The most steps of a schedule: it bounds the search for very large pictures, for which all layers are early.
const MOST: usize = 16;
/// A buffer has room for so many computations before the rows that are still needed are moved to its beginning.
const ROOM: usize = 2;

/// Rows of a step's output, and the first row in the buffer of each of its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowRange {
    pub step: usize,
    pub rows: Range<usize>,
    /// The first row in the buffers of the first two inputs, the halo above the map counted.
    pub inputs: [usize; 2],
    pub output: usize,
}

impl RowRange {
    /// Every row.
    pub(crate) fn whole(step: usize, h: usize) -> Self {
        Self { step, rows: 0..h, inputs: [0; 2], output: 0 }
    }
}

/// One action of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Compute(RowRange),
    /// Drops the first rows of a value's buffer and moves the rows after them to its beginning.
    Drop {
        value: usize,
        rows: usize,
        keep: usize,
    },
    /// Writes the zeros below a map.
    Bottom {
        value: usize,
        row: usize,
    },
}

/// Steps that go over a picture together.
#[derive(Clone, Debug)]
pub(crate) struct RowSchedule {
    pub steps: Range<usize>,
    pub actions: Vec<Action>,
    /// Values whose buffer holds only some rows, and its rows, the halo counted.
    pub held: Vec<(usize, usize)>,
}

impl RowSchedule {
    /// Rows of the buffer of `value`, where it does not hold all.
    pub(crate) fn held(&self, value: usize) -> Option<usize> {
        self.held.iter().find(|(held, _)| *held == value).map(|(_, rows)| *rows)
    }

    /// The most rows of a step that are computed at a time.
    pub(crate) fn most(&self, step: usize) -> usize {
        self.ranges(step).map(|range| range.rows.len()).max().unwrap_or(0)
    }

    pub(crate) fn ranges(&self, step: usize) -> impl Iterator<Item = &RowRange> {
        self.actions.iter().filter_map(move |action| match action {
            Action::Compute(range) if range.step == step => Some(range),
            _ => None,
        })
    }
}

/// The rows of the first input that rows of an output depend on.
#[derive(Clone, Copy, Debug)]
struct Reach {
    kernel: usize,
    stride: usize,
    top: usize,
    /// The step computes multiples of so many rows.
    tile: usize,
}

impl Reach {
    /// None for steps that are not computed by rows.
    fn of(fused: &Fused) -> Option<Self> {
        if !fused.by_rows {
            return None;
        }
        let same = Self { kernel: 1, stride: 1, top: 0, tile: 1 };
        match &fused.step.kernel {
            Kernel::Conv { window, .. } | Kernel::Depthwise { window, .. } | Kernel::Pool { window, .. } => {
                Some(Self {
                    kernel: window.reach()[0],
                    stride: window.stride[0],
                    top: window.pad.top,
                    tile: fused.winograd.map_or(1, |tile| tile.outputs()),
                })
            }
            Kernel::Scale { .. }
            | Kernel::LayerNorm { .. }
            | Kernel::Activation(_)
            | Kernel::Add
            | Kernel::Multiply => Some(same),
            _ => None,
        }
    }

    /// Rows of an input of `h` rows that the first `rows` of the output need.
    fn wants(&self, rows: usize, h: usize) -> usize {
        if rows == 0 { 0 } else { ((rows - 1) * self.stride + self.kernel).saturating_sub(self.top).min(h) }
    }

    /// The first row of the input that the output needs from its row `next` on, or a row above that one.
    fn first(&self, next: usize) -> usize {
        (next * self.stride).saturating_sub(self.top)
    }
}

/// Plans schedules for the steps before `cut`; `roots` names for each value the one whose buffer it lies in.
pub(crate) fn plan(steps: &[Fused], taps: &[usize], roots: &[usize], maps: &[Map], cut: usize) -> Vec<RowSchedule> {
    let (mut schedules, mut begin): (Vec<RowSchedule>, usize) = (Vec::new(), 0);
    let last_reads = last_reads(steps, taps, roots);
    while begin < cut {
        let planner = |end: usize| Planner::of(steps, &last_reads, roots, maps, begin..end);
        let able = steps[begin..cut].iter().take(MOST).take_while(|fused| Reach::of(fused).is_some()).count();
        let ends = (begin + 2..=begin + able).rev();
        let near = |planner: &Planner, rows: usize| planner.bytes(rows) <= NEAR && planner.reads_first(rows);
        let fits = |end: usize| planner(end).filter(|planner| near(planner, 1));
        match ends.filter_map(fits).next() {
            Some(planner) => {
                let rows = (1..=64).rev().find(|&rows| near(&planner, rows)).unwrap_or(1);
                begin = planner.steps.end;
                schedules.push(planner.schedule(rows));
            }
            None => begin += 1,
        }
    }
    schedules
}

/// The last step that reads each value; `usize::MAX` for taps and for values that share a buffer, which must be held as
/// a whole.
fn last_reads(steps: &[Fused], taps: &[usize], roots: &[usize]) -> Vec<usize> {
    let mut last = vec![0; roots.len()];
    for (i, fused) in steps.iter().enumerate() {
        fused.inputs().into_iter().for_each(|value| last[value] = i);
    }
    let mut sharers = vec![0; roots.len()];
    roots.iter().for_each(|&root| sharers[root] += 1);
    let whole = (0..roots.len()).filter(|&value| sharers[roots[value]] > 1).chain(taps.iter().copied());
    whole.for_each(|value| last[value] = usize::MAX);
    last
}

/// Plans a schedule.
struct Planner<'a> {
    fused: &'a [Fused],
    roots: &'a [usize],
    maps: &'a [Map],
    steps: Range<usize>,
    reach: Vec<Reach>,
    /// For each step of the schedule whether only some rows of its output are held.
    held: Vec<bool>,
}

impl<'a> Planner<'a> {
    /// None where the steps cannot be scheduled together: only steps of the schedule may read the maps of all but the
    /// last, and one of these maps must be large.
    fn of(
        fused: &'a [Fused],
        last_reads: &[usize],
        roots: &'a [usize],
        maps: &'a [Map],
        steps: Range<usize>,
    ) -> Option<Self> {
        let held: Vec<bool> = fused[steps.clone()].iter().map(|f| last_reads[f.step.output] < steps.end).collect();
        let reach = fused[steps.clone()].iter().map(Reach::of).collect::<Option<Vec<_>>>()?;
        let planner = Self { fused, roots, maps, steps, reach, held };
        // a gate depends on all rows of its map
        let is_gated = |i: usize| {
            matches!(fused[i].step.kernel, Kernel::Multiply) && planner.maker(fused[i].step.inputs[1]).is_some()
        };
        if planner.steps.clone().any(is_gated) {
            return None;
        }
        let (last, others) = planner.held.split_last()?;
        let large = planner.steps.clone().zip(others).any(|(i, _)| 4 * planner.map(i).picture() > SMALL);
        (!last && others.iter().all(|held| *held) && large).then_some(planner)
    }

    fn map(&self, step: usize) -> &Map {
        &self.maps[self.fused[step].step.output]
    }

    /// The step of the schedule that computes a value, if one does.
    fn maker(&self, value: usize) -> Option<usize> {
        self.steps.clone().find(|&i| self.fused[i].step.output == value)
    }

    /// The rows that each step must have computed when the last has `rows`.
    fn wanted(&self, rows: usize) -> Vec<usize> {
        let mut wanted = vec![0; self.steps.len()];
        if let Some(last) = wanted.last_mut() {
            *last = rows;
        }
        for i in self.steps.clone().rev() {
            let at = i - self.steps.start;
            wanted[at] = wanted[at].next_multiple_of(self.reach[at].tile).min(self.map(i).h);
            for (k, value) in self.fused[i].inputs().into_iter().enumerate() {
                let Some(maker) = self.maker(value) else { continue };
                let h = self.map(maker).h;
                let rows = if k == 0 { self.reach[at].wants(wanted[at], h) } else { wanted[at] };
                wanted[maker - self.steps.start] = wanted[maker - self.steps.start].max(rows);
            }
        }
        wanted
    }

    /// The first row of the output of `step` that is still to be read when each step has computed `done` rows.
    fn first(&self, step: usize, done: &[usize]) -> usize {
        let value = self.fused[step].step.output;
        let mut first = done[step - self.steps.start];
        for i in self.steps.clone() {
            let at = i - self.steps.start;
            for (k, _) in self.fused[i].inputs().iter().enumerate().filter(|(_, input)| **input == value) {
                first = first.min(if k == 0 { self.reach[at].first(done[at]) } else { done[at] });
            }
        }
        first
    }

    /// The rows of the buffer of each step's output, halo counted, and the most rows that each step computes at a time,
    /// when the last step computes `rows` at a time and unneeded rows are dropped each time.
    fn least(&self, rows: usize) -> (Vec<usize>, Vec<usize>) {
        let n = self.steps.len();
        let (mut done, mut least, mut new) = (vec![0; n], vec![0; n], vec![0; n]);
        let h = self.map(self.steps.end - 1).h;
        for last in (rows..h + rows).step_by(rows) {
            let wanted = self.wanted(last.min(h));
            for i in self.steps.clone() {
                let at = i - self.steps.start;
                let halo = self.map(i).halo;
                let first = self.first(i, &done);
                new[at] = new[at].max(wanted[at] - done[at].min(wanted[at]));
                done[at] = done[at].max(wanted[at]);
                least[at] = least[at].max(done[at] + halo.top + halo.bottom - first);
            }
        }
        (least, new)
    }

    /// Whether rows of an input that shares the last step's buffer are read before the last step overwrites them.
    fn reads_first(&self, rows: usize) -> bool {
        let end = self.steps.end - 1;
        let home = self.roots[self.fused[end].step.output];
        let mut done = vec![0; self.steps.len()];
        let h = self.map(end).h;
        (rows..h + rows).step_by(rows).all(|last| {
            let wanted = self.wanted(last.min(h));
            done.iter_mut().zip(&wanted).for_each(|(done, &wanted)| *done = wanted.max(*done));
            (self.steps.start..end).all(|i| {
                let at = i - self.steps.start;
                let there =
                    self.fused[i].inputs().into_iter().enumerate().filter(|(_, value)| self.roots[*value] == home);
                let next = there.map(|(k, _)| if k == 0 { self.reach[at].first(done[at]) } else { done[at] });
                done[at] == self.map(i).h || next.min().is_none_or(|next| next >= last.min(h))
            })
        })
    }

    /// Bytes of the rows that are in use at a time.
    fn bytes(&self, rows: usize) -> usize {
        let of = |held: Vec<usize>| self.steps.clone().zip(held).map(|(i, rows)| 4 * rows * self.map(i).row()).sum();
        // a lower bound, which is computed faster: the rows for the first rows of the output
        let first = of(self.wanted(rows));
        if first > NEAR { first } else { of(self.least(rows).0) }
    }

    /// The schedule by which the last step computes `rows` at a time.
    fn schedule(&self, rows: usize) -> RowSchedule {
        let n = self.steps.len();
        let (least, new) = self.least(rows);
        let all = |i: usize| self.map(i).h + self.map(i).halo.top + self.map(i).halo.bottom;
        let buffer = |at: usize| (least[at] + (ROOM - 1) * new[at]).min(all(self.steps.start + at));
        let buffers: Vec<usize> = (0..n).map(buffer).collect();
        let (mut done, mut base, mut actions) = (vec![0; n], vec![0; n], Vec::new());
        let h = self.map(self.steps.end - 1).h;
        for last in (rows..h + rows).step_by(rows) {
            let wanted = self.wanted(last.min(h));
            for i in self.steps.clone() {
                let (at, map, value) = (i - self.steps.start, self.map(i), self.fused[i].step.output);
                if wanted[at] <= done[at] {
                    continue;
                }
                if self.held[at] && wanted[at] + map.halo.top + map.halo.bottom - base[at] > buffers[at] {
                    let first = self.first(i, &done);
                    let (rows, keep) = (first - base[at], done[at] + map.halo.top - first);
                    actions.push(Action::Drop { value, rows, keep });
                    base[at] = first;
                }
                // a term that lies at the output is not counted as an input
                let inputs = self.fused[i].inputs().into_iter().filter(|&input| self.roots[input] != self.roots[value]);
                let inputs: Vec<usize> = inputs.collect();
                let input = |k: usize| {
                    let value = inputs.get(k).copied();
                    let maker = value.and_then(|value| self.maker(value));
                    maker.map_or(0, |maker| base[maker - self.steps.start])
                };
                let rows = done[at]..wanted[at];
                actions.push(Action::Compute(RowRange {
                    step: i,
                    rows,
                    inputs: [input(0), input(1)],
                    output: base[at],
                }));
                done[at] = wanted[at];
                if self.held[at] && done[at] == map.h && map.halo.bottom > 0 {
                    actions.push(Action::Bottom { value, row: map.h + map.halo.top - base[at] });
                }
            }
        }
        let held = self.steps.clone().zip(&self.held).zip(buffers).filter(|((_, held), _)| **held);
        let held = held.map(|((i, _), rows)| (self.fused[i].step.output, rows)).collect();
        RowSchedule { steps: self.steps.clone(), actions, held }
    }
}
