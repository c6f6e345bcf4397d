//! The whole page of made-up runs.

mod layout;

use std::collections::BTreeMap;

use super::charts::network::Step;
use super::data::{Point, Prediction, ReportData, Trouble};
use super::page::page as page_of;
use super::provenance::Provenance;
use super::render;
use super::samples::Beside;
use super::{blocks, doubts, figures, files, samples};
use crate::config::Features;
use crate::image::{RgbImage, thumbnail};
use crate::learn::metrics::{self, Average, ClassScores, Metrics, RocAuc, TopK, calibration};
use crate::network_plan::NetworkPlan;
use crate::stages::StageId;
use crate::stages::compare::{Compared, GROUPS, Group, Outlier, Picture, SHOWN, Summary, Suspect};
use crate::stages::evaluate::{Explained, Neighbour};
use crate::stages::extract::{Extracted, Timing};
use crate::stages::reduce::Reduced;
use crate::stages::select::Selected;
use crate::stages::train::{Scored, Trained};
use crate::table::FeatureMatrix;
use crate::weights::Origin;

/// A number in [0, 1) that depends on the seed only.
fn noise(seed: usize) -> f64 {
    let hash = blake3::hash(&seed.to_le_bytes());
    f64::from(u32::from_le_bytes(std::array::from_fn(|i| hash.as_bytes()[i]))) / 4_294_967_296.0
}

/// A network with random weights.
fn backbone(model: &str) -> NetworkPlan {
    let model = crate::models::find(model).expect("registered");
    let row = &model.weights[0];
    NetworkPlan::new(model, row, Origin::Random(0), row.recipe.clone(), &[], Features::default()).expect("built")
}

/// Metrics of a confusion matrix; numbers that the page only prints are arbitrary.
fn scores(confusion_matrix: Vec<Vec<u64>>, predictions: &[Prediction]) -> Metrics {
    let support: u64 = confusion_matrix.iter().flatten().sum();
    let right: u64 = (0..confusion_matrix.len()).map(|i| confusion_matrix[i][i]).sum();
    let accuracy = right as f64 / support as f64;
    let per_class = confusion_matrix.iter().enumerate().map(|(i, row)| {
        let support: u64 = row.iter().sum();
        let recall = row[i] as f64 / support.max(1) as f64;
        ClassScores { precision: recall, recall, f1_score: recall, support, roc_auc: None }
    });
    let sure = predictions.iter().map(|one| (one.confidence as f32, one.is_right()));
    let calibration = calibration::bins(sure);
    let mean = Average { precision: accuracy, recall: accuracy, f1_score: accuracy };
    Metrics {
        support: support as usize,
        accuracy,
        accuracy_interval_95: [accuracy - 0.03, accuracy + 0.02],
        balanced_accuracy: accuracy,
        log_loss: 0.314,
        top_k_accuracy: vec![TopK { k: 3, accuracy: 0.99 }],
        roc_auc: Some(RocAuc { macro_avg: 0.987, weighted_avg: 0.987 }),
        calibration_error: calibration::expected_error(&calibration),
        calibration,
        per_class: per_class.collect(),
        macro_avg: mean,
        weighted_avg: mean,
        confusion_matrix,
    }
}

fn extracted(ok: usize) -> Extracted {
    Extracted {
        ok,
        failed: 2,
        skipped: 61,
        train_rows: ok / 2,
        width: 1280,
        shards: 1,
        reused: 0,
        device: "cpu".into(),
        kernels: Some("AVX2".into()),
        threads: 8,
        failed_by_kind: BTreeMap::from([("truncated".to_string(), 2)]),
        skipped_by_kind: BTreeMap::new(),
        duplicates: None,
        timing: Timing {
            read: 0.4,
            decode: 3.1,
            prepare: 2.2,
            forward: 61.0,
            write: 0.2,
            load: 0.0,
            wall: 8.6,
            waited: Default::default(),
            pictures: ok,
        },
    }
}

/// A run over `classes` with `each` test pictures a class; a share of `wrong` of them is predicted as the next class.
fn run(classes: &[&str], each: usize, wrong: f64) -> ReportData {
    let n = classes.len();
    let mut confusion = vec![vec![0u64; n]; n];
    let (mut predictions, mut points) = (Vec::new(), Vec::new());
    for class in 0..n {
        for i in 0..3 * each {
            let (test, seed) = (i < each, class * 1000 + i);
            let place = |axis: usize| {
                12.0 * noise(class * 2 + axis + 7777) + noise(seed * 2 + axis) + noise(seed * 2 + axis + 99_999)
            };
            let path = format!("{}/{}/{i:03}.jpg", if test { "Test" } else { "Training" }, classes[class]);
            points.push(Point { path: path.clone(), at: [place(0), place(1) - 4.0], class: Some(class), test });
            if test {
                let predicted = if noise(seed) < wrong { (class + 1 + seed % 3) % n } else { class };
                confusion[class][predicted] += 1;
                let [label, predicted] = [class, predicted].map(|c| classes[c].to_string());
                predictions.push(Prediction {
                    path,
                    label,
                    predicted,
                    confidence: 0.4 + 0.6 * noise(seed + 5),
                    known: Some(seed % 50 > 0),
                });
            }
        }
    }
    let ratio: Vec<f64> = (0..64).map(|i| 0.13 * 0.86f64.powi(i) + 0.0004).collect();
    let total = n * each;
    ReportData {
        title: "fruits".into(),
        ran: vec![
            ("Model", "EfficientNet-Lite0 (efficientnet_lite0)".into()),
            ("Weights", "bundled, SHA-256 ba17497f3374…".into()),
        ],
        provenance: Provenance {
            date: "2026-11-24 12:53".into(),
            file: "pipelines/fruits.yaml".into(),
            yaml: "version: 1 # <not> a tag\ninput: {root: ../data/fruits}".into(),
            command: "featurize run pipelines/fruits.yaml --set 'reduce.pca={components: 64}'".into(),
        },
        classes: classes.iter().map(ToString::to_string).collect(),
        counts: (0..n).map(|i| [2 * each - i % 7, each]).collect(),
        sizes: [2 * total, total],
        extracted: Some(extracted(3 * total)),
        columns: (0..1280)
            .map(|i| (if i < 66 { 0.0 } else { 10f64.powf(3.0 * noise(i) + noise(i + 5000) - 3.0) }, i >= 66))
            .collect(),
        selected: Some(Selected { kept: 1214, of: 1280, below_threshold: 66, ..Selected::default() }),
        reduced: Some(Reduced {
            components: 64,
            columns: 1214,
            explained: ratio.iter().sum(),
            ratio,
            ..Reduced::default()
        }),
        trained: Some(Trained {
            classes: classes.iter().map(ToString::to_string).collect(),
            kind: "mlp".into(),
            description: "mlp [100, 10], adam".into(),
            candidates: vec![scored("logistic (c 1)", 0.93, 0.31), scored("mlp [100, 10], adam", 0.95, 0.22)],
            left_out: Vec::new(),
            auto: false,
            calibration: None,
            rows: 2 * total,
            inputs: 64,
            epochs: 87,
            converged: true,
            ended_by: None,
            loss_curve: (0..87).map(|i| 2.1 * (-0.06 * f64::from(i)).exp() + 0.01).collect(),
            validation_scores: (0..87).map(|i| 0.97 - 0.5 * (-0.1 * f64::from(i)).exp()).collect(),
        }),
        test: (total > 0).then(|| scores(confusion, &predictions)),
        calibrated: None,
        without_copies: (total > 0).then(|| predictions.iter().map(Prediction::is_right).skip(1).collect()),
        train_accuracy: Some(1.0),
        predictions,
        points,
        troubles: troubles(),
        seconds: StageId::ALL.into_iter().skip(1).zip([8.7, 0.1, 0.4, 1.3, 0.1]).collect(),
        memory: StageId::ALL.into_iter().skip(1).zip([420, 60, 95, 80, 62]).collect(),
        blocks: blocks::of(&backbone("efficientnet_lite0")),
        steps: vec![Step { name: "features", detail: "mean over the positions".into(), width: 1280 }],
        samples: 24,
    }
}

fn scored(name: &str, mean: f64, loss: f64) -> Scored {
    Scored { name: name.into(), mean, sd: 0.01, folds: vec![mean; 5], losses: vec![loss; 5], seconds: 1.25 }
}

fn troubles() -> Vec<Trouble> {
    let skipped = (0..61).map(|i| Trouble {
        path: format!("notes/{i:02}.txt"),
        failed: false,
        kind: "extension".into(),
        reason: "not a picture by its extension .txt".into(),
    });
    let failed = ["a", "b"].map(|name| Trouble {
        path: format!("Training/Kiwi/{name}.jpg"),
        failed: true,
        kind: "truncated".into(),
        reason: "truncated: the file ends in the middle of the picture".into(),
    });
    skipped.chain(failed).collect()
}

/// A made-up result of the comparison of the pictures of `data`.
fn quality(data: &ReportData) -> Option<Compared> {
    let picture = |point: &Point| Picture {
        path: point.path.clone(),
        label: point.class.map(|class| data.classes[class].clone()),
        test: point.test,
    };
    let pictures: Vec<_> = data.points.iter().map(picture).collect();
    if pictures.len() < 20 {
        return None;
    }
    let member = |i: usize, similarity: f32| (pictures[i].clone(), similarity);
    let test = pictures.iter().position(|picture| picture.test);
    let members: Vec<_> = (8..14).map(|i| member(i, 0.95)).collect();
    let mut groups = vec![Group { size: 9, tests: 0, labels: Vec::new(), members }];
    groups.extend(test.map(|test| {
        let members = vec![member(test, 1.0), member(pictures.len() - 1, 1.0)];
        Group { size: 2, tests: 1, labels: Vec::new(), members }
    }));
    assert!(groups.len() <= GROUPS);
    let suspect = |i: usize| {
        let (picture, witness) = (pictures[i].clone(), pictures[pictures.len() - 1 - i].clone());
        Some(Suspect { suggested: witness.label.clone()?, picture, votes: 9, of: 10, witness })
    };
    let outlier = |i: usize| Outlier { picture: pictures[i].clone(), score: 5.5, similarity: 0.21 };
    let leaks = usize::from(test.is_some());
    let tests = pictures.iter().filter(|picture| picture.test).count();
    Some(Compared {
        summary: Summary {
            asked: pictures.len(),
            of: pictures.len(),
            tests,
            suspects: 14,
            copies: 1,
            near_copies: 9,
            leaks,
            exact_leaks: leaks,
            outliers: 2,
            groups: groups.len(),
        },
        suspects: (0..SHOWN).filter_map(suspect).collect(),
        groups,
        outliers: [3, 4].map(outlier).to_vec(),
    })
}

/// The page of `data`, with a coloured square for every picture. It is also written to the folder that
/// `FEATURIZE_REPORTS` names.
fn page(data: &ReportData, name: &str) -> String {
    let picture = |path: &str| -> Result<_, ()> {
        let seed = path.len() * 31 + usize::from(*path.as_bytes().last().unwrap_or(&0));
        let hue = |c: usize| (80.0 + 160.0 * noise(seed + c + path.bytes().map(usize::from).sum::<usize>())) as u8;
        let picture = RgbImage::filled(120, if seed.is_multiple_of(2) { 90 } else { 120 }, [hue(0), hue(1), hue(2)]);
        Ok(thumbnail(&picture, 112).ok())
    };
    let names: Vec<String> = (0..50).map(|i| format!("Training/{i:03}.jpg")).collect();
    let label = |i: usize| data.classes.get(i % data.classes.len().max(1)).map(String::as_str);
    let pictures: Vec<_> = names.iter().enumerate().map(|(i, name)| (name.as_str(), label(i))).collect();
    let samples = match data.predictions.is_empty() {
        true => samples::gallery(&pictures, data.samples, picture),
        false => {
            let nearest =
                (0..3).map(|i| Neighbour { path: format!("Training/near/{i}.jpg"), label: Some("Kiwi".into()) });
            let nearest: Vec<Neighbour> = nearest.collect();
            let of = |one: &Prediction| Explained { path: one.path.clone(), nearest: nearest.clone() };
            let explained: Vec<Explained> = data.predictions.iter().map(of).collect();
            let heat = |one: &Prediction| picture(&one.path).ok().flatten();
            samples::predicted(&data.predictions, data.samples, Beside { explained: &explained, heat: &heat }, picture)
        }
    };
    let samples = samples.expect("no error");
    let labelled = !data.classes.is_empty();
    let doubts = quality(data).map(|found| doubts::section(&found, labelled, picture).expect("no error"));
    let files = files::section(data, picture).expect("no error");
    let html = render(page_of(data, samples, doubts, files)).expect("rendered");
    if let Some(folder) = std::env::var_os("FEATURIZE_REPORTS") {
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.html")), &html).expect("written");
    }
    assert!(!html.contains("NaN") && !html.contains("undefined"), "a number is missing in {name}");
    assert!(!html.contains("<script") && !html.contains("http://") && !html.contains("https://"), "{name} reaches out");
    assert_eq!(html.matches("<section").count(), html.matches("</section>").count());
    html
}

/// Ids of the sections, in order.
fn sections(html: &str) -> Vec<&str> {
    html.split("<section id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

const FRUITS: [&str; 10] =
    ["Banana", "Cherry", "Grape", "Kiwi", "Lemon", "Orange", "Pear", "Plum", "Strawberry", "Tomato Cherry Red"];

#[test]
fn a_whole_run_has_every_section() {
    let data = run(&FRUITS, 30, 0.1);
    let html = page(&data, "fruits");
    assert_eq!(
        sections(&html),
        ["samples", "scores", "quality", "files", "counts", "training", "components", "columns", "timing", "ran"]
    );
    // 24 predictions, 12 labels in doubt, each with a picture beside it, 2 and 6 copies, 2 outliers
    assert_eq!(html.matches("<figure").count(), 24 + 2 * 12 + 2 + 6 + 2);
    assert!(html.contains("and 2 more in quality.parquet") && html.contains("(and 3 more)"));
    assert!(
        html.contains("1 of 300 test images (0.3\u{202f}%) has a copy or a near copy among the train images (1 exact)")
    );
    assert_eq!(html.matches("<svg class=\"chart\"").count(), 8);
    assert!(
        html.contains("ROC AUC") && html.contains(">0.987<") && html.contains("66 columns of variance 0 are not drawn")
    );
    assert!(html.contains("Predicted:"));
    assert!(html.contains("and 13 more"), "50 of 63 files are listed");
    assert!(html.contains("66 of 1,280 columns were dropped"));
    // the same run gives the same page
    assert_eq!(html, page(&data, "fruits"));
}

#[test]
fn two_classes_and_many_classes_fit() {
    let html = page(&run(&["cat", "dog"], 12, 0.2), "two");
    assert!(html.contains("class=\"matrix\""));
    let names: Vec<String> = (0..60).map(|i| format!("Species number {i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let html = page(&run(&names, 56, 0.15), "sixty");
    assert!(!html.contains("class=\"matrix\"") && html.contains("Hardest classes"));
    assert!(html.contains("2,000 of 10,080 images are drawn."));
    assert!(html.len() < 1_500_000, "{} bytes for 10,080 pictures", html.len());
    let names: Vec<String> = (0..1000).map(|i| format!("Species number {i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let html = page(&run(&names, 3, 0.3), "thousand");
    assert!(html.len() < 3_000_000, "{} bytes for 1,000 classes", html.len());
}

#[test]
fn without_labels_there_is_nothing_to_score() {
    let data = run(&FRUITS, 8, 0.1);
    let points = data.points.iter().map(|point| Point { class: None, ..point.clone() }).collect();
    let data = ReportData {
        classes: vec![],
        counts: vec![],
        trained: None,
        test: None,
        train_accuracy: None,
        predictions: vec![],
        points,
        ..data
    };
    let html = page(&data, "unlabelled");
    assert_eq!(sections(&html), ["samples", "quality", "files", "counts", "components", "columns", "timing", "ran"]);
    assert!(html.contains("No labels, so no classifier was trained") && html.contains("24 of 50 pictures, drawn by"));
    assert!(!html.contains("Predicted:") && !html.contains("Labels in doubt"));
}

#[test]
fn without_test_split_the_page_says_so() {
    let mut data = run(&FRUITS, 8, 0.1);
    data.points.retain(|point| !point.test);
    let data = ReportData { test: None, predictions: vec![], sizes: [160, 0], ..data };
    let html = page(&data, "untested");
    let all = ["samples", "quality", "files", "counts", "training", "components", "columns", "timing", "ran"];
    assert_eq!(sections(&html), all);
    assert!(html.contains("<span class=\"said\"><bdi>Cherry</bdi></span>"));
    assert!(html.contains("No test split") && !html.contains("test filled"));
}

#[test]
fn a_classifier_without_curves_and_a_table_without_components_have_their_sections() {
    let mut data = run(&FRUITS, 8, 0.1);
    let trained = data.trained.as_mut().expect("trained");
    (trained.kind, trained.description) = ("knn".into(), "knn, k 5, cosine".into());
    (trained.loss_curve, trained.validation_scores, trained.epochs) = (vec![], vec![], 0);
    // scaling alone gives no components for a scatter plot; 25,088 columns are a flattened map
    (data.reduced, data.points) = (None, vec![]);
    data.columns = (0..25_088).map(|i| (1e-6 + noise(i), noise(i + 77) > 0.5)).collect();
    data.selected = Some(Selected { kept: 12_544, of: 25_088, outranked: 12_544, ..Selected::default() });
    let html = page(&data, "curveless");
    assert_eq!(sections(&html), ["samples", "scores", "files", "counts", "training", "columns", "timing", "ran"]);
    assert!(html.contains("In numbers") && !html.contains("<h3>Loss</h3>") && !html.contains("Ended because"));
    let charts: Vec<&str> = figures::charts(&data).into_iter().map(|(name, _)| name).collect();
    assert_eq!(charts, ["network", "confusion_matrix", "calibration", "coverage", "columns"]);
    assert!(html.len() < 1_000_000, "{} bytes", html.len());
}

#[test]
fn an_extraction_alone_is_a_page() {
    let data = run(&FRUITS, 8, 0.1);
    let data = ReportData {
        selected: None,
        reduced: None,
        trained: None,
        test: None,
        train_accuracy: None,
        predictions: vec![],
        points: vec![],
        troubles: vec![],
        ..data
    };
    assert_eq!(sections(&page(&data, "bare")), ["samples", "counts", "timing", "ran"]);
    page(&ReportData::default(), "nothing");
}

#[test]
fn a_classifier_that_is_always_wrong_shows_its_mistakes() {
    let data = run(&FRUITS, 8, 2.0);
    let html = page(&data, "wrong");
    assert_eq!(html.matches("<figcaption><span class=\"soft\">Predicted:").count(), 24);
    assert_eq!(html.matches("✗ truth:").count(), 24);
    assert!(!html.contains("Close calls") && html.contains(">0\u{202f}%<"));
}

#[test]
fn what_the_metrics_write_is_what_the_page_reads() {
    let probabilities = FeatureMatrix::from_vec(4, 2, vec![0.9, 0.1, 0.6, 0.4, 0.3, 0.7, 0.8, 0.2]).expect("4 × 2");
    let metrics = metrics::evaluate(&[0, 0, 1, 1], &[0, 0, 1, 0], &probabilities, 2, &[]).expect("scores");
    let scores: Metrics = serde_json::from_value(serde_json::to_value(&metrics).expect("JSON")).expect("scores");
    assert_eq!((scores.support, scores.confusion_matrix.clone()), (4, vec![vec![2, 0], vec![1, 1]]));
    assert_eq!(scores.roc_auc.map(|auc| auc.macro_avg), Some(0.75));
    assert_eq!(scores.calibration.len(), metrics.calibration.len());
}

#[test]
fn names_cannot_break_out() {
    let script = "<script>alert(\"x\")</script>";
    let names = [script, "O'Brien & \"Söhne\"", "a{{ 7*7 }}b", "x</title></style></svg>"];
    let mut data = run(&names, 8, 0.3);
    data.title = script.into();
    data.troubles[0].path = format!("a/{script}.jpg");
    data.troubles[1].reason = format!("\" onload=\"{script}");
    let html = page(&data, "names");
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;"));
    assert!(!html.contains("</svg>\"") && !html.contains("x</title>") && html.contains("a{{ 7*7 }}b"));
    assert!(!html.contains("O'Brien & ") && !html.contains("\" onload=\""));
}

#[test]
fn every_chart_of_a_whole_run_is_a_figure() {
    let data = run(&FRUITS, 30, 0.1);
    let charts = figures::charts(&data);
    // the last component holds less than a tenth of a per cent
    assert!(charts.iter().all(|(_, chart)| !chart.marks.contains("< ")) && charts[7].1.marks.contains("&lt; 0.1"));
    let names: Vec<&str> = charts.into_iter().map(|(name, _)| name).collect();
    let all = [
        "network",
        "confusion_matrix",
        "calibration",
        "coverage",
        "loss",
        "validation",
        "components",
        "variance_explained",
        "columns",
    ];
    assert_eq!(names, all);
    assert!(figures::charts(&ReportData::default()).is_empty());
}
