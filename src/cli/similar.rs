//! `featurize similar`: the pictures of a run that are nearest to others.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::sheet::{Panel, Sheet, title};
use super::workers::WorkerArgs;
use super::{print, show, top};
use crate::chain::{ChainError, Failure, of_features};
use crate::error::Error;
use crate::extractor::Extractor;
use crate::image::RgbImage;
use crate::io::IoError;
use crate::io::features::{FeatureFile, Key};
use crate::learn::neighbours::{Directions, Near};
use crate::plot::{self, Share};
use crate::stages::scan::{NamedFile, Split, relative, unescape};
use crate::store::RunDir;
use crate::table::FeatureMatrix;
use crate::terminal::printable;

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
    #[command(flatten)]
    workers: WorkerArgs,
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
    /// Where the pictures lay, links resolved.
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
        let root = root.and_then(|run| std::fs::canonicalize(run.run["config"]["input"]["root"].as_str()?).ok());
        Ok(Self { keys, index: Directions::of(rows), extractor, root })
    }

    /// The file of a row, where it is still there.
    fn file(&self, row: usize) -> Option<PathBuf> {
        Some(self.root.as_ref()?.join(unescape(&self.keys[row].path))).filter(|path| path.is_file())
    }

    /// The `k` nearest to a picture's features; not the picture itself.
    fn nearest(&self, picture: &NamedFile, features: &[f32], arguments: &SimilarArgs) -> Vec<Near> {
        let itself = picture.location.as_ref().ok().and_then(|path| std::fs::canonicalize(path).ok());
        let own = itself.as_ref().zip(self.root.as_ref());
        let own = own.filter(|(path, root)| path.starts_with(root)).map(|(path, root)| relative(path, root).0);
        let split = arguments.split.map(Split::word);
        let keep = |i: usize| {
            let key = &self.keys[i];
            split.is_none_or(|split| key.split.as_deref() == Some(split)) && own.as_ref() != Some(&key.path)
        };
        self.index.nearest(features, arguments.k.into(), arguments.workers.threads(), keep)
    }
}

/// Finds and prints.
pub fn run(arguments: &SimilarArgs) -> Result<(), Error> {
    let pictures = top::pictures(&arguments.paths)?;
    let shown = pictures.len() * (1 + usize::from(arguments.k));
    let mut sheet = arguments.sheet.as_deref().map(|path| Sheet::new(path, shown, 1)).transpose()?;
    let mut gallery = Gallery::open(&RunDir::new(&arguments.run), arguments.weights.as_deref())?;
    gallery.extractor = gallery.extractor.with_decode_memory(arguments.workers.decode_memory());
    let mut failed = 0;
    let threads = arguments.workers.threads();
    gallery
        .extractor
        .extract_all(
            &pictures,
            threads,
            |_, features| Ok(features),
            |picture, result| {
                let found = result.map(|features| gallery.nearest(picture, &features, arguments));
                failed += usize::from(found.is_err());
                tell(&gallery, picture, &found, arguments.json);
                if let Some(sheet) = &mut sheet {
                    draw(sheet, &gallery, picture, &found);
                }
                ControlFlow::Continue(())
            },
        )
        .map_err(ChainError::from)?;
    if let Some(sheet) = sheet {
        sheet.write(Share::Cosine)?;
    }
    if failed > 0 {
        return Err(ChainError::Failed { failed, of: pictures.len() }.into());
    }
    Ok(())
}

fn tell(gallery: &Gallery, picture: &NamedFile, found: &Result<Vec<Near>, Failure>, as_json: bool) {
    match found {
        Err(failure) if as_json => print(&json!({"path": picture.path, "error": failure.to_string()}).to_string()),
        Err(failure) => eprintln!("{}: {failure}", printable(&picture.path)),
        Ok(found) if as_json => {
            let one = |&Near { row, similarity: cosine }: &Near| {
                let Key { path, label, split } = &gallery.keys[row];
                json!({"path": path, "label": label, "split": split, "cosine": cosine})
            };
            print(&json!({"path": picture.path, "similar": found.iter().map(one).collect::<Vec<_>>()}).to_string());
        }
        Ok(found) => {
            print(&printable(&picture.path));
            let label = |row: usize| printable(gallery.keys[row].label.as_deref().unwrap_or("-"));
            let widest = found.iter().map(|near| label(near.row).chars().count()).max().unwrap_or(0);
            for &Near { row, similarity: cosine } in found {
                print(&format!("  {cosine:.4}  {:widest$}  {}", label(row), printable(&gallery.keys[row].path)));
            }
        }
    }
}

/// Puts a picture on the sheet and, after it, those that are near.
fn draw(sheet: &mut Sheet, gallery: &Gallery, picture: &NamedFile, found: &Result<Vec<Near>, Failure>) {
    let pictures = sheet.pictures();
    let read = |path: Result<&Path, String>| -> Result<RgbImage, String> {
        let image = gallery.extractor.picture(path?).map_err(|failure| failure.to_string())?;
        Ok(plot::fitted(&image, pictures))
    };
    let panel = |title, picture, bars| Panel { title, picture, label: None, bars };
    let location = picture.location.as_deref().map_err(Clone::clone);
    let itself = found.as_ref().map_err(ToString::to_string).and_then(|_| read(location));
    sheet.add(panel(format!("like {}", title(&picture.path)), itself, Vec::new()));
    for &Near { row, similarity: cosine } in found.iter().flatten() {
        let key = &gallery.keys[row];
        let place = gallery.file(row).ok_or_else(|| "the picture is no longer there".to_string());
        let label = key.label.clone().unwrap_or_else(|| "cosine".to_string());
        let bars = vec![(label, cosine.clamp(0.0, 1.0))];
        sheet.add(panel(title(&key.path), read(place.as_deref().map_err(Clone::clone)), bars));
    }
}
