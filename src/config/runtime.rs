//! `runtime`: speed settings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::size::Size;
use super::{Device, Kernels, forms, ranges, schema};

/// `runtime`: speed settings; they change no number of the result, but for `kernels`, which changes last bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Runtime {
    /// `auto` (a GPU where this build and machine have one, else the CPU), `cpu`, `cuda`, `cuda:N` or `metal`. Default:
    /// `auto`.
    pub device: Device,
    /// Pictures per forward pass, 1 to 65536. Default: 32.
    #[schemars(range(min = 1, max = ranges::BATCH))]
    pub batch_size: usize,
    /// The CPU's kernels for the forward pass, for those who look for a wrong feature: `auto` (the fastest that the CPU has), `reference` (those of
    /// candle, to which all others are compared; slow, `f32` only), `portable`, `avx2`, `avx512`, `amx` or `neon`. Others than `auto` take the CPU,
    /// and change the last bits of features. Default: `auto`.
    #[serde(skip_serializing_if = "Kernels::is_auto")]
    #[schemars(extend("default" = "auto"))]
    pub kernels: Kernels,
    /// Threads for decoding and for the CPU's forward pass, 1 to 1024, or `auto` (the cores that the process may use). Default: `auto`.
    #[serde(deserialize_with = "forms::auto_or_whole")]
    #[schemars(schema_with = "schema::threads", extend("default" = "auto"))]
    pub threads: Option<usize>,
    /// Memory that pictures may take together while they are decoded: a size such as `2GiB` or `500MB`, a number of MB, or `auto` (a quarter of
    /// the machine's memory, or of what the control group of the process allows). A picture that takes more is decoded alone. Default: `auto`.
    #[serde(deserialize_with = "forms::auto_or_size")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::auto_or_size", extend("default" = "auto"))]
    pub decode_memory: Option<Size>,
}

impl Default for Runtime {
    fn default() -> Self {
        Self { device: Device::Auto, batch_size: 32, kernels: Kernels::Auto, threads: None, decode_memory: None }
    }
}

impl Runtime {
    /// The device to be opened: kernels that are asked for are the CPU's.
    pub fn device(&self) -> Device {
        if self.device == Device::Auto && !self.kernels.is_auto() { Device::Cpu } else { self.device }
    }
}
