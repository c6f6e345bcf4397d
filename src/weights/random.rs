//! Weights from a seed: He et al. 2015 (arXiv:1502.01852), normal with variance 2 / fan-in; batch norm as the identity.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Tensor, WeightSet};
use crate::models::graph::Graph;

/// He-initialised weights for every tensor of `graph`; the same seed gives the same bits on every machine.
pub fn he(graph: &Graph, seed: u64) -> WeightSet {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut set = WeightSet::default();
    for parameter in graph.parameters() {
        let len = parameter.shape.iter().product();
        let values = match parameter.name.rsplit('.').next() {
            Some("weight") if parameter.shape.len() > 1 => {
                let fan_in: usize = parameter.shape[1..].iter().product();
                let std = (2.0 / fan_in as f64).sqrt();
                (0..len).map(|_| (normal(&mut rng) * std) as f32).collect()
            }
            Some("weight" | "running_var") => vec![1.0; len],
            _ => vec![0.0; len],
        };
        set.tensors.insert(parameter.name, Tensor::ready(parameter.shape, values));
    }
    set
}

/// A standard normal by Marsaglia's polar method, without the second value of the pair.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    loop {
        let (x, y) = (rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0));
        let s: f64 = x * x + y * y;
        if s > 0.0 && s < 1.0 {
            return x * (-2.0 * s.ln() / s).sqrt();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{BuildOptions, Source, find};

    #[test]
    fn the_variance_is_two_over_fan_in_and_the_seed_decides() {
        let spec = find("efficientnet_lite0").expect("registered");
        let options = BuildOptions { channels: 3, size: [32, 32], classes: 10, source: Source::Timm };
        let graph = (spec.build)(&options).expect("built");
        let set = he(&graph, 1);
        let values = |set: &WeightSet| set.tensors["conv_head.weight"].values().expect("at hand"); // (1280, 320, 1, 1)
        let head = values(&set);
        let variance = head.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>() / head.len() as f64;
        assert!((variance * 320.0 / 2.0 - 1.0).abs() < 0.01, "{variance}");
        assert_eq!(head, values(&he(&graph, 1)));
        assert_ne!(head, values(&he(&graph, 2)));
    }
}
