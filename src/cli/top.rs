//! The code that `predict` and `classify` share: their flags, and reading pictures and writing the most probable
//! classes of each.

mod copies;
mod drawings;
mod text;

use std::ffi::OsString;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use clap::Args;

use super::predictions::Predictions;
use super::workers::WorkerArgs;
use super::{is_closed, none_failed, style};
use crate::error::Error;
use crate::io::IoError;
use crate::io::features::Key;
use crate::io::output::{FileKind, Inputs, Output, Rules, check_stdout};
use crate::pictures::predictor::Acceptance;
use crate::pictures::{Named, Predictor, PredictorError};
use crate::progress::{Style, Ui};
use crate::stages::scan::{Members, NamedFile, named};
use text::Writer;

/// Which pictures, and what is told of them.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Pictures, folders (searched to the bottom), archives (`photos.tar`, `photos.tar/cats/1.jpg`), URLs, tables of
    /// pictures (`.csv`), or `-`: a list of these on standard input, one a line.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// How many classes to give for each picture, the most probable first.
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    /// Print a JSON object for each picture, on a line of its own; `error` instead of `top` if it cannot be read.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// A table with a row for each picture and class.
    #[arg(long)]
    csv: bool,
    /// Also draw the pictures with bars of their most probable classes into this file, as PNG or SVG by its ending
    /// (`-`: PNG to standard output, and nothing is printed); up to 200 pictures.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Also draw `Predicted: banana 0.98` on the pictures: on copies in this folder, or on one sheet if the name ends
    /// in .png or .svg (up to 200 pictures).
    #[arg(long, value_name = "DIR|FILE")]
    annotate: Option<PathBuf>,
    /// Replace the files that are named even if they are read here or are of another kind.
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub workers: WorkerArgs,
    /// No progress: only results, warnings and errors.
    #[arg(short, long)]
    pub quiet: bool,
}

impl TopArgs {
    /// The paths of the command line.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The pictures, in the order of the command line.
    pub fn pictures(&self) -> Result<Vec<NamedFile>, Error> {
        pictures(&self.paths)
    }

    /// The style of the progress display.
    pub fn style(&self) -> Style {
        style(self.quiet)
    }
}

/// The options in which the commands differ.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The name of the command.
    pub name: &'static str,
    /// WordNet ids of the classes, if they have any.
    pub wnids: &'a [&'a str],
    /// The table to write; if set, nothing is printed.
    pub parquet: Option<&'a Path>,
    /// The rule by which pictures count as of a known class.
    pub acceptance: Acceptance,
    /// The folder for heat maps.
    pub explain: Option<&'a Path>,
    /// The files that are read besides the pictures.
    pub read: Inputs,
}

/// Sends `pictures` through `predictor` and writes the top classes, or a table. A picture that cannot be read is
/// reported and does not stop the others, but the command fails at its end.
pub fn run(
    predictor: &Predictor,
    arguments: &TopArgs,
    pictures: &[NamedFile],
    asked: Asked,
    ui: &Ui,
) -> Result<(), Error> {
    let Asked { name, wnids, parquet, acceptance, explain, mut read } = asked;
    read.pictures = pictures.iter().filter_map(|picture| picture.location.clone().ok()).collect();
    let rules = Rules::new(&read, arguments.overwrite);
    let out = parquet.map(|path| Output::new(path, FileKind::Parquet, rules)).transpose()?;
    let memory = &arguments.workers.memory();
    let (drawings, mut sheets) = drawings::open((predictor, memory), (arguments, explain), pictures, rules)?;
    check_stdout(out.iter().chain(sheets.outputs()))?;
    let silent = out.is_some() || sheets.outputs().any(Output::is_stdout);
    let mut writer = Writer::new(predictor, arguments, (wnids, acceptance), pictures, silent);
    let mut rows = out.as_ref().map(|_| Predictions::new(predictor, acceptance));
    let line = ui.work(name, Some(pictures.len() as u64), "images");
    let (mut failed, mut written) = (0, writer.header());
    let (source, wanted) = (Named(pictures), (0..pictures.len()).collect::<Vec<_>>());
    let stream = arguments.workers.stream(&source, &wanted, ui);
    let see = |number: usize, probabilities: &[f32]| drawings.see(&pictures[number], probabilities);
    predictor.predict(&stream, memory, see, |number, result| -> Result<(), Error> {
        let picture = &pictures[number];
        let result = match result {
            Ok((predicted, seen)) => seen?.map(|image| (predicted, image)),
            Err(failure) => Err(failure),
        };
        failed += usize::from(result.is_err());
        let predicted = result.as_ref().map(|(predicted, _)| predicted);
        if let (Some(rows), Ok(predicted)) = (&mut rows, predicted) {
            rows.push(Key { path: picture.path.clone(), label: None, split: None }, predicted);
        }
        sheets.add(picture, result.as_ref(), predictor.classes());
        if written.is_ok() {
            written = writer.line(&picture.path, predicted, ui);
        }
        line.inc(1);
        // if standard output is closed, the drawings are still made
        let is_over = written.as_ref().is_err_and(|error| !is_closed(error) || !drawings.are_wanted());
        if is_over { std::mem::replace(&mut written, Ok(())) } else { Ok(()) }
    })?;
    ui.check()?;
    drop(line);
    sheets.write()?;
    if let (Some(out), Some(rows)) = (out, rows) {
        rows.table(predictor.classes()).write_to(&out, predictor.metadata())?;
    }
    none_failed(failed, pictures.len())
}

/// Returns every picture that the paths name, in the order of the command line.
pub fn pictures(paths: &[PathBuf]) -> Result<Vec<NamedFile>, Error> {
    let (mut pictures, mut members) = (Vec::new(), Members::default());
    for path in paths {
        if path.as_os_str() == "-" {
            for path in listed(std::io::stdin().lock())? {
                pictures.extend(named(&path, &mut members)?);
            }
        } else {
            pictures.extend(named(path, &mut members)?);
        }
    }
    if pictures.is_empty() {
        let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(PredictorError::NoPictures(paths.join(", ")).into());
    }
    Ok(pictures)
}

/// The byte order mark with which some programs begin a text in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads one path per line; empty lines are skipped.
fn listed(mut input: impl BufRead) -> Result<Vec<PathBuf>, IoError> {
    let mut paths = Vec::new();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).map_err(IoError::read(Path::new("standard input")))? > 0 {
        let end = line.trim_ascii_end().len();
        line.truncate(end);
        // a byte order mark does not belong to the first name, unless a file with this name exists
        if paths.is_empty() && line.starts_with(MARK) && !Path::new(&os_string(line.clone())).exists() {
            line.drain(..MARK.len());
        }
        if !line.is_empty() {
            paths.push(PathBuf::from(os_string(std::mem::take(&mut line))));
        }
    }
    Ok(paths)
}

#[cfg(unix)]
fn os_string(bytes: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

#[cfg(not(unix))]
fn os_string(bytes: Vec<u8>) -> OsString {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_paths_may_have_any_line_ends() {
        let paths = listed(&b"a b.jpg\r\n\nfolder/c.png\n"[..]).expect("read");
        assert_eq!(paths, [Path::new("a b.jpg"), Path::new("folder/c.png")]);
        assert_eq!(listed(&b"last"[..]).expect("read"), [Path::new("last")]);
        assert_eq!(listed(&b"\xef\xbb\xbfa.jpg\nb.jpg"[..]).expect("read"), [Path::new("a.jpg"), Path::new("b.jpg")]);
    }
}
