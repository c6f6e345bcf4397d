//! Heat maps of where a classifier looked: the contribution of each part of a picture to the score of a class.
//!
//! If the features are means over a feature map, the heat map is a class activation map (Zhou et al., "Learning deep
//! features for discriminative localization", 2016): the score is a sum over the positions of the map, each of which
//! contributes a part. The parts are exact for a linear chain of selection, scale, components and logistic regression;
//! for a perceptron they follow its gradient at the picture (Grad-CAM, Selvaraju et al., 2017). For everything else,
//! parts of the picture are hidden in turn, and the decrease of the score is the contribution of the part (Zeiler and
//! Fergus, 2014).

use super::fitted::failed;
use super::{Failure, Fitted, Head, Predictor};
use crate::exec::{self, Features, Session};
use crate::extractor::Extractor;
use crate::image::{Layout, RgbImage};
use crate::models::Shape;
use crate::plot::Heat;

/// Hidden parts along each side of the picture.
const GRID: usize = 8;
/// Hidden parts of a picture.
pub const PARTS: usize = GRID * GRID;

/// The method of making a heat map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// From the feature map of which the features are the means; as fast as a prediction.
    Activation,
    /// By hiding parts of the picture; each part takes as long as a prediction.
    Occlusion,
}

impl Predictor {
    /// The method for this predictor; none for a network's own classifier.
    pub fn method(&self) -> Option<Method> {
        let Head::Fitted(fitted) = &self.head else { return None };
        Some(match self.extractor.taps() {
            (Features::Avg, [tap]) if fitted.has_slope() && matches!(tap.map, Shape::Map { .. }) => Method::Activation,
            _ => Method::Occlusion,
        })
    }

    /// The picture as the network sees it, and the contribution of each of its parts to the score of `class`.
    pub fn explain(&self, picture: &RgbImage, class: usize) -> Result<Option<(RgbImage, Heat)>, Failure> {
        let (Head::Fitted(fitted), Some(method)) = (&self.head, self.method()) else { return Ok(None) };
        let mut input = vec![0.0; self.extractor.input_len()];
        self.extractor.prepare(picture, &mut input);
        let heat = match method {
            Method::Activation => activation(&self.extractor, fitted, &input, class),
            Method::Occlusion => occlusion(&self.extractor, fitted, &input, class),
        }?;
        Ok(Some((self.extractor.recipe().prepare(picture), heat)))
    }
}

fn activation(extractor: &Extractor, fitted: &Fitted, input: &[f32], class: usize) -> Result<Heat, Failure> {
    let maps = extractor.maps(&mut extractor.session(), input).map_err(|error| failed(&error))?;
    let mut heat = Heat::default();
    for (tap, map) in extractor.taps().1.iter().zip(&maps) {
        let Shape::Map { c, h, w } = tap.map else { continue };
        let mut features = vec![0.0; c];
        exec::pool(Features::Avg, tap.map, map, &mut features);
        let slope = fitted.slope(features, class)?.unwrap_or_default();
        let share = |position: &[f32]| -> f64 {
            position.iter().zip(&slope).map(|(&value, slope)| f64::from(value) * slope).sum::<f64>() / (h * w) as f64
        };
        heat = Heat { rows: h, cols: w, values: map.chunks_exact(c.max(1)).map(|p| share(p) as f32).collect() };
    }
    Ok(heat)
}

fn occlusion(extractor: &Extractor, fitted: &Fitted, input: &[f32], class: usize) -> Result<Heat, Failure> {
    let [height, width] = extractor.recipe().size;
    let (rows, cols) = (GRID.min(height), GRID.min(width));
    let mut session = extractor.session();
    let score = |session: &mut Session, input: &[f32]| -> Result<f64, Failure> {
        let features = extractor.forward(session, input, 1).map_err(|error| failed(&error))?.remove(0);
        fitted.score(features, class)
    };
    let whole = score(&mut session, input)?;
    let mut values = Vec::with_capacity(rows * cols);
    for row in 0..rows {
        for col in 0..cols {
            let [top, bottom] = [row, row + 1].map(|at| at * height / rows);
            let [left, right] = [col, col + 1].map(|at| at * width / cols);
            let mut hidden = input.to_vec();
            hide(&mut hidden, extractor, [top, bottom, left, right]);
            values.push((whole - score(&mut session, &hidden)?) as f32);
        }
    }
    Ok(Heat { rows, cols, values })
}

/// Fills a window of a prepared picture with the mean of the picture. The edges of the window are counted from the top
/// and from the left.
fn hide(input: &mut [f32], extractor: &Extractor, [top, bottom, left, right]: [usize; 4]) {
    let [height, width] = extractor.recipe().size;
    let depth = extractor.recipe().depth();
    let place = |channel: usize, y: usize, x: usize| match extractor.layout() {
        Layout::Hwc => (y * width + x) * depth + channel,
        Layout::Chw => (channel * height + y) * width + x,
    };
    for channel in 0..depth {
        let all = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
        let sum: f64 = all.map(|(y, x)| f64::from(input[place(channel, y, x)])).sum();
        let mean = (sum / (height * width) as f64) as f32;
        (top..bottom).for_each(|y| (left..right).for_each(|x| input[place(channel, y, x)] = mean));
    }
}
