//! Class and split of each picture, and which pictures take part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use globset::{Glob, GlobBuilder, GlobMatcher};

use super::list::{Candidate, Found, shared};
use super::{Aside, Contents, Kind, Listing, Picture, Split, printable};
use crate::config::{self, Input, Label, suggest};

/// A setting that does not fit what was found.
#[derive(Debug)]
pub struct Wrong {
    pub key: &'static str,
    pub message: String,
}

impl Wrong {
    fn new(key: &'static str, message: impl Into<String>) -> Self {
        Self { key, message: message.into() }
    }
}

/// Gives every candidate its class and split; what fits no split goes aside.
pub fn assign(input: &Input, found: &mut Found) -> Result<(), Wrong> {
    match &input.split {
        config::Split::None => by_folder(input, &[], found),
        config::Split::Folders { train, test } => {
            let patterns = [Pattern::new("input.split.train", train)?, Pattern::new("input.split.test", test)?];
            by_folder(input, &patterns, found)
        }
        config::Split::Fraction { fraction, seed } => {
            by_folder(input, &[], found)?;
            draw(*fraction, *seed, &mut found.candidates);
            Ok(())
        }
        config::Split::Csv { fraction, seed, .. } => {
            if let Some(fraction) = fraction {
                if found.candidates.iter().any(|candidate| candidate.split.is_some()) {
                    let message = "the table has a column `split` already: leave one of the two out";
                    return Err(Wrong::new("input.split.fraction", message));
                }
                draw(*fraction, *seed, &mut found.candidates);
            }
            Ok(())
        }
    }
}

/// A glob over paths, and the folders that it begins with.
struct Pattern {
    matcher: GlobMatcher,
    depth: usize,
}

impl Pattern {
    fn new(key: &'static str, text: &str) -> Result<Self, Wrong> {
        let glob: Result<Glob, _> = GlobBuilder::new(text).literal_separator(true).build();
        let glob = glob.map_err(|error| Wrong::new(key, format!("`{text}` is not a pattern: {error}")))?;
        let literal = text.split('/').take_while(|part| !part.contains(['*', '?', '[', '{']));
        let parts = text.split('/').count();
        // the last part is the file's name, even where it is literal
        let depth = literal.count().min(parts.saturating_sub(1));
        Ok(Self { matcher: glob.compile_matcher(), depth })
    }
}

fn by_folder(input: &Input, patterns: &[Pattern], found: &mut Found) -> Result<(), Wrong> {
    let mut labels = BTreeSet::new();
    let mut wrong = None;
    let Found { candidates, aside } = found;
    // in its place: the list of a million is not made a second time
    candidates.retain_mut(|candidate| {
        let mut hits = (0..patterns.len()).filter(|&i| patterns[i].matcher.is_match(&candidate.path));
        let depth = match (hits.next(), hits.next()) {
            (None, _) if patterns.is_empty() => 0,
            (None, _) => {
                let (path, bytes) = (std::mem::take(&mut candidate.path), Some(candidate.bytes));
                let reason = "matches neither `input.split.train` nor `input.split.test`".to_string();
                aside.push(Aside { path, bytes, kind: Kind::Split, reason });
                return false;
            }
            (Some(one), None) => {
                candidate.split = Some(if one == 0 { Split::Train } else { Split::Test });
                patterns[one].depth
            }
            (Some(_), Some(_)) => {
                let message = format!("{} matches both `train` and `test`", printable(&candidate.path));
                wrong.get_or_insert_with(|| Wrong::new("input.split", message));
                return true;
            }
        };
        candidate.label = label_of(&candidate.path, depth, input.label).map(|label| shared(&mut labels, label));
        true
    });
    wrong.map_or(Ok(()), Err)
}

/// The class that a path tells; `depth` folders belong to the split.
fn label_of(path: &str, depth: usize, rule: Label) -> Option<&str> {
    let mut folders = path.rsplit_once('/')?.0.split('/');
    match rule {
        Label::Folder => folders.nth(depth),
        Label::Parent => folders.next_back(),
        Label::None => None,
    }
}

/// The hash that a candidate draws, and the candidate.
type Lot = ([u8; 32], usize);

/// Puts `fraction` of each class into test: those with the smallest hash of seed and path, so that a new picture moves at most one other.
fn draw(fraction: f64, seed: u64, candidates: &mut [Candidate]) {
    let mut groups: BTreeMap<Option<Arc<str>>, Vec<Lot>> = BTreeMap::new();
    for (i, candidate) in candidates.iter().enumerate() {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(candidate.path.as_bytes());
        groups.entry(candidate.label.clone()).or_default().push((*hasher.finalize().as_bytes(), i));
    }
    for mut group in groups.into_values() {
        group.sort_unstable();
        let most = group.len().saturating_sub(1);
        let test = ((group.len() as f64 * fraction).round() as usize).clamp(1.min(most), most);
        for (rank, (_, i)) in group.into_iter().enumerate() {
            let split = if rank < test { Split::Test } else { Split::Train };
            candidates[i].split = Some(split);
        }
    }
}

/// Applies `classes` and `limit_per_class`, and makes the listing.
pub fn choose(input: &Input, found: Found) -> Result<Listing, Wrong> {
    let Found { candidates, mut aside } = found;
    let labels: BTreeSet<String> = {
        let found: BTreeSet<&str> = candidates.iter().filter_map(|candidate| candidate.label.as_deref()).collect();
        found.into_iter().map(str::to_string).collect()
    };
    let classes = match &input.classes {
        None => labels.iter().cloned().collect(),
        Some(wanted) => {
            if let Some(absent) = wanted.iter().find(|class| !labels.contains(*class)) {
                return Err(Wrong::new("input.classes", absent_class(absent, &labels)));
            }
            wanted.clone()
        }
    };
    let known: BTreeSet<&str> = classes.iter().map(String::as_str).collect();
    let mut taken: BTreeMap<(Option<Arc<str>>, Split), usize> = BTreeMap::new();
    // a chain of adaptors over its own elements: the list of a million is not made a second time
    let pictures = candidates.into_iter().filter_map(|candidate| {
        let Candidate { path, raw, bytes, modified, stamp, label, split } = candidate;
        let split = split.unwrap_or(Split::Train);
        let limit = input.limit_per_class.and_then(|limit| match split {
            Split::Train => limit.train,
            Split::Test => limit.test,
        });
        let count = taken.entry((label.clone(), split)).or_default();
        let rule = match &label {
            None if !classes.is_empty() => Some((Kind::NoClass, "lies in no class folder")),
            Some(label) if !known.contains(&**label) => Some((Kind::Class, "its class is not in `input.classes`")),
            _ if limit.is_some_and(|limit| *count >= limit) => Some((Kind::Limit, "over `input.limit_per_class`")),
            _ => None,
        };
        if let Some((kind, rule)) = rule {
            aside.push(Aside { path, bytes: Some(bytes), kind, reason: rule.into() });
            return None;
        }
        *count += 1;
        Some(Picture { path, raw, label, split, bytes, modified, stamp, contents: Contents::Unknown })
    });
    let pictures = pictures.collect();
    aside.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(Listing { pictures, aside, classes })
}

fn absent_class(absent: &str, labels: &BTreeSet<String>) -> String {
    let mut message = format!("there is no picture of class `{absent}`");
    if let Some(close) = suggest(absent, labels.iter().map(String::as_str)) {
        message += &format!("; did you mean `{close}`?");
    } else if !labels.is_empty() {
        let some: Vec<&str> = labels.iter().take(12).map(String::as_str).collect();
        message += &format!("; found: {}{}", printable(&some.join(", ")), if labels.len() > 12 { ", …" } else { "" });
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(paths: &[&str]) -> Vec<Candidate> {
        let one = |path: &&str| Candidate {
            path: path.to_string(),
            raw: None,
            bytes: 1,
            modified: 0,
            stamp: 1,
            label: label_of(path, 0, Label::Folder).map(Into::into),
            split: None,
        };
        paths.iter().map(one).collect()
    }

    #[test]
    fn the_class_is_the_first_folder_below_the_split() {
        assert_eq!(label_of("Training/Kiwi/more/a.jpg", 1, Label::Folder), Some("Kiwi"));
        assert_eq!(label_of("Training/Kiwi/more/a.jpg", 1, Label::Parent), Some("more"));
        assert_eq!(label_of("Training/a.jpg", 1, Label::Folder), None);
        assert_eq!(label_of("a.jpg", 0, Label::Parent), None);
        let depth = |text: &str| Pattern::new("k", text).map(|p| p.depth).map_err(|wrong| wrong.message);
        assert_eq!(depth("Training/**"), Ok(1));
        assert_eq!(depth("a/b/**/*.jpg"), Ok(2));
        assert_eq!(depth("**"), Ok(0));
        assert_eq!(depth("Training/Kiwi/a.jpg"), Ok(2));
        assert!(depth("a/[").is_err());
    }

    #[test]
    fn a_draw_is_stratified_and_hardly_moved_by_a_new_picture() {
        let names: Vec<String> = (0..60).map(|i| format!("{}/{i}.jpg", ["a", "b", "c"][i % 3])).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        let tests = |names: &[&str], seed: u64| -> BTreeSet<String> {
            let mut all = candidates(names);
            draw(0.25, seed, &mut all);
            all.into_iter().filter(|c| c.split == Some(Split::Test)).map(|c| c.path).collect()
        };
        let before = tests(&names, 7);
        for class in ["a/", "b/", "c/"] {
            assert_eq!(before.iter().filter(|path| path.starts_with(class)).count(), 5);
        }
        assert_ne!(before, tests(&names, 8));
        names.push("a/new.jpg");
        let after = tests(&names, 7);
        assert!(before.symmetric_difference(&after).count() <= 2);
        let two = tests(&["a/1.jpg", "a/2.jpg", "b/1.jpg"], 0);
        assert_eq!(two.len(), 1, "one of two, none of one: {two:?}");
    }
}
