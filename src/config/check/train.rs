//! Ranges and combinations of `train`.

use super::super::source::Source;
use super::super::train::{Auto, Candidate, Classifier, Train};
use super::super::{ConfigError, ranges};
use super::{Checked, check_params, expected, whole};

/// Checks `train`, and resolves the paths in it to paths relative to the current folder.
pub fn check(train: &mut Train, source: &Source) -> Checked {
    if let Some(auto) = &train.auto {
        train.grid = grid(auto, train, source)?;
    }
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
                "`{key}` and cross-validation: the earlier run may have learnt the pictures that are held out; leave \
                 `cv` and other classifiers out"
            );
            return Err(ConfigError::at_key(source, &key, message));
        }
        mlp.warm_start = Some(source.resolve(&key, run));
    }
    Ok(())
}

/// The candidates of `train: auto`; an error if classifiers are named beside it.
fn grid(auto: &Auto, train: &Train, source: &Source) -> Checked<Vec<Candidate>> {
    if let Some((key, _)) = train.keyed().first() {
        let key = source.written(key);
        let message = format!("`train.auto` chooses the classifier, and `{key}` is one; leave one of them out");
        return Err(ConfigError::at_key(source, &key, message));
    }
    whole(source, "train.auto.fits", auto.fits, 2..=ranges::MANY)?;
    let folds = train.folds().unwrap_or_default();
    let grid = auto.grid(folds);
    if grid.len() < 2 {
        let message = format!(
            "`train.auto.fits`: {} fits are too few to compare two classifiers in {folds} folds; write {} or more, or \
             fewer folds in `train.cv`",
            auto.fits,
            2 * folds
        );
        return Err(ConfigError::at_key(source, "train.auto.fits", message));
    }
    Ok(grid)
}

fn check_all(train: &Train, source: &Source) -> Checked {
    if train.classifiers().is_empty() {
        let message = "`train` names no classifier; write `train: auto`, `train: {mlp: {}}`, `logistic` or `knn`, or leave \
             `train` out";
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
    let listed: usize = train.candidates.iter().chain(&train.grid).map(|candidate| candidate.classifiers().len()).sum();
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
    let section = format!("{key}.{}", classifier.name());
    check_params(classifier.check(), &section, classifier.aliases(), source)
}
