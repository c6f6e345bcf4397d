//! Networks of tokens and of windows against candle's.

use proptest::prelude::*;

use super::{compare, compare_bf16};
use crate::models::builder::{Builder, Conv};
use crate::models::graph::{Activation, Attention, AttentionWindow, Op, PositionResize, RelativeBias, TokenTensors};
use crate::models::{LayerId, Shape, Source};
use crate::weights::Origin;

/// Returns the channels of a head: `each`, or more, so that a token has at least eight channels. A layer norm over two
/// or three channels may divide by a standard deviation near zero, and then enlarges every rounding before it.
fn enough_channels(heads: usize, each: usize) -> usize {
    each.max(8usize.div_ceil(heads))
}

/// The tensors of tokens with a class token or none, and so many registers.
fn token_tensors(class: bool, registers: usize) -> TokenTensors {
    TokenTensors {
        class: class.then_some("cls_token"),
        registers: (registers > 0).then_some(("reg_token", registers)),
        positions: "pos_embed",
        class_position: class,
        resize: PositionResize::Plain,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn networks_of_tokens_of_every_shape_give_what_candle_gives(
        grid in prop::array::uniform2(1usize..8), patch in 1usize..4, heads in 1usize..5, size in 1usize..40,
        class in any::<bool>(), registers in 0usize..3, hidden in 1usize..70, act in 0usize..3, seed in any::<u64>(),
    ) {
        let ([h, w], c) = (grid, heads * enough_channels(heads, size));
        let (mut g, x) = Builder::new(3, h * patch, w * patch);
        let x = g.conv("patches", x, Conv::new(c).kernel(patch).stride(patch).bias());
        let tensors = token_tensors(class, registers);
        let x = g.tokens("tokens", x, tensors);
        let y = g.layer_norm("norm1", x, 1e-6);
        let y = g.dense_map("qkv", y, 3 * c);
        let y = g.attention("attention", "attention", y, Attention { heads, window: None, bias: RelativeBias::None });
        let y = g.dense_map("proj", y, c);
        let y = g.layer_scale("scale.gamma", "scale", "gamma", y);
        let x = g.add("sum1", x, y);
        let y = g.layer_norm("norm2", x, 1e-6);
        let y = g.dense_map("fc1", y, hidden);
        let y = g.activation("act", y, [Activation::Gelu, Activation::QuickGelu, Activation::GeluTanh][act]);
        let y = g.dense_map_unbiased("fc2", y, c);
        let x = g.add("sum2", x, y);
        let x = g.layer_norm("norm", x, 1e-6);
        let map = g.push("map", Op::Select(tensors.prefix()), &[x], Shape::Map { c, h, w });
        let first = g.token("first", x, 0);
        let pool = g.dense_map("kv", x, 2 * c);
        let pool = g.attention_pool("pool", "pool", pool, heads);
        let sum = g.add("sum", first, pool);
        let graph = g.finish(map, sum).expect("built");
        let weights = Origin::Random(seed).load(&graph, Source::Timm, &[]).expect("random");
        let tap = |name: &str| graph.find(name).expect("a layer");
        let picture = [h * patch, w * patch, 3];
        let fused = compare(&graph, &weights, &[map, sum], picture);
        let apart = ["tokens", "norm1", "qkv", "attention", "sum1", "act", "sum2", "map", "first", "pool"];
        let apart = compare(&graph, &weights, &apart.map(tap), picture);
        prop_assert!(fused < 1e-5 && apart < 1e-5, "{fused:e} {apart:e}");
        let near = compare_bf16(&graph, &[map, sum], picture);
        prop_assert!(near < 5e-2, "{near:e}");
    }

    #[test]
    fn rotary_embeddings_of_every_shape_give_what_candle_gives(
        grid in prop::array::uniform2(1usize..8), heads in 1usize..5, half in 1usize..20, class in any::<bool>(),
        registers in 0usize..3, seed in any::<u64>(),
    ) {
        let ([h, w], c) = (grid, heads * 2 * enough_channels(heads, half));
        let (mut g, x) = Builder::new(3, h, w);
        let x = g.conv("patches", x, Conv::new(c).bias());
        let tensors = token_tensors(class, registers);
        let x = g.tokens("tokens", x, tensors);
        let y = g.layer_norm("norm", x, 1e-6);
        let y = g.dense_map("qkv", y, 3 * c);
        let y = g.push("turn", Op::Turn { heads }, &[y], g.shape(y));
        let y = g.attention("attention", "attention", y, Attention { heads, window: None, bias: RelativeBias::None });
        let y = g.dense_map("proj", y, c);
        let x = g.add("sum", x, y);
        let first = g.token("first", x, 0);
        let graph = g.finish(x, first).expect("built");
        let weights = Origin::Random(seed).load(&graph, Source::Timm, &[]).expect("random");
        let tap = |name: &str| graph.find(name).expect("a layer");
        let fused = compare(&graph, &weights, &[x, first], [h, w, 3]);
        let apart = compare(&graph, &weights, &["qkv", "turn", "attention", "sum"].map(tap), [h, w, 3]);
        prop_assert!(fused < 1e-5 && apart < 1e-5, "{fused:e} {apart:e}");
        let near = compare_bf16(&graph, &[x, first], [h, w, 3]);
        prop_assert!(near < 5e-2, "{near:e}");
    }

    #[test]
    fn attention_in_windows_of_every_shape_gives_what_candle_gives(
        count in prop::array::uniform2(1usize..4), size in prop::array::uniform2(1usize..8),
        shift in prop::array::uniform2(0usize..8), heads in 1usize..4, each in 1usize..34, seed in any::<u64>(),
    ) {
        let [h, w] = [0, 1].map(|i| count[i] * size[i] * 2);
        let c = heads * enough_channels(heads, each);
        let shift = [0, 1].map(|i| shift[i] % size[i]);
        let (mut g, x) = Builder::new(3, h, w);
        let x = g.conv("stem", x, Conv::new(c).bias());
        let block = |g: &mut Builder, name: &str, x: LayerId, shift: [usize; 2], bias: RelativeBias| {
            let y = g.layer_norm(&format!("{name}.norm"), x, 1e-5);
            let y = g.dense_map(&format!("{name}.qkv"), y, 3 * c);
            let window = Some(AttentionWindow { size, shift });
            let y = g.attention(&format!("{name}.attention"), name, y, Attention { heads, window, bias });
            let y = g.dense_map(&format!("{name}.proj"), y, c);
            g.add(&format!("{name}.sum"), x, y)
        };
        let x = block(&mut g, "table", x, [0, 0], RelativeBias::Table);
        let x = block(&mut g, "shifted", x, shift, RelativeBias::Table);
        let x = block(&mut g, "cosine", x, shift, RelativeBias::Network { window: size, apart: false });
        let x = g.merge("merge", x);
        let x = g.layer_norm("norm", x, 1e-5);
        let x = g.dense_map_unbiased("reduce", x, 2 * c);
        g.push("responses", Op::Responses { eps: 1e-6 }, &[x], Shape::Vector(2 * c));
        let m = g.global_avg_pool("pool", x);
        let graph = g.finish(x, m).expect("built");
        let weights = Origin::Random(seed).load(&graph, Source::Timm, &[]).expect("random");
        let tap = |name: &str| graph.find(name).expect("a layer");
        let fused = compare(&graph, &weights, &[x, m], [h, w, 3]);
        let apart = [
            "table.attention", "table.sum", "shifted.qkv", "shifted.attention", "cosine.attention", "merge",
            "responses",
        ];
        let apart = compare(&graph, &weights, &apart.map(tap), [h, w, 3]);
        prop_assert!(fused < 1e-5 && apart < 1e-5, "{fused:e} {apart:e}");
        let near = compare_bf16(&graph, &[x, m], [h, w, 3]);
        prop_assert!(near < 5e-2, "{near:e}");
    }
}
