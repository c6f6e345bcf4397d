//! Multinomial logistic regression with the meaning and the numbers of `sklearn.linear_model.LogisticRegression(solver="lbfgs")`.
//!
//! It is a perceptron without hidden layers and is kept as one: one output for two classes, else one for each. The loss is the mean log loss
//! plus ‖w‖² / (2 C Σ weights), the start is 0, the biases are not penalised.

use std::ops::ControlFlow;

use super::lbfgs::{Limits, minimize};
use super::mlp::{Activation, Dense, FullBatch, Mlp, MlpError};
use crate::table::Rows;

/// Hyperparameters by scikit-learn's names and defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct LogisticParams {
    /// Inverse strength of the L2 penalty.
    pub c: f64,
    /// No component of the gradient is larger at the end.
    pub tol: f64,
    /// Most iterations.
    pub max_iter: usize,
    /// Whether there are biases.
    pub fit_intercept: bool,
    /// Weight of a row of each class; none: all alike.
    pub class_weight: Option<Vec<f64>>,
}

impl Default for LogisticParams {
    fn default() -> Self {
        Self { c: 1.0, tol: 1e-4, max_iter: 100, fit_intercept: true, class_weight: None }
    }
}

impl LogisticParams {
    /// Fits the named rows of `x` (n, d) with a class number for every row of it. `on_iteration` hears of every iteration and its loss; when
    /// it breaks, the end is [`MlpError::Interrupted`].
    pub fn fit(
        &self,
        x: &dyn Rows,
        y: &[usize],
        rows: &[usize],
        classes: usize,
        on_iteration: &mut dyn FnMut(usize, f64) -> ControlFlow<()>,
    ) -> Result<Mlp, MlpError> {
        super::mlp::check_rows(x, y, rows, classes)?;
        let outputs = if classes == 2 { 1 } else { classes };
        let batch = FullBatch {
            x,
            y,
            rows,
            weights: self.class_weight.as_deref(),
            label_smoothing: 0.0,
            activation: Activation::Identity,
            widths: vec![x.cols(), outputs],
            alpha: 1.0 / self.c,
            intercept: self.fit_intercept,
        };
        let limits = Limits {
            max_iter: self.max_iter,
            max_fun: 15_000,
            max_line_search: 50,
            gtol: self.tol,
            ftol: 64.0 * f64::EPSILON,
        };
        let mut loss_curve = Vec::new();
        let mut heard = |number: usize, loss: f64| {
            loss_curve.push(loss);
            on_iteration(number, loss).map_break(|()| MlpError::Interrupted)
        };
        let start = vec![0.0; (x.cols() + 1) * outputs];
        let found = minimize(start, limits, &mut |at, gradient| batch.loss(at, gradient), &mut heard)?;
        let layers: Vec<Dense> = batch.unpack(&found.x);
        Ok(Mlp {
            layers,
            activation: Activation::Identity,
            classes,
            loss_curve,
            validation_scores: Vec::new(),
            n_iter: found.iterations,
            end: found.end,
        })
    }
}

/// scikit-learn's `class_weight="balanced"`: rows / (classes × rows of the class), over the named rows; 1 for a class without rows.
pub fn balanced(y: &[usize], rows: &[usize], classes: usize) -> Vec<f64> {
    let mut counts = vec![0_usize; classes];
    rows.iter().for_each(|&row| counts[y[row]] += 1);
    let present = counts.iter().filter(|&&count| count > 0).count();
    let weight = |count: usize| if count == 0 { 1.0 } else { rows.len() as f64 / (present * count) as f64 };
    counts.into_iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn coefficients_are_those_of_scikit_learn() {
        let golden = golden::classifiers();
        for case in golden::list(&golden["logistic"]) {
            let (x, y, classes) = golden::labelled(&case["labelled"]);
            let rows: Vec<usize> = (0..x.rows()).collect();
            let params = LogisticParams {
                c: golden::number(&case["C"]),
                tol: 1e-8,
                max_iter: 2000,
                fit_intercept: case["fit_intercept"].as_bool().expect("a bool"),
                class_weight: (case["class_weight"] == "balanced").then(|| balanced(&y, &rows, classes)),
            };
            let model =
                params.fit(&x, &y, &rows, classes, &mut |_, _| ControlFlow::Continue(())).expect("a classifier");
            assert!(model.converged());
            let scale = golden::vector(&case["coef"]).iter().fold(0.0_f64, |most, c| most.max(c.abs()));
            let near = |got: &[f32], expected: &[f64]| {
                assert_eq!(got.len(), expected.len());
                for (got, expected) in got.iter().zip(expected) {
                    assert!((f64::from(*got) - expected).abs() <= 1e-5 * scale, "{got}, scikit-learn has {expected}");
                }
            };
            near(&model.layers[0].weights, &golden::vector(&case["coef"]));
            near(&model.layers[0].bias, &golden::vector(&case["intercept"]));
            let got = model.predict_proba(&x.select_rows(&[0, 1, 2, 3, 4, 5])).expect("probabilities");
            golden::near(got.as_slice(), &golden::vector_f32(&case["probabilities"]), 1e-5);
        }
    }
}
