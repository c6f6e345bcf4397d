//! Layers that compute each position of a map by itself: sums, scales by channel, gates and layer norm.

use super::activation::Function;
use super::elements::{Element, ElementsKernel, MapElements};
use super::parallel::{self, split};
use super::simd::{MOST_LANES, Simd, total};
use crate::{Activation, clamp_bounds};

/// A layer; `x` is its input, `y` its output.
#[derive(Clone, Copy, Debug)]
pub enum Pointwise<'a, E> {
    /// y = activation(y + x)
    Add(Option<Activation>),
    /// y = activation(x · scale + shift), with a scale and a shift for each channel.
    Scale { scale: &'a [f32], shift: &'a [f32], activation: Option<Activation> },
    /// y = x · gate, with a gate for each channel.
    Multiply(&'a [E]),
    /// y = (x − mean) / √(variance + eps) · weight + bias over the channels of a position.
    LayerNorm { eps: f32, weight: &'a [f32], bias: &'a [f32] },
}

impl<E: Element> Pointwise<'_, E> {
    /// Returns the channels of a position; 1 where the layer treats all channels alike.
    fn channels(&self) -> usize {
        match self {
            Pointwise::Add(_) => 1,
            Pointwise::Scale { scale, shift, .. } => scale.len().min(shift.len()),
            Pointwise::Multiply(gate) => gate.len(),
            Pointwise::LayerNorm { weight, bias, .. } => weight.len().min(bias.len()),
        }
    }

    /// Computes contiguous positions with the vectors of `isa`, by at most `threads` threads of the pool that it is
    /// called on.
    ///
    /// Panics when these are not whole positions, or not as many in `x` as in `y`.
    pub fn run(&self, isa: E::Isa, threads: usize, x: &[E], y: &mut [E]) {
        assert!(x.len() == y.len(), "as many inputs as outputs");
        // SAFETY: both slices have `y.len()` values, and `y` is borrowed mutably.
        unsafe { self.run_at(isa, threads, x.as_ptr(), y.as_mut_ptr(), y.len()) }
    }

    /// The same in place.
    pub fn run_in_place(&self, isa: E::Isa, threads: usize, y: &mut [E]) {
        let (at, len) = (y.as_mut_ptr(), y.len());
        // SAFETY: the slice has `len` values and is borrowed mutably.
        unsafe { self.run_at(isa, threads, at, at, len) }
    }

    /// Computes contiguous positions, with up to `threads` threads of the current pool, but no more than one for every
    /// [`ENOUGH`] values.
    ///
    /// # Safety
    /// `len` values can be read at `x` and at `y`, and nobody else accesses those at `y`.
    unsafe fn run_at(&self, isa: E::Isa, threads: usize, x: *const E, y: *mut E, len: usize) {
        let channels = self.channels();
        assert!(len == 0 || (channels > 0 && len.is_multiple_of(channels)), "the values are not whole positions");
        let positions = len.checked_div(channels).unwrap_or(0);
        let threads = threads.min(len / ENOUGH).max(1);
        parallel::run_parts(threads, &RunArgs { layer: self, isa, x, y }, |args, i| {
            let positions = split(positions, i, threads);
            let (first, mut positions, mut channels) = (positions.start * channels, positions.len(), channels);
            let activation = match *args.layer {
                Pointwise::Add(activation) => {
                    (positions, channels) = (1, positions);
                    activation
                }
                Pointwise::Scale { activation, .. } => activation,
                _ => None,
            };
            let (layer, clamp) = (args.layer, clamp_bounds(activation));
            // SAFETY: `len` values are whole positions, as asserted, and each thread has some of its own; the caller is
            // responsible for the memory.
            unsafe {
                let (x, y) = (args.x.add(first), args.y.add(first));
                E::run(args.isa, Positions { layer, x, y, positions, channels, clamp });
                if let Some(function) = Function::of(args.isa, activation) {
                    function.apply(y, &[0], positions * channels);
                }
            }
        });
    }
}

/// The fewest values of a thread: computing them takes longer than waking the thread.
const ENOUGH: usize = 1 << 14;

/// The arguments of a run, which its threads share.
struct RunArgs<'a, E: Element> {
    layer: &'a Pointwise<'a, E>,
    isa: E::Isa,
    x: *const E,
    y: *mut E,
}

// SAFETY: each thread reads and writes positions of its own alone.
unsafe impl<E: Element> Sync for RunArgs<'_, E> {}

/// The positions of a run: `channels` values for each of them can be read at `x` and `y`, which may be the same memory,
/// and be written at `y`, which nobody else accesses.
struct Positions<'a, E> {
    layer: &'a Pointwise<'a, E>,
    x: *const E,
    y: *mut E,
    positions: usize,
    channels: usize,
    clamp: [f32; 2],
}

impl<E: Element> ElementsKernel<E> for Positions<'_, E> {
    #[inline(always)]
    unsafe fn run<M: MapElements<Element = E>>(self) {
        let (low, high) = (self.clamp[0], self.clamp[1]);
        // SAFETY: the caller of `ElementsKernel::run` checked the instruction set; the memory is as `Positions` says,
        // and weights and gates are as many as `Pointwise::channels` says.
        unsafe {
            let clamp = |v| M::Simd::min(M::Simd::splat(high), M::Simd::max(M::Simd::splat(low), v));
            match *self.layer {
                Pointwise::Add(_) => self.each::<M>(|at, _, lanes| {
                    clamp(M::Simd::add(
                        M::load_partial(self.y.add(at).cast_const(), lanes),
                        M::load_partial(self.x.add(at), lanes),
                    ))
                }),
                Pointwise::Scale { scale, shift, .. } => self.each::<M>(|at, channel, lanes| {
                    let scale = M::Simd::load_partial(scale.as_ptr().add(channel), lanes);
                    let shift = M::Simd::load_partial(shift.as_ptr().add(channel), lanes);
                    clamp(M::Simd::mul_add(M::load_partial(self.x.add(at), lanes), scale, shift))
                }),
                Pointwise::Multiply(gate) => self.each::<M>(|at, channel, lanes| {
                    let gate = M::load_partial(gate.as_ptr().add(channel), lanes);
                    M::Simd::mul(M::load_partial(self.x.add(at), lanes), gate)
                }),
                Pointwise::LayerNorm { eps, weight, bias } => self.layer_norm::<M>(eps, weight, bias),
            }
        }
    }
}

/// The vector of f32 of `M`.
type V<M> = <<M as MapElements>::Simd as Simd>::Vector;

impl<E: Element> Positions<'_, E> {
    /// Calls `compute` with the offset, the channel and the number of lanes of each vector, and writes the vector that
    /// it returns.
    ///
    /// # Safety
    /// The CPU has the instruction set; the memory is as [`Positions`] says.
    #[inline(always)]
    unsafe fn each<M: MapElements<Element = E>>(&self, compute: impl Fn(usize, usize, usize) -> V<M>) {
        for position in 0..self.positions {
            let start = position * self.channels;
            let mut channel = 0;
            while channel + M::Simd::LANES <= self.channels {
                let v = compute(start + channel, channel, M::Simd::LANES);
                // SAFETY: a vector of channels is left from `channel` on.
                unsafe { M::store_partial(self.y.add(start + channel), M::Simd::LANES, v) };
                channel += M::Simd::LANES;
            }
            if channel < self.channels {
                let lanes = self.channels - channel;
                let v = compute(start + channel, channel, lanes);
                // SAFETY: `lanes` channels are left from `channel` on.
                unsafe { M::store_partial(self.y.add(start + channel), lanes, v) };
            }
        }
    }

    /// # Safety
    /// The CPU has the instruction set; the memory is as [`Positions`] says, with a weight and a bias for each channel.
    #[inline(always)]
    unsafe fn layer_norm<M: MapElements<Element = E>>(&self, eps: f32, weight: &[f32], bias: &[f32]) {
        let n = self.channels as f32;
        for position in 0..self.positions {
            // SAFETY: a position has `channels` values, weights and biases; the loops end with the last one.
            unsafe {
                let (x, y) = (self.x.add(position * self.channels), self.y.add(position * self.channels));
                let mean = self.sum::<M>(x, |v, _| v) / n;
                let center = M::Simd::splat(mean);
                let square = |v, lanes| {
                    // The lanes behind the last channel must add nothing.
                    let off = first_lanes::<M>(M::Simd::sub(v, center), lanes);
                    M::Simd::mul(off, off)
                };
                let factor = M::Simd::splat(1.0 / (self.sum::<M>(x, square) / n + eps).sqrt());
                for at in (0..self.channels).step_by(M::Simd::LANES) {
                    let lanes = M::Simd::LANES.min(self.channels - at);
                    let weight = M::Simd::load_partial(weight.as_ptr().add(at), lanes);
                    let bias = M::Simd::load_partial(bias.as_ptr().add(at), lanes);
                    let off = M::Simd::sub(M::load_partial(x.add(at), lanes), center);
                    let v = M::Simd::mul_add(M::Simd::mul(off, factor), weight, bias);
                    M::store_partial(y.add(at), lanes, v);
                }
            }
        }
    }

    /// Returns the sum of a function of the channels at `x`, by two vectors of partial sums.
    ///
    /// # Safety
    /// The CPU has the instruction set; `channels` values can be read at `x`.
    #[inline(always)]
    unsafe fn sum<M: MapElements<Element = E>>(&self, x: *const E, of: impl Fn(V<M>, usize) -> V<M>) -> f32 {
        // SAFETY: by this function's contract: `lanes` values are left from `at` on.
        unsafe {
            let mut sums = [M::Simd::splat(0.0); 2];
            let mut at = 0;
            while at + 2 * M::Simd::LANES <= self.channels {
                sums[0] = M::Simd::add(sums[0], of(M::load(x.add(at)), M::Simd::LANES));
                sums[1] = M::Simd::add(sums[1], of(M::load(x.add(at + M::Simd::LANES)), M::Simd::LANES));
                at += 2 * M::Simd::LANES;
            }
            while at < self.channels {
                let lanes = M::Simd::LANES.min(self.channels - at);
                sums[0] = M::Simd::add(sums[0], of(M::load_partial(x.add(at), lanes), lanes));
                at += lanes;
            }
            total::<M::Simd>(M::Simd::add(sums[0], sums[1]))
        }
    }
}

/// Returns the first lanes of `v`, then zeros.
///
/// # Safety
/// The CPU has the instruction set; `lanes` is at most the lanes of a vector.
#[inline(always)]
unsafe fn first_lanes<M: MapElements>(v: V<M>, lanes: usize) -> V<M> {
    if lanes == M::Simd::LANES {
        return v;
    }
    let mut values = [0.0f32; MOST_LANES];
    // SAFETY: by this function's contract; the array has room for a vector.
    unsafe {
        M::Simd::store_partial(values.as_mut_ptr(), lanes, v);
        M::Simd::load(values.as_ptr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16::{Bf16Isa, bf16};
    use crate::peak::noise;
    use crate::simd::Isa;
    use proptest::prelude::*;

    /// The definition of a layer at one position, in f64.
    fn definition(layer: &Pointwise<f32>, x: &[f32], y: &[f32]) -> Vec<f64> {
        let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        let (x, y, n) = (wide(x), wide(y), x.len() as f64);
        match *layer {
            Pointwise::Add(activation) => {
                let sums = x.iter().zip(&y).map(|(x, y)| x + y);
                sums.map(|v| activation.map_or(v, |a| crate::activation::tests::definition(a, v))).collect()
            }
            Pointwise::Scale { scale, shift, activation } => {
                let scaled = x.iter().zip(wide(scale)).zip(wide(shift)).map(|((x, s), t)| x * s + t);
                scaled.map(|v| activation.map_or(v, |a| crate::activation::tests::definition(a, v))).collect()
            }
            Pointwise::Multiply(gate) => x.iter().zip(wide(gate)).map(|(x, g)| x * g).collect(),
            Pointwise::LayerNorm { eps, weight, bias } => {
                let mean = x.iter().sum::<f64>() / n;
                let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
                let factor = 1.0 / (variance + f64::from(eps)).sqrt();
                let weights = wide(weight).into_iter().zip(wide(bias));
                x.iter().zip(weights).map(|(v, (w, b))| (v - mean) * factor * w + b).collect()
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 6 } else { 200 }))]

        #[test]
        fn positions_are_their_definition(
            channels in 1usize..70, positions in 1usize..5, kind in 0usize..4, act in 0usize..3, seed in any::<u32>(),
        ) {
            let n = channels * positions;
            let (x, before) = (noise(n, seed), noise(n, seed ^ 1));
            let (a, b) = (noise(channels, seed ^ 2), noise(channels, seed ^ 3));
            let activation = [None, Some(Activation::Relu), Some(Activation::Silu)][act];
            let layer = [
                Pointwise::Add(activation),
                Pointwise::Scale { scale: &a, shift: &b, activation },
                Pointwise::Multiply(&a),
                Pointwise::LayerNorm { eps: 1e-3, weight: &a, bias: &b },
            ][kind];
            for isa in Isa::available() {
                let mut found = before.clone();
                layer.run(isa, 1, &x, &mut found);
                for p in 0..positions {
                    let at = p * channels..(p + 1) * channels;
                    let expected = definition(&layer, &x[at.clone()], &before[at.clone()]);
                    for (found, expected) in found[at.clone()].iter().zip(expected) {
                        prop_assert!((f64::from(*found) - expected).abs() < 2e-5, "{isa:?}: {found}, not {expected}");
                    }
                    let mut alone = before[at.clone()].to_vec();
                    layer.run(isa, 1, &x[at.clone()], &mut alone);
                    prop_assert_eq!(&alone, &found[at], "{:?}", isa);
                }
                if kind > 0 {
                    let mut in_place = x.clone();
                    layer.run_in_place(isa, 1, &mut in_place);
                    prop_assert_eq!(&in_place, &found, "{:?}", isa);
                }
            }
            let halves = |values: &[f32]| values.iter().map(|&v| bf16::from_f32(v)).collect::<Vec<_>>();
            let (hx, hy, gate) = (halves(&x), halves(&before), halves(&a));
            let [wx, wy] = [&hx, &hy].map(|v| v.iter().map(|v| v.to_f32()).collect::<Vec<_>>());
            let wide_gate: Vec<f32> = gate.iter().map(|v| v.to_f32()).collect();
            for unit in Bf16Isa::available() {
                let (half, wide) = match layer {
                    Pointwise::Add(_) => (Pointwise::Add(None), Pointwise::Add(None)),
                    Pointwise::Scale { scale, shift, .. } => (
                        Pointwise::Scale { scale, shift, activation: None },
                        Pointwise::Scale { scale, shift, activation: None },
                    ),
                    Pointwise::Multiply(_) => (Pointwise::Multiply(&gate[..]), Pointwise::Multiply(&wide_gate[..])),
                    Pointwise::LayerNorm { eps, weight, bias } => {
                        (Pointwise::LayerNorm { eps, weight, bias }, Pointwise::LayerNorm { eps, weight, bias })
                    }
                };
                let (mut found, mut expected) = (hy.clone(), wy.clone());
                half.run(unit, 1, &hx, &mut found);
                wide.run(unit.isa(), 1, &wx, &mut expected);
                let bits = |values: &[bf16]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(&found), bits(&halves(&expected)), "{:?}", unit);
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "too slow")]
    fn threads_give_the_same_bits() {
        let (channels, n) = (70, 70 * 1001);
        let (x, before) = (noise(n, 1), noise(n, 2));
        let (a, b) = (noise(channels, 3), noise(channels, 4));
        let activation = Some(Activation::Gelu);
        for layer in [
            Pointwise::Add(activation),
            Pointwise::Scale { scale: &a, shift: &b, activation },
            Pointwise::LayerNorm { eps: 1e-6, weight: &a, bias: &b },
        ] {
            let [one, three] = [1, 3].map(|threads| {
                let mut found = before.clone();
                layer.run(Isa::detect(), threads, &x, &mut found);
                found
            });
            assert_eq!(one, three, "{layer:?}");
        }
    }
}
