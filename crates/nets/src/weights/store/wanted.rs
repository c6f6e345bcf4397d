//! The weights that the user asks for (a row of the registry, a file on the Hugging Face hub, a URL, or a name that the
//! user registered), and the files that have them.

use std::fmt;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::digest::{Expected, hex};
use super::{StoreError, own};
use crate::models::spec::FileSpec;
use crate::models::{ModelSpec, Source, WeightsSpec};

/// The default URL of the hub; `HF_ENDPOINT` replaces it.
pub(super) const HUB: &str = "https://huggingface.co";

/// Endings of the store's own files; no published file may have one of them.
pub(super) const RECORD: &str = ".record.json";
pub(super) const PART: &str = ".part";
pub(super) const PART_RECORD: &str = ".part.json";
pub(super) const LOCK: &str = ".lock";
pub(super) const NETWORK: &str = ".network.json";
pub(super) const ENDINGS: [&str; 5] = [RECORD, PART, PART_RECORD, LOCK, NETWORK];

/// The folder of registered weights, and the name of the file in the folder of each.
pub(super) const OWN: &str = "own";
pub(super) const WEIGHTS: &str = "weights";

/// The weights that the user asks for.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Weights of the registry. Unless `top`, a file without the classifier on top is accepted, and downloaded if there
    /// is one.
    Known { model: &'static ModelSpec, weights: &'static WeightsSpec, top: bool },
    /// A file on the Hugging Face hub.
    Hub(HubFile),
    /// A URL, optionally with the SHA-256 that its file must have.
    Url { url: String, sha256: Option<String> },
    /// Weights that the user registered under this name.
    Own(String),
}

/// A file on the Hugging Face hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// User or organisation.
    pub owner: String,
    /// Name of the repository.
    pub repo: String,
    /// Path of the file in the repository, with `/`.
    pub file: String,
    /// Branch, tag or commit.
    pub revision: String,
}

/// A file that has the weights: its URL, its place in the store, its name in other caches, and its hash.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Its URL, or that of its package's page.
    pub url: String,
    /// The file on the hub, if it is published there.
    pub hub: Option<HubFile>,
    /// Its place below the store's folder.
    pub place: PathBuf,
    /// The library whose cache may have it, and its name there.
    pub cached: Option<(Source, &'static str)>,
    /// Its known hash.
    pub expected: Expected,
    /// Whether it has the classifier on top.
    pub top: bool,
}

impl Item {
    /// Whether its URL is the page of a package that contains it.
    pub(super) fn is_in_a_package(&self) -> bool {
        self.url.ends_with('/')
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known { model, weights, .. } => write!(f, "the weights `{}` of {}", weights.name, model.name),
            Self::Hub(hub) => write!(f, "{hub}"),
            Self::Url { url, .. } => f.write_str(url),
            Self::Own(name) => write!(f, "the weights `{name}`"),
        }
    }
}

impl fmt::Display for HubFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf:{}/{}/{}@{}", self.owner, self.repo, self.file, self.revision)
    }
}

impl Wanted {
    /// Parses `hf:owner/repo/path/file[@revision]`, `https://…` or `http://…`, the last two optionally with
    /// `#sha256=…`; `None` when `text` has none of these forms, an error when it has one but is invalid.
    pub fn parse(text: &str) -> Result<Option<Self>, StoreError> {
        let wrong = |reason| StoreError::Spec { text: text.to_string(), reason };
        if let Some(rest) = text.strip_prefix("hf:") {
            let hub = HubFile::parse(rest);
            return hub.map(|hub| Some(Self::Hub(hub))).ok_or_else(|| wrong("expected hf:owner/repo/file[@revision]"));
        }
        let Some((scheme, _)) = text.split_once("://") else { return Ok(None) };
        if !["https", "http"].contains(&scheme) {
            return Err(wrong("weights are fetched by https"));
        }
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let address = url.parse::<ureq::http::Uri>().ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
        let address = address.ok_or_else(|| wrong("this is no address"))?;
        if address.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("a user name or a password does not belong into an address"));
        }
        let sha256 = match fragment.strip_prefix("sha256=") {
            Some(digits) => Some(as_sha256(digits).ok_or_else(|| wrong("`#sha256=` wants 64 hexadecimal digits"))?),
            None => None,
        };
        match HubFile::of_url(url) {
            Some(hub) if sha256.is_none() => Ok(Some(Self::Hub(hub))),
            _ => Ok(Some(Self::Url { url: url.to_string(), sha256 })),
        }
    }

    /// The files that have the weights, the one to download first; none if the weights are bundled.
    pub(super) fn items(&self) -> Vec<Item> {
        match self {
            Self::Known { model, weights, top } => {
                let items = weights.files.iter().map(|file| known(model, weights, file));
                let mut items: Vec<Item> = items.filter(|item| item.top || !top).collect();
                // files without the classifier on top first, since they are smaller; the sort is stable
                items.sort_by_key(|item| item.top);
                items
            }
            Self::Hub(hub) => vec![Item {
                url: hub.url(HUB),
                place: hub.place(),
                hub: Some(hub.clone()),
                cached: None,
                expected: Expected::default(),
                top: true,
            }],
            Self::Url { url, sha256 } => vec![Item {
                url: url.clone(),
                hub: HubFile::of_url(url),
                place: place_of_url(url),
                cached: None,
                expected: Expected { sha256: sha256.clone(), md5: None },
                top: true,
            }],
            Self::Own(name) => vec![own::item(name)],
        }
    }
}

impl HubFile {
    /// `owner/repo/path/file[@revision]`.
    fn parse(text: &str) -> Option<Self> {
        let (path, revision) = text.rsplit_once('@').unwrap_or((text, "main"));
        let mut parts = path.splitn(3, '/');
        let hub = Self {
            owner: parts.next()?.to_string(),
            repo: parts.next()?.to_string(),
            file: parts.next()?.to_string(),
            revision: revision.to_string(),
        };
        hub.is_sound().then_some(hub)
    }

    /// The file on the hub that a URL names.
    pub(super) fn of_url(url: &str) -> Option<Self> {
        let path = url.strip_prefix(HUB)?.strip_prefix('/')?;
        let path = path.split(['?', '#']).next()?;
        let [owner, repo, "resolve", revision, file] = path.splitn(5, '/').collect::<Vec<_>>()[..] else { return None };
        let [owner, repo, file, revision] = [owner, repo, file, revision].map(str::to_string);
        let hub = Self { owner, repo, file, revision };
        hub.is_sound().then_some(hub)
    }

    /// No part may be empty, lead out of its folder or need quoting in a URL.
    fn is_sound(&self) -> bool {
        let plain = |part: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "._-+=".contains(c);
            !part.is_empty() && !part.starts_with("..") && part != "." && part.chars().all(allowed)
        };
        let path = |text: &str| text.split('/').all(plain);
        plain(&self.owner) && plain(&self.repo) && path(&self.file) && path(&self.revision)
    }

    /// Its URL at `endpoint`.
    pub(super) fn url(&self, endpoint: &str) -> String {
        let Self { owner, repo, file, revision } = self;
        let revision = revision.replace('/', "%2F");
        format!("{endpoint}/{owner}/{repo}/resolve/{revision}/{file}")
    }

    fn place(&self) -> PathBuf {
        let mut place: PathBuf = ["hf", &self.owner, &self.repo].iter().collect();
        place.push(self.revision.replace('/', "--"));
        let mut segments: Vec<&str> = self.file.split('/').collect();
        let name = segments.pop().map(safe_name).unwrap_or_default();
        place.extend(segments);
        place.join(name)
    }
}

fn known(model: &'static ModelSpec, weights: &WeightsSpec, file: &'static FileSpec) -> Item {
    let source = weights.source.word();
    let mut place: PathBuf = [model.name, source].iter().collect();
    // the default weights of a library are in the library's folder, as in older versions
    let is_default = model.weights(source).is_none_or(|default| default.name == weights.name);
    if let Some((_, name)) = weights.name.split_once(':').filter(|_| !is_default && !file.is_told_by_its_name()) {
        place.push(safe_name(name));
    }
    place.push(safe_name(file.name));
    let hub = HubFile::of_url(file.url);
    let cached = file.is_told_by_its_name().then_some((weights.source, file.name));
    Item { url: file.url.to_string(), hub, place, cached, expected: file.hash.into(), top: file.top }
}

fn place_of_url(url: &str) -> PathBuf {
    let digest = hex(&Sha256::digest(url));
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or("", |(_, rest)| rest);
    let name = path.split_once('/').map_or("", |(_, path)| path.rsplit('/').next().unwrap_or_default());
    ["url", &digest[..16], &safe_name(name)].iter().collect()
}

/// `name` without characters and endings that have a meaning to file systems or to the store.
fn safe_name(name: &str) -> String {
    const LONGEST: usize = 150;
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-+=".contains(c) { c } else { '_' };
    let mut name: String = name.chars().map(safe).collect();
    // the end is kept: it has the file type
    name = name.split_off(name.len().saturating_sub(LONGEST));
    if name.is_empty() {
        name = "weights".into();
    }
    if name.starts_with('.') {
        name.replace_range(..1, "_");
    }
    if ENDINGS.iter().any(|ending| name.ends_with(ending)) {
        name.push('_');
    }
    name
}

/// `text` in lower case, if it is a SHA-256 in hexadecimal.
pub(super) fn as_sha256(text: &str) -> Option<String> {
    (text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}
