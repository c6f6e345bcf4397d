//! The data for the template of the page: each section with its text, numbers and charts, or none where the run has no
//! data for it.
//!
//! A new section needs a key and a link in [`page`], and a block of the same id in `report.html`.

use serde_json::{Value, json};

use super::charts::{Chart, colours, network, scatter, spectrum};
use super::data::ReportData;
use super::formatting::{count, form, number, percent, plural};
use super::provenance::Provenance;
use super::{calibration, coverage, figures, scores, timing};
use crate::stages::train::{Scored, Trained};

/// The longest list of classes that is shown unfolded.
const OPEN: usize = 40;

/// The data of the page. `samples` are the pictures to show, `quality` is the section of the comparison of pictures,
/// `files` that of the files without features.
pub fn page(data: &ReportData, samples: Value, quality: Option<Value>, files: Option<Value>) -> Value {
    let [light, dark] = colours::variables();
    let (scores, timing, training, counts) =
        (scores::section(data), timing::section(data), training(data), counts(data));
    let (components, columns) = (components(data), columns(data));
    let warning = quality.as_ref().and_then(|quality| quality["warning"].as_str());
    let shown = samples["groups"].as_array().is_some_and(|groups| !groups.is_empty());
    let notes: Vec<String> = notes(data, shown).into_iter().chain(warning.map(String::from)).collect();
    let links = [
        ("samples", samples["title"].as_str().unwrap_or_default(), shown),
        ("scores", "Scores", scores.is_some()),
        ("quality", "Data quality", quality.is_some()),
        ("files", "Left out", files.is_some()),
        ("counts", counts["title"].as_str().unwrap_or_default(), true),
        ("training", "Training", training.is_some()),
        ("components", "Components", components.is_some()),
        ("columns", "Columns", columns.is_some()),
        ("timing", "Time and memory", timing.is_some()),
        ("ran", "What ran", true),
    ];
    let links: Vec<_> = links.into_iter().filter(|(.., there)| *there).map(|(id, title, _)| (id, title)).collect();
    let calibration = data.test.as_ref().and_then(|test| calibration::section(test, data.calibrated.as_ref()));
    let coverage = data.test.as_ref().and_then(|_| coverage::section(&data.predictions));
    json!({"title": data.title, "version": env!("CARGO_PKG_VERSION"), "colours": {"light": light, "dark": dark},
        "lead": lead(data), "notes": notes, "links": links, "tiles": tiles(data), "samples": samples, "scores": scores,
        "calibration": calibration, "coverage": coverage, "quality": quality, "files": files, "counts": counts,
        "training": training, "components": components, "columns": columns, "timing": timing, "ran": ran(data)})
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

fn notes(data: &ReportData, shown: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if data.trained.is_none() {
        notes.push(match data.classes.is_empty() {
            true => "No labels, so no classifier was trained and nothing is scored.".into(),
            false => "No classifier was trained in this run, so nothing is scored.".to_string(),
        });
    } else if data.test.is_none() {
        notes.push("No test split, so the classifier is not scored on pictures that it has not seen.".into());
    } else if !shown && data.samples > 0 && !data.predictions.is_empty() {
        notes.push("No test picture could be read again, so none is shown.".into());
    }
    if data.reduced.as_ref().is_some_and(|reduced| reduced.components == 1) {
        notes.push("There is one component only, so the pictures are not drawn on a plane.".into());
    }
    notes
}

fn tile(label: &str, value: String, note: String, main: bool) -> Value {
    json!({"label": label, "value": value, "note": note, "main": main})
}

fn tiles(data: &ReportData) -> Vec<Value> {
    let mut tiles = Vec::new();
    if let Some(test) = &data.test {
        let [low, high] = test.accuracy_interval_95.map(percent);
        let note = format!("95\u{202f}% interval {low} to {high}");
        tiles.push(tile("Test accuracy", percent(test.accuracy), note, true));
        tiles.push(tile("Test images", count(test.support), plural(data.classes.len(), "class"), false));
    }
    if let Some(extracted) = &data.extracted {
        let note = format!("{} skipped, {} failed", count(extracted.skipped), count(extracted.failed));
        tiles.push(tile("Images", count(extracted.ok), note, false));
        tiles.push(tile("Features", count(extracted.width), "of each image".into(), false));
    }
    if let Some(selected) = &data.selected {
        tiles.push(tile("Columns kept", count(selected.kept), format!("of {}", count(selected.of)), false));
    }
    if let Some(reduced) = &data.reduced {
        let hold = form(reduced.components, "holds", "hold");
        let note = format!("{hold} {} of the variance", percent(reduced.explained));
        tiles.push(tile("Components", count(reduced.components), note, false));
    }
    tiles
}

fn ran(data: &ReportData) -> Value {
    let Provenance { date, file, yaml, command } = &data.provenance;
    // the chart of the network and of the steps that follow it
    let network = inline(network::draw(&data.blocks, &data.steps, "The network and what follows it"));
    json!({"values": data.ran, "network": network, "date": date, "file": file, "yaml": yaml, "command": command})
}

fn counts(data: &ReportData) -> Value {
    let all = [("all images".to_string(), data.sizes)];
    let rows: Vec<(String, [usize; 2])> = match data.classes.is_empty() {
        true => all.to_vec(),
        false => data.classes.iter().cloned().zip(data.counts.iter().copied()).collect(),
    };
    let most = rows.iter().map(|(_, [train, test])| train + test).max().unwrap_or(0).max(1);
    let width = |n: usize| format!("{:.2}", 100.0 * n as f64 / most as f64);
    let [train, test] = data.sizes;
    let found = form(train + test, "was", "were");
    let summary = format!("{} and {} {found} found.", plural(train, "train image"), plural(test, "test image"));
    let row = |(name, [train, test]): &(String, [usize; 2])| {
        let bars = [width(*train), width(*test)];
        json!({"name": name, "train": count(*train), "test": count(*test), "bars": bars})
    };
    json!({"title": if data.classes.is_empty() { "Images" } else { "Images by class" }, "summary": summary,
        "folded": rows.len() > OPEN, "rows": rows.iter().map(row).collect::<Vec<_>>()})
}

fn training(data: &ReportData) -> Option<Value> {
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
    values.extend(trained.loss_curve.last().map(|&loss| ("Last loss", number(loss))));
    let best = trained.validation_scores.iter().copied().reduce(f64::max);
    values.extend(best.map(|best| ("Best validation accuracy", percent(best))));
    let [loss, validation] = figures::curves(trained).map(inline);
    Some(json!({"values": values, "compared": compared(trained), "loss": loss, "validation": validation}))
}

/// The classifiers that were compared in cross-validation, the best first.
fn compared(trained: &Trained) -> Option<Value> {
    let mut all: Vec<&Scored> = trained.candidates.iter().collect();
    match trained.auto {
        true => all.sort_by(|a, b| a.loss().map_or(0.0, |a| a[0]).total_cmp(&b.loss().map_or(0.0, |b| b[0]))),
        false => all.sort_by(|a, b| b.mean.total_cmp(&a.mean)),
    }
    let row = |one: &&Scored| {
        let loss = one.loss().map(|[mean, error]| format!("{} ± {}", number(mean), number(error)));
        let accuracy = format!("{} ± {}", percent(one.mean), percent(one.sd));
        json!({"name": one.name, "accuracy": accuracy, "loss": loss, "seconds": format!("{:.1}", one.seconds),
            "kept": one.name == trained.description})
    };
    let rule = match trained.auto {
        true => "the simplest whose log loss is within one standard error of the least was kept",
        false => "the most accurate was kept",
    };
    let folds = all.first()?.folds.len();
    let note = format!("Means over {folds} folds of the train images; {rule}.");
    Some(json!({"note": note, "rows": all.iter().map(row).collect::<Vec<_>>(), "left_out": trained.left_out}))
}

fn components(data: &ReportData) -> Option<Value> {
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
    let entries = data.classes.iter().enumerate().filter(|_| scatter.is_some());
    let legend: Vec<_> = entries.map(|(i, name)| (scatter::Mark::of(i).icon(), name)).collect();
    let thinned = (data.points.len() > scatter::MOST)
        .then(|| format!("{} of {} images are drawn.", count(scatter::MOST), count(data.points.len())));
    let spectrum = spectrum::draw(reduced, "Share of the variance by component, and its sum");
    let summary = format!("{k} of {columns} {hold} {explained} of the variance of the train images.{needed}");
    Some(json!({"summary": summary, "scatter": inline(scatter), "thinned": thinned, "legend": legend,
        "folded": data.classes.len() > OPEN, "has_test": data.points.iter().any(|point| point.test),
        "spectrum": inline(spectrum)}))
}

fn columns(data: &ReportData) -> Option<Value> {
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
    let summary = match dropped {
        0 => {
            let threshold = number(selected.threshold);
            format!("Of {of} none was dropped: over the train images every variance is above {threshold}.")
        }
        _ => format!("{n} of {of} {} dropped: {rule}.", form(dropped, "was", "were")),
    };
    let bars = [width(selected.kept), width(dropped)];
    Some(json!({"summary": summary, "bars": bars, "kept": count(selected.kept),
        "dropped": n, "chart": inline(figures::histogram(data)), "note": spread(data)}))
}

/// The range of the scores of the kept columns, and the number of columns that the histogram leaves out.
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
