//! `featurize models`: the list of networks, and their layers.

use std::collections::BTreeMap;

use clap::Subcommand;
use serde::Serialize;

use super::{find_model, print, source};
use crate::error::Error;
use crate::image::Recipe;
use crate::models::graph::{Attention, Layer, Op, Pooling};
use crate::models::{BuildOptions, Graph, LayerId, MODELS, ModelSpec, Source, WeightsSpec};
use crate::network_plan::{self, TEXT_SIMILARITY};
use crate::weights::Origin;
use crate::weights::store::{OwnWeights, Store};

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the models: size, cost, and the known weights with their ImageNet top-1 accuracy and licence.
    List {
        /// Print a JSON object for each model, on a line of its own.
        #[arg(long)]
        json: bool,
    },
    /// Print the layers of a model, as Keras' `summary()` does.
    Show {
        /// The name of the model.
        name: String,
        /// The library whose network and layer names are shown: `keras`, `torchvision`, `timm`, `openai` or `facebook`.
        /// Default: the first that `models list` names.
        #[arg(long, value_name = "SOURCE", value_parser = source)]
        source: Option<Source>,
        /// Print a drawing for Graphviz: `featurize models show resnet50 --dot | dot -Tsvg > resnet50.svg`.
        #[arg(long)]
        dot: bool,
    },
}

/// Lists the models, or shows one.
pub fn run(command: &ModelsCommand) -> Result<(), Error> {
    match command {
        ModelsCommand::List { json } => list(*json),
        ModelsCommand::Show { name, source, dot } => {
            let model = find_model(name)?;
            let row = network_plan::row(model, &Origin::Random(0), *source)?;
            let graph = model.build(&BuildOptions::of(row))?;
            if *dot { print(&drawing(model, &graph)) } else { show(model, row, &graph) }
        }
    }
}

/// A line of `models list --json`. It is serialised directly, since a `Value` would print an f32 as an f64.
#[derive(Serialize)]
struct ModelLine<'a> {
    name: &'static str,
    title: &'static str,
    parameters: usize,
    macs: u64,
    input: [usize; 2],
    features: usize,
    weights: Vec<WeightsLine<'a>>,
}

#[derive(Serialize)]
struct WeightsLine<'a> {
    name: &'a str,
    source: Source,
    top1: Option<f64>,
    licence: &'a str,
    text_tower: Option<&'a str>,
    urls: Vec<&'static str>,
    recipe: &'a Recipe,
}

impl<'a> WeightsLine<'a> {
    fn of(row: &'static WeightsSpec) -> Self {
        let urls = row.files.iter().map(|file| file.url).collect();
        let WeightsSpec { name, source, top1, licence, text_tower, recipe, .. } = row;
        Self { name, source: *source, top1: *top1, licence, text_tower: *text_tower, urls, recipe }
    }

    /// The line for the user's own weights.
    fn own(name: &'a str, own: &'a OwnWeights) -> Self {
        let (licence, text_tower, urls) = ("your own", None, Vec::new());
        Self { name, source: own.source, top1: None, licence, text_tower, urls, recipe: &own.recipe }
    }
}

fn list(as_json: bool) -> Result<(), Error> {
    if !as_json {
        print(&format!(
            "{:<22} {:>10} {:>8} {:>9} {:>8}  weights: top-1 (licence)",
            "model", "parameters", "MACs", "input", "features"
        ))?;
    }
    let own = Store::open(None, true).map_or_else(|_| BTreeMap::new(), |store| store.registered());
    for model in MODELS {
        let Some(row) = model.weights.first() else { continue };
        let graph = model.build(&BuildOptions::of(row))?;
        let macs: u64 = graph.layers().iter().map(|layer| graph.macs_of(layer)).sum();
        let own = own.iter().filter(|(_, own)| own.model == model.name).map(|(name, own)| WeightsLine::own(name, own));
        let width = graph.layer(graph.features()).shape.dims().last().copied().unwrap_or(0);
        if as_json {
            let (input, parameters) = (row.recipe.size, trained(&graph));
            let weights = model.weights.iter().map(WeightsLine::of).chain(own).collect();
            let line =
                ModelLine { name: model.name, title: model.title, parameters, macs, input, features: width, weights };
            print(&serde_json::to_string(&line)?)?;
            continue;
        }
        let default = |row: &'static WeightsSpec| {
            let name = if row.files.is_empty() { row.name } else { row.source.word() };
            WeightsLine { name, ..WeightsLine::of(row) }
        };
        let text = |row: WeightsLine<'_>| match row.top1 {
            Some(top1) => format!("{} {top1:.1} % ({})", row.name, row.licence),
            None => format!("{} ({})", row.name, row.licence),
        };
        let others = model.weights.len() - model.defaults().count();
        let others = if others > 0 { format!(", {others} more in `weights list`") } else { String::new() };
        print(&format!(
            "{:<22} {:>8.2} M {:>6.2} G {:>9} {:>8}  {}{others}",
            model.name,
            trained(&graph) as f64 / 1e6,
            macs as f64 / 1e9,
            graph.layers().first().map_or(String::new(), dims),
            width,
            model.defaults().map(default).chain(own).map(text).collect::<Vec<_>>().join(", ")
        ))?;
    }
    Ok(())
}

fn show(model: &ModelSpec, row: &WeightsSpec, graph: &Graph) -> Result<(), Error> {
    print(&format!("{} ({}), after {}", model.title, model.name, row.source))?;
    print(&format!(
        "{:<36} {:<18} {:>14} {:>11} {:>13}  {}",
        "layer", "kind", "output", "parameters", "MACs", "inputs"
    ))?;
    let mut above = None;
    for layer in graph.layers() {
        let parameters: usize = graph.parameters_of(layer).iter().map(|p| p.shape.iter().product::<usize>()).sum();
        let inputs: Vec<&str> = layer.inputs.iter().map(|&id| graph.layer(id).name.as_str()).collect();
        // the input is not printed if it is the previous layer
        let inputs = if inputs.as_slice() == above.as_slice() { String::new() } else { inputs.join(", ") };
        let (output, macs) = (dims(layer), graph.macs_of(layer));
        let line = format!("{:<36} {:<18} {output:>14} {parameters:>11} {macs:>13}  {inputs}", layer.name, kind(layer));
        print(line.trim_end())?;
        above = Some(layer.name.as_str());
    }
    let macs: u64 = graph.layers().iter().map(|layer| graph.macs_of(layer)).sum();
    print(&format!("{} trained parameters, {macs} multiply-accumulates per image", trained(graph)))?;
    print(&format!("features are taken from layer {}", graph.title(graph.features())))?;
    for row in model.weights {
        let Some(tower) = row.text_tower else { continue };
        print(&format!("{} fits the text tower of {tower}: {TEXT_SIMILARITY}", row.name))?;
    }
    Ok(())
}

/// The network as a Graphviz graph, starting at the input.
fn drawing(model: &ModelSpec, graph: &Graph) -> String {
    let mut lines = vec![
        format!("digraph {} {{", model.name),
        "  node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"sans-serif\", fontsize=10];"
            .to_string(),
    ];
    for (i, layer) in graph.layers().iter().enumerate() {
        let fill = if LayerId(i) == graph.features() { ", fillcolor=lightblue" } else { "" };
        lines.push(format!("  n{i} [label=\"{}\\n{} → {}\"{fill}];", layer.name, kind(layer), dims(layer)));
        lines.extend(layer.inputs.iter().map(|input| format!("  n{} -> n{i};", input.0)));
    }
    lines.push("}".to_string());
    lines.join("\n")
}

/// The number of trainable parameters, without the running statistics of batch normalization.
fn trained(graph: &Graph) -> usize {
    let parameters = graph.parameters();
    let trained = parameters.iter().filter(|p| !p.name.contains(".running_"));
    trained.map(|p| p.shape.iter().product::<usize>()).sum()
}

fn dims(layer: &Layer) -> String {
    layer.shape.dims().iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}

fn kind(layer: &Layer) -> String {
    match layer.op {
        Op::Input => "input".into(),
        Op::Conv { window, groups, out, .. } => {
            let [h, w] = window.kernel;
            let name = match groups {
                1 => "conv".to_string(),
                groups if groups == out => "depthwise".to_string(),
                groups => format!("conv in {groups} groups"),
            };
            let stride = if window.stride == [1, 1] { String::new() } else { format!(" /{}", window.stride[0]) };
            format!("{name} {h}×{w}{stride}")
        }
        Op::ZeroPad(_) => "zero pad".into(),
        Op::Crop => "crop".into(),
        Op::Scale(factor) => format!("scale {factor}"),
        Op::BatchNorm { .. } => "batch norm".into(),
        Op::Rescale { .. } => "rescale".into(),
        Op::Concat => "concat".into(),
        Op::Pool { pooling, window } => {
            let name = if pooling == Pooling::Max { "max pool" } else { "avg pool" };
            format!("{name} {}×{} /{}", window.kernel[0], window.kernel[1], window.stride[0])
        }
        Op::AdaptiveAvgPool(_) => "adaptive avg pool".into(),
        Op::Flatten(_) => "flatten".into(),
        Op::Activation(activation) => format!("{activation:?}").to_lowercase(),
        Op::Softmax => "softmax".into(),
        Op::Normalize => "normalize".into(),
        Op::Responses { .. } => "responses".into(),
        Op::Turn { .. } => "rotary embedding".into(),
        Op::Add => "add".into(),
        Op::Multiply => "multiply".into(),
        Op::Slice(first) => format!("channels from {first}"),
        Op::Shuffle(groups) => format!("shuffle {groups}"),
        Op::GlobalAvgPool => "global avg pool".into(),
        Op::Dense { .. } | Op::DenseMap { .. } => "dense".into(),
        Op::LayerNorm { .. } => "layer norm".into(),
        Op::LayerScale(_) => "layer scale".into(),
        Op::Tokens(_) => "tokens".into(),
        Op::Attention(Attention { heads, window: None, .. }) => format!("attention, {heads} heads"),
        Op::Attention(Attention { heads, window: Some(window), .. }) => {
            let [h, w] = window.size;
            let shifted = if window.shift == [0, 0] { "" } else { ", shifted" };
            format!("attention {h}×{w}, {heads} heads{shifted}")
        }
        Op::AttentionPool { heads } => format!("attention pool, {heads} heads"),
        Op::Select(first) => format!("tokens from {first}"),
        Op::Merge => "merge 2×2".into(),
    }
}
