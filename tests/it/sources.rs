//! The same pictures in a folder, in archives and in tables have the same features, labels and splits.
//! `tests/golden/sources.py` made the files.

use std::collections::BTreeMap;

use featurize::io::features::FeatureFile;

use crate::support::{self, Run, Workspace, featurize, project, set};

/// The bits of the features, by path.
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

/// Path, label and split of all readable pictures, in the order of the manifest.
fn rows(workspace: &Workspace, out: &str) -> Vec<[String; 3]> {
    let all = support::rows(&workspace.path(out).join("manifest.parquet"), ["path", "label", "split", "status"]);
    let ok = all.into_iter().filter(|[.., status]| status == "ok");
    ok.map(|[path, label, split, _]| [path, label, split]).collect()
}

/// Path, status and kind of all other files.
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
    // the last of the four samples has no class, and is in the folder `part`
    let labels: Vec<&str> = rows.iter().map(|row| row[1].as_str()).collect();
    let each = ["1", "Kiwi", "Fig", "part", "1", "Fig", "Kiwi", "part"];
    assert_eq!(labels, [each, each].concat());
    assert_eq!(
        (rows[0][0].as_str(), rows[8][0].as_str()),
        ("samples.tar.gz/part/0000.jpg", "samples.tar/part/0000.jpg")
    );
    // a table may name members
    let lines = "samples.tar/part/0000.jpg,a,Train\nsamples.tar.gz/part/0001.jpg,b,val\n";
    workspace.write("t.csv", format!("path,label,split\n{lines}").as_bytes());
    let table = format!("input.split={{csv: {}}}", workspace.path("t.csv").display());
    run(&workspace, "csv", &[&root, &table]).ok();
    let rows = self::rows(&workspace, "csv");
    assert_eq!(rows.iter().map(|row| [&row[1][..], &row[2]]).collect::<Vec<_>>(), [["b", "test"], ["a", "train"]]);
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
        // a touched archive is read again, but nothing is computed
        let file = std::fs::File::options().append(true).open(&path).expect("opened");
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(100)).expect("set");
        let again = run(&workspace, &out, &[&root]).ok();
        assert!(!again.computed().contains(&"extract".to_string()), "{archive}: {:?}", again.computed());
        assert!(features(&workspace, &out) == before);
    }
    // one picture in the tar is changed: only its shard is computed again
    let path = workspace.path("sources/ustar.tar");
    let mut bytes = std::fs::read(&path).expect("read");
    let length = workspace.read("sources/folder/Training/Kiwi/1.jpg").len();
    bytes[512 + length - 20] ^= 0x10;
    std::fs::write(&path, bytes).expect("written");
    let root = format!("input.root={}", path.display());
    let again = run(&workspace, "ustar-tar", &[&root]).ok();
    assert!((1..=4).contains(&again.extracted()), "{}", again.extracted());
}

/// The paths in every feature table.
fn tables(workspace: &Workspace, out: &str) -> Vec<Vec<String>> {
    let parts = std::fs::read_dir(workspace.path(out).join("features")).expect("features");
    let keys = |part: std::io::Result<std::fs::DirEntry>| {
        let (keys, _) = FeatureFile::open(&part.expect("entry").path()).and_then(|file| file.read()).expect("read");
        keys.into_iter().map(|key| key.path).collect()
    };
    parts.map(keys).collect()
}

#[test]
fn no_shard_crosses_a_stream_and_a_changed_one_recomputes_its_own() {
    let workspace = workspace();
    let packed = |archive: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, archive).expect("packed");
        packed.finish().expect("packed")
    };
    let [mut first, second] = ["ustar.tar", "samples.tar"].map(|name| workspace.read(&format!("sources/{name}")));
    workspace.write("many/a.tar.gz", &packed(&first));
    workspace.write("many/b.tar.gz", &packed(&second));
    let root = format!("input.root={}", workspace.path("many/*.tar.gz").display());
    let sets = [root.as_str(), "extract.shard_rows=3"];
    run(&workspace, "out", &sets).ok();
    let before = tables(&workspace, "out");
    assert_eq!(before.iter().map(Vec::len).sum::<usize>(), 16, "{before:?}");
    for table in &before {
        let archive = |path: &String| path.starts_with("a.tar.gz/");
        assert!(table.iter().all(|path| archive(path) == archive(&table[0])) && table.len() <= 3, "{table:?}");
    }
    let length = workspace.read("sources/folder/Training/Kiwi/1.jpg").len();
    first[512 + length - 20] ^= 0x10;
    workspace.write("many/a.tar.gz", &packed(&first));
    let again = run(&workspace, "out", &sets).ok();
    assert!((1..=3).contains(&again.extracted()), "{}", again.extracted());
    run(&workspace, "anew", &[&sets[..], &["output.cache=none"]].concat()).ok();
    assert!(workspace.results("out") == workspace.results("anew"));
}

#[test]
fn a_changed_row_group_recomputes_its_own_shards() {
    use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;
    let workspace = workspace();
    let mut pictures: Vec<Vec<u8>> = walkdir::WalkDir::new(workspace.path("sources/folder"))
        .sort_by_file_name()
        .into_iter()
        .map(|entry| entry.expect("entry"))
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| std::fs::read(entry.path()).expect("read"))
        .collect();
    let write = |pictures: &[Vec<u8>]| {
        let column: ArrayRef = std::sync::Arc::new(pictures.iter().map(Some).collect::<BinaryArray>());
        let batch = RecordBatch::try_from_iter([("image", column)]).expect("a table");
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(2)).build();
        let file = std::fs::File::create(workspace.path("grouped.parquet")).expect("created");
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("begun");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
    };
    write(&pictures);
    let root = format!("input.root={}", workspace.path("grouped.parquet").display());
    let sets = [root.as_str(), "extract.shard_rows=2"];
    assert_eq!(run(&workspace, "out", &sets).ok().extracted(), 8);
    assert!(tables(&workspace, "out").len() >= 4);
    let last = pictures.last_mut().expect("pictures");
    let near_the_end = last.len() - 20;
    last[near_the_end] ^= 0x10;
    write(&pictures);
    let again = run(&workspace, "out", &sets).ok();
    assert!((1..=2).contains(&again.extracted()), "{}", again.extracted());
    run(&workspace, "anew", &[&sets[..], &["output.cache=none"]].concat()).ok();
    assert!(workspace.results("out") == workspace.results("anew"));
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
    // `classify` and `predict` give the same result for a member as for the file
    let train = "train={logistic: {}, calibrate: none}";
    workspace.run("fitted", &["--set", SPLIT, "--set", train, "--set", "report=null"]).ok();
    let fitted = workspace.path("fitted");
    for command in [&["classify"][..], &["predict", fitted.to_str().expect("text")]] {
        let told = |root: &str| {
            let path = workspace.path("sources").join(root).join("Test");
            let run = Run::of(featurize().args(command).arg(&path).args(["--csv", "-q"]).output().expect("started"));
            run.ok().stdout.replace(&path.display().to_string(), "")
        };
        let folder = told("folder");
        assert!(folder.lines().count() > 4, "{folder}");
        for archive in ["ustar.tar", "plain.zip"] {
            assert_eq!(told(archive), folder, "{command:?} {archive}");
        }
    }
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
    workspace.write("sources/none.zip", b"");
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
        ("none.zip", &[], "the file is empty"),
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
