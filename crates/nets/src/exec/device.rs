//! The device that a network runs on, and its name in a pipeline.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use serde::{Serialize, Serializer};

use super::ExecError;

/// The device that the user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
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

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl<'de> Deserialize<'de> for DeviceChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| match text.as_str() {
            // a suggestion by spelling would be `cpu`, the opposite of what the user wants
            "gpu" | "GPU" => D::Error::custom(format!(
                "{UnknownDevice}, found `{text}`; write `auto` to use a GPU where there is one"
            )),
            _ => D::Error::unknown_variant(&text, &DEVICES),
        })
    }
}

/// The values of `runtime.device`.
const DEVICES: [&str; 5] = ["auto", "cpu", "cuda", "cuda:N", "metal"];

impl std::str::FromStr for DeviceChoice {
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

impl Serialize for DeviceChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for DeviceChoice {
    fn schema_name() -> Cow<'static, str> {
        "Device".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"enum": ["auto", "cpu", "cuda", "metal"]},
            {"title": "`cuda:N`", "type": "string", "pattern": "^cuda:[0-9]+$"}
        ]})
    }
}

/// The device that a network runs on.
#[derive(Clone, Debug)]
pub struct Device {
    pub(super) inner: candle_core::Device,
    name: String,
}

impl Device {
    /// Opens the device that the pipeline asks for. `auto` takes the first GPU that this build can use, else the CPU; a
    /// named device that is missing is an error.
    pub fn open(choice: DeviceChoice) -> Result<Self, ExecError> {
        match choice {
            DeviceChoice::Cpu => Ok(Self::cpu()),
            DeviceChoice::Cuda(n) => Self::cuda(n),
            DeviceChoice::Metal => Self::metal(),
            DeviceChoice::Auto => Ok(Self::cuda(0).or_else(|_| Self::metal()).unwrap_or_else(|_| Self::cpu())),
        }
    }

    /// The CPU.
    pub fn cpu() -> Self {
        Self { inner: candle_core::Device::Cpu, name: "cpu".into() }
    }

    /// `cpu`, `cuda:0`, `metal`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True for the CPU: pictures are then spread over threads, each running the whole network.
    pub fn is_cpu(&self) -> bool {
        self.inner.is_cpu()
    }

    fn cuda(ordinal: usize) -> Result<Self, ExecError> {
        let name = format!("cuda:{ordinal}");
        if !candle_core::utils::cuda_is_available() {
            let reason = "this featurize was built without CUDA; build it with `--features cuda` (or `cudnn`)".into();
            return Err(ExecError::Device { device: name, reason });
        }
        match candle_core::Device::new_cuda(ordinal) {
            Ok(inner) => Ok(Self { inner, name }),
            Err(error) => Err(ExecError::Device { device: name, reason: format!("it cannot be opened: {error}") }),
        }
    }

    fn metal() -> Result<Self, ExecError> {
        let name = "metal".to_string();
        if !candle_core::utils::metal_is_available() {
            let reason = "this featurize was built without Metal; build it with `--features metal`".into();
            return Err(ExecError::Device { device: name, reason });
        }
        match candle_core::Device::new_metal(0) {
            Ok(inner) => Ok(Self { inner, name }),
            Err(error) => Err(ExecError::Device { device: name, reason: format!("it cannot be opened: {error}") }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_an_error_and_auto_finds_the_cpu() {
        if !candle_core::utils::cuda_is_available() {
            let error = Device::open(DeviceChoice::Cuda(0)).expect_err("no CUDA in this build").to_string();
            assert!(error.contains("cuda:0") && error.contains("--features cuda"), "{error}");
        }
        if !candle_core::utils::metal_is_available() {
            assert!(Device::open(DeviceChoice::Metal).is_err());
        }
        assert!(Device::open(DeviceChoice::Auto).is_ok());
    }
}
