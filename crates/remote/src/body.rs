//! The body of an answer: its beginning is in memory, the rest is read from the connection. Where the connection
//! breaks, the request is sent again, and the reader goes on at the same byte.

use std::fmt;
use std::io::{self, Cursor, ErrorKind, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::{Client, Problem, Rules};
use crate::http::{self, HeaderMap, Request, header};

/// Bytes of a body that are read before the answer is returned; most bodies are shorter.
pub(crate) const BEGINNING: u64 = 1 << 20;
/// Bytes a second below which a body is given up.
const SLOWEST: u64 = 16 << 10;

/// The body of an answer.
pub struct Body {
    start: Cursor<Vec<u8>>,
    rest: Option<Box<Rest>>,
}

/// The bytes after the beginning, and the request that gives them again.
struct Rest {
    reader: Timed,
    /// Bytes of the body that were returned to the caller, the beginning included.
    at: u64,
    length: u64,
    version: Version,
    client: Client,
    request: Arc<Request<Vec<u8>>>,
    rules: Rules,
    /// Answers whose connection broke.
    broken: u32,
}

/// `ETag` and `Last-Modified`: they change when the file changes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version([Option<String>; 2]);

impl Version {
    fn of(headers: &HeaderMap) -> Self {
        Self([header::ETAG, header::LAST_MODIFIED].map(|name| http::text(headers, name).map(str::to_string)))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let rest = self.rest.as_ref().map(|rest| rest.length);
        f.debug_struct("Body").field("start", &self.start.get_ref().len()).field("length", &rest).finish()
    }
}

impl Body {
    /// A body that is in memory as a whole.
    pub(crate) fn held(bytes: Vec<u8>) -> Self {
        Self { start: Cursor::new(bytes), rest: None }
    }

    /// The beginning and a reader of the rest.
    pub(crate) fn new(
        client: &Client,
        request: &Arc<Request<Vec<u8>>>,
        rules: &Rules,
        (start, reader): (Vec<u8>, Timed),
        (headers, length): (&HeaderMap, u64),
    ) -> Self {
        let (client, request, rules) = (client.clone(), request.clone(), rules.clone());
        let (at, version) = (start.len() as u64, Version::of(headers));
        let rest = Rest { reader, at, length, version, client, request, rules, broken: 0 };
        Self { start: Cursor::new(start), rest: Some(Box::new(rest)) }
    }

    /// The bytes, where the whole body is in memory.
    pub fn into_held(self) -> Result<Vec<u8>, Self> {
        if self.rest.is_none() { Ok(self.start.into_inner()) } else { Err(self) }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.start.read(buffer)?;
        match &mut self.rest {
            Some(rest) if n == 0 && !buffer.is_empty() => rest.read(buffer),
            _ => Ok(n),
        }
    }
}

impl Rest {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = usize::try_from(self.length - self.at).unwrap_or(usize::MAX).min(buffer.len());
            if left == 0 {
                return Ok(0);
            }
            let reason = match self.reader.read(&mut buffer[..left]) {
                Ok(0) => "the connection ended".to_string(),
                Ok(n) => {
                    self.at += n as u64;
                    return Ok(n);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => format!("the connection broke ({error})"),
            };
            self.broken += 1;
            if self.broken > self.client.repetitions() {
                let reason = format!("{reason} after {} of {} bytes", self.at, self.length);
                return Err(io::Error::other(Problem::Unreachable { reason }));
            }
            self.begin_again()?;
        }
    }

    /// Sends the request again, and skips the bytes that the caller has.
    fn begin_again(&mut self) -> io::Result<()> {
        let answer = self.client.ask(&self.request, &self.rules).map_err(io::Error::other)?;
        let is_same = answer.status.is_success()
            && (answer.length, Version::of(&answer.headers)) == (Some(self.length), self.version.clone());
        let (Body { start, rest: Some(rest) }, true) = (answer.body, is_same) else {
            return Err(io::Error::other(Problem::Unreachable { reason: CHANGED.into() }));
        };
        self.reader = rest.reader;
        // the caller has at least [`BEGINNING`] bytes, and `start` holds no more
        let passed = start.into_inner().len() as u64;
        let skipped = io::copy(&mut self.reader.by_ref().take(self.at - passed), &mut io::sink());
        // the connection broke again: the next read fails, and the request is repeated
        if skipped.unwrap_or(0) < self.at - passed {
            self.reader.end = Instant::now();
        }
        Ok(())
    }
}

const CHANGED: &str = "it changed while it was read; run again";

/// A reader with a deadline, for servers that send a byte now and then.
pub(crate) struct Timed {
    reader: Box<dyn Read + Send>,
    end: Instant,
}

impl Timed {
    /// A reader of `length` bytes, which gives up after `patience` and a second for each 16 KiB.
    pub(crate) fn new(reader: impl Read + Send + 'static, length: u64, patience: Duration) -> Self {
        let time = patience + Duration::from_secs(length / SLOWEST);
        Self { reader: Box::new(reader), end: Instant::now() + time }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if Instant::now() >= self.end {
            return Err(io::Error::new(ErrorKind::TimedOut, "it takes too long"));
        }
        self.reader.read(buffer)
    }
}
