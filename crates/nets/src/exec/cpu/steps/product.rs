//! A convolution as a matrix product, or as several where its channels are in groups: packed weights, and where it
//! reads and writes.

#[cfg(target_arch = "x86_64")]
use featurize_kernels::amx;
use featurize_kernels::bf16;
use featurize_kernels::matmul;
use featurize_kernels::residual::Residual;

/// A convolution, or one for each part of the channels where these are in groups.
#[derive(Debug)]
pub(crate) struct Parts<T> {
    pub parts: Vec<T>,
    /// Input channels and filters of a part.
    pub apart: [usize; 2],
}

impl<T> Parts<T> {
    /// Calls `run` with each part, and with the numbers of input and output channels before it.
    pub(in crate::exec::cpu) fn each(&self, mut run: impl FnMut(&T, [usize; 2])) {
        self.parts.iter().enumerate().for_each(|(i, part)| run(part, self.apart.map(|apart| i * apart)));
    }

    /// The maximum of `of` over the parts.
    pub(in crate::exec::cpu) fn most(&self, of: impl Fn(&T) -> usize) -> usize {
        self.parts.iter().map(of).max().unwrap_or(0)
    }
}

/// The algorithms of a convolution as a matrix product.
#[derive(Debug)]
pub(crate) enum Product {
    Direct(matmul::DirectConv),
    /// f32 as slices of int8, by AMX.
    #[cfg(target_arch = "x86_64")]
    Digits(amx::AmxConv<amx::Int8Slices>),
    /// Over maps of bf16.
    Bf16(bf16::Bf16Conv),
}

impl Product {
    /// The algorithm, in a word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Product::Direct(_) => "direct",
            #[cfg(target_arch = "x86_64")]
            Product::Digits(_) => "digits",
            Product::Bf16(_) => "direct bf16",
        }
    }

    /// Floats of scratch memory for so many threads.
    pub(in crate::exec::cpu) fn scratch_len(&self, threads: usize) -> usize {
        match self {
            Product::Direct(_) => 0,
            #[cfg(target_arch = "x86_64")]
            Product::Digits(packed) => packed.scratch_len(threads),
            Product::Bf16(packed) => packed.scratch_len(threads),
        }
    }
}

/// The offsets of the windows and of the outputs of a product, for every position of all pictures that it computes
/// together.
#[derive(Debug)]
pub(crate) struct ProductPlaces {
    pub starts: Vec<u32>,
    pub outs: Vec<u32>,
    pub adds: Residual<Vec<u32>>,
    /// Elements from one row of the input to the next.
    pub row: usize,
}

impl ProductPlaces {
    /// The offsets of the first `positions`: for a single part all at once, for several in pieces small enough that all
    /// channels of a piece stay in the cache while the parts take turns.
    pub(in crate::exec::cpu) fn pieces(
        &self,
        positions: usize,
        parts: usize,
        threads: usize,
    ) -> impl Iterator<Item = matmul::GemmOffsets<'_>> {
        const TOGETHER: usize = 112;
        let together = if parts > 1 { TOGETHER * threads } else { positions };
        (0..positions).step_by(together.max(1)).map(move |first| {
            let piece = first..positions.min(first + together);
            matmul::GemmOffsets {
                window_starts: &self.starts[piece.clone()],
                row_stride: self.row,
                output_starts: &self.outs[piece.clone()],
                residual: self.adds.as_ref().map(|adds| &adds[piece]),
            }
        })
    }

    /// Whether the residual is read from a map of its own.
    pub(in crate::exec::cpu) fn reads_term(&self) -> bool {
        matches!(self.adds, Residual::At(_))
    }
}
