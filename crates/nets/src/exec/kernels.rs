//! The kernels of the CPU that a user may ask for, to find out whether they are the cause of a wrong feature.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cpu::Engine;
use super::{ExecError, Precision};

/// Kernels of the CPU's forward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kernels {
    /// The fastest that the CPU has.
    #[default]
    Auto,
    /// The kernels of the library candle, to which all others are compared: slow, and in `f32` only.
    Reference,
    /// Plain Rust, the same on every CPU.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512; for `bf16` with AVX512-BF16, where the CPU has that.
    Avx512,
    /// AMX, with AVX-512 for the layers that are no matrix product.
    Amx,
    /// NEON.
    Neon,
}

impl Kernels {
    /// The value in the YAML.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Reference => "reference",
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
            Self::Neon => "neon",
        }
    }

    /// True for [`Kernels::Auto`], the default.
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }

    /// The name of the instructions for reports.
    pub fn told(self, precision: Precision) -> &'static str {
        match self {
            Self::Reference => "candle",
            kernels => Engine::choose(kernels, precision).map_or(kernels.word(), Engine::word),
        }
    }

    /// An error where these kernels cannot compute in that precision, are not of this CPU, or the device is a `gpu`.
    pub fn check(self, precision: Precision, gpu: Option<&str>) -> Result<(), ExecError> {
        match (self, gpu) {
            (Self::Auto, _) => Ok(()),
            (_, Some(gpu)) => {
                Err(self.refuse(format!("they are the CPU's, and `runtime.device` is `{gpu}`: leave one of both out")))
            }
            (Self::Reference, _) if precision != Precision::F32 => {
                Err(self.refuse("they compute in f32 only: set `extract.precision: f32`".to_string()))
            }
            (Self::Reference, _) => Ok(()),
            _ => Engine::choose(self, precision).map(|_| ()),
        }
    }

    pub(super) fn refuse(self, reason: String) -> ExecError {
        ExecError::Kernels { kernels: self.word(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_the_cpu_lacks_are_refused_with_those_that_it_has() {
        let lacking = if cfg!(target_arch = "aarch64") { Kernels::Avx2 } else { Kernels::Neon };
        let error = lacking.check(Precision::F32, None).expect_err("another processor").to_string();
        assert!(error.contains(lacking.word()) && error.contains("`portable`"), "{error}");
        for kernels in [Kernels::Auto, Kernels::Portable] {
            kernels.check(Precision::F32, None).expect("always there");
            kernels.check(Precision::Bf16, None).expect("always there");
        }
        assert_eq!(Kernels::Portable.told(Precision::F32), "portable");
    }

    #[test]
    fn kernels_are_for_the_cpu_and_the_reference_is_for_f32() {
        let error = Kernels::Portable.check(Precision::F32, Some("cuda:1")).expect_err("a GPU").to_string();
        assert!(error.contains("`cuda:1`"), "{error}");
        Kernels::Reference.check(Precision::F32, None).expect("always there");
        assert!(Kernels::Reference.check(Precision::Bf16, None).is_err());
    }
}
