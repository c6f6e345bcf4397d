//! Activations that do more than clamp a value, such as SiLU and GELU: they are applied in place to the values that a
//! kernel has written.
//!
//! They use sums, products and quotients that are each rounded, and never a fused multiply-add: so a value gives the
//! same bits on every instruction set and at every place of a map. eˣ has an error of at most one unit in the last
//! place. Its argument is clamped to −87.3 … 88.3, so that the sigmoid of −100 is 10⁻³⁸ and not 10⁻⁴⁴.

use super::bf16::simd::{Bf16Kernel, Bf16Simd};
use super::bf16::{Bf16Isa, bf16};
use super::elements::{F32Elements, MapElements};
use super::simd::{Isa, Simd, SimdKernel};
use crate::Activation;

/// Applies `activation` to each of `values`.
pub fn run(isa: Isa, activation: Activation, values: &mut [f32]) {
    let kernel = Each { activation, values: values.as_mut_ptr(), n: values.len() };
    // SAFETY: the pointer and the length are those of a slice that is borrowed mutably.
    unsafe { isa.run(kernel) }
}

/// The same over bf16, in the vectors of `isa`: each value is widened, computed with in f32, and the result rounded.
pub fn run_bf16(isa: Bf16Isa, activation: Activation, values: &mut [bf16]) {
    let kernel = Each { activation, values: values.as_mut_ptr(), n: values.len() };
    // SAFETY: the pointer and the length are those of a slice that is borrowed mutably.
    unsafe { isa.run(kernel) }
}

/// The values of a run: `n` of them can be read and written, and nobody else may access them.
struct Each<E> {
    activation: Activation,
    values: *mut E,
    n: usize,
}

impl SimdKernel for Each<f32> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller of `SimdKernel::run` checked the instruction set; the values are as `Each` demands.
        unsafe { each::<F32Elements<S>>(self.activation, self.values, self.n) }
    }
}

impl Bf16Kernel for Each<bf16> {
    #[inline(always)]
    unsafe fn run<B: Bf16Simd>(self) {
        // SAFETY: the caller of `Bf16Kernel::run` checked the instruction set; the values are as `Each` demands.
        unsafe { each::<B>(self.activation, self.values, self.n) }
    }
}

/// Applies the activation to `n` values.
///
/// # Safety
/// The CPU has the instruction set of `M`; `n` values can be read and written.
#[inline(always)]
unsafe fn each<M: MapElements>(activation: Activation, to: *mut M::Element, n: usize) {
    // SAFETY: the caller answers for the instruction set and for the `n` values.
    unsafe {
        match activation {
            Activation::Relu => map::<M>(to, n, |x| M::Simd::max(M::Simd::splat(0.0), x)),
            Activation::Relu6 => map::<M>(to, n, |x| clamp::<M::Simd>(0.0, 6.0, x)),
            Activation::Sigmoid => map::<M>(to, n, |x| M::Simd::div(M::Simd::splat(1.0), one_and_exp::<M::Simd>(x))),
            Activation::Silu => map::<M>(to, n, |x| M::Simd::div(x, one_and_exp::<M::Simd>(x))),
            Activation::HardSigmoid => map::<M>(to, n, |x| hard_sigmoid::<M::Simd>(x)),
            Activation::HardSwish => map::<M>(to, n, |x| M::Simd::mul(x, hard_sigmoid::<M::Simd>(x))),
            Activation::Gelu => map::<M>(to, n, |x| gelu::<M::Simd>(x)),
        }
    }
}

/// # Safety
/// The CPU has the instruction set; `n` values can be read and written.
#[inline(always)]
unsafe fn map<M: MapElements>(to: *mut M::Element, n: usize, function: impl Fn(V<M>) -> V<M>) {
    for at in (0..n).step_by(M::Simd::LANES) {
        let lanes = M::Simd::LANES.min(n - at);
        // SAFETY: `lanes` values are left from `at` on, and the caller answers for the instruction set.
        unsafe { M::store_partial(to.add(at), lanes, function(M::load_partial(to.add(at), lanes))) };
    }
}

/// A vector of the elements' kernels.
type V<M> = <<M as MapElements>::Simd as Simd>::Vector;

/// `x` clamped to the range from `low` to `high`; NaN stays NaN.
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn clamp<S: Simd>(low: f32, high: f32, x: S::Vector) -> S::Vector {
    // SAFETY: the caller answers for the instruction set.
    unsafe { S::min(S::splat(high), S::max(S::splat(low), x)) }
}

/// clamp(x + 3, 0, 6) / 6
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn hard_sigmoid<S: Simd>(x: S::Vector) -> S::Vector {
    // SAFETY: the caller answers for the instruction set.
    unsafe { S::mul(clamp::<S>(0.0, 6.0, S::add(x, S::splat(3.0))), S::splat(1.0 / 6.0)) }
}

/// 1 + e⁻ˣ
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn one_and_exp<S: Simd>(x: S::Vector) -> S::Vector {
    // SAFETY: the caller answers for the instruction set.
    unsafe { S::add(S::splat(1.0), exp::<S>(S::sub(S::splat(0.0), x))) }
}

/// max(x, 0) − |x| · erfc(|x| / √2) / 2, which is x · Φ(x) without the cancellation where Φ is small. erfc is that of
/// Press et al., "Numerical recipes", section 6.2, whose relative error is below 1.2 · 10⁻⁷ everywhere.
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn gelu<S: Simd>(x: S::Vector) -> S::Vector {
    // the digits are those of the source
    #[allow(clippy::excessive_precision)]
    const ERFC: [f32; 10] = [
        0.17087277,
        -0.82215223,
        1.48851587,
        -1.13520398,
        0.27886807,
        -0.18628806,
        0.09678418,
        0.37409196,
        1.00002368,
        -1.26551223,
    ];
    // SAFETY: the caller answers for the instruction set.
    unsafe {
        let size = S::max(S::sub(S::splat(0.0), x), x);
        let z = S::mul(size, S::splat(std::f32::consts::FRAC_1_SQRT_2));
        let t = S::div(S::splat(1.0), S::add(S::splat(1.0), S::mul(S::splat(0.5), z)));
        let sum = polynomial::<S, 10>(t, ERFC);
        let erfc = S::mul(t, exp::<S>(S::sub(sum, S::mul(z, z))));
        S::sub(S::max(S::splat(0.0), x), S::mul(S::mul(S::splat(0.5), size), erfc))
    }
}

/// Σ cᵢ xⁿ⁻ⁱ by Horner's rule.
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn polynomial<S: Simd, const N: usize>(x: S::Vector, coefficients: [f32; N]) -> S::Vector {
    // SAFETY: the caller answers for the instruction set.
    unsafe {
        let mut sum = S::splat(coefficients[0]);
        for c in &coefficients[1..] {
            sum = S::add(S::mul(sum, x), S::splat(*c));
        }
        sum
    }
}

/// eˣ for x clamped to −87.3 … 88.3: 2ⁿ · eʳ with x = n ln 2 + r and |r| ≤ ln 2 / 2, and a polynomial for eʳ (`expf` of
/// Moshier's Cephes).
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn exp<S: Simd>(x: S::Vector) -> S::Vector {
    /// A sum with it has no bits below 1: it is rounded to an integer.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, the first so short that its products with n are exact.
    const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // 1/5!, 1/4!, … as the polynomial of the least error has them
    #[allow(clippy::excessive_precision)]
    const EXP: [f32; 6] =
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.000_000_1e-1];
    // SAFETY: the caller answers for the instruction set.
    unsafe {
        let x = clamp::<S>(-87.3, 88.3, x);
        let rounded = S::add(S::mul(x, S::splat(std::f32::consts::LOG2_E)), S::splat(ROUND));
        let n = S::sub(rounded, S::splat(ROUND));
        let r = S::sub(S::sub(x, S::mul(n, S::splat(LN2[0]))), S::mul(n, S::splat(LN2[1])));
        let e = S::add(S::mul(polynomial::<S, 6>(r, EXP), S::mul(r, r)), r);
        S::mul(S::add(e, S::splat(1.0)), S::power_of_two(rounded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Activation; 7] = [
        Activation::Relu,
        Activation::Relu6,
        Activation::Sigmoid,
        Activation::Silu,
        Activation::HardSigmoid,
        Activation::HardSwish,
        Activation::Gelu,
    ];

    /// The definition; the values beside `GELU` are those of Python's `math.erf`.
    fn definition(activation: Activation, x: f64) -> f64 {
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
        }
    }

    #[test]
    fn activations_are_their_definition_and_the_same_on_every_instruction_set() {
        let values: Vec<f32> =
            (0..if cfg!(miri) { 97 } else { 20_001 }).map(|i| (i as f32 - 10_000.0) / 2000.0).collect();
        for activation in ALL {
            let mut first = None;
            for isa in Isa::available() {
                let mut found = values.clone();
                run(isa, activation, &mut found);
                for (&x, &found) in values.iter().zip(&found) {
                    let expected = definition(activation, f64::from(x));
                    let error = (f64::from(found) - expected).abs();
                    // of GELU the exponent, −x² / 2, is rounded too
                    let bound = if activation == Activation::Gelu { 3e-6 } else { 4e-7 } * expected.abs() + 5e-9;
                    assert!(error <= bound, "{isa:?} {activation:?}({x}) = {found}, not {expected}");
                }
                // alone a value has the same bits
                for (i, x) in values.iter().enumerate().step_by(997) {
                    let mut alone = [*x];
                    run(isa, activation, &mut alone);
                    assert_eq!(alone[0].to_bits(), found[i].to_bits(), "{isa:?} {activation:?}({x})");
                }
                let bits: Vec<u32> = found.iter().map(|v| v.to_bits()).collect();
                assert_eq!(&bits, first.get_or_insert_with(|| bits.clone()), "{isa:?} {activation:?}");
            }
        }
    }

    #[test]
    fn large_values_stay_finite_and_what_is_no_number_stays_none() {
        for (isa, activation) in Isa::available().into_iter().flat_map(|isa| ALL.map(|a| (isa, a))) {
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
        for (unit, activation) in Bf16Isa::available().into_iter().flat_map(|unit| ALL.map(|a| (unit, a))) {
            let (mut found, mut wide) = (halves.clone(), halves.iter().map(|v| v.to_f32()).collect::<Vec<_>>());
            run_bf16(unit, activation, &mut found);
            run(unit.isa(), activation, &mut wide);
            let expected = wide.iter().map(|&v| bf16::from_f32(v));
            assert!(found.iter().map(|v| v.to_bits()).eq(expected.map(|v| v.to_bits())), "{unit:?} {activation:?}");
        }
    }
}
