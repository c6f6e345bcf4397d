//! Our own executor for the CPU: channels last, weights packed once, batch norm folded, bias, activation and residual joined to the
//! convolution before them, every buffer planned once.
//!
//! The only room where `unsafe` is allowed: vectors ([`simd`]) and the kernels over them ([`matmul`], [`bf16`], [`winograd`], [`strassen`],
//! [`depthwise`], [`dense`], [`pool`]), and matrix units (`amx`). All check every place that they are given before they begin. [`Engine`], which
//! says what a network is computed with, [`network`], which runs it, `place`, which plans the memory, and `bands`, which lets early layers go over a
//! picture together, are safe code.
//!
//! Every kernel has its definition in plain arithmetic beside it (`kernel_tests`, and `tests` of `winograd`, `strassen`, `bf16`, `amx`) and is
//! compared with it over random shapes, on every instruction set of the CPU, in slices that end with the last value that may be touched.
//! `.ci/kernels-check` runs these tests under AddressSanitizer (AMX, AVX-512, AVX512-BF16, AVX2, portable), valgrind (AVX2, portable) and, where they are installed, Miri
//! (portable) and QEMU (NEON, portable). NEON has run under that emulator only, which says that it is correct and not how fast it is.

#![allow(unsafe_code)]

pub mod added;
pub mod aligned;
#[cfg(target_arch = "x86_64")]
pub mod amx;
mod bands;
pub mod bf16;
pub mod dense;
pub mod depthwise;
mod elements;
mod engine;
#[cfg(test)]
mod kernel_tests;
mod map;
pub mod matmul;
pub mod network;
pub mod peak;
mod place;
pub mod pool;
mod share;
pub mod simd;
mod steps;
pub mod strassen;
#[cfg(test)]
mod tests;
pub mod winograd;

pub use added::Added;
pub use engine::Engine;
pub use network::{MICRO_BATCH, Network, Scratch, StepTime};

use crate::models::graph::Activation;

/// An activation that only cuts off, as its lower and upper limit.
fn limits(activation: Option<Activation>) -> [f32; 2] {
    match activation {
        Some(Activation::Relu) => [0.0, f32::INFINITY],
        Some(Activation::Relu6) => [0.0, 6.0],
        // softmax is never joined to a convolution
        None | Some(Activation::Softmax) => [f32::NEG_INFINITY, f32::INFINITY],
    }
}
