//! `Predictor`: what a run has learnt.

use std::path::PathBuf;

use featurize::pictures::predictor::device;
use featurize::pictures::{DecodeMemory, Failure, Predictor as Core};
use featurize::store::RunDir;
use featurize::{memory, threads};
use pyo3::prelude::*;

use crate::errors::exception;
use crate::pictures::{Gathered, Input, Rows};

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
        let core = opened.map_err(|error| exception(py, error))?;
        let threads = threads.unwrap_or_else(threads::available);
        Ok(Self { core, threads, memory: DecodeMemory::new(memory::for_decoding()) })
    }

    #[getter]
    fn classes(&self) -> &[String] {
        self.core.classes()
    }

    /// The probability of every class for each of `pictures`, in their order.
    fn compute(&self, py: Python<'_>, pictures: Vec<Input>) -> PyResult<Rows> {
        Gathered::of(py, &pictures, self.core.classes().len(), self.threads, |stream, gathered| {
            let take = |number, result: Result<(Vec<f32>, ()), Failure>| {
                gathered.put(number, None, result.map(|(probabilities, ())| probabilities));
                Ok(())
            };
            self.core.predict(stream, &self.memory, |_, _| (), take)
        })
    }
}
