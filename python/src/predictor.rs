//! `Predictor`: the classifier of a run.

use std::path::PathBuf;

use featurize::pictures::predictor::{Predicted, device};
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

    /// The largest distance of a picture that counts as of a known class, if at most a share `reject_rate` of pictures
    /// of known classes may be refused; by default the 0.99 quantile of the distances of the train pictures. None if
    /// the run has no distances.
    #[pyo3(signature = (reject_rate = None))]
    fn limit(&self, py: Python<'_>, reject_rate: Option<f64>) -> PyResult<Option<f32>> {
        let rule = self.core.acceptance(reject_rate, None).map_err(|error| exception(py, error))?;
        Ok(rule.distance)
    }

    /// The probabilities of all classes for each of `pictures`, in their order, followed by the distance of the picture
    /// if the run has distances.
    fn compute(&self, py: Python<'_>, pictures: Vec<Input>) -> PyResult<Rows> {
        let width = self.core.classes().len() + usize::from(self.limit(py, None)?.is_some());
        Gathered::of(py, &pictures, width, self.threads, |stream, gathered| {
            let values = |Predicted { mut probabilities, distance }| {
                probabilities.extend(distance);
                probabilities
            };
            let take = |number, result: Result<(Predicted, ()), Failure>| {
                gathered.put(number, None, result.map(|(predicted, ())| values(predicted)));
                Ok(())
            };
            self.core.predict(stream, &self.memory, |_, _| (), take)
        })
    }
}
