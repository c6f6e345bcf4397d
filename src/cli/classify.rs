//! `featurize classify`: a network with the ImageNet classifier that it was trained with.

use std::path::PathBuf;

use clap::Args;

use super::find_model;
use super::top::{self, TopArgs};
use crate::chain::Chain;
use crate::error::Error;
use crate::models::imagenet;

/// Which network, and which pictures.
#[derive(Debug, Args)]
pub struct ClassifyArgs {
    #[command(flatten)]
    pictures: TopArgs,
    /// The network: see `featurize models list`.
    #[arg(long, value_name = "NAME", default_value = "efficientnet_lite0")]
    model: String,
    /// A safetensors file with the network's weights and its classifier on top, instead of its own.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
}

/// Opens the network and classifies.
pub fn run(arguments: &ClassifyArgs) -> Result<(), Error> {
    let chain = Chain::of_network(find_model(&arguments.model)?, arguments.weights.as_deref())?;
    let wnids: Vec<&str> = imagenet::classes().iter().map(|class| class.wnid).collect();
    top::run(&chain, &arguments.pictures, &wnids)
}
