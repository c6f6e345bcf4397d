//! Translates the names of tensors in files of CLIP's ResNet-50 by OpenAI, OpenCLIP and timm to those of the network:
//! `visual.layer1.0.bn2.weight` becomes `stages.0.0.conv2_kxk.bn.weight`. Queries, keys and values become one tensor.

use std::collections::BTreeMap;

use super::{Tensor, towers};
use crate::models::graph::Graph;

/// Tensors by which such files are recognised, without the prefix of all names.
const MARKS: [&str; 2] = ["attnpool.positional_embedding", "head.pos_embed"];
/// The convolutions of a block.
const CONVOLUTIONS: [&str; 3] = ["conv1_1x1", "conv2_kxk", "conv3_1x1"];

/// The tensors under the names of `graph`, if the file has such names and the graph is that network.
pub(super) fn renamed(tensors: &BTreeMap<String, Tensor>, graph: &Graph) -> Option<BTreeMap<String, Tensor>> {
    graph.find("head.qkv")?;
    let prefix = MARKS.iter().find_map(|mark| tensors.keys().find_map(|name| name.strip_suffix(mark)))?;
    let own = tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?, tensor)));
    let mut all: BTreeMap<String, Tensor> = own
        .map(|(name, tensor)| match (of_network(name), tensor.shape()) {
            (Some(name), &[n, c]) if name == "head.pos_embed" => (name, tensor.map(vec![1, n, c], |values| values)),
            (translated, _) => (translated.unwrap_or_else(|| name.to_string()), tensor.clone()),
        })
        .collect();
    towers::join(&mut all);
    Some(all)
}

/// The network's name for a tensor, if it differs.
fn of_network(name: &str) -> Option<String> {
    let words: Vec<&str> = name.split('.').collect();
    Some(match words[..] {
        ["attnpool", "positional_embedding"] | ["head", "pos_embed"] => "head.pos_embed".to_string(),
        ["attnpool" | "head", "c_proj", word] => format!("head.proj.{word}"),
        ["attnpool" | "head", part @ ("q_proj" | "k_proj" | "v_proj"), word] => format!("head.{part}.{word}"),
        ["head", part @ ("q" | "k" | "v"), word] => format!("head.{part}_proj.{word}"),
        [layer, block, "downsample", at, word] => {
            let kind = if at == "0" { "conv" } else { "bn" };
            format!("stages.{}.{block}.shortcut.conv.{kind}.{word}", stage(layer)?)
        }
        [layer, block, part, word] => {
            let (kind, number) = numbered(part)?;
            let convolution = CONVOLUTIONS.get(number.checked_sub(1)?)?;
            format!("stages.{}.{block}.{convolution}.{kind}.{word}", stage(layer)?)
        }
        [part, word] => {
            let (kind, number) = numbered(part)?;
            format!("stem.conv{number}.{kind}.{word}")
        }
        _ => return None,
    })
}

/// `layer1` is stage 0.
fn stage(layer: &str) -> Option<usize> {
    layer.strip_prefix("layer")?.parse::<usize>().ok()?.checked_sub(1)
}

/// Splits `conv2` and `bn2` into kind and number.
fn numbered(part: &str) -> Option<(&str, usize)> {
    ["conv", "bn"].into_iter().find_map(|kind| Some((kind, part.strip_prefix(kind)?.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Source, built};

    /// The names of OpenAI's file and of timm's, of shapes (filters, channels, height, width) or (out, in).
    #[test]
    fn every_tensor_gets_the_name_and_the_shape_of_the_network() {
        let mut openai: Vec<(String, Vec<usize>)> = Vec::new();
        let mut timm = Vec::new();
        let mut both = |openais: String, timms: String, shape: &[usize]| {
            openai.push((format!("visual.{openais}"), shape.to_vec()));
            timm.push((timms, shape.to_vec()));
        };
        let mut conv_and_norm = |openais: &str, norm: &str, timms: &str, shape: [usize; 4]| {
            both(format!("{openais}.weight"), format!("{timms}.conv.weight"), &shape);
            for word in ["weight", "bias", "running_mean", "running_var"] {
                both(format!("{norm}.{word}"), format!("{timms}.bn.{word}"), &shape[..1]);
            }
        };
        for (i, shape) in (1..).zip([[32, 3, 3, 3], [32, 32, 3, 3], [64, 32, 3, 3]]) {
            conv_and_norm(&format!("conv{i}"), &format!("bn{i}"), &format!("stem.conv{i}"), shape);
        }
        let mut channels = 64;
        for (stage, (blocks, width)) in [(3, 64), (4, 128), (6, 256), (3, 512)].into_iter().enumerate() {
            for block in 0..blocks {
                let (from, to) = (format!("layer{}.{block}", stage + 1), format!("stages.{stage}.{block}"));
                let shapes = [[width, channels, 1, 1], [width, width, 3, 3], [4 * width, width, 1, 1]];
                for ((i, name), shape) in (1..).zip(["conv1_1x1", "conv2_kxk", "conv3_1x1"]).zip(shapes) {
                    conv_and_norm(&format!("{from}.conv{i}"), &format!("{from}.bn{i}"), &format!("{to}.{name}"), shape);
                }
                if block == 0 {
                    let [conv, norm] = [0, 1].map(|i| format!("{from}.downsample.{i}"));
                    conv_and_norm(&conv, &norm, &format!("{to}.shortcut.conv"), [4 * width, channels, 1, 1]);
                }
                channels = 4 * width;
            }
        }
        both("attnpool.positional_embedding".into(), "head.pos_embed".into(), &[50, 2048]);
        for (part, name, out) in [("q", "q", 2048), ("k", "k", 2048), ("v", "v", 2048), ("c", "proj", 1024)] {
            both(format!("attnpool.{part}_proj.weight"), format!("head.{name}.weight"), &[out, 2048]);
            both(format!("attnpool.{part}_proj.bias"), format!("head.{name}.bias"), &[out]);
        }
        // the text tower
        openai.push(("positional_embedding".into(), vec![77, 512]));
        openai.push(("transformer.resblocks.0.ln_1.weight".into(), vec![512]));
        for (source, names) in [(Source::Openai, openai), (Source::Timm, timm)] {
            let graph = built("resnet50_clip", source, [224; 2], 0);
            let file = names.into_iter().map(|(name, shape)| (name, Tensor::ready(shape, vec![]))).collect();
            let renamed = renamed(&file, &graph).expect("such names");
            for parameter in graph.parameters() {
                let found = renamed.get(&parameter.name).map(|tensor| tensor.shape().to_vec());
                assert_eq!(found, Some(parameter.shape), "{source}: {}", parameter.name);
            }
            assert_eq!(renamed.len(), graph.parameters().len(), "{source}");
        }
    }
}
