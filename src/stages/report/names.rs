//! Names of files and classes on the page: their line breaks, and their short forms.
//!
//! A line may break after `/`, `_` and `-` and before the `.` of an extension, where `<wbr>` is written, but not inside
//! a word. A long sequence of letters and digits, such as a hash, may break into pieces. `<bdi>` keeps a name that is
//! written from right to left from changing the order of the text beside it.

use std::borrow::Cow;

use super::charts::escape;
use crate::terminal::printable;

/// The longest word that is not broken, in characters.
const WORD: usize = 18;
/// The most characters of a piece of a longer word.
const PIECE: usize = 12;

/// The HTML of a name. The folders of a path are in order from left to right in every script.
pub fn breakable(name: &str) -> String {
    let name = printable(name);
    if !name.contains(runs_left) || !name.contains('/') {
        return format!("<bdi>{}</bdi>", broken(&name));
    }
    let folders: Vec<String> = name.split('/').map(|folder| format!("<bdi>{}</bdi>", broken(folder))).collect();
    format!("<bdi dir=\"ltr\">{}</bdi>", folders.join("/<wbr>"))
}

/// True for a letter of Hebrew, Arabic and other scripts written from right to left.
fn runs_left(c: char) -> bool {
    let blocks = [
        '\u{590}'..='\u{8ff}',
        '\u{fb1d}'..='\u{fdff}',
        '\u{fe70}'..='\u{fefc}',
        '\u{10800}'..='\u{10fff}',
        '\u{1e800}'..='\u{1efff}',
    ];
    blocks.iter().any(|block| block.contains(&c))
}

/// The escaped name with `<wbr>` where a line may break.
fn broken(name: &str) -> String {
    let (mut out, mut word) = (String::new(), String::new());
    let mut letters = name.chars().peekable();
    while let Some(c) = letters.next() {
        match c {
            '/' | '_' | '-' => {
                word.push(c);
                put(&mut out, &word);
                out.push_str("<wbr>");
                word.clear();
            }
            '.' if !word.is_empty() && letters.peek().is_some_and(|next| next.is_alphabetic()) => {
                put(&mut out, &word);
                out.push_str("<wbr>");
                word = ".".into();
            }
            // a line can break at a space without a mark
            c if c.is_whitespace() => {
                word.push(c);
                put(&mut out, &word);
                word.clear();
            }
            c => word.push(c),
        }
    }
    put(&mut out, &word);
    out.strip_suffix("<wbr>").unwrap_or(&out).to_string()
}

/// Adds a word. A long word may break between pieces of equal length. No piece begins with a combining mark, which
/// belongs to the letter before it.
fn put(out: &mut String, word: &str) {
    let length = word.chars().count();
    let piece = if length <= WORD { length } else { length.div_ceil(length.div_ceil(PIECE)) };
    let (mut part, mut letters) = (String::new(), 0);
    for c in word.chars() {
        if letters >= piece && c.is_alphanumeric() {
            *out += &escape(&part);
            out.push_str("<wbr>");
            (part, letters) = (String::new(), 0);
        }
        part.push(c);
        letters += 1;
    }
    *out += &escape(&part);
}

/// Shortens `name` to `most` characters by leaving out its middle. More of the end is kept, since a path ends with the
/// name of the file.
pub fn shortened(name: &str, most: usize) -> Cow<'_, str> {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= most {
        return Cow::Borrowed(name);
    }
    let head = most.saturating_sub(1) / 3;
    let tail = letters.len() - (most.saturating_sub(1) - head);
    Cow::Owned(letters[..head].iter().chain(&['…']).chain(&letters[tail..]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_breaks_between_its_words_and_never_inside_of_one() {
        for (name, html) in [
            ("Test/Tomato Cherry Red/r_12-3.jpg", "Test/<wbr>Tomato Cherry Red/<wbr>r_<wbr>12-<wbr>3<wbr>.jpg"),
            ("Strawberry", "Strawberry"),
            (".hidden/..", ".hidden/<wbr>.."),
            ("model v1.5", "model v1.5"),
            ("folder/", "folder/"),
            ("", ""),
            // a hash of 32 digits and letters breaks into three equal pieces
            ("000bec180eb18c7604dcecc8fe0dba07.jpg", "000bec180eb<wbr>18c7604dcec<wbr>c8fe0dba07<wbr>.jpg"),
            // the combining mark stays with its letter
            ("aaaaaaaaae\u{301}aaaaaaaaa", "aaaaaaaaae\u{301}<wbr>aaaaaaaaa"),
        ] {
            assert_eq!(breakable(name), format!("<bdi>{html}</bdi>"), "{name}");
        }
    }

    #[test]
    fn a_name_is_text_whatever_stands_in_it() {
        let html = breakable("<img src=x>&\"'\u{202e}gpj\u{1b}[31m\n.exe");
        assert_eq!(
            html.replace("<wbr>", ""),
            "<bdi>&lt;img src=x&gt;&amp;&quot;&#39;\\u{202e}gpj\\u{1b}[31m\\n.exe</bdi>"
        );
        let long = breakable(&"<".repeat(200));
        assert_eq!(long, format!("<bdi>{}</bdi>", "&lt;".repeat(200)));
    }

    #[test]
    fn a_path_runs_from_left_to_right() {
        let html =
            "<bdi dir=\"ltr\"><bdi>Test</bdi>/<wbr><bdi>\u{5ea}\u{5e4}</bdi>/<wbr><bdi>0_<wbr>1<wbr>.jpg</bdi></bdi>";
        assert_eq!(breakable("Test/\u{5ea}\u{5e4}/0_1.jpg"), html);
        // the name of a class has its own direction of writing
        assert_eq!(breakable("\u{5ea}\u{5e4}"), "<bdi>\u{5ea}\u{5e4}</bdi>");
    }

    #[test]
    fn a_long_name_keeps_its_beginning_and_more_of_its_end() {
        assert_eq!(shortened("Training/Kiwi/0.jpg", 19), "Training/Kiwi/0.jpg");
        assert_eq!(shortened("Training/Kiwi/0.jpg", 13), "Trai…wi/0.jpg");
        assert_eq!(shortened(&"x".repeat(200), 64).chars().count(), 64);
        assert_eq!(shortened("ab", 0), "…");
    }
}
