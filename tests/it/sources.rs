//! The same pictures in a folder, in archives and in tables: the same features, labels and splits.
//! `tests/golden/sources.py` made the files.

use std::collections::BTreeMap;

use featurize::io::features::FeatureFile;

use crate::support::{self, Run, Workspace, featurize, project, set};

/// Bits of the features, by path.
type Features = BTreeMap<String, Vec<u32>>;

/// A workspace with the golden files in `sources/`, and a pipeline that ends with the extraction.
fn workspace() -> Workspace {
    let workspace = Workspace::new();
    let golden = project().join("tests/golden/sources");
    for name in support::files(&golden) {
        workspace.write(&format!("sources/{name}"), &std::fs::read(golden.join(&name)).expect("read"));
    }
    let yaml = "version: 1\nname: sources\ninput:\n  root: sources/folder\n  max_bad_fraction: 0.2\nextract: \
                {shard_rows: 4}\n";
    workspace.write("pipeline.yaml", yaml.as_bytes());
    workspace
}

const SPLIT: &str = "input.split={train: 'Training/**', test: 'Test/**'}";

pub fn run(workspace: &Workspace, out: &str, sets: &[&str]) -> Run {
    workspace.run(out, &[vec!["--until", "extract"], set(sets)].concat())
}

pub fn features(workspace: &Workspace, out: &str) -> Features {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(workspace.path(out).join("features")).expect("features") {
        let (keys, matrix) =
            FeatureFile::open(&entry.expect("entry").path()).and_then(|file| file.read()).expect("read");
        for (key, row) in keys.iter().zip(matrix.iter_rows()) {
            all.insert(key.path.clone(), row.iter().map(|value| value.to_bits()).collect());
        }
    }
    all
}

/// Path, label and split of all pictures, in the order of the manifest.
fn rows(workspace: &Workspace, out: &str) -> Vec<[String; 3]> {
    let all = support::rows(&workspace.path(out).join("manifest.parquet"), ["path", "label", "split", "status"]);
    let ok = all.into_iter().filter(|[.., status]| status == "ok");
    ok.map(|[path, label, split, _]| [path, label, split]).collect()
}

/// Status and kind of the rest.
fn rest(workspace: &Workspace, out: &str) -> Vec<[String; 3]> {
    let mut all = support::rows(&workspace.path(out).join("manifest.parquet"), ["path", "status", "kind"]);
    all.retain(|[_, status, _]| status != "ok");
    all
}

#[test]
fn archives_give_the_features_of_the_folder() {
    let workspace = workspace();
    run(&workspace, "folder", &[SPLIT]).ok();
    let (wanted, folder) = (features(&workspace, "folder"), rows(&workspace, "folder"));
    assert_eq!((wanted.len(), folder.len()), (8, 8));
    let names = "input.parquet={path: name, label: label}";
    for (archive, more) in [
        ("ustar.tar", None),
        ("gnu.tar.gz", None),
        ("gnu.tar.zst", None),
        ("plain.zip", None),
        ("plain.parquet", Some(names)),
    ] {
        let root = format!("input.root={}", workspace.path("sources").join(archive).display());
        let out = archive.replace('.', "-");
        let sets: Vec<&str> = [SPLIT, root.as_str()].into_iter().chain(more).collect();
        run(&workspace, &out, &sets).ok();
        let found = features(&workspace, &out);
        for (path, bits) in &wanted {
            assert!(found[&format!("{archive}/{path}")] == *bits, "{archive}/{path}");
        }
        let mut rows = rows(&workspace, &out);
        rows.sort();
        for [path, label, split] in &folder {
            let row = [format!("{archive}/{path}"), label.clone(), split.clone()];
            assert!(rows.contains(&row), "{row:?} in {rows:?}");
        }
    }
    let kinds = rest(&workspace, "plain-zip");
    let of = |path: &str| kinds.iter().find(|row| row[0] == format!("plain.zip/{path}")).map(|row| row[1..].join(" "));
    assert_eq!(of("Training/bzip2.jpg").as_deref(), Some("failed compression"));
    assert_eq!(of("Training/link.jpg").as_deref(), Some("skipped link"));
}

#[test]
fn tables_of_hugging_face_tell_classes_and_splits() {
    let workspace = workspace();
    run(&workspace, "folder", &[SPLIT]).ok();
    let wanted = features(&workspace, "folder");
    for root in ["hub", "saved"] {
        let set = format!("input.root={}", workspace.path("sources").join(root).display());
        run(&workspace, root, &[&set, "input.parquet={}"]).ok();
        let found = features(&workspace, root);
        let sorted = |features: Features| {
            let mut all: Vec<Vec<u32>> = features.into_values().collect();
            all.sort();
            all
        };
        assert!(sorted(found) == sorted(wanted.clone()), "{root}");
        let rows = rows(&workspace, root);
        let count = |label: &str, split: &str| rows.iter().filter(|row| row[1] == label && row[2] == split).count();
        for (label, split) in [("Kiwi", "train"), ("Kiwi", "test"), ("Fig", "train"), ("Fig", "test")] {
            assert_eq!(count(label, split), 2, "{root}: {rows:?}");
        }
    }
    assert_eq!(rows(&workspace, "hub")[0][0], "data/test-00000-of-00001.parquet/000000");
}

#[test]
fn samples_have_the_classes_beside_them_and_a_glob_means_many() {
    let workspace = workspace();
    let root = format!("input.root={}", workspace.path("sources").join("sample*.tar*").display());
    run(&workspace, "out", &[&root]).ok();
    let rows = rows(&workspace, "out");
    // the last sample of four has no class, and lies in the folder `part`
    let labels: Vec<&str> = rows.iter().map(|row| row[1].as_str()).collect();
    let each = ["1", "Kiwi", "Fig", "part", "1", "Fig", "Kiwi", "part"];
    assert_eq!(labels, [each, each].concat());
    assert_eq!(
        (rows[0][0].as_str(), rows[8][0].as_str()),
        ("samples.tar.gz/part/0000.jpg", "samples.tar/part/0000.jpg")
    );
    // a table may name them
    workspace.write("t.csv", b"path,label\nsamples.tar/part/0000.jpg,a\nsamples.tar.gz/part/0001.jpg,b\n");
    let table = format!("input.split={{csv: {}}}", workspace.path("t.csv").display());
    run(&workspace, "csv", &[&root, &table]).ok();
    assert_eq!(self::rows(&workspace, "csv").iter().map(|row| row[1].as_str()).collect::<Vec<_>>(), ["b", "a"]);
    workspace.write("t.csv", b"path,label\npart/0000.jpg,a\n");
    assert!(run(&workspace, "csv", &[&root, &table]).error().contains("part/0000.jpg is in several archives"));
}

#[test]
fn a_changed_archive_recomputes_what_changed() {
    let workspace = workspace();
    for archive in ["ustar.tar", "gnu.tar.gz", "plain.parquet"] {
        let path = workspace.path("sources").join(archive);
        let root = format!("input.root={}", path.display());
        let out = archive.replace('.', "-");
        run(&workspace, &out, &[&root]).ok();
        let before = features(&workspace, &out);
        // touched: read again, nothing computed
        let file = std::fs::File::options().append(true).open(&path).expect("opened");
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(100)).expect("set");
        let again = run(&workspace, &out, &[&root]).ok();
        assert!(!again.computed().contains(&"extract".to_string()), "{archive}: {:?}", again.computed());
        assert!(features(&workspace, &out) == before);
    }
    // one picture of the tar is another: its shard is computed, the other one is not
    let path = workspace.path("sources/ustar.tar");
    let mut bytes = std::fs::read(&path).expect("read");
    let length = workspace.read("sources/folder/Training/Kiwi/1.jpg").len();
    bytes[512 + length - 20] ^= 0x10;
    std::fs::write(&path, bytes).expect("written");
    let root = format!("input.root={}", path.display());
    let again = run(&workspace, "ustar-tar", &[&root]).ok();
    assert!((1..=4).contains(&again.extracted()), "{}", again.extracted());
}

#[test]
fn commands_take_archives_too() {
    let workspace = workspace();
    let embedded = |what: &str| {
        let (path, out) = (workspace.path("sources").join(what), workspace.path("e.parquet"));
        std::fs::remove_file(&out).ok();
        Run::of(featurize().arg("embed").arg(&path).arg("-o").arg(&out).output().expect("started")).ok();
        let matrix = FeatureFile::open(&out).and_then(|file| file.read_features(None)).expect("read");
        let keys = support::rows(&out, ["path"]);
        let path = format!("{}/", path.display());
        let key = |key: &str| key.strip_prefix(&path).expect("below").to_string();
        let bits = matrix.iter_rows().map(|row| row.iter().map(|value| value.to_bits()).collect());
        keys.iter().map(|[one]| key(one)).zip(bits).collect::<Vec<(String, Vec<u32>)>>()
    };
    let folder = embedded("folder");
    assert_eq!(folder.len(), 8);
    assert!(embedded("ustar.tar") == folder);
    let mut streamed = embedded("gnu.tar.gz");
    assert_eq!(streamed.pop().expect("a long name").0.chars().count(), 168);
    streamed.sort();
    assert!(streamed == folder);
    assert_eq!(embedded("hub/data/test-00000-of-00001.parquet").len(), 4);
    // a folder in an archive
    let below: Vec<_> =
        folder.iter().filter_map(|(key, bits)| Some((key.strip_prefix("Test/")?.to_string(), bits.clone()))).collect();
    assert!(embedded("plain.zip/Test") == below && below.len() == 4);
}

#[test]
fn similar_pictures_come_from_archives_and_the_query_is_not_among_them() {
    let workspace = workspace();
    for (root, inside) in [
        ("ustar.tar", "ustar.tar/Training/Kiwi/0.jpg"),
        ("gnu.tar.gz", "gnu.tar.gz/Training/Kiwi/0.jpg"),
        ("plain.zip", "plain.zip/Training/Kiwi/0.jpg"),
        ("hub/data/*.parquet", "hub/data/test-00000-of-00001.parquet/000001"),
        ("sample*.tar*", "samples.tar.gz/part/0001.jpg"),
        ("folder", "folder/Training/Kiwi/0.jpg"),
    ] {
        std::fs::remove_dir_all(workspace.path("out")).ok();
        let set = format!("input.root={}", workspace.path("sources").join(root).display());
        run(&workspace, "out", &[&set]).ok();
        let mut call = featurize();
        let query = workspace.path("sources").join(inside);
        call.arg("similar").arg(workspace.path("out")).arg(&query).args([
            "-k",
            "3",
            "--json",
            "--overwrite",
            "--sheet",
        ]);
        let run = Run::of(call.arg(workspace.path("s.svg")).output().expect("started")).ok();
        let found = run.json_lines().remove(0);
        let found = found["similar"].as_array().expect("a list");
        assert_eq!(found.len(), 3, "{root}");
        for one in found {
            let key = one["path"].as_str().expect("a path");
            assert!(!query.ends_with(key), "{root}: {key} is the query");
        }
        let sheet = workspace.text("s.svg");
        assert!(sheet.matches("<image").count() == 4 && !sheet.contains("no longer"), "{root}");
    }
    workspace.call(&["embed", "-o", "-", "sources/ustar.tar/x.jpg"]).ended(1, &["has no picture of this name"]);
}

#[test]
fn killed_at_any_moment_it_ends_with_the_same_bytes() {
    let workspace = workspace();
    for archive in
        ["ustar.tar", "gnu.tar.gz", "gnu.tar.zst", "plain.zip", "plain.parquet", "file.arrow", "sample*.tar*"]
    {
        let root = format!("input.root={}", workspace.path("sources").join(archive).display());
        let more =
            ["--until", "extract", "--set", &root, "--set", "extract.shard_rows=2", "--set", "runtime.threads=2"];
        let [whole, killed] = ["whole", "killed"].map(|name| format!("{name}-{}", archive.replace('*', "s")));
        workspace.run(&whole, &more).ok();
        for count in 1..=3 {
            let mut child = workspace.command(&killed, &more).spawn().expect("started");
            let start = std::time::Instant::now();
            let shards = || std::fs::read_dir(workspace.path(&killed).join("features")).map_or(0, Iterator::count);
            while shards() < count && child.try_wait().expect("a child").is_none() {
                assert!(start.elapsed().as_secs() < 120, "the run hangs");
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
        workspace.run(&killed, &more).ok();
        assert!(workspace.results(&killed) == workspace.results(&whole), "{archive}");
    }
}

#[test]
fn roots_that_are_nothing_are_told() {
    let workspace = workspace();
    workspace.write("sources/notes.txt", b"text");
    workspace.write("sources/bad.tar", b"text");
    let told = |root: &str, more: &[&str]| {
        let root = format!("input.root={}", workspace.path("sources").join(root).display());
        let sets: Vec<&str> = [root.as_str()].into_iter().chain(more.iter().copied()).collect();
        let run = run(&workspace, "none", &sets);
        assert_ne!(run.code, Some(0), "{root}");
        run.error()
    };
    for (root, more, text) in [
        ("none.tar", &[][..], "there is no folder"),
        ("notes.txt", &[], "its name does not end in `.tar`"),
        ("*.tgz", &[], "no file whose name ends in"),
        ("a[b/*.tar", &[], "is not a pattern"),
        ("bad.tar", &[], "it is no tar archive"),
        ("folder", &["input.parquet={}"], "no file in"),
        ("ustar.tar", &["input.parquet={}"], "it names columns of Parquet and Arrow files"),
        ("plain.parquet", &["input.parquet={image: imag}"], "it has no column `imag`"),
        ("plain.parquet", &["input.parquet={label: image}"], "is to hold classes"),
        ("plain.parquet", &["input.parquet={label: ''}"], "the name of a column"),
    ] {
        let error = told(root, more);
        assert!(error.contains(text), "{root}: {error}");
    }
}
