//! The score of a class, and its gradient with respect to the features. For scale, components and logistic regression,
//! which are linear, the gradient is the same for all rows.
//!
//! The score of a class is its logit minus the mean of all logits: adding the same number to all logits changes no
//! probability, and so it does not change the score. Nearest neighbours have no logits; their score is minus the mean
//! distance to the nearest rows of the class, and its gradient is not computed.

use crate::classifier::{Classifier, ClassifierError};
use crate::mlp::{Dense, Mlp};
use crate::reduction::{Projection, Reduction};
use crate::scale::Scaler;
use crate::table::FeatureMatrix;

impl Classifier {
    /// Returns the score of `class` for the first row of `x`.
    pub fn score(&self, x: &FeatureMatrix, class: usize) -> Result<f64, ClassifierError> {
        let knn = match self {
            Self::Layers(mlp) => return Ok(mlp.score(x.row(0), class)),
            Self::Neighbours(knn) => knn,
        };
        let found = knn.neighbours(&x.select_rows(&[0]), |_| knn.x.rows())?;
        let own = found.iter().flatten().filter(|near| knn.y[near.row] == class).take(knn.params.k);
        let own: Vec<f64> = own.map(|near| near.distance).collect();
        Ok(-own.iter().sum::<f64>() / own.len().max(1) as f64)
    }

    /// Returns the gradient (d) of the score of `class` at the row `x` (d). None for nearest neighbours.
    pub fn slope(&self, x: &[f32], class: usize) -> Option<Vec<f64>> {
        match self {
            Self::Layers(mlp) => Some(mlp.slope(x, class)),
            Self::Neighbours(_) => None,
        }
    }
}

impl Mlp {
    /// Returns the input of every layer for a row, and the output of the last one.
    fn values(&self, x: &[f32]) -> Vec<Vec<f64>> {
        let mut all = vec![x.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>()];
        for (at, layer) in self.layers.iter().enumerate() {
            let mut out = layer.apply(&all[at]);
            if at + 1 < self.layers.len() {
                out.iter_mut().for_each(|value| *value = self.activation.of(*value));
            }
            all.push(out);
        }
        all
    }

    /// Returns the weight of each output in the score of `class`.
    fn contrast(&self, class: usize) -> Vec<f64> {
        if self.classes == 2 {
            // The only output is the logit of the second class; that of the first is 0.
            return vec![if class == 1 { 0.5 } else { -0.5 }];
        }
        let share = 1.0 / self.classes as f64;
        (0..self.classes).map(|other| f64::from(other == class) - share).collect()
    }

    fn score(&self, x: &[f32], class: usize) -> f64 {
        let values = self.values(x);
        values.last().into_iter().flatten().zip(self.contrast(class)).map(|(logit, weight)| logit * weight).sum()
    }

    fn slope(&self, x: &[f32], class: usize) -> Vec<f64> {
        let values = self.values(x);
        let mut slope = self.contrast(class);
        for (at, layer) in self.layers.iter().enumerate().rev() {
            slope = layer.pull_back(&slope);
            if at > 0 {
                slope.iter_mut().zip(&values[at]).for_each(|(slope, &v)| *slope *= self.activation.slope_f64(v));
            }
        }
        slope
    }
}

impl Dense {
    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let mut out: Vec<f64> = self.bias.iter().map(|&bias| f64::from(bias)).collect();
        for (x, weights) in x.iter().zip(self.weights.chunks_exact(self.outputs.max(1))) {
            out.iter_mut().zip(weights).for_each(|(sum, &weight)| *sum += x * f64::from(weight));
        }
        out
    }

    fn pull_back(&self, slope: &[f64]) -> Vec<f64> {
        let of = |weights: &[f32]| weights.iter().zip(slope).map(|(&weight, slope)| f64::from(weight) * slope).sum();
        self.weights.chunks_exact(self.outputs.max(1)).map(of).collect()
    }
}

impl Reduction {
    /// Returns the gradient with respect to the columns of the input, at the row `x` (d), from `slope`, the gradient
    /// with respect to the columns of the result.
    pub fn pull_back(&self, x: &[f32], slope: Vec<f64>) -> Vec<f64> {
        let mut slope = match &self.projection {
            None => slope,
            Some(Projection::Pca(pca)) => {
                let factors = pca.whitening().unwrap_or_else(|| vec![1.0; slope.len()]);
                let slope: Vec<f64> = slope.iter().zip(factors).map(|(slope, factor)| slope * factor).collect();
                along(&pca.components, self.columns, &slope)
            }
            Some(Projection::Svd(svd)) => along(&svd.components, self.columns, &slope),
        };
        match &self.scaler {
            None => {}
            Some(Scaler::Standard(standard)) => {
                slope.iter_mut().zip(&standard.scale).for_each(|(slope, scale)| *slope /= scale);
            }
            Some(Scaler::L2(_)) => {
                let length = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
                if length > 0.0 {
                    // A change along the row does not change its direction, so that part of the gradient is removed.
                    let along: f64 = x.iter().zip(&slope).map(|(&v, slope)| f64::from(v) * slope).sum();
                    let along = along / (length * length);
                    slope.iter_mut().zip(x).for_each(|(slope, &v)| *slope = (*slope - along * f64::from(v)) / length);
                }
            }
        }
        slope
    }
}

/// Returns the sum of the components (k, d), each times its weight.
fn along(components: &[f32], columns: usize, weights: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; columns];
    for (component, weight) in components.chunks_exact(columns.max(1)).zip(weights) {
        sum.iter_mut().zip(component).for_each(|(sum, &value)| *sum += weight * f64::from(value));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Transformer;
    use crate::golden::noise;
    use crate::mlp::{Activation, End};
    use crate::pca::{Pca, TruncatedSvd};
    use crate::scale::{Normalizer, StandardScaler};

    fn mlp(widths: &[usize], classes: usize, activation: Activation) -> Mlp {
        let dense = |pair: &[usize]| Dense {
            inputs: pair[0],
            outputs: pair[1],
            weights: noise(pair[0] * pair[1], pair[0] as u64),
            bias: noise(pair[1], 9),
        };
        let layers = widths.windows(2).map(dense).collect();
        let (loss_curve, validation_scores) = (Vec::new(), Vec::new());
        Mlp { layers, activation, classes, loss_curve, validation_scores, n_iter: 0, end: End::Converged }
    }

    fn reductions(d: usize, k: usize) -> Vec<Reduction> {
        let some = noise(k * d, 5);
        let numbers = |n: usize| noise(n, 77).iter().map(|&v| f64::from(v) + 2.0).collect::<Vec<f64>>();
        let pca = |whiten| Pca {
            features: d,
            mean: numbers(d),
            components: some.clone(),
            explained_variance: numbers(k),
            explained_variance_ratio: numbers(k),
            singular_values: numbers(k),
            noise_variance: 0.0,
            total_variance: 1.0,
            rows: 9,
            whiten,
        };
        let svd = TruncatedSvd {
            features: d,
            components: some.clone(),
            explained_variance: numbers(k),
            explained_variance_ratio: numbers(k),
            singular_values: numbers(k),
            total_variance: 1.0,
            rows: 9,
        };
        let standard = Scaler::Standard(StandardScaler { mean: numbers(d), scale: numbers(d) });
        vec![
            Reduction { columns: d, scaler: None, projection: Some(Projection::Pca(pca(false))) },
            Reduction { columns: d, scaler: Some(standard), projection: Some(Projection::Pca(pca(true))) },
            Reduction { columns: d, scaler: Some(Scaler::L2(Normalizer)), projection: Some(Projection::Svd(svd)) },
        ]
    }

    #[test]
    fn slopes_are_the_differences_of_scores() {
        let (d, k) = (7, 4);
        for reduction in reductions(d, k) {
            for (widths, classes, activation) in [
                (&[4, 3][..], 3, Activation::Identity),
                (&[4, 1], 2, Activation::Identity),
                (&[4, 6, 5, 3], 3, Activation::Tanh),
                (&[4, 6, 3], 3, Activation::Logistic),
                (&[4, 6, 3], 3, Activation::Relu),
            ] {
                let classifier = Classifier::Layers(mlp(widths, classes, activation));
                let x = noise(d, 31);
                let reduced = |x: &[f32]| {
                    let row = FeatureMatrix::from_vec(1, d, x.to_vec()).expect("a row");
                    reduction.transform(&row).expect("reduced")
                };
                let score = |x: &[f32], class| classifier.score(&reduced(x), class).expect("a score");
                for class in 0..classes {
                    let slope = classifier.slope(reduced(&x).row(0), class).expect("layers");
                    let slope = reduction.pull_back(&x, slope);
                    for (i, slope) in slope.iter().enumerate() {
                        let at = |step: f32| {
                            let mut x = x.clone();
                            x[i] += step;
                            score(&x, class)
                        };
                        let found = (at(1e-2) - at(-1e-2)) / 2e-2;
                        assert!((slope - found).abs() < 2e-3 * (1.0 + found.abs()), "{activation:?}: {slope} {found}");
                    }
                }
                let total: f64 = (0..classes).map(|class| score(&x, class)).sum();
                assert!(total.abs() < 1e-9, "scores are told against their mean: {total}");
            }
        }
    }
}
