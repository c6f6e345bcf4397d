//! `featurize show`: a run in a few lines, or the columns and first rows of a Parquet file.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::{print, usage};
use crate::config;
use crate::error::Error;
use crate::io::preview::{Preview, preview};
use crate::pictures::PredictorError;
use crate::progress::{bytes, duration, plural};
use crate::stages::evaluate::Validated;
use crate::stages::reduce::Reduced;
use crate::stages::train::LeftOut;
use crate::store::{RunDir, Summary, flat};
use crate::terminal::{printable, printable_path};

/// The number of columns of a wide table that are named, at its beginning and at its end.
const NAMED: [usize; 2] = [6, 2];
/// The most characters of a cell.
const CELL: usize = 40;

/// The run or the table to show.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The folder of a run, or a Parquet file.
    #[arg(value_name = "RUN|FILE")]
    path: PathBuf,
    /// The number of rows that are shown of a Parquet file.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 5)]
    rows: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Opens the run in a folder; an error explains what a run is.
pub fn summary(dir: &Path) -> Result<Summary, Error> {
    let run = RunDir::new(dir);
    match Summary::read(&run)? {
        Some(summary) => Ok(summary),
        None if run.store().is_dir() => {
            usage(format!("the run in {} has not come to its end yet; start `featurize run` again", dir.display()))
        }
        None => Err(PredictorError::no_run(dir, "run.json").into()),
    }
}

/// Shows the run or the table.
pub fn run(arguments: &ShowArgs) -> Result<(), Error> {
    if arguments.path.is_file() {
        let table = preview(&arguments.path, arguments.rows, NAMED)?;
        return print(&if arguments.json { table_json(&table) } else { table_text(&arguments.path, &table) });
    }
    let summary = summary(&arguments.path)?;
    print(&if arguments.json { run_json(&summary) } else { run_text(&summary) })
}

fn run_json(summary: &Summary) -> String {
    let files: Vec<_> =
        summary.files().into_iter().map(|(file, bytes)| json!({"file": file, "bytes": bytes})).collect();
    json!({"dir": summary.dir.root(), "name": summary.name(), "run": summary.run, "metrics": summary.metrics,
        "files": files, "unfinished": summary.unfinished})
    .to_string()
}

fn run_text(summary: &Summary) -> String {
    let run = &summary.run;
    let mut lines = vec![format!("{} in {}", printable(&summary.name()), printable_path(summary.dir.root()))];
    let mut line = |key: &str, text: String| lines.push(format!("  {key:<11} {text}"));
    if !summary.unfinished.is_empty() {
        let stages: Vec<&str> = summary.unfinished.iter().map(|stage| stage.name()).collect();
        line(
            "interrupted",
            format!("while it computed {} anew; `featurize run` goes on from there", stages.join(", ")),
        );
    }
    line("version", format!("featurize {}", run["featurize"].as_str().unwrap_or("?")));
    line("weights", printable(run["weights"].as_str().unwrap_or("?")).into_owned());
    let (ok, failed) = summary.pictures();
    line("images", format!("{ok} ok, {failed} failed, {} skipped", run["extract"]["skipped"].as_u64().unwrap_or(0)));
    let layer = run["config"]["extract"]["layer"].as_str().map_or(String::new(), |layer| format!(", layer {layer}"));
    let device = run["extract"]["device"].as_str().unwrap_or("?");
    line("features", format!("{} per image ({}{layer}) on {device}", run["extract"]["width"], summary.model()));
    if let Some(kept) = run["select"]["kept"].as_u64() {
        line("kept", format!("{kept} of {} columns", run["select"]["of"]));
    }
    if let Ok(reduced) = Reduced::deserialize(&run["reduce"]) {
        line("components", reduced.describe());
    }
    if let Some((accuracy, split)) = summary.accuracy() {
        let rows = &summary.metrics[split]["support"];
        let rows = plural(rows.as_u64().map_or(0, |rows| rows as usize), &format!("{split} image"));
        line("result", format!("accuracy {:.2} % on {rows}", 100.0 * accuracy));
        let mut worst: Vec<_> = summary.classes().into_iter().filter(|(_, score)| score.support > 0).collect();
        worst.sort_by(|a, b| a.1.recall.total_cmp(&b.1.recall).then(a.0.cmp(&b.0)));
        let worst = worst.iter().filter(|(_, score)| score.recall < 1.0).take(5);
        let worst: Vec<String> =
            worst.map(|(class, score)| format!("{} {:.0} %", printable(class), 100.0 * score.recall)).collect();
        if !worst.is_empty() {
            line("weakest", format!("{} (recall)", worst.join(", ")));
        }
    }
    let times = summary.seconds();
    let all: f64 = times.iter().map(|(_, seconds)| seconds).sum();
    let each: Vec<String> =
        times.iter().map(|(stage, seconds)| format!("{} {}", stage.name(), duration(*seconds))).collect();
    line("time", format!("{} ({})", duration(all), each.join(", ")));
    if let Some(kind) = summary.metrics["classifier"].as_str() {
        line("classifier", kind.to_string());
    }
    for (i, text) in compared(summary).into_iter().enumerate() {
        line(if i == 0 { "compared" } else { "" }, text);
    }
    line("settings", chosen(summary).join(" "));
    let files = summary.files();
    let size: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    line("files", format!("{} in {}", bytes(size), plural(files.len(), "file")));
    let parts: (usize, u64) = files
        .iter()
        .filter(|(file, _)| file.starts_with("features/"))
        .fold((0, 0), |(n, sum), (_, bytes)| (n + 1, sum + bytes));
    line("", format!("{:>10}  features/ ({})", bytes(parts.1), plural(parts.0, "file")));
    for (file, size) in files.iter().filter(|(file, _)| !file.starts_with("features/")) {
        line("", format!("{:>10}  {}", bytes(*size), printable(file)));
    }
    lines.join("\n")
}

/// The classifiers that were compared in cross-validation, a line each, and those that were left out.
fn compared(summary: &Summary) -> Vec<String> {
    let all: Vec<Validated> = Deserialize::deserialize(&summary.metrics["cross_validation"]).unwrap_or_default();
    let one = |one: &Validated| {
        let loss = one.log_loss.zip(one.log_loss_error);
        let loss = loss.map_or(String::new(), |(loss, error)| format!(", log loss {loss:.4} ± {error:.4}"));
        let (percent, more) = (100.0 * one.mean, 100.0 * one.sd);
        let kept = if one.kept { " (kept)" } else { "" };
        format!("{percent:6.2} % ± {more:.2}{loss}  {}{kept}", printable(&one.classifier))
    };
    let left_out: Vec<LeftOut> = Deserialize::deserialize(&summary.metrics["left_out"]).unwrap_or_default();
    let other = |one: &LeftOut| format!("left out: {}: {}", printable(&one.classifier), printable(&one.why));
    all.iter().map(one).chain(left_out.iter().map(other)).collect()
}

/// The settings that differ from their defaults, as `key=value`, without the folder and the name of the run.
fn chosen(summary: &Summary) -> Vec<String> {
    // `reduce` has only one of its kinds
    let plain = |reduce: &str| {
        let train = "{mlp: {}, logistic: {}, knn: {}}";
        let yaml = format!(
            "{{version: 1, input: {{root: .}}, select: {{}}, reduce: {{{reduce}: {{}}}}, train: {train}, report: {{}}}}"
        );
        config::parse(&yaml, Path::new("defaults"), &[])
            .map_or_else(|_| Default::default(), |pipeline| flat(&json!(pipeline)))
    };
    let defaults = ["pca", "svd"].map(plain);
    let told = ["name", "input.root", "output.dir", "report.title"];
    let chosen = summary.settings().into_iter().filter(|(key, value)| {
        !told.contains(&key.as_str()) && value != "null" && !defaults.iter().any(|plain| plain.get(key) == Some(value))
    });
    chosen.map(|(key, value)| format!("{key}={}", printable(&value))).collect()
}

fn table_json(table: &Preview) -> String {
    let columns: Vec<_> = table.columns.iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect();
    let rows: Vec<serde_json::Map<_, _>> = table
        .head
        .iter()
        .map(|row| table.shown.iter().cloned().zip(row.iter().map(|cell| json!(cell))).collect())
        .collect();
    json!({"rows": table.rows, "row_groups": table.row_groups, "columns": columns, "metadata": table.metadata,
        "head": rows})
    .to_string()
}

fn table_text(path: &Path, table: &Preview) -> String {
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut lines = vec![format!(
        "{}: {} × {}, {}, {}",
        printable_path(path),
        plural(table.rows, "row"),
        plural(table.columns.len(), "column"),
        plural(table.row_groups, "row group"),
        bytes(size)
    )];
    lines.push("columns".into());
    let [first, last] = NAMED;
    let n = table.columns.len();
    let widest = table.columns.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(CELL);
    for (i, (name, kind)) in table.columns.iter().enumerate() {
        if n > first + last + 1 && i == first {
            lines.push(format!("  … {} more", n - first - last));
        }
        if n <= first + last + 1 || i < first || i >= n - last {
            lines.push(format!("  {:widest$}  {kind}", printable(name)));
        }
    }
    if !table.metadata.is_empty() {
        lines.push("metadata".into());
        let widest = table.metadata.keys().map(String::len).max().unwrap_or(0);
        lines.extend(table.metadata.iter().map(|(key, value)| format!("  {key:widest$}  {}", cut(value, 100))));
    }
    if !table.head.is_empty() {
        lines.push("rows".into());
        let width = |j: usize| {
            let cells = table.head.iter().map(|row| row[j].chars().count()).chain([table.shown[j].chars().count()]);
            cells.max().unwrap_or(0).min(CELL)
        };
        let widths: Vec<usize> = (0..table.shown.len()).map(width).collect();
        for row in std::iter::once(&table.shown).chain(&table.head) {
            let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{:width$}", cut(cell, CELL)));
            lines.push(format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_string());
        }
    }
    lines.join("\n")
}

fn cut(text: &str, most: usize) -> String {
    let text = &*printable(text);
    if text.chars().count() <= most {
        return text.to_string();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}
