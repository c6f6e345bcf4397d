//! Compares PCA with scikit-learn, and with itself where the rows come in other blocks; tests tables of low rank.

use serde_json::Value;

use super::*;
use crate::dataset::{DatasetBase, Fit, FitWith, Transformer};
use crate::golden;
use crate::table::FeatureMatrix;

fn components(case: &Value) -> Components {
    let asked = &case["n_components"];
    asked
        .as_u64()
        .map_or_else(|| Components::Fraction(golden::number(asked)), |_| Components::Count(golden::count(asked)))
}

fn params(components: Components, whiten: bool) -> PcaParams {
    PcaParams { components, whiten }
}

fn fit_rows(table: &FeatureMatrix, params: &PcaParams) -> Result<Pca, PcaError> {
    params.fit(&DatasetBase::new(table, ()))
}

fn row_of(pca: &Pca, i: usize) -> &[f32] {
    &pca.components[i * pca.features..(i + 1) * pca.features]
}

fn assert_orthonormal(pca: &Pca) {
    let dot = |i: usize, j: usize| -> f64 {
        row_of(pca, i).iter().zip(row_of(pca, j)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    for i in 0..pca.k() {
        for j in 0..=i {
            let expected = if i == j { 1.0 } else { 0.0 };
            assert!((dot(i, j) - expected).abs() < 1e-6, "rows {i} and {j}: {}", dot(i, j));
        }
    }
}

/// Whether scikit-learn's component is determined by the data, and not a choice among directions without variance.
fn determined(case: &Value) -> Vec<bool> {
    golden::vector(&case["explained_variance_ratio"]).iter().map(|&ratio| ratio > 1e-12).collect()
}

fn assert_golden(pca: &Pca, table: &FeatureMatrix, case: &Value) {
    let name = &case["name"];
    let determined = determined(case);
    assert_eq!(pca.k(), determined.len(), "{name}");
    pca.check().expect("a PCA in order");
    assert_orthonormal(pca);
    golden::close(&pca.mean, &golden::vector(&case["mean"]), 1e-9);
    let rank = determined.iter().filter(|&&known| known).count();
    for (got, key) in [
        (&pca.explained_variance, "explained_variance"),
        (&pca.explained_variance_ratio, "explained_variance_ratio"),
        (&pca.singular_values, "singular_values"),
    ] {
        golden::close(&got[..rank], &golden::vector(&case[key])[..rank], 1e-9);
        assert!(got[rank..].iter().all(|&value| value == 0.0), "{name}: {key} beyond the rank");
    }
    let noise = golden::number(&case["noise_variance"]);
    assert!((pca.noise_variance - noise).abs() <= 1e-9 * pca.total_variance, "{name}: {} {noise}", pca.noise_variance);
    let expected = golden::vector_f32(&case["components"]);
    golden::near(&pca.components[..rank * pca.features], &expected[..rank * pca.features], 2e-6);
    let first = table.select_rows(&[0, 1, 2, 3, 4]);
    let projected = pca.transform(&first).expect("features of the same width");
    let largest = golden::vector_f32(&case["projected"]).iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    for (row, expected) in projected.iter_rows().zip(golden::vector_f32(&case["projected"]).chunks(pca.k())) {
        golden::near(&row[..rank], &expected[..rank], 2e-6 * largest);
    }
}

#[test]
fn numbers_and_signs_are_those_of_scikit_learn() {
    let golden = golden::load("sklearn_learn");
    for case in golden::list(&golden["pca"]) {
        let table = golden::table(&case["table"]);
        let params = params(components(case), case["whiten"].as_bool().expect("a flag"));
        assert_golden(&fit_rows(&table, &params).expect("a PCA"), &table, case);
    }
}

#[test]
fn both_routes_agree() {
    let table = golden::table(&golden::load("sklearn_learn")["pca"][1]["table"]); // (12, 400)
    let params = params(Components::Count(11), false); // a twelfth component would have no variance
    let by_rows = fit_rows(&table, &params).expect("a PCA");
    let mut covariance = CovarianceAccumulator::new(table.cols()).expect("small enough");
    covariance.update(table.as_slice()).expect("whole rows");
    let by_columns = covariance.finish(&params).expect("a PCA");
    by_columns.check().expect("a PCA in order");
    assert_orthonormal(&by_columns);
    golden::close(&by_columns.mean, &by_rows.mean, 1e-9);
    golden::close(&by_columns.explained_variance, &by_rows.explained_variance, 1e-9);
    golden::close(&by_columns.explained_variance_ratio, &by_rows.explained_variance_ratio, 1e-9);
    golden::close(&by_columns.singular_values, &by_rows.singular_values, 1e-9);
    golden::near(&by_columns.components, &by_rows.components, 2e-6);
}

/// The table of the notebook, 20 pictures of 100,352 features, and Minka's number of components.
#[test]
fn flattened_features_and_the_most_probable_number_are_those_of_scikit_learn() {
    for case in golden::list(&golden::load("select_reduce")["pca"]) {
        let table = golden::table(&case["table"]);
        let asked = case["n_components"].as_u64().map_or(Components::Mle, |k| Components::Count(k as usize));
        let pca = fit_rows(&table, &params(asked, false)).expect("a PCA");
        assert_eq!(pca.k(), golden::list(&case["explained_variance"]).len(), "{}", case["name"]);
        golden::close(&pca.explained_variance, &golden::vector(&case["explained_variance"]), 1e-9);
        golden::close(&pca.explained_variance_ratio, &golden::vector(&case["explained_variance_ratio"]), 1e-9);
        golden::close(&pca.singular_values, &golden::vector(&case["singular_values"]), 1e-9);
        let at = golden::indices(&case["components"]["at"]);
        let got: Vec<f32> =
            (0..pca.k()).flat_map(|i| at.iter().map(move |&j| (i, j))).map(|(i, j)| row_of(&pca, i)[j]).collect();
        golden::near(&got, &golden::vector_f32(&case["components"]["entries"]), 2e-6);
        let projected = pca.transform(&table.select_rows(&[0, 1, 2, 3, 4])).expect("of this width");
        let expected = golden::vector_f32(&case["projected"]);
        let largest = expected.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        golden::near(projected.as_slice(), &expected, 2e-6 * largest);
    }
    let error = fit_rows(&waves(5, 9), &params(Components::Mle, false)).expect_err("too few rows").to_string();
    assert!(error.contains("5 pictures of 9 features"), "{error}");
}

fn waves(rows: usize, cols: usize) -> FeatureMatrix {
    let value = |at: usize| {
        let (i, j) = ((at / cols) as f32, (at % cols) as f32);
        100.0 + (0.37 * i + 0.11 * j).sin() * (1.0 + j) + (1.3 * i * (1.0 + j)).cos()
    };
    FeatureMatrix::from_vec(rows, cols, (0..rows * cols).map(value).collect()).expect("rows × cols")
}

#[test]
fn the_cut_into_blocks_does_not_change_a_bit() {
    let table = waves(1300, 17);
    let params = params(Components::Count(9), false);
    let whole = fit_rows(&table, &params).expect("a PCA");
    let mut pieces = None;
    for first in (0..table.rows()).step_by(211) {
        let block = table.select_rows(&(first..table.rows().min(first + 211)).collect::<Vec<_>>());
        pieces = Some(CovarianceParams.fit_with(pieces, &DatasetBase::new(&block, ())).expect("whole rows"));
    }
    assert_eq!(pieces.and_then(|pieces| pieces.finish(&params).ok()), Some(whole));
}

#[test]
fn threads_do_not_change_a_bit() {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    for (rows, cols) in [(900, 300), (150, 700)] {
        let table = waves(rows, cols);
        let fit = || fit_rows(&table, &params(Components::Count(40), false)).expect("a PCA");
        let one = pool(1).install(fit);
        for threads in [2, 3] {
            assert_eq!(pool(threads).install(fit), one, "{rows} × {cols} on {threads} threads");
        }
    }
}

#[test]
fn a_projection_does_not_depend_on_its_neighbours() {
    let table = waves(75, 1500);
    let pca = fit_rows(&table, &params(Components::Count(7), true)).expect("a PCA");
    let whole = pca.transform(&table).expect("projections");
    for i in [0, 1, 31, 32, 63, 74] {
        let alone = pca.transform(&table.select_rows(&[i])).expect("a projection");
        assert_eq!(alone.as_slice(), whole.row(i), "row {i}");
    }
    let odd = table.select_rows(&[74, 3, 60]);
    assert_eq!(pca.transform(&odd).expect("projections").row(2), whole.row(60));
}

#[test]
fn equal_rows_have_no_variance_but_directions_in_order() {
    for (rows, cols) in [(9, 4), (4, 9)] {
        let table = FeatureMatrix::from_vec(rows, cols, vec![0.3; rows * cols]).expect("rows × cols");
        let pca = fit_rows(&table, &params(Components::Count(3), true)).expect("a PCA");
        assert_orthonormal(&pca);
        assert_eq!((pca.total_variance, pca.explained_variance_ratio.as_slice()), (0.0, [0.0; 3].as_slice()));
        let projected = pca.transform(&table).expect("projections");
        assert!(projected.as_slice().iter().all(|value| value.is_finite()));
        let fraction = fit_rows(&table, &params(Components::Fraction(0.9), false));
        assert!(matches!(fraction, Err(PcaError::Constant { .. })));
    }
}

#[test]
fn a_huge_mean_does_not_eat_the_variance() {
    let plain = waves(600, 6);
    let far: Vec<f32> = plain.as_slice().iter().map(|v| (v * 64.0).round() / 64.0 + 1e5).collect();
    let near: Vec<f32> = plain.as_slice().iter().map(|v| (v * 64.0).round() / 64.0).collect();
    let fit = |values| {
        let table = FeatureMatrix::from_vec(600, 6, values).expect("600 × 6");
        fit_rows(&table, &params(Components::Count(6), false)).expect("a PCA")
    };
    golden::close(&fit(far).explained_variance, &fit(near).explained_variance, 1e-9);
}

#[test]
fn a_count_above_what_the_table_has_is_clamped() {
    assert_eq!(fit_rows(&waves(5, 30), &params(Components::Count(64), false)).expect("a PCA").k(), 5);
}

#[test]
fn failures_name_what_is_wrong() {
    let wrong = [0.0, 1.0, -0.5, f64::NAN].map(Components::Fraction);
    for components in wrong.into_iter().chain([Components::Count(0)]) {
        assert!(matches!(fit_rows(&waves(8, 4), &params(components, false)), Err(PcaError::Parameter(_))));
    }
    let two = params(Components::Count(2), false);
    assert!(matches!(fit_rows(&waves(1, 4), &two), Err(PcaError::TooSmall { rows: 1, features: 4 })));
    assert!(matches!(fit_rows(&waves(1, 1), &two), Err(PcaError::TooSmall { .. })));
    assert!(matches!(fit_rows(&FeatureMatrix::with_cols(3), &two), Err(PcaError::TooSmall { .. })));
    for (rows, cols) in [(8, 4), (4, 8)] {
        let mut table = waves(rows, cols);
        table.as_mut_slice()[cols + 2] = f32::INFINITY;
        assert!(matches!(fit_rows(&table, &two), Err(PcaError::NotFinite { column: 2 })));
    }
    assert!(matches!(CovarianceAccumulator::new(100_352), Err(PcaError::TooLarge { .. })));
    let pca = fit_rows(&waves(8, 4), &two).expect("a PCA");
    assert!(matches!(pca.transform(&waves(2, 5)), Err(PcaError::Width { found: 5, features: 4 })));
    let torn = Pca { mean: vec![0.0; 3], ..pca };
    assert!(matches!(torn.check(), Err(PcaError::Stored { field: "mean", found: 3, expected: 4 })));
}
