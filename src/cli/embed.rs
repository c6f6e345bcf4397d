//! `featurize embed`: features of pictures without a YAML file.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::ranges::RangesArgs;
use super::workers::WorkerArgs;
use super::{FetchArgs, default_pipeline, none_failed, style, top, ui, usage};
use crate::config;
use crate::error::Error;
use crate::extractor::Extractor;
use crate::io::features::Format;
use crate::io::output::{FileKind, Inputs, Output, Rules, is_stream};
use crate::io::table::Table;
use crate::io::writer::Writer;
use crate::io::{self, IoError, csv_text};
use crate::pictures::stream::Through;
use crate::pictures::{Done, Made, Named, Way};
use crate::plan::Plan;
use crate::progress::Ui;
use crate::stages::scan::NamedFile;
use crate::table::FeatureMatrix;
use crate::terminal::printable;

/// The keys of a pipeline that the command accepts: those for computing and writing features.
const TAKEN: [&str; 4] = ["extract.", "image.", "output.layout", "output.dtype"];

/// Which pictures, and which features of them.
#[derive(Debug, Args)]
pub struct EmbedArgs {
    /// Pictures, folders (searched to the bottom), archives (`photos.tar`, `photos.tar/cats/1.jpg`), URLs, tables of
    /// pictures (`.csv`), or `-`: a list of these on standard input, one a line.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The table to write, Parquet or CSV by its ending: a row for each picture that could be read, `path` and the
    /// features. `-` is Parquet on standard output.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Replace the file even if it is read here or is of another kind.
    #[arg(long)]
    overwrite: bool,
    /// The network: see `featurize models list`. Default: that of `--weights` with a name of your own, else
    /// `efficientnet_lite0`.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// As `extract.weights` of the YAML: `keras`, `torchvision`, `timm`, `openai`, `facebook`, a file,
    /// `hf:owner/repo/file`, a URL, a name of your own.
    #[arg(long, value_name = "WEIGHTS")]
    weights: Option<String>,
    /// The library of the network: `keras`, `torchvision`, `timm`, `openai` or `facebook`.
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// The layer: see `featurize models show NAME`.
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// `pooled`, `cls`, `avg`, `max`, `flatten` or `map`.
    #[arg(long, value_name = "KIND")]
    features: Option<String>,
    /// `f32`, `bf16` or `int8`, on a GPU `f32`, `tf32`, `bf16` or `f16`: see `extract.precision` of the YAML.
    #[arg(long, value_name = "PRECISION")]
    precision: Option<String>,
    #[command(flatten)]
    ranges: RangesArgs,
    /// `wide` (a column for each feature) or `array` (one column of lists).
    #[arg(long, value_name = "LAYOUT")]
    layout: Option<String>,
    /// Any other key of `extract` or `image`, `output.layout` or `output.dtype`, the value in YAML: `--set
    /// extract.recipe.size=160`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    #[command(flatten)]
    workers: WorkerArgs,
    /// No progress: only warnings and errors.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    fetching: FetchArgs,
}

impl EmbedArgs {
    /// The flags as overrides of YAML keys.
    fn sets(&self) -> Vec<String> {
        let keys = [
            ("extract.model", &self.model),
            ("extract.weights", &self.weights),
            ("extract.source", &self.source),
            ("extract.layer", &self.layer),
            ("extract.features", &self.features),
            ("extract.precision", &self.precision),
            ("output.layout", &self.layout),
        ];
        let quoted =
            |(key, value): (&str, &Option<String>)| Some(format!("{key}={}", serde_json::json!(value.as_ref()?)));
        keys.into_iter().filter_map(quoted).chain(self.sets.iter().cloned()).collect()
    }
}

/// The file format for the extension; Parquet for a path without one, such as a pipe.
fn form(path: &Path) -> Result<FileKind, Error> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("csv") => Ok(FileKind::Csv),
        None | Some("parquet" | "pq") => Ok(FileKind::Parquet),
        _ if is_stream(path) => Ok(FileKind::Parquet),
        Some(other) => {
            let path = path.display();
            usage(format!("cannot tell how to write {path}: `.{other}` is neither `.parquet` nor `.csv`"))
        }
    }
}

/// Computes and writes.
pub fn run(arguments: &EmbedArgs) -> Result<(), Error> {
    // the settings are parsed as those of a run, so that errors and features are the same
    let sets = arguments.sets();
    let foreign = |set: &&String| !TAKEN.iter().any(|key| set.starts_with(key));
    if let Some(set) = sets.iter().find(foreign) {
        let key = set.split('=').next().unwrap_or_default();
        return usage(format!("`--set {key}` means nothing to `embed`: it takes the keys of {}", TAKEN.join(", ")));
    }
    let form = form(&arguments.out)?;
    let pipeline = default_pipeline("embed", &sets)?;
    if form == FileKind::Csv && pipeline.output.layout == config::Layout::Array {
        return usage("CSV has no column of lists: leave `--layout array` out, or name a Parquet file");
    }
    let (ui, fetching) = (ui(style(arguments.quiet)), &arguments.fetching);
    let plan = Plan::new(pipeline, None, &mut fetching.store.fetch(fetching.offline, &ui))?;
    let taken = &plan.backbone.taken;
    if let Some(told) = taken.told().filter(|_| !taken.others.is_empty()) {
        ui.note(&format!("weights {told}"));
    }
    let pictures = top::pictures(&arguments.paths)?;
    let mut inputs = Inputs::of_pictures(pictures.iter().filter_map(|picture| picture.location.clone().ok()));
    inputs.files.extend(plan.backbone.weights.path().map(Path::to_path_buf));
    let output = Output::new(&arguments.out, form, Rules::new(&inputs, arguments.overwrite))?;
    let device = arguments.workers.open_device()?;
    let count = match &plan.pipeline.extract.calibration {
        Some(config::Calibration::Pictures(count)) => Some(*count),
        Some(config::Calibration::File(_)) if arguments.ranges.is_named() => {
            return usage("`--ranges` and `extract.calibration` name a file each: leave one out");
        }
        Some(config::Calibration::File(file)) => {
            plan.backbone.keep_ranges(io::ranges::read(file)?);
            None
        }
        None => None,
    };
    arguments.ranges.settle((&plan.backbone, &device), count, &pictures, &arguments.workers, &ui)?;
    let (extractor, way) = (&Extractor::open(&plan.backbone, &device)?, Way::of(&device, plan.pipeline.batch_size()));
    let memory = &arguments.workers.memory();
    let through = Through { extractor, way, memory, strict: false };
    let job = Job { plan: &plan, pictures: &pictures, through, workers: &arguments.workers, ui: &ui };
    let mut failed = 0;
    output.write::<Error>(|to| {
        failed = match form {
            FileKind::Csv => job.csv(to, output.path()),
            _ => job.parquet(to, output.path()),
        }?;
        Ok(())
    })?;
    none_failed(failed, pictures.len())
}

/// The features that are computed.
struct Job<'a> {
    plan: &'a Plan,
    pictures: &'a [NamedFile],
    through: Through<'a>,
    workers: &'a WorkerArgs,
    ui: &'a Ui,
}

impl Job<'_> {
    /// Writes the features in row groups and returns the number of pictures that failed.
    fn parquet(&self, to: &mut (dyn Write + Send), path: &Path) -> Result<usize, Error> {
        let plan = self.plan;
        let names = plan.columns();
        let layout = plan.layout(&names);
        let format = Format { layout, dtype: plan.pipeline.output.dtype };
        let keys = |paths: &[&str]| Table::new(paths.len()).text("path", paths.iter().copied().map(Some));
        let mut writer = Writer::new(to, path, &keys(&[]), Some(format), &plan.metadata())?;
        let failed =
            self.compute(&mut |paths, rows| writer.append(keys(paths), &rows.iter_rows().collect::<Vec<_>>()))?;
        writer.finish()?;
        Ok(failed)
    }

    /// Writes the features as CSV and returns the number of pictures that failed.
    fn csv(&self, to: &mut (dyn Write + Send), path: &Path) -> Result<usize, Error> {
        csv_text::write_header(to, &self.plan.columns()).map_err(IoError::write(path))?;
        self.compute(&mut |paths, rows| {
            let mut rows = rows.clone();
            rows.round_to(self.plan.pipeline.output.dtype);
            csv_text::write_rows(to, paths, &rows).map_err(IoError::write(path))
        })
    }

    /// Sends every picture through the network and passes the features to `put`, in blocks of as many rows as a run's
    /// tables have.
    fn compute(&self, put: &mut Put) -> Result<usize, Error> {
        let together = self.plan.shard_rows();
        let line = self.ui.work("embed", Some(self.pictures.len() as u64), "images");
        let (mut paths, mut rows) = (Vec::new(), FeatureMatrix::with_cols(self.through.extractor.width()));
        let mut failed = 0;
        let (source, wanted) = (Named(self.pictures), (0..self.pictures.len()).collect::<Vec<_>>());
        let take = |Done { number, result, .. }: Done<(), Vec<f32>>| -> Result<(), Error> {
            let path = self.pictures[number].path.as_str();
            match result {
                Ok(Made { value, .. }) => {
                    paths.push(path);
                    rows.push_row(&value);
                }
                Err(failure) => {
                    failed += 1;
                    self.ui.warn(&format!("{}: {failure}", printable(path)));
                }
            }
            line.inc(1);
            if paths.len() == together {
                put(&paths, &rows)?;
                paths.clear();
                rows = FeatureMatrix::with_cols(rows.cols());
            }
            Ok(())
        };
        let stream = self.workers.stream(&source, &wanted, self.ui);
        stream.features(self.through, |_| (), |_, features| Ok(features), take).1?;
        self.ui.check()?;
        if !paths.is_empty() {
            put(&paths, &rows)?;
        }
        Ok(failed)
    }
}

/// Takes rows: the paths of pictures and their features.
type Put<'a> = dyn FnMut(&[&str], &FeatureMatrix) -> Result<(), IoError> + 'a;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_the_form() {
        for name in ["a.parquet", "b.PQ", "c", "-"] {
            assert_eq!(form(Path::new(name)).ok(), Some(FileKind::Parquet), "{name}");
        }
        assert_eq!(form(Path::new("x.y.CSV")).ok(), Some(FileKind::Csv));
        let error = form(Path::new("a.npy")).expect_err("unknown").to_string();
        assert!(error.contains(".npy") && error.contains(".parquet") && error.contains(".csv"), "{error}");
    }
}
