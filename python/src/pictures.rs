//! Pictures in the forms that Python passes (paths, bytes of files, pixels), and their results.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use featurize::pictures::source::{Bytes, Entry, open_named, open_place, requests, too_large};
use featurize::pictures::{Failure, Opened, Order, Source, Stream, StreamError};
use featurize::progress::{Interrupted, Style};
use featurize::stages::scan::{Members, NamedFile};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyByteArray;

use crate::work::interruptible;

/// A picture from Python. PyO3 tries the variants in this order.
#[derive(Debug, FromPyObject)]
pub(crate) enum Input {
    /// The bytes of a picture file, whatever its format.
    Bytes(PyBackedBytes),
    /// RGB pixels, row by row, with width and height.
    Pixels(PyBackedBytes, u32, u32),
    /// The name of a file, or a URL.
    Path(PathBuf),
}

/// The pictures of one call.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    pictures: &'a [Input],
    /// The pictures that are in archives, by their indices.
    members: HashMap<usize, NamedFile>,
}

impl<'a> Inputs<'a> {
    /// Lists the archives in the paths of the pictures.
    pub(crate) fn new(pictures: &'a [Input]) -> Result<Self, Interrupted> {
        let (mut archives, mut members) = (Members::default(), HashMap::new());
        for (number, picture) in pictures.iter().enumerate() {
            if let Input::Path(path) = picture
                && let Some(member) = archives.one(path)?
            {
                members.insert(number, member);
            }
        }
        Ok(Self { pictures, members })
    }
}

impl Source for Inputs<'_> {
    fn entry(&self, _: usize) -> Entry<'_> {
        // errors refer to the index of the picture
        Entry { key: "", size: None, version: 0 }
    }

    fn open_until(&self, number: usize, most: u64, stop: &Arc<AtomicBool>) -> Result<Opened<'_>, Failure> {
        if let Some(member) = self.members.get(&number) {
            return open_named(member, most, stop);
        }
        let bytes = match &self.pictures[number] {
            Input::Path(path) => return open_place(path, most, stop),
            Input::Bytes(bytes) => bytes.deref().into(),
            // pixels are written as PPM, so that they are processed like files
            Input::Pixels(pixels, width, height) => {
                [format!("P6\n{width} {height}\n255\n").as_bytes(), pixels].concat().into()
            }
        };
        let bytes: std::borrow::Cow<[u8]> = bytes;
        let length = bytes.len() as u64;
        too_large(length, most)?;
        Ok(Opened { length, bytes: Bytes::Held(bytes) })
    }

    fn requests(&self) -> usize {
        requests(self.pictures.iter().filter_map(|input| match input {
            Input::Path(path) => Some(path.as_path()),
            _ => None,
        }))
    }
}

/// Values of pictures, in the order of the input; see `Rows` in `_featurize.pyi`.
#[pyclass(frozen, module = "featurize._featurize")]
#[derive(Debug)]
pub(crate) struct Rows {
    #[pyo3(get)]
    values: Py<PyByteArray>,
    #[pyo3(get)]
    width: usize,
    #[pyo3(get)]
    kinds: Vec<Option<&'static str>>,
    #[pyo3(get)]
    reasons: Vec<Option<String>>,
    #[pyo3(get)]
    sizes: Vec<Option<(u64, u64)>>,
}

/// Collects the results of a stream.
#[derive(Debug)]
pub(crate) struct Gathered {
    width: usize,
    values: Vec<f32>,
    kinds: Vec<Option<&'static str>>,
    reasons: Vec<Option<String>>,
    sizes: Vec<Option<(u64, u64)>>,
}

impl Gathered {
    /// Streams `pictures` through `work`, which calls `put` with the result of each, `width` values; Ctrl-C ends it.
    pub(crate) fn of(
        py: Python<'_>,
        pictures: &[Input],
        width: usize,
        threads: usize,
        work: impl FnOnce(&Stream, &mut Self) -> Result<(), StreamError> + Send,
    ) -> PyResult<Rows> {
        let n = pictures.len();
        let gathered = interruptible(py, Style::Quiet, |ui| {
            let (source, wanted) = (Inputs::new(pictures)?, (0..n).collect::<Vec<_>>());
            let (values, kinds, reasons, sizes) = (vec![0.0; n * width], vec![None; n], vec![None; n], vec![None; n]);
            let mut gathered = Self { width, values, kinds, reasons, sizes };
            let stream = Stream { source: &source, wanted: &wanted, threads, order: Order::Any, ui };
            work(&stream, &mut gathered).map(|()| gathered)
        })?;
        gathered.into_rows(py)
    }

    /// Stores the result of picture `number`.
    pub(crate) fn put(&mut self, number: usize, size: Option<(u64, u64)>, result: Result<Vec<f32>, Failure>) {
        match result {
            Ok(values) => {
                self.values[number * self.width..][..self.width].copy_from_slice(&values);
                self.sizes[number] = size;
            }
            Err(Failure { kind, reason }) => (self.kinds[number], self.reasons[number]) = (Some(kind), Some(reason)),
        }
    }

    /// Returns the results to Python; the values are copied once.
    fn into_rows(self, py: Python<'_>) -> PyResult<Rows> {
        let Self { width, values, kinds, reasons, sizes } = self;
        let bytes = PyByteArray::new_with(py, values.len() * size_of::<f32>(), |bytes| {
            for (four, value) in bytes.chunks_exact_mut(4).zip(&values) {
                four.copy_from_slice(&value.to_ne_bytes());
            }
            Ok(())
        })?;
        Ok(Rows { values: bytes.unbind(), width, kinds, reasons, sizes })
    }
}
