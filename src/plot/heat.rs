//! Draws heat maps over pictures: warm colours for positive contributions, grey elsewhere.

use crate::image::RgbImage;

/// The part by which the saturation of a place without heat is reduced.
const DRAINED: f32 = 0.75;
/// The opacity of the greatest heat.
const COVER: f32 = 0.72;
/// The colours of small and of the greatest heat.
const COLOURS: [[f32; 3]; 2] = [[255.0, 214.0, 10.0], [214.0, 24.0, 24.0]];

/// The contribution of each part of a picture: `rows` × `cols` values over the whole picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heat {
    pub rows: usize,
    pub cols: usize,
    pub values: Vec<f32>,
}

impl Heat {
    /// The row and the column of the greatest value; none if there are no values.
    pub fn hottest(&self) -> Option<(usize, usize)> {
        let hottest = self.values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)))?.0;
        Some((hottest / self.cols.max(1), hottest % self.cols.max(1)))
    }

    /// The value at relative coordinates from 0 to 1, interpolated between the centres of the cells.
    fn at(&self, y: f32, x: f32) -> f32 {
        let cell = |at: f32, count: usize| {
            let at = (at * count as f32 - 0.5).clamp(0.0, count.saturating_sub(1) as f32);
            (at as usize, (at as usize + 1).min(count.saturating_sub(1)), at.fract())
        };
        let ((top, bottom, down), (left, right, across)) = (cell(y, self.rows), cell(x, self.cols));
        let value = |row: usize, col: usize| self.values.get(row * self.cols + col).copied().unwrap_or(0.0);
        let between = |row: usize| value(row, left) * (1.0 - across) + value(row, right) * across;
        between(top) * (1.0 - down) + between(bottom) * down
    }

    /// Draws the map over `image`. Only positive contributions are drawn, the greatest value with full opacity.
    pub fn over(&self, image: &RgbImage) -> RgbImage {
        let greatest = self.values.iter().copied().fold(0.0, f32::max);
        let (height, width) = (image.height.max(1) as f32, image.width.max(1) as f32);
        RgbImage::from_fn(image.width, image.height, |x, y| {
            let pixel: [u8; 3] = std::array::from_fn(|c| image.row(y)[3 * x + c]);
            let heat = self.at((y as f32 + 0.5) / height, (x as f32 + 0.5) / width);
            let heat = if greatest > 0.0 { (heat / greatest).clamp(0.0, 1.0) } else { 0.0 };
            let [r, g, b] = pixel.map(f32::from);
            let grey = 0.299 * r + 0.587 * g + 0.114 * b;
            std::array::from_fn(|c| {
                let drained = f32::from(pixel[c]) + (grey - f32::from(pixel[c])) * DRAINED * (1.0 - heat);
                let colour = COLOURS[0][c] + (COLOURS[1][c] - COLOURS[0][c]) * heat;
                (drained + (colour - drained) * COVER * heat).round().clamp(0.0, 255.0) as u8
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hottest_place_is_red_and_the_others_keep_their_light() {
        let image = RgbImage::filled(40, 20, [100, 100, 100]);
        let heat = Heat { rows: 2, cols: 4, values: vec![0.0, 0.0, 0.0, -9.0, 5.0, 0.0, 0.0, 0.0] };
        assert_eq!(heat.hottest(), Some((1, 0)));
        let drawn = heat.over(&image);
        let pixel = |x: usize, y: usize| -> [u8; 3] { std::array::from_fn(|c| drawn.row(y)[3 * x + c]) };
        let [r, g, b] = pixel(4, 15);
        assert!(r > 170 && g < 60 && b < 60, "{:?}", pixel(4, 15));
        assert_eq!((pixel(35, 2), pixel(25, 15)), ([100; 3], [100; 3]));
        assert!(Heat { values: vec![0.0; 8], ..heat }.over(&image) == image, "nothing adds, nothing is drawn");
        assert_eq!(Heat::default().hottest(), None);
    }
}
