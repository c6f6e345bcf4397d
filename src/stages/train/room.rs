//! Checks whether the training of a classifier fits into memory: before the first picture is computed, with the numbers
//! known then, and again before the training.

use crate::config::{Classifier, Components, InMemory, MlpParams, Reduce, Solver, Train};
use crate::memory::{self, NoRoom};
use crate::plan::Plan;

/// Bytes per weight of a perceptron in training with SGD or Adam: the weight, its initial value, and two moments.
const STEPPED: u64 = 16;
/// Bytes per weight with L-BFGS, which stores ten steps in 64 bits.
const FULL_BATCH: u64 = 200;

/// The rows and columns that a classifier is trained on.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub rows: usize,
    pub cols: usize,
    pub classes: usize,
}

/// Returns an error at the key of a classifier that needs more memory than there is, even with the fewest columns that
/// may be left; `rows` are those of the train split.
pub fn check(plan: &Plan, settings: &Train, rows: usize, classes: usize) -> Result<(), NoRoom> {
    let shape = Shape { rows, cols: least_columns(plan, rows), classes };
    settings.passing(|key, one| fits(&plan.pipeline.written(key), one, shape)).map(drop)
}

/// Returns an error at `key` if the training of that classifier needs more memory than there is.
pub fn fits(key: &str, classifier: Classifier, shape: Shape) -> Result<(), NoRoom> {
    let Some(limit) = memory::limit() else { return Ok(()) };
    match needs(key, classifier, shape).into_iter().find(|need| need.bytes > limit.bytes) {
        Some(Need { bytes: needed, subject, advice }) => {
            Err(NoRoom { subject, needed, limit: limit.clone(), advice: advice.to_string() })
        }
        None => Ok(()),
    }
}

/// A need of memory: its bytes, what needs them, and advice if they are too many.
struct Need {
    bytes: u64,
    subject: String,
    advice: &'static str,
}

/// Lists the needs of a classifier.
fn needs(key: &str, classifier: Classifier, shape: Shape) -> Vec<Need> {
    let Shape { rows, cols, .. } = shape;
    let mut all = Vec::new();
    if let Classifier::Mlp(mlp) = classifier {
        let widths: Vec<String> = widths(mlp, shape).iter().map(ToString::to_string).collect();
        let subject = format!("`{key}.hidden`: training the layers {}", widths.join(" → "));
        all.push(Need { bytes: weights(mlp, shape), subject, advice: "write fewer units" });
        let subject = format!("`{key}.batch_size`: {} rows at a time", mlp.batch_size.of(rows));
        all.push(Need { bytes: activations(mlp, shape), subject, advice: "write fewer rows" });
    }
    let table = (rows as u64).saturating_mul(cols as u64).saturating_mul(4);
    let held = |word: &str, advice| {
        let subject = format!("`{key}{word}`: the train table of {rows} rows and {cols} columns in memory");
        Some(Need { bytes: table, subject, advice })
    };
    let always = InMemory::Always(true);
    all.extend(match classifier {
        Classifier::Knn(_) => held("", "keep fewer columns with `reduce.pca` or `select.top_k`"),
        Classifier::Mlp(mlp) if mlp.in_memory == always => held(".in_memory", "write `in_memory: auto`"),
        Classifier::Logistic(logistic) if logistic.in_memory == always => held(".in_memory", "write `in_memory: auto`"),
        _ => None,
    });
    all
}

/// The widths of the input, the hidden layers and the output.
fn widths(mlp: &MlpParams, shape: Shape) -> Vec<usize> {
    let outputs = if shape.classes == 2 { 1 } else { shape.classes };
    [&[shape.cols], mlp.hidden.as_slice(), &[outputs]].concat()
}

fn weights(mlp: &MlpParams, shape: Shape) -> u64 {
    let widths = widths(mlp, shape);
    let layers = widths.windows(2).map(|pair| (pair[0] as u64 + 1).saturating_mul(pair[1] as u64));
    let each = if mlp.solver == Solver::Lbfgs { FULL_BATCH } else { STEPPED };
    layers.fold(0, u64::saturating_add).saturating_mul(each)
}

/// Bytes of the hidden layers' activations for a batch, and of their gradients; 0 for L-BFGS, which processes rows in
/// blocks.
fn activations(mlp: &MlpParams, shape: Shape) -> u64 {
    if mlp.solver == Solver::Lbfgs {
        return 0;
    }
    let units: usize = mlp.hidden.iter().sum();
    (mlp.batch_size.of(shape.rows) as u64).saturating_mul(units as u64).saturating_mul(8)
}

/// Returns the smallest number of columns that the classifier may get.
fn least_columns(plan: &Plan, rows: usize) -> usize {
    let pipeline = &plan.pipeline;
    // the number of columns above the threshold is known only later
    let kept = if pipeline.select.is_some() { 1 } else { plan.width() };
    let count = match &pipeline.reduce {
        Some(Reduce { pca: Some(pca), .. }) => match pca.components {
            Components::Count(count) => count,
            Components::Fraction(_) | Components::Mle => 1,
        },
        Some(Reduce { svd: Some(svd), .. }) => svd.components,
        _ => return kept,
    };
    count.min(kept).min(rows).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BatchSize;

    const SHAPE: Shape = Shape { rows: 1000, cols: 1280, classes: 3 };

    #[test]
    fn weights_and_batches_are_counted() {
        let mlp = MlpParams { hidden: vec![100, 10], ..MlpParams::default() };
        assert_eq!(weights(&mlp, SHAPE), 16 * (1281 * 100 + 101 * 10 + 11 * 3));
        assert_eq!(activations(&mlp, SHAPE), 200 * 110 * 8);
        let two = Shape { classes: 2, ..SHAPE };
        assert_eq!(weights(&mlp, two), 16 * (1281 * 100 + 101 * 10 + 11));
        let full = MlpParams { solver: Solver::Lbfgs, ..mlp.clone() };
        assert_eq!((weights(&full, two), activations(&full, two)), (200 * (1281 * 100 + 101 * 10 + 11), 0));
        let all = MlpParams { batch_size: BatchSize::Rows(1_000_000_000), ..mlp };
        assert_eq!(activations(&all, SHAPE), 1000 * 110 * 8);
    }

    #[test]
    fn more_than_any_machine_has_is_refused_at_its_key() {
        if memory::limit().is_none() {
            return;
        }
        let mlp = MlpParams { hidden: vec![65_536; 64], ..MlpParams::default() };
        let error = fits("train[0].mlp", Classifier::Mlp(&mlp), SHAPE).expect_err("4 TB").to_string();
        assert!(error.starts_with("`train[0].mlp.hidden`: training the layers 1280 → 65536 → "), "{error}");
        assert!(error.contains("takes about 4330"), "{error}");
        assert!(error.ends_with("write fewer units"), "{error}");
        let rows = Shape { rows: 1 << 40, ..SHAPE };
        let knn = crate::config::KnnParams::default();
        let error = fits("train.knn", Classifier::Knn(&knn), rows).expect_err("5 PB").to_string();
        assert!(error.starts_with("`train.knn`: the train table of 1099511627776 rows"), "{error}");
        let mlp = MlpParams { in_memory: InMemory::Always(true), ..MlpParams::default() };
        let error = fits("train.mlp", Classifier::Mlp(&mlp), rows).expect_err("5 PB").to_string();
        assert!(error.starts_with("`train.mlp.in_memory`: "), "{error}");
        assert_eq!(fits("train.mlp", Classifier::Mlp(&MlpParams::default()), SHAPE), Ok(()));
    }
}
