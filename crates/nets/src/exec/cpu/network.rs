//! A program as a list of kernels over planned buffers.
//!
//! Every value has a map in memory: `(height, width, channels)`, with as many zeros around it as the windows that read
//! it need, so that convolutions need no code for borders. `memory_plan` decides once where it lies.

mod bf16;
mod int8;
mod plan;

use std::time::Instant;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::engine::Engine;
use super::int8::Quant;
use super::map::Map;
use super::memory_plan::{self, Fused, MemoryPlan};
use super::observe;
use super::row_schedule::{Action, RowRange, RowSchedule};
use super::steps::{Op, Work};
use crate::exec::ExecError;
use crate::exec::lower::Program;
use crate::exec::ranges::Ranges;
use crate::models::graph::Pad;
use featurize_kernels::aligned::Aligned;
use featurize_kernels::int8::Int8Isa;
use featurize_kernels::winograd;

#[cfg(test)]
pub(super) use self::int8::quantise as quantise_int8;
pub(super) use self::plan::fuse;

/// Pictures of a micro-batch: the late layers compute them together.
pub const MICRO_BATCH: usize = 4;

/// The time that a step took.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTime {
    /// The last layer of the step.
    pub layer: String,
    /// The algorithm, in a word.
    pub kernel: &'static str,
    /// Multiply-accumulates of the layer's definition for one picture; Winograd needs fewer.
    pub macs: u64,
    pub seconds: f64,
}

#[derive(Debug)]
struct PlannedStep {
    layer: String,
    macs: u64,
    op: Op,
    inputs: Vec<usize>,
    output: usize,
    /// Whether the zeros around the output must be written.
    clears: bool,
    /// Rows of the first input from one row of the output to the next; none where the step finds its rows itself.
    down: Option<usize>,
    /// The value that lies at the output before the step runs: a term of a sum, or the map that is multiplied.
    under: Option<usize>,
    /// The bytes of a position of the halo of the output, where it is int8.
    halo: Option<Vec<u8>>,
}

/// A network ready to run; shared by all threads, each with a [`Scratch`] of its own.
#[derive(Debug)]
pub struct Network {
    engine: Engine,
    steps: Vec<PlannedStep>,
    maps: Vec<Map>,
    taps: Vec<usize>,
    /// Floats of each buffer.
    buffers: Vec<usize>,
    /// The first step that computes the whole micro-batch together.
    cut: usize,
    /// Groups of steps before `cut` that compute a picture some rows at a time.
    schedules: Vec<RowSchedule>,
    /// The scales of each value that is int8.
    quants: Vec<Option<Quant>>,
    /// Floats of two inputs and an output, for steps that compute in f32 where values are bf16 or int8.
    wide: [usize; 3],
}

/// The buffers of one thread, or of several that compute each layer together.
#[derive(Debug)]
pub struct Scratch {
    threads: usize,
    buffers: Vec<Aligned>,
    /// For the transforms of [`winograd`], and for partial sums.
    tiles: Aligned,
    /// Two inputs and an output in f32, where values are bf16 or int8.
    wide: [Aligned; 3],
}

impl Network {
    /// Packs the weights of `program` for `engine`, which this CPU must have, and plans the buffers. For int8 see
    /// [`quantised`](Self::quantised).
    pub fn new(program: Program, engine: Engine) -> Result<Self, ExecError> {
        Self::planned(program, engine, true)
    }

    /// The network in int8, with the scales from `ranges`.
    pub fn quantised(program: Program, unit: Int8Isa, ranges: &Ranges) -> Result<Self, ExecError> {
        let (taps, input) = (program.taps.clone(), Map::of(program.input_shape));
        let names = observe::names(&program);
        let mut fused = fuse(program, Engine::Int8(unit));
        let mut maps = maps_of(&fused, input);
        let quants = int8::quantise(&mut fused, &mut maps, &names, ranges)?;
        Self::placed(fused, maps, &taps, (Engine::Int8(unit), quants), false)
    }

    /// The same as [`new`](Self::new); with `by_rows` the early steps compute a picture some rows at a time.
    pub(super) fn planned(program: Program, engine: Engine, by_rows: bool) -> Result<Self, ExecError> {
        let (taps, input) = (program.taps.clone(), Map::of(program.input_shape));
        let fused = fuse(program, engine);
        let mut maps = maps_of(&fused, input);
        maps.iter_mut().for_each(|map| map.bytes = engine.element());
        Self::placed(fused, maps, &taps, (engine, Vec::new()), by_rows)
    }

    pub(super) fn placed(
        fused: Vec<Fused>,
        maps: Vec<Map>,
        taps: &[usize],
        (engine, quants): (Engine, Vec<Option<Quant>>),
        by_rows: bool,
    ) -> Result<Self, ExecError> {
        let plan = memory_plan::plan(&fused, taps, maps, MICRO_BATCH, by_rows);
        let MemoryPlan { maps, roots, buffers, cut, clears, schedules } = plan;
        // in parallel, since packing the weights takes most of the time in which a network is opened
        let steps = fused.into_iter().zip(clears).enumerate().collect::<Vec<_>>().into_par_iter();
        let steps = steps.map(|(i, (fused, clears))| {
            let pictures = if i < cut { 1 } else { MICRO_BATCH };
            let schedule = schedules.iter().find(|schedule| schedule.steps.contains(&i));
            let rows = schedule.map(|schedule| schedule.most(i));
            plan::plan(fused, &maps, engine, (pictures, rows), clears)
        });
        let mut steps = steps.collect::<Result<Vec<_>, _>>()?;
        let wide = match engine {
            Engine::Bf16(_) => bf16::wide(&steps, &maps, cut),
            Engine::Int8(_) => {
                int8::halos(&mut steps, &maps, &roots, &quants);
                int8::wide(&steps, &maps, &quants, cut)
            }
            _ => [0; 3],
        };
        Ok(Self { engine, steps, maps, taps: taps.to_vec(), buffers, cut, schedules, quants, wide })
    }

    /// Buffers for one picture or micro-batch at a time. Above one of `threads`, they must be used inside a pool of
    /// that many.
    pub fn scratch(&self, threads: usize) -> Scratch {
        // kernels of int8 may read a window up to the next multiple of four bytes
        let buffers = self.buffers.iter().map(|len| Aligned::zeros(len + 1)).collect();
        let tiles = Aligned::zeros(self.tiles_len(threads));
        Scratch { threads, buffers, tiles, wide: self.wide.map(Aligned::zeros) }
    }

    /// Bytes of a [`scratch`](Self::scratch) for one thread.
    pub fn scratch_bytes(&self) -> u64 {
        let floats = self.buffers.iter().sum::<usize>() + self.tiles_len(1) + self.wide.iter().sum::<usize>();
        (floats * size_of::<f32>()) as u64
    }

    fn tiles_len(&self, threads: usize) -> usize {
        let tiles = self.steps.iter().enumerate().map(|(i, step)| match &step.op {
            Op::Winograd { packed, places, .. } => {
                let rows =
                    |range: &RowRange| winograd::WinogradLayout { size: [range.rows.len(), places.size[1]], ..*places };
                let ranges = self.schedules.iter().flat_map(|schedule| schedule.ranges(i)).map(rows);
                // tiles are split into equal blocks, and fewer pictures may give larger blocks
                let batches = (1..=places.pictures).map(|pictures| winograd::WinogradLayout { pictures, ..*places });
                ranges
                    .chain(batches)
                    .map(|places| packed.most(|packed| packed.scratch_len(threads, &places)))
                    .max()
                    .unwrap_or(0)
            }
            Op::Product { packed, .. } => packed.most(|packed| packed.scratch_len(threads)),
            Op::Int8 { packed, .. } => packed.scratch_len(threads),
            Op::Attention { packed, .. } => packed.scratch_len(threads),
            _ => 0,
        });
        tiles.max().unwrap_or(0)
    }

    /// Runs `n` pictures `(n, h, w, c)` and gives the values of each tap for all of them, maps as `(n, h, w, c)`.
    pub fn forward(&self, scratch: &mut Scratch, pictures: &[f32], n: usize) -> Vec<Vec<f32>> {
        let each = (self.maps[0].h * self.maps[0].w * self.maps[0].c).max(1);
        let mut taps: Vec<Vec<f32>> = vec![Vec::new(); self.taps.len()];
        for group in pictures[..n * each].chunks(MICRO_BATCH * each) {
            self.micro_batch(scratch, group, group.len() / each, &mut taps, &mut |_, _| {});
        }
        taps
    }

    fn micro_batch(
        &self,
        scratch: &mut Scratch,
        pictures: &[f32],
        n: usize,
        taps: &mut [Vec<f32>],
        tell: &mut dyn FnMut(usize, f64),
    ) {
        let input = self.maps[0];
        for (p, picture) in pictures.chunks_exact(pictures.len() / n).enumerate() {
            let buffer = &mut scratch.buffers[input.buffer];
            match self.engine {
                Engine::Bf16(unit) => bf16::put(unit, &input, &mut buffer.as_bf16_mut()[input.base(p)..], picture),
                Engine::Int8(unit) => self.put_int8(unit, buffer, p, picture),
                _ => put(&input, &mut buffer[input.base(p)..], picture),
            }
            let mut i = 0;
            while i < self.cut {
                if let Some(schedule) = self.schedules.iter().find(|schedule| schedule.steps.start == i) {
                    self.by_rows(schedule, scratch, p, tell);
                    i = schedule.steps.end;
                    continue;
                }
                self.whole(i, scratch, p, 1, tell);
                i += 1;
            }
        }
        (self.cut..self.steps.len()).for_each(|i| self.whole(i, scratch, 0, n, tell));
        for (tap, values) in self.taps.iter().zip(taps) {
            let map = &self.maps[*tap];
            for p in 0..n {
                let (buffer, base) = (&scratch.buffers[map.buffer], map.base(p));
                if let (Engine::Int8(unit), Some(Some(quant))) = (self.engine, self.quants.get(*tap)) {
                    let bytes = &buffer.as_bytes()[base..];
                    map.runs(map.is_dense()).for_each(|run| quant.extend(unit, values, &bytes[run]));
                    continue;
                }
                map.runs(map.is_dense()).for_each(|run| match self.engine.unit() {
                    Some(_) => values.extend(buffer.as_bf16()[base..][run].iter().map(|v| v.to_f32())),
                    None => values.extend_from_slice(&buffer[base..][run]),
                });
            }
        }
    }

    /// Runs `n` pictures `rounds` times and gives for each step its last layer, its algorithm, and the least time of a
    /// round.
    pub fn profile(&self, scratch: &mut Scratch, pictures: &[f32], n: usize, rounds: usize) -> Vec<StepTime> {
        let each = (self.maps[0].h * self.maps[0].w * self.maps[0].c).max(1);
        let times = |step: &PlannedStep| {
            let (layer, kernel, macs) = (step.layer.clone(), step.op.word(), step.macs);
            StepTime { layer, kernel, macs, seconds: f64::INFINITY }
        };
        let mut best: Vec<StepTime> = self.steps.iter().map(times).collect();
        for _ in 0..rounds {
            let mut round = vec![0.0; self.steps.len()];
            for group in pictures[..n * each].chunks(MICRO_BATCH * each) {
                let mut taps = vec![Vec::new(); self.taps.len()];
                self.micro_batch(scratch, group, group.len() / each, &mut taps, &mut |i, seconds| round[i] += seconds);
            }
            best.iter_mut().zip(round).for_each(|(best, seconds)| best.seconds = best.seconds.min(seconds));
        }
        best
    }

    /// Runs a picture `(h, w, c)` step by step, and calls `see` with each value, its map and its buffer before the next
    /// step reads it, the picture first. The network must compute in f32 or int8 and without row schedules.
    pub(super) fn observe(
        &self,
        scratch: &mut Scratch,
        picture: &[f32],
        see: &mut dyn FnMut(usize, &Map, &mut Aligned),
    ) {
        let map = self.maps[0];
        let buffer = &mut scratch.buffers[map.buffer];
        match self.engine {
            Engine::Int8(unit) => self.put_int8(unit, buffer, 0, picture),
            _ => put(&map, buffer, picture),
        }
        see(0, &map, buffer);
        for (i, step) in self.steps.iter().enumerate() {
            self.whole(i, scratch, 0, 1, &mut |_, _| {});
            let map = &self.maps[step.output];
            see(step.output, map, &mut scratch.buffers[map.buffer]);
        }
    }

    /// Runs a step for `n` pictures from `first` on.
    fn whole(&self, i: usize, scratch: &mut Scratch, first: usize, n: usize, tell: &mut dyn FnMut(usize, f64)) {
        let start = Instant::now();
        if self.steps[i].clears {
            let to = &self.maps[self.steps[i].output];
            let buffer = &mut scratch.buffers[to.buffer];
            match &self.steps[i].halo {
                Some(position) => {
                    (first..first + n).for_each(|p| to.fill_halo(&mut buffer.as_bytes_mut()[to.base(p)..], position));
                }
                None => (first..first + n).for_each(|p| self.clear(buffer, to, p)),
            }
        }
        self.step(&RowRange::whole(i, self.maps[self.steps[i].output].h), scratch, first, n);
        tell(i, start.elapsed().as_secs_f64());
    }

    /// Writes the zeros around the map of a picture.
    fn clear(&self, buffer: &mut Aligned, map: &Map, p: usize) {
        match self.engine.unit() {
            Some(_) => map.clear_halo(&mut buffer.as_bf16_mut()[map.base(p)..]),
            None => map.clear_halo(&mut buffer[map.base(p)..]),
        }
    }

    /// Runs the steps of a schedule for picture `p`.
    fn by_rows(&self, schedule: &RowSchedule, scratch: &mut Scratch, p: usize, tell: &mut dyn FnMut(usize, f64)) {
        for step in &self.steps[schedule.steps.clone()] {
            let map = &self.maps[step.output];
            let buffer = &mut scratch.buffers[map.buffer];
            match schedule.held(step.output) {
                // zeros beside all rows in the buffer, and above the first ones
                Some(rows) => {
                    let halo = Pad { bottom: 0, ..map.halo };
                    self.clear(buffer, &Map { h: rows - halo.top, halo, ..*map }, p);
                }
                None if step.clears => self.clear(buffer, map, p),
                None => {}
            }
        }
        // the time for moving rows counts for the step that needs the room
        let mut start = Instant::now();
        for action in &schedule.actions {
            let rows = |value: &usize| (self.maps[*value].buffer, self.maps[*value].row());
            match action {
                Action::Compute(range) => {
                    self.step(range, scratch, p, 1);
                    tell(range.step, start.elapsed().as_secs_f64());
                    start = Instant::now();
                }
                Action::Drop { value, rows: n, keep } => {
                    let (buffer, row) = rows(value);
                    let moved = n * row..(n + keep) * row;
                    match self.engine.unit() {
                        Some(_) => scratch.buffers[buffer].as_bf16_mut().copy_within(moved, 0),
                        None => scratch.buffers[buffer].copy_within(moved, 0),
                    }
                }
                Action::Bottom { value, row: first } => {
                    let (buffer, row) = rows(value);
                    let zeros = first * row..(first + self.maps[*value].halo.bottom) * row;
                    match self.engine.unit() {
                        Some(_) => scratch.buffers[buffer].as_bf16_mut()[zeros].fill(Default::default()),
                        None => scratch.buffers[buffer][zeros].fill(0.0),
                    }
                }
            }
        }
    }

    /// Computes rows of a step for `n` pictures from `first` on; for several pictures all rows.
    fn step(&self, range: &RowRange, scratch: &mut Scratch, first: usize, n: usize) {
        let step = &self.steps[range.step];
        let to = &self.maps[step.output];
        // this is never the buffer of an input (see `memory_plan`): a term that lies at the output is not in `inputs`
        let mut output = std::mem::take(&mut scratch.buffers[to.buffer]);
        match self.engine {
            Engine::Bf16(unit) => self.step_bf16(unit, range, scratch, first..first + n, output.as_bf16_mut()),
            Engine::Int8(unit) => self.step_int8(unit, range, scratch, first..first + n, &mut output),
            _ => {
                let buffers = &scratch.buffers;
                let input = |i: usize, p: usize| {
                    let map = &self.maps[step.inputs[i]];
                    // a term of a concatenation may lie in the output, whose buffer is empty here; then it is not read
                    (map, buffers[map.buffer].get(map.base(p) + step.skip(range, i, map)..).unwrap_or(&[]))
                };
                let out = |p: usize| to.base(p) + (range.rows.start - range.output) * to.row();
                let work =
                    Work { isa: self.engine.isa(), threads: scratch.threads, tiles: &mut scratch.tiles, range, to };
                step.op.compute(work, first..first + n, input, out, &mut output);
            }
        }
        scratch.buffers[to.buffer] = output;
    }
}

/// The sizes of all values; value 0 is the picture.
pub(crate) fn maps_of(steps: &[Fused], input: Map) -> Vec<Map> {
    let values = steps.iter().map(|fused| fused.step.output + 1).max().unwrap_or(1);
    let mut maps = vec![input; values];
    steps.iter().for_each(|fused| maps[fused.step.output] = Map::of(fused.step.out_shape));
    maps
}

impl PlannedStep {
    /// Elements of input `i` before the first that `range` needs.
    fn skip(&self, range: &RowRange, i: usize, map: &Map) -> usize {
        let down = match self.op {
            // the gate has one row
            Op::Multiply { onto } if onto || i > 0 => None,
            _ if i == 0 => self.down,
            _ => Some(1),
        };
        down.map_or(0, |down| (range.rows.start * down - range.inputs[i.min(1)]) * map.row())
    }
}

/// Writes a picture to its map.
fn put(map: &Map, buffer: &mut [f32], picture: &[f32]) {
    map.clear_halo(buffer);
    for (run, line) in map.runs(true).zip(picture.chunks_exact(map.w * map.c)) {
        buffer[run].copy_from_slice(line);
    }
}
