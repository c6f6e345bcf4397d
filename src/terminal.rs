//! What may reach a terminal: names without control characters, and colours only where somebody wants them.
//!
//! Names of files and classes come from anywhere. A newline in one would begin a line of its own, an escape sequence could move the cursor,
//! change the title, or hide what was written before; marks that turn the direction make `gpj.exe` of `exe.jpg`.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::path::Path;

/// True for what is spelt out: control characters, and marks that turn the direction or break the line.
fn is_spelt(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A name in a line: what is spelt out becomes `\n`, `\u{1b}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    spelt(text, is_spelt)
}

/// A path in a line.
pub fn printable_path(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}

/// The same for lines: their ends and tabs stay.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    spelt(text, |c| !matches!(c, '\n' | '\t') && is_spelt(c))
}

fn spelt(text: &str, is_spelt: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_spelt) {
        return Cow::Borrowed(text);
    }
    let spelt = |c: char| if is_spelt(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(spelt).collect())
}

/// JSON of the same value: what JSON itself lets through (DEL, the C1 controls, marks of direction) is escaped, too.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    if !json.contains(|c| c != '\n' && is_spelt(c)) {
        return Cow::Borrowed(json);
    }
    // such characters stand inside strings only, and all of them have four digits
    let spelt = |c: char| if c != '\n' && is_spelt(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(json.chars().map(spelt).collect())
}

/// Colours of a stream, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Colours {
    on: bool,
}

impl Colours {
    /// Of standard error.
    pub fn of_stderr() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    /// Of standard output.
    pub fn of_stdout() -> Self {
        Self::of(std::io::stdout().is_terminal())
    }

    fn of(terminal: bool) -> Self {
        Self { on: wanted(terminal, |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())) }
    }

    /// Something failed.
    pub fn bad(self, text: &str) -> Cow<'_, str> {
        self.paint("1;31", text)
    }

    /// Something to look at.
    pub fn warn(self, text: &str) -> Cow<'_, str> {
        self.paint("1;33", text)
    }

    /// The first word of a line, or a heading.
    pub fn head(self, text: &str) -> Cow<'_, str> {
        self.paint("1;36", text)
    }

    /// What is said to those who asked for more.
    pub fn faint(self, text: &str) -> Cow<'_, str> {
        self.paint("2", text)
    }

    fn paint<'a>(self, code: &str, text: &'a str) -> Cow<'a, str> {
        if self.on { Cow::Owned(format!("\u{1b}[{code}m{text}\u{1b}[0m")) } else { Cow::Borrowed(text) }
    }
}

/// <https://no-color.org> and <https://bixense.com/clicolors>: NO_COLOR (not empty) forbids, CLICOLOR_FORCE (not 0) demands, else a terminal has
/// colours unless CLICOLOR is 0 or it is a dumb one.
fn wanted(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    match (set("NO_COLOR"), set("CLICOLOR_FORCE")) {
        (Some(_), _) => false,
        (None, Some(force)) if force != "0" => true,
        _ => terminal && set("CLICOLOR").as_deref() != Some("0") && set("TERM").as_deref() != Some("dumb"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_left_of_a_name() {
        assert_eq!(printable("a\n\u{1b}[31mb\té<x>"), "a\\n\\u{1b}[31mb\\té<x>");
        assert_eq!(printable("\u{9b}2J\u{7f}\u{202e}gpj"), "\\u{9b}2J\\u{7f}\\u{202e}gpj");
        assert!(matches!(printable("日本 é \\n.jpg"), Cow::Borrowed(_)));
        assert_eq!(printable_lines("a\u{1b}\nb\t\r\n"), "a\\u{1b}\nb\t\\r\n");
        assert!(matches!(printable_lines("a\nb"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_keeps_its_value() {
        let name = "a\n\u{1b}[1m\u{9b}2J\u{7f}\u{202e}é\"\\";
        let json = serde_json::to_string(name).expect("JSON");
        let printable = printable_json(&json);
        assert!(!printable.contains(is_spelt), "{printable}");
        assert_eq!(serde_json::from_str::<String>(&printable).expect("JSON"), name);
    }

    #[test]
    fn colours_are_for_terminals_and_those_who_ask() {
        let with = |terminal: bool, set: &[(&str, &str)]| {
            wanted(terminal, |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string()))
        };
        assert!(with(true, &[]) && !with(false, &[]));
        assert!(!with(true, &[("NO_COLOR", "1")]) && with(true, &[("NO_COLOR", "")]));
        assert!(with(false, &[("CLICOLOR_FORCE", "1")]) && !with(false, &[("CLICOLOR_FORCE", "0")]));
        assert!(!with(true, &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]));
        assert!(!with(true, &[("TERM", "dumb")]) && !with(true, &[("CLICOLOR", "0")]));
        let (on, off) = (Colours { on: true }, Colours { on: false });
        assert_eq!((on.bad("error"), off.bad("error")), ("\u{1b}[1;31merror\u{1b}[0m".into(), "error".into()));
    }
}
