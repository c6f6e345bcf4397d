//! `featurize predict`: classifies new pictures with the classifier of a run.

use std::path::{Path, PathBuf};

use clap::Args;

use super::acceptance::AcceptanceArgs;
use super::evaluate::{self, EvaluateArgs};
use super::top::{self, TopArgs};
use super::{ui, usage};
use crate::error::Error;
use crate::io::output::Inputs;
use crate::pictures::predictor::{self, Method, PARTS, Predictor};
use crate::store::RunDir;

/// The value of `--labels` that takes the names of folders as labels.
const FOLDER: &str = "folder";

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
    /// Score the predictions, as `featurize evaluate` does: the labels are the names of the pictures' folders
    /// (`folder`), or stand in a table (CSV) with the columns `path` and `label`. PATH is one folder, archive or table.
    #[arg(long, value_name = "folder|TABLE", conflicts_with_all = ["csv", "plot", "annotate", "explain"])]
    labels: Option<PathBuf>,
    /// Also draw where the classifier looked for the most probable class: pictures as the network sees them, warm where
    /// they speak for the class, into this folder.
    #[arg(long, value_name = "DIR")]
    explain: Option<PathBuf>,
    #[command(flatten)]
    acceptance: AcceptanceArgs,
    /// The network's weights, where they are not in the program and no longer where the run found them.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
}

/// Opens the run's predictor and predicts.
pub fn run(arguments: &PredictArgs) -> Result<(), Error> {
    if let Some(labels) = &arguments.labels {
        return score(arguments, labels);
    }
    let dir = RunDir::new(&arguments.run);
    let device = predictor::device(&dir, arguments.pictures.workers.device)?;
    let predictor = Predictor::of_run(&dir, arguments.weights.as_deref(), &device)?;
    let acceptance = arguments.acceptance.rule(&predictor)?;
    let (explain, ui) = (arguments.explain.as_deref(), ui(arguments.pictures.style()));
    if explain.is_some() && predictor.method() == Some(Method::Occlusion) {
        let text = "the features are no means over a map, or the classifier has no gradient: parts of each picture are";
        ui.note(&format!("{text} hidden in turn to see where it looks, {} times the work", 1 + PARTS));
    }
    let mut read = Inputs::default();
    read.files.extend(arguments.weights.clone());
    read.folders.push(arguments.run.clone());
    let asked =
        top::Asked { name: "predict", wnids: &[], parquet: arguments.parquet.as_deref(), acceptance, explain, read };
    let pictures = arguments.pictures.pictures()?;
    top::run(&predictor, &arguments.pictures, &pictures, asked, &ui)
}

/// Predicts labelled pictures and prints the scores.
fn score(arguments: &PredictArgs, labels: &Path) -> Result<(), Error> {
    let top = &arguments.pictures;
    let [pictures] = top.paths() else {
        return usage("`--labels` scores one folder, archive or table of pictures: name one PATH");
    };
    evaluate::run(&EvaluateArgs {
        run: arguments.run.clone(),
        pictures: pictures.clone(),
        labels: Some(labels.to_path_buf()).filter(|labels| labels != Path::new(FOLDER)),
        json: top.json,
        parquet: arguments.parquet.clone(),
        report: None,
        overwrite: top.overwrite,
        workers: top.workers,
        acceptance: arguments.acceptance,
        weights: arguments.weights.clone(),
        quiet: top.quiet,
    })
}
