//! What `predict` and `classify` share: which pictures, how many at a time, and how the most probable classes of each are written.

use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::chain::{Chain, ChainError, Failure, top};
use crate::error::Error;
use crate::image::{self, DecodeOptions, RgbImage};
use crate::io::IoError;
use crate::plot::{self, Cell, PlotError};
use crate::stages::scan::{NamedFile, named, printable};

/// Most characters that a column of the plain table is widened to; what is longer pushes the rest of its line.
const PATH_WIDTH: usize = 100;
const LABEL_WIDTH: usize = 20;

/// Which pictures, and what is told of them.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Pictures, folders (searched to the bottom), or `-`: a list of either on standard input, one a line.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// How many classes to give for each picture, the most probable first.
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    /// One JSON object a picture and line; a picture that cannot be read has `error` instead of `top`.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// A table with a row for each picture and class.
    #[arg(long)]
    csv: bool,
    /// Also draw the pictures with bars of their most probable classes into this file, as PNG or SVG by its ending; up to 200 pictures.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Pictures at a time; all cores by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

/// Sends every picture through `chain` and writes its top classes; `wnids` are their WordNet ids, where they have any. Pictures that cannot be
/// read are told and do not stop the others, but the command fails at its end.
pub fn run(chain: &Chain, arguments: &TopArgs, wnids: &[&str]) -> Result<(), Error> {
    let pictures = pictures(&arguments.paths)?;
    let threads = threads(arguments.threads);
    let mut figure =
        arguments.plot.as_deref().map(|path| Figure::new(path, pictures.len(), arguments.top)).transpose()?;
    let mut writer = Writer::new(chain, arguments, wnids, &pictures);
    let mut failed = 0;
    let mut open = writer.header();
    chain.predict_all(&pictures, threads, |picture, result| {
        failed += usize::from(result.is_err());
        if let Some(figure) = &mut figure {
            figure.add(picture, &result, chain.classes());
        }
        open = open.and_then(|()| writer.line(&picture.path, &result));
        // whoever closed standard output wants no more
        if open.is_some() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if let Some(figure) = figure {
        figure.write()?;
    }
    if failed > 0 {
        return Err(ChainError::Failed { failed, of: pictures.len() }.into());
    }
    Ok(())
}

/// What `--plot` draws, collected picture by picture.
struct Figure<'a> {
    path: &'a Path,
    form: plot::Form,
    pictures: usize,
    top: usize,
    panels: Vec<Panel<'a>>,
}

/// A picture of the figure, or why there is none.
struct Panel<'a> {
    title: String,
    picture: Result<RgbImage, String>,
    bars: Vec<(&'a str, f32)>,
}

impl Panel<'_> {
    fn cell(&self) -> Cell<'_> {
        let picture = self.picture.as_ref().map_err(String::as_str);
        Cell { title: &self.title, picture, bars: self.bars.clone() }
    }
}

impl<'a> Figure<'a> {
    /// Refuses what cannot be drawn before the first picture is classified.
    fn new(path: &'a Path, pictures: usize, top: u16) -> Result<Self, PlotError> {
        let form = plot::Form::of(path)?;
        plot::check(pictures, top.into())?;
        Ok(Self { path, form, pictures, top: top.into(), panels: Vec::new() })
    }

    fn add(&mut self, picture: &NamedFile, result: &Result<Vec<f32>, Failure>, classes: &'a [String]) {
        let title = picture.path.rsplit('/').next().unwrap_or(&picture.path).to_string();
        let drawn = match (result, &picture.location) {
            (Err(failure), _) => Err(failure.to_string()),
            (Ok(_), Err(reason)) => Err(reason.clone()),
            (Ok(_), Ok(path)) => std::fs::read(path).map_err(|error| error.to_string()).and_then(|bytes| {
                let image = image::decode(&bytes, &DecodeOptions::default()).map_err(|error| error.detail)?;
                Ok(plot::fitted(&image, self.pictures))
            }),
        };
        let name = |(class, probability): (usize, f32)| (classes.get(class).map_or("", String::as_str), probability);
        let bars = result.iter().flat_map(|probabilities| top(probabilities, self.top)).map(name).collect();
        self.panels.push(Panel { title, picture: drawn, bars });
    }

    fn write(self) -> Result<(), PlotError> {
        let cells: Vec<Cell> = self.panels.iter().map(Panel::cell).collect();
        plot::write(self.path, self.form, &cells)
    }
}

/// So many threads, or one a core.
pub fn threads(asked: Option<u16>) -> usize {
    asked.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
}

/// Every picture that was asked for, in the order of the command line.
pub fn pictures(paths: &[PathBuf]) -> Result<Vec<NamedFile>, Error> {
    let mut pictures = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            for path in listed(std::io::stdin().lock())? {
                pictures.extend(named(&path)?);
            }
        } else {
            pictures.extend(named(path)?);
        }
    }
    if pictures.is_empty() {
        let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(ChainError::NoPictures(paths.join(", ")).into());
    }
    Ok(pictures)
}

/// A path a line; empty lines are nothing.
fn listed(mut input: impl BufRead) -> Result<Vec<PathBuf>, IoError> {
    let mut paths = Vec::new();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).map_err(IoError::read(Path::new("standard input")))? > 0 {
        let end = line.trim_ascii_end().len();
        line.truncate(end);
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

/// A class of a picture's list.
#[derive(Debug, Serialize)]
struct Guess<'a> {
    label: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    wnid: Option<&'a str>,
    /// f32 itself: it is written in the fewest digits that give the same bits again.
    probability: f32,
}

/// A line of `--json`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<&'a [Guess<'a>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Json,
    Csv,
}

/// Writes results to standard output as they come. None: standard output is closed.
struct Writer<'a> {
    form: Form,
    classes: &'a [String],
    wnids: &'a [&'a str],
    top: usize,
    /// Columns of the plain table: path, label.
    widths: [usize; 2],
}

impl<'a> Writer<'a> {
    fn new(chain: &'a Chain, arguments: &TopArgs, wnids: &'a [&'a str], pictures: &[NamedFile]) -> Self {
        let form = match (arguments.json, arguments.csv) {
            (true, _) => Form::Json,
            (_, true) => Form::Csv,
            _ => Form::Plain,
        };
        let widest = |lengths: &mut dyn Iterator<Item = usize>, most: usize| lengths.max().unwrap_or(0).min(most);
        let paths = widest(&mut pictures.iter().map(|picture| picture.path.chars().count()), PATH_WIDTH);
        let labels = widest(&mut chain.classes().iter().map(|class| class.chars().count()), LABEL_WIDTH);
        Self { form, classes: chain.classes(), wnids, top: arguments.top.into(), widths: [paths, labels] }
    }

    fn header(&self) -> Option<()> {
        match self.form {
            Form::Csv if self.wnids.is_empty() => put("path,rank,label,probability"),
            Form::Csv => put("path,rank,label,probability,wnid"),
            Form::Plain | Form::Json => Some(()),
        }
    }

    /// What was found of one picture.
    fn line(&mut self, path: &str, result: &Result<Vec<f32>, Failure>) -> Option<()> {
        let probabilities = match result {
            Ok(probabilities) => probabilities,
            Err(failure) if self.form == Form::Json => {
                return put_json(&Line { path, top: None, error: Some(failure.to_string()) });
            }
            Err(failure) => {
                eprintln!("{}: {failure}", printable(path));
                return Some(());
            }
        };
        let guess = |(class, probability): (usize, f32)| {
            let label = self.classes.get(class).map_or("", String::as_str);
            Guess { label, wnid: self.wnids.get(class).copied(), probability }
        };
        let guesses: Vec<Guess> = top(probabilities, self.top).into_iter().map(guess).collect();
        match self.form {
            Form::Json => put_json(&Line { path, top: Some(&guesses), error: None }),
            Form::Csv => put(&csv_rows(path, &guesses)),
            Form::Plain => put(&self.row(path, &guesses)),
        }
    }

    fn row(&self, path: &str, guesses: &[Guess]) -> String {
        let [paths, labels] = self.widths;
        let guesses = guesses.iter().map(|guess| format!("  {:labels$} {:.4}", guess.label, guess.probability));
        format!("{:paths$}{}", printable(path), guesses.collect::<String>())
    }
}

fn csv_rows(path: &str, guesses: &[Guess]) -> String {
    let row = |(i, guess): (usize, &Guess)| {
        let wnid = guess.wnid.map_or(String::new(), |wnid| format!(",{wnid}"));
        format!("{},{},{},{}{wnid}", csv_field(path), i + 1, csv_field(guess.label), guess.probability)
    };
    guesses.iter().enumerate().map(row).collect::<Vec<_>>().join("\n")
}

/// A field of RFC 4180: in quotes where it needs them.
fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_string() }
}

fn put_json(line: &Line) -> Option<()> {
    // numbers and text: there is nothing in it that JSON has not
    put(&serde_json::to_string(line).ok()?)
}

fn put(text: &str) -> Option<()> {
    writeln!(std::io::stdout().lock(), "{text}").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_paths_may_have_any_line_ends() {
        let paths = listed(&b"a b.jpg\r\n\nfolder/c.png\n"[..]).expect("read");
        assert_eq!(paths, [Path::new("a b.jpg"), Path::new("folder/c.png")]);
        assert_eq!(listed(&b"last"[..]).expect("read"), [Path::new("last")]);
    }

    #[test]
    fn csv_quotes_what_it_must_and_keeps_every_bit() {
        let guess = |label, probability| Guess { label, wnid: None, probability };
        let third = 1.0f32 / 3.0;
        let rows = csv_rows("a,\"b\".jpg", &[guess("x", third), guess("y z", 1e-12)]);
        assert_eq!(rows, "\"a,\"\"b\"\".jpg\",1,x,0.33333334\n\"a,\"\"b\"\".jpg\",2,y z,0.000000000001");
        assert_eq!("0.33333334".parse::<f32>().map(f32::to_bits), Ok(third.to_bits()));
    }
}
