//! Addresses, as they stand where paths may stand.

use std::path::Path;

/// Where a file lies that is not on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address<'a> {
    /// Of http or https.
    Url(&'a str),
    /// In a bucket.
    Object {
        /// `s3://bucket`
        bucket: &'a str,
        /// The key of an object, or how the keys of several begin.
        key: &'a str,
    },
}

impl<'a> Address<'a> {
    /// The address that stands in the place of a path; none for a path.
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
