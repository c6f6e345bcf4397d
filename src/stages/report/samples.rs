//! Which test pictures are shown with their prediction, and their bytes inside the page.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::facts::Prediction;
use super::words;
use crate::image::{DecodeOptions, data_uri, decode, thumbnail};
use crate::stages::scan::Listing;

/// Longer side of a picture in the page, in pixels.
pub const LONGEST: usize = 160;

/// Pictures that are shown for the same reason.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    pub title: &'static str,
    pub note: String,
    pub pictures: Vec<Sample>,
}

/// A test picture with its prediction.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    pub path: String,
    /// The picture as a `data:` address.
    pub source: String,
    pub predicted: String,
    /// `0.98`.
    pub confidence: String,
    /// Width of the bar, 0 to 100.
    pub bar: String,
    /// The class, where the prediction is wrong.
    pub truth: Option<String>,
}

/// Indices of predictions by the reason to show them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Choice {
    wrong: Vec<usize>,
    uncertain: Vec<usize>,
    right: Vec<usize>,
}

/// Groups of `count` pictures in all, as far as there are so many; `picture` gives the JPEG of a path, none when it cannot be read any more.
pub fn groups<E>(
    predictions: &[Prediction],
    count: usize,
    mut picture: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
) -> Result<Vec<Group>, E> {
    let choice = choose(predictions, count);
    let wrong = predictions.iter().filter(|one| !one.is_right()).count();
    let notes = [
        format!(
            "{} of {} wrong, the most confident first",
            words::count(wrong),
            words::plural(predictions.len(), "test image")
        ),
        "right, with the least confidence".to_string(),
        "drawn from the classes in turn".to_string(),
    ];
    let titles = ["Mistakes", "Close calls", "Right"];
    let members = [choice.wrong, choice.uncertain, choice.right];
    let mut groups = Vec::new();
    for ((title, note), members) in titles.into_iter().zip(notes).zip(members) {
        let mut pictures = Vec::new();
        for prediction in members.into_iter().filter_map(|i| predictions.get(i)) {
            if let Some(bytes) = picture(&prediction.path)? {
                pictures.push(sample(prediction, &bytes));
            }
        }
        if !pictures.is_empty() {
            groups.push(Group { title, note, pictures });
        }
    }
    Ok(groups)
}

fn sample(prediction: &Prediction, jpeg: &[u8]) -> Sample {
    Sample {
        path: prediction.path.clone(),
        source: data_uri(jpeg),
        predicted: prediction.predicted.clone(),
        // 1.00 is for certainty only
        confidence: format!("{:.2}", (prediction.confidence * 100.0 + 1e-6).floor() / 100.0),
        bar: format!("{:.0}", 100.0 * prediction.confidence),
        truth: (!prediction.is_right()).then(|| prediction.label.clone()),
    }
}

impl Prediction {
    /// True when the predicted class is the picture's.
    pub fn is_right(&self) -> bool {
        self.label == self.predicted
    }
}

/// Half of the room for mistakes, a quarter for close calls, the rest for others; room that one does not need, the next may take.
fn choose(predictions: &[Prediction], count: usize) -> Choice {
    let (mut right, mut wrong): (Vec<usize>, Vec<usize>) =
        (0..predictions.len()).partition(|&i| predictions[i].is_right());
    let by_confidence =
        |a: &usize, b: &usize| predictions[*a].confidence.total_cmp(&predictions[*b].confidence).then(a.cmp(b));
    wrong.sort_by(|a, b| by_confidence(b, a));
    right.sort_by(by_confidence);
    let half = count.div_ceil(2);
    let for_right = (count - half).min(right.len());
    wrong.truncate(count - for_right);
    let room = (count - wrong.len()).min(right.len());
    let close = room.div_ceil(2).min(count.div_ceil(4));
    let uncertain: Vec<usize> = right.iter().take(close).copied().collect();
    let others = spread(predictions, &right[uncertain.len()..], room - uncertain.len());
    Choice { wrong, uncertain, right: others }
}

/// `count` of `among`, class by class in turn; within a class by the hash of the path, which is neither the folder's order nor chance.
fn spread(predictions: &[Prediction], among: &[usize], count: usize) -> Vec<usize> {
    let classes: BTreeSet<&str> = among.iter().map(|&i| predictions[i].label.as_str()).collect();
    let queues = classes.into_iter().map(|class| {
        let members = among.iter().copied().filter(|&i| predictions[i].label == class);
        let mut members: Vec<_> =
            members.map(|i| (*blake3::hash(predictions[i].path.as_bytes()).as_bytes(), i)).collect();
        members.sort_unstable();
        members.into_iter().map(|(_, i)| i).collect::<Vec<usize>>()
    });
    let queues: Vec<Vec<usize>> = queues.collect();
    let longest = queues.iter().map(Vec::len).max().unwrap_or(0);
    let turns = (0..longest).flat_map(|turn| queues.iter().filter_map(move |queue| queue.get(turn).copied()));
    turns.take(count).collect()
}

/// The thumbnail of a picture of the listing, its longer side `longest` pixels at most; none when it is not there or cannot be read any more.
pub fn picture(
    listing: &Listing,
    root: &Path,
    path: &str,
    (decoding, longest): (&DecodeOptions, usize),
) -> Option<Vec<u8>> {
    let at = listing.pictures.binary_search_by(|picture| picture.path.as_str().cmp(path)).ok()?;
    let bytes = std::fs::read(listing.pictures.get(at)?.location(root)).ok()?;
    let image = decode(&bytes, decoding).ok()?;
    thumbnail(&image, longest).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions(n: usize, wrong_every: usize) -> Vec<Prediction> {
        let one = |i: usize| Prediction {
            path: format!("{i:03}.jpg"),
            label: format!("c{}", i % 5),
            predicted: if i.is_multiple_of(wrong_every) { "other".into() } else { format!("c{}", i % 5) },
            confidence: 0.2 + 0.79 * ((i * 37 % 100) as f64 / 100.0),
        };
        (0..n).map(one).collect()
    }

    #[test]
    fn room_is_used_up_and_nothing_is_shown_twice() {
        for (n, wrong_every, count) in [
            (100, 3, 24),
            (100, 50, 24),
            (100, 1000, 24),
            (100, 1, 24),
            (10, 2, 24),
            (100, 3, 1),
            (100, 3, 0),
            (0, 1, 24),
        ] {
            let all = predictions(n, wrong_every);
            let Choice { wrong, uncertain, right } = choose(&all, count);
            let shown: BTreeSet<usize> = [&wrong, &uncertain, &right].into_iter().flatten().copied().collect();
            assert_eq!(shown.len(), wrong.len() + uncertain.len() + right.len());
            assert_eq!(shown.len(), count.min(n), "{n} {wrong_every} {count}");
            assert!(
                wrong.iter().all(|&i| !all[i].is_right()) && uncertain.iter().chain(&right).all(|&i| all[i].is_right())
            );
        }
    }

    #[test]
    fn mistakes_are_by_falling_and_close_calls_by_rising_confidence() {
        let all = predictions(100, 3);
        let Choice { wrong, uncertain, right } = choose(&all, 24);
        assert_eq!((wrong.len(), uncertain.len(), right.len()), (12, 6, 6));
        assert!(wrong.windows(2).all(|pair| all[pair[0]].confidence >= all[pair[1]].confidence));
        assert!(uncertain.windows(2).all(|pair| all[pair[0]].confidence <= all[pair[1]].confidence));
        let classes: BTreeSet<&str> = right.iter().map(|&i| all[i].label.as_str()).collect();
        assert_eq!(classes.len(), 5, "every class once before one comes twice");
    }

    #[test]
    fn an_unreadable_picture_is_left_out() {
        let all = predictions(8, 1000);
        let mut asked = 0;
        let groups = groups::<()>(&all, 8, |path| {
            asked += 1;
            Ok((path != "003.jpg").then(|| vec![1, 2, 3]))
        });
        let groups = groups.expect("no error");
        let shown: usize = groups.iter().map(|group| group.pictures.len()).sum();
        assert_eq!((asked, shown), (8, 7));
        assert_eq!(groups[0].pictures[0].source, "data:image/jpeg;base64,AQID");
    }
}
