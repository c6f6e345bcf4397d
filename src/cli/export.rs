//! `featurize export`: what a run has learnt, for other programs and for readers.

use std::path::PathBuf;

use clap::Args;

use super::print;
use super::show::summary;
use crate::error::Error;
use crate::export::{self, Input};
use crate::io::output::{FileKind, Inputs, Output, Rules};
use crate::progress::bytes;
use crate::store::RunDir;
use crate::terminal::printable_path;

/// Which run, and what becomes of it.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The run's folder, as `featurize run` wrote it.
    #[arg(value_name = "RUN_DIR")]
    run: PathBuf,
    /// The ONNX file to write: from the recipe's prepared picture (`input`, f32, channels first) through network, kept columns, scale, components
    /// and classifier to `probabilities`. Always f32, whatever the run computed in.
    #[arg(long, value_name = "FILE", required_unless_present = "card")]
    onnx: Option<PathBuf>,
    /// Begin with pixels: `pixels`, bytes of red, green and blue, (n, height, width, 3), cut to the recipe's size.
    #[arg(long, requires = "onnx")]
    from_pixels: bool,
    /// Leave the network out: `features`, a row of the run's tables, becomes `probabilities`.
    #[arg(long, requires = "onnx", conflicts_with = "from_pixels")]
    head: bool,
    /// A model card in Markdown to write: data, split, scores with intervals, limits, licence of the weights.
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,
    /// The network's weights, where they are not in the program and no longer where the run found them.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Replace the files even if they are of another kind.
    #[arg(long)]
    overwrite: bool,
}

/// Writes the files.
pub fn run(arguments: &ExportArgs) -> Result<(), Error> {
    let dir = RunDir::new(&arguments.run);
    let mut read = Inputs::default();
    read.files.extend(arguments.weights.clone());
    read.folders.push(arguments.run.clone());
    let rules = Rules::new(&read, arguments.overwrite);
    let place = |path: &Option<PathBuf>, kind| path.as_ref().map(|path| Output::new(path, kind, rules)).transpose();
    let (onnx, card) = (place(&arguments.onnx, FileKind::Onnx)?, place(&arguments.card, FileKind::Markdown)?);
    if let Some(output) = onnx {
        let input = match (arguments.from_pixels, arguments.head) {
            (true, _) => Input::Pixels,
            (_, true) => Input::Features,
            _ => Input::Prepared,
        };
        let exported = export::onnx(&dir, arguments.weights.as_deref(), input)?;
        output.write_bytes(&exported.bytes)?;
        if !output.is_stdout() {
            let (path, size) = (printable_path(output.path()), bytes(exported.bytes.len() as u64));
            print(&format!("{path}: {} → probabilities of {} classes, f32, {size}", exported.input, exported.classes))?;
            print(&format!("  {}", exported.checked))?;
        }
    }
    if let Some(output) = card {
        output.write_bytes(export::card(&summary(&arguments.run)?)?.as_bytes())?;
    }
    Ok(())
}
