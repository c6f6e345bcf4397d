//! Attention over planned maps, and the steps that make tokens of a map and a map of tokens.

use super::Op;
use crate::exec::cpu::map::Map;
use crate::exec::lower::AttentionKernel;
use crate::models::graph::{AttentionWindow, Pad};
use featurize_kernels::attention::{Attention, AttentionPlaces, AttentionShape};
use featurize_kernels::simd::Isa;

/// Attention over the positions of `from`, for all pictures that go through it together. The channels of a position are
/// queries, keys and values.
pub(crate) fn attend(isa: Isa, kernel: AttentionKernel, pictures: usize, [from, to]: [&Map; 2]) -> Op {
    let AttentionKernel { heads, scale, cosine, bias, window } = kernel;
    let window = window.unwrap_or(AttentionWindow { size: [from.h, from.w], shift: [0; 2] });
    let AttentionWindow { size: [wh, ww], .. } = window;
    let keys = wh * ww;
    let order: Vec<[usize; 2]> = windows(window, from).flatten().collect();
    let starts = |map: &Map, channel: usize| {
        let all = (0..pictures).flat_map(|p| order.iter().map(move |&[y, x]| (p, y, x)));
        all.map(|(p, y, x)| (map.base(p) + map.at(y, x, Pad::default()) + channel) as u32).collect()
    };
    let places = AttentionPlaces {
        queries: starts(from, 0),
        keys: starts(from, to.c),
        value_offset: to.c,
        outputs: starts(to, 0),
        kinds: kinds(window, from),
    };
    let bias = biases(window, heads, bias);
    let shape = AttentionShape { heads, size: to.c / heads, queries: keys, keys, cosine };
    Op::Attention { packed: Box::new(Attention::new(isa, shape, scale, bias, places)), queries: None }
}

/// Attention of one query a head, the same for each picture, over the tokens of `from`, whose channels are keys and
/// values.
pub(crate) fn pool_tokens(isa: Isa, heads: usize, query: Vec<f32>, pictures: usize, [from, to]: [&Map; 2]) -> Op {
    let places = AttentionPlaces {
        queries: vec![0; pictures],
        keys: from.positions(Pad::default(), [1, 1], [from.h, from.w], pictures),
        value_offset: to.c,
        outputs: to.positions(Pad::default(), [1, 1], [1, 1], pictures),
        kinds: vec![0],
    };
    let shape = AttentionShape { heads, size: to.c / heads, queries: 1, keys: from.h * from.w, cosine: false };
    let packed = Box::new(Attention::new(isa, shape, vec![1.0; heads], Vec::new(), places));
    Op::Attention { packed, queries: Some(query) }
}

/// The positions (row, column) of each window, in the map before it is shifted.
fn windows(window: AttentionWindow, map: &Map) -> impl Iterator<Item = Vec<[usize; 2]>> + use<> {
    let (AttentionWindow { size: [wh, ww], shift }, [h, w]) = (window, [map.h, map.w]);
    let corners = (0..h / wh).flat_map(move |y| (0..w / ww).map(move |x| [y * wh, x * ww]));
    corners.map(move |[top, left]| {
        let places = (0..wh).flat_map(|y| (0..ww).map(move |x| [top + y, left + x]));
        places.map(|[y, x]| [(y + shift[0]) % h, (x + shift[1]) % w]).collect()
    })
}

/// For each window of a picture the index of its bias, see [`biases`]: windows at the lower and right edge of the
/// shifted map have biases of their own.
fn kinds(window: AttentionWindow, map: &Map) -> Vec<usize> {
    let count = [map.h / window.size[0], map.w / window.size[1]];
    let edge = |at: usize, i: usize| usize::from(window.shift[i] > 0 && at + 1 == count[i]);
    (0..count[0]).flat_map(|y| (0..count[1]).map(move |x| 2 * edge(y, 0) + edge(x, 1))).collect()
}

/// The biases `(kinds, heads, queries, keys)`: those of most windows, and where windows are shifted those of the
/// windows at the right edge, at the lower edge, and at both, which mask positions from opposite sides of the map.
fn biases(window: AttentionWindow, heads: usize, bias: Vec<f32>) -> Vec<f32> {
    let AttentionWindow { size: [wh, ww], shift } = window;
    if shift == [0, 0] {
        return bias;
    }
    let keys = wh * ww;
    let each = if bias.is_empty() { vec![0.0; heads * keys * keys] } else { bias };
    let part = |kind: usize, at: usize| {
        let [below, beyond] = [at / ww >= wh - shift[0], at % ww >= ww - shift[1]];
        [kind & 2 > 0 && below, kind & 1 > 0 && beyond]
    };
    let masked = |kind: usize| {
        let at = move |i: usize| (part(kind, i / keys % keys), part(kind, i % keys));
        let mask = move |i: usize| if at(i).0 == at(i).1 { 0.0 } else { AttentionWindow::MASK };
        each.iter().enumerate().map(move |(i, bias)| bias + mask(i))
    };
    (0..4).flat_map(masked).collect()
}

/// Writes the first tokens, then the positions of a map with their embeddings added; `given` is added to the first
/// token.
pub(super) fn put_tokens(
    [first, positions, given]: [&[f32]; 3],
    (from, values): (&Map, &[f32]),
    to: &Map,
    output: &mut [f32],
) {
    let mut runs = to.runs(false);
    first.chunks_exact(to.c).zip(&mut runs).for_each(|(token, run)| output[run].copy_from_slice(token));
    output[to.at(0, 0, Pad::default())..].iter_mut().zip(given).for_each(|(to, value)| *to += value);
    for ((run, position), added) in runs.zip(from.runs(false)).zip(positions.chunks_exact(to.c)) {
        let sums = values[position].iter().zip(added).map(|(value, added)| value + added);
        output[run].iter_mut().zip(sums).for_each(|(to, sum)| *to = sum);
    }
}

/// Rotary position embedding of queries and keys: x · cos + (−second half, first half) · sin, with angles for each
/// token.
pub(super) fn turn(heads: usize, angles: &[Vec<f32>; 2], (from, values): (&Map, &[f32]), to: &Map, output: &mut [f32]) {
    let size = to.c / 3 / heads;
    let [cos, sin] = angles.each_ref().map(|values| values.chunks_exact(size));
    for (((to, from), cos), sin) in to.runs(false).zip(from.runs(false)).zip(cos).zip(sin) {
        let (to, from) = (&mut output[to], &values[from]);
        to.copy_from_slice(from);
        let vectors = to.chunks_exact_mut(size).zip(from.chunks_exact(size)).take(2 * heads);
        for (to, from) in vectors {
            let (first, second) = from.split_at(size / 2);
            let across = second.iter().map(|v| -v).chain(first.iter().copied());
            for (((to, v), across), (cos, sin)) in to.iter_mut().zip(from).zip(across).zip(cos.iter().zip(sin)) {
                *to = v * cos + across * sin;
            }
        }
    }
}

/// Copies tokens from one on, or merges the channels of 2 × 2 squares of positions.
pub(crate) fn gather<T: Copy>(op: &Op, (from, values): (&Map, &[T]), to: &Map, output: &mut [T]) {
    if let Op::Select(first) = op {
        for (to, from) in to.runs(false).zip(from.runs(false).skip(*first)) {
            output[to].copy_from_slice(&values[from]);
        }
        return;
    }
    for (y, x) in (0..to.h).flat_map(|y| (0..to.w).map(move |x| (y, x))) {
        for (i, [down, across]) in [[0, 0], [1, 0], [0, 1], [1, 1]].into_iter().enumerate() {
            let start = to.at(y, x, Pad::default()) + i * from.c;
            let square = from.at(2 * y + down, 2 * x + across, Pad::default());
            output[start..start + from.c].copy_from_slice(&values[square..square + from.c]);
        }
    }
}
