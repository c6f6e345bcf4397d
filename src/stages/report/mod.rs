//! `report`: one HTML file about the run, which needs no script and no network access.
//!
//! `data` reads the results of the stages, `page` makes sections of text, numbers and `charts` from them, and the
//! template `report.html` arranges these.

mod blocks;
mod calibration;
mod charts;
mod coverage;
mod data;
mod doubts;
mod figures;
mod files;
pub mod formatting;
mod names;
mod page;
mod provenance;
mod samples;
mod scores;
#[cfg(test)]
mod tests;
mod timing;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config;
use crate::image::{DecodeOptions, RgbImage, Truncated, thumbnail};
use crate::io::{IoError, atomic};
use crate::learn::metrics::Metrics;
use crate::pictures::predictor::{self, Method, Predictor};
use crate::pipeline::Outcome;
use crate::plan::Plan;
use crate::plot::VectorError;
use crate::progress::{Interrupted, Ui};
use crate::stage::StageId;
use crate::stages::compare::Summary;
use crate::store::OutputFile;
use crate::terminal::printable;

pub use data::Prediction;
use data::ReportData;
use page::page;
use samples::Beside;

/// The template of the page. The engine escapes every value, since the name ends in `.html`.
const TEMPLATE: (&str, &str) = ("report.html", include_str!("report.html"));
/// The style sheets of the page and of the charts; the charts are also written to files of their own.
const STYLE: (&str, &str) = ("report.css", include_str!("report.css"));
const CHART_STYLE: (&str, &str) = ("chart.css", include_str!("charts/chart.css"));

/// The result that `report` commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// The size of `report.html`.
    pub bytes: u64,
    /// The summary of the comparison of pictures; none when they were not compared.
    #[serde(default)]
    pub quality: Option<Summary>,
}

/// The report cannot be written.
#[derive(Debug, Error)]
pub enum ReportError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error("report: the page cannot be filled: {0}")]
    Template(#[from] minijinja::Error),
    #[error("report: {0}")]
    Figure(#[from] VectorError),
    #[error("interrupted")]
    Interrupted(#[from] Interrupted),
}

/// Writes `report.html` about the results of the other stages.
pub fn run(
    plan: &Plan,
    settings: &config::Report,
    outcome: &Outcome,
    ui: &Ui,
) -> Result<(Reported, Vec<OutputFile>), ReportError> {
    let line = ui.stage(StageId::Report, None, "pages");
    let data = ReportData::read(plan, settings, outcome)?;
    let mut files = Vec::new();
    let thumbnails = samples::Thumbnails::new(plan, &outcome.listing);
    let decoding = &plan.backbone.decoding;
    let lenient = DecodeOptions { truncated: Truncated::Pad, ..decoding.clone() };
    let decoded = |path: &str, decoding: &DecodeOptions, longest: usize| -> Result<_, ReportError> {
        ui.check()?;
        Ok(thumbnails.of(path, decoding, longest))
    };
    let picture = |path: &str, longest: usize| decoded(path, decoding, longest);
    let shown = |path: &str| picture(path, samples::LONGEST);
    let samples = if data.predictions.is_empty() {
        // of a large listing, only the first part that has pictures
        let parts = outcome.listing.parts();
        let mut parts = parts.iter().map(|part| outcome.listing.part(part));
        let part = parts.find(|part| part.as_ref().map_or(true, |(part, _)| !part.pictures.is_empty())).transpose()?;
        let pictures = part.iter().flat_map(|(part, _)| &part.pictures);
        let all = pictures.map(|one| (one.path.as_str(), one.label.as_deref()));
        samples::gallery(&all.collect::<Vec<_>>(), data.samples, shown)?
    } else {
        let explained = outcome.evaluated.as_ref().map_or(&[][..], |evaluated| &evaluated.explained);
        let looking = data.predictions.iter().any(|one| !one.is_right()).then(|| looking(plan)).flatten();
        let heat = |one: &Prediction| heat(looking.as_ref()?, &*thumbnails.whole(&one.path, decoding)?, one);
        samples::predicted(&data.predictions, data.samples, Beside { explained, heat: &heat }, shown)?
    };
    let compared = outcome.compared.as_ref().filter(|compared| compared.summary.asked > 0);
    let doubts = compared
        .map(|found| doubts::section(found, outcome.listing.classes.len() > 1, |path| picture(path, doubts::LONGEST)))
        .transpose()?;
    let summary = compared.map(|found| found.summary);
    let left_out = files::section(&data, |path| decoded(path, &lenient, files::LONGEST))?;
    if let Some(warning) = summary.as_ref().and_then(doubts::leak) {
        ui.warn(&warning);
    }
    if settings.figures {
        files.extend(figures::write(plan, &data, ui)?);
    }
    let html = render(page(&data, samples, doubts, left_out))?;
    let path = plan.dir.report();
    let digest = atomic::write_bytes(&path, html.as_bytes())?;
    let file = OutputFile::hashed(&plan.dir, &path, digest)?;
    line.finish(&format!("report.html, {} kB", file.bytes.div_ceil(1000)));
    let bytes = file.bytes;
    files.push(file);
    Ok((Reported { bytes, quality: summary }, files))
}

/// The predictor of the run, if its network gives heat maps for the cost of a prediction. If its weights or its device
/// are missing, the report has no heat maps.
fn looking(plan: &Plan) -> Option<Predictor> {
    let device = predictor::device(&plan.dir, None).ok()?;
    let predictor = Predictor::of_run(&plan.dir, None, &device).ok()?;
    (predictor.method() == Some(Method::Activation)).then_some(predictor)
}

/// The JPEG of the heat map of the predicted class of `picture`.
pub fn heat(predictor: &Predictor, picture: &RgbImage, prediction: &Prediction) -> Option<Vec<u8>> {
    let class = predictor.classes().iter().position(|class| *class == prediction.predicted)?;
    let (seen, heat) = predictor.explain(picture, class).ok()??;
    thumbnail(&heat.over(&seen), samples::LONGEST).ok()
}

/// A page about the predictions for labelled pictures. `picture` returns the JPEG of the picture at a path, with a
/// longer side of the given number of pixels, and `heat` that of its heat map.
pub fn scored(
    title: String,
    scored: Scored,
    picture: &dyn Fn(&str, usize) -> Option<Vec<u8>>,
    heat: &dyn Fn(&Prediction) -> Option<Vec<u8>>,
) -> Result<String, ReportError> {
    /// Pictures on the page.
    const SHOWN: usize = 48;
    let Scored { classes, test, predictions } = scored;
    let counts = test.per_class.iter().map(|class| [0, class.support as usize]).collect();
    let shown = |path: &str| Ok::<_, ReportError>(picture(path, samples::LONGEST));
    let samples = samples::predicted(&predictions, SHOWN, Beside { explained: &[], heat }, shown)?;
    let sizes = [0, predictions.len()];
    let data = ReportData { title, classes, counts, sizes, test: Some(test), predictions, ..ReportData::default() };
    Ok(render(page(&data, samples, None, None))?)
}

/// Labelled pictures with their predictions and scores.
#[derive(Clone, Debug)]
pub struct Scored {
    pub classes: Vec<String>,
    pub test: Metrics,
    pub predictions: Vec<Prediction>,
}

/// The page as HTML.
fn render(page: serde_json::Value) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    // names of files and classes: in full, shortened, shortened on one line, and inside an attribute
    environment.add_filter("name", |name: String| Value::from_safe_string(names::breakable(&name)));
    environment.add_filter("short", |name: String, most: usize| {
        Value::from_safe_string(names::breakable(&names::shortened(&name, most)))
    });
    environment.add_filter("cut", |name: String, most: usize| printable(&names::shortened(&name, most)).into_owned());
    environment.add_filter("plain", |name: String| printable(&name).into_owned());
    for (name, source) in [TEMPLATE, STYLE, CHART_STYLE] {
        environment.add_template(name, source)?;
    }
    environment.get_template(TEMPLATE.0)?.render(Serde(page))
}
