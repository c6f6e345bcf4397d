//! `report.figures`: the charts of the page as SVG files of their own, for slides and papers: light, with the style and the legend inside.

use super::charts::{WIDTH, calibration, lines, matrix, network, scatter, spectrum};
use super::facts::Facts;
use super::{ReportError, STYLE};
use crate::io::atomic;
use crate::plan::Plan;
use crate::store::OutputFile;

/// Rules of the style sheet that a chart needs.
const RULES: [&str; 4] = [".chart", ".train", ".test", ".k"];
/// How much larger than its own units a chart is shown.
const SCALE: f64 = 1.5;
/// Columns of the legend, the height of its rows, and classes that it has room for.
const COLUMNS: usize = 3;
const ROW: f64 = 18.0;
const NAMED: usize = 60;

/// Writes every chart that the run has to `figures/`.
pub fn write(plan: &Plan, facts: &Facts) -> Result<Vec<OutputFile>, ReportError> {
    let style = style(STYLE.1);
    let mut files = Vec::new();
    for (name, chart) in charts(facts) {
        let path = plan.dir.figures().join(format!("{name}.svg"));
        atomic::write_bytes(&path, standalone(&chart, &style).as_bytes())?;
        files.push(OutputFile::of(&plan.dir, &path)?);
    }
    Ok(files)
}

/// The names of the files.
const NAMES: [&str; 7] =
    ["network", "confusion_matrix", "calibration", "loss", "validation", "components", "variance_explained"];

pub fn charts(facts: &Facts) -> Vec<(&'static str, String)> {
    let classes = &facts.classes;
    let ratio = facts.reduced.as_ref().map_or(&[][..], |reduced| &reduced.ratio);
    let shares = [0, 1].map(|i| ratio.get(i).copied().unwrap_or(0.0));
    let trained = facts.trained.as_ref();
    let curve = |values: Option<&Vec<f64>>, title: &str, name: &str, percent: bool| {
        values.and_then(|values| lines::draw(values, title, name, percent))
    };
    let scored = facts.test.as_ref();
    let all = [
        network::draw(&facts.blocks, &facts.steps, "The network and what follows it"),
        scored.and_then(|test| matrix::draw(&test.confusion_matrix, classes, "Confusion matrix")),
        scored.and_then(|test| calibration::draw(&test.calibration, "Right predictions by confidence")),
        curve(trained.map(|trained| &trained.loss_curve), "Training loss", "loss", false),
        curve(trained.map(|trained| &trained.validation_scores), "Validation accuracy", "validation accuracy", true),
        scatter::draw(&facts.points, classes, shares, "Images on the first two components")
            .map(|chart| with_legend(&chart, classes)),
        spectrum::draw(ratio, "Variance by component, and its sum"),
    ];
    NAMES.into_iter().zip(all).filter_map(|(name, chart)| Some((name, chart?))).collect()
}

/// The marks of the classes below a chart.
fn with_legend(chart: &str, classes: &[String]) -> String {
    let Some((open, height)) = view(chart) else { return chart.to_string() };
    let shown = &classes[..classes.len().min(NAMED)];
    let rows = shown.len().div_ceil(COLUMNS);
    let mut marks = String::new();
    for (i, name) in shown.iter().enumerate() {
        let x = 8.0 + (i % COLUMNS) as f64 * WIDTH / COLUMNS as f64;
        let y = height + 14.0 + (i / COLUMNS) as f64 * ROW;
        let short: String = name.chars().take(22).collect();
        let (mark, text) = (scatter::Mark::of(i).drawn(x, y), super::charts::escape(&short));
        marks += &format!("{mark}<text x=\"{}\" y=\"{}\">{text}</text>", x + 9.0, y + 4.0);
    }
    let taller = format!("viewBox=\"0 0 {WIDTH} {}\"", height + 10.0 + ROW * rows as f64);
    chart.replacen(open, &taller, 1).replacen("</svg>", &format!("{marks}</svg>"), 1)
}

/// The `viewBox` of a chart as it is written, and its height.
fn view(chart: &str) -> Option<(&str, f64)> {
    let from = chart.find("viewBox=\"")?;
    let until = from + 9 + chart[from + 9..].find('"')? + 1;
    let open = &chart[from..until];
    let height = open.trim_end_matches('"').rsplit(' ').next()?.parse().ok()?;
    Some((open, height))
}

/// The chart as a file: its namespace, its size, its style, a white ground.
fn standalone(chart: &str, style: &str) -> String {
    let height = view(chart).map_or(WIDTH, |(_, height)| height);
    let (w, h) = (WIDTH + 24.0, height + 24.0);
    let size = format!("width=\"{}\" height=\"{}\"", w * SCALE, h * SCALE);
    let ground = format!("<rect width=\"{w}\" height=\"{h}\" fill=\"#ffffff\"/>");
    let inner = chart.replacen("<svg ", &format!("<svg x=\"12\" y=\"12\" width=\"{WIDTH}\" height=\"{height}\" "), 1);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" {size} viewBox=\"0 0 {w} {h}\" \
         font-family=\"Inter, system-ui, 'Segoe UI', Roboto, 'Noto Sans', Arial, sans-serif\">\n<style>{style}</style>\n{ground}\n{inner}\n</svg>\n"
    )
}

/// The rules for charts with the colours of the light page in place of its variables: not every program that reads SVG knows variables.
fn style(css: &str) -> String {
    let root = css.split('{').nth(1).and_then(|rest| rest.split('}').next()).unwrap_or_default();
    let variables: Vec<(&str, String)> = root
        .split(';')
        .filter_map(|pair| pair.split_once(':'))
        .map(|(name, value)| {
            let value = value.trim();
            let numbers = value.split(' ').all(|part| part.parse::<u8>().is_ok());
            (name.trim(), if numbers { value.replace(' ', ",") } else { value.to_string() })
        })
        .collect();
    let rules = css.lines().take_while(|line| !line.starts_with("@media screen and (max-width"));
    let mut rules: String = rules.filter(|line| RULES.iter().any(|rule| line.starts_with(rule))).collect();
    for (name, value) in &variables {
        rules = rules.replace(&format!("var({name})"), value);
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_of_a_file_has_colours_and_no_variables() {
        let style = style(STYLE.1);
        assert!(
            style.contains(".chart .line") && style.contains(".k7 {") && style.contains("rgb(0,114,178)"),
            "{style}"
        );
        assert!(!style.contains("var("), "{style}");
    }

    #[test]
    fn a_file_is_one_whole_svg_with_its_legend() {
        let chart = super::super::charts::open(WIDTH, 400.0, "t") + "</svg>";
        let classes = ["<a>", "b", "c", "d"].map(String::from);
        let file = standalone(&with_legend(&chart, &classes), &style(STYLE.1));
        assert!(file.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"756\" height=\"705\""), "{file}");
        assert_eq!(file.matches("<svg").count(), file.matches("</svg>").count());
        assert!(file.contains("&lt;a&gt;") && !file.contains("<a>"), "{file}");
        assert_eq!(file.matches("<text").count(), 4);
    }
}
