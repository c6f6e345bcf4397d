//! The user's own weights, registered by a name.

use featurize::io::features::FeatureFile;
use serde_json::Value;

use crate::checkpoints::{MODEL, network, same, write};
use crate::drawn::turned_and_plain;
use crate::support::{Run, Workspace, featurize};

/// Weights of five classes in `best.safetensors`, and their names in `names.txt`.
pub fn workspace() -> Workspace {
    let workspace = Workspace::with_fruits(2, 1);
    write(&workspace.path("best.safetensors"), &network(5, "module.", same));
    workspace.write("names.txt", "\u{feff}ant\nbee\r\ngrey cat\ndog\nelk\n".as_bytes());
    workspace
}

pub fn call(workspace: &Workspace, arguments: &[&str]) -> Run {
    let mut call = featurize();
    call.current_dir(workspace.path("")).env("FEATURIZE_WEIGHTS", workspace.path("store")).env_remove("HF_HUB_OFFLINE");
    Run::of(call.args(arguments).output().expect("started"))
}

pub fn import(workspace: &Workspace, name: &str, more: &[&str]) -> Run {
    let import = ["weights", "import", "best.safetensors", "--name", name, "--model", MODEL, "--source", "torchvision"];
    call(workspace, &[&import, more].concat())
}

pub const WELL: [&str; 4] = ["--recipe", "{size: 64, fit: stretch}", "--classes", "names.txt"];

fn lines(run: Run) -> Vec<Value> {
    run.ok().json_lines()
}

#[test]
fn a_name_stands_for_the_file_with_its_network_recipe_and_classes() {
    let workspace = workspace();
    let path = import(&workspace, "pets", &WELL).ok().stdout;
    assert_eq!(import(&workspace, "pets", &WELL).ok().stdout, path, "the same once more");
    assert_eq!(call(&workspace, &["weights", "path", "pets"]).ok().stdout, path);
    assert_eq!(call(&workspace, &["weights", "fetch", "pets"]).ok().stdout, path);
    let sound = call(&workspace, &["weights", "verify"]).ok().stdout;
    assert!(sound.starts_with("sound ") && sound.lines().count() == 1, "{sound}");

    // the name gives the same features and probabilities as the file
    let file = ["--model", MODEL, "--source", "torchvision", "--weights", "best.safetensors"];
    let recipe = ["--set", "extract.recipe={size: 64, fit: stretch}"];
    let embed = |weights: &[&str]| {
        call(&workspace, &[&["embed", "pictures", "-o", "e.parquet"], weights].concat()).ok();
        FeatureFile::open(&workspace.path("e.parquet")).and_then(|file| file.read_features(None)).expect("a table")
    };
    let wanted = embed(&[&file[..], &recipe].concat());
    assert!(embed(&["--weights", "pets"]) == wanted);
    let rows =
        call(&workspace, &["classify", "pictures", "--weights", "pets", "--json", "--top", "5"]).ok().json_lines();
    let mut classes: Vec<_> =
        rows[0]["top"].as_array().expect("a list").iter().map(|one| one["label"].clone()).collect();
    classes.sort_by_key(Value::to_string);
    assert_eq!(classes, ["ant", "bee", "dog", "elk", "grey cat"]);
    assert!(rows[0]["top"][0]["wnid"].is_null());

    // both lists show the weights, and another network than theirs is refused
    let listed = call(&workspace, &["weights", "list", "--model", MODEL, "--json"]).ok().json_lines();
    let own = listed.iter().find(|row| row["source"] == "pets").expect("listed");
    assert_eq!((&own["model"], &own["classes"]), (&MODEL.into(), &5.into()));
    assert!(call(&workspace, &["weights", "list"]).ok().stdout.contains(path.trim()));
    let models = call(&workspace, &["models", "list", "--json"]).ok().json_lines();
    let model = models.iter().find(|row| row["name"] == MODEL).expect("listed");
    let own = model["weights"].as_array().expect("a list").last().expect("the last").clone();
    assert_eq!((&own["name"], &own["recipe"]["size"]), (&"pets".into(), &serde_json::json!([64, 64])));
    call(&workspace, &["classify", "pictures", "--weights", "pets", "--model", "resnet18"])
        .ended(2, &["are of mobilenet_v2"]);
}

/// A preset ignores EXIF as its library does, also for registered weights.
#[test]
fn a_preset_leaves_pictures_as_they_are_stored_whoever_asks_for_it() {
    let workspace = workspace();
    turned_and_plain(&workspace);
    import(&workspace, "stored", &["--recipe", "{preset: torchvision}"]).ok();
    import(&workspace, "upright", &[]).ok();
    let preset = "extract.recipe.preset=torchvision";
    for (weights, same) in [
        (&["--weights", "stored"][..], true),
        (&["--weights", "upright"], false),
        (&["--weights", "upright", "--set", preset], true),
    ] {
        let classify = ["classify", "turned.jpg", "plain.jpg", "--json", "--top", "5"];
        let rows = lines(call(&workspace, &[&classify, weights].concat()));
        assert_eq!(rows[0]["top"] == rows[1]["top"], same, "classify {weights:?}");
        call(&workspace, &[&["embed", "turned.jpg", "plain.jpg", "-o", "two.parquet"], weights].concat()).ok();
        let table = FeatureFile::open(&workspace.path("two.parquet")).and_then(|file| file.read_features(None));
        let table = table.expect("a table");
        assert_eq!(table.row(0) == table.row(1), same, "embed {weights:?}");
    }
}

#[test]
fn a_run_is_fingerprinted_by_the_contents_and_finds_them_under_another_name() {
    let workspace = workspace();
    import(&workspace, "pets", &WELL).ok();
    let sets = ["--out", "out", "--log", "json", "--set"];
    let run = |weights: &str| {
        let set = format!("extract.weights={weights}");
        call(&workspace, &[&["run", "pipeline.yaml"], &sets[..], &[&set]].concat())
    };
    run("pets").ok();
    let info = workspace.json("out/run.json");
    assert_eq!(info["config"]["extract"]["model"], MODEL);
    let file = workspace.path("best.safetensors").display().to_string();
    let same = ["extract.model=mobilenet_v2", "extract.source=torchvision", "extract.recipe={size: 64, fit: stretch}"];
    let same = same.map(|set| ["--set", set]).concat();
    let weights = format!("extract.weights={file}");
    let again = call(&workspace, &[&["run", "pipeline.yaml"], &sets[..], &[&weights], &same[..]].concat()).ok();
    assert!(!again.computed().contains(&"extract".to_string()), "{:?}", again.computed());
    run("pets").ok();
    call(&workspace, &["weights", "remove", "pets"]).ok();
    let gone = run("pets");
    assert!(gone.code == Some(2) && gone.error().contains("no weights are called `pets`"), "{}", gone.error());
    call(&workspace, &["predict", "out", "pictures/Test"]).ended(1, &["--weights FILE"]);
    import(&workspace, "zoo", &["--recipe", "{size: 64}"]).ok();
    call(&workspace, &["predict", "out", "pictures/Test"]).ok();
}

#[test]
fn what_cannot_have_a_name_is_refused_before_anything_is_copied() {
    let workspace = workspace();
    for (name, text) in [
        ("resnet50", "a network is called so"),
        ("ResNet50", "a network is called so"),
        ("keras", "has this word for other weights"),
        ("bundled", "has this word for other weights"),
        ("a.b", "letters, digits"),
        ("../a", "letters, digits"),
        ("_a", "letters, digits"),
    ] {
        import(&workspace, name, &WELL).ended(2, &[text]);
    }
    workspace.write("four.txt", b"a\nb\nc\nd");
    workspace.write("gap.txt", b"a\n\nc\nd\ne");
    workspace.write("model.safetensors.index.json", br#"{"weight_map": {"a": "best.safetensors"}}"#);
    for (more, text) in [
        (&["--classes", "four.txt"][..], "names 4 classes, the classifier in the weights has 5"),
        (&["--classes", "gap.txt"], "line 2 of gap.txt is empty"),
        (&["--classes", "none.txt"], "cannot read the classes none.txt"),
        (&["--recipe", "{sise: 64}"], "did you mean `size`"),
        (&["--weights-key", "student"], "`student`"),
    ] {
        let run = import(&workspace, "pets", more);
        assert!(run.code != Some(0) && run.stderr.contains(text), "{more:?}: {run:?}");
    }
    let other = ["weights", "import", "best.safetensors", "--name", "pets", "--model", "resnet18"];
    assert!(call(&workspace, &other).stderr.contains("does not hold the weights of this network"));
    assert!(!workspace.path("store").exists());
    import(&workspace, "pets", &WELL).ok();
    let taken = import(&workspace, "pets", &[]);
    taken.ended(1, &["weights remove pets"]);
    call(&workspace, &["embed", "pictures", "-o", "e.parquet", "--weights", "cars"]).ended(2, &["names here: `pets`"]);
    // a modified copy of the file is not used
    let copy = workspace.path("store/own/pets/weights");
    let mut bytes = std::fs::read(&copy).expect("read");
    *bytes.last_mut().expect("a byte") ^= 1;
    std::fs::write(&copy, bytes).expect("written");
    let damaged = call(&workspace, &["classify", "pictures", "--weights", "pets"]);
    assert!(damaged.code != Some(0) && damaged.stderr.contains("passed over"), "{damaged:?}");
}
