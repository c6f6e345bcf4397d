//! A convolution in groups as several over all their channels, since the kernels know no groups.
//!
//! Groups go together while their filters fill the vectors of one tile; a filter has zeros for the channels of the
//! other groups. Each part reads a copy of its channels and writes its filters where they belong.

use crate::exec::lower::{Kernel, Program, Step};
use crate::models::Shape;

/// Filters that go together at least, as far as groups divide so.
const TOGETHER: usize = 32;

/// The same program, each convolution over all channels of its input.
pub(crate) fn split(program: Program) -> Program {
    let Program { steps, taps, input_shape, last_use } = program;
    let mut values = last_use.len();
    let mut all = Vec::with_capacity(steps.len());
    for step in steps {
        match step.kernel {
            Kernel::Conv { groups, .. } if groups > 1 => parts(step, groups, &mut values, &mut all),
            _ => all.push(step),
        }
    }
    Program::new(all, taps, input_shape, values)
}

fn parts(step: Step, groups: usize, values: &mut usize, all: &mut Vec<Step>) {
    let Step { layer, kernel, inputs, output, in_shape, out_shape } = step;
    let (
        Kernel::Conv { window, weight, bias, activation, .. },
        Shape::Map { c, h, w },
        Shape::Map { c: out, h: oh, w: ow },
    ) = (kernel, in_shape, out_shape)
    else {
        return;
    };
    let (channels, filters, taps) = (c / groups, out / groups, window.kernel[0] * window.kernel[1]);
    let together = (1..=groups).find(|&n| groups.is_multiple_of(n) && n * filters >= TOGETHER).unwrap_or(groups);
    let mut fresh = || {
        *values += 1;
        *values - 1
    };
    let part_in = Shape::Map { c: together * channels, h, w };
    let part_out = Shape::Map { c: together * filters, h: oh, w: ow };
    let mut terms = Vec::with_capacity(groups / together);
    for first in (0..groups).step_by(together) {
        let (copy, term) = (fresh(), if together == groups { output } else { fresh() });
        let mut wide = vec![0.0; together * filters * together * channels * taps];
        let filter = channels * taps;
        for (i, to) in wide.chunks_exact_mut(together * filter).enumerate() {
            let from = (first * filters + i) * filter;
            to[i / filters * filter..][..filter].copy_from_slice(&weight[from..from + filter]);
        }
        let bias = bias[first * filters..][..together * filters].to_vec();
        let mut input = inputs.clone();
        if together < groups {
            all.push(Step {
                layer: layer.clone(),
                kernel: Kernel::Slice(first * channels),
                inputs: std::mem::replace(&mut input, vec![copy]),
                output: copy,
                in_shape,
                out_shape: part_in,
            });
        }
        all.push(Step {
            layer: layer.clone(),
            kernel: Kernel::Conv { groups: 1, window, weight: wide, bias, activation },
            inputs: input,
            output: term,
            in_shape: part_in,
            out_shape: part_out,
        });
        terms.push(term);
    }
    if together < groups {
        all.push(Step { layer, kernel: Kernel::Concat, inputs: terms, output, in_shape: part_out, out_shape });
    }
}
