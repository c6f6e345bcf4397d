//! From a checked configuration to what will be computed: model, weights, recipe, layer, width, columns, folders, stages.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use thiserror::Error;

use crate::config::{self, ConfigError, Features, Layout, Pipeline, suggest};
use crate::exec;
use crate::image::Recipe;
use crate::models::{self, BuildOptions, Graph, LayerId, ModelSpec, Shape};
use crate::stages::StageId;
use crate::store::RunDir;
use crate::weights::{Source, WeightError};

/// Bytes of features that a shard may hold in memory.
const SHARD_BYTES: usize = 128 << 20;
/// Multiply-accumulates that a shard may cost: what a killed run loses at most.
const SHARD_MACS: u64 = 1_500_000_000_000;
/// Rows of a shard, whatever the two limits above say.
const SHARD_ROWS: [usize; 2] = [256, 2048];

/// Everything that the stages need to know.
#[derive(Debug)]
pub struct Plan {
    pub pipeline: Pipeline,
    pub dir: RunDir,
    pub model: &'static ModelSpec,
    pub weights: Source,
    /// SHA-256 of the weights, or the seed that they are drawn from.
    pub weights_id: String,
    pub recipe: Recipe,
    pub graph: Graph,
    /// The layer whose output becomes features.
    pub tap: LayerId,
    /// Its name as it was asked for.
    pub layer: String,
    /// Shape of the features of one picture.
    pub feature_shape: Shape,
    pub stages: Vec<StageId>,
}

/// The configuration asks for what cannot be.
#[derive(Debug, Error)]
pub enum PlanError {
    #[error(transparent)]
    Config(#[from] Box<ConfigError>),
    #[error(transparent)]
    Weights(#[from] WeightError),
}

impl Plan {
    /// Decides everything that needs no picture; `out` overrides the run's folder.
    pub fn new(pipeline: Pipeline, out: Option<&Path>) -> Result<Self, PlanError> {
        let at = |key: &str, message: String| PlanError::Config(Box::new(pipeline.error_at(key, message)));
        let extract = &pipeline.extract;
        let model = models::find(&extract.model).ok_or_else(|| at("extract.model", unknown_model(&extract.model)))?;
        let default = model.weights.first().ok_or_else(|| at("extract.model", "this model has no weights".into()))?;
        let (weights, spec) = match &extract.weights {
            config::Weights::Default => (Source::Bundled(default), default),
            config::Weights::Bundled => match model.weights("bundled") {
                Some(spec) => (Source::Bundled(spec), spec),
                None => return Err(at("extract.weights", format!("the binary carries no weights for {}", model.name))),
            },
            config::Weights::Random => (Source::Random(extract.seed), default),
            config::Weights::Path(path) if !path.is_file() => {
                return Err(at("extract.weights", format!("there is no file {}", path.display())));
            }
            config::Weights::Path(path) => (Source::File(path.clone()), default),
        };
        let overrides = extract.recipe.clone().unwrap_or_default();
        let recipe = spec.recipe.with(&overrides);
        recipe.check().map_err(|error| at("extract.recipe", error.to_string()))?;
        let options = BuildOptions { channels: 3, size: recipe.size, classes: spec.classes };
        let graph = (model.build)(&options).map_err(|error| at("extract.recipe", error.to_string()))?;
        let layer = extract.layer.clone().unwrap_or_else(|| model.feature_layer.to_string());
        let tap = graph.find(&layer).ok_or_else(|| at("extract.layer", unknown_layer(&layer, model, &graph)))?;
        let feature_shape = exec::feature_shape(extract.features, graph.layer(tap).shape);
        let weights_id = weights.fingerprint()?;
        let dir = out.map(PathBuf::from).or_else(|| pipeline.output.dir.clone());
        let dir = RunDir::new(dir.unwrap_or_else(|| Path::new("runs").join(&pipeline.name)));
        let stages = stages(&pipeline);
        Ok(Self { pipeline, dir, model, weights, weights_id, recipe, graph, tap, layer, feature_shape, stages })
    }

    /// Number of features of one picture.
    pub fn width(&self) -> usize {
        self.feature_shape.len()
    }

    /// Most pictures in one feature table.
    pub fn shard_rows(&self) -> usize {
        if let Some(rows) = self.pipeline.extract.shard_rows {
            return rows;
        }
        let needed = self.graph.needed_for(&[self.tap]);
        let layers = self.graph.layers().iter().zip(needed).filter(|(_, needed)| *needed);
        let macs: u64 = layers.map(|(layer, _)| self.graph.macs_of(layer)).sum();
        let by_cost = usize::try_from(SHARD_MACS / macs.max(1)).unwrap_or(usize::MAX);
        let by_bytes = SHARD_BYTES / (self.width() * 4).max(1);
        by_cost.clamp(SHARD_ROWS[0], SHARD_ROWS[1]).min(by_bytes).max(1)
    }

    /// The name of each feature column: `<model>_<features>_<index>`, with the layer's name where it is not the model's own.
    pub fn columns(&self) -> Vec<String> {
        let kind = self.features_word();
        let stem = match &self.pipeline.extract.layer {
            None => format!("{}_{kind}", self.model.name),
            Some(layer) => format!("{}_{}_{kind}", self.model.name, word(layer)),
        };
        let digits = self.width().saturating_sub(1).to_string().len().max(4);
        (0..self.width()).map(|i| format!("{stem}_{i:0digits$}")).collect()
    }

    /// The word of `extract.features`.
    pub fn features_word(&self) -> &'static str {
        match self.pipeline.extract.features {
            Features::Avg => "avg",
            Features::Max => "max",
            Features::Flatten => "flatten",
            Features::Map => "map",
        }
    }

    /// What the features depend on beside the pictures: the settings that their fingerprint covers.
    pub fn extract_settings(&self) -> Value {
        json!({
            "model": self.model.name,
            "weights": self.weights_id,
            "layer": self.layer,
            "features": self.pipeline.extract.features,
            "precision": self.pipeline.extract.precision,
            "recipe": self.recipe,
        })
    }

    /// Written into every table: how its numbers came about.
    pub fn metadata(&self) -> Vec<(String, String)> {
        let shape: Vec<String> = self.feature_shape.dims().iter().map(ToString::to_string).collect();
        let pairs = [
            ("version", env!("CARGO_PKG_VERSION").to_string()),
            ("model", self.model.name.to_string()),
            ("weights", self.weights.describe()),
            ("weights_sha256", self.weights_id.clone()),
            ("layer", self.layer.clone()),
            ("features", self.features_word().to_string()),
            ("shape", shape.join(",")),
            ("precision", "f32".to_string()),
            ("recipe", json!(self.recipe).to_string()),
        ];
        pairs.into_iter().map(|(key, value)| (format!("featurize.{key}"), value)).collect()
    }

    /// True when the tables have one column for each feature.
    pub fn is_wide(&self) -> bool {
        self.pipeline.output.layout == Layout::Wide
    }
}

fn stages(pipeline: &Pipeline) -> Vec<StageId> {
    let asked = |stage: &StageId| match stage {
        StageId::Scan | StageId::Extract => true,
        StageId::Select => pipeline.select.is_some(),
        StageId::Reduce => pipeline.reduce.is_some(),
        StageId::Train | StageId::Evaluate => pipeline.train.is_some(),
        StageId::Report => pipeline.report.is_some(),
    };
    StageId::ALL.into_iter().filter(asked).collect()
}

/// A layer's name as part of a column's name.
fn word(layer: &str) -> String {
    layer.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn unknown_model(name: &str) -> String {
    let names: Vec<&str> = models::MODELS.iter().map(|model| model.name).collect();
    match suggest(name, names.iter().copied()) {
        Some(close) => format!("there is no model `{name}`; did you mean `{close}`?"),
        None => format!("there is no model `{name}`; there are: {}", names.join(", ")),
    }
}

fn unknown_layer(name: &str, model: &ModelSpec, graph: &Graph) -> String {
    match suggest(name, graph.names()) {
        Some(close) => format!("{} has no layer `{name}`; did you mean `{close}`?", model.name),
        None => {
            let hint = format!("`featurize models show {}` lists them", model.name);
            format!("{} has no layer `{name}`; {hint}", model.name)
        }
    }
}
