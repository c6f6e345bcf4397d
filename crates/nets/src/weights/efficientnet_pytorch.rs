//! The names of tensors in the files of the package `efficientnet_pytorch` (github.com/lukemelas/EfficientNet-PyTorch)
//! and of packages with the same names. These files hold Google's EfficientNets and EfficientNet-Lites. This module
//! translates the names to timm's: `_blocks.7._expand_conv.weight` is `blocks.3.2.conv_pw.weight`.

use std::collections::BTreeMap;

use super::Tensor;
use crate::models::graph::{Graph, Op};

/// The tensors under timm's names, if the file has such names and `graph` has timm's.
pub(super) fn renamed(tensors: &BTreeMap<String, Tensor>, graph: &Graph) -> Option<BTreeMap<String, Tensor>> {
    let prefix = tensors.keys().find_map(|name| name.strip_suffix("_blocks.0._depthwise_conv.weight"))?;
    graph.find("conv_stem")?;
    let mut blocks: Vec<Block> = Vec::new();
    for layer in graph.layers().iter().filter(|layer| matches!(layer.op, Op::Conv { .. })) {
        match layer.name.strip_prefix("blocks.").and_then(|name| name.split_once(".conv_")) {
            Some((at, conv)) if !at.ends_with(".se") && blocks.last().is_none_or(|block| block.at != at) => {
                blocks.push(Block { at, expands: conv == "pw" });
            }
            _ => {}
        }
    }
    let rename = |(name, tensor): (&String, &Tensor)| {
        let own = name.strip_prefix(prefix).and_then(|name| of_timm(name, &blocks));
        (own.unwrap_or_else(|| name.clone()), tensor.clone())
    };
    Some(tensors.iter().map(rename).collect())
}

/// A block of the network: its stage and index in timm's names, and whether it begins with a 1 × 1 convolution.
struct Block<'a> {
    at: &'a str,
    expands: bool,
}

fn of_timm(name: &str, blocks: &[Block]) -> Option<String> {
    let (layer, word) = name.rsplit_once('.')?;
    let Some((index, part)) = layer.strip_prefix("_blocks.").and_then(|rest| rest.split_once('.')) else {
        let layer = match layer {
            "_conv_stem" => "conv_stem",
            "_bn0" => "bn1",
            "_conv_head" => "conv_head",
            "_bn1" => "bn2",
            "_fc" => "classifier",
            _ => return None,
        };
        return Some(format!("{layer}.{word}"));
    };
    let Block { at, expands } = blocks.get(index.parse::<usize>().ok()?)?;
    let part = match (part, expands) {
        ("_expand_conv", true) => "conv_pw",
        ("_bn0", true) => "bn1",
        ("_depthwise_conv", _) => "conv_dw",
        ("_bn1", true) => "bn2",
        ("_bn1", false) => "bn1",
        ("_se_reduce", _) => "se.conv_reduce",
        ("_se_expand", _) => "se.conv_expand",
        ("_project_conv", true) => "conv_pwl",
        ("_project_conv", false) => "conv_pw",
        ("_bn2", true) => "bn3",
        ("_bn2", false) => "bn2",
        _ => return None,
    };
    Some(format!("blocks.{at}.{part}.{word}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Source, built};

    #[test]
    fn every_tensor_gets_the_name_that_timm_has_for_it() {
        let graph = built("efficientnet_b0", Source::Timm, [224; 2], 1000);
        let layers = ["_conv_stem", "_bn0", "_conv_head", "_bn1", "_fc"].map(str::to_string);
        let parts = ["_depthwise_conv", "_bn1", "_se_reduce", "_se_expand", "_project_conv", "_bn2"];
        let first = parts.iter().map(|part| format!("_blocks.0.{part}"));
        let all = parts.iter().chain(&["_expand_conv", "_bn0"]);
        let others = (1..16).flat_map(|i| all.clone().map(move |part| format!("_blocks.{i}.{part}")));
        let words = |layer: String| {
            let words: &[&str] = match &layer {
                layer if layer.contains("_bn") => &["weight", "bias", "running_mean", "running_var"],
                layer if layer.contains("_se") || layer == "_fc" => &["weight", "bias"],
                _ => &["weight"],
            };
            words.iter().map(|word| format!("net.{layer}.{word}")).collect::<Vec<_>>()
        };
        let names = layers.into_iter().chain(first).chain(others).flat_map(words);
        let tensors = names.map(|name| (name, Tensor::ready(vec![], vec![0.0]))).collect();
        let renamed = renamed(&tensors, &graph).expect("such names");
        let mut expected: Vec<String> = graph.parameters().into_iter().map(|parameter| parameter.name).collect();
        expected.sort();
        assert_eq!(renamed.into_keys().collect::<Vec<_>>(), expected);
    }
}
