//! `featurize similar`: the pictures of a run that are nearest to others.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{print, show, top};
use crate::chain::{ChainError, Failure, of_features};
use crate::error::Error;
use crate::extractor::Extractor;
use crate::image::{self, DecodeOptions, RgbImage};
use crate::io::IoError;
use crate::io::features::{FeatureFile, Key};
use crate::learn::neighbours::{Directions, Near};
use crate::plot::{self, Cell};
use crate::stages::scan::{NamedFile, Split};
use crate::store::RunDir;
use crate::table::FeatureMatrix;

/// Which run, which pictures, how many of the run's.
#[derive(Debug, Args)]
pub struct SimilarArgs {
    /// The run's folder, with its feature tables.
    #[arg(value_name = "RUN_DIR")]
    run: PathBuf,
    /// Pictures, folders (searched to the bottom), or `-`: a list of either on standard input, one a line.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// How many pictures of the run for each, the nearest first.
    #[arg(short, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    k: u16,
    /// Only pictures of this split: `train` or `test`.
    #[arg(long, value_name = "SPLIT", value_parser = split)]
    split: Option<Split>,
    /// One JSON object a picture and line.
    #[arg(long)]
    json: bool,
    /// Also draw every picture before its nearest ones into this file, as PNG or SVG by its ending; up to 200 pictures in all.
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
    /// Threads; all cores by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// The network's weights, where they are not in the program and no longer where the run found them.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
}

fn split(word: &str) -> Result<Split, String> {
    let splits = [Split::Train, Split::Test];
    splits.into_iter().find(|split| split.word() == word).ok_or_else(|| "the splits are train, test".to_string())
}

/// A run's pictures and the network that they went through.
struct Gallery {
    keys: Vec<Key>,
    index: Directions,
    extractor: Extractor,
    /// Where the pictures lay.
    root: Option<PathBuf>,
}

impl Gallery {
    fn open(dir: &RunDir, weights: Option<&Path>) -> Result<Self, Error> {
        let none = |reason: &str| ChainError::NoRun { dir: dir.root().to_path_buf(), reason: reason.to_string() };
        let parts = (0..).map(|i| dir.shard(i)).take_while(|path| path.is_file());
        let (mut keys, mut rows, mut extractor) = (Vec::new(), None::<FeatureMatrix>, None);
        for path in parts {
            let file = FeatureFile::open(&path)?;
            if extractor.is_none() {
                extractor = Some(of_features(&path, &file.metadata(), weights)?);
            }
            let (more, features) = file.read()?;
            keys.extend(more);
            match &mut rows {
                None => rows = Some(features),
                Some(rows) if rows.cols() == features.cols() => rows.append(&features),
                Some(_) => {
                    let reason = "it has not as many features as the tables before it".to_string();
                    return Err(IoError::Table { path, reason }.into());
                }
            }
        }
        let (Some(rows), Some(extractor)) = (rows, extractor) else {
            return Err(
                none("it has no features/part-00000.parquet; give the folder that `featurize run` wrote").into()
            );
        };
        let root = show::summary(dir.root()).ok();
        let root = root.and_then(|run| run.run["config"]["input"]["root"].as_str().map(PathBuf::from));
        Ok(Self { keys, index: Directions::of(rows), extractor, root })
    }

    /// The file of a row, where it is still there.
    fn file(&self, row: usize) -> Option<PathBuf> {
        Some(self.root.as_ref()?.join(&self.keys[row].path)).filter(|path| path.is_file())
    }

    /// The `k` nearest to a picture's features; not the picture itself.
    fn nearest(&self, picture: &NamedFile, features: &[f32], arguments: &SimilarArgs) -> Vec<Near> {
        let itself = picture.location.as_ref().ok().and_then(|path| std::fs::canonicalize(path).ok());
        let root = self.root.as_ref().and_then(|root| std::fs::canonicalize(root).ok());
        let own = itself.zip(root).and_then(|(path, root)| {
            let parts: Vec<String> =
                path.strip_prefix(root).ok()?.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            Some(parts.join("/"))
        });
        let split = arguments.split.map(Split::word);
        let keep = |i: usize| {
            let key = &self.keys[i];
            split.is_none_or(|split| key.split.as_deref() == Some(split)) && own.as_ref() != Some(&key.path)
        };
        self.index.nearest(features, arguments.k.into(), top::threads(arguments.threads), keep)
    }
}

/// Finds and prints.
pub fn run(arguments: &SimilarArgs) -> Result<(), Error> {
    let pictures = top::pictures(&arguments.paths)?;
    let shown = pictures.len() * (1 + usize::from(arguments.k));
    let form = arguments.sheet.as_deref().map(plot::Form::of).transpose()?;
    if form.is_some() {
        plot::check(shown, 1)?;
    }
    let gallery = Gallery::open(&RunDir::new(&arguments.run), arguments.weights.as_deref())?;
    let (mut failed, mut panels) = (0, Vec::new());
    let threads = top::threads(arguments.threads);
    gallery
        .extractor
        .extract_all(&pictures, threads, Ok, |picture, result| {
            let found = result.map(|features| gallery.nearest(picture, &features, arguments));
            failed += usize::from(found.is_err());
            tell(&gallery, picture, &found, arguments.json);
            if form.is_some() {
                panels.extend(sheet(&gallery, picture, &found, shown));
            }
            ControlFlow::Continue(())
        })
        .map_err(ChainError::from)?;
    if let (Some(form), Some(path)) = (form, &arguments.sheet) {
        let cell = |panel: &Panel| panel.0.clone();
        let titles: Vec<String> = panels.iter().map(cell).collect();
        let cells: Vec<Cell> = panels
            .iter()
            .zip(&titles)
            .map(|((_, picture, bar), title)| Cell {
                title,
                picture: picture.as_ref().map_err(String::as_str),
                bars: bar.iter().map(|(name, cosine)| (name.as_str(), *cosine)).collect(),
            })
            .collect();
        plot::write(path, form, &cells)?;
    }
    if failed > 0 {
        return Err(ChainError::Failed { failed, of: pictures.len() }.into());
    }
    Ok(())
}

fn tell(gallery: &Gallery, picture: &NamedFile, found: &Result<Vec<Near>, Failure>, as_json: bool) {
    match found {
        Err(failure) if as_json => print(&json!({"path": picture.path, "error": failure.to_string()}).to_string()),
        Err(failure) => eprintln!("{}: {failure}", picture.path),
        Ok(found) if as_json => {
            let one = |&Near { row, similarity: cosine }: &Near| {
                let Key { path, label, split } = &gallery.keys[row];
                json!({"path": path, "label": label, "split": split, "cosine": cosine})
            };
            print(&json!({"path": picture.path, "similar": found.iter().map(one).collect::<Vec<_>>()}).to_string());
        }
        Ok(found) => {
            print(&picture.path);
            let label = |row: usize| gallery.keys[row].label.as_deref().unwrap_or("-");
            let widest = found.iter().map(|near| label(near.row).chars().count()).max().unwrap_or(0);
            for &Near { row, similarity: cosine } in found {
                print(&format!("  {cosine:.4}  {:widest$}  {}", label(row), gallery.keys[row].path));
            }
        }
    }
}

/// Title, picture and bar of a cell.
type Panel = (String, Result<RgbImage, String>, Option<(String, f32)>);

/// A picture and, after it, those that are near.
fn sheet(gallery: &Gallery, picture: &NamedFile, found: &Result<Vec<Near>, Failure>, shown: usize) -> Vec<Panel> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_string();
    let read = |path: Result<PathBuf, String>| -> Result<RgbImage, String> {
        let bytes = std::fs::read(path?).map_err(|error| error.to_string())?;
        let image = image::decode(&bytes, &DecodeOptions::default()).map_err(|error| error.detail)?;
        Ok(plot::fitted(&image, shown))
    };
    let itself = found.as_ref().map_err(ToString::to_string).and_then(|_| read(picture.location.clone()));
    let mut panels = vec![(format!("like {}", name(&picture.path)), itself, None)];
    for &Near { row, similarity: cosine } in found.iter().flatten() {
        let key = &gallery.keys[row];
        let place = gallery.file(row).ok_or_else(|| "the picture is no longer there".to_string());
        let label = key.label.clone().unwrap_or_else(|| "cosine".to_string());
        panels.push((name(&key.path), read(place), Some((label, cosine.clamp(0.0, 1.0)))));
    }
    panels
}
