//! Updates one layer: gradient, penalty and update in one pass over its weights; and the product of two matrices.
//!
//! A layer of 100,352 × 100 weights is 40 MB, and so are the gradient and each running average: the memory's bandwidth
//! limits the speed of a step, so each number is read and written once. The gradient is computed block by block, small
//! enough for the cache, and used at once. The blocks depend on the layer's shape alone, so the number of threads does
//! not change the result.

use std::cell::{Cell, RefCell};

use candle_core::{CpuStorage, CustomOp2, InplaceOp2, InplaceOp3, Layout, Result, Shape, Tensor, bail};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::parallel::parallelism;

/// Weights in a block.
const BLOCK: usize = 1 << 15;
/// Numbers that the loop updates together, so that the compiler vectorises it.
const LANES: usize = 16;
/// Products with fewer multiplications are computed by one thread: with two cores, starting the parts of a product of
/// 64 × 100 weights takes longer than they save, and at 500 × 200 weights nothing is lost.
const SMALL: usize = 1 << 22;

/// A rule that moves a parameter along its gradient; `first` and `second` are the running averages of the parameter.
pub(super) trait Rule: Copy + Sync {
    /// Updates one parameter. Implementations should be `#[inline(always)]`.
    fn apply(self, parameter: &mut f32, gradient: f32, first: &mut f32, second: &mut f32);
}

/// Two running averages of every number of a tensor, zeros at first. An average that the rule never touches takes no
/// memory: the operating system allocates pages when they are first written.
#[derive(Debug)]
pub(super) struct Memory {
    /// First moment, or velocity.
    pub first: Vec<f32>,
    /// Second moment.
    pub second: Vec<f32>,
}

impl Memory {
    /// Averages of `len` numbers.
    pub(super) fn new(len: usize) -> Self {
        Self { first: vec![0.0; len], second: vec![0.0; len] }
    }
}

/// The input and the delta of one layer, from which the gradients of its parameters follow.
#[derive(Debug)]
pub(super) struct Slope {
    /// The input of the layer: (n, inputs).
    pub inputs: Tensor,
    /// Gradient with respect to the output of the layer, times `scale`: (n, outputs).
    pub delta: Tensor,
    /// Strength of the L2 penalty on the weights.
    pub alpha: f32,
    /// The divisor of sums over the rows: the sum of their weights.
    pub scale: f32,
}

impl Slope {
    /// Updates the weights (inputs, outputs) and returns their squared norm before the update.
    pub(super) fn step_weights(&self, weights: &Tensor, rule: impl Rule, memory: &mut Memory) -> Result<f64> {
        let (alpha, scale) = (self.alpha, self.scale);
        let step = Step { rule, alpha, scale, memory: RefCell::new(memory), squared: Cell::new(0.0) };
        weights.inplace_op3(&self.inputs, &self.delta, &step)?;
        Ok(step.squared.get())
    }

    /// Updates the biases (outputs), which have no penalty.
    pub(super) fn step_bias(&self, bias: &Tensor, rule: impl Rule, memory: &mut Memory) -> Result<()> {
        let step = Step { rule, alpha: 0.0, scale: self.scale, memory: RefCell::new(memory), squared: Cell::new(0.0) };
        bias.inplace_op2(&self.delta.sum(0)?, &step)
    }
}

struct Step<'a, R> {
    rule: R,
    alpha: f32,
    scale: f32,
    memory: RefCell<&'a mut Memory>,
    squared: Cell<f64>,
}

/// Updates biases from the sums of the deltas.
impl<R: Rule> InplaceOp2 for Step<'_, R> {
    fn name(&self) -> &'static str {
        "step-bias"
    }

    fn cpu_fwd(&self, bias: &mut CpuStorage, to: &Layout, slope: &CpuStorage, from: &Layout) -> Result<()> {
        let (parameters, slope) = (values_mut(bias, to)?, values(slope, from)?);
        let memory = &mut *self.memory.borrow_mut();
        let Memory { first, second } = &mut **memory;
        self.squared.set(pass(self.rule, (self.alpha, self.scale), slope, Block { parameters, first, second }));
        Ok(())
    }
}

/// Updates weights (inputs, outputs) from the input of the layer and the deltas.
impl<R: Rule> InplaceOp3 for Step<'_, R> {
    fn name(&self) -> &'static str {
        "step-weights"
    }

    fn cpu_fwd(
        &self,
        weights: &mut CpuStorage,
        to: &Layout,
        inputs: &CpuStorage,
        inputs_layout: &Layout,
        delta: &CpuStorage,
        delta_layout: &Layout,
    ) -> Result<()> {
        let (width, (rows, outputs)) = (to.dims()[0], delta_layout.shape().dims2()?);
        let (weights, inputs) = (values_mut(weights, to)?, values(inputs, inputs_layout)?);
        let delta = MatRef::from_row_major_slice(values(delta, delta_layout)?, rows, outputs);
        let lines = (BLOCK / outputs).max(1);
        let memory = &mut *self.memory.borrow_mut();
        let memory = memory.first.chunks_mut(lines * outputs).zip(memory.second.chunks_mut(lines * outputs));
        let blocks = weights.chunks_mut(lines * outputs).zip(memory);
        let blocks: Vec<(usize, Block)> = blocks
            .map(|(parameters, (first, second))| Block { parameters, first, second })
            .enumerate()
            .map(|(i, block)| (i * lines, block))
            .collect();
        let (rule, alpha, scale) = (self.rule, self.alpha, self.scale);
        let step = |slope: &mut Vec<f32>, (start, block): (usize, Block)| {
            let lines = block.parameters.len() / outputs;
            slope.resize(lines * outputs, 0.0);
            let inputs = MatRef::from_row_major_slice_with_stride(&inputs[start..], rows, lines, width);
            let out = MatMut::from_row_major_slice_mut(slope, lines, outputs);
            matmul(out, Accum::Replace, inputs.transpose(), delta, 1.0, Par::Seq);
            pass(rule, (alpha, scale), slope, block)
        };
        let squared: Vec<f64> = match blocks.len() {
            1 => blocks.into_iter().map(|block| step(&mut Vec::new(), block)).collect(),
            _ => blocks.into_par_iter().map_init(Vec::new, step).collect(),
        };
        self.squared.set(squared.iter().sum());
        Ok(())
    }
}

/// A block of parameters, with their running averages.
struct Block<'a> {
    parameters: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

/// Updates a block and returns the squared norm of its parameters before the update; `slope` is their gradient without
/// penalty and scale.
fn pass<R: Rule>(rule: R, (alpha, scale): (f32, f32), slope: &[f32], block: Block) -> f64 {
    pulp::Arch::new().dispatch(Pass { rule, alpha, scale, slope, block })
}

struct Pass<'a, R> {
    rule: R,
    alpha: f32,
    scale: f32,
    slope: &'a [f32],
    block: Block<'a>,
}

impl<R: Rule> pulp::NullaryFnOnce for Pass<'_, R> {
    type Output = f64;

    #[inline(always)]
    fn call(self) -> f64 {
        let Self { rule, alpha, scale, slope, block: Block { parameters, first, second } } = self;
        let mut squared = [0.0_f32; LANES];
        let (slope, slope_rest) = slope.as_chunks::<LANES>();
        let (parameters, parameters_rest) = parameters.as_chunks_mut::<LANES>();
        let (first, first_rest) = first.as_chunks_mut::<LANES>();
        let (second, second_rest) = second.as_chunks_mut::<LANES>();
        let step = |p: &mut f32, slope: f32, first: &mut f32, second: &mut f32, squared: &mut f32| {
            *squared += *p * *p;
            rule.apply(p, (slope + alpha * *p) / scale, first, second);
        };
        for (((p, slope), first), second) in parameters.iter_mut().zip(slope).zip(first).zip(second) {
            for lane in 0..LANES {
                step(&mut p[lane], slope[lane], &mut first[lane], &mut second[lane], &mut squared[lane]);
            }
        }
        let rest = parameters_rest.iter_mut().zip(slope_rest).zip(first_rest).zip(second_rest).zip(&mut squared);
        rest.for_each(|((((p, slope), first), second), squared)| step(p, *slope, first, second, squared));
        squared.iter().map(|&lane| f64::from(lane)).sum()
    }
}

/// Returns the product of the matrices (m, k) and (k, n), each contiguous or the transposed view of a contiguous one.
///
/// `Tensor::matmul` of candle 0.11 counts the cores of the machine at every call, for which it reads `/proc/cpuinfo`:
/// with two cores this takes as long as a small product, and the time grows with the number of cores.
pub(super) fn product(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    left.apply_op2_no_bwd(right, &Product)
}

struct Product;

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    fn cpu_fwd(
        &self,
        left: &CpuStorage,
        left_layout: &Layout,
        right: &CpuStorage,
        right_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (left, right) = (matrix(left, left_layout)?, matrix(right, right_layout)?);
        let (m, k, n) = (left.nrows(), left.ncols(), right.ncols());
        if right.nrows() != k {
            bail!("a product of matrices ({m}, {k}) and ({}, {n})", right.nrows());
        }
        let par = if m * k * n < SMALL { Par::Seq } else { parallelism() };
        let mut out = vec![0.0; m * n];
        matmul(MatMut::from_row_major_slice_mut(&mut out, m, n), Accum::Replace, left, right, 1.0, par);
        Ok((CpuStorage::F32(out), (m, n).into()))
    }
}

/// A matrix, or the transposed view of one.
fn matrix<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<MatRef<'a, f32>> {
    let (rows, cols) = layout.shape().dims2()?;
    if layout.is_contiguous() {
        return Ok(MatRef::from_row_major_slice(values(storage, layout)?, rows, cols));
    }
    Ok(MatRef::from_column_major_slice(values(storage, &layout.transpose(0, 1)?)?, rows, cols))
}

/// Calls `f(&mut a, b)` for every pair of values of two tensors of one shape.
pub(super) struct Each2<F>(pub F);

impl<F: Fn(&mut f32, f32)> InplaceOp2 for Each2<F> {
    fn name(&self) -> &'static str {
        "each-2"
    }

    fn cpu_fwd(&self, a: &mut CpuStorage, a_layout: &Layout, b: &CpuStorage, b_layout: &Layout) -> Result<()> {
        let (a, b) = (values_mut(a, a_layout)?, values(b, b_layout)?);
        a.iter_mut().zip(b).for_each(|(a, &b)| (self.0)(a, b));
        Ok(())
    }
}

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => bail!("expected a contiguous f32 tensor"),
    }
}

fn values_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&mut values[start..end]),
        _ => bail!("expected a contiguous f32 tensor"),
    }
}
