//! Converts names of members to keys. No file is written with such a name, but a key must be clean and unique.

use crate::stages::scan::escape;

/// The longest name, in bytes.
const LONGEST: usize = 4096;

/// The clean path of a member's name: no leading `/`, no `.`, no empty part, bytes that are not UTF-8 as `\xNN`; or the
/// reason why there is none. With `backslashes`, as Windows programs write them into zips, a backslash separates
/// folders, too.
pub(crate) fn clean(name: &[u8], backslashes: bool) -> Result<String, &'static str> {
    if name.len() > LONGEST {
        return Err("its name is longer than 4096 bytes");
    }
    if name.contains(&0) {
        return Err("its name has a byte of zero");
    }
    let parts = name.split(|&byte| byte == b'/' || backslashes && byte == b'\\');
    let parts: Vec<&[u8]> = parts.filter(|part| !part.is_empty() && *part != b".").collect();
    if parts.contains(&&b".."[..]) {
        return Err("its name leads out of the archive by `..`");
    }
    if parts.is_empty() {
        return Err("it has no name");
    }
    Ok(escape(&parts.join(&b'/')).into_owned())
}

/// A printable form of a name that has no clean path.
pub(crate) fn shown(name: &[u8]) -> String {
    let short = &name[..name.len().min(200)];
    escape(short).replace('\0', "\\x00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_clean_whatever_the_name() {
        for (name, key) in [
            ("a/b.jpg", "a/b.jpg"),
            ("./a//./b.jpg", "a/b.jpg"),
            ("/etc/a.jpg", "etc/a.jpg"),
            ("a/..b/c...jpg", "a/..b/c...jpg"),
            ("a\\b.jpg", "a\\b.jpg"),
            ("é/ü.jpg", "é/ü.jpg"),
        ] {
            assert_eq!(clean(name.as_bytes(), false).as_deref(), Ok(key), "{name}");
        }
        assert_eq!(clean(b"a\\.\\b.jpg", true).as_deref(), Ok("a/b.jpg"));
        assert_eq!(clean(b"caf\xe9.jpg", false).as_deref(), Ok("caf\\xe9.jpg"));
        for name in ["../a.jpg", "a/../../b.jpg", "a/..", "", "/", "./", "a\0.jpg", &"a".repeat(5000)] {
            assert!(clean(name.as_bytes(), false).is_err(), "{name}");
        }
        assert!(clean(b"..\\a.jpg", true).is_err());
        assert_eq!(shown(b"a\0.jpg"), "a\\x00.jpg");
    }
}
