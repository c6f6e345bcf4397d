//! Convolution of one picture, channels first, with bias and activation: a matrix product over the patches of the input, on the calling thread.
//!
//! A 1 × 1 convolution reads its input as it lies. Others copy patches first, a band of output rows at a time, so that the copy stays in the
//! cache. The product is the `gemm` crate's, called directly: candle's goes through one pool for the whole process, and workers that each run
//! a picture of their own would wait for each other there.

use gemm::{Parallelism, gemm};

use super::depthwise::{Geometry, apply};
use crate::models::graph::{Activation, Window};

/// Floats in a band of patches: about the size of the second-level cache.
const BAND: usize = 1 << 18;

/// `input` `(c, h, w)` → `output` `(filters, oh, ow)`; `weight` `(filters, c, kh, kw)`, `bias` `(filters)`. Panics when a slice is shorter.
pub fn run(
    geometry: &Geometry,
    input: &[f32],
    weight: &[f32],
    bias: &[f32],
    activation: Option<Activation>,
    output: &mut [f32],
) {
    let [oh, ow] = geometry.output;
    let Window { kernel, stride, pad } = geometry.window;
    let depth = geometry.channels * kernel[0] * kernel[1];
    let (filters, positions) = (bias.len(), oh * ow);
    for (plane, &b) in output.chunks_exact_mut(positions).zip(bias) {
        plane.fill(b);
    }
    if kernel == [1, 1] && stride == [1, 1] && pad.is_zero() {
        let patches = Patches { values: input, columns: positions };
        accumulate(weight, [filters, depth], &patches, output, positions, 0);
    } else {
        let rows = (BAND / (depth * ow)).clamp(1, oh);
        let mut values = vec![0.0; depth * rows * ow];
        for top in (0..oh).step_by(rows) {
            let columns = rows.min(oh - top) * ow;
            copy_patches(geometry, input, top, columns / ow, &mut values[..depth * columns]);
            let patches = Patches { values: &values[..depth * columns], columns };
            accumulate(weight, [filters, depth], &patches, output, positions, top * ow);
        }
    }
    apply(activation, output);
}

/// (depth, columns), row-major.
struct Patches<'a> {
    values: &'a [f32],
    columns: usize,
}

/// Columns `first..` of `output` `(filters, row)` += `weight` `(filters, depth)` · `patches`.
fn accumulate(
    weight: &[f32],
    [filters, depth]: [usize; 2],
    patches: &Patches,
    output: &mut [f32],
    row: usize,
    first: usize,
) {
    let columns = patches.columns;
    assert!(weight.len() >= filters * depth && patches.values.len() >= depth * columns, "a matrix is too short");
    assert!(filters > 0 && first + columns <= row && output.len() >= filters * row, "the output is too short");
    // SAFETY: the three matrices lie within their slices, as asserted: rows of `depth`, `columns` and `row` values, one behind another.
    // The output is borrowed mutably and overlaps neither of the others.
    unsafe {
        gemm(
            filters,
            columns,
            depth,
            output.as_mut_ptr().add(first),
            1,
            row as isize,
            true,
            weight.as_ptr(),
            1,
            depth as isize,
            patches.values.as_ptr(),
            1,
            columns as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// For `rows` output rows from `top`: row (c, ky, kx) of `values` holds what that tap sees at each position, zero outside the picture.
fn copy_patches(g: &Geometry, input: &[f32], top: usize, rows: usize, values: &mut [f32]) {
    let ([h, w], ow, Window { kernel, stride, pad }) = (g.input, g.output[1], g.window);
    for (tap, out) in values.chunks_exact_mut(rows * ow).enumerate() {
        let (c, ky, kx) = (tap / (kernel[0] * kernel[1]), tap / kernel[1] % kernel[0], tap % kernel[1]);
        let plane = &input[c * h * w..][..h * w];
        // the positions whose tap lies inside the picture
        let first = pad.left.saturating_sub(kx).div_ceil(stride[1]).min(ow);
        let end = (w + pad.left).saturating_sub(kx).div_ceil(stride[1]).clamp(first, ow);
        for (oy, out) in (top..).zip(out.chunks_exact_mut(ow)) {
            let y = (oy * stride[0] + ky).wrapping_sub(pad.top);
            if y >= h || first == end {
                out.fill(0.0);
                continue;
            }
            out[..first].fill(0.0);
            out[end..].fill(0.0);
            let line = &plane[y * w + first * stride[1] + kx - pad.left..(y + 1) * w];
            match stride[1] {
                1 => out[first..end].copy_from_slice(&line[..end - first]),
                step => out[first..end].iter_mut().zip(line.iter().step_by(step)).for_each(|(o, &v)| *o = v),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::graph::Pad;
    use proptest::prelude::*;

    /// The definition, in f64.
    fn reference(g: &Geometry, input: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f64> {
        let ([h, w], [oh, ow], Window { kernel, stride, pad }) = (g.input, g.output, g.window);
        let mut out = Vec::new();
        for (f, &b) in bias.iter().enumerate() {
            for (oy, ox) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
                let mut sum = f64::from(b);
                for (c, ky, kx) in (0..g.channels)
                    .flat_map(|c| (0..kernel[0]).flat_map(move |y| (0..kernel[1]).map(move |x| (c, y, x))))
                {
                    let (y, x) =
                        ((oy * stride[0] + ky).wrapping_sub(pad.top), (ox * stride[1] + kx).wrapping_sub(pad.left));
                    if y < h && x < w {
                        let tap = weight[((f * g.channels + c) * kernel[0] + ky) * kernel[1] + kx];
                        sum += f64::from(tap) * f64::from(input[(c * h + y) * w + x]);
                    }
                }
                out.push(sum);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn it_computes_the_definition(
            channels in 1usize..5, filters in 1usize..20, size in prop::array::uniform2(1usize..24),
            kernel in prop::array::uniform2(1usize..6), stride in prop::array::uniform2(1usize..4),
            pads in prop::array::uniform4(0usize..6), seed in any::<u32>(),
        ) {
            let pad = Pad { top: pads[0], bottom: pads[1], left: pads[2], right: pads[3] };
            let (tall, wide) = (size[0] + pad.top + pad.bottom, size[1] + pad.left + pad.right);
            prop_assume!(tall >= kernel[0] && wide >= kernel[1]);
            let output = [(tall - kernel[0]) / stride[0] + 1, (wide - kernel[1]) / stride[1] + 1];
            let geometry = Geometry { channels, input: size, output, window: Window { kernel, stride, pad } };
            let mut state = seed;
            let mut values = |n: usize| (0..n).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            }).collect::<Vec<f32>>();
            let input = values(channels * size[0] * size[1]);
            let weight = values(filters * channels * kernel[0] * kernel[1]);
            let bias = values(filters);
            let mut out = vec![f32::NAN; filters * output[0] * output[1]];
            run(&geometry, &input, &weight, &bias, None, &mut out);
            for (got, want) in out.iter().zip(reference(&geometry, &input, &weight, &bias)) {
                prop_assert!((f64::from(*got) - want).abs() < 1e-4, "{got} is not {want}");
            }
        }
    }

    #[test]
    fn a_picture_of_many_bands_is_the_picture_of_one() {
        let window = Window { kernel: [3, 3], stride: [1, 1], pad: Pad { top: 1, bottom: 1, left: 1, right: 1 } };
        let geometry = Geometry { channels: 16, input: [90, 70], output: [90, 70], window };
        let values = |n: usize, p: usize| (0..n).map(|i| ((i * p) % 97) as f32 / 48.0 - 1.0).collect::<Vec<f32>>();
        let (input, weight, bias) = (values(16 * 90 * 70, 31), values(4 * 16 * 9, 17), values(4, 5));
        assert!(BAND / (16 * 9 * 70) < 90, "more than one band");
        let mut out = vec![0.0; 4 * 90 * 70];
        run(&geometry, &input, &weight, &bias, None, &mut out);
        for (got, want) in out.iter().zip(reference(&geometry, &input, &weight, &bias)) {
            assert!((f64::from(*got) - want).abs() < 1e-3);
        }
    }
}
