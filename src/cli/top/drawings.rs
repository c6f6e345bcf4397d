//! The drawings of `--plot`, `--annotate` and `--explain`: each picture is read a second time, right after its
//! prediction and on the same thread.

use std::path::Path;

use super::TopArgs;
use super::copies::Copies;
use crate::cli::sheet::{Panel, Sheet, title};
use crate::cli::usage;
use crate::error::Error;
use crate::image::RgbImage;
use crate::io::output::{Output, Rules, is_stdout};
use crate::pictures::predictor::{Predicted, top};
use crate::pictures::{DecodeMemory, Failure, Predictor};
use crate::plot::{self, FigureFormat, PlotError};
use crate::stages::scan::NamedFile;

/// The outputs of the drawings, shared by the threads that predict.
pub struct Drawings<'a> {
    predictor: &'a Predictor,
    memory: &'a DecodeMemory,
    pictures: usize,
    copies: Option<Copies>,
    heats: Option<Copies>,
    sheets: bool,
}

/// The sheets to which the drawings are added.
pub struct Sheets {
    plot: Option<Sheet>,
    annotated: Option<Sheet>,
    top: usize,
}

/// The picture for a sheet, or the reason why it cannot be read. A [`PlotError`] says that a copy cannot be written.
pub type Seen = Result<Result<Option<RgbImage>, Failure>, PlotError>;

/// Returns an error for drawings that cannot be made, before the first picture is classified.
pub fn open<'a>(
    (predictor, memory): (&'a Predictor, &'a DecodeMemory),
    (arguments, explain): (&TopArgs, Option<&Path>),
    pictures: &[NamedFile],
    rules: Rules,
) -> Result<(Drawings<'a>, Sheets), Error> {
    let (count, top) = (pictures.len(), usize::from(arguments.top));
    let plot = arguments.plot.as_deref().map(|path| Sheet::new(path, count, top, rules)).transpose()?;
    let folder = arguments.annotate.as_deref().filter(|path| is_folder(path));
    let sheet = arguments.annotate.as_deref().filter(|_| folder.is_none());
    let annotated = sheet.map(|path| Sheet::new(path, count, 0, rules)).transpose()?;
    let place = |path: &Path| std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).ok();
    if folder.is_some() && folder.and_then(place) == explain.and_then(place) {
        return usage("`--annotate` and `--explain` write the same names: give each a folder of its own");
    }
    let copies = |folder| Copies::new(folder, pictures, Rules { keeps_pictures: true, ..rules });
    let (copies, heats) = (folder.map(copies).transpose()?, explain.map(copies).transpose()?);
    let sheets = plot.is_some() || annotated.is_some();
    Ok((Drawings { predictor, memory, pictures: count, copies, heats, sheets }, Sheets { plot, annotated, top }))
}

/// Whether `path` is a folder for copies: an existing folder, or a path without the extension of a picture or document.
fn is_folder(path: &Path) -> bool {
    const FILES: [&str; 9] = ["png", "svg", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "pdf"];
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    if is_stdout(path) {
        return false;
    }
    path.is_dir()
        || FigureFormat::of(path).is_err() && !extension.is_some_and(|extension| FILES.contains(&extension.as_str()))
}

impl Drawings<'_> {
    /// True if anything is drawn.
    pub fn are_wanted(&self) -> bool {
        self.copies.is_some() || self.heats.is_some() || self.sheets
    }

    /// Reads a picture and writes its copy and heat map by its probabilities.
    pub fn see(&self, picture: &NamedFile, probabilities: &[f32]) -> Seen {
        if !self.are_wanted() {
            return Ok(Ok(None));
        }
        let Ok(path) = &picture.location else { return Ok(Ok(None)) };
        let image = match self.predictor.picture(picture, self.memory) {
            Ok(image) => image,
            Err(failure) => return Ok(Err(failure)),
        };
        if let Some(copies) = &self.copies {
            copies.write(path, &image, &label(probabilities, self.predictor.classes()))?;
        }
        if let (Some(heats), Some((class, _))) = (&self.heats, top(probabilities, 1).first()) {
            match self.predictor.explain(&image, *class) {
                Ok(Some((seen, heat))) => {
                    heats.write(path, &heat.over(&seen), &label(probabilities, self.predictor.classes()))?;
                }
                Ok(None) => {}
                Err(failure) => return Ok(Err(failure)),
            }
        }
        Ok(Ok(self.sheets.then(|| plot::fitted(&image, self.pictures))))
    }
}

/// `Predicted: banana 0.98`.
fn label(probabilities: &[f32], classes: &[String]) -> String {
    let best = top(probabilities, 1).into_iter().next();
    best.map_or(String::new(), |(class, probability)| {
        plot::prediction(classes.get(class).map_or("", String::as_str), class, probability)
    })
}

impl Sheets {
    /// Adds a picture to the sheets: its probabilities and image, or the reason why there are none.
    pub fn add(
        &mut self,
        picture: &NamedFile,
        result: Result<&(Predicted, Option<RgbImage>), &Failure>,
        classes: &[String],
    ) {
        let gone = || "the picture is no longer there".to_string();
        let image = || match result {
            Ok((_, image)) => image.clone().ok_or_else(gone),
            Err(failure) => Err(failure.to_string()),
        };
        let probabilities = result.ok().map(|(predicted, _)| predicted.probabilities.as_slice());
        let title = title(&picture.path);
        if let Some(sheet) = &mut self.plot {
            let name = |(class, p): (usize, f32)| (classes.get(class).cloned().unwrap_or_default(), p);
            let bars = top(probabilities.unwrap_or_default(), self.top).into_iter().map(name).collect();
            sheet.add(Panel { title: title.clone(), picture: image(), label: None, bars, marked: false });
        }
        if let Some(sheet) = &mut self.annotated {
            let label = probabilities.map(|probabilities| label(probabilities, classes));
            sheet.add(Panel { title, picture: image(), label, bars: Vec::new(), marked: false });
        }
    }

    /// The output files of the sheets.
    pub fn outputs(&self) -> impl Iterator<Item = &Output> {
        self.plot.iter().chain(&self.annotated).map(Sheet::output)
    }

    /// Draws the sheets.
    pub fn write(&self) -> Result<(), PlotError> {
        self.plot.iter().chain(&self.annotated).try_for_each(Sheet::write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_a_folder_from_a_sheet() {
        let dir = tempfile::tempdir().expect("folder");
        let there = dir.path().join("copies.png");
        std::fs::create_dir(&there).expect("created");
        assert!(is_folder(&there));
        for (path, folder) in [("a", true), ("a.png", false), ("a.SVG", false), ("v1.2", true), ("a.jpg", false)] {
            assert_eq!(is_folder(Path::new(path)), folder, "{path}");
        }
    }
}
