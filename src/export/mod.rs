//! `featurize export`: writes a run as one ONNX file, from the picture or its features to the probability of every
//! class, and as a model card.
//!
//! ```text
//! pixels ──> input ──> network ──> features ──> kept columns ──> scale, PCA ──> classifier ──> probabilities
//! bytes      f32, as the recipe                 (head)                              temperature
//!            prepares it
//! ```
//!
//! Everything is computed in f32, even if the run computed or stored with lower precision.

mod card;
mod check;
mod head;

use std::path::Path;

use serde_json::json;
use thiserror::Error;

pub use card::card;
pub use check::{Sample, Values};

use crate::exec::lower::lower;
use crate::exec::{ExecError, Kernels, Precision};
use crate::image::{ChannelOrder, Recipe};
use crate::io::IoError;
use crate::network_plan::{NetworkPlan, NetworkPlanError};
use crate::onnx::{Attribute, Element, INPUT, WriteError, Writer, notes};
use crate::pictures::PredictorError;
use crate::pictures::predictor::Saved;
use crate::plan::NetworkCard;
use crate::store::RunDir;
use crate::table::Dtype;
use crate::weights::WeightError;

/// The input of an exported file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A picture prepared by the recipe: `input` (n, channels, height, width), f32.
    Prepared,
    /// The pixels after the recipe's resizing and cropping: `pixels` (n, height, width, 3), RGB bytes.
    Pixels,
    /// Features of a run's table: `features` (n, columns), f32.
    Features,
}

impl Input {
    /// The name of the value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prepared => INPUT,
            Self::Pixels => "pixels",
            Self::Features => FEATURES,
        }
    }
}

/// The name of the value with the features.
const FEATURES: &str = "features";

/// A run cannot be exported.
#[derive(Debug, Error)]
pub enum ExportError {
    #[error(transparent)]
    Predictor(#[from] PredictorError),
    #[error(transparent)]
    Network(#[from] NetworkPlanError),
    #[error(transparent)]
    Weights(#[from] WeightError),
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(
        "nearest neighbours among {rows} rows of {columns} columns are too many for a file that carries all of them; \
         train `mlp` or `logistic`, or keep fewer columns with `reduce.pca`"
    )]
    Neighbours { rows: usize, columns: usize },
    #[error(
        "the file was read back, and its {what} are {distance:.1e} away from those of the run; this is a fault of \
         featurize, please report it"
    )]
    Differs { what: &'static str, distance: f64 },
}

/// An ONNX file.
#[derive(Debug)]
pub struct Exported {
    pub bytes: Vec<u8>,
    /// Name and shape of its input, and the number of its classes, as text.
    pub described: String,
    /// Inputs for the file, and the probabilities that the program computes for them.
    pub sample: Sample,
    /// The result of reading it back, as text.
    pub checked: String,
}

/// Makes the ONNX file of a run; `weights` is a file with the network's weights.
///
/// # Errors
/// The run has no classifier, its weights are missing, a step has no counterpart in ONNX, or the file is too large.
pub fn onnx(dir: &RunDir, weights: Option<&Path>, input: Input) -> Result<Exported, ExportError> {
    let mut saved = Saved::read(dir)?;
    saved.fitted.dtype = Dtype::F32;
    let mut writer = Writer::default();
    let network = match input {
        Input::Features => None,
        _ => Some(saved.network(weights)?.precision(Precision::F32)),
    };
    let sizes = match &network {
        Some(network) => features(&mut writer, network, input)?,
        None => {
            writer.input(FEATURES, Element::F32, &[saved.width()]);
            vec![saved.width()]
        }
    };
    let scores = head::write(&mut writer, &saved.fitted, FEATURES)?;
    writer.output(head::PROBABILITIES, Element::F32, &[saved.classes.len()]);
    let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    let (name, classes) = (input.name(), saved.classes.len());
    let mut described = format!("{name} (n, {}) → {} of {classes} classes, f32", sizes.join(", "), head::PROBABILITIES);
    if saved.card.precision != Precision::F32 {
        described.push_str(&format!(", where the run computed in {}", saved.card.precision.word()));
    }
    let title = dir.root().file_name().map_or("run".into(), |name| name.to_string_lossy());
    let bytes = writer.finish(&title, &metadata(&saved, scores))?;
    let (sample, checked) = check::check(&bytes, saved, network, input)?;
    Ok(Exported { bytes, described, sample, checked })
}

/// Provenance, recipe and classes, and the metadata that featurize needs to read the file.
fn metadata(saved: &Saved, scores: Option<&str>) -> Vec<(String, String)> {
    let card = NetworkCard { precision: Precision::F32, kernels: Kernels::Auto, ..saved.card.clone() };
    let mut all = card.metadata();
    let mut note = |key: &str, value: String| all.push((key.to_string(), value));
    note(notes::CLASSES, json!(saved.classes).to_string());
    note(notes::FEATURES, FEATURES.to_string());
    if let Some(scores) = scores {
        note(notes::SCORES, scores.to_string());
    }
    if let Some(temperature) = saved.fitted.temperature {
        note(notes::TEMPERATURE, json!(temperature).to_string());
    }
    all
}

/// Writes the network, up to its features; returns the shape of its input.
fn features(writer: &mut Writer, network: &NetworkPlan, input: Input) -> Result<Vec<usize>, ExportError> {
    let recipe = &network.recipe;
    let [h, w] = recipe.size;
    let sizes = if input == Input::Pixels {
        writer.input(input.name(), Element::U8, &[h, w, 3]);
        prepare(writer, recipe, input.name());
        vec![h, w, 3]
    } else {
        writer.input(INPUT, Element::F32, &[recipe.depth(), h, w]);
        vec![recipe.depth(), h, w]
    };
    let program = lower(&network.graph, &network.load()?, &network.layer_ids())?;
    let taps = writer.network(&program, INPUT)?;
    let taps: Vec<_> = taps.into_iter().zip(network.taps.iter().map(|tap| tap.map)).collect();
    writer.features(network.features, &taps, FEATURES);
    Ok(sizes)
}

/// Writes the arithmetic of the recipe, from `pixels` to the prepared picture. Resizing and cropping are left to the
/// caller.
fn prepare(writer: &mut Writer, recipe: &Recipe, pixels: &str) {
    let floats = writer.op("Cast", &[pixels], &[("to", Attribute::Int(1))]);
    let mut x = writer.op("Transpose", &[&floats], &[("perm", Attribute::Ints(&[0, 3, 1, 2]))]);
    match recipe.channels {
        ChannelOrder::Rgb => {}
        ChannelOrder::Bgr => {
            let order = writer.ints(&[2, 1, 0]);
            x = writer.op("Gather", &[&x, &order], &[("axis", Attribute::Int(1))]);
        }
        ChannelOrder::Grey => {
            // Pillow's `convert("L")`; f32 represents all of its integers exactly
            let weights = writer.floats(&[1, 3, 1, 1], &[19595.0, 38470.0, 7471.0]);
            let (half, whole) = (writer.floats(&[1], &[32768.0]), writer.float(65536.0));
            let sum = writer.op("Conv", &[&x, &weights, &half], &[]);
            let level = writer.op("Div", &[&sum, &whole], &[]);
            x = writer.op("Floor", &[&level], &[]);
        }
    }
    let depth = recipe.depth();
    let (mean, std): (Vec<f32>, Vec<f32>) = (0..depth).map(|c| recipe.channel(c)).unzip();
    let divisor = writer.float(recipe.divisor);
    let [mean, std] = [mean, std].map(|values| writer.floats(&[1, depth, 1, 1], &values));
    let scaled = writer.op("Div", &[&x, &divisor], &[]);
    let centred = writer.op("Sub", &[&scaled, &mean], &[]);
    writer.named("Div", &[&centred, &std], &[], INPUT);
}
