//! `featurize init`: a folder is looked at, and a pipeline for it written.

mod folder;
mod splits;
mod table;
mod words;
mod yaml;

use std::path::{Path, PathBuf};

use clap::Args;

use super::print;
use crate::config;
use crate::error::Error;
use crate::io::{IoError, atomic};
use crate::terminal::{printable, printable_path};
use folder::Found;

/// Which folder, and where the pipeline goes.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder with the pictures.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The pipeline to write, instead of <name of the folder>.yaml in the current folder.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite the file.
    #[arg(long)]
    force: bool,
}

/// Looks, writes, says what it found.
pub fn run(arguments: &InitArgs) -> Result<(), Error> {
    let dir = &arguments.dir;
    if !dir.is_dir() {
        let text = format!("there is no folder {}; give the one that holds the pictures", dir.display());
        return Err(Error::Usage(text));
    }
    let found = Found::look(dir)?;
    let name = name(dir);
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.yaml")));
    if out.exists() && !arguments.force {
        let text = format!("{} is there already; `--force` overwrites it, `-o FILE` writes another", out.display());
        return Err(Error::Usage(text));
    }
    let from = |path: &Path| seen_from(&out, path);
    let text = yaml::text(&found, &name, &from, &out);
    // what was written must be what is read
    config::parse(&text, &out, &[]).map_err(Box::new)?;
    if let Some(parent) = out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(IoError::write(parent))?;
    }
    atomic::write_bytes(&out, text.as_bytes())?;
    print(&format!("{}: {}", printable_path(dir), printable(&found.describe())));
    found.remarks.iter().for_each(|remark| print(&format!("  {}", printable(remark))));
    let out = printable_path(&out);
    print(&format!("wrote {out}; look at it, then\n  featurize plan {out}\n  featurize run {out}"));
    Ok(())
}

/// The folder's name, as the name of a run may be.
fn name(dir: &Path) -> String {
    let whole = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_path_buf());
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let refused = |c: char| c.is_control() || c.is_whitespace() || "/\\:*?\"<>|\u{fffd}".contains(c);
    let name: String = name.chars().map(|c| if refused(c) { '-' } else { c }).take(60).collect();
    let name = name.trim_matches(['-', '.', ' ']).to_string();
    if name.is_empty() { "pictures".into() } else { name }
}

/// `path` as the file `out` has to name it: relative paths count from its folder.
fn seen_from(out: &Path, path: &Path) -> String {
    let beside = out.parent().is_none_or(|parent| parent.as_os_str().is_empty());
    if path.is_absolute() || beside {
        return path.display().to_string();
    }
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string()
}
