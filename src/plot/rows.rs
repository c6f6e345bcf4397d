//! Sheets of pictures and those that are like them: a row a picture, the picture itself framed at its beginning.
//!
//! A row that is too long goes on below, indented. So many rows go on a sheet as a screen and a viewer of pictures bear; the rest go on further sheets.

use super::bars::{Line, lay_out_lines};
use super::{Cell, Form, PlotError, fitted_to, save};
use crate::image::RgbImage;
use crate::io::output::Output;

/// Most cells side by side.
const ACROSS: usize = 11;
/// Up to so many a point has two pixels.
const FEW_ACROSS: usize = 6;
/// Most lines of a sheet where a point has one pixel: about 4,500 pixels; half of them where it has two.
const LINES: usize = 12;

/// How rows of a picture and `near` others lie on sheets.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    near: usize,
}

impl Rows {
    /// Rows of a picture and `near` that are like it; an error where one row would not fit on a sheet.
    pub fn new(near: usize) -> Result<Self, PlotError> {
        let most = LINES * (ACROSS - 1);
        if near > most { Err(PlotError::TooManyNear { near, most }) } else { Ok(Self { near }) }
    }

    /// Rows on a sheet.
    pub fn on_a_sheet(self) -> usize {
        (LINES / self.scale() / self.near.div_ceil(self.across() - 1).max(1)).max(1)
    }

    /// `image` no larger than a sheet shows it.
    pub fn fitted(self, image: &RgbImage) -> RgbImage {
        fitted_to(image, self.scale())
    }

    /// Writes a sheet of `rows`, each its picture and those that are like it.
    pub fn write(self, output: &Output, form: Form, rows: &[Vec<Cell>]) -> Result<(), PlotError> {
        if rows.is_empty() {
            return Err(PlotError::Empty);
        }
        let across = self.across();
        let lines = rows.iter().flat_map(|row| {
            let (first, rest) = row.split_at(row.len().min(across));
            let rest = rest.chunks(across - 1).map(|cells| Line { first: 1, cells });
            std::iter::once(Line { first: 0, cells: first }).chain(rest)
        });
        save(output, form, &lay_out_lines(lines, across, self.scale()))
    }

    fn across(self) -> usize {
        (self.near + 1).clamp(2, ACROSS)
    }

    /// Pixels of a point.
    fn scale(self) -> usize {
        if self.across() <= FEW_ACROSS { 2 } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{DecodeOptions, decode};
    use crate::io::output::{Inputs, Kind, Rules};
    use crate::plot::Share;
    use crate::plot::bars::FIRST;

    const GREEN: [u8; 3] = [10, 140, 60];

    fn drawn(rows: Rows, cells: &[Vec<Cell>]) -> RgbImage {
        let dir = tempfile::tempdir().expect("folder");
        let inputs = Inputs::default();
        let rules = Rules::new(&inputs, false);
        let output = Output::new(&dir.path().join("s.png"), Kind::Png, rules).expect("nothing is there");
        rows.write(&output, Form::Png, cells).expect("written");
        decode(&std::fs::read(output.path()).expect("read"), &DecodeOptions::default()).expect("a PNG")
    }

    #[test]
    fn each_row_begins_with_its_framed_picture_and_a_full_sheet_has_a_bounded_height() {
        let image = RgbImage::filled(300, 300, GREEN);
        for near in [0, 1, 2, 5, 6, 10, 11, 25, 120] {
            let rows = Rows::new(near).expect("fits");
            let one = |marked: bool| {
                let bars = if marked { vec![] } else { vec![("a", 0.5)] };
                Cell { title: "a.jpg", picture: Ok(&image), label: None, bars, share: Share::Cosine, marked }
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
            // the column of the left sides of the frames, one a row
            let scale = rows.scale();
            let at = |y: usize, x: usize| &sheet.row(y)[3 * x..3 * x + 3];
            let left = 28 * scale - 3 * scale;
            let blue: Vec<usize> = (0..sheet.height).filter(|&y| at(y, left) == FIRST).collect();
            let frames = 1 + blue.windows(2).filter(|two| two[1] != two[0] + 1).count();
            assert_eq!(frames, count, "{near}");
            // no other column has a frame
            let second = (28 + 288) * scale - 3 * scale;
            assert!(near == 0 || (0..sheet.height).all(|y| at(y, second) != FIRST), "{near}");
        }
        let error = Rows::new(121).expect_err("too many").to_string();
        assert!(error.contains("120") && error.contains("121"), "{error}");
    }
}
