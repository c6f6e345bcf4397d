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
    /// NVIDIA GPUs.
    Cuda(Gpus),
    /// An Apple GPU.
    Metal,
}

/// NVIDIA GPUs by their numbers, from 0 to 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gpus {
    /// Every GPU of the machine.
    All,
    /// The GPU n is meant if the bit n is set.
    These(u64),
}

impl Gpus {
    /// The first GPU, which `cuda` means.
    pub const FIRST: Self = Self::These(1);

    /// The GPUs of `0,2` or `all`.
    fn parse(text: &str) -> Option<Self> {
        if text == "all" {
            return Some(Self::All);
        }
        let mut mask = 0;
        for number in text.split(',') {
            // a sign is no part of a number here
            let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
            mask |= 1u64.checked_shl(number.parse().ok().filter(|_| is_plain)?)?;
        }
        Some(Self::These(mask))
    }

    /// The numbers of the GPUs, of `count` in this machine.
    fn numbers(self, count: usize) -> Vec<usize> {
        match self {
            Self::All => (0..count).collect(),
            Self::These(mask) => (0..64).filter(|number| mask >> number & 1 == 1).collect(),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(Gpus::All) => f.write_str("cuda:all"),
            Self::Cuda(gpus) => f.write_str(&name_of(&gpus.numbers(0))),
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
const DEVICES: [&str; 7] = ["auto", "cpu", "cuda", "cuda:N", "cuda:N,N", "cuda:all", "metal"];

impl std::str::FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(Gpus::FIRST)),
            "metal" => Ok(Self::Metal),
            _ => text.strip_prefix("cuda:").and_then(Gpus::parse).map(Self::Cuda).ok_or(UnknownDevice),
        }
    }
}

/// The text names no device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `auto`, `cpu`, `cuda`, `cuda:N`, `cuda:N,N`, `cuda:all` or `metal`, with N from 0 to 63")]
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
            {"enum": ["auto", "cpu", "cuda", "cuda:all", "metal"]},
            {"title": "`cuda:N,N`", "type": "string", "pattern": "^cuda:[0-9]+(,[0-9]+)*$"}
        ]})
    }
}

/// The name of GPUs: `cuda:0`, `cuda:0,2`.
fn name_of(numbers: &[usize]) -> String {
    let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
    format!("cuda:{}", numbers.join(","))
}

/// The device that a network runs on, or several GPUs that each run the whole network.
#[derive(Clone, Debug)]
pub struct Device {
    pub(super) units: Vec<candle_core::Device>,
    name: String,
}

impl Device {
    /// Opens the device that the pipeline asks for. `auto` takes the first GPU that this build can use, else the CPU; a
    /// named device that is missing is an error.
    pub fn open(choice: DeviceChoice) -> Result<Self, ExecError> {
        match choice {
            DeviceChoice::Cpu => Ok(Self::cpu()),
            DeviceChoice::Cuda(gpus) => Self::cuda(gpus),
            DeviceChoice::Metal => Self::metal(),
            DeviceChoice::Auto => {
                Ok(Self::cuda(Gpus::FIRST).or_else(|_| Self::metal()).unwrap_or_else(|_| Self::cpu()))
            }
        }
    }

    /// The CPU.
    pub fn cpu() -> Self {
        Self::cpus(1)
    }

    /// The CPU as several devices of candle, to test the way of several GPUs.
    pub fn cpus(units: usize) -> Self {
        Self { units: vec![candle_core::Device::Cpu; units.max(1)], name: "cpu".into() }
    }

    /// `cpu`, `cuda:0`, `cuda:0,2`, `metal`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True for the CPU: pictures are then spread over threads, each running the whole network.
    pub fn is_cpu(&self) -> bool {
        self.units.iter().all(candle_core::Device::is_cpu)
    }

    fn cuda(gpus: Gpus) -> Result<Self, ExecError> {
        let missing = |reason| ExecError::Device { device: DeviceChoice::Cuda(gpus).to_string(), reason };
        if !candle_core::utils::cuda_is_available() {
            let reason = "this featurize was built without CUDA; build it with `--features cuda` (or `cudnn`)";
            return Err(missing(reason.to_string()));
        }
        let numbers = gpus.numbers(gpu_count());
        if numbers.is_empty() {
            return Err(missing("the driver finds no GPU".to_string()));
        }
        let open = |&number| {
            let failed = |error| missing(format!("GPU {number} cannot be opened: {error}"));
            candle_core::Device::new_cuda(number).map_err(failed)
        };
        let units = numbers.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { units, name: name_of(&numbers) })
    }

    fn metal() -> Result<Self, ExecError> {
        let missing = |reason| ExecError::Device { device: "metal".to_string(), reason };
        if !candle_core::utils::metal_is_available() {
            let reason = "this featurize was built without Metal; build it with `--features metal`";
            return Err(missing(reason.to_string()));
        }
        let opened = candle_core::Device::new_metal(0);
        let unit = opened.map_err(|error| missing(format!("it cannot be opened: {error}")))?;
        Ok(Self { units: vec![unit], name: "metal".to_string() })
    }
}

/// The number of GPUs that the driver of NVIDIA shows to this process.
#[cfg(feature = "cuda")]
fn gpu_count() -> usize {
    let count = candle_core::cuda_backend::cudarc::driver::CudaContext::device_count();
    count.ok().and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
}

#[cfg(not(feature = "cuda"))]
fn gpu_count() -> usize {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_an_error_and_auto_finds_the_cpu() {
        if !candle_core::utils::cuda_is_available() {
            for text in ["cuda:0", "cuda:0,2", "cuda:all"] {
                let choice = text.parse().expect("a device");
                let error = Device::open(choice).expect_err("no CUDA in this build").to_string();
                assert!(error.contains(&format!("`{text}`")) && error.contains("--features cuda"), "{error}");
            }
        }
        if !candle_core::utils::metal_is_available() {
            assert!(Device::open(DeviceChoice::Metal).is_err());
        }
        assert!(Device::open(DeviceChoice::Auto).is_ok());
    }

    #[test]
    fn gpus_are_named_by_their_numbers() {
        let of = |text: &str| text.parse::<DeviceChoice>();
        assert_eq!(of("cuda"), of("cuda:0"));
        assert_eq!(of("cuda:2,0,2"), Ok(DeviceChoice::Cuda(Gpus::These(0b101))));
        assert_eq!(of("cuda:63"), Ok(DeviceChoice::Cuda(Gpus::These(1 << 63))));
        for text in ["auto", "cpu", "metal", "cuda:0", "cuda:0,2", "cuda:all"] {
            assert_eq!(of(text).map(|choice| choice.to_string()), Ok(text.to_string()));
        }
        for text in ["cuda:", "cuda:64", "cuda:-1", "cuda:+1", "cuda:0,", "cuda:0,all", "gpu", "CUDA", ""] {
            assert_eq!(of(text), Err(UnknownDevice), "{text}");
        }
        assert_eq!(Gpus::All.numbers(3), [0, 1, 2]);
        assert_eq!(Gpus::These(0b101).numbers(1), [0, 2]);
    }
}
