//! A run in a folder of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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

/// A folder with a pipeline in it, thrown away at the end.
pub struct Workspace {
    dir: TempDir,
}

impl Workspace {
    /// An empty one.
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary folder") }
    }

    /// With `pictures/Training|Test/<class>/` holding the first shipped pictures of three kinds of fruit, and
    /// `pipeline.yaml`.
    pub fn with_fruits(train: usize, test: usize) -> Self {
        let workspace = Self::new();
        for (split, count) in [("Training", train), ("Test", test)] {
            for class in ["Banana", "Lemon", "Strawberry"] {
                let from = project().join("data/fruits").join(split).join(class);
                let mut files: Vec<PathBuf> =
                    std::fs::read_dir(&from).expect("shipped").map(|entry| entry.expect("entry").path()).collect();
                files.sort();
                for file in &files[..count] {
                    let name = file.file_name().expect("name").to_string_lossy().into_owned();
                    workspace.write(&format!("pictures/{split}/{class}/{name}"), &std::fs::read(file).expect("read"));
                }
            }
        }
        workspace.write("pipeline.yaml", FRUITS.as_bytes());
        workspace
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file and its folders.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(path, bytes).expect("written");
    }

    /// The bytes of a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// `featurize run pipeline.yaml --out out --log json …`, not started.
    pub fn command(&self, out: &str, more: &[&str]) -> Command {
        let mut command = featurize();
        command
            .arg("run")
            .arg(self.path("pipeline.yaml"))
            .arg("--out")
            .arg(self.path(out))
            .args(["--log", "json"])
            .args(more)
            // a run beside it would give its tables, and nothing would be computed
            .args(["--set", "output.cache=none"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it and gives what it said.
    pub fn run(&self, out: &str, more: &[&str]) -> Run {
        Run::of(self.command(out, more).output().expect("started"))
    }

    /// Every table, fitted model and metric of a run, by name.
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

/// What a run said and how it ended.
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

    /// Panics with everything that was said unless it ended well.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The JSON line with that event.
    pub fn event(&self, name: &str) -> Value {
        let lines = self.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut found = lines.filter(|line| line["event"] == name);
        found.next_back().unwrap_or_else(|| panic!("no event {name} in:\n{}", self.stderr))
    }

    /// The message of the error that ended it, with `--log json`.
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

    /// How many pictures went through the network.
    pub fn extracted(&self) -> u64 {
        self.event("extract_timing")["seconds"]["pictures"].as_u64().expect("a number")
    }
}
