//! `featurize init`: looks at a folder of pictures and writes a pipeline for it.

mod folder;
mod splits;
mod table;
mod words;
mod yaml;

use std::path::{Path, PathBuf};

use clap::Args;

use super::{check_folder, print, usage};
use crate::config;
use crate::error::Error;
use crate::io::output::{FileKind, Inputs, Output, Rules};
use crate::progress::Ui;
use crate::stages::scan::{Members, named};
use crate::terminal::{printable, printable_path};
use folder::Found;

/// The folder to look at and the file to write.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder with the pictures.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The file to write; `-` is standard output. Default: `NAME.yaml` in the current folder, after the name of the
    /// folder.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace a pipeline that exists already.
    #[arg(long)]
    force: bool,
    /// Replace the file even if it is no pipeline.
    #[arg(long)]
    overwrite: bool,
}

/// Looks at the folder, writes the pipeline, and prints what it found.
pub fn run(arguments: &InitArgs) -> Result<(), Error> {
    let dir = &arguments.dir;
    check_folder(dir, "the pictures")?;
    let found = Found::look(dir)?;
    let name = name(dir);
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.yaml")));
    let pictures = named(dir, &mut Members::default())?.into_iter().filter_map(|picture| picture.location.ok());
    let inputs = Inputs::of_pictures(pictures);
    let rules = Rules::new(&inputs, arguments.overwrite);
    let output = Output::new(&out, FileKind::Yaml, rules)?;
    if output.replaces() && !arguments.force && !arguments.overwrite {
        return usage(format!("{} is there already; `--force` overwrites it, `-o FILE` writes another", out.display()));
    }
    let from = |path: &Path| seen_from(&out, path);
    let text = yaml::text(&found, &name, &from, &out);
    // parsing checks the generated pipeline
    config::parse(&text, &out, &[]).map_err(Box::new)?;
    output.write_bytes(text.as_bytes())?;
    let mut lines = vec![format!("{}: {}", printable_path(dir), printable(&found.describe()))];
    lines.extend(found.remarks.iter().map(|remark| format!("  {}", printable(remark))));
    if output.is_stdout() {
        lines.iter().for_each(|line| Ui::silent().tell(line));
        return Ok(());
    }
    lines.iter().try_for_each(|line| print(line))?;
    let out = printable_path(&out);
    print(&format!("wrote {out}; look at it, then\n  featurize plan {out}\n  featurize run {out}"))
}

/// A name for the run, made from the name of the folder.
fn name(dir: &Path) -> String {
    let whole = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_path_buf());
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let refused = |c: char| c.is_control() || c.is_whitespace() || "/\\:*?\"<>|\u{fffd}".contains(c);
    let name: String = name.chars().map(|c| if refused(c) { '-' } else { c }).take(60).collect();
    let name = name.trim_matches(['-', '.', ' ']).to_string();
    if name.is_empty() { "pictures".into() } else { name }
}

/// Returns the path as it must be written in the file `out`, since relative paths are relative to the file's folder.
fn seen_from(out: &Path, path: &Path) -> String {
    let beside = out.parent().is_none_or(|parent| parent.as_os_str().is_empty());
    if path.is_absolute() || beside {
        return path.display().to_string();
    }
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string()
}
