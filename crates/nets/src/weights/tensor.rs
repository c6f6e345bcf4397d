//! A tensor of a weight file: its shape is known when the file is opened, its values are read on demand, so that the
//! file is never in memory as a whole.

use std::fmt;
use std::sync::Arc;

use super::WeightError;

/// Reads the values of a tensor, row-major.
type Read = dyn Fn() -> Result<Vec<f32>, WeightError> + Send + Sync;

/// A tensor in f32; cheap to clone.
#[derive(Clone)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
    /// The number of changes that are computed each time its values are read.
    changes: usize,
}

#[derive(Clone)]
enum Data {
    Ready(Arc<Vec<f32>>),
    Later(Arc<Read>),
}

impl Tensor {
    /// Makes a tensor of values in memory.
    pub fn ready(shape: Vec<usize>, values: Vec<f32>) -> Self {
        Self { shape, data: Data::Ready(Arc::new(values)), changes: 0 }
    }

    /// Makes a tensor whose values `read` returns, row-major, as many as `shape` says.
    pub fn later(shape: Vec<usize>, read: impl Fn() -> Result<Vec<f32>, WeightError> + Send + Sync + 'static) -> Self {
        Self { shape, data: Data::Later(Arc::new(read)), changes: 0 }
    }

    /// Its sizes; empty for a single value.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its values, row-major.
    pub fn values(&self) -> Result<Vec<f32>, WeightError> {
        match &self.data {
            Data::Ready(values) => Ok(values.to_vec()),
            Data::Later(read) => read(),
        }
    }

    /// Whether its values are in memory.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.data, Data::Ready(_))
    }

    /// Makes a tensor of `shape`; `change` computes its values from those of this one on demand.
    pub fn map(&self, shape: Vec<usize>, change: impl Fn(Vec<f32>) -> Vec<f32> + Send + Sync + 'static) -> Self {
        let (source, changes) = (self.clone(), self.changes.saturating_add(1));
        Self { changes, ..Self::later(shape, move || Ok(change(source.values()?))) }
    }

    /// Makes a tensor of `shape`; `change` computes its values from those of several on demand.
    pub(crate) fn joined(
        tensors: Vec<Self>,
        shape: Vec<usize>,
        change: impl Fn(Vec<Vec<f32>>) -> Vec<f32> + Send + Sync + 'static,
    ) -> Self {
        let changes = tensors.iter().fold(1usize, |all, tensor| all.saturating_add(tensor.changes));
        let values = move || tensors.iter().map(Self::values).collect::<Result<Vec<_>, _>>().map(&change);
        Self { changes, ..Self::later(shape, values) }
    }

    /// The number of changes that are computed each time its values are read; those of a tensor that is read twice
    /// count twice. It bounds the depth of the recursion.
    pub(crate) fn changes(&self) -> usize {
        self.changes
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor{:?}", self.shape)
    }
}
