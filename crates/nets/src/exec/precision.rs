//! The number formats in which a network is computed.

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
    /// `f32` whose products of matrices and convolutions are rounded to 10 bits of mantissa by the tensor cores of an
    /// NVIDIA GPU; sums are `f32`.
    Tf32,
    /// 16-bit floating point with the exponent of `f32` (bfloat16); sums are `f32`.
    Bf16,
    /// 16-bit floating point of a GPU, whose largest value is 65,504; sums are `f32`.
    F16,
    /// 8-bit integers of the CPU with scales that a calibration finds; some layers stay `f32`.
    Int8,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::F32, Self::Tf32, Self::Bf16, Self::F16, Self::Int8];

    /// The value in the YAML.
    pub fn word(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::Bf16 => "bf16",
            Precision::F16 => "f16",
            Precision::Int8 => "int8",
        }
    }

    /// True if the CPU's own kernels compute in it.
    pub fn is_for_cpu(self) -> bool {
        matches!(self, Self::F32 | Self::Bf16 | Self::Int8)
    }

    /// True if a GPU computes in it.
    pub fn is_for_gpu(self) -> bool {
        self != Self::Int8
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|precision| precision.word() == word);
        found.ok_or_else(|| "expected `f32`, `bf16` or `int8`; on a GPU `f32`, `tf32`, `bf16` or `f16`".to_string())
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
