//! `featurize weights`: lists, downloads, imports and verifies trained weights.

mod own;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{StoreArgs, find_model, print, style, ui};
use crate::error::Error;
use crate::models::graph::GraphError;
use crate::models::spec::Hash;
use crate::models::{BuildOptions, MODELS, ModelSpec, WeightsSpec};
use crate::network_plan;
use crate::progress::{Style, bytes, shown_in};
use crate::terminal::printable_path;
use crate::weights::Origin;
use crate::weights::store::{Checked, Listed, State, Store, Wanted, guess};

#[derive(Debug, Subcommand)]
pub enum WeightsCommand {
    /// List all known weights and their places on this machine.
    List(ListArgs),
    /// Download weights unless they are on this machine, and print their path.
    ///
    /// A broken download resumes. Files in the caches of Hugging Face, torch hub and Keras are used where they lie.
    #[command(after_help = "Examples:\n  featurize weights fetch vgg16 --source keras\n  featurize weights fetch \
                            hf:timm/resnet50.a1_in1k/model.safetensors")]
    Fetch(FetchArgs),
    /// Copy a file to the folder for weights, after checking that it is the published one; or, with --name, weights of
    /// your own, which every pipeline and command then knows by this name.
    #[command(
        after_help = "Examples:\n  featurize weights import Downloads/vgg16_weights_tf_dim_ordering_tf_kernels.h5\n  \
                      featurize weights import best.pth --name pets --model resnet50 --source timm --recipe \
                      '{size: 256}' --classes names.txt"
    )]
    Import(ImportArgs),
    /// Delete weights of your own from the folder for weights, and their name. The file that was imported stays.
    #[command(after_help = "Example:\n  featurize weights remove pets")]
    Remove(RemoveArgs),
    /// Read all files in the folder for weights and compare their hashes; the exit code is 1 when one differs.
    Verify(VerifyArgs),
    /// Print the path of weights. Downloads nothing; the exit code is 1 when they are not on this machine.
    #[command(after_help = "Example:\n  featurize weights path vgg16 --source keras")]
    Path(FileArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// List only the weights of this model.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Print a JSON object for each file, on a line of its own.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct FetchArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Download nothing. The command fails when the weights are not on this machine.
    #[arg(long)]
    offline: bool,
    /// Print only errors and the path.
    #[arg(short, long)]
    quiet: bool,
}

/// A file of weights.
#[derive(Debug, Args)]
pub struct FileArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// A model (see `featurize models list`), `hf:owner/repo/file[@revision]`, a URL, also with `#sha256=…` at its
    /// end, or a name of your own.
    #[arg(value_name = "WHAT")]
    what: String,
    /// The library that publishes the weights: `keras`, `torchvision` or `timm`; or one of its files by the library's
    /// name for it, `timm:a2_in1k`. Default: the first that `weights list` names.
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// Accept a file without the classifier on top.
    #[arg(long)]
    no_top: bool,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The file to import.
    file: PathBuf,
    /// The model that the file is for. Default: recognised from the name or the hash of the file.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The library that publishes the file, or after which your own network is built: `keras`, `torchvision` or `timm`;
    /// or the file by the library's name for it, `timm:a2_in1k`.
    #[arg(long, value_name = "SOURCE", requires = "model")]
    source: Option<String>,
    #[command(flatten)]
    own: own::OwnArgs,
}

#[derive(Debug, Args)]
pub struct RemoveArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The name.
    name: String,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Verify only the files of this model.
    #[arg(value_name = "MODEL")]
    model: Option<String>,
}

/// Runs a command about weights.
pub fn run(command: &WeightsCommand) -> Result<(), Error> {
    match command {
        WeightsCommand::List(arguments) => list(arguments),
        WeightsCommand::Fetch(arguments) => fetch(arguments),
        WeightsCommand::Import(arguments) => import(arguments),
        WeightsCommand::Remove(RemoveArgs { store, name }) => Ok(store.open(true)?.unregister(name)?),
        WeightsCommand::Verify(arguments) => verify(arguments),
        WeightsCommand::Path(arguments) => path(arguments),
    }
}

fn list(arguments: &ListArgs) -> Result<(), Error> {
    let store = arguments.store.open(false)?;
    let only = arguments.model.as_deref().map(find_model).transpose()?;
    let models: Vec<&'static ModelSpec> = only.map_or_else(|| MODELS.iter().collect(), |model| vec![model]);
    if !arguments.json {
        print(&format!(
            "{:<22} {:<28} {:>6} {:>10}  file, licence, where it lies",
            "model", "weights", "top-1", "size"
        ))?;
    }
    for (model, weights) in models.into_iter().flat_map(|model| model.weights.iter().map(move |row| (model, row))) {
        let files = store.list(model, weights);
        if files.is_empty() {
            show(arguments.json, model, weights, None)?;
        }
        files.iter().try_for_each(|file| show(arguments.json, model, weights, Some(file)))?;
    }
    for (name, own) in store.registered().into_iter().filter(|(_, own)| only.is_none_or(|one| one.name == own.model)) {
        own::show(&store, arguments.json, &name, &own)?;
    }
    if !arguments.json {
        print(&format!(
            "the store is {}; files of other programs' caches are used where they lie",
            store.dir().display()
        ))?;
    }
    Ok(())
}

/// A line of the list. Weights inside the program have no file, and `listed` is none.
fn show(json: bool, model: &ModelSpec, weights: &WeightsSpec, listed: Option<&Listed>) -> Result<(), Error> {
    let lies = listed.and_then(|listed| listed.lies.as_ref());
    let about = about_bytes(model, weights, listed.is_none_or(|listed| listed.file.top))?;
    if json {
        let hash = listed.and_then(|listed| match listed.file.hash {
            Hash::Sha256(digits) => Some(format!("sha256:{digits}")),
            Hash::Md5(digits) => Some(format!("md5:{digits}")),
            Hash::Unknown => None,
        });
        let (file, place) = (listed.map(|listed| &listed.file), lies.map(|(place, ..)| place.to_string()));
        let line = json!({"model": model.name, "source": weights.source, "name": weights.name,
            "licence": weights.licence, "top1": weights.top1, "classes": weights.classes, "bundled": file.is_none(),
            "file": file.map(|file| file.name), "top": file.map(|file| file.top), "url": file.map(|file| file.url),
            "hash": hash, "path": lies.map(|(_, path, _)| path), "bytes": lies.map(|(.., length)| length),
            "about_bytes": about, "place": place});
        return print(&line.to_string());
    }
    let file = listed.map_or("", |listed| listed.file.name);
    let place = match (listed, lies) {
        (None, _) => "inside the binary".to_string(),
        (Some(_), None) => "not here".to_string(),
        (Some(_), Some((place, path, _))) => format!("{place}: {}", path.display()),
    };
    let top1 = weights.top1.map_or(String::new(), |top1| format!("{top1:.1}"));
    let size = lies.map_or_else(|| format!("~{}", bytes(about)), |(.., length)| bytes(*length));
    let words = [file, weights.licence, &place].into_iter().filter(|word| !word.is_empty());
    let words = words.collect::<Vec<_>>().join(", ");
    print(&format!("{:<22} {:<28} {top1:>6} {size:>10}  {words}", model.name, weights.name))
}

/// The approximate size of a file of weights: four bytes per parameter, or two inside the program.
fn about_bytes(model: &ModelSpec, weights: &WeightsSpec, top: bool) -> Result<u64, GraphError> {
    let graph = model.build(&BuildOptions::of(weights))?;
    let last = if top { graph.logits() } else { graph.features() };
    let layers = graph.layers().iter().zip(graph.needed_for(&[last])).filter(|(_, needed)| *needed);
    let numbers: usize =
        layers.flat_map(|(layer, _)| graph.parameters_of(layer)).map(|p| p.shape.iter().product::<usize>()).sum();
    Ok(numbers as u64 * if weights.files.is_empty() { 2 } else { 4 })
}

fn fetch(arguments: &FetchArgs) -> Result<(), Error> {
    let (store, ui) = (arguments.file.store.open(arguments.offline)?, ui(style(arguments.quiet)));
    let wanted = arguments.file.wanted(&store)?;
    if let Wanted::Known { weights, .. } = &wanted
        && weights.files.is_empty()
    {
        ui.note(&format!("{wanted} lie inside the binary: there is nothing to fetch"));
        return Ok(());
    }
    let mut show = shown_in(&ui);
    let found = store.get(&wanted, &mut show)?;
    // the progress bar is removed before the path is printed
    drop(show);
    print(&found.path.display().to_string())
}

fn import(arguments: &ImportArgs) -> Result<(), Error> {
    let store = arguments.store.open(false)?;
    let found = match &arguments.own.name {
        Some(name) => own::import(&store, name, arguments)?,
        None => {
            let (model, weights) = row_of(MODELS, arguments)?;
            store.import(&arguments.file, &Wanted::Known { model, weights, top: false })?
        }
    };
    print(&found.path.display().to_string())
}

/// The weights in the registry for which a file is imported.
fn row_of(
    models: &'static [ModelSpec],
    arguments: &ImportArgs,
) -> Result<(&'static ModelSpec, &'static WeightsSpec), Error> {
    let Some(name) = &arguments.model else { return Ok(guess(models, &arguments.file)?) };
    let model = find_model(name)?;
    match &arguments.source {
        Some(source) => Ok((model, network_plan::published(model, source)?)),
        None => Ok(guess(std::slice::from_ref(model), &arguments.file)?),
    }
}

fn verify(arguments: &VerifyArgs) -> Result<(), Error> {
    let store = arguments.store.open(false)?;
    let only = arguments.model.as_deref().map(find_model).transpose()?;
    let (mut told, mut files) = (Ok(()), 0);
    let mut tell = |checked: &Checked| {
        files += 1;
        let path: &Path = checked.path.strip_prefix(store.dir()).unwrap_or(&checked.path);
        let path = path.display();
        let line = match &checked.state {
            State::Sound { sha256 } => format!("sound    {path} ({sha256})"),
            State::Unknown { sha256 } => format!("unknown  {path} ({sha256}): nothing is known to compare it with"),
            State::Damaged { reason } => format!("damaged  {path}: {reason}"),
        };
        told = print(&line);
        if told.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let verified = store.verify(MODELS, only, &mut tell);
    told?;
    verified?;
    match files {
        0 => print(&format!("no file of weights in {}", printable_path(store.dir()))),
        _ => Ok(()),
    }
}

fn path(arguments: &FileArgs) -> Result<(), Error> {
    let store = arguments.store.open(false)?;
    let wanted = arguments.wanted(&store)?;
    let ui = ui(Style::Auto);
    let found = store.find(&wanted, &mut shown_in(&ui))?.ok_or_else(|| store.not_here(&wanted))?;
    print(&found.path.display().to_string())
}

impl FileArgs {
    /// The weights that the arguments name.
    fn wanted(&self, store: &Store) -> Result<Wanted, Error> {
        let what = self.what.as_str();
        let own = || store.registered().contains_key(what).then(|| Wanted::Own(what.to_string()));
        if let Some(wanted) = Wanted::parse(what)?.or_else(own) {
            if self.source.is_some() || self.no_top {
                return Err(Error::UnknownModel(format!("--source and --no-top go with a model; `{what}` is a file")));
            }
            return Ok(wanted);
        }
        let model = find_model(what)?;
        let weights = match &self.source {
            Some(source) => network_plan::published(model, source)?,
            None => network_plan::row(model, &Origin::Random(0), None)?,
        };
        Ok(Wanted::Known { model, weights, top: !self.no_top })
    }
}
