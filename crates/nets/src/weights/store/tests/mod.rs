//! The store against a server on this machine and caches in temporary folders.

mod download;
mod lookup;
#[path = "../../../../../remote/src/tests/server.rs"]
mod server;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use featurize_remote::http::Patience;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::digest::hex;
use super::{Env, Found, Progress, Store, StoreError, Wanted};
use crate::models::spec::{FileSpec, Hash};
use crate::models::{MODELS, ModelSpec, Source, WeightsSpec};
use sha2::{Digest, Sha256};

/// A store and caches in a temporary folder.
struct Home {
    dir: TempDir,
    store: Store,
}

impl Home {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// The same with a changed environment.
    fn with(change: impl FnOnce(&mut Env)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut env = Env::read(|_| None, Some(dir.path().to_path_buf()));
        env.weights = Some(dir.path().join("store"));
        change(&mut env);
        let mut store = Store::with(env, None, false).expect("a folder");
        store.patience = Patience {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(5),
            read: Duration::from_secs(5),
            silence: Duration::from_secs(30),
            pause: Duration::from_millis(1),
            repetitions: 4,
        };
        Self { dir, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(&path, bytes).expect("written");
        path
    }

    fn find(&self, wanted: &Wanted) -> (Option<Found>, Vec<String>) {
        let mut notes = Vec::new();
        let found = self.store.find(wanted, &mut |progress| keep(&mut notes, progress));
        (found.expect("found or not"), notes)
    }

    fn get(&self, wanted: &Wanted) -> (Result<Found, StoreError>, Vec<String>) {
        let mut notes = Vec::new();
        let found = self.store.get(wanted, &mut |progress| keep(&mut notes, progress));
        (found, notes)
    }

    /// Gets the file and returns its bytes.
    fn fetch(&self, wanted: &Wanted) -> Vec<u8> {
        let found = self.get(wanted).0.expect("fetched");
        let bytes = std::fs::read(&found.path).expect("there");
        assert_eq!(found.sha256, sha256(&bytes));
        bytes
    }
}

fn keep(notes: &mut Vec<String>, progress: Progress<'_>) -> ControlFlow<()> {
    if let Progress::Note(text) = progress {
        notes.push(text.to_string());
    }
    ControlFlow::Continue(())
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Pseudo-random bytes.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut bytes);
    bytes
}

fn parsed(text: &str) -> Wanted {
    Wanted::parse(text).expect("sound").expect("a place")
}

/// A file of the registry, with leaked texts.
fn published(url: &str, name: &str, hash: Hash, top: bool) -> FileSpec {
    FileSpec { url: url.to_string().leak(), name: name.to_string().leak(), hash, top }
}

/// A model `net` with one row.
fn model(source: Source, files: &[FileSpec]) -> &'static ModelSpec {
    let known = &MODELS[0].weights[0];
    let row = WeightsSpec {
        name: source.word(),
        source,
        files: files.to_vec().leak(),
        sha256: None,
        recipe: known.recipe.clone(),
        classes: 1000,
        top1: None,
        licence: "MIT",
        text_tower: None,
    };
    let model = ModelSpec { name: "net", title: "Net", build: MODELS[0].build, weights: vec![row].leak() };
    &vec![model].leak()[0]
}

fn known(model: &'static ModelSpec, top: bool) -> Wanted {
    Wanted::Known { model, weights: &model.weights[0], top }
}

/// The SHA-256 of `bytes`, with a leaked text.
fn full(bytes: &[u8]) -> Hash {
    Hash::Sha256(sha256(bytes).leak())
}

/// Names of the files in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
