//! Weights from a seed: He et al. 2015 (arXiv:1502.01852), normal with variance 2 / fan-in; norms and scales as the
//! identity.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::{Tensor, WeightSet};
use crate::models::graph::{Graph, Parameter};

/// He-initialised weights for every tensor of `graph`, drawn on demand; the same seed gives the same bits on every
/// machine, and those of a tensor do not depend on the other tensors.
pub(super) fn he(graph: &Graph, seed: u64) -> WeightSet {
    let mut set = WeightSet::default();
    for Parameter { name, shape } in graph.parameters() {
        let len: usize = shape.iter().product();
        let tensor = match name.rsplit('.').next() {
            Some("weight" | "in_proj_weight") if shape.len() > 1 => {
                let fan_in: usize = shape[1..].iter().product();
                let (std, seed) = ((2.0 / fan_in as f64).sqrt(), seed_of(&name, seed));
                Tensor::later(shape, move || {
                    let mut rng = ChaCha8Rng::from_seed(seed);
                    Ok((0..len).map(|_| (normal(&mut rng) * std) as f32).collect())
                })
            }
            Some("weight" | "running_var" | "gamma" | "layer_scale") => Tensor::ready(shape, vec![1.0; len]),
            _ => Tensor::ready(shape, vec![0.0; len]),
        };
        set.tensors.insert(name, tensor);
    }
    set
}

/// The seed of one tensor.
fn seed_of(name: &str, seed: u64) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update(name.as_bytes());
    hasher.finalize().into()
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
    use crate::models::{Source, built};

    #[test]
    fn the_variance_is_two_over_fan_in_and_the_seed_decides() {
        let graph = built("efficientnet_lite0", Source::Timm, [32, 32], 10);
        let set = he(&graph, 1);
        let values = |set: &WeightSet| set.tensors["conv_head.weight"].values().expect("at hand"); // (1280, 320, 1, 1)
        let head = values(&set);
        let variance = head.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>() / head.len() as f64;
        assert!((variance * 320.0 / 2.0 - 1.0).abs() < 0.01, "{variance}");
        assert_eq!(head, values(&he(&graph, 1)));
        assert_ne!(head, values(&he(&graph, 2)));
    }
}
