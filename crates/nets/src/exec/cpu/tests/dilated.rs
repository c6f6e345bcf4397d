//! Dilated convolutions against candle's.

use proptest::prelude::*;

use super::{compare, compare_bf16};
use crate::models::builder::Builder;
use crate::models::graph::{Activation, Op, Pad, Window};
use crate::models::{LayerId, Shape, Source};
use crate::weights::Origin;

/// A convolution with a dilation of `by` rows and columns, and with the padding that keeps the size of the map at
/// stride 1.
pub(super) fn dilated(
    g: &mut Builder,
    name: &str,
    x: LayerId,
    [out, groups]: [usize; 2],
    window: Window,
    by: usize,
) -> LayerId {
    let Shape::Map { h, w, .. } = g.shape(x) else { panic!("{name}: a map was expected") };
    let window = Window { dilation: [by; 2], ..window };
    let [v, u] = window.reach().map(|n| n / 2);
    let window = Window { pad: Pad { top: v, bottom: v, left: u, right: u }, ..window };
    let size = |n: usize, i: usize| (n + 2 * [v, u][i] - window.reach()[i]) / window.stride[i] + 1;
    let shape = Shape::Map { c: out, h: size(h, 0), w: size(w, 1) };
    g.push(name, Op::Conv { out, window, groups, bias: true }, &[x], shape)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn dilated_convolutions_of_every_shape_give_what_candle_gives(
        size in prop::array::uniform2(1usize..40), groups in 1usize..5, per in prop::array::uniform2(1usize..20),
        kernel in prop::array::uniform2(1usize..6), stride in 1usize..3, by in prop::array::uniform3(1usize..5),
        seed in any::<u64>(),
    ) {
        let ([h, w], [inputs, outputs]) = (size, per.map(|n| n * groups));
        let (mut g, x) = Builder::new(inputs, h, w);
        let window = Window::new(kernel, [stride; 2], Pad::default());
        let x = dilated(&mut g, "all", x, [outputs, 1], window, by[0]);
        let x = g.batch_norm("norm", x, 1e-3);
        let x = g.activation("act", x, Activation::GeluTanh);
        let y = dilated(&mut g, "same", x, [outputs, 1], Window::new([3, 3], [1, 1], Pad::default()), by[1]);
        let y = g.add("sum", y, x);
        let y = g.relu("relu", y);
        let y = dilated(&mut g, "grouped", y, [inputs, groups], window, by[1]);
        let y = dilated(&mut g, "dw", y, [inputs, inputs], window, by[2]);
        let y = g.activation("dw_act", y, Activation::Relu6);
        let graph = g.finish(y, y).expect("built");
        let weights = Origin::Random(seed).load(&graph, Source::Timm, &[]).expect("random");
        let tap = |name: &str| graph.find(name).expect("a layer");
        let fused = compare(&graph, &weights, &[y], [h, w, inputs]);
        let taps = ["all", "act", "same", "relu", "grouped", "dw"].map(tap);
        let apart = compare(&graph, &weights, &taps, [h, w, inputs]);
        prop_assert!(fused < 1e-5 && apart < 1e-5, "{fused:e} {apart:e}");
        let near = compare_bf16(&graph, &[y], [h, w, inputs]);
        prop_assert!(near < 5e-2, "{near:e}");
    }
}
