//! Chooses the pictures that the page shows: those of the test split with their predictions, with their bytes in the
//! page.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::data::Prediction;
use super::formatting;
use crate::config::Pipeline;
use crate::image::{DecodeOptions, Recipe, data_uri, thumbnail};
use crate::pictures::source::most_bytes;
use crate::pictures::{DecodeMemory, Listed, Shown, Source};
use crate::plan::Plan;
use crate::stages::evaluate::Explained;
use crate::stages::scan::Listing;

/// Longer side of a picture in the page, in pixels.
pub const LONGEST: usize = 160;

/// Indices of predictions by the reason to show them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Choice {
    wrong: Vec<usize>,
    uncertain: Vec<usize>,
    right: Vec<usize>,
}

/// Explanations that are shown beside a mistake.
#[derive(Clone, Copy)]
pub struct Beside<'a> {
    /// The train pictures nearest to each mistake.
    pub explained: &'a [Explained],
    /// Returns the JPEG of a heat map, which shows where the classifier looked.
    pub heat: &'a dyn Fn(&Prediction) -> Option<Vec<u8>>,
}

impl Beside<'_> {
    /// Adds the explanations to a mistake.
    fn add<E>(
        &self,
        prediction: &Prediction,
        sample: &mut Value,
        picture: &mut impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<(), E> {
        let explained = self.explained.iter().find(|one| one.path == prediction.path);
        let mut nearest = Vec::new();
        for near in explained.iter().flat_map(|one| &one.nearest) {
            let source = picture(&near.path)?.map(|jpeg| data_uri(&jpeg));
            nearest.push(json!({"path": near.path, "label": near.label, "source": source}));
        }
        sample["nearest"] = json!(nearest);
        sample["heat"] = json!((self.heat)(prediction).map(|jpeg| data_uri(&jpeg)));
        Ok(())
    }
}

/// At most `count` test pictures; `picture` returns the JPEG of the picture at a path, or none when it cannot be read
/// any more.
pub fn predicted<E>(
    predictions: &[Prediction],
    count: usize,
    beside: Beside,
    mut picture: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
) -> Result<Value, E> {
    let choice = choose(predictions, count);
    let wrong = predictions.iter().filter(|one| !one.is_right()).count();
    let notes = [
        format!(
            "{} of {} wrong, the most confident first",
            formatting::count(wrong),
            formatting::plural(predictions.len(), "test image")
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
                let mut sample = sample(prediction, &bytes);
                if !prediction.is_right() {
                    beside.add(prediction, &mut sample, &mut picture)?;
                }
                pictures.push(sample);
            }
        }
        if !pictures.is_empty() {
            let wide = pictures.iter().any(|one: &Value| !one["heat"].is_null());
            groups.push(json!({"title": title, "note": note, "pictures": pictures, "wide": wide}));
        }
    }
    let about = [
        "Pictures that the classifier had not seen, with the class that it names and how sure it is.",
        beside_a_mistake(&groups),
    ];
    let about = about.join(" ");
    let about = about.trim_end();
    Ok(json!({"title": "Test pictures", "about": about, "groups": groups}))
}

/// The sentence about heat maps and nearest pictures, if some picture has them; else empty.
fn beside_a_mistake(groups: &[Value]) -> &'static str {
    let pictures = || groups.iter().flat_map(|group| group["pictures"].as_array().into_iter().flatten());
    let heat = pictures().any(|one| !one["heat"].is_null());
    let nearest = pictures().any(|one| one["nearest"].as_array().is_some_and(|all| !all.is_empty()));
    match (heat, nearest) {
        (true, true) => {
            "Beside a mistake: warm where the picture speaks for the class that was named, and the train pictures \
             nearest to it."
        }
        (true, false) => "Beside a mistake: warm where the picture speaks for the class that was named.",
        (false, true) => "Beside a mistake: the train pictures nearest to it.",
        (false, false) => "",
    }
}

/// `count` of all pictures, for a page without predictions.
pub fn gallery<E>(
    pictures: &[(&str, Option<&str>)],
    count: usize,
    mut picture: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
) -> Result<Value, E> {
    let all: Vec<usize> = (0..pictures.len()).collect();
    let of = |i: usize| (pictures[i].1.unwrap_or_default(), pictures[i].0);
    let labelled = pictures.iter().any(|(_, label)| label.is_some());
    let note = if labelled { "drawn from the classes in turn" } else { "drawn by the hash of the path" };
    let mut shown = Vec::new();
    for (path, label) in spread(of, &all, count).into_iter().map(|i| pictures[i]) {
        if let Some(jpeg) = picture(path)? {
            let source = data_uri(&jpeg);
            shown.push(
                json!({"path": path, "source": source, "label": label, "said": null, "heat": null, "nearest": []}),
            );
        }
    }
    let note =
        format!("{} of {}, {note}", formatting::count(shown.len()), formatting::plural(pictures.len(), "picture"));
    let groups: &[Value] = match shown.is_empty() {
        true => &[],
        false => &[json!({"title": "Some of them", "note": note, "pictures": shown, "wide": false})],
    };
    let about = "As they are read, before they are resized and cut.";
    Ok(json!({"title": "Pictures", "about": about, "groups": groups}))
}

/// A picture with its captions, and its bytes as a `data:` URL. The confidence is rounded as scikit-learn and pandas
/// print it (0.9996 is `1.00`); the width of the bar is 0 to 100.
fn sample(prediction: &Prediction, jpeg: &[u8]) -> Value {
    let Prediction { path, label, predicted, confidence, .. } = prediction;
    let (two, bar) = (format!("{confidence:.2}"), format!("{:.0}", 100.0 * confidence));
    let said = json!({"predicted": predicted, "confidence": two, "bar": bar, "right": prediction.is_right()});
    json!({"path": path, "source": data_uri(jpeg), "label": label, "said": said, "heat": null, "nearest": []})
}

impl Prediction {
    /// True when the predicted class is the picture's.
    pub fn is_right(&self) -> bool {
        self.label == self.predicted
    }
}

/// Half of the places are for mistakes, a quarter for close calls, the rest for other predictions; places that one
/// group does not need go to the next.
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
    let of = |i: usize| (predictions[i].label.as_str(), predictions[i].path.as_str());
    let others = spread(of, &right[uncertain.len()..], room - uncertain.len());
    Choice { wrong, uncertain, right: others }
}

/// Chooses `count` indices of `among`, class by class in turn, and within a class by the hash of the path, so that the
/// choice is reproducible and independent of the folder's order. `of` returns class and path.
fn spread<'a>(of: impl Fn(usize) -> (&'a str, &'a str), among: &[usize], count: usize) -> Vec<usize> {
    let mut queues: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for &i in among {
        let (class, path) = of(i);
        queues.entry(class).or_default().push((*blake3::hash(path.as_bytes()).as_bytes(), i));
    }
    queues.values_mut().for_each(|queue| queue.sort_unstable());
    let longest = queues.values().map(Vec::len).max().unwrap_or(0);
    let turns = (0..longest).flat_map(|turn| queues.values().filter_map(move |queue| Some(queue.get(turn)?.1)));
    turns.take(count).collect()
}

/// Makes thumbnails of the pictures of a listing.
#[derive(Debug)]
pub struct Thumbnails<'a> {
    listing: &'a Listing,
    pipeline: &'a Pipeline,
    recipe: &'a Recipe,
    memory: DecodeMemory,
}

impl<'a> Thumbnails<'a> {
    /// Thumbnails of the pictures of a run.
    pub fn new(plan: &'a Plan, listing: &'a Listing) -> Self {
        let memory = DecodeMemory::new(plan.pipeline.decode_memory());
        Self { listing, pipeline: &plan.pipeline, recipe: &plan.backbone.recipe, memory }
    }

    /// The picture at `path`, its longer side at most `longest` pixels; none when it is missing or cannot be read any
    /// more.
    pub fn of(&self, path: &str, decoding: &DecodeOptions, longest: usize) -> Option<Vec<u8>> {
        thumbnail(&*self.whole(path, decoding)?, longest).ok()
    }

    /// The picture at `path` in its own size; none as in [`of`](Self::of).
    pub fn whole(&self, path: &str, decoding: &DecodeOptions) -> Option<Shown> {
        let picture = self.listing.find(path)?;
        let source = Listed::new(self.pipeline, std::slice::from_ref(&*picture));
        let opened = source.open(0, most_bytes(decoding)).ok()?;
        self.memory.show(opened, self.recipe, decoding).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::evaluate::Neighbour;
    use std::collections::BTreeSet;

    fn predictions(n: usize, wrong_every: usize) -> Vec<Prediction> {
        let one = |i: usize| Prediction {
            path: format!("{i:03}.jpg"),
            label: format!("c{}", i % 5),
            predicted: if i.is_multiple_of(wrong_every) { "other".into() } else { format!("c{}", i % 5) },
            confidence: 0.2 + 0.79 * ((i * 37 % 100) as f64 / 100.0),
            known: None,
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
    fn a_confidence_is_rounded() {
        // rounded to the nearest of two decimals as scikit-learn and pandas print it, not rounded down
        let told = [0.9996, 0.9949, 0.996, 0.5, 0.126, 0.004].map(|confidence| {
            let one =
                Prediction { path: "a.jpg".into(), label: "a".into(), predicted: "a".into(), confidence, known: None };
            sample(&one, &[])["said"]["confidence"].as_str().map(String::from).unwrap_or_default()
        });
        assert_eq!(told, ["1.00", "0.99", "1.00", "0.50", "0.13", "0.00"]);
    }

    #[test]
    fn an_unreadable_picture_is_left_out() {
        let all = predictions(8, 1000);
        let mut asked = 0;
        let beside = Beside { explained: &[], heat: &|_| None };
        let section = predicted::<()>(&all, 8, beside, |path| {
            asked += 1;
            Ok((path != "003.jpg").then(|| vec![1, 2, 3]))
        });
        let section = section.expect("no error");
        let groups = section["groups"].as_array().expect("groups");
        let shown: usize = groups.iter().map(|group| group["pictures"].as_array().map_or(0, Vec::len)).sum();
        assert_eq!((asked, shown), (8, 7));
        assert_eq!(groups[0]["pictures"][0]["source"], "data:image/jpeg;base64,AQID");
    }

    #[test]
    fn pictures_beside_a_mistake_are_told_of_where_there_are_any() {
        let near = || Neighbour { path: "t.jpg".into(), label: Some("c1".into()) };
        let explained = [Explained { path: "000.jpg".into(), nearest: vec![near()] }];
        let heat = |one: &Prediction| (one.path == "000.jpg").then(|| vec![1]);
        let about = |wrong_every, beside| {
            let section = predicted::<()>(&predictions(8, wrong_every)[..], 8, beside, |_| Ok(Some(vec![1])));
            section.expect("no error")["about"].as_str().expect("text").to_string()
        };
        let none = about(3, Beside { explained: &[], heat: &|_| None });
        assert!(none.ends_with("how sure it is."), "{none}");
        let both = about(3, Beside { explained: &explained, heat: &heat });
        assert!(both.ends_with("for the class that was named, and the train pictures nearest to it."), "{both}");
        let near = about(3, Beside { explained: &explained, heat: &|_| None });
        assert!(near.ends_with("Beside a mistake: the train pictures nearest to it."), "{near}");
        let heat = about(3, Beside { explained: &[], heat: &heat });
        assert!(heat.ends_with("for the class that was named."), "{heat}");
    }

    #[test]
    fn a_gallery_takes_the_classes_in_turn() {
        let names: Vec<String> = (0..40).map(|i| format!("{i:03}.jpg")).collect();
        let label = |i: usize| Some(["a", "b", "c"][if i < 38 { 0 } else { i - 37 }]);
        let pictures: Vec<_> = names.iter().enumerate().map(|(i, name)| (name.as_str(), label(i))).collect();
        let section = gallery::<()>(&pictures, 4, |_| Ok(Some(vec![0]))).expect("no error");
        let group = &section["groups"][0];
        let shown: Vec<_> = group["pictures"].as_array().into_iter().flatten().map(|one| &one["label"]).collect();
        assert_eq!(shown, ["a", "b", "c", "a"]);
        assert_eq!(group["note"], "4 of 40 pictures, drawn from the classes in turn");
        assert_eq!(gallery::<()>(&pictures, 4, |_| Ok(None)).expect("no error")["groups"], json!([]));
    }
}
