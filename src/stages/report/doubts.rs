//! Data quality on the page: labels in doubt, copies, outliers, each with its pictures.

use serde::Serialize;

use super::quality::{Group, NEAR, Outlier, Picture, Quality, SAME, Summary, Suspect};
use super::scores::Number;
use super::words::{count, percent, plural};
use crate::image::data_uri;

/// Longer side of a picture here, in pixels: there are many of them.
pub const LONGEST: usize = 112;
/// Labels in doubt and outliers shown at most.
const SHOWN: usize = 12;
/// Groups of copies shown at most, and pictures of each.
const GROUPS: usize = 8;
const MEMBERS: usize = 6;

/// The section.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    pub summary: String,
    /// What makes the scores too good.
    pub warning: Option<String>,
    pub numbers: Vec<Number>,
    pub suspects: Vec<Card>,
    pub groups: Vec<Copies>,
    pub outliers: Vec<Card>,
    /// How many of each there are that are not shown.
    pub more: [Option<String>; 3],
}

/// A picture with what is said of it.
#[derive(Clone, Debug, Serialize)]
pub struct Card {
    pub path: String,
    /// The picture as a `data:` address; none when it cannot be read any more.
    pub source: Option<String>,
    pub head: String,
    pub note: String,
    /// The picture that speaks against it.
    pub witness: Option<Box<Card>>,
}

/// Pictures that are copies of one another.
#[derive(Clone, Debug, Serialize)]
pub struct Copies {
    pub title: String,
    /// True across train and test, or under several labels.
    pub bad: bool,
    pub cards: Vec<Card>,
    pub more: Option<String>,
}

/// Puts what was found into words; `picture` gives the JPEG of a path, none when it cannot be read any more.
pub fn section<E>(
    quality: &Quality,
    mut picture: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
) -> Result<Section, E> {
    let mut card = |of: &Picture, head: String, note: String| {
        let source = picture(&of.path)?.map(|jpeg| data_uri(&jpeg));
        Ok(Card { path: of.path.clone(), source, head, note, witness: None })
    };
    let mut suspects = Vec::new();
    for Suspect { picture, suggested, votes, of, witness } in quality.suspects.iter().take(SHOWN) {
        let head = format!("{}, or {suggested}?", label(picture));
        let mut one = card(picture, head, format!("{votes} of {of} neighbours are {suggested}"))?;
        one.witness = Some(Box::new(card(witness, label(witness), "the nearest of them".into())?));
        suspects.push(one);
    }
    let mut groups = Vec::new();
    for group in quality.groups.iter().take(GROUPS) {
        let mut cards = Vec::new();
        for (picture, similarity) in group.members.iter().take(MEMBERS) {
            let split = if picture.test { "test" } else { "train" };
            cards.push(card(picture, label(picture), format!("{split}, {}", told(*similarity)))?);
        }
        let more = group.members.len().saturating_sub(MEMBERS);
        let (title, bad) = title(group);
        groups.push(Copies { title, bad, cards, more: (more > 0).then(|| format!("and {} more", count(more))) });
    }
    let mut outliers = Vec::new();
    for Outlier { picture, score, similarity } in quality.outliers.iter().take(SHOWN) {
        let note = format!("{score:.1} deviations; nearest: {similarity:.2}");
        outliers.push(card(picture, label(picture), note)?);
    }
    let found = [quality.suspects.len(), quality.groups.len(), quality.outliers.len()];
    let shown = [SHOWN, GROUPS, SHOWN].into_iter().zip(found);
    let more: Vec<Option<String>> = shown
        .map(|(shown, found)| (found > shown).then(|| format!("and {} more in quality.parquet", count(found - shown))))
        .collect();
    let more = std::array::from_fn(|i| more.get(i).cloned().flatten());
    Ok(Section {
        summary: summary(&quality.summary),
        warning: leak(&quality.summary),
        numbers: numbers(&quality.summary, quality.suspects.len()),
        suspects,
        groups,
        outliers,
        more,
    })
}

fn label(picture: &Picture) -> String {
    picture.label.clone().unwrap_or_else(|| "no label".into())
}

fn told(similarity: f32) -> String {
    if similarity >= SAME { "the same picture".into() } else { format!("similarity {similarity:.3}") }
}

/// What the copies of a group have in common, and whether that is a fault.
fn title(group: &Group) -> (String, bool) {
    let pictures = plural(group.members.len(), "picture");
    let tests = group.members.iter().filter(|(picture, _)| picture.test).count();
    let mut labels: Vec<&str> = group.members.iter().filter_map(|(picture, _)| picture.label.as_deref()).collect();
    labels.sort_unstable();
    labels.dedup();
    let place = match tests {
        0 => "in train",
        n if n == group.members.len() => "in test",
        _ => "in train and in test",
    };
    let across = tests > 0 && tests < group.members.len();
    let under = match labels.len() {
        0 | 1 => String::new(),
        n => format!(", under {n} labels: {}", labels[..n.min(4)].join(", ")),
    };
    (format!("{pictures} {place}{under}"), across || labels.len() > 1)
}

fn summary(found: &Summary) -> String {
    let asked = if found.asked == found.of {
        format!("The features of all {} were compared with one another", plural(found.of, "picture"))
    } else {
        format!(
            "{} of {}, the test pictures first, were compared with the others",
            count(found.asked),
            plural(found.of, "picture")
        )
    };
    format!(
        "{asked} by cosine similarity of the centred features: {NEAR} and more counts as a near copy. quality.parquet has a row for each."
    )
}

/// What the user must know before trusting the scores; none when no test picture has a copy in train.
pub fn leak(found: &Summary) -> Option<String> {
    if found.leaks == 0 {
        return None;
    }
    let share = percent(found.leaks as f64 / found.tests.max(1) as f64);
    let exact = match found.exact_leaks {
        0 => "near copies all".to_string(),
        n => format!("{} exact", count(n)),
    };
    let have = if found.leaks == 1 { "has" } else { "have" };
    Some(format!(
        "{} of {} ({share}) {have} a copy or a near copy among the train images ({exact}): the scores are too good for pictures that are really new.",
        count(found.leaks),
        plural(found.tests, "test image")
    ))
}

fn numbers(found: &Summary, suspects: usize) -> Vec<Number> {
    let one =
        |name: &str, value: usize, note: &str| Number { name: name.into(), value: count(value), note: note.into() };
    vec![
        one("Labels in doubt", suspects, "most neighbours are of one other class"),
        one("Copies", found.copies, "the same as another picture before them"),
        one("Near copies", found.near_copies, "nearly the same as another picture"),
        one("Test images with a copy in train", found.leaks, "what is tested was learnt"),
        one("Outliers", found.outliers, "far from every other picture"),
    ]
}
