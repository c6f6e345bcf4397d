//! A tiny HTTP server on this machine that can do everything wrong that servers do.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The ETag of every file.
pub(super) const ETAG: &str = "\"version-1\"";

/// A request of a client.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The number of requests for this path that came before.
    pub number: usize,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// An answer of the server.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Bytes that are sent before the connection is cut.
    cut: Option<usize>,
    chunked: bool,
    /// The pause before each piece of 4 KiB.
    pause: Duration,
}

impl Reply {
    pub(super) fn new(status: u16, body: &[u8]) -> Self {
        let headers = vec![("content-length".to_string(), body.len().to_string())];
        Self { status, headers, body: body.to_vec(), cut: None, chunked: false, pause: Duration::ZERO }
    }

    /// The file, or the part that `Range` names where `If-Range` names its version.
    pub(super) fn file(request: &Request, bytes: &[u8]) -> Self {
        let version = request.header("if-range").is_none_or(|version| version == ETAG);
        let from = request.header("range").filter(|_| version).and_then(|range| range.strip_prefix("bytes="));
        let from: Option<usize> = from.and_then(|range| range.strip_suffix('-')).and_then(|from| from.parse().ok());
        let reply = match from {
            None => Self::new(200, bytes),
            Some(from) if from >= bytes.len() => {
                Self::new(416, b"").with("content-range", &format!("bytes */{}", bytes.len()))
            }
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                Self::new(206, &bytes[from..]).with("content-range", &range)
            }
        };
        reply.with("etag", ETAG).with("content-type", "application/octet-stream")
    }

    pub(super) fn redirect(location: &str) -> Self {
        Self::new(302, b"elsewhere").with("location", location)
    }

    /// Sets a header, in place of another one of that name.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.to_string(), value.to_string()));
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }

    /// The connection is cut after so many bytes.
    pub(super) fn cut(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    pub(super) fn chunked(mut self) -> Self {
        self.chunked = true;
        self.without("content-length").with("transfer-encoding", "chunked")
    }

    pub(super) fn slow(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    fn send(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Whatever\r\nconnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all((head + "\r\n").as_bytes())?;
        let end = self.cut.unwrap_or(self.body.len()).min(self.body.len());
        for piece in self.body[..end].chunks(4096) {
            thread::sleep(self.pause);
            if self.chunked {
                write!(stream, "{:x}\r\n", piece.len())?;
                stream.write_all(piece)?;
                stream.write_all(b"\r\n")?;
            } else {
                stream.write_all(piece)?;
            }
        }
        if self.chunked && self.cut.is_none() {
            stream.write_all(b"0\r\n\r\n")?;
        }
        stream.flush()
    }
}

type Answer = dyn Fn(&Request) -> Reply + Send + Sync;

/// Listens until it is dropped.
pub(super) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Answers every request by `answer`.
    pub(super) fn new(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (requests, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let answer: Arc<Answer> = Arc::new(answer);
        let (seen, stopped) = (requests.clone(), stop.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let (seen, answer) = (seen.clone(), answer.clone());
                // a client may hang up
                thread::spawn(move || serve(stream, &seen, &*answer).ok());
            }
        });
        Self { address, requests, stop }
    }

    /// Serves `bytes` under every path.
    pub(super) fn of_file(bytes: &[u8]) -> Self {
        let bytes = bytes.to_vec();
        Self::new(move |request| Reply::file(request, &bytes))
    }

    /// Its address and `path`.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Every request so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        locked(&self.requests).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        TcpStream::connect(self.address).ok();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Request>>, answer: &Answer) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_string);
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_string());
        }
        let request = {
            let mut seen = locked(seen);
            let number = seen.iter().filter(|before| before.path == path).count();
            let request = Request { method, path, headers, number };
            seen.push(request.clone());
            request
        };
        if request.method == "CONNECT" {
            // the client uses this server as a proxy: its next request is for another server, and is answered here
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            continue;
        }
        answer(&request).send(&mut stream)?;
        return stream.shutdown(Shutdown::Both);
    }
}
