//! `Predictor`: what a run has learnt.

use std::path::PathBuf;
use std::sync::Arc;

use featurize::pictures::predictor::device;
use featurize::pictures::{DecodeMemory, Order, Predictor as Core, Stream, StreamError};
use featurize::progress::{Style, Ui};
use featurize::store::RunDir;
use featurize::{memory, threads};
use pyo3::prelude::*;

use crate::errors::exception;
use crate::pictures::{Gathered, Input, Inputs, Rows};
use crate::work::interruptible;

/// The classifier of a run; see `Run.predict` of the package.
#[pyclass(frozen, module = "featurize._featurize")]
#[derive(Debug)]
pub(crate) struct Predictor {
    core: Core,
    threads: usize,
    memory: DecodeMemory,
}

#[pymethods]
impl Predictor {
    #[new]
    #[pyo3(signature = (run, weights = None, threads = None))]
    fn new(py: Python<'_>, run: PathBuf, weights: Option<PathBuf>, threads: Option<usize>) -> PyResult<Self> {
        let dir = RunDir::new(run);
        let opened = py.detach(|| {
            let device = device(&dir, None)?;
            Core::of_run(&dir, weights.as_deref(), &device)
        });
        let core = opened.map_err(|error| exception(py, &error.into()))?;
        let threads = threads.unwrap_or_else(threads::available);
        Ok(Self { core, threads, memory: DecodeMemory::new(memory::for_decoding()) })
    }

    #[getter]
    fn classes(&self) -> &[String] {
        self.core.classes()
    }

    /// The probability of every class for each of `pictures`, in their order.
    fn compute(&self, py: Python<'_>, pictures: Vec<Input>) -> PyResult<Rows> {
        let stop = Arc::default();
        let ui = Ui::new(Style::Quiet, Arc::clone(&stop));
        let wanted: Vec<usize> = (0..pictures.len()).collect();
        let gathered = interruptible(py, &stop, || {
            let source = Inputs::new(&pictures)?;
            let stream = Stream { source: &source, wanted: &wanted, threads: self.threads, order: Order::Any, ui: &ui };
            let mut gathered = Gathered::new(pictures.len(), self.core.classes().len());
            self.core.predict(
                &stream,
                &self.memory,
                |_, _| (),
                |number, result| {
                    let result = result.map(|(probabilities, ())| probabilities);
                    gathered.put(number, None, result.as_deref().map_err(Clone::clone));
                    Ok::<_, StreamError>(())
                },
            )?;
            Ok::<_, StreamError>(gathered)
        })?;
        gathered.map_err(|error| exception(py, &error.into()))?.into_rows(py)
    }
}
