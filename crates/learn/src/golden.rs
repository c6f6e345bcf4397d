//! Reads the golden files of `tests/golden/`, repeats in Rust the tables that `tests/golden/sklearn.py` makes by
//! formula, and draws pseudo-random numbers for tests without a golden file.

use serde_json::Value;

use crate::table::FeatureMatrix;

/// Returns the content of `tests/golden/{name}.json`.
pub(crate) fn load(name: &str) -> Value {
    let path = format!("{}/../../tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_slice(&bytes).expect("the golden file is JSON")
}

/// The entries of an array.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().expect("an array")
}

/// Returns names for `classes` classes.
pub(crate) fn names(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}

/// One number.
pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// One count.
pub(crate) fn count(value: &Value) -> usize {
    usize::try_from(value.as_u64().expect("a count")).expect("a count that fits")
}

/// A list of numbers.
pub(crate) fn vector(value: &Value) -> Vec<f64> {
    list(value).iter().map(number).collect()
}

/// A list of `float32` numbers.
pub(crate) fn vector_f32(value: &Value) -> Vec<f32> {
    list(value).iter().map(|v| number(v) as f32).collect()
}

/// A list of indices.
pub(crate) fn indices(value: &Value) -> Vec<usize> {
    list(value).iter().map(count).collect()
}

/// A table that is stored in full.
pub(crate) fn matrix(value: &Value) -> FeatureMatrix {
    FeatureMatrix::from_vec(count(&value["rows"]), count(&value["cols"]), vector_f32(&value["values"]))
        .expect("a table")
}

/// Draws `count` integers of low..=high with the generator of `sklearn.py`.
pub(crate) fn draws(seed: usize, count: usize, low: i64, high: i64) -> Vec<i64> {
    let mut state = seed as u64;
    let next = |_| {
        state = (state * 1_664_525 + 1_013_904_223) % (1 << 32);
        low + (state >> 16) as i64 % (high - low + 1)
    };
    (0..count).map(next).collect()
}

/// Returns pseudo-random numbers in −1 to 1.
pub(crate) fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// `table(seed, rows, cols, rank, noise)` of `sklearn.py`.
pub(crate) fn table(formula: &Value) -> FeatureMatrix {
    let [seed, rows, cols, rank, noise] = ["seed", "rows", "cols", "rank", "noise"].map(|key| count(&formula[key]));
    let left = draws(seed, rows * rank, -9, 9);
    let right = draws(seed + 1, rank * cols, -9, 9);
    let grain = draws(seed + 2, rows * cols, -(noise as i64), noise as i64);
    let mean = draws(seed + 3, cols, -900, 900);
    let mut data = Vec::with_capacity(rows * cols);
    for (left, grain) in left.chunks(rank).zip(grain.chunks(cols)) {
        for (j, (grain, mean)) in grain.iter().zip(&mean).enumerate() {
            let weighted = |(r, left): (usize, &i64)| left * 4 * (rank - r) as i64 * right[r * cols + j];
            let product: i64 = left.iter().enumerate().map(weighted).sum();
            data.push((product + grain + 16 * mean) as f32 / 16.0);
        }
    }
    FeatureMatrix::from_vec(rows, cols, data).expect("rows × cols values")
}

/// `labelled(seed, rows, cols, classes)` of `sklearn.py`: the table and the class of each row.
pub(crate) fn labelled(formula: &Value) -> (FeatureMatrix, Vec<usize>, usize) {
    let [seed, rows, cols, classes] = ["seed", "rows", "cols", "classes"].map(|key| count(&formula[key]));
    let mut y: Vec<usize> = draws(seed, rows, 0, classes as i64 - 1).into_iter().map(|c| c as usize).collect();
    (0..classes).for_each(|c| y[c] = c);
    let centres = draws(seed + 1, classes * cols, -8, 8);
    let grain = draws(seed + 2, rows * cols, -24, 24);
    let value = |i: usize, j: usize| (centres[y[i] * cols + j] + grain[i * cols + j]) as f32 / 16.0;
    let data = (0..rows * cols).map(|at| value(at / cols, at % cols)).collect();
    (FeatureMatrix::from_vec(rows, cols, data).expect("rows × cols values"), y, classes)
}

/// Panics unless every number is within `tolerance` of the expected one, relative to it (absolute below 1e-300).
pub(crate) fn close(got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "as many numbers as scikit-learn has");
    for (at, (g, e)) in got.iter().zip(expected).enumerate() {
        let error = (g - e).abs();
        assert!(error <= tolerance * e.abs() + 1e-300, "number {at}: {g}, scikit-learn has {e}");
    }
}

/// Panics unless every number is within `tolerance` of the expected one in absolute terms.
pub(crate) fn near(got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "as many numbers as scikit-learn has");
    for (at, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((g - e).abs() <= tolerance, "number {at}: {g}, scikit-learn has {e}");
    }
}
