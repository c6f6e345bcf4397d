//! What a network is computed with: what its maps hold, and the instructions that multiply them.

use crate::config::Precision;
use crate::exec::lower::{Kernel, Step};
use crate::models::Shape;
#[cfg(target_arch = "x86_64")]
use featurize_kernels::amx;
use featurize_kernels::bf16::Bf16Isa;
use featurize_kernels::simd::Isa;
use featurize_kernels::winograd::TileSize;

/// What maps hold, and what multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// f32, as integers by AMX, see [`amx::Int8Slices`]; what is no matrix product by AVX-512.
    #[cfg(target_arch = "x86_64")]
    Digits,
    /// f32, by vectors of f32.
    Vectors(Isa),
    /// bf16.
    Bf16(Bf16Isa),
}

impl Engine {
    /// All that this CPU has for maps of a precision, the best first.
    pub fn available(precision: Precision) -> Vec<Self> {
        match precision {
            Precision::Bf16 => Bf16Isa::available().into_iter().map(Engine::Bf16).collect(),
            Precision::F32 => {
                let mut all = Vec::new();
                #[cfg(target_arch = "x86_64")]
                if amx::available() {
                    all.push(Engine::Digits);
                }
                all.extend(Isa::available().into_iter().map(Engine::Vectors));
                all
            }
        }
    }

    /// The best that this CPU has.
    pub fn detect(precision: Precision) -> Self {
        Self::available(precision).first().copied().unwrap_or(Engine::Vectors(Isa::Portable))
    }

    /// The vectors of what is no matrix product.
    pub fn isa(self) -> Isa {
        match self {
            #[cfg(target_arch = "x86_64")]
            Engine::Digits => Isa::Avx512,
            Engine::Vectors(isa) => isa,
            Engine::Bf16(unit) => unit.isa(),
        }
    }

    /// What multiplies bf16, where maps hold that.
    pub fn unit(self) -> Option<Bf16Isa> {
        if let Engine::Bf16(unit) = self { Some(unit) } else { None }
    }

    /// Whether matrix products are computed by AMX.
    pub fn has_tiles(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Engine::Digits | Engine::Bf16(Bf16Isa::Amx) => true,
            _ => false,
        }
    }

    /// The instructions in words.
    pub fn word(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Engine::Digits | Engine::Bf16(Bf16Isa::Amx) => "AMX and AVX-512",
            #[cfg(target_arch = "x86_64")]
            Engine::Bf16(Bf16Isa::Avx512Bf16) => "AVX512-BF16",
            _ => self.isa().name(),
        }
    }

    /// The Winograd tile of a step that is computed so.
    pub fn winograd(self, step: &Step) -> Option<TileSize> {
        let (Kernel::Conv { window, .. }, Shape::Map { c, .. }) = (&step.kernel, step.in_shape) else { return None };
        let Shape::Map { c: filters, h, w } = step.out_shape else { return None };
        let fits = window.kernel == [3, 3] && window.stride == [1, 1];
        let fits = match self {
            // tiles are faster without it, but for strips of channels that are no whole lines
            #[cfg(target_arch = "x86_64")]
            Engine::Bf16(Bf16Isa::Amx) => false,
            #[cfg(target_arch = "x86_64")]
            Engine::Digits => fits && c < 64,
            _ => fits,
        };
        if fits { TileSize::choose(c, filters, [h, w]) } else { None }
    }
}
