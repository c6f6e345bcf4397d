//! `reduce`: principal components, fitted on the train split, applied to every row.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::{self, Reduce};
use crate::io::features::Key;
use crate::io::table::Table;
use crate::io::tensors::{self, Tensors, Values};
use crate::io::{IoError, features};
use crate::learn::pca::{self, Components, CovarianceAccumulator, Pca, PcaError, Route};
use crate::plan::Plan;
use crate::progress::{Interrupted, Ui};
use crate::stages::StageId;
use crate::stages::rows::Shards;
use crate::stages::scan::Split;
use crate::store::{OutputFile, RunDir};
use crate::table::FeatureMatrix;

/// What `reduce` commits; the components stand in `classifier/pca.safetensors`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reduced {
    pub components: usize,
    /// Of the columns that came in.
    pub columns: usize,
    /// Share of the train split's variance that the components explain.
    pub explained: f64,
    /// The same for each component.
    pub ratio: Vec<f64>,
}

/// The table cannot be reduced.
#[derive(Debug, Error)]
pub enum ReduceError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error("reduce: {0}")]
    Learn(#[from] PcaError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// What the stage reads.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub shards: usize,
    pub train_rows: usize,
    /// The columns that `select` kept.
    pub kept: Option<&'a [usize]>,
    pub classes: &'a [String],
}

/// Fits on the train rows, writes the components and `reduced.parquet`.
pub fn run(plan: &Plan, settings: &Reduce, input: Input, ui: &Ui) -> Result<(Reduced, Vec<OutputFile>), ReduceError> {
    let line = ui.stage(StageId::Reduce, None, "rows");
    let pca = fit(plan, &settings.pca, input, ui)?;
    save(&plan.dir, &pca)?;
    let (mut keys, mut all): (Vec<Key>, _) = (Vec::new(), FeatureMatrix::with_cols(pca.k()));
    Shards::of(&plan.dir, input.shards).for_each::<ReduceError>(input.kept, ui, |some, rows| {
        keys.extend_from_slice(some);
        all.append(&pca.transform(rows)?);
        Ok(())
    })?;
    let path = plan.dir.reduced();
    write(plan, &path, &keys, &all, input.classes)?;
    let reduced = Reduced {
        components: pca.k(),
        columns: pca.features,
        explained: pca.explained_variance_ratio.iter().sum(),
        ratio: pca.explained_variance_ratio.clone(),
    };
    let percent = 100.0 * reduced.explained;
    line.finish(&format!("{} components explain {percent:.1} % of the variance", reduced.components));
    Ok((reduced, vec![OutputFile::of(&plan.dir, &plan.dir.pca())?, OutputFile::of(&plan.dir, &path)?]))
}

fn fit(plan: &Plan, settings: &config::Pca, input: Input, ui: &Ui) -> Result<Pca, ReduceError> {
    let components = match settings.components {
        config::Components::Count(n) => Components::Count(n),
        config::Components::Fraction(f) => Components::Fraction(f),
    };
    let params = pca::valid_params(components, settings.whiten)?;
    let columns = input.kept.map_or(plan.width(), <[usize]>::len);
    let shards = Shards::of(&plan.dir, input.shards);
    match pca::route(input.train_rows, columns) {
        Route::Covariance => {
            let mut covariance = CovarianceAccumulator::new(columns)?;
            shards.for_each_train::<ReduceError>(input.kept, ui, |rows| Ok(covariance.update(rows.as_slice())?))?;
            Ok(covariance.finish(&params)?)
        }
        Route::Gram => {
            let mut all = FeatureMatrix::with_cols(columns);
            shards.for_each_train::<ReduceError>(input.kept, ui, |rows| {
                all.append(rows);
                Ok(())
            })?;
            Ok(pca::fit_rows(&all, &params)?)
        }
    }
}

fn write(
    plan: &Plan,
    path: &std::path::Path,
    keys: &[Key],
    matrix: &FeatureMatrix,
    classes: &[String],
) -> Result<(), IoError> {
    let [name, label, split] = features::KEYS;
    let digits = matrix.cols().saturating_sub(1).to_string().len().max(3);
    let columns: Vec<String> = (0..matrix.cols()).map(|i| format!("pc_{i:0digits$}")).collect();
    Table::new(keys.len())
        .text(name, keys.iter().map(|key| Some(key.path.as_str())))
        .category(label, classes, keys.iter().map(|key| key.label.as_deref()))
        .category(split, &Split::WORDS.map(String::from), keys.iter().map(|key| key.split.as_deref()))
        .wide(&columns, matrix)
        .write(path, &plan.metadata())
}

fn save(dir: &RunDir, pca: &Pca) -> Result<(), IoError> {
    let (k, d) = (pca.k(), pca.features);
    let facts = [pca.noise_variance, pca.total_variance, pca.rows as f64, f64::from(u8::from(pca.whiten))];
    let tensor = |name: &str, shape: Vec<usize>, values| (name.to_string(), shape, values);
    tensors::write(
        &dir.pca(),
        &[
            tensor("mean", vec![d], Values::F64(&pca.mean)),
            tensor("components", vec![k, d], Values::F32(&pca.components)),
            tensor("explained_variance", vec![k], Values::F64(&pca.explained_variance)),
            tensor("explained_variance_ratio", vec![k], Values::F64(&pca.explained_variance_ratio)),
            tensor("singular_values", vec![k], Values::F64(&pca.singular_values)),
            tensor("noise_variance", vec![1], Values::F64(&facts[..1])),
            tensor("total_variance", vec![1], Values::F64(&facts[1..2])),
            tensor("rows", vec![1], Values::F64(&facts[2..3])),
            tensor("whiten", vec![1], Values::F64(&facts[3..])),
        ],
    )
}

/// The fitted components of a run.
pub fn open(dir: &RunDir) -> Result<Pca, ReduceError> {
    let mut file = Tensors::read(&dir.pca())?;
    let mean = file.f64s("mean")?;
    let pca = Pca {
        features: mean.len(),
        mean,
        components: file.f32s("components")?,
        explained_variance: file.f64s("explained_variance")?,
        explained_variance_ratio: file.f64s("explained_variance_ratio")?,
        singular_values: file.f64s("singular_values")?,
        noise_variance: file.f64("noise_variance")?,
        total_variance: file.f64("total_variance")?,
        rows: file.f64("rows")? as u64,
        whiten: file.f64("whiten")? != 0.0,
    };
    pca.check()?;
    Ok(pca)
}
