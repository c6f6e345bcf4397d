//! `featurize predict`: classifies new pictures with the classifier of a run.

use std::path::PathBuf;

use clap::Args;

use super::top::{self, TopArgs};
use super::ui;
use crate::error::Error;
use crate::io::output::Inputs;
use crate::pictures::predictor::{self, Predictor};
use crate::store::RunDir;

/// Which run, and which pictures.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// The run's folder, as `featurize run` wrote it; it may have been moved.
    #[arg(value_name = "RUN_DIR")]
    run: PathBuf,
    #[command(flatten)]
    pictures: TopArgs,
    /// Instead of printing, write a Parquet file with the columns of the run's predictions.parquet: a row for each
    /// picture that could be read, `label` and `split` null. `-` is standard output.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "csv"])]
    parquet: Option<PathBuf>,
    /// The network's weights, where they are not in the program and no longer where the run found them.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
}

/// Opens the run's predictor and predicts.
pub fn run(arguments: &PredictArgs) -> Result<(), Error> {
    let dir = RunDir::new(&arguments.run);
    let device = predictor::device(&dir, arguments.pictures.workers.device)?;
    let predictor = Predictor::of_run(&dir, arguments.weights.as_deref(), &device)?;
    let mut read = Inputs::default();
    read.files.extend(arguments.weights.clone());
    read.folders.push(arguments.run.clone());
    let asked = top::Asked { name: "predict", wnids: &[], parquet: arguments.parquet.as_deref(), read };
    let pictures = arguments.pictures.pictures()?;
    top::run(&predictor, &arguments.pictures, &pictures, asked, &ui(arguments.pictures.style()))
}
