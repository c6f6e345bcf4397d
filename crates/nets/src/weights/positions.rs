//! Resizes position embeddings to another grid than that of the file, as the library of the network does: cubic
//! interpolation along rows, then along columns.

use super::WeightSet;
use crate::models::graph::{Graph, Op, PositionResize, Shape};

impl WeightSet {
    /// Resizes the position embeddings of a square grid to the grid of `graph`.
    pub(super) fn for_positions(mut self, graph: &Graph) -> Self {
        for layer in graph.layers() {
            let (Op::Tokens(tensors), Shape::Map { c, h, w }) = (layer.op, graph.input_shape(layer)) else { continue };
            let class = usize::from(tensors.class_position);
            let Some(tensor) = self.tensors.get(tensors.positions) else { continue };
            let &[1, n, found] = tensor.shape() else { continue };
            let side = n.saturating_sub(class).isqrt();
            if found != c || side == 0 || side * side + class != n || [side, side] == [h, w] {
                continue;
            }
            let resize = self.resize.unwrap_or(tensors.resize);
            let resized = tensor.map(vec![1, h * w + class, c], move |values| {
                let (class, map) = values.split_at(class * c);
                let columns = weights(side, w, resize);
                let rows = weights(side, h, resize);
                // (side, side, c) → (side, w, c) → (h, w, c)
                let wide: Vec<f64> = map
                    .chunks_exact(side * c)
                    .flat_map(|row| mixed(&columns, c, |at, i| f64::from(row[at * c + i])))
                    .collect();
                let tall = mixed(&rows, w * c, |at, i| wide[at * w * c + i]);
                class.iter().copied().chain(tall.into_iter().map(|value| value as f32)).collect()
            });
            self.tensors.insert(tensors.positions.to_string(), resized);
        }
        self
    }
}

/// For each new position the weighted sum over the old ones; a position has so many `values`.
fn mixed(weights: &[Vec<(usize, f64)>], values: usize, value: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let sum =
        |terms: &[(usize, f64)], i: usize| -> f64 { terms.iter().map(|&(at, weight)| weight * value(at, i)).sum() };
    weights.iter().flat_map(|terms| (0..values).map(|i| sum(terms, i)).collect::<Vec<f64>>()).collect()
}

/// For each of `new` positions the old positions that contribute to it, with their weights: PyTorch's `interpolate`
/// with mode `bicubic`.
fn weights(old: usize, new: usize, resize: PositionResize) -> Vec<Vec<(usize, f64)>> {
    let ratio = match resize {
        PositionResize::Corners if new > 1 => (old - 1) as f64 / (new - 1) as f64,
        PositionResize::Corners => 0.0,
        PositionResize::Offset => old as f64 / (new as f64 + 0.1),
        PositionResize::Plain | PositionResize::Antialiased => old as f64 / new as f64,
    };
    if resize != PositionResize::Antialiased {
        return of_neighbours(old, new, ratio, resize == PositionResize::Corners);
    }
    (0..new)
        .map(|at| {
            let (centre, wide) = (ratio * (at as f64 + 0.5), ratio.max(1.0));
            let first = (centre - 2.0 * wide + 0.5).max(0.0) as usize;
            let end = ((centre + 2.0 * wide + 0.5) as usize).min(old);
            let weight = |place: usize| cubic((place as f64 - centre + 0.5) / wide, -0.5);
            let sum: f64 = (first..end).map(weight).sum();
            (first..end).map(|place| (place, weight(place) / sum)).collect()
        })
        .collect()
}

/// For each of `new` positions its four neighbours among the old ones, with their weights. New positions are `ratio`
/// old positions apart; with `corners` the first new position is the first old one, else half a step from the edge.
pub(crate) fn of_neighbours(old: usize, new: usize, ratio: f64, corners: bool) -> Vec<Vec<(usize, f64)>> {
    let neighbours = |at: usize| {
        let centre = if corners { ratio * at as f64 } else { ratio * (at as f64 + 0.5) - 0.5 };
        let before = centre.floor();
        // beyond the edge the last position is repeated
        let place = |step: f64| (before + step).clamp(0.0, (old - 1) as f64) as usize;
        let weight = |step: f64| cubic(before + step - centre, -0.75);
        [-1.0, 0.0, 1.0, 2.0].map(|step| (place(step), weight(step))).to_vec()
    };
    (0..new).map(neighbours).collect()
}

/// Keys' cubic convolution.
fn cubic(x: f64, a: f64) -> f64 {
    match x.abs() {
        x if x < 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * a,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Source, built};
    use crate::weights::Tensor;

    /// The first 12 values of `F.interpolate(x, mode="bicubic", …)` of torch 2.15 in float64, for a grid of 5 × 5 whose
    /// value i is ((7 i + 3) mod 11) / 11, with `antialias=True`, without options, with `align_corners=True`, and with
    /// `scale_factor=((h + 0.1) / 5, …)`.
    #[test]
    fn grids_are_resized_as_by_pytorch() {
        use PositionResize::{Antialiased, Corners, Offset, Plain};
        #[rustfmt::skip]
        let expected: [([usize; 2], PositionResize, [f64; 12]); 8] = [
            ([3, 4], Antialiased, [0.374458, 0.61998, 0.396454, 0.40497, 0.566838, 0.410068,
                0.645002, 0.2122, 0.413211, 0.387733, 0.575381, 0.584352]),
            ([3, 4], Plain, [0.353965, 0.683118, 0.321449, 0.513177, 0.591841, 0.486062,
                0.75839, 0.216087, 0.305574, 0.427886, 0.624937, 0.543409]),
            ([3, 4], Corners, [0.272727, 0.885522, 0.205387, 0.818182, 0.636364, 0.452862,
                0.73569, 0.181818, 0.0, 0.557239, 0.728956, 0.545455]),
            ([3, 4], Offset, [0.348235, 0.700939, 0.344563, 0.491307, 0.577097, 0.444448,
                0.805284, 0.220692, 0.414576, 0.40765, 0.517749, 0.574982]),
            ([7, 6], Antialiased, [0.236496, 0.831967, 0.763057, 0.325632, 0.300014, 0.891483,
                0.359542, 0.408721, 0.587107, 0.500954, 0.263489, 0.35111]),
            ([7, 6], Plain, [0.220861, 0.85814, 0.803958, 0.281958, 0.291164, 0.920141,
                0.35618, 0.379751, 0.586762, 0.502784, 0.2426, 0.327361]),
            ([7, 6], Corners, [0.272727, 0.832, 0.771636, 0.319273, 0.258909, 0.818182,
                0.377104, 0.306007, 0.560828, 0.546983, 0.242694, 0.237374]),
            ([7, 6], Offset, [0.217954, 0.845256, 0.825443, 0.307118, 0.251391, 0.88841,
                0.352328, 0.389825, 0.583552, 0.517864, 0.243688, 0.339024]),
        ];
        let grid: Vec<f64> = (0..25).map(|i| f64::from((7 * i + 3) % 11) / 11.0).collect();
        for ([h, w], resize, values) in expected {
            let columns = weights(5, w, resize);
            let wide: Vec<f64> = grid.chunks(5).flat_map(|row| mixed(&columns, 1, |at, _| row[at])).collect();
            let found = mixed(&weights(5, h, resize), w, |at, i| wide[at * w + i]);
            assert_eq!(found.len(), h * w);
            for (found, value) in found.iter().zip(values) {
                assert!((found - value).abs() < 2e-6, "{h}×{w} {resize:?}: {found}, not {value}");
            }
        }
    }

    #[test]
    fn the_embedding_of_the_class_token_stays_and_those_of_the_map_fit_its_size() {
        let graph = built("vit_tiny_patch16_224", Source::Timm, [32, 48], 10);
        let values: Vec<f32> = (0..197 * 192).map(|i| if i < 192 { i as f32 } else { 7.0 }).collect();
        let mut set = WeightSet::default();
        set.tensors.insert("pos_embed".into(), Tensor::ready(vec![1, 197, 192], values));
        let tensor = set.for_positions(&graph).tensors["pos_embed"].clone();
        assert_eq!(tensor.shape(), [1, 7, 192]);
        let values = tensor.values().expect("at hand");
        assert!(values[..192].iter().enumerate().all(|(i, &v)| v == i as f32));
        assert!(values[192..].iter().all(|v| (v - 7.0).abs() < 1e-5));
    }
}
