//! Fitted models on disk: named tensors in safetensors, readable from every language.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{IoError, atomic};

/// A tensor to write.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

/// Tensors read back; single precision is kept apart, so that what was written comes back bit for bit.
#[derive(Debug, Default)]
pub struct Tensors {
    path: std::path::PathBuf,
    f32s: BTreeMap<String, Vec<f32>>,
    f64s: BTreeMap<String, Vec<f64>>,
    shapes: BTreeMap<String, Vec<usize>>,
}

/// Writes tensors with their shapes, in the order given.
pub fn write(path: &Path, tensors: &[(String, Vec<usize>, Values)]) -> Result<(), IoError> {
    let wrong = |reason: String| IoError::WriteTable { path: path.to_path_buf(), reason };
    let bytes: Vec<(&String, Dtype, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, shape, values)| match values {
            Values::F32(values) => (name, Dtype::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Values::F64(values) => (name, Dtype::F64, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        })
        .collect();
    let mut views = Vec::with_capacity(bytes.len());
    for (name, dtype, shape, data) in &bytes {
        let view = TensorView::new(*dtype, shape.to_vec(), data).map_err(|error| wrong(format!("{name}: {error}")))?;
        views.push((name.as_str(), view));
    }
    let file = safetensors::serialize(views, None).map_err(|error| wrong(error.to_string()))?;
    atomic::write(path, |out| out.write_all(&file).map_err(IoError::write(path)))
}

impl Tensors {
    /// Reads every f32 and f64 tensor of a file.
    pub fn read(path: &Path) -> Result<Self, IoError> {
        let bytes = std::fs::read(path).map_err(IoError::read(path))?;
        let wrong = |reason: String| IoError::Table { path: path.to_path_buf(), reason };
        let file = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
        let mut all = Tensors { path: path.to_path_buf(), ..Self::default() };
        for (name, view) in file.iter() {
            let data = view.data();
            match view.dtype() {
                Dtype::F32 => {
                    let values =
                        data.chunks_exact(4).map(|b| f32::from_le_bytes(std::array::from_fn(|i| b[i]))).collect();
                    all.f32s.insert(name.to_string(), values);
                }
                Dtype::F64 => {
                    let values =
                        data.chunks_exact(8).map(|b| f64::from_le_bytes(std::array::from_fn(|i| b[i]))).collect();
                    all.f64s.insert(name.to_string(), values);
                }
                other => return Err(wrong(format!("tensor `{name}` is of type {other:?}"))),
            }
            all.shapes.insert(name.to_string(), view.shape().to_vec());
        }
        Ok(all)
    }

    /// Takes an f32 tensor.
    pub fn f32s(&mut self, name: &str) -> Result<Vec<f32>, IoError> {
        self.f32s.remove(name).ok_or_else(|| self.missing(name))
    }

    /// Takes an f64 tensor.
    pub fn f64s(&mut self, name: &str) -> Result<Vec<f64>, IoError> {
        self.f64s.remove(name).ok_or_else(|| self.missing(name))
    }

    /// Takes an f64 tensor of one value.
    pub fn f64(&mut self, name: &str) -> Result<f64, IoError> {
        let values = self.f64s(name)?;
        values.first().copied().ok_or_else(|| self.missing(name))
    }

    /// Shape of a tensor, if it is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.shapes.get(name).map(Vec::as_slice)
    }

    fn missing(&self, name: &str) -> IoError {
        IoError::Table { path: self.path.clone(), reason: format!("it has no tensor `{name}`") }
    }
}
