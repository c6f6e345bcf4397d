//! `report.figures`: the charts of the page as SVG and PNG files for slides and papers, in light colours, with style
//! and legend in the file.

use super::charts::{Chart, WIDTH, calibration, colours, escape, histogram, lines, matrix, network, scatter, spectrum};
use super::data::ReportData;
use super::{CHART_STYLE, ReportError, coverage};
use crate::io::atomic;
use crate::plan::Plan;
use crate::plot::{self, font};
use crate::progress::Ui;
use crate::stages::train::Trained;
use crate::store::{CHARTS, OutputFile};

/// SVG pixels for each unit of the chart, and PNG pixels for each SVG pixel.
const SCALE: f64 = 1.5;
const PIXELS: f32 = 2.0;
/// The white margin around a chart.
const MARGIN: f64 = 12.0;
/// Columns of the legend, the height of its rows, the most classes that it names, and its font size.
const COLUMNS: usize = 3;
const ROW: f64 = 18.0;
const NAMED: usize = 60;
const LETTERS: f32 = 12.0;

/// Writes every chart for which the run has data to `figures/`.
pub fn write(plan: &Plan, data: &ReportData, ui: &Ui) -> Result<Vec<OutputFile>, ReportError> {
    let mut files = Vec::new();
    for (name, chart) in charts(data) {
        ui.check()?;
        let svg = standalone(&chart);
        let path = plan.dir.figures().join(format!("{name}.svg"));
        let digest = atomic::write_bytes(&path, svg.as_bytes())?;
        files.push(OutputFile::hashed(&plan.dir, &path, digest)?);
        let path = path.with_extension("png");
        let digest = atomic::write_bytes(&path, &plot::png_of_svg(&svg, PIXELS)?)?;
        files.push(OutputFile::hashed(&plan.dir, &path, digest)?);
    }
    Ok(files)
}

/// The loss and the validation accuracy over the training.
pub fn curves(trained: &Trained) -> [Option<Chart>; 2] {
    let step = trained.step();
    [
        lines::draw(&trained.loss_curve, "Training loss", [step, "loss"], false),
        lines::draw(&trained.validation_scores, "Validation accuracy", [step, "validation accuracy"], true),
    ]
}

pub fn charts(data: &ReportData) -> Vec<(&'static str, Chart)> {
    let classes = &data.classes;
    let ratio = data.reduced.as_ref().map_or(&[][..], |reduced| &reduced.ratio);
    let shares = [0, 1].map(|i| ratio.get(i).copied().unwrap_or(0.0));
    let [loss, validation] = data.trained.as_ref().map_or([None, None], curves);
    let scored = data.test.as_ref();
    let all = [
        network::draw(&data.blocks, &data.steps, "The network and what follows it"),
        scored.and_then(|test| matrix::draw(&test.confusion_matrix, classes, "Confusion matrix")),
        scored.and_then(|test| calibration::draw(&test.calibration, "Right predictions by confidence")),
        scored.and_then(|_| coverage::chart(&data.predictions)),
        loss,
        validation,
        scatter::draw(&data.points, classes, shares, "Images on the first two components")
            .map(|chart| with_legend(chart, classes)),
        data.reduced.as_ref().and_then(|reduced| spectrum::draw(reduced, "Variance by component, and its sum")),
        histogram(data),
    ];
    CHARTS.into_iter().zip(all).filter_map(|(name, chart)| Some((name, chart?))).collect()
}

/// The histogram of the scores of the selection.
pub fn histogram(data: &ReportData) -> Option<Chart> {
    let selected = data.selected.as_ref()?;
    let name = data.score_name();
    let title = format!("Columns by {name}: kept and dropped");
    // the threshold is one of the variance and not of another score
    let least = (name == "variance").then_some(selected.threshold);
    histogram::draw(&data.columns, least, name, &title)
}

/// Adds a legend of the classes' marks below a chart.
fn with_legend(mut chart: Chart, classes: &[String]) -> Chart {
    let shown = &classes[..classes.len().min(NAMED)];
    let wide = chart.width / COLUMNS as f64;
    for (i, name) in shown.iter().enumerate() {
        let x = 8.0 + (i % COLUMNS) as f64 * wide;
        let y = chart.height + 14.0 + (i / COLUMNS) as f64 * ROW;
        let name = font::clean(name);
        let short = font::shorten_middle(&name, LETTERS, (wide - 22.0) as f32);
        let (mark, text) = (scatter::Mark::of(i).drawn(x, y), escape(&short));
        chart.marks += &format!("{mark}<text x=\"{}\" y=\"{}\">{text}</text>", x + 9.0, y + 4.0);
    }
    let mut rows = shown.len().div_ceil(COLUMNS);
    if classes.len() > shown.len() {
        rows += 1;
        let y = chart.height + 18.0 + (rows - 1) as f64 * ROW;
        chart.marks += &format!("<text x=\"4\" y=\"{y}\">and {} more classes</text>", classes.len() - shown.len());
    }
    if rows > 0 {
        chart.height += 10.0 + ROW * rows as f64;
    }
    chart
}

/// The chart as an SVG file with XML namespace, size, style and a white background.
fn standalone(chart: &Chart) -> String {
    let Chart { width, height, title, marks } = chart;
    let (w, h) = (WIDTH.max(*width) + 2.0 * MARGIN, height + 2.0 * MARGIN);
    let (wide, high, title) = ((w * SCALE).round(), (h * SCALE).round(), escape(title));
    let style = colours::without_variables(CHART_STYLE.1);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" viewBox=\"0 0 {w} {h}\" \
         role=\"img\" font-family=\"{}\">\n<title>{title}</title>\n<style>\n{style}</style>\n\
         <rect width=\"{w}\" height=\"{h}\" fill=\"#ffffff\"/>\n\
         <g class=\"chart\" transform=\"translate({MARGIN} {MARGIN})\">\n{marks}\n</g>\n</svg>\n",
        plot::FONTS
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{DecodeOptions, decode};

    fn chart(marks: &str) -> Chart {
        Chart { width: WIDTH, height: 400.0, title: "a & b".into(), marks: marks.into() }
    }

    #[test]
    fn a_file_is_one_whole_svg_with_its_legend_and_no_variables() {
        let classes = ["<a>", "b", "a name that is much too long for its column", "d"].map(String::from);
        let file = standalone(&with_legend(chart(""), &classes));
        assert!(file.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"756\" height=\"705\""), "{file}");
        assert!(file.contains("&lt;a&gt;") && !file.contains("<a>") && file.contains("<title>a &amp; b</title>"));
        assert!(file.contains('…') && !file.contains("var("), "{file}");
        assert_eq!(file.matches("<text").count(), 4);
        let many: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        let file = standalone(&with_legend(chart(""), &many));
        assert!(file.contains("and 40 more classes"), "{file}");
    }

    #[test]
    fn a_png_has_the_marks_of_its_svg_in_their_colours() {
        let marks = "<path class=\"k3 test\" d=\"M100 100h40v40h-40z\"/><text class=\"strong\" x=\"200\" \
                     y=\"130\">Ångström → 5 %</text>";
        let bytes = plot::png_of_svg(&standalone(&chart(marks)), PIXELS).expect("a picture");
        let image = decode(&bytes, &DecodeOptions::default()).expect("a PNG");
        // (480 + 24) × (400 + 24) units, 1.5 × 2 pixels each
        assert_eq!((image.width, image.height), (1512, 1272));
        let pixel =
            |x: usize, y: usize| -> [u8; 3] { std::array::from_fn(|c| image.row(3 * (y + 12))[9 * (x + 12) + c]) };
        assert_eq!(pixel(120, 120), [0xd5, 0x5e, 0x00]);
        assert_eq!(pixel(10, 10), [255; 3]);
        let dark =
            (200..300).flat_map(|x| (118..134).map(move |y| (x, y))).filter(|&(x, y)| pixel(x, y)[0] < 100).count();
        assert!((80..900).contains(&dark), "{dark} dark points where the text stands");
    }
}
