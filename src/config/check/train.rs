//! Ranges and combinations of `train`.

use super::super::source::Source;
use super::super::train::{BatchSize, ClassWeight, Classifier, Knn, Logistic, Mlp, Solver, Train};
use super::super::{ConfigError, ranges};
use super::{Checked, expected, whole};

/// Checks it, and turns the paths in it into such that count from the current folder.
pub fn check(train: &mut Train, source: &Source) -> Checked {
    check_all(train, source)?;
    let folds = train.folds().is_some();
    for (key, mlp) in train.perceptrons() {
        let Some(run) = &mlp.warm_start else { continue };
        let key = source.written(&format!("{key}.warm_start"));
        if run.as_os_str().is_empty() {
            return expected(source, &key, "the folder of a run", "");
        }
        if folds {
            let message = format!(
                "`{key}` and cross-validation: the earlier run may have learnt the pictures that are held out; leave `cv` and other classifiers out"
            );
            return Err(ConfigError::at_key(source, &key, message));
        }
        mlp.warm_start = Some(source.resolve(&key, run));
    }
    Ok(())
}

fn check_all(train: &Train, source: &Source) -> Checked {
    if train.classifiers().is_empty() {
        let message =
            "`train` names no classifier; write `train: {mlp: {}}`, `logistic` or `knn`, or leave `train` out";
        return Err(ConfigError::at_key(source, "train", message));
    }
    if let Some(folds) = train.cv {
        whole(source, "train.cv", folds, 2..=ranges::FOLDS)?;
    }
    if let Some(pattern) = &train.group_by {
        if let Err(error) = regex::Regex::new(pattern) {
            let message = format!("`train.group_by`: `{pattern}` is no regular expression: {error}");
            return Err(ConfigError::at_key(source, "train.group_by", message));
        }
        if train.folds().is_none() {
            let message = "`train.group_by` keeps pictures in one fold, and there are no folds; write `cv: 5`";
            return Err(ConfigError::at_key(source, "train.group_by", message));
        }
    }
    let own = train.classifiers();
    let listed: usize = train.candidates.iter().map(|candidate| candidate.classifiers().len()).sum();
    own[..own.len() - listed].iter().try_for_each(|classifier| check_classifier(*classifier, "train", source))?;
    for (i, candidate) in train.candidates.iter().enumerate() {
        let key = source.written(&format!("train.candidates[{i}]"));
        match candidate.classifiers().as_slice() {
            [one] => check_classifier(*one, &key, source)?,
            all => {
                return expected(source, &key, "one of `mlp`, `logistic` and `knn`", format!("{} of them", all.len()));
            }
        }
    }
    Ok(())
}

fn check_classifier(classifier: Classifier, key: &str, source: &Source) -> Checked {
    let key = format!("{key}.{}", classifier.name());
    match classifier {
        Classifier::Mlp(mlp) => check_mlp(mlp, &key, source),
        Classifier::Logistic(Logistic { c, tol, max_iter, class_weight, .. }) => {
            check_class_weight(class_weight.as_ref(), &key, source)?;
            for (name, value) in [("c", *c), ("tol", *tol)] {
                if !(value.is_finite() && value > 0.0) {
                    return expected(source, &format!("{key}.{name}"), "a number greater than 0", value);
                }
            }
            whole(source, &format!("{key}.max_iter"), *max_iter, 1..=ranges::MANY)
        }
        Classifier::Knn(Knn { k, .. }) => {
            // whichever name it was written under
            let name = if source.has(&format!("{key}.n_neighbors")) { "n_neighbors" } else { "k" };
            whole(source, &format!("{key}.{name}"), *k, 1..=ranges::NEIGHBOURS)
        }
    }
}

/// The ranges of scikit-learn's `_parameter_constraints` of `MLPClassifier`.
fn check_mlp(mlp: &Mlp, section: &str, source: &Source) -> Checked {
    let at_least_0: fn(f64) -> bool = |v| v >= 0.0;
    let above_0: fn(f64) -> bool = |v| v > 0.0;
    let from_0_to_1: fn(f64) -> bool = |v| (0.0..=1.0).contains(&v);
    let from_0_below_1: fn(f64) -> bool = |v| (0.0..1.0).contains(&v);
    for (key, value, holds, wanted) in [
        ("alpha", mlp.alpha, at_least_0, "a number of at least 0"),
        ("learning_rate_init", mlp.learning_rate_init, above_0, "a number greater than 0"),
        ("power_t", mlp.power_t, at_least_0, "a number of at least 0"),
        ("tol", mlp.tol, at_least_0, "a number of at least 0"),
        ("momentum", mlp.momentum, from_0_to_1, "a number from 0 to 1"),
        ("validation_fraction", mlp.validation_fraction, from_0_below_1, "a number of at least 0 and less than 1"),
        ("beta_1", mlp.beta_1, from_0_below_1, "a number of at least 0 and less than 1"),
        ("beta_2", mlp.beta_2, from_0_below_1, "a number of at least 0 and less than 1"),
        ("epsilon", mlp.epsilon, above_0, "a number greater than 0"),
        ("dropout", mlp.dropout, from_0_below_1, "a number of at least 0 and less than 1"),
        ("label_smoothing", mlp.label_smoothing, from_0_below_1, "a number of at least 0 and less than 1"),
    ] {
        if !(value.is_finite() && holds(value)) {
            return expected(source, &format!("{section}.{key}"), wanted, value);
        }
    }
    let rows = if let BatchSize::Rows(rows) = mlp.batch_size { rows } else { 1 };
    for (key, value) in [
        ("batch_size", rows),
        ("max_iter", mlp.max_iter),
        ("max_fun", mlp.max_fun),
        ("n_iter_no_change", mlp.n_iter_no_change),
    ] {
        whole(source, &format!("{section}.{key}"), value, 1..=ranges::MANY)?;
    }
    // whichever name it was written under
    let written = if source.has(&format!("{section}.hidden")) { "hidden" } else { "hidden_layer_sizes" };
    let written = format!("{section}.{written}");
    for (i, units) in mlp.hidden.iter().enumerate() {
        let item = format!("{written}[{i}]");
        let key = if source.has(&item) { &item } else { &written };
        whole(source, key, *units, 1..=ranges::UNITS)?;
    }
    if mlp.hidden.len() > ranges::LAYERS {
        return expected(source, &written, &format!("at most {} layers", ranges::LAYERS), mlp.hidden.len());
    }
    check_class_weight(mlp.class_weight.as_ref(), section, source)?;
    let full_batch = mlp.solver == Solver::Lbfgs;
    for (key, asked, why) in [
        ("early_stopping", mlp.early_stopping, "`lbfgs` has no passes to stop after"),
        ("dropout", mlp.dropout > 0.0, "`lbfgs` needs the same loss at every step"),
    ] {
        if asked && full_batch {
            let key = format!("{section}.{key}");
            let message = format!("`{key}` goes with `solver: adam` or `sgd`; {why}");
            return Err(ConfigError::at_key(source, &key, message));
        }
    }
    if mlp.early_stopping && mlp.validation_fraction == 0.0 {
        let message = format!(
            "`{section}.early_stopping` watches the validation rows; `validation_fraction` has to be greater than 0"
        );
        return Err(ConfigError::at_key(source, &format!("{section}.validation_fraction"), message));
    }
    Ok(())
}

/// Which classes there are is known when the pictures are listed.
fn check_class_weight(weights: Option<&ClassWeight>, section: &str, source: &Source) -> Checked {
    let Some(ClassWeight::Classes(weights)) = weights else { return Ok(()) };
    if weights.is_empty() {
        return expected(source, &format!("{section}.class_weight"), "`balanced`, or weights of classes", "none");
    }
    match weights.iter().find(|(_, weight)| !(weight.is_finite() && **weight > 0.0)) {
        Some((class, weight)) => {
            expected(source, &format!("{section}.class_weight.{class}"), "a number greater than 0", weight)
        }
        None => Ok(()),
    }
}
