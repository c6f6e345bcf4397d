//! `featurize embed`: features of pictures without a YAML.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{FetchArgs, top, ui};
use crate::chain::ChainError;
use crate::config;
use crate::error::Error;
use crate::exec::Device;
use crate::extractor::Extractor;
use crate::io::features::{self, Layout};
use crate::io::table::Table;
use crate::plan::Plan;
use crate::progress::Style;
use crate::table::FeatureMatrix;
use crate::terminal::printable;

/// What of a pipeline says how features are computed and written; the command computes on the CPU, and the rest of a pipeline is not there.
const TAKEN: [&str; 4] = ["extract.", "image.", "output.layout", "output.dtype"];

/// Which pictures, and which features of them.
#[derive(Debug, Args)]
pub struct EmbedArgs {
    /// Pictures, folders (searched to the bottom), or `-`: a list of either on standard input, one a line.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The Parquet file to write: a row for each picture that could be read, `path` and the features.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// The network: see `featurize models list`.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// As `extract.weights` of the YAML: `keras`, `torchvision`, `timm`, a file, `hf:owner/repo/file`, a URL.
    #[arg(long, value_name = "WEIGHTS")]
    weights: Option<String>,
    /// Whose network it is: `keras`, `torchvision` or `timm`.
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// The layer: see `featurize models show NAME`.
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// `avg`, `max`, `flatten` or `map`.
    #[arg(long, value_name = "KIND")]
    features: Option<String>,
    /// `wide` (a column for each feature) or `array` (one column of lists).
    #[arg(long, value_name = "LAYOUT")]
    layout: Option<String>,
    /// Any other key of `extract` or `image`, `output.layout` or `output.dtype`, the value in YAML: `--set extract.recipe.size=160`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Threads; all cores by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    #[command(flatten)]
    fetching: FetchArgs,
}

impl EmbedArgs {
    /// The flags as the keys of the YAML that they are.
    fn sets(&self) -> Vec<String> {
        let keys = [
            ("extract.model", &self.model),
            ("extract.weights", &self.weights),
            ("extract.source", &self.source),
            ("extract.layer", &self.layer),
            ("extract.features", &self.features),
            ("output.layout", &self.layout),
        ];
        let quoted =
            |(key, value): (&str, &Option<String>)| Some(format!("{key}={}", serde_json::json!(value.as_ref()?)));
        keys.into_iter().filter_map(quoted).chain(self.sets.iter().cloned()).collect()
    }
}

/// Computes and writes.
pub fn run(arguments: &EmbedArgs) -> Result<(), Error> {
    // the same way as a run's: what is wrong is told by the same words, and the numbers are the same
    let text = "version: 1\nname: embed\ninput: {root: .}\n";
    let sets = arguments.sets();
    let foreign = |set: &&String| !TAKEN.iter().any(|key| set.starts_with(key));
    if let Some(set) = sets.iter().find(foreign) {
        let key = set.split('=').next().unwrap_or_default();
        let text = format!("`--set {key}` means nothing to `embed`: it takes the keys of {}", TAKEN.join(", "));
        return Err(Error::Usage(text));
    }
    let pipeline = config::parse(text, Path::new("embed"), &sets).map_err(Box::new)?;
    let (ui, fetching) = (ui(Style::Auto), &arguments.fetching);
    let plan = Plan::new(pipeline, None, &mut fetching.store.fetch(fetching.offline, &ui))?;
    let taken = &plan.backbone.taken;
    if let Some(told) = taken.told().filter(|_| !taken.others.is_empty()) {
        ui.note(&format!("weights {told}"));
    }
    let pictures = top::pictures(&arguments.paths)?;
    let extractor = Extractor::open(&plan.backbone, &Device::cpu())?;
    let mut paths: Vec<&str> = Vec::new();
    let mut rows = FeatureMatrix::with_cols(extractor.width());
    let mut failed = 0;
    let all = extractor.extract_all(
        &pictures,
        top::threads(arguments.threads),
        |_, features| Ok(features),
        |picture, result| {
            match result {
                Ok(features) => {
                    paths.push(&picture.path);
                    rows.push_row(&features);
                }
                Err(failure) => {
                    failed += 1;
                    ui.warn(&format!("{}: {failure}", printable(&picture.path)));
                }
            }
            if ui.check().is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        },
    );
    ui.check()?;
    all?;
    let table = Table::new(paths.len()).text("path", paths.iter().copied().map(Some));
    let names = plan.columns();
    let layout = if plan.is_wide() { Layout::Wide(&names) } else { Layout::Array(plan.width()) };
    let rows: Vec<&[f32]> = rows.iter_rows().collect();
    features::write(&arguments.out, table, layout, plan.pipeline.output.dtype, &rows, &plan.metadata())?;
    if failed > 0 {
        return Err(ChainError::Failed { failed, of: pictures.len() }.into());
    }
    Ok(())
}
