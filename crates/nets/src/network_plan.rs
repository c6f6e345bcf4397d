//! The network of a run, decided upon: which model, built after which library, with which weights, how pictures are
//! prepared for it, and which of its layers become features. Everything that can be known before the weights are read.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use thiserror::Error;

use crate::exec;
use crate::exec::{Features, Kernels, Precision, Ranges};
use crate::image::{ChannelOrder, DecodeOptions, Filter, Preset, Recipe, RecipeError, RecipeOverrides};
use crate::models::graph::{Layer, Op};
use crate::models::{self, BuildOptions, Graph, GraphError, LayerId, ModelSpec, Shape, Source, WeightsSpec};
use crate::onnx::{self, Import, OnnxError};
use crate::suggest::suggest;
use crate::weights::store::{Found, OwnWeights, StoreError, Wanted};
use crate::weights::{self, CheckpointKey, Origin, WeightError, WeightSet, Weights};

/// A network, its weights, and what is taken from it.
#[derive(Debug)]
pub struct NetworkPlan {
    /// The model's word in the YAML, or the stem of an ONNX file.
    pub name: String,
    /// The model's name for people.
    pub title: String,
    /// The library that it is built after; none: an ONNX file.
    pub source: Option<Source>,
    pub weights: Origin,
    /// Where in their file the weights lie.
    pub taken: CheckpointKey,
    /// How files become the pixels that the recipe takes.
    pub decoding: DecodeOptions,
    pub recipe: Recipe,
    pub graph: Graph,
    /// The number format of maps and weights.
    pub precision: Precision,
    /// The CPU's kernels that compute them.
    pub kernels: Kernels,
    /// What a calibration has found, which int8 wants: it may be found after the plan is made.
    pub ranges: OnceLock<Arc<Ranges>>,
    /// The features that are made of each layer's map.
    pub features: Features,
    /// The layers that become features, in the order of the columns.
    pub taps: Vec<Tap>,
    /// The tensors of an ONNX file, read with its graph.
    imported: Option<WeightSet>,
}

/// A layer that becomes features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    pub layer: LayerId,
    /// Its name as it was asked for.
    pub name: String,
    /// The shape of the layer's output.
    pub map: Shape,
    /// The shape of its features.
    pub shape: Shape,
}

/// A network cannot be built as asked for.
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
    #[error("the weights `{name}` are of {of}; take `model: {of}`, or leave `model` out")]
    OtherModel { name: String, of: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Finds or fetches a file of weights.
pub type Fetch<'a> = dyn FnMut(&Wanted) -> Result<Found, StoreError> + 'a;

/// The ONNX file that `weights` are, which needs no model; none where they are others. One on the hub or at an address
/// comes by `fetch`.
pub fn onnx_origin(weights: &Weights, fetch: &mut Fetch<'_>) -> Result<Option<Origin>, NetworkPlanError> {
    match weights {
        Weights::Path(path) if onnx::is_onnx(path) => Ok(Some(Origin::file(path, None))),
        Weights::Remote(text) if onnx::is_onnx(Path::new(text.split(['?', '#', '@']).next().unwrap_or_default())) => {
            remote(text, fetch).map(Some)
        }
        _ => Ok(None),
    }
}

fn remote(text: &str, fetch: &mut Fetch<'_>) -> Result<Origin, NetworkPlanError> {
    let reason = "expected hf:owner/repo/file or a URL";
    let wanted = Wanted::parse(text)?.ok_or_else(|| StoreError::Spec { text: text.to_string(), reason })?;
    let Found { path, sha256, .. } = fetch(&wanted)?;
    Ok(Origin::file(path, Some(sha256)))
}

/// The network and the weights that are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The model. Own weights bring theirs: where `is_named` is false, theirs is taken.
    pub model: &'static ModelSpec,
    pub is_named: bool,
    pub weights: &'a Weights,
    /// The place in a file of weights.
    pub key: Option<&'a str>,
    /// The library whose numerics and recipe go with a file.
    pub source: Option<Source>,
    /// The seed of random weights.
    pub seed: u64,
    /// Whether the classifier on top is needed.
    pub top: bool,
}

/// The network and the weights that were found.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub model: &'static ModelSpec,
    /// The row of the registry whose numerics go with the weights.
    pub row: &'static WeightsSpec,
    pub weights: Origin,
    /// How pictures are prepared for these weights.
    pub recipe: Recipe,
    /// The names of the classifier's outputs, where the user gave them to own weights.
    pub classes: Option<Vec<String>>,
}

/// Finds the weights that are asked for; those that are published come by `fetch`.
pub fn choose(asked: &Asked<'_>, fetch: &mut Fetch<'_>) -> Result<Chosen, NetworkPlanError> {
    let weights = origin(asked, fetch)?;
    let (Weights::Own(name), Some(path)) = (asked.weights, weights.path()) else {
        let (model, weights) = (asked.model, weights.with_key(asked.key)?);
        let row = row(model, &weights, asked.source)?;
        return Ok(Chosen { model, row, weights, recipe: row.recipe.clone(), classes: None });
    };
    let own = OwnWeights::beside(path)?;
    if weights.fingerprint()? != own.sha256 {
        let reason = format!("it is not the file that was imported, whose sha256 is {}; import that again", own.sha256);
        return Err(WeightError::Format { place: path.display().to_string(), reason }.into());
    }
    let model = models::find(&own.model).ok_or_else(|| NetworkPlanError::NoModel(models::unknown(&own.model)))?;
    if asked.is_named && asked.model.name != model.name {
        return Err(NetworkPlanError::OtherModel { name: name.clone(), of: own.model });
    }
    let weights = weights.with_key(asked.key.or(own.weights_key.as_deref()))?;
    let row = row(model, &weights, asked.source.or(Some(own.source)))?;
    Ok(Chosen { model, row, weights, recipe: own.recipe, classes: own.classes })
}

/// Where the weights lie that are asked for.
fn origin(asked: &Asked<'_>, fetch: &mut Fetch<'_>) -> Result<Origin, NetworkPlanError> {
    let Asked { model, weights, seed, top, .. } = *asked;
    let row = match weights {
        Weights::Random => return Ok(Origin::Random(seed)),
        Weights::Path(path) => return Ok(Origin::file(path, None)),
        Weights::Remote(text) => return remote(text, fetch),
        Weights::Own(name) => {
            let Found { path, sha256, .. } = fetch(&Wanted::Own(name.clone()))?;
            return Ok(Origin::file(path, Some(sha256)));
        }
        Weights::Default => model.weights.first().ok_or_else(|| no_source(model, "default"))?,
        Weights::Bundled => {
            model.weights("bundled").ok_or(NetworkPlanError::NotInside { model: model.name, known: sources(model) })?
        }
        Weights::Published(source) => published(model, source.word())?,
        Weights::Named(name) => published(model, name)?,
    };
    if row.files.is_empty() {
        return Ok(Origin::Bundled(row));
    }
    let Found { path, sha256, .. } = fetch(&Wanted::Known { model, weights: row, top })?;
    Ok(Origin::published(path, sha256, row))
}

/// The weights of `model` that are called `name`: those of a library by its own name of them, `timm:a2_in1k`, or its
/// default.
pub fn published(model: &'static ModelSpec, name: &str) -> Result<&'static WeightsSpec, NetworkPlanError> {
    model.weights(name).ok_or_else(|| match name.split_once(':') {
        Some((library, _)) if model.weights(library).is_some() => {
            let names = model.weights.iter().map(|row| row.name).filter(|row| row.starts_with(library));
            let known = names.collect::<Vec<_>>().join(", ");
            NetworkPlanError::NoSource { model: model.name, what: format!("`{name}`"), known }
        }
        _ => no_source(model, name),
    })
}

fn no_source(model: &'static ModelSpec, what: &str) -> NetworkPlanError {
    NetworkPlanError::NoSource { model: model.name, what: what.to_string(), known: sources(model) }
}

fn sources(model: &ModelSpec) -> String {
    model.defaults().map(|row| row.source.word()).collect::<Vec<_>>().join(", ")
}

/// The row of the registry whose numerics and recipe go with `weights`: the one that they are, else that of `source`
/// where it is given, else the one that the file fits, else the model's default.
pub fn row(
    model: &'static ModelSpec,
    weights: &Origin,
    source: Option<Source>,
) -> Result<&'static WeightsSpec, NetworkPlanError> {
    if let Some(row) = weights.row().filter(|row| source.is_none_or(|source| source == row.source)) {
        return Ok(row);
    }
    if let Some(source) = source {
        return published(model, source.word());
    }
    let default = || model.weights.first().ok_or_else(|| no_source(model, "any"));
    match weights {
        Origin::File(file) => file.recognise(model)?.map_or_else(default, Ok),
        Origin::Bundled(_) | Origin::Random(_) => default(),
    }
}

impl NetworkPlan {
    /// The model called `name` with those weights and their recipe; features are the means over the positions of the
    /// last feature map. Published weights come by `fetch`.
    pub fn of_model(name: &str, weights: &Weights, fetch: &mut Fetch<'_>) -> Result<Self, NetworkPlanError> {
        let model = models::find(name).ok_or_else(|| NetworkPlanError::NoModel(models::unknown(name)))?;
        let asked = Asked { model, is_named: true, weights, key: None, source: None, seed: 0, top: false };
        let Chosen { model, row, weights, recipe, .. } = choose(&asked, fetch)?;
        Self::new(model, row, weights, recipe, &[], Features::Avg)
    }

    /// `model` with `weights` as `row` has them, pictures prepared by `recipe`; features are `features` of `layers`, or
    /// of the last feature map where none is named.
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
        let mut graph = (model.build)(&options)?;
        let taps = taps(&graph, layers, features, |name| unknown_layer(name, model, &graph))?;
        let (mut weights, mut taken) = (weights, CheckpointKey::default());
        if let Origin::File(file) = &weights {
            let layers: Vec<LayerId> = taps.iter().map(|tap| tap.layer).collect();
            let (set, found) = file.of_network(&graph, source, &layers)?;
            if let Some(classes) = set.classes(&graph).filter(|&classes| classes != row.classes) {
                // layers keep their places, whatever the classes
                graph = (model.build)(&BuildOptions { classes, ..options })?;
            }
            taken = found;
            weights = weights.with_key(Some(&taken.key))?;
        }
        let plain = Self::plain(model.name.to_string(), weights, recipe, graph, (features, taps));
        Ok(Self { title: model.title.to_string(), source: Some(source), taken, ..plain })
    }

    /// A network with the default settings, of no library and of all of its file.
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

    /// The network of the ONNX file `weights`, pictures prepared by `recipe`; features are `features` of `layers`, or
    /// of the value that feeds the classifier where none is named.
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
        let Import { graph, weights: set } = weights.onnx()?.import(asked)?;
        let taps = taps(&graph, layers, features, |name| format!("{} has no layer `{name}`", weights.describe()))?;
        let stem = weights.path().and_then(|path| path.file_stem()).unwrap_or_default();
        let noted = weights.onnx()?.metadata().get(onnx::notes::IMAGE);
        let decoding = noted.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let plain = Self::plain(stem.to_string_lossy().into_owned(), weights, recipe, graph, (features, taps));
        Ok(Self { decoding, imported: Some(set), ..plain })
    }

    /// Opens the tensors that its layers need.
    pub fn load(&self) -> Result<WeightSet, WeightError> {
        match (&self.imported, self.source) {
            (None, Some(source)) => self.weights.load(&self.graph, source, &self.layer_ids()),
            (imported, _) => Ok(imported.clone().unwrap_or_default()),
        }
    }

    /// The library that it is built after, in words.
    pub fn after(&self) -> String {
        self.source.map_or_else(|| "an ONNX file".to_string(), |source| source.to_string())
    }

    /// The same, pictures decoded otherwise than by default.
    #[must_use]
    pub fn decoding(self, decoding: DecodeOptions) -> Self {
        Self { decoding, ..self }
    }

    /// The same, computed with other numbers than f32.
    #[must_use]
    pub fn precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The same, computed by other kernels than the fastest of the CPU.
    #[must_use]
    pub fn kernels(self, kernels: Kernels) -> Self {
        Self { kernels, ..self }
    }

    /// Notes the ranges that int8 takes; the first ones stay.
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
        let (name, shape) = (plan.graph.layer(layer).name.clone(), plan.graph.layer(layer).shape);
        plan.taps = vec![Tap { layer, name, map: shape, shape }];
        Ok(plan)
    }

    /// Number of features of one picture.
    pub fn width(&self) -> usize {
        self.taps.iter().map(|tap| tap.shape.len()).sum()
    }

    /// Shape of the features of one picture: that of the layer, or one row where several layers follow one another.
    pub fn shape(&self) -> Shape {
        match self.taps.as_slice() {
            [tap] => tap.shape,
            _ => Shape::Vector(self.width()),
        }
    }

    /// Where in their file the weights lie, as tables and records tell it: nothing where the network is all of the
    /// file.
    pub fn weights_key(&self) -> Option<&str> {
        let CheckpointKey { key, others } = &self.taken;
        (!key.is_empty() || !others.is_empty()).then_some(key)
    }

    /// The names of the layers, with commas between.
    pub fn layers(&self) -> String {
        self.taps.iter().map(|tap| tap.name.as_str()).collect::<Vec<_>>().join(",")
    }

    /// The layers themselves.
    pub fn layer_ids(&self) -> Vec<LayerId> {
        self.taps.iter().map(|tap| tap.layer).collect()
    }

    /// Bytes of the weights that its layers need, once they are ready to be computed with.
    pub fn weights_bytes(&self) -> u64 {
        let needed = self.graph.needed_for(&self.layer_ids());
        let layers = self.graph.layers().iter().zip(needed).filter(|(_, needed)| *needed);
        let bytes = |layer: &Layer| {
            let parameters = self.graph.parameters_of(layer).into_iter();
            let values: usize = parameters.map(|parameter| parameter.shape.iter().product::<usize>()).sum();
            values
                * match self.precision {
                    Precision::Int8 if matches!(layer.op, Op::Conv { .. }) => 1,
                    Precision::Bf16 => 2,
                    Precision::F32 | Precision::Int8 => 4,
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

/// The recipe that most networks of a library have; Keras has three, and none is that of most.
fn usual(preset: Preset) -> Option<Recipe> {
    match preset {
        Preset::Torchvision => Some(Recipe::TORCHVISION),
        Preset::Timm => Some(Recipe { filter: Filter::Bicubic, ..Recipe::TORCHVISION }),
        Preset::Keras => None,
    }
}

/// The recipe for the ONNX file `weights`: that of a preset or of the file's own notes, else one without a mean; the
/// keys of `overrides` go before, and the file's own size before all sizes that are not asked for.
pub fn onnx_recipe(weights: &Origin, overrides: &RecipeOverrides) -> Result<Recipe, NetworkPlanError> {
    let file = weights.onnx()?;
    let picture = file.picture()?;
    let given = overrides.mean.is_some() && overrides.std.is_some();
    let bare = || Recipe { crop_pct: 1.0, mean: [0.0; 3], std: [1.0; 3], ..Recipe::TORCHVISION };
    let recipe: Option<Recipe> = match overrides.preset {
        Some(preset) => usual(preset).or_else(|| given.then(bare)),
        None => file.recipe().or_else(|| given.then(bare)),
    };
    let mut recipe = recipe.ok_or_else(|| NetworkPlanError::NoRecipe { place: weights.describe() })?;
    if let [Some(h), Some(w)] = picture.size {
        recipe.size = [h, w];
    }
    if picture.channels == 1 {
        recipe.channels = ChannelOrder::Grey;
    }
    Ok(recipe.with(overrides))
}

/// The layers that become features: those of these names, else the last feature map.
fn taps(
    graph: &Graph,
    layers: &[String],
    features: Features,
    unknown: impl Fn(&str) -> String,
) -> Result<Vec<Tap>, NetworkPlanError> {
    let tap = |layer: LayerId, name: &str| {
        let map = graph.layer(layer).shape;
        Tap { layer, name: name.to_string(), map, shape: exec::feature_shape(features, map) }
    };
    if layers.is_empty() {
        return Ok(vec![tap(graph.features(), graph.title(graph.features()))]);
    }
    let find = |name: &String| graph.find(name).ok_or_else(|| NetworkPlanError::NoLayer(unknown(name)));
    layers.iter().map(|name| Ok(tap(find(name)?, name))).collect()
}

/// What the weights and the graph have to say is their own.
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

fn unknown_layer(name: &str, model: &ModelSpec, graph: &Graph) -> String {
    match suggest(name, graph.names()) {
        Some(close) => format!("{} has no layer `{name}`; did you mean `{close}`?", model.name),
        None => {
            let hint = format!("`featurize models show {}` lists them", model.name);
            format!("{} has no layer `{name}`; {hint}", model.name)
        }
    }
}
