//! Pictures at URLs: they give the same features as the folder, every failure has its kind, and runs continue after a
//! kill and after the service was down. The server is on this machine and imitates faults of servers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::server::{Reply, Request, Server};
use crate::sources::{self, run};
use crate::support::{Run, Workspace, featurize, files, rows};

const YAML: &str =
    "version: 1\nname: remote\ninput: {root: table.csv, max_bad_fraction: 0.9}\nextract: {shard_rows: 4}\n";

/// A workspace with the shipped pictures in `pictures/`, and their bytes by path.
fn fruits() -> (Workspace, BTreeMap<String, Vec<u8>>) {
    let workspace = Workspace::with_fruits(6, 2);
    let names = files(&workspace.path("pictures")).into_iter();
    let files = names.map(|name| (name.clone(), workspace.read(&format!("pictures/{name}")))).collect();
    workspace.write("pipeline.yaml", YAML.as_bytes());
    (workspace, files)
}

/// Writes a table with `url,label` for each path, and `more` lines.
fn table(workspace: &Workspace, server: &Server, files: &BTreeMap<String, Vec<u8>>, more: &[&str]) {
    let line =
        |path: &str| format!("{},{}\n", server.url(&format!("/{path}")), path.split('/').nth(1).unwrap_or("Lemon"));
    let lines: String = files.keys().map(String::as_str).chain(more.iter().copied()).map(line).collect();
    workspace.write("table.csv", format!("url,label\n{lines}").as_bytes());
}

/// Sends the file at the requested path.
fn serve(request: &Request, files: &BTreeMap<String, Vec<u8>>) -> Reply {
    match files.get(request.path.trim_start_matches('/')) {
        Some(bytes) => {
            let reply = Reply::file(request, bytes).with("etag", &format!("\"{}\"", blake3::hash(bytes)));
            if request.method == "HEAD" { reply.cut(0) } else { reply }
        }
        None => Reply::new(404, b"not here"),
    }
}

/// The bits of the features, by path below the server.
fn features(workspace: &Workspace, out: &str) -> BTreeMap<String, Vec<u32>> {
    let below = |key: String| key.splitn(4, '/').nth(3).filter(|_| key.contains("://")).unwrap_or(&key).to_string();
    sources::features(workspace, out).into_iter().map(|(key, bits)| (below(key), bits)).collect()
}

/// The kinds of failed pictures, by the ends of their URLs.
fn kinds(workspace: &Workspace, out: &str) -> BTreeMap<String, String> {
    let all = rows(&workspace.path(out).join("manifest.parquet"), ["path", "status", "kind"]).into_iter();
    let failed = all.filter(|[_, status, _]| status == "failed");
    failed.map(|[path, _, kind]| (path.rsplit('/').next().unwrap_or_default().to_string(), kind)).collect()
}

fn gets(server: &Server) -> usize {
    server.requests().iter().filter(|request| request.method == "GET").count()
}

#[test]
fn urls_give_the_features_of_the_folder_and_each_failure_its_kind() {
    let (workspace, files) = fruits();
    run(&workspace, "folder", &[&format!("input.root={}", workspace.path("pictures").display())]).ok();
    let wanted = features(&workspace, "folder");
    let (sent, first) = (files.clone(), files.keys().next().expect("a file").clone());
    let picture = files[&first].clone();
    let server = Server::new(move |request| match request.path.as_str() {
        "/moved.jpg" => Reply::redirect(&format!("/{first}")),
        "/busy.jpg" if request.number < 2 => Reply::new(503, b"").with("retry-after", "0"),
        "/busy.jpg" | "/chunked.jpg" => Reply::new(200, &picture).chunked(),
        "/gone.jpg" => Reply::new(410, b""),
        "/private.jpg" => Reply::new(403, b"<html>"),
        "/bad.jpg" => Reply::new(400, b""),
        "/error.jpg" => Reply::new(500, b""),
        "/login.jpg" => Reply::new(200, b"<html>Please log in</html>").with("content-type", "text/html; charset=utf-8"),
        "/round.jpg" => Reply::redirect("/round.jpg"),
        "/cut.jpg" => Reply::new(200, &picture).cut(100),
        "/lies-long.jpg" => Reply::new(200, &picture).with("content-length", "999999"),
        "/lies-short.jpg" => Reply::new(200, &picture).with("content-length", "200"),
        "/huge.jpg" => Reply::new(200, &picture).with("content-length", "99999999999"),
        _ => serve(request, &sent),
    });
    let more = "moved busy chunked gone private bad error login round cut lies-long lies-short huge missing";
    let more: Vec<String> = more.split(' ').map(|name| format!("{name}.jpg")).collect();
    table(&workspace, &server, &files, &more.iter().map(String::as_str).collect::<Vec<_>>());
    let csv = workspace.text("table.csv") + "http://127.0.0.1:9/closed.jpg,Lemon\nhttp:///no-host.jpg,Lemon\n";
    workspace.write("table.csv", csv.as_bytes());
    run(&workspace, "urls", &[]).ok();
    let mut found = features(&workspace, "urls");
    let same = [found.remove("moved.jpg"), found.remove("busy.jpg"), found.remove("chunked.jpg")];
    assert!(same.iter().all(|one| one.as_ref() == wanted.values().next()), "{same:?}");
    assert_eq!(found.len(), 24);
    assert!(found == wanted);
    let kinds = kinds(&workspace, "urls");
    let kinds: Vec<(&str, &str)> = kinds.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
    let expected = [
        ("bad.jpg", "unreadable"),
        ("closed.jpg", "unreachable"),
        ("cut.jpg", "unreachable"),
        ("error.jpg", "unreachable"),
        ("gone.jpg", "missing"),
        ("huge.jpg", "too_large"),
        ("lies-long.jpg", "unreachable"),
        ("lies-short.jpg", "truncated"),
        ("login.jpg", "not_an_image"),
        ("missing.jpg", "missing"),
        ("no-host.jpg", "unreadable"),
        ("private.jpg", "forbidden"),
        ("round.jpg", "unreadable"),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn a_killed_run_asks_only_for_what_is_missing_and_a_changed_picture_is_noticed() {
    let (workspace, files) = fruits();
    let (shared, is_slow) = (Arc::new(Mutex::new(files.clone())), Arc::new(AtomicBool::new(true)));
    let (sent, slow) = (shared.clone(), is_slow.clone());
    let server = Server::new(move |request| {
        if request.method == "GET" && slow.load(Ordering::Relaxed) && request.path.contains("Training/Strawberry") {
            std::thread::sleep(Duration::from_secs(60));
        }
        serve(request, &sent.lock().expect("no panic"))
    });
    table(&workspace, &server, &files, &[]);
    let mut child = workspace.command("urls", &["--until", "extract"]).spawn().expect("started");
    let parts = || std::fs::read_dir(workspace.path("urls/features")).map_or(0, Iterator::count);
    let end = Instant::now() + Duration::from_secs(60);
    while parts() < 3 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!(parts() >= 3);
    is_slow.store(false, Ordering::Relaxed);
    let before = gets(&server);
    run(&workspace, "urls", &[]).ok();
    let asked = gets(&server) - before;
    assert!((6..=20).contains(&asked), "{asked} of 24 were asked for again");
    assert_eq!(run(&workspace, "again", &[]).ok().extracted(), 24);
    assert!(workspace.results("urls") == workspace.results("again"), "the tables of an undisturbed run");
    let before = gets(&server);
    assert!(run(&workspace, "urls", &[]).ok().computed().is_empty());
    assert_eq!(gets(&server), before, "nothing has changed");
    // if the picture at a URL has changed, it is read, and its shard is computed again
    let (first, last) = (files.keys().next().expect("one"), files.values().next_back().expect("one"));
    shared.lock().expect("no panic").insert(first.clone(), last.clone());
    assert!((1..=4).contains(&run(&workspace, "urls", &[]).ok().extracted()));
    run(&workspace, "anew", &[]).ok();
    assert!(workspace.results("urls") == workspace.results("anew"));
}

#[test]
fn a_service_that_goes_down_ends_the_run_which_goes_on_later() {
    let (workspace, files) = fruits();
    let (is_down, is_sick) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
    let (sent, down, sick) = (files.clone(), is_down.clone(), is_sick.clone());
    let server = Server::new(move |request| {
        if request.method == "GET" && sick.load(Ordering::Relaxed) && request.path.contains("Training/Strawberry") {
            down.store(true, Ordering::Relaxed);
        }
        let busy = || Reply::new(503, b"").with("retry-after", "0");
        if down.load(Ordering::Relaxed) { busy() } else { serve(request, &sent) }
    });
    table(&workspace, &server, &files, &[]);
    let ended = run(&workspace, "urls", &["runtime.requests=2"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.error().contains("cannot be reached") && ended.error().contains("503"), "{}", ended.stderr);
    let listing = run(&workspace, "urls", &[]);
    assert!(listing.code == Some(1) && listing.error().contains("goes on"), "{}", listing.stderr);
    [is_sick, is_down].iter().for_each(|flag| flag.store(false, Ordering::Relaxed));
    let rest = run(&workspace, "urls", &[]).ok().extracted();
    assert!((1..24).contains(&rest), "{rest}: what was computed before is kept");
    assert!(kinds(&workspace, "urls").is_empty());
    assert_eq!(run(&workspace, "again", &[]).ok().extracted(), 24);
    assert!(workspace.results("urls") == workspace.results("again"));
}

#[test]
fn commands_take_urls_and_tables_of_them() {
    let (workspace, files) = fruits();
    let sent = files.clone();
    let server = Server::new(move |request| serve(request, &sent));
    table(&workspace, &server, &files, &["missing.jpg"]);
    let (path, _) = files.iter().next().expect("a file");
    let url = server.url(&format!("/{path}"));
    let classify = |what: &str| Run::of(featurize().args(["classify", "--json", what]).output().expect("started"));
    let local = classify(&workspace.path("pictures").join(path).display().to_string()).ok();
    let remote = classify(&url).ok();
    let top = |run: &Run| serde_json::from_str::<serde_json::Value>(&run.stdout).expect("JSON")["top"].clone();
    assert_eq!(top(&local), top(&remote));
    let csv = workspace.path("table.csv").display().to_string();
    let all = classify(&csv);
    assert_eq!((all.code, all.stdout.lines().count()), (Some(1), 25), "{}", all.stderr);
    let failed = all.stdout.lines().filter(|line| line.contains("\"error\":\"missing: the server answers 404"));
    assert_eq!(failed.count(), 1, "{}", all.stdout);
}

/// Keys that are no paths, one of them the mark of a folder.
#[cfg(feature = "cloud")]
const NO_PATHS: [&str; 4] = ["Training//twice.jpg", "Training/Lemon/./dot.jpg", "Training/Lemon//", "/a&amp;b.jpg"];

/// An S3 bucket with the files below `photos/`, listed with two keys per page.
#[cfg(feature = "cloud")]
fn s3(request: &Request, files: &BTreeMap<String, Vec<u8>>) -> Reply {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    if path != "/bucket" && path != "/bucket/" {
        return match path.strip_prefix("/bucket/photos/") {
            Some("Training/Lemon/forbidden.jpg") => Reply::new(403, b"<Error><Code>AccessDenied</Code></Error>"),
            Some(key) => serve(&Request { path: key.to_string(), ..request.clone() }, files),
            None => Reply::new(404, b""),
        };
    }
    let token = query.split('&').find_map(|word| word.strip_prefix("continuation-token="));
    let from: usize = token.map_or(0, |token| token.parse().expect("a number"));
    let more = ["Training/Lemon/forbidden.jpg", "Training/Lemon/gone.jpg"];
    let keys: Vec<&str> = files.keys().map(String::as_str).chain(more).chain(NO_PATHS).collect();
    let object = |key: &&str| {
        let bytes = files.get(*key).map_or(&[][..], Vec::as_slice);
        format!(
            "<Contents><Key>photos/{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>\"{}\"</ETag><Size>{}</Size></Contents>",
            blake3::hash(bytes),
            bytes.len()
        )
    };
    let page: String = keys.iter().skip(from).take(2).map(object).collect();
    let next = if from + 2 < keys.len() {
        format!("<NextContinuationToken>{}</NextContinuationToken>", from + 2)
    } else {
        String::new()
    };
    Reply::new(200, format!("<ListBucketResult>{page}{next}</ListBucketResult>").as_bytes())
}

#[cfg(feature = "cloud")]
#[test]
fn a_bucket_gives_the_tables_of_the_folder() {
    let (workspace, files) = fruits();
    let split = "input.split={train: 'Training/**', test: 'Test/**'}";
    let folder = format!("input.root={}", workspace.path("pictures").display());
    run(&workspace, "folder", &[&folder, split]).ok();
    let server = Server::new(move |request| s3(request, &files));
    let bucket = |out: &str| {
        let mut command =
            workspace.command(out, &["--until", "extract", "--set", "input.root=s3://bucket/photos", "--set", split]);
        for (name, value) in [
            ("AWS_ENDPOINT_URL", server.url("")),
            ("AWS_ACCESS_KEY_ID", "x".into()),
            ("AWS_SECRET_ACCESS_KEY", "x".into()),
        ] {
            command.env(name, value);
        }
        Run::of(command.output().expect("started"))
    };
    bucket("bucket").ok();
    assert!(features(&workspace, "bucket") == features(&workspace, "folder"));
    let kinds = kinds(&workspace, "bucket");
    let kinds: Vec<(&str, &str)> = kinds.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
    let failed = [
        ("a&b.jpg", "unreadable"),
        ("forbidden.jpg", "forbidden"),
        ("gone.jpg", "missing"),
        ("twice.jpg", "unreadable"),
    ];
    assert_eq!(kinds, failed);
    assert!(bucket("bucket").ok().computed().is_empty(), "the versions are the same");
}

#[cfg(not(feature = "cloud"))]
#[test]
fn a_build_without_buckets_says_which_has_them() {
    let (workspace, _) = fruits();
    let refused = run(&workspace, "out", &["input.root=s3://bucket/photos"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.error().contains("--features cloud"), "{}", refused.stderr);
}
