//! The executor for the CPU: channels last, weights packed once, batch norm folded, bias, activation and residual
//! joined to the convolution before them, every buffer planned once.
//!
//! [`Engine`] says with which kernels a network is computed, `network` runs it, `memory_plan` decides where every value
//! lies, `int8` which values are bytes, and `row_schedule` lets early layers go over a picture together. The kernels
//! themselves are the crate `featurize-kernels`.

mod engine;
mod int8;
mod map;
mod memory_plan;
mod network;
mod observe;
mod row_schedule;
mod steps;
#[cfg(test)]
mod tests;

pub use engine::Engine;
pub use network::{MICRO_BATCH, Network, Scratch, StepTime};
pub use observe::Observer;
