//! The folders where weights may be: the store's own folder by the platform's convention, and the caches of Hugging
//! Face, torch hub and Keras.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::wanted::{HUB, HubFile, Item};
use crate::models::Source;

/// The settings of the environment, read once.
#[derive(Clone, Debug)]
pub struct Env {
    /// The store's own folder: `FEATURIZE_WEIGHTS`, else `featurize/weights` in the platform's folder for caches.
    pub weights: Option<PathBuf>,
    /// Hugging Face's cache: `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else in `huggingface` of the user's cache.
    pub hub: Option<PathBuf>,
    /// Torch hub's files: `hub/checkpoints` in `TORCH_HOME`, else in `torch` of the user's cache.
    pub torch: Option<PathBuf>,
    /// The files of `keras.applications`: `models` in `KERAS_HOME`, else in `~/.keras`.
    pub keras: Option<PathBuf>,
    /// URL of the hub, without `/` at its end: `HF_ENDPOINT`.
    pub endpoint: String,
    /// `HF_TOKEN`, sent only to the hub.
    pub token: Option<Token>,
    /// `HF_HUB_OFFLINE`.
    pub offline: bool,
    /// `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`, except for hosts in `NO_PROXY`.
    pub proxy: Option<ureq::Proxy>,
}

/// An access token of the hub; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The folder in which a file was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The store's own folder.
    Store,
    /// Hugging Face's cache.
    HuggingFace,
    /// Torch hub's cache.
    TorchHub,
    /// Keras' cache.
    Keras,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "store",
            Self::HuggingFace => "Hugging Face cache",
            Self::TorchHub => "torch hub cache",
            Self::Keras => "Keras cache",
        })
    }
}

impl Env {
    /// The settings of this process.
    pub fn process() -> Self {
        let mut env = Self::read(|name| std::env::var_os(name), std::env::home_dir());
        env.proxy = ureq::Proxy::try_from_env();
        env
    }

    /// Reads the settings from variables and the user's home; without proxy.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let folder = |name: &str| set(name).map(|value| with_home(PathBuf::from(value), home.as_deref()));
        let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
        let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
        // by the XDG standard relative paths are ignored
        let cache = folder("XDG_CACHE_HOME").filter(|path| path.is_absolute()).or_else(|| below_home(".cache"));
        let below_cache = |path: &str| cache.as_ref().map(|cache| cache.join(path));
        let platform = if cfg!(windows) {
            folder("LOCALAPPDATA").or_else(|| below_home("AppData/Local"))
        } else if cfg!(target_os = "macos") {
            below_home("Library/Caches")
        } else {
            cache.clone()
        };
        let hub_home = || folder("HF_HOME").or_else(|| below_cache("huggingface")).map(|home| home.join("hub"));
        let torch = folder("TORCH_HOME").or_else(|| below_cache("torch"));
        let keras = folder("KERAS_HOME").or_else(|| below_home(".keras"));
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| HUB.into());
        let offline = text("HF_HUB_OFFLINE").map(|value| value.to_ascii_uppercase());
        Self {
            weights: folder("FEATURIZE_WEIGHTS").or_else(|| platform.map(|cache| cache.join("featurize/weights"))),
            hub: folder("HF_HUB_CACHE").or_else(|| folder("HUGGINGFACE_HUB_CACHE")).or_else(hub_home),
            torch: torch.map(|torch| torch.join("hub/checkpoints")),
            keras: keras.map(|keras| keras.join("models")),
            endpoint: endpoint.trim_end_matches('/').to_string(),
            token: text("HF_TOKEN").map(|token| Token(token.trim().to_string())),
            offline: offline.is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.as_str())),
            proxy: None,
        }
    }

    /// The paths outside the store where `item` may be, each with its cache.
    pub(super) fn caches(&self, item: &Item) -> Vec<(Place, PathBuf)> {
        let mut paths = Vec::new();
        if let (Some(hub), Some(file)) = (&self.hub, &item.hub) {
            paths.push((Place::HuggingFace, hub_file(hub, file)));
        }
        let cache = item.cached.and_then(|(source, name)| match source {
            Source::Keras => Some((Place::Keras, self.keras.as_ref()?.join(name))),
            _ => Some((Place::TorchHub, self.torch.as_ref()?.join(name))),
        });
        paths.extend(cache);
        paths
    }
}

/// The path of a file in Hugging Face's cache: below the commit at which the revision was last seen.
fn hub_file(cache: &Path, file: &HubFile) -> PathBuf {
    let repository = cache.join(format!("models--{}--{}", file.owner, file.repo));
    let commit = std::fs::read_to_string(repository.join("refs").join(&file.revision));
    let commit = commit.ok().map(|text| text.trim().to_string());
    let commit = commit.filter(|text| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric()));
    repository.join("snapshots").join(commit.as_ref().unwrap_or(&file.revision)).join(&file.file)
}

/// The hash of a file in Hugging Face's cache: large files are links to files that are named by their SHA-256.
pub(super) fn hub_hash(path: &Path) -> Option<String> {
    let blob = path.canonicalize().ok()?;
    super::wanted::as_sha256(blob.file_name()?.to_str()?)
}

fn with_home(path: PathBuf, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}
