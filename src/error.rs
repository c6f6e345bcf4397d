//! Every error of a run, and its exit code.

use std::error::Error as StdError;
use std::iter::successors;
use std::path::Path;

use thiserror::Error;

use crate::config::ConfigError;
use crate::exec::ExecError;
use crate::export::ExportError;
use crate::io::IoError;
use crate::io::output::OutputError;
use crate::models::GraphError;
use crate::network_plan::NetworkPlanError;
use crate::pictures::{PredictorError, StreamError};
use crate::plan::PlanError;
use crate::plot::PlotError;
use crate::progress::Interrupted;
use crate::stages::atlas::AtlasError;
use crate::stages::compare::CompareError;
use crate::stages::evaluate::EvaluateError;
use crate::stages::extract::ExtractError;
use crate::stages::reduce::ReduceError;
use crate::stages::report::ReportError;
use crate::stages::scan::ScanError;
use crate::stages::select::SelectError;
use crate::stages::train::TrainError;
use crate::store::StoreError;
use crate::weights::WeightError;
use crate::weights::store::StoreError as WeightStoreError;

/// A run failed.
#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] Box<ConfigError>),
    #[error(transparent)]
    Plan(PlanError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Output(OutputError),
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error(transparent)]
    Extract(#[from] ExtractError),
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error(transparent)]
    Reduce(#[from] ReduceError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    #[error(transparent)]
    Compare(#[from] CompareError),
    #[error(transparent)]
    Atlas(#[from] AtlasError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error("interrupted")]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Predictor(#[from] PredictorError),
    #[error(transparent)]
    Export(ExportError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("{0}")]
    UnknownModel(String),
    /// A command has an argument that it cannot use.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Weights(#[from] WeightError),
    #[error(transparent)]
    WeightStore(#[from] WeightStoreError),
    #[error(transparent)]
    Plot(PlotError),
    #[error(transparent)]
    NetworkPlan(NetworkPlanError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error("a record cannot be put into JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Converts errors of weights and of their store to the same variants, whichever part of the program returned them.
impl From<NetworkPlanError> for Error {
    fn from(error: NetworkPlanError) -> Self {
        match error {
            NetworkPlanError::Store(error) => Error::WeightStore(error),
            NetworkPlanError::Weights(error) => Error::Weights(error),
            NetworkPlanError::Graph(error) => Error::Graph(error),
            NetworkPlanError::NoModel(text) => Error::UnknownModel(text),
            error => Error::NetworkPlan(error),
        }
    }
}

impl From<ExportError> for Error {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Predictor(error) => Error::Predictor(error),
            ExportError::Network(error) => error.into(),
            ExportError::Weights(error) => Error::Weights(error),
            ExportError::Exec(error) => Error::Exec(error),
            ExportError::Io(error) => Error::Io(error),
            error => Error::Export(error),
        }
    }
}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Store(error) => Error::WeightStore(error),
            PlanError::Weights(error) => Error::Weights(error),
            error => Error::Plan(error),
        }
    }
}

impl From<OutputError> for Error {
    fn from(error: OutputError) -> Self {
        match error {
            OutputError::Io(error) => Error::Io(error),
            error => Error::Output(error),
        }
    }
}

impl From<PlotError> for Error {
    fn from(error: PlotError) -> Self {
        match error {
            PlotError::Output(error) => error.into(),
            PlotError::Io(error) => Error::Io(error),
            error => Error::Plot(error),
        }
    }
}

impl Error {
    /// Returns 2 for a mistake in the command line or the YAML, 130 for an interrupted run, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_) | Error::UnknownModel(_) | Error::Usage(_) | Error::Output(_) => 2,
            Error::WeightStore(WeightStoreError::Spec { .. } | WeightStoreError::Name { .. }) => 2,
            Error::WeightStore(WeightStoreError::NoName { .. }) => 2,
            Error::NetworkPlan(
                NetworkPlanError::NoSource { .. }
                | NetworkPlanError::NotInside { .. }
                | NetworkPlanError::OtherModel { .. }
                | NetworkPlanError::NoRecipe { .. },
            ) => 2,
            Error::Plot(
                PlotError::Extension { .. }
                | PlotError::TooManyPictures { .. }
                | PlotError::TooManyBars { .. }
                | PlotError::TooManyNear { .. },
            ) => 2,
            Error::Predictor(PredictorError::NoRun { .. }) => 2,
            Error::Plan(PlanError::Config(_)) | Error::Scan(ScanError::Config(_)) => 2,
            error if error.is_interrupted() => 130,
            _ => 1,
        }
    }

    /// Returns the damaged file, if the error is about one.
    pub fn damaged(&self) -> Option<&Path> {
        let error = match self {
            Error::Io(error)
            | Error::Extract(ExtractError::Io(error))
            | Error::Select(SelectError::Io(error))
            | Error::Reduce(ReduceError::Io(error))
            | Error::Train(TrainError::Io(error))
            | Error::Evaluate(EvaluateError::Io(error) | EvaluateError::Train(TrainError::Io(error)))
            | Error::Compare(CompareError::Io(error))
            | Error::Atlas(AtlasError::Io(error))
            | Error::Report(ReportError::Io(error)) => error,
            _ => return None,
        };
        if let IoError::Damaged { path } = error { Some(path) } else { None }
    }

    /// True if the user interrupted the run: the error then has an [`Interrupted`] among its sources.
    pub fn is_interrupted(&self) -> bool {
        let is_stopped = |error: &(dyn StdError + 'static)| error.is::<Interrupted>();
        matches!(self, Error::WeightStore(WeightStoreError::Interrupted(_)))
            || successors(self.source(), |&error| error.source()).any(is_stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_knows_whether_somebody_stopped_the_run() {
        let stopped: [Error; 6] = [
            Interrupted.into(),
            StreamError::from(Interrupted).into(),
            ExtractError::from(StreamError::from(Interrupted)).into(),
            TrainError::from(SelectError::from(Interrupted)).into(),
            ReportError::from(Interrupted).into(),
            WeightStoreError::from(Interrupted).into(),
        ];
        for error in stopped {
            assert!(
                error.is_interrupted() && error.exit_code() == 130 && error.to_string() == "interrupted",
                "{error:?}"
            );
        }
        assert!(!Error::from(ExecError::Worker).is_interrupted());
    }
}
