//! Convolutions by cuDNN with the arithmetic that the precision asks for.
//!
//! candle's own call leaves the mathematics of cuDNN at its default, by which GPUs from Ampere on round the factors of
//! f32 to tf32 (10 bits of mantissa), sums f16 in f16, and runs a convolution in groups as one convolution a group.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::cudnn::{ConvForward, Cudnn, CudnnDataType, sys};
use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::cuda_backend::{CudaDType, CudaDevice, CudaStorage, CudaStorageSlice, DeviceId};
use candle_core::{CpuStorage, CustomOp2, Error, Layout, Result, Shape, WithDType};
use half::{bf16, f16};

thread_local! {
    // handles can be neither sent to other threads nor shared with them
    static HANDLES: RefCell<HashMap<DeviceId, Arc<Cudnn>>> = RefCell::default();
}

/// A convolution of maps `(n, in, h, w)` with weights `(out, in / groups, h, w)`; sums are f32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Convolution {
    /// Zeros on each side.
    pub pad: usize,
    pub stride: usize,
    pub dilation: usize,
    pub groups: usize,
    /// True if factors of f32 may be rounded to tf32.
    pub tf32: bool,
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "cudnn-convolution"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Err(Error::msg("cuDNN has no convolution on the CPU"))
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let operands = Operands { x, x_layout, weight, weight_layout };
        match &x.slice {
            CudaStorageSlice::F32(_) => {
                let math = if self.tf32 { MathType::CUDNN_DEFAULT_MATH } else { MathType::CUDNN_FMA_MATH };
                self.run::<f32>(operands, math)
            }
            CudaStorageSlice::F16(_) => self.run::<f16>(operands, MathType::CUDNN_TENSOR_OP_MATH),
            CudaStorageSlice::BF16(_) => self.run::<bf16>(operands, MathType::CUDNN_TENSOR_OP_MATH),
            _ => Err(Error::msg("a convolution takes f32, f16 or bf16")),
        }
    }
}

use sys::cudnnMathType_t as MathType;

/// Maps and weights, both contiguous.
struct Operands<'a> {
    x: &'a CudaStorage,
    x_layout: &'a Layout,
    weight: &'a CudaStorage,
    weight_layout: &'a Layout,
}

impl Convolution {
    fn run<T>(&self, operands: Operands, math: MathType) -> Result<(CudaStorage, Shape)>
    where
        T: CudaDType + CudnnDataType + DeviceRepr + WithDType,
    {
        let Operands { x, x_layout, weight, weight_layout } = operands;
        let (n, channels, height, width) = x_layout.shape().dims4()?;
        let (out, each, tall, wide) = weight_layout.shape().dims4()?;
        let length = |size: usize, kernel: usize| {
            let room = (size + 2 * self.pad).checked_sub(self.dilation * (kernel - 1) + 1);
            room.map(|room| room / self.stride + 1).ok_or_else(|| Error::msg("the kernel is larger than the map"))
        };
        let shape = (n, out, length(height, tall)?, length(width, wide)?);
        let is_sound = x_layout.is_contiguous() && weight_layout.is_contiguous() && each * self.groups == channels;
        if !is_sound {
            return Err(Error::msg("the convolution takes contiguous maps and weights of matching channels"));
        }
        let device = x.device.clone();
        let handle = handle(&device)?;
        let both = |size: usize| [size as i32; 2];
        let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        let mut convolution = handle
            .create_conv2d::<f32>(both(self.pad), both(self.stride), both(self.dilation), mode)
            .map_err(Error::wrap)?;
        convolution.set_math_type(math).map_err(Error::wrap)?;
        convolution.set_group_count(self.groups as i32).map_err(Error::wrap)?;
        let format = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW;
        let map =
            |dims: [usize; 4]| handle.create_4d_tensor::<T>(format, dims.map(|size| size as i32)).map_err(Error::wrap);
        let (from, to) = (map([n, channels, height, width])?, map([n, out, shape.2, shape.3])?);
        let filter = [out, each, tall, wide].map(|size| size as i32);
        let filter = handle.create_4d_filter::<T>(format, filter).map_err(Error::wrap)?;
        let forward = ConvForward { conv: &convolution, x: &from, w: &filter, y: &to };
        let algorithm = forward.pick_algorithm().map_err(Error::wrap)?;
        let bytes = forward.get_workspace_size(algorithm).map_err(Error::wrap)?;
        let x = x.as_cuda_slice::<T>()?.slice(x_layout.start_offset()..);
        let weight = weight.as_cuda_slice::<T>()?.slice(weight_layout.start_offset()..);
        let shape = Shape::from(shape);
        // SAFETY: cuDNN writes every element of the output and reads of the work space only what it has written.
        let (mut y, mut workspace) = unsafe { (device.alloc::<T>(shape.elem_count())?, device.alloc::<u8>(bytes)?) };
        let scales = (T::from_f64(1.0), T::from_f64(0.0));
        // SAFETY: the descriptors have the type and the sizes of the three slices, which are contiguous (checked above
        // for maps and weights), and the work space has the size that cuDNN asked for.
        unsafe { forward.launch(algorithm, Some(&mut workspace), scales, &x, &weight, &mut y) }.map_err(Error::wrap)?;
        Ok((CudaStorage::wrap_cuda_slice(y, device), shape))
    }
}

/// The handle of cuDNN of this thread for a device.
fn handle(device: &CudaDevice) -> Result<Arc<Cudnn>> {
    HANDLES.with(|handles| {
        if let Some(handle) = handles.borrow().get(&device.id()) {
            return Ok(handle.clone());
        }
        let handle = Cudnn::new(device.cuda_stream()).map_err(Error::wrap)?;
        handles.borrow_mut().insert(device.id(), handle.clone());
        Ok(handle)
    })
}
