//! The data of a report, read from the run folder and from the outcome, before text and charts are made from them.

use std::collections::BTreeSet;
use std::path::Path;

use super::blocks::{self, Block};
use super::charts::histogram::Scored;
use super::charts::network::Step;
use super::provenance::Provenance;
use super::{ReportError, formatting};
use crate::config;
use crate::io::IoError;
use crate::io::columns::Columns;
use crate::io::features::FeatureFile;
use crate::io::sealed;
use crate::learn::metrics::Metrics;
use crate::pipeline::Outcome;
use crate::plan::Plan;
use crate::stages::StageId;
use crate::stages::evaluate::{Calibrated, Document};
use crate::stages::extract::Extracted;
use crate::stages::reduce::{self, Kind, Reduced};
use crate::stages::scan::Split;
use crate::stages::select::Selected;
use crate::stages::train::Trained;

/// Everything that the page shows.
#[derive(Clone, Debug, Default)]
pub struct ReportData {
    pub title: String,
    /// The settings of the run: name and value as text.
    pub ran: Vec<(&'static str, String)>,
    /// When the run was computed, and the command that computes it again.
    pub provenance: Provenance,
    pub classes: Vec<String>,
    /// Pictures of each class: train, test.
    pub counts: Vec<[usize; 2]>,
    /// Pictures of each split: train, test.
    pub sizes: [usize; 2],
    pub extracted: Option<Extracted>,
    pub selected: Option<Selected>,
    /// For each column the score of the selection, and whether the column was kept.
    pub columns: Vec<Scored>,
    pub reduced: Option<Reduced>,
    pub trained: Option<Trained>,
    /// Scores of the test split.
    pub test: Option<Metrics>,
    /// The calibration of the probabilities.
    pub calibrated: Option<Calibrated>,
    pub train_accuracy: Option<f64>,
    /// The predictions for the test pictures.
    pub predictions: Vec<Prediction>,
    /// For each test picture without a copy in train, whether it was classified correctly; none where no picture has a
    /// copy.
    pub without_copies: Option<Vec<bool>>,
    /// Every row on the first two components.
    pub points: Vec<Point>,
    /// Files without features.
    pub troubles: Vec<Trouble>,
    pub seconds: Vec<(StageId, f64)>,
    /// The peak memory of each stage, in MB.
    pub memory: Vec<(StageId, u64)>,
    /// The network, block by block.
    pub blocks: Vec<Block>,
    /// The steps from the features to the classifier.
    pub steps: Vec<Step>,
    pub samples: usize,
}

/// The prediction of a picture.
#[derive(Clone, Debug)]
pub struct Prediction {
    pub path: String,
    pub label: String,
    pub predicted: String,
    pub confidence: f64,
    /// Whether it counts as of a known class; none where distances were not measured.
    pub known: Option<bool>,
}

/// A row on the first two components.
#[derive(Clone, Debug)]
pub struct Point {
    pub path: String,
    pub at: [f64; 2],
    /// Number of its class; none without labels.
    pub class: Option<usize>,
    pub test: bool,
}

/// A file without features.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub path: String,
    /// True for a picture that could not be read; false for a file that a rule left out.
    pub failed: bool,
    /// The kind of the reason, as in the manifest.
    pub kind: String,
    pub reason: String,
}

impl ReportData {
    /// Reads the committed results of the stages.
    pub fn read(plan: &Plan, settings: &config::Report, outcome: &Outcome) -> Result<Self, ReportError> {
        let listing = &outcome.listing;
        let [train, test] = [Split::Train, Split::Test].map(|split| listing.counts(split));
        let mut data = ReportData {
            title: settings.title.clone().unwrap_or_else(|| plan.pipeline.name.clone()),
            ran: ran(plan, outcome),
            provenance: Provenance::of(plan, outcome),
            classes: listing.classes.clone(),
            counts: train.into_iter().zip(test).map(|(train, test)| [train, test]).collect(),
            sizes: [Split::Train, Split::Test].map(|split| listing.len_of(split)),
            extracted: outcome.extracted.clone(),
            selected: outcome.selected.clone(),
            // columns that are only scaled are not components
            reduced: outcome.reduced.clone().filter(|reduced| reduced.kind != reduce::Kind::Scale),
            trained: outcome.trained.clone(),
            train_accuracy: outcome.evaluated.as_ref().and_then(|evaluated| evaluated.train_accuracy),
            seconds: outcome.seconds.clone(),
            memory: outcome.memory.clone(),
            blocks: blocks::of(&plan.backbone),
            steps: steps(plan, outcome),
            samples: settings.samples,
            ..ReportData::default()
        };
        if outcome.evaluated.is_some() {
            let document: Document = sealed::read(&plan.dir.metrics())?;
            (data.test, data.calibrated) = (document.test, document.calibration);
            data.predictions = predictions(&plan.dir.predictions())?;
            if outcome.compared.as_ref().is_some_and(|found| found.summary.leaks > 0) {
                data.without_copies = Some(without_copies(&plan.dir.quality(), &data.predictions)?);
            }
        }
        if data.reduced.is_some() {
            data.points = points(&plan.dir.reduced(), &data.classes)?;
        }
        data.troubles = troubles(&plan.dir.manifest())?;
        if let Some(selected) = &outcome.selected {
            let score = if selected.score.is_some() { "score" } else { "variance" };
            let table = Columns::read(&plan.dir.columns(), &[score, "kept"])?;
            data.columns = table.reals(score)?.into_iter().zip(table.flags("kept")?).collect();
        }
        Ok(data)
    }

    /// The name of the score that `select` ranked by.
    pub fn score_name(&self) -> &'static str {
        match self.selected.as_ref().and_then(|selected| selected.score) {
            Some(config::Score::FClassif) => "F",
            Some(config::Score::Variance) | None => "variance",
        }
    }
}

fn predictions(path: &Path) -> Result<Vec<Prediction>, IoError> {
    let table = Columns::read(path, &["path", "label", "split", "predicted", "confidence", "known"])?;
    let [paths, labels, splits, predicted] = ["path", "label", "split", "predicted"].map(|name| table.texts(name));
    let (paths, labels, splits, predicted) = (paths?, labels?, splits?, predicted?);
    // versions before 0.4 wrote no distances
    let known = table.flags("known").ok();
    let rows = paths.into_iter().zip(labels).zip(splits).zip(predicted.into_iter().zip(table.reals("confidence")?));
    let test = rows.enumerate().filter(|(_, (((_, _), split), _))| split.as_deref() == Some(Split::Test.word()));
    let read = test.filter_map(|(i, (((path, label), _), (predicted, confidence)))| {
        let known = known.as_ref().and_then(|known| known.get(i).copied());
        Some(Prediction { path: path?, label: label?, predicted: predicted?, confidence, known })
    });
    Ok(read.collect())
}

/// Whether the prediction is right, for each picture that was compared with others and has no copy in train.
fn without_copies(path: &Path, predictions: &[Prediction]) -> Result<Vec<bool>, IoError> {
    let table = Columns::read(path, &["path", "duplicate_in_train"])?;
    let rows = table.texts("path")?.into_iter().zip(table.texts("duplicate_in_train")?);
    let new: BTreeSet<String> = rows.filter(|(_, copy)| copy.is_none()).filter_map(|(path, _)| path).collect();
    Ok(predictions.iter().filter(|one| new.contains(&one.path)).map(Prediction::is_right).collect())
}

/// The rows of `reduced.parquet` on the first two components; empty when there is one component only.
fn points(path: &Path, classes: &[String]) -> Result<Vec<Point>, IoError> {
    let file = FeatureFile::open(path)?;
    if file.width() < 2 {
        return Ok(Vec::new());
    }
    let (keys, matrix) = (file.read_keys()?, file.read_features(Some(&[0, 1]))?);
    let rows = keys.into_iter().zip(matrix.iter_rows());
    let points = rows.filter_map(|(key, row)| {
        let &[x, y, ..] = row else { return None };
        let class = key.label.and_then(|label| classes.iter().position(|class| *class == label));
        let test = key.split.as_deref() == Some(Split::Test.word());
        Some(Point { path: key.path, at: [x, y].map(f64::from), class, test })
    });
    Ok(points.collect())
}

fn troubles(path: &Path) -> Result<Vec<Trouble>, IoError> {
    let table = Columns::read(path, &["path", "status", "kind", "error"])?;
    let rows = table.texts("path")?.into_iter().zip(table.texts("status")?);
    let rows = rows.zip(table.texts("kind")?).zip(table.texts("error")?);
    let troubles = rows.filter_map(|(((path, status), kind), error)| {
        let failed = match status?.as_str() {
            "failed" => true,
            "skipped" => false,
            _ => return None,
        };
        Some(Trouble { path: path?, failed, kind: kind.unwrap_or_default(), reason: error.unwrap_or_default() })
    });
    Ok(troubles.collect())
}

/// The steps from the features to the classifier, each with the number of values that it outputs for a picture.
fn steps(plan: &Plan, outcome: &Outcome) -> Vec<Step> {
    let step = |name, detail: String, width| Step { name, detail, width };
    let mut steps = vec![step("features", feature_kind(plan).into(), plan.width())];
    if let Some(selected) = &outcome.selected {
        let dropped = formatting::plural(selected.of.saturating_sub(selected.kept), "column");
        let name = if selected.outranked > 0 { "column selection" } else { "variance filter" };
        steps.push(step(name, format!("{dropped} dropped"), selected.kept));
    }
    if let Some(reduced) = &outcome.reduced {
        let share = || format!("{} of the variance", formatting::percent(reduced.explained));
        let (name, detail) = match reduced.kind {
            Kind::Pca => ("principal components", share()),
            Kind::Svd => ("singular vectors", share()),
            Kind::Scale => ("scale", "columns or rows scaled".to_string()),
        };
        steps.push(step(name, detail, reduced.components));
    }
    if let Some(trained) = &outcome.trained {
        steps.push(step("classifier", "classes".into(), trained.classes.len()));
    }
    steps
}

fn feature_kind(plan: &Plan) -> &'static str {
    match plan.backbone.features {
        config::Features::Pooled => "the library's own",
        config::Features::Cls => "class token",
        config::Features::Avg => "mean over the positions",
        config::Features::Max => "maximum over the positions",
        config::Features::Flatten => "the whole map in one row",
        config::Features::Map => "the whole map",
    }
}

/// The settings of the run, one line each.
fn ran(plan: &Plan, outcome: &Outcome) -> Vec<(&'static str, String)> {
    let kind = feature_kind(plan);
    let backbone = &plan.backbone;
    let layer = |tap: &crate::network_plan::Tap| format!("{}, {}", tap.name, formatting::size(&tap.map.dims()));
    let layers = backbone.taps.iter().map(layer).collect::<Vec<_>>().join("; ");
    let mut rows = vec![
        ("Model", format!("{} ({}), after {}", backbone.title, backbone.name, backbone.after())),
        ("Weights", weights(&backbone.weights.describe(), &plan.weights_id)),
        ("Pixels", formatting::decoding(&backbone.decoding)),
        ("Preprocessing", formatting::recipe(&backbone.recipe)),
        ("Layer", layers),
        ("Features", format!("{kind}: {} columns", formatting::count(plan.width()))),
    ];
    if let Some(settings) = &plan.pipeline.select {
        let best =
            settings.top_k.map(|k| format!(", of them the best {} by {}", formatting::count(k), settings.score.word()));
        let rule = format!("columns whose variance is above {}", formatting::number(settings.variance_threshold));
        rows.push(("Select", rule + &best.unwrap_or_default()));
    }
    if let Some(settings) = &plan.pipeline.reduce {
        rows.push(("Reduce", reduction(settings)));
    }
    if let (Some(settings), Some(trained)) = (&plan.pipeline.train, &outcome.trained) {
        rows.push(("Classifier", classifier(settings, trained)));
    }
    if let Some(extracted) = &outcome.extracted {
        let kernels = extracted.kernels.as_ref().map_or(String::new(), |kernels| format!(" with {kernels}"));
        let threads = formatting::plural(extracted.threads, "thread");
        rows.push(("Device", format!("{}{kernels}, {threads}", extracted.device)));
    }
    let (system, processor) = (std::env::consts::OS, std::env::consts::ARCH);
    rows.push(("Version", format!("featurize {} for {system} on {processor}", env!("CARGO_PKG_VERSION"))));
    rows
}

fn reduction(settings: &config::Reduce) -> String {
    let scale = match settings.scale {
        config::Scale::None => None,
        config::Scale::Standard => Some("columns scaled to mean 0 and variance 1".to_string()),
        config::Scale::L2 => Some("rows scaled to length 1".to_string()),
    };
    let pca = settings.pca.as_ref().map(|pca| {
        let components = match pca.components {
            config::Components::Count(n) => formatting::plural(n, "component"),
            config::Components::Fraction(f) => {
                format!("as many components as hold {} of the variance", formatting::percent(f))
            }
            config::Components::Mle => "as many components as are most probable (Minka)".to_string(),
        };
        format!("PCA, {components}{}", if pca.whiten { ", whitened" } else { "" })
    });
    let svd = settings
        .svd
        .map(|svd| format!("truncated SVD, not centred, {}", formatting::plural(svd.components, "component")));
    scale.into_iter().chain(pca).chain(svd).collect::<Vec<_>>().join("; ")
}

/// The description of the weights, with the hash of their file. Random weights have no hash; the description has their
/// seed.
fn weights(described: &str, id: &str) -> String {
    if id.len() == 64 { format!("{described}, SHA-256 {id}") } else { described.to_string() }
}

/// The classifier that was kept, with all of its settings if it was the only one.
fn classifier(settings: &config::Train, trained: &Trained) -> String {
    match settings.classifiers().as_slice() {
        [config::Classifier::Mlp(mlp)] => perceptron(mlp, trained),
        [_] => trained.description.clone(),
        several => format!("{}, the best of {}", trained.description, several.len()),
    }
}

fn perceptron(settings: &config::MlpParams, trained: &Trained) -> String {
    let layers = [trained.inputs].into_iter().chain(settings.hidden.iter().copied()).chain([trained.classes.len()]);
    let layers: Vec<String> = layers.map(formatting::count).collect();
    let activation = match settings.activation {
        config::Activation::Identity => "identity",
        config::Activation::Logistic => "logistic",
        config::Activation::Tanh => "tanh",
        config::Activation::Relu => "ReLU",
    };
    let solver = match settings.solver {
        config::Solver::Adam => "Adam",
        config::Solver::Sgd => "SGD",
        config::Solver::Lbfgs => "L-BFGS",
    };
    format!("multi-layer perceptron {}, {activation}, {solver}, seed {}", layers.join(" → "), settings.seed)
}
