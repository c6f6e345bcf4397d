//! The page as the template gets it: each section with its text, numbers and charts, or none where the run has no data
//! for it.
//!
//! A new section is a field here, its title in [`Page::links`], and a block of the same id in `report.html`.

use serde::Serialize;

use super::charts::{Chart, colours, network, scatter, spectrum};
use super::data::ReportData;
use super::formatting::{count, form, number, percent, plural};
use super::provenance::Provenance;
use super::{calibration, doubts, figures, files, samples, scores, timing};

/// The most classes that are listed openly; a longer list is folded.
const OPEN: usize = 40;

/// The contents of the page.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    pub title: String,
    pub version: &'static str,
    pub colours: Colours,
    pub lead: String,
    /// Notes on parts that the run does not have, with the reason.
    pub notes: Vec<String>,
    pub links: Vec<Link>,
    pub tiles: Vec<Tile>,
    pub samples: samples::Section,
    pub scores: Option<scores::Section>,
    pub calibration: Option<calibration::Section>,
    pub quality: Option<doubts::Section>,
    pub files: Option<files::Section>,
    pub counts: Counts,
    pub training: Option<Training>,
    pub components: Option<Components>,
    pub columns: Option<Columns>,
    pub timing: Option<timing::Section>,
    pub ran: Ran,
}

/// The colours of the light page and of the dark one, as variables of the style sheet.
#[derive(Clone, Debug, Serialize)]
pub struct Colours {
    pub light: String,
    pub dark: String,
}

/// A link to a section.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Link {
    pub id: &'static str,
    pub title: &'static str,
}

/// A key figure.
#[derive(Clone, Debug, Serialize)]
pub struct Tile {
    pub label: &'static str,
    pub value: String,
    pub note: String,
    /// True for the most important figure, which is drawn larger.
    pub main: bool,
}

/// A value with its name, in a list of them.
#[derive(Clone, Debug, Serialize)]
pub struct NamedValue {
    pub name: &'static str,
    pub value: String,
}

/// The settings of the run and the command that computes it again: folded on a screen, open on paper.
#[derive(Clone, Debug, Serialize)]
pub struct Ran {
    pub values: Vec<NamedValue>,
    /// The drawing of the network and of the steps that follow it.
    pub network: Option<String>,
    /// `2026-11-24 12:53`, UTC.
    pub date: String,
    pub file: String,
    pub yaml: String,
    pub command: String,
}

/// Pictures by class and split.
#[derive(Clone, Debug, Serialize)]
pub struct Counts {
    pub title: &'static str,
    pub summary: String,
    pub rows: Vec<CountRow>,
    pub folded: bool,
}

/// Pictures of a class.
#[derive(Clone, Debug, Serialize)]
pub struct CountRow {
    pub name: String,
    pub train: String,
    pub test: String,
    /// Widths of the bars, 0 to 100.
    pub bars: [String; 2],
}

/// The course of the training.
#[derive(Clone, Debug, Serialize)]
pub struct Training {
    pub values: Vec<NamedValue>,
    pub loss: Option<String>,
    pub validation: Option<String>,
}

/// The components.
#[derive(Clone, Debug, Serialize)]
pub struct Components {
    pub summary: String,
    pub scatter: Option<String>,
    pub thinned: Option<String>,
    pub legend: Vec<Entry>,
    pub folded: bool,
    pub has_test: bool,
    pub spectrum: Option<String>,
}

/// A class with its mark.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub icon: String,
    pub name: String,
}

/// The result of the selection of columns.
#[derive(Clone, Debug, Serialize)]
pub struct Columns {
    pub summary: String,
    /// Widths of the bars of kept and dropped, 0 to 100.
    pub bars: [String; 2],
    pub kept: String,
    pub dropped: String,
    /// The histogram of the columns' scores, and a note on it.
    pub chart: Option<String>,
    pub note: String,
}

impl Page {
    /// Makes the page of the report data. `samples` are the pictures to show, `quality` is the section of the
    /// comparison of pictures, `files` that of the files without features.
    pub fn new(
        data: &ReportData,
        samples: samples::Section,
        quality: Option<doubts::Section>,
        files: Option<files::Section>,
    ) -> Self {
        let [light, dark] = colours::variables();
        let mut page = Page {
            title: data.title.clone(),
            version: env!("CARGO_PKG_VERSION"),
            colours: Colours { light, dark },
            lead: lead(data),
            notes: notes(data, &samples),
            links: Vec::new(),
            tiles: tiles(data),
            samples,
            scores: scores::section(data),
            calibration: data.test.as_ref().and_then(|test| calibration::section(test, data.calibrated.as_ref())),
            quality,
            files,
            counts: counts(data),
            training: training(data),
            components: components(data),
            columns: columns(data),
            timing: timing::section(data),
            ran: ran(data),
        };
        page.notes.extend(page.quality.as_ref().and_then(|quality| quality.warning.clone()));
        page.links = page.links();
        page
    }

    /// The sections that are there, in the order of the page.
    fn links(&self) -> Vec<Link> {
        let all = [
            ("samples", self.samples.title, !self.samples.groups.is_empty()),
            ("scores", "Scores", self.scores.is_some()),
            ("quality", "Data quality", self.quality.is_some()),
            ("files", "Left out", self.files.is_some()),
            ("counts", self.counts.title, true),
            ("training", "Training", self.training.is_some()),
            ("components", "Components", self.components.is_some()),
            ("columns", "Columns", self.columns.is_some()),
            ("timing", "Time and memory", self.timing.is_some()),
            ("ran", "What ran", true),
        ];
        all.into_iter().filter(|(.., there)| *there).map(|(id, title, _)| Link { id, title }).collect()
    }
}

fn inline(chart: Option<Chart>) -> Option<String> {
    chart.map(|chart| chart.inline())
}

fn lead(data: &ReportData) -> String {
    let images = data.extracted.as_ref().map_or(data.sizes.iter().sum(), |extracted| extracted.ok);
    let classes = match data.classes.len() {
        0 => String::new(),
        n => format!(" of {}", plural(n, "class")),
    };
    let what = format!("{}{classes}", plural(images, "image"));
    match &data.test {
        Some(test) if test.support == 1 => {
            let said = if test.accuracy == 1.0 { "right" } else { "wrong" };
            format!("{what}. The classifier was {said} about the only test image, which it had not seen.")
        }
        Some(test) => {
            let right = if test.accuracy == 1.0 { "all".to_string() } else { percent(test.accuracy) };
            format!(
                "{what}. The classifier was right for {right} of {} test images that it had not seen.",
                count(test.support)
            )
        }
        None => format!("{what}."),
    }
}

fn notes(data: &ReportData, samples: &samples::Section) -> Vec<String> {
    let mut notes = Vec::new();
    if data.trained.is_none() {
        notes.push(match data.classes.is_empty() {
            true => "No labels, so no classifier was trained and nothing is scored.".into(),
            false => "No classifier was trained in this run, so nothing is scored.".to_string(),
        });
    } else if data.test.is_none() {
        notes.push("No test split, so the classifier is not scored on pictures that it has not seen.".into());
    } else if samples.groups.is_empty() && data.samples > 0 && !data.predictions.is_empty() {
        notes.push("No test picture could be read again, so none is shown.".into());
    }
    if data.reduced.as_ref().is_some_and(|reduced| reduced.components == 1) {
        notes.push("There is one component only, so the pictures are not drawn on a plane.".into());
    }
    notes
}

fn tiles(data: &ReportData) -> Vec<Tile> {
    let tile = |label, value: String, note: String| Tile { label, value, note, main: false };
    let mut tiles = Vec::new();
    if let Some(test) = &data.test {
        let [low, high] = test.accuracy_interval_95.map(percent);
        let note = format!("95\u{202f}% interval {low} to {high}");
        tiles.push(Tile { main: true, ..tile("Test accuracy", percent(test.accuracy), note) });
        tiles.push(tile("Test images", count(test.support), plural(data.classes.len(), "class")));
    }
    if let Some(extracted) = &data.extracted {
        let note = format!("{} skipped, {} failed", count(extracted.skipped), count(extracted.failed));
        tiles.push(tile("Images", count(extracted.ok), note));
        tiles.push(tile("Features", count(extracted.width), "of each image".into()));
    }
    if let Some(selected) = &data.selected {
        tiles.push(tile("Columns kept", count(selected.kept), format!("of {}", count(selected.of))));
    }
    if let Some(reduced) = &data.reduced {
        let hold = form(reduced.components, "holds", "hold");
        let note = format!("{hold} {} of the variance", percent(reduced.explained));
        tiles.push(tile("Components", count(reduced.components), note));
    }
    tiles
}

fn ran(data: &ReportData) -> Ran {
    let Provenance { date, file, yaml, command } = data.provenance.clone();
    Ran {
        values: data.ran.iter().map(|(name, value)| NamedValue { name, value: value.clone() }).collect(),
        network: inline(network::draw(&data.blocks, &data.steps, "The network and what follows it")),
        date,
        file,
        yaml,
        command,
    }
}

fn counts(data: &ReportData) -> Counts {
    let all = [("all images".to_string(), data.sizes)];
    let rows: Vec<(String, [usize; 2])> = match data.classes.is_empty() {
        true => all.to_vec(),
        false => data.classes.iter().cloned().zip(data.counts.iter().copied()).collect(),
    };
    let most = rows.iter().map(|(_, [train, test])| train + test).max().unwrap_or(0).max(1);
    let width = |n: usize| format!("{:.2}", 100.0 * n as f64 / most as f64);
    let [train, test] = data.sizes;
    let found = form(train + test, "was", "were");
    Counts {
        title: if data.classes.is_empty() { "Images" } else { "Images by class" },
        summary: format!("{} and {} {found} found.", plural(train, "train image"), plural(test, "test image")),
        folded: rows.len() > OPEN,
        rows: rows
            .into_iter()
            .map(|(name, [train, test])| CountRow {
                name,
                train: count(train),
                test: count(test),
                bars: [train, test].map(width),
            })
            .collect(),
    }
}

fn training(data: &ReportData) -> Option<Training> {
    let trained = data.trained.as_ref()?;
    let end = match (trained.ended_by.as_deref(), trained.validation_scores.is_empty()) {
        (Some("line_search"), _) => "no step lowered the loss further, before convergence",
        (Some("max_fun"), _) => "the limit of evaluations was reached before convergence: more of them may help",
        _ if !trained.converged => "the limit of iterations was reached before convergence: more of them may help",
        (_, true) => "the loss no longer fell",
        (_, false) => "the validation accuracy no longer rose",
    };
    let steps = if trained.step() == "epoch" { "Epochs" } else { "Iterations" };
    let mut values = vec![
        ("Train images", count(trained.rows)),
        ("Inputs", plural(trained.inputs, "column")),
        ("Classes", count(trained.classes.len())),
    ];
    if !trained.loss_curve.is_empty() {
        values.extend([(steps, count(trained.epochs)), ("Ended because", end.to_string())]);
    }
    let validated = trained.candidates.iter();
    values
        .extend(validated.map(|c| ("Cross-validated", format!("{}: {} ± {}", c.name, percent(c.mean), percent(c.sd)))));
    values.extend(trained.loss_curve.last().map(|&loss| ("Last loss", number(loss))));
    let best = trained.validation_scores.iter().copied().reduce(f64::max);
    values.extend(best.map(|best| ("Best validation accuracy", percent(best))));
    let [loss, validation] = figures::curves(trained).map(inline);
    let values = values.into_iter().map(|(name, value)| NamedValue { name, value }).collect();
    Some(Training { values, loss, validation })
}

fn components(data: &ReportData) -> Option<Components> {
    let reduced = data.reduced.as_ref()?;
    let ratio: [f64; 2] = [0, 1].map(|i| reduced.ratio.get(i).copied().unwrap_or(0.0));
    let needed = spectrum::needed(reduced, &[0.5, 0.8, 0.9, 0.95, 0.99]);
    let needed: Vec<String> = needed
        .iter()
        .map(|(n, share)| format!("{n} {} {:.0}\u{202f}%", form(*n, "holds", "hold"), 100.0 * share))
        .collect();
    let (k, columns, explained) =
        (plural(reduced.components, "component"), plural(reduced.columns, "column"), percent(reduced.explained));
    let hold = form(reduced.components, "holds", "hold");
    let needed = if needed.is_empty() { String::new() } else { format!(" The first {}.", needed.join(", ")) };
    let scatter = scatter::draw(&data.points, &data.classes, ratio, "Images on the first two components");
    let entries = data.classes.iter().enumerate();
    let legend = entries.map(|(i, name)| Entry { icon: scatter::Mark::of(i).icon(), name: name.clone() });
    let drawn = scatter.is_some();
    Some(Components {
        summary: format!("{k} of {columns} {hold} {explained} of the variance of the train images.{needed}"),
        thinned: (data.points.len() > scatter::MOST)
            .then(|| format!("{} of {} images are drawn.", count(scatter::MOST), count(data.points.len()))),
        legend: if drawn { legend.collect() } else { Vec::new() },
        folded: data.classes.len() > OPEN,
        has_test: data.points.iter().any(|point| point.test),
        scatter: inline(scatter),
        spectrum: inline(spectrum::draw(reduced, "Share of the variance by component, and its sum")),
    })
}

fn columns(data: &ReportData) -> Option<Columns> {
    let selected = data.selected.as_ref()?;
    let dropped = selected.of.saturating_sub(selected.kept);
    let width = |n: usize| format!("{:.2}", 100.0 * n as f64 / selected.of.max(1) as f64);
    let rule = match selected.threshold {
        0.0 => "the same number for every train image".to_string(),
        threshold => format!("of a variance of {} at most over the train images", number(threshold)),
    };
    let (of, n) = (plural(selected.of, "column"), count(dropped));
    let rule = match selected.score {
        Some(score) if selected.outranked > 0 => {
            let constant = match selected.below_threshold {
                0 => String::new(),
                n => format!("{} {} {rule}; ", count(n), form(n, "is", "are")),
            };
            let (less, have) = (count(selected.outranked), form(selected.outranked, "has", "have"));
            format!("{constant}{less} {have} a lower score, {}, than those that were kept", score.word())
        }
        _ => format!("{} {rule}", form(dropped, "it is", "they are")),
    };
    Some(Columns {
        summary: match dropped {
            0 => format!(
                "Of {of} none was dropped: over the train images every variance is above {}.",
                number(selected.threshold)
            ),
            _ => format!("{n} of {of} {} dropped: {rule}.", form(dropped, "was", "were")),
        },
        bars: [selected.kept, dropped].map(width),
        kept: count(selected.kept),
        dropped: n,
        chart: inline(figures::histogram(data)),
        note: spread(data),
    })
}

/// The range of the scores of the kept columns, and the number of columns that have no place in the histogram.
fn spread(data: &ReportData) -> String {
    let mut kept: Vec<f64> =
        data.columns.iter().filter(|(score, kept)| *kept && score.is_finite()).map(|one| one.0).collect();
    kept.sort_unstable_by(f64::total_cmp);
    let name = data.score_name();
    let mut told = match kept.as_slice() {
        [] => String::new(),
        [one] => format!("The {name} of the column that was kept is {}.", number(*one)),
        [least, .., most] => {
            let middle = kept[kept.len() / 2];
            let [least, middle, most] = [*least, middle, *most].map(number);
            format!("The {name} of the columns that were kept goes from {least} to {most}, {middle} in the middle.")
        }
    };
    let zero = data.columns.iter().filter(|(score, _)| *score <= 0.0).count();
    if zero > 0 {
        told += &format!(" {} of {name} 0 {} not drawn.", plural(zero, "column"), form(zero, "is", "are"));
    }
    told
}
