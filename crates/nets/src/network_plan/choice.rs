//! Chooses the weights of a network (published, a file, registered under a name by the user, an ONNX file, or random),
//! and the row of the registry and the recipe for them.

use std::path::Path;

use super::NetworkPlanError;
use crate::image::{ChannelOrder, Exif, Filter, Preset, Recipe, RecipeOverrides};
use crate::models::{self, ModelSpec, Source, WeightsSpec};
use crate::onnx;
use crate::weights::store::{Found, OwnWeights, StoreError, Wanted};
use crate::weights::{Origin, WeightError, Weights};

/// Finds or fetches a file of weights.
pub type Fetch<'a> = dyn FnMut(&Wanted) -> Result<Found, StoreError> + 'a;

/// The ONNX file that `weights` name, which needs no model; none for other weights. A file on the hub or at a URL is
/// downloaded by `fetch`.
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

/// The network and the weights that the user asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The model. Weights that the user registered have a model of their own, which is used if `is_named` is false.
    pub model: &'static ModelSpec,
    pub is_named: bool,
    pub weights: &'a Weights,
    /// The place in a file of weights.
    pub key: Option<&'a str>,
    /// The library whose numerics and recipe are used for a file.
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
    /// The row of the registry with the numerics for the weights.
    pub row: &'static WeightsSpec,
    pub weights: Origin,
    /// How pictures are prepared for these weights.
    pub recipe: Recipe,
    /// Whether pictures are turned upright.
    pub exif: Exif,
    /// The names of the classifier's outputs, if the user registered them with the weights.
    pub classes: Option<Vec<String>>,
}

/// Finds the weights that the user asks for; published ones are found or downloaded by `fetch`.
pub fn choose(asked: &Asked<'_>, fetch: &mut Fetch<'_>) -> Result<Chosen, NetworkPlanError> {
    let weights = origin(asked, fetch)?;
    let (Weights::Own(name), Some(path)) = (asked.weights, weights.path()) else {
        let (model, weights) = (asked.model, weights.with_key(asked.key)?);
        let row = row(model, &weights, asked.source)?;
        return Ok(Chosen { model, row, weights, recipe: row.recipe.clone(), exif: Exif::default(), classes: None });
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
    Ok(Chosen { model, row, weights, recipe: own.recipe, exif: own.exif, classes: own.classes })
}

/// The origin of the weights that the user asks for.
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

/// The published weights of `model` called `name`: the library and its own name of them, `timm:a2_in1k`, or a library
/// for its default.
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

/// The row of the registry with the numerics and the recipe for `weights`: their own row, else the default of `source`
/// if it is given, else the row that matches the file, else the model's default.
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

/// The recipe of most networks of a library; none for Keras, which has three recipes.
fn usual(preset: Preset) -> Option<Recipe> {
    match preset {
        Preset::Torchvision => Some(Recipe::TORCHVISION),
        Preset::Timm => Some(Recipe { filter: Filter::Bicubic, ..Recipe::TORCHVISION }),
        Preset::Keras => None,
    }
}

/// The recipe for the ONNX file `weights`: that of a preset, or of the notes in the file, or one without a mean. The
/// keys of `overrides` take precedence, then the input size of the file.
pub fn onnx_recipe(weights: &Origin, overrides: &RecipeOverrides) -> Result<Recipe, NetworkPlanError> {
    let file = weights.onnx()?;
    let picture = file.picture()?;
    let given = overrides.mean.is_some() && overrides.std.is_some();
    let bare = || Recipe { crop_pct: 1.0, mean: [0.0; 3], std: [1.0; 3], ..Recipe::TORCHVISION };
    let recipe: Option<Recipe> = match overrides.preset {
        Some(preset) => usual(preset).or_else(|| given.then(bare)),
        None => file.recipe()?.or_else(|| given.then(bare)),
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
