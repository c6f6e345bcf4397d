//! `featurize classify`: a network with the ImageNet classifier that it was trained with.

use clap::Args;

use super::top::{self, TopArgs};
use super::{FetchArgs, find_model, precision, source, ui};
use crate::config::{DEFAULT_MODEL, Precision, Weights};
use crate::error::Error;
use crate::io::output::Inputs;
use crate::models::{Source, imagenet};
use crate::network_plan::{self, Asked};
use crate::pictures::Predictor;

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
    /// top (safetensors, PyTorch or Keras), `hf:owner/repo/file`, a URL, or a name that `weights import` gave. Default:
    /// the model's own.
    #[arg(long, value_name = "WEIGHTS", value_parser = weights)]
    weights: Option<Weights>,
    /// Where in the file the network lies, when it is there more than once: see `extract.weights_key` of the YAML.
    #[arg(long, value_name = "KEY")]
    weights_key: Option<String>,
    /// Whose numerics and preprocessing go with a file: `keras`, `torchvision` or `timm`. Default: recognised from the
    /// file.
    #[arg(long, value_name = "SOURCE", value_parser = source)]
    source: Option<Source>,
    /// `f32` or `bf16`: see `extract.precision` of the YAML.
    #[arg(long, value_parser = precision, default_value = "f32")]
    precision: Precision,
    #[command(flatten)]
    fetching: FetchArgs,
}

fn weights(text: &str) -> Result<Weights, String> {
    text.parse().map_err(|expected| format!("expected {expected}"))
}

/// Opens the network and classifies.
pub fn run(arguments: &ClassifyArgs) -> Result<(), Error> {
    let asked = Asked {
        model: find_model(arguments.model.as_deref().unwrap_or(DEFAULT_MODEL))?,
        is_named: arguments.model.is_some(),
        weights: &arguments.weights.clone().unwrap_or_default(),
        key: arguments.weights_key.as_deref(),
        source: arguments.source,
        seed: 0,
        top: true,
    };
    let (ui, fetching) = (ui(arguments.pictures.style()), &arguments.fetching);
    let chosen = network_plan::choose(&asked, &mut fetching.store.fetch(fetching.offline, &ui))?;
    let device = arguments.pictures.workers.open_device()?;
    let predictor = Predictor::of_network(&chosen, arguments.precision, &device)?;
    if let Some(told) = predictor.taken().told().filter(|_| !predictor.taken().others.is_empty()) {
        ui.note(&format!("weights {told}"));
    }
    let imagenet = imagenet::classes();
    let known = chosen.classes.is_none() && predictor.classes().len() == imagenet.len();
    let wnids: Vec<&str> = imagenet.iter().filter(|_| known).map(|class| class.wnid).collect();
    let mut read = Inputs::default();
    if let Some(Weights::Path(path)) = &arguments.weights {
        read.files.push(path.clone());
    }
    top::run(&predictor, &arguments.pictures, top::Asked { name: "classify", wnids: &wnids, parquet: None, read }, &ui)
}
