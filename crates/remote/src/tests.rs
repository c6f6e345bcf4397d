//! The client against a server on this machine that does everything wrong.

#[allow(dead_code)]
mod server;

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::http::{Method, Patience, Request, StatusCode};
use crate::{Answer, Client, Problem, Rules};
use server::{Reply, Server};

fn client() -> Client {
    let wait = Duration::from_millis(300);
    let silence = Duration::from_secs(10);
    let pause = Duration::from_millis(1);
    Client::new(Patience { connect: wait, answer: wait, read: wait, silence, pause, repetitions: 3 })
}

fn rules() -> Rules {
    Rules { follow: true, most: 8 << 20, stop: Arc::default() }
}

fn asked(client: &Client, method: Method, url: &str) -> Result<Answer, Problem> {
    let request = Request::builder().method(method).uri(url).body(Vec::new()).expect("a request");
    client.ask(&Arc::new(request), &rules())
}

fn get(client: &Client, url: &str) -> Result<Vec<u8>, Problem> {
    let Answer { status, length, mut body, .. } = asked(client, Method::GET, url)?;
    assert_eq!(status, StatusCode::OK);
    let mut bytes = Vec::new();
    match body.read_to_end(&mut bytes) {
        Ok(_) => assert_eq!(length, Some(bytes.len() as u64)),
        Err(error) => {
            let problem = error.get_ref().and_then(|error| error.downcast_ref::<Problem>());
            return Err(problem.expect("a problem").clone());
        }
    }
    Ok(bytes)
}

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|i| ((i * i) >> 7) as u8).collect()
}

fn reason(problem: Problem) -> String {
    match problem {
        Problem::Unreachable { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_that_is_busy_is_asked_again_after_the_time_that_it_names() {
    let server = Server::new(|request| match request.number {
        0 => Reply::new(429, b"slow down").with("retry-after", "1"),
        1 => Reply::new(503, b""),
        2 => Reply::new(200, b"short").with("content-length", "9"),
        _ => Reply::new(200, b"picture"),
    });
    let start = Instant::now();
    assert_eq!(get(&client(), &server.url("/a")), Ok(b"picture".to_vec()));
    assert!(start.elapsed() >= Duration::from_secs(1), "it asked for a second");
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn statuses_of_the_picture_are_answers_and_are_not_asked_for_again() {
    for status in [400, 401, 403, 404, 410, 501] {
        let server = Server::new(move |_| Reply::new(status, b"<html>"));
        let answer = asked(&client(), Method::GET, &server.url("/a")).expect("an answer");
        assert_eq!(answer.status, status);
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_long_body_goes_on_where_it_broke_and_is_of_one_version() {
    let bytes = noise(3 << 20);
    let sent = bytes.clone();
    let server = Server::new(move |request| {
        let reply = Reply::file(request, &sent);
        if request.number < 2 { reply.cut((2 << 20) - request.number * 5000) } else { reply }
    });
    assert!(get(&client(), &server.url("/a")) == Ok(bytes.clone()));
    let server = Server::new(move |request| {
        let reply = Reply::file(request, &bytes).with("etag", &format!("\"{}\"", request.number));
        if request.number == 0 { reply.cut(2 << 20) } else { reply }
    });
    let problem = get(&client(), &server.url("/a")).expect_err("another version");
    assert!(reason(problem).contains("changed"));
}

#[test]
fn a_server_whose_bodies_break_is_not_down() {
    for cut in [0, 100, 2 << 20] {
        let server = Server::new(move |request| Reply::file(request, &noise(3 << 20)).cut(cut));
        let reason = reason(get(&client(), &server.url("/a")).expect_err("cut"));
        assert!(reason.contains(" after "), "{reason}");
    }
}

#[test]
fn bodies_without_a_length_are_read_up_to_the_limit() {
    for length in [0, 5, 1 << 20, 2_000_000] {
        let server = Server::new(move |request| Reply::file(request, &noise(length)).chunked());
        assert!(get(&client(), &server.url("/a")) == Ok(noise(length)), "{length}");
    }
    let server = Server::new(|request| Reply::file(request, &noise(10 << 20)).chunked());
    let answer = asked(&client(), Method::GET, &server.url("/a")).expect("an answer");
    assert_eq!(answer.length, Some((8 << 20) + 1));
    // one that claims more than the limit is not read
    let server = Server::new(|_| Reply::new(200, b"").with("content-length", "99999999999").cut(0));
    let answer = asked(&client(), Method::GET, &server.url("/a")).expect("an answer");
    assert_eq!(answer.length, Some(99_999_999_999));
}

#[test]
fn heads_have_lengths_and_versions() {
    let server = Server::new(|request| {
        let reply = Reply::file(request, &noise(77)).with("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        if request.method == "HEAD" { reply.cut(0) } else { Reply::new(400, b"") }
    });
    let answer = asked(&client(), Method::HEAD, &server.url("/a")).expect("an answer");
    assert_eq!((answer.length, answer.header("etag")), (Some(77), Some(server::ETAG)));
    assert_eq!(crate::http::modified(&answer.headers), Some(784_111_777_000_000_000));
}

#[test]
fn redirects_are_followed_and_not_in_circles() {
    let server = Server::new(|request| match request.path.as_str() {
        "/a" => Reply::redirect("b?x=1"),
        "/b?x=1" => Reply::new(200, b"picture"),
        _ => Reply::redirect("/round"),
    });
    assert_eq!(get(&client(), &server.url("/a")), Ok(b"picture".to_vec()));
    assert!(matches!(get(&client(), &server.url("/round")), Err(Problem::Refused { .. })));
    for location in ["ftp://example.org/x", "file:///etc/passwd"] {
        let server = Server::new(move |_| Reply::redirect(location));
        assert!(matches!(get(&client(), &server.url("/a")), Err(Problem::Refused { .. })));
    }
}

#[test]
fn stalls_end() {
    let server = Server::new(|_| {
        thread::sleep(Duration::from_secs(2));
        Reply::new(200, b"late")
    });
    let start = Instant::now();
    assert!(get(&client(), &server.url("/a")).is_err());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let server = Server::new(|request| Reply::file(request, &noise(20_000)).slow(Duration::from_secs(2)));
    assert!(reason(get(&client(), &server.url("/a")).expect_err("stalled")).contains(" after "));
    let stop = Arc::new(AtomicBool::new(false));
    let server = Server::new(|_| Reply::new(503, b"").with("retry-after", "50"));
    let request = Arc::new(Request::get(server.url("/a")).body(Vec::new()).expect("a request"));
    thread::scope(|scope| {
        let rules = Rules { stop: stop.clone(), ..rules() };
        let asked = scope.spawn(move || client().ask(&request, &rules).map(drop));
        thread::sleep(Duration::from_millis(100));
        stop.store(true, Ordering::Relaxed);
        assert_eq!(asked.join().expect("no panic"), Err(Problem::Stopped));
    });
}

#[test]
fn a_host_that_is_down_differs_from_a_picture_that_cannot_be_had() {
    let closed = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        format!("http://{}/a", listener.local_addr().expect("an address"))
    };
    // no host has answered yet: the network may be down
    let client = client();
    let (first, second) = (closed(), closed());
    assert!(matches!(get(&client, &first), Err(Problem::Down { .. })));
    let server = Server::new(|request| match request.path.as_str() {
        "/bad" => Reply::new(500, b""),
        _ => Reply::new(200, b"picture"),
    });
    assert!(get(&client, &server.url("/a")).is_ok());
    // other hosts answer, so that this host is at fault; it is not asked again for a while
    assert!(matches!(get(&client, &first), Err(Problem::Unreachable { .. })));
    assert!(matches!(get(&client, &second), Err(Problem::Unreachable { .. })));
    let start = Instant::now();
    assert!(matches!(get(&client, &second), Err(Problem::Unreachable { .. })));
    assert!(start.elapsed() < Duration::from_millis(1), "it is known");
    // the server answers other requests
    assert!(reason(get(&client, &server.url("/bad")).expect_err("500")).contains("500"));
    // a host that has answered before is down
    let url = server.url("/a");
    drop(server);
    assert!(matches!(get(&client, &url), Err(Problem::Down { .. })));
}
