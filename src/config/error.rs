//! Errors in a pipeline: each names its place and what to write instead.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

use thiserror::Error;

use super::source::{Place, Source, Span};

/// A pipeline that cannot be run as it is written.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be opened or read.
    #[error("{}: cannot read the pipeline: {source}", file.display())]
    Read { file: PathBuf, source: io::Error },
    /// The file is no UTF-8 text.
    #[error("{}:{line}: not UTF-8 text; save the pipeline as UTF-8", file.display())]
    NotUtf8 { file: PathBuf, line: usize },
    /// A key or a value is wrong or missing.
    #[error("{place}: {message}{excerpt}")]
    Invalid {
        /// `pipelines/fruits.yaml:12:5`, the file alone where the key is not written, or `--set reduce.pca=3`.
        place: String,
        /// The mistake and its remedy.
        message: String,
        /// The line with a caret below, each line after a line feed; empty where there is no line.
        excerpt: String,
    },
}

impl ConfigError {
    /// An error at the value of `key` (`extract.model`), or at the nearest section around it if the key is not written.
    pub fn at_key(source: &Source, key: &str, message: impl Into<String>) -> Self {
        match source.place(key) {
            Some(place) => Self::at(source, place, message),
            None => Self::Invalid {
                place: source.file().display().to_string(),
                message: message.into(),
                excerpt: String::new(),
            },
        }
    }

    pub(super) fn at(source: &Source, place: Place, message: impl Into<String>) -> Self {
        let message = message.into();
        match place {
            Place::File(span) => Self::Invalid {
                place: format!("{}:{}:{}", source.file().display(), span.line, span.column),
                message,
                excerpt: excerpt(source.text(), span),
            },
            Place::Set(n) => {
                let set = source.sets().get(n).map_or("", String::as_str);
                Self::Invalid { place: format!("--set {set}"), message, excerpt: String::new() }
            }
        }
    }

    pub(super) fn not_utf8(file: &Path, error: &FromUtf8Error) -> Self {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        Self::NotUtf8 { file: file.to_owned(), line }
    }
}

/// The most characters of a line that are shown.
const SHOWN: usize = 110;

/// The line of `span` with carets below it, in the form of lines that follow a message.
fn excerpt(text: &str, span: Span) -> String {
    let Some(line) = text.lines().nth(span.line - 1) else {
        return String::new();
    };
    // a byte order mark has no column
    let line = line.strip_prefix('\u{feff}').unwrap_or(line);
    // of a long line, only a part around the place is shown; a control character takes one column, like a caret
    let skipped = if span.column + span.len > SHOWN { span.column.saturating_sub(SHOWN / 2) } else { 0 };
    let shown: String = line.chars().skip(skipped).take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let before = span.column - 1 - skipped;
    let carets = span.len.min(shown.chars().count().saturating_sub(before)).max(1);
    let number = span.line.to_string();
    let margin = " ".repeat(number.len());
    let mut out = String::new();
    // writing to a String cannot fail
    let _ = write!(
        out,
        "\n{margin} |\n{number} | {}\n{margin} | {}{}",
        shown.trim_end(),
        " ".repeat(before),
        "^".repeat(carets)
    );
    out
}

/// The words in backticks, with `last` before the last one: `a`, `b` or `c`.
pub(super) fn list(words: &[&str], last: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpt_points_at_the_characters() {
        let span = |line, column, len| Span { line, column, len };
        assert_eq!(excerpt("a: 1\nkey: wert\n", span(2, 6, 4)), "\n  |\n2 | key: wert\n  |      ^^^^");
        // columns are characters, not bytes; a tab is one column; carets end with the line
        assert_eq!(excerpt("é:\tx", span(1, 4, 9)), "\n  |\n1 | é: x\n  |    ^");
        assert_eq!(excerpt("a", span(7, 1, 1)), "");
        let long = format!("{}key: 1", "x".repeat(300));
        let shown = excerpt(&long, span(1, 301, 3));
        let lines: Vec<&str> = shown.lines().collect();
        let caret = lines[3].find('^').unwrap();
        assert_eq!(&lines[2][caret..caret + 3], "key");
    }

    #[test]
    fn lists_read_as_english() {
        assert_eq!(list(&[], "or"), "");
        assert_eq!(list(&["a"], "or"), "`a`");
        assert_eq!(list(&["a", "b", "c"], "or"), "`a`, `b` or `c`");
    }
}
