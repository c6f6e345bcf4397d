//! `run`: runs a whole pipeline.

use std::path::PathBuf;

use featurize::pipeline::{self, Options};
use featurize::progress::Style;
use featurize::stages::StageId;
use pyo3::prelude::*;

use crate::errors::ConfigError;
use crate::extractor::{StoreOptions, plan};
use crate::work::interruptible;

/// Runs the pipeline `text`; returns the run's folder.
#[pyfunction]
#[pyo3(signature = (text, file, sets, out, until, force, retry_failed, rescan, progress, weights_dir, offline))]
#[expect(clippy::too_many_arguments, reason = "they are the keywords of Python's `run`")]
pub(crate) fn run(
    py: Python<'_>,
    text: &str,
    file: PathBuf,
    sets: Vec<String>,
    out: Option<PathBuf>,
    until: Option<&str>,
    force: Option<&str>,
    retry_failed: bool,
    rescan: bool,
    progress: bool,
    weights_dir: Option<PathBuf>,
    offline: bool,
) -> PyResult<PathBuf> {
    let options = Options { until: stage(until)?, force: stage(force)?, retry_failed, rescan };
    let store = StoreOptions { folder: weights_dir, offline };
    interruptible(py, if progress { Style::Auto } else { Style::Quiet }, |ui| {
        let plan = plan(text, &file, &sets, out.as_deref(), &store, ui)?;
        pipeline::run(&plan, &options, ui)?;
        Ok::<_, featurize::Error>(plan.dir.root().to_path_buf())
    })
}

fn stage(name: Option<&str>) -> PyResult<Option<StageId>> {
    let wrong = |name, known| ConfigError::new_err(format!("there is no stage `{name}`; {known}"));
    name.map(|name| StageId::from_name(name).map_err(|known| wrong(name, known))).transpose()
}
