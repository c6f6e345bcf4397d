//! Finds files whose names in a table differ from those on disk: without extension, without folder, or in other letter
//! case.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

use super::list::{has_ending, left_out, met};

/// An index of the pictures below a root; a folder is read when a name in it is first looked up.
pub struct Elsewhere {
    root: PathBuf,
    folders: HashMap<PathBuf, Names>,
    /// Every picture below the root, by its name and by its name without extension.
    all: Option<HashMap<OsString, Vec<PathBuf>>>,
}

/// The names in a folder.
#[derive(Default)]
struct Names {
    by_stem: HashMap<OsString, Vec<OsString>>,
    /// The names by their normalized form (NFC, lower case).
    by_letters: HashMap<String, OsString>,
}

impl Names {
    fn of(folder: &Path) -> Self {
        let mut names = Self::default();
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let mut pictures: Vec<OsString> = entries.filter(|name| left_out(&name.to_string_lossy()).is_none()).collect();
        pictures.sort();
        for name in pictures {
            names.by_stem.entry(stem(&name).to_os_string()).or_default().push(name.clone());
            names.by_letters.insert(letters(&name), name);
        }
        names
    }
}

impl Elsewhere {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf(), folders: HashMap::new(), all: None }
    }

    /// Finds the picture for a path without extension: the only one of this name in its folder.
    pub fn beside(&mut self, path: &Path) -> Result<Option<PathBuf>, String> {
        let Some(name) = path.file_name().filter(|name| !has_ending(name)) else { return Ok(None) };
        let found = self.names(path).by_stem.get(name).map_or(&[][..], Vec::as_slice);
        match found {
            [] => Ok(None),
            [one] => Ok(Some(path.with_file_name(one))),
            [one, other, ..] => {
                let [name, one, other] = [name, one, other].map(OsStr::to_string_lossy);
                Err(format!("`{name}` may be `{one}` or `{other}`; write the ending"))
            }
        }
    }

    /// Finds the picture for a name without folder, in any folder below the root.
    pub fn anywhere(&mut self, path: &Path) -> Result<Option<PathBuf>, String> {
        let Some(name) = path.file_name().filter(|name| path.as_os_str() == *name) else { return Ok(None) };
        let root = &self.root;
        let all = self.all.get_or_insert_with(|| by_name(root));
        match all.get(name).map_or(&[][..], Vec::as_slice) {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            [one, other, ..] => {
                let [name, one, other] = [path, one, other].map(|path| path.display());
                Err(format!("`{name}` may be {one} or {other}; write the path below `input.root`"))
            }
        }
    }

    /// If there is no such file but its folder has one with nearly the same name, returns the reason for the error.
    pub fn nearly(&mut self, path: &Path) -> Option<&'static str> {
        let name = path.file_name()?;
        let near = self.names(path).by_letters.get(&letters(name))?;
        Some(match near.to_string_lossy().to_lowercase() == name.to_string_lossy().to_lowercase() {
            true => "there is no such file; there is one whose name differs in upper and lower case",
            false => "there is no such file; there is one whose name differs in how Unicode composes its letters",
        })
    }

    fn names(&mut self, path: &Path) -> &Names {
        let folder = path.parent().unwrap_or(Path::new(""));
        let whole = self.root.join(folder);
        self.folders.entry(folder.to_path_buf()).or_insert_with(|| Names::of(&whole))
    }
}

fn by_name(root: &Path) -> HashMap<OsString, Vec<PathBuf>> {
    let candidates = met(root).map(|found| found.candidates).unwrap_or_default();
    let mut all: HashMap<OsString, Vec<PathBuf>> = HashMap::new();
    for candidate in candidates {
        let path = candidate.raw.unwrap_or_else(|| candidate.path.into());
        let Some(name) = path.file_name() else { continue };
        let names = [Some(name), Some(stem(name)).filter(|stem| *stem != name)];
        names.into_iter().flatten().for_each(|name| all.entry(name.into()).or_default().push(path.clone()));
    }
    all
}

/// A name without the extension of a picture.
fn stem(name: &OsStr) -> &OsStr {
    Path::new(name).file_stem().filter(|_| has_ending(name)).unwrap_or(name)
}

fn letters(name: &OsStr) -> String {
    name.to_string_lossy().nfc().collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_where_only_one_file_can_be_meant() {
        let dir = tempfile::tempdir().expect("folder");
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("one/two")).expect("folders");
        for name in
            ["one/a.jpg", "one/b.jpg", "one/b.png", "one/c.txt", "one/two/a.jpg", "one/two/d.v2.jpg", "one/E.jpg"]
        {
            std::fs::write(at(name), b"x").expect("written");
        }
        std::fs::write(at("one/e\u{301}.jpg"), b"x").expect("written");
        let mut elsewhere = Elsewhere::new(dir.path());
        let mut beside = |path: &str| elsewhere.beside(Path::new(path));
        assert_eq!(beside("one/a"), Ok(Some("one/a.jpg".into())));
        assert_eq!(beside("one/two/d.v2"), Ok(Some("one/two/d.v2.jpg".into())));
        assert_eq!(beside("one/b"), Err("`b` may be `b.jpg` or `b.png`; write the ending".into()));
        for path in ["one/c", "one/a.png", "a", "two/a"] {
            assert_eq!(beside(path), Ok(None), "{path}");
        }
        let mut anywhere = |path: &str| elsewhere.anywhere(Path::new(path));
        assert_eq!(anywhere("d.v2"), Ok(Some("one/two/d.v2.jpg".into())));
        assert_eq!(anywhere("b.png"), Ok(Some("one/b.png".into())));
        assert!(anywhere("a").is_err_and(|reason| reason.contains("one/a.jpg or one/two/a.jpg")));
        for path in ["one/d.v2", "d.v2.png", "f"] {
            assert_eq!(anywhere(path), Ok(None), "{path}");
        }
        let mut nearly = |path: &str| elsewhere.nearly(Path::new(path)).unwrap_or_default();
        assert!(nearly("one/e.JPG").contains("upper and lower case"));
        assert!(nearly("one/\u{e9}.jpg").contains("composes"));
        assert_eq!(nearly("one/f.jpg"), "");
    }
}
