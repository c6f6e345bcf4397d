//! The feature tables: columns, metadata, layouts, kinds of features.

use featurize::io::columns::Columns;

use crate::support::{Workspace, rows, set};

#[test]
fn metadata_says_how_the_numbers_came_about() {
    let workspace = Workspace::with_fruits(1, 1);
    workspace.run("out", &["--until", "extract"]).ok();
    let metadata = workspace.table("out").metadata();
    let get = |key: &str| metadata.get(&format!("featurize.{key}")).unwrap_or_else(|| panic!("{key}")).as_str();
    assert_eq!(get("model"), "efficientnet_lite0");
    assert_eq!(get("weights_sha256").len(), 64);
    assert_eq!((get("features"), get("shape"), get("layer")), ("avg", "1280", "bn2"));
    assert_eq!(get("version"), env!("CARGO_PKG_VERSION"));
    let recipe: serde_json::Value = serde_json::from_str(get("recipe")).expect("JSON");
    assert_eq!(recipe["size"], serde_json::json!([224, 224]));
}

#[test]
fn halves_and_an_array_for_numpy() {
    let workspace = Workspace::with_fruits(2, 1);
    let half = ["--set", "output.dtype=f16", "--set", "output.npy=true"];
    workspace.run("full", &[]).ok();
    workspace.run("half", &half).ok();
    // with the option `--export` it is the same run
    assert!(workspace.run("half", &["--set", "output.dtype=f16", "--export", "npy"]).ok().computed().is_empty());
    assert!(!workspace.path("full").join("features.npy").exists());
    let read = |out: &str| workspace.table(out).read().expect("read");
    let ((keys, full), (_, rounded)) = (read("full"), read("half"));
    assert!(rounded != full);
    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= b.abs() / 2048.0 + 1e-7;
    assert!(rounded.as_slice().iter().zip(full.as_slice()).all(near));
    // the array has the rows of the tables, in order, after a header of 128 bytes
    let array = workspace.read("half/features.npy");
    assert_eq!(array.len(), 128 + 9 * 1280 * 2);
    let first: Vec<u8> = rounded.row(0).iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect();
    assert_eq!(&array[128..128 + first.len()], first);
    assert_eq!(rows(&workspace.path("half/index.parquet"), ["path"])[0], [keys[0].path.clone()]);
    // the prediction for the picture is the one in the table
    let picture = format!("pictures/{}", keys[0].path);
    let said = workspace.call(&["predict", "half", &picture, "--json"]).ok().json_lines().remove(0);
    let table = Columns::read(&workspace.path("half/predictions.parquet"), &["confidence"]).expect("read");
    let confidence = table.reals("confidence").expect("numbers")[0] as f32;
    assert_eq!(said["top"][0]["probability"].as_f64().map(|p| p as f32), Some(confidence));
    // when the array is no longer asked for, it is deleted, and no model is fitted again
    let run = workspace.run("half", &half[..2]).ok();
    assert_eq!(run.computed(), ["extract"]);
    assert!(!workspace.path("half").join("features.npy").exists());
}

#[test]
fn every_kind_of_features_has_its_width_and_agrees_with_the_map() {
    let workspace = Workspace::with_fruits(1, 1);
    let read = |kind: &str, layout: &str| {
        let out = format!("{kind}-{layout}");
        let (kind, layout) = (format!("extract.features={kind}"), format!("output.layout={layout}"));
        let small = ["--set", "extract.recipe.size=64", "--set", "extract.shard_rows=100", "--until", "extract"];
        workspace.run(&out, &[&["--set", &kind, "--set", &layout][..], &small].concat()).ok();
        workspace.table(&out).read().expect("read").1
    };
    let (map, flat) = (read("map", "array"), read("flatten", "wide"));
    assert_eq!((map.rows(), map.cols()), (6, 2 * 2 * 1280));
    assert!(map == flat, "flatten is the map row by row, in the order (h, w, c)");
    let (avg, max) = (read("avg", "wide"), read("max", "array"));
    for (i, row) in map.iter_rows().enumerate() {
        for c in (0..1280).step_by(97) {
            let values: Vec<f32> = (0..4).map(|position| row[position * 1280 + c]).collect();
            let mean = values.iter().sum::<f32>() / 4.0;
            assert!((avg.row(i)[c] - mean).abs() <= 1e-6 * mean.abs().max(1.0));
            assert_eq!(max.row(i)[c], values.iter().copied().fold(f32::MIN, f32::max));
        }
    }
}

#[test]
fn another_layout_is_written_from_the_numbers_that_are_there() {
    let workspace = Workspace::with_fruits(2, 1);
    workspace.run("out", &["--until", "extract"]).ok();
    let wide = workspace.table("out").read().expect("read");
    let run = workspace.run("out", &["--until", "extract", "--set", "output.layout=array"]).ok();
    assert_eq!(run.event("summary")["extract"]["timing"]["pictures"], 0);
    assert!(workspace.table("out").read().expect("read") == wide);
}

#[test]
fn threads_change_nothing() {
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("one", &["--set", "runtime.threads=1"]).ok();
    workspace.run("five", &["--set", "runtime.threads=5", "--set", "runtime.batch_size=3"]).ok();
    assert!(workspace.results("one") == workspace.results("five"), "bit for bit");
}

#[test]
fn a_layer_by_its_name() {
    let workspace = Workspace::with_fruits(1, 1);
    workspace.run("out", &["--until", "extract", "--set", "extract.layer=blocks.2.1"]).ok();
    let file = workspace.table("out");
    assert_eq!((file.rows(), file.width()), (6, 40));
    assert_eq!(file.metadata()["featurize.layer"], "blocks.2.1");
}

#[test]
fn random_weights_say_so() {
    let workspace = Workspace::with_fruits(1, 1);
    let random = ["--until", "extract", "--set", "extract.weights=random", "--set", "extract.recipe.size=64"];
    workspace.run("out", &random).ok();
    let metadata = workspace.table("out").metadata();
    assert_eq!(metadata["featurize.weights"], "random (seed 0)");
}

#[test]
fn the_layer_input_is_the_prepared_picture() {
    use featurize::image::{DecodeOptions, Layout, decode};
    let workspace = Workspace::with_fruits(1, 1);
    let sets = ["extract.layer=input", "extract.features=map", "output.layout=array"];
    workspace.run("out", &[set(&sets), vec!["--until", "extract"]].concat()).ok();
    let file = workspace.table("out");
    assert_eq!(file.metadata()["featurize.shape"], "224,224,3");
    let (keys, rows) = file.read().expect("read");
    let recipe = &featurize::models::find("efficientnet_lite0").expect("registered").weights[0].recipe;
    for (key, row) in keys.iter().zip(rows.iter_rows()) {
        let bytes = workspace.read(&format!("pictures/{}", key.path));
        let mut input = vec![0.0; recipe.input_len()];
        recipe.apply(&decode(&bytes, &DecodeOptions::default()).expect("decoded"), Layout::Hwc, &mut input);
        assert!(row == input.as_slice(), "{}", key.path);
    }
}

#[test]
fn the_best_columns_are_kept_and_the_table_says_why_the_others_went() {
    let workspace = Workspace::with_fruits(4, 2);
    let sets = ["--set", "select={top_k: 30, score: f_classif}", "--set", "reduce=null"];
    let run = workspace.run("out", &sets).ok();
    let selected = &run.event("summary")["select"];
    assert_eq!(
        (&selected["kept"], &selected["of"], &selected["score"]),
        (&30.into(), &1280.into(), &"f_classif".into())
    );
    let constant = selected["below_threshold"].as_u64().expect("a count");
    assert_eq!(selected["outranked"], 1280 - 30 - constant);
    let names = ["column", "variance", "score", "p_value", "kept", "reason"];
    let table = Columns::read(&workspace.path("out/classifier/columns.parquet"), &names).expect("read");
    let (score, p, kept) = (table.reals("score"), table.reals("p_value"), table.flags("kept").expect("flags"));
    let (score, p) = (score.expect("scores"), p.expect("probabilities"));
    let worst = (0..1280).filter(|&i| kept[i]).map(|i| score[i]).fold(f64::INFINITY, f64::min);
    let (variance, reason) = (table.reals("variance").expect("reals"), table.texts("reason").expect("texts"));
    for i in 0..1280 {
        let rule = match reason[i].as_deref() {
            None => kept[i] && score[i] >= worst && p[i] < 0.05,
            Some("top_k") => !kept[i] && score[i] <= worst && variance[i] > 0.0,
            Some("variance_threshold") => !kept[i] && variance[i] < 1e-12,
            Some(other) => panic!("{other}"),
        };
        assert!(rule, "column {i}: {:?}, score {}, variance {}", reason[i], score[i], variance[i]);
    }
    // `top_k` above the number of columns keeps all that vary
    let all = workspace.run("out", &["--set", "select={top_k: 2000}", "--until", "select"]).ok();
    assert_eq!(all.event("summary")["select"]["kept"], 1280 - constant);
    assert!(all.stderr.contains("select.top_k is 2000"), "{}", all.stderr);
}
