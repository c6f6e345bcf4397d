//! `featurize run`: runs the pipeline and prints a summary.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::{FetchArgs, LogArgs, PipelineArgs, print, usage};
use crate::error::Error;
use crate::pipeline::{self, Options, Outcome, peak_memory_mb};
use crate::plan::Plan;
use crate::progress::{Style, duration, plural};
use crate::stages::StageId;
use crate::stages::scan::{counted, counts};
use crate::terminal::{printable, printable_path};

/// The stages to run and the form of the output.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Stop after this stage.
    #[arg(long, value_name = "STAGE", value_parser = StageId::from_name)]
    until: Option<StageId>,
    /// Compute this stage and those that follow even if they are done.
    #[arg(long, value_name = "STAGE", value_parser = StageId::from_name)]
    force: Option<StageId>,
    /// Read once more the pictures that failed before.
    #[arg(long)]
    retry_failed: bool,
    /// List the pictures again. Without it a start takes the listing that it finds in the run where nothing can have
    /// changed (archives and tables, by their dates) and where listing takes long (more than a million files).
    #[arg(long)]
    rescan: bool,
    /// Open the report in the browser when the run is done. Without a display its path is printed.
    #[arg(long)]
    open: bool,
    /// Also write the features in this form. `npy` is features.npy with index.parquet, the same as `output.npy: true`.
    #[arg(long, value_enum, value_name = "FORM")]
    export: Option<Export>,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    fetching: FetchArgs,
}

/// A file format of the features beside Parquet.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Export {
    Npy,
}

/// Runs the pipeline.
pub fn run(arguments: &PipelineArgs, options: &RunArgs) -> Result<(), Error> {
    let mut arguments = arguments.clone();
    arguments.sets.extend(options.export.map(|Export::Npy| "output.npy=true".to_string()));
    let start = Instant::now();
    let ui = options.log.ui();
    let plan = arguments.plan(&options.fetching.store, options.fetching.offline, &ui)?;
    if options.open && (plan.pipeline.report.is_none() || options.until.is_some_and(|until| until < StageId::Report)) {
        let text = "`--open` opens the report, and this run writes none: write `report: {}`, and leave `--until` out";
        return usage(text);
    }
    let RunArgs { until, force, retry_failed, rescan, .. } = *options;
    let run = Options { until, force, retry_failed, rescan };
    let outcome = pipeline::run(&plan, &run, &ui);
    if let Err(error) = &outcome
        && error.is_interrupted()
    {
        let out = arguments.out.as_ref().map_or(String::new(), |out| format!(" --out {}", out.display()));
        let sets: String = arguments.sets.iter().map(|set| format!(" --set '{set}'")).collect();
        let file = arguments.file.display();
        ui.warn(&format!(
            "interrupted; every picture and every stage that is finished is kept: `featurize run {file}{out}{sets}` \
             goes on from there"
        ));
    }
    let outcome = outcome?;
    let seconds = start.elapsed().as_secs_f64();
    match options.log.style() {
        Style::Quiet => {}
        Style::Json => ui.event(json!({"event": "summary", "dir": plan.dir.root(), "computed": outcome.computed,
            "extract": outcome.extracted, "select": outcome.selected, "reduce": outcome.reduced,
            "evaluate": outcome.evaluated, "peak_memory_mb": peak_memory_mb(), "seconds": seconds})),
        Style::Auto => print(&summary(&plan, &outcome, seconds))?,
    }
    if options.open && !opened(&plan.dir.report()) {
        ui.note(&format!("there is no browser to open {}", printable_path(&plan.dir.report())));
    }
    Ok(())
}

/// Opens a page with the platform's default program; false if there is none, or no display.
fn opened(page: &Path) -> bool {
    let program = match std::env::consts::OS {
        "macos" => "open",
        "windows" => "explorer",
        _ if ["DISPLAY", "WAYLAND_DISPLAY"].iter().all(|name| std::env::var_os(name).is_none()) => return false,
        _ => "xdg-open",
    };
    // the program is not waited for, since it may run as long as the browser
    let mut command = Command::new(program);
    command.arg(page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().is_ok()
}

fn summary(plan: &Plan, outcome: &Outcome, seconds: f64) -> String {
    let name = printable(&plan.pipeline.name);
    let mut lines = vec![if outcome.computed.is_empty() && outcome.listed && outcome.extracted.is_none() {
        format!("{name}: listed in {}", duration(seconds))
    } else if outcome.computed.is_empty() {
        format!("{name}: everything is there already, nothing to do ({})", duration(seconds))
    } else {
        format!("{name}: done in {}", duration(seconds))
    }];
    let mut line = |key: &str, text: String| lines.push(format!("  {key:<11} {text}"));
    match &outcome.extracted {
        Some(done) => {
            let kinds = |kinds: &BTreeMap<String, usize>| match kinds.is_empty() {
                true => String::new(),
                false => format!(" ({})", counted(kinds.iter().map(|(kind, n)| (kind.as_str(), *n)))),
            };
            let (failed, skipped) = (kinds(&done.failed_by_kind), kinds(&done.skipped_by_kind));
            line(
                "images",
                format!("{} ok, {} failed{failed}, {} skipped{skipped}", done.ok, done.failed, done.skipped),
            );
            if done.failed > 0 {
                let report = if outcome.reported.is_some() { ", and `Left out` in the report" } else { "" };
                line("failed", format!("manifest.parquet names them with their reasons{report}"));
            }
            if let Some(found) = &done.duplicates {
                let both = format!("{} in train and test", plural(found.in_both_splits, "content"));
                let (copies, groups) = (plural(found.copies, "copy"), plural(found.groups, "picture"));
                line("duplicates", format!("{copies} of {groups}, {both}"));
            }
            let layer = format!("{}, layer {}", plan.backbone.title, plan.backbone.layers());
            line("features", format!("{} per image ({layer})", done.width));
            if done.timing.pictures > 0 && outcome.computed.contains(&StageId::Extract) {
                let rate = done.timing.rate();
                line("speed", format!("{rate:.1} images/s on {} ({})", done.device, plural(done.threads, "thread")));
            }
        }
        None => line("images", format!("{} listed: {}", outcome.listing.len(), counts(&outcome.listing))),
    }
    if let Some(done) = &outcome.selected {
        let best = done.score.map_or(String::new(), |score| format!(", the best by {}", score.word()));
        line("kept", format!("{} of {} columns (variance > {}{best})", done.kept, done.of, done.threshold));
    }
    if let Some(done) = &outcome.reduced {
        line("components", done.describe());
    }
    if let Some(done) = &outcome.evaluated {
        line("result", done.describe());
    }
    if let Some(quality) = outcome.reported.and_then(|reported| reported.quality) {
        line("quality", quality.describe());
    }
    if let Some(memory) = peak_memory_mb().filter(|_| !outcome.computed.is_empty()) {
        line("memory", format!("{memory} MB at most"));
    }
    line("files", files(plan, outcome));
    if plan.dir.report().is_file() && plan.pipeline.report.is_some() {
        line("report", printable_path(&plan.dir.report()));
    }
    lines.join("\n")
}

fn files(plan: &Plan, outcome: &Outcome) -> String {
    let mut names = vec!["manifest.parquet"];
    names.extend(outcome.extracted.as_ref().map(|_| "features/part-*.parquet"));
    names.extend(plan.pipeline.output.npy.then_some("features.npy, index.parquet"));
    names.extend(outcome.reduced.as_ref().map(|_| "reduced.parquet"));
    names.extend(outcome.evaluated.as_ref().map(|_| "predictions.parquet, metrics.json"));
    names.extend(outcome.trained.as_ref().map(|_| "classifier/"));
    names.extend(outcome.reported.and_then(|reported| reported.quality).map(|_| "quality.parquet"));
    names.extend(outcome.drawn.map(|_| "atlas.parquet"));
    names.extend(plan.dir.relabel().is_file().then_some("relabel.csv"));
    format!("{}: {}", printable_path(plan.dir.root()), names.join(", "))
}
