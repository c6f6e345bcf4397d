//! Compares the MLP with scikit-learn's loss curves, and tests its other properties.

mod batch;

use std::cell::RefCell;

use serde_json::Value;

use super::*;
use crate::dataset::Predict;
use crate::golden;
use crate::table::{FeatureMatrix, Rows};

fn go_on(_: &Epoch) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Fits on the named rows, and calls `on_epoch`.
fn fit_rows(
    params: &MlpParams,
    table: &dyn Rows,
    y: &[usize],
    rows: &[usize],
    on_epoch: OnEpoch,
) -> Result<Mlp, MlpError> {
    let classes = golden::names(y.iter().max().map_or(0, |most| most + 1).max(3));
    let labels = Labels { y, classes: &classes };
    Training { params, start: None, on_epoch }.fit(&Labelled::new(Selected { table, rows }, labels))
}

/// Fits on all rows.
fn fit(params: &MlpParams, table: &dyn Rows, y: &[usize]) -> Result<Mlp, MlpError> {
    fit_rows(params, table, y, &(0..table.rows()).collect::<Vec<_>>(), &go_on)
}

/// Trains given layers on the samples in a given order, to compare with scikit-learn step by step.
fn fit_from(
    params: &MlpParams,
    x: &dyn Rows,
    y: &[usize],
    weights: Option<&[f64]>,
    start: Vec<Dense>,
    order: Order,
) -> Result<Mlp, MlpError> {
    let rows: Vec<usize> = (0..x.rows()).collect();
    let classes = y.iter().max().map_or(0, |most| most + 1);
    train::train(params, Samples { x, y, rows: &rows, classes, weights }, start, order, &go_on)
}

fn class_weight(weights: &[f64]) -> Option<ClassWeight> {
    Some(ClassWeight::Classes(golden::names(weights.len()).into_iter().zip(weights.iter().copied()).collect()))
}

fn text<'a>(value: &'a Value, key: &str, default: &'a str) -> &'a str {
    value[key].as_str().unwrap_or(default)
}

fn params(given: &Value) -> MlpParams {
    let plain = MlpParams::default();
    let number = |key: &str, default: f64| given[key].as_f64().unwrap_or(default);
    let count = |key: &str| given[key].as_u64().map(|count| count as usize);
    MlpParams {
        hidden: golden::indices(&given["hidden_layer_sizes"]),
        activation: serde_json::from_value(given.get("activation").cloned().unwrap_or("relu".into()))
            .expect("an activation"),
        solver: match text(given, "solver", "adam") {
            "sgd" => Solver::Sgd,
            "lbfgs" => Solver::Lbfgs,
            _ => Solver::Adam,
        },
        learning_rate: match text(given, "learning_rate", "constant") {
            "invscaling" => LearningRate::Invscaling,
            "adaptive" => LearningRate::Adaptive,
            _ => LearningRate::Constant,
        },
        batch_size: count("batch_size").map_or(BatchSize::Auto, BatchSize::Rows),
        max_iter: count("max_iter").expect("max_iter"),
        n_iter_no_change: count("n_iter_no_change").unwrap_or(plain.n_iter_no_change),
        learning_rate_init: number("learning_rate_init", plain.learning_rate_init),
        power_t: number("power_t", plain.power_t),
        alpha: number("alpha", plain.alpha),
        tol: number("tol", plain.tol),
        nesterov: given["nesterovs_momentum"].as_bool().unwrap_or(true),
        ..plain
    }
}

fn start(case: &Value) -> Vec<Dense> {
    let dense = |layer: &Value| {
        let (weights, bias) = (golden::vector_f32(&layer["weights"]), golden::vector_f32(&layer["bias"]));
        Dense { inputs: weights.len() / bias.len(), outputs: bias.len(), weights, bias }
    };
    golden::list(&case["start"]).iter().map(dense).collect()
}

#[test]
fn loss_curves_are_those_of_scikit_learn() {
    let (golden, weighted) = (golden::load("sklearn_learn"), golden::load("mlp"));
    for case in golden::list(&golden["mlp"]).iter().chain(golden::list(&weighted["weighted"])) {
        let name = &case["name"];
        let (x, y, classes) = golden::labelled(&case["labelled"]);
        let orders = golden::list(&case["orders"]);
        let mut order = |epoch: usize, samples: &mut [usize]| {
            if let Some(order) = orders.get(epoch) {
                samples.copy_from_slice(&golden::indices(order));
            }
        };
        let class_weight = case["class_weight"].is_array().then(|| golden::vector(&case["class_weight"]));
        let params = params(&case["params"]);
        let mlp = fit_from(&params, &x, &y, class_weight.as_deref(), start(case), &mut order).expect("a classifier");
        assert_eq!(mlp.classes, classes, "{name}");
        let worst = mlp.loss_curve.iter().zip(golden::vector(&case["loss_curve"])).map(|(g, e)| (g / e - 1.0).abs());
        println!("{name}: largest relative difference {:.1e}", worst.fold(0.0, f64::max));
        golden::close(&mlp.loss_curve, &golden::vector(&case["loss_curve"]), 1e-4);
        assert_eq!(mlp.n_iter, golden::count(&case["n_iter"]), "{name}");
        assert_eq!(mlp.converged(), mlp.n_iter < params.max_iter, "{name}");
        let probabilities = mlp.predict_proba(&x.select_rows(&[0, 1, 2, 3, 4, 5])).expect("probabilities");
        golden::near(probabilities.as_slice(), &golden::vector_f32(&case["probabilities"]), 2e-4);
    }
}

#[test]
fn lbfgs_ends_where_scikit_learn_does() {
    let golden = golden::load("classifiers");
    for case in golden::list(&golden["mlp_lbfgs"]) {
        let (x, y, classes) = golden::labelled(&case["labelled"]);
        let params = params(&case["params"]);
        let mlp = fit_from(&params, &x, &y, None, start(case), &mut |_, _| {}).expect("a classifier");
        assert_eq!(mlp.classes, classes);
        let loss = mlp.loss_curve.last().copied().expect("an iteration");
        let expected = golden::number(&case["loss"]);
        println!(
            "{}: {} iterations, loss {loss}, scikit-learn {} and {expected}",
            case["name"], mlp.n_iter, case["n_iter"]
        );
        let values = golden::vector(&case["values"]);
        golden::close(&mlp.loss_curve[..values.len()], &values, 1e-9);
        // rounding decides where it ends, hundreds of steps later: scikit-learn itself ends after 271 steps in f32 and
        // after 214 in f64, with losses 0.1 % apart
        golden::close(&[loss], &[expected], 3e-3);
        let predicted = mlp.predict(&x).expect("predictions");
        let right = predicted.iter().zip(&y).filter(|(p, y)| p == y).count();
        golden::close(&[right as f64 / y.len() as f64], &[golden::number(&case["accuracy"])], 1e-12);
        // Training on some rows of a table gives the classifier of a table of these rows.
        let rows: Vec<usize> = (0..x.rows()).step_by(2).collect();
        let half: Vec<usize> = rows.iter().map(|&row| y[row]).collect();
        for solver in [Solver::Lbfgs, Solver::Adam] {
            let params = MlpParams { solver, max_iter: 5, ..params.clone() };
            let part = fit_rows(&params, &x, &y, &rows, &go_on).expect("a classifier");
            assert_eq!(part, fit(&params, &x.select_rows(&rows), &half).expect("a classifier"));
        }
    }
}

/// Three classes around their centres, easy to tell apart.
fn three() -> (FeatureMatrix, Vec<usize>) {
    let formula = serde_json::json!({"seed": 5, "rows": 120, "cols": 10, "classes": 3});
    let (x, y, _) = golden::labelled(&formula);
    (x, y)
}

fn quick() -> MlpParams {
    MlpParams { hidden: vec![16], learning_rate_init: 0.02, max_iter: 40, seed: 7, ..MlpParams::default() }
}

#[test]
fn a_seed_is_a_classifier() {
    let (x, y) = three();
    let fit = |seed| fit(&MlpParams { seed, ..quick() }, &x, &y).expect("a classifier");
    assert_eq!(fit(7), fit(7));
    assert_ne!(fit(7).layers, fit(8).layers);
    let predicted = fit(7).predict(&x).expect("predictions");
    let right = predicted.iter().zip(&y).filter(|(p, y)| p == y).count();
    assert!(right >= 100, "{right} of 120 training rows");
}

/// A table whose rows are copied when they are read, like a table on disk.
#[derive(Debug)]
struct Elsewhere(FeatureMatrix);

impl Rows for Elsewhere {
    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn cols(&self) -> usize {
        self.0.cols()
    }

    fn pick(&self, wanted: &[usize], out: &mut Vec<f32>) -> std::io::Result<()> {
        self.0.pick(wanted, out)
    }

    fn in_memory(&self) -> Option<&FeatureMatrix> {
        None
    }
}

#[test]
fn a_table_that_is_read_row_by_row_gives_the_classifier_of_one_in_memory_to_the_bit() {
    let (x, y) = three();
    let disk = Elsewhere(x.clone());
    let plain = MlpParams { batch_size: BatchSize::Rows(32), ..quick() };
    let stopped = MlpParams { early_stopping: true, validation_fraction: 0.25, ..plain.clone() };
    let weighted = MlpParams { class_weight: class_weight(&[0.5, 2.0, 1.0]), ..stopped.clone() };
    let in_order = MlpParams { shuffle: false, solver: Solver::Sgd, dropout: 0.2, ..plain.clone() };
    let part: Vec<usize> = (0..x.rows()).filter(|row| row % 5 != 0).collect();
    let lbfgs = MlpParams { solver: Solver::Lbfgs, ..quick() };
    for params in [&plain, &stopped, &weighted, &in_order, &lbfgs] {
        let fit = |x: &dyn Rows| fit_rows(params, x, &y, &part, &go_on).expect("a classifier");
        let (read, held) = (fit(&disk), fit(&x));
        assert_eq!(read, held);
        assert!(read.loss_curve.last() < read.loss_curve.first(), "{:?}", read.loss_curve);
    }
    let mut torn = x.clone();
    torn.as_mut_slice()[25] = f32::NAN;
    let error = fit(&plain, &Elsewhere(torn), &y).expect_err("NaN").to_string();
    assert!(error.contains("feature 5 of picture 2"), "{error}");
}

#[test]
fn first_weights_fill_the_interval_of_glorot() {
    for (activation, factor) in [(Activation::Relu, 6.0_f32), (Activation::Logistic, 2.0)] {
        let params = MlpParams { activation, ..MlpParams::default() };
        let layers = train::first_layers(&params, 300, 4);
        let shapes: Vec<(usize, usize)> = layers.iter().map(|layer| (layer.inputs, layer.outputs)).collect();
        assert_eq!(shapes, [(300, 100), (100, 10), (10, 4)]);
        let bound = (factor / 400.0).sqrt();
        let weights = &layers[0].weights;
        assert!(weights.iter().chain(&layers[0].bias).all(|w| w.abs() <= bound));
        let mean = weights.iter().sum::<f32>() / weights.len() as f32;
        let square = weights.iter().map(|w| w * w).sum::<f32>() / weights.len() as f32;
        assert!(mean.abs() < 0.02 * bound, "{mean}");
        assert!((square / (bound * bound / 3.0) - 1.0).abs() < 0.02, "{square}");
    }
    assert_eq!(train::first_layers(&MlpParams::default(), 5, 2)[2].outputs, 1, "two classes share one output");
}

#[test]
fn probabilities_do_not_depend_on_neighbours() {
    let (x, y) = three();
    let mlp = fit(&quick(), &x, &y).expect("a classifier");
    let whole = mlp.predict_proba(&x).expect("probabilities");
    for i in [0, 57, 119] {
        let alone = mlp.predict_proba(&x.select_rows(&[i])).expect("probabilities");
        assert_eq!(alone.as_slice(), whole.row(i));
        assert!((alone.as_slice().iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}

#[test]
fn early_stopping_holds_out_by_class_and_keeps_the_best() {
    let (x, y) = three();
    let params = MlpParams { early_stopping: true, validation_fraction: 0.25, max_iter: 200, ..quick() };
    let told = RefCell::new(Vec::new());
    let listen = |epoch: &Epoch| {
        told.borrow_mut().push(epoch.validation_score.expect("a score"));
        ControlFlow::Continue(())
    };
    let rows: Vec<usize> = (0..x.rows()).collect();
    let mlp = fit_rows(&params, &x, &y, &rows, &listen).expect("a classifier");
    let told = told.into_inner();
    assert_eq!(mlp.validation_scores, told);
    assert!(mlp.converged() && mlp.n_iter < 200, "{} epochs", mlp.n_iter);
    let best = told.iter().copied().fold(0.0, f64::max);
    let first_best = told.iter().position(|&score| score == best).expect("a best") + 1;
    // A training that ends at the best epoch has the same weights.
    let cut = fit(&MlpParams { max_iter: first_best, ..params }, &x, &y).expect("a classifier");
    assert_eq!(cut.layers, mlp.layers);
}

#[test]
fn the_held_out_rows_are_weighted_as_the_others() {
    let (x, y) = three();
    let params = MlpParams { early_stopping: true, validation_fraction: 0.25, max_iter: 1, ..quick() };
    // One class has nearly all of the weight, so the score is its recall.
    for class in 0..3 {
        let mut weights = vec![1e-9; 3];
        weights[class] = 1.0;
        let weighted = MlpParams { class_weight: class_weight(&weights), ..params.clone() };
        let held = train::held_out(&weighted, &y, &(0..x.rows()).collect::<Vec<_>>(), 3).expect("held out");
        let mlp = fit(&weighted, &x, &y).expect("a classifier");
        let own: Vec<usize> = held.into_iter().filter(|&row| y[row] == class).collect();
        let predicted = mlp.predict(&x.select_rows(&own)).expect("predictions");
        let recall = predicted.iter().filter(|other| **other == class).count() as f64 / own.len() as f64;
        assert!((mlp.validation_scores[0] - recall).abs() < 1e-6, "{class}: {:?} {recall}", mlp.validation_scores);
    }
}

#[test]
fn training_can_be_interrupted() {
    let (x, y) = three();
    let stop = |epoch: &Epoch| if epoch.number == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let rows: Vec<usize> = (0..x.rows()).collect();
    assert!(matches!(fit_rows(&quick(), &x, &y, &rows, &stop), Err(MlpError::Interrupted)));
}

#[test]
fn a_class_without_pictures_is_allowed_one_class_alone_is_not() {
    let (x, y) = three();
    let without: Vec<usize> = y.iter().map(|&class| if class == 1 { 3 } else { class }).collect();
    let mlp = fit(&quick(), &x, &without).expect("a classifier");
    assert_eq!(mlp.predict_proba(&x).expect("probabilities").cols(), 4);
    let one = fit(&quick(), &x, &[2; 120]);
    assert!(matches!(one, Err(MlpError::OneClass { rows: 120 })));
}

#[test]
fn failures_name_what_is_wrong() {
    let (x, y) = three();
    let fail = |params: MlpParams, x: &FeatureMatrix, y: &[usize]| {
        let (rows, classes) = ((0..x.rows()).collect::<Vec<_>>(), golden::names(3));
        let dataset = Labelled::new(Selected { table: x, rows: &rows }, Labels { y, classes: &classes });
        params.fit(&dataset).expect_err("not to be trained").to_string()
    };
    assert!(fail(quick(), &FeatureMatrix::with_cols(4), &[]).contains("0 pictures of 4 features"));
    assert!(fail(quick(), &x, &y[1..]).contains("119 labels for 120 pictures"));
    assert!(fail(quick(), &x, &[vec![3], y[1..].to_vec()].concat()).contains("picture 0 has class 3"));
    let mut torn = x.clone();
    torn.as_mut_slice()[25] = f32::NAN;
    assert!(fail(quick(), &torn, &y).contains("feature 5 of picture 2"));
    let held = MlpParams { early_stopping: true, ..quick() };
    assert!(fail(held.clone(), &x.select_rows(&[0, 1, 2, 3]), &[0, 1, 1, 1]).contains("class number 0 has 1"));
    assert!(fail(held, &x.select_rows(&[0, 1, 2, 3]), &[0, 0, 1, 1]).contains("validation split of 2 or more"));
    let wild = MlpParams { solver: Solver::Sgd, learning_rate_init: 1e6, ..quick() };
    assert!(fail(wild, &x, &y).contains("diverged"));
    let hidden = fail(MlpParams { hidden: vec![8, 0], ..quick() }, &x, &y);
    assert_eq!(hidden, "mlp: `hidden[1]`: expected a whole number from 1 to 65536, found `0`");
    let alpha = fail(MlpParams { alpha: f64::NAN, ..quick() }, &x, &y);
    assert_eq!(alpha, "mlp: `alpha`: expected a number of at least 0, found `NaN`");
    assert!(fail(MlpParams { beta_1: 1.0, ..quick() }, &x, &y).contains("beta_1"));
    let dropout = fail(MlpParams { dropout: 1.0, ..quick() }, &x, &y);
    assert_eq!(dropout, "mlp: `dropout`: expected a number of at least 0 and less than 1, found `1`");
    assert!(fail(MlpParams { label_smoothing: -0.1, ..quick() }, &x, &y).contains("label_smoothing"));
    let lbfgs = MlpParams { dropout: 0.1, solver: Solver::Lbfgs, ..quick() };
    assert!(fail(lbfgs, &x, &y).contains("`dropout` goes with `solver: adam` or `sgd`"));
    let weights = |weights: &[f64]| MlpParams { class_weight: class_weight(weights), ..quick() };
    let weight = fail(weights(&[1.0, 0.0, 1.0]), &x, &y);
    assert_eq!(weight, "mlp: `class_weight.1`: expected a number greater than 0, found `0`");
    let other = fit_from(&quick(), &x, &y, None, train::first_layers(&quick(), 9, 3), &mut |_, _| {});
    assert!(other.expect_err("9 features").to_string().contains("[9, 16, 3]"));
}

#[test]
fn stored_layers_that_do_not_fit_are_refused() {
    let (x, y) = three();
    let mlp = fit(&quick(), &x, &y).expect("a classifier");
    let broken = |change: fn(&mut Mlp)| {
        let mut mlp = mlp.clone();
        change(&mut mlp);
        mlp.predict(&x).expect_err("layers that do not fit").to_string()
    };
    assert!(broken(|mlp| mlp.classes = 2).contains("1 outputs of 2 classes"));
    assert!(broken(|mlp| mlp.layers[0].weights.truncate(3)).contains("layer 0 has 3 weights"));
    assert!(broken(|mlp| drop(mlp.layers.remove(0))).contains("10 features where 16 are expected"));
    assert!(broken(|mlp| mlp.layers.clear()).contains("last layer"));
}
