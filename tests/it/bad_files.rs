//! A bad file fails by itself and does not affect the others.

use featurize::image::RgbImage;
use featurize::io::features::FeatureFile;

use crate::support::{Workspace, rows};

#[test]
fn each_bad_file_is_a_row_with_its_reason() {
    let workspace = Workspace::with_fruits(8, 2);
    let good = workspace.read("pictures/Training/Lemon/0_0_100.jpg");
    let at = |name: &str| format!("pictures/Training/Lemon/{name}");
    workspace.write(&at("a_empty.jpg"), b"");
    workspace.write(&at("b_truncated.jpg"), &good[..good.len() / 2]);
    workspace.write(&at("c_text.jpg"), b"this is no picture\n");
    workspace.write(&at("d_README.md"), b"# no picture\n");
    workspace.write(&at("._e.jpg"), b"\0\x05\x16\x07");
    workspace.write(&at("f right in content.png"), &good); // a JPEG with another extension
    #[cfg(unix)]
    std::os::unix::fs::symlink("nowhere.jpg", workspace.path(&at("g_dangling.jpg"))).expect("link");
    let run = workspace.run("out", &["--set", "input.max_bad_fraction=0.5"]).ok();
    let rows = rows(&workspace.path("out/manifest.parquet"), ["path", "status", "error"]);
    let row = |name: &str| {
        let found = rows.iter().find(|[path, ..]| path.ends_with(name));
        found.map(|[_, status, error]| (status.as_str(), error.as_str())).unwrap_or_else(|| panic!("{name} has no row"))
    };
    assert_eq!(row("a_empty.jpg").0, "failed");
    assert!(row("a_empty.jpg").1.starts_with("empty"), "{:?}", row("a_empty.jpg"));
    assert!(row("b_truncated.jpg").1.starts_with("truncated"), "{:?}", row("b_truncated.jpg"));
    assert!(row("c_text.jpg").1.starts_with("not_an_image"), "{:?}", row("c_text.jpg"));
    assert_eq!(row("d_README.md").0, "skipped");
    assert_eq!(row("._e.jpg").0, "skipped");
    assert_eq!(row("f right in content.png"), ("ok", ""));
    #[cfg(unix)]
    assert!(row("g_dangling.jpg").0 == "failed" && row("g_dangling.jpg").1.starts_with("dangling_link"));
    let done = run.event("summary")["extract"].clone();
    let failed = if cfg!(unix) { 4 } else { 3 };
    assert_eq!(
        (done["ok"].as_u64(), done["failed"].as_u64(), done["skipped"].as_u64()),
        (Some(31), Some(failed), Some(2))
    );
    // the tables have only the good pictures, each under its own name
    let dir = workspace.path("out/features");
    let mut paths: Vec<String> = std::fs::read_dir(dir)
        .expect("features")
        .flat_map(|entry| {
            FeatureFile::open(&entry.expect("entry").path()).and_then(|file| file.read_keys()).expect("read")
        })
        .map(|key| key.path)
        .collect();
    paths.sort();
    let ok = rows.iter().filter(|[_, status, _]| status == "ok").map(|[path, ..]| path);
    assert!(paths.iter().eq(ok), "{paths:?}");
}

#[test]
fn neighbours_of_a_bad_file_keep_their_features() {
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("clean", &["--set", "extract.shard_rows=100"]).ok();
    workspace.write("pictures/Training/Banana/00_bad.jpg", b"no picture");
    workspace.run("dirty", &["--set", "extract.shard_rows=100", "--set", "input.max_bad_fraction=0.5"]).ok();
    let [clean, dirty] = ["clean", "dirty"].map(|out| workspace.table(out).read().expect("read"));
    assert!(clean == dirty);
}

#[test]
fn too_many_bad_files_fail_the_run_with_the_list() {
    let workspace = Workspace::with_fruits(2, 1);
    for i in 0..3 {
        workspace.write(&format!("pictures/Training/Lemon/bad_{i}.jpg"), b"");
    }
    workspace.run("out", &[]).ended(1, &["3 of 12 pictures cannot be read", "Training/Lemon/bad_1.jpg: empty"]);
    let raised = workspace.run("out", &["--set", "input.max_bad_fraction=0.3"]).ok();
    assert_eq!(raised.event("summary")["extract"]["timing"]["pictures"], 0, "nothing is computed twice");
}

#[test]
fn what_failed_can_be_tried_again() {
    let workspace = Workspace::with_fruits(3, 1);
    let path = workspace.path("pictures/Training/Lemon/zz_late.jpg");
    #[cfg(unix)]
    std::os::unix::fs::symlink(workspace.path("late.jpg"), &path).expect("link");
    #[cfg(not(unix))]
    std::fs::write(&path, b"").expect("written");
    let run = workspace.run("out", &[]).ok();
    assert_eq!(run.event("summary")["extract"]["failed"], 1);
    let late = if cfg!(unix) { workspace.path("late.jpg") } else { path };
    std::fs::copy(workspace.path("pictures/Test/Lemon/0_0_100.jpg"), late).expect("copied");
    let run = workspace.run("out", &["--retry-failed"]).ok();
    assert_eq!(run.event("summary")["extract"]["failed"], 0);
    assert_eq!(run.event("summary")["extract"]["ok"], 13);
}

#[test]
fn a_network_that_overflows_is_an_error_before_all_pictures_are_computed() {
    let workspace = Workspace::new();
    let picture = |grey: u8| {
        let picture = RgbImage { width: 64, height: 64, data: vec![grey; 64 * 64 * 3] };
        featurize::image::png(&picture).expect("a PNG")
    };
    // a black pixel stays 0 when it is divided by a tiny `std`, and a white one becomes infinite
    workspace.write("pictures/a.png", &picture(255));
    (0..80).for_each(|i| workspace.write(&format!("pictures/b{i:02}.png"), &picture(0)));
    let recipe = "{size: 64, mean: [0, 0, 0], std: [1.0e-38, 1.0e-38, 1.0e-38]}";
    workspace.write(
        "pipeline.yaml",
        format!(
            "version: 1\nname: nan\ninput: {{root: pictures}}\nextract: {{model: resnet18, weights: random, seed: 5, \
             shard_rows: 4, recipe: {recipe}}}\nruntime: {{threads: 2}}\n"
        )
        .as_bytes(),
    );
    let run = workspace.run("out", &[]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.error().contains("a.png: layer `layer4` gives NaN"), "{}", run.error());
    let tables = std::fs::read_dir(workspace.path("out/features")).expect("a folder").count();
    assert!(tables < 10, "{tables} of more than 20 tables were computed before it was told");
}
