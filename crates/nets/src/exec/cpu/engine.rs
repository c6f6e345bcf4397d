//! The engine: the number format of the maps, and the instructions that multiply them.

use crate::exec::lower::{Kernel, Step};
use crate::exec::{ExecError, Kernels, Precision};
use crate::models::Shape;
#[cfg(target_arch = "x86_64")]
use featurize_kernels::amx;
use featurize_kernels::bf16::Bf16Isa;
use featurize_kernels::int8::Int8Isa;
use featurize_kernels::simd::Isa;
use featurize_kernels::winograd::TileSize;

/// The number of convolutions into which one with `groups` is split: groups are joined until their filters fill a
/// vector, and a filter then has zero weights for the channels of the other groups.
pub(crate) fn parts(groups: usize, filters: usize) -> usize {
    const ENOUGH: usize = 16;
    let together = (1..=groups).find(|&n| groups.is_multiple_of(n) && n * filters >= ENOUGH * groups);
    groups / together.unwrap_or(groups)
}

/// The number format of the maps, and the instructions that multiply them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// f32 split into int8 slices and multiplied by AMX, see [`amx::Int8Slices`]; steps that are no matrix product by
    /// AVX-512.
    #[cfg(target_arch = "x86_64")]
    Digits,
    /// f32, by vectors of f32.
    Vectors(Isa),
    /// bf16.
    Bf16(Bf16Isa),
    /// int8, and f32 for steps that would lose too much accuracy.
    Int8(Int8Isa),
}

impl Engine {
    /// All engines of this CPU for maps of a precision, the fastest first.
    pub fn available(precision: Precision) -> Vec<Self> {
        match precision {
            Precision::Int8 => Int8Isa::available().into_iter().map(Engine::Int8).collect(),
            Precision::Bf16 => Bf16Isa::available().into_iter().map(Engine::Bf16).collect(),
            Precision::Tf32 | Precision::F16 => Vec::new(),
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

    /// The fastest engine of this CPU.
    pub fn detect(precision: Precision) -> Self {
        Self::available(precision).first().copied().unwrap_or(Engine::Vectors(Isa::Portable))
    }

    /// The fastest engine with the kernels that a user asks for; an error names those that this CPU has.
    pub fn choose(kernels: Kernels, precision: Precision) -> Result<Self, ExecError> {
        let all = Self::available(precision);
        let found = all.iter().copied().find(|engine| kernels.is_auto() || engine.kernels() == kernels);
        found.ok_or_else(|| {
            let mut known: Vec<String> = all.iter().map(|engine| format!("`{}`", engine.kernels().word())).collect();
            known.dedup();
            kernels.refuse(format!(
                "this CPU does not have them; it has {}: write one of these, or `auto`",
                known.join(", ")
            ))
        })
    }

    /// Their value in the YAML.
    fn kernels(self) -> Kernels {
        match self {
            engine if engine.has_tiles() => Kernels::Amx,
            engine => match engine.isa() {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => Kernels::Avx512,
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => Kernels::Avx2,
                #[cfg(target_arch = "aarch64")]
                Isa::Neon => Kernels::Neon,
                Isa::Portable => Kernels::Portable,
            },
        }
    }

    /// The instruction set for steps that are no matrix product.
    pub fn isa(self) -> Isa {
        match self {
            #[cfg(target_arch = "x86_64")]
            Engine::Digits => Isa::Avx512,
            Engine::Vectors(isa) => isa,
            Engine::Bf16(unit) => unit.isa(),
            Engine::Int8(unit) => unit.isa(),
        }
    }

    /// The instructions that multiply bf16, where maps are bf16.
    pub fn unit(self) -> Option<Bf16Isa> {
        if let Engine::Bf16(unit) = self { Some(unit) } else { None }
    }

    /// Bytes of an element of a map.
    pub(crate) fn element(self) -> usize {
        if self.unit().is_some() { 2 } else { size_of::<f32>() }
    }

    /// Whether matrix products are computed by AMX.
    pub fn has_tiles(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Engine::Digits | Engine::Bf16(Bf16Isa::Amx) | Engine::Int8(Int8Isa::Amx) => true,
            _ => false,
        }
    }

    /// The name of the instructions, for reports.
    pub fn word(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Engine::Digits | Engine::Bf16(Bf16Isa::Amx) => "AMX and AVX-512",
            #[cfg(target_arch = "x86_64")]
            Engine::Bf16(Bf16Isa::Avx512Bf16) => "AVX512-BF16",
            Engine::Int8(unit) => unit.name(),
            _ => self.isa().name(),
        }
    }

    /// The Winograd tile of a step, where Winograd computes it.
    pub fn winograd(self, step: &Step) -> Option<TileSize> {
        let (Kernel::Conv { window, groups, .. }, Shape::Map { c, .. }) = (&step.kernel, step.in_shape) else {
            return None;
        };
        let Shape::Map { c: filters, h, w } = step.out_shape else { return None };
        let fits = window.kernel == [3, 3] && window.stride == [1, 1] && !window.is_dilated();
        let fits = match self {
            Engine::Int8(_) => false,
            // in bf16, a grouped convolution reads the channels of its group in place
            Engine::Bf16(_) if *groups > 1 => false,
            // AMX multiplies bf16 faster without Winograd
            #[cfg(target_arch = "x86_64")]
            Engine::Bf16(Bf16Isa::Amx) => false,
            _ => fits,
        };
        let parts = parts(*groups, filters);
        if fits { TileSize::choose(c / parts, filters / parts, [h, w]) } else { None }
    }
}
