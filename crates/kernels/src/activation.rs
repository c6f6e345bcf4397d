//! Activations that do more than clamp a value, such as SiLU and GELU: the epilogue of a kernel applies them to a tile
//! of sums before it writes them, the depthwise convolution to the few positions that it has just written.
//!
//! A value gives the same bits at every place of a map and on every instruction set with a fused multiply-add. eˣ has a
//! relative error of at most 10⁻⁷. Its argument is clamped to −88 … 88.3, so that the sigmoid of −100 is 10⁻³⁸ and not
//! the denormal number 10⁻⁴⁴. The coefficients were fitted in f64 by iteratively reweighted least squares, which
//! approaches the smallest maximal error (Lawson's method), and rounded to f32.

use super::elements::{Element, ElementsKernel, MapElements};
use super::simd::{Isa, Simd};
use crate::Activation;

/// Applies `activation` to each of `values`, with the vectors of `isa`.
pub fn run<E: Element>(isa: E::Isa, activation: Activation, values: &mut [E]) {
    // SAFETY: the pointer and the length are those of a slice that is borrowed mutably.
    unsafe { Function { isa, activation }.apply(values.as_mut_ptr(), &[0], values.len()) }
}

/// An activation that does more than clamp, and the instruction set with which a kernel applies it to its output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function<I> {
    pub isa: I,
    pub activation: Activation,
}

impl<I> Function<I> {
    /// Returns the function of `activation`; none where it only clamps.
    pub(crate) fn of(isa: I, activation: Option<Activation>) -> Option<Self> {
        activation.filter(|activation| activation.limits().is_none()).map(|activation| Self { isa, activation })
    }

    /// Applies it to the `n` values at each of `starts`, counted from `to`.
    ///
    /// # Safety
    /// These values can be read and written, and nobody else accesses them.
    #[inline]
    pub(crate) unsafe fn apply<E: Element<Isa = I>>(self, to: *mut E, starts: &[u32], n: usize) {
        // SAFETY: the caller is responsible for the values.
        unsafe { E::run(self.isa, Each { activation: self.activation, to, starts, n }) }
    }
}

impl Function<Isa> {
    /// Applies it to contiguous vectors.
    ///
    /// # Safety
    /// `V` is a vector of f32, and these can be read and written.
    #[inline(always)]
    pub(crate) unsafe fn apply_to_vectors<V>(self, vectors: &mut [V]) {
        // SAFETY: the vectors are f32 without gaps, borrowed mutably.
        unsafe { self.apply(vectors.as_mut_ptr().cast::<f32>(), &[0], size_of_val(vectors) / size_of::<f32>()) }
    }
}

/// The values that the activation is applied to: the `n` values at each of `starts` can be read and written, and nobody
/// else accesses them.
struct Each<'a, E> {
    activation: Activation,
    to: *mut E,
    starts: &'a [u32],
    n: usize,
}

impl<E> ElementsKernel<E> for Each<'_, E> {
    #[inline(always)]
    unsafe fn run<M: MapElements<Element = E>>(self) {
        // SAFETY: the caller of `ElementsKernel::run` checked the instruction set; the values are as `Each` demands.
        unsafe {
            match self.activation {
                Activation::Relu => self.map::<M>(|x| M::Simd::max(M::Simd::splat(0.0), x)),
                Activation::Relu6 => self.map::<M>(|x| clamp::<M::Simd>(0.0, 6.0, x)),
                Activation::Sigmoid => self.map::<M>(|x| M::Simd::div(M::Simd::splat(1.0), one_and_exp::<M::Simd>(x))),
                Activation::Silu => self.map::<M>(|x| M::Simd::div(x, one_and_exp::<M::Simd>(x))),
                Activation::HardSigmoid => self.map::<M>(|x| hard_sigmoid::<M::Simd>(x)),
                Activation::HardSwish => self.map::<M>(|x| M::Simd::mul(x, hard_sigmoid::<M::Simd>(x))),
                Activation::Gelu => self.map::<M>(|x| gelu::<M::Simd>(x)),
                Activation::GeluTanh => self.map::<M>(|x| gelu_tanh::<M::Simd>(x)),
                Activation::QuickGelu => self.map::<M>(|x| {
                    let steeper = M::Simd::mul(x, M::Simd::splat(1.702));
                    M::Simd::div(x, one_and_exp::<M::Simd>(steeper))
                }),
            }
        }
    }
}

impl<E> Each<'_, E> {
    /// # Safety
    /// The CPU has the instruction set; the values are as [`Each`] demands.
    #[inline(always)]
    unsafe fn map<M: MapElements<Element = E>>(&self, function: impl Fn(V<M>) -> V<M>) {
        for &start in self.starts {
            for at in (0..self.n).step_by(M::Simd::LANES) {
                let lanes = M::Simd::LANES.min(self.n - at);
                // SAFETY: `lanes` values are left from `at` on, and the caller is responsible for the instruction set.
                unsafe {
                    let to = self.to.add(start as usize + at);
                    M::store_partial(to, lanes, function(M::load_partial(to, lanes)));
                }
            }
        }
    }
}

/// The vector of f32 of `M`.
type V<M> = <<M as MapElements>::Simd as Simd>::Vector;

/// `x` clamped to the range from `low` to `high`; NaN stays NaN.
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn clamp<S: Simd>(low: f32, high: f32, x: S::Vector) -> S::Vector {
    // SAFETY: the caller is responsible for the instruction set.
    unsafe { S::min(S::splat(high), S::max(S::splat(low), x)) }
}

/// clamp(x + 3, 0, 6) / 6
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn hard_sigmoid<S: Simd>(x: S::Vector) -> S::Vector {
    // SAFETY: the caller is responsible for the instruction set.
    unsafe { S::mul(clamp::<S>(0.0, 6.0, S::add(x, S::splat(3.0))), S::splat(1.0 / 6.0)) }
}

/// 1 + e⁻ˣ
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn one_and_exp<S: Simd>(x: S::Vector) -> S::Vector {
    // SAFETY: the caller is responsible for the instruction set.
    unsafe { S::add(S::splat(1.0), exp::<S>(S::sub(S::splat(0.0), x))) }
}

/// x · (½ + E(x)), where E is x times a quotient of polynomials in x², fitted for the least error, and ½ from x = 5.4
/// on. So E has an error of a few units in the last place of ½, as in PyTorch, whose formula cancels in the same way
/// where x is negative.
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn gelu<S: Simd>(x: S::Vector) -> S::Vector {
    const LARGEST: f32 = 5.4;
    const ABOVE: [f32; 6] =
        [2.338_648_6e-8, 6.360_014_6e-6, 1.643_234_6e-4, 4.650_862_4e-3, 3.337_242e-2, 3.989_423e-1];
    const BELOW: [f32; 6] = [1.216_583_2e-6, 7.240_064_6e-5, 1.858_991_7e-3, 2.837_879_4e-2, 2.503_183_5e-1, 1.0];
    // SAFETY: the caller is responsible for the instruction set.
    unsafe {
        let near = clamp::<S>(-LARGEST, LARGEST, x);
        let square = S::mul(near, near);
        let e = S::div(S::mul(near, polynomial::<S, 6>(square, ABOVE)), polynomial::<S, 6>(square, BELOW));
        S::mul_add(x, clamp::<S>(-0.5, 0.5, e), S::mul(x, S::splat(0.5)))
    }
}

/// x / (1 + e⁻ʸ) with y = 2 √(2/π) · (x + 0.044715 · x³), since (1 + tanh(y/2)) / 2 = 1 / (1 + e⁻ʸ).
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn gelu_tanh<S: Simd>(x: S::Vector) -> S::Vector {
    const LINEAR: f32 = 1.595_769;
    const CUBIC: f32 = 0.071_354_814;
    // SAFETY: the caller is responsible for the instruction set.
    unsafe {
        let y = S::mul(x, S::mul_add(S::mul(x, x), S::splat(CUBIC), S::splat(LINEAR)));
        S::div(x, one_and_exp::<S>(y))
    }
}

/// Σ cᵢ xⁿ⁻ⁱ by Horner's rule.
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn polynomial<S: Simd, const N: usize>(x: S::Vector, coefficients: [f32; N]) -> S::Vector {
    // SAFETY: the caller is responsible for the instruction set.
    unsafe {
        let mut sum = S::splat(coefficients[0]);
        for c in &coefficients[1..] {
            sum = S::mul_add(sum, x, S::splat(*c));
        }
        sum
    }
}

/// eˣ for x clamped to −88 … 88.3: 2ⁿ · eʳ with x = n ln 2 + r and |r| ≤ ln 2 / 2, and the polynomial of the least
/// relative error for eʳ. Below −87.7 n is −127 and 2ⁿ is 0: products with a weight of 10⁻³⁸ would be denormal numbers,
/// which CPUs compute slowly.
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::Vector) -> S::Vector {
    /// A sum with this number has no bits below 1, so adding it rounds to an integer.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, the first so short that its products with n are exact.
    const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // near 1/6!, 1/5!, …
    const EXP: [f32; 5] = [1.381_459_9e-3, 8.368_717e-3, 4.166_839e-2, 1.666_652_1e-1, 4.999_999_4e-1];
    // SAFETY: the caller is responsible for the instruction set.
    unsafe {
        let x = clamp::<S>(-88.0, 88.3, x);
        let rounded = S::mul_add(x, S::splat(std::f32::consts::LOG2_E), S::splat(ROUND));
        let n = S::sub(rounded, S::splat(ROUND));
        let r = S::mul_add(n, S::splat(-LN2[1]), S::mul_add(n, S::splat(-LN2[0]), x));
        let e = S::mul_add(polynomial::<S, 5>(r, EXP), S::mul(r, r), r);
        S::mul(S::add(e, S::splat(1.0)), S::power_of_two(rounded))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bf16::{Bf16Isa, bf16};

    /// The definition; the values beside `GELU` are those of Python's `math.erf`.
    pub(crate) fn definition(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::Relu => x.max(0.0),
            Activation::Relu6 => x.clamp(0.0, 6.0),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            // Σ (−1)ᵏ z²ᵏ⁺¹ / (k! (2k + 1)), which converges for every z
            Activation::Gelu => {
                let z = x / 2f64.sqrt();
                let (mut term, mut sum) = (z, z);
                for k in 1..200 {
                    term *= -z * z / f64::from(k);
                    sum += term / f64::from(2 * k + 1);
                }
                0.5 * x * (1.0 + sum * 2.0 / std::f64::consts::PI.sqrt())
            }
            Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
            Activation::GeluTanh => {
                0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
            }
        }
    }

    #[test]
    fn activations_are_their_definition_and_the_same_wherever_multiply_adds_are_fused() {
        let values: Vec<f32> =
            (0..if cfg!(miri) { 97 } else { 20_001 }).map(|i| (i as f32 - 10_000.0) / 2000.0).collect();
        for activation in Activation::ALL {
            let mut first = None;
            for isa in Isa::available() {
                let mut found = values.clone();
                run(isa, activation, &mut found);
                for (&x, &found) in values.iter().zip(&found) {
                    let expected = definition(activation, f64::from(x));
                    let error = (f64::from(found) - expected).abs();
                    // GELU is x · (½ + E(x)), and the error of E does not become smaller where the sum is near 0.
                    let is_gelu = matches!(activation, Activation::Gelu | Activation::GeluTanh);
                    let size = if is_gelu { f64::from(x) } else { expected };
                    assert!(error <= 4e-7 * size.abs() + 5e-9, "{isa:?} {activation:?}({x}) = {found}, not {expected}");
                }
                // A value that is computed alone has the same bits.
                for (i, x) in values.iter().enumerate().step_by(997) {
                    let mut alone = [*x];
                    run(isa, activation, &mut alone);
                    assert_eq!(alone[0].to_bits(), found[i].to_bits(), "{isa:?} {activation:?}({x})");
                }
                let bits: Vec<u32> = found.iter().map(|v| v.to_bits()).collect();
                if isa != Isa::Portable {
                    assert_eq!(&bits, first.get_or_insert_with(|| bits.clone()), "{isa:?} {activation:?}");
                }
            }
        }
    }

    #[test]
    fn large_values_stay_finite_and_what_is_no_number_stays_none() {
        for (isa, activation) in Isa::available().into_iter().flat_map(|isa| Activation::ALL.map(|a| (isa, a))) {
            let mut values = [f32::NAN, 1e30, -1e30, 100.0, -100.0, 0.0];
            run(isa, activation, &mut values);
            assert!(
                values[0].is_nan() && values[1..].iter().all(|v| v.is_finite()),
                "{isa:?} {activation:?} {values:?}"
            );
            assert!(values[4].abs() < 1e-30, "{isa:?} {activation:?}(-100) = {}", values[4]);
        }
    }

    #[test]
    fn values_of_bf16_are_rounded_once() {
        let halves: Vec<bf16> = (-40..41).map(|i| bf16::from_f32(i as f32 / 5.0)).collect();
        for (unit, activation) in Bf16Isa::available().into_iter().flat_map(|unit| Activation::ALL.map(|a| (unit, a))) {
            let (mut found, mut wide) = (halves.clone(), halves.iter().map(|v| v.to_f32()).collect::<Vec<_>>());
            run(unit, activation, &mut found);
            run(unit.isa(), activation, &mut wide);
            let expected = wide.iter().map(|&v| bf16::from_f32(v));
            assert!(found.iter().map(|v| v.to_bits()).eq(expected.map(|v| v.to_bits())), "{unit:?} {activation:?}");
        }
    }
}
