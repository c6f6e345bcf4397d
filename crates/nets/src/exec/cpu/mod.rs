//! The executor for the CPU: channels last, weights packed once, batch norm folded, bias, activation and residual joined to the
//! convolution before them, every buffer planned once.
//!
//! [`Engine`] says with which kernels a network is computed, [`network`] runs it, `place` plans the memory, and `bands` lets early layers go over
//! a picture together. The kernels themselves are the crate `featurize-kernels`.

mod bands;
mod engine;
mod map;
pub mod network;
mod place;
mod steps;
#[cfg(test)]
mod tests;

pub use engine::Engine;
pub use network::{MICRO_BATCH, Network, Scratch, StepTime};
