//! Reads an exported file back, and compares its probabilities with those of the run for two synthetic pictures.

use std::path::Path;

use super::{ExportError, Input};
use crate::exec::{Device, Features};
use crate::extractor::Extractor;
use crate::image::{Fit, Layout, Recipe, RgbImage};
use crate::io::IoError;
use crate::network_plan::NetworkPlan;
use crate::pictures::Predictor;
use crate::pictures::predictor::Saved;
use crate::weights::Origin;

/// The number of pictures that are compared.
const PICTURES: usize = 2;
/// The largest difference that another order of summation may cause: absolute for probabilities, ‖a − b‖ / ‖a‖ for
/// features.
const TOLERANCE: f64 = 1e-4;

/// Inputs for the file, and the probabilities that the program computes for them.
#[derive(Clone, Debug)]
pub struct Sample {
    pub input: Values,
    /// The shape of the input, with the number of pictures first.
    pub shape: Vec<usize>,
    /// (pictures, classes)
    pub probabilities: Vec<f32>,
}

/// The values of an input.
#[derive(Clone, Debug)]
pub enum Values {
    F32(Vec<f32>),
    U8(Vec<u8>),
}

/// Makes the sample of a file and reads the file back; returns the sample, and the result of the comparison as text.
pub(super) fn check(
    bytes: &[u8],
    saved: Saved,
    network: Option<NetworkPlan>,
    input: Input,
) -> Result<(Sample, String), ExportError> {
    let Some(mut network) = network else {
        return Ok((of_features(&saved)?, "it holds no network, and is not read back".to_string()));
    };
    // the pictures already have the size of the input
    network.recipe = Recipe { fit: Fit::Stretch, crop_pct: 1.0, ..network.recipe };
    let ours = saved.predictor(&network, &Device::cpu())?;
    let pictures: Vec<RgbImage> = (0..PICTURES).map(|number| picture(number, network.recipe.size)).collect();
    let sample = of_pictures(&ours, &pictures, &network.recipe, input)?;
    let folder = tempfile::tempdir().map_err(IoError::write(Path::new("a temporary folder")))?;
    let path = folder.path().join("export.onnx");
    std::fs::write(&path, bytes).map_err(IoError::write(&path))?;
    let file = || Origin::file(&path, None);
    let (what, distance) = match NetworkPlan::onnx_classifier(file(), network.recipe.clone()) {
        Ok(read) => {
            let back = Predictor::of_network(&read, None, &Device::cpu())?;
            let back = of_pictures(&back, &pictures, &network.recipe, input)?;
            let apart = sample.probabilities.iter().zip(&back.probabilities).map(|(a, b)| f64::from((a - b).abs()));
            ("probabilities", apart.fold(0.0, f64::max))
        }
        // featurize cannot read nearest neighbours back, so only the network before them is compared
        Err(_) => match NetworkPlan::of_onnx(file(), network.recipe.clone(), &[], Features::Avg) {
            Ok(read) => {
                let back = Extractor::open(&read, &Device::cpu())?;
                let pairs = pictures.iter().map(|picture| Ok((ours.features(picture)?, back.features(picture)?)));
                ("features", farthest(pairs.collect::<Result<Vec<_>, ExportError>>()?))
            }
            Err(error) => return Ok((sample, format!("not read back: {error}"))),
        },
    };
    if distance.is_nan() || distance > TOLERANCE {
        return Err(ExportError::Differs { what, distance });
    }
    Ok((sample, format!("read back: its {what} are {distance:.0e} away from those of the run")))
}

/// The largest relative difference ‖a − b‖ / ‖a‖ of the pairs.
fn farthest(pairs: Vec<(Vec<f32>, Vec<f32>)>) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let distance = |(a, b): &(Vec<f32>, Vec<f32>)| {
        let apart = norm(&mut a.iter().zip(b).map(|(&a, &b)| f64::from(a) - f64::from(b)));
        apart / norm(&mut a.iter().map(|&value| f64::from(value))).max(f64::MIN_POSITIVE)
    };
    pairs.iter().map(distance).fold(0.0, f64::max)
}

/// A synthetic picture.
fn picture(number: usize, [h, w]: [usize; 2]) -> RgbImage {
    let level = |x: usize, y: usize, c: usize| (x * (c + 2) + y * (3 - c) + 61 * number + x * y / 7) % 256;
    RgbImage::from_fn(w, h, |x, y| [0, 1, 2].map(|c| level(x, y, c) as u8))
}

fn of_pictures(
    predictor: &Predictor,
    pictures: &[RgbImage],
    recipe: &Recipe,
    input: Input,
) -> Result<Sample, ExportError> {
    let mut probabilities = Vec::new();
    for picture in pictures {
        probabilities.extend(predictor.of_picture(picture)?);
    }
    let ([h, w], depth) = (recipe.size, recipe.depth());
    let (input, sizes) = match input {
        Input::Pixels => (Values::U8(pictures.iter().flat_map(|picture| picture.data.clone()).collect()), [h, w, 3]),
        _ => {
            let mut prepared = vec![0.0; PICTURES * recipe.input_len()];
            for (values, picture) in prepared.chunks_exact_mut(recipe.input_len()).zip(pictures) {
                recipe.apply(picture, Layout::Chw, values);
            }
            (Values::F32(prepared), [depth, h, w])
        }
    };
    Ok(Sample { input, shape: [&[PICTURES][..], &sizes].concat(), probabilities })
}

/// The sample for a file without a network.
fn of_features(saved: &Saved) -> Result<Sample, ExportError> {
    let width = saved.width();
    let value = |i: usize| ((i * 2_654_435_761) >> 7 & 0xff) as f32 / 128.0;
    let rows: Vec<f32> = (0..PICTURES * width).map(value).collect();
    let mut probabilities = Vec::new();
    for row in rows.chunks_exact(width) {
        probabilities.extend(saved.probabilities(row.to_vec())?);
    }
    Ok(Sample { input: Values::F32(rows), shape: vec![PICTURES, width], probabilities })
}
