//! Draws sheets of similar pictures: each row begins with a framed picture, and the pictures that are most similar to
//! it follow.
//!
//! A row that is too long continues on the next line, indented. The number of rows on a sheet is limited to a size that
//! picture viewers show well; further rows go on further sheets.

use super::bars::{CellRow, lay_out_rows};
use super::{Cell, FigureFormat, PlotError, fitted_to, save};
use crate::image::RgbImage;
use crate::io::output::Output;

/// The most cells side by side.
const ACROSS: usize = 11;
/// The most cells side by side in a sheet with two pixels per point.
const FEW_ACROSS: usize = 6;
/// The most lines of a sheet with one pixel per point, which is about 4,500 pixels high; a sheet with two pixels per
/// point has half as many.
const LINES: usize = 12;

/// The layout of sheets whose rows are a picture and `near` similar ones.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    near: usize,
}

impl Rows {
    /// Makes the layout for rows of a picture and `near` similar ones; an error where one row does not fit on a sheet.
    pub fn new(near: usize) -> Result<Self, PlotError> {
        let most = LINES * (ACROSS - 1);
        if near > most { Err(PlotError::TooManyNear { near, most }) } else { Ok(Self { near }) }
    }

    /// Returns the number of rows on a sheet.
    pub fn on_a_sheet(self) -> usize {
        (LINES / self.scale() / self.near.div_ceil(self.across() - 1).max(1)).max(1)
    }

    /// Returns `image` in the size in which a sheet shows it.
    pub fn fitted(self, image: &RgbImage) -> RgbImage {
        fitted_to(image, self.scale())
    }

    /// Writes a sheet of `rows`, each of a picture and the pictures that are similar to it.
    pub fn write(self, output: &Output, form: FigureFormat, rows: &[Vec<Cell>]) -> Result<(), PlotError> {
        if rows.is_empty() {
            return Err(PlotError::Empty);
        }
        let across = self.across();
        let lines = rows.iter().flat_map(|row| {
            let (first, rest) = row.split_at(row.len().min(across));
            let rest = rest.chunks(across - 1).map(|cells| CellRow { first: 1, cells });
            std::iter::once(CellRow { first: 0, cells: first }).chain(rest)
        });
        save(output, form, &lay_out_rows(lines, across, self.scale()))
    }

    fn across(self) -> usize {
        (self.near + 1).clamp(2, ACROSS)
    }

    /// Returns the pixels per point.
    fn scale(self) -> usize {
        if self.across() <= FEW_ACROSS { 2 } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{DecodeOptions, decode};
    use crate::io::output::{FileKind, Inputs, Rules};
    use crate::plot::BarScale;
    use crate::plot::bars::FIRST;

    const GREEN: [u8; 3] = [10, 140, 60];

    fn drawn(rows: Rows, cells: &[Vec<Cell>]) -> RgbImage {
        let dir = tempfile::tempdir().expect("folder");
        let inputs = Inputs::default();
        let rules = Rules::new(&inputs, false);
        let output = Output::new(&dir.path().join("s.png"), FileKind::Png, rules).expect("nothing is there");
        rows.write(&output, FigureFormat::Png, cells).expect("written");
        decode(&std::fs::read(output.path()).expect("read"), &DecodeOptions::default()).expect("a PNG")
    }

    #[test]
    fn each_row_begins_with_its_framed_picture_and_a_full_sheet_has_a_bounded_height() {
        let image = RgbImage::filled(300, 300, GREEN);
        for near in [0, 1, 2, 5, 6, 10, 11, 25, 120] {
            let rows = Rows::new(near).expect("fits");
            let one = |marked: bool| {
                let bars = if marked { vec![] } else { vec![("a", 0.5)] };
                Cell { title: "a.jpg", picture: Ok(&image), label: None, bars, bar_scale: BarScale::Cosine, marked }
            };
            let row: Vec<Cell> = (0..=near).map(|i| one(i == 0)).collect();
            let count = rows.on_a_sheet();
            let sheet = drawn(rows, &vec![row; count]);
            assert!(
                count >= 1 && sheet.height <= 5000 && sheet.width <= 3600,
                "{near}: {} × {}",
                sheet.width,
                sheet.height
            );
            // This column crosses the left sides of the frames, of which each row has one.
            let scale = rows.scale();
            let at = |y: usize, x: usize| &sheet.row(y)[3 * x..3 * x + 3];
            let left = 28 * scale - 3 * scale;
            let blue: Vec<usize> = (0..sheet.height).filter(|&y| at(y, left) == FIRST).collect();
            let frames = 1 + blue.windows(2).filter(|two| two[1] != two[0] + 1).count();
            assert_eq!(frames, count, "{near}");
            // The second column of pictures has no frame.
            let second = (28 + 288) * scale - 3 * scale;
            assert!(near == 0 || (0..sheet.height).all(|y| at(y, second) != FIRST), "{near}");
        }
        let error = Rows::new(121).expect_err("too many").to_string();
        assert!(error.contains("120") && error.contains("121"), "{error}");
    }
}
