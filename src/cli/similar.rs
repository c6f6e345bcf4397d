//! `featurize similar`: finds the pictures of a run that are most similar to given pictures.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use featurize_remote::Address;
use serde::Deserialize;
use serde_json::{Value, json};

use super::sheet::{Panel, RowSheets, title};
use super::workers::WorkerArgs;
use super::{is_closed, none_failed, print, show, style, top, ui};
use crate::config::PictureColumns;
use crate::error::Error;
use crate::exec::Device;
use crate::extractor::Extractor;
use crate::image::RgbImage;
use crate::io::IoError;
use crate::io::features::{FeatureFile, Key};
use crate::io::output::{Inputs, Rules};
use crate::learn::neighbours::{Directions, Near};
use crate::pictures::predictor::{self, of_features};
use crate::pictures::source::open_named;
use crate::pictures::source::remote::is_url;
use crate::pictures::stream::Through;
use crate::pictures::{DecodeMemory, Done, Failure, Made, Named, Opened, PredictorError, Way};
use crate::stage::StageId;
use crate::stages::scan::{Members, NamedFile, Split, base, escape, relative, unescape};
use crate::store::{Record, RunDir};
use crate::table::FeatureMatrix;
use crate::terminal::printable;

/// Which run, which pictures, how many of the run's.
#[derive(Debug, Args)]
pub struct SimilarArgs {
    /// The run's folder, with its feature tables.
    #[arg(value_name = "RUN_DIR")]
    run: PathBuf,
    /// Pictures, folders (searched to the bottom), archives (`photos.tar`, `photos.tar/cats/1.jpg`), URLs, tables of
    /// pictures (`.csv`), or `-`: a list of these on standard input, one a line.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The number of pictures of the run that are found for each picture, the nearest first.
    #[arg(short, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    k: u16,
    /// Only pictures of this split: `train` or `test`.
    #[arg(long, value_name = "SPLIT", value_parser = split)]
    split: Option<Split>,
    /// Print a JSON object for each picture, on a line of its own.
    #[arg(long)]
    json: bool,
    /// Also draw every picture and, in its row, its nearest ones into this file, as PNG or SVG by its ending (`-`: PNG
    /// to standard output, and nothing is printed). What does not fit goes on sheet-2.png, sheet-3.png, …
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
    /// Replace the sheet's file even if it is read here or is of another kind.
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    workers: WorkerArgs,
    /// The network's weights, where they are not in the program and no longer where the run found them.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// No progress: only results, warnings and errors.
    #[arg(short, long)]
    quiet: bool,
}

fn split(word: &str) -> Result<Split, String> {
    let splits = [Split::Train, Split::Test];
    splits.into_iter().find(|split| split.word() == word).ok_or_else(|| "the splits are train, test".to_string())
}

/// A run's pictures and the network that computed their features.
struct Gallery {
    keys: Vec<Key>,
    index: Directions,
    extractor: Extractor,
    memory: DecodeMemory,
    /// The folder to which the keys are relative, with links resolved.
    base: Option<PathBuf>,
    /// The archives of the run, if it has any.
    members: RefCell<Members>,
}

impl Gallery {
    fn open(dir: &RunDir, arguments: &SimilarArgs, device: &Device) -> Result<Self, Error> {
        let (mut keys, mut rows, mut extractor) = (Vec::new(), None::<FeatureMatrix>, None);
        let committed = Record::read(dir, StageId::Extract);
        for path in dir.parts() {
            if let Some(table) = committed.as_ref().and_then(|record| record.file(dir, &path)) {
                table.check(dir)?;
            }
            let file = FeatureFile::open(&path)?;
            if extractor.is_none() {
                extractor = Some(of_features(dir, &path, &file.metadata(), arguments.weights.as_deref(), device)?);
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
            return Err(PredictorError::no_run(dir.root(), "features/part-00000.parquet").into());
        };
        let input = show::summary(dir.root()).map_or(Value::Null, |mut run| run.run["config"]["input"].take());
        let base = input["root"].as_str().and_then(|root| match Address::of(Path::new(root)) {
            Some(_) => Some(PathBuf::from(root)),
            // the parent of a relative `photos.tar` is an empty path
            None => std::fs::canonicalize(Path::new(".").join(base(Path::new(root)))).ok(),
        });
        let columns = PictureColumns::deserialize(&input["parquet"]).unwrap_or_default();
        let (index, memory) = (Directions::of(rows), arguments.workers.memory());
        Ok(Self { keys, index, extractor, memory, base, members: RefCell::new(Members::with_columns(columns)) })
    }

    /// The picture of a row, if it still exists.
    fn picture(&self, row: usize) -> Option<NamedFile> {
        let key = &self.keys[row].path;
        if is_url(key) {
            return Some(NamedFile::new(key.clone(), Ok(key.into())));
        }
        let path = self.base.as_ref()?.join(unescape(key));
        if Address::of(&path).is_some() || path.is_file() {
            return Some(NamedFile::new(key.clone(), Ok(path)));
        }
        self.members.borrow_mut().one(&path).ok().flatten().filter(|picture| picture.member.is_some())
    }

    /// The key of a picture in the run, if the run has this picture.
    fn key(&self, picture: &NamedFile) -> Option<String> {
        if is_url(&picture.path) {
            return Some(picture.path.clone());
        }
        let base = self.base.as_ref()?;
        let below = |path: &Path| {
            let path = std::fs::canonicalize(path).ok().filter(|path| path.starts_with(base))?;
            Some(relative(&path, base).0)
        };
        let Some(member) = &picture.member else { return below(picture.location.as_ref().ok()?) };
        let archive = member.archive.path();
        let inside = picture.path.strip_prefix(&*escape(archive.as_os_str().as_encoded_bytes()))?;
        Some(below(archive)? + inside)
    }

    /// All files that the command reads.
    fn inputs(&self, pictures: &[NamedFile], arguments: &SimilarArgs) -> Inputs {
        let own = self.base.iter().flat_map(|base| self.keys.iter().map(|key| base.join(unescape(&key.path))));
        let asked = pictures.iter().filter_map(|picture| picture.location.clone().ok());
        let mut inputs = Inputs::of_pictures(asked.chain(own));
        inputs.files.extend(arguments.weights.clone());
        inputs.folders.push(arguments.run.clone());
        inputs
    }

    /// The `k` rows nearest to a picture's features, without the picture itself.
    fn nearest(&self, picture: &NamedFile, features: &[f32], arguments: &SimilarArgs) -> Vec<Near> {
        let (own, keys) = (self.key(picture), &self.keys);
        let split = arguments.split.map(Split::word);
        let keep = |i: usize| {
            let key = &keys[i];
            split.is_none_or(|split| key.split.as_deref() == Some(split)) && own.as_ref() != Some(&key.path)
        };
        self.index.nearest(features, arguments.k.into(), arguments.workers.threads(), keep)
    }
}

/// Finds and prints.
pub fn run(arguments: &SimilarArgs) -> Result<(), Error> {
    let pictures = top::pictures(&arguments.paths)?;
    let dir = RunDir::new(&arguments.run);
    let device = predictor::device(&dir, arguments.workers.device)?;
    let gallery = Gallery::open(&dir, arguments, &device)?;
    let inputs = gallery.inputs(&pictures, arguments);
    let rules = Rules::new(&inputs, arguments.overwrite);
    let new = |path: &PathBuf| RowSheets::new(path, pictures.len(), arguments.k.into(), rules);
    let mut sheets = arguments.sheet.as_ref().map(new).transpose()?;
    let mut silent = sheets.as_ref().is_some_and(RowSheets::is_stdout);
    // before this line, Ctrl-C ends the process at once
    let ui = ui(style(arguments.quiet));
    let line = ui.work("similar", Some(pictures.len() as u64), "images");
    let mut failed = 0;
    let take = |Done { number, result, .. }: Done<(), Vec<f32>>| -> Result<(), Error> {
        let picture = &pictures[number];
        let found = result.map(|Made { value, .. }| gallery.nearest(picture, &value, arguments));
        failed += usize::from(found.is_err());
        if let Err(failure) = &found
            && (silent || !arguments.json)
        {
            ui.tell(&format!("{}: {failure}", printable(&picture.path)));
        } else if !silent {
            match ui.beside_bars(|| tell(&gallery, picture, &found, arguments.json)) {
                // if standard output is closed, the sheets are still drawn
                Err(error) if is_closed(&error) && sheets.is_some() => silent = true,
                told => told?,
            }
        }
        if let Some(sheets) = &mut sheets {
            let row = row(sheets, &gallery, picture, &found);
            sheets.add(row)?;
        }
        line.inc(1);
        Ok(())
    };
    let (source, wanted) = (Named(&pictures), (0..pictures.len()).collect::<Vec<_>>());
    let stream = arguments.workers.stream(&source, &wanted, &ui);
    let Gallery { extractor, memory, .. } = &gallery;
    let through = Through { extractor, way: Way::on(&device), memory, strict: false };
    stream.features(through, |_| (), |_, features| Ok(features), take).1?;
    ui.check()?;
    if let Some(sheets) = sheets {
        sheets.finish()?;
    }
    none_failed(failed, pictures.len())
}

/// Prints the pictures that are similar to a picture.
fn tell(
    gallery: &Gallery,
    picture: &NamedFile,
    found: &Result<Vec<Near>, Failure>,
    as_json: bool,
) -> Result<(), Error> {
    match found {
        Err(failure) => print(&json!({"path": picture.path, "error": failure.to_string()}).to_string()),
        Ok(found) if as_json => {
            let one = |&Near { row, similarity: cosine }: &Near| {
                let Key { path, label, split } = &gallery.keys[row];
                json!({"path": path, "label": label, "split": split, "cosine": cosine})
            };
            print(&json!({"path": picture.path, "similar": found.iter().map(one).collect::<Vec<_>>()}).to_string())
        }
        Ok(found) => {
            print(&printable(&picture.path))?;
            let label = |row: usize| printable(gallery.keys[row].label.as_deref().unwrap_or("-"));
            let widest = found.iter().map(|near| label(near.row).chars().count()).max().unwrap_or(0);
            for &Near { row, similarity: cosine } in found {
                print(&format!("  {cosine:.4}  {:widest$}  {}", label(row), printable(&gallery.keys[row].path)))?;
            }
            Ok(())
        }
    }
}

/// A row of the sheet: the picture, followed by the pictures similar to it.
fn row(sheets: &RowSheets, gallery: &Gallery, picture: &NamedFile, found: &Result<Vec<Near>, Failure>) -> Vec<Panel> {
    let read = |open: &dyn Fn(u64) -> Result<Opened<'static>, Failure>| -> Result<RgbImage, String> {
        let image = predictor::picture(open, &gallery.extractor, &gallery.memory);
        Ok(sheets.fitted(&*image.map_err(|failure| failure.to_string())?))
    };
    let itself = found
        .as_ref()
        .map_err(ToString::to_string)
        .and_then(|_| read(&|most| open_named(picture, most, &Arc::default())));
    let (name, label) = (title(&picture.path), Some("Query".to_string()));
    let mut row = vec![Panel { title: name, picture: itself, label, bars: Vec::new(), marked: true }];
    for near in found.iter().flatten() {
        let (key, cosine) = (&gallery.keys[near.row], near.similarity);
        let place = gallery.picture(near.row).ok_or_else(|| "the picture is no longer there".to_string());
        let label = key.label.clone().unwrap_or_else(|| "cosine".to_string());
        let bars = vec![(label, cosine.clamp(0.0, 1.0))];
        let picture = place.and_then(|place| read(&|most| open_named(&place, most, &Arc::default())));
        row.push(Panel { title: title(&key.path), picture, label: None, bars, marked: false });
    }
    row
}
