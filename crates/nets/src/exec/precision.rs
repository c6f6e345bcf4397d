//! The number formats in which the CPU computes a network.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Number format of the forward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floating point.
    #[default]
    F32,
    /// 16-bit floating point with the exponent of `f32` (bfloat16); sums are `f32`.
    Bf16,
}

impl Precision {
    pub fn word(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }
}

/// True when the CPU has no instruction for that precision and computes as if it had: to the same numbers, slower than
/// in f32.
pub fn is_emulated(precision: Precision) -> bool {
    precision == Precision::Bf16 && !featurize_kernels::bf16::Bf16Isa::detect().is_native()
}
