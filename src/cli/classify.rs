//! `featurize classify`: a network with the ImageNet classifier that it was trained with.

use clap::Args;

use super::ranges::RangesArgs;
use super::top::{self, TopArgs};
use super::{FetchArgs, find_model, source, ui};
use crate::config::{Precision, Weights};
use crate::error::Error;
use crate::io::output::Inputs;
use crate::models::{Source, imagenet};
use crate::network_plan;
use crate::pictures::Predictor;

/// Which network, and which pictures.
#[derive(Debug, Args)]
pub struct ClassifyArgs {
    #[command(flatten)]
    pictures: TopArgs,
    /// The network: see `featurize models list`.
    #[arg(long, value_name = "NAME", default_value = "efficientnet_lite0")]
    model: String,
    /// `keras`, `torchvision` or `timm` (what these publish), a file with the network's weights and its classifier on
    /// top (safetensors, PyTorch or Keras), `hf:owner/repo/file` or a URL. Default: the model's own.
    #[arg(long, value_name = "WEIGHTS", value_parser = weights)]
    weights: Option<Weights>,
    /// Where in the file the network lies, when it is there more than once: see `extract.weights_key` of the YAML.
    #[arg(long, value_name = "KEY")]
    weights_key: Option<String>,
    /// Whose numerics and preprocessing go with a file: `keras`, `torchvision` or `timm`. Default: recognised from the
    /// file.
    #[arg(long, value_name = "SOURCE", value_parser = source)]
    source: Option<Source>,
    /// `f32`, `bf16` or `int8`: see `extract.precision` of the YAML.
    #[arg(long, default_value = "f32")]
    precision: Precision,
    #[command(flatten)]
    ranges: RangesArgs,
    #[command(flatten)]
    fetching: FetchArgs,
}

fn weights(text: &str) -> Result<Weights, String> {
    text.parse().map_err(|expected| format!("expected {expected}"))
}

/// Opens the network and classifies.
pub fn run(arguments: &ClassifyArgs) -> Result<(), Error> {
    let model = find_model(&arguments.model)?;
    let weights = arguments.weights.clone().unwrap_or_default();
    let (ui, fetching) = (ui(arguments.pictures.style()), &arguments.fetching);
    let weights = network_plan::origin(model, &weights, (0, true), &mut fetching.store.fetch(fetching.offline, &ui))?;
    let weights = weights.with_key(arguments.weights_key.as_deref())?;
    let device = arguments.pictures.workers.open_device()?;
    let network = Predictor::network(model, weights, arguments.source)?.precision(arguments.precision);
    let pictures = arguments.pictures.pictures()?;
    arguments.ranges.settle(&network, &pictures, &arguments.pictures.workers, &ui)?;
    let predictor = Predictor::of_network(&network, &device)?;
    if let Some(told) = predictor.taken().told().filter(|_| !predictor.taken().others.is_empty()) {
        ui.note(&format!("weights {told}"));
    }
    let imagenet = imagenet::classes();
    let known = predictor.classes().len() == imagenet.len();
    let wnids: Vec<&str> = imagenet.iter().filter(|_| known).map(|class| class.wnid).collect();
    let mut read = Inputs::default();
    if let Some(Weights::Path(path)) = &arguments.weights {
        read.files.push(path.clone());
    }
    let asked = top::Asked { name: "classify", wnids: &wnids, parquet: None, read };
    top::run(&predictor, &arguments.pictures, &pictures, asked, &ui)
}
