//! Writes the steps from features to probabilities as nodes of an ONNX file: selection, scale, projection, classifier
//! and temperature.

use super::ExportError;
use crate::learn::classifier::Classifier;
use crate::learn::knn::{Knn, Metric, Weighting};
use crate::learn::mlp::{Activation, Mlp};
use crate::learn::reduction::{Projection, Reduction};
use crate::learn::scale::{Scaler, StandardScaler};
use crate::learn::temperature::{EPSILON, Temperature};
use crate::onnx::{Attribute, Writer};
use crate::pictures::predictor::Fitted;

/// The name of the output.
pub(super) const PROBABILITIES: &str = "probabilities";
/// The name of the value whose softmax is the uncalibrated probabilities.
const SCORES: &str = "scores";
/// The most values in the train table of nearest neighbours: 256 MB in the file, all read for every picture.
const TABLE: usize = 64 << 20;
/// A train row at most this far away is the only one that votes.
const NO_DISTANCE: f32 = 1e-12;
/// Attributes of an operator along the columns.
const COLUMNS: [(&str, Attribute); 1] = [("axis", Attribute::Int(1))];

/// Writes the fitted steps of a run, with the features `x` (n, columns) as input. Returns the name of the class scores,
/// if the classifier has any.
pub(super) fn write(writer: &mut Writer, fitted: &Fitted, x: &str) -> Result<Option<&'static str>, ExportError> {
    let mut x = x.to_string();
    if let Some(kept) = &fitted.kept {
        let columns: Vec<i64> = kept.iter().map(|&column| column as i64).collect();
        let columns = writer.ints(&columns);
        x = writer.op("Gather", &[&x, &columns], &COLUMNS);
    }
    if let Some(reduction) = &fitted.reduction {
        x = reduce(writer, reduction, &x);
    }
    let scores = match &fitted.classifier {
        Classifier::Layers(mlp) => {
            layers(writer, mlp, &x);
            x = writer.op("Softmax", &[SCORES], &COLUMNS);
            Some(SCORES)
        }
        Classifier::Neighbours(knn) => {
            x = neighbours(writer, knn, &x)?;
            None
        }
    };
    match fitted.temperature {
        Some(temperature) => calibrate(writer, temperature, &x),
        None => writer.named("Identity", &[&x], &[], PROBABILITIES),
    }
    Ok(scores)
}

/// Writes softmax(ln(p) / T).
fn calibrate(writer: &mut Writer, temperature: Temperature, x: &str) {
    let (epsilon, temperature) = (writer.float(EPSILON as f32), writer.float(temperature.value() as f32));
    let more = writer.op("Add", &[x, &epsilon], &[]);
    let logarithm = writer.op("Log", &[&more], &[]);
    let scores = writer.op("Div", &[&logarithm, &temperature], &[]);
    writer.named("Softmax", &[&scores], &COLUMNS, PROBABILITIES);
}

/// Adds a constant row of numbers.
fn row(writer: &mut Writer, values: &[f64]) -> String {
    let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    writer.floats(&[values.len()], &values)
}

fn reduce(writer: &mut Writer, reduction: &Reduction, x: &str) -> String {
    let mut x = x.to_string();
    match &reduction.scaler {
        Some(Scaler::Standard(StandardScaler { mean, scale })) => {
            let [mean, scale] = [mean, scale].map(|values| row(writer, values));
            let centred = writer.op("Sub", &[&x, &mean], &[]);
            x = writer.op("Div", &[&centred, &scale], &[]);
        }
        Some(Scaler::L2(_)) => x = unit(writer, &x),
        None => {}
    }
    let (components, factors) = match &reduction.projection {
        Some(Projection::Pca(pca)) => {
            let mean = row(writer, &pca.mean);
            x = writer.op("Sub", &[&x, &mean], &[]);
            (&pca.components, pca.whitening())
        }
        Some(Projection::Svd(svd)) => (&svd.components, None),
        None => return x,
    };
    let components = writer.floats(&[components.len() / reduction.columns.max(1), reduction.columns], components);
    x = writer.op("Gemm", &[&x, &components], &[("transB", Attribute::Int(1))]);
    match factors {
        Some(factors) => {
            let factors = row(writer, &factors);
            writer.op("Mul", &[&x, &factors], &[])
        }
        None => x,
    }
}

/// Scales rows to length 1; a row of zeros is not changed.
fn unit(writer: &mut Writer, x: &str) -> String {
    writer.op("LpNormalization", &[x], &COLUMNS)
}

/// Writes the layers; the last one outputs the scores of the classes.
fn layers(writer: &mut Writer, mlp: &Mlp, x: &str) {
    let mut x = x.to_string();
    for (at, layer) in mlp.layers.iter().enumerate() {
        let last = at + 1 == mlp.layers.len();
        // for two classes, the only output is the score of the second class, and the score of the first one is 0
        let with_zeros = |values: &[f32]| -> Vec<f32> { values.iter().flat_map(|&value| [0.0, value]).collect() };
        let (weights, bias) = match last && mlp.classes == 2 {
            true => (with_zeros(&layer.weights), with_zeros(&layer.bias)),
            false => (layer.weights.clone(), layer.bias.clone()),
        };
        let (weights, bias) =
            (writer.floats(&[layer.inputs, bias.len()], &weights), writer.floats(&[bias.len()], &bias));
        if last {
            return writer.named("Gemm", &[&x, &weights, &bias], &[], SCORES);
        }
        x = writer.op("Gemm", &[&x, &weights, &bias], &[]);
        x = match mlp.activation {
            Activation::Identity => x,
            Activation::Logistic => writer.op("Sigmoid", &[&x], &[]),
            Activation::Tanh => writer.op("Tanh", &[&x], &[]),
            Activation::Relu => writer.op("Relu", &[&x], &[]),
        };
    }
}

/// Writes the votes of the nearest rows and returns the share of each class. Matrix products find these rows; their
/// distances are computed again as differences, since products are inexact for small distances.
fn neighbours(writer: &mut Writer, knn: &Knn, x: &str) -> Result<String, ExportError> {
    let (rows, columns, k) = (knn.x.rows(), knn.x.cols(), knn.params.k);
    if rows.saturating_mul(columns) > TABLE {
        return Err(ExportError::Neighbours { rows, columns });
    }
    let is_cosine = knn.params.metric == Metric::Cosine;
    let (table, x) = match is_cosine {
        true => (knn.x.iter_rows().flat_map(direction).collect(), unit(writer, x)),
        false => (knn.x.as_slice().to_vec(), x.to_string()),
    };
    // the nearest row has the largest x · row − |row|² / 2, or the largest cosine
    let half = |row: &[f32]| -0.5 * row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
    let halves: Vec<f64> = table.chunks_exact(columns).map(|row| if is_cosine { 0.0 } else { half(row) }).collect();
    let (halves, table) = (row(writer, &halves), writer.floats(&[rows, columns], &table));
    let near = writer.op("Gemm", &[&x, &table, &halves], &[("transB", Attribute::Int(1))]);
    let count = writer.ints(&[k as i64]);
    let nearest = writer.second("TopK", &[&near, &count], &COLUMNS);
    let classes: Vec<i64> = knn.y.iter().map(|&class| class as i64).collect();
    let classes = writer.ints(&classes);
    let classes = writer.op("Gather", &[&classes, &nearest], &[]);
    let (depth, ends) = (writer.ints(&[knn.classes as i64]), writer.floats(&[2], &[0.0, 1.0]));
    let mut votes = writer.op("OneHot", &[&classes, &depth, &ends], &[]); // (n, k, classes)
    let axis = writer.ints(&[1]);
    if knn.params.weights == Weighting::Distance {
        let found = writer.op("Gather", &[&table, &nearest], &[]); // (n, k, columns)
        let query = writer.op("Unsqueeze", &[&x, &axis], &[]);
        let apart = writer.op("Sub", &[&found, &query], &[]);
        let mut distance = writer.op("ReduceSumSquare", &[&apart], &[("axes", Attribute::Ints(&[2]))]);
        if !is_cosine {
            distance = writer.op("Sqrt", &[&distance], &[]);
        }
        let least = writer.float(NO_DISTANCE);
        let distance = writer.op("Max", &[&distance, &least], &[]);
        votes = writer.op("Div", &[&votes, &distance], &[]);
    }
    let sums = writer.op("ReduceSum", &[&votes, &axis], &[("keepdims", Attribute::Int(0))]);
    let all = writer.op("ReduceSum", &[&sums, &axis], &[]);
    Ok(writer.op("Div", &[&sums, &all], &[]))
}

/// Scales the row to length 1; a row of zeros is not changed.
fn direction(row: &[f32]) -> Vec<f32> {
    let length = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let length = if length == 0.0 { 1.0 } else { length };
    row.iter().map(|&v| (f64::from(v) / length) as f32).collect()
}
