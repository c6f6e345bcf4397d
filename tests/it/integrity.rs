//! Features belong to the current pictures, and damaged files are detected: a replaced picture, a flipped bit, a run
//! that was killed in the middle of a table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant, SystemTime};

use crate::support::{self, Run, Workspace};

/// The pictures of a workspace, sorted.
fn pictures(workspace: &Workspace) -> Vec<PathBuf> {
    let root = workspace.path("pictures");
    support::files(&root).iter().map(|name| root.join(name)).collect()
}

/// Writes other bytes into a file and resets its modification time.
fn replace(path: &Path, bytes: &[u8]) {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).expect("a time");
    std::fs::write(path, bytes).expect("written");
    touch(path, modified);
}

fn touch(path: &Path, modified: SystemTime) {
    let file = std::fs::File::options().append(true).open(path).expect("opened");
    file.set_modified(modified).expect("set");
}

/// Flips a bit of a file at a share of its length.
fn flip(path: &Path, share: f64) {
    let mut bytes = std::fs::read(path).expect("read");
    let at = ((bytes.len() - 1) as f64 * share) as usize;
    bytes[at] ^= 16;
    std::fs::write(path, bytes).expect("written");
}

#[cfg(unix)]
#[test]
fn a_picture_replaced_by_one_of_the_same_size_and_time_is_extracted_anew() {
    let workspace = Workspace::with_fruits(4, 2);
    let all = pictures(&workspace);
    let [a, b] = [&all[0], &all[all.len() - 1]];
    let mut bytes = [a, b].map(|path| std::fs::read(path).expect("read"));
    let longest = bytes.iter().map(Vec::len).max().expect("two");
    bytes.iter_mut().for_each(|bytes| bytes.resize(longest, 0));
    replace(a, &bytes[0]);
    replace(b, &bytes[1]);
    workspace.run("out", &[]).ok();
    replace(a, &bytes[1]);
    replace(b, &bytes[0]);
    let run = workspace.run("out", &[]).ok();
    assert!((2..=16).contains(&run.extracted()), "{} pictures again", run.extracted());
    workspace.run("fresh", &[]).ok();
    assert!(workspace.results("out") == workspace.results("fresh"));
}

#[test]
fn touched_and_copied_pictures_cost_no_features_and_change_no_byte() {
    let workspace = Workspace::after_run(4, 2);
    let before = workspace.results("out");
    let later = SystemTime::now() + Duration::from_secs(3600);
    pictures(&workspace).iter().for_each(|path| touch(path, later));
    assert!(workspace.run("out", &[]).ok().computed().is_empty());
    // other inodes, other times, another folder
    for name in support::files(&workspace.path("pictures")) {
        workspace.write(&format!("copied/{name}"), &workspace.read(&format!("pictures/{name}")));
    }
    let root = format!("input.root={}", workspace.path("copied").display());
    let copied = workspace.run("out", &["--set", &root]).ok();
    assert!(copied.computed().is_empty(), "{:?}", copied.computed());
    // the tables do not depend on the times of the pictures
    workspace.run("fresh", &["--set", &root]).ok();
    assert!(before == workspace.results("out") && before == workspace.results("fresh"));
}

#[test]
fn a_flipped_bit_is_found_where_the_file_is_read_and_the_file_is_made_anew() {
    let workspace = Workspace::after_run(4, 2);
    let whole = workspace.results("out");
    let shard = format!(".store/shards/{}", support::files(&workspace.path("out/.store/shards"))[0]);
    let cases = [
        ("features/part-00000.parquet", "select"),
        ("features/part-00001.parquet", "compare"),
        ("classifier/columns.parquet", "reduce"),
        ("reduced.parquet", "train"),
        ("classifier/mlp.safetensors", "evaluate"),
        ("classifier/novelty.safetensors", "evaluate"),
        ("classifier/classifier.json", "evaluate"),
        ("predictions.parquet", "report"),
        ("metrics.json", "report"),
        ("manifest.parquet", "report"),
        (".store/extract.json", "report"),
        (".store/select.json", "report"),
        (".store/train.json", "report"),
        (&shard, "select"),
    ];
    for (i, (file, reader)) in cases.into_iter().enumerate() {
        for share in [0.0, 0.15 + 0.05 * i as f64, 1.0] {
            flip(&workspace.path("out").join(file), share);
            let run = workspace.run("out", &["--force", reader]).ok();
            if !file.starts_with(".store") {
                let name = Path::new(file).file_name().expect("a name").to_string_lossy().into_owned();
                assert!(run.stderr.contains(&name) && run.stderr.contains("is damaged"), "{file}: {}", run.stderr);
            }
            assert!(workspace.results("out") == whole, "{file} at {share}");
        }
    }
}

#[test]
fn a_classifier_that_was_copied_away_knows_its_files() {
    let workspace = Workspace::after_run(4, 2);
    let picture = pictures(&workspace)[0].clone();
    let predict = || workspace.call(&["predict", "copy", picture.to_str().expect("text"), "--csv"]);
    let files = ["classifier.json", "columns.parquet", "pca.safetensors", "mlp.safetensors", "novelty.safetensors"];
    for file in files {
        for share in [0.0, 0.3, 0.7, 1.0] {
            for name in files {
                let name = format!("classifier/{name}");
                workspace.write(&format!("copy/{name}"), &workspace.read(&format!("out/{name}")));
            }
            let whole = predict().ok().stdout;
            flip(&workspace.path("copy/classifier").join(file), share);
            let run = predict();
            // if the bit is in the hash of the card, the card itself is intact
            if run.code == Some(0) {
                assert_eq!((file, &run.stdout), ("classifier.json", &whole), "at {share}");
            } else {
                run.ended(1, &[file]);
            }
        }
    }
}

/// Waits until rows of an incomplete table are in the store.
fn wait_for_rows(workspace: &Workspace, child: &mut Child) {
    let start = Instant::now();
    let rows = || {
        let entries = std::fs::read_dir(workspace.path("out/.store/shards")).into_iter().flatten().flatten();
        let mut kept = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "rows"));
        // the journal begins with 48 bytes of magic and hash
        kept.any(|entry| entry.metadata().is_ok_and(|metadata| metadata.len() > 48))
    };
    while !rows() {
        assert!(child.try_wait().expect("a child").is_none(), "it ended before rows were kept");
        assert!(start.elapsed() < Duration::from_secs(120), "no rows are kept");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// All pictures in one table, computed slowly.
const SLOW: [&str; 6] =
    ["--set", "extract={shard_rows: 1000, recipe: {size: 512}}", "--set", "runtime.threads=1", "--set", "report=null"];

/// The files of the shards in the store, by name.
fn kept(workspace: &Workspace) -> BTreeMap<String, Vec<u8>> {
    let files = support::files(&workspace.path("out/.store/shards")).into_iter();
    files.map(|name| (name.clone(), workspace.read(&format!("out/.store/shards/{name}")))).collect()
}

#[test]
fn killed_in_the_middle_of_a_table_it_computes_only_the_rest() {
    let workspace = Workspace::with_fruits(24, 12);
    let mut child = workspace.command("out", &SLOW).spawn().expect("started");
    wait_for_rows(&workspace, &mut child);
    child.kill().expect("killed");
    child.wait().expect("ended");
    let before = kept(&workspace);
    let planned = workspace.call(&[&["plan", "pipeline.yaml", "--out", "out"][..], &SLOW].concat()).ok().stdout;
    workspace.call(&["show", "out"]).ended(2, &["start `featurize run` again"]);
    assert!(before == kept(&workspace), "neither writes");
    let run = workspace.run("out", &SLOW).ok();
    let left = run.extracted();
    assert!((1..108).contains(&left), "{left} pictures again");
    assert!(run.stderr.contains("rows of others are there already"), "{}", run.stderr);
    let told = format!("1 of 1 shard to compute ({left} images, {} are there already)", 108 - left);
    assert!(planned.contains(&told.replace("(1 images", "(1 image")), "no `{told}` in {planned}");
    assert!(kept(&workspace).keys().all(|name| name.ends_with(".json")));
    workspace.run("whole", &SLOW).ok();
    assert!(workspace.results("out") == workspace.results("whole"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_in_the_middle_of_a_table_keeps_its_rows() {
    let workspace = Workspace::with_fruits(24, 12);
    let mut child = workspace.command("out", &SLOW).spawn().expect("started");
    wait_for_rows(&workspace, &mut child);
    std::thread::sleep(Duration::from_millis(300));
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("signalled");
    Run::of(child.wait_with_output().expect("ended")).ended(130, &[]);
    let run = workspace.run("out", &SLOW).ok();
    assert!((1..108).contains(&run.extracted()), "{} pictures again", run.extracted());
    workspace.run("whole", &SLOW).ok();
    assert!(workspace.results("out") == workspace.results("whole"));
}
