//! The network of a run as planned before the weights are read: the model, the library whose network it is, the
//! weights, how pictures are prepared, and which layers become features.

mod choice;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use thiserror::Error;

use crate::exec;
use crate::exec::{Features, Kernels, Precision, Ranges};
use crate::image::{DecodeOptions, Exif, Recipe, RecipeError};
use crate::models::graph::{Layer, Op};
use crate::models::{self, BuildOptions, Graph, GraphError, LayerId, ModelSpec, Shape, Source, WeightsSpec};
use crate::onnx::{self, Import, OnnxError};
use crate::suggest::suggest;
use crate::weights::store::StoreError;
use crate::weights::{self, CheckpointKey, Origin, WeightError, WeightSet, Weights};

pub use choice::{Asked, Chosen, Fetch, choose, onnx_origin, onnx_recipe, published, row};

/// A network, its weights, and the layers that become features.
#[derive(Debug)]
pub struct NetworkPlan {
    /// The model's name in the YAML, or the stem of an ONNX file.
    pub name: String,
    /// The model's name for people.
    pub title: String,
    /// The library whose network it is; none for an ONNX file.
    pub source: Option<Source>,
    pub weights: Origin,
    /// The place of the weights in their file.
    pub taken: CheckpointKey,
    /// How files are decoded to the pixels that the recipe takes.
    pub decoding: DecodeOptions,
    pub recipe: Recipe,
    pub graph: Graph,
    /// The number format of maps and weights.
    pub precision: Precision,
    /// The kernels of the CPU that are used.
    pub kernels: Kernels,
    /// The ranges from a calibration, for int8; they may be set after the plan is made.
    pub ranges: OnceLock<Arc<Ranges>>,
    /// How the map of each layer becomes features.
    pub features: Features,
    /// The layers that become features, in the order of the columns.
    pub taps: Vec<Tap>,
    /// The tensors of an ONNX file, read with its graph.
    imported: Option<WeightSet>,
}

/// How features are compared with the vectors of the text tower.
pub const TEXT_SIMILARITY: &str = "cosine of L2-normalised vectors";

/// A layer that becomes features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    pub layer: LayerId,
    /// Its name as the user wrote it.
    pub name: String,
    /// The shape of the layer's output.
    pub map: Shape,
    /// The shape of its features.
    pub shape: Shape,
}

/// A network cannot be planned as the user asks.
#[derive(Debug, Error)]
pub enum NetworkPlanError {
    #[error(transparent)]
    Weights(#[from] WeightError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    #[error("{0}")]
    NoModel(String),
    #[error("{0}")]
    NoLayer(String),
    #[error(transparent)]
    Onnx(OnnxError),
    #[error(
        "{place}: an ONNX file does not say how pictures are prepared for its network; say it in `extract.recipe`, by \
         `preset: torchvision` or `preset: timm`, or by `mean` and `std`, and `divisor`, `channels`, `fit`, `resize` \
         where they are not 255, rgb, crop, bilinear"
    )]
    NoRecipe { place: String },
    #[error("there are no {what} weights of {model}; there are those of {known}")]
    NoSource { model: &'static str, what: String, known: String },
    #[error("the binary carries no weights for {model}; take those of {known}, a file, or random ones")]
    NotInside { model: &'static str, known: String },
    #[error("layer `{layer}` of {of} has no class token (`cls`); take `avg` or `pooled`")]
    NoClassToken { of: String, layer: String },
    #[error(
        "the weights `{weights}` of {model} have no classes; take other weights, or the features of `embed`{unused}"
    )]
    NoClasses { model: &'static str, weights: &'static str, unused: String },
    #[error("the weights `{name}` are of {of}; take `model: {of}`, or leave `model` out")]
    OtherModel { name: String, of: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NetworkPlan {
    /// The model called `name` with those weights, their recipe and the features of its library. Published weights are
    /// found or downloaded by `fetch`.
    pub fn of_model(name: &str, weights: &Weights, fetch: &mut Fetch<'_>) -> Result<Self, NetworkPlanError> {
        let model = models::find(name).ok_or_else(|| NetworkPlanError::NoModel(models::unknown(name)))?;
        let asked = Asked { model, is_named: true, weights, key: None, source: None, seed: 0, top: false };
        let Chosen { model, row, weights, recipe, .. } = choose(&asked, fetch)?;
        Self::new(model, row, weights, recipe, &[], Features::default())
    }

    /// `model` with `weights`, built like the network of `row`, and pictures prepared by `recipe`. Features are
    /// `features` of `layers`, or of the last feature map if `layers` is empty.
    pub fn new(
        model: &'static ModelSpec,
        row: &WeightsSpec,
        weights: Origin,
        recipe: Recipe,
        layers: &[String],
        features: Features,
    ) -> Result<Self, NetworkPlanError> {
        recipe.check()?;
        let (source, channels) = (row.source, recipe.depth());
        let options = BuildOptions { channels, size: recipe.size, classes: row.classes, source };
        let mut graph = model.build(&options)?;
        let asked = Taps { of: model.name, layers, unknown: &|name, graph| unknown_layer(name, model, graph) };
        let (features, mut taps) = asked.find(&mut graph, features)?;
        let (mut weights, mut taken) = (weights, CheckpointKey::default());
        if let Origin::File(file) = &weights {
            let layers: Vec<LayerId> = taps.iter().map(|tap| tap.layer).collect();
            let (set, found) = file.of_network(&graph, source, &layers)?;
            let own = graph.layer(graph.logits()).shape.len();
            if let Some(classes) = set.classes(&graph).filter(|&classes| classes != own) {
                graph = model.build(&BuildOptions { classes, ..options })?;
                taps = asked.find(&mut graph, features)?.1;
            }
            taken = found;
            weights = weights.with_key(Some(&taken.key))?;
        }
        let plain = Self::plain(model.name.to_string(), weights, recipe, graph, (features, taps));
        Ok(Self { title: model.title.to_string(), source: Some(source), taken, ..plain })
    }

    /// A plan with default settings, without a library and without a place in a file.
    fn plain(
        name: String,
        weights: Origin,
        recipe: Recipe,
        graph: Graph,
        (features, taps): (Features, Vec<Tap>),
    ) -> Self {
        Self {
            title: name.clone(),
            name,
            source: None,
            weights,
            taken: CheckpointKey::default(),
            decoding: DecodeOptions::default(),
            recipe,
            graph,
            precision: Precision::default(),
            kernels: Kernels::default(),
            ranges: OnceLock::new(),
            features,
            taps,
            imported: None,
        }
    }

    /// The network of the ONNX file `weights`, with pictures prepared by `recipe`. Features are `features` of `layers`,
    /// or of the input of the classifier if `layers` is empty.
    pub fn of_onnx(
        weights: Origin,
        recipe: Recipe,
        layers: &[String],
        features: Features,
    ) -> Result<Self, NetworkPlanError> {
        Self::import(weights, recipe, (layers, false), features)
    }

    /// The network of the ONNX file `weights`: features are its class scores before softmax.
    pub fn onnx_classifier(weights: Origin, recipe: Recipe) -> Result<Self, NetworkPlanError> {
        Self::import(weights, recipe, (&[], true), Features::Flatten)
    }

    fn import(
        weights: Origin,
        recipe: Recipe,
        (layers, logits): (&[String], bool),
        features: Features,
    ) -> Result<Self, NetworkPlanError> {
        recipe.check()?;
        let asked = onnx::Asked { channels: recipe.depth(), size: recipe.size, layers, logits };
        let Import { mut graph, weights: set } = weights.onnx()?.import(asked)?;
        let of = weights.describe();
        let unknown = |name: &str, _: &Graph| format!("{of} has no layer `{name}`");
        let (features, taps) = Taps { of: &of, layers, unknown: &unknown }.find(&mut graph, features)?;
        let stem = weights.path().and_then(|path| path.file_stem()).unwrap_or_default();
        let decoding = weights.onnx()?.note(onnx::notes::IMAGE)?.unwrap_or_default();
        let plain = Self::plain(stem.to_string_lossy().into_owned(), weights, recipe, graph, (features, taps));
        Ok(Self { decoding, imported: Some(set), ..plain })
    }

    /// Opens the tensors that the layers need.
    pub fn load(&self) -> Result<WeightSet, WeightError> {
        match (&self.imported, self.source) {
            (None, Some(source)) => self.weights.load(&self.graph, source, &self.layer_ids()),
            (imported, _) => Ok(imported.clone().unwrap_or_default()),
        }
    }

    /// The library whose network it is, for messages.
    pub fn after(&self) -> String {
        self.source.map_or_else(|| "an ONNX file".to_string(), |source| source.to_string())
    }

    /// The same plan with other decoding options.
    #[must_use]
    pub fn decoding(self, decoding: DecodeOptions) -> Self {
        Self { decoding, ..self }
    }

    /// The same plan with another treatment of EXIF orientation.
    #[must_use]
    pub fn exif(self, exif: Exif) -> Self {
        Self { decoding: DecodeOptions { exif, ..self.decoding }, ..self }
    }

    /// The same plan in another precision.
    #[must_use]
    pub fn precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The same plan with other kernels of the CPU.
    #[must_use]
    pub fn kernels(self, kernels: Kernels) -> Self {
        Self { kernels, ..self }
    }

    /// Sets the ranges for int8, unless they are set already.
    pub fn keep_ranges(&self, ranges: Ranges) {
        self.ranges.get_or_init(|| Arc::new(ranges));
    }

    /// The ranges that ship with the weights, for the last feature map and for the classifier.
    pub fn shipped_ranges(&self) -> Option<Ranges> {
        let layers = self.layer_ids();
        let known = layers == [self.graph.features()] || layers == [self.graph.logits()];
        (known && matches!(self.weights, Origin::Bundled(_))).then(weights::bundled_ranges).flatten()
    }

    /// The network with its own classifier on top: features are the class scores before softmax.
    pub fn classifier(
        model: &'static ModelSpec,
        row: &'static WeightsSpec,
        weights: Origin,
        recipe: Recipe,
    ) -> Result<Self, NetworkPlanError> {
        let mut plan = Self::new(model, row, weights, recipe, &[], Features::Flatten)?;
        let layer = plan.graph.logits();
        if layer == plan.graph.features() {
            let unused = plan.unused_classifier()?.unwrap_or_default();
            return Err(NetworkPlanError::NoClasses { model: model.name, weights: row.name, unused });
        }
        let (name, shape) = (plan.graph.layer(layer).name.clone(), plan.graph.layer(layer).shape);
        plan.taps = vec![Tap { layer, name, map: shape, shape }];
        Ok(plan)
    }

    /// The end of an error message: the file of weights has a classifier for which the network has no layer.
    fn unused_classifier(&self) -> Result<Option<String>, WeightError> {
        let Origin::File(file) = &self.weights else { return Ok(None) };
        let width = self.graph.layer(self.graph.features()).shape.channels();
        Ok(file.open()?.classifier().map(|(name, shape)| unused(name, shape, width)))
    }

    /// Number of features of one picture.
    pub fn width(&self) -> usize {
        self.taps.iter().map(|tap| tap.shape.len()).sum()
    }

    /// Shape of the features of one picture: that of the layer's features, or a vector if there are several layers.
    pub fn shape(&self) -> Shape {
        match self.taps.as_slice() {
            [tap] => tap.shape,
            _ => Shape::Vector(self.width()),
        }
    }

    /// The place of the weights in their file for tables and records; none if the network is the whole file.
    pub fn weights_key(&self) -> Option<&str> {
        let CheckpointKey { key, others } = &self.taken;
        (!key.is_empty() || !others.is_empty()).then_some(key)
    }

    /// The text tower that matches the features, as a repository of Hugging Face's hub: that of the published weights,
    /// if the features are those of the library.
    pub fn text_tower(&self) -> Option<&'static str> {
        let tower = self.weights.row()?.text_tower?;
        (self.layer_ids() == [self.graph.features()]).then_some(tower)
    }

    /// The names of the layers, with commas between.
    pub fn layers(&self) -> String {
        self.taps.iter().map(|tap| tap.name.as_str()).collect::<Vec<_>>().join(",")
    }

    /// The layers themselves.
    pub fn layer_ids(&self) -> Vec<LayerId> {
        self.taps.iter().map(|tap| tap.layer).collect()
    }

    /// Bytes of the weights that the layers need, as they are held for computing.
    pub fn weights_bytes(&self) -> u64 {
        let needed = self.graph.needed_for(&self.layer_ids());
        let layers = self.graph.layers().iter().zip(needed).filter(|(_, needed)| *needed);
        let bytes = |layer: &Layer| {
            let parameters = self.graph.parameters_of(layer).into_iter();
            let values: usize = parameters.map(|parameter| parameter.shape.iter().product::<usize>()).sum();
            values
                * match self.precision {
                    Precision::Int8 if matches!(layer.op, Op::Conv { .. }) => 1,
                    Precision::Bf16 | Precision::F16 => 2,
                    Precision::F32 | Precision::Tf32 | Precision::Int8 => 4,
                }
        };
        layers.map(|(layer, _)| bytes(layer)).sum::<usize>() as u64
    }

    /// Multiply-accumulates for one picture.
    pub fn macs(&self) -> u64 {
        let needed = self.graph.needed_for(&self.layer_ids());
        let layers = self.graph.layers().iter().zip(needed).filter(|(_, needed)| *needed);
        layers.map(|(layer, _)| self.graph.macs_of(layer)).sum()
    }
}

/// The layers that are to become features: those named, or by default the last feature map or the tokens.
struct Taps<'a> {
    /// The network's name in messages.
    of: &'a str,
    layers: &'a [String],
    /// The message that there is no layer of a name.
    unknown: &'a dyn Fn(&str, &Graph) -> String,
}

impl Taps<'_> {
    /// Finds the layers, and how they become features: without tokens `pooled` is `avg`.
    fn find(&self, graph: &mut Graph, features: Features) -> Result<(Features, Vec<Tap>), NetworkPlanError> {
        let features = match features {
            Features::Pooled if graph.pooled().is_none() => Features::Avg,
            features => features,
        };
        let own = match features {
            Features::Pooled => graph.features(),
            _ => graph.pooled().unwrap_or(graph.features()),
        };
        if self.layers.is_empty() {
            let name = graph.title(own).to_string();
            return Ok((features, vec![self.tap(graph, own, &name, features)?]));
        }
        let mut taps = Vec::with_capacity(self.layers.len());
        for name in self.layers {
            let layer = graph.find(name).ok_or_else(|| NetworkPlanError::NoLayer((self.unknown)(name, graph)))?;
            taps.push(self.tap(graph, layer, name, features)?);
        }
        Ok((features, taps))
    }

    fn tap(&self, graph: &mut Graph, layer: LayerId, name: &str, features: Features) -> Result<Tap, NetworkPlanError> {
        let layer = match features {
            Features::Cls => graph.class_token(layer).ok_or_else(|| {
                let (of, layer) = (self.of.to_string(), name.to_string());
                NetworkPlanError::NoClassToken { of, layer }
            })?,
            Features::Pooled => graph.class_token(layer).unwrap_or_else(|| graph.positions(layer)),
            _ => graph.positions(layer),
        };
        let map = graph.layer(layer).shape;
        Ok(Tap { layer, name: name.to_string(), map, shape: exec::feature_shape(features, map) })
    }
}

/// Errors of the weights and of the graph keep their own variants.
impl From<OnnxError> for NetworkPlanError {
    fn from(error: OnnxError) -> Self {
        match error {
            OnnxError::Weights(error) => Self::Weights(error),
            OnnxError::Graph(error) => Self::Graph(error),
            OnnxError::NoLayer(text) => Self::NoLayer(text),
            error => Self::Onnx(error),
        }
    }
}

/// The end of an error about a classifier in a file for which a network with that many features has no layer:
/// `transformers` feeds DINOv2's the class token and the mean of the other tokens.
fn unused(name: &str, shape: &[usize], width: usize) -> String {
    if shape.get(1) == Some(&(2 * width)) {
        return format!(
            "; `{name}` {shape:?} of the file is over the class token and the mean of the other tokens, which the \
             network does not put together"
        );
    }
    format!("; the network has no layer for `{name}` {shape:?} of the file")
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
