//! `export_onnx` and `model_card`: export a run for other programs and for readers.

use std::path::PathBuf;

use featurize::export::{self, Input, Values};
use featurize::pictures::PredictorError;
use featurize::store::{RunDir, Summary};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::exception;

/// An ONNX file; see `Exported` in `_featurize.pyi`.
#[pyclass(frozen, module = "featurize._featurize")]
#[derive(Debug)]
pub(crate) struct Exported {
    #[pyo3(get)]
    file: Py<PyBytes>,
    #[pyo3(get)]
    input: &'static str,
    #[pyo3(get)]
    shape: Vec<usize>,
    #[pyo3(get)]
    sample: Py<PyBytes>,
    #[pyo3(get)]
    probabilities: Py<PyBytes>,
}

/// Makes the ONNX file of the run in a folder.
#[pyfunction]
#[pyo3(signature = (run, input, weights = None))]
pub(crate) fn export_onnx(py: Python<'_>, run: PathBuf, input: &str, weights: Option<PathBuf>) -> PyResult<Exported> {
    let all = [Input::Prepared, Input::Pixels, Input::Features];
    let known = all.into_iter().find(|one| one.name() == input);
    let input = known.ok_or_else(|| PyValueError::new_err(format!("there is no input `{input}`")))?;
    let made = py.detach(|| export::onnx(&RunDir::new(run), weights.as_deref(), input));
    let made = made.map_err(|error| exception(py, error))?;
    let bytes = |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|value| value.to_le_bytes()).collect() };
    let sample = match made.sample.input {
        Values::F32(values) => bytes(&values),
        Values::U8(values) => values,
    };
    Ok(Exported {
        file: PyBytes::new(py, &made.bytes).unbind(),
        input: input.name(),
        shape: made.sample.shape,
        sample: PyBytes::new(py, &sample).unbind(),
        probabilities: PyBytes::new(py, &bytes(&made.sample.probabilities)).unbind(),
    })
}

/// The model card of the run in a folder, in Markdown.
#[pyfunction]
pub(crate) fn model_card(py: Python<'_>, run: PathBuf) -> PyResult<String> {
    let made = py.detach(|| {
        let summary = Summary::read(&RunDir::new(&run))?;
        let summary = summary.ok_or_else(|| PredictorError::no_run(&run, "run.json"))?;
        Ok::<_, featurize::Error>(export::card(&summary)?)
    });
    made.map_err(|error| exception(py, error))
}
