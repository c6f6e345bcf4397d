//! The executor for the CPU: maps are channels last, weights are packed once, batch norm is folded, bias, activation
//! and residual are joined to the convolution before them, and every buffer is planned once.
//!
//! [`Engine`] chooses the kernels, `network` runs them, `memory_plan` decides where every value lies, `int8` which
//! values are bytes, and `row_schedule` lets early layers compute a picture some rows at a time. The kernels are in the
//! crate `featurize-kernels`.

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
