//! Classes in WebDataset: members of one sample have the same path up to the first dot of their base name, such as
//! `a/0001.jpg` and `a/0001.cls`. After `webdataset/tariterators.py`, `base_plus_ext` and `group_by_keys` (Apache-2.0).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Met;
use crate::stages::scan::shared;

/// Extensions of members that contain a class; the first one that exists is used.
const ENDINGS: [&str; 3] = ["cls", "txt", "json"];
/// Keys of a JSON object that contain a class; the first one that exists is used.
const KEYS: [&str; 3] = ["cls", "label", "class"];
/// The longest member that is read for a class.
pub(crate) const LONGEST: u64 = 1 << 16;
/// The longest class, in bytes.
const CLASS: usize = 4096;

/// Splits a path at the first dot of its base name.
pub(crate) fn split(path: &str) -> Option<(&str, &str)> {
    let base = path.rfind('/').map_or(0, |slash| slash + 1);
    let dot = base + path[base..].find('.').filter(|&dot| dot > 0)?;
    Some((&path[..dot], &path[dot + 1..]))
}

/// The rank of a member's extension, if it may contain a class.
fn rank(path: &str) -> Option<usize> {
    let (_, ending) = split(path)?;
    ENDINGS.iter().position(|one| ending.eq_ignore_ascii_case(one))
}

/// Whether a member should be read for a class.
pub(crate) fn may_tell(path: &str, bytes: u64) -> bool {
    bytes <= LONGEST && rank(path).is_some()
}

/// The class in the contents of a member.
fn class(path: &str, contents: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(contents).ok()?.trim();
    let class = match ENDINGS[rank(path)?] {
        "json" => {
            let value: serde_json::Value = serde_json::from_str(text).ok()?;
            let value =
                value.as_object().and_then(|object| KEYS.iter().find_map(|key| object.get(*key))).unwrap_or(&value);
            match value {
                serde_json::Value::String(text) => text.trim().to_string(),
                serde_json::Value::Number(number) if !number.is_f64() => number.to_string(),
                _ => return None,
            }
        }
        _ => text.to_string(),
    };
    (!class.is_empty() && class.len() <= CLASS).then_some(class)
}

/// Classes of the samples of an archive.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    /// The class by the path up to the first dot, with the rank of the member that contained it.
    samples: HashMap<String, (usize, Arc<str>)>,
    /// The shared copy of each class.
    known: BTreeSet<Arc<str>>,
}

impl Classes {
    /// Reads the class from a member that [may contain](may_tell) one.
    pub(crate) fn take(&mut self, path: &str, contents: &[u8]) {
        let told = class(path, contents).zip(rank(path)).zip(split(path));
        let Some(((class, rank), (stem, _))) = told else { return };
        if self.samples.get(stem).is_none_or(|(known, _)| rank < *known) {
            let class = shared(&mut self.known, &class);
            self.samples.insert(stem.to_string(), (rank, class));
        }
    }

    /// Gives every member the class of its sample; members that contain only a class are removed.
    pub(crate) fn tell(self, members: &mut Vec<Met>) {
        if self.samples.is_empty() {
            return;
        }
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for member in members.iter_mut().filter(|member| member.content.is_ok() && rank(&member.path).is_none()) {
            let known = split(&member.path).and_then(|(stem, _)| self.samples.get_key_value(stem));
            if let Some((stem, (_, class))) = known {
                member.label = Some(class.clone());
                told.insert(stem);
            }
        }
        members.retain(|member| {
            rank(&member.path).is_none() || split(&member.path).is_none_or(|(stem, _)| !told.contains(stem))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_named_up_to_the_first_dot_of_its_base_name() {
        for (path, parts) in [
            ("0001.jpg", Some(("0001", "jpg"))),
            ("a.b/0001.seg.png", Some(("a.b/0001", "seg.png"))),
            ("a.b/0001", None),
            (".hidden", None),
            ("a/.hidden.jpg", None),
        ] {
            assert_eq!(split(path), parts, "{path}");
        }
    }

    #[test]
    fn classes_are_read_as_webdataset_writes_them() {
        for (path, contents, wanted) in [
            ("a.cls", "7\n", Some("7")),
            ("a.CLS", " kiwi ", Some("kiwi")),
            ("a.json", r#"{"width": 3, "label": "kiwi"}"#, Some("kiwi")),
            ("a.json", r#"{"label": "kiwi", "cls": 3}"#, Some("3")),
            ("a.json", "\"kiwi\"", Some("kiwi")),
            ("a.json", r#"{"label": [1]}"#, None),
            ("a.json", r#"{"label": 0.5}"#, None),
            ("a.json", "{", None),
            ("a.txt", "", None),
            ("a.meta.json", "3", None),
        ] {
            assert_eq!(class(path, contents.as_bytes()).as_deref(), wanted, "{path} {contents}");
        }
        let mut classes = Classes::default();
        classes.take("b/1.txt", b"a caption");
        classes.take("b/1.cls", b"4");
        classes.take("b/1.json", b"5");
        assert_eq!(classes.samples["b/1"].1.as_ref(), "4");
    }
}
