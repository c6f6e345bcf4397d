//! Gives each picture its class and its split, and chooses the pictures that take part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use globset::{Glob, GlobBuilder, GlobMatcher};
use regex::Regex;

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

/// Gives every candidate its class and split; a candidate that fits no split goes aside.
pub fn assign(input: &Input, found: &mut Found) -> Result<(), Wrong> {
    match &input.split {
        config::Split::None => by_folder(input, &[], found),
        config::Split::Folders { train, test } => {
            let patterns = [Pattern::new("input.split.train", train)?, Pattern::new("input.split.test", test)?];
            by_folder(input, &patterns, found)
        }
        config::Split::Fraction { fraction, seed } => {
            by_folder(input, &[], found)?;
            draw_each(*fraction, *seed, &mut found.candidates);
            Ok(())
        }
        config::Split::Csv { fraction, seed, .. } => {
            if let Label::Pattern(_) = &input.label {
                by_pattern(input, found)?;
            }
            if let Some(fraction) = fraction {
                if found.candidates.iter().any(|candidate| candidate.split.is_some()) {
                    let message = "the table has a column `split` already: leave one of the two out";
                    return Err(Wrong::new("input.split.fraction", message));
                }
                draw_each(*fraction, *seed, &mut found.candidates);
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
        let literal = text.split('/').take_while(|part| is_literal(part));
        let parts = text.split('/').count();
        // the last part is the file's name, even where it is literal
        let depth = literal.count().min(parts.saturating_sub(1));
        Ok(Self { matcher: glob.compile_matcher(), depth })
    }
}

/// Whether a part of a glob names folders: `train`, or one of `{train,val}`.
fn is_literal(part: &str) -> bool {
    let whole = part.matches('{').count() == part.matches('}').count();
    whole && !part.contains(['*', '?', '['])
}

/// The classes of pictures that a table names, by their paths.
fn by_pattern(input: &Input, found: &mut Found) -> Result<(), Wrong> {
    if found.candidates.iter().any(|candidate| candidate.label.is_some()) {
        let message = "the table has a column with labels already: leave one of the two out";
        return Err(Wrong::new("input.label", message));
    }
    let rule = Rule::of(&input.label)?;
    let mut labels = BTreeSet::new();
    for candidate in &mut found.candidates {
        candidate.label = rule.label_of(&candidate.path, 0).map(|label| shared(&mut labels, label));
    }
    rule.check(&found.candidates)
}

fn by_folder(input: &Input, patterns: &[Pattern], found: &mut Found) -> Result<(), Wrong> {
    let rule = Rule::of(&input.label)?;
    let mut labels = BTreeSet::new();
    let mut wrong = None;
    let Found { candidates, aside } = found;
    // in place: a list of a million is not copied
    candidates.retain_mut(|candidate| {
        let inside = &candidate.path[candidate.inside..];
        // the folders of the archive itself do not belong to the path that tells the class
        let above = candidate.path[..candidate.inside].matches('/').count();
        let depth_of = |pattern: &Pattern| match pattern.matcher.is_match(inside) {
            true => Some(pattern.depth),
            false if above == 0 => None,
            false => pattern.matcher.is_match(&candidate.path).then(|| pattern.depth.saturating_sub(above)),
        };
        let mut hits = (0..patterns.len()).filter_map(|i| Some((i, depth_of(&patterns[i])?)));
        let depth = match (hits.next(), hits.next()) {
            (None, _) if patterns.is_empty() => 0,
            (None, _) => {
                let (path, bytes) = (std::mem::take(&mut candidate.path), Some(candidate.bytes));
                let reason = "matches neither `input.split.train` nor `input.split.test`".to_string();
                aside.push(Aside { path, bytes, kind: Kind::Split, reason });
                return false;
            }
            (Some((one, depth)), None) => {
                candidate.split = Some(if one == 0 { Split::Train } else { Split::Test });
                depth
            }
            (Some(_), Some(_)) => {
                let message = format!("{} matches both `train` and `test`", printable(&candidate.path));
                wrong.get_or_insert_with(|| Wrong::new("input.split", message));
                return true;
            }
        };
        // an archive that names classes needs no folders
        if candidate.label.is_none() || !matches!(rule, Rule::Folder) {
            let path = if matches!(rule, Rule::Pattern(_)) { &candidate.path } else { inside };
            candidate.label = rule.label_of(path, depth).map(|label| shared(&mut labels, label));
        }
        true
    });
    wrong.map_or(Ok(()), Err)?;
    rule.check(candidates)
}

/// The way in which the class is read from a path.
enum Rule {
    Folder,
    Parent,
    None,
    Pattern(Regex),
}

impl Rule {
    fn of(label: &Label) -> Result<Self, Wrong> {
        Ok(match label {
            Label::Folder => Self::Folder,
            Label::Parent => Self::Parent,
            Label::None => Self::None,
            Label::Pattern(pattern) => {
                Self::Pattern(Label::regex(pattern).map_err(|reason| Wrong::new("input.label", reason))?)
            }
        })
    }

    /// The class that a path tells; `depth` folders belong to the split.
    fn label_of<'a>(&self, path: &'a str, depth: usize) -> Option<&'a str> {
        let folders = |path: &'a str| Some(path.rsplit_once('/')?.0.split('/'));
        match self {
            Self::Folder => folders(path)?.nth(depth),
            Self::Parent => folders(path)?.next_back(),
            Self::None => None,
            Self::Pattern(regex) => {
                let found = regex.captures(path)?;
                let class = found.name("label").or_else(|| found.get(usize::from(regex.captures_len() > 1)))?;
                Some(class.as_str()).filter(|class| !class.is_empty())
            }
        }
    }

    /// Returns an error if the pattern matches no path: it is not the one that was meant.
    fn check(&self, candidates: &[Candidate]) -> Result<(), Wrong> {
        match (self, candidates.first()) {
            (Self::Pattern(regex), Some(first)) if candidates.iter().all(|candidate| candidate.label.is_none()) => {
                let text = format!("`{regex}` finds a class in no path; the first path is {}", printable(&first.path));
                Err(Wrong::new("input.label", text))
            }
            _ => Ok(()),
        }
    }
}

/// Pictures that stay on one side of a split.
#[derive(Clone, Copy, Debug)]
pub struct Lot<'a> {
    /// The first of their paths.
    pub path: &'a str,
    pub label: Option<&'a str>,
    /// How many they are.
    pub pictures: usize,
}

/// Puts `fraction` of each class into test: the lots with the smallest hash of seed and path, so that a new picture
/// moves at most one other. A lot stays in train where more than half of its pictures would be too many.
pub fn draw(fraction: f64, seed: u64, lots: &[Lot]) -> Vec<Split> {
    let mut classes: BTreeMap<Option<&str>, Vec<([u8; 32], usize)>> = BTreeMap::new();
    for (i, lot) in lots.iter().enumerate() {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(lot.path.as_bytes());
        classes.entry(lot.label).or_default().push((*hasher.finalize().as_bytes(), i));
    }
    let mut splits = vec![Split::Train; lots.len()];
    for mut class in classes.into_values() {
        class.sort_unstable();
        let pictures: usize = class.iter().map(|&(_, i)| lots[i].pictures).sum();
        let (mut most, mut test) = (class.len().saturating_sub(1), 0);
        let wanted = ((pictures as f64 * fraction).round() as usize).clamp(1.min(most), pictures);
        for (_, i) in class {
            if most > 0 && 2 * test + lots[i].pictures <= 2 * wanted {
                (splits[i], most, test) = (Split::Test, most - 1, test + lots[i].pictures);
            }
        }
    }
    splits
}

fn draw_each(fraction: f64, seed: u64, candidates: &mut [Candidate]) {
    let lots = candidates.iter().map(|one| Lot { path: &one.path, label: one.label.as_deref(), pictures: 1 });
    let splits = draw(fraction, seed, &lots.collect::<Vec<_>>());
    candidates.iter_mut().zip(splits).for_each(|(candidate, split)| candidate.split = Some(split));
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
        let Candidate { path, raw, member, bytes, modified, stamp, label, split, .. } = candidate;
        let split = split.unwrap_or(Split::Train);
        let limit = input.limit_per_class.and_then(|limit| match split {
            Split::Train => limit.train,
            Split::Test => limit.test,
        });
        let count = taken.entry((label.clone(), split)).or_default();
        let rule = match &label {
            None if !classes.is_empty() => Some((Kind::NoClass, without_class(&input.label))),
            Some(label) if !known.contains(&**label) => Some((Kind::Class, "its class is not in `input.classes`")),
            _ if limit.is_some_and(|limit| *count >= limit) => Some((Kind::Limit, "over `input.limit_per_class`")),
            _ => None,
        };
        if let Some((kind, rule)) = rule {
            aside.push(Aside { path, bytes: Some(bytes), kind, reason: rule.into() });
            return None;
        }
        *count += 1;
        Some(Picture { path, raw, member, label, split, bytes, modified, stamp, contents: Contents::Unknown })
    });
    let pictures = pictures.collect();
    aside.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(Listing { pictures, aside, classes, ..Listing::default() })
}

fn without_class(label: &Label) -> &'static str {
    match label {
        Label::Pattern(_) => "`input.label` finds no class in its path",
        _ => "lies in no class folder",
    }
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
            member: None,
            inside: 0,
            bytes: 1,
            modified: 0,
            label: Rule::Folder.label_of(path, 0).map(Into::into),
            stamp: 1,
            split: None,
        };
        paths.iter().map(one).collect()
    }

    #[test]
    fn the_class_is_the_first_folder_below_the_split() {
        assert_eq!(Rule::Folder.label_of("Training/Kiwi/more/a.jpg", 1), Some("Kiwi"));
        assert_eq!(Rule::Parent.label_of("Training/Kiwi/more/a.jpg", 1), Some("more"));
        assert_eq!(Rule::Folder.label_of("Training/a.jpg", 1), None);
        assert_eq!(Rule::Parent.label_of("a.jpg", 0), None);
        let depth = |text: &str| Pattern::new("k", text).map(|p| p.depth).map_err(|wrong| wrong.message);
        assert_eq!(depth("Training/**"), Ok(1));
        assert_eq!(depth("a/b/**/*.jpg"), Ok(2));
        assert_eq!(depth("**"), Ok(0));
        assert_eq!(depth("Training/Kiwi/a.jpg"), Ok(2));
        assert_eq!(depth("{train,val}/**"), Ok(1));
        assert_eq!(depth("{a/b,c}/**"), Ok(0));
        assert_eq!(depth("t*/{a,b}/**"), Ok(0));
        assert!(depth("a/[").is_err());
    }

    #[test]
    fn a_pattern_finds_the_class_in_the_path() {
        let class = |pattern: &str, path: &'static str| {
            Rule::of(&Label::Pattern(pattern.into())).map_err(|wrong| wrong.message).expect(pattern).label_of(path, 1)
        };
        assert_eq!(class(r"(cat|dog)\.\d+", "train/cat.0.jpg"), Some("cat"));
        assert_eq!(class(r"(cat|dog)\.\d+", "train/cow.0.jpg"), None);
        assert_eq!(class("cat|dog", "train/a dog.jpg"), Some("dog"), "without a group the whole match");
        assert_eq!(class(r"([a-z]+)/(?<label>\w+?)_\d", "train/Maine_Coon_12.jpg"), Some("Maine_Coon"));
        assert_eq!(class("train/(x)?", "train/a.jpg"), None, "a group that takes no part");
        assert_eq!(class("train/(x*)", "train/a.jpg"), None, "an empty class is none");
        assert!(Rule::of(&Label::Pattern(r"\w{9000}".into())).is_err_and(|wrong| wrong.message.contains("bytes")));
    }

    #[test]
    fn what_hangs_together_is_drawn_together_and_a_class_of_one_lot_is_train() {
        let names: Vec<String> = (0..40).map(|i| format!("{i:02}.jpg")).collect();
        let lot = |i: usize, label, pictures| Lot { path: &names[i], label: Some(label), pictures };
        let lots: Vec<Lot> = (0..30).map(|i| lot(i, "a", 1 + i % 4)).chain([lot(30, "b", 9)]).collect();
        let (mut drawn, pictures) = (BTreeSet::new(), lots[..30].iter().map(|lot| lot.pictures).sum::<usize>());
        for seed in 0..20 {
            let splits = draw(0.25, seed, &lots);
            let test = lots.iter().zip(&splits).filter(|(_, split)| **split == Split::Test);
            let test: usize = test.map(|(lot, _)| lot.pictures).sum();
            assert!(test.abs_diff(pictures / 4) <= 2, "{test} of {pictures}");
            assert_eq!(splits[30], Split::Train);
            drawn.insert(splits.iter().map(|split| split.word()).collect::<Vec<_>>());
        }
        assert!(drawn.len() > 15, "the seed decides");
        let two = draw(0.25, 0, &[lot(0, "a", 30), lot(1, "a", 30)]);
        assert_eq!(two.iter().filter(|split| **split == Split::Test).count(), 1, "the one of two, however large");
    }

    #[test]
    fn a_draw_is_stratified_and_hardly_moved_by_a_new_picture() {
        let names: Vec<String> = (0..60).map(|i| format!("{}/{i}.jpg", ["a", "b", "c"][i % 3])).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        let tests = |names: &[&str], seed: u64| -> BTreeSet<String> {
            let mut all = candidates(names);
            draw_each(0.25, seed, &mut all);
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
