//! `featurize evaluate`: the classifier of a run, measured on new labelled pictures.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::acceptance::AcceptanceArgs;
use super::predictions::Predictions;
use super::workers::WorkerArgs;
use super::{default_pipeline, none_failed, print, style, ui, usage};
use crate::config::Pipeline;
use crate::error::Error;
use crate::image::thumbnail;
use crate::io::IoError;
use crate::io::features::Key;
use crate::io::output::{FileKind, Inputs, Output, Rules, check_stdout};
use crate::learn::metrics::Metrics;
use crate::learn::mlp::argmax;
use crate::pictures::predictor::{self, Method, Predictor};
use crate::pictures::{Listed, PredictorError, Source};
use crate::progress::{Ui, plural};
use crate::stages::evaluate::{self, widen};
use crate::stages::report::formatting::percent;
use crate::stages::report::{self, Prediction, Scored};
use crate::stages::scan::{self, Aside, Kind, Listing, Picture, Split};
use crate::store::RunDir;
use crate::terminal::printable;

/// Which run, and which pictures.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// The run's folder, as `featurize run` wrote it; it may have been moved.
    #[arg(value_name = "RUN_DIR")]
    pub run: PathBuf,
    /// The pictures: a folder with a folder for each class, an archive, or a table of pictures.
    #[arg(value_name = "PATH")]
    pub pictures: PathBuf,
    /// A table (CSV) with the columns `path` and `label`, instead of the folders.
    #[arg(long, value_name = "TABLE")]
    pub labels: Option<PathBuf>,
    /// One JSON object, with the scores as in metrics.json.
    #[arg(long)]
    pub json: bool,
    /// Also write a Parquet file with the columns of the run's predictions.parquet.
    #[arg(long, value_name = "FILE")]
    pub parquet: Option<PathBuf>,
    /// Also write a page (HTML) with the scores, the confusion matrix, the calibration, and the mistakes.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Replace the files that are named even if they are read here or are of another kind.
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub workers: WorkerArgs,
    #[command(flatten)]
    pub acceptance: AcceptanceArgs,
    /// The network's weights, where they are not in the program and no longer where the run found them.
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// No progress: only results, warnings and errors.
    #[arg(short, long)]
    pub quiet: bool,
}

/// A pipeline that lists the pictures.
fn pipeline(arguments: &EvaluateArgs) -> Result<Pipeline, Error> {
    let mut sets = vec![format!("input.root={}", json!(arguments.pictures))];
    sets.extend(arguments.labels.iter().map(|table| format!("input.split={}", json!({"csv": table}))));
    default_pipeline("evaluate", &sets)
}

/// Predicts, scores and prints.
pub fn run(arguments: &EvaluateArgs) -> Result<(), Error> {
    let (pipeline, ui, dir) = (pipeline(arguments)?, ui(style(arguments.quiet)), RunDir::new(&arguments.run));
    let device = predictor::device(&dir, arguments.workers.device)?;
    let predictor = Predictor::of_run(&dir, arguments.weights.as_deref(), &device)?;
    let acceptance = arguments.acceptance.rule(&predictor)?;
    let mut listing = scan::list(&pipeline, dir.root(), &ui)?;
    let unused = listing.aside.iter().filter(|aside| aside.kind == Kind::Split).count();
    if unused > 0 {
        ui.warn(&format!("{} of a validation split beside a test split, not scored", plural(unused, "picture")));
    }
    listing.pictures.retain(|picture| picture.label.is_some());
    if listing.pictures.is_empty() {
        return usage("no picture has a label: give a folder with a folder for each class, or a table with `--labels`");
    }
    let source = Listed::new(&pipeline, &listing.pictures);
    let mut inputs = Inputs::of_pictures(listing.pictures.iter().map(|one| one.location(&pipeline.input.root)));
    inputs.files.extend(arguments.weights.iter().chain(&arguments.labels).cloned());
    inputs.folders.push(arguments.run.clone());
    let rules = Rules::new(&inputs, arguments.overwrite);
    let output = |path: &Option<PathBuf>, kind| path.as_ref().map(|path| Output::new(path, kind, rules)).transpose();
    let (parquet, page) = (output(&arguments.parquet, FileKind::Parquet)?, output(&arguments.report, FileKind::Html)?);
    check_stdout(parquet.iter().chain(&page))?;
    let classes = classes(&predictor, &listing, &ui);
    let rows = Predictions::new(&predictor, acceptance);
    let (mut rows, failed) = predict(&predictor, source, &listing.pictures, rows, &arguments.workers, &ui)?;
    rows.probabilities = widen(&rows.probabilities, predictor.classes(), &classes);
    // a missing file that the table names is a failure, too
    let unread = listing.aside.iter().filter(|aside| aside.kind.is_failed());
    let tell =
        |aside: &&Aside| ui.tell(&format!("{}: {}: {}", printable(&aside.path), aside.kind.word(), aside.reason));
    let failed = failed + unread.inspect(tell).count();
    let Predictions { keys, probabilities, distances, .. } = &rows;
    let predicted: Vec<usize> = probabilities.iter_rows().map(argmax).collect();
    let scores = evaluate::score(keys, probabilities, &predicted, &classes, Split::Test)?;
    let scores = scores.ok_or(PredictorError::Failed { failed, of: failed })?;
    if let Some(page) = &page {
        let predictions = predictions(&rows, &predicted, &classes);
        let scored = Scored { classes: classes.clone(), test: scores.clone(), predictions };
        let title = format!("{} on {}", arguments.run.display(), arguments.pictures.display());
        let memory = arguments.workers.memory();
        let whole = |path: &str| {
            let at = listing.pictures.iter().position(|picture| picture.path == path)?;
            predictor.shown(|most| source.open(at, most), &memory).ok()
        };
        let picture = |path: &str, longest: usize| thumbnail(&*whole(path)?, longest).ok();
        let looks = predictor.method() == Some(Method::Activation);
        let heat = |one: &Prediction| if looks { report::heat(&predictor, &*whole(&one.path)?, one) } else { None };
        let html = report::scored(title, scored, &picture, &heat)?;
        page.write::<Error>(|to| Ok(to.write_all(html.as_bytes()).map_err(IoError::write(page.path()))?))?;
    }
    let of = keys.len() + failed;
    let unknown = distances.known.iter().filter(|known| !**known).count();
    let unknown = (!distances.known.is_empty()).then_some(unknown);
    if arguments.json {
        let result = json!({
            "run": arguments.run,
            "pictures": of,
            "failed": failed,
            "unknown": unknown,
            "classes": classes,
            "scores": scores,
        });
        print(&result.to_string())?;
    } else if !parquet.iter().chain(&page).any(Output::is_stdout) {
        print(&text(&arguments.pictures, &classes, &scores, unknown))?;
    }
    if let Some(parquet) = &parquet {
        rows.table(&classes).write_to(parquet, predictor.metadata())?;
    }
    none_failed(failed, of)
}

/// The classes of the run, followed by classes of the pictures that the run does not have.
fn classes(predictor: &Predictor, listing: &Listing, ui: &Ui) -> Vec<String> {
    let mut classes = predictor.classes().to_vec();
    let strange: Vec<String> = listing.classes.iter().filter(|class| !classes.contains(class)).cloned().collect();
    if !strange.is_empty() {
        let names = printable(&strange.join(", ")).into_owned();
        ui.warn(&format!("the run does not know the classes {names}; every prediction for their pictures is wrong"));
    }
    classes.extend(strange);
    classes
}

/// Adds the predictions of the readable pictures to `rows`, and returns the number of the others.
fn predict(
    predictor: &Predictor,
    source: Listed<'_>,
    pictures: &[Picture],
    mut rows: Predictions,
    workers: &WorkerArgs,
    ui: &Ui,
) -> Result<(Predictions, usize), Error> {
    let count = pictures.len();
    let line = ui.work("evaluate", Some(count as u64), "images");
    let wanted: Vec<usize> = (0..count).collect();
    let mut failed = 0;
    let stream = workers.stream(&source, &wanted, ui);
    predictor.predict(
        &stream,
        &workers.memory(),
        |_, _| (),
        |number, result| -> Result<(), Error> {
            let picture = &pictures[number];
            match result {
                Ok((predicted, ())) => {
                    let (path, label) = (picture.path.clone(), picture.label.as_deref().map(str::to_string));
                    rows.push(Key { path, label, split: Some(Split::Test.word().to_string()) }, &predicted);
                }
                Err(failure) => {
                    failed += 1;
                    ui.tell(&format!("{}: {failure}", printable(&picture.path)));
                }
            }
            line.inc(1);
            Ok(())
        },
    )?;
    ui.check()?;
    Ok((rows, failed))
}

fn predictions(rows: &Predictions, predicted: &[usize], classes: &[String]) -> Vec<Prediction> {
    let known = &rows.distances.known;
    let rows = rows.keys.iter().zip(rows.probabilities.iter_rows()).zip(predicted).enumerate();
    let one = |(i, ((key, row), &class)): (usize, ((&Key, &[f32]), &usize))| Prediction {
        path: key.path.clone(),
        label: key.label.clone().unwrap_or_default(),
        predicted: classes[class].clone(),
        confidence: f64::from(row[class]),
        known: known.get(i).copied(),
    };
    rows.map(one).collect()
}

/// The scores as lines of text.
fn text(pictures: &Path, classes: &[String], scores: &Metrics, unknown: Option<usize>) -> String {
    let [low, high] = scores.accuracy_interval_95.map(percent);
    let mut lines = vec![
        format!("{} of {}", plural(scores.support, "picture"), printable(&pictures.display().to_string())),
        format!("  accuracy           {} ({low} to {high} at 95 %)", percent(scores.accuracy)),
        format!("  balanced accuracy  {}", percent(scores.balanced_accuracy)),
        format!("  log loss           {:.4}", scores.log_loss),
        format!("  calibration error  {}", percent(scores.calibration_error)),
    ];
    lines.extend(unknown.map(|unknown| format!("  unknown            {}", plural(unknown, "picture"))));
    lines.push(String::new());
    let widest = classes.iter().map(|class| printable(class).chars().count()).max().unwrap_or(0).max(5);
    lines.push(format!("  {:<widest$}  {:>8}  {:>9}  {:>8}  {:>8}", "class", "pictures", "precision", "recall", "F1"));
    for (class, one) in classes.iter().zip(&scores.per_class) {
        let [precision, recall, f1] = [one.precision, one.recall, one.f1_score].map(percent);
        let class = printable(class);
        lines.push(format!("  {class:<widest$}  {:>8}  {precision:>9}  {recall:>8}  {f1:>8}", one.support));
    }
    let mut mistakes: Vec<(u64, &str, &str)> = Vec::new();
    for (truth, row) in classes.iter().zip(&scores.confusion_matrix) {
        let wrong = classes.iter().zip(row).filter(|(predicted, count)| *predicted != truth && **count > 0);
        mistakes.extend(wrong.map(|(predicted, count)| (*count, truth.as_str(), predicted.as_str())));
    }
    mistakes.sort_by_key(|&(count, ..)| std::cmp::Reverse(count));
    if !mistakes.is_empty() {
        lines.push(String::new());
    }
    for (count, truth, predicted) in mistakes {
        lines.push(format!("  {count} of {} predicted as {}", printable(truth), printable(predicted)));
    }
    lines.join("\n")
}
