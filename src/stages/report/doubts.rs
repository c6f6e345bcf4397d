//! Data quality on the page: labels in doubt, copies and outliers, each with its pictures.

use serde_json::{Value, json};

use super::formatting::{count, form, percent, plural};
use super::scores::named_number;
use crate::image::data_uri;
use crate::stages::compare::{Compared, GROUPS, Group, NEAR, Outlier, Picture, SAME, SHOWN, Summary, Suspect};

/// Longer side of a picture in this section, in pixels. It is small, since there are many.
pub const LONGEST: usize = 112;

/// Makes the section from the result of the comparison. `picture` returns the JPEG of the picture at a path, or none
/// when it cannot be read any more. Labels are mentioned if `labelled` is true.
pub fn section<E>(
    found: &Compared,
    labelled: bool,
    mut picture: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
) -> Result<Value, E> {
    let mut card = |of: &Picture, head: String, note: String| {
        let source = picture(&of.path)?.map(|jpeg| data_uri(&jpeg));
        Ok(json!({"path": of.path, "source": source, "head": head, "note": note}))
    };
    let (mut suspects, mut groups, mut outliers) = (Vec::new(), Vec::new(), Vec::new());
    for Suspect { picture, suggested, votes, of, witness } in &found.suspects {
        let note = format!("{votes} of {} {} {suggested}", plural(*of, "neighbour"), form(*votes, "is", "are"));
        let mut one = card(picture, format!("{}, or {suggested}?", label(picture)), note)?;
        one["witness"] = card(witness, label(witness), "the nearest of them".into())?;
        suspects.push(one);
    }
    for group in &found.groups {
        let mut cards = Vec::new();
        for (picture, similarity) in &group.members {
            let split = if picture.test { "test" } else { "train" };
            cards.push(card(picture, label(picture), format!("{split}, {}", told(*similarity)))?);
        }
        let more = group.size.saturating_sub(group.members.len());
        let more = (more > 0).then(|| format!("and {} more", count(more)));
        // the title is bold if the group has pictures of both splits or of several labels
        let (title, bad) = title(group);
        groups.push(json!({"title": title, "bad": bad, "cards": cards, "more": more}));
    }
    for Outlier { picture, score, similarity } in &found.outliers {
        let note = format!("{score:.1} deviations; nearest: {similarity:.2}");
        outliers.push(card(picture, label(picture), note)?);
    }
    let summary = &found.summary;
    let all = [(summary.suspects, SHOWN), (summary.groups, GROUPS), (summary.outliers, SHOWN)];
    let more =
        all.map(|(all, shown)| (all > shown).then(|| format!("and {} more in quality.parquet", count(all - shown))));
    Ok(json!({"summary": described(summary), "warning": leak(summary), "numbers": numbers(summary, labelled),
        "suspects": suspects, "groups": groups, "outliers": outliers, "more": more}))
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

/// A warning that the scores are too high; none when no test picture has a copy in train.
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

fn numbers(found: &Summary, labelled: bool) -> Vec<Value> {
    let one = |name, value, note, means: bool| means.then(|| named_number(name, count(value), note));
    let all = [
        one("Labels in doubt", found.suspects, "most neighbours are of one other class", labelled),
        one("Copies", found.copies, "the same as another picture before them", true),
        one("Near copies", found.near_copies, "nearly the same as another picture", true),
        one("Test images with a copy in train", found.leaks, "what is tested was learnt", found.tests > 0),
        one("Outliers", found.outliers, "far from every other picture", true),
    ];
    all.into_iter().flatten().collect()
}
