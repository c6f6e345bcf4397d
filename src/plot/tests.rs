//! Tests of figures: their sizes, the lengths of bars, that no mark leaves its cell, and both file formats.

use std::path::Path;

use super::bars::{Anchor, BOX, FIRST, Figure, Mark, OTHERS, columns, lay_out, percent, size};
use super::canvas::Area;
use super::*;
use crate::image::{DecodeOptions, decode};
use crate::io::output::{Inputs, Rules};

const GREEN: [u8; 3] = [10, 140, 60];

fn cell<'a>(title: &'a str, image: &'a RgbImage, bars: &[(&'a str, f32)]) -> Cell<'a> {
    Cell {
        title,
        picture: Ok(image),
        label: None,
        bars: bars.to_vec(),
        bar_scale: BarScale::Probability,
        marked: false,
    }
}

fn failed<'a>(title: &'a str, reason: &'a str, bars: &[(&'a str, f32)]) -> Cell<'a> {
    Cell {
        title,
        picture: Err(reason),
        label: None,
        bars: bars.to_vec(),
        bar_scale: BarScale::Probability,
        marked: false,
    }
}

fn fruit() -> [(&'static str, f32); 3] {
    [("banana", 0.75), ("Granny_Smith", 0.125), ("fig", 0.03)]
}

/// Returns the area that a mark covers, in points.
fn extent(mark: &Mark) -> Area {
    match mark {
        Mark::Fill { area, .. } | Mark::Picture { area, .. } => *area,
        Mark::Text(text) => {
            let width = font::width(&text.text, text.size);
            let left = match text.anchor {
                Anchor::Start => text.x,
                Anchor::Middle => text.x - width / 2.0,
                Anchor::End => text.x - width,
            };
            Area { left, top: text.baseline - 0.75 * text.size, width, height: text.size }
        }
    }
}

fn fills(figure: &Figure, colour: [u8; 3]) -> Vec<Area> {
    let marks = figure.cells.iter().flat_map(|cell| &cell.marks);
    marks
        .filter_map(
            |mark| if let Mark::Fill { area, colour: c } = mark { (*c == colour).then_some(*area) } else { None },
        )
        .collect()
}

/// Returns the number of pixels of row `y` with exactly this colour.
fn count(image: &RgbImage, y: usize, colour: [u8; 3]) -> usize {
    image.row(y).chunks(3).filter(|pixel| *pixel == colour).count()
}

fn tempfile(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join(name);
    (folder, path)
}

fn output(path: &Path, form: FigureFormat) -> Output {
    let inputs = Inputs::default();
    let rules = Rules::new(&inputs, false);
    Output::new(path, form.kind(), rules).expect("nothing is there")
}

#[test]
fn the_extension_says_the_form() {
    assert_eq!(FigureFormat::of(Path::new("a/b.png")).ok(), Some(FigureFormat::Png));
    assert_eq!(FigureFormat::of(Path::new("B.SVG")).ok(), Some(FigureFormat::Svg));
    for other in ["a.jpg", "png", "a", ".svg"] {
        let error = FigureFormat::of(Path::new(other)).expect_err(other).to_string();
        assert!(error.contains(other) && error.contains(".png") && error.contains(".svg"), "{error}");
    }
}

#[test]
fn a_figure_has_limits_and_says_them() {
    assert!(check(1, 0).is_ok() && check(MOST_PICTURES, MOST_BARS).is_ok());
    assert!(matches!(check(0, 3), Err(PlotError::Empty)));
    let error = check(201, 3).expect_err("too many").to_string();
    assert!(error.contains("200") && error.contains("201"), "{error}");
    let error = check(2, 21).expect_err("too many").to_string();
    assert!(error.contains("20") && error.contains("21"), "{error}");
    let (_folder, path) = tempfile("a.png");
    assert!(matches!(write(&output(&path, FigureFormat::Png), FigureFormat::Png, &[]), Err(PlotError::Empty)));
    assert!(!path.exists());
}

#[test]
fn the_grid_grows_to_four_across() {
    assert_eq!([1, 2, 3, 4, 5, 6, 7, 9, 12, 200].map(columns), [1, 2, 3, 4, 3, 3, 4, 3, 4, 4]);
    let image = RgbImage::filled(100, 100, GREEN);
    let sizes = |count: usize| {
        let figure = lay_out(&vec![cell("a", &image, &fruit()); count], 2);
        (figure.width, figure.height, figure.cells.len())
    };
    // Margins are 28, cells 256 and gutters 32; below a picture are 33 + 2 × 34 + 16 + 8 + 2 + 14 = 141, between rows
    // 34.
    assert_eq!(sizes(1), (312.0, 453.0, 1));
    assert_eq!(sizes(3), (888.0, 453.0, 3));
    assert_eq!(sizes(12), (1176.0, 56.0 + 3.0 * 397.0 + 2.0 * 34.0, 12));
}

#[test]
fn a_picture_fills_its_box_in_its_own_shape() {
    assert_eq!(size(100, 100, 2), (512, 512));
    assert_eq!(size(4000, 3000, 2), (512, 384));
    assert_eq!(size(30, 40, 1), (192, 256));
    assert_eq!(size(10_000, 3, 2), (512, 1));
    assert_eq!(size(0, 0, 1), (1, 1));
    let large = RgbImage::from_fn(1000, 500, |x, _| if x < 500 { GREEN } else { [200; 3] });
    let small = fitted(&large, 3);
    assert_eq!((small.width, small.height), (512, 256));
    assert_eq!((small.row(9)[30], small.row(9)[1500]), (GREEN[0], 200));
    assert_eq!(fitted(&large, 150).width, 256);
    let tiny = RgbImage::filled(32, 20, GREEN);
    assert_eq!(fitted(&tiny, 1), tiny);
    // A fitted picture is drawn as it is, and a larger one looks the same.
    let draw = |image: &RgbImage| raster::draw(&lay_out(&[cell("a", image, &fruit())], 2));
    assert_eq!(draw(&small), draw(&large));
}

#[test]
fn a_row_is_as_high_as_its_highest_picture_and_all_stand_on_one_line() {
    let (wide, high) = (RgbImage::filled(400, 200, GREEN), RgbImage::filled(100, 200, GREEN));
    let alone = lay_out(&[cell("wide", &wide, &fruit())], 2);
    assert_eq!(alone.height, 453.0 - 128.0);
    let both = lay_out(&[cell("wide", &wide, &fruit()), cell("high", &high, &fruit())], 2);
    assert_eq!(both.height, 453.0);
    let areas: Vec<Area> = both
        .cells
        .iter()
        .flat_map(|cell| &cell.marks)
        .filter_map(|mark| if let Mark::Picture { area, .. } = mark { Some(*area) } else { None })
        .collect();
    assert_eq!(areas.iter().map(Area::bottom).collect::<Vec<_>>(), [284.0; 2]);
    assert_eq!(areas[1], Area { left: 28.0 + 288.0 + 64.0, top: 28.0, width: 128.0, height: 256.0 });
}

#[test]
fn a_probability_is_never_nothing_nor_certain_unless_it_is() {
    let texts = [0.973, 0.5, 1.0, 0.9996, 0.99949, 0.0, 0.0004, 0.0005].map(percent);
    assert_eq!(texts, ["97.3 %", "50.0 %", "100.0 %", "> 99.9 %", "99.9 %", "0.0 %", "< 0.1 %", "0.1 %"]);
}

#[test]
fn a_bar_has_the_pixels_of_its_probability() {
    let image = RgbImage::filled(60, 60, GREEN);
    for scale in [1, 2] {
        let figure = lay_out(&[cell("a.jpg", &image, &fruit())], scale);
        let drawn = raster::draw(&figure);
        assert_eq!((drawn.width, drawn.height), (312 * scale, 453 * scale));
        let long = BOX * scale;
        let rows = |area: Area| (area.top as usize * scale)..(area.bottom() as usize * scale);
        let first = fills(&figure, FIRST);
        assert_eq!(first.len(), 1);
        for y in rows(first[0]) {
            assert_eq!(count(&drawn, y, FIRST), long * 3 / 4, "row {y}");
        }
        let others = fills(&figure, OTHERS);
        assert_eq!(others.len(), 2);
        for (area, probability) in others.into_iter().zip([0.125, 0.03]) {
            // The last pixel of a bar may be blended.
            let expected = (probability * long as f64).floor() as usize;
            assert!(rows(area).all(|y| count(&drawn, y, OTHERS) == expected), "{probability}");
        }
        let above = first[0].top as usize * scale - 3 * scale;
        assert_eq!(count(&drawn, above, FIRST), 0);
    }
}

#[test]
fn every_probability_has_a_bar_inside_the_axis() {
    let image = RgbImage::filled(60, 60, GREEN);
    let odd = [("a", f32::NAN), ("b", 7.0), ("c", -1.0), ("d", f32::INFINITY)];
    let figure = lay_out(&[cell("a.jpg", &image, &odd)], 2);
    assert_eq!(fills(&figure, FIRST)[0].width, 0.0);
    assert_eq!(fills(&figure, OTHERS).iter().map(|area| area.width).collect::<Vec<_>>(), [256.0, 0.0, 256.0]);
}

#[test]
fn nothing_leaves_its_cell_and_all_text_leaves_ink() {
    let pictures = [RgbImage::filled(300, 40, GREEN), RgbImage::filled(31, 300, GREEN), RgbImage::filled(3, 3, GREEN)];
    let long = "a name that is far too long_".repeat(9);
    let mut cells: Vec<Cell> = pictures.iter().map(|image| cell(&long, image, &[(&long, 0.5), ("b", 0.25)])).collect();
    cells.iter_mut().for_each(|cell| cell.label = Some(format!("Predicted: {long} 0.50")));
    cells.push(failed(&long, &long, &[]));
    cells.push(failed("x", "gone", &[("never shown", 1.0)]));
    let figure = lay_out(&cells, 1);
    let drawn = raster::draw(&figure);
    for (i, cell) in figure.cells.iter().enumerate() {
        let left = 28.0 + (i % 3) as f32 * 288.0;
        for mark in &cell.marks {
            let area = extent(mark);
            assert!(left <= area.left && area.right() <= left + 256.01, "cell {i}: {mark:?}");
            assert!(28.0 <= area.top && area.bottom() <= figure.height - 28.0, "cell {i}: {mark:?}");
            if let Mark::Text(text) = mark {
                let rows = area.top as usize..area.bottom() as usize;
                let columns = area.left as usize * 3..area.right().ceil() as usize * 3;
                let darkest = rows.filter_map(|y| drawn.row(y)[columns.clone()].iter().min()).min();
                assert!(darkest < Some(&170), "{text:?}");
            }
        }
    }
    let white = |y: usize, columns: std::ops::Range<usize>| {
        drawn.row(y)[columns.start * 3..columns.end * 3].iter().all(|&byte| byte == 255)
    };
    assert!((0..28).chain(drawn.height - 28..drawn.height).all(|y| white(y, 0..drawn.width)), "upper and lower margin");
    for gap in [0..28, 284..316, 572..604, 860..888] {
        assert!((0..drawn.height).all(|y| white(y, gap.clone())), "{gap:?}");
    }
}

#[test]
fn a_failed_picture_shows_its_reason_and_no_bars() {
    let image = RgbImage::filled(50, 50, GREEN);
    let failed = failed("b.jpg", "the file is empty", &fruit());
    let figure = lay_out(&[cell("a.jpg", &image, &fruit()), failed], 2);
    let texts: Vec<&str> = figure.cells[1]
        .marks
        .iter()
        .filter_map(|mark| if let Mark::Text(text) = mark { Some(text.text.as_str()) } else { None })
        .collect();
    assert_eq!(texts, ["b.jpg", "No prediction", "the file is empty"]);
    assert_eq!(figure.cells[1].words, "b.jpg: no prediction: the file is empty");
    assert_eq!(figure.cells[0].words, "a.jpg: banana 75.0 %, Granny Smith 12.5 %, fig 3.0 %");
    assert_eq!((fills(&figure, FIRST).len(), fills(&figure, OTHERS).len()), (1, 2));
}

#[test]
fn a_png_is_the_drawn_figure() {
    let image = RgbImage::from_fn(90, 60, |x, y| [x as u8 * 2, y as u8 * 3, 90]);
    let cells = [cell("a.jpg", &image, &fruit()), failed("b", "gone", &[])];
    let (_folder, path) = tempfile("a.png");
    write(&output(&path, FigureFormat::Png), FigureFormat::of(&path).expect("PNG"), &cells).expect("written");
    let bytes = std::fs::read(&path).expect("there");
    let back = decode(&bytes, &DecodeOptions::default()).expect("a PNG");
    assert!(bytes.starts_with(b"\x89PNG") && back == raster::draw(&lay_out(&cells, 2)));
}

/// Returns the names of the elements of an XML text in the order of their ends. Panics where an element is not closed
/// or an ampersand stands alone.
fn elements(xml: &str) -> Vec<&str> {
    let (mut open, mut closed) = (Vec::new(), Vec::new());
    for part in xml.split('<').skip(1) {
        let (tag, text) = part.split_once('>').expect("a tag ends");
        assert!(!text.contains('>') && tag.matches('"').count() % 2 == 0, "{part}");
        for reference in part.split('&').skip(1) {
            let name = reference.split(';').next().expect("a reference");
            assert!(["amp", "lt", "gt", "quot", "#39"].contains(&name), "&{reference}");
        }
        let name = tag.split([' ', '/']).find(|name| !name.is_empty()).expect("a name");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
            closed.push(name);
        } else if tag.ends_with('/') {
            closed.push(name);
        } else {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    closed
}

#[test]
fn an_svg_is_xml_with_the_pictures_inside() {
    let image = RgbImage::filled(90, 60, GREEN);
    let bars = [("<i>&amp;\"c\"", 0.75), ("Granny_Smith", 0.125)];
    let cells = [cell("a<b>&\"'\u{1}.jpg", &image, &bars), failed("b", "1 < 2", &[])];
    let (_folder, path) = tempfile("a.svg");
    write(&output(&path, FigureFormat::Svg), FigureFormat::of(&path).expect("SVG"), &cells).expect("written");
    let xml = std::fs::read_to_string(&path).expect("UTF-8");
    let elements = elements(&xml);
    let count = |name: &str| elements.iter().filter(|&&element| element == name).count();
    assert_eq!((count("svg"), count("g"), count("image"), count("title"), count("desc")), (1, 2, 1, 3, 1));
    // The first cell has a name, two classes, two probabilities and three numbers of the axis; the second one a name, a
    // heading and a reason.
    assert_eq!(count("text"), 8 + 3);
    assert!(xml.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"600\" height=\""));
    assert!(xml.contains("role=\"img\"") && xml.contains(">a&lt;b&gt;&amp;&quot;&#39;\u{fffd}.jpg</text>"), "{xml}");
    assert!(xml.contains(">&lt;i&gt;&amp;amp;&quot;c&quot;</text>") && xml.contains(">Granny Smith</text>"));
    assert!(xml.contains("width=\"192\" height=\"8\" fill=\"#0072b2\""), "three quarters of 256");
    assert!(!xml.contains('\u{1}'));
}

#[test]
fn a_text_that_could_be_too_wide_in_another_font_is_given_its_width() {
    let image = RgbImage::filled(90, 60, GREEN);
    let long = "a-file-name-that-fills-the-whole-width-of-a-cell.jpg";
    let xml = svg::text(&lay_out(&[cell(long, &image, &fruit())], 2)).expect("text");
    let lines: Vec<&str> =
        xml.lines().filter(|line| line.starts_with("<text") && line.contains("textLength")).collect();
    assert!(
        lines.iter().any(|line| line.contains("a-file-name")) && !lines.iter().any(|line| line.contains("banana")),
        "{lines:?}"
    );
}

#[test]
fn a_label_lies_on_its_picture_and_below_a_flat_one() {
    let (square, flat) = (RgbImage::filled(100, 100, GREEN), RgbImage::filled(1000, 100, GREEN));
    let labelled = |image| Cell { label: Some("Predicted: banana 0.98".into()), ..cell("a.jpg", image, &[]) };
    let cells = [labelled(&square), labelled(&flat)];
    let figure = lay_out(&cells, 2);
    let pictures: Vec<Area> = figure.cells.iter().map(|cell| extent(&cell.marks[1])).collect();
    let bands = fills(&figure, bars::BAND_GROUND);
    assert_eq!(bands.iter().map(|band| (band.top, band.width)).collect::<Vec<_>>(), [(262.0, 256.0); 2]);
    assert_eq!((pictures[0].bottom(), pictures[1].bottom()), (284.0, 262.0));
    assert_eq!(figure.cells[0].words, "a.jpg: Predicted: banana 0.98");
    let svg = svg::text(&figure).expect("SVG");
    assert!(elements(&svg).contains(&"image") && svg.contains(">Predicted: banana 0.98</text>"));
    let near = Cell { bar_scale: BarScale::Cosine, ..cell("a.jpg", &square, &[("Lemon", 0.967)]) };
    let words = |cell: &Cell| lay_out(std::slice::from_ref(cell), 2).cells[0].words.clone();
    assert_eq!(words(&near), "a.jpg: Lemon 0.97");
    assert_eq!(words(&Cell { picture: Err("gone"), ..near }), "a.jpg: no picture: gone");
}
