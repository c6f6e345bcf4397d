//! The scores of the classifier: the numbers, the confusion matrix, the classes that are mixed up, the scores of each
//! class.

use serde::Serialize;

use super::charts::matrix;
use super::data::ReportData;
use super::formatting::{count, form, number, percent, plural};
use crate::learn::metrics::Metrics;

/// The most classes for which the matrix is a table with numbers and every class has its row openly.
const FEW: usize = 25;
/// The most classes for which the cells of that table have their full size.
const WIDE: usize = 15;
/// Rows of the lists that replace a large table.
const LISTED: usize = 15;
/// Rows of the list beside a matrix that shows every pair already.
const BESIDE: usize = 8;

/// The section.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    pub summary: String,
    pub numbers: Vec<Number>,
    /// The matrix as a table, for few classes.
    pub table: Option<Vec<Row>>,
    /// True where the cells of the table have to be small.
    pub dense: bool,
    /// The widest windows, on a phone and on a screen, that cut off a part of the table, in pixels.
    pub cut: [usize; 2],
    /// The matrix as a chart, for many.
    pub chart: Option<String>,
    pub names: Vec<String>,
    pub pairs: Vec<Pair>,
    /// True when `pairs` is not all of them.
    pub more_pairs: bool,
    pub classes: Vec<Class>,
    /// The classes of the lowest F1, where there are many.
    pub hardest: Vec<Class>,
    pub averages: Vec<Class>,
}

/// A score with its name.
#[derive(Clone, Debug, Serialize)]
pub struct Number {
    pub name: String,
    pub value: String,
    pub note: String,
}

/// A row of the confusion matrix.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub name: String,
    pub cells: Vec<Cell>,
}

/// A cell of the confusion matrix.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    pub count: String,
    pub share: String,
    /// Strength of the shade, 0 to 1.
    pub shade: String,
    pub kind: &'static str,
    pub tip: String,
}

/// Two classes that are mixed up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    pub truth: String,
    pub predicted: String,
    pub count: String,
    pub share: String,
}

/// The scores of a class, or their mean.
#[derive(Clone, Debug, Serialize)]
pub struct Class {
    pub name: String,
    pub precision: String,
    pub recall: String,
    pub f1: String,
    /// Width of the bar of F1, 0 to 100.
    pub bar: String,
    pub support: String,
}

/// The section of a run; none without scores of a test split.
pub fn section(data: &ReportData) -> Option<Section> {
    let scores = data.test.as_ref().filter(|scores| scores.support > 0)?;
    let few = data.classes.len() <= FEW;
    let title =
        format!("Confusion matrix of {} classes: rows are the truth, columns the prediction", data.classes.len());
    let classes = classes(scores, &data.classes);
    let mut pairs = pairs(scores, &data.classes);
    // the matrix of two classes shows both pairs by itself
    let listed = match data.classes.len() {
        0..=2 => 0,
        3..=FEW => BESIDE,
        _ => LISTED,
    };
    let more_pairs = pairs.len() > listed;
    pairs.truncate(listed);
    Some(Section {
        summary: summary(scores),
        numbers: numbers(scores, data.train_accuracy),
        table: few.then(|| table(scores, &data.classes)),
        dense: data.classes.len() > WIDE,
        cut: cut(&data.classes),
        chart: if few {
            None
        } else {
            matrix::draw(&scores.confusion_matrix, &data.classes, &title).map(|chart| chart.inline())
        },
        names: if few { data.classes.clone() } else { Vec::new() },
        pairs,
        more_pairs,
        hardest: if few { Vec::new() } else { hardest(scores, &classes) },
        classes,
        averages: averages(scores),
    })
}

/// The widest windows, in pixels, that do not show the whole table: with the cells of a phone, and with those of a
/// screen. The constants are the widths that the style sheet gives to the names of the rows and to the space around the
/// table.
fn cut(classes: &[String]) -> [usize; 2] {
    let n = classes.len();
    let longest = classes.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let cell = if n > WIDE { 32 } else { 44 };
    [66 + (7 * longest).min(77) + 23 * n, 120 + (8 * longest).clamp(120, 143) + cell * n]
}

fn summary(scores: &Metrics) -> String {
    let largest = scores.per_class.iter().map(|class| class.support).max().unwrap_or(0);
    let guess = percent(largest as f64 / scores.support as f64);
    let [low, high] = scores.accuracy_interval_95.map(percent);
    let rows = plural(scores.support, "test image");
    let were = form(scores.support, "was", "were");
    let right = match scores.accuracy {
        1.0 if scores.support == 1 => "The only test image".to_string(),
        1.0 => format!("All {rows}"),
        accuracy => format!("{} of {rows}", percent(accuracy)),
    };
    format!(
        "{right} {were} classified correctly; with 95\u{202f}% confidence the true rate lies between {low} and {high}. \
         Always naming the most frequent class would be right for {guess}."
    )
}

fn numbers(scores: &Metrics, train_accuracy: Option<f64>) -> Vec<Number> {
    let one = |name: &str, value: String, note: &str| Number { name: name.into(), value, note: note.into() };
    let mut all = vec![
        one("Accuracy", percent(scores.accuracy), "images classified correctly"),
        one("Balanced accuracy", percent(scores.balanced_accuracy), "every class counts the same"),
    ];
    let top = scores.top_k_accuracy.iter();
    all.extend(top.map(|top| Number {
        name: format!("Top-{} accuracy", top.k),
        value: percent(top.accuracy),
        note: format!("the class is among the {} most probable", top.k),
    }));
    all.extend(
        scores
            .roc_auc
            .map(|auc| one("ROC AUC", format!("{:.3}", auc.macro_avg), "each class against the rest; 0.5 is chance")),
    );
    all.push(one("Log loss", number(scores.log_loss), "0 would be certain and right every time"));
    if let Some(accuracy) = train_accuracy.filter(|accuracy| accuracy.is_finite()) {
        all.push(one("Train accuracy", percent(accuracy), "far above the test accuracy it would be overfitted"));
    }
    all
}

/// The strength of a cell's colour, 0 to 1. Numbers are readable even on the strongest colour.
pub fn shade(share: f64) -> f64 {
    0.06 + 0.58 * share
}

fn table(scores: &Metrics, classes: &[String]) -> Vec<Row> {
    let rows = scores.confusion_matrix.iter().zip(classes).enumerate().map(|(truth, (counts, name))| {
        let total: u64 = counts.iter().sum();
        let cells = counts.iter().zip(classes).enumerate().map(|(predicted, (&n, other))| {
            let share = if total == 0 { 0.0 } else { n as f64 / total as f64 };
            let shown = if n == 0 { String::new() } else { percent(share) };
            Cell {
                count: count(n as usize),
                tip: format!(
                    "{name}, predicted {other}: {}",
                    if n == 0 { "none".into() } else { format!("{n} ({shown})") }
                ),
                // one decimal is for the tip: a cell is small
                share: if n == 0 { String::new() } else { format!("{:.0}\u{202f}%", 100.0 * share) },
                shade: if n == 0 { "0".into() } else { format!("{:.2}", shade(share)) },
                kind: if n == 0 {
                    "none"
                } else if truth == predicted {
                    "hit"
                } else {
                    "miss"
                },
            }
        });
        Row { name: name.clone(), cells: cells.collect() }
    });
    rows.collect()
}

/// Every pair of classes that was mixed up, the most frequent first; among equals by the larger share of the class,
/// then by the order of the classes.
fn pairs(scores: &Metrics, classes: &[String]) -> Vec<Pair> {
    let mut found = Vec::new();
    for (truth, row) in scores.confusion_matrix.iter().enumerate() {
        let total: u64 = row.iter().sum();
        let wrong = row.iter().enumerate().filter(|&(predicted, &n)| predicted != truth && n > 0);
        found.extend(wrong.map(|(predicted, &n)| (n, n as f64 / total as f64, truth, predicted)));
    }
    found.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then((a.2, a.3).cmp(&(b.2, b.3))));
    let name = |class: usize| classes.get(class).cloned().unwrap_or_default();
    let pair = |(n, share, truth, predicted): (u64, f64, usize, usize)| Pair {
        truth: name(truth),
        predicted: name(predicted),
        count: count(n as usize),
        share: percent(share),
    };
    found.into_iter().map(pair).collect()
}

fn class(name: &str, precision: f64, recall: f64, f1: f64, support: usize) -> Class {
    let [p, r, f] = [precision, recall, f1].map(|score| format!("{score:.3}"));
    Class {
        name: name.into(),
        precision: p,
        recall: r,
        f1: f,
        bar: format!("{:.0}", 100.0 * f1),
        support: count(support),
    }
}

fn classes(scores: &Metrics, names: &[String]) -> Vec<Class> {
    let rows = names.iter().zip(&scores.per_class);
    rows.map(|(name, s)| class(name, s.precision, s.recall, s.f1_score, s.support as usize)).collect()
}

/// Classes with pictures, by rising F1.
fn hardest(scores: &Metrics, classes: &[Class]) -> Vec<Class> {
    let mut order: Vec<usize> =
        (0..classes.len().min(scores.per_class.len())).filter(|&i| scores.per_class[i].support > 0).collect();
    order.sort_by(|&a, &b| scores.per_class[a].f1_score.total_cmp(&scores.per_class[b].f1_score).then(a.cmp(&b)));
    order.into_iter().take(LISTED).map(|i| classes[i].clone()).collect()
}

fn averages(scores: &Metrics) -> Vec<Class> {
    let means = [("Mean of the classes", scores.macro_avg), ("Weighted by images", scores.weighted_avg)];
    means.map(|(name, mean)| class(name, mean.precision, mean.recall, mean.f1_score, scores.support)).to_vec()
}
