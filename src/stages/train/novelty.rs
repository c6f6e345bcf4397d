//! A sample of the train rows, by which `predict` measures how far a picture is from the training data. Its size is
//! bounded, so that the folder `classifier/` stays small and predictions stay fast.

use super::{TrainError, groups};
use crate::config;
use crate::io::features::Key;
use crate::io::tensors::{self, Tensor, Tensors, Values};
use crate::io::{Digest, IoError};
use crate::learn::classifier::ClassifierError;
use crate::learn::novelty::{NEIGHBOURS, Novelty, Parts};
use crate::plan::Plan;
use crate::progress::Ui;
use crate::stages::rows::{Source, TrainRows};
use crate::store::RunDir;
use crate::table::FeatureMatrix;

/// The most bytes of the sample.
const BYTES: usize = 32 << 20;
/// The most multiply-accumulates to compare all train rows with the sample: about ten seconds on two cores.
const WORK: usize = 200_000_000_000;
/// Rows that the sample has even if their comparison takes more work, within `BYTES`.
const ROWS: usize = 1000;

/// The sample of train rows, and their numbers among all train rows, ascending.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub novelty: Novelty,
    pub numbers: Vec<usize>,
}

/// Fits on a sample of the train rows, whose keys and classes are given; none where there are too few. The features are
/// those that `select` has kept, before `reduce`, since components of the train rows describe other pictures badly.
pub fn fit(
    plan: &Plan,
    settings: &config::Train,
    source: Source,
    keys: &[Key],
    (y, classes): (&[usize], usize),
    ui: &Ui,
) -> Result<Option<Sample>, TrainError> {
    let width = source.kept.map_or(plan.width(), <[usize]>::len).max(1);
    let cheap = (WORK / (y.len() * width).max(1)).max(ROWS);
    let mut numbers: Vec<usize> = (0..y.len()).collect();
    let most = cheap.min(BYTES / (size_of::<f32>() * width));
    if numbers.len() > most {
        // in the order of the hashes of the paths, which is reproducible and independent of the folders
        numbers.sort_by_cached_key(|&row| *blake3::hash(keys[row].path.as_bytes()).as_bytes());
        numbers.truncate(most);
        numbers.sort_unstable();
    }
    if numbers.len() <= NEIGHBOURS {
        return Ok(None);
    }
    let groups = settings.group_by.as_ref().map(|pattern| groups(pattern, keys)).transpose()?;
    let groups: Vec<usize> = numbers.iter().map(|&row| groups.as_ref().map_or(row, |groups| groups[row])).collect();
    let (mut rows, mut first) = (FeatureMatrix::with_capacity(numbers.len(), width), 0);
    TrainRows::all(source.shards, y.len()).for_each::<TrainError>(source.kept, ui, |_, part| {
        let own =
            numbers.partition_point(|&row| row < first)..numbers.partition_point(|&row| row < first + part.rows());
        rows.append_rows(part, &numbers[own].iter().map(|row| row - first).collect::<Vec<_>>());
        first += part.rows();
        Ok(())
    })?;
    let y = numbers.iter().map(|&row| y[row]).collect();
    let novelty = Novelty::fit(rows, y, classes, &groups).map_err(ClassifierError::from)?;
    Ok(novelty.map(|novelty| Sample { novelty, numbers }))
}

/// Writes the sample.
pub(super) fn save(dir: &RunDir, sample: &Sample) -> Result<Digest, IoError> {
    let Parts { mean, rows, classes, scale, own } = sample.novelty.parts();
    // f64 represents these integers exactly
    let [classes, numbers] = [&classes, &sample.numbers].map(|all| all.iter().map(|&n| n as f64).collect::<Vec<f64>>());
    let tensors = [
        Tensor::new("mean", &[mean.len()], Values::F32(&mean)),
        Tensor::new("rows", &[rows.rows(), rows.cols()], Values::F32(rows.as_slice())),
        Tensor::new("classes", &[classes.len()], Values::F64(&classes)),
        Tensor::new("scale", &[scale.len()], Values::F64(&scale)),
        Tensor::new("own", &[own.len()], Values::F32(&own)),
        Tensor::new("numbers", &[numbers.len()], Values::F64(&numbers)),
    ];
    tensors::write(&dir.novelty(), &tensors)
}

/// Reads the sample of a run.
pub(super) fn open(dir: &RunDir) -> Result<Sample, TrainError> {
    let path = dir.novelty();
    let wrong = |reason: String| IoError::Table { path: path.clone(), reason };
    let mut file = Tensors::read(&path)?;
    let &[n, d] = file.shape("rows").unwrap_or_default() else {
        return Err(wrong("`rows` has no two dimensions".into()).into());
    };
    let [classes, numbers] =
        [file.f64s("classes")?, file.f64s("numbers")?].map(|all| all.iter().map(|&n| n as usize).collect::<Vec<_>>());
    let rows = FeatureMatrix::from_vec(n, d, file.f32s("rows")?).map_err(|error| wrong(error.to_string()))?;
    let (mean, scale, own) = (file.f32s("mean")?, file.f64s("scale")?, file.f32s("own")?);
    let novelty = Novelty::of_parts(Parts { mean, rows, classes, scale, own });
    let novelty = novelty.map_err(|error| wrong(error.to_string()))?;
    if numbers.len() != n || !numbers.is_sorted() {
        return Err(wrong("`numbers` are not those of the rows".into()).into());
    }
    Ok(Sample { novelty, numbers })
}
