//! `featurize classify`: a network with the ImageNet classifier that it was trained with.

use std::path::{Path, PathBuf};

use clap::Args;

use super::ranges::RangesArgs;
use super::top::{self, TopArgs};
use super::{FetchArgs, class_names, find_model, source, ui, usage};
use crate::config::{self, DEFAULT_MODEL, Precision, Weights};
use crate::error::Error;
use crate::image::RecipeOverrides;
use crate::io::output::Inputs;
use crate::models::{Source, imagenet};
use crate::network_plan::{self, Asked, Chosen, Fetch, NetworkPlan};
use crate::onnx;
use crate::pictures::Predictor;
use crate::pictures::predictor::Acceptance;
use crate::plan::{exif_of, preset_of};

/// Which network, and which pictures.
#[derive(Debug, Args)]
pub struct ClassifyArgs {
    #[command(flatten)]
    pictures: TopArgs,
    /// The network: see `featurize models list`. Default: that of `--weights` with a name of your own, else
    /// `efficientnet_lite0`.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// `keras`, `torchvision` or `timm` (what these publish), a file with the network's weights and its classifier on
    /// top (safetensors, PyTorch or Keras), an ONNX file (which brings its network: `--model` is left out),
    /// `hf:owner/repo/file`, a URL, or a name that `weights import` gave. Default: the model's own.
    #[arg(long, value_name = "WEIGHTS", value_parser = weights)]
    weights: Option<Weights>,
    /// The place of the network in the file, when it is there more than once: see `extract.weights_key` of the YAML.
    #[arg(long, value_name = "KEY")]
    weights_key: Option<String>,
    /// The library whose numerics and preprocessing a file needs: `keras`, `torchvision` or `timm`. Default: recognised
    /// from the file.
    #[arg(long, value_name = "SOURCE", value_parser = source)]
    source: Option<Source>,
    /// `f32`, `bf16` or `int8`, on a GPU `f32`, `tf32`, `bf16` or `f16`: see `extract.precision` of the YAML.
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// A text file with the names of the network's classes, one a line. Default: those that `featurize export` noted in
    /// an ONNX file, else those of ImageNet where there are 1000, else their numbers.
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// A key of `extract.recipe` of the YAML: `--set extract.recipe.preset=torchvision`. Default: the recipe of the
    /// weights; an ONNX file has one only if `featurize export` wrote it.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    #[command(flatten)]
    ranges: RangesArgs,
    #[command(flatten)]
    fetching: FetchArgs,
}

impl ClassifyArgs {
    /// The recipe's keys among the flags.
    fn recipe(&self) -> Result<RecipeOverrides, Error> {
        const TAKEN: &str = "extract.recipe.";
        if let Some(set) = self.sets.iter().find(|set| !set.starts_with(TAKEN)) {
            let key = set.split('=').next().unwrap_or_default();
            return usage(format!("`--set {key}` means nothing to `classify`: it takes the keys of {TAKEN}"));
        }
        let text = "version: 1\nname: classify\ninput: {root: .}\n";
        let pipeline = config::parse(text, Path::new("classify"), &self.sets).map_err(Box::new)?;
        Ok(pipeline.extract.recipe.unwrap_or_default())
    }

    /// The network with the class scores as its features, and the class names that own weights or an ONNX file have.
    fn network(&self, fetch: &mut Fetch<'_>) -> Result<(NetworkPlan, Option<Vec<String>>), Error> {
        let (weights, overrides) = (self.weights.clone().unwrap_or_default(), self.recipe()?);
        if let Some(weights) = network_plan::onnx_origin(&weights, fetch)? {
            if self.model.is_some() || self.source.is_some() || self.weights_key.is_some() {
                let text = "an ONNX file brings its own network: leave `--model`, `--source` and `--weights-key` out";
                return usage(text);
            }
            let recipe = network_plan::onnx_recipe(&weights, &overrides)?;
            let classes = weights.onnx()?.note(onnx::notes::CLASSES)?;
            let network = NetworkPlan::onnx_classifier(weights, recipe)?;
            let exif = exif_of(&overrides, network.decoding.exif);
            return Ok((network.exif(exif), classes));
        }
        let asked = Asked {
            model: find_model(self.model.as_deref().unwrap_or(DEFAULT_MODEL))?,
            is_named: self.model.is_some(),
            weights: &weights,
            key: self.weights_key.as_deref(),
            source: self.source,
            seed: 0,
            top: true,
        };
        let Chosen { model, row, weights, recipe, exif, classes } = network_plan::choose(&asked, fetch)?;
        let recipe = overrides.preset.map_or(Ok(recipe), |preset| preset_of(model, preset));
        let recipe = recipe.map_err(Error::Usage)?.with(&overrides);
        let exif = exif_of(&overrides, exif);
        Ok((NetworkPlan::classifier(model, row, weights, recipe)?.exif(exif), classes))
    }
}

fn weights(text: &str) -> Result<Weights, String> {
    text.parse().map_err(|expected| format!("expected {expected}"))
}

/// Opens the network and classifies.
pub fn run(arguments: &ClassifyArgs) -> Result<(), Error> {
    let (ui, fetching) = (ui(arguments.pictures.style()), &arguments.fetching);
    let (network, own) = arguments.network(&mut fetching.store.fetch(fetching.offline, &ui))?;
    let device = arguments.pictures.workers.open_device()?;
    let named = arguments.classes.as_deref().map(class_names).transpose()?;
    let names = named.or(own);
    let has_names = names.is_some();
    let network = network.precision(arguments.precision);
    let pictures = arguments.pictures.pictures()?;
    arguments.ranges.settle((&network, &device), None, &pictures, &arguments.pictures.workers, &ui)?;
    let predictor = Predictor::of_network(&network, names, &device)?;
    if let Some(told) = predictor.taken().told().filter(|_| !predictor.taken().others.is_empty()) {
        ui.note(&format!("weights {told}"));
    }
    let imagenet = imagenet::classes();
    let known = !has_names && predictor.classes().len() == imagenet.len();
    let wnids: Vec<&str> = imagenet.iter().filter(|_| known).map(|class| class.wnid).collect();
    let mut read = Inputs::default();
    read.files.extend(arguments.classes.clone());
    if let Some(Weights::Path(path)) = &arguments.weights {
        read.files.push(path.clone());
    }
    let asked = top::Asked {
        name: "classify",
        wnids: &wnids,
        parquet: None,
        acceptance: Acceptance::default(),
        explain: None,
        read,
    };
    top::run(&predictor, &arguments.pictures, &pictures, asked, &ui)
}
