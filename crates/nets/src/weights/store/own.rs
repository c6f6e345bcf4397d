//! Weights that the user registers under a name: a copy of the file in the store, and beside it all other facts that
//! the network needs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::{digest, read_record};
use super::wanted::{Item, NETWORK, OWN, WEIGHTS};
use super::{Expected, Found, Store, StoreError, beside};
use crate::files::atomic;
use crate::image::{Exif, Recipe};
use crate::models::{self, Source};

/// The network of registered weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnWeights {
    /// A model of the registry.
    pub model: String,
    /// The library whose network it is.
    pub source: Source,
    /// The place of the network in the file, if the file has more than the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_key: Option<String>,
    /// How pictures were prepared when the weights were trained.
    pub recipe: Recipe,
    /// Whether pictures are turned upright.
    #[serde(default)]
    pub exif: Exif,
    /// The names of the classifier's outputs, if they were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

impl OwnWeights {
    /// Reads the network that was registered with the file at `path`.
    pub fn beside(path: &Path) -> Result<Self, StoreError> {
        let path = beside(path, NETWORK);
        let bytes = std::fs::read(&path).map_err(StoreError::read(&path))?;
        serde_json::from_slice(&bytes).map_err(|error| StoreError::Read { path, error: error.into() })
    }
}

/// Whether `text` has the form of a registered name: letters, digits, `_` and `-`. A file has an extension or a folder
/// instead.
pub fn is_name(text: &str) -> bool {
    const LONGEST: usize = 100;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    text.len() <= LONGEST && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain)
}

/// Refuses a name that is invalid or has another meaning.
pub fn check_name(name: &str) -> Result<(), StoreError> {
    let words = ["default", "bundled", "random"];
    let reason = if !is_name(name) {
        "a name has letters, digits, `_` and `-`, and begins with a letter or a digit"
    } else if models::find(name).is_some() {
        "a network is called so"
    } else if words.contains(&name) || Source::ALL.iter().any(|source| source.word() == name) {
        "`extract.weights` has this word for other weights"
    } else {
        return Ok(());
    };
    Err(StoreError::Name { name: name.to_string(), reason })
}

/// The place of the file below the store's folder.
pub(super) fn place(name: &str) -> PathBuf {
    [OWN, name, WEIGHTS].iter().collect()
}

impl Store {
    /// Copies `file`, whose hash is `own.sha256`, into the store under `name` for the network `own`. An error if the
    /// name has other weights.
    pub fn register(&self, name: &str, file: &Path, own: &OwnWeights) -> Result<Found, StoreError> {
        check_name(name)?;
        let path = self.dir().join(place(name));
        if beside(&path, NETWORK).is_file() && OwnWeights::beside(&path)? != *own {
            return Err(StoreError::Taken(name.to_string()));
        }
        let digests = digest(file, false, &mut || Ok(())).map_err(StoreError::read(file))?;
        if digests.sha256 != own.sha256 {
            let reason = "it is an index of several files, or was written to meanwhile; a name stands for one file";
            return Err(StoreError::Unknown { path: file.to_path_buf(), reason: reason.into() });
        }
        let found = self.copy(file, digests, path)?;
        atomic::write_json(&beside(&found.path, NETWORK), own)?;
        Ok(found)
    }

    /// All registered weights, by name. Those with an unreadable description are left out.
    pub fn registered(&self) -> BTreeMap<String, OwnWeights> {
        let entries = std::fs::read_dir(self.dir().join(OWN)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let read = |name: String| {
            let own = read_record(&beside(&self.dir().join(place(&name)), NETWORK))?;
            Some((name, own))
        };
        names.filter_map(read).collect()
    }

    /// Deletes the copy in the store and the name.
    pub fn unregister(&self, name: &str) -> Result<(), StoreError> {
        let path = self.dir().join(place(name));
        let network = beside(&path, NETWORK);
        if !is_name(name) || !network.is_file() {
            return Err(self.unknown_name(name));
        }
        // without its description the name is not registered, even if the next step fails
        std::fs::remove_file(&network).map_err(StoreError::write(&network))?;
        let folder = path.parent().unwrap_or(&path);
        std::fs::remove_dir_all(folder).map_err(StoreError::write(folder))
    }

    /// The error that no registered weights are called `name`.
    pub(super) fn unknown_name(&self, name: &str) -> StoreError {
        let names: Vec<String> = self.registered().into_keys().map(|name| format!("`{name}`")).collect();
        let known = if names.is_empty() { "none".to_string() } else { names.join(", ") };
        StoreError::NoName { name: name.to_string(), known }
    }
}

/// The item of registered weights.
pub(super) fn item(name: &str) -> Item {
    let (url, hub, cached, expected) = (String::new(), None, None, Expected::default());
    Item { url, hub, place: place(name), cached, expected, top: true }
}
