//! `Extractor`: a network that stays in memory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use featurize::config;
use featurize::exec::Device;
use featurize::extractor::Extractor as Core;
use featurize::pictures::source::archive::Form;
use featurize::pictures::stream::Through;
use featurize::pictures::{DecodeMemory, Done, Made, StreamError, Way};
use featurize::plan::Plan;
use featurize::progress::{Style, Ui, shown_in};
use featurize::stage::Options;
use featurize::stages::extract;
use featurize::stages::scan::Members;
use featurize::weights::store::Store;
use pyo3::prelude::*;

use crate::errors::exception;
use crate::pictures::{Gathered, Input, Rows};
use crate::work::interruptible;

/// A network and the layer for the features; see the package's `Extractor`.
#[pyclass(frozen, module = "featurize._featurize")]
#[derive(Debug)]
pub(crate) struct Extractor {
    plan: Plan,
    core: Core,
    way: Way,
    memory: DecodeMemory,
    device: String,
}

/// Plans the pipeline `text`, with published weights from the store.
pub(crate) fn plan(
    text: &str,
    file: &Path,
    sets: &[String],
    out: Option<&Path>,
    store: &StoreOptions,
    ui: &Ui,
) -> Result<Plan, featurize::Error> {
    let pipeline = config::parse(text, file, sets).map_err(Box::new)?;
    let fetch = &mut |wanted: &_| Store::open(store.folder.as_deref(), store.offline)?.get(wanted, &mut shown_in(ui));
    Ok(Plan::new(pipeline, out, fetch)?)
}

/// The folder of weights, and whether they may be downloaded.
#[derive(Debug)]
pub(crate) struct StoreOptions {
    pub(crate) folder: Option<PathBuf>,
    pub(crate) offline: bool,
}

impl Extractor {
    fn open(text: &str, file: &Path, sets: &[String], store: &StoreOptions, ui: &Ui) -> Result<Self, featurize::Error> {
        let plan = plan(text, file, sets, None, store, ui)?;
        let device = Device::open(plan.pipeline.runtime.device)?;
        extract::find_ranges(&plan, &Options::default())?;
        let core = Core::open(&plan.backbone, &device)?;
        let way = Way::of(&device, plan.pipeline.batch_size());
        let memory = DecodeMemory::new(plan.pipeline.decode_memory());
        Ok(Self { core, way, memory, device: device.name().to_string(), plan })
    }
}

#[pymethods]
impl Extractor {
    #[new]
    #[pyo3(signature = (text, file, sets, weights_dir = None, offline = false))]
    fn new(
        py: Python<'_>,
        text: &str,
        file: PathBuf,
        sets: Vec<String>,
        weights_dir: Option<PathBuf>,
        offline: bool,
    ) -> PyResult<Self> {
        let store = StoreOptions { folder: weights_dir, offline };
        interruptible(py, Style::Quiet, |ui| Self::open(text, &file, &sets, &store, ui))
    }

    #[getter]
    fn model(&self) -> &str {
        &self.plan.backbone.name
    }

    #[getter]
    fn layer(&self) -> String {
        self.plan.backbone.layers()
    }

    #[getter]
    fn device(&self) -> &str {
        &self.device
    }

    #[getter]
    fn width(&self) -> usize {
        self.plan.width()
    }

    #[getter]
    fn shape(&self) -> Vec<usize> {
        self.plan.backbone.shape().dims()
    }

    #[getter]
    fn columns(&self) -> Vec<String> {
        self.plan.columns()
    }

    #[getter]
    fn metadata(&self) -> Vec<(String, String)> {
        self.plan.metadata()
    }

    /// Computes the features of `pictures`, in their order.
    fn compute(&self, py: Python<'_>, pictures: Vec<Input>) -> PyResult<Rows> {
        let through = Through { extractor: &self.core, way: self.way, memory: &self.memory, strict: false };
        Gathered::of(py, &pictures, self.plan.width(), self.plan.pipeline.threads(), |stream, gathered| {
            let take = |Done { number, result, .. }: Done<(), Vec<f32>>| {
                let size = result.as_ref().ok().map(|Made { width, height, .. }| (*width, *height));
                gathered.put(number, size, result.map(|made| made.value));
                Ok::<_, StreamError>(())
            };
            stream.features(through, |_| (), |_, features| Ok(features), take).1
        })
    }
}

/// Whether `path` is a folder, an archive or a table of pictures, and not a picture itself.
#[pyfunction]
pub(crate) fn holds_pictures(path: PathBuf) -> bool {
    path.is_dir() || Form::of(&path).is_some() && path.is_file()
}

/// The paths of all pictures below a folder or in an archive, sorted.
#[pyfunction]
pub(crate) fn pictures(py: Python<'_>, folder: PathBuf) -> PyResult<Vec<OsString>> {
    let found = py.detach(|| featurize::stages::scan::named(&folder, &mut Members::default()));
    let found = found.map_err(|error| exception(py, error))?;
    Ok(found.into_iter().filter_map(|picture| picture.location.ok()).map(PathBuf::into_os_string).collect())
}
