//! Contact sheets that are filled while pictures are computed: one sheet for all pictures, or a new sheet whenever one
//! is full.

use std::path::{Path, PathBuf};

use super::usage;
use crate::error::Error;
use crate::image::RgbImage;
use crate::io::output::{Output, OutputError, Rules, is_stream};
use crate::plot::{self, BarScale, Cell, FigureFormat, PlotError, Rows};

/// The pictures of one sheet.
#[derive(Debug)]
pub struct Sheet {
    output: Output,
    form: FigureFormat,
    panels: Vec<Panel>,
}

/// A picture of a sheet, or the reason why it is missing.
#[derive(Debug)]
pub struct Panel {
    pub title: String,
    /// The picture, preferably in the size that [`plot::fitted`] returns.
    pub picture: Result<RgbImage, String>,
    pub label: Option<String>,
    pub bars: Vec<(String, f32)>,
    pub marked: bool,
}

impl Sheet {
    /// A sheet of `pictures` pictures with `bars` bars each. Before anything is computed, returns an error if so many
    /// pictures cannot be drawn or the file cannot be written.
    pub fn new(path: &Path, pictures: usize, bars: usize, rules: Rules) -> Result<Self, PlotError> {
        let form = FigureFormat::of(path)?;
        plot::check(pictures, bars)?;
        Ok(Self { output: Output::new(path, form.kind(), rules)?, form, panels: Vec::new() })
    }

    /// The output file of the sheet.
    pub fn output(&self) -> &Output {
        &self.output
    }

    pub fn add(&mut self, panel: Panel) {
        self.panels.push(panel);
    }

    /// Draws the sheet and writes its file.
    pub fn write(&self) -> Result<(), PlotError> {
        plot::write(&self.output, self.form, &cells(&self.panels, BarScale::Probability))
    }
}

/// Sheets of rows: each row has a picture and the pictures that are similar to it.
#[derive(Debug)]
pub struct RowSheets {
    shape: Rows,
    form: FigureFormat,
    /// The output files of the remaining sheets.
    outputs: std::vec::IntoIter<Output>,
    rows: Vec<Vec<Panel>>,
}

impl RowSheets {
    /// Sheets for `pictures` rows, each with `near` similar pictures: `sheet.png`, `sheet-2.png`, …
    pub fn new(path: &Path, pictures: usize, near: usize, rules: Rules) -> Result<Self, Error> {
        let (form, shape) = (FigureFormat::of(path)?, Rows::new(near)?);
        let sheets = pictures.div_ceil(shape.on_a_sheet());
        if sheets > 1 && is_stream(path) {
            return usage(format!(
                "{pictures} pictures take {sheets} sheets, and {} takes one: give a file's name, or {} pictures at most",
                path.display(),
                shape.on_a_sheet()
            ));
        }
        let output = |number| Output::new(&numbered(path, number), form.kind(), rules);
        let outputs: Vec<Output> = (1..=sheets).map(output).collect::<Result<_, OutputError>>()?;
        Ok(Self { shape, form, outputs: outputs.into_iter(), rows: Vec::new() })
    }

    /// Whether the sheet is written to standard output.
    pub fn is_stdout(&self) -> bool {
        self.outputs.as_slice().iter().any(Output::is_stdout)
    }

    /// Resizes `image` for a sheet.
    pub fn fitted(&self, image: &RgbImage) -> RgbImage {
        self.shape.fitted(image)
    }

    /// Adds a row, and draws the sheet if it is full.
    pub fn add(&mut self, row: Vec<Panel>) -> Result<(), PlotError> {
        self.rows.push(row);
        if self.rows.len() == self.shape.on_a_sheet() { self.write() } else { Ok(()) }
    }

    /// Draws the last sheet, if it has rows.
    pub fn finish(mut self) -> Result<(), PlotError> {
        if self.rows.is_empty() { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<(), PlotError> {
        let rows = std::mem::take(&mut self.rows);
        let cells: Vec<Vec<Cell>> = rows.iter().map(|row| cells(row, BarScale::Cosine)).collect();
        self.outputs.next().map_or(Ok(()), |output| self.shape.write(&output, self.form, &cells))
    }
}

/// The file name of a sheet: `sheet.png`, `sheet-2.png`, `sheet-3.png`.
fn numbered(path: &Path, number: usize) -> PathBuf {
    if number == 1 {
        return path.to_path_buf();
    }
    let mut name = path.file_stem().unwrap_or_default().to_os_string();
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

fn cells(panels: &[Panel], bar_scale: BarScale) -> Vec<Cell<'_>> {
    panels.iter().map(|panel| panel.cell(bar_scale)).collect()
}

impl Panel {
    fn cell(&self, bar_scale: BarScale) -> Cell<'_> {
        Cell {
            title: &self.title,
            picture: self.picture.as_ref().map_err(String::as_str),
            label: self.label.clone(),
            bars: self.bars.iter().map(|(name, length)| (name.as_str(), *length)).collect(),
            bar_scale,
            marked: self.marked,
        }
    }
}

/// The last part of a path, as the title of its picture.
pub fn title(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sheets_after_the_first_are_numbered() {
        let names = [1, 2, 11].map(|number| numbered(Path::new("a.b/s.x.png"), number));
        assert_eq!(names, ["a.b/s.x.png", "a.b/s.x-2.png", "a.b/s.x-11.png"].map(PathBuf::from));
    }
}
