//! `report`: one HTML file about the run, without script and without network.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config;
use crate::io::{IoError, atomic};
use crate::pipeline::Outcome;
use crate::plan::Plan;
use crate::progress::{Interrupted, Ui};
use crate::stages::StageId;
use crate::store::OutputFile;

/// The page.
const TEMPLATE: &str = include_str!("report.html");

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

/// Writes `report.html`.
pub fn run(
    plan: &Plan,
    settings: &config::Report,
    outcome: &Outcome,
    ui: &Ui,
) -> Result<(Reported, Vec<OutputFile>), ReportError> {
    let line = ui.stage(StageId::Report, None, "pages");
    ui.check()?;
    let title = settings.title.as_deref().unwrap_or(&plan.pipeline.name);
    let mut environment = minijinja::Environment::new();
    environment.add_template("report.html", TEMPLATE)?;
    let images = outcome.extracted.as_ref().map_or(0, |extracted| extracted.ok);
    let page = environment.get_template("report.html")?.render(minijinja::context! { title, images })?;
    let path = plan.dir.report();
    atomic::write_bytes(&path, page.as_bytes())?;
    let file = OutputFile::of(&plan.dir, &path)?;
    line.finish(&format!("report.html, {} kB", file.bytes.div_ceil(1000)));
    Ok((Reported { bytes: file.bytes }, vec![file]))
}
