//! The text of the pipeline and the place of every key in it, so that later checks can report the line of a key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use featurize_remote::Address;

use super::keys::STAGES;
use super::tree::{Node, Value};

/// The place of a key or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the YAML file.
    File(Span),
    /// On the command line, with the number of the `--set`.
    Set(usize),
}

/// A part of one line, counted in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// At least 1.
    pub len: usize,
}

/// The places of a key and of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    key: Place,
    value: Place,
}

/// The YAML text, the `--set` texts, and the place of each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    file: PathBuf,
    text: String,
    sets: Vec<String>,
    /// The places by dotted path: `reduce.pca.components`, `input.classes[1]`.
    keys: BTreeMap<String, Written>,
}

impl Source {
    pub(super) fn new(file: &Path, text: &str, sets: &[String]) -> Self {
        Self { file: file.to_owned(), text: text.to_owned(), sets: sets.to_vec(), keys: BTreeMap::new() }
    }

    /// The YAML file, as it was given.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The whole text of the YAML file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The `key.path=value` texts of the command line.
    pub fn sets(&self) -> &[String] {
        &self.sets
    }

    /// Whether `key` (`runtime.batch_size`) is written in the file or by `--set`, with a value other than null.
    pub fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// The path of `key` as the user wrote it: if `train` is a list, `train[0].mlp` for `train.candidates[0].mlp`.
    pub(super) fn written(&self, key: &str) -> String {
        match key.strip_prefix("train.candidates[") {
            Some(rest) if !self.has("train.candidates") => format!("train[{rest}"),
            _ => key.to_string(),
        }
    }

    /// The place of the value of `key`. If the key is not written, the place of the nearest section around it; `None`
    /// if there is no such section.
    pub(super) fn place(&self, key: &str) -> Option<Place> {
        if let Some(written) = self.keys.get(key) {
            return Some(written.value);
        }
        let mut path = key;
        while let Some(end) = path.rfind(['.', '[']) {
            path = &path[..end];
            if let Some(written) = self.keys.get(path) {
                return Some(written.key);
            }
        }
        None
    }

    /// Resolves a path that is the value of `key`. It is relative to the folder of the YAML file, or to the current
    /// folder if `--set` gave it. `folder/..` is removed where this does not change the meaning. A URL (`s3://bucket`)
    /// is not changed.
    pub(super) fn resolve(&self, key: &str, path: &Path) -> PathBuf {
        if Address::of(path).is_some() {
            return path.to_owned();
        }
        let base = match self.place(key) {
            Some(Place::Set(_)) => None,
            _ => self.file.parent(),
        };
        fold(&base.map_or_else(|| path.to_owned(), |folder| folder.join(path)))
    }

    pub(super) fn index(&mut self, tree: &Node) {
        self.keys.clear();
        self.index_below("", tree);
    }

    fn index_below(&mut self, path: &str, node: &Node) {
        match &node.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    let path = join(path, &key.name);
                    if !matches!(value.value, Value::Null) {
                        self.keys.insert(path.clone(), Written { key: key.place, value: value.place });
                    } else if STAGES.contains(&path.as_str()) {
                        // the section is written, but empty
                        self.keys.insert(path.clone(), Written { key: key.place, value: key.place });
                    }
                    self.index_below(&path, value);
                }
            }
            Value::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    let path = format!("{path}[{i}]");
                    self.keys.insert(path.clone(), Written { key: item.place, value: item.place });
                    self.index_below(&path, item);
                }
            }
            Value::Null | Value::Scalar(_) => {}
        }
    }
}

/// The dotted path of `key` in the section `path`; the path of the top level is empty.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Removes `.` and `folder/..` from a path. If `folder` is a symbolic link, `folder/..` is kept, since the parent of
/// its target is another folder.
fn fold(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut folded = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(folded.components().next_back(), Some(Component::Normal(_))) => {
                if folded.is_symlink() {
                    folded.push("..");
                } else {
                    folded.pop();
                }
            }
            _ => folded.push(part),
        }
    }
    if folded.as_os_str().is_empty() { PathBuf::from(".") } else { folded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_parents_by_text() {
        for (path, folded) in [
            ("pipelines/../data/fruits", "data/fruits"),
            ("./a/./b", "a/b"),
            ("../a", "../a"),
            ("../../a/../b", "../../b"),
            ("a/..", "."),
            ("/a/../../b", "/../b"),
        ] {
            assert_eq!(fold(Path::new(path)), Path::new(folded), "{path}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn keeps_the_parent_of_a_link() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("real"), dir.path().join("link")).unwrap();
        assert_eq!(fold(&dir.path().join("link/../x")), dir.path().join("link/../x"));
        assert_eq!(fold(&dir.path().join("real/../x")), dir.path().join("x"));
    }
}
