//! Converts errors of the program to Python exceptions with the same text.

use featurize::config;
use featurize::plan::PlanError;
use featurize::stages::scan::ScanError;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyKeyboardInterrupt};
use pyo3::prelude::*;

create_exception!(featurize, FeaturizeError, PyException, "Something that featurize was asked for cannot be done.");
create_exception!(
    featurize,
    ConfigError,
    FeaturizeError,
    "A pipeline or a parameter is wrong. `line` and `column` count from 1 and are None where no file is at fault."
);
create_exception!(
    featurize,
    PictureError,
    FeaturizeError,
    "A picture cannot be read. `index` is its place among those asked for, `kind` the word that manifest.parquet has \
     for the reason."
);

/// Makes the exception for `error`.
pub(crate) fn exception(py: Python<'_>, error: impl Into<featurize::Error>) -> PyErr {
    let error = &error.into();
    if error.is_interrupted() {
        return PyKeyboardInterrupt::new_err(());
    }
    let text = error.to_string();
    if error.exit_code() != 2 {
        return FeaturizeError::new_err(text);
    }
    let place = match error {
        featurize::Error::Config(error)
        | featurize::Error::Plan(PlanError::Config(error))
        | featurize::Error::Scan(ScanError::Config(error)) => place(error),
        _ => None,
    };
    let error = ConfigError::new_err(text);
    let value = error.value(py);
    // a failure to set an attribute must not hide the error itself
    value.setattr("line", place.map(|(line, _)| line)).ok();
    value.setattr("column", place.and_then(|(_, column)| column)).ok();
    error
}

/// Line and column of `error`, if it is about a place in a file.
fn place(error: &config::ConfigError) -> Option<(usize, Option<usize>)> {
    match error {
        config::ConfigError::NotUtf8 { line, .. } => Some((*line, None)),
        config::ConfigError::Invalid { place, .. } => {
            let mut parts = place.rsplitn(3, ':');
            let (column, line) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            Some((line, Some(column)))
        }
        config::ConfigError::Read { .. } => None,
    }
}
