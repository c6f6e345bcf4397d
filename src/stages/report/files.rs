//! Files that have no features: what should have been pictures and failed, and what a rule left out.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::facts::{Facts, Trouble};
use super::words::{count, plural};

/// Files listed one by one.
const LISTED: usize = 50;

/// The section.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    pub summary: String,
    pub reasons: Vec<Reason>,
    pub rows: Vec<Row>,
    /// How many are not listed.
    pub more: Option<String>,
}

/// Files by the reason why they have no features.
#[derive(Clone, Debug, Serialize)]
pub struct Reason {
    pub status: &'static str,
    pub reason: String,
    pub count: String,
}

/// A file without features.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub status: &'static str,
    pub path: String,
    pub reason: String,
}

/// The section of a run; none when every file has features.
pub fn section(facts: &Facts) -> Option<Section> {
    if facts.troubles.is_empty() {
        return None;
    }
    let status = |failed: bool| if failed { "failed" } else { "skipped" };
    let mut reasons: BTreeMap<(bool, &str), usize> = BTreeMap::new();
    for trouble in &facts.troubles {
        *reasons.entry((!trouble.failed, kind(trouble.failed, &trouble.reason))).or_default() += 1;
    }
    let mut reasons: Vec<((bool, &str), usize)> = reasons.into_iter().collect();
    reasons.sort_by_key(|&((skipped, _), n)| (skipped, Reverse(n)));
    let mut rows: Vec<_> = facts.troubles.iter().collect();
    rows.sort_by_key(|trouble| !trouble.failed);
    let failed = rows.iter().filter(|trouble| trouble.failed).count();
    let rest = rows.len().saturating_sub(LISTED);
    let row = |trouble: &&Trouble| Row {
        status: status(trouble.failed),
        path: trouble.path.clone(),
        reason: trouble.reason.clone(),
    };
    Some(Section {
        summary: summary(failed, rows.len() - failed),
        reasons: reasons
            .into_iter()
            .map(|((skipped, reason), n)| Reason {
                status: status(!skipped),
                reason: reason.to_string(),
                count: count(n),
            })
            .collect(),
        rows: rows.iter().take(LISTED).map(row).collect(),
        more: (rest > 0).then(|| count(rest)),
    })
}

fn summary(failed: usize, skipped: usize) -> String {
    let told = |n: usize, what: &str| (n > 0).then(|| format!("{} {what}", plural(n, "file")));
    let parts =
        [told(failed, "could not be read as a picture (failed)"), told(skipped, "left out by a rule (skipped)")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("{}. The table manifest.parquet lists every file.", parts.join(", "))
}

/// What files are counted by: `truncated: …` for pictures that failed, the whole rule for files that were left out.
fn kind(failed: bool, reason: &str) -> &str {
    match reason.split_once(':') {
        Some((kind, _)) if failed => kind,
        _ => reason,
    }
}
