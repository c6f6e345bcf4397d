//! Data quality on the page: labels in doubt, copies, outliers, each with its pictures.

use serde::Serialize;

use super::formatting::{count, form, percent, plural};
use super::scores::Number;
use crate::image::data_uri;
use crate::stages::compare::{Compared, GROUPS, Group, NEAR, Outlier, Picture, SAME, SHOWN, Summary, Suspect};

/// Longer side of a picture in this section, in pixels. It is small, since there are many.
pub const LONGEST: usize = 112;

/// The section.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    pub summary: String,
    /// A warning about copies that make the scores too good.
    pub warning: Option<String>,
    pub numbers: Vec<Number>,
    pub suspects: Vec<Card>,
    pub groups: Vec<Copies>,
    pub outliers: Vec<Card>,
    /// The number of suspects, groups and outliers that are not shown.
    pub more: [Option<String>; 3],
}

/// A picture with its captions.
#[derive(Clone, Debug, Serialize)]
pub struct Card {
    pub path: String,
    /// The picture as a `data:` address; none when it cannot be read any more.
    pub source: Option<String>,
    pub head: String,
    pub note: String,
    /// The nearest picture of the suggested class.
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

/// Makes the section of the result of the comparison. `picture` gives the JPEG of a path, or none when it cannot be
/// read any more. Labels are mentioned when `labelled` is true.
pub fn section<E>(
    found: &Compared,
    labelled: bool,
    mut picture: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
) -> Result<Section, E> {
    let mut card = |of: &Picture, head: String, note: String| {
        let source = picture(&of.path)?.map(|jpeg| data_uri(&jpeg));
        Ok(Card { path: of.path.clone(), source, head, note, witness: None })
    };
    let mut suspects = Vec::new();
    for Suspect { picture, suggested, votes, of, witness } in &found.suspects {
        let head = format!("{}, or {suggested}?", label(picture));
        let mut one = card(
            picture,
            head,
            format!("{votes} of {} {} {suggested}", plural(*of, "neighbour"), form(*votes, "is", "are")),
        )?;
        one.witness = Some(Box::new(card(witness, label(witness), "the nearest of them".into())?));
        suspects.push(one);
    }
    let mut groups = Vec::new();
    for group in &found.groups {
        let mut cards = Vec::new();
        for (picture, similarity) in &group.members {
            let split = if picture.test { "test" } else { "train" };
            cards.push(card(picture, label(picture), format!("{split}, {}", told(*similarity)))?);
        }
        let more = group.size.saturating_sub(group.members.len());
        let (title, bad) = title(group);
        groups.push(Copies { title, bad, cards, more: (more > 0).then(|| format!("and {} more", count(more))) });
    }
    let mut outliers = Vec::new();
    for Outlier { picture, score, similarity } in &found.outliers {
        let note = format!("{score:.1} deviations; nearest: {similarity:.2}");
        outliers.push(card(picture, label(picture), note)?);
    }
    let summary = &found.summary;
    let all = [(summary.suspects, SHOWN), (summary.groups, GROUPS), (summary.outliers, SHOWN)];
    let more =
        all.map(|(all, shown)| (all > shown).then(|| format!("and {} more in quality.parquet", count(all - shown))));
    Ok(Section {
        summary: described(summary),
        warning: leak(summary),
        numbers: numbers(summary, labelled),
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

/// The title of a group of copies, and whether the group is a mistake in the data.
fn title(group: &Group) -> (String, bool) {
    let Group { size, tests, labels, .. } = group;
    let pictures = plural(*size, "picture");
    let place = match tests {
        0 => "in train",
        n if n == size => "in test",
        _ => "in train and in test",
    };
    let across = *tests > 0 && tests < size;
    let under = match labels.len() {
        0 | 1 => String::new(),
        n => format!(", under {n} labels: {}", labels[..n.min(4)].join(", ")),
    };
    (format!("{pictures} {place}{under}"), across || labels.len() > 1)
}

fn described(found: &Summary) -> String {
    let asked = if found.asked == found.of {
        format!("The features of {} were compared with one another", plural(found.of, "picture"))
    } else {
        format!(
            "{} of {}, the test pictures first, {} compared with the others",
            count(found.asked),
            plural(found.of, "picture"),
            form(found.asked, "was", "were")
        )
    };
    format!(
        "{asked} by cosine similarity of the centred features: {NEAR} and more counts as a near copy. quality.parquet \
         has a row for each."
    )
}

/// A warning that the scores are too good; none when no test picture has a copy in train.
pub fn leak(found: &Summary) -> Option<String> {
    if found.leaks == 0 {
        return None;
    }
    let share = percent(found.leaks as f64 / found.tests.max(1) as f64);
    let exact = match found.exact_leaks {
        0 => "none exact".to_string(),
        n => format!("{} exact", count(n)),
    };
    let have = form(found.leaks, "has", "have");
    Some(format!(
        "{} of {} ({share}) {have} a copy or a near copy among the train images ({exact}): the scores are too good for \
         pictures that are really new.",
        count(found.leaks),
        plural(found.tests, "test image")
    ))
}

fn numbers(found: &Summary, labelled: bool) -> Vec<Number> {
    let one = |name: &str, value: usize, note: &str, means: bool| {
        means.then(|| Number { name: name.into(), value: count(value), note: note.into() })
    };
    let all = [
        one("Labels in doubt", found.suspects, "most neighbours are of one other class", labelled),
        one("Copies", found.copies, "the same as another picture before them", true),
        one("Near copies", found.near_copies, "nearly the same as another picture", true),
        one("Test images with a copy in train", found.leaks, "what is tested was learnt", found.tests > 0),
        one("Outliers", found.outliers, "far from every other picture", true),
    ];
    all.into_iter().flatten().collect()
}
