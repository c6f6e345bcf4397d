//! The number formats in which the CPU computes a network.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use featurize_kernels::bf16::Bf16Isa;
use featurize_kernels::int8::Int8Isa;

/// Number format of the forward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floating point.
    #[default]
    F32,
    /// 16-bit floating point with the exponent of `f32` (bfloat16); sums are `f32`.
    Bf16,
    /// 8-bit integers with scales that a calibration finds; some layers stay `f32`.
    Int8,
}

impl Precision {
    pub fn word(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
        }
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let all = [Precision::F32, Precision::Bf16, Precision::Int8];
        let found = all.into_iter().find(|precision| precision.word() == word);
        found.ok_or_else(|| "expected `f32`, `bf16` or `int8`".to_string())
    }
}

/// A warning where this CPU has no instructions for that precision; it computes the same numbers without them, but more
/// slowly.
pub fn lacking(precision: Precision) -> Option<&'static str> {
    match precision {
        Precision::Bf16 if !Bf16Isa::detect().is_native() => {
            Some("this CPU has neither AMX nor AVX512-BF16, so that it is slower than f32")
        }
        Precision::Int8 if !Int8Isa::detect().is_native() => Some(
            "this CPU has no instruction for it (VNNI, or dot products of NEON), so that it is not much faster than \
             f32",
        ),
        _ => None,
    }
}
