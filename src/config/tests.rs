//! Valid pipelines: defaults, forms of values, overrides and paths.

use std::path::Path;

use proptest::prelude::*;

use super::canonical_tests::canonical;
use super::*;
use crate::exec::Gpus;
use crate::image::{DecodeOptions, Exif, Truncated};

const LEAST: &str = "version: 1\ninput: {root: ../data/fruits}\n";

fn parsed(text: &str, sets: &[&str]) -> Pipeline {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    parse(text, Path::new("pipelines/fruits.yaml"), &sets).unwrap_or_else(|error| panic!("{error}"))
}

/// A pipeline with `below` added to the shortest valid one.
fn with(below: &str) -> Pipeline {
    parsed(&format!("{LEAST}{below}\n"), &[])
}

/// The section `input` with `below` added.
fn with_input(below: &str) -> Input {
    parsed(&format!("version: 1\ninput:\n  root: d\n  {below}\n"), &[]).input
}

#[test]
fn the_least_pipeline_has_the_documented_defaults() {
    let pipeline = parsed(LEAST, &[]);
    assert_eq!(pipeline.name, "fruits");
    assert_eq!(
        pipeline.input,
        Input {
            parquet: None,
            root: "data/fruits".into(),
            split: Split::None,
            label: Label::Folder,
            classes: None,
            limit_per_class: None,
            max_bad_fraction: 0.1,
            follow_links: false,
            hash: false,
        }
    );
    assert_eq!(pipeline.extract, Extract::default());
    assert_eq!(pipeline.extract.model, "efficientnet_lite0");
    assert_eq!((pipeline.select, pipeline.reduce, pipeline.train, pipeline.report), (None, None, None, None));
    assert_eq!(pipeline.output.dir_for(&pipeline.name), Path::new("runs/fruits"));
    let (device, kernels) = (Device::Auto, Kernels::Auto);
    let runtime = Runtime { device, batch_size: 32, kernels, threads: None, requests: 64, decode_memory: None };
    assert_eq!(pipeline.runtime, runtime);
}

#[test]
fn the_pipeline_of_the_design() {
    let text = r#"
version: 1
name: fruits
input:
  root: ../data/fruits                       # relative to this file
  split: {train: "Training/**", test: "Test/**"}
  classes: [Banana, Strawberry]
  limit_per_class: 10
  max_bad_fraction: 0.1
extract:
  model: efficientnet_lite0
  weights: bundled
  features: avg
  precision: f32
select: {variance_threshold: 0.0}
reduce: {pca: {components: 64}}
train: {mlp: {hidden: [100, 10], seed: 7}}
report: {}
output: {dir: ../runs/fruits, layout: wide}
runtime: {device: auto, batch_size: 32, threads: auto}
"#;
    let pipeline = parsed(text, &[]);
    assert_eq!(pipeline.input.split, Split::Folders { train: "Training/**".into(), test: "Test/**".into() });
    assert_eq!(pipeline.input.classes, Some(vec!["Banana".into(), "Strawberry".into()]));
    assert_eq!(pipeline.input.limit_per_class, Some(LimitPerClass { train: Some(10), test: Some(10) }));
    assert_eq!(pipeline.extract, Extract { weights: Weights::Bundled, features: Features::Avg, ..Extract::default() });
    assert_eq!(pipeline.select, Some(Select::default()));
    assert_eq!(pipeline.reduce, Some(Reduce { pca: Some(PcaParams::default()), ..Reduce::default() }));
    assert_eq!(
        pipeline.train,
        Some(Train { mlp: Some(MlpParams { seed: 7, ..MlpParams::default() }), ..Train::default() })
    );
    assert_eq!(pipeline.report, Some(Report::default()));
    assert_eq!(pipeline.output.dir_for("fruits"), Path::new("runs/fruits"));
}

#[test]
fn a_section_is_on_when_it_is_there() {
    for below in ["report:", "report: {}", "report: ~", "report: null"] {
        assert_eq!(
            with(below).report,
            Some(Report { title: None, samples: 24, quality: true, figures: false }),
            "{below}"
        );
    }
    for below in ["select:", "select: {}", "select:\n  # nothing"] {
        assert_eq!(
            with(below).select,
            Some(Select { variance_threshold: 0.0, top_k: None, score: Score::Variance }),
            "{below}"
        );
    }
    for below in ["reduce: {pca: {}}", "reduce:\n  pca:"] {
        let pca = PcaParams { components: Components::Count(64), whiten: false };
        assert_eq!(with(below).reduce, Some(Reduce { pca: Some(pca), ..Reduce::default() }), "{below}");
    }
    for (below, scale, components) in [
        ("reduce: {svd: {components: 8}, scale: l2}", Scale::L2, Some(8)),
        ("reduce:\n  svd:", Scale::None, Some(64)),
        ("reduce: {scale: standard}", Scale::Standard, None),
    ] {
        let svd = components.map(|components| SvdParams { components });
        assert_eq!(with(below).reduce, Some(Reduce { scale, pca: None, svd }), "{below}");
    }
    assert_eq!(with("train:\n  mlp:").train, Some(Train { mlp: Some(MlpParams::default()), ..Train::default() }));
    assert_eq!(
        with("extract:\noutput:\nruntime:"),
        Pipeline { source: with("extract:\noutput:\nruntime:").source, ..with("") }
    );
}

#[test]
fn null_is_left_out() {
    let pipeline =
        with("name: ~\nextract: {model: ~, layer: null, batch_size: , recipe: ~}\nruntime: {threads: ~, device: ~}");
    assert_eq!(pipeline.name, "fruits");
    assert_eq!(pipeline.extract, Extract::default());
    assert_eq!(pipeline.runtime, Runtime::default());
    assert_eq!(
        with("train: {mlp: {alpha: ~}}").train,
        Some(Train { mlp: Some(MlpParams::default()), ..Train::default() })
    );
    assert_eq!(with_input("split: ~").split, Split::None);
}

#[test]
fn how_files_become_pixels() {
    let usual = DecodeOptions::default();
    assert_eq!(with("").image, Image::default());
    assert_eq!(with("image:").image.decoding(Exif::Apply), usual);
    assert_eq!(with("image: {}").image.decoding(Exif::Ignore).exif, Exif::Ignore);
    assert_eq!(with("image: {exif: apply}").image.decoding(Exif::Ignore).exif, Exif::Apply);
    let all = "image: {exif: ignore, background: [0, 128, 255], truncated: pad, fast_decode: true, max_pixels: 1000}";
    let told = DecodeOptions {
        exif: Exif::Ignore,
        background: [0, 128, 255],
        truncated: Truncated::Pad,
        fast_decode: true,
        max_pixels: 1000,
    };
    assert_eq!(with(all).image.decoding(Exif::Apply), told);
    for (word, colour) in [("white", [255; 3]), ("black", [0; 3])] {
        assert_eq!(with(&format!("image: {{background: {word}}}")).image.background, colour);
    }
}

#[test]
fn splits() {
    for (below, split) in [
        ("split: {fraction: 0.25}", Split::Fraction { fraction: 0.25, seed: 0 }),
        ("split: {fraction: 25e-2, seed: 7}", Split::Fraction { fraction: 0.25, seed: 7 }),
        (
            "split: {csv: a.csv}",
            Split::Csv { path: "pipelines/a.csv".into(), columns: Columns::default(), fraction: None, seed: 0 },
        ),
        (
            "split: {csv: a.csv, fraction: 0.5, seed: 3}",
            Split::Csv { path: "pipelines/a.csv".into(), columns: Columns::default(), fraction: Some(0.5), seed: 3 },
        ),
    ] {
        assert_eq!(with_input(below).split, split, "{below}");
    }
    // the table may have a column of classes
    assert_eq!(with("train: {mlp: {}}\n").input.label, Label::Folder);
    assert_eq!(with_input("label: none\n  split: {csv: a.csv}\ntrain: {mlp: {}}").label, Label::None);
}

#[test]
fn values_that_have_more_than_one_form() {
    let limit = |below: &str| with_input(&format!("limit_per_class: {below}")).limit_per_class;
    assert_eq!(limit("{train: 10, test: 1}"), Some(LimitPerClass { train: Some(10), test: Some(1) }));
    assert_eq!(limit("{train: 10}"), Some(LimitPerClass { train: Some(10), test: None }));
    assert_eq!(
        with("select: {top_k: 9, score: f_classif}").select,
        Some(Select { variance_threshold: 0.0, top_k: Some(9), score: Score::FClassif })
    );
    let components =
        |text: &str| with(&format!("reduce: {{pca: {{components: {text}}}}}")).reduce.unwrap().pca.unwrap().components;
    assert_eq!(components("1"), Components::Count(1));
    assert_eq!(components("0.95"), Components::Fraction(0.95));
    assert_eq!(components("mle"), Components::Mle);
    let mlp = |text: &str| with(&format!("train: {{mlp: {{{text}}}}}")).train.unwrap().mlp.unwrap();
    assert_eq!(mlp("hidden: 50").hidden, [50]);
    assert_eq!(mlp("hidden: []").hidden, [0; 0]);
    assert_eq!(mlp("class_weight: balanced").class_weight, Some(ClassWeight::Balanced));
    let weights = ClassWeight::Classes([("1".to_string(), 2.0), ("a b".to_string(), 0.5)].into());
    let weighted = mlp("class_weight: {1: 2, a b: 0.5}");
    assert_eq!(weighted.class_weight, Some(weights));
    assert_eq!(serde_json::from_value::<MlpParams>(serde_json::json!(weighted)).unwrap(), weighted);
    let other_names = mlp("hidden_layer_sizes: [7], random_state: 3, nesterovs_momentum: no");
    assert_eq!(other_names, MlpParams { hidden: vec![7], seed: 3, nesterov: false, ..MlpParams::default() });
    assert_eq!(mlp("alpha: 1e-5, batch_size: 8").alpha, 1e-5);
    assert_eq!(mlp("batch_size: 8").batch_size, BatchSize::Rows(8));
    let widths = [511, 512]; // of 2²⁰ rows: below 2 GiB, and 2 GiB
    for (text, held) in [("", [true, false]), ("in_memory: true", [true; 2]), ("in_memory: false", [false; 2])] {
        for name in ["mlp", "logistic", "knn"] {
            let text = if name == "knn" { "" } else { text };
            let train = with(&format!("train: {{{name}: {{{text}}}}}")).train.unwrap();
            let held = if name == "knn" { [true; 2] } else { held }; // it is the table
            assert_eq!(widths.map(|cols| train.classifiers()[0].holds(1 << 20, cols)), held, "{name} {text}");
        }
    }
    assert_eq!((BatchSize::Auto.of(1000), BatchSize::Auto.of(3), BatchSize::Rows(8).of(0)), (200, 3, 1));
    let cuda = |gpus| Device::Cuda(Gpus::These(gpus));
    let devices = [("cuda", cuda(1)), ("cuda:3", cuda(8)), ("metal", Device::Metal), ("cpu", Device::Cpu)];
    for (text, device) in devices {
        assert_eq!(with(&format!("runtime: {{device: {text}}}")).runtime.device, device);
    }
    assert_eq!(with("runtime: {threads: 3}").runtime.threads, Some(3));
}

#[test]
fn texts_are_kept_as_written() {
    let input = with_input("classes: [007, 1.50, on, 'null', \"a b\", 2024-01-01]");
    assert_eq!(input.classes.unwrap(), ["007", "1.50", "on", "null", "a b", "2024-01-01"]);
    // `null` may be the name of a class, in a list and before a `:`
    assert_eq!(with_input("classes: [null, ~, y]").classes.unwrap(), ["null", "~", "y"]);
    let train = with("train: {logistic: {class_weight: {null: 2.0, ~: 3.0}}}").train.expect("train");
    let weights = serde_json::to_value(train.logistic.expect("logistic").class_weight).expect("JSON");
    assert_eq!(weights, serde_json::json!({"null": 2.0, "~": 3.0}));
    assert_eq!(with("name: 2024").name, "2024");
    assert_eq!(with("name: >-\n  two\n  lines").name, "two lines");
}

#[test]
fn anchors_and_merges() {
    let text = "version: 1
x-shared: &shared {seed: 5, batch_size: 4}
input: {root: d, split: {train: &glob 'a/**', test: 'b/**'}}
extract: {<<: *shared, seed: 6}
train: {mlp: {<<: *shared}}
report: {title: *glob}
";
    let pipeline = parsed(text, &[]);
    assert_eq!((pipeline.extract.seed, pipeline.batch_size()), (6, 4));
    assert_eq!(pipeline.train.unwrap().mlp.unwrap().seed, 5);
    assert_eq!(pipeline.report.unwrap().title.as_deref(), Some("a/**"));
}

#[test]
fn batch_size_has_two_names() {
    assert_eq!(with("extract: {batch_size: 4}").batch_size(), 4);
    assert_eq!(with("extract: {batch_size: 4}\nruntime: {batch_size: 4}").batch_size(), 4);
    assert_eq!(with("runtime: {batch_size: 8}").batch_size(), 8);
    // none of these keys is part of the fingerprint of the features
    let json = |below: &str| serde_json::to_string(&with(below).extract).unwrap();
    assert_eq!(json("extract: {batch_size: 4}"), json(""));
}

#[test]
fn sets_override_add_and_remove() {
    let text = "version: 1\ninput: {root: d}\nextract: {model: vgg16, features: max}\nreport: {}\n";
    let pipeline = parsed(
        text,
        &[
            "extract.model=resnet50",
            "reduce.pca.components=8",
            "train={mlp: {hidden: [5]}}",
            "train.mlp.seed=3",
            "report=null",
        ],
    );
    assert_eq!((pipeline.extract.model.as_str(), pipeline.extract.features), ("resnet50", Features::Max));
    assert_eq!(pipeline.reduce.unwrap().pca.unwrap().components, Components::Count(8));
    assert_eq!(pipeline.train.unwrap().mlp.unwrap(), MlpParams { hidden: vec![5], seed: 3, ..MlpParams::default() });
    assert_eq!(pipeline.report, None);
    // the last override counts; removing an absent key does nothing; a value may contain `=`
    let pipeline = parsed(text, &["name=a", "name=b=c", "select.variance_threshold=null", "extract.features=~"]);
    assert_eq!((pipeline.name.as_str(), pipeline.select, pipeline.extract.features), ("b=c", None, Features::Pooled));
    // an override below a section that is null
    let pipeline = parsed("version: 1\ninput: {root: d}\nreport:\n", &["report.samples=3"]);
    assert_eq!(pipeline.report.unwrap().samples, 3);
}

#[test]
fn paths_count_from_the_file_or_from_the_current_folder() {
    let text = "version: 1\ninput: {root: ../data, split: {csv: l.csv}}\nextract: {weights: w/a.pth}\noutput: {dir: \
                ../../out}\n";
    let pipeline = parsed(text, &[]);
    assert_eq!(pipeline.input.root, Path::new("data"));
    assert_eq!(
        pipeline.input.split,
        Split::Csv { path: "pipelines/l.csv".into(), columns: Columns::default(), fraction: None, seed: 0 }
    );
    assert_eq!(pipeline.extract.weights, Weights::Path("pipelines/w/a.pth".into()));
    assert_eq!(pipeline.output.dir, Some("../out".into()));
    let pipeline = parsed(text, &["input.root=data", "output={dir: out}", "extract.weights=/w/a.pth"]);
    assert_eq!(pipeline.input.root, Path::new("data"));
    assert_eq!(pipeline.output.dir, Some("out".into()));
    assert_eq!(pipeline.extract.weights, Weights::Path("/w/a.pth".into()));
    // a file in the current folder
    let here = parse("version: 1\ninput: {root: .}\n", Path::new("p.yaml"), &[]).unwrap();
    assert_eq!(here.input.root, Path::new("."));
}

#[test]
fn sections_have_one_canonical_json() {
    let pipeline = with("reduce: {pca: {components: 0.5}}\nruntime: {device: cuda:1}");
    assert_eq!(
        canonical(&pipeline.reduce),
        r#"{"scale":"none","pca":{"components":{"fraction":0.5},"whiten":false},"svd":null}"#
    );
    assert_eq!(canonical(&pipeline.runtime), r#"{"device":"cuda:1","batch_size":32,"threads":null}"#);
    assert_eq!(
        canonical(&pipeline.extract),
        r#"{"model":"efficientnet_lite0","weights":"default","seed":0,"features":"pooled","layer":null,"layers":null,"source":null,"channels":"3","precision":"f32","recipe":null,"shard_rows":null}"#
    );
    assert!(canonical(&pipeline).starts_with(
        r#"{"file":"pipelines/fruits.yaml","name":"fruits","input":{"root":"data/fruits","split":"none""#
    ));
}

#[test]
fn classifiers_are_written_as_keys_or_as_a_list() {
    let train = |text: &str| with(text).train.expect("there");
    let names = |train: &Train| train.classifiers().into_iter().map(|one| one.name()).collect::<Vec<_>>();
    let three = train("train: {knn: {k: 3}, mlp: {}, logistic:, candidates: [{knn: {}}, {mlp: {hidden: 5}}]}");
    assert_eq!(names(&three), ["mlp", "logistic", "knn", "knn", "mlp"]);
    assert_eq!((three.folds(), three.knn.map(|knn| knn.k)), (Some(5), Some(3)));
    let list = train("train: [{logistic: {C: 2}}, {knn: {n_neighbors: 7}}]");
    assert_eq!(names(&list), ["logistic", "knn"]);
    assert_eq!(list.candidates[0].logistic.as_ref().map(|one| one.c), Some(2.0));
    assert_eq!(train("train: {knn: {}}").folds(), None);
    assert_eq!(train("train: {knn: {}, cv: 3}").folds(), Some(3));
}

proptest! {
    /// No text makes the parser panic, and no error is without a message.
    #[test]
    fn any_text_is_read_or_refused(text in "([a-e:{}\\[\\],&*<>!|'\"#~\t é-]|\n|version: 1\n|input:|root: d|  ){0,40}") {
        if let Err(error) = parse(&text, Path::new("p.yaml"), &[]) {
            prop_assert!(error.to_string().len() > 10);
        }
        let _ = parse(LEAST, Path::new("p.yaml"), &[format!("name={text}"), text]);
    }
}
