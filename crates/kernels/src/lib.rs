//! The CPU kernels of featurize: convolutions, dense layers and pools over maps whose channels lie last, and the buffers that they work on.
//!
//! This crate holds all `unsafe` code of the project. It knows no graph, no weight file and no picture: a caller packs the weights of a layer
//! once and then runs the packed layer over slices.
//!
//! Read in this order:
//!
//! 1. [`simd`]: vectors of f32 on AVX-512, AVX2, NEON and in portable Rust; [`bf16`]: the same for bf16; [`amx`]: the tiles of Intel's matrix unit.
//! 2. [`matmul`]: a convolution as a matrix product without a copy of its windows (GEMM without im2col). Every other product has its form.
//! 3. [`winograd`]: 3 × 3 convolutions with fewer multiplications; [`strassen`]: large products with fewer multiplications.
//! 4. [`depthwise`], [`dense`], [`pool`]: the layers that are no convolution over all channels.
//! 5. [`share`]: how several threads compute one layer together; [`peak`]: how fast a core can multiply and add.
//!
//! | word       | meaning |
//! |------------|---------|
//! | map        | the values of one layer for one picture: rows, in each row positions, at each position the channels |
//! | position   | one place (y, x) of a map with all its channels |
//! | window     | the positions that one output position of a convolution or pool reads |
//! | panel      | the weights of as many filters as fill the vectors of one tile, stored one behind the other |
//! | tile       | the block of output positions × filters whose sums stay in registers |
//! | `Packed`   | the weights of a layer in the order in which its kernel reads them |
//! | `Places`   | where the windows of the inputs and the outputs of a layer begin, in elements of their slices |
//! | [`Added`]  | a third map that a convolution adds to its sums before the activation: the shortcut of a residual block |
//! | unit       | the instructions that multiply bf16; [`simd::Isa`]: those that compute in f32 |
//!
//! Each kernel checks every place that it is given before it reads or writes anything. Each has its definition in plain arithmetic in a test
//! beside it, and is compared with it over random shapes on every instruction set of the CPU, in slices that end with the last value that may be
//! touched. `.ci/kernels-check` runs these tests under AddressSanitizer (AMX, AVX-512, AVX512-BF16, AVX2, portable), valgrind (AVX2, portable)
//! and, where they are installed, Miri (portable) and QEMU (NEON, portable). NEON has run under that emulator only: it is known to be
//! correct, and its speed is not known.

pub mod added;
pub mod aligned;
#[cfg(target_arch = "x86_64")]
pub mod amx;
pub mod bf16;
pub mod dense;
pub mod depthwise;
mod elements;
#[cfg(guard)]
mod guard;
mod layer;
pub mod matmul;
pub mod peak;
pub mod pool;
pub mod share;
pub mod simd;
pub mod strassen;
#[cfg(test)]
mod tests;
pub mod winograd;

pub use added::Added;
pub use layer::{Activation, Pad, Pooling, Window};

use layer::limits;
