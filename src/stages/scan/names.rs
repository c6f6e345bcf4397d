//! Names of files as text: any bytes are written in the same way everywhere, and can be converted back.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Returns the path below the root with `/`, and the unescaped path where it had to be escaped.
pub fn relative(path: &Path, root: &Path) -> (String, Option<PathBuf>) {
    let path = path.strip_prefix(root).unwrap_or(path);
    let bytes = path.as_os_str().as_encoded_bytes();
    if cfg!(unix) {
        return match escape(bytes) {
            Cow::Borrowed(text) => (text.to_string(), None),
            Cow::Owned(text) => (text, Some(path.to_path_buf())),
        };
    }
    let parts: Vec<_> = path.components().map(|part| escape(part.as_os_str().as_encoded_bytes())).collect();
    let raw = parts.iter().any(|part| matches!(part, Cow::Owned(_))).then(|| path.to_path_buf());
    (parts.join("/"), raw)
}

/// Writes bytes that are not UTF-8 as `\xNN`. In a name that itself has the text `\xNN`, this backslash is written
/// `\x5c`, so that replacing every `\xNN` by its byte always gives the name on disk.
pub fn escape(bytes: &[u8]) -> Cow<'_, str> {
    let looks_escaped = |rest: &[u8]| matches!(rest, [b'\\', b'x', digits @ ..] if digits.len() > 1 && digits[..2].iter().all(u8::is_ascii_hexdigit));
    let text = std::str::from_utf8(bytes);
    if let Ok(text) = text
        && !text.match_indices("\\x").any(|(i, _)| looks_escaped(&bytes[i..]))
    {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        for (i, c) in chunk.valid().char_indices() {
            // the four bytes cannot reach over the end of a chunk, since no hexadecimal digit follows it
            match looks_escaped(&chunk.valid().as_bytes()[i..]) {
                true => escaped.push_str("\\x5c"),
                false => escaped.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| escaped.push_str(&format!("\\x{byte:02x}")));
    }
    Cow::Owned(escaped)
}

/// Returns the name of which [`escape`] made `text`.
#[cfg(unix)]
pub fn unescape(text: &str) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(1..3).filter(|_| *first == b'\\' && after[0] == b'x');
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        (rest, _) = match byte {
            Some(byte) => (&after[3..], bytes.push(byte)),
            None => (after, bytes.push(*first)),
        };
    }
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

/// Returns the name of which [`escape`] made `text`; on this system, escaped bytes are not converted back.
#[cfg(not(unix))]
pub fn unescape(text: &str) -> OsString {
    text.into()
}

/// Resolves `.` and `..` in a path below `root` without reading the disk; none when the path leads out of the root.
pub fn below(path: &Path, root: &Path) -> Option<PathBuf> {
    let path = if path.is_absolute() { path.strip_prefix(root).ok()? } else { path };
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => inside.push(part),
            Component::CurDir => {}
            Component::ParentDir if inside.pop() => {}
            _ => return None,
        }
    }
    Some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_that_are_not_text_are_escaped_and_text_that_looks_so_is_told_apart() {
        assert_eq!(escape(b"caf\xe9 \xc3\xa9.jpg"), "caf\\xe9 é.jpg");
        assert_eq!(escape(b"caf\\xe9.jpg"), "caf\\x5cxe9.jpg");
        assert_eq!(escape(b"a\\xE9\\x"), "a\\x5cxE9\\x");
        assert!(matches!(escape("plain \\ é\n".as_bytes()), Cow::Borrowed(_)));
    }

    #[test]
    fn paths_of_a_table_stay_below_the_root() {
        let below = |path: &str| below(Path::new(path), Path::new("/pictures")).map(|path| path.display().to_string());
        assert_eq!(below("./a//b/../c.jpg").as_deref(), Some("a/c.jpg"));
        assert_eq!(below("/pictures/a.jpg").as_deref(), Some("a.jpg"));
        for outside in ["../a.jpg", "a/../../b.jpg", "/pictures2/a.jpg", "/"] {
            assert_eq!(below(outside), None, "{outside}");
        }
    }

    #[cfg(unix)]
    proptest! {
        #[test]
        fn every_name_comes_back(parts in prop::collection::vec(prop_oneof![
            Just(b"\\".to_vec()), Just(b"x".to_vec()), Just(b"5c".to_vec()), Just(b"\xe9".to_vec()),
            Just("é".as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..4),
        ], 0..12)) {
            let bytes = parts.concat();
            let text = escape(&bytes).into_owned();
            let back = unescape(&text);
            prop_assert_eq!(back.as_encoded_bytes(), bytes.as_slice());
        }
    }
}
