//! Chooses the pictures that are used: by `classes`, `limit_per_class`, and the random draw of the test split.
//!
//! The choice depends on all candidates: on their classes, and on the smallest hashes of each class. Hence all
//! candidates are counted before the first is taken. Both happen part by part, since there may be too many for the
//! memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::labels::{Rules, Wrong};
use super::list::{Candidate, Found};
use super::{Aside, Contents, Kind, Listing, Picture, Split, printable};
use crate::config::{self, Input, Label, suggest};

/// A class and a split.
type Group = (Option<Arc<str>>, Split);

/// The facts about all candidates that the choice depends on, collected part by part.
#[derive(Debug, Default)]
pub struct Census {
    counts: BTreeMap<Group, usize>,
    /// Whether a candidate has a split already.
    has_splits: bool,
    /// The lots (hashes) of each class, where the test split is drawn.
    lots: BTreeMap<Option<Arc<str>>, Vec<u128>>,
    /// The first path.
    first: Option<String>,
}

impl Census {
    /// Counts candidates that have their classes.
    pub fn add(&mut self, rules: &Rules, found: &Found) {
        let draw = rules.draw();
        for candidate in &found.candidates {
            let group = (candidate.label.clone(), candidate.split.unwrap_or(Split::Train));
            *self.counts.entry(group).or_default() += 1;
            self.has_splits |= candidate.split.is_some();
            if let Some(draw) = draw {
                self.lots.entry(candidate.label.clone()).or_default().push(draw.lot(&candidate.path));
            }
        }
        let first = found.candidates.iter().map(|candidate| &candidate.path).chain(&self.first).min();
        self.first = first.cloned();
    }
}

/// Puts a fraction of each class into test: the pictures with the smallest hash of seed and path, so that a new picture
/// moves at most one other picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    pub fraction: f64,
    pub seed: u64,
}

impl Draw {
    /// The lot of a picture: half of a hash of the seed and the path.
    fn lot(self, path: &str) -> u128 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(path.as_bytes());
        let hash = hasher.finalize();
        u128::from_be_bytes(std::array::from_fn(|i| hash.as_bytes()[i]))
    }

    /// The number of test pictures of a class of `of` pictures.
    fn tests(self, of: usize) -> usize {
        let most = of.saturating_sub(1);
        ((of as f64 * self.fraction).round() as usize).clamp(1.min(most), most)
    }

    /// The largest lot that is in test; none if no picture is.
    fn border(self, mut lots: Vec<u128>) -> Option<u128> {
        let last = self.tests(lots.len()).checked_sub(1)?;
        Some(*lots.select_nth_unstable(last).1)
    }
}

/// Pictures that must be on the same side of a split.
#[derive(Clone, Copy, Debug)]
pub struct Lot<'a> {
    /// The first of their paths.
    pub path: &'a str,
    pub label: Option<&'a str>,
    /// The number of pictures.
    pub pictures: usize,
}

/// Puts `fraction` of the pictures of each class into test, as the draw of single pictures does: the groups with the
/// smallest hash. A group stays in train if more than half of its pictures would exceed the fraction.
pub fn draw(fraction: f64, seed: u64, lots: &[Lot]) -> Vec<Split> {
    let draw = Draw { fraction, seed };
    let mut classes: BTreeMap<Option<&str>, Vec<(u128, usize)>> = BTreeMap::new();
    for (i, lot) in lots.iter().enumerate() {
        classes.entry(lot.label).or_default().push((draw.lot(lot.path), i));
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

/// The largest lot of each class that is in test.
type Borders = BTreeMap<Option<Arc<str>>, Option<u128>>;

/// The choice of the pictures that are used: by `classes`, `limit_per_class` and the draw of the test split.
pub struct Choice<'a> {
    input: &'a Input,
    pub classes: Vec<String>,
    /// None where no test split is drawn.
    borders: Option<(Draw, Borders)>,
    counts: BTreeMap<Group, usize>,
    /// Pictures taken so far.
    taken: BTreeMap<Group, usize>,
}

impl<'a> Choice<'a> {
    /// The choice among all candidates after they were counted.
    pub fn of(rules: &Rules<'a>, census: Census) -> Result<Self, Wrong> {
        let Census { counts, has_splits, lots, first } = census;
        let input = rules.input;
        let is_labelled = counts.keys().any(|(label, _)| label.is_some());
        if let (Some(regex), Some(first), false) = (rules.pattern(), first, is_labelled) {
            // the regular expression is probably a mistake
            let text = format!("`{regex}` finds a class in no path; the first path is {}", printable(&first));
            return Err(Wrong::new("input.label", text));
        }
        let draw = rules.draw();
        if draw.is_some() && has_splits && matches!(input.split, config::Split::Csv { .. }) {
            let message = "the table has a column `split` already: leave one of the two out";
            return Err(Wrong::new("input.split.fraction", message));
        }
        let found: BTreeSet<String> =
            counts.keys().filter_map(|(label, _)| Some(label.as_deref()?.to_string())).collect();
        let classes = match &input.classes {
            None => found.into_iter().collect(),
            Some(wanted) => {
                if let Some(absent) = wanted.iter().find(|class| !found.contains(*class)) {
                    return Err(Wrong::new("input.classes", absent_class(absent, &found)));
                }
                wanted.clone()
            }
        };
        let borders =
            draw.map(|draw| (draw, lots.into_iter().map(|(label, lots)| (label, draw.border(lots))).collect()));
        Ok(Self { input, classes, borders, counts, taken: BTreeMap::new() })
    }

    /// The number of pictures that will be taken.
    pub fn count(&self) -> usize {
        let mut groups: BTreeMap<&Option<Arc<str>>, [usize; 2]> = BTreeMap::new();
        for ((label, split), count) in &self.counts {
            groups.entry(label).or_default()[*split as usize] += count;
        }
        let known = self.known();
        let taken = groups.into_iter().filter(|(label, _)| self.left_out(label, &known).is_none());
        let taken = taken.map(|(_, mut counts)| {
            if let Some((draw, _)) = &self.borders {
                let all = counts[0] + counts[1];
                counts = [all - draw.tests(all), draw.tests(all)];
            }
            let of = |split: Split| counts[split as usize].min(self.limit(split).unwrap_or(usize::MAX));
            of(Split::Train) + of(Split::Test)
        });
        taken.sum()
    }

    fn known(&self) -> BTreeSet<&str> {
        self.classes.iter().map(String::as_str).collect()
    }

    /// The rule by which all pictures of a class are left out; `known` are the classes that are used.
    fn left_out(&self, label: &Option<Arc<str>>, known: &BTreeSet<&str>) -> Option<(Kind, &'static str)> {
        match label {
            None if !known.is_empty() => Some((Kind::NoClass, without_class(&self.input.label))),
            Some(label) if !known.contains(&**label) => Some((Kind::Class, "its class is not in `input.classes`")),
            _ => None,
        }
    }

    fn limit(&self, split: Split) -> Option<usize> {
        let limit = self.input.limit_per_class?;
        if split == Split::Train { limit.train } else { limit.test }
    }

    /// Makes a listing of the next candidates, in order.
    pub fn take(&mut self, found: Found) -> Listing {
        let Found { candidates, mut aside } = found;
        let (mut taken, known) = (std::mem::take(&mut self.taken), self.known());
        // an iterator over its own elements, so that a list of a million is not copied
        let pictures = candidates.into_iter().filter_map(|candidate| {
            let Candidate { path, raw, member, bytes, modified, stamp, label, mut split, .. } = candidate;
            if let Some((draw, borders)) = &self.borders {
                let is_test = borders.get(&label).is_some_and(|border| Some(draw.lot(&path)) <= *border);
                split = Some(if is_test { Split::Test } else { Split::Train });
            }
            let split = split.unwrap_or(Split::Train);
            let is_full = |count| self.limit(split).is_some_and(|limit| count >= limit);
            let count = taken.entry((label.clone(), split)).or_default();
            let over = is_full(*count).then_some((Kind::Limit, "over `input.limit_per_class`"));
            if let Some((kind, rule)) = self.left_out(&label, &known).or(over) {
                aside.push(Aside { path, bytes: Some(bytes), kind, reason: rule.into() });
                return None;
            }
            *count += 1;
            Some(Picture { path, raw, member, label, split, bytes, modified, stamp, contents: Contents::Unknown })
        });
        let pictures = pictures.collect();
        self.taken = taken;
        aside.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Listing { pictures, aside, classes: self.classes.clone(), ..Listing::default() }
    }
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
    use std::path::Path;

    use super::*;

    /// Files of these paths, with their classes.
    fn labelled(rules: &Rules, paths: &[&str]) -> Found {
        let one = |path: &&str| Candidate {
            path: path.to_string(),
            raw: None,
            member: None,
            inside: 0,
            bytes: 1,
            modified: 0,
            label: None,
            stamp: 1,
            split: None,
        };
        let mut found = Found { candidates: paths.iter().map(one).collect(), aside: Vec::new() };
        rules.assign(&mut found).expect("assigned");
        found
    }

    #[test]
    fn near_copies_are_drawn_together_and_a_class_of_one_lot_is_train() {
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
            let yaml = format!("version: 1\ninput: {{root: data/fruits, split: {{fraction: 0.25, seed: {seed}}}}}\n");
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("test.yaml");
            let pipeline = config::parse(&yaml, &file, &[]).expect("a sound pipeline");
            let rules = Rules::of(&pipeline.input).expect("sound");
            let mut census = Census::default();
            // in two parts
            for part in names.chunks(31) {
                census.add(&rules, &labelled(&rules, part));
            }
            let mut choice = Choice::of(&rules, census).expect("sound");
            let count = choice.count();
            let listing = choice.take(labelled(&rules, names));
            assert_eq!((listing.pictures.len(), listing.aside.len()), (count, 0));
            listing.pictures.into_iter().filter(|one| one.split == Split::Test).map(|one| one.path).collect()
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
