//! Executor over candle tensors, channels first: CUDA, Metal, and the CPU as the reference that every other executor is tested against.
//!
//! On the CPU a picture goes through alone, on the calling thread, so that its features do not depend on its neighbours: convolutions run in
//! [`super::cpu`], since candle's grouped path makes one convolution of every channel and its matrix product one queue of all threads. On a GPU
//! the whole batch goes through cuDNN or its like, and depthwise is a sum of shifted products.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Shape as Dims, Tensor};

use super::ExecError;
use super::cpu::conv;
use super::cpu::depthwise::{self, Geometry};
use super::lower::{Kernel, Program, Step};
use crate::config;
use crate::models::Shape;
use crate::models::graph::{Activation, Window};

/// Where a network runs.
#[derive(Clone, Debug)]
pub struct Device {
    inner: candle_core::Device,
    name: String,
}

impl Device {
    /// Opens what the pipeline asks for. `auto` takes the first GPU that this build can use, else the CPU; a device asked for by name and not
    /// there is an error.
    pub fn open(choice: config::Device) -> Result<Self, ExecError> {
        match choice {
            config::Device::Cpu => Ok(Self::cpu()),
            config::Device::Cuda(n) => Self::cuda(n),
            config::Device::Metal => Self::metal(),
            config::Device::Auto => Ok(Self::cuda(0).or_else(|_| Self::metal()).unwrap_or_else(|_| Self::cpu())),
        }
    }

    /// The CPU.
    pub fn cpu() -> Self {
        Self { inner: candle_core::Device::Cpu, name: "cpu".into() }
    }

    /// `cpu`, `cuda:0`, `metal`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True for the CPU: pictures are then spread over threads, each running the whole network.
    pub fn is_cpu(&self) -> bool {
        self.inner.is_cpu()
    }

    fn cuda(ordinal: usize) -> Result<Self, ExecError> {
        let name = format!("cuda:{ordinal}");
        if !candle_core::utils::cuda_is_available() {
            let reason = "this featurize was built without CUDA; build it with `--features cuda` (or `cudnn`)".into();
            return Err(ExecError::Device { device: name, reason });
        }
        match candle_core::Device::new_cuda(ordinal) {
            Ok(inner) => Ok(Self { inner, name }),
            Err(error) => Err(ExecError::Device { device: name, reason: format!("it cannot be opened: {error}") }),
        }
    }

    fn metal() -> Result<Self, ExecError> {
        let name = "metal".to_string();
        if !candle_core::utils::metal_is_available() {
            let reason = "this featurize was built without Metal; build it with `--features metal`".into();
            return Err(ExecError::Device { device: name, reason });
        }
        match candle_core::Device::new_metal(0) {
            Ok(inner) => Ok(Self { inner, name }),
            Err(error) => Err(ExecError::Device { device: name, reason: format!("it cannot be opened: {error}") }),
        }
    }
}

/// A network with its weights on a device, ready to run; shared by all threads.
#[derive(Debug)]
pub struct Network {
    program: Program,
    /// Weights and bias of each step, where it has them.
    tensors: Vec<Option<(Tensor, Tensor)>>,
    device: Device,
}

impl Network {
    /// Puts the weights of `program` on `device`.
    pub fn new(mut program: Program, device: &Device) -> Result<Self, ExecError> {
        let steps = program.steps.iter_mut();
        let tensors = steps.map(|step| upload(step, &device.inner)).collect::<Result<_, _>>()?;
        Ok(Self { program, tensors, device: device.clone() })
    }

    /// Shape of a picture at the input.
    pub fn input_shape(&self) -> Shape {
        self.program.input_shape
    }

    /// The device that it runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Runs `n` pictures, `pictures` being `(n, c, h, w)`; gives for each tap its values for all pictures, maps in Keras' order `(n, h, w, c)`.
    pub fn forward(&self, pictures: &[f32], n: usize) -> Result<Vec<Vec<f32>>, ExecError> {
        if !self.device.is_cpu() {
            return self.run(pictures, n);
        }
        let mut taps = vec![Vec::new(); self.program.taps.len()];
        for picture in pictures.chunks_exact(self.input_shape().len()).take(n) {
            for (all, one) in taps.iter_mut().zip(self.run(picture, 1)?) {
                all.extend(one);
            }
        }
        Ok(taps)
    }

    fn run(&self, pictures: &[f32], n: usize) -> Result<Vec<Vec<f32>>, ExecError> {
        let dims = batch_dims(self.program.input_shape, n);
        let mut values: Vec<Option<Tensor>> = vec![None; self.program.last_use.len()];
        values[0] = Some(Tensor::from_slice(pictures, dims, &self.device.inner)?);
        for (i, (step, tensors)) in self.program.steps.iter().zip(&self.tensors).enumerate() {
            let wrong = |reason: &str| ExecError::Layer { layer: step.layer.clone(), reason: reason.to_string() };
            let mut inputs = Vec::with_capacity(step.inputs.len());
            for &value in &step.inputs {
                inputs.push(values[value].clone().ok_or_else(|| wrong("an input was not computed"))?);
            }
            let output = compute(step, tensors.as_ref(), &inputs)?;
            for &value in step.inputs.iter().filter(|&&value| self.program.last_use[value] <= i) {
                values[value] = None;
            }
            values[step.output] = Some(output);
        }
        let taps = self.program.taps.iter().map(|&value| {
            let missing = || ExecError::Layer { layer: "tap".into(), reason: "it was not computed".into() };
            let tensor = values[value].as_ref().ok_or_else(missing)?;
            let tensor = if tensor.rank() == 4 { tensor.permute((0, 2, 3, 1))? } else { tensor.clone() };
            Ok(tensor.flatten_all()?.to_vec1()?)
        });
        taps.collect()
    }
}

fn batch_dims(shape: Shape, n: usize) -> Vec<usize> {
    match shape {
        Shape::Map { c, h, w } => vec![n, c, h, w],
        Shape::Vector(len) => vec![n, len],
    }
}

/// Moves the weights out of a step into tensors.
fn upload(step: &mut Step, device: &candle_core::Device) -> Result<Option<(Tensor, Tensor)>, ExecError> {
    let Shape::Map { c: channels, .. } = step.in_shape else {
        let Kernel::Dense { weight, bias } = &mut step.kernel else { return Ok(None) };
        let (out, len) = (bias.len(), step.in_shape.len());
        return Ok(Some((tensor(weight, &[out, len], device)?, tensor(bias, &[out], device)?)));
    };
    match &mut step.kernel {
        Kernel::Conv { window, weight, bias, .. } => {
            if window.stride[0] != window.stride[1] {
                let reason = "candle has no convolution with different strides".to_string();
                return Err(ExecError::Layer { layer: step.layer.clone(), reason });
            }
            let dims = [bias.len(), channels, window.kernel[0], window.kernel[1]];
            let bias_dims = [bias.len()];
            Ok(Some((tensor(weight, &dims, device)?, tensor(bias, &bias_dims, device)?)))
        }
        Kernel::Depthwise { window, weight, bias, .. } => {
            let dims = [channels, window.kernel[0], window.kernel[1]];
            Ok(Some((tensor(weight, &dims, device)?, tensor(bias, &[channels], device)?)))
        }
        Kernel::Scale { scale, shift } => {
            Ok(Some((tensor(scale, &[channels], device)?, tensor(shift, &[channels], device)?)))
        }
        _ => Ok(None),
    }
}

fn tensor(values: &mut Vec<f32>, dims: &[usize], device: &candle_core::Device) -> Result<Tensor, candle_core::Error> {
    Tensor::from_vec(std::mem::take(values), dims, device)
}

fn compute(step: &Step, tensors: Option<&(Tensor, Tensor)>, inputs: &[Tensor]) -> Result<Tensor, ExecError> {
    let wrong = |reason: &str| ExecError::Layer { layer: step.layer.clone(), reason: reason.to_string() };
    let x = inputs.first().ok_or_else(|| wrong("it has no input"))?;
    let weights = || tensors.ok_or_else(|| wrong("it has no weights"));
    match &step.kernel {
        Kernel::Conv { window, activation, .. } => {
            let (weight, bias) = weights()?;
            if x.device().is_cpu() {
                let op = Fused { kernel: conv::run, window: *window, out: step.out_shape, activation: *activation };
                return Ok(x.contiguous()?.apply_op3_no_bwd(weight, bias, &op)?);
            }
            finish(convolve(x, weight, *window)?, bias, *activation)
        }
        Kernel::Depthwise { window, activation, .. } => {
            let (weight, bias) = weights()?;
            if x.device().is_cpu() {
                let op =
                    Fused { kernel: depthwise::run, window: *window, out: step.out_shape, activation: *activation };
                return Ok(x.contiguous()?.apply_op3_no_bwd(weight, bias, &op)?);
            }
            finish(depthwise_by_shifts(x, weight, *window, step.out_shape)?, bias, *activation)
        }
        Kernel::Scale { .. } => {
            let (scale, shift) = weights()?;
            let by_channel = |t: &Tensor| t.reshape((1, t.elem_count(), 1, 1));
            Ok(x.broadcast_mul(&by_channel(scale)?)?.broadcast_add(&by_channel(shift)?)?)
        }
        Kernel::Activation(activation) => activate(x, *activation),
        Kernel::Add => {
            let y = inputs.get(1).ok_or_else(|| wrong("it has one input"))?;
            if x.device().is_cpu() {
                return Ok(x.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, &Sum)?);
            }
            Ok((x + y)?)
        }
        Kernel::GlobalAvgPool => Ok(x.mean((2, 3))?), // (n, c)
        Kernel::Dense { .. } => {
            let (weight, bias) = weights()?;
            Ok(x.matmul(&weight.t()?)?.broadcast_add(bias)?)
        }
    }
}

/// (n, in, h, w) → (n, out, oh, ow)
fn convolve(x: &Tensor, weight: &Tensor, window: Window) -> Result<Tensor, ExecError> {
    let pad = window.pad;
    let even = pad.top == pad.bottom && pad.left == pad.right && pad.top == pad.left;
    if even {
        return Ok(x.conv2d(weight, pad.top, window.stride[0], 1, 1)?);
    }
    let x = x.pad_with_zeros(2, pad.top, pad.bottom)?.pad_with_zeros(3, pad.left, pad.right)?;
    Ok(x.conv2d(weight, 0, window.stride[0], 1, 1)?)
}

/// Adds the bias of each channel and applies the activation.
fn finish(x: Tensor, bias: &Tensor, activation: Option<Activation>) -> Result<Tensor, ExecError> {
    let x = x.broadcast_add(&bias.reshape((1, bias.elem_count(), 1, 1))?)?;
    activation.map_or(Ok(x.clone()), |activation| activate(&x, activation))
}

fn activate(x: &Tensor, activation: Activation) -> Result<Tensor, ExecError> {
    match activation {
        Activation::Relu => Ok(x.relu()?),
        Activation::Relu6 => Ok(x.clamp(0f32, 6f32)?),
        Activation::Softmax => Ok(candle_nn::ops::softmax(x, D::Minus1)?),
    }
}

/// Depthwise without grouped convolution: for every tap the input shifted, times the tap's weight of each channel. Strides are taken by
/// cutting rows and columns into groups of the stride and keeping the first of each.
fn depthwise_by_shifts(x: &Tensor, weight: &Tensor, window: Window, out: Shape) -> Result<Tensor, ExecError> {
    let (n, c, _, _) = x.dims4()?;
    let Shape::Map { h: oh, w: ow, .. } = out else {
        return Err(ExecError::Layer { layer: "depthwise".into(), reason: "its output is not a map".into() });
    };
    let (pad, [sh, sw]) = (window.pad, window.stride);
    // room for whole groups at the end
    let x = x.pad_with_zeros(2, pad.top, pad.bottom + sh - 1)?.pad_with_zeros(3, pad.left, pad.right + sw - 1)?;
    let mut sum: Option<Tensor> = None;
    for (ky, kx) in (0..window.kernel[0]).flat_map(|y| (0..window.kernel[1]).map(move |x| (y, x))) {
        let shifted = x.narrow(2, ky, oh * sh)?.narrow(3, kx, ow * sw)?;
        let shifted = match (sh, sw) {
            (1, 1) => shifted,
            _ => {
                let groups = shifted.contiguous()?.reshape(vec![n, c, oh, sh, ow, sw])?;
                groups.narrow(3, 0, 1)?.narrow(5, 0, 1)?.reshape((n, c, oh, ow))?
            }
        };
        let tap = weight.narrow(1, ky, 1)?.narrow(2, kx, 1)?.reshape((1, c, 1, 1))?;
        let product = shifted.broadcast_mul(&tap)?;
        sum = Some(match sum {
            Some(sum) => (sum + product)?,
            None => product,
        });
    }
    sum.ok_or_else(|| ExecError::Layer { layer: "depthwise".into(), reason: "its kernel is empty".into() })
}

/// One picture of our own kernels: geometry, input, weights, bias, activation, output.
type CpuKernel = fn(&Geometry, &[f32], &[f32], &[f32], Option<Activation>, &mut [f32]);

/// A kernel of ours as a candle operation: x (n, c, h, w), weight, bias (filters).
struct Fused {
    kernel: CpuKernel,
    window: Window,
    out: Shape,
    activation: Option<Activation>,
}

impl CustomOp3 for Fused {
    fn name(&self) -> &'static str {
        "fused-convolution"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        _: &Layout,
        bias: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Dims)> {
        let (CpuStorage::F32(x), CpuStorage::F32(weight), CpuStorage::F32(bias)) = (x, weight, bias) else {
            candle_core::bail!("a fused convolution takes f32");
        };
        let (n, channels, h, w) = layout.shape().dims4()?;
        let Shape::Map { c: filters, h: oh, w: ow } = self.out else { candle_core::bail!("a convolution gives a map") };
        let geometry = Geometry { channels, input: [h, w], output: [oh, ow], window: self.window };
        let x = &x[layout.start_offset()..][..n * channels * h * w];
        let mut out = vec![0.0; n * filters * oh * ow];
        for (x, out) in x.chunks_exact(channels * h * w).zip(out.chunks_exact_mut(filters * oh * ow)) {
            (self.kernel)(&geometry, x, weight, bias, self.activation, out);
        }
        Ok((CpuStorage::F32(out), Dims::from((n, filters, oh, ow))))
    }
}

/// x + y on the calling thread: candle's own sum of large tensors waits for the pool of the whole process.
struct Sum;

impl CustomOp2 for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Dims)> {
        let (CpuStorage::F32(x), CpuStorage::F32(y)) = (x, y) else {
            candle_core::bail!("a sum takes f32");
        };
        let (x, y) = (&x[x_layout.start_offset()..], &y[y_layout.start_offset()..]);
        let len = x_layout.shape().elem_count();
        let sum = x.iter().zip(y).take(len).map(|(x, y)| x + y).collect();
        Ok((CpuStorage::F32(sum), x_layout.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::graph::Pad;

    #[test]
    fn the_path_of_the_gpu_gives_what_the_kernel_gives() {
        let cpu = candle_core::Device::Cpu;
        for (kernel, stride, pad) in [(3, 1, 1), (5, 2, 2), (3, 2, 0)] {
            let window = Window {
                kernel: [kernel; 2],
                stride: [stride; 2],
                pad: Pad { top: pad, bottom: pad + 1, left: pad, right: pad },
            };
            let side = |n: usize, extra: usize| (n + 2 * pad + extra - kernel) / stride + 1;
            let out = Shape::Map { c: 4, h: side(9, 1), w: side(11, 0) };
            let values: Vec<f32> = (0..4 * 9 * 11).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
            let x = Tensor::from_vec(values, (1, 4, 9, 11), &cpu).expect("input");
            let taps: Vec<f32> = (0..4 * kernel * kernel).map(|i| ((i * 13) % 29) as f32 / 14.0 - 1.0).collect();
            let weight = Tensor::from_vec(taps, (4, kernel, kernel), &cpu).expect("weight");
            let bias = Tensor::zeros(4, candle_core::DType::F32, &cpu).expect("bias");
            let op = Fused { kernel: depthwise::run, window, out, activation: None };
            let ours = x.apply_op3_no_bwd(&weight, &bias, &op).expect("kernel");
            let shifts = depthwise_by_shifts(&x, &weight, window, out).expect("shifts");
            let difference = (ours - shifts).and_then(|d| d.abs()?.max_all()?.to_scalar::<f32>()).expect("compared");
            assert!(difference < 1e-5, "{difference}");
        }
    }

    #[test]
    fn our_convolution_gives_what_candle_gives() {
        let cpu = candle_core::Device::Cpu;
        for (kernel, stride, pad) in [(1, 1, 0), (3, 2, 1), (5, 1, 2), (1, 2, 0)] {
            let pads = Pad { top: pad, bottom: pad, left: pad, right: pad };
            let window = Window { kernel: [kernel; 2], stride: [stride; 2], pad: pads };
            let side = |n: usize| (n + 2 * pad - kernel) / stride + 1;
            let out = Shape::Map { c: 5, h: side(9), w: side(11) };
            let values: Vec<f32> = (0..4 * 9 * 11).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
            let x = Tensor::from_vec(values, (1, 4, 9, 11), &cpu).expect("input");
            let taps: Vec<f32> = (0..20 * kernel * kernel).map(|i| ((i * 13) % 29) as f32 / 14.0 - 1.0).collect();
            let weight = Tensor::from_vec(taps, (5, 4, kernel, kernel), &cpu).expect("weight");
            let bias = Tensor::from_vec(vec![0.5f32, 0.0, -0.25, 1.0, 2.0], 5, &cpu).expect("bias");
            let op = Fused { kernel: conv::run, window, out, activation: Some(Activation::Relu6) };
            let ours = x.apply_op3_no_bwd(&weight, &bias, &op).expect("kernel");
            let theirs =
                finish(convolve(&x, &weight, window).expect("conv"), &bias, Some(Activation::Relu6)).expect("bias");
            let difference = (ours - theirs).and_then(|d| d.abs()?.max_all()?.to_scalar::<f32>()).expect("compared");
            assert!(difference < 1e-5, "{difference}");
        }
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error_and_auto_finds_the_cpu() {
        if !candle_core::utils::cuda_is_available() {
            let error = Device::open(config::Device::Cuda(0)).expect_err("no CUDA in this build").to_string();
            assert!(error.contains("cuda:0") && error.contains("--features cuda"), "{error}");
        }
        if !candle_core::utils::metal_is_available() {
            assert!(Device::open(config::Device::Metal).is_err());
        }
        assert!(Device::open(config::Device::Auto).is_ok());
    }
}
