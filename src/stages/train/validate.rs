//! Cross-validation of everything that is fitted, as scikit-learn's `cross_val_score(make_pipeline(…), …)`: `select`,
//! `reduce` and the classifiers are fitted without the rows of a fold, then the classifiers are scored on the fold. If
//! columns, scale or components were fitted on the fold, too, the score would be too high.

use std::borrow::Cow;
use std::path::Path;
use std::time::Instant;

use super::calibrate::{Folds, HeldOut};
use super::fit::{self, TrainTable};
use super::table::{Filling, Table};
use super::{Scored, TrainError};
use crate::config::{Classifier, Reduce, Select, Train};
use crate::learn::dataset::Transformer;
use crate::learn::metrics;
use crate::learn::mlp::argmax;
use crate::learn::reduction::Reduction;
use crate::progress::{Ui, bytes};
use crate::stages::fitting::Fitting;
use crate::stages::reduce::ReduceError;
use crate::stages::rows::{Shards, TrainRows};

/// The source of the classifiers' columns.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    pub shards: &'a Shards,
    /// Columns of the shards.
    pub width: usize,
    pub select: Option<&'a Select>,
    pub reduce: Option<&'a Reduce>,
    /// The folder for folds that are not held in memory.
    pub folder: &'a Path,
}

/// The scores of a classifier and its probabilities for held-out rows, or the error of its training.
pub type CrossValidated = Result<(Scored, HeldOut), TrainError>;

/// Scores every classifier on every fold, fitted on the others, and keeps its probabilities for the rows of the fold.
/// `y` is the class of each train row. A candidate of `auto` whose training diverges has an error of its own.
pub fn validate(
    settings: &Train,
    columns: Columns,
    (y, classes): (&[usize], &[String]),
    folds: &Folds,
    ui: &Ui,
) -> Result<Vec<CrossValidated>, TrainError> {
    let (classifiers, fold) = (&settings.classifiers()[..], &folds.of);
    let mut diverged: Vec<Option<TrainError>> = classifiers.iter().map(|_| None).collect();
    let (mut scores, mut seconds) = (vec![Vec::new(); classifiers.len()], vec![0.0; classifiers.len()]);
    let mut losses = vec![Vec::new(); classifiers.len()];
    let mut held_out = vec![HeldOut::new(y.len() * folds.fitted / folds.count, classes.len()); classifiers.len()];
    for held in 0..folds.fitted {
        let (test, train): (Vec<usize>, Vec<usize>) = (0..y.len()).partition(|&row| fold[row] == held);
        let of = |rows: &[usize]| rows.iter().map(|&row| y[row]).collect::<Vec<usize>>();
        let (y_test, y_train) = (of(&test), of(&train));
        let [x_train, x_test] = columns.split(classifiers, fold, held, classes, ui)?;
        let data = TrainTable { x: &x_train, y: &y_train, classes };
        for (i, classifier) in classifiers.iter().enumerate() {
            if diverged[i].is_some() {
                continue;
            }
            let start = Instant::now();
            let fitted = match fit::fit(*classifier, data, None, ui, &|_| ()) {
                Err(error) if settings.auto.is_some() && error.is_divergence() => {
                    diverged[i] = Some(error);
                    continue;
                }
                fitted => fitted?,
            };
            let (mut right, mut lost, mut truth) = (0, 0.0, y_test.iter());
            x_test.for_each(|rows| {
                for (row, &class) in fitted.predict_proba(rows)?.iter_rows().zip(&mut truth) {
                    right += usize::from(argmax(row) == class);
                    lost += metrics::loss(row[class]);
                    held_out[i].push(row, class);
                }
                Ok(ui.check()?)
            })?;
            scores[i].push(right as f64 / y_test.len().max(1) as f64);
            losses[i].push(lost / y_test.len().max(1) as f64);
            seconds[i] += start.elapsed().as_secs_f64();
            ui.check()?;
        }
    }
    let scored = classifiers.iter().zip(scores.into_iter().zip(losses)).zip(seconds);
    let scored = scored.map(|((classifier, (folds, losses)), seconds): (_, f64)| {
        let mean = folds.iter().sum::<f64>() / folds.len() as f64;
        let sd = (folds.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / folds.len() as f64).sqrt();
        let name = classifier.describe();
        let (percent, more) = (100.0 * mean, 100.0 * sd);
        ui.note(&format!("{name}: {percent:.2} % ± {more:.2} in {} folds, {seconds:.1} s", folds.len()));
        Scored { name, mean, sd, folds, losses, seconds }
    });
    Ok(scored.zip(held_out).zip(diverged).map(|(scored, diverged)| diverged.map_or(Ok(scored), Err)).collect())
}

impl Columns<'_> {
    /// Returns the train rows outside the fold and those in it, both transformed by the `select` and `reduce` that were
    /// fitted outside; in memory if one of `classifiers` needs them there.
    fn split(
        &self,
        classifiers: &[Classifier],
        fold: &[usize],
        held: usize,
        classes: &[String],
        ui: &Ui,
    ) -> Result<[Table; 2], TrainError> {
        let beside = TrainRows::beside(self.shards, fold, held);
        let fitting = Fitting::of_part(beside, self.width, ui);
        let kept = self.select.map(|select| fitting.columns(select, classes)).transpose()?.map(|choice| choice.kept);
        let kept = kept.as_deref();
        let reduction = self.reduce.map(|reduce| fitting.reduction(reduce, kept)).transpose()?;
        let given = kept.map_or(self.width, <[usize]>::len);
        let columns = reduction.as_ref().map_or(given, Reduction::outputs);
        let in_memory = classifiers.iter().any(|classifier| classifier.holds(fold.len(), columns));
        if !in_memory && held == 0 {
            let size = bytes((fold.len() * columns * size_of::<f32>()) as u64);
            ui.note(&format!("the folds ({size}) are copied to disk, and their rows are read from there"));
        }
        let table = |rows: usize| Filling::new(in_memory, self.folder, (rows, columns));
        let (mut x_train, mut x_test) = (table(beside.count())?, table(fold.len() - beside.count())?);
        let mut fold = fold.iter();
        TrainRows::all(self.shards, fold.len()).for_each::<TrainError>(kept, ui, |_, rows| {
            let made = match &reduction {
                Some(reduction) => Cow::Owned(reduction.transform(rows).map_err(ReduceError::from)?),
                None => Cow::Borrowed(rows),
            };
            let numbers = (0..made.rows()).zip(&mut fold);
            let (test, train): (Vec<(usize, &usize)>, _) = numbers.partition(|(_, fold)| **fold == held);
            for (table, rows) in [(&mut x_train, train), (&mut x_test, test)] {
                table.append(&made, &rows.iter().map(|(row, _)| *row).collect::<Vec<_>>())?;
            }
            Ok(())
        })?;
        Ok([x_train.finish()?, x_test.finish()?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::io::features::{self, Format, Layout};
    use crate::io::table::Table;
    use crate::learn::folds;
    use crate::store::RunDir;
    use crate::table::{Dtype, FeatureMatrix};

    /// The rows in shards of 17, with test rows among them, which must not be fitted on.
    fn stored(x: &FeatureMatrix, y: &[usize], classes: &[String]) -> (tempfile::TempDir, RunDir, usize) {
        let folder = tempfile::tempdir().expect("folder");
        let dir = RunDir::new(folder.path());
        std::fs::create_dir_all(dir.features()).expect("folder");
        let outlier = vec![1e4_f32; x.cols()];
        let shards = x.rows().div_ceil(17);
        for shard in 0..shards {
            let own: Vec<usize> = (17 * shard..x.rows().min(17 * (shard + 1))).collect();
            let mut rows: Vec<(&[f32], usize, &str)> = own.iter().map(|&i| (x.row(i), y[i], "train")).collect();
            rows.insert(shard % rows.len(), (&outlier, 0, "test"));
            let paths: Vec<String> = (0..rows.len()).map(|i| format!("{shard:03}-{i:03}.jpg")).collect();
            let keys = Table::new(rows.len()).text("path", paths.iter().map(|path| Some(path.as_str())));
            let keys = keys.text("label", rows.iter().map(|row| Some(classes[row.1].as_str())));
            let keys = keys.text("split", rows.iter().map(|row| Some(row.2)));
            let values: Vec<&[f32]> = rows.iter().map(|row| row.0).collect();
            let format = Format { layout: Layout::Array(x.cols()), dtype: Dtype::F32 };
            features::write_noted(&dir.shard(shard, shards), keys, format, &values, &[], |_, _| Ok(()))
                .expect("written");
        }
        (folder, dir, shards)
    }

    fn count(value: &serde_json::Value) -> usize {
        value.as_u64().expect("a count") as usize
    }

    /// `labelled(seed, rows, cols, classes)` of `tests/golden/sklearn.py`: the table, the class of each row, how many
    /// classes there are.
    fn labelled(formula: &serde_json::Value) -> (FeatureMatrix, Vec<usize>, usize) {
        let [seed, rows, cols, classes] = ["seed", "rows", "cols", "classes"].map(|key| count(&formula[key]));
        let draws = |seed: usize, count: usize, low: i64, high: i64| -> Vec<i64> {
            let mut state = seed as u64;
            let next = |_| {
                state = (state * 1_664_525 + 1_013_904_223) % (1 << 32);
                low + (state >> 16) as i64 % (high - low + 1)
            };
            (0..count).map(next).collect()
        };
        let mut y: Vec<usize> = draws(seed, rows, 0, classes as i64 - 1).into_iter().map(|c| c as usize).collect();
        (0..classes).for_each(|c| y[c] = c);
        let (centres, grain) = (draws(seed + 1, classes * cols, -8, 8), draws(seed + 2, rows * cols, -24, 24));
        let value = |i: usize, j: usize| (centres[y[i] * cols + j] + grain[i * cols + j]) as f32 / 16.0;
        let data = (0..rows * cols).map(|at| value(at / cols, at % cols)).collect();
        (FeatureMatrix::from_vec(rows, cols, data).expect("rows × cols values"), y, classes)
    }

    #[test]
    fn folds_score_as_in_scikit_learn_with_everything_fitted_beside_them() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/golden/cross_validation.json")).expect("JSON");
        let mut read_from_disk = false;
        for case in golden["cases"].as_array().expect("cases") {
            let (x, y, class_count) = labelled(&case["labelled"]);
            let classes: Vec<String> = (0..class_count).map(|class| format!("c{class}")).collect();
            let (_folder, dir, shards) = stored(&x, &y, &classes);
            let yaml = format!("version: 1\ninput: {{root: .}}\n{}", case["yaml"].as_str().expect("text"));
            let pipeline = config::parse(&yaml, "pipeline.yaml".as_ref(), &[]).expect("a pipeline");
            let train = pipeline.train.as_ref().expect("a classifier");
            let folds = count(&case["folds"]);
            let fold = folds::stratified(&y, class_count, folds).expect("folds");
            let shards = Shards::of(&dir, shards, &[]);
            let (select, reduce) = (pipeline.select.as_ref(), pipeline.reduce.as_ref());
            let columns = Columns { shards: &shards, width: x.cols(), select, reduce, folder: dir.root() };
            let data = (&y[..], &classes[..]);
            let scores = |train: &config::Train| {
                let of = Folds { of: fold.clone(), count: folds, fitted: folds, compare: true, calibrate: false };
                let scored = validate(train, columns, data, &of, &Ui::silent()).expect("scores");
                scored.into_iter().map(|scored| scored.expect("it converges").0).collect::<Vec<_>>()
            };
            let scored = scores(train);
            // the same folds, with rows on disk
            let mut on_disk = train.clone();
            let candidates = on_disk.candidates.iter_mut().map(|one| (&mut one.mlp, &mut one.logistic));
            for (mlp, logistic) in candidates.chain([(&mut on_disk.mlp, &mut on_disk.logistic)]) {
                mlp.iter_mut().for_each(|mlp| mlp.in_memory = config::InMemory::Always(false));
                logistic.iter_mut().for_each(|logistic| logistic.in_memory = config::InMemory::Always(false));
            }
            let held = on_disk.classifiers().iter().any(|classifier| classifier.holds(1, 1));
            read_from_disk |= !held;
            scored.iter().zip(scores(&on_disk)).for_each(|(one, other)| assert_eq!(one.folds, other.folds));
            let read = |key: &str| serde_json::from_value::<Vec<Vec<f64>>>(case[key].clone()).expect("scores");
            let (expected, losses) = (read("scores"), read("log_losses"));
            assert_eq!(scored.len(), expected.len());
            for ((scored, expected), losses) in scored.iter().zip(expected).zip(losses) {
                let told = format!("{}: {:?}, scikit-learn has {expected:?}", scored.name, scored.folds);
                assert_eq!(scored.folds.len(), expected.len(), "{told}");
                let mean = expected.iter().sum::<f64>() / folds as f64;
                let pairs = scored.folds.iter().zip(&expected).chain([(&scored.mean, &mean)]);
                pairs.for_each(|(found, expected)| assert!((found - expected).abs() <= 1e-12 * expected, "{told}"));
                let told = format!("{}: {:?}, scikit-learn has {losses:?}", scored.name, scored.losses);
                assert_eq!(scored.losses.len(), losses.len(), "{told}");
                let pairs = scored.losses.iter().zip(&losses);
                pairs.for_each(|(found, expected)| assert!((found - expected).abs() <= 1e-5 * expected, "{told}"));
            }
        }
        assert!(read_from_disk, "every case has a `knn`, which holds the folds");
    }

    #[test]
    fn a_candidate_of_auto_that_diverges_is_no_error_of_the_others() {
        let rows: Vec<usize> = (0..24).collect();
        let y: Vec<usize> = rows.iter().map(|row| row % 2).collect();
        let x = rows.iter().flat_map(|&row| [(row % 2) as f32, row as f32 / 24.0, 1.0]).collect();
        let x = FeatureMatrix::from_vec(24, 3, x).expect("24 × 3");
        let classes = ["a", "b"].map(String::from);
        let (_folder, dir, shards) = stored(&x, &y, &classes);
        let shards = Shards::of(&dir, shards, &[]);
        let columns = Columns { shards: &shards, width: 3, select: None, reduce: None, folder: dir.root() };
        let of = folds::stratified(&y, 2, 3).expect("folds");
        let folds = Folds { of, count: 3, fitted: 3, compare: true, calibrate: false };
        let pipeline = config::parse("{version: 1, input: {root: .}, train: auto}", "pipeline.yaml".as_ref(), &[]);
        let mut train = pipeline.expect("a pipeline").train.expect("auto");
        let (solver, activation) = (config::Solver::Sgd, config::Activation::Identity);
        let wild = config::MlpParams { solver, activation, learning_rate_init: 1e20, ..Default::default() };
        train.grid.truncate(2);
        train.grid[0] = config::Candidate { mlp: Some(wild), ..Default::default() };
        let validated = |train: &Train| validate(train, columns, (&y, &classes), &folds, &Ui::silent());
        let of_each = validated(&train).expect("one of them converges");
        assert!(of_each[0].as_ref().is_err_and(TrainError::is_divergence), "{of_each:?}");
        assert!(of_each[1].as_ref().is_ok_and(|(scored, _)| scored.folds.len() == 3), "{of_each:?}");
        // one that the user has named is an error
        let named = Train { auto: None, ..train };
        assert!(validated(&named).expect_err("it diverges").is_divergence());
    }
}
