//! `runtime`: device, threads and memory.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};

use super::size::Size;
use super::{ranges, schema, values};

/// `runtime`: device, threads and memory. Speed depends on them; the numbers of the result do not, but for the rounding
/// of another device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Runtime {
    /// Where the network runs. `auto` takes a GPU where this build and this machine have one, else the CPU. `cuda` is
    /// the same as `cuda:0`. A device that is named and not there is an error.
    pub device: Device,
    /// Pictures in one forward pass on a GPU.
    #[schemars(range(min = 1, max = ranges::BATCH))]
    pub batch_size: usize,
    /// Threads that decode pictures and, on a CPU, run the network, each with a picture of its own. `auto` starts one
    /// for each core that the process may use, and fewer where the memory would not suffice.
    #[serde(deserialize_with = "values::auto_or_whole")]
    #[schemars(schema_with = "schema::threads", extend("default" = "auto"))]
    pub threads: Option<usize>,
    /// The memory that all pictures together may take while they are decoded. `auto` is a quarter of the machine's
    /// memory, or of the limit of the process's control group. A picture that takes more is decoded alone.
    #[serde(deserialize_with = "values::auto_or_size")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::auto_or_size", extend("default" = "auto"))]
    pub decode_memory: Option<Size>,
}

impl Default for Runtime {
    fn default() -> Self {
        Self { device: Device::Auto, batch_size: 32, threads: None, decode_memory: None }
    }
}

/// The device of the forward pass.
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

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| match text.as_str() {
            // the nearest word is `cpu`, the opposite of what is meant
            "gpu" | "GPU" => D::Error::custom(format!(
                "{UnknownDevice}, found `{text}`; write `auto` to use a GPU where there is one"
            )),
            _ => D::Error::unknown_variant(&text, &DEVICES),
        })
    }
}

/// The words of `runtime.device`.
const DEVICES: [&str; 5] = ["auto", "cpu", "cuda", "cuda:N", "metal"];

impl FromStr for Device {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            _ => {
                let number = text.strip_prefix("cuda:").and_then(|number| number.parse().ok());
                number.map(Self::Cuda).ok_or(UnknownDevice)
            }
        }
    }
}

/// The text names no device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `auto`, `cpu`, `cuda`, `cuda:N` or `metal`")]
pub struct UnknownDevice;

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
