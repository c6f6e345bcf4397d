//! Arguments and checks that several commands share.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{ui, usage};
use crate::config::{self, Pipeline};
use crate::error::Error;
use crate::models::{ModelSpec, Source, find};
use crate::plan::{Plan, unknown_model};
use crate::progress::{Style, Ui, shown_in};
use crate::weights::store::{Found, Store, StoreError, Wanted};

/// The pipeline and its overrides.
#[derive(Clone, Debug, Args)]
pub(super) struct PipelineArgs {
    /// The YAML file.
    pub(super) file: PathBuf,
    /// The folder of the run, instead of the one that the file names.
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Override a key with a value in YAML: `--set extract.batch_size=8`. A relative path counts from the current
    /// folder.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) sets: Vec<String>,
}

impl PipelineArgs {
    /// The plan of the file. Published weights that are missing on this machine are downloaded unless `offline`, and
    /// `ui` shows the progress.
    pub(super) fn plan(&self, store: &StoreArgs, offline: bool, ui: &Ui) -> Result<Plan, Error> {
        let pipeline = config::load(&self.file, &self.sets).map_err(Box::new)?;
        Ok(Plan::new(pipeline, self.out.as_deref(), &mut store.fetch(offline, ui))?)
    }
}

/// The place of the store of weights.
#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    /// The folder for weights. Default: FEATURIZE_WEIGHTS, else a folder in the cache folder of the platform.
    #[arg(long, value_name = "DIR")]
    pub(super) weights_dir: Option<PathBuf>,
}

impl StoreArgs {
    pub(super) fn open(&self, offline: bool) -> Result<Store, StoreError> {
        Store::open(self.weights_dir.as_deref(), offline)
    }

    /// Finds published weights, or downloads them unless `offline`. `ui` shows the download.
    pub(super) fn fetch(&self, offline: bool, ui: &Ui) -> impl FnMut(&Wanted) -> Result<Found, StoreError> {
        let ui = ui.clone();
        move |wanted| self.open(offline)?.get(wanted, &mut shown_in(&ui))
    }
}

/// The place of published weights, and whether they may be downloaded.
#[derive(Debug, Args)]
pub(super) struct FetchArgs {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// Download nothing. The command fails when weights are not on this machine.
    #[arg(long)]
    pub(super) offline: bool,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Log {
    /// Progress bars on a terminal, lines of text elsewhere.
    Text,
    /// A JSON object on each line, on standard error.
    Json,
}

/// The style of the progress display for the flag `--quiet`.
pub(super) fn style(quiet: bool) -> Style {
    if quiet { Style::Quiet } else { Style::Auto }
}

/// The messages of a command at work.
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// Print only warnings and errors, without progress and summary.
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Also print decisions and their reasons: device, threads, kernels, tables, and which stages are reused.
    #[arg(short, long, conflicts_with = "quiet")]
    pub(super) verbose: bool,
    /// The form of the log.
    #[arg(long, value_enum, default_value = "text")]
    pub(super) log: Log,
}

impl LogArgs {
    pub(super) fn style(&self) -> Style {
        if self.log == Log::Json { Style::Json } else { style(self.quiet) }
    }

    pub(super) fn ui(&self) -> Ui {
        ui(self.style()).with_details(self.verbose)
    }
}

/// The pipeline of a command without a YAML file: all keys have their defaults, except those in `sets`.
pub(super) fn default_pipeline(command: &str, sets: &[String]) -> Result<Pipeline, Error> {
    let text = format!("version: 1\nname: {command}\ninput: {{root: .}}\n");
    Ok(config::parse(&text, Path::new(command), sets).map_err(Box::new)?)
}

/// Returns an error if there is no folder `dir`, which should have `content`.
pub(super) fn check_folder(dir: &Path, content: &str) -> Result<(), Error> {
    let text = || format!("there is no folder {}; give the one that holds {content}", dir.display());
    if dir.is_dir() { Ok(()) } else { usage(text()) }
}

/// The model called `name`, or an error with the name that was probably meant.
pub(super) fn find_model(name: &str) -> Result<&'static ModelSpec, Error> {
    find(name).ok_or_else(|| Error::UnknownModel(unknown_model(name)))
}

/// Reads the names of a classifier's classes from a text file with one name per line.
pub(super) fn class_names(file: &Path) -> Result<Vec<String>, Error> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Error::Usage(format!("cannot read the classes {}: {error}", file.display())))?;
    let text = text.trim_start_matches('\u{feff}').trim_end();
    let names: Vec<String> = text.lines().map(|line| line.trim().to_string()).collect();
    if let Some(empty) = names.iter().position(String::is_empty) {
        return usage(format!("line {} of {} is empty: expected the name of a class", empty + 1, file.display()));
    }
    Ok(names)
}

/// Parses the name of a library.
pub(super) fn source(name: &str) -> Result<Source, String> {
    let words = || Source::ALL.map(Source::word).join(", ");
    Source::ALL.into_iter().find(|source| source.word() == name).ok_or_else(|| format!("the sources are {}", words()))
}
