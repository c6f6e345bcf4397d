//! Folds for cross-validation: scikit-learn's `StratifiedKFold` and `StratifiedGroupKFold` without shuffling.

use thiserror::Error;

/// The error of rows that cannot be divided into the folds.
#[derive(Debug, PartialEq, Error)]
pub enum FoldError {
    /// The largest class has fewer rows than there are folds.
    #[error(
        "{folds} folds are asked for, and the largest class has {largest} train pictures; lower `train.cv` (for a \
         list of classifiers: `train: {{candidates: […], cv: 2}}`)"
    )]
    Few { folds: usize, largest: usize },
    /// There are fewer groups than folds.
    #[error(
        "{folds} folds are asked for, and train.group_by makes {groups} group(s) of the train pictures; lower \
         train.cv or change the pattern"
    )]
    Groups { folds: usize, groups: usize },
}

/// Returns the fold of every row. Each fold has about the same share of every class.
pub fn stratified(y: &[usize], classes: usize, folds: usize) -> Result<Vec<usize>, FoldError> {
    check(y, classes, folds)?;
    // The classes in the order of their first rows.
    let mut seen = Vec::new();
    y.iter().for_each(|class| {
        if !seen.contains(class) {
            seen.push(*class);
        }
    });
    let mut allocation = vec![vec![0_usize; seen.len()]; folds];
    let mut at = 0;
    for (place, class) in seen.iter().enumerate() {
        for _ in y.iter().filter(|other| *other == class) {
            allocation[at % folds][place] += 1;
            at += 1;
        }
    }
    let mut fold = vec![0; y.len()];
    for (place, class) in seen.iter().enumerate() {
        let mut next = (0..folds).flat_map(|fold| std::iter::repeat_n(fold, allocation[fold][place]));
        for row in (0..y.len()).filter(|&row| y[row] == *class) {
            fold[row] = next.next().unwrap_or(0);
        }
    }
    Ok(fold)
}

/// Returns the fold of every row. All rows of a group are in one fold, and the classes are spread as evenly as that
/// allows. `groups` are numbered in sorted order.
pub fn grouped(y: &[usize], groups: &[usize], classes: usize, folds: usize) -> Result<Vec<usize>, FoldError> {
    check(y, classes, folds)?;
    let number = groups.iter().max().map_or(0, |most| most + 1);
    if number < folds {
        return Err(FoldError::Groups { folds, groups: number });
    }
    let mut present: Vec<usize> = y.to_vec();
    present.sort_unstable();
    present.dedup();
    let mut counts = vec![vec![0.0_f64; present.len()]; number];
    let mut totals = vec![0.0_f64; present.len()];
    for (class, &group) in y.iter().zip(groups) {
        let place = present.partition_point(|other| other < class);
        counts[group][place] += 1.0;
        totals[place] += 1.0;
    }
    let mut order: Vec<usize> = (0..number).collect();
    order.sort_by(|&a, &b| deviation(&counts[b]).total_cmp(&deviation(&counts[a]))); // stable
    let mut held = vec![vec![0.0_f64; present.len()]; folds];
    let mut fold_of = vec![0; number];
    for group in order {
        let (mut best, mut least, mut fewest) = (0, f64::INFINITY, f64::INFINITY);
        for fold in 0..folds {
            let spread: f64 = (0..present.len())
                .map(|class| {
                    let with = |at: usize| held[at][class] + if at == fold { counts[group][class] } else { 0.0 };
                    deviation(&(0..folds).map(|at| with(at) / totals[class]).collect::<Vec<f64>>())
                })
                .sum::<f64>()
                / present.len() as f64;
            let rows: f64 = held[fold].iter().sum();
            let close = (spread - least).abs() <= 1e-8 + 1e-5 * least.abs();
            if spread < least || (close && rows < fewest) {
                (best, least, fewest) = (fold, spread, rows);
            }
        }
        held[best].iter_mut().zip(&counts[group]).for_each(|(held, own)| *held += own);
        fold_of[group] = best;
    }
    Ok(groups.iter().map(|&group| fold_of[group]).collect())
}

/// Returns the classes that have fewer rows than there are folds, so that some folds have none of them.
pub fn scarce(y: &[usize], classes: usize, folds: usize) -> Vec<usize> {
    (0..classes).filter(|class| (1..folds).contains(&y.iter().filter(|other| *other == class).count())).collect()
}

/// Returns the number of rows of the largest class, which limits the number of folds.
pub fn largest(y: &[usize], classes: usize) -> usize {
    (0..classes).map(|class| y.iter().filter(|other| **other == class).count()).max().unwrap_or(0)
}

/// Returns the first model whose mean loss is within one standard error of the lowest one. The models are sorted, the
/// simplest first, and `losses` has the loss of each on every fold (Hastie, Tibshirani and Friedman, "The Elements of
/// Statistical Learning", 7.10). None without models.
pub fn simplest(losses: &[Vec<f64>]) -> Option<usize> {
    // A loss that is NaN counts as infinite.
    let of = |losses: &[f64]| Some(mean(losses)).filter(|mean| !mean.is_nan()).unwrap_or(f64::INFINITY);
    let best = losses.iter().min_by(|a, b| of(a).total_cmp(&of(b)))?;
    let limit = of(best) + standard_error(best);
    losses.iter().position(|one| of(one) <= limit)
}

/// Returns the standard error of the mean: the sample's standard deviation over the root of its size; 0 for a single
/// value.
pub fn standard_error(values: &[f64]) -> f64 {
    deviation(values) / (values.len().max(2) as f64 - 1.0).sqrt()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn check(y: &[usize], classes: usize, folds: usize) -> Result<(), FoldError> {
    let largest = largest(y, classes);
    if folds > largest { Err(FoldError::Few { folds, largest }) } else { Ok(()) }
}

/// Population standard deviation.
fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / values.len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn folds_are_those_of_scikit_learn() {
        let golden = golden::load("classifiers");
        for case in golden::list(&golden["folds"]) {
            let (y, folds) = (golden::indices(&case["y"]), golden::count(&case["folds"]));
            let classes = y.iter().max().expect("rows") + 1;
            assert_eq!(stratified(&y, classes, folds).expect("folds"), golden::indices(&case["stratified"]));
            let groups = golden::indices(&case["groups"]);
            assert_eq!(grouped(&y, &groups, classes, folds).expect("folds"), golden::indices(&case["grouped"]));
        }
    }

    #[test]
    fn the_simplest_model_within_one_error_of_the_best_is_taken() {
        // the standard error of [0.1, 0.2, 0.3] is 0.1 / sqrt(3) = 0.0577
        let best = vec![0.1, 0.2, 0.3];
        assert!((standard_error(&best) - 0.057_735_026_918_962_58).abs() < 1e-15);
        let flat = |loss: f64| vec![loss; 3];
        for (losses, expected) in [
            (vec![], None),
            (vec![flat(0.5)], Some(0)),
            (vec![flat(0.258), flat(0.257), best.clone(), flat(0.21)], Some(1)),
            (vec![best.clone(), flat(0.19)], Some(1)),
            (vec![flat(0.4), flat(0.3), flat(0.3)], Some(1)),
            (vec![vec![f64::NAN; 3], flat(0.3)], Some(1)),
        ] {
            assert_eq!(simplest(&losses), expected, "{losses:?}");
        }
        assert_eq!(standard_error(&[0.5]), 0.0);
    }

    #[test]
    fn too_few_rows_or_groups_are_errors_scarce_classes_are_told() {
        assert_eq!(stratified(&[0, 0, 1], 2, 3), Err(FoldError::Few { folds: 3, largest: 2 }));
        assert_eq!(grouped(&[0, 0, 1, 1], &[0, 0, 0, 0], 2, 2), Err(FoldError::Groups { folds: 2, groups: 1 }));
        assert_eq!(scarce(&[0, 0, 0, 1, 2, 2, 2], 4, 3), [1]);
    }
}
