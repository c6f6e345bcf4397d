//! `report`: one HTML file about the run, without script and without network.
//!
//! `facts` reads what the stages have committed, `page` puts it into words, numbers and `charts`, `report.html` lays it out.

mod blocks;
mod charts;
mod facts;
mod files;
mod page;
mod samples;
mod scores;
#[cfg(test)]
mod tests;
mod timing;
pub mod words;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config;
use crate::io::{IoError, atomic};
use crate::pipeline::Outcome;
use crate::plan::Plan;
use crate::progress::{Interrupted, Ui};
use crate::stages::StageId;
use crate::store::OutputFile;

use facts::Facts;
use page::Page;

/// The page; everything put into it is escaped because of its name.
const TEMPLATE: (&str, &str) = ("report.html", include_str!("report.html"));
/// Its looks.
const STYLE: (&str, &str) = ("report.css", include_str!("report.css"));

/// What `report` commits: the size of `report.html`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    pub bytes: u64,
}

/// The report cannot be written.
#[derive(Debug, Error)]
pub enum ReportError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error("report: the page cannot be filled: {0}")]
    Template(#[from] minijinja::Error),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Writes `report.html` about what the stages before have committed.
pub fn run(
    plan: &Plan,
    settings: &config::Report,
    outcome: &Outcome,
    ui: &Ui,
) -> Result<(Reported, Vec<OutputFile>), ReportError> {
    let line = ui.stage(StageId::Report, None, "pages");
    let facts = Facts::read(plan, settings, outcome)?;
    let root = &plan.pipeline.input.root;
    let samples = samples::groups::<Interrupted>(&facts.predictions, facts.samples, |path| {
        ui.check()?;
        Ok(samples::picture(&outcome.listing, root, path, &plan.backbone.decoding))
    })?;
    let html = render(&Page::new(&facts, samples))?;
    let path = plan.dir.report();
    atomic::write_bytes(&path, html.as_bytes())?;
    let file = OutputFile::of(&plan.dir, &path)?;
    line.finish(&format!("report.html, {} kB", file.bytes.div_ceil(1000)));
    Ok((Reported { bytes: file.bytes }, vec![file]))
}

/// The page as HTML.
fn render(page: &Page) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    for (name, source) in [TEMPLATE, STYLE] {
        environment.add_template(name, source)?;
    }
    environment.get_template(TEMPLATE.0)?.render(Serde(page))
}
