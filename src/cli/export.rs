//! `featurize export`: writes the fitted steps of a run as an ONNX file, or a model card about it.

use std::path::PathBuf;

use clap::Args;

use super::print;
use super::show::summary;
use crate::error::Error;
use crate::export::{self, Input};
use crate::io::output::{FileKind, Inputs, Output, Rules, check_stdout};
use crate::progress::bytes;
use crate::store::RunDir;
use crate::terminal::{printable, printable_path};

/// The arguments name the run and the files to write.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The run's folder, as `featurize run` wrote it; it may have been moved.
    #[arg(value_name = "RUN_DIR")]
    run: PathBuf,
    /// Write an ONNX file: network, kept columns, scale, components, classifier and temperature, from the picture as
    /// the recipe prepares it (`input`, f32, channels first) to `probabilities`. It computes in f32, whatever the run
    /// computed in.
    #[arg(long, value_name = "FILE", required_unless_present = "card")]
    onnx: Option<PathBuf>,
    /// Let the ONNX file begin with pixels: `pixels`, bytes of red, green and blue, (n, height, width, 3), cut to the
    /// size of the recipe.
    #[arg(long, requires = "onnx")]
    from_pixels: bool,
    /// Leave the network out: the ONNX file begins with `features`, rows of the run's tables.
    #[arg(long, requires = "onnx", conflicts_with = "from_pixels")]
    head: bool,
    /// Write a model card in Markdown: data, splits, scores with their intervals, limits, licence of the weights.
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,
    /// The network's weights, where they are not in the program and no longer where the run found them.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Replace the files that are named even if they are read here or are of another kind.
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
    check_stdout(onnx.iter().chain(&card))?;
    if let Some(output) = onnx {
        let input = match (arguments.from_pixels, arguments.head) {
            (true, _) => Input::Pixels,
            (_, true) => Input::Features,
            _ => Input::Prepared,
        };
        let exported = export::onnx(&dir, arguments.weights.as_deref(), input)?;
        output.write_bytes(&exported.bytes)?;
        if !output.is_stdout() && !card.as_ref().is_some_and(Output::is_stdout) {
            let (path, size) = (printable_path(output.path()), bytes(exported.bytes.len() as u64));
            print(&format!("{path}: {}, {size}", printable(&exported.described)))?;
            print(&format!("  {}", exported.checked))?;
        }
    }
    if let Some(output) = card {
        output.write_bytes(export::card(&summary(&arguments.run)?)?.as_bytes())?;
    }
    Ok(())
}
