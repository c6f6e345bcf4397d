//! A contact sheet in the making: pictures one after the other, then one file.

use std::path::{Path, PathBuf};

use crate::image::RgbImage;
use crate::plot::{self, Cell, Form, PlotError, Share};

/// Pictures that will be drawn on one sheet.
#[derive(Debug)]
pub struct Sheet {
    path: PathBuf,
    form: Form,
    /// How many there will be.
    pictures: usize,
    panels: Vec<Panel>,
}

/// A picture of the sheet, or why there is none.
#[derive(Debug)]
pub struct Panel {
    pub title: String,
    /// Best as [`Sheet::fitted`] gives it.
    pub picture: Result<RgbImage, String>,
    pub label: Option<String>,
    pub bars: Vec<(String, f32)>,
}

impl Sheet {
    /// A sheet of `pictures` pictures with `bars` bars each; what cannot be drawn is refused before anything is computed.
    pub fn new(path: &Path, pictures: usize, bars: usize) -> Result<Self, PlotError> {
        let form = Form::of(path)?;
        plot::check(pictures, bars)?;
        Ok(Self { path: path.to_path_buf(), form, pictures, panels: Vec::new() })
    }

    /// How many pictures there will be on it.
    pub fn pictures(&self) -> usize {
        self.pictures
    }

    pub fn add(&mut self, panel: Panel) {
        self.panels.push(panel);
    }

    /// Draws it; `share` is what the bars are of.
    pub fn write(&self, share: Share) -> Result<(), PlotError> {
        let cells: Vec<Cell> = self.panels.iter().map(|panel| panel.cell(share)).collect();
        plot::write(&self.path, self.form, &cells)
    }
}

impl Panel {
    fn cell(&self, share: Share) -> Cell<'_> {
        Cell {
            title: &self.title,
            picture: self.picture.as_ref().map_err(String::as_str),
            label: self.label.clone(),
            bars: self.bars.iter().map(|(name, length)| (name.as_str(), *length)).collect(),
            share,
        }
    }
}

/// The last part of a path, as the title of its picture.
pub fn title(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_string()
}
