//! Compares with reference values: timm's `tf_efficientnet_lite0` with the same rounded weights, in float64
//! (`tests/golden/efficientnet_lite0.py`).

use std::collections::BTreeMap;

use featurize::config::Features;
use featurize::exec::{self, Device, Network, candle};
use featurize::image::{self, DecodeOptions, Layout, RgbImage};
use featurize::models::{self, Graph, Shape, Source};
use featurize::weights::Origin;

use crate::support::{built, distance, project};
use crate::zoo::{self, channels_first, pooled};

/// The allowed ‖ours − reference‖ / ‖reference‖. The reference's own f32 run is 1e-6 away from its f64 run.
const TOLERANCE: f64 = 1e-5;
const GOLDEN: &str = "efficientnet_lite0.safetensors";

/// The stored input, channels first like that of timm.
fn input() -> Vec<f32> {
    channels_first(&zoo::input(224, false), Shape::Map { c: 3, h: 224, w: 224 })
}

fn program(taps: &[&str]) -> (Graph, exec::lower::Program) {
    let spec = models::find("efficientnet_lite0").expect("registered");
    let weights = spec.weights("bundled").expect("bundled");
    let graph = built("efficientnet_lite0", Source::Timm, 224, 1000);
    let set = Origin::Bundled(weights).load(&graph, Source::Timm, &[graph.logits()]).expect("loaded");
    let taps: Vec<_> = taps.iter().map(|tap| graph.find(tap).unwrap_or_else(|| panic!("{tap}"))).collect();
    let program = exec::lower::lower(&graph, &set, &taps).expect("lowered");
    (graph, program)
}

fn network(taps: &[&str]) -> (Graph, Network) {
    let (graph, program) = program(taps);
    (graph, Network::new(program, &Device::cpu()).expect("loaded"))
}

/// Runs pictures in channels-first order.
fn forward(network: &Network, chw: &[f32], n: usize) -> Vec<Vec<f32>> {
    assert!(network.layout() == Layout::Hwc);
    let hwc = |picture: &[f32]| -> Vec<f32> {
        let plane = picture.len() / 3;
        (0..plane).flat_map(|p| (0..3).map(move |c| picture[c * plane + p])).collect()
    };
    let pictures: Vec<f32> = chw.chunks_exact(chw.len() / n).flat_map(hwc).collect();
    network.forward(&mut network.session(), &pictures, n).expect("forward")
}

fn shape(graph: &Graph, layer: &str) -> Shape {
    graph.layer(graph.find(layer).expect("layer")).shape
}

#[test]
fn efficientnet_lite0_gives_the_numbers_of_timm() {
    let golden = zoo::golden(GOLDEN).tensors;
    let input = input();
    assert_eq!(&input[..64], &golden["input.first"][..], "the formula of the input");
    let layers = ["bn1", "blocks.2.1", "bn2", "classifier"];
    let (graph, program) = program(&layers);
    let reference = candle::Network::new(program.clone(), &Device::cpu()).expect("loaded");
    check(&graph, &reference.forward(&input, 1).expect("forward"), &golden);
    let ours = Network::new(program, &Device::cpu()).expect("loaded");
    check(&graph, &forward(&ours, &input, 1), &golden);
}

fn check(graph: &Graph, taps: &[Vec<f32>], golden: &BTreeMap<String, Vec<f32>>) {
    let stem = channels_first(&taps[0], shape(graph, "bn1"));
    let block = channels_first(&taps[1], shape(graph, "blocks.2.1"));
    let measured = [
        ("stem.first", distance(&stem[..256], &golden["input.stem.first"])),
        ("stem.mean", distance(&pooled(&taps[0], shape(graph, "bn1"), Features::Avg), &golden["input.stem.mean"])),
        ("blocks.2.1.first", distance(&block[..256], &golden["input.blocks.2.1.first"])),
        (
            "blocks.2.1.mean",
            distance(&pooled(&taps[1], shape(graph, "blocks.2.1"), Features::Avg), &golden["input.blocks.2.1.mean"]),
        ),
        ("avg", distance(&pooled(&taps[2], shape(graph, "bn2"), Features::Avg), &golden["input.avg"])),
        ("max", distance(&pooled(&taps[2], shape(graph, "bn2"), Features::Max), &golden["input.max"])),
        ("logits", distance(&taps[3], &golden["input.logits"])),
    ];
    println!("{measured:?}");
    for (name, error) in measured {
        assert!(error <= TOLERANCE, "{name}: relative error {error:e}");
    }
}

#[test]
fn a_tap_gives_the_same_whatever_else_is_tapped() {
    let input = input();
    let (_, alone) = network(&["bn2"]);
    let (_, among) = network(&["blocks.3.0.conv_dw", "blocks.3.0.bn2.drop", "bn2", "blocks.5.1"]);
    let (alone, among) = (forward(&alone, &input, 1), forward(&among, &input, 1));
    // with a tap between a convolution and its batch norm, the two are not fused, which rounds differently
    let difference = distance(&among[2], &alone[0]);
    assert!(difference <= TOLERANCE, "{difference:e}");
    // only the batch norm is between these two taps, and each returns the value at its own place
    assert!(distance(&among[0], &among[1]) > 0.1);
}

#[test]
fn a_batch_gives_what_its_pictures_give_alone() {
    let (_, network) = network(&["bn2"]);
    let one = input();
    let two: Vec<f32> = one.iter().rev().copied().collect();
    let both = forward(&network, &[one.clone(), two.clone()].concat(), 2).remove(0);
    let alone = [one, two].map(|picture| forward(&network, &picture, 1).remove(0)).concat();
    assert!(both == alone, "bit for bit");
}

#[test]
fn from_a_file_to_features_as_timm_and_pillow_do_it() {
    let golden = zoo::golden(GOLDEN).tensors;
    let recipe = models::find("efficientnet_lite0").expect("registered").weights[0].recipe.clone();
    let (graph, network) = network(&["bn2", "classifier"]);
    for name in ["wide", "small", "tall"] {
        let bytes = std::fs::read(project().join(format!("tests/golden/pictures/{name}.png"))).expect("picture");
        let picture: RgbImage = image::decode(&bytes, &DecodeOptions::default()).expect("decoded");
        let mut input = vec![0.0; 3 * 224 * 224];
        recipe.apply(&picture, Layout::Chw, &mut input);
        let level = |v: f32| ((v * 0.5 + 0.5) * 255.0).round() as i32;
        let same = |ours: &[f32], key: &str| {
            let reference = &golden[&format!("{name}.{key}")];
            assert_eq!(ours.len(), reference.len());
            ours.iter().zip(reference).all(|(&a, &b)| level(a) == level(b))
        };
        assert!(same(&input[..256], "pixels.first"), "{name}: the first pixels");
        let row: Vec<f32> = (0..3).flat_map(|c| input[(c * 224 + 112) * 224..][..224].to_vec()).collect();
        assert!(same(&row, "pixels.row"), "{name}: the middle row");
        let taps = forward(&network, &input, 1);
        let features = pooled(&taps[0], shape(&graph, "bn2"), Features::Avg);
        let measured = (
            distance(&features, &golden[&format!("{name}.avg")]),
            distance(&taps[1], &golden[&format!("{name}.logits")]),
        );
        println!("{name}: features {:e}, logits {:e}", measured.0, measured.1);
        assert!(measured.0 <= TOLERANCE && measured.1 <= TOLERANCE, "{name}: {measured:?}");
    }
}
