//! Downloads from servers that misbehave.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::server::{ETAG, Reply, Server};
use super::*;

/// The folder of a URL's file.
fn folder(home: &Home, url: &str) -> PathBuf {
    home.path("store/url").join(&sha256(url.as_bytes())[..16])
}

/// Writes the files of a download that was killed.
fn killed(home: &Home, url: &str, name: &str, bytes: &[u8], validator: Option<&str>) {
    let folder = folder(home, url);
    std::fs::create_dir_all(&folder).expect("folder");
    std::fs::write(folder.join(format!("{name}.part")), bytes).expect("written");
    let record = serde_json::json!({"url": url, "validator": validator});
    std::fs::write(folder.join(format!("{name}.part.json")), record.to_string()).expect("written");
}

#[test]
fn a_file_arrives_whole_and_is_not_asked_for_twice() {
    let (bytes, home) = (noise(300_000), Home::new());
    let server = Server::of_file(&bytes);
    let url = server.url("/models/net.h5?download=1");
    assert_eq!(home.fetch(&parsed(&url)), bytes);
    assert_eq!(names(&folder(&home, &url)), ["net.h5", "net.h5.record.json"]);
    assert_eq!(home.fetch(&parsed(&url)), bytes);
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header("range"), None);
    assert_eq!(requests[0].header("accept-encoding"), Some("identity"));
    assert!(requests[0].header("user-agent").is_some_and(|agent| agent.starts_with("featurize/")));
}

#[test]
fn a_broken_connection_is_resumed_behind_what_came() {
    for chunked in [false, true] {
        let (bytes, home) = (noise(100_000), Home::new());
        let file = bytes.clone();
        let server = Server::new(move |request| {
            let reply = Reply::file(request, &file);
            let reply = if request.number < 6 { reply.cut(8192) } else { reply };
            if chunked { reply.chunked() } else { reply }
        });
        let (found, notes) = home.get(&parsed(&server.url("/net.pth")));
        assert_eq!(std::fs::read(found.expect("fetched").path).expect("there"), bytes);
        let asked: Vec<_> = server.requests().iter().map(|r| r.header("range").map(str::to_string)).collect();
        let ranges = (1..7).map(|i| Some(format!("bytes={}-", i * 8192)));
        assert_eq!(asked, std::iter::once(None).chain(ranges).collect::<Vec<_>>(), "chunked: {chunked}");
        assert!(server.requests()[1..].iter().all(|request| request.header("if-range") == Some(ETAG)));
        assert!(notes[0].contains("the connection broke after 8192"), "{notes:?}");
    }
}

#[test]
fn a_killed_download_goes_on() {
    let (bytes, home) = (noise(50_000), Home::new());
    let server = Server::of_file(&bytes);
    let url = server.url("/net.pth");
    killed(&home, &url, "net.pth", &bytes[..20_000], Some(ETAG));
    assert_eq!(home.fetch(&parsed(&url)), bytes);
    assert_eq!(server.requests()[0].header("range"), Some("bytes=20000-"));
    assert_eq!(names(&folder(&home, &url)), ["net.pth", "net.pth.record.json"]);
}

#[test]
fn without_a_version_or_a_hash_a_killed_download_begins_anew() {
    let (bytes, home) = (noise(50_000), Home::new());
    let server = Server::of_file(&bytes);
    let url = server.url("/net.pth");
    killed(&home, &url, "net.pth", &bytes[..20_000], None);
    assert_eq!(home.fetch(&parsed(&url)), bytes);
    assert_eq!(server.requests()[0].header("range"), None);
    // if the hash is known, the version need not be
    killed(&home, &url, "net.pth", &bytes[..20_000], None);
    std::fs::remove_file(folder(&home, &url).join("net.pth")).expect("there");
    assert_eq!(home.fetch(&parsed(&format!("{url}#sha256={}", sha256(&bytes)))), bytes);
    assert_eq!(server.requests()[1].header("range"), Some("bytes=20000-"));
    assert_eq!(server.requests()[1].header("if-range"), None);
}

#[test]
fn another_version_or_a_server_without_ranges_begins_anew() {
    let bytes = noise(50_000);
    for (validator, ranges) in [("\"version-0\"", true), (ETAG, false)] {
        let (home, file) = (Home::new(), bytes.clone());
        let server =
            Server::new(
                move |request| {
                    if ranges { Reply::file(request, &file) } else { Reply::new(200, &file).with("etag", ETAG) }
                },
            );
        let url = server.url("/net.pth");
        killed(&home, &url, "net.pth", &[7; 20_000], Some(validator));
        assert_eq!(home.fetch(&parsed(&url)), bytes);
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_part_that_is_all_or_too_much_is_seen() {
    let bytes = noise(30_000);
    for (here, requests) in [(bytes.clone(), 1), ([&bytes[..], b"more"].concat(), 2)] {
        let (home, server) = (Home::new(), Server::of_file(&bytes));
        let url = server.url("/net.pth");
        killed(&home, &url, "net.pth", &here, Some(ETAG));
        assert_eq!(home.fetch(&parsed(&url)), bytes);
        assert_eq!(server.requests().len(), requests);
    }
}

#[test]
fn an_answer_from_another_place_is_not_put_behind_what_came() {
    let (bytes, home) = (noise(30_000), Home::new());
    let file = bytes.clone();
    let server = Server::new(move |request| match request.number {
        0 => Reply::new(206, &file[5..]).with("content-range", "bytes 5-29999/30000"),
        _ => Reply::file(request, &file),
    });
    let url = server.url("/net.pth");
    killed(&home, &url, "net.pth", &bytes[..20_000], Some(ETAG));
    let (found, notes) = home.get(&parsed(&url));
    assert_eq!(std::fs::read(found.expect("fetched").path).expect("there"), bytes);
    assert!(notes.len() == 1 && notes[0].contains("cannot go on"), "{notes:?}");
}

#[test]
fn what_was_resumed_badly_is_fetched_anew_once() {
    let (bytes, home) = (noise(30_000), Home::new());
    let server = Server::of_file(&bytes);
    let url = server.url("/net.pth");
    killed(&home, &url, "net.pth", &[7; 10_000], None);
    let (found, notes) = home.get(&parsed(&format!("{url}#sha256={}", sha256(&bytes))));
    assert_eq!(std::fs::read(found.expect("fetched").path).expect("there"), bytes);
    assert_eq!(server.requests().len(), 2);
    assert!(notes.iter().any(|note| note.contains("is fetched anew")), "{notes:?}");
}

#[test]
fn wrong_bytes_are_thrown_away_with_both_hashes_told() {
    let right = noise(5000);
    let digits = sha256(&right);
    let hashes = [
        (full(&right), &digits[..]),
        (Hash::Sha256(digits[..8].to_string().leak()), &digits[..8]),
        (Hash::Md5("64373286793e3c8b2b4e3219cbf3544b"), "64373286793e3c8b2b4e3219cbf3544b"),
    ];
    for (hash, expected) in hashes {
        let (home, server) = (Home::new(), Server::of_file(&[1; 5000]));
        let net = model(Source::Keras, &[published(&server.url("/net.h5"), "net.h5", hash, true)]);
        let text = home.get(&known(net, true)).0.expect_err("wrong").to_string();
        assert!(text.contains(&server.url("/net.h5")) && text.contains(&format!("expected {expected}")), "{text}");
        assert!(text.contains(&sha256(&[1; 5000])) || text.contains("its MD5 is "), "{text}");
        assert!(text.contains("featurize weights import --model net --source keras FILE"), "{text}");
        assert_eq!(names(&home.path("store/net/keras")), ["net.h5.lock"]);
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_missing_file_is_told_at_once_with_what_to_do() {
    for (status, word) in [(404, "404"), (403, "HF_TOKEN")] {
        let (home, server) = (Home::new(), Server::new(move |_| Reply::new(status, b"no")));
        let url = server.url("/net.h5");
        let text = home.get(&parsed(&url)).0.expect_err("missing").to_string();
        let place = folder(&home, &url).join("net.h5");
        assert!(text.contains(&url) && text.contains(&place.display().to_string()) && text.contains(word), "{text}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_busy_server_is_asked_again_but_not_for_ever() {
    let (bytes, home) = (noise(3000), Home::new());
    let file = bytes.clone();
    let server = Server::new(move |request| match request.number {
        0 => Reply::new(500, b"oops"),
        1 => Reply::new(429, b"busy").with("retry-after", "0"),
        _ => Reply::file(request, &file),
    });
    assert_eq!(home.fetch(&parsed(&server.url("/net.h5"))), bytes);
    assert_eq!(server.requests().len(), 3);
    let server = Server::new(|_| Reply::new(503, b"down"));
    let text = home.get(&parsed(&server.url("/net.h5"))).0.expect_err("down").to_string();
    assert!(text.contains("503") && text.contains("4 repetitions"), "{text}");
    assert_eq!(server.requests().len(), 5);
}

#[test]
fn a_length_that_is_never_reached_ends_the_download() {
    let (bytes, home) = (noise(3000), Home::new());
    let server = Server::new(move |_| Reply::new(200, &bytes).with("content-length", "4000"));
    let text = home.get(&parsed(&server.url("/net.h5"))).0.expect_err("short").to_string();
    assert!(text.contains("after 3000 of 4000 bytes"), "{text}");
    assert_eq!(server.requests().len(), 5);
}

#[test]
fn what_is_no_file_or_perhaps_half_of_one_is_refused() {
    let replies: [(Reply, &str); 3] = [
        (Reply::new(200, b"<html>").with("content-type", "text/html; charset=utf-8"), "a web page"),
        (Reply::new(200, b"bytes").without("content-length"), "how long the file is"),
        (Reply::new(200, b"bytes").with("content-encoding", "gzip"), "compressed (gzip)"),
    ];
    for (reply, word) in replies {
        let (home, server) = (Home::new(), Server::new(move |_| reply.clone()));
        let text = home.get(&parsed(&server.url("/net.h5"))).0.expect_err(word).to_string();
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn a_server_that_falls_silent_is_left_and_asked_for_the_rest() {
    let (bytes, mut home) = (noise(40_000), Home::new());
    home.store.patience.read = Duration::from_millis(200);
    let file = bytes.clone();
    let server = Server::new(move |request| {
        let reply = Reply::file(request, &file);
        if request.number == 0 { reply.slow(Duration::from_millis(700)) } else { reply }
    });
    assert_eq!(home.fetch(&parsed(&server.url("/net.h5"))), bytes);
    assert!(server.requests().len() >= 2);
}

#[test]
fn nobody_there_is_told_without_repetitions() {
    let mut home = Home::new();
    home.store.patience.pause = Duration::from_secs(60);
    let url = Server::of_file(b"").url("/net.h5");
    thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    let text = home.get(&parsed(&url)).0.expect_err("nobody").to_string();
    assert!(text.contains(&url) && start.elapsed() < Duration::from_secs(30), "{text}");
}

/// A server that accepts connections and never answers.
fn silent() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    (listener, url)
}

#[test]
fn a_proxy_that_never_answers_is_left_after_one_wait() {
    let (_listener, proxy) = silent();
    let mut home = Home::with(|env| env.proxy = ureq::Proxy::new(&proxy).ok());
    home.store.patience.connect = Duration::from_millis(500);
    home.store.patience.pause = Duration::from_secs(60);
    let start = Instant::now();
    let url = format!("http://weights.invalid/net.h5#sha256={}", "0".repeat(64));
    let text = home.get(&parsed(&url)).0.expect_err("nobody").to_string();
    assert!(text.contains("http://weights.invalid/net.h5"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}: {text}", start.elapsed());
}

#[test]
fn a_server_without_a_sign_of_life_is_left_after_a_while() {
    let (_listener, url) = silent();
    let mut home = Home::new();
    home.store.patience.answer = Duration::from_millis(300);
    home.store.patience.silence = Duration::from_millis(500);
    let start = Instant::now();
    let text = home.get(&parsed(&format!("{url}/net.h5"))).0.expect_err("nobody").to_string();
    assert!(text.contains("without a sign of life"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn the_wish_to_stop_is_seen_while_a_server_is_silent() {
    let stop = |url: &str| {
        let home = Home::new();
        let start = Instant::now();
        let stopped = home.store.get(&parsed(url), &mut |_| match start.elapsed() > Duration::from_millis(300) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        assert!(matches!(stopped, Err(StoreError::Interrupted(_))), "{stopped:?}");
        assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    };
    // before its answer, and in the middle of it
    let (_listener, url) = silent();
    stop(&format!("{url}/net.h5"));
    let server = Server::new(|request| Reply::file(request, &[1; 9000]).slow(Duration::from_secs(20)));
    stop(&server.url("/net.h5"));
}

#[test]
fn the_token_goes_to_the_hub_alone_and_its_promise_is_kept() {
    let bytes = noise(9000);
    for honest in [true, false] {
        let file = bytes.clone();
        let storage =
            Server::new(move |request| Reply::file(request, &file).with("etag", &format!("\"{}\"", "0".repeat(64))));
        let promise = if honest { sha256(&bytes) } else { "ab".repeat(32) };
        let location = storage.url("/blob?signature=1");
        let hub = Server::new(move |_| {
            let etag = format!("\"{promise}\"");
            Reply::redirect(&location).with("x-linked-etag", &etag).with("x-repo-commit", "c0ffee")
        });
        let home = Home::with(|env| {
            env.endpoint = hub.url("");
            env.token = Some(crate::weights::store::Token("hf_secret".into()));
        });
        let (found, _) = home.get(&parsed("hf:owner/repo/sub/model.safetensors@refs/pr/1"));
        assert_eq!(hub.requests()[0].path, "/owner/repo/resolve/refs%2Fpr%2F1/sub/model.safetensors");
        assert_eq!(hub.requests()[0].header("authorization"), Some("Bearer hf_secret"));
        assert_eq!(storage.requests()[0].header("authorization"), None);
        assert_eq!(storage.requests()[0].path, "/blob?signature=1");
        match found {
            Ok(found) => {
                assert!(honest);
                let place = home.path("store/hf/owner/repo/refs--pr--1/sub/model.safetensors");
                assert_eq!((found.path, found.sha256), (place.clone(), sha256(&bytes)));
                let record = std::fs::read_to_string(format!("{}.record.json", place.display())).expect("a record");
                assert!(record.contains("c0ffee") && !record.contains("hf_secret"), "{record}");
            }
            Err(error) => assert!(!honest && error.to_string().contains(&"ab".repeat(32)), "{error}"),
        }
    }
}

#[test]
fn only_the_hub_s_own_etag_is_a_promise() {
    let bytes = noise(900);
    let file = bytes.clone();
    let etag = format!("\"{}\"", "0".repeat(64));
    let storage = Server::new(move |request| Reply::file(request, &file).with("etag", &etag));
    let location = storage.url("/blob");
    let hub = Server::new(move |_| Reply::redirect(&location));
    let home = Home::with(|env| env.endpoint = hub.url(""));
    assert_eq!(home.fetch(&parsed("hf:o/r/x.bin")), bytes);
}

#[test]
fn a_file_that_changed_on_the_hub_is_not_patched() {
    let bytes = noise(9000);
    let (file, promise) = (bytes.clone(), format!("\"{}\"", sha256(&bytes)));
    let hub = Server::new(move |request| Reply::file(request, &file).with("x-linked-etag", &promise));
    let home = Home::with(|env| env.endpoint = hub.url(""));
    home.write("store/hf/o/r/main/x.bin.part", &[7; 4000]);
    let url = hub.url("/o/r/resolve/main/x.bin");
    let record = serde_json::json!({"url": url, "promised": "0".repeat(64)}).to_string();
    home.write("store/hf/o/r/main/x.bin.part.json", record.as_bytes());
    let (found, notes) = home.get(&parsed("hf:o/r/x.bin"));
    assert_eq!(found.expect("fetched").sha256, sha256(&bytes));
    assert!(notes.len() == 1 && notes[0].contains("has changed"), "{notes:?}");
    assert_eq!(hub.requests()[0].header("range"), Some("bytes=4000-"));
}

#[test]
fn the_token_does_not_go_to_a_plain_url() {
    let (home, server) =
        (Home::with(|env| env.token = Some(crate::weights::store::Token("s".into()))), Server::of_file(b"x"));
    home.fetch(&parsed(&server.url("/net.h5")));
    assert_eq!(server.requests()[0].header("authorization"), None);
}

#[test]
fn relative_redirects_are_followed_and_circles_are_left() {
    let (bytes, home) = (noise(900), Home::new());
    let file = bytes.clone();
    let server = Server::new(move |request| match request.path.as_str() {
        "/a/b" => Reply::redirect("c"),
        "/a/c" => Reply::redirect("/d?x=1"),
        "/d?x=1" => Reply::file(request, &file),
        _ => Reply::redirect("/circle"),
    });
    assert_eq!(home.fetch(&parsed(&server.url("/a/b"))), bytes);
    let text = home.get(&parsed(&server.url("/circle"))).0.expect_err("a circle").to_string();
    assert!(text.contains("10 times"), "{text}");
}

#[test]
fn plain_http_is_for_this_machine_or_for_known_hashes() {
    let home = Home::new();
    let text = home.get(&parsed("http://weights.invalid/net.h5")).0.expect_err("plain").to_string();
    assert!(text.contains("take https") && text.contains("#sha256="), "{text}");
    let server = Server::new(|_| Reply::redirect("http://weights.invalid/net.h5"));
    let text = home.get(&parsed(&server.url("/net.h5"))).0.expect_err("plain").to_string();
    assert!(text.contains("weights.invalid"), "{text}");
}

#[test]
fn a_proxy_is_asked_for_other_machines_and_not_for_this_one() {
    let bytes = noise(700);
    let proxy = Server::of_file(&bytes);
    let home = Home::with(|env| env.proxy = ureq::Proxy::new(&proxy.url("")).ok());
    assert_eq!(home.fetch(&parsed(&format!("http://weights.invalid/net.h5#sha256={}", sha256(&bytes)))), bytes);
    assert_eq!((&proxy.requests()[0].method[..], &proxy.requests()[0].path[..]), ("CONNECT", "weights.invalid:80"));
    let server = Server::of_file(b"local");
    assert_eq!(home.fetch(&parsed(&server.url("/net.h5"))), b"local");
    assert_eq!(proxy.requests().len(), 2);
}

#[test]
fn two_downloads_at_once_are_one_transfer() {
    let bytes = noise(60_000);
    let file = bytes.clone();
    let server = Server::new(move |request| Reply::file(request, &file).slow(Duration::from_millis(30)));
    let home = Home::new();
    let wanted = parsed(&server.url("/net.h5"));
    let waited = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let (found, notes) = home.get(&wanted);
                assert_eq!(std::fs::read(found.expect("fetched").path).expect("there"), bytes);
                waited.fetch_add(notes.iter().filter(|note| note.contains("waiting")).count(), Ordering::Relaxed);
            });
        }
    });
    assert_eq!(server.requests().len(), 1);
    assert_eq!(waited.into_inner(), 1);
}

#[test]
fn who_stops_a_download_can_go_on_later() {
    let (bytes, home) = (noise(60_000), Home::new());
    let (file, calm) = (bytes.clone(), Arc::new(AtomicUsize::new(0)));
    let slow = calm.clone();
    let server = Server::new(move |request| {
        let pause = Duration::from_millis(if slow.load(Ordering::Relaxed) == 0 { 60 } else { 0 });
        Reply::file(request, &file).slow(pause)
    });
    let wanted = parsed(&server.url("/net.h5"));
    let stopped = home.store.get(&wanted, &mut |progress| match progress {
        Progress::Bytes { done, .. } if done > 4096 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert!(matches!(stopped, Err(StoreError::Interrupted(_))), "{stopped:?}");
    calm.store(1, Ordering::Relaxed);
    assert_eq!(home.fetch(&wanted), bytes);
    assert!(server.requests()[1].header("range").is_some());
}
