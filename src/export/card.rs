//! The model card of a run in Markdown: what it was trained on, how well it does, and what it does not know.

use std::fmt::Write;

use serde_json::Value;

use super::ExportError;
use crate::io::sealed;
use crate::learn::metrics::Metrics;
use crate::models;
use crate::pictures::predictor::Saved;
use crate::stages::evaluate::Document;
use crate::stages::report::formatting;
use crate::store::Summary;

/// The card of a finished run.
pub fn card(summary: &Summary) -> Result<String, ExportError> {
    let saved = Saved::read(&summary.dir)?;
    let document: Document = match summary.metrics.is_null() {
        true => Document::default(),
        false => sealed::read(&summary.dir.metrics())?,
    };
    let mut page = format!("# {}\n\n", escaped(&summary.name()));
    let classes: Vec<String> = saved.classes.iter().map(|class| escaped(class)).collect();
    let kind = document.classifier.as_str();
    let _ = writeln!(
        page,
        "Tells pictures of {} classes apart: {}. A pretrained network makes {} features of a picture; a classifier ({kind}) that was \
         trained on them gives the probability of every class. Made by featurize {}.\n",
        classes.len(),
        classes.join(", "),
        saved.width(),
        saved.card.featurize
    );
    network(&mut page, &saved);
    data(&mut page, &summary.run, &document);
    if let Some(test) = &document.test {
        scores(&mut page, test, &document.classes);
    }
    limits(&mut page, &document, &summary.run);
    Ok(page)
}

fn network(page: &mut String, saved: &Saved) {
    let card = &saved.card;
    let row = card.source.and_then(|source| models::find(&card.model)?.weights.iter().find(|row| row.source == source));
    let licence = row.map_or("not known: they are the user's own", |row| row.licence);
    let about = row.map_or(String::new(), |row| format!(", {}", row.about));
    let _ = writeln!(page, "## Network\n");
    let _ = writeln!(page, "* Model: `{}`, layer `{}`", card.model, card.layer);
    let _ = writeln!(page, "* Weights: {}{about}; SHA-256 `{}`", escaped(&card.weights), card.weights_sha256);
    let _ = writeln!(page, "* Licence of the weights: {licence}");
    let _ = writeln!(page, "* Preprocessing: {}\n", formatting::recipe(&card.recipe));
}

fn data(page: &mut String, run: &Value, document: &Document) {
    let number = |key: &str| run["extract"][key].as_u64().unwrap_or(0);
    let rows = |split: &Option<Metrics>| split.as_ref().map_or(0, |scores| scores.support);
    let _ = writeln!(page, "## Data\n");
    let root = run["config"]["input"]["root"].as_str().unwrap_or_default();
    let _ = writeln!(page, "* Pictures: `{root}`, {} used, {} that could not be read", number("ok"), number("failed"));
    let split = format!("{} to train on, {} to test on", rows(&document.train), rows(&document.test));
    let _ =
        writeln!(page, "* Split: {split}; selection, scale, components and classifier are fitted on the first alone");
    if let Some(test) = &document.test {
        let of = |(class, scores): (&String, &crate::learn::metrics::ClassScores)| {
            format!("{} {}", escaped(class), scores.support)
        };
        let counts: Vec<String> = document.classes.iter().zip(&test.per_class).map(of).collect();
        let _ = writeln!(page, "* Test pictures by class: {}", counts.join(", "));
    }
    page.push('\n');
}

fn scores(page: &mut String, test: &Metrics, classes: &[String]) {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let [low, high] = test.accuracy_interval_95.map(percent);
    let _ = writeln!(page, "## Scores on {} test pictures\n", test.support);
    let _ = writeln!(page, "| score | value |\n|---|---|");
    let _ = writeln!(page, "| accuracy | {} (95 % interval {low} to {high}) |", percent(test.accuracy));
    let _ = writeln!(page, "| balanced accuracy | {} |", percent(test.balanced_accuracy));
    let _ = writeln!(page, "| macro F1 | {:.3} |", test.macro_avg.f1_score);
    let _ = writeln!(page, "| log loss | {:.3} |", test.log_loss);
    let _ = writeln!(page, "| calibration error | {} |", percent(test.calibration_error));
    let _ = writeln!(page, "\n| class | precision | recall | F1 | pictures |\n|---|---|---|---|---|");
    for (class, scores) in classes.iter().map(|class| escaped(class)).zip(&test.per_class) {
        let [precision, recall] = [scores.precision, scores.recall].map(percent);
        let _ = writeln!(page, "| {class} | {precision} | {recall} | {:.3} | {} |", scores.f1_score, scores.support);
    }
    page.push('\n');
}

fn limits(page: &mut String, document: &Document, run: &Value) {
    let _ = writeln!(page, "## Limits\n");
    let _ = writeln!(page, "* Every picture gets one of the classes above, also one that shows nothing of the kind.");
    let _ = writeln!(page, "* The scores hold for pictures like those of the test split, prepared as above.");
    match &document.test {
        None => {
            let _ = writeln!(page, "* There was no test split: how well it does on new pictures is not known.");
        }
        Some(test) if test.per_class.iter().any(|scores| scores.support < 30) => {
            let _ = writeln!(page, "* Some classes have fewer than 30 test pictures: their scores are rough.");
        }
        Some(_) => {}
    }
    if let Some(copies) = run["quality"]["leaks"].as_u64().filter(|&copies| copies > 0) {
        let _ =
            writeln!(page, "* {copies} test pictures have a near copy in the train split: the scores are too good.");
    }
}

/// Text that Markdown shows as it is.
fn escaped(text: &str) -> String {
    let special = |c: char| "\\`*_{}[]<>#|".contains(c);
    text.chars()
        .flat_map(|c| special(c).then_some('\\').into_iter().chain([if c.is_control() { ' ' } else { c }]))
        .collect()
}
