//! `featurize clean`: what of a run can go, with its size; nothing is deleted without `--yes`, and nothing that is not the run's own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{print, show};
use crate::error::Error;
use crate::io::IoError;
use crate::progress::{bytes, plural};
use crate::stages::StageId;
use crate::stages::train::KINDS;
use crate::store::{Lock, OutputFile, Record, RunDir};
use crate::terminal::{printable, printable_path};

#[derive(Debug, Args)]
pub struct CleanArgs {
    /// The run's folder.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The feature tables: the run stays usable by `predict`, and another `run` computes them again.
    #[arg(long)]
    features: bool,
    /// The other tables: manifest, reduced, predictions, quality.
    #[arg(long)]
    tables: bool,
    /// Everything that the run has written.
    #[arg(long)]
    all: bool,
    /// Delete it; without, only tell.
    #[arg(long)]
    yes: bool,
}

/// Tells, or deletes.
pub fn run(arguments: &CleanArgs) -> Result<(), Error> {
    let dir = RunDir::new(&arguments.run);
    if !dir.store().is_dir() {
        // an error that says what a run is, or a run without the folder that resuming needs
        show::summary(&arguments.run)?;
    }
    let asked = arguments.all || arguments.features || arguments.tables;
    // a run that is going on would write on while its files are listed
    let lock = (asked && arguments.yes).then(|| Lock::take(&dir)).transpose()?;
    let all = own(&dir);
    let chosen = |path: &Path| {
        let feature = path.starts_with("features") || path.starts_with(".store/shards");
        let table = ["manifest.parquet", "reduced.parquet", "predictions.parquet", "quality.parquet"]
            .iter()
            .any(|name| path == Path::new(name));
        arguments.all || arguments.features && feature || arguments.tables && table
    };
    let files: Vec<&(PathBuf, u64)> = all.iter().filter(|(path, _)| !asked || chosen(path)).collect();
    let size: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    for (group, count, size) in groups(&files) {
        print(&format!(
            "{:>10}  {}{}",
            bytes(size),
            printable(&group),
            if count > 1 { format!(" ({count} files)") } else { String::new() }
        ))?;
    }
    let told = format!("{} in {} of {}", bytes(size), plural(files.len(), "file"), printable_path(&arguments.run));
    if !asked {
        print(&format!("{told}; `--features`, `--tables` or `--all` says what goes"))?;
        return Ok(());
    }
    if !arguments.yes {
        print(&format!("{told} would go; `--yes` deletes them"))?;
        return Ok(());
    }
    for (path, _) in &files {
        let path = dir.root().join(path);
        // the lock itself goes last
        if path != dir.lock() {
            std::fs::remove_file(&path).map_err(IoError::write(&path))?;
        }
    }
    drop(lock);
    if arguments.all {
        std::fs::remove_file(dir.lock()).ok();
    }
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    folders.extend(files.iter().flat_map(|(path, _)| path.ancestors().skip(1).map(Path::to_path_buf)));
    // the innermost first; one that holds something else stays
    for folder in folders.iter().rev() {
        std::fs::remove_dir(dir.root().join(folder)).ok();
    }
    print(&format!("deleted {told}"))?;
    if dir.root().exists() && arguments.all {
        print(&format!("{} holds files that are not the run's; they stay", printable_path(&arguments.run)))?;
    }
    Ok(())
}

/// The files that the run has written, relative to it, with their sizes: those that every run has and those that its records name.
fn own(dir: &RunDir) -> Vec<(PathBuf, u64)> {
    let mut paths: BTreeSet<PathBuf> = BTreeSet::new();
    let root = dir.root();
    let mut add = |path: PathBuf| {
        if let Ok(path) = path.strip_prefix(root) {
            paths.insert(path.to_path_buf());
        }
    };
    for path in [dir.manifest(), dir.reduced(), dir.predictions(), dir.columns(), dir.card()] {
        add(path);
    }
    ["scale", "pca", "svd"].into_iter().for_each(|kind| add(dir.reduction(kind)));
    KINDS.into_iter().for_each(|kind| add(dir.classifier_file(kind)));
    for path in [dir.metrics(), dir.quality(), dir.report(), dir.run_json(), dir.lock()] {
        add(path);
    }
    for stage in StageId::ALL {
        let files = Record::read(dir, stage).map_or(Vec::new(), |record| record.files);
        files.into_iter().filter(OutputFile::is_inside).for_each(|output| add(root.join(output.file)));
        add(dir.record(stage));
    }
    for folder in [dir.features(), dir.store().join("shards")] {
        // a link to a folder elsewhere is not the run's
        let real = std::fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.is_dir());
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten().filter(|_| real);
        entries.map(|entry| entry.path()).filter(|path| is_part(path)).for_each(&mut add);
    }
    let size = |path: PathBuf| {
        let metadata = std::fs::symlink_metadata(root.join(&path)).ok().filter(|metadata| metadata.is_file())?;
        Some((path, metadata.len()))
    };
    let linked = |path: &PathBuf| {
        path.ancestors().skip(1).any(|above| {
            !above.as_os_str().is_empty() && std::fs::symlink_metadata(root.join(above)).is_ok_and(|m| m.is_symlink())
        })
    };
    paths.into_iter().filter(|path| !linked(path)).filter_map(size).collect()
}

/// `part-00000.parquet`, or `<32 hex digits>.json|parquet|rows` of the store.
fn is_part(path: &Path) -> bool {
    let name = path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
    let (stem, ending) = name.split_once('.').unwrap_or((&name, ""));
    let number = stem.strip_prefix("part-").is_some_and(|n| n.len() >= 5 && n.bytes().all(|b| b.is_ascii_digit()));
    let hash = stem.len() == 32 && stem.bytes().all(|b| b.is_ascii_hexdigit());
    number && ending == "parquet" || hash && ["json", "parquet", "rows"].contains(&ending)
}

/// Files by folder, those at the top by themselves.
fn groups(files: &[&(PathBuf, u64)]) -> Vec<(String, usize, u64)> {
    let mut groups: Vec<(String, usize, u64)> = Vec::new();
    for (path, size) in files {
        let top =
            path.components().next().map_or(String::new(), |part| part.as_os_str().to_string_lossy().into_owned());
        let name = if path.components().count() > 1 { top + "/" } else { top };
        match groups.iter_mut().find(|(group, ..)| *group == name) {
            Some((_, count, sum)) => (*count, *sum) = (*count + 1, *sum + size),
            None => groups.push((name, 1, *size)),
        }
    }
    groups
}
