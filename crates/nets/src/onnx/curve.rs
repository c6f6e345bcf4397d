//! Functions of single values, recognised by their numbers.
//!
//! Exporters write GELU as five nodes, hard-swish as four and SiLU as two, in orders that differ between libraries and
//! versions. So a chain of such nodes is not compared with patterns. It is evaluated in f64 at fixed points, and where
//! something else than a function of single values reads it, the numbers tell which activation it is.

use crate::models::graph::Activation;

/// The points; a function that agrees with another on all of them is that one.
const POINTS: [f64; 45] = [
    -1000.0, -60.0, -20.0, -12.0, -9.0, -7.5, -6.1, -5.9, -5.0, -4.2, -3.6, -3.1, -2.9, -2.4, -2.0, -1.7, -1.3, -1.0,
    -0.75, -0.5, -0.2, -0.05, 0.0, 0.05, 0.2, 0.5, 0.75, 1.0, 1.3, 1.7, 2.0, 2.4, 2.9, 3.1, 3.6, 4.2, 5.0, 5.9, 6.1,
    7.5, 9.0, 12.0, 20.0, 60.0, 1000.0,
];
/// Constants of files are rounded to f32. The two forms of GELU differ by 5e-4.
const TOLERANCE: f64 = 1e-6;

/// A function of single values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curve(Vec<f64>);

/// A curve in known terms: `scale` · f(`inner` · x) + `shift`, f being an activation, or x itself without one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Recognised {
    pub activation: Option<Activation>,
    /// 1, but for the hyperbolic tangent, which is 2 · σ(2 x) − 1.
    pub inner: f64,
    pub scale: f64,
    pub shift: f64,
}

impl Curve {
    /// x itself.
    pub(super) fn identity() -> Self {
        Self(POINTS.to_vec())
    }

    /// `function` of this one.
    pub(super) fn then(&self, function: impl Fn(f64) -> f64) -> Self {
        Self(self.0.iter().map(|&x| function(x)).collect())
    }

    /// `function` of this one and another curve over the same values.
    pub(super) fn with(&self, other: &Self, function: impl Fn(f64, f64) -> f64) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(&a, &b)| function(a, b)).collect())
    }

    /// The activation that it is, if it is one of ours, scaled and shifted perhaps.
    pub(super) fn recognise(&self) -> Option<Recognised> {
        let known = Activation::ALL.map(|activation| (Some(activation), 1.0));
        let all = [(None, 1.0)].into_iter().chain(known).chain([(Some(Activation::Sigmoid), 2.0)]);
        // as it is rather than scaled: ReLU6 of a scaled value is none
        all.clone().find_map(|f| self.fits(f, 1.0, 0.0)).or_else(|| all.clone().find_map(|f| self.scaled(f)))
    }

    fn scaled(&self, of: (Option<Activation>, f64)) -> Option<Recognised> {
        let curve = values(of);
        // two points with values that differ
        let low = curve.iter().position(|&v| v != curve[0]).unwrap_or(1);
        let high = curve.iter().position(|&v| v == curve.iter().copied().fold(f64::MIN, f64::max))?;
        let (low, high) = if low == high { (0, high) } else { (low, high) };
        let scale = (self.0[high] - self.0[low]) / (curve[high] - curve[low]);
        let scale = if scale.is_finite() { scale } else { return None };
        self.fits(of, scale, self.0[low] - scale * curve[low])
    }

    fn fits(&self, of: (Option<Activation>, f64), scale: f64, shift: f64) -> Option<Recognised> {
        let near = |(&found, value): (&f64, f64)| {
            let expected = scale * value + shift;
            (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0)
        };
        let (activation, inner) = of;
        let fits = self.0.iter().zip(values(of)).all(near);
        fits.then_some(Recognised { activation, inner, scale, shift })
    }
}

fn values((activation, inner): (Option<Activation>, f64)) -> Vec<f64> {
    POINTS.iter().map(|&x| activation.map_or(x, |activation| value(activation, inner * x))).collect()
}

/// The definitions.
fn value(activation: Activation, x: f64) -> f64 {
    let hard_sigmoid = (x / 6.0 + 0.5).clamp(0.0, 1.0);
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Sigmoid => sigmoid(x),
        Activation::Silu => x * sigmoid(x),
        Activation::HardSigmoid => hard_sigmoid,
        Activation::HardSwish => x * hard_sigmoid,
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::QuickGelu => x * sigmoid(1.702 * x),
    }
}

pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub(super) fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2))
}

/// GELU by a hyperbolic tangent.
pub(super) fn gelu_tanh(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognised(curve: &Curve) -> Option<(Option<Activation>, f64, f64)> {
        curve.recognise().map(|found| (found.activation, found.scale, found.shift))
    }

    #[test]
    fn chains_of_exporters_are_recognised_with_constants_of_f32() {
        let x = Curve::identity();
        let narrow = |v: f64| f64::from(v as f32);
        let erf = x.then(|v| libm::erf(v * narrow(std::f64::consts::FRAC_1_SQRT_2)) + 1.0);
        let gelu = x.with(&erf, |a, b| a * b).then(|v| v * 0.5);
        assert_eq!(recognised(&gelu), Some((Some(Activation::Gelu), 1.0, 0.0)));
        // timm's `gelu_tanh` before opset 20
        let tanh = x.with(&x.then(|v| v.powi(3) * narrow(0.044_715)), |a, b| a + b);
        let tanh = tanh.then(|v| (v * narrow((2.0 / std::f64::consts::PI).sqrt())).tanh() + 1.0);
        let gelu = x.then(|v| v * 0.5).with(&tanh, |a, b| a * b);
        assert_eq!(recognised(&gelu), Some((Some(Activation::GeluTanh), 1.0, 0.0)));
        // torch before opset 14: x · clip(x + 3, 0, 6) / 6
        let six = x.with(&x.then(|v| (v + 3.0).clamp(0.0, 6.0)), |a, b| a * b);
        assert_eq!(recognised(&six.then(|v| v * narrow(1.0 / 6.0))), Some((Some(Activation::HardSwish), 1.0, 0.0)));
        let (activation, scale, shift) = recognised(&six).expect("six times it");
        assert_eq!(activation, Some(Activation::HardSwish));
        assert!((scale - 6.0).abs() < 1e-6 && shift.abs() < 1e-6, "{scale} {shift}");
        assert_eq!(recognised(&x.with(&x.then(sigmoid), |a, b| a * b)), Some((Some(Activation::Silu), 1.0, 0.0)));
        assert_eq!(recognised(&x.then(|v| v * 2.0 - 1.0)), Some((None, 2.0, -1.0)));
        assert_eq!(recognised(&x.then(|v| -v.max(0.0))), Some((Some(Activation::Relu), -1.0, 0.0)));
    }

    #[test]
    fn every_activation_is_itself_and_others_are_none() {
        for activation in Activation::ALL {
            let curve = Curve(values((Some(activation), 1.0)));
            assert_eq!(recognised(&curve), Some((Some(activation), 1.0, 0.0)));
        }
        let x = Curve::identity();
        for other in [x.then(|v| v.max(0.01 * v)), x.then(|v| v.clamp(-1.0, 1.0)), x.then(|v| v * v)] {
            assert_eq!(other.recognise(), None);
        }
        let tanh = x.then(f64::tanh).recognise().expect("a sigmoid of twice the value");
        assert_eq!((tanh.activation, tanh.inner), (Some(Activation::Sigmoid), 2.0));
        assert!((tanh.scale - 2.0).abs() < 1e-9 && (tanh.shift + 1.0).abs() < 1e-9, "{tanh:?}");
        assert_eq!(x.then(|_| f64::NAN).recognise(), None);
    }
}
