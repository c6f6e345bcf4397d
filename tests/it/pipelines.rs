//! Every shipped pipeline is planned; fruits.yaml is run to its end.

use crate::novelty::area_with_a_class_left_out;
use crate::support::{Run, Workspace, call, featurize, project};

#[test]
fn every_shipped_pipeline_can_be_planned() {
    let mut count = 0;
    for entry in std::fs::read_dir(project().join("pipelines")).expect("pipelines") {
        let path = entry.expect("entry").path();
        if path.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        let data_ships = name == "fruits.yaml" || name == "unlabeled.yaml";
        let mut plan = featurize();
        plan.arg("plan").arg(&path);
        if name == "resnet50-flatten.yaml" {
            plan.args(["--set", "extract.weights=random"]); // Keras' weights may not be on this machine
        }
        let run = Run::of(plan.output().expect("started"));
        if data_ships {
            let run = run.ok();
            assert!(run.stdout.contains("extract"), "{}", run.stdout);
        } else {
            // it is about pictures of the user: everything except their folder must be valid
            assert!(run.code == Some(0) || run.stderr.contains("there is no folder"), "{name}: {}", run.stderr);
        }
        count += 1;
    }
    assert!(count >= 1);
}

#[test]
fn fruits_from_pictures_to_report() {
    let workspace = Workspace::new();
    let out = workspace.path("fruits");
    let run = call(project(), &["run", "pipelines/fruits.yaml", "--out", out.to_str().expect("text")]).ok();
    for file in [
        "manifest.parquet",
        "features/part-00000.parquet",
        "reduced.parquet",
        "predictions.parquet",
        "classifier/columns.parquet",
        "classifier/pca.safetensors",
        "classifier/mlp.safetensors",
        "classifier/novelty.safetensors",
        "classifier/classifier.json",
        "metrics.json",
        "report.html",
        "run.json",
    ] {
        assert!(out.join(file).is_file(), "{file}");
    }
    for line in ["images", "features", "kept", "components", "result", "files", "report"] {
        assert!(run.stdout.contains(&format!("\n  {line}")), "{line} in:\n{}", run.stdout);
    }
    let metrics = workspace.json("fruits/metrics.json");
    let accuracy = metrics["test"]["accuracy"].as_f64().expect("a number");
    assert!(accuracy >= 0.95, "accuracy {accuracy} on the shipped fruits");
    // the plain mean distance to five neighbours gives 0.9763
    let area = area_with_a_class_left_out(&out);
    assert!(area >= 0.998, "{area} with a class left out");
    let run = workspace.json("fruits/run.json");
    assert_eq!(run["weights_sha256"].as_str().map(str::len), Some(64));
    assert_eq!(run["extract"]["width"], 1280);
}

#[test]
fn the_yaml_of_the_documents_is_a_pipeline_with_every_section() {
    let document = std::fs::read_to_string(project().join("docs/pipelines.md")).expect("docs/pipelines.md");
    let yaml = document.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a YAML block");
    let file = project().join("pipelines/readme.yaml");
    let pipeline = featurize::config::parse(yaml, &file, &[]).unwrap_or_else(|error| panic!("{error}"));
    let defaults = featurize::config::parse("version: 1\ninput: {root: x}\n", &file, &[]).expect("the least there is");
    assert!(pipeline.select.is_some() && pipeline.reduce.is_some() && pipeline.report.is_some());
    // the documented value of each key is its default, except for one key that is absent by default
    let mut mlp = serde_json::to_value(&pipeline.train.as_ref().expect("train").mlp).expect("JSON");
    let weight = mlp.as_object_mut().and_then(|mlp| mlp.remove("class_weight"));
    assert_eq!(weight, Some(serde_json::json!({"Banana": 2.0})));
    let plain =
        featurize::config::parse("version: 1\ninput: {root: x}\ntrain: {mlp: {}}\n", &file, &[]).expect("plain");
    assert_eq!(mlp, serde_json::to_value(&plain.train.expect("train").mlp).expect("JSON"));
    assert_eq!(pipeline.runtime, defaults.runtime);
    let plan = featurize::plan::Plan::new(pipeline, None, &mut |_| panic!("the weights are inside"))
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        plan.backbone.recipe,
        featurize::models::find("efficientnet_lite0").expect("registered").weights[0].recipe
    );
    assert_eq!(plan.width(), 1280);
}

#[test]
fn kernels_change_the_fingerprint_of_features_only_where_they_are_asked_for() {
    let file = project().join("pipelines/kernels.yaml");
    let settings = |runtime: &str| {
        let yaml = format!("version: 1\ninput: {{root: ../data/fruits}}\n{runtime}\n");
        let pipeline = featurize::config::parse(&yaml, &file, &[]).expect("a pipeline");
        let plan = featurize::plan::Plan::new(pipeline, None, &mut |_| panic!("nothing is fetched")).expect("a plan");
        (plan.extract_settings(), plan.metadata())
    };
    let (defaults, metadata) = settings("");
    let keys: Vec<&String> = defaults.as_object().expect("an object").keys().collect();
    let old = ["dtype", "features", "image", "layer", "model", "precision", "recipe", "source", "weights"];
    assert_eq!(keys, old);
    assert_eq!(settings("runtime: {kernels: auto, threads: 2}"), (defaults.clone(), metadata));
    let (portable, metadata) = settings("runtime: {kernels: portable}");
    assert_eq!(portable["kernels"], "portable");
    assert!(metadata.contains(&("featurize.kernels".to_string(), "portable".to_string())));
}

#[test]
fn a_preset_is_a_librarys_recipe_and_leaves_pictures_as_they_are_stored() {
    use featurize::image::{Exif, Fit};
    let file = project().join("pipelines/preset.yaml");
    let plan = |extract: &str| {
        let yaml = format!("version: 1\ninput: {{root: ../data/fruits}}\n{extract}\n");
        let pipeline = featurize::config::parse(&yaml, &file, &[]).expect("a pipeline");
        featurize::plan::Plan::new(pipeline, None, &mut |_| panic!("nothing is fetched")).map_err(|e| e.to_string())
    };
    let own = plan("extract: {model: resnet50, weights: random}").expect("a plan").backbone;
    let keras = "extract: {model: resnet50, weights: random, recipe: {preset: keras, size: 100}}";
    let keras = plan(keras).expect("a plan").backbone;
    assert_eq!((keras.recipe.fit, keras.recipe.size, keras.recipe.mean[0]), (Fit::Stretch, [100; 2], 103.939));
    assert_eq!((own.decoding.exif, keras.decoding.exif), (Exif::Apply, Exif::Ignore));
    let told = "image: {exif: apply}\nextract: {model: resnet50, weights: random, recipe: {preset: timm}}";
    assert_eq!(plan(told).expect("a plan").backbone.decoding.exif, Exif::Apply);
    let error = plan("extract: {recipe: {preset: torchvision}}").expect_err("no such recipe");
    assert!(error.contains("torchvision has no weights of efficientnet_lite0 and so no recipe"), "{error}");
}

/// Plans the pipelines whose pictures do not ship, over folders with the same layout.
#[test]
fn pipelines_without_their_pictures_are_planned_over_folders_like_theirs() {
    let workspace = Workspace::new();
    let picture = std::fs::read(project().join("data/fruits/Test/Apple/0_0_100.jpg")).expect("a picture");
    for (name, folder, classes) in [
        ("dogs-vs-cats", "dogs-vs-cats", &["cat", "dog"][..]),
        ("flowers", "flower_photos", &["daisy", "dandelion", "roses", "sunflowers", "tulips"]),
    ] {
        for class in classes {
            (0..8).for_each(|i| workspace.write(&format!("data/{folder}/{class}/{i}.jpg"), &picture));
        }
        let file = format!("pipelines/{name}.yaml");
        workspace.write(&file, &std::fs::read(project().join(&file)).expect("shipped"));
        let run = workspace.call(&["plan", &file]).ok();
        let images = format!("images    {}:", 8 * classes.len());
        for told in [images.as_str(), "extract ", "reduce ", "train ", "report "] {
            assert!(run.stdout.contains(told), "{name}: {told} in\n{}", run.stdout);
        }
    }
}
