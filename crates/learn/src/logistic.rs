//! Multinomial logistic regression with the meaning and the numbers of
//! `sklearn.linear_model.LogisticRegression(solver="lbfgs")`.
//!
//! It is a perceptron without hidden layers and is stored as one: one output for two classes, else one for each. The
//! loss is the mean log loss plus ‖w‖² / (2 C Σ weights), the start is 0, the biases are not penalised.

use std::ops::ControlFlow;

use crate::dataset::{Fit, Labelled, Labels, Selected};
use crate::hyperparameters::{ClassWeight, InMemory, ParamError, Range, hyperparameters};
use crate::lbfgs::Limits;
use crate::mlp::{self, Activation, FullBatch, Mlp, MlpError, Samples, Training};

/// The most evaluations of the loss: scipy's `maxfun`.
const MAX_FUN: usize = 15_000;

hyperparameters! {
    /// `train.logistic`: multinomial logistic regression by the names and ranges of scikit-learn's
    /// `LogisticRegression`.
    #[schemars(rename = "Logistic")]
    pub struct LogisticParams {
        /// Inverse strength of the L2 penalty.
        pub c: f64 = 1.0, in Range::Above(0.0), also "C";
        /// Weights of the classes. `balanced` gives every class the same weight, whatever its number of pictures.
        /// `{Banana: 2.0}` sets the weight of each picture of a class; classes that are not named have 1. Default:
        /// every picture weighs the same.
        pub class_weight: Option<ClassWeight> = None;
        /// The most iterations.
        pub max_iter: usize = 100, in Range::COUNT;
        /// The training ends when no component of the gradient is larger than this.
        pub tol: f64 = 1e-4, in Range::Above(0.0);
        /// Whether a constant is fitted for each class.
        pub fit_intercept: bool = true;
        /// Where the rows of the train table are kept while the classifier is trained. `true` keeps them in memory;
        /// `false` copies them to a file without a name in `output.dir`, 4 bytes a value, and reads them from there in
        /// order at every evaluation of the loss; `auto` is `false` from 2 GiB on. The classifier is the same. Of
        /// several classifiers that are compared, one that keeps the folds of the cross-validation in memory makes all
        /// of them do so.
        #[schemars(extend("default" = "auto"))]
        pub in_memory: InMemory = InMemory::Auto;
    }
}

impl LogisticParams {
    /// Returns an error about a hyperparameter that is out of its range.
    pub fn check(&self) -> Result<(), ParamError> {
        self.check_ranges()?;
        self.class_weight.iter().try_for_each(ClassWeight::check)
    }
}

impl Fit<Selected<'_>, Labels<'_>, MlpError> for LogisticParams {
    type Object = Mlp;

    /// Fits on features (n, d).
    fn fit(&self, dataset: &Labelled<'_>) -> Result<Mlp, MlpError> {
        Training { params: self, start: None, on_epoch: &|_| ControlFlow::Continue(()) }.fit(dataset)
    }
}

impl Fit<Selected<'_>, Labels<'_>, MlpError> for Training<'_, LogisticParams> {
    type Object = Mlp;

    /// Fits on features (n, d). The loss has one minimum, so the fit starts at 0 whatever `start` is.
    fn fit(&self, dataset: &Labelled<'_>) -> Result<Mlp, MlpError> {
        let params = self.params;
        params.check()?;
        let weights = mlp::weights(params.class_weight.as_ref(), dataset);
        let samples = Samples::of(dataset, weights.as_deref());
        samples.check()?;
        let Samples { x, y, rows, classes, weights } = samples;
        let outputs = mlp::outputs(classes);
        let batch = FullBatch {
            x,
            y,
            rows,
            classes,
            weights,
            label_smoothing: 0.0,
            activation: Activation::Identity,
            widths: vec![x.cols(), outputs],
            alpha: 1.0 / params.c,
            intercept: params.fit_intercept,
        };
        let (max_iter, gtol) = (params.max_iter, params.tol);
        let limits = Limits { max_iter, max_fun: MAX_FUN, max_line_search: 50, gtol, ftol: 64.0 * f64::EPSILON };
        batch.train(vec![0.0; (x.cols() + 1) * outputs], limits, self.on_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn coefficients_are_those_of_scikit_learn() {
        let golden = golden::load("classifiers");
        for case in golden::list(&golden["logistic"]) {
            let (x, y, classes) = golden::labelled(&case["labelled"]);
            let rows: Vec<usize> = (0..x.rows()).collect();
            let params = LogisticParams {
                c: golden::number(&case["C"]),
                tol: 1e-8,
                max_iter: 2000,
                fit_intercept: case["fit_intercept"].as_bool().expect("a bool"),
                class_weight: (case["class_weight"] == "balanced").then_some(ClassWeight::Balanced),
                ..LogisticParams::default()
            };
            let labels = Labels { y: &y, classes: &golden::names(classes) };
            let dataset = Labelled::new(Selected { table: &x, rows: &rows }, labels);
            let model = params.fit(&dataset).expect("a classifier");
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
