//! The CPU kernels of featurize: convolutions, dense layers and pools over maps with channels last, and the buffers
//! that they work on.
//!
//! This crate holds all `unsafe` code of the project. It knows no graph, no weight file and no picture. Each kernel is
//! a type that packs the weights of a layer once (`new`), checks every offset that it is given, and then computes the
//! layer over slices (`run`). One value of a layer is computed in one fixed order, so the bits of a picture depend
//! neither on the other pictures nor on the number of threads.
//!
//! Read in this order:
//!
//! 1. [`simd`]: vectors of f32 on AVX-512, AVX2, NEON and in portable Rust, and how a kernel is compiled for each of
//!    them.
//! 2. [`matmul`]: the direct convolution as an implicit GEMM. The other matrix products have the same structure.
//!    [`residual`] is its fused addition; `parallel` divides it among threads.
//! 3. [`winograd`]: 3 × 3 convolutions with fewer multiplications.
//! 4. [`depthwise`], [`dense`], [`pool`], [`pointwise`]: the layers other than convolutions over all channels.
//! 5. [`attention`]: multi-head attention over windows of tokens.
//! 6. [`bf16`]: products of bf16 by AVX-512 or widened to f32; [`amx`]: Intel's matrix unit, for bf16, int8 and, by
//!    int8 slices, for f32.
//! 7. [`int8`]: quantised convolutions, bytes by bytes.
//! 8. [`activation`]: functions of single values that do more than clamp them, such as SiLU.
//! 9. [`peak`]: the measured peak rate of a core, with which `benches/kernels.rs` compares the kernels.
//!
//! | kernel                       | layers                               | algorithm |
//! |------------------------------|--------------------------------------|-----------|
//! | [`matmul::DirectConv`]       | convolutions and dense layers of f32 | blocked implicit GEMM (BLIS, oneDNN) |
//! | [`bf16::Bf16Conv`]           | the same of bf16                     | `VDPBF16PS`, widened f32, or AMX |
//! | [`amx::AmxConv`]             | the same of bf16 or f32              | AMX tiles; f32 as int8 slices |
//! | [`winograd::WinogradConv`]   | 3 × 3 convolutions with stride 1     | F(4 × 4, 3 × 3), F(6 × 6, 3 × 3) |
//! | [`depthwise::DepthwiseConv`] | depthwise convolutions               | direct, a vector of channels at a time |
//! | [`int8::Int8Conv`]           | convolutions of bytes                | AMX, `VPDPBUSD`, `SDOT`, or 16 bits |
//! | [`int8::Int8Depthwise`]      | depthwise convolutions of bytes      | the same, four positions at a time |
//! | [`dense::Dense`]             | dense layers of f32                  | dot products over unpacked weights |
//! | [`attention::Attention`]     | multi-head attention over windows    | two products a head, scores row by row |
//! | [`pool::Pool`]               | max and mean pools                   | a vector of channels at a time |
//! | [`pointwise::Pointwise`]     | sums, scales, gates, layer norm      | position by position |
//!
//! Glossary:
//!
//! | word            | meaning |
//! |-----------------|---------|
//! | map             | the values of a layer for one picture: rows of positions (pixels), at each the channels |
//! | window          | the values that one output position of a convolution or pool reads |
//! | m, n, k         | the sides of a matrix product: output positions, filters, values of a window |
//! | implicit GEMM   | a convolution as a matrix product that reads windows where they lie, without im2col |
//! | tile            | the m × n sums that stay in registers; of AMX a register; of Winograd a square of outputs |
//! | panel           | the packed weights of the filters of a tile, one behind the other |
//! | block           | the tiles whose inputs stay in the second-level cache while all panels pass by |
//! | micro-kernel    | the innermost function, which computes a tile |
//! | epilogue        | its end: it adds the residual, clamps the sums to the activation, and writes them |
//! | residual        | a map that a convolution adds to its sums; in place if it lies at the output |
//! | k-split         | one sum divided among threads; no kernel does it, since it would change the order of the sum |
//! | slice, scale    | 8 bits of an integer of 24, which AMX multiplies for f32; the factor between integer and value |
//! | strip           | the part of a map that neighbouring windows see, packed once for all of them |
//! | point           | an argument of Winograd's polynomials, at which inputs and weights are evaluated |
//! | layout, offsets | where a kernel reads and writes, in elements from the beginnings of its slices |
//! | `RunArgs`       | in each module, the checked arguments of one run as pointers, which its threads share |
//!
//! The tests beside each kernel compare it with its definition in plain arithmetic over random shapes, on every
//! instruction set of the CPU, in slices that end with the last value that may be touched. `.ci/kernels-check` runs
//! them under AddressSanitizer (AMX, AVX-512, AVX512-BF16, AVX2, portable), valgrind (AVX2, portable) and, where they
//! are installed, Miri (portable) and QEMU (NEON, portable). NEON has run under that emulator only: its results are
//! checked, its speed is not measured.

#![warn(clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]

pub mod activation;
pub mod aligned;
#[cfg(target_arch = "x86_64")]
pub mod amx;
pub mod attention;
pub mod bf16;
pub mod dense;
pub mod depthwise;
mod elements;
#[cfg(guard)]
mod guard;
pub mod int8;
mod layer;
pub mod matmul;
mod parallel;
pub mod peak;
pub mod pointwise;
pub mod pool;
pub mod residual;
pub mod simd;
#[cfg(test)]
mod tests;
pub mod winograd;

pub use elements::Element;
pub use layer::{Activation, Pad, Pooling, Window};
pub use residual::Residual;

use layer::clamp_bounds;
