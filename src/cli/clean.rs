//! `featurize clean`: lists the files that a run has written, with their sizes, and deletes them with `--yes`. It
//! deletes only files that a record of the run names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{print, show};
use crate::error::Error;
use crate::io::IoError;
use crate::progress::{bytes, plural};
use crate::stages::extract;
use crate::store::{Lock, Owner, RunDir};
use crate::terminal::{printable, printable_path};

/// The tables other than those of the features.
const TABLES: [&str; 6] =
    ["manifest.parquet", "reduced.parquet", "predictions.parquet", "quality.parquet", "relabel.csv", "atlas.parquet"];

#[derive(Debug, Args)]
pub struct CleanArgs {
    /// The folder of the run.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The feature tables. `predict` still works without them, and another `run` computes them again.
    #[arg(long)]
    features: bool,
    /// The other tables: manifest, reduced, predictions, quality, relabel, atlas.
    #[arg(long)]
    tables: bool,
    /// Everything that the run has written.
    #[arg(long)]
    all: bool,
    /// Delete the files. Without it they are only listed.
    #[arg(long)]
    yes: bool,
}

/// Lists the files, or deletes them.
pub fn run(arguments: &CleanArgs) -> Result<(), Error> {
    let dir = RunDir::new(&arguments.run);
    if !dir.store().is_dir() {
        // prints an error if the folder is not a run, or finds a run without `.store`
        show::summary(&arguments.run)?;
    }
    let asked = arguments.all || arguments.features || arguments.tables;
    // the lock keeps a run from writing while its files are listed
    let lock = (asked && arguments.yes).then(|| Lock::take(&dir)).transpose()?;
    lock.iter().try_for_each(Lock::writable)?;
    let all = own(&dir);
    if all.is_empty() {
        print(&format!("no record names a file that featurize wrote to {}", printable_path(&arguments.run)))?;
        return Ok(());
    }
    let chosen = |path: &Path| {
        let feature = path.starts_with("features") || path.starts_with(".store/shards");
        let table = TABLES.iter().any(|name| path == Path::new(name));
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
    // the records are deleted after the files that they name, and the lock last
    let mut paths: Vec<PathBuf> = files.iter().map(|(path, _)| dir.root().join(path)).collect();
    paths.sort_by_key(|path| (path.starts_with(dir.store()), path.parent() == Some(&*dir.store())));
    for path in paths.iter().filter(|path| **path != dir.lock()) {
        std::fs::remove_file(path).map_err(IoError::write(path))?;
    }
    drop(lock);
    if let Some(lock) = dir.own_file(&dir.name_of(&dir.lock())).filter(|_| arguments.all) {
        std::fs::remove_file(lock).ok();
    }
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    folders.extend(files.iter().flat_map(|(path, _)| path.ancestors().skip(1).map(Path::to_path_buf)));
    if arguments.all {
        // earlier versions made empty folders
        folders.extend(dir.folders().map(|folder| PathBuf::from(dir.name_of(&folder))));
    }
    // the innermost folder first; a folder with other files stays
    for folder in folders.iter().rev() {
        std::fs::remove_dir(dir.root().join(folder)).ok();
    }
    print(&format!("deleted {told}"))?;
    if dir.root().exists() && arguments.all {
        print(&format!("{} holds files that are not the run's; they stay", printable_path(&arguments.run)))?;
    }
    Ok(())
}

/// The files that the run has written, with their sizes: those that its records name, its feature tables and its store.
/// Paths are relative to the run.
fn own(dir: &RunDir) -> Vec<(PathBuf, u64)> {
    let owner = Owner::of(dir);
    if !owner.is_run() {
        return Vec::new();
    }
    let mut names = owner.names();
    let found = extract::tables(dir).into_iter().chain(dir.own_files(&dir.shards()));
    names.extend(found.map(|path| dir.name_of(&path)));
    let size = |name: String| Some((PathBuf::from(&name), dir.own_file(&name)?.metadata().ok()?.len()));
    names.into_iter().filter_map(size).collect()
}

/// Files grouped by folder; files at the top stand alone.
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
