//! The run store: the records of the stages, the paths of their files, and the rules for writing them.
//!
//! A stage writes its files first and its record last. A record is valid while the plan asks for its fingerprint and
//! its files exist, so a run that was killed at any moment continues from the records. `owner.rs` decides which files
//! belong to the run.

mod layout;
mod lease;
mod lock;
mod owner;
mod record;
mod summary;

pub use layout::{CHARTS, RunDir, is_own};
pub use lock::Lock;
pub use owner::{Claims, Owner, Writes};
pub use record::{OutputFile, Record};
pub use summary::{ClassScore, Summary, flat};

use std::path::PathBuf;

use serde::Serialize;
use thiserror::Error;

use crate::io::IoError;

/// The version of the store. It is part of every fingerprint, and it is raised when the meaning of the store's files
/// changes, so that old runs are computed anew.
pub const FORMAT: u32 = 1;

/// The run folder cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("another featurize is at work in {dir}{holder}; wait for it, or choose another folder with `--out`")]
    Locked { dir: PathBuf, holder: String },
    #[error(
        "{dir} holds the run of another pipeline: it is called `{there}`, this one `{name}`; choose another folder \
         with `--out`, or delete that run with `featurize clean {dir} --all --yes`"
    )]
    OtherPipeline { dir: PathBuf, there: String, name: String },
    /// The run would write to names of files that are not its own.
    #[error(
        "the run would write to {}, and no record says that featurize has made what is there; move it away, or \
         choose another folder with `--out`",
        listed(.0)
    )]
    Foreign(Vec<PathBuf>),
    #[error(transparent)]
    Io(#[from] IoError),
}

/// Lists the first few paths and the number of the others.
fn listed(paths: &[PathBuf]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = paths.iter().take(SHOWN).map(|path| path.display().to_string()).collect();
    let more = paths.len().saturating_sub(SHOWN);
    shown.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

/// Returns the hash of everything that a result depends on: `what` it is, its settings as canonical JSON, and the
/// fingerprints of its inputs.
pub fn fingerprint(what: &str, settings: &impl Serialize, inputs: &[&str]) -> Result<String, serde_json::Error> {
    let mut hasher = blake3::Hasher::new();
    let settings = serde_json::to_string(settings)?;
    let format = FORMAT.to_string();
    let parts = [what, &format, &settings].into_iter().chain(inputs.iter().copied());
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    Ok(hasher.finalize().to_hex()[..32].to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_depends_on_each_part_and_its_borders() {
        let base = fingerprint("reduce", &64, &["ab", "c"]).expect("JSON");
        assert_eq!(base, fingerprint("reduce", &64, &["ab", "c"]).expect("JSON"));
        for other in [
            fingerprint("select", &64, &["ab", "c"]),
            fingerprint("reduce", &65, &["ab", "c"]),
            fingerprint("reduce", &64, &["a", "bc"]),
            fingerprint("reduce", &64, &["ab"]),
        ] {
            assert_ne!(base, other.expect("JSON"));
        }
    }
}
