//! Derives the plan of a run from the checked configuration: model, weights, recipe, layer, width, columns, folders,
//! stages.

mod network_card;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use thiserror::Error;

use crate::config::{self, Channels, ConfigError, Device, Features, Layout, Pipeline, Precision};
use crate::exec::{self, ExecError};
use crate::image::{ChannelOrder, Exif, Preset, Recipe, RecipeOverrides};
use crate::io::features;
pub(crate) use crate::models::unknown as unknown_model;
use crate::models::{self, ModelSpec, Source};
use crate::network_plan::{self, Asked, Chosen, Fetch, NetworkPlan, NetworkPlanError, Tap};
use crate::stage::StageId;
use crate::store::{CHARTS, Record, RunDir, fingerprint, is_own};
use crate::weights::WeightError;
use crate::weights::store::StoreError;
pub use network_card::NetworkCard;

/// The most bytes of features that a shard may have in memory.
const SHARD_BYTES: usize = 128 << 20;
/// The most multiply-accumulates of a shard, and so the most work that a killed run loses.
const SHARD_MACS: u64 = 1_500_000_000_000;
/// The least and the most rows of a shard, which take precedence over the two limits above.
const SHARD_ROWS: [usize; 2] = [256, 2048];

/// The most files of a listing that is kept in memory; each takes some 250 bytes.
const HELD: usize = 1 << 20;

/// Everything that the stages need to know about the run.
#[derive(Debug)]
pub struct Plan {
    pub pipeline: Pipeline,
    pub dir: RunDir,
    pub backbone: NetworkPlan,
    /// SHA-256 of the weights, or the seed of random weights.
    pub weights_id: String,
    pub stages: Vec<StageId>,
    /// The most files of a listing in memory; a larger listing stays in the store. Tests use fewer.
    pub held: usize,
}

/// The configuration cannot be planned.
#[derive(Debug, Error)]
pub enum PlanError {
    #[error(transparent)]
    Config(#[from] Box<ConfigError>),
    #[error(transparent)]
    Weights(#[from] WeightError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Plan {
    /// Plans everything that needs no pictures. `out` overrides the run's folder; `fetch` gets published weights.
    pub fn new(mut pipeline: Pipeline, out: Option<&Path>, fetch: &mut Fetch<'_>) -> Result<Self, PlanError> {
        let backbone = backbone(&pipeline, fetch)?;
        if backbone.source.is_some() {
            // weights with a name of the user's own determine the model
            pipeline.extract.model.clone_from(&backbone.name);
        }
        let weights_id = backbone.weights.fingerprint()?;
        let dir = out.map(PathBuf::from).or_else(|| pipeline.output.dir.clone());
        let dir = RunDir::new(dir.unwrap_or_else(|| Path::new("runs").join(&pipeline.name)));
        let stages = stages(&pipeline);
        check_paths(&pipeline, &dir)?;
        Ok(Self { pipeline, dir, backbone, weights_id, stages, held: HELD })
    }

    /// Number of features of one picture.
    pub fn width(&self) -> usize {
        self.backbone.width()
    }

    /// The most pictures in one feature table.
    pub fn shard_rows(&self) -> usize {
        if let Some(rows) = self.pipeline.extract.shard_rows {
            return rows;
        }
        let macs = self.backbone.macs();
        let by_cost = usize::try_from(SHARD_MACS / macs.max(1)).unwrap_or(usize::MAX);
        by_cost.clamp(SHARD_ROWS[0], SHARD_ROWS[1]).min(self.shard_room())
    }

    /// The most pictures whose features a shard may have in memory.
    pub fn shard_room(&self) -> usize {
        (SHARD_BYTES / (self.width() * 4).max(1)).max(1)
    }

    /// Hash of the settings for computing features and cutting tables.
    pub fn table_settings(&self) -> Result<String, serde_json::Error> {
        let settings = (self.network_settings(), self.pipeline.output.layout, self.shard_rows());
        fingerprint("tables", &settings, &[])
    }

    /// The name of each feature column: `<model>_<features>_<index>`, with the name of the layer if it is not the
    /// default one.
    pub fn columns(&self) -> Vec<String> {
        let (model, kind) = (&self.backbone.name, self.features_word());
        let named = !self.pipeline.extract.layers().is_empty();
        let column = |tap: &Tap| {
            let model = word(model);
            let stem = if named { format!("{model}_{}_{kind}", word(&tap.name)) } else { format!("{model}_{kind}") };
            let width = tap.shape.len();
            let digits = width.saturating_sub(1).to_string().len().max(4);
            (0..width).map(move |i| format!("{stem}_{i:0digits$}"))
        };
        self.backbone.taps.iter().flat_map(column).collect()
    }

    /// The word of `extract.features`.
    pub fn features_word(&self) -> &'static str {
        match self.backbone.features {
            Features::Pooled => "pooled",
            Features::Cls => "cls",
            Features::Avg => "avg",
            Features::Max => "max",
            Features::Flatten => "flatten",
            Features::Map => "map",
        }
    }

    /// Returns the settings that the features depend on, for the fingerprint.
    pub fn extract_settings(&self) -> Value {
        let mut settings = self.network_settings();
        if let Some(ranges) = self.backbone.ranges.get() {
            settings["ranges"] = json!(blake3::hash(&ranges.to_bytes()).to_hex().to_string());
        }
        settings
    }

    /// The settings that the features depend on, without the result of the calibration.
    pub fn network_settings(&self) -> Value {
        let mut settings = json!({
            "model": self.backbone.name,
            "source": self.backbone.source,
            "weights": self.weights_id,
            "layer": self.backbone.layers(),
            "features": self.backbone.features,
            "precision": self.pipeline.extract.precision,
            "dtype": self.pipeline.output.dtype,
            "recipe": self.backbone.recipe,
            "image": self.backbone.decoding,
        });
        // the hash of the file identifies the weights, if it contains only one network
        if !self.backbone.taken.others.is_empty() {
            settings["weights_key"] = json!(self.backbone.taken.key);
        }
        // other kernels give other bits
        if !self.backbone.kernels.is_auto() {
            settings["kernels"] = json!(self.backbone.kernels);
        }
        settings
    }

    /// The metadata of every table: the network that computed its features.
    pub fn metadata(&self) -> Vec<(String, String)> {
        NetworkCard::of(self).metadata()
    }

    /// The names, relative to the run folder, of the files that a stage may write; `shards` is the number of feature
    /// tables.
    pub fn writes(&self, stage: StageId, shards: usize) -> Vec<String> {
        let (dir, config) = (&self.dir, &self.pipeline);
        let mut paths = match stage {
            StageId::Scan => vec![dir.manifest()],
            StageId::Extract => (0..shards).map(|i| dir.shard(i, shards)).chain([dir.manifest()]).collect(),
            StageId::Select => vec![dir.columns()],
            StageId::Reduce => vec![dir.reduced()],
            StageId::Train => vec![dir.card(), dir.novelty()],
            StageId::Evaluate => vec![dir.predictions(), dir.metrics()],
            StageId::Compare => vec![dir.quality(), dir.relabel()],
            StageId::Atlas => vec![dir.atlas()],
            StageId::Report => vec![dir.report()],
        };
        match stage {
            StageId::Extract => {
                paths.extend([dir.npy(), dir.index()].into_iter().filter(|_| config.output.npy));
                paths.extend((config.extract.precision == Precision::Int8).then(|| dir.ranges()));
            }
            StageId::Reduce => paths.extend(config.reduce.iter().map(|reduce| dir.fitted(reduce.word()))),
            StageId::Train => {
                let all = config.train.iter().flat_map(|train| train.classifiers());
                paths.extend(all.map(|one| dir.fitted(one.name())));
            }
            StageId::Report if config.report.as_ref().is_some_and(|report| report.figures) => {
                let both = |name| ["svg", "png"].map(|ending| dir.figures().join(format!("{name}.{ending}")));
                paths.extend(CHARTS.iter().flat_map(both));
            }
            _ => {}
        }
        let mut names: Vec<String> = paths.iter().map(|path| dir.name_of(path)).collect();
        names.sort();
        names.dedup();
        names
    }

    /// True when the tables have one column for each feature.
    pub fn is_wide(&self) -> bool {
        self.pipeline.output.layout == Layout::Wide
    }

    /// The layout of the tables; `names` are those of [`columns`](Self::columns).
    pub fn layout<'a>(&self, names: &'a [String]) -> features::Layout<'a> {
        if self.is_wide() { features::Layout::Wide(names) } else { features::Layout::Array(self.width()) }
    }
}

/// Plans the network of `extract`; an error is reported at the key that causes it.
fn backbone(pipeline: &Pipeline, fetch: &mut Fetch<'_>) -> Result<NetworkPlan, PlanError> {
    let at = |key: &str, message: String| PlanError::Config(Box::new(pipeline.error_at(key, message)));
    let extract = &pipeline.extract;
    if let config::Weights::Path(path) = &extract.weights
        && !path.is_file()
    {
        let message = match path.is_dir() {
            true => format!("{} is a folder; give the file of weights that is in it", path.display()),
            false => format!("there is no file {}", path.display()),
        };
        return Err(at("extract.weights", message));
    }
    let key_of = |error: &NetworkPlanError| match error {
        NetworkPlanError::NoModel(_) | NetworkPlanError::OtherModel { .. } => "extract.model",
        NetworkPlanError::NoSource { .. } if extract.source.is_some() => "extract.source",
        NetworkPlanError::NoSource { .. } | NetworkPlanError::NotInside { .. } => "extract.weights",
        NetworkPlanError::NoClasses { .. } => "extract.weights",
        NetworkPlanError::NoClassToken { .. } => "extract.features",
        NetworkPlanError::NoLayer(_) if extract.layers.is_some() => "extract.layers",
        NetworkPlanError::NoLayer(_) => "extract.layer",
        NetworkPlanError::Graph(_) | NetworkPlanError::Recipe(_) => "extract.recipe",
        NetworkPlanError::NoRecipe { .. } => "extract.recipe",
        NetworkPlanError::Weights(_) | NetworkPlanError::Store(_) | NetworkPlanError::Onnx(_) => "extract.weights",
    };
    let wrong = |error: NetworkPlanError| match error {
        NetworkPlanError::Weights(error) => PlanError::Weights(error),
        NetworkPlanError::Store(error) if !matches!(error, StoreError::Spec { .. } | StoreError::NoName { .. }) => {
            PlanError::Store(error)
        }
        error => at(key_of(&error), error.to_string()),
    };
    let overrides = extract.recipe.clone().unwrap_or_default();
    let backbone = match network_plan::onnx_origin(&extract.weights, fetch).map_err(wrong)? {
        Some(weights) => {
            // the file determines the values of these keys
            let keys = ["extract.model", "extract.source", "extract.weights_key", "extract.channels"];
            if let Some(key) = keys.into_iter().find(|key| pipeline.source.has(key)) {
                let message =
                    format!("`{key}` means nothing to an ONNX file, which brings its own network; leave it out");
                return Err(at(key, message));
            }
            let recipe = network_plan::onnx_recipe(&weights, &overrides).map_err(wrong)?;
            NetworkPlan::of_onnx(weights, recipe, &extract.layers(), extract.features).map_err(wrong)?
        }
        None => {
            let asked = Asked {
                model: models::find(&extract.model)
                    .ok_or_else(|| at("extract.model", unknown_model(&extract.model)))?,
                is_named: pipeline.source.has("extract.model"),
                weights: &extract.weights,
                key: extract.weights_key.as_deref(),
                source: extract.source,
                seed: extract.seed,
                // a layer that is named may come after the last feature map
                top: !extract.layers().is_empty(),
            };
            let Chosen { model, row, weights, recipe, exif, .. } =
                network_plan::choose(&asked, fetch).map_err(wrong)?;
            let mut recipe = match overrides.preset {
                None => recipe,
                Some(preset) => preset_of(model, preset).map_err(|message| at("extract.recipe.preset", message))?,
            }
            .with(&overrides);
            if extract.channels == Channels::One {
                recipe.channels = ChannelOrder::Grey;
            }
            let layers = extract.layers();
            NetworkPlan::new(model, row, weights, recipe, &layers, extract.features).map_err(wrong)?.exif(exif)
        }
    };
    let exif = exif_of(&overrides, backbone.decoding.exif);
    let runtime = &pipeline.runtime;
    // `auto` is known only when the device is opened
    if runtime.device() != Device::Auto {
        let checked = exec::check(&runtime.device().to_string(), extract.precision, runtime.kernels);
        let key = |error: &ExecError| match error {
            ExecError::Precision { .. } => "extract.precision",
            _ => "runtime.kernels",
        };
        checked.map_err(|error| at(key(&error), error.to_string()))?;
    }
    Ok(backbone.decoding(pipeline.image.decoding(exif)).precision(extract.precision).kernels(runtime.kernels))
}

/// Whether pictures are rotated by EXIF. Presets ignore EXIF, as their libraries do.
pub(crate) fn exif_of(overrides: &RecipeOverrides, of_weights: Exif) -> Exif {
    if overrides.preset.is_some() { Exif::Ignore } else { of_weights }
}

/// The recipe of a library for its weights of a network.
pub(crate) fn preset_of(model: &'static ModelSpec, preset: Preset) -> Result<Recipe, String> {
    let source = match preset {
        Preset::Keras => Source::Keras,
        Preset::Torchvision => Source::Torchvision,
        Preset::Timm => Source::Timm,
    };
    let row = model.weights.iter().find(|row| row.source == source).ok_or_else(|| {
        let known: Vec<&str> = model.weights.iter().map(|row| row.source.word()).collect();
        let (word, known) = (source.word(), known.join(", "));
        format!(
            "{word} has no weights of {} and so no recipe; there are those of {known}, or the keys one by one",
            model.name
        )
    })?;
    Ok(row.recipe.clone())
}

/// Returns an error if the cache does not exist, or if the table of the pictures is a file that the run itself writes.
fn check_paths(pipeline: &Pipeline, dir: &RunDir) -> Result<(), PlanError> {
    let wrong = |key: &str, message: String| Err(PlanError::Config(Box::new(pipeline.error_at(key, message))));
    // a run that has all features needs no cache
    let needed = Record::read(dir, StageId::Extract).is_none();
    let named = pipeline.output.cache.as_ref().filter(|cache| needed && **cache != Path::new(config::NO_CACHE));
    if let Some(cache) = named.filter(|cache| !cache.is_dir()) {
        let message = format!("there is no folder {}; name a folder of runs, or `none`", cache.display());
        return wrong("output.cache", message);
    }
    let config::Split::Csv { path, .. } = &pipeline.input.split else { return Ok(()) };
    let inside = || {
        let (path, root) = (path.canonicalize().ok()?, dir.root().canonicalize().ok()?);
        Some(RunDir::new(root).name_of(&path))
    };
    if !inside().is_some_and(|name| is_own(&name)) {
        return Ok(());
    }
    let message = format!("{} is written anew by this run: copy it elsewhere, and name the copy", path.display());
    wrong("input.split.csv", message)
}

fn stages(pipeline: &Pipeline) -> Vec<StageId> {
    let asked = |stage: &StageId| match stage {
        StageId::Scan | StageId::Extract => true,
        StageId::Select => pipeline.select.is_some(),
        StageId::Reduce => pipeline.reduce.is_some(),
        StageId::Train | StageId::Evaluate => pipeline.train.is_some(),
        StageId::Compare => pipeline.report.as_ref().is_some_and(|report| report.quality),
        StageId::Atlas => pipeline.output.atlas,
        StageId::Report => pipeline.report.is_some(),
    };
    StageId::ALL.into_iter().filter(asked).collect()
}

/// A layer's name, as a part of column names.
fn word(layer: &str) -> String {
    layer.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod preset_tests;
