//! `featurize leaderboard`: runs one pipeline with several networks, and prints their scores in one table.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{FetchArgs, LogArgs, PipelineArgs, print, usage};
use crate::error::Error;
use crate::io::sealed;
use crate::pipeline::{self, Options, Outcome};
use crate::plan::Plan;
use crate::progress::{Ui, plural};
use crate::stages::StageId;
use crate::stages::evaluate::Document;
use crate::stages::scan::Split;
use crate::terminal::printable_path;

/// Which networks.
#[derive(Debug, Args)]
pub struct LeaderboardArgs {
    /// The networks, each with its weights where they are not the default: `resnet50,vgg16=keras`.
    #[arg(long, value_name = "NAME[=WEIGHTS],…", value_delimiter = ',', required = true)]
    models: Vec<String>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    fetching: FetchArgs,
}

/// A network with its scores on the test split.
#[derive(Debug, Serialize)]
struct Entry {
    model: String,
    dir: PathBuf,
    accuracy: f64,
    interval_95: [f64; 2],
    log_loss: f64,
    classifier: String,
    /// Features of a picture.
    features: usize,
    /// None if all features were reused.
    images_per_second: Option<f64>,
    device: String,
}

/// Runs the pipeline with each network, in a folder of its own, and prints the table.
pub fn run(arguments: &PipelineArgs, options: &LeaderboardArgs) -> Result<(), Error> {
    let ui = options.log.ui();
    let plans = plans(arguments, options, &ui)?;
    let mut listing = None;
    let (mut entries, mut pictures) = (Vec::new(), 0);
    for (i, (model, plan)) in plans.iter().enumerate() {
        ui.note(&format!("{model} ({} of {}) in {}", i + 1, plans.len(), printable_path(plan.dir.root())));
        if i == 0 {
            // checked before hours of extraction
            let scanned = pipeline::run(plan, &Options { until: Some(StageId::Scan), ..Options::default() }, &ui)?;
            pictures = scanned.listing.len_of(Split::Test);
            if pictures == 0 {
                let text =
                    "the pipeline has no test split to compare networks on: write `input.split: {fraction: 0.25}`";
                return usage(text);
            }
            if scanned.listing.classes.is_empty() {
                let text = "the pictures have no labels, and the leaderboard compares classifiers: put each class into \
                            a folder of its own, or write `input.label`";
                return usage(text);
            }
            plans.iter().try_for_each(|(_, plan)| pipeline::check(plan, &scanned.listing, None, &ui))?;
            listing = Some(scanned.listing);
        }
        let outcome = pipeline::run_on(plan, listing.as_ref(), &Options::default(), &ui)?;
        entries.extend(entry(model, plan, &outcome)?);
        // this listing has the contents of the pictures, so they are not read again
        listing = Some(outcome.listing);
    }
    entries.sort_by(|a, b| b.accuracy.total_cmp(&a.accuracy).then(a.log_loss.total_cmp(&b.log_loss)));
    if options.json {
        return print(&json!({"test_pictures": pictures, "models": entries}).to_string());
    }
    print(&text(&entries, pictures))
}

/// The plan of every network. Errors in any plan are reported before the first one runs.
fn plans(arguments: &PipelineArgs, options: &LeaderboardArgs, ui: &Ui) -> Result<Vec<(String, Plan)>, Error> {
    let mut plans: Vec<(String, Plan)> = Vec::new();
    for name in &options.models {
        let name = name.trim();
        if plans.iter().any(|(other, _)| other == name) {
            return usage(format!("`--models` names `{name}` twice"));
        }
        let (model, weights) = name.split_once('=').map_or((name, "default"), |(model, weights)| (model, weights));
        let mut arguments = arguments.clone();
        let choice = [("extract.model", model), ("extract.weights", weights)];
        arguments.sets.extend(choice.map(|(key, value)| format!("{key}={}", json!(value))));
        let mut plan = arguments.plan(&options.fetching.store, options.fetching.offline, ui)?;
        if plan.pipeline.train.is_none() {
            let text = "the leaderboard compares the accuracy of classifiers, and the pipeline has none: write \
                        `train: auto`";
            return usage(text);
        }
        let base = match &arguments.out {
            Some(out) => out.clone(),
            None => {
                let run = plan.dir.root();
                // features from the pipeline's own run are reused, too
                let cache = &mut plan.pipeline.output.cache;
                *cache = cache.take().or_else(|| run.parent().map(Path::to_path_buf));
                let name = run.file_name().unwrap_or_default().to_string_lossy();
                run.with_file_name(format!("{name}-leaderboard"))
            }
        };
        plan.dir = crate::store::RunDir::new(base.join(name.replace(['=', ':', '/', '\\'], "-")));
        plans.push((name.to_string(), plan));
    }
    Ok(plans)
}

/// The scores of a run; none where it has no metrics of a test split.
fn entry(model: &str, plan: &Plan, outcome: &Outcome) -> Result<Option<Entry>, Error> {
    let metrics: Document = sealed::read(&plan.dir.metrics())?;
    let (Some(test), Some(extracted), Some(trained)) = (metrics.test, &outcome.extracted, &outcome.trained) else {
        return Ok(None);
    };
    Ok(Some(Entry {
        model: model.to_string(),
        dir: plan.dir.root().to_path_buf(),
        accuracy: test.accuracy,
        interval_95: test.accuracy_interval_95,
        log_loss: test.log_loss,
        classifier: trained.description.clone(),
        features: extracted.width,
        images_per_second: (extracted.timing.pictures > 0).then(|| extracted.timing.rate()),
        device: extracted.device.clone(),
    }))
}

fn text(entries: &[Entry], pictures: usize) -> String {
    let widest = entries.iter().map(|one| one.model.chars().count()).max().unwrap_or(0).max(7);
    let mut lines = vec![
        format!("{} networks on {}", entries.len(), plural(pictures, "test image")),
        format!(
            "  {:<widest$}  {:>8}  {:>17}  {:>8}  {:>8}  {:>9}  classifier",
            "network", "accuracy", "95 % interval", "log loss", "features", "images/s"
        ),
    ];
    for one in entries {
        let [accuracy, low, high] = [one.accuracy, one.interval_95[0], one.interval_95[1]].map(|share| 100.0 * share);
        let interval = format!("{low:.2} to {high:.2}");
        let rate = one.images_per_second.map_or("there".to_string(), |rate| format!("{rate:.1}"));
        lines.push(format!(
            "  {:<widest$}  {accuracy:>6.2} %  {interval:>17}  {:>8.4}  {:>8}  {rate:>9}  {}",
            one.model, one.log_loss, one.features, one.classifier
        ));
    }
    // overlapping intervals prove neither that two networks are equal nor that one is better
    if let [first, .., _] = entries {
        let close = entries[1..].iter().filter(|one| one.interval_95[1] >= first.interval_95[0]).count();
        if close > 0 {
            lines.push(format!(
                "  the interval of {close} of the others overlaps that of the first: more test images tell more"
            ));
        }
    }
    lines.join("\n")
}
