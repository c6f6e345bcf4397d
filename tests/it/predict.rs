//! `predict` and `classify`: the classifiers of runs and of networks, applied to pictures.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use featurize::io::columns::Columns;
use safetensors::SafeTensors;
use serde_json::Value;

use crate::support::{Run, Workspace, featurize, project};

pub fn call(command: &str, arguments: &[&str], dir: &Path) -> Run {
    Run::of(featurize().current_dir(dir).arg(command).args(arguments).output().expect("started"))
}

/// The lines of `--json`, each with its path.
fn json(run: &Run) -> Vec<(String, Value)> {
    run.json_lines().into_iter().map(|one| (one["path"].as_str().expect("a path").to_string(), one)).collect()
}

/// The bits of the probability of each class.
fn bits(one: &Value) -> BTreeMap<String, u32> {
    let top = one["top"].as_array().unwrap_or_else(|| panic!("no list: {one}"));
    let bits = |guess: &Value| (guess["probability"].as_f64().expect("a number") as f32).to_bits();
    top.iter().map(|guess| (guess["label"].as_str().expect("a label").to_string(), bits(guess))).collect()
}

/// The bits of the probabilities in `predictions.parquet`, by path.
pub fn predictions(run: &Path, classes: &[&str]) -> BTreeMap<String, BTreeMap<String, u32>> {
    let names: Vec<String> = classes.iter().map(|class| format!("p_{class}")).collect();
    let columns: Vec<&str> = names.iter().map(String::as_str).chain(["path"]).collect();
    let table = Columns::read(&run.join("predictions.parquet"), &columns).expect("read");
    let mut all: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
    let paths = table.texts("path").expect("paths");
    for (class, name) in classes.iter().zip(&names) {
        for (path, p) in paths.iter().zip(table.reals(name).expect("probabilities")) {
            let path = path.clone().expect("a path");
            all.entry(path).or_default().insert(class.to_string(), (p as f32).to_bits());
        }
    }
    all
}

/// Checks that `predict` returns the run's own predictions for every picture of the test split.
pub fn agrees(workspace: &Workspace, run: &Path, classes: &[&str]) {
    let known = predictions(run, classes);
    let top = classes.len().to_string();
    let run = run.to_str().expect("text");
    let said = call("predict", &[run, "pictures/Test", "--json", "--top", &top], &workspace.path("")).ok();
    let said = json(&said);
    let mut expected: Vec<&String> = known.keys().filter(|path| path.starts_with("Test/")).collect();
    expected.retain(|path| classes.iter().any(|class| path.contains(class)));
    let ours = said.iter().filter(|(path, _)| classes.iter().any(|class| path.contains(class)));
    let ours: Vec<_> = ours.collect();
    assert_eq!(ours.iter().map(|(path, _)| path.trim_start_matches("pictures/")).collect::<Vec<_>>(), expected);
    assert!(!ours.is_empty());
    for (path, one) in ours {
        assert_eq!(bits(one), known[path.trim_start_matches("pictures/")], "{path}");
    }
}

pub const ALL: [&str; 3] = ["Banana", "Lemon", "Strawberry"];

#[test]
fn a_moved_run_predicts_what_it_predicted_bit_for_bit() {
    let workspace = Workspace::after_run(6, 4);
    let moved = workspace.path("elsewhere/fruits");
    std::fs::create_dir(workspace.path("elsewhere")).expect("created");
    std::fs::rename(workspace.path("out"), &moved).expect("moved");
    std::fs::remove_file(workspace.path("pipeline.yaml")).expect("removed");
    agrees(&workspace, &moved, &ALL);
    // only the folder `classifier` is needed
    let copy = workspace.path("copy");
    std::fs::create_dir(&copy).expect("created");
    std::fs::rename(moved.join("classifier"), copy.join("classifier")).expect("moved");
    std::fs::rename(moved.join("predictions.parquet"), copy.join("predictions.parquet")).expect("moved");
    agrees(&workspace, &copy, &ALL);
}

#[test]
fn any_combination_of_stages_predicts_what_the_run_predicted() {
    let workspace = Workspace::with_fruits(5, 2);
    let yaml = |extract: &str, stages: &str| {
        format!(
            "version: 1\ninput: {{root: pictures, split: {{train: 'Training/**', test: 'Test/**'}}CLASSES}}\nextract: \
             {{{extract}}}\n{stages}\ntrain: {{mlp: {{hidden: [8], max_iter: 30}}}}\n"
        )
    };
    let small = "weights: random, seed: 3, recipe: {size: 64, fit: pad, channels: bgr}";
    let cases = [
        ("nothing", yaml("", ""), &ALL[..]),
        ("select", yaml(small, "select: {variance_threshold: 0.0001}"), &ALL),
        (
            "reduce",
            yaml(&format!("{small}, features: flatten, layer: blocks.6.0"), "reduce: {pca: {components: 3}}"),
            &ALL,
        ),
        (
            "standard",
            yaml("", "select: {top_k: 200, score: f_classif}\nreduce: {scale: standard, pca: {components: 0.9}}"),
            &ALL,
        ),
        ("l2 and svd", yaml("", "select: {}\nreduce: {scale: l2, svd: {components: 5}}"), &ALL),
        ("scaled only", yaml("", "reduce: {scale: standard}"), &ALL),
        ("binary", yaml("features: max", "select: {}\nreduce: {pca: {components: 4, whiten: true}}"), &ALL[..2]),
    ];
    for (name, yaml, classes) in cases {
        let few = if classes.len() < 3 { format!(", classes: [{}]", classes.join(", ")) } else { String::new() };
        workspace.write("pipeline.yaml", yaml.replace("CLASSES", &few).as_bytes());
        workspace.run(name, &[]).ok();
        println!("{name}");
        agrees(&workspace, &workspace.path(name), classes);
    }
}

#[test]
fn a_bad_picture_is_told_and_the_others_go_on() {
    let workspace = Workspace::after_run(4, 2);
    workspace.write("pictures/Test/Banana/a_text.jpg", b"no picture\n");
    workspace.write("pictures/Test/Banana/notes.txt", b"left out, as a run leaves it out");
    let arguments = ["out", "pictures/Test/Banana", "gone.jpg"];
    let plain = call("predict", &arguments, &workspace.path(""));
    assert_eq!(plain.code, Some(1), "{plain:?}");
    assert_eq!(plain.stdout.lines().count(), 2, "{plain:?}");
    let told: Vec<&str> = plain.stderr.lines().collect();
    assert!(told[0].starts_with("pictures/Test/Banana/a_text.jpg: not_an_image: "), "{plain:?}");
    assert!(told[1].starts_with("gone.jpg: missing: there is no such file"), "{plain:?}");
    assert_eq!(told[2..], ["error: 2 of 4 pictures could not be read"]);
    let json_run = call("predict", &[&arguments[..], &["--json"]].concat(), &workspace.path(""));
    assert_eq!((json_run.code, json_run.stderr.lines().count()), (Some(1), 1), "{json_run:?}");
    let lines = json(&json_run);
    assert_eq!(lines.len(), 4);
    let [good, bad] = [&lines[0].1, &lines[2].1];
    assert!(bad["error"].as_str().is_some_and(|error| error.starts_with("not_an_image: ")), "{bad}");
    assert!(good["error"].is_null() && good["top"].as_array().is_some_and(|top| top.len() == 3), "{good}");
    assert!(lines[3].0 == "gone.jpg" && lines[3].1["top"].is_null());
    workspace.write("empty/notes.txt", b"");
    call("predict", &["out", "empty"], &workspace.path("")).ended(1, &["no picture in empty: give picture files"]);
}

#[test]
fn paths_come_from_standard_input_and_tables_are_csv() {
    let workspace = Workspace::after_run(4, 2);
    let picture = workspace.read("pictures/Test/Lemon/0_0_100.jpg");
    workspace.write("new/a, b.jpg", &picture);
    workspace.write("new/c.jpg", &picture);
    let mut command = featurize();
    command.current_dir(workspace.path("")).args(["predict", "out", "new/c.jpg", "-", "--top", "2", "--csv"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("started");
    child.stdin.take().expect("piped").write_all(b"new/a, b.jpg\n\nnew/c.jpg").expect("written");
    let run = Run::of(child.wait_with_output().expect("ended")).ok();
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines[0], "path,rank,label,probability,known,distance");
    assert_eq!(lines.len(), 7, "{}", run.stdout);
    assert!(lines[1].starts_with("new/c.jpg,1,Lemon,0.") && lines[2].starts_with("new/c.jpg,2,"), "{}", run.stdout);
    assert!(lines[3].starts_with("\"new/a, b.jpg\",1,Lemon,"), "{}", run.stdout);
    assert_eq!(lines[5..], lines[1..3], "the same picture, the same answer");
}

#[test]
fn threads_change_nothing_and_columns_stand_below_each_other() {
    let workspace = Workspace::after_run(4, 4);
    let run = |threads: &str| {
        call("predict", &["out", "pictures", "--top", "9", "--threads", threads], &workspace.path("")).ok().stdout
    };
    let one = run("1");
    assert_eq!(one, run("5"));
    assert_eq!(one.lines().count(), 24);
    let places: Vec<Vec<usize>> = one
        .lines()
        .map(|line| line.match_indices(" 0.").chain(line.match_indices(" 1.")).map(|(at, _)| at).collect())
        .collect();
    assert!(places.iter().all(|one| one.len() == 3 && one.iter().max() == places[0].iter().max()), "{one}");
    let paths: Vec<&str> = one.lines().map(|line| line.split("  ").next().unwrap_or_default()).collect();
    assert!(paths.is_sorted() && paths[0].starts_with("pictures/Test/Banana/"), "{one}");
}

#[test]
fn a_folder_that_cannot_predict_says_why() {
    let workspace = Workspace::with_fruits(4, 2);
    let predict = |run: &str| call("predict", &[run, "pictures"], &workspace.path(""));
    let refused = |run: Run, code: i32, texts: &[&str]| {
        assert_eq!(run.stdout, "");
        run.ended(code, texts);
    };
    for command in ["predict", "similar"] {
        let gone = call(command, &["gone", "pictures"], &workspace.path(""));
        refused(gone, 2, &["gone is no folder of a run: there is no such folder", "`featurize run`"]);
    }
    refused(predict("pipeline.yaml"), 2, &["it is a file"]);
    refused(predict("pictures"), 2, &["classifier/classifier.json"]);
    workspace.run("out", &["--until", "reduce"]).ok();
    refused(predict("out"), 1, &["out holds no classifier", "section `train`"]);
    workspace.run("out", &[]).ok();
    // a new PCA and the old perceptron, as after a run that was killed between the two
    let kept = workspace.read("out/.store/train.json");
    workspace.run("out", &["--set", "reduce.pca.components=5", "--until", "reduce"]).ok();
    refused(predict("out"), 1, &["not whole: `train` has not run since its input changed", "again to its end"]);
    // without its records the state of the run is unknown: `predict` uses the files as they are, `run` does not change
    // them
    std::fs::rename(workspace.path("out/.store"), workspace.path("stored")).expect("moved");
    // the card has the hashes of the other files; a card of 0.3.0 has none
    refused(predict("out"), 1, &["pca.safetensors is damaged", "not those that were written"]);
    let unsealed = |text: &str| {
        let mut card: Value = workspace.json("out/classifier/classifier.json");
        let card = card.as_object_mut().expect("an object");
        assert!(card.remove("files").is_some() && card.remove("blake3").is_some());
        let card = serde_json::to_string(card).expect("JSON").replace("efficientnet_lite0", text);
        workspace.write("out/classifier/classifier.json", card.as_bytes());
    };
    unsealed("efficientnet_lite0");
    refused(predict("out"), 1, &["the classifier takes 6 columns, 5 come in"]);
    assert_eq!(workspace.run("out", &[]).code, Some(1));
    std::fs::rename(workspace.path("stored"), workspace.path("out/.store")).expect("moved back");
    workspace.run("out", &[]).ok();
    std::fs::remove_file(workspace.path("out/.store/train.json")).expect("removed");
    refused(predict("out"), 1, &["`train` was interrupted"]);
    workspace.write("out/.store/train.json", &kept);
    predict("out").ok();
    let card = workspace.text("out/classifier/classifier.json");
    workspace.write("out/classifier/classifier.json", (card.clone() + "\n").as_bytes());
    refused(predict("out"), 1, &["classifier/classifier.json is gone or changed"]);
    std::fs::remove_dir_all(workspace.path("out/.store")).expect("removed");
    workspace.write("out/classifier/classifier.json", card.replace("efficientnet_lite0", "lenet").as_bytes());
    refused(predict("out"), 1, &["classifier.json is damaged"]);
    workspace.write("out/classifier/classifier.json", card.as_bytes());
    unsealed("lenet");
    refused(predict("out"), 1, &["the model `lenet`", "use that version"]);
    workspace.write("out/classifier/classifier.json", b"{");
    refused(predict("out"), 1, &["classifier.json is not the table that was expected"]);
}

#[test]
fn the_weights_must_be_those_of_the_run() {
    let workspace = Workspace::with_fruits(4, 2);
    let mut bytes = std::fs::read(project().join("data/weights/efficientnet_lite0.f16.safetensors")).expect("shipped");
    let bundled = bytes.clone();
    let low = bytes.len() - 2;
    bytes[low] ^= 1; // the lowest bit of the last value
    workspace.write("w.safetensors", &bytes);
    let own = format!("extract.weights={}", workspace.path("w.safetensors").display());
    workspace.run("out", &["--set", &own, "--set", "extract.recipe.size=64"]).ok();
    agrees(&workspace, &workspace.path("out"), &ALL);
    workspace.write("w.safetensors", &bundled);
    let predict =
        |more: &[&str]| call("predict", &[&["out", "pictures/Test", "--json"], more].concat(), &workspace.path(""));
    predict(&[]).ended(1, &["is another version of the weights", "ba17497f", "--weights FILE"]);
    std::fs::rename(workspace.path("w.safetensors"), workspace.path("x.safetensors")).expect("moved");
    predict(&[]).ended(1, &["are missing: `", "w.safetensors", "--weights FILE"]);
    assert_eq!(predict(&["--weights", "x.safetensors"]).code, Some(1));
    workspace.write("x.safetensors", &bytes);
    predict(&["--weights", "x.safetensors"]).ok();
}

/// Compares with timm's logits of the golden pictures, in float64 (`tests/golden/efficientnet_lite0.py`).
#[test]
fn classify_gives_the_probabilities_of_timm() {
    let bytes = std::fs::read(project().join("tests/golden/efficientnet_lite0.safetensors")).expect("golden file");
    let golden = SafeTensors::deserialize(&bytes).expect("safetensors");
    let run = call("classify", &["tests/golden/pictures", "--json", "--top", "1000"], project()).ok();
    let lines = json(&run);
    assert_eq!(lines.len(), 3);
    for (path, one) in lines {
        let name = Path::new(&path).file_stem().and_then(|stem| stem.to_str()).expect("a name");
        let data = golden.tensor(&format!("{name}.logits")).expect("logits").data().to_vec();
        let logits: Vec<f64> =
            data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()).collect();
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        let mut order: Vec<usize> = (0..1000).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        let top = one["top"].as_array().expect("a list");
        let names = std::fs::read_to_string(project().join("data/weights/imagenet_classes.tsv")).expect("shipped");
        let names: Vec<Vec<&str>> = names.lines().map(|line| line.split('\t').collect()).collect();
        for (guess, &class) in top.iter().zip(&order).take(5) {
            let (p, expected) = (guess["probability"].as_f64().expect("a number"), logits[class].exp() / sum);
            assert!((p - expected).abs() <= 1e-4 * expected, "{path}: {p} for {expected}");
            assert_eq!([&guess["wnid"], &guess["label"]], [names[class][1], names[class][2]], "{path}");
        }
        let total: f64 = top.iter().filter_map(|guess| guess["probability"].as_f64()).sum();
        assert!(top.len() == 1000 && (total - 1.0).abs() < 1e-5, "{total}");
    }
}

#[test]
fn classify_takes_other_weights_and_names_what_is_wrong() {
    let picture = "tests/golden/pictures/small.png";
    let file = "data/weights/efficientnet_lite0.f16.safetensors";
    let own = call("classify", &[picture, "--csv", "--top", "2"], project()).ok();
    assert!(own.stdout.starts_with("path,rank,label,probability,wnid\ntests/golden/pictures/small.png,1,"), "{own:?}");
    let same = call("classify", &["--weights", file, picture, "--csv", "--top", "2"], project()).ok();
    assert_eq!(own.stdout, same.stdout);
    call("classify", &["--model", "efficientnet_lit0", picture], project())
        .ended(2, &["did you mean `efficientnet_lite0`"]);
    let golden = "tests/golden/efficientnet_lite0.safetensors";
    call("classify", &["--weights", golden, picture], project()).ended(1, &["its 26 tensors are called `input.avg`"]);
    for arguments in [&[picture, "--top", "0"][..], &[picture, "--json", "--csv"], &[]] {
        assert_eq!(call("classify", arguments, project()).code, Some(2), "{arguments:?}");
    }
}
