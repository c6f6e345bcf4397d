//! Networks other than the bundled one, as users run them: weights from a file, layers by name, grey pictures,
//! `classify` with a figure.

use std::path::Path;

use featurize::io::columns::Columns;
use featurize::models::{self, Graph, Source};
use featurize::weights::{Origin, WeightFile};

use crate::checkpoints;
use crate::support::{Run, Workspace, built, call, project, set};

/// Writes a safetensors file with the seeded weights of a network; `rename` leaves out or renames tensors.
fn weights(path: &Path, graph: &Graph, source: Source, rename: impl Fn(&str) -> Option<String>) {
    let set = Origin::Random(5).load(graph, source, &[]).expect("random");
    checkpoints::write(path, &checkpoints::stored(graph, &set, |name, _| rename(name)));
}

/// Runs the stages up to `extract` with pictures of 64 × 64.
fn extract(workspace: &Workspace, out: &str, sets: &[&str]) -> Run {
    let small = ["extract.recipe.size=64", "extract.shard_rows=100"];
    workspace.run(out, &[vec!["--until", "extract"], set(&small), set(sets)].concat())
}

#[test]
fn a_file_is_recognised_and_gives_what_the_same_weights_give_without_it() {
    let workspace = Workspace::with_fruits(2, 1);
    let graph = built("mobilenet_v2", Source::Torchvision, 64, 1000);
    let file = workspace.path("w.safetensors");
    weights(&file, &graph, Source::Torchvision, |name| Some(name.to_string()));
    let recognised =
        WeightFile::open(&file).expect("opened").recognise(models::find("mobilenet_v2").expect("registered"), None);
    assert_eq!(recognised.map(|row| row.source), Some(Source::Torchvision));
    let set = format!("extract.weights={}", file.display());
    extract(&workspace, "file", &["extract.model=mobilenet_v2", &set]).ok();
    let seeded =
        ["extract.model=mobilenet_v2", "extract.weights=random", "extract.seed=5", "extract.source=torchvision"];
    extract(&workspace, "seed", &seeded).ok();
    let [file, seed] = ["file", "seed"].map(|out| workspace.table(out).read().expect("read"));
    assert!(file.1.rows() == 9 && file.1.cols() == 1280 && file == seed);
}

#[test]
fn a_file_of_another_network_is_refused_with_the_list() {
    let workspace = Workspace::with_fruits(1, 1);
    let file = workspace.path("w.safetensors");
    weights(&file, &built("mobilenet_v2", Source::Torchvision, 64, 1000), Source::Torchvision, |name| match name {
        "features.1.conv.0.0.weight" => None,
        "features.18.0.weight" => Some("features.18.0.kernel".to_string()),
        name => Some(name.to_string()),
    });
    let set = format!("extract.weights={}", file.display());
    let run = extract(&workspace, "out", &["extract.model=mobilenet_v2", &set]);
    run.ended(1, &["missing `features.1.conv.0.0.weight` [32, 1, 3, 3]", "unexpected `features.18.0.kernel`"]);
    std::fs::write(&file, b"\x80\x02garbage").expect("written");
    extract(&workspace, "out", &["extract.model=mobilenet_v2", &set])
        .ended(1, &["w.safetensors", "not a sound weight file"]);
}

#[test]
fn a_network_that_was_trained_on_has_as_many_classes_as_its_file() {
    let workspace = Workspace::with_fruits(1, 1);
    let file = workspace.path("tuned.safetensors");
    weights(&file, &built("resnet18", Source::Torchvision, 64, 7), Source::Torchvision, |name| Some(name.to_string()));
    let file = file.display().to_string();
    let classify = ["classify", "--model", "resnet18", "--weights", &file, "--json", "--top", "9", "pictures"];
    let said = workspace.call(&classify).ok().json_lines();
    let top = said[0]["top"].as_array().expect("a list");
    assert_eq!(top.len(), 7);
    assert!(top.iter().all(|guess| guess["label"].as_str().expect("a label").starts_with("class ")));
    let set = format!("extract.weights={file}");
    extract(&workspace, "out", &["extract.model=resnet18", &set]).ok();
}

#[test]
fn several_layers_follow_one_another_and_keep_their_names() {
    let workspace = Workspace::with_fruits(1, 1);
    let base = ["extract.model=resnet18", "extract.weights=random", "extract.source=torchvision"];
    // names of Keras work in the network of torchvision, too
    let both = [&base[..], &["extract.layers=[layer2.1,conv5_block2_out]"]].concat();
    extract(&workspace, "both", &both).ok();
    assert_eq!(workspace.table("both").width(), 128 + 512);
    let names = ["resnet18_layer2_1_avg_0127", "resnet18_conv5_block2_out_avg_0511"];
    let columns = Columns::read(&workspace.path("both/features/part-00000.parquet"), &names).expect("both are there");
    assert_eq!(columns.reals(names[1]).map(|values| values.len()).expect("numbers"), 6);
    let wrong = [&base[..], &["extract.layers=[layer2.7]"]].concat();
    extract(&workspace, "wrong", &wrong).ended(2, &["resnet18 has no layer `layer2.7`"]);
}

#[test]
fn a_network_for_grey_pictures_takes_the_weights_of_one_for_colours() {
    let workspace = Workspace::with_fruits(1, 1);
    let file = workspace.path("w.safetensors");
    weights(&file, &built("resnet18", Source::Torchvision, 64, 1000), Source::Torchvision, |name| {
        Some(name.to_string())
    });
    let set = format!("extract.weights={}", file.display());
    extract(&workspace, "grey", &["extract.model=resnet18", &set, "extract.channels=1"]).ok();
    // the notebook's VGG16 on (224, 224, 1)
    let vgg = [
        "extract.model=vgg16",
        "extract.weights=random",
        "extract.channels=1",
        "extract.layer=input",
        "extract.features=flatten",
    ];
    extract(&workspace, "input", &vgg).ok();
    assert_eq!(workspace.table("input").width(), 64 * 64);
}

#[test]
fn a_figure_is_drawn_of_what_is_classified() {
    let workspace = Workspace::with_fruits(1, 1);
    workspace.write("pictures/Test/broken.jpg", b"\xff\xd8\xff\xe0 no more");
    for file in ["top.png", "top.svg"] {
        let run = workspace.call(&["classify", "--plot", file, "pictures/Test"]);
        assert_eq!(run.code, Some(1), "one picture is broken: {}", run.stderr);
        let bytes = workspace.read(file);
        if file.ends_with("svg") {
            let text = String::from_utf8(bytes).expect("text");
            assert!(text.starts_with("<svg") || text.starts_with("<?xml"));
            assert!(text.contains("broken.jpg") && text.contains("data:image/"), "the broken and a sound one");
        } else {
            let (width, height) = featurize::image::dimensions(&bytes).expect("a PNG");
            assert!(width > 200 && height > 200);
        }
    }
    workspace.call(&["classify", "--plot", "top.pdf", "pictures/Test"]).ended(2, &[".png or .svg"]);
}

#[test]
fn models_are_listed_and_shown() {
    let listed = call(project(), &["models", "list", "--json"]).ok();
    let names = listed.json_lines();
    assert_eq!(names.len(), models::MODELS.len());
    let resnet = names.iter().find(|model| model["name"] == "resnet50").expect("resnet50");
    assert_eq!((resnet["features"].as_u64(), resnet["weights"].as_array().map(Vec::len)), (Some(2048), Some(19)));
    let table = call(project(), &["models", "list"]).ok().stdout;
    for text in ["vgg16", "efficientnet_lite0", "4.65 M", "Apache-2.0"] {
        assert!(table.contains(text), "{text}: {table}");
    }
    let lite = call(project(), &["models", "show", "efficientnet_lite0"]).ok().stdout;
    assert!(lite.contains("blocks.6.0.conv_pwl") && lite.contains("7×7×1280"), "{lite}");
    let shown = call(project(), &["models", "show", "resnet50", "--source", "keras"]).ok();
    assert!(shown.stdout.contains("conv4_block6_out") && shown.stdout.contains("25583592 trained parameters"));
    let drawn = call(project(), &["models", "show", "resnet50", "--source", "torchvision", "--dot"]).ok();
    assert!(drawn.stdout.starts_with("digraph resnet50 {") && drawn.stdout.contains("layer4.2.conv3"));
}

#[test]
fn a_short_benchmark_tells_speed_and_layers() {
    let run =
        call(project(), &["bench", "--seconds", "0.1", "--layers", "--json", "--images", "data/fruits/Test/Banana"])
            .ok();
    let told = run.json();
    for key in [
        "peak_gflops",
        "forward_images_per_s",
        "gflops",
        "share_of_peak",
        "decode_images_per_s",
        "prepare_images_per_s",
        "images_per_s",
    ] {
        assert!(told[key].as_f64().is_some_and(|v| v > 0.0), "{key}: {told}");
    }
    assert!(told["layers"].as_array().is_some_and(|layers| layers.len() > 40));
}
