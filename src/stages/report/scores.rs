//! The scores of the classifier: the numbers, the confusion matrix, the confused pairs of classes, and the scores of
//! each class.

use serde_json::{Value, json};

use super::charts::matrix;
use super::data::ReportData;
use super::formatting::{count, form, number, percent, plural};
use crate::learn::metrics::{Metrics, wilson};

/// The most classes for which the matrix is a table with numbers and the scores of the classes are unfolded.
const FEW: usize = 25;
/// The most classes for which the cells of that table have their full size.
const WIDE: usize = 15;
/// Rows of the lists of pairs and classes beside a large matrix, which is a chart.
const LISTED: usize = 15;
/// Rows of the list of pairs beside a small matrix, which shows every pair already.
const BESIDE: usize = 8;

/// The section of a run; none without scores of a test split.
pub fn section(data: &ReportData) -> Option<Value> {
    let scores = data.test.as_ref().filter(|scores| scores.support > 0)?;
    let names = &data.classes;
    // for few classes the matrix is a table, for many it is a chart
    let few = names.len() <= FEW;
    let title = format!("Confusion matrix of {} classes: rows are the truth, columns the prediction", names.len());
    let chart = (!few).then(|| matrix::draw(&scores.confusion_matrix, names, &title)).flatten();
    let classes = classes(scores, names);
    let hardest = if few { Vec::new() } else { hardest(scores, &classes) };
    let mut pairs = pairs(scores, names);
    // the matrix of two classes already shows both pairs
    let listed = match names.len() {
        0..=2 => 0,
        3..=FEW => BESIDE,
        _ => LISTED,
    };
    let more_pairs = pairs.len() > listed;
    pairs.truncate(listed);
    Some(json!({"summary": summary(scores), "numbers": numbers(scores, data),
        "table": few.then(|| table(scores, names)), "dense": names.len() > WIDE, "cut": cut(names),
        "chart": chart.map(|chart| chart.inline()), "names": if few { &names[..] } else { &[] }, "pairs": pairs,
        "more_pairs": more_pairs, "hardest": hardest, "classes": classes, "averages": averages(scores)}))
}

/// The widest windows, in pixels, in which part of the table is cut off: with cells of the size for phones, and of the
/// size for screens. The constants are the widths that the style sheet gives to the row names and to the space around
/// the table.
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

fn numbers(scores: &Metrics, data: &ReportData) -> Vec<Value> {
    let mut all = vec![named_number("Accuracy", percent(scores.accuracy), "images classified correctly")];
    all.extend(data.without_copies.as_ref().filter(|right| !right.is_empty()).map(|right| {
        let share = right.iter().filter(|right| **right).count() as f64 / right.len() as f64;
        let [low, high] = wilson(share, right.len()).map(percent);
        let images = plural(right.len(), "test image");
        let note = format!("{images} without a copy in train; 95\u{202f}% interval {low} to {high}");
        named_number("Accuracy without copies", percent(share), &note)
    }));
    all.push(named_number("Balanced accuracy", percent(scores.balanced_accuracy), "every class counts the same"));
    all.extend(scores.top_k_accuracy.iter().map(|top| {
        let note = format!("the class is among the {} most probable", top.k);
        named_number(&format!("Top-{} accuracy", top.k), percent(top.accuracy), &note)
    }));
    let chance = "each class against the rest; 0.5 is chance";
    all.extend(scores.roc_auc.map(|auc| named_number("ROC AUC", format!("{:.3}", auc.macro_avg), chance)));
    all.push(named_number("Log loss", number(scores.log_loss), "0 would be certain and right every time"));
    let train = data.train_accuracy.filter(|accuracy| accuracy.is_finite());
    let overfitted = "far above the test accuracy it would be overfitted";
    all.extend(train.map(|accuracy| named_number("Train accuracy", percent(accuracy), overfitted)));
    all
}

/// A number with its name and a note about it.
pub fn named_number(name: &str, value: String, note: &str) -> Value {
    json!({"name": name, "value": value, "note": note})
}

/// The opacity of a cell's colour, 0 to 1. Numbers are readable on the strongest colour.
pub fn shade(share: f64) -> f64 {
    0.06 + 0.58 * share
}

fn table(scores: &Metrics, classes: &[String]) -> Vec<Value> {
    let rows = scores.confusion_matrix.iter().zip(classes).enumerate().map(|(truth, (counts, name))| {
        let total: u64 = counts.iter().sum();
        let cells = counts.iter().zip(classes).enumerate().map(|(predicted, (&n, other))| {
            if n == 0 {
                let tip = format!("{name}, predicted {other}: none");
                return json!({"count": "0", "share": "", "shade": "0", "kind": "none", "tip": tip});
            }
            let share = n as f64 / total as f64;
            let (shade, tip) = (shade(share), format!("{name}, predicted {other}: {n} ({})", percent(share)));
            // a cell is too small for decimals; the tooltip has one
            json!({"count": count(n as usize), "share": format!("{:.0}\u{202f}%", 100.0 * share),
                "shade": format!("{shade:.2}"), "kind": if truth == predicted { "hit" } else { "miss" }, "tip": tip})
        });
        json!({"name": name, "cells": cells.collect::<Vec<_>>()})
    });
    rows.collect()
}

/// Every confused pair of classes, the most frequent first; of equally frequent ones, by the share of the class, then
/// by the order of the classes.
fn pairs(scores: &Metrics, classes: &[String]) -> Vec<Value> {
    let mut found = Vec::new();
    for (truth, row) in scores.confusion_matrix.iter().enumerate() {
        let total: u64 = row.iter().sum();
        let wrong = row.iter().enumerate().filter(|&(predicted, &n)| predicted != truth && n > 0);
        found.extend(wrong.map(|(predicted, &n)| (n, n as f64 / total as f64, truth, predicted)));
    }
    found.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then((a.2, a.3).cmp(&(b.2, b.3))));
    let pair = |(n, share, truth, predicted): (u64, f64, usize, usize)| {
        json!({"truth": classes.get(truth), "predicted": classes.get(predicted), "count": count(n as usize),
            "share": percent(share)})
    };
    found.into_iter().map(pair).collect()
}

fn class(name: &str, [precision, recall, f1]: [f64; 3], support: usize) -> Value {
    let [p, r, f] = [precision, recall, f1].map(|score| format!("{score:.3}"));
    json!({"name": name, "precision": p, "recall": r, "f1": f, "bar": format!("{:.0}", 100.0 * f1),
        "support": count(support)})
}

fn classes(scores: &Metrics, names: &[String]) -> Vec<Value> {
    let rows = names.iter().zip(&scores.per_class);
    rows.map(|(name, s)| class(name, [s.precision, s.recall, s.f1_score], s.support as usize)).collect()
}

/// Classes that have pictures, by ascending F1.
fn hardest(scores: &Metrics, classes: &[Value]) -> Vec<Value> {
    let mut order: Vec<usize> =
        (0..classes.len().min(scores.per_class.len())).filter(|&i| scores.per_class[i].support > 0).collect();
    order.sort_by(|&a, &b| scores.per_class[a].f1_score.total_cmp(&scores.per_class[b].f1_score).then(a.cmp(&b)));
    order.into_iter().take(LISTED).map(|i| classes[i].clone()).collect()
}

fn averages(scores: &Metrics) -> [Value; 2] {
    let means = [("Mean of the classes", scores.macro_avg), ("Weighted by images", scores.weighted_avg)];
    means.map(|(name, mean)| class(name, [mean.precision, mean.recall, mean.f1_score], scores.support))
}
