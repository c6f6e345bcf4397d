//! A program as a list of kernels over planned buffers.
//!
//! Every value has a map in memory: `(height, width, channels)`, with as many zeros around it as the windows that read it want, so that no
//! convolution knows of borders. Where it lies is decided once, in `place`.

mod bf16;
mod plan;

use std::time::Instant;

use super::bands::{Move, Run, Slice};
use super::engine::Engine;
use super::map::Map;
use super::place::{Places, place};
use super::steps::{Op, Product, one};
use crate::exec::ExecError;
use crate::exec::lower::Program;
use crate::models::graph::Pad;
use featurize_kernels::aligned::Aligned;
use featurize_kernels::matmul;
use featurize_kernels::residual::Residual;
use featurize_kernels::winograd;

pub(super) use self::plan::fuse;

use self::plan::plan;

/// Pictures that go through the late layers together.
pub const MICRO_BATCH: usize = 4;

/// What a step took.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTime {
    /// The last layer that it covers.
    pub layer: String,
    /// How it is computed.
    pub kernel: &'static str,
    /// Multiply-accumulates for one picture, as the definition counts them.
    pub macs: u64,
    pub seconds: f64,
}

#[derive(Debug)]
struct Planned {
    layer: String,
    macs: u64,
    op: Op,
    inputs: Vec<usize>,
    output: usize,
    /// Whether the zeros around the output must be written.
    clears: bool,
    /// Rows of the first input from one row of the output to the next; none where the step sees to its rows itself.
    down: Option<usize>,
}

/// A network ready to run; shared by all threads, each with a [`Scratch`] of its own.
#[derive(Debug)]
pub struct Network {
    engine: Engine,
    steps: Vec<Planned>,
    maps: Vec<Map>,
    taps: Vec<usize>,
    /// Values in each buffer.
    buffers: Vec<usize>,
    /// The first step that runs over the whole micro-batch.
    cut: usize,
    /// Steps before it that go over a picture together.
    runs: Vec<Run>,
    /// Floats of two inputs and an output that are computed in f32 where values are bf16.
    wide: [usize; 3],
}

/// The buffers of one thread, or of several that share every layer.
#[derive(Debug)]
pub struct Scratch {
    threads: usize,
    buffers: Vec<Aligned>,
    /// For the transforms of [`winograd`] and the sums of [`strassen`].
    tiles: Aligned,
    /// Two inputs and an output in f32 where values are bf16.
    wide: [Aligned; 3],
}

impl Network {
    /// Packs the weights of `program` for `engine`, which this CPU must have, and plans the buffers.
    pub fn new(program: Program, engine: Engine) -> Result<Self, ExecError> {
        Self::planned(program, engine, engine.unit().is_none())
    }

    /// The same; with `by_rows` early steps go over a picture together, in f32 only.
    pub(super) fn planned(program: Program, engine: Engine, by_rows: bool) -> Result<Self, ExecError> {
        let (taps, values) = (program.taps.clone(), program.last_use.len());
        let mut maps = vec![Map::of(program.input_shape); values];
        let fused = fuse(program, engine);
        for fused in &fused {
            maps[fused.step.output] = Map::of(fused.step.out_shape);
        }
        let Places { maps, buffers, cut, clears, runs } = place(&fused, &taps, maps, MICRO_BATCH, by_rows);
        let steps = fused.into_iter().zip(clears).enumerate();
        let steps = steps.map(|(i, (fused, clears))| {
            let pictures = if i < cut { 1 } else { MICRO_BATCH };
            let rows = runs.iter().find(|run| run.steps.contains(&i)).map(|run| run.most(i));
            plan(fused, &maps, engine, (pictures, rows), clears)
        });
        let steps = steps.collect::<Result<Vec<_>, _>>()?;
        let wide = engine.unit().map_or([0; 3], |_| bf16::wide(&steps, &maps, cut));
        Ok(Self { engine, steps, maps, taps, buffers, cut, runs, wide })
    }

    /// Buffers for one picture or micro-batch at a time, whose layers are shared by `threads`: above one, it must be used on a pool of so many.
    pub fn scratch(&self, threads: usize) -> Scratch {
        let buffers = self.buffer_lens().map(Aligned::zeros).collect();
        let tiles = Aligned::zeros(self.tiles_len(threads));
        Scratch { threads, buffers, tiles, wide: self.wide.map(Aligned::zeros) }
    }

    /// Bytes of a [`scratch`](Self::scratch) for one thread.
    pub fn scratch_bytes(&self) -> u64 {
        let floats = self.buffer_lens().sum::<usize>() + self.tiles_len(1) + self.wide.iter().sum::<usize>();
        (floats * size_of::<f32>()) as u64
    }

    /// Floats of each buffer; of bf16 there are two in the place of one.
    fn buffer_lens(&self) -> impl Iterator<Item = usize> {
        let per_float = if self.engine.unit().is_some() { 2 } else { 1 };
        self.buffers.iter().map(move |len| len.div_ceil(per_float))
    }

    fn tiles_len(&self, threads: usize) -> usize {
        let tiles = self.steps.iter().enumerate().map(|(i, step)| match &step.op {
            Op::Winograd { packed, places, .. } => {
                let rows =
                    |slice: &Slice| winograd::WinogradLayout { size: [slice.rows.len(), places.size[1]], ..*places };
                let slices = self.runs.iter().flat_map(|run| run.slices(i)).map(rows);
                slices.chain([*places]).map(|places| packed.scratch_len(threads, &places)).max().unwrap_or(0)
            }
            Op::Product { packed: Product::Strassen(packed), .. } => packed.scratch_len(threads),
            #[cfg(target_arch = "x86_64")]
            Op::Product { packed: Product::Digits(packed), .. } => packed.scratch_len(threads),
            Op::ProductBf16 { packed, .. } => packed.scratch_len(threads),
            _ => 0,
        });
        tiles.max().unwrap_or(0)
    }

    /// Runs `n` pictures `(n, h, w, c)`; gives the values of each tap for all of them, maps as `(n, h, w, c)`.
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
            match self.engine.unit() {
                Some(unit) => bf16::put(unit, &input, &mut buffer.as_bf16_mut()[input.base(p)..], picture),
                None => put(&input, &mut buffer[input.base(p)..], picture),
            }
            let mut i = 0;
            while i < self.cut {
                if let Some(run) = self.runs.iter().find(|run| run.steps.start == i) {
                    self.run(run, scratch, p, tell);
                    i = run.steps.end;
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
                map.runs(map.is_dense()).for_each(|run| match self.engine.unit() {
                    Some(_) => values.extend(buffer.as_bf16()[base..][run].iter().map(|v| v.to_f32())),
                    None => values.extend_from_slice(&buffer[base..][run]),
                });
            }
        }
    }

    /// Runs `n` pictures `rounds` times and gives for each step the last layer that it covers, how it is computed, and the least seconds that all
    /// pictures took in it.
    pub fn profile(&self, scratch: &mut Scratch, pictures: &[f32], n: usize, rounds: usize) -> Vec<StepTime> {
        let each = (self.maps[0].h * self.maps[0].w * self.maps[0].c).max(1);
        let times = |step: &Planned| {
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

    /// Runs a step for `n` pictures from `first` on.
    fn whole(&self, i: usize, scratch: &mut Scratch, first: usize, n: usize, tell: &mut dyn FnMut(usize, f64)) {
        let start = Instant::now();
        if self.steps[i].clears {
            let to = &self.maps[self.steps[i].output];
            let buffer = &mut scratch.buffers[to.buffer];
            (first..first + n).for_each(|p| self.clear(buffer, to, p));
        }
        self.step(&Slice::whole(i, self.maps[self.steps[i].output].h), scratch, first, n);
        tell(i, start.elapsed().as_secs_f64());
    }

    /// Writes the zeros around the map of a picture.
    fn clear(&self, buffer: &mut Aligned, map: &Map, p: usize) {
        match self.engine.unit() {
            Some(_) => map.clear_halo(&mut buffer.as_bf16_mut()[map.base(p)..]),
            None => map.clear_halo(&mut buffer[map.base(p)..]),
        }
    }

    /// Runs steps that go over picture `p` together.
    fn run(&self, run: &Run, scratch: &mut Scratch, p: usize, tell: &mut dyn FnMut(usize, f64)) {
        for step in &self.steps[run.steps.clone()] {
            let map = &self.maps[step.output];
            let buffer = &mut scratch.buffers[map.buffer];
            match run.held(step.output) {
                // zeros beside all rows that are held, and above the first ones
                Some(rows) => {
                    let halo = Pad { bottom: 0, ..map.halo };
                    self.clear(buffer, &Map { h: rows - halo.top, halo, ..*map }, p);
                }
                None if step.clears => self.clear(buffer, map, p),
                None => {}
            }
        }
        // what moves rows counts for the step that wants the room
        let mut start = Instant::now();
        for m in &run.moves {
            let rows = |value: &usize| (self.maps[*value].buffer, self.maps[*value].row());
            match m {
                Move::Compute(slice) => {
                    self.step(slice, scratch, p, 1);
                    tell(slice.step, start.elapsed().as_secs_f64());
                    start = Instant::now();
                }
                Move::Drop { value, rows: n, keep } => {
                    let (buffer, row) = rows(value);
                    scratch.buffers[buffer].copy_within(n * row..(n + keep) * row, 0);
                }
                Move::Bottom { value, row: first } => {
                    let (buffer, row) = rows(value);
                    let n = self.maps[*value].halo.bottom;
                    scratch.buffers[buffer][first * row..(first + n) * row].fill(0.0);
                }
            }
        }
    }

    /// Computes rows of a step for `n` pictures from `first` on, all rows if these are several.
    fn step(&self, slice: &Slice, scratch: &mut Scratch, first: usize, n: usize) {
        let step = &self.steps[slice.step];
        if let Some(unit) = self.engine.unit() {
            return self.step_bf16(unit, slice, scratch, first, n);
        }
        let to = &self.maps[step.output];
        // never the buffer of an input, see `place`, but of what a sum is added onto
        let mut output = std::mem::take(&mut scratch.buffers[to.buffer]);
        let input = |i: usize, p: usize| {
            let map = &self.maps[step.inputs[i]];
            // the term of a concatenation that lies in the output already has nothing to give
            (map, scratch.buffers[map.buffer].get(map.base(p) + step.skip(slice, i, map)..).unwrap_or(&[]))
        };
        let out = |p: usize| to.base(p) + (slice.rows.start - slice.output) * to.row();
        let (values, threads, rows) = (input(0, first).1, scratch.threads, slice.rows.len());
        match &step.op {
            Op::Product { packed, starts, outs, adds, row, activation } => {
                let positions = n * rows * to.w;
                let added = if let Residual::At(_) = adds { input(1, first).1 } else { &[] };
                let adds = adds.as_ref().map(|adds| &adds[..positions]);
                let places = matmul::GemmOffsets {
                    window_starts: &starts[..positions],
                    row_stride: *row,
                    output_starts: &outs[..positions],
                    residual: adds,
                };
                let output = &mut output[out(first)..];
                match packed {
                    Product::Direct(packed) => packed.run(threads, &places, values, added, *activation, output),
                    Product::Strassen(packed) => {
                        let tiles = &mut scratch.tiles;
                        packed.run(threads, &places, rows * to.w, values, added, *activation, output, tiles);
                    }
                    #[cfg(target_arch = "x86_64")]
                    Product::Digits(packed) => {
                        let tiles = &mut scratch.tiles;
                        packed.run(threads, &places, [rows, to.w], values, added, *activation, output, tiles);
                    }
                }
            }
            Op::Winograd { packed, places, activation } => {
                let places = winograd::WinogradLayout { pictures: n, size: [rows, to.w], ..*places };
                let added = if let Residual::At(_) = places.residual { input(1, first).1 } else { &[] };
                let output = &mut output[out(first)..];
                packed.run(threads, &places, values, added, *activation, output, &mut scratch.tiles);
            }
            Op::Dense { dense, activation } => {
                let strides = [self.maps[step.inputs[0]].picture(), to.picture()];
                dense.run(threads, n, strides, values, *activation, &mut output[to.base(first)..]);
            }
            op => {
                for p in first..first + n {
                    one(threads, op, slice, |i| input(i, p), to, &mut output[out(p)..]);
                }
            }
        }
        scratch.buffers[to.buffer] = output;
    }
}

impl Planned {
    /// Elements of input `i` before those that the first row of `slice` wants.
    fn skip(&self, slice: &Slice, i: usize, map: &Map) -> usize {
        let down = if i == 0 { self.down } else { Some(1) };
        down.map_or(0, |down| (slice.rows.start * down - slice.inputs[i.min(1)]) * map.row())
    }
}

/// Writes a picture to its map.
fn put(map: &Map, buffer: &mut [f32], picture: &[f32]) {
    map.clear_halo(buffer);
    for (run, line) in map.runs(true).zip(picture.chunks_exact(map.w * map.c)) {
        buffer[run].copy_from_slice(line);
    }
}
