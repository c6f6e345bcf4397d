//! The network of a run, decided upon: which model, built after which library, with which weights, how pictures are
//! prepared for it, and which of its layers become features. Everything that can be known before the weights are read.

use thiserror::Error;

use crate::exec;
use crate::exec::{Features, Kernels, Precision};
use crate::image::{DecodeOptions, Recipe, RecipeError};
use crate::models::{self, BuildOptions, Graph, GraphError, LayerId, ModelSpec, Shape, Source, WeightsSpec};
use crate::suggest::suggest;
use crate::weights::store::{Found, OwnWeights, StoreError, Wanted};
use crate::weights::{CheckpointKey, Origin, WeightError, Weights};

/// A network, its weights, and what is taken from it.
#[derive(Debug)]
pub struct NetworkPlan {
    pub model: &'static ModelSpec,
    /// The library that it is built after.
    pub source: Source,
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
    /// The features that are made of each layer's map.
    pub features: Features,
    /// The layers that become features, in the order of the columns.
    pub taps: Vec<Tap>,
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
    let of_file = |Found { path, sha256, .. }| Origin::file(path, Some(sha256));
    let Asked { model, weights, seed, top, .. } = *asked;
    let row = match weights {
        Weights::Random => return Ok(Origin::Random(seed)),
        Weights::Path(path) => return Ok(Origin::file(path, None)),
        Weights::Remote(text) => {
            let reason = "expected hf:owner/repo/file or a URL";
            let wanted = Wanted::parse(text)?.ok_or_else(|| StoreError::Spec { text: text.clone(), reason })?;
            return Ok(of_file(fetch(&wanted)?));
        }
        Weights::Own(name) => return Ok(of_file(fetch(&Wanted::Own(name.clone()))?)),
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
        let tap = |layer: LayerId, name: &str| {
            let map = graph.layer(layer).shape;
            Tap { layer, name: name.to_string(), map, shape: exec::feature_shape(features, map) }
        };
        let mut taps = Vec::new();
        for name in layers {
            let layer =
                graph.find(name).ok_or_else(|| NetworkPlanError::NoLayer(unknown_layer(name, model, &graph)))?;
            taps.push(tap(layer, name));
        }
        if taps.is_empty() {
            taps.push(tap(graph.features(), graph.title(graph.features())));
        }
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
        let (decoding, precision, kernels) = (DecodeOptions::default(), Precision::default(), Kernels::default());
        Ok(Self { model, source, weights, taken, decoding, recipe, graph, precision, kernels, features, taps })
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

    /// The network with its own classifier on top: features are the class scores before softmax.
    pub fn classifier(chosen: &Chosen) -> Result<Self, NetworkPlanError> {
        let Chosen { model, row, weights, recipe, .. } = chosen.clone();
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
        let parameters = layers.flat_map(|(layer, _)| self.graph.parameters_of(layer));
        let values: usize = parameters.map(|parameter| parameter.shape.iter().product::<usize>()).sum();
        let each = if self.precision == Precision::Bf16 { 2 } else { 4 };
        (values * each) as u64
    }

    /// Multiply-accumulates for one picture.
    pub fn macs(&self) -> u64 {
        let needed = self.graph.needed_for(&self.layer_ids());
        let layers = self.graph.layers().iter().zip(needed).filter(|(_, needed)| *needed);
        layers.map(|(layer, _)| self.graph.macs_of(layer)).sum()
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
