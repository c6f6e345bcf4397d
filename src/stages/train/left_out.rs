//! The candidates of `train: auto` that are not compared, for the leaderboard.

use serde::{Deserialize, Serialize};

use crate::config;

/// A candidate of `auto` that was not compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The classifier in words.
    pub classifier: String,
    pub why: String,
}

impl LeftOut {
    pub(super) fn new(classifier: String, error: &impl std::fmt::Display) -> Self {
        let why = error.to_string();
        let why = why.strip_prefix("train: ").unwrap_or(&why);
        // the error begins with the kind of the classifier, as its name does
        let is_kind = |kind: &str| classifier.split(' ').next() == Some(kind);
        let why = why.split_once(": ").filter(|(kind, _)| is_kind(kind)).map_or(why, |(_, why)| why).to_string();
        Self { classifier, why }
    }

    /// The settings that are left after a check, and the candidates that are not.
    pub(super) fn apart<E: std::fmt::Display>(passing: config::Passing<E>) -> (config::Train, Vec<Self>) {
        let config::Passing { settings, refused } = passing;
        (settings.into_owned(), refused.into_iter().map(|(name, error)| Self::new(name, &error)).collect())
    }
}
