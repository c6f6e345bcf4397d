//! Remote addresses, which may be given in place of paths.

use std::path::Path;

/// The address of a file on another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address<'a> {
    /// An http or https URL.
    Url(&'a str),
    /// An object in a bucket.
    Object {
        /// `s3://bucket`
        bucket: &'a str,
        /// The key of an object, or the prefix of the keys of several.
        key: &'a str,
    },
}

impl<'a> Address<'a> {
    /// The address that `path` holds; none where it is a path of this machine.
    pub fn of(path: &'a Path) -> Option<Self> {
        let text = path.to_str()?;
        let (scheme, rest) = text.split_once("://")?;
        match scheme {
            "http" | "https" => Some(Self::Url(text)),
            "s3" | "gs" | "az" => {
                let end = rest.find('/').unwrap_or(rest.len());
                let bucket = &text[..scheme.len() + 3 + end];
                Some(Self::Object { bucket, key: rest[end..].trim_start_matches('/') })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        let of = |text| Address::of(Path::new(text));
        assert_eq!(of("https://example.org/a b.jpg"), Some(Address::Url("https://example.org/a b.jpg")));
        let object = |bucket, key| Some(Address::Object { bucket, key });
        assert_eq!(of("s3://b/x/y.jpg"), object("s3://b", "x/y.jpg"));
        assert_eq!(of("az://b"), object("az://b", ""));
        assert_eq!(of("gs://b//x/"), object("gs://b", "x/"));
        for path in ["a.jpg", "/a/b", "http:/a", "ftp://a/b", "C://x", "photos/https://a/b"] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
