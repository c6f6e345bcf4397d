//! Collects the members of an archive: with clean names, by the rules of folders, and one member per name.

use std::collections::{HashMap, HashSet};

use super::name::{clean, shown};
use super::sidecar::{self, Classes};
use super::{ListError, Member, Met, Reason, too_many};
use crate::stages::scan::{Kind, folder_left_out, left_out};

/// The members so far.
#[derive(Debug)]
pub(super) struct Gathered {
    met: Vec<Met>,
    /// The members by path.
    places: HashMap<String, usize>,
    /// Folders whose members are left out.
    folders: HashSet<String>,
    classes: Classes,
    replaced: usize,
    most: usize,
}

impl Gathered {
    /// Collects at most `most` members.
    pub(super) fn new(most: usize) -> Self {
        let (met, places, folders, classes) = Default::default();
        Self { met, places, folders, classes, replaced: 0, most }
    }

    pub(super) fn len(&self) -> usize {
        self.met.len()
    }

    /// The path of a member from its name; none if the name or one of its folders leaves the member out, which is
    /// noted.
    pub(super) fn path(&mut self, name: &[u8], backslashes: bool) -> Result<Option<String>, ListError> {
        if self.met.len() >= self.most {
            return Err(too_many(self.most));
        }
        let path = match clean(name, backslashes) {
            Ok(path) => path,
            Err(text) => {
                self.leave(shown(name), Reason::new(Kind::BadName, text));
                return Ok(None);
            }
        };
        let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
        for folder in folders {
            let Some((kind, text)) = folder_left_out(folder.rsplit('/').next().unwrap_or_default()) else { continue };
            if self.folders.insert(folder.to_string()) {
                self.leave(format!("{folder}/"), Reason::new(kind, text));
            }
            return Ok(None);
        }
        Ok(Some(path))
    }

    /// The reason why a file of this path is not a picture, by the rules of folders.
    pub(super) fn rule(path: &str) -> Result<(), Reason> {
        match left_out(path.rsplit('/').next().unwrap_or_default()) {
            Some((kind, text)) => Err(Reason { kind, text }),
            None => Ok(()),
        }
    }

    /// Whether the member should be read for [`told`](Self::told), since it may contain a class.
    pub(super) fn may_tell(path: &str, bytes: u64) -> bool {
        sidecar::may_tell(path, bytes)
    }

    /// Takes the contents of a member that may contain the class of others.
    pub(super) fn told(&mut self, path: &str, contents: &[u8]) {
        self.classes.take(path, contents);
    }

    /// Adds a member; of several with one name the last is used, as when an archive is unpacked.
    pub(super) fn add(&mut self, path: String, content: Result<Member, Reason>) {
        if let Some(old) = self.places.insert(path.clone(), self.met.len()) {
            self.met[old].path.clear();
            self.replaced += 1;
        }
        self.met.push(Met { path, content, label: None });
    }

    fn leave(&mut self, path: String, reason: Reason) {
        self.met.push(Met { path, content: Err(reason), label: None });
    }

    /// Returns all members, and the fault of the archive if it has one.
    pub(super) fn finish(mut self, of_archive: Option<Reason>) -> Vec<Met> {
        self.met.retain(|met| !met.path.is_empty());
        std::mem::take(&mut self.classes).tell(&mut self.met);
        if self.replaced > 0 {
            let text = "members of it have the name of a later one, which counts";
            self.leave(String::new(), Reason::new(Kind::Duplicate, text));
        }
        of_archive.into_iter().for_each(|reason| self.leave(String::new(), reason));
        self.met
    }
}
