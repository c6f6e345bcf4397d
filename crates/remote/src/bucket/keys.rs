//! Keys that services allow and the crate `object_store` refuses as paths: `a//b.jpg`, `../a.jpg`. It refuses a whole
//! page of a list that has one.

use object_store::path::Path;
use quick_xml::escape::unescape;

/// The tags around an entry of a page, and around its key: for S3 and Google Cloud Storage, and for Azure.
const ENTRIES: [[&str; 4]; 2] =
    [["<Contents>", "</Contents>", "<Key>", "</Key>"], ["<Blob>", "</Blob>", "<Name>", "</Name>"]];

/// Whether an object can be requested by its key, or marks a folder by a `/` at its end.
pub(super) fn is_path(key: &str) -> bool {
    Path::parse(key).is_ok_and(|path| path.as_ref() == key.strip_suffix('/').unwrap_or(key))
}

/// Returns the page of a list without the entries whose keys are refused, and these keys.
pub(super) fn set_aside(page: &str) -> (String, Vec<String>) {
    let (mut kept, mut keys, mut rest) = (String::with_capacity(page.len()), Vec::new(), page);
    let entries = ENTRIES.into_iter().find(|[begin, ..]| page.contains(begin));
    let [begin, end, key_begin, key_end] = entries.unwrap_or(ENTRIES[0]);
    while let Some(at) = rest.find(begin) {
        let Some(length) = rest[at..].find(end).map(|length| length + end.len()) else { break };
        let (before, entry) = (&rest[..at], &rest[at..at + length]);
        kept.push_str(before);
        let key = entry.split_once(key_begin).and_then(|(_, text)| text.split_once(key_end));
        match key.and_then(|(text, _)| unescape(text).ok()) {
            // an empty object that marks a folder is no picture
            Some(key) if !is_path(&key) => keys.extend(Some(key.into_owned()).filter(|key| !key.ends_with('/'))),
            _ => kept.push_str(entry),
        }
        rest = &rest[at + length..];
    }
    kept.push_str(rest);
    (kept, keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_no_paths_are_known() {
        for key in ["a.jpg", "a/b c.jpg", "a/...", "a&b/ä.jpg", "folder/", "a/.b"] {
            assert!(is_path(key), "{key}");
        }
        for key in ["a//b.jpg", "/a.jpg", "./a.jpg", "a/../b.jpg", "a\n.jpg", "a//", "//"] {
            assert!(!is_path(key), "{key}");
        }
    }

    #[test]
    fn a_page_keeps_the_entries_whose_keys_are_paths() {
        let contents = |key: &str| format!("<Contents><Size>1</Size><Key>{key}</Key></Contents>");
        let page = |entries: &[&str]| {
            let entries: String = entries.iter().map(|key| contents(key)).collect();
            format!("<ListBucketResult><Prefix>a//</Prefix>{entries}<X>y</X></ListBucketResult>")
        };
        let (kept, keys) = set_aside(&page(&["a/1.jpg", "a//b&amp;c.jpg", "a/2.jpg", "a&#10;.jpg", "a&#xA;.jpg"]));
        assert_eq!(kept, page(&["a/1.jpg", "a/2.jpg"]));
        assert_eq!(keys, ["a//b&c.jpg", "a\n.jpg", "a\n.jpg"]);
        let azure = "<Blobs><Blob><Name>a//b.jpg</Name></Blob><Blob><Name>c.jpg</Name></Blob></Blobs>";
        let (kept, keys) = set_aside(azure);
        assert_eq!(kept, "<Blobs><Blob><Name>c.jpg</Name></Blob></Blobs>");
        assert_eq!(keys, ["a//b.jpg"]);
        assert_eq!(set_aside(&contents("a//")), (String::new(), vec![]));
        for page in ["", "<Contents>", "<Contents><Key>a//b", "<Error>no</Error>", "<Contents></Contents>"] {
            assert_eq!(set_aside(page), (page.to_string(), vec![]));
        }
    }
}
