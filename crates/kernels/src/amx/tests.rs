//! Compares products by tiles with their definition in plain arithmetic, bit by bit, and those of f32 with f64, too.

use half::bf16;
use proptest::prelude::*;

use super::format::{FloatFormat, TileFormat};
use super::slices::slices;
use super::{AmxConv, Bf16Pairs, ConvShape, Int8Slices, available};
use crate::Activation;
use crate::matmul::GemmOffsets;
use crate::peak::noise;
use crate::residual::Residual;

/// Adds 32 products to a sum as `TDPBF16PS` does: it sums those at even places, then those at odd places, then both
/// sums, and adds the total.
fn dot_32(sum: f32, x: &[bf16], w: &[bf16]) -> f32 {
    // a product is exact in f32
    let products = || x.iter().zip(w).map(|(x, w)| x.to_f32() * w.to_f32());
    let every_other = |first: usize| products().skip(first).step_by(2).fold(0.0, |sum: f32, product| sum + product);
    sum + (every_other(0) + every_other(1))
}

/// A format with the definition of its sums.
pub(crate) trait Defined: FloatFormat<Value: Into<f32> + std::fmt::Debug + PartialEq> {
    fn value(v: f32) -> Self::Value;
    /// Returns the sum of a window and a filter, plus the bias.
    fn sum(x: &[Self::Value], w: &[f32], bias: f32) -> f32;
}

impl Defined for Bf16Pairs {
    fn value(v: f32) -> bf16 {
        bf16::from_f32(v)
    }

    fn sum(x: &[bf16], w: &[f32], bias: f32) -> f32 {
        let w: Vec<bf16> = w.iter().map(|&w| bf16::from_f32(w)).collect();
        x.chunks(32).zip(w.chunks(32)).fold(0.0, |sum, (x, w)| dot_32(sum, x, w)) + bias
    }
}

/// The slices of values, and their scale; `integer` turns a value and the scale into an integer.
fn sliced(values: &[f32], integer: impl Fn(f32, f32) -> i32) -> (Vec<[i32; 3]>, f32) {
    let scale = Int8Slices::scale(values.iter().map(|v| v.abs().to_bits()).max().unwrap_or(0));
    (values.iter().map(|&v| slices(integer(v, scale)).map(i32::from)).collect(), scale)
}

impl Defined for Int8Slices {
    fn value(v: f32) -> f32 {
        v
    }

    fn sum(x: &[f32], w: &[f32], bias: f32) -> f32 {
        let (x, x_scale) = sliced(x, |v, scale| (v * (1.0 / scale)).round_ties_even() as i32);
        let (w, w_scale) = sliced(w, |v, scale| (f64::from(v) * f64::from(scale).recip()).round_ties_even() as i32);
        let order = |n: usize| {
            let each = x.iter().zip(&w).map(|(x, w)| (0..=n).map(|i| x[i] * w[n - i]).sum::<i32>());
            each.sum::<i32>() as f32
        };
        let sum = order(0).mul_add(256.0, order(1)).mul_add(256.0, order(2));
        (sum * x_scale).mul_add(w_scale * 65_536.0, bias)
    }
}

/// The bound of the error of a sum by slices of `n` products of values and weights of up to 1. The error of a product
/// is at most half a scale for each of its factors, a quarter more for the value, which becomes an integer in f32, and
/// the products of slices that are left out. The errors of different products are independent: their sum has a standard
/// deviation of at most √n such errors, and eight standard deviations never occur in practice. Six roundings of the sum
/// follow: two scales, and the combination of the orders, the scales and the bias.
fn allowed(n: usize, sum: f64) -> f64 {
    let scale = 1.0 / f64::from(127 * 65_536 + 127 * 256 + 124);
    let each = 1.25 * scale + f64::from(2 * 128 * 128 * 256 + 128 * 128) * scale * scale;
    let n = n as f64;
    each * n.min(8.0 * n.sqrt()) + 6.0 * sum.abs() * f64::from(f32::EPSILON) / 2.0
}

/// A convolution over maps with other values beside them.
#[derive(Clone, Debug)]
struct Case {
    pictures: usize,
    /// Height and width of the output.
    size: [usize; 2],
    channels: usize,
    filters: usize,
    kernel: [usize; 2],
    stride: usize,
    /// Elements from one position to the next beyond the channels; only where the kernel is one wide.
    gap: usize,
    threads: usize,
    activation: Option<Activation>,
    seed: u32,
}

impl Case {
    fn input_size(&self) -> [usize; 2] {
        [0, 1].map(|d| (self.size[d] - 1) * self.stride + self.kernel[d])
    }

    /// Runs every variant and compares with the definition; returns the largest error against f64, relative to the
    /// error that slices may have.
    fn check<T: Defined>(&self) -> f64 {
        let Self { pictures, size: [h, w], filters, kernel: [kh, kw], stride, seed, .. } = *self;
        let [ih, iw] = self.input_size();
        let pixel = if kw == 1 { self.channels + self.gap } else { self.channels };
        let (row, depth) = (iw * pixel, kw * self.channels);
        let input: Vec<T::Value> =
            noise(pictures * ih * row - (pixel - self.channels), seed).into_iter().map(T::value).collect();
        let (weight, bias) = (noise(filters * kh * depth, seed ^ 1), noise(filters, seed ^ 2));
        let positions = || (0..pictures * h * w).map(|p| (p / (h * w), p / w % h, p % w));
        let starts: Vec<u32> =
            positions().map(|(p, y, x)| (p * ih * row + y * stride * row + x * stride * pixel) as u32).collect();
        let pitch = filters + self.gap;
        let outs: Vec<u32> = (0..starts.len()).map(|p| (p * pitch) as u32).collect();
        let residual: Vec<T::Value> = noise(starts.len() * pitch, seed ^ 3).into_iter().map(T::value).collect();
        let offsets =
            GemmOffsets { window_starts: &starts, row_stride: row, output_starts: &outs, residual: Residual::None };
        let conv = AmxConv::<T>::new(&weight, &bias, ConvShape { kernel: [kh, kw], channels: self.channels, stride });
        // a value that no kernel computes
        let mark = T::value(77.0);
        let run = |threads: usize, offsets: &GemmOffsets, residual: &[T::Value], output: &mut [T::Value]| {
            // The scratch is as short as is allowed, and all NaN.
            let mut scratch = vec![f32::NAN; conv.scratch_len(threads)];
            conv.run(threads, offsets, [h, w], &input, residual, self.activation, output, &mut scratch);
        };
        let len = starts.len() * pitch - self.gap;
        let (mut alone, mut sum) = (vec![mark; len], vec![mark; len]);
        run(1, &offsets, &[], &mut alone);
        let at = GemmOffsets { residual: Residual::At(&outs[..]), ..offsets };
        run(1, &at, &residual, &mut sum);
        let mut shared = vec![mark; len];
        run(self.threads, &at, &residual, &mut shared);
        assert!(shared == sum, "{} threads: {self:?}", self.threads);
        let mut in_place = residual[..len].to_vec();
        outs.iter().skip(1).for_each(|&out| in_place[out as usize - self.gap..out as usize].fill(mark));
        run(self.threads, &GemmOffsets { residual: Residual::InPlace, ..offsets }, &[], &mut in_place);
        assert!(in_place == sum, "residual in place: {self:?}");
        // This computes the last picture alone.
        let (first, mut by_itself) = ((pictures - 1) * h * w, vec![mark; len]);
        let offsets = GemmOffsets {
            window_starts: &starts[first..],
            output_starts: &outs[first..],
            residual: Residual::At(&outs[first..]),
            ..offsets
        };
        run(1, &offsets, &residual, &mut by_itself);
        assert!(by_itself[first * pitch..] == sum[first * pitch..], "its bits depend on other pictures: {self:?}");
        let limit = |v: f32| match self.activation {
            Some(Activation::Relu) => v.max(0.0),
            _ => v,
        };
        let mut worst: f64 = 0.0;
        for (p, &start) in starts.iter().enumerate() {
            let window: Vec<T::Value> =
                (0..kh).flat_map(|y| &input[start as usize + y * row..][..depth]).copied().collect();
            for (f, w) in weight.chunks_exact(kh * depth).enumerate() {
                let expected = T::sum(&window, w, bias[f]);
                let out = p * pitch + f;
                let more: f32 = residual[out].into();
                // the windows of a strip have a common scale, so the definition of one window does not give the same
                // bits
                let found = if conv.product.has_strips() { alone[out].into() } else { limit(expected) };
                if conv.product.has_strips() {
                    let cut = self.activation.is_some() && found == 0.0;
                    assert!(
                        cut || sum[out] == T::value(limit(found + more)),
                        "sum at position {p}, filter {f}: {self:?}"
                    );
                } else {
                    assert_eq!(alone[out], T::value(limit(expected)), "position {p}, filter {f}: {self:?}");
                    assert_eq!(sum[out], T::value(limit(expected + more)), "sum at position {p}, filter {f}: {self:?}");
                }
                let products = window.iter().zip(w).map(|(&x, &w)| f64::from(x.into()) * f64::from(w));
                let exact = products.sum::<f64>() + f64::from(bias[f]);
                let error = (f64::from(found) - f64::from(limit(exact as f32))).abs();
                worst = worst.max(error / allowed(window.len(), exact));
            }
            assert!(alone[p * pitch + filters..].iter().take(self.gap).all(|&v| v == mark), "writes beside: {self:?}");
        }
        worst
    }
}

fn cases() -> impl Strategy<Value = Case> {
    // windows whose rows fill tile rows are read in place
    let channels = prop_oneof![1usize..70, Just(32usize), Just(64), Just(64), Just(128)];
    let kernel = prop_oneof![Just([1usize, 1]), Just([3, 3]), Just([7, 1]), Just([1, 5]), Just([2, 3])];
    let shape = (1usize..4, prop::array::uniform2(1usize..20), channels, 1usize..80, kernel);
    (shape, 1usize..3, 0usize..40, 2usize..5, any::<bool>(), any::<u32>()).prop_map(
        |((pictures, size, channels, filters, kernel), stride, gap, threads, relu, seed)| Case {
            pictures,
            size,
            channels,
            filters,
            kernel,
            stride,
            gap,
            threads,
            activation: relu.then_some(Activation::Relu),
            seed,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn products_of_every_shape_give_the_bits_of_their_definition(case in cases()) {
        if available() {
            case.check::<Bf16Pairs>();
            let error = case.check::<Int8Slices>();
            prop_assert!(error <= 1.0, "{error}");
        }
    }
}

#[test]
fn long_products_in_several_blocks_give_the_bits_of_their_definition() {
    if !available() {
        return;
    }
    for (kernel, channels, filters, size) in [([3, 3], 256, 130, [17, 16]), ([1, 1], 1536, 100, [5, 90])] {
        let case = Case {
            pictures: 1,
            size,
            channels,
            filters,
            kernel,
            stride: 1,
            gap: 0,
            threads: 3,
            activation: None,
            seed: 3,
        };
        let error = case.check::<Int8Slices>();
        assert!(error <= 1.0, "{error}");
        case.check::<Bf16Pairs>();
    }
}

#[test]
fn slices_are_those_of_the_integer() {
    for number in (-8_355_711..=8_355_711).step_by(997).chain([-8_355_711, -1, 0, 1, 8_355_711]) {
        let [a, b, c] = slices(number).map(i32::from);
        assert_eq!(a * 65_536 + b * 256 + c, number);
    }
}

/// A product of one window, without bias.
fn product(x: &[f32], w: &[f32]) -> f32 {
    let conv = AmxConv::<Int8Slices>::new(w, &[0.0], ConvShape { kernel: [1, 1], channels: x.len(), stride: 1 });
    let offsets = GemmOffsets { window_starts: &[0], row_stride: 0, output_starts: &[0], residual: Residual::None };
    let (mut output, mut scratch) = ([7.0], vec![f32::NAN; conv.scratch_len(1)]);
    conv.run(1, &offsets, [1, 1], x, &[], None, &mut output, &mut scratch);
    output[0]
}

#[test]
fn values_of_every_size_are_as_exact_as_in_f32() {
    if !available() {
        return;
    }
    for scale in [1e-20f32, 1e-7, 1.0, 12345.0, 1e20] {
        let x: Vec<f32> = noise(100, 1).iter().map(|v| v * scale).collect();
        let w = noise(100, 2);
        let exact: f64 = x.iter().zip(&w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
        let error = (f64::from(product(&x, &w)) - exact).abs() / (f64::from(scale) * 100f64.sqrt());
        assert!(error < 1e-7, "{scale:e}: {error:e}");
    }
    assert_eq!(product(&[0.0; 70], &[1.0; 70]), 0.0);
    assert_eq!(product(&[1.0; 70], &[0.0; 70]), 0.0);
    // whole numbers of up to 22 bits are exact
    assert_eq!(product(&[4_194_303.0, -3.0, 8_355_708.0], &[8.0, 4.0, 1.0]), 4_194_303.0 * 8.0 - 12.0 + 8_355_708.0);
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = vec![1.0; 70];
        x[69] = odd;
        assert!(product(&x, &[1.0; 70]).is_nan() && product(&[1.0; 70], &x).is_nan(), "{odd}");
    }
}
