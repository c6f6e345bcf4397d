//! `featurize export`: what a run has learnt as one ONNX file, from the picture, or from its features, to the
//! probability of every class.
//!
//! ```text
//! pixels ──> input ──> network ──> features ──> kept columns ──> scale, PCA ──> classifier ──> probabilities
//!  u8, as Pillow       f32, as the               of the recipe's weights
//!  cuts them out       recipe prepares it
//! ```
//!
//! Everything is f32, also where the run computed or stored less precisely.

mod card;
mod head;

use std::path::Path;

use serde_json::json;
use thiserror::Error;

pub use card::card;

use crate::exec::lower::lower;
use crate::exec::{Device, ExecError, Features, Precision};
use crate::extractor::Extractor;
use crate::image::{ChannelOrder, Recipe};
use crate::io::IoError;
use crate::network_plan::{NetworkPlan, NetworkPlanError};
use crate::onnx::{Attribute, CLASSES, Element, FEATURES, INPUT, WriteError, Writer};
use crate::pictures::PredictorError;
use crate::pictures::predictor::Saved;
use crate::store::RunDir;
use crate::weights::{Origin, WeightError};

/// The distance of the features that are read back, ‖a − b‖ / ‖a‖; the order of sums makes some of it.
const TOLERANCE: f64 = 1e-4;

/// The input of the exported network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// What the recipe makes of a picture: (n, channels, height, width).
    Prepared,
    /// Pixels of the recipe's size: (n, height, width, 3), bytes of red, green and blue.
    Pixels,
    /// Features of a run's table: (n, columns).
    Features,
}

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
        "nearest neighbours among {rows} rows of {columns} columns are too many for a file that carries all of them; train `mlp` or `logistic`"
    )]
    Neighbours { rows: usize, columns: usize },
    #[error(
        "the file was read back, and its features differ by {0:.1e} from those of the run: this is a fault of featurize"
    )]
    Differs(f64),
}

/// An ONNX file.
#[derive(Debug)]
pub struct Exported {
    pub bytes: Vec<u8>,
    /// Its input in words.
    pub input: String,
    pub classes: usize,
    /// The result of reading it back, in words.
    pub checked: String,
}

/// The ONNX file of a run; `weights` is a file to read the network's weights from.
pub fn onnx(dir: &RunDir, weights: Option<&Path>, input: Input) -> Result<Exported, ExportError> {
    let saved = Saved::read(dir)?;
    let mut writer = Writer::default();
    let network = match input {
        Input::Features => None,
        _ => Some(saved.network(weights)?.precision(Precision::F32)),
    };
    let words = match &network {
        Some(network) => features(&mut writer, network, input)?,
        None => {
            writer.input("features", Element::F32, &[saved.width()]);
            format!("features (n, {})", saved.width())
        }
    };
    head::write(&mut writer, &saved.fitted, "features")?;
    writer.output("probabilities", Element::F32, &[saved.classes.len()]);
    let name = dir.root().file_name().map_or("run".into(), |name| name.to_string_lossy());
    let bytes = writer.finish(&name, &notes(&saved))?;
    let checked =
        network.map_or(Ok("not read back: it holds no network".to_string()), |network| check(&bytes, &network))?;
    Ok(Exported { bytes, input: words, classes: saved.classes.len(), checked })
}

/// Reads the file back and compares its features with those of the run's network, for one picture of noise.
fn check(bytes: &[u8], network: &NetworkPlan) -> Result<String, ExportError> {
    let folder = tempfile::tempdir().map_err(IoError::write(Path::new("a temporary folder")))?;
    let path = folder.path().join("export.onnx");
    std::fs::write(&path, bytes).map_err(IoError::write(&path))?;
    let read = match NetworkPlan::of_onnx(Origin::file(&path, None), network.recipe.clone(), &[], Features::Avg) {
        Ok(read) => read,
        // adaptive pools with cells of unequal sizes are written as matrix products, which are not read
        Err(error) => return Ok(format!("not read back: {error}")),
    };
    let noise = |i: usize| ((i * 2_654_435_761) >> 7 & 0xff) as f32 / 128.0 - 1.0;
    let input: Vec<f32> = (0..network.recipe.input_len()).map(noise).collect();
    let features = |plan: &NetworkPlan| {
        let extractor = Extractor::open(plan, &Device::cpu())?;
        extractor.forward(&mut extractor.session(), &input, 1)
    };
    let (ours, back) = (features(network)?.remove(0), features(&read)?.remove(0));
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let apart = norm(&mut ours.iter().zip(&back).map(|(&a, &b)| f64::from(a) - f64::from(b)));
    let distance = apart / norm(&mut ours.iter().map(|&value| f64::from(value))).max(f64::MIN_POSITIVE);
    if ours.len() != back.len() || distance > TOLERANCE {
        return Err(ExportError::Differs(distance));
    }
    Ok(format!("read back: its features differ from those of the run's network by {distance:.0e}"))
}

/// Provenance, classes and recipe.
fn notes(saved: &Saved) -> Vec<(String, String)> {
    let mut notes = saved.card.metadata();
    notes.retain(|(key, _)| key != "featurize.precision");
    notes.push(("featurize.precision".to_string(), "f32".to_string()));
    notes.push((CLASSES.to_string(), json!(saved.classes).to_string()));
    notes.push((FEATURES.to_string(), "features".to_string()));
    notes
}

/// Writes the network, up to the value `features`; gives its input in words.
fn features(writer: &mut Writer, network: &NetworkPlan, input: Input) -> Result<String, ExportError> {
    let recipe = &network.recipe;
    let [h, w] = recipe.size;
    let words = if input == Input::Pixels {
        writer.input("pixels", Element::U8, &[h, w, 3]);
        prepare(writer, recipe);
        format!("pixels (n, {h}, {w}, 3)")
    } else {
        writer.input(INPUT, Element::F32, &[recipe.depth(), h, w]);
        format!("{INPUT} (n, {}, {h}, {w})", recipe.depth())
    };
    let program = lower(&network.graph, &network.load()?, &network.layer_ids())?;
    let taps = writer.network(&program, INPUT)?;
    let parts = taps.iter().zip(&network.taps).map(|(value, tap)| writer.features(network.features, tap.map, value));
    let parts: Vec<String> = parts.collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        [one] => writer.named("Identity", &[*one], &[], "features"),
        several => writer.named("Concat", several, &[("axis", Attribute::Int(1))], "features"),
    }
    Ok(words)
}

/// Writes the recipe's arithmetic, from `pixels` to `input`; sizes and crops are the caller's.
fn prepare(writer: &mut Writer, recipe: &Recipe) {
    let floats = writer.op("Cast", &["pixels"], &[("to", Attribute::Int(1))]);
    let mut x = writer.op("Transpose", &[&floats], &[("perm", Attribute::Ints(&[0, 3, 1, 2]))]);
    match recipe.channels {
        ChannelOrder::Rgb => {}
        ChannelOrder::Bgr => {
            let order = writer.ints(&[2, 1, 0]);
            x = writer.op("Gather", &[&x, &order], &[("axis", Attribute::Int(1))]);
        }
        ChannelOrder::Grey => {
            // Pillow's `convert("L")`: every number is one that f32 holds exactly
            let weights = writer.floats(&[1, 3, 1, 1], &[19595.0, 38470.0, 7471.0]);
            let (half, whole) = (writer.floats(&[1], &[32768.0]), writer.floats(&[], &[65536.0]));
            let sum = writer.op("Conv", &[&x, &weights, &half], &[]);
            let level = writer.op("Div", &[&sum, &whole], &[]);
            x = writer.op("Floor", &[&level], &[]);
        }
    }
    let (divisor, n) = (writer.floats(&[], &[recipe.divisor]), recipe.depth());
    let of = |values: [f32; 3]| if n == 3 { values.to_vec() } else { vec![values.iter().sum::<f32>() / 3.0] };
    let (mean, std) = (writer.floats(&[1, n, 1, 1], &of(recipe.mean)), writer.floats(&[1, n, 1, 1], &of(recipe.std)));
    let scaled = writer.op("Div", &[&x, &divisor], &[]);
    let centred = writer.op("Sub", &[&scaled, &mean], &[]);
    writer.named("Div", &[&centred, &std], &[], INPUT);
}
