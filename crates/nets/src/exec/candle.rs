//! Executor over candle tensors, channels first: CUDA, Metal, and the CPU as the reference that our own executor is
//! tested against.
//!
//! A whole batch is computed at once. A GPU computes while the CPU goes on: [`Network::start`] returns as soon as the
//! operations are queued, and [`Pending::read`] waits for the results.

mod attention;
#[cfg(feature = "cudnn")]
mod cudnn;
mod ops;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Tensor};

use super::lower::Program;
use super::{Device, ExecError, Pictures, Precision};
use crate::models::Shape;

/// A network with its weights on one or several devices, ready to run.
#[derive(Debug)]
pub struct Network {
    program: Program,
    units: Vec<Unit>,
    math: Math,
}

/// A device with the weights of the whole network.
#[derive(Debug)]
struct Unit {
    device: candle_core::Device,
    /// The weights of each step.
    tensors: Vec<Weights>,
    /// The most pictures that its memory holds at once, as far as is known.
    largest: AtomicUsize,
    /// The pictures beyond which a test pretends that the memory is short.
    #[cfg(test)]
    room: usize,
}

/// Weights and bias of a step, if it has them.
type Weights = Option<(Tensor, Tensor)>;

/// How a network computes.
#[derive(Clone, Copy, Debug)]
struct Math {
    /// The number format of maps and of most weights.
    dtype: DType,
    /// True if factors of f32 may be rounded to tf32.
    tf32: bool,
}

/// The taps of a batch, which the device may still compute.
#[derive(Debug)]
pub struct Pending {
    /// For each part of the batch its taps as f32, each with the values of all its pictures.
    parts: Vec<Vec<Tensor>>,
    taps: usize,
}

impl Pending {
    /// Waits for the device, and gives for each tap its values for all pictures, maps in Keras' order `(n, h, w, c)`.
    pub fn read(self) -> Result<Vec<Vec<f32>>, ExecError> {
        let mut taps = vec![Vec::new(); self.taps];
        for part in self.parts {
            for (values, tensor) in taps.iter_mut().zip(part) {
                values.extend(tensor.to_vec1::<f32>()?);
            }
        }
        Ok(taps)
    }
}

impl Network {
    /// Puts the weights of `program` on `device`, all f32.
    pub fn new(program: Program, device: &Device) -> Result<Self, ExecError> {
        Self::with(program, device, Precision::F32)
    }

    /// Puts the weights of `program` on every unit of `device`, to compute in that precision.
    pub fn with(mut program: Program, device: &Device, precision: Precision) -> Result<Self, ExecError> {
        let dtype = match precision {
            Precision::Bf16 => DType::BF16,
            Precision::F16 => DType::F16,
            Precision::F32 | Precision::Tf32 | Precision::Int8 => DType::F32,
        };
        let math = Math { dtype, tf32: precision == Precision::Tf32 };
        let mut units: Vec<Unit> = Vec::new();
        for device in &device.units {
            let tensors = match units.first() {
                None => {
                    program.steps.iter_mut().map(|step| ops::upload(step, device, math)).collect::<Result<_, _>>()?
                }
                // the program has handed its weights to the first unit
                Some(first) => copied(&first.tensors, device)?,
            };
            units.push(Unit {
                device: device.clone(),
                tensors,
                largest: AtomicUsize::new(usize::MAX),
                #[cfg(test)]
                room: usize::MAX,
            });
        }
        Ok(Self { program, units, math })
    }

    /// The number of devices that each run the whole network.
    pub fn units(&self) -> usize {
        self.units.len()
    }

    /// Runs `n` pictures, `(n, c, h, w)`, on the first unit, and gives the results of [`Pending::read`].
    pub fn forward(&self, pictures: &[f32], n: usize) -> Result<Vec<Vec<f32>>, ExecError> {
        self.start(0, Pictures::Values(pictures), n)?.read()
    }

    /// Queues `n` pictures on a unit. If its memory is too small for all of them at once, they are computed in parts,
    /// now and later.
    pub fn start(&self, unit: usize, pictures: Pictures, n: usize) -> Result<Pending, ExecError> {
        let unit = &self.units[unit % self.units.len()];
        let (mut parts, mut first) = (Vec::new(), 0);
        while first < n {
            let size = unit.largest.load(Ordering::Relaxed).min(n - first);
            match self.run(unit, pictures.part(first, size, n), size) {
                Ok(taps) => {
                    parts.push(taps);
                    first += size;
                }
                Err(ExecError::Tensor(error)) if size > 1 && is_out_of_memory(&error) => {
                    unit.largest.fetch_min(size / 2, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Pending { parts, taps: self.program.taps.len() })
    }

    /// The most pictures that a unit computes at once, if its memory was too small for a batch.
    pub fn largest_batch(&self, unit: usize) -> Option<usize> {
        let largest = self.units[unit % self.units.len()].largest.load(Ordering::Relaxed);
        (largest < usize::MAX).then_some(largest)
    }

    /// Queues the steps for `n` pictures; gives the taps as f32 in one dimension.
    fn run(&self, unit: &Unit, pictures: Pictures, n: usize) -> Result<Vec<Tensor>, ExecError> {
        #[cfg(test)]
        if n > unit.room {
            return Err(candle_core::Error::msg("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")").into());
        }
        // a setting of the process: networks of other precisions that run at the same time would change it
        candle_core::cuda::set_gemm_reduced_precision_f32(self.math.tf32);
        let program = &self.program;
        let mut values: Vec<Option<Tensor>> = vec![None; program.last_use.len()];
        values[0] = Some(self.input(unit, pictures, n)?.to_dtype(self.math.dtype)?);
        for (i, (step, tensors)) in program.steps.iter().zip(&unit.tensors).enumerate() {
            let wrong = |reason: &str| ExecError::Layer { layer: step.layer.clone(), reason: reason.to_string() };
            let mut inputs = Vec::with_capacity(step.inputs.len());
            for &value in &step.inputs {
                inputs.push(values[value].clone().ok_or_else(|| wrong("an input was not computed"))?);
            }
            let output = ops::compute(step, tensors.as_ref(), &inputs, self.math)?;
            for &value in step.inputs.iter().filter(|&&value| program.last_use[value] <= i) {
                values[value] = None;
            }
            values[step.output] = Some(output);
        }
        let taps = program.taps.iter().map(|&value| {
            let missing = || ExecError::Layer { layer: "tap".into(), reason: "it was not computed".into() };
            let tensor = values[value].as_ref().ok_or_else(missing)?.to_dtype(DType::F32)?;
            let tensor = if tensor.rank() == 4 { tensor.permute((0, 2, 3, 1))? } else { tensor };
            Ok(tensor.flatten_all()?)
        });
        taps.collect()
    }

    /// The input `(n, c, h, w)` as f32; bytes are normalised on the device.
    fn input(&self, unit: &Unit, pictures: Pictures, n: usize) -> Result<Tensor, ExecError> {
        let device = &unit.device;
        let dims = match self.program.input_shape {
            Shape::Map { c, h, w } => vec![n, c, h, w],
            Shape::Tokens { n: tokens, c } => vec![n, tokens, c],
            Shape::Vector(len) => vec![n, len],
        };
        let (bytes, recipe) = match pictures {
            Pictures::Values(values) => return Ok(Tensor::from_slice(values, dims, device)?),
            Pictures::Bytes(bytes, recipe) => (Tensor::from_slice(bytes, dims, device)?, recipe),
        };
        // the operations of `Recipe::normalise` in the same order, so that the numbers are the same
        let (means, deviations): (Vec<f32>, Vec<f32>) = (0..recipe.depth()).map(|c| recipe.channel(c)).unzip();
        let of_channels = |values: Vec<f32>| {
            let dims = (1, values.len(), 1, 1);
            Tensor::from_vec(values, dims, device)
        };
        let values = bytes.to_dtype(DType::F32)?.broadcast_div(&of_channels(vec![recipe.divisor; recipe.depth()])?)?;
        Ok(values.broadcast_sub(&of_channels(means)?)?.broadcast_div(&of_channels(deviations)?)?)
    }
}

/// The weights of another device on `device`.
fn copied(tensors: &[Weights], device: &candle_core::Device) -> Result<Vec<Weights>, candle_core::Error> {
    let copy = |(weight, bias): &(Tensor, Tensor)| Ok((weight.to_device(device)?, bias.to_device(device)?));
    tensors.iter().map(|pair| pair.as_ref().map(copy).transpose()).collect()
}

/// True if an allocation on the device failed. candle hands on the texts of CUDA's driver, of cuBLAS and of cuDNN.
fn is_out_of_memory(error: &candle_core::Error) -> bool {
    let text = format!("{error} {error:?}").to_lowercase();
    ["out_of_memory", "out of memory", "alloc_failed"].iter().any(|sign| text.contains(sign))
}
