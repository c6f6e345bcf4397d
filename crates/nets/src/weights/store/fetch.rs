//! A download that can be resumed: it is written to a `.part` file, from which it continues after a broken connection
//! or a killed process, then hashed, synced and renamed.
//!
//! Threads wait for the server, so that a stop by the user is noticed while it is silent; such a thread is then
//! detached and ends with its connection.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use featurize_remote::http::{Failure as Remote, Patience, header};
use serde::{Deserialize, Serialize};

use super::digest::{Digests, Expected, Mismatch, Record, read_record};
use super::http::{Answer, Client, Failure, Rest, lasting};
use super::wanted::{Item, PART, PART_RECORD};
use super::{Interrupted, Progress, StoreError, Watch, beside};
use crate::files::atomic;

/// How often a wait calls the watch, which may stop the work.
const LOOK: Duration = Duration::from_millis(100);

/// The record of a `.part` file: the download to which its bytes belong.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Part {
    url: String,
    /// A strong etag, or the time of the last change.
    validator: Option<String>,
    /// The SHA-256 in the hub's headers.
    promised: Option<String>,
    /// The commit of the revision on the hub.
    commit: Option<String>,
}

/// A download under way.
pub(super) struct Download<'a> {
    item: &'a Item,
    url: &'a str,
    path: &'a Path,
    client: &'a Client,
    patience: Patience,
    watch: &'a mut Watch<'a>,
    /// Whether the server has answered at least once.
    answered: bool,
    /// The time of the server's last answer or byte.
    alive: Instant,
    /// Whether the `.part` file has bytes of more than one answer.
    patched: bool,
}

impl<'a> Download<'a> {
    /// A download of `item` from `url` to `path`, which the caller has locked.
    pub(super) fn new(
        (item, url, path): (&'a Item, &'a str, &'a Path),
        client: &'a Client,
        patience: Patience,
        watch: &'a mut Watch<'a>,
    ) -> Self {
        Self { item, url, path, client, patience, watch, answered: false, alive: Instant::now(), patched: false }
    }

    /// Downloads and checks the file, moves it to its place and returns its record. `hint` is advice for errors.
    pub(super) fn run(mut self, hint: &str) -> Result<Record, StoreError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let part = self.part();
        let mut anew = false;
        let digests = loop {
            let sound = self.transfer(hint).and_then(|promised| self.check(promised));
            match sound? {
                Ok(digests) => break digests,
                Err(mismatch) => {
                    self.discard()?;
                    if anew || !self.patched {
                        return Err(self.mismatch(mismatch, hint));
                    }
                    // the parts may belong to two versions of the file
                    anew = true;
                    self.note(&format!("what was resumed of {} is damaged; it is fetched anew", self.url))?;
                }
            }
        };
        let commit = read_record::<Part>(&beside(self.path, PART_RECORD)).and_then(|part| part.commit);
        std::fs::rename(&part, self.path).map_err(StoreError::write(self.path))?;
        std::fs::remove_file(beside(self.path, PART_RECORD)).ok();
        atomic::sync_folder(folder);
        let metadata = self.path.metadata().map_err(StoreError::read(self.path))?;
        Ok(Record { commit, ..Record::new(self.url, digests, &metadata) })
    }

    fn part(&self) -> PathBuf {
        beside(self.path, PART)
    }

    /// Fills the `.part` file, with repetitions as long as they may help; returns the hash in the hub's headers.
    fn transfer(&mut self, hint: &str) -> Result<Option<String>, StoreError> {
        let mut furthest = self.here();
        let mut repetitions = 0;
        loop {
            let (reason, wait) = match self.attempt() {
                Ok(promised) => return Ok(promised),
                Err(Failure::Own(error)) => return Err(error),
                Err(Failure::Remote(Remote::Passing { reason, wait })) => (reason, wait),
                Err(Failure::Remote(Remote::Unreachable { reason })) if self.answered => (reason, None),
                Err(Failure::Remote(Remote::Unreachable { reason })) => return Err(self.error(reason, None, hint)),
                Err(Failure::Remote(Remote::Lasting { reason, hint: more })) => {
                    return Err(self.error(reason, more, hint));
                }
            };
            // only progress resets the count: a server may send the file from its beginning each time
            if self.here() > furthest {
                (furthest, repetitions) = (self.here(), 0);
            }
            repetitions += 1;
            let silent = self.alive.elapsed();
            let most = self.patience.repetitions;
            if repetitions > most || silent > self.patience.silence {
                let after = match repetitions > most {
                    true => format!("{most} repetitions"),
                    false => format!("{} s without a sign of life", silent.as_secs()),
                };
                return Err(self.error(format!("{reason}; given up after {after}"), None, hint));
            }
            let pause = self.patience.pause(repetitions, wait);
            self.note(&format!("{}: {reason}; trying again in {:.1} s", self.url, pause.as_secs_f64()))?;
            pause_for(pause, self.watch)?;
        }
    }

    /// One request and its answer.
    fn attempt(&mut self) -> Result<Option<String>, Failure> {
        let mut part = self.resumable();
        let here = if part.is_some() { self.here() } else { 0 };
        let rest = part.as_ref().map(|part| Rest { from: here, validator: part.validator.clone() });
        let resumed = rest.is_some();
        let (client, item, url) = (self.client.clone(), self.item.clone(), self.url.to_string());
        let answer = self.answer(move || client.get(&item, &url, rest.as_ref()))?;
        self.answered |= matches!(answer, Ok(_) | Err(Failure::Remote(Remote::Passing { .. })));
        if answer.is_ok() {
            self.alive = Instant::now();
        }
        let answer = answer?;
        if let (Some(old), Some(new)) = (part.as_ref().and_then(|part| part.promised.as_ref()), &answer.promised)
            && old != new
        {
            self.discard().map_err(Failure::Own)?;
            return Err(passing("the file at the source has changed".into()));
        }
        let from = match answer.status.as_u16() {
            200 => 0,
            206 if resumed && range(&answer).is_some_and(|(from, _)| from == here) => here,
            // the `.part` file is as long as the file: it is complete, or of another version
            416 if resumed && range(&answer).is_some_and(|(_, total)| total == Some(here)) => {
                self.patched = true;
                return Ok(part.and_then(|part| part.promised));
            }
            206 | 416 if resumed => {
                self.discard().map_err(Failure::Own)?;
                return Err(passing("the server cannot go on where the download ended".into()));
            }
            _ => return Err(refusal(&answer)),
        };
        if from == 0 {
            part = Some(self.begin(&answer).map_err(Failure::Own)?);
        }
        self.patched = from > 0;
        self.receive(answer, from)?;
        Ok(part.and_then(|part| part.promised))
    }

    /// Waits for the result of `ask`.
    fn answer<T: Send + 'static>(&mut self, ask: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        let (sender, receiver) = sync_channel(1);
        // the receiver is gone if the user stopped
        std::thread::spawn(move || sender.send(ask()).ok());
        match self.wait_for(&receiver)? {
            Some(answer) => Ok(answer),
            None => Err(lasting("the thread that asked the server died; this is a fault of featurize".into())),
        }
    }

    /// The next value from a thread, or none when it has ended; the watch may stop the wait.
    fn wait_for<T>(&mut self, receiver: &Receiver<T>) -> Result<Option<T>, Failure> {
        loop {
            match receiver.recv_timeout(LOOK) {
                Ok(came) => return Ok(Some(came)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => go_on((self.watch)(Progress::Waiting)).map_err(Failure::Own)?,
            }
        }
    }

    /// The record of the `.part` file, if the download can be resumed: the server can check the version, or a hash can.
    fn resumable(&self) -> Option<Part> {
        if self.here() == 0 {
            return None;
        }
        let part = read_record::<Part>(&beside(self.path, PART_RECORD)).filter(|part| part.url == self.url);
        let part = part.unwrap_or_default();
        let told = part.validator.is_some() || part.promised.is_some() || !self.item.expected.is_empty();
        told.then_some(part)
    }

    /// Creates an empty `.part` file for this answer, and its record.
    fn begin(&self, answer: &Answer) -> Result<Part, StoreError> {
        let etag = answer.header(header::ETAG).filter(|etag| etag.starts_with('"'));
        let validator = etag.or_else(|| answer.header(header::LAST_MODIFIED)).map(str::to_string);
        let (promised, commit) = (answer.promised.clone(), answer.commit.clone());
        let part = Part { url: self.url.to_string(), validator, promised, commit };
        let (path, record) = (self.part(), beside(self.path, PART_RECORD));
        // the old bytes are removed first, since a new record must not belong to them
        File::create(&path).map_err(StoreError::write(&path))?;
        atomic::write_json(&record, &part)?;
        Ok(part)
    }

    /// Appends the body to the `from` bytes of the `.part` file.
    fn receive(&mut self, answer: Answer, from: u64) -> Result<(), Failure> {
        let total = self.total(&answer, from)?;
        let path = self.part();
        let file = OpenOptions::new().append(true).open(&path);
        let mut file = file.map_err(|error| Failure::Own(StoreError::write(&path)(error)))?;
        let pieces = pieces(answer.body.into_reader());
        let mut done = from;
        let mut shown = Instant::now();
        self.show(done, total).map_err(Failure::Own)?;
        while let Some(piece) = self.wait_for(&pieces)? {
            let piece = piece.map_err(|error| {
                let of = total.map_or(String::new(), |total| format!(" of {total}"));
                passing(format!("the connection broke after {done}{of} bytes ({error})"))
            })?;
            file.write_all(&piece).map_err(|error| Failure::Own(StoreError::write(&path)(error)))?;
            done += piece.len() as u64;
            self.alive = Instant::now();
            if shown.elapsed() >= LOOK {
                shown = Instant::now();
                self.show(done, total).map_err(Failure::Own)?;
            }
        }
        if let Some(total) = total.filter(|&total| total != done) {
            return Err(passing(format!("the connection broke after {done} of {total} bytes")));
        }
        file.sync_all().map_err(|error| Failure::Own(StoreError::write(&path)(error)))?;
        self.show(done, total).map_err(Failure::Own)
    }

    /// The file's length, if it is known; an error if the answer is not the file.
    fn total(&self, answer: &Answer, from: u64) -> Result<Option<u64>, Failure> {
        let kind = answer.header(header::CONTENT_TYPE).unwrap_or_default();
        if kind.starts_with("text/html") {
            return Err(lasting("the server sends a web page instead of a file".into()));
        }
        if let Some(encoding) = answer.header(header::CONTENT_ENCODING).filter(|&encoding| encoding != "identity") {
            return Err(lasting(format!("the server sends the file compressed ({encoding}), which was not asked for")));
        }
        let chunked = answer.header(header::TRANSFER_ENCODING).is_some();
        let length = answer.header(header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
        let total = match range(answer) {
            Some((_, total)) if from > 0 => total,
            _ => length.filter(|_| !chunked),
        };
        let hashed = !self.item.expected.is_empty() || answer.promised.is_some();
        if total.is_none() && !chunked && !hashed {
            let reason =
                "the server does not say how long the file is, and its hash is not known: it might be half of it";
            return Err(lasting(reason.into()));
        }
        Ok(total)
    }

    /// Hashes the `.part` file and compares it with the expected hashes.
    fn check(&self, promised: Option<String>) -> Result<Result<Digests, Mismatch>, StoreError> {
        let path = self.part();
        let digests = self.item.expected.digest(&path, &mut || Ok(())).map_err(StoreError::read(&path))?;
        let promised = Expected { sha256: promised, md5: None };
        let compared = self.item.expected.compare(&digests).and_then(|()| promised.compare(&digests));
        Ok(compared.map(|()| digests))
    }

    /// Deletes the `.part` file and its record.
    fn discard(&self) -> Result<(), StoreError> {
        let path = self.part();
        std::fs::remove_file(beside(self.path, PART_RECORD)).ok();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::write(&path)(error)),
            _ => Ok(()),
        }
    }

    /// Bytes in the `.part` file.
    fn here(&self) -> u64 {
        self.part().metadata().map_or(0, |metadata| metadata.len())
    }

    fn show(&mut self, done: u64, total: Option<u64>) -> Result<(), StoreError> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        go_on((self.watch)(Progress::Bytes { name: &name, done, total }))
    }

    fn note(&mut self, text: &str) -> Result<(), StoreError> {
        go_on((self.watch)(Progress::Note(text)))
    }

    fn error(&self, reason: String, more: Option<&str>, hint: &str) -> StoreError {
        let hint = more.map_or(hint.to_string(), |more| format!("{more}\n{hint}"));
        StoreError::Download { url: self.url.to_string(), path: self.path.to_path_buf(), reason, hint }
    }

    fn mismatch(&self, mismatch: Mismatch, hint: &str) -> StoreError {
        let hint = format!("what came was thrown away, nothing is at {}\n{hint}", self.path.display());
        StoreError::Hash { place: self.url.to_string(), mismatch: mismatch.into(), hint }
    }
}

/// The pieces of a body, read by a thread that ends when the receiver is dropped.
fn pieces(mut body: impl Read + Send + 'static) -> Receiver<std::io::Result<Vec<u8>>> {
    const PIECE: usize = 1 << 18;
    let (sender, receiver) = sync_channel(4);
    std::thread::spawn(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = body.read(&mut piece).map(|n| {
                piece.truncate(n);
                piece
            });
            let (end, broken) = (read.as_ref().is_ok_and(Vec::is_empty), read.is_err());
            if end || sender.send(read).is_err() || broken {
                break;
            }
        }
    });
    receiver
}

/// The first byte and the total length in `Content-Range: bytes 10-99/100`; for `bytes */100` the first byte is 0.
fn range(answer: &Answer) -> Option<(u64, Option<u64>)> {
    let text = answer.header(header::CONTENT_RANGE)?.strip_prefix("bytes ")?;
    let (range, total) = text.split_once('/')?;
    let from = if range == "*" { 0 } else { range.split_once('-')?.0.parse().ok()? };
    Some((from, total.parse().ok()))
}

/// The failure for a status other than success.
fn refusal(answer: &Answer) -> Failure {
    let status = answer.status;
    if let Some(later) = Remote::of_status(status, &answer.headers) {
        return later.into();
    }
    let reason = format!("the server answers {status}");
    match status.as_u16() {
        401 | 403 => {
            let hint = "If the file is for members only, HF_TOKEN must hold a token that may read it; the Hugging Face \
                        hub answers so where there is no such repository, too.";
            Remote::Lasting { reason, hint: Some(hint) }.into()
        }
        _ => lasting(reason),
    }
}

fn passing(reason: String) -> Failure {
    Remote::passing(reason).into()
}

/// An error if the watch stops the work.
pub(super) fn go_on(flow: ControlFlow<()>) -> Result<(), StoreError> {
    if flow.is_break() { Err(Interrupted.into()) } else { Ok(()) }
}

/// Sleeps, unless the watch stops the work.
pub(super) fn pause_for(pause: Duration, watch: &mut Watch<'_>) -> Result<(), StoreError> {
    let end = Instant::now() + pause;
    loop {
        go_on(watch(Progress::Waiting))?;
        match end.checked_duration_since(Instant::now()) {
            Some(left) => std::thread::sleep(left.min(LOOK)),
            None => return Ok(()),
        }
    }
}
