//! From features to probabilities: selection, scale, projection and classifier as nodes of an ONNX file.

use super::ExportError;
use crate::learn::classifier::Classifier;
use crate::learn::knn::{Knn, Metric, Weighting};
use crate::learn::mlp::{Activation, Mlp};
use crate::learn::reduction::{Projection, Reduction};
use crate::learn::scale::{Scaler, StandardScaler};
use crate::onnx::{Attribute, Writer};
use crate::pictures::predictor::Fitted;

/// Most values of the train table of nearest neighbours: 256 MB in the file, and read for every picture.
const TABLE: usize = 64 << 20;
/// Below this length a row counts as zeros, as in [`Scaler::L2`].
const NO_LENGTH: f32 = 10.0 * f64::EPSILON as f32;

/// Writes what a run has fitted on the features `x` (n, columns); the last node gives `probabilities`.
pub(super) fn write(writer: &mut Writer, fitted: &Fitted, x: &str) -> Result<(), ExportError> {
    let mut x = x.to_string();
    if let Some(kept) = &fitted.kept {
        let columns: Vec<i64> = kept.iter().map(|&column| column as i64).collect();
        let columns = writer.ints(&columns);
        x = writer.op("Gather", &[&x, &columns], &[("axis", Attribute::Int(1))]);
    }
    if let Some(reduction) = &fitted.reduction {
        x = reduce(writer, reduction, &x);
    }
    match &fitted.classifier {
        Classifier::Layers(mlp) => layers(writer, mlp, &x),
        Classifier::Neighbours(knn) => neighbours(writer, knn, &x)?,
    }
    Ok(())
}

/// A row of constants, rounded to f32.
fn row(writer: &mut Writer, values: impl Iterator<Item = f64>) -> String {
    let values: Vec<f32> = values.map(|value| value as f32).collect();
    writer.floats(&[values.len()], &values)
}

fn reduce(writer: &mut Writer, reduction: &Reduction, x: &str) -> String {
    let mut x = x.to_string();
    match &reduction.scaler {
        Some(Scaler::Standard(StandardScaler { mean, scale })) => {
            let (mean, scale) = (row(writer, mean.iter().copied()), row(writer, scale.iter().copied()));
            let centred = writer.op("Sub", &[&x, &mean], &[]);
            x = writer.op("Div", &[&centred, &scale], &[]);
        }
        Some(Scaler::L2(_)) => x = unit(writer, &x),
        None => {}
    }
    let (components, factors) = match &reduction.projection {
        Some(Projection::Pca(pca)) => {
            let mean = row(writer, pca.mean.iter().copied());
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
            let factors = row(writer, factors.into_iter());
            writer.op("Mul", &[&x, &factors], &[])
        }
        None => x,
    }
}

/// Rows of length 1; a row of zeros stays as it is.
fn unit(writer: &mut Writer, x: &str) -> String {
    let length = writer.op("ReduceL2", &[x], &[("axes", Attribute::Ints(&[1]))]);
    let (least, one) = (writer.floats(&[], &[NO_LENGTH]), writer.floats(&[], &[1.0]));
    let none = writer.op("Less", &[&length, &least], &[]);
    let length = writer.op("Where", &[&none, &one, &length], &[]);
    writer.op("Div", &[x, &length], &[])
}

fn layers(writer: &mut Writer, mlp: &Mlp, x: &str) {
    let mut x = x.to_string();
    for (at, layer) in mlp.layers.iter().enumerate() {
        let last = at + 1 == mlp.layers.len();
        // of two classes the only output is the logit of the second; that of the first is 0
        let (weights, bias, outputs) = match (last && mlp.classes == 2, &layer.weights, &layer.bias) {
            (true, weights, bias) => (with_zeros(weights), with_zeros(bias), 2),
            (false, weights, bias) => (weights.clone(), bias.clone(), layer.outputs),
        };
        let (weights, bias) = (writer.floats(&[layer.inputs, outputs], &weights), writer.floats(&[outputs], &bias));
        x = writer.op("Gemm", &[&x, &weights, &bias], &[]);
        if !last {
            x = match mlp.activation {
                Activation::Identity => x,
                Activation::Logistic => writer.op("Sigmoid", &[&x], &[]),
                Activation::Tanh => writer.op("Tanh", &[&x], &[]),
                Activation::Relu => writer.op("Relu", &[&x], &[]),
            };
        }
    }
    writer.named("Softmax", &[&x], &[("axis", Attribute::Int(1))], "probabilities");
}

/// A zero before each value.
fn with_zeros(values: &[f32]) -> Vec<f32> {
    values.iter().flat_map(|&value| [0.0, value]).collect()
}

/// The nearest rows are found by products; their distances are computed anew, since products lose the small ones.
fn neighbours(writer: &mut Writer, knn: &Knn, x: &str) -> Result<(), ExportError> {
    let (rows, columns, k) = (knn.x.rows(), knn.x.cols(), knn.params.k);
    if rows * columns > TABLE {
        return Err(ExportError::Neighbours { rows, columns });
    }
    let cosine = knn.params.metric == Metric::Cosine;
    let table: Vec<f32> =
        knn.x.iter_rows().flat_map(|row| if cosine { direction(row) } else { row.to_vec() }).collect();
    let squares: Vec<f32> =
        table.chunks_exact(columns).map(|row| -0.5 * row.iter().map(|v| v * v).sum::<f32>()).collect();
    let x = if cosine { unit(writer, x) } else { x.to_string() };
    let (table, squares) = (writer.floats(&[rows, columns], &table), writer.floats(&[rows], &squares));
    // x · row − |row|² / 2 is largest for the nearest row
    let near = writer.op("Gemm", &[&x, &table, &squares], &[("transB", Attribute::Int(1))]);
    let count = writer.ints(&[k as i64]);
    let nearest = writer.second("TopK", &[&near, &count], &[("axis", Attribute::Int(1))]);
    let classes: Vec<i64> = knn.y.iter().map(|&class| class as i64).collect();
    let classes = writer.ints(&classes);
    let classes = writer.op("Gather", &[&classes, &nearest], &[]);
    let (depth, ends) = (writer.ints(&[knn.classes as i64]), writer.floats(&[2], &[0.0, 1.0]));
    let votes = writer.op("OneHot", &[&classes, &depth, &ends], &[]); // (n, k, classes)
    let votes = match knn.params.weights {
        Weighting::Uniform => votes,
        Weighting::Distance => {
            let found = writer.op("Gather", &[&table, &nearest], &[]); // (n, k, columns)
            let axis = writer.ints(&[1]);
            let query = writer.op("Unsqueeze", &[&x, &axis], &[]);
            let apart = writer.op("Sub", &[&found, &query], &[]);
            let mut distance = writer.op("ReduceSumSquare", &[&apart], &[("axes", Attribute::Ints(&[2]))]);
            if !cosine {
                distance = writer.op("Sqrt", &[&distance], &[]);
            }
            // a row at distance 0 decides alone
            let least = writer.floats(&[], &[1e-12]);
            let distance = writer.op("Max", &[&distance, &least], &[]);
            writer.op("Div", &[&votes, &distance], &[])
        }
    };
    let axes = writer.ints(&[1]);
    let sums = writer.op("ReduceSum", &[&votes, &axes], &[("keepdims", Attribute::Int(0))]);
    let all = writer.op("ReduceSum", &[&sums, &axes], &[]);
    writer.named("Div", &[&sums, &all], &[], "probabilities");
    Ok(())
}

/// A row of length 1; a row of zeros stays as it is.
fn direction(row: &[f32]) -> Vec<f32> {
    let length = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let length = if length == 0.0 { 1.0 } else { length };
    row.iter().map(|&v| (f64::from(v) / length) as f32).collect()
}
