//! Runs the program in a temporary folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use featurize::io::columns::Columns;
use featurize::io::features::FeatureFile;
use featurize::models::{self, BuildOptions, Graph, Source};
use serde_json::Value;
use tempfile::TempDir;

/// The project's folder.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program.
pub fn featurize() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_featurize"));
    command.stdin(Stdio::null()).current_dir(project());
    command
}

/// Runs the program in `folder`.
pub fn call(folder: &Path, arguments: &[&str]) -> Run {
    Run::of(featurize().current_dir(folder).args(arguments).output().expect("started"))
}

/// Options `--set` for the keys.
pub fn set<'a>(keys: &[&'a str]) -> Vec<&'a str> {
    keys.iter().flat_map(|key| ["--set", key]).collect()
}

/// Every file below a folder, by its path from there, sorted.
pub fn files(folder: &Path) -> Vec<String> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.expect("entry"));
    let files = entries.filter(|entry| !entry.file_type().is_dir());
    let name = |path: &Path| path.strip_prefix(folder).expect("below").to_string_lossy().into_owned();
    let mut names: Vec<String> = files.map(|entry| name(entry.path())).collect();
    names.sort();
    names
}

/// Text columns of a table, row by row; null becomes an empty text.
pub fn rows<const N: usize>(table: &Path, columns: [&str; N]) -> Vec<[String; N]> {
    let read = Columns::read(table, &columns).unwrap_or_else(|error| panic!("{}: {error}", table.display()));
    let columns = columns.map(|name| read.texts(name).expect("text"));
    let row = |i: usize| columns.each_ref().map(|column| column[i].clone().unwrap_or_default());
    (0..columns[0].len()).map(row).collect()
}

/// ‖a − b‖ / ‖b‖
#[track_caller]
pub fn distance<T: Copy + Into<f64>>(a: &[T], b: &[T]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(&a, &b)| a.into() - b.into()));
    difference / norm(&mut b.iter().map(|&b| b.into()))
}

/// The network of a library for colour pictures.
pub fn built(name: &str, source: Source, side: usize, classes: usize) -> Graph {
    let model = models::find(name).expect("registered");
    model.build(&BuildOptions { channels: 3, size: [side; 2], classes, source }).expect("built")
}

/// A temporary folder with a pipeline.
pub struct Workspace {
    dir: TempDir,
}

impl Workspace {
    /// An empty workspace.
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A workspace with the first shipped pictures of three kinds of fruit in `pictures/Training|Test/<class>/`, and
    /// `pipeline.yaml`.
    pub fn with_fruits(train: usize, test: usize) -> Self {
        let workspace = Self::new();
        for (split, count) in [("Training", train), ("Test", test)] {
            for class in ["Banana", "Lemon", "Strawberry"] {
                let from = project().join("data/fruits").join(split).join(class);
                for name in &files(&from)[..count] {
                    let bytes = std::fs::read(from.join(name)).expect("read");
                    workspace.write(&format!("pictures/{split}/{class}/{name}"), &bytes);
                }
            }
        }
        workspace.write("pipeline.yaml", FRUITS.as_bytes());
        workspace
    }

    /// The same with the finished run `out`.
    #[track_caller]
    pub fn after_run(train: usize, test: usize) -> Self {
        let workspace = Self::with_fruits(train, test);
        workspace.run("out", &[]).ok();
        workspace
    }

    /// A path in the workspace.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file and creates its folders.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(path, bytes).expect("written");
    }

    /// Runs the program in the workspace.
    pub fn call(&self, arguments: &[&str]) -> Run {
        call(&self.path(""), arguments)
    }

    /// The text of a file.
    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).expect("text")
    }

    /// Reads a file of JSON.
    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The bytes of a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The command `featurize run pipeline.yaml --out out --log json …`, not started.
    pub fn command(&self, out: &str, more: &[&str]) -> Command {
        let mut command = featurize();
        command
            .arg("run")
            .arg(self.path("pipeline.yaml"))
            .arg("--out")
            .arg(self.path(out))
            .args(["--log", "json"])
            .args(more)
            // without this, tables of another run in the same folder would be reused
            .args(["--set", "output.cache=none"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the command and waits for its end.
    pub fn run(&self, out: &str, more: &[&str]) -> Run {
        Run::of(self.command(out, more).output().expect("started"))
    }

    /// The first feature table of a run.
    pub fn table(&self, out: &str) -> FeatureFile {
        FeatureFile::open(&self.path(out).join("features/part-00000.parquet")).expect("opened")
    }

    /// The features in the first table of a run, row by row.
    pub fn features(&self, out: &str) -> Vec<f32> {
        self.table(out).read_features(None).expect("features").as_slice().to_vec()
    }

    /// The bytes of every table, fitted model and metric of a run, by name.
    pub fn results(&self, out: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let root = self.path(out);
        let folders = ["", "features", "classifier"].map(|folder| root.join(folder));
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            for entry in std::fs::read_dir(folder).expect("run folder") {
                let path = entry.expect("entry").path();
                let name = path.strip_prefix(&root).expect("below").to_string_lossy().into_owned();
                if path.is_file() && name != "run.json" && name != "report.html" {
                    files.insert(name, std::fs::read(path).expect("read"));
                }
            }
        }
        files
    }

    /// Panics with the name of the first table, model or metric of `out` that differs from that of `other`.
    #[track_caller]
    pub fn same_results(&self, out: &str, other: &str) {
        let (found, expected) = (self.results(out), self.results(other));
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        expected.iter().for_each(|(name, bytes)| assert!(found[name] == *bytes, "{name} differs"));
    }
}

/// Three kinds of fruit, small shards, a small classifier.
const FRUITS: &str = "\
version: 1
name: three
input:
  root: pictures
  split: {train: 'Training/**', test: 'Test/**'}
extract: {shard_rows: 8}
select: {}
reduce: {pca: {components: 6}}
train: {mlp: {hidden: [16], max_iter: 60, seed: 1}}
report: {samples: 4}
";

/// The output and the exit code of a process.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Panics with the whole output unless the exit code is 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.ended(0, &[]);
        self
    }

    /// Panics with the whole output unless the exit code is `code` and standard error contains each of `texts`.
    #[track_caller]
    pub fn ended(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        texts.iter().for_each(|text| assert!(self.stderr.contains(text), "no `{text}` in\n{}", self.stderr));
    }

    /// Standard output as one JSON object.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in\n{}", self.stdout))
    }

    /// The lines of standard output, each a JSON object.
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The JSON line of the event `name`.
    pub fn event(&self, name: &str) -> Value {
        let lines = self.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut found = lines.filter(|line| line["event"] == name);
        found.next_back().unwrap_or_else(|| panic!("no event {name} in:\n{}", self.stderr))
    }

    /// The message of the final error, with `--log json`.
    pub fn error(&self) -> String {
        let mut lines = self.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let message = lines.rfind(|line| line["level"] == "error").map(|line| line["message"].clone());
        message.and_then(|text| text.as_str().map(str::to_string)).unwrap_or_default()
    }

    /// The stages that were computed.
    pub fn computed(&self) -> Vec<String> {
        let stages = self.event("summary")["computed"].clone();
        stages.as_array().expect("a list").iter().map(|stage| stage.as_str().expect("a name").to_string()).collect()
    }

    /// The number of pictures that went through the network.
    pub fn extracted(&self) -> u64 {
        self.event("extract_timing")["seconds"]["pictures"].as_u64().expect("a number")
    }
}
