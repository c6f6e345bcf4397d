//! Loss and gradients of one batch against torch's autograd, with weights, smoothed labels and neurons left out; dropout as it is drawn.

use candle_core::{Device, Tensor};

use super::*;
use crate::learn::mlp::network::{Factors, Network};

fn case_params(case: &Value) -> MlpParams {
    MlpParams {
        hidden: golden::indices(&case["hidden"]),
        activation: Activation::from_name(text(case, "activation", "")).expect("an activation"),
        alpha: golden::number(&case["alpha"]),
        class_weight: case["class_weight"].is_array().then(|| golden::vector(&case["class_weight"])),
        label_smoothing: golden::number(&case["label_smoothing"]),
        dropout: golden::number(&case["dropout"]),
        ..MlpParams::default()
    }
}

/// The gradients of every layer in a row, weights before biases, as torch has them.
fn expected(case: &Value) -> Vec<f64> {
    let layers = golden::list(&case["gradients"]).iter();
    layers.flat_map(|layer| [golden::vector(&layer["weights"]), golden::vector(&layer["bias"])].concat()).collect()
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
    let golden = golden::mlp();
    for case in golden::list(&golden["batch"]) {
        let (x, y, _) = golden::labelled(&case["labelled"]);
        let params = case_params(case);
        let network = Network::new(&start(case), &params).expect("a network");
        let mut kept = golden::list(&case["kept"]).iter();
        let mut factors = |count: usize| -> Vec<f32> {
            let kept = golden::vector_f32(kept.next().expect("as many hidden layers"));
            assert_eq!(kept.len(), count);
            kept.into_iter().map(|kept| kept / (1.0 - params.dropout) as f32).collect()
        };
        let factors = (params.dropout > 0.0).then_some(&mut factors as Factors);
        let batch = Tensor::from_slice(x.as_slice(), (x.rows(), x.cols()), &Device::Cpu).expect("a batch");
        let (loss, gradients) = network.backward(batch, &y, factors).expect("gradients");
        golden::close(&[loss], &[golden::number(&case["loss"])], 1e-6);
        let flat = |tensor: &Tensor| tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).expect("numbers");
        let got = gradients.iter().flat_map(|layer| [flat(&layer.weights), flat(&layer.bias)].concat());
        close_to_the_largest(&got.map(f64::from).collect::<Vec<f64>>(), &expected(case), 1e-6);
    }
}

#[test]
fn all_rows_at_once_have_the_loss_and_the_gradients_of_torch() {
    let golden = golden::mlp();
    for case in golden::list(&golden["batch"]).iter().filter(|case| case["dropout"] == 0.0) {
        let (x, y, classes) = golden::labelled(&case["labelled"]);
        let params = case_params(case);
        let outputs = if classes == 2 { 1 } else { classes };
        let batch = FullBatch {
            x: &x,
            y: &y,
            rows: &(0..x.rows()).collect::<Vec<_>>(),
            weights: params.class_weight.as_deref(),
            label_smoothing: params.label_smoothing,
            activation: params.activation,
            widths: [&[x.cols()], params.hidden.as_slice(), &[outputs]].concat(),
            alpha: params.alpha,
            intercept: true,
        };
        let at = FullBatch::pack(&start(case));
        let mut gradient = vec![0.0; at.len()];
        let loss = batch.loss(&at, &mut gradient);
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
    let fit = |dropout: f64| MlpParams { dropout, ..quick() }.fit(&x, &y, 3, &mut go_on).expect("a classifier");
    assert_eq!(fit(0.3), fit(0.3));
    assert_ne!(fit(0.3).layers, fit(0.0).layers);
    // what is asked is the whole network: the same answer each time
    let probabilities = |mlp: &Mlp| mlp.predict_proba(&x).expect("probabilities");
    assert_eq!(probabilities(&fit(0.3)), probabilities(&fit(0.3)));
}
