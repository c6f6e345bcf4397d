//! Loss and gradients of one batch against torch's autograd, with class weights, label smoothing and dropout; the
//! random numbers of the dropout.

use candle_core::{Device, Tensor};

use super::*;
use crate::mlp::network::{Factors, Network, Parameters};
use crate::mlp::step::{Memory, Rule, Slope};

fn case_params(case: &Value) -> MlpParams {
    MlpParams {
        hidden: golden::indices(&case["hidden"]),
        activation: serde_json::from_value(case["activation"].clone()).expect("an activation"),
        alpha: golden::number(&case["alpha"]),
        label_smoothing: golden::number(&case["label_smoothing"]),
        dropout: golden::number(&case["dropout"]),
        ..MlpParams::default()
    }
}

fn weights_of(case: &Value) -> Option<Vec<f64>> {
    case["class_weight"].is_array().then(|| golden::vector(&case["class_weight"]))
}

/// The gradients of every layer in a row, weights before biases, as torch has them.
fn expected(case: &Value) -> Vec<f64> {
    let layers = golden::list(&case["gradients"]).iter();
    layers.flat_map(|layer| [golden::vector(&layer["weights"]), golden::vector(&layer["bias"])].concat()).collect()
}

/// Changes no parameter, and stores the gradient as the first average.
#[derive(Clone, Copy)]
struct Told;

impl Rule for Told {
    fn apply(self, _: &mut f32, gradient: f32, first: &mut f32, _: &mut f32) {
        *first = gradient;
    }
}

fn close_to_the_largest(got: &[f64], expected: &[f64], tolerance: f64) {
    let largest = expected.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= tolerance * largest, "{got}, torch has {expected}");
    }
}

#[test]
fn a_batch_has_the_loss_and_the_gradients_of_torch() {
    let golden = golden::load("mlp");
    for case in golden::list(&golden["batch"]) {
        let (x, y, _) = golden::labelled(&case["labelled"]);
        let params = case_params(case);
        let network = Network::new(&start(case), &params, weights_of(case).as_deref()).expect("a network");
        let mut kept = golden::list(&case["kept"]).iter();
        let mut factors = |count: usize| -> Vec<f32> {
            let kept = golden::vector_f32(kept.next().expect("as many hidden layers"));
            assert_eq!(kept.len(), count);
            kept.into_iter().map(|kept| kept / (1.0 - params.dropout) as f32).collect()
        };
        let factors = (params.dropout > 0.0).then_some(&mut factors as Factors);
        let batch = Tensor::from_slice(x.as_slice(), (x.rows(), x.cols()), &Device::Cpu).expect("a batch");
        let mut parameters = network.parameters();
        let mut gradients = vec![[const { Vec::new() }; 2]; parameters.len()];
        let mut told = |at: usize, slope: &Slope| {
            let Parameters { weights, bias } = &mut parameters[at];
            let [mut of_weights, mut of_bias] = [&*weights, &*bias].map(|tensor| Memory::new(tensor.elem_count()));
            slope.step_bias(bias, Told, &mut of_bias)?;
            let squared = slope.step_weights(weights, Told, &mut of_weights)?;
            gradients[at] = [of_weights.first, of_bias.first];
            Ok(squared)
        };
        let loss = network.backward(batch, &y, factors, &mut told).expect("a loss");
        golden::close(&[loss], &[golden::number(&case["loss"])], 1e-6);
        let got = gradients.into_iter().flatten().flatten();
        close_to_the_largest(&got.map(f64::from).collect::<Vec<f64>>(), &expected(case), 1e-6);
    }
}

#[test]
fn all_rows_at_once_have_the_loss_and_the_gradients_of_torch() {
    let golden = golden::load("mlp");
    for case in golden::list(&golden["batch"]).iter().filter(|case| case["dropout"] == 0.0) {
        let (x, y, classes) = golden::labelled(&case["labelled"]);
        let params = case_params(case);
        let (outputs, weights) = (outputs(classes), weights_of(case));
        let batch = FullBatch {
            x: &x,
            y: &y,
            rows: &(0..x.rows()).collect::<Vec<_>>(),
            classes,
            weights: weights.as_deref(),
            label_smoothing: params.label_smoothing,
            activation: params.activation,
            widths: [&[x.cols()], params.hidden.as_slice(), &[outputs]].concat(),
            alpha: params.alpha,
            intercept: true,
        };
        let at = FullBatch::pack(&start(case));
        let mut gradient = vec![0.0; at.len()];
        let loss = batch.loss(&at, &mut gradient).expect("a loss");
        golden::close(&[loss], &[golden::number(&case["loss"])], 1e-12);
        close_to_the_largest(&gradient, &expected(case), 1e-12);
    }
}

#[test]
fn dropout_leaves_out_its_share_by_the_seed_and_none_when_asked() {
    let drawn = |rate: f64, seed: u64| {
        let params = MlpParams { dropout: rate, seed, ..MlpParams::default() };
        train::Dropout::new(&params).map(|mut dropout| dropout.factors(100_000))
    };
    assert_eq!(drawn(0.0, 1), None);
    for rate in [0.2, 0.5, 0.9] {
        let factors = drawn(rate, 1).expect("drawn");
        let out = factors.iter().filter(|factor| **factor == 0.0).count() as f64 / 1e5;
        assert!((out - rate).abs() < 4.0 * (rate * (1.0 - rate) / 1e5).sqrt(), "{out}"); // four standard deviations
        let kept = (1.0 / (1.0 - rate)) as f32;
        assert!(factors.iter().all(|&factor| factor == 0.0 || factor == kept));
        assert_eq!(Some(&factors), drawn(rate, 1).as_ref());
        assert_ne!(Some(&factors), drawn(rate, 2).as_ref());
    }
    let (x, y) = three();
    let fit = |dropout: f64| fit(&MlpParams { dropout, ..quick() }, &x, &y).expect("a classifier");
    assert_eq!(fit(0.3), fit(0.3));
    assert_ne!(fit(0.3).layers, fit(0.0).layers);
    // predictions use the whole network, without dropout: they are the same each time
    let probabilities = |mlp: &Mlp| mlp.predict_proba(&x).expect("probabilities");
    assert_eq!(probabilities(&fit(0.3)), probabilities(&fit(0.3)));
}

#[test]
fn a_layer_of_many_blocks_is_stepped_as_one_whatever_the_threads() {
    let (n, inputs, outputs) = (7, 1500, 61); // three blocks, the last a short one, and rows that no vector divides
    let wave = |len: usize, pace: f32| (0..len).map(|i| (i as f32 * pace).sin()).collect::<Vec<f32>>();
    let [x, delta, start] = [(n * inputs, 0.7), (n * outputs, 1.3), (inputs * outputs, 0.11)].map(|(l, p)| wave(l, p));
    let stepped = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let tensor = |values: &[f32], rows, cols| Tensor::from_slice(values, (rows, cols), &Device::Cpu).expect("full");
        let (inputs, delta, weights) =
            (tensor(&x, n, inputs), tensor(&delta, n, outputs), tensor(&start, inputs, outputs));
        let (slope, mut memory) = (Slope { inputs, delta, alpha: 0.5, scale: 7.0 }, Memory::new(start.len()));
        let squared = pool.install(|| slope.step_weights(&weights, Told, &mut memory)).expect("stepped");
        (squared, memory.first)
    };
    let (squared, gradient) = stepped(1);
    golden::close(&[squared], &[start.iter().map(|&w| f64::from(w).powi(2)).sum()], 1e-6);
    let plain = |i: usize, o: usize| {
        let sum: f64 = (0..n).map(|row| f64::from(x[row * inputs + i]) * f64::from(delta[row * outputs + o])).sum();
        (sum + 0.5 * f64::from(start[i * outputs + o])) / 7.0
    };
    let expected: Vec<f64> = (0..inputs * outputs).map(|at| plain(at / outputs, at % outputs)).collect();
    close_to_the_largest(&gradient.iter().map(|&g| f64::from(g)).collect::<Vec<f64>>(), &expected, 1e-6);
    for threads in [2, 3] {
        assert_eq!(stepped(threads), (squared, gradient.clone()));
    }
}
