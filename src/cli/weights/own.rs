//! The user's own weights, registered by a name.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::ImportArgs;
use crate::cli::{class_names, default_pipeline, print, usage};
use crate::error::Error;
use crate::exec::Device;
use crate::extractor::Extractor;
use crate::models::Source;
use crate::network_plan::NetworkPlan;
use crate::plan::Plan;
use crate::progress::bytes;
use crate::weights::store::{Found, OwnWeights, Store, Wanted, check_name};

/// The name of own weights, and their network.
#[derive(Debug, Args)]
pub struct OwnArgs {
    /// A name for weights of your own, for `extract.weights` and every `--weights`.
    #[arg(long, value_name = "NAME", requires = "model")]
    pub name: Option<String>,
    /// How pictures are prepared for your weights: keys of `extract.recipe`, in YAML, as `{size: 256, crop_pct: 1}` or
    /// `{preset: timm}`. Default: as for the published weights of the model.
    #[arg(long, value_name = "KEYS", requires = "name")]
    recipe: Option<String>,
    /// The place of the network in the file, when it is there more than once: see `extract.weights_key` of the YAML.
    #[arg(long, value_name = "KEY", requires = "name")]
    weights_key: Option<String>,
    /// A text file with the names of the classes, one a line, in the order of the classifier's outputs, for `classify`.
    #[arg(long, value_name = "FILE", requires = "name")]
    classes: Option<PathBuf>,
}

/// Registers a file after checking that it has the weights of the network.
pub fn import(store: &Store, name: &str, arguments: &ImportArgs) -> Result<Found, Error> {
    check_name(name)?;
    let network = network(store, arguments)?;
    let source = network.source.ok_or_else(|| Error::Usage("an ONNX file gets no name: give its path".to_string()))?;
    let classes = arguments.own.classes.as_deref().map(|file| classes(file, &network, source)).transpose()?;
    // reads every tensor, so that registered weights are known to work
    Extractor::open(&network, &Device::cpu())?;
    let own = OwnWeights {
        model: network.name.clone(),
        source,
        weights_key: network.weights_key().map(String::from),
        recipe: network.recipe.clone(),
        exif: network.decoding.exif,
        classes,
        sha256: network.weights.fingerprint()?,
    };
    Ok(store.register(name, &arguments.file, &own)?)
}

/// The network as a pipeline would plan it, with the same checks and errors.
fn network(store: &Store, arguments: &ImportArgs) -> Result<NetworkPlan, Error> {
    let ImportArgs { file, model, source, own, .. } = arguments;
    let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
    let mut sets = vec![format!("extract.weights={}", json!(file))];
    sets.extend(model.iter().map(|model| format!("extract.model={}", json!(model))));
    sets.extend(source.iter().map(|source| format!("extract.source={}", json!(source))));
    sets.extend(own.weights_key.iter().map(|key| format!("extract.weights_key={}", json!(key))));
    sets.extend(own.recipe.iter().map(|recipe| format!("extract.recipe={recipe}")));
    let mut fetch = |wanted: &Wanted| store.get(wanted, &mut |_| ControlFlow::Continue(()));
    Ok(Plan::new(default_pipeline("import", &sets)?, None, &mut fetch)?.backbone)
}

/// The names of the classes in `file`, as many as the classifier of the network has outputs.
fn classes(file: &Path, network: &NetworkPlan, source: Source) -> Result<Vec<String>, Error> {
    let names = class_names(file)?;
    let logits = network.graph.logits();
    network.weights.load(&network.graph, source, &[logits])?;
    let outputs = network.graph.layer(logits).shape.len();
    if outputs != names.len() {
        let (n, file) = (names.len(), file.display());
        return usage(format!("{file} names {n} classes, the classifier in the weights has {outputs}"));
    }
    Ok(names)
}

/// A line of `weights list` about own weights.
pub fn show(store: &Store, as_json: bool, name: &str, own: &OwnWeights) -> Result<(), Error> {
    let found = store.find(&Wanted::Own(name.to_string()), &mut |_| ControlFlow::Continue(()))?;
    let path = found.map(|found| found.path);
    let length = path.as_ref().and_then(|path| path.metadata().ok()).map(|metadata| metadata.len());
    if as_json {
        let line = json!({"model": own.model, "source": name, "licence": null, "top1": null,
            "classes": own.classes.as_ref().map(Vec::len), "about": "your own", "bundled": false, "file": null,
            "top": null, "url": null, "hash": format!("sha256:{}", own.sha256), "path": path, "bytes": length,
            "about_bytes": length, "place": path.as_ref().map(|_| "store")});
        return print(&line.to_string());
    }
    let place =
        path.map_or_else(|| "damaged; import it again".to_string(), |path| format!("store: {}", path.display()));
    print(&format!(
        "{:<20} {:<12} {:>6} {:>10}  your own, {place}",
        own.model,
        name,
        "",
        length.map_or_else(String::new, bytes)
    ))
}
