//! The model card of a run in Markdown: its data, its scores, its limits, and the licence of its weights.

use std::path::Path;

use serde_json::Value;

use super::ExportError;
use crate::io::sealed;
use crate::learn::metrics::{Metrics, wilson};
use crate::models;
use crate::models::spec::{FileSpec, Hash, WeightsSpec};
use crate::pictures::predictor::Saved;
use crate::plan::NetworkCard;
use crate::stages::evaluate::Document;
use crate::stages::report::formatting::{self, number, percent, plural};
use crate::store::Summary;

/// The number of test pictures below which the scores of a class are called rough.
const FEW: u64 = 30;

/// Returns the card of a finished run.
///
/// # Errors
/// The run has no classifier, or one of its files is damaged.
pub fn card(summary: &Summary) -> Result<String, ExportError> {
    let saved = Saved::read(&summary.dir)?;
    let document: Document = match summary.metrics.is_null() {
        true => Document::default(),
        false => sealed::read(&summary.dir.metrics())?,
    };
    let mut page = format!("# {}\n\n", escaped(&summary.name()));
    let classes: Vec<String> = saved.classes.iter().map(|class| escaped(class)).collect();
    line(
        &mut page,
        &format!(
            "This model tells pictures of {} apart: {}. A pretrained network computes {} of a picture, and a \
             classifier that was trained on such features ({}) gives the probability of each class. It was made by \
             featurize {}.\n",
            plural(classes.len(), "class"),
            classes.join(", "),
            plural(saved.width(), "feature"),
            document.classifier,
            saved.card.featurize
        ),
    );
    network(&mut page, &saved.card);
    data(&mut page, summary, &document);
    match &document.test {
        Some(test) => scores(&mut page, test, &document),
        None => line(&mut page, "## Scores\n\nThere was no test split, and nothing was measured on new pictures.\n"),
    }
    limits(&mut page, &document, &summary.run);
    Ok(page)
}

fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}

fn network(page: &mut String, card: &NetworkCard) {
    line(page, "## Network\n");
    let after = card.source.map_or("an ONNX file".to_string(), |source| format!("after {source}"));
    line(page, &format!("* Model: `{}` ({after}), layer `{}`", card.model, card.layer));
    line(page, &format!("* Weights: {}, SHA-256 `{}`", escaped(&card.weights), card.weights_sha256));
    line(page, &format!("* Licence of the weights: {}", licence(card)));
    line(page, &format!("* Preprocessing: {}", formatting::recipe(&card.recipe)));
    line(page, &format!("* Decoding: {}\n", formatting::decoding(&card.image)));
}

/// The licence of published weights; it is unknown for other weights.
fn licence(card: &NetworkCard) -> &'static str {
    if card.weights_sha256.starts_with("random-") {
        return "none, they are random numbers";
    }
    let rows = models::find(&card.model).into_iter().flat_map(|model| model.weights);
    rows.into_iter().find(|row| is_of(row, card)).map_or("not known to featurize", |row| row.licence)
}

/// Whether the weights of the card are those of `row`: by their hash if it is published, else by the name of their
/// file.
fn is_of(row: &WeightsSpec, card: &NetworkCard) -> bool {
    let name = Path::new(&card.weights).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_file = |file: &FileSpec| match file.hash {
        Hash::Sha256(hash) => card.weights_sha256.starts_with(hash),
        Hash::Md5(_) | Hash::Unknown => file.is_told_by_its_name() && file.name == name,
    };
    row.sha256 == Some(card.weights_sha256.as_str()) || row.files.iter().any(is_file)
}

fn data(page: &mut String, summary: &Summary, document: &Document) {
    let (ok, failed) = summary.pictures();
    let pictures = |n: u64| plural(n as usize, "picture");
    let support = |split: &Option<Metrics>| split.as_ref().map_or(0, |scores| scores.support);
    let root = summary.run["config"]["input"]["root"].as_str().unwrap_or_default();
    line(page, "## Data\n");
    line(page, &format!("* Source: `{root}`, {} used, {} could not be read", pictures(ok), pictures(failed)));
    let [train, test] = [&document.train, &document.test].map(|split| plural(support(split), "picture"));
    line(page, &format!("* Splits: {train} to train on, {test} to test on. Everything is fitted on the first alone"));
    let scores = [("train", &document.train), ("test", &document.test)];
    let splits: Vec<(&str, &Metrics)> =
        scores.into_iter().filter_map(|(name, all)| Some((name, all.as_ref()?))).collect();
    if !splits.is_empty() {
        let names: String = splits.iter().map(|(name, _)| format!(" {name} |")).collect();
        line(page, &format!("\n| class |{names}\n|---|{}", "---|".repeat(splits.len())));
        for (i, class) in document.classes.iter().enumerate() {
            let count = |(_, scores): &(&str, &Metrics)| scores.per_class.get(i).map_or(0, |class| class.support);
            let counts: String = splits.iter().map(|split| format!(" {} |", count(split))).collect();
            line(page, &format!("| {} |{counts}", escaped(class)));
        }
    }
    page.push('\n');
}

fn scores(page: &mut String, test: &Metrics, document: &Document) {
    let between = |[low, high]: [f64; 2]| format!("{} to {}", percent(low), percent(high));
    line(page, &format!("## Scores on {}\n", plural(test.support, "test picture")));
    line(page, "| score | value | 95 % interval |\n|---|---|---|");
    let mut row = |name: &str, value: String, interval: &str| line(page, &format!("| {name} | {value} | {interval} |"));
    row("accuracy", percent(test.accuracy), &between(test.accuracy_interval_95));
    row("balanced accuracy", percent(test.balanced_accuracy), "");
    row("macro F1", number(test.macro_avg.f1_score), "");
    row("log loss", number(test.log_loss), "");
    row("calibration error", percent(test.calibration_error), "");
    if let Some(calibrated) = &document.calibration {
        let (temperature, rows) = (number(calibrated.fitted.temperature.value()), calibrated.fitted.rows);
        let fitted = plural(rows, "train picture");
        line(page, &format!("\nProbabilities are calibrated by a temperature of {temperature}, fitted on {fitted}."));
    }
    line(page, "\n| class | pictures | recall | 95 % interval | precision | F1 |\n|---|---|---|---|---|---|");
    for (class, scores) in document.classes.iter().zip(&test.per_class) {
        let (name, n, f1) = (escaped(class), scores.support, number(scores.f1_score));
        let interval = if n > 0 { between(wilson(scores.recall, n as usize)) } else { String::new() };
        let [recall, precision] = [scores.recall, scores.precision].map(percent);
        line(page, &format!("| {name} | {n} | {recall} | {interval} | {precision} | {f1} |"));
    }
    page.push('\n');
}

fn limits(page: &mut String, document: &Document, run: &Value) {
    line(page, "## Limits\n");
    line(page, "* Every picture gets one of the classes above, also a picture that shows none of them.");
    line(page, "* The scores hold for pictures like those of the test split that are prepared in the same way.");
    if let Some(test) = &document.test {
        let few = test.per_class.iter().filter(|scores| scores.support < FEW).count();
        if few > 0 {
            let classes = plural(few, "class");
            line(page, &format!("* Of {classes} there are fewer than {FEW} test pictures; their scores are rough."));
        }
    }
    if let Some(copies) = run["quality"]["leaks"].as_u64().filter(|&copies| copies > 0) {
        let copies = plural(copies as usize, "test picture");
        line(page, &format!("* {copies} also stood in the train split, or nearly so; the scores are too good."));
    }
    if !document.converged && document.test.is_some() {
        line(page, "* The training of the classifier ended before it had converged.");
    }
}

/// Escapes the special characters of Markdown.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if "\\`*_{}[]<>#|".contains(c) {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
        out
    })
}
