//! Tests that the canonical JSON of the checked settings, and the fingerprints made from it, do not change: a run whose
//! fingerprint changes is computed again.

use std::path::Path;

use serde_json::{Value, json};

use super::parse;
use crate::stages::train;
use crate::store::fingerprint;

/// Every hyperparameter, once with its default and once with another value, under each of its names.
const SECTIONS: [&str; 11] = [
    "select: {}\nreduce: {pca: {}}\ntrain: {mlp: {}}",
    "reduce: {pca: {components: 8, whiten: true}}\ntrain: {logistic: {}}",
    "reduce: {pca: {components: 0.95}, scale: standard}\ntrain: {knn: {}}",
    "reduce: {pca: {components: mle}, scale: l2}",
    "select: {variance_threshold: 0.25, top_k: 9, score: f_classif}\nreduce: {svd: {}}",
    "reduce: {svd: {components: 3}}\ntrain: {mlp: {hidden: 7, batch_size: 32, class_weight: balanced, in_memory: true}}",
    "train: {mlp: {hidden_layer_sizes: [], activation: logistic, solver: sgd, alpha: 0, learning_rate: invscaling, \
     learning_rate_init: 0.5, power_t: 0.25, max_iter: 7, max_fun: 8, shuffle: false, random_state: 18446744073709551615, \
     tol: 1e-5, momentum: 1, nesterovs_momentum: false}}",
    "train: {mlp: {hidden: [5, 6], activation: tanh, learning_rate: adaptive, early_stopping: true, \
     validation_fraction: 0.2, beta_1: 0.8, beta_2: 0.99, epsilon: 1e-7, n_iter_no_change: 3, class_weight: {b: 2, a: 0.5}, \
     dropout: 0.1, label_smoothing: 0.05, in_memory: false}}",
    "train: {logistic: {C: 0.1, class_weight: {a: 3}, max_iter: 9, tol: 0.01, fit_intercept: false, in_memory: true}}",
    "train: {knn: {n_neighbors: 3, metric: euclidean, weights: distance}, cv: 4, group_by: '^[a-z]+'}",
    "train: [{mlp: {solver: lbfgs, activation: identity}}, {logistic: {c: 2, class_weight: balanced}}, {knn: {k: 9}}]",
];

#[test]
fn canonical_json_and_fingerprints_are_those_of_before() {
    let of = |sections: &str| {
        let text = format!("version: 1\ninput: {{root: x}}\n{sections}\n");
        let pipeline = parse(&text, Path::new("a.yaml"), &[]).unwrap_or_else(|error| panic!("{error}"));
        let trained = train::fingerprinted(&pipeline).expect("no earlier run");
        json!({
            "select": canonical(&pipeline.select),
            "reduce": canonical(&pipeline.reduce),
            "train": canonical(&pipeline.train),
            "fingerprints": [
                fingerprint("select", &json!(pipeline.select), &[]).expect("JSON"),
                fingerprint("reduce", &json!(pipeline.reduce), &[]).expect("JSON"),
                fingerprint("train", &trained, &[]).expect("JSON"),
            ],
        })
    };
    let found: Vec<Value> = SECTIONS.into_iter().map(of).collect();
    let expected: Vec<Value> = serde_json::from_str(include_str!("../../tests/golden/canonical_settings.json"))
        .expect("the golden file is JSON");
    let text = serde_json::to_string_pretty(&found).expect("JSON");
    assert!(found == expected, "settings have another canonical JSON or fingerprint:\n{text}");
}

/// The JSON of a section, whose keys keep the order of the struct.
pub(super) fn canonical<T: serde::Serialize>(section: &T) -> String {
    serde_json::to_string(section).expect("JSON")
}
