//! Text for terminals: names without control characters, and colours only where the user wants them.
//!
//! The names of files and classes are not trusted. A newline in a name would begin a line, and an escape sequence could
//! move the cursor, change the title or hide earlier text; marks of text direction show `exe.jpg` as `gpj.exe`.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::path::Path;

/// Whether a character is escaped: control characters, and marks that change the text direction or break the line.
fn must_be_escaped(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Escapes a name for one line: a newline becomes `\n`, an escape character `\u{1b}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, must_be_escaped)
}

/// Escapes a path for one line.
pub fn printable_path(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}

/// Escapes text of several lines; newlines and tabs stay.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| !matches!(c, '\n' | '\t') && must_be_escaped(c))
}

fn escaped(text: &str, must_be_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&must_be_escaped) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if must_be_escaped(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// Escapes the characters in JSON that JSON itself allows but a terminal should not get (DEL, the C1 controls, marks of
/// text direction). The value stays the same.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    if !json.contains(|c| c != '\n' && must_be_escaped(c)) {
        return Cow::Borrowed(json);
    }
    // These characters are only inside strings, and all of them have four hexadecimal digits.
    let escaped =
        |c: char| if c != '\n' && must_be_escaped(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(json.chars().map(escaped).collect())
}

/// The colours of a stream, which may be off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Colours {
    on: bool,
}

impl Colours {
    /// The colours of standard error.
    pub fn of_stderr() -> Self {
        let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self { on: wants_colours(std::io::stderr().is_terminal(), variable) }
    }

    /// Paints an error.
    pub fn bad(self, text: &str) -> Cow<'_, str> {
        self.paint("1;31", text)
    }

    /// Paints a warning.
    pub fn warn(self, text: &str) -> Cow<'_, str> {
        self.paint("1;33", text)
    }

    /// Paints a heading or the first word of a line.
    pub fn head(self, text: &str) -> Cow<'_, str> {
        self.paint("1;36", text)
    }

    /// Paints a detail that only some users ask for.
    pub fn faint(self, text: &str) -> Cow<'_, str> {
        self.paint("2", text)
    }

    fn paint<'a>(self, code: &str, text: &'a str) -> Cow<'a, str> {
        if self.on { Cow::Owned(format!("\u{1b}[{code}m{text}\u{1b}[0m")) } else { Cow::Borrowed(text) }
    }
}

/// Follows <https://no-color.org> and <https://bixense.com/clicolors>: NO_COLOR (not empty) forbids colours,
/// CLICOLOR_FORCE (not 0) demands them, and otherwise a terminal has colours unless CLICOLOR is 0 or the terminal is
/// dumb.
fn wants_colours(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
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
        assert!(!printable.contains(must_be_escaped), "{printable}");
        assert_eq!(serde_json::from_str::<String>(&printable).expect("JSON"), name);
    }

    #[test]
    fn colours_are_for_terminals_and_those_who_ask() {
        let with = |terminal: bool, set: &[(&str, &str)]| {
            wants_colours(terminal, |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string()))
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
