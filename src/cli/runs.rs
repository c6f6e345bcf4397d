//! `featurize runs` lists the runs below a folder; `featurize diff` compares two of them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{check_folder, print, show};
use crate::error::Error;
use crate::progress::{bytes, duration};
use crate::stages::report::formatting::date;
use crate::store::{RunDir, Summary};
use crate::terminal::{printable, printable_path};

/// The depth below the folder down to which runs are searched.
const DEPTH: usize = 3;
/// The smallest change of a class's recall that is printed.
const CHANGE: f64 = 1e-9;

#[derive(Debug, Args)]
pub struct RunsArgs {
    /// The folder to search.
    #[arg(value_name = "DIR", default_value = "runs")]
    dir: PathBuf,
    /// Print a JSON object for each run, on a line of its own.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The folder of a run.
    #[arg(value_name = "RUN")]
    before: PathBuf,
    /// The folder of the run to compare with it.
    #[arg(value_name = "RUN")]
    after: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Lists the runs, the newest first.
pub fn list(arguments: &RunsArgs) -> Result<(), Error> {
    let dir = &arguments.dir;
    check_folder(dir, "the runs")?;
    let mut runs = Vec::new();
    let mut entries = walkdir::WalkDir::new(dir).max_depth(DEPTH).sort_by_file_name().into_iter();
    while let Some(entry) = entries.next() {
        let Ok(entry) = entry else { continue };
        if !entry.file_type().is_dir() {
            continue;
        }
        // a folder that cannot be read as a run is left out
        if let Ok(Some(summary)) = Summary::read(&RunDir::new(entry.path())) {
            runs.push(summary);
            entries.skip_current_dir();
        }
    }
    runs.sort_by_key(|run| std::cmp::Reverse(run.written));
    if arguments.json {
        for run in &runs {
            let size: u64 = run.files().iter().map(|(_, bytes)| bytes).sum();
            let (ok, failed) = run.pictures();
            let (accuracy, split) = run.accuracy().unzip();
            print(
                &json!({"dir": run.dir.root(), "name": run.name(), "date": run.written.map(date), "model": run.model(),
                "images": ok, "failed": failed, "accuracy": accuracy, "split": split, "bytes": size})
                .to_string(),
            )?;
        }
        return Ok(());
    }
    if runs.is_empty() {
        print(&format!("no run in {}", printable_path(dir)))?;
        return Ok(());
    }
    let widest = |text: &dyn Fn(&Summary) -> usize, least: usize| runs.iter().map(text).max().unwrap_or(0).max(least);
    let name = widest(&|run| run.name().chars().count(), 4);
    let model = widest(&|run| run.model().chars().count(), 5);
    print(&format!(
        "{:name$}  {:16}  {:model$}  {:>8}  {:>9}  {:>10}  folder",
        "name", "date (UTC)", "model", "images", "accuracy", "size"
    ))?;
    for run in &runs {
        let size: u64 = run.files().iter().map(|(_, bytes)| bytes).sum();
        let accuracy = run.accuracy().map_or("-".to_string(), |(share, split)| {
            format!("{:.2} %{}", 100.0 * share, if split == "test" { "" } else { "*" })
        });
        let date = run.written.map_or_else(String::new, date);
        let (name_of, images, dir) = (run.name(), run.pictures().0, printable_path(run.dir.root()));
        print(&format!(
            "{:name$}  {date:16}  {:model$}  {images:>8}  {accuracy:>9}  {:>10}  {dir}",
            printable(&name_of),
            run.model(),
            bytes(size)
        ))?;
    }
    if runs.iter().any(|run| run.accuracy().is_some_and(|(_, split)| split == "train")) {
        print("* on the train split: there is no test split")?;
    }
    Ok(())
}

/// Compares two runs.
pub fn diff(arguments: &DiffArgs) -> Result<(), Error> {
    let (a, b) = (show::summary(&arguments.before)?, show::summary(&arguments.after)?);
    let settings = changed(&a, &b);
    if arguments.json {
        let of = |run: &Summary| {
            let seconds: serde_json::Map<_, _> =
                run.seconds().into_iter().map(|(stage, s)| (stage.name().to_string(), json!(s))).collect();
            let accuracy = run.accuracy().map(|(share, _)| share);
            json!({"dir": run.dir.root(), "accuracy": accuracy, "images": run.pictures().0, "seconds": seconds})
        };
        let settings: Vec<_> =
            settings.iter().map(|(key, a, b)| json!({"key": key, "before": a, "after": b})).collect();
        let classes: Vec<_> = classes(&a, &b)
            .iter()
            .map(|(class, a, b)| json!({"class": class, "recall_before": a, "recall_after": b}))
            .collect();
        print(&json!({"before": of(&a), "after": of(&b), "settings": settings, "classes": classes}).to_string())?;
        return Ok(());
    }
    print(&format!("{} → {}", printable_path(a.dir.root()), printable_path(b.dir.root())))?;
    print("settings")?;
    if settings.is_empty() {
        print("  the same")?;
    }
    for (key, before, after) in &settings {
        print(&format!(
            "  {key}: {} → {}",
            printable(before.as_deref().unwrap_or("(none)")),
            printable(after.as_deref().unwrap_or("(none)"))
        ))?;
    }
    result(&a, &b)?;
    print("time")?;
    let stages: BTreeSet<_> = a.seconds().into_iter().chain(b.seconds()).map(|(stage, _)| stage).collect();
    for stage in stages {
        let of = |run: &Summary| {
            let found = run.seconds().into_iter().find(|(other, _)| *other == stage);
            found.map_or("-".to_string(), |(_, seconds)| duration(seconds))
        };
        print(&format!("  {:<9} {:>9} → {:>9}", stage.name(), of(&a), of(&b)))?;
    }
    Ok(())
}

fn result(a: &Summary, b: &Summary) -> Result<(), Error> {
    print("result")?;
    print(&format!("  images    {} → {}", a.pictures().0, b.pictures().0))?;
    match (a.accuracy(), b.accuracy()) {
        (Some((before, split)), Some((after, other))) => {
            let splits = if split == other { format!("on {split}") } else { format!("{split}, then {other}") };
            let change = 100.0 * (after - before);
            print(&format!(
                "  accuracy  {:.2} % → {:.2} % ({change:+.2} points, {splits})",
                100.0 * before,
                100.0 * after
            ))?;
        }
        (before, after) => {
            let of = |found: Option<(f64, _)>| {
                found.map_or("none".to_string(), |(share, _): (f64, &str)| format!("{:.2} %", 100.0 * share))
            };
            print(&format!("  accuracy  {} → {}", of(before), of(after)))?;
        }
    }
    let changes = classes(a, b);
    for (class, before, after) in &changes {
        let of = |share: &Option<f64>| share.map_or("-".to_string(), |share| format!("{:.1} %", 100.0 * share));
        print(&format!("  recall of {}: {} → {}", printable(class), of(before), of(after)))?;
    }
    if changes.is_empty() {
        print("  no class has changed")?;
    }
    Ok(())
}

/// The settings that differ, by key.
fn changed(a: &Summary, b: &Summary) -> Vec<(String, Option<String>, Option<String>)> {
    let (before, after) = (a.settings(), b.settings());
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let keys = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    keys.map(|key| (key.clone(), before.get(key).cloned(), after.get(key).cloned())).collect()
}

/// The classes whose recall differs, the largest decrease first.
fn classes(a: &Summary, b: &Summary) -> Vec<(String, Option<f64>, Option<f64>)> {
    let (before, after) = (a.classes(), b.classes());
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let recall = |of: &std::collections::BTreeMap<String, crate::store::ClassScore>, name: &String| {
        of.get(name).map(|score| score.recall)
    };
    let mut changes: Vec<_> =
        names.into_iter().map(|name| (name.clone(), recall(&before, name), recall(&after, name))).collect();
    changes.retain(|(_, a, b)| match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() > CHANGE,
        _ => true,
    });
    let change = |(_, a, b): &(String, Option<f64>, Option<f64>)| b.unwrap_or(0.0) - a.unwrap_or(0.0);
    changes.sort_by(|x, y| change(x).total_cmp(&change(y)).then(x.0.cmp(&y.0)));
    changes
}
