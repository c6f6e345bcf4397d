//! Computes parts of a run in Ray actors, and shows the progress in their driver.

use std::path::PathBuf;
use std::sync::Arc;

use featurize::progress::{StageLine, Style, Ui};
use featurize::stages::StageId;
use featurize::stages::extract::Worker as Core;
use pyo3::prelude::*;

use crate::errors::exception;
use crate::extractor::{StoreOptions, plan};
use crate::work::interruptible;

/// Computes shards of a run whose pictures are listed.
#[pyclass(module = "featurize._featurize")]
#[derive(Debug)]
pub(crate) struct Worker {
    core: Core,
}

#[pymethods]
impl Worker {
    #[new]
    #[pyo3(signature = (text, file, sets, out, weights_dir = None, offline = false))]
    fn new(
        py: Python<'_>,
        text: &str,
        file: PathBuf,
        sets: Vec<String>,
        out: Option<PathBuf>,
        weights_dir: Option<PathBuf>,
        offline: bool,
    ) -> PyResult<Self> {
        let store = StoreOptions { folder: weights_dir, offline };
        let core = interruptible(py, Style::Quiet, |ui| {
            let plan = plan(text, &file, &sets, out.as_deref(), &store, ui)?;
            Ok::<_, featurize::Error>(Core::open(plan)?)
        })?;
        Ok(Self { core })
    }

    /// The number of each shard without a table, and the number of its pictures.
    fn missing(&self, py: Python<'_>) -> PyResult<Vec<(usize, usize)>> {
        let found = py.detach(|| self.core.missing(0..self.core.shards()));
        found.map_err(|error| exception(py, error))
    }

    /// Loads the network; raises an exception if this machine would compute other bits than the others.
    fn load(&mut self, py: Python<'_>) -> PyResult<()> {
        interruptible(py, Style::Quiet, |ui| self.core.load(ui))
    }

    /// Computes a shard unless it has a table; returns the numbers of computed and of failed pictures.
    fn compute(&mut self, py: Python<'_>, shard: usize) -> PyResult<(usize, usize)> {
        let done = interruptible(py, Style::Quiet, |ui| self.core.compute(shard..shard + 1, ui))?;
        Ok((done.pictures, done.failed))
    }
}

/// The progress line that `featurize run` shows during the extraction.
#[pyclass(module = "featurize._featurize")]
#[derive(Debug)]
pub(crate) struct Progress {
    line: Option<StageLine>,
    ui: Ui,
}

#[pymethods]
impl Progress {
    #[new]
    fn new(pictures: u64, quiet: bool) -> Self {
        let ui = Ui::new(if quiet { Style::Quiet } else { Style::Auto }, Arc::default());
        Self { line: Some(ui.stage(StageId::Extract, Some(pictures), "images")), ui }
    }

    /// Counts `pictures` more as done.
    fn advance(&self, pictures: u64) {
        self.line.iter().for_each(|line| line.inc(pictures));
    }

    fn warn(&self, text: &str) {
        self.ui.warn(text);
    }

    fn finish(&mut self, text: &str) {
        self.line.take().into_iter().for_each(|line| line.finish(text));
    }
}
