//! `runtime`: speed settings.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::size::Size;
use super::{forms, ranges, schema};

/// `runtime`: speed settings; they change no number of the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Runtime {
    /// `auto` (a GPU where this build and machine have one, else the CPU), `cpu`, `cuda`, `cuda:N` or `metal`. Default:
    /// `auto`.
    pub device: Device,
    /// Pictures per forward pass, 1 to 65536. Default: 32.
    #[schemars(range(min = 1, max = ranges::BATCH))]
    pub batch_size: usize,
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
        Self { device: Device::Auto, batch_size: 32, threads: None, decode_memory: None }
    }
}

/// What the forward pass runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// A GPU where there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU by its number, from 0.
    Cuda(usize),
    /// An Apple GPU.
    Metal,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}
