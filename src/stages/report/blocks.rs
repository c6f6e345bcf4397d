//! Divides the network into at most a dozen blocks, by the names of its layers or by the sizes of their feature maps.
//!
//! Libraries name layers differently: `layer2.0.conv1` (torchvision), `blocks.2.1.bn` (timm), `conv3_block1_1_conv` or
//! `conv2d_17` (Keras). A block is a sequence of layers whose names have the same prefix, if that gives a handful of
//! blocks, each with maps of about one size; else a sequence of layers with maps of the same size.

use crate::models::graph::Op;
use crate::models::{Graph, LayerId, Shape};
use crate::network_plan::NetworkPlan;

/// The most blocks, not counting the input.
const MOST: usize = 12;
/// The most sizes of maps, in octaves, in a block that was found by names.
const OCTAVES: usize = 3;

/// A sequence of layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The common prefix of its layers' names, or the prefixes of the first and of the last layer.
    pub name: String,
    /// True for the input picture of the network.
    pub is_input: bool,
    /// The shape of its output for one picture.
    pub shape: Shape,
    /// Convolutions and dense layers.
    pub layers: usize,
    /// Residual sums.
    pub sums: usize,
    /// Concatenations.
    pub joins: usize,
    /// Its share of the multiply-accumulates of a picture.
    pub work: f64,
    /// True when features are taken from it.
    pub tapped: bool,
}

/// A block while it is built: its layers and the prefixes of their names.
struct Run<'a> {
    first: &'a str,
    last: &'a str,
    layers: Vec<LayerId>,
}

/// The input, and the blocks that are needed to compute the features.
pub fn of(backbone: &NetworkPlan) -> Vec<Block> {
    let (graph, taps) = (&backbone.graph, backbone.layer_ids());
    let needed = graph.needed_for(&taps);
    let used = (0..graph.layers().len()).filter(|&i| needed[i]).map(LayerId);
    let (inputs, used): (Vec<LayerId>, Vec<LayerId>) = used.partition(|&id| graph.layer(id).op == Op::Input);
    let by_name = [2, 1].map(|depth| runs(graph, &used, depth));
    let fits = |runs: &Vec<Run>| {
        (3..=MOST).contains(&runs.len()) && runs.iter().all(|run| octaves(graph, &run.layers) <= OCTAVES)
    };
    let [fine, coarse] = by_name;
    let runs = match (fits(&fine), fits(&coarse)) {
        (true, _) => fine,
        (false, true) => coarse,
        (false, false) => {
            let merged = by_size(graph, fine);
            // all names have a common prefix, as in Keras' MobileNetV3
            if merged.len() < 3 { by_size(graph, runs(graph, &used, 3)) } else { merged }
        }
    };
    let total = backbone.macs().max(1) as f64;
    let block = |name: String, layers: &[LayerId]| {
        let of = |wanted: fn(&Op) -> bool| layers.iter().filter(|&&id| wanted(&graph.layer(id).op)).count();
        Block {
            name,
            is_input: layers.iter().all(|&id| graph.layer(id).op == Op::Input),
            shape: layers.last().map_or(Shape::Vector(0), |&id| graph.layer(id).shape),
            layers: of(has_weights),
            sums: of(|op| matches!(op, Op::Add)),
            joins: of(|op| matches!(op, Op::Concat)),
            work: layers.iter().map(|&id| graph.macs_of(graph.layer(id)) as f64).sum::<f64>() / total,
            tapped: layers.iter().any(|id| taps.contains(id)),
        }
    };
    let input = inputs.first().map(|id| block("input".into(), std::slice::from_ref(id)));
    let blocks = runs.iter().map(|run| {
        let name = if run.first == run.last { run.first.into() } else { format!("{} … {}", run.first, run.last) };
        block(name, &run.layers)
    });
    input.into_iter().chain(blocks).collect()
}

fn has_weights(op: &Op) -> bool {
    matches!(op, Op::Conv { .. } | Op::Dense { .. } | Op::DenseMap { .. })
}

/// The first `depth` parts of a name: 2 of `layer2.0.conv1` is `layer2.0`.
fn beginning(name: &str, depth: usize) -> &str {
    let end = name.match_indices(['.', '_', '/']).filter(|&(at, _)| at > 0).nth(depth - 1);
    &name[..end.map_or(name.len(), |(at, _)| at)]
}

/// Sequences of layers whose names have the same prefix. Layers without weights belong to the sequence before them.
fn runs<'a>(graph: &'a Graph, layers: &[LayerId], depth: usize) -> Vec<Run<'a>> {
    let mut alike: Vec<Run> = Vec::new();
    for &id in layers {
        let name = beginning(&graph.layer(id).name, depth);
        match alike.last_mut() {
            Some(run) if run.last == name => run.layers.push(id),
            _ => alike.push(Run { first: name, last: name, layers: vec![id] }),
        }
    }
    let mut runs: Vec<Run> = Vec::new();
    for run in alike {
        let weighty = |run: &Run| run.layers.iter().any(|&id| has_weights(&graph.layer(id).op));
        match runs.last_mut() {
            Some(before) if !weighty(&run) || before.first == run.first => before.layers.extend(run.layers),
            // a padding before the first convolution
            Some(before) if !weighty(before) => {
                before.layers.extend(run.layers);
                (before.first, before.last) = (run.first, run.last);
            }
            _ => runs.push(run),
        }
    }
    runs
}

/// The longer side of a layer's output; for tokens, the side of their square; 1 for a vector.
fn side(graph: &Graph, id: LayerId) -> usize {
    match graph.layer(id).shape {
        Shape::Map { h, w, .. } => h.max(w),
        Shape::Tokens { n, .. } => n.isqrt(),
        Shape::Vector(_) => 1,
    }
}

/// The number of different sizes of the layers' maps, counted in octaves.
fn octaves(graph: &Graph, layers: &[LayerId]) -> usize {
    let mut sizes: Vec<u32> = layers.iter().map(|&id| (side(graph, id) as f64).log2().round() as u32).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes.len()
}

/// Merges neighbouring sequences whose maps have sizes of one octave. A branch that begins with maps of the previous
/// size belongs to the block in which it ends.
fn by_size<'a>(graph: &Graph, runs: Vec<Run<'a>>) -> Vec<Run<'a>> {
    let octave = |run: &Run| run.layers.last().map_or(0, |&id| (side(graph, id) as f64).log2().round() as u32);
    let mut merged: Vec<(u32, Run)> = Vec::new();
    for run in runs {
        let now = octave(&run);
        match merged.last_mut() {
            Some((size, before)) if now >= *size => {
                before.layers.extend(run.layers);
                before.last = run.last;
            }
            _ => merged.push((now, run)),
        }
    }
    merged.into_iter().map(|(_, run)| run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Features;
    use crate::models::MODELS;
    use crate::weights::Origin;

    #[test]
    fn every_network_of_every_library_is_a_handful_of_blocks() {
        for model in MODELS {
            for row in model.weights {
                let backbone =
                    NetworkPlan::new(model, row, Origin::Random(0), row.recipe.clone(), &[], Features::default())
                        .expect("built");
                let blocks = of(&backbone);
                let name = format!("{} after {}", model.name, row.source);
                assert!((3..=MOST + 1).contains(&blocks.len()), "{name}: {blocks:#?}");
                assert!(blocks[0].name == "input" && blocks[0].is_input && !blocks[1].is_input);
                assert_eq!(blocks.iter().filter(|block| block.tapped).count(), 1, "{name}");
                assert!(blocks.last().is_some_and(|last| last.tapped && last.shape == backbone.taps[0].map), "{name}");
                let work: f64 = blocks.iter().map(|block| block.work).sum();
                assert!((work - 1.0).abs() < 1e-9, "{name}: {work}");
                // maps never get larger from block to block
                let sides: Vec<usize> =
                    blocks.iter().map(|b| if let Shape::Map { h, .. } = b.shape { h } else { 1 }).collect();
                assert!(sides.windows(2).all(|pair| pair[0] >= pair[1]), "{name}: {sides:?}");
                if std::env::var_os("FEATURIZE_REPORTS").is_some() {
                    let told = |block: &Block| format!("{} {:?} {}", block.name, block.shape.dims(), block.layers);
                    println!("{name}: {}", blocks.iter().map(told).collect::<Vec<_>>().join(" | "));
                }
            }
        }
    }

    #[test]
    fn a_name_begins_with_its_parts() {
        assert_eq!(beginning("layer2.0.conv1", 1), "layer2");
        assert_eq!(beginning("layer2.0.conv1", 2), "layer2.0");
        assert_eq!(beginning("conv3_block1_1_conv", 2), "conv3_block1");
        assert_eq!(beginning("relu", 2), "relu");
    }
}
