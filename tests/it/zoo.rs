//! Compares every network with its library, in full width: `tests/golden/zoo.py` fills the networks of Keras,
//! torchvision and timm with weights from a formula and stores their outputs in float64; here both executors run the
//! same networks with the same weights.

use std::collections::{BTreeMap, BTreeSet};

use featurize::config::{Features, Precision};
use featurize::exec::cpu::{self, Engine};
use featurize::exec::lower::{Program, lower};
use featurize::exec::{self, Device, Network, candle};
use featurize::models::{self, BuildOptions, Graph, LayerId, ModelSpec, Shape, Source, WeightsSpec};
use featurize::weights::{Tensor, WeightSet};
use featurize_kernels::simd::Isa;
use safetensors::SafeTensors;

use crate::support::{built, distance, project};

/// The allowed ‖ours − reference‖ / ‖reference‖.
const TOLERANCE: f64 = 1e-5;

pub struct Golden {
    pub tensors: BTreeMap<String, Vec<f32>>,
    notes: BTreeMap<String, String>,
}

/// A file of `tests/golden`.
pub fn golden(name: &str) -> Golden {
    let bytes = std::fs::read(project().join("tests/golden").join(name)).expect("golden file");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let floats = |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let tensors = file.iter().map(|(name, view)| (name.to_string(), floats(view.data()))).collect();
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
    let notes = header.metadata().clone().unwrap_or_default();
    Golden { tensors, notes: notes.into_iter().collect() }
}

fn fnv(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Value `i` of the tensor whose name has the hash `h`, in [0, 1).
pub fn uniform(h: u64, i: usize) -> f64 {
    let x = h.wrapping_add(i as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ x >> 31) >> 40) as f64 / f64::from(1 << 24)
}

/// Weights from the formula.
pub fn weights(graph: &Graph, gain: f64) -> WeightSet {
    let parameters = graph.parameters();
    let owner = |name: &str| name.rsplit_once('.').map(|(owner, _)| owner.to_string()).unwrap_or_default();
    let norms: BTreeSet<String> =
        parameters.iter().filter(|p| p.name.ends_with(".running_mean")).map(|p| owner(&p.name)).collect();
    let tensor = |parameter: models::graph::Parameter| {
        let (name, shape) = (parameter.name, parameter.shape);
        let (h, len) = (fnv(&name), shape.iter().product::<usize>());
        let word = name.rsplit('.').next().unwrap_or_default();
        let value: Box<dyn Fn(f64) -> f64> = match word {
            // tokens and position embeddings
            _ if shape.len() == 3 && shape[0] == 1 => Box::new(|u| 2.0 * u - 1.0),
            _ if shape.len() > 1 => {
                let fan_in = shape[1..].iter().product::<usize>() as f64;
                let bound = gain * (6.0 / fan_in).sqrt();
                Box::new(move |u| (2.0 * u - 1.0) * bound)
            }
            "weight" | "running_var" => Box::new(|u| 0.5 + u),
            "running_mean" => Box::new(|u| 0.4 * u - 0.2),
            _ if norms.contains(&owner(&name)) => Box::new(|u| 0.4 * u - 0.2),
            _ => Box::new(|u| 0.2 * u - 0.1),
        };
        let values = (0..len).map(|i| value(uniform(h, i)) as f32).collect();
        (name, Tensor::ready(shape, values))
    };
    parameters.into_iter().map(tensor).collect::<BTreeMap<_, _>>().into()
}

/// The input from the formula, (h, w, c).
pub fn input(side: usize, as_levels: bool) -> Vec<f32> {
    let places = (0..side).flat_map(|y| (0..side).flat_map(move |x| (0..3usize).map(move |c| (y, x, c))));
    let value = |(y, x, c): (usize, usize, usize)| {
        let i = ((y * side + x) * 3 + c) as u64;
        let noise = (((i * 2_654_435_761) % (1 << 32)) >> 16) as usize;
        let level = (x * (c + 2) + y * (3 - c) + noise % 64) % 256;
        if as_levels { level as f32 } else { (level as f32 / 255.0 - 0.5) / 0.5 }
    };
    places.map(value).collect()
}

/// The values (h, w, c) of a map as (c, h, w).
pub fn channels_first(values: &[f32], shape: Shape) -> Vec<f32> {
    let Shape::Map { c, h, w } = shape else { return values.to_vec() };
    (0..c).flat_map(|k| (0..h * w).map(move |p| values[p * c + k])).collect()
}

/// The features of a map.
pub fn pooled(values: &[f32], shape: Shape, kind: Features) -> Vec<f32> {
    let mut out = vec![0.0; exec::feature_shape(kind, shape).len()];
    exec::pool(kind, shape, values, &mut out);
    out
}

/// The relative errors of pooled features, logits and the inner layer.
fn errors(golden: &Golden, key: &str, graph: &Graph, taps: &[Vec<f32>], ids: &[LayerId]) -> [f64; 4] {
    let stored = |what: &str| &golden.tensors[&format!("{key}.{what}")];
    let shapes: Vec<Shape> = ids.iter().map(|&id| graph.layer(id).shape).collect();
    let channels_last = key.ends_with(".keras") || key.starts_with("swin");
    let inner = if channels_last { taps[2].clone() } else { channels_first(&taps[2], shapes[2]) };
    // of some networks only the first values are stored
    let near = |ours: &[f32], what: &str| distance(&ours[..stored(what).len()], stored(what));
    [
        near(&pooled(&taps[0], shapes[0], Features::Avg), "avg"),
        near(&taps[1], "logits"),
        near(&inner, "tap.first"),
        near(&pooled(&taps[2], shapes[2], Features::Avg), "tap.mean"),
    ]
}

/// The engine that this CPU uses for f32, and the one that it would use without AMX.
fn engines() -> Vec<Engine> {
    let all = Engine::available(Precision::F32).into_iter();
    all.filter(|engine| engine.has_tiles() || *engine == Engine::Vectors(Isa::detect())).collect()
}

/// The stored network for a row. The files of CLIP's authors contain timm's network, and so do those of DINOv2's
/// authors without registers.
fn key(golden: &Golden, model: &ModelSpec, row: &WeightsSpec) -> Option<String> {
    let stored = |source: Source| {
        let key = format!("{}.{source}", model.name);
        golden.notes.contains_key(&format!("{key}.size")).then_some(key)
    };
    let also = matches!(row.source, Source::Openai | Source::Facebook).then_some(Source::Timm);
    stored(row.source).or_else(|| also.and_then(stored))
}

/// Whether a network with stored numbers is the same except for the size of its pictures.
fn has_twin(golden: &Golden, model: &ModelSpec, row: &WeightsSpec) -> bool {
    let options = BuildOptions { channels: 3, size: row.recipe.size, classes: 10, source: row.source };
    let own = model.build(&options).expect("built");
    let is_twin = |other: &&ModelSpec| {
        let stored = golden.notes.contains_key(&format!("{}.{}.size", other.name, row.source));
        stored && other.build(&options).is_ok_and(|graph| graph == own)
    };
    models::MODELS.iter().any(|other| is_twin(&other))
}

/// A network with weights from the formula, and its stored numbers.
pub struct Case<'a> {
    pub key: &'a str,
    golden: &'a Golden,
    graph: &'a Graph,
    taps: &'a [LayerId],
    pub program: &'a Program,
    /// The input, (h, w, c) and (c, h, w).
    hwc: &'a [f32],
    pub chw: &'a [f32],
}

impl Case<'_> {
    /// Compares the taps that an executor gives with the stored numbers.
    pub fn compare(&self, executor: &str, values: &[Vec<f32>]) {
        let errors = errors(self.golden, self.key, self.graph, values, self.taps);
        println!("{:<24} {executor:<16} {errors:?}", self.key);
        assert!(errors.iter().all(|&error| error <= TOLERANCE), "{} by {executor}: {errors:?}", self.key);
    }
}

/// Checks the networks of every library whose models begin with `prefix`.
fn check(prefix: &str) {
    each(prefix, |case| {
        let reference = candle::Network::new(case.program.clone(), &Device::cpu()).expect("uploaded");
        case.compare("candle", &reference.forward(case.chw, 1).expect("candle"));
        drop(reference);
        for engine in engines() {
            let network = cpu::Network::new(case.program.clone(), engine).expect("planned");
            case.compare(&format!("{engine:?}"), &network.forward(&mut network.scratch(1), case.hwc, 1));
        }
    });
}

/// Calls `with` for the networks of every library whose models begin with `prefix`.
pub fn each(prefix: &str, mut with: impl FnMut(&Case)) {
    let golden = golden("zoo.safetensors");
    let mut seen = 0;
    for model in models::MODELS.iter().filter(|model| model.name.starts_with(prefix)) {
        for row in model.defaults().filter(|row| row.name != "bundled") {
            let Some(key) = key(&golden, model, row) else {
                assert!(has_twin(&golden, model, row), "{}.{} is compared with nothing", model.name, row.source);
                continue;
            };
            let note =
                |what: &str| golden.notes.get(&format!("{key}.{what}")).unwrap_or_else(|| panic!("{key}.{what}"));
            let side: usize = note("size").parse().expect("a side");
            let options =
                BuildOptions { channels: 3, size: [side; 2], classes: row.classes.min(1000), source: row.source };
            let graph = model.build(&options).unwrap_or_else(|error| panic!("{key}: {error}"));
            let tap = graph.find(note("tap")).unwrap_or_else(|| panic!("{key}: no layer {}", note("tap")));
            let taps = [graph.features(), graph.logits(), tap];
            let set = weights(&graph, note("gain").parse().expect("a gain"));
            set.check(&graph, &taps, &key).expect("all there");
            let program = lower(&graph, &set, &taps).expect("lowered");
            drop(set);
            let levels = golden.notes.contains_key(&format!("{key}.input"));
            let hwc = input(side, levels);
            let chw = channels_first(&hwc, Shape::Map { c: 3, h: side, w: side });
            let (golden, graph, key, program) = (&golden, &graph, key.as_str(), &program);
            with(&Case { key, golden, graph, taps: &taps, program, hwc: &hwc, chw: &chw });
            seen += 1;
        }
    }
    assert!(seen > 0 || prefix == "deit", "no model begins with {prefix}");
}

macro_rules! families {
    ($($name:ident: $prefix:literal,)*) => {
        $(#[test]
        fn $name() {
            check($prefix);
        })*

        #[test]
        fn every_model_is_compared() {
            for model in models::MODELS.iter().filter(|model| model.weights[0].name != "bundled") {
                assert!([$($prefix),*].iter().any(|prefix| model.name.starts_with(prefix)), "{}", model.name);
            }
        }
    };
}

families! {
    alexnet_gives_the_numbers_of_its_libraries: "alexnet",
    vgg_gives_the_numbers_of_its_libraries: "vgg",
    googlenet_gives_the_numbers_of_its_libraries: "googlenet",
    inception_gives_the_numbers_of_its_libraries: "inception",
    resnet_gives_the_numbers_of_its_libraries: "resnet",
    xception_gives_the_numbers_of_its_libraries: "xception",
    nasnet_gives_the_numbers_of_keras: "nasnet",
    mobilenet_gives_the_numbers_of_its_libraries: "mobilenet",
    googles_mobilenet_gives_the_numbers_of_timm: "tf_mobilenet",
    efficientnet_gives_the_numbers_of_its_libraries: "efficientnet_b",
    efficientnet_lite_gives_the_numbers_of_timm: "efficientnet_lite",
    efficientnet_v2_base_gives_the_numbers_of_its_libraries: "efficientnetv2",
    efficientnet_v2_gives_the_numbers_of_its_libraries: "efficientnet_v2",
    googles_efficientnet_gives_the_numbers_of_timm: "tf_efficientnet",
    resnext_gives_the_numbers_of_its_libraries: "resnext",
    wide_resnet_gives_the_numbers_of_its_libraries: "wide_resnet",
    squeezenet_gives_the_numbers_of_its_library: "squeezenet",
    mnasnet_gives_the_numbers_of_its_library: "mnasnet",
    shufflenet_gives_the_numbers_of_its_library: "shufflenet",
    convnext_gives_the_numbers_of_its_libraries: "convnext",
    regnet_gives_the_numbers_of_its_library: "regnet",
    densenet_gives_the_numbers_of_its_libraries: "densenet",
    vit_gives_the_numbers_of_torchvision: "vit_b_",
    large_vit_gives_the_numbers_of_torchvision: "vit_l_",
    tiny_vit_gives_the_numbers_of_timm: "vit_tiny",
    small_vit_gives_the_numbers_of_timm: "vit_small",
    base_vit_gives_the_numbers_of_timm: "vit_base",
    large_vit_gives_the_numbers_of_timm: "vit_large",
    deit_is_a_vit: "deit",
    swin_gives_the_numbers_of_its_libraries: "swin_",
    swin_v2_gives_the_numbers_of_timm: "swinv2",
}

/// Constructors of torchvision that are left out: one that mixes windows and grids of positions, and two whose weights
/// all have a licence of their own.
const LEFT_OUT: &str = "maxvit_t regnet_y_128gf vit_h_14";

/// `tests/golden/constructors.json` has the names that the libraries list.
#[test]
fn every_constructor_of_the_libraries_is_here_or_named_as_left_out() {
    let text = std::fs::read_to_string(project().join("tests/golden/constructors.json")).expect("the list");
    let lists: BTreeMap<String, Vec<String>> = serde_json::from_str(&text).expect("sound");
    let left_out: BTreeSet<&str> = LEFT_OUT.split(' ').collect();
    for source in [Source::Keras, Source::Torchvision] {
        for name in &lists[source.word()] {
            let row = models::find(name).and_then(|model| model.defaults().find(|row| row.source == source));
            assert_eq!(row.is_some(), !left_out.contains(name.as_str()), "{source}: {name}");
        }
    }
    let torchvision: BTreeSet<&str> = lists["torchvision"].iter().map(String::as_str).collect();
    assert!(left_out.is_subset(&torchvision));
    assert_eq!([lists["keras"].len(), torchvision.len()], [40, 80]);
}

#[test]
fn eight_pictures_together_give_what_each_gives_alone() {
    for (name, source) in [
        ("googlenet", Source::Torchvision),
        ("resnet18", Source::Torchvision),
        ("mobilenet_v2", Source::Keras),
        ("efficientnet_b1", Source::Keras),
        ("mobilenet_v3_small", Source::Timm),
        ("resnext50_32x4d", Source::Timm),
        ("shufflenet_v2_x1_0", Source::Torchvision),
        ("regnet_y_400mf", Source::Torchvision),
        ("convnext_tiny", Source::Timm),
        ("efficientnet_v2_s", Source::Torchvision),
        ("inception_resnet_v2", Source::Keras),
        ("nasnet_mobile", Source::Keras),
        ("vit_tiny_patch16_224", Source::Timm),
        ("vit_base_patch16_siglip_224", Source::Timm),
        ("swinv2_base_window12_192", Source::Timm),
    ] {
        let graph = built(name, source, 96, 10);
        let taps = [graph.features(), graph.logits()];
        let program = lower(&graph, &weights(&graph, 1.0), &taps).expect("lowered");
        let picture = |k: usize| -> Vec<f32> {
            let mut picture = input(96, false);
            picture.rotate_left(k * 1000);
            picture
        };
        let all: Vec<f32> = (0..8).flat_map(picture).collect();
        let network = Network::new(program, &Device::cpu()).expect("planned");
        let mut session = network.session();
        let together = network.forward(&mut session, &all, 8).expect("forward");
        for k in 0..8 {
            let alone = network.forward(&mut session, &picture(k), 1).expect("forward");
            for (together, alone) in together.iter().zip(&alone) {
                assert!(together[k * alone.len()..(k + 1) * alone.len()] == alone[..], "{name}: picture {k}");
            }
        }
    }
}
