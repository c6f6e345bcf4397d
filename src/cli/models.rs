//! `featurize models`: which networks there are, and what they are made of.

use clap::Subcommand;

use super::{find_model, print};
use crate::error::Error;
use crate::models::graph::{GraphError, Layer, Op};
use crate::models::{BuildOptions, Graph, MODELS, ModelSpec};

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// One line a model.
    List,
    /// The layers of a model, as Keras' `summary()` shows them.
    Show {
        /// Its name.
        name: String,
    },
}

/// Lists the models, or shows one.
pub fn run(command: &ModelsCommand) -> Result<(), Error> {
    match command {
        ModelsCommand::List => list(),
        ModelsCommand::Show { name } => show(find_model(name)?),
    }
}

fn build(model: &ModelSpec) -> Result<Option<Graph>, GraphError> {
    let Some(weights) = model.weights.first() else { return Ok(None) };
    let options = BuildOptions { channels: 3, size: weights.recipe.size, classes: weights.classes };
    (model.build)(&options).map(Some)
}

fn list() -> Result<(), Error> {
    print(&format!(
        "{:<20} {:>9} {:>8} {:>9} {:>8}  weights (licence)",
        "model", "parameters", "MACs", "input", "features"
    ));
    for model in MODELS {
        let Some(graph) = build(model)? else { continue };
        let macs: u64 = graph.layers().iter().map(|layer| graph.macs_of(layer)).sum();
        let width =
            graph.find(model.feature_layer).map_or(0, |id| graph.layer(id).shape.dims().last().copied().unwrap_or(0));
        let input = graph.layers().first().map_or(String::new(), dims);
        let weights: Vec<String> = model.weights.iter().map(|w| format!("{} ({})", w.name, w.licence)).collect();
        print(&format!(
            "{:<20} {:>8.2} M {:>6.2} G {:>9} {:>8}  {}",
            model.name,
            trained(&graph) as f64 / 1e6,
            macs as f64 / 1e9,
            input,
            width,
            weights.join(", ")
        ));
    }
    Ok(())
}

fn show(model: &ModelSpec) -> Result<(), Error> {
    let Some(graph) = build(model)? else { return Ok(()) };
    print(&format!("{} ({})", model.title, model.name));
    print(&format!("{:<32} {:<16} {:>16} {:>12} {:>14}", "layer", "kind", "output", "parameters", "MACs"));
    for layer in graph.layers() {
        let parameters: usize = graph.parameters_of(layer).iter().map(|p| p.shape.iter().product::<usize>()).sum();
        print(&format!(
            "{:<32} {:<16} {:>16} {:>12} {:>14}",
            layer.name,
            kind(layer),
            dims(layer),
            parameters,
            graph.macs_of(layer)
        ));
    }
    let macs: u64 = graph.layers().iter().map(|layer| graph.macs_of(layer)).sum();
    print(&format!("{} trained parameters, {macs} multiply-accumulates per image", trained(&graph)));
    print(&format!("features are taken from layer {}", model.feature_layer));
    Ok(())
}

/// Parameters that training sets: the running statistics of batch norm are not.
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
        Op::Conv { window, groups, .. } => {
            let [h, w] = window.kernel;
            let name = if groups == 1 { "conv" } else { "depthwise" };
            let stride = if window.stride == [1, 1] { String::new() } else { format!(" /{}", window.stride[0]) };
            format!("{name} {h}×{w}{stride}")
        }
        Op::BatchNorm { .. } => "batch norm".into(),
        Op::Activation(activation) => format!("{activation:?}").to_lowercase(),
        Op::Add => "add".into(),
        Op::GlobalAvgPool => "global avg pool".into(),
        Op::Dense { .. } => "dense".into(),
    }
}
