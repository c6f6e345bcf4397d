//! Translates the names of tensors in files of OpenAI's CLIP, OpenCLIP and Hugging Face's `transformers` (CLIP, DINOv2
//! and ViT) to timm's, or for DINOv2 to those of its authors, which differ only in the registers.
//! `visual.transformer.resblocks.0.ln_1.weight` becomes `blocks.0.norm1.weight`.

use std::collections::BTreeMap;

use super::Tensor;
use crate::models::graph::{Graph, Parameter, PositionResize};

/// Parts of names and their replacements, in this order. `conv1` and `class_embedding` are OpenAI's.
const WORDS: [(&str, &str); 37] = [
    ("vision_model.embeddings.", ""),
    ("vision_model.", ""),
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("embeddings.", ""),
    ("conv1.", "patch_embed.proj."),
    ("patch_embedding.", "patch_embed.proj."),
    ("class_embedding", "cls_token"),
    ("positional_embedding", "pos_embed"),
    ("position_embedding.weight", "pos_embed"),
    ("position_embeddings", "pos_embed"),
    ("transformer.resblocks.", "blocks."),
    ("encoder.layers.", "blocks."),
    ("encoder.layer.", "blocks."),
    ("ln_pre", "norm_pre"),
    ("pre_layrnorm", "norm_pre"),
    ("post_layernorm", "norm"),
    ("ln_post", "norm"),
    ("visual_projection.", "head."),
    ("ln_", "norm"),
    ("layer_norm", "norm"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("layernorm.", "norm."),
    ("self_attn.", "attn."),
    ("attention.attention.", "attn."),
    ("attention.output.dense.", "attn.proj."),
    ("intermediate.dense.", "mlp.fc1."),
    ("output.dense.", "mlp.fc2."),
    ("in_proj_", "qkv."),
    ("out_proj", "proj"),
    ("query.", "q_proj."),
    ("key.", "k_proj."),
    ("value.", "v_proj."),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
    ("layer_scale1.lambda1", "ls1.gamma"),
    ("layer_scale2.lambda1", "ls2.gamma"),
];

/// The tensor by which files of CLIP are recognised.
const CLIP: &str = "class_embedding";
/// Tensors by which such files are recognised, without the prefix of all names.
const MARKS: [&str; 3] = [CLIP, "embeddings.patch_embeddings.projection.weight", "embeddings.cls_token"];

/// How `transformers` resizes the position embeddings of a file with its names.
pub(super) fn resize(tensors: &BTreeMap<String, Tensor>) -> Option<PositionResize> {
    let has = |word: &str| tensors.keys().any(|name| name.ends_with(word));
    if !has("embeddings.position_embeddings") && !has("embeddings.position_embedding.weight") {
        return None;
    }
    Some(if has("embeddings.register_tokens") { PositionResize::Antialiased } else { PositionResize::Plain })
}

/// The classifier of `transformers`, which is not part of the tower: `classifier.weight` (classes, width), for DINOv2
/// (classes, 2 · width).
pub(super) fn classifier(tensors: &BTreeMap<String, Tensor>) -> Option<(&str, &Tensor)> {
    let mut all = tensors.iter().filter(|(name, _)| name.ends_with("classifier.weight"));
    all.next().map(|(name, tensor)| (name.as_str(), tensor))
}

/// The tensors under the names of `graph`, if the file has such names and the graph has timm's.
pub(super) fn renamed(tensors: &BTreeMap<String, Tensor>, graph: &Graph) -> Option<BTreeMap<String, Tensor>> {
    graph.find("patch_embed.proj")?;
    let (mark, known) =
        MARKS.iter().find_map(|mark| Some((tensors.keys().find(|name| name.ends_with(mark))?, mark)))?;
    let prefix = before(mark, known);
    // only the tower has the prefix `vit.`, the classifier has not
    let around = prefix.strip_suffix('.').map_or("", |words| &words[..words.rfind('.').map_or(0, |dot| dot + 1)]);
    let expected: BTreeMap<String, Parameter> =
        graph.parameters().into_iter().map(|parameter| (parameter.name.clone(), parameter)).collect();
    let mut all: BTreeMap<String, Tensor> = BTreeMap::new();
    for (name, tensor) in tensors {
        let classifier = || name.strip_prefix(around)?.strip_prefix("classifier.");
        // CLIP's classifier takes the mean of the patches, which the network does not compute
        let head = || classifier().filter(|_| *known != CLIP).map(|word| format!("head.{word}"));
        let Some(own) = name.strip_prefix(prefix).map(of_timm).or_else(head) else { continue };
        let tensor = match (own.as_str(), tensor.shape()) {
            // (width, features), the transpose of a dense layer's weight
            ("proj", &[width, features]) => {
                all.insert("head.weight".into(), transposed(tensor, width, features));
                continue;
            }
            ("cls_token", &[c]) => tensor.map(vec![1, 1, c], |values| values),
            ("pos_embed", &[n, c]) => tensor.map(vec![1, n, c], |values| values),
            _ => tensor.clone(),
        };
        all.insert(own, tensor);
    }
    join(&mut all);
    // timm's projection has a bias; here it is zero
    if let (Some(bias), Some(weight)) = (expected.get("head.bias"), all.get("head.weight"))
        && weight.shape()[0] == bias.shape[0]
    {
        all.entry("head.bias".into()).or_insert_with(|| Tensor::ready(bias.shape.clone(), vec![0.0; bias.shape[0]]));
    }
    Some(all)
}

/// The prefix of all names, from the `name` of the tensor `mark`: `visual.` in files of OpenAI, whose text tower has
/// the same names without it.
fn before<'a>(name: &'a str, mark: &str) -> &'a str {
    let rest = &name[..name.len() - mark.len()];
    rest.strip_suffix("vision_model.embeddings.").unwrap_or(rest)
}

fn of_timm(name: &str) -> String {
    WORDS.iter().fold(name.to_string(), |name, (from, to)| name.replace(from, to))
}

fn transposed(tensor: &Tensor, rows: usize, columns: usize) -> Tensor {
    tensor.map(vec![columns, rows], move |values| {
        (0..columns)
            .flat_map(|column| (0..rows).map(move |row| (row, column)))
            .map(|(r, c)| values[r * columns + c])
            .collect()
    })
}

/// Concatenates the projections of queries, keys and values to one tensor.
pub(super) fn join(all: &mut BTreeMap<String, Tensor>) {
    let first = |name: &String| name.contains(".q_proj.");
    for name in all.keys().filter(|name| first(name)).cloned().collect::<Vec<_>>() {
        let parts = ["q_proj", "k_proj", "v_proj"].map(|part| all.remove(&name.replace("q_proj", part)));
        let [Some(q), Some(k), Some(v)] = parts else { continue };
        let mut shape = q.shape().to_vec();
        shape[0] += k.shape()[0] + v.shape()[0];
        let read = move || Ok([q.values()?, k.values()?, v.values()?].concat());
        all.insert(name.replace("q_proj", "qkv"), Tensor::later(shape, read));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Source, built};

    fn graph(model: &str, source: Source) -> Graph {
        built(model, source, [224; 2], 0)
    }

    /// The tensors of a file: those `outside` the blocks, and those `within` each block, whose names begin with `block`
    /// and its number. `.*` stands for weight and bias.
    fn file(outside: &[(&str, &[usize])], block: &str, within: &[(&str, &[usize])]) -> BTreeMap<String, Tensor> {
        let of_block = |i: usize| within.iter().map(move |&(name, shape)| (format!("{block}{i}.{name}"), shape));
        let all = outside.iter().map(|&(name, shape)| (name.to_string(), shape)).chain((0..12).flat_map(of_block));
        let both = all.flat_map(|(name, shape)| match name.strip_suffix(".*") {
            Some(layer) => {
                vec![(format!("{layer}.weight"), shape.to_vec()), (format!("{layer}.bias"), shape[..1].to_vec())]
            }
            None => vec![(name, shape.to_vec())],
        });
        both.map(|(name, shape)| (name, Tensor::ready(shape, vec![]))).collect()
    }

    #[test]
    fn every_tensor_gets_the_name_and_the_shape_of_the_network() {
        let clip = "vit_base_patch32_clip_quickgelu_224";
        let openai = file(
            &[
                ("visual.class_embedding", &[768]),
                ("visual.positional_embedding", &[50, 768]),
                ("visual.proj", &[768, 512]),
                ("visual.conv1.weight", &[768, 3, 32, 32]),
                ("visual.ln_pre.*", &[768]),
                ("visual.ln_post.*", &[768]),
                ("positional_embedding", &[77, 512]),
                ("transformer.resblocks.0.ln_1.weight", &[512]),
            ],
            "visual.transformer.resblocks.",
            &[
                ("ln_1.*", &[768]),
                ("ln_2.*", &[768]),
                ("attn.in_proj_weight", &[2304, 768]),
                ("attn.in_proj_bias", &[2304]),
                ("attn.out_proj.*", &[768, 768]),
                ("mlp.c_fc.*", &[3072, 768]),
                ("mlp.c_proj.*", &[768, 3072]),
            ],
        );
        let transformers = file(
            &[
                ("vision_model.embeddings.class_embedding", &[768]),
                ("vision_model.embeddings.position_embedding.weight", &[50, 768]),
                ("vision_model.embeddings.patch_embedding.weight", &[768, 3, 32, 32]),
                ("vision_model.pre_layrnorm.*", &[768]),
                ("vision_model.post_layernorm.*", &[768]),
                ("visual_projection.weight", &[512, 768]),
                ("text_model.encoder.layers.0.layer_norm1.weight", &[512]),
            ],
            "vision_model.encoder.layers.",
            &[
                ("layer_norm1.*", &[768]),
                ("layer_norm2.*", &[768]),
                ("self_attn.q_proj.*", &[768, 768]),
                ("self_attn.k_proj.*", &[768, 768]),
                ("self_attn.v_proj.*", &[768, 768]),
                ("self_attn.out_proj.*", &[768, 768]),
                ("mlp.fc1.*", &[3072, 768]),
                ("mlp.fc2.*", &[768, 3072]),
            ],
        );
        let dinov2 = file(
            &[
                ("embeddings.cls_token", &[1, 1, 384]),
                ("embeddings.mask_token", &[1, 384]),
                ("embeddings.register_tokens", &[1, 4, 384]),
                ("embeddings.position_embeddings", &[1, 257, 384]),
                ("embeddings.patch_embeddings.projection.*", &[384, 3, 14, 14]),
                ("layernorm.*", &[384]),
            ],
            "encoder.layer.",
            &[
                ("norm1.*", &[384]),
                ("norm2.*", &[384]),
                ("attention.attention.query.*", &[384, 384]),
                ("attention.attention.key.*", &[384, 384]),
                ("attention.attention.value.*", &[384, 384]),
                ("attention.output.dense.*", &[384, 384]),
                ("layer_scale1.lambda1", &[384]),
                ("layer_scale2.lambda1", &[384]),
                ("mlp.fc1.*", &[1536, 384]),
                ("mlp.fc2.*", &[384, 1536]),
            ],
        );
        for (model, source, file) in [
            (clip, Source::Openai, openai),
            (clip, Source::Timm, transformers),
            ("vit_small_patch14_reg4_dinov2", Source::Facebook, dinov2),
        ] {
            let graph = graph(model, source);
            let renamed = renamed(&file, &graph).expect("such names");
            for parameter in graph.parameters() {
                let found = renamed.get(&parameter.name).map(|tensor| tensor.shape().to_vec());
                assert_eq!(found, Some(parameter.shape), "{model}: {}", parameter.name);
            }
        }
        assert!(renamed(&BTreeMap::new(), &graph(clip, Source::Timm)).is_none());
    }

    #[test]
    fn the_classifier_of_transformers_is_the_head() {
        let (model, within) = ("vit_base_patch16_224", [("layernorm_before.*", &[768][..])]);
        let file = file(
            &[
                ("module.vit.embeddings.cls_token", &[1, 1, 768]),
                ("module.vit.embeddings.position_embeddings", &[1, 197, 768]),
                ("module.classifier.*", &[7, 768]),
            ],
            "module.vit.encoder.layer.",
            &within,
        );
        let renamed = renamed(&file, &graph(model, Source::Timm)).expect("such names");
        let shape = |name: &str| renamed.get(name).map(|tensor| tensor.shape().to_vec());
        assert_eq!([shape("head.weight"), shape("head.bias")], [Some(vec![7, 768]), Some(vec![7])]);
        assert_eq!(shape("blocks.11.norm1.weight"), Some(vec![768]));
    }

    #[test]
    fn the_classifier_of_clip_is_no_head() {
        let file = file(
            &[
                ("vision_model.embeddings.class_embedding", &[768]),
                ("vision_model.post_layernorm.*", &[768]),
                ("classifier.*", &[7, 768]),
            ],
            "vision_model.encoder.layers.",
            &[("layer_norm1.*", &[768])],
        );
        let renamed = renamed(&file, &graph("vit_base_patch32_clip_224", Source::Timm)).expect("such names");
        assert!(renamed.keys().all(|name| !name.starts_with("head.")), "{:?}", renamed.keys());
        assert!(renamed.contains_key("norm.weight"));
    }

    #[test]
    fn positions_are_resized_as_the_library_of_the_names_does() {
        let named = |names: &[&str]| {
            let tensors = names.iter().map(|name| (name.to_string(), Tensor::ready(vec![0], vec![])));
            resize(&tensors.collect())
        };
        assert_eq!(named(&["dinov2.embeddings.position_embeddings"]), Some(PositionResize::Plain));
        assert_eq!(named(&["vision_model.embeddings.position_embedding.weight"]), Some(PositionResize::Plain));
        let registers = ["embeddings.position_embeddings", "embeddings.register_tokens"];
        assert_eq!(named(&registers), Some(PositionResize::Antialiased));
        assert_eq!(named(&["pos_embed", "visual.positional_embedding"]), None);
    }
}
