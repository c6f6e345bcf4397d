//! Wrappers of every kind around ResNet-18 and VGG-11. All tensors of a network have one value, which identifies the
//! network.

use super::*;
use crate::models::{Source, built};

type Tensors = BTreeMap<String, Tensor>;

fn graph(model: &str) -> Graph {
    built(model, Source::Torchvision, [64; 2], 1000)
}

/// The tensors of a network under `prefix`, filled with `value`.
fn network(graph: &Graph, prefix: &str, value: f32) -> Tensors {
    let tensor = |parameter: Parameter| {
        let len = parameter.shape.iter().product();
        (format!("{prefix}{}", parameter.name), Tensor::later(parameter.shape, move || Ok(vec![value; len])))
    };
    graph.parameters().into_iter().map(tensor).collect()
}

fn together(parts: &[Tensors]) -> Tensors {
    parts.iter().flatten().map(|(name, tensor)| (name.clone(), tensor.clone())).collect()
}

fn taken(tensors: &Tensors, graph: &Graph, key: Option<&str>) -> (CheckpointKey, f32) {
    let (found, taken) = unwrap(tensors, graph, &[], key, "w.pth").expect("found");
    for parameter in needed(graph, &[]) {
        assert_eq!(found[&parameter.name].shape(), parameter.shape, "{}", parameter.name);
    }
    let first = needed(graph, &[]).remove(0).name;
    (taken, found[&first].values().expect("values")[0])
}

#[test]
fn any_words_before_all_names_are_removed_and_told() {
    let graph = graph("resnet18");
    let keys = [
        "",
        "module",
        "_orig_mod",
        "model",
        "net",
        "encoder",
        "backbone",
        "student",
        "0",
        "state_dict.module",
        "module.encoder_q",
        "model_state_dict._orig_mod.module.backbone.body",
        "0.model.whatever.somebody.thought.of",
    ];
    for key in keys {
        let prefix = if key.is_empty() { String::new() } else { format!("{key}.") };
        let mut tensors = network(&graph, &prefix, 1.0);
        // a counter, a projection, an optimiser's state, and the first layer of another network
        for other in ["bn1.num_batches_tracked", "projection_head.0.weight"] {
            tensors.insert(format!("{prefix}{other}"), Tensor::ready(vec![], vec![0.0]));
        }
        for other in ["optimizer.lr", "head.conv1.weight", "head.bn1.weight"] {
            tensors.insert(other.to_string(), Tensor::ready(vec![], vec![0.0]));
        }
        let (taken, _) = self::taken(&tensors, &graph, None);
        assert_eq!(taken, CheckpointKey { key: key.to_string(), others: vec![] });
        assert_eq!(taken.told().is_none(), key.is_empty());
    }
}

#[test]
fn of_several_networks_the_fields_choice_is_taken_and_the_others_told() {
    let graph = graph("resnet18");
    let cases: [(&str, &[&str]); 13] = [
        ("state_dict_ema", &["state_dict"]),
        ("state_dict_ema.module", &["state_dict.module"]),
        ("state_dict_ema", &["model_ema", "state_dict"]),
        ("model_ema", &["model"]),
        ("ema_state_dict", &["state_dict"]),
        ("swa_state_dict.module", &["state_dict"]),
        ("averaged_model.module", &["model"]),
        ("state_dict", &["model"]),
        ("teacher.backbone", &["student.module.backbone"]),
        ("state_dict.module.encoder_q", &["state_dict.module.encoder_k"]),
        ("module.base_encoder", &["module.momentum_encoder"]),
        ("online_network", &["target_network"]),
        ("backbone", &["backbone_momentum", "momentum_backbone"]),
    ];
    for (first, others) in cases {
        let mut parts = vec![network(&graph, &format!("{first}."), 1.0)];
        parts.extend(others.iter().map(|other| network(&graph, &format!("{other}."), 2.0)));
        let tensors = together(&parts);
        let (taken, value) = self::taken(&tensors, &graph, None);
        assert_eq!((taken.key.as_str(), value), (first, 1.0));
        assert_eq!(taken.others, others, "{first}");
        assert!(taken.told().is_some_and(|told| told.contains(others[0]) && told.contains("weights_key")));
        // each can be selected, by its full key or by a word that no other key has
        let word = others[0].split('.').find(|word| !first.split('.').any(|other| other == *word)).expect("a word");
        for key in [others[0], word] {
            assert_eq!(self::taken(&tensors, &graph, Some(key)).1, 2.0, "{key}");
        }
        assert_eq!(self::taken(&tensors, &graph, Some(first)).1, 1.0);
    }
}

#[test]
fn a_deeper_network_of_the_family_is_none_of_the_places() {
    // ResNet-34 has all tensors of ResNet-18, with the same shapes
    let (shallow, deep) = (graph("resnet18"), graph("resnet34"));
    for (student, teacher) in [("student", "teacher"), ("small", "big"), ("model", "state_dict_ema")] {
        let both = [network(&shallow, &format!("{student}."), 1.0), network(&deep, &format!("{teacher}."), 2.0)];
        let tensors = together(&both);
        assert_eq!(taken(&tensors, &shallow, None), (CheckpointKey { key: student.to_string(), others: vec![] }, 1.0));
        assert_eq!(taken(&tensors, &deep, None), (CheckpointKey { key: teacher.to_string(), others: vec![] }, 2.0));
    }
}

#[test]
fn wrappers_around_parts_of_a_network_are_taken_off() {
    for (model, part) in
        [("resnet18", "layer4"), ("resnet18", "layer1.0"), ("vgg11", "features"), ("densenet121", "features")]
    {
        let graph = graph(model);
        for wrapper in WRAPPERS {
            let within = |name: &str| match name.strip_prefix(&format!("{part}.")) {
                Some(rest) => format!("module.{part}.{wrapper}.{rest}"),
                None => format!("module.{name}"),
            };
            let all = network(&graph, "", 1.0);
            let tensors: Tensors = all.into_iter().map(|(name, tensor)| (within(&name), tensor)).collect();
            let (taken, value) = self::taken(&tensors, &graph, None);
            assert_eq!((taken.key.as_str(), value), ("module", 1.0), "{model} {part} {wrapper}");
        }
    }
}

#[test]
fn a_shard_is_told_of_its_index_and_how_much_it_holds() {
    let graph = graph("resnet18");
    let mut tensors = network(&graph, "module.", 1.0);
    tensors.retain(|name, _| name.starts_with("module.layer1."));
    let error =
        unwrap(&tensors, &graph, &[], None, "model-00001-of-00002.safetensors").expect_err("a part").to_string();
    assert!(error.contains("20 of the 100 that it needs are there"), "{error}");
    assert!(error.contains("give their index"), "{error}");
}

#[test]
fn networks_that_nothing_tells_apart_are_asked_for() {
    let graph = graph("resnet18");
    let twins = together(&[network(&graph, "left.", 1.0), network(&graph, "right.", 2.0)]);
    let error = unwrap(&twins, &graph, &[], None, "w.pth").expect_err("two").to_string();
    assert!(
        error.contains("more than once, under `left`, `right`; say which are meant: `extract.weights_key`"),
        "{error}"
    );
    assert_eq!(taken(&twins, &graph, Some("right")).1, 2.0);
    let error = unwrap(&twins, &graph, &[], Some("middle"), "w.pth").expect_err("none").to_string();
    assert!(error.contains("`middle` (`weights_key`)") && error.contains("they are under `left`, `right`"), "{error}");
    // the same values under two keys are not ambiguous
    let same = together(&[network(&graph, "left.", 1.0), network(&graph, "right.", 1.0)]);
    assert_eq!(taken(&same, &graph, None).1, 1.0);
}

#[test]
fn numbered_modules_and_those_without_their_name_are_known() {
    // the indices of the modules with weights in `network.children()`
    let resnet: (&str, &[(&str, usize)]) = (
        "resnet18",
        &[("conv1", 0), ("bn1", 1), ("layer1", 4), ("layer2", 5), ("layer3", 6), ("layer4", 7), ("fc", 9)],
    );
    let blocks =
        [("3a", 5), ("3b", 6), ("4a", 8), ("4b", 9), ("4c", 10), ("4d", 11), ("4e", 12), ("5a", 14), ("5b", 15)];
    let blocks = blocks.map(|(block, number)| (format!("inception{block}"), number));
    let mut googlenet = vec![("conv1", 0), ("conv2", 2), ("conv3", 3), ("fc", 20)];
    googlenet.extend(blocks.iter().map(|(block, number)| (block.as_str(), *number)));
    for (model, numbers) in [resnet, ("googlenet", googlenet.as_slice())] {
        let graph = graph(model);
        let numbered = |name: &str| {
            let (module, rest) = name.split_once('.').expect("a module");
            let number = numbers.iter().find(|(known, _)| *known == module).expect("known").1;
            format!("backbone.{number}.{rest}")
        };
        let all = network(&graph, "", 1.0);
        let tensors: Tensors = all.into_iter().map(|(name, tensor)| (numbered(&name), tensor)).collect();
        assert_eq!(taken(&tensors, &graph, None).0.key, "backbone", "{model}");
    }
    let vgg = graph("vgg11");
    let inner = network(&vgg, "", 1.0)
        .into_iter()
        .filter_map(|(name, tensor)| Some((format!("encoder.{}", name.strip_prefix("features.")?), tensor)));
    let tensors: Tensors = inner.collect();
    assert_eq!(taken(&tensors, &vgg, None).0.key, "encoder");
    assert_eq!(taken(&network(&vgg, "", 1.0), &vgg, None).0.key, "");
}

#[test]
fn names_of_something_else_are_told_in_a_few_words() {
    let graph = graph("resnet18");
    let tensors: Tensors =
        (0..200).map(|i| (format!("model.blocks.{i:03}.conv1.weight"), Tensor::ready(vec![], vec![0.0]))).collect();
    let error = unwrap(&tensors, &graph, &[], None, "w.pth").expect_err("another network").to_string();
    assert_eq!(error.lines().count(), 2, "{error}");
    for part in [
        "w.pth does not hold the weights of this network:",
        "its 200 tensors are called `model.blocks.000.conv1.weight`, ",
        "all of them under `model.blocks`",
        "the network has `conv1.weight`, `bn1.weight`",
        "0 of the 100 that it needs are there",
    ] {
        assert!(error.contains(part), "no {part} in {error}");
    }
}
