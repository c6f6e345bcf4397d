//! The extension module `featurize._featurize`, which the Python package `featurize` calls.
//!
//! The package's Python files give the functions their defaults and types, and convert to NumPy, Arrow and
//! scikit-learn; this module exchanges only plain values (paths, bytes, a buffer of f32) and needs no headers of NumPy
//! or Arrow. Work runs without the GIL, and Ctrl-C ends it.

// an error occurs at most once per call from Python, so its size does not matter
#![allow(clippy::result_large_err)]

mod cluster;
mod errors;
mod export;
mod extractor;
mod pictures;
mod predictor;
mod run;
mod work;

use pyo3::prelude::*;

/// Runs the command line program with the words of `arguments`, the first of which is its name; returns its exit code.
#[pyfunction]
fn main(py: Python<'_>, arguments: Vec<std::ffi::OsString>) -> u8 {
    py.detach(|| featurize::cli::main_with(arguments))
}

#[pymodule]
fn _featurize(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("FeaturizeError", py.get_type::<errors::FeaturizeError>())?;
    module.add("ConfigError", py.get_type::<errors::ConfigError>())?;
    module.add("PictureError", py.get_type::<errors::PictureError>())?;
    module.add_class::<extractor::Extractor>()?;
    module.add_class::<predictor::Predictor>()?;
    module.add_class::<cluster::Worker>()?;
    module.add_class::<cluster::Progress>()?;
    module.add_class::<export::Exported>()?;
    module.add_function(wrap_pyfunction!(extractor::pictures, module)?)?;
    module.add_function(wrap_pyfunction!(extractor::holds_pictures, module)?)?;
    module.add_function(wrap_pyfunction!(run::run, module)?)?;
    module.add_function(wrap_pyfunction!(export::export_onnx, module)?)?;
    module.add_function(wrap_pyfunction!(export::model_card, module)?)?;
    module.add_function(wrap_pyfunction!(main, module)?)?;
    Ok(())
}
