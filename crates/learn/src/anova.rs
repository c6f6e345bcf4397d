//! One-way analysis of variance of every column: the variance between the classes over the variance within them.
//!
//! The numbers are those of `sklearn.feature_selection.f_classif` on a table of `f64`: F = (between / (k − 1)) /
//! (within / (n − k)) for k classes and n rows, and the probability p of so large an F in a column that is independent
//! of the classes. scikit-learn subtracts sums of squares, which loses the digits of a small spread around a large
//! mean; here every class has a running mean of its own (Welford, as in [`variance`](super::variance)).

use crate::dataset::{DatasetBase, FitWith};
use crate::table::FeatureMatrix;
use crate::variance::SelectError;

/// Collects the mean of every class and the sum of squares within the classes while rows stream by.
///
/// It takes one row at a time, so the division of the table into blocks does not change the result. Memory: 8 bytes for
/// each column and class, and 8 for each column.
#[derive(Clone, Debug)]
pub struct AnovaAccumulator {
    cols: usize,
    counts: Vec<u64>,
    /// (classes, cols), row-major
    means: Vec<f64>,
    /// Σ over the classes of Σ (x - mean of the class)²
    within: Vec<f64>,
}

/// F and p of every column.
#[derive(Clone, Debug, PartialEq)]
pub struct Anova {
    /// F of each column: infinite where the means of the classes differ and no class has variance, NaN for a constant
    /// column.
    pub f: Vec<f64>,
    /// The probability of an F at least as large by chance alone; NaN where F is NaN.
    pub p: Vec<f64>,
}

/// The hyperparameters of the analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnovaParams {
    /// The number of classes.
    pub classes: usize,
}

impl<'a> FitWith<'a, &'a FeatureMatrix, Vec<Option<usize>>, SelectError> for AnovaParams {
    type ObjectIn = Option<AnovaAccumulator>;
    type ObjectOut = AnovaAccumulator;

    /// Takes the next rows of a table, each with the number of its class; rows without a class are ignored.
    fn fit_with(
        &self,
        before: Self::ObjectIn,
        dataset: &'a DatasetBase<&'a FeatureMatrix, Vec<Option<usize>>>,
    ) -> Result<AnovaAccumulator, SelectError> {
        let rows = dataset.records;
        let mut anova = before.unwrap_or_else(|| AnovaAccumulator::new(rows.cols(), self.classes));
        for (row, class) in rows.iter_rows().zip(&dataset.targets) {
            class.iter().for_each(|&class| anova.update(row, class));
        }
        Ok(anova)
    }
}

/// Returns an error unless two or more classes have rows and one of them has two. `counts` has the rows of each class.
pub fn check_rows(counts: impl Iterator<Item = u64>) -> Result<(), SelectError> {
    let (mut rows, mut classes) = (0, 0);
    for count in counts.filter(|&count| count > 0) {
        (rows, classes) = (rows + count, classes + 1);
    }
    if classes < 2 || rows <= classes as u64 { Err(SelectError::NoClasses { rows, classes }) } else { Ok(()) }
}

impl AnovaAccumulator {
    /// Makes an accumulator for rows of `cols` values that belong to `classes` classes.
    pub fn new(cols: usize, classes: usize) -> Self {
        Self { cols, counts: vec![0; classes], means: vec![0.0; classes * cols], within: vec![0.0; cols] }
    }

    /// Takes one row of class number `class`; panics when there is no such class or the row is of another width.
    pub fn update(&mut self, row: &[f32], class: usize) {
        assert_eq!(row.len(), self.cols, "a row of {} values for {} columns", row.len(), self.cols);
        self.counts[class] += 1;
        let weight = 1.0 / self.counts[class] as f64;
        let means = &mut self.means[class * self.cols..(class + 1) * self.cols];
        for ((mean, within), &value) in means.iter_mut().zip(&mut self.within).zip(row) {
            let value = f64::from(value);
            let before = value - *mean;
            *mean += before * weight;
            *within += before * (value - *mean);
        }
    }

    /// Returns the scores over all rows seen. Classes without a row are ignored.
    ///
    /// Fails with fewer than two classes, and when every class has one row only, so that no class has variance.
    pub fn finish(self) -> Result<Anova, SelectError> {
        let seen: Vec<usize> = (0..self.counts.len()).filter(|&class| self.counts[class] > 0).collect();
        let rows: u64 = self.counts.iter().sum();
        let classes = seen.len();
        check_rows(self.counts.iter().copied())?;
        let between = self.between(&seen, rows as f64);
        let (df_between, df_within) = ((classes - 1) as f64, (rows - classes as u64) as f64);
        let scores = between.iter().zip(&self.within);
        let f: Vec<f64> = scores.map(|(between, within)| (between / df_between) / (within / df_within)).collect();
        let p = f.iter().map(|&f| f_upper_tail(df_between, df_within, f)).collect();
        Ok(Anova { f, p })
    }

    /// Σ over the classes of rows × (mean of the class − mean of all)².
    fn between(&self, seen: &[usize], rows: f64) -> Vec<f64> {
        let mean = |class: usize, j: usize| self.means[class * self.cols + j];
        let column = |j: usize| {
            // Means are taken relative to that of the first class, so that equal means give exactly 0.
            let from_first = |class: usize| mean(class, j) - mean(seen[0], j);
            let weighted = |class: usize| self.counts[class] as f64 * from_first(class);
            let centre = seen.iter().map(|&class| weighted(class)).sum::<f64>() / rows;
            seen.iter().map(|&class| self.counts[class] as f64 * (from_first(class) - centre).powi(2)).sum()
        };
        (0..self.cols).map(column).collect()
    }
}

/// P(F > f) for the F distribution with `m` and `n` degrees of freedom: scipy's `fdtrc`.
fn f_upper_tail(m: f64, n: f64, f: f64) -> f64 {
    if f.is_nan() {
        return f64::NAN;
    }
    if f <= 0.0 {
        return 1.0;
    }
    if f.is_infinite() {
        return 0.0;
    }
    let ratio = m * f / n; // x = 1 / (1 + ratio), 1 - x = ratio / (1 + ratio)
    let (ln_x, ln_rest) = (-ratio.ln_1p(), -ratio.recip().ln_1p());
    regularised_beta(n / 2.0, m / 2.0, ln_x, ln_rest)
}

/// Computes I_x(a, b) by Lentz's continued fraction (DLMF 8.17.22), which converges fast for x below (a + 1) / (a + b +
/// 2); above it as 1 − I_{1−x}(b, a). Takes ln x and ln (1 − x), each at full precision.
fn regularised_beta(a: f64, b: f64, ln_x: f64, ln_rest: f64) -> f64 {
    let x = ln_x.exp();
    let beta = libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b);
    let front = (a * ln_x + b * ln_rest - beta).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * continued_fraction(a, b, x) / a
    } else {
        1.0 - front * continued_fraction(b, a, ln_rest.exp()) / b
    }
}

/// The continued fraction of the incomplete beta function; it needs about √max(a, b) steps.
fn continued_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    const STEPS: u32 = 100_000;
    let away_from_0 = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = away_from_0(1.0 - (a + b) * x / (a + 1.0)).recip();
    let mut value = d;
    for step in 1..=STEPS {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = away_from_0(1.0 + even * d).recip();
        c = away_from_0(1.0 + even / c);
        value *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = away_from_0(1.0 + odd * d).recip();
        c = away_from_0(1.0 + odd / c);
        let change = d * c;
        value *= change;
        if (change - 1.0).abs() < 2.0 * f64::EPSILON {
            break;
        }
    }
    value
}

/// Returns the `k` columns of `among` with the highest scores, ascending, as `SelectKBest` chooses them.
///
/// NaN counts as the lowest score, and of equal scores the later column is kept, as in scikit-learn.
pub fn k_best(scores: &[f64], among: &[usize], k: usize) -> Vec<usize> {
    let score = |j: usize| if scores[j].is_nan() { f64::MIN } else { scores[j] };
    let mut ranked = among.to_vec();
    ranked.sort_by(|&a, &b| score(a).total_cmp(&score(b))); // stable
    let mut best = ranked.split_off(ranked.len().saturating_sub(k));
    best.sort_unstable();
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    fn anova(rows: &[(&[f32], usize)], classes: usize) -> Result<Anova, SelectError> {
        let mut accumulator = AnovaAccumulator::new(rows[0].0.len(), classes);
        rows.iter().for_each(|(row, class)| accumulator.update(row, *class));
        accumulator.finish()
    }

    #[test]
    fn scores_and_choices_are_those_of_scikit_learn() {
        let golden = golden::load("select_reduce");
        for case in golden::list(&golden["f_classif"]) {
            let (table, y, classes) = golden::labelled(&case["labelled"]);
            let mut accumulator = AnovaAccumulator::new(table.cols(), classes);
            table.iter_rows().zip(&y).for_each(|(row, &class)| accumulator.update(row, class));
            let anova = accumulator.finish().expect("classes with spread");
            golden::close(&anova.f, &golden::vector(&case["f"]), 1e-9);
            golden::close(&anova.p, &golden::vector(&case["p"]), 1e-9);
            let all: Vec<usize> = (0..table.cols()).collect();
            for expected in golden::list(&case["kept"]) {
                let k = golden::count(&expected["k"]);
                assert_eq!(k_best(&anova.f, &all, k), golden::indices(&expected["columns"]), "{k} best");
            }
        }
    }

    #[test]
    fn the_tail_of_the_f_distribution_is_that_of_scipy() {
        for case in golden::list(&golden::load("select_reduce")["fdtrc"]) {
            let [m, n, f, p] = ["m", "n", "f", "p"].map(|key| golden::number(&case[key]));
            golden::close(&[f_upper_tail(m, n, f)], &[p], 1e-8);
        }
        assert_eq!(f_upper_tail(2.0, 9.0, f64::INFINITY), 0.0);
        assert!(f_upper_tail(2.0, 9.0, f64::NAN).is_nan());
    }

    #[test]
    fn a_constant_column_has_no_score_and_a_perfect_one_an_infinite() {
        let rows: [(&[f32], usize); 4] =
            [(&[0.1, 1.0, 7.0], 0), (&[0.1, 1.0, 8.0], 0), (&[0.1, 2.0, 7.0], 2), (&[0.1, 2.0, 8.0], 2)];
        let anova = anova(&rows, 3).expect("two classes have rows");
        assert!(anova.f[0].is_nan() && anova.p[0].is_nan());
        assert_eq!((anova.f[1], anova.p[1]), (f64::INFINITY, 0.0));
        assert_eq!((anova.f[2], anova.p[2]), (0.0, 1.0));
        assert_eq!(k_best(&anova.f, &[0, 1, 2], 2), [1, 2]);
    }

    #[test]
    fn a_large_mean_does_not_eat_a_small_spread() {
        // 1e4 + (0 or 2^-6) in both classes, the second 2^-6 higher: F = 2 (n - 2) with n rows
        let step = 0.015_625;
        let rows: Vec<[f32; 1]> = (0..4000).map(|i| [1e4 + step * (i % 2 + i / 2000) as f32]).collect();
        let rows: Vec<(&[f32], usize)> = rows.iter().enumerate().map(|(i, row)| (&row[..], i / 2000)).collect();
        golden::close(&anova(&rows, 2).expect("two classes").f, &[3998.0], 1e-9);
    }

    #[test]
    fn of_equals_the_last_are_kept_and_nan_is_the_worst() {
        let scores = [1.0, 3.0, f64::NAN, 1.0, f64::INFINITY, 1.0];
        assert_eq!(k_best(&scores, &[0, 1, 2, 3, 4, 5], 3), [1, 4, 5]);
        assert_eq!(k_best(&scores, &[0, 2, 3], 2), [0, 3]);
        assert_eq!(k_best(&scores, &[0, 2], 9), [0, 2]);
    }

    #[test]
    fn one_class_or_one_row_a_class_has_no_score() {
        let one: [(&[f32], usize); 2] = [(&[1.0], 1), (&[2.0], 1)];
        let error = anova(&one, 3).expect_err("one class").to_string();
        assert!(error.contains("2 pictures of 1 class"), "{error}");
        let each: [(&[f32], usize); 2] = [(&[1.0], 0), (&[2.0], 1)];
        let error = anova(&each, 2).expect_err("no spread").to_string();
        assert!(error.contains("2 pictures of 2 classes"), "{error}");
    }
}
