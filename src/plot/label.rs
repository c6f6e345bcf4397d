//! Draws a line of text on a picture, as the notebooks do: `Predicted: banana 0.98`.

use super::bars::{BAND_GROUND, BAND_INK};
use super::canvas::{Area, Canvas};
use super::font;
use crate::image::{Filter, RgbImage, resize};

/// A picture whose longer side has fewer pixels is enlarged by an integer factor, since the text would be wider than
/// the picture.
const LEAST: usize = 256;
/// The least and the largest text size, in pixels per em.
const EM: [f32; 2] = [13.0, 96.0];
/// The picture's width divided by the text size.
const OF_WIDTH: f32 = 24.0;
/// The picture's height divided by the text size.
const OF_HEIGHT: f32 = 8.0;
/// The height of the band, in ems.
const BAND: f32 = 1.8;
/// From the side of the band to the text, in ems.
const SIDE: f32 = 0.55;
/// From the lower edge of the band to the baseline of the text, in ems.
const DESCENT: f32 = 0.57;
/// The least width of a labelled picture, in ems.
const LEAST_WIDTH: f32 = 14.0;
/// The opacity of the band.
const ALPHA: f32 = 0.82;

/// Returns `Predicted: banana 0.98`; `class` is the index of `name` among the classes. All characters that the font
/// lacks look the same, so a name with such a character is followed by the index.
pub fn prediction(name: &str, class: usize, probability: f32) -> String {
    let name = font::clean(name);
    let number = if font::has(&name) { String::new() } else { format!(" #{class}") };
    format!("Predicted: {}{number} {probability:.2}", name.replace('_', " "))
}

/// Draws `text` in a band over the lower edge of `image`, or below it where the picture is flat. A small picture is
/// enlarged, and a narrow one gets margins.
pub fn labelled(image: &RgbImage, text: &str) -> RgbImage {
    let factor = LEAST.div_ceil(image.width.max(image.height).max(1));
    let (width, height) = (image.width * factor, image.height * factor);
    let em = (width as f32 / OF_WIDTH).min(height as f32 / OF_HEIGHT).clamp(EM[0], EM[1]);
    let band = (BAND * em).ceil();
    let flat = (height as f32) < 3.0 * band;
    let all = [width.max((LEAST_WIDTH * em) as usize), height + if flat { band as usize } else { 0 }];
    let mut labelled = RgbImage::filled(all[0], all[1], BAND_GROUND);
    let mut canvas = Canvas::new(&mut labelled);
    let left = ((all[0] - width) / 2) as i64;
    match factor {
        _ if image.width == 0 || image.height == 0 => {}
        1 => canvas.paste(image, left, 0),
        _ => canvas.paste(&resize(image, width, height, Filter::Bicubic), left, 0),
    }
    let bottom = all[1] as f32;
    canvas.fill(Area { left: 0.0, top: bottom - band, width: all[0] as f32, height: band }, BAND_GROUND, ALPHA);
    let text = font::shorten_middle(text, em, all[0] as f32 - 2.0 * SIDE * em);
    canvas.text(&text, em, SIDE * em, bottom - DESCENT * em, BAND_INK);
    labelled
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREEN: [u8; 3] = [10, 140, 60];

    fn ink(image: &RgbImage, rows: std::ops::Range<usize>) -> usize {
        rows.flat_map(|y| image.row(y).chunks(3)).filter(|pixel| pixel.iter().all(|&level| level > 200)).count()
    }

    #[test]
    fn a_label_says_class_and_probability() {
        assert_eq!(prediction("banana", 0, 0.9876), "Predicted: banana 0.99");
        assert_eq!(prediction("banana", 0, 0.9849), "Predicted: banana 0.98");
        assert_eq!(prediction("Granny_Smith", 0, 0.999_99), "Predicted: Granny Smith 1.00");
        assert_eq!(prediction("a", 0, 1.0), "Predicted: a 1.00");
        assert_eq!(prediction("a\n\u{1b}[1m", 7, 0.29), "Predicted: a\u{fffd}\u{fffd}[1m #7 0.29");
        assert_eq!(prediction("苹果", 3, 0.5), "Predicted: 苹果 #3 0.50");
        assert_ne!(
            labelled(&RgbImage::filled(300, 300, GREEN), &prediction("苹", 3, 0.5)),
            labelled(&RgbImage::filled(300, 300, GREEN), &prediction("果", 4, 0.5))
        );
    }

    #[test]
    fn the_text_stands_on_the_lower_edge_and_the_rest_is_the_picture() {
        for (width, height) in [(640, 480), (4000, 3000), (300, 1200), (256, 256)] {
            let picture = RgbImage::filled(width, height, GREEN);
            let labelled = labelled(&picture, "Predicted: banana 0.98");
            assert_eq!((labelled.width, labelled.height), (width, height));
            let band =
                (BAND * (width as f32 / OF_WIDTH).min(height as f32 / OF_HEIGHT).clamp(EM[0], EM[1])).ceil() as usize;
            assert!((0..height - band).all(|y| labelled.row(y) == picture.row(y)), "{width} × {height}");
            assert!(ink(&labelled, height - band..height) > 100, "{width} × {height}");
            assert_eq!(ink(&labelled, 0..height - band), 0);
            // The outermost columns and rows have no ink, so the text is not cut off.
            assert!(
                labelled
                    .data
                    .chunks(3 * width)
                    .skip(height - band)
                    .all(|row| row[..3].iter().chain(&row[3 * width - 3..]).all(|&l| l < 200))
            );
            assert_eq!(ink(&labelled, height - 2..height), 0);
        }
    }

    #[test]
    fn small_narrow_flat_and_empty_pictures_can_be_labelled() {
        let size = |width, height| {
            let labelled = labelled(&RgbImage::filled(width, height, GREEN), "Predicted: banana 0.98");
            assert_eq!(labelled.data.len(), labelled.width * labelled.height * 3);
            assert!(ink(&labelled, 0..labelled.height) > 100, "{width} × {height}");
            (labelled.width, labelled.height)
        };
        assert_eq!(size(100, 100), (300, 300));
        assert_eq!(size(32, 16), (256, 128));
        assert_eq!(size(1000, 10), (1000, 34));
        assert_eq!(size(3, 900), (182, 900));
        assert_eq!(size(1, 1), (256, 256));
        assert_eq!(size(0, 5), (182, 260));
    }

    #[test]
    fn a_long_name_keeps_its_number() {
        let name = "a very long name of a class that does not fit on a picture of this width".to_string();
        let room = 300.0 - 2.0 * SIDE * EM[0];
        let text = prediction(&name, 0, 0.55);
        let short = font::shorten_middle(&text, EM[0], room);
        assert!(short.starts_with("Predicted: a very") && short.ends_with(" 0.55") && short.contains('…'), "{short}");
    }
}
