//! The most probable classes of a picture as a line of text, JSON or CSV.

use std::io::IsTerminal;

use serde::Serialize;

use super::TopArgs;
use crate::cli::put;
use crate::error::Error;
use crate::io::csv_text;
use crate::pictures::predictor::{Acceptance, Predicted, top};
use crate::pictures::{Failure, Predictor};
use crate::progress::Ui;
use crate::stages::scan::NamedFile;
use crate::terminal::{printable, printable_json, printable_lines};

/// The maximum widths of the plain table's columns; a longer text shifts the rest of its line.
const PATH_WIDTH: usize = 100;
const LABEL_WIDTH: usize = 20;

/// A class in the list of a picture.
#[derive(Debug, Serialize)]
struct Guess<'a> {
    label: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    wnid: Option<&'a str>,
    /// An f32, so that it is written with the fewest digits that identify its value.
    probability: f32,
}

/// A line of the output of `--json`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<&'a [Guess<'a>]>,
    #[serde(flatten)]
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Whether a picture is of a known class, and how far it is from the train pictures.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Verdict {
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    distance: Option<f32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Print only errors.
    Errors,
    Plain,
    Json,
    Csv,
}

/// Writes results to standard output one by one.
pub struct Writer<'a> {
    form: Form,
    classes: &'a [String],
    wnids: &'a [&'a str],
    acceptance: Acceptance,
    top: usize,
    /// Widths of the plain table's columns: path, label.
    widths: [usize; 2],
}

impl<'a> Writer<'a> {
    /// A writer for `pictures`; `silent` if the results go to a file.
    pub fn new(
        predictor: &'a Predictor,
        arguments: &TopArgs,
        (wnids, acceptance): (&'a [&'a str], Acceptance),
        pictures: &[NamedFile],
        silent: bool,
    ) -> Self {
        let form = match (arguments.json, arguments.csv) {
            _ if silent => Form::Errors,
            (true, _) => Form::Json,
            (_, true) => Form::Csv,
            _ => Form::Plain,
        };
        let widest = |lengths: &mut dyn Iterator<Item = usize>, most: usize| lengths.max().unwrap_or(0).min(most);
        let paths = widest(&mut pictures.iter().map(|picture| picture.path.chars().count()), PATH_WIDTH);
        let labels = widest(&mut predictor.classes().iter().map(|class| class.chars().count()), LABEL_WIDTH);
        let (classes, top, widths) = (predictor.classes(), arguments.top.into(), [paths, labels]);
        Self { form, classes, wnids, acceptance, top, widths }
    }

    /// Prints the header.
    pub fn header(&self) -> Result<(), Error> {
        match self.form {
            Form::Csv => {
                let wnid = if self.wnids.is_empty() { "" } else { ",wnid" };
                let verdict = if self.acceptance.is_none() { "" } else { ",known,distance" };
                put(&format!("path,rank,label,probability{wnid}{verdict}"))
            }
            Form::Errors | Form::Plain | Form::Json => Ok(()),
        }
    }

    /// Prints the predictions of one picture.
    pub fn line(&mut self, path: &str, result: Result<&Predicted, &Failure>, ui: &Ui) -> Result<(), Error> {
        let predicted = match result {
            Ok(predicted) => predicted,
            Err(failure) if self.form == Form::Json => {
                let verdict = Verdict::default();
                let line = Line { path, top: None, verdict, error: Some(failure.to_string()) };
                return ui.beside_bars(|| put_json(&line));
            }
            Err(failure) => {
                ui.tell(&format!("{}: {failure}", printable(path)));
                return Ok(());
            }
        };
        let guess = |(class, probability): (usize, f32)| {
            let label = self.classes.get(class).map_or("", String::as_str);
            Guess { label, wnid: self.wnids.get(class).copied(), probability }
        };
        let guesses: Vec<Guess> = top(&predicted.probabilities, self.top).into_iter().map(guess).collect();
        let verdict = Verdict { known: self.acceptance.known(predicted), distance: predicted.distance };
        ui.beside_bars(|| match self.form {
            Form::Errors => Ok(()),
            Form::Json => put_json(&Line { path, top: Some(&guesses), verdict, error: None }),
            // outside a terminal, names are written unescaped
            Form::Csv if std::io::stdout().is_terminal() => put(&printable_lines(&csv_rows(path, &guesses, verdict))),
            Form::Csv => put(&csv_rows(path, &guesses, verdict)),
            Form::Plain => put(&self.row(path, &guesses, verdict)),
        })
    }

    fn row(&self, path: &str, guesses: &[Guess], verdict: Verdict) -> String {
        let [paths, labels] = self.widths;
        let guesses =
            guesses.iter().map(|guess| format!("  {:labels$} {:.4}", printable(guess.label), guess.probability));
        let unknown = if verdict.known == Some(false) { "  unknown" } else { "" };
        format!("{:paths$}{}{unknown}", printable(path), guesses.collect::<String>())
    }
}

fn csv_rows(path: &str, guesses: &[Guess], Verdict { known, distance }: Verdict) -> String {
    let distance = distance.map_or(String::new(), |distance| distance.to_string());
    let verdict = known.map_or(String::new(), |known| format!(",{known},{distance}"));
    let row = |(i, guess): (usize, &Guess)| {
        let wnid = guess.wnid.map_or(String::new(), |wnid| format!(",{wnid}"));
        format!(
            "{},{},{},{}{wnid}{verdict}",
            csv_text::field(path),
            i + 1,
            csv_text::field(guess.label),
            guess.probability
        )
    };
    guesses.iter().enumerate().map(row).collect::<Vec<_>>().join("\n")
}

fn put_json(line: &Line) -> Result<(), Error> {
    put(&printable_json(&serde_json::to_string(line)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_what_it_must_and_keeps_every_bit() {
        let guess = |label, probability| Guess { label, wnid: None, probability };
        let third = 1.0f32 / 3.0;
        let rows = csv_rows("a,\"b\".jpg", &[guess("x", third), guess("y z", 1e-12)], Verdict::default());
        assert_eq!(rows, "\"a,\"\"b\"\".jpg\",1,x,0.33333334\n\"a,\"\"b\"\".jpg\",2,y z,0.000000000001");
        assert_eq!("0.33333334".parse::<f32>().map(f32::to_bits), Ok(third.to_bits()));
    }
}
