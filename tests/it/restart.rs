//! A run that ended after any of its commits is continued to the same state as an uninterrupted one, including
//! `run.json` and the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{self, Workspace};

const SETS: [&str; 6] =
    ["--set", "extract.recipe.size=64", "--set", "output={npy: true, atlas: true}", "--set", "report.figures=true"];

/// The rank of a file in the order of writing: its stage, and whether it is the record of the stage, which is written
/// last.
fn rank(name: &str) -> (usize, bool) {
    const STAGES: [(&str, &[&str]); 9] = [
        ("scan", &[".store/owner", ".store/listing"]),
        ("extract", &["manifest", "features", "index", ".store/shards", ".store/tables"]),
        ("select", &["classifier/columns"]),
        ("reduce", &["classifier/pca", "reduced"]),
        ("train", &["classifier"]),
        ("evaluate", &["predictions", "metrics"]),
        ("compare", &["quality", "relabel"]),
        ("atlas", &["atlas"]),
        ("report", &["figures", "report"]),
    ];
    let is_record = |stage: &str| name == format!(".store/{stage}.json");
    let stage =
        STAGES.iter().position(|(stage, files)| is_record(stage) || files.iter().any(|file| name.starts_with(file)));
    // run.json does not belong to a stage
    stage.map_or((STAGES.len(), false), |at| (at, is_record(STAGES[at].0)))
}

/// Every file of a run, in the order of writing.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = support::files(root).into_iter().map(|name| root.join(name)).collect();
    files.retain(|path| !path.ends_with("lock"));
    // the system's clock is so coarse that files of several stages may have the same time; these are ordered by stage
    files.sort_by_key(|path| {
        let time = path.metadata().and_then(|metadata| metadata.modified()).expect("a time");
        (time, rank(&path.strip_prefix(root).expect("below").to_string_lossy()), path.clone())
    });
    files
}

/// Removes the values that differ from run to run: times, memory, and size and hash of the report with these.
fn without_timings(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for key in ["seconds", "peak_memory_mb", "timing"] {
                map.remove(key);
            }
            if map.get("file").is_some_and(|file| file == "report.html") {
                map.retain(|key, _| key == "file");
            }
            map.values_mut().for_each(without_timings);
        }
        Value::Array(all) => all.iter_mut().for_each(without_timings),
        _ => {}
    }
}

/// Removes the hash of the document, which covers times, and the stamps in its notes of pictures: a file that was new
/// when it was listed gets another stamp in the next run.
fn without_seal(value: &mut Value) {
    let Some(document) = value.as_object_mut() else { return };
    document.remove("blake3");
    let notes = document.get_mut("notes").and_then(Value::as_array_mut);
    for note in notes.into_iter().flatten() {
        let text = note.as_str().expect("path, stamp and contents").to_string();
        assert_eq!(text.len(), 64, "{text}");
        *note = Value::from(text[..16].to_string() + &text[32..]);
    }
}

/// Every file of a run by name: its bytes, or for a document its text without times.
fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let contents = |path: PathBuf| {
        let name = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).expect("read");
        let bytes = match (name.as_str(), serde_json::from_slice::<Value>(&bytes)) {
            // the listing has the stamps of files, which depend on their age
            ("report.html" | ".store/listing.parquet", _) => Vec::new(),
            ("run.json" | ".store/report.json", Ok(mut value)) => {
                if name.starts_with(".store") {
                    value["result"]["bytes"] = Value::Null;
                }
                without_timings(&mut value);
                without_seal(&mut value);
                value.to_string().into_bytes()
            }
            (name, Ok(mut value)) if name.starts_with(".store/") => {
                without_timings(&mut value);
                without_seal(&mut value);
                value.to_string().into_bytes()
            }
            _ => bytes,
        };
        (name, bytes)
    };
    files(root).into_iter().map(contents).collect()
}

/// Copies `from` as it was before its last `n` files were committed.
fn cut(from: &Path, to: &Path, n: usize) {
    let all = files(from);
    for path in &all[..all.len() - n] {
        let target = to.join(path.strip_prefix(from).expect("below"));
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("folder");
        std::fs::copy(path, target).expect("copied");
    }
}

#[test]
fn a_run_that_ended_after_any_commit_ends_as_an_undisturbed_one() {
    let workspace = Workspace::with_fruits(3, 1);
    workspace.run("whole", &SETS).ok();
    let whole = workspace.path("whole");
    let expected = contents(&whole);
    assert!(expected.len() > 30 && expected.contains_key("figures/loss.png"), "{:?}", expected.keys());
    for n in 0..=files(&whole).len() {
        let out = format!("cut{n}");
        cut(&whole, &workspace.path(&out), n);
        let run = workspace.run(&out, &SETS).ok();
        let found = contents(&workspace.path(&out));
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{n} files less");
        for (name, bytes) in &expected {
            let texts = || [&found[name], bytes].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            assert!(found[name] == *bytes, "{n} files less: {name} differs: {:?}", texts());
        }
        // then nothing has to be done
        if n % 8 == 1 {
            let read = || ["run.json", ".store/owner.json"].map(|name| workspace.read(&format!("{out}/{name}")));
            let documents = read();
            assert!(workspace.run(&out, &SETS).ok().computed().is_empty());
            assert!(documents == read());
        }
        assert!(n > 1 || run.computed().is_empty(), "{n} files less: {:?}", run.computed());
        std::fs::remove_dir_all(workspace.path(&out)).expect("removed");
    }
}

#[test]
fn run_json_tells_what_the_records_tell_and_show_never_mixes_two_runs() {
    let workspace = Workspace::after_run(4, 2);
    let first = workspace.read("out/run.json");
    let other = ["--set", "reduce.pca.components=3"];
    workspace.run("out", &other).ok();
    let second = workspace.read("out/run.json");
    let of = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
    assert_eq!(of(&second)["seconds"]["extract"], of(&first)["seconds"]["extract"], "that of the extraction");
    assert_eq!(of(&second)["reduce"]["components"], 3);
    let record = of(&workspace.read("out/.store/train.json"));
    assert_eq!(of(&second)["seconds"]["train"], record["seconds"]);
    let show = || workspace.call(&["show", "out", "--json"]).ok().json_lines().remove(0);
    assert!(show()["metrics"]["test"]["accuracy"].is_number());
    assert_eq!(show()["unfinished"], serde_json::json!([]));
    // killed at the last rename: the document is the one of the previous run, cut off, or missing
    for stale in [Some(first.as_slice()), Some(b"{\"feat"), None] {
        match stale {
            Some(bytes) => workspace.write("out/run.json", bytes),
            None => std::fs::remove_file(workspace.path("out/run.json")).expect("removed"),
        }
        if stale == Some(&first) {
            let shown = show();
            assert_eq!(shown["unfinished"], serde_json::json!(["reduce", "train", "evaluate", "report"]));
            assert_eq!((&shown["metrics"], &shown["run"]["reduce"]), (&Value::Null, &Value::Null));
            assert_eq!(shown["run"]["extract"]["ok"], 18);
            let text = workspace.call(&["show", "out"]).ok().stdout;
            assert!(text.contains("while it computed reduce, train, evaluate, report anew"), "{text}");
        }
        assert!(workspace.run("out", &other).ok().computed().is_empty());
        assert!(workspace.read("out/run.json") == second, "{stale:?}");
    }
    // settings that only affect speed do not rewrite run.json
    workspace.run("out", &[&other[..], &["--set", "runtime.threads=1"]].concat()).ok();
    assert!(workspace.read("out/run.json") == second);
}

/// Makes everything below a folder read-only until it is dropped.
#[cfg(unix)]
struct ReadOnly(Vec<PathBuf>);

#[cfg(unix)]
impl ReadOnly {
    fn new(root: &Path) -> Self {
        let mut paths = files(root);
        paths.push(root.join(".store/lock"));
        let folders: std::collections::BTreeSet<PathBuf> =
            paths.iter().filter_map(|path| path.parent()).map(Path::to_path_buf).collect();
        let all = Self(paths.into_iter().chain(folders).collect());
        all.set(|mode| mode & !0o222);
        all
    }

    fn set(&self, change: impl Fn(u32) -> u32) {
        use std::os::unix::fs::PermissionsExt;
        for path in &self.0 {
            let mut permissions = path.metadata().expect("there").permissions();
            permissions.set_mode(change(permissions.mode()));
            std::fs::set_permissions(path, permissions).expect("set");
        }
    }
}

#[cfg(unix)]
impl Drop for ReadOnly {
    fn drop(&mut self) {
        self.set(|mode| mode | 0o200);
    }
}

#[cfg(unix)]
#[test]
fn a_finished_run_that_cannot_be_written_to_has_nothing_to_do() {
    let workspace = Workspace::after_run(3, 1);
    let _kept = ReadOnly::new(&workspace.path("out"));
    if std::fs::write(workspace.path("out/probe"), b"x").is_ok() {
        return; // root may write everywhere
    }
    let run = workspace.run("out", &[]).ok();
    assert!(run.computed().is_empty());
    workspace.run("out", &["--set", "reduce.pca.components=2"]).ended(1, &["lock"]);
}
