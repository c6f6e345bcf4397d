//! `runtime`: device, threads and memory.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::size::Size;
use super::{Device, Kernels, ranges, schema, values};

/// `runtime`: device, threads and memory. Speed depends on them; the numbers of the result do not, but for the rounding
/// of another device or of other `kernels`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Runtime {
    /// Where the network runs. `auto` takes a GPU where this build and this machine have one, else the CPU. `cuda` is
    /// the same as `cuda:0`; `cuda:0,2` and `cuda:all` share the pictures among several GPUs. A device that is named
    /// and not there is an error.
    pub device: Device,
    /// Pictures in one forward pass on a GPU. If its memory is too small for them, they are computed in halves, with a
    /// warning.
    #[schemars(range(min = 1, max = ranges::BATCH))]
    pub batch_size: usize,
    /// The kernels of the CPU for the forward pass, to find out whether a feature is wrong because of them. Any value
    /// but `auto` runs the network on the CPU and changes the last bits of features. A CPU that lacks the kernels is an
    /// error.
    #[serde(skip_serializing_if = "Kernels::is_auto")]
    #[schemars(extend("default" = "auto"))]
    pub kernels: Kernels,
    /// Threads that decode pictures and, on a CPU, run the network, each with a picture of its own. `auto` starts one
    /// for each core that the process may use, and fewer where the memory would not suffice.
    #[serde(deserialize_with = "values::auto_or_whole")]
    #[schemars(schema_with = "schema::threads", extend("default" = "auto"))]
    pub threads: Option<usize>,
    /// Requests that are under way at once where pictures come from a bucket or by URLs. Pictures that arrive early
    /// wait in memory, at most 128 MB of them.
    #[serde(skip_serializing_if = "is_usual")]
    #[schemars(range(min = 1, max = ranges::THREADS), extend("default" = REQUESTS))]
    pub requests: usize,
    /// The memory that all pictures together may take while they are decoded. `auto` is a quarter of the machine's
    /// memory, or of the limit of the process's control group. A picture that takes more is decoded alone.
    #[serde(deserialize_with = "values::auto_or_size")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::auto_or_size", extend("default" = "auto"))]
    pub decode_memory: Option<Size>,
}

/// The default of `requests`.
const REQUESTS: usize = 64;

fn is_usual(requests: &usize) -> bool {
    *requests == REQUESTS
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            device: Device::Auto,
            batch_size: 32,
            kernels: Kernels::Auto,
            threads: None,
            requests: REQUESTS,
            decode_memory: None,
        }
    }
}

impl Runtime {
    /// The device to open: kernels other than `auto` are kernels of the CPU.
    pub fn device(&self) -> Device {
        if self.device == Device::Auto && !self.kernels.is_auto() { Device::Cpu } else { self.device }
    }
}
