//! Repeats a request as long as that may help, and distinguishes a single request that fails from a server that is
//! down.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;
use ureq::Proxy;

use crate::body::{BEGINNING, Body, Timed};
use crate::http::{
    self, Connections, Failure, HeaderMap, MOST_HOPS, Method, Patience, Request, StatusCode, Uri, header,
};

/// How long requests to a host fail at once: `DEAD` where it has never answered and others do, `DOWN` where it is down.
const DEAD: Duration = Duration::from_secs(60);
const DOWN: Duration = Duration::from_secs(5);
/// Most hosts whose state is kept.
const MOST_HOSTS: usize = 4096;
/// Most bytes that are read of an answer with an error status.
const COMPLAINT: u64 = 1 << 16;
/// The length that the deadline of a body without `Content-Length` assumes.
const UNKNOWN: u64 = 8 << 20;
/// How often a pause looks at [`Rules::stop`].
const NOTICE: Duration = Duration::from_millis(50);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// This request fails, though other hosts, or other requests to this host, are answered.
    #[error("{reason}")]
    Unreachable { reason: String },
    /// The host is down, or the network.
    #[error("{host} cannot be reached: {reason}")]
    Down { host: String, reason: String },
    /// Another attempt will not help: the address is invalid, a certificate is not trusted, or redirects go in a
    /// circle.
    #[error("{reason}")]
    Refused { reason: String },
    /// [`Rules::stop`] was set.
    #[error("the work was stopped")]
    Stopped,
}

/// How a request is answered.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Whether redirects are followed.
    pub follow: bool,
    /// A longer body is not read; of a body without a length, one byte more than this is read.
    pub most: u64,
    /// Ends every pause once it is set.
    pub stop: Arc<AtomicBool>,
}

/// An answer that came, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Bytes of the body: `Content-Length`, or as many as were read; none after HEAD without `Content-Length`.
    pub length: Option<u64>,
    pub body: Body,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        http::text(&self.headers, name)
    }
}

/// Sends requests. Clones share the connections and the states of hosts.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connections: Connections,
    patience: Patience,
    hosts: Mutex<BTreeMap<String, Host>>,
    /// Some host has answered.
    answered: AtomicBool,
}

/// The state of a host.
#[derive(Debug, Default)]
struct Host {
    /// A request that it has answered.
    good: Option<Arc<Request<Vec<u8>>>>,
    /// Until when requests to it fail at once, and with which problem.
    dead: Option<(Instant, Problem)>,
    /// The time before which it is not asked again, from `Retry-After`.
    until: Option<Instant>,
}

impl Client {
    /// A client with the proxies in the environment variables.
    pub fn new(patience: Patience) -> Self {
        let connections = Connections::new(Proxy::try_from_env(), patience);
        let (hosts, answered) = Default::default();
        Self(Arc::new(Inner { connections, patience, hosts, answered }))
    }

    /// The most repetitions of a request.
    pub(crate) fn repetitions(&self) -> u32 {
        self.0.patience.repetitions
    }

    /// Whether any host has answered so far.
    pub fn has_answered(&self) -> bool {
        self.0.answered.load(Ordering::Relaxed)
    }

    /// The answer to a request, whatever its status, unless that asks to try again later: then the request is repeated.
    pub fn ask(&self, request: &Arc<Request<Vec<u8>>>, rules: &Rules) -> Result<Answer, Problem> {
        let host = origin(request.uri());
        if let Some(problem) = self.known(&host) {
            return Err(problem);
        }
        let (mut alive, mut repetition) = (Instant::now(), 0);
        loop {
            self.wait_for(&host, rules)?;
            let (failure, has_head) = match self.attempt(request, rules) {
                Ok(Ok(answer)) => {
                    self.note_answer(host, request);
                    return Ok(answer);
                }
                Ok(Err(failure)) => (failure, true),
                Err(failure) => (failure, false),
            };
            let (reason, wait) = match failure {
                Failure::Lasting { reason, hint } => {
                    let reason = hint.map_or(reason.clone(), |hint| format!("{reason}. {hint}"));
                    return Err(Problem::Refused { reason });
                }
                Failure::Unreachable { reason } => (reason, None),
                Failure::Passing { reason, wait } => (reason, wait),
            };
            repetition += 1;
            if repetition > self.0.patience.repetitions || alive.elapsed() > self.0.patience.silence {
                // the server answered, and only the body broke: it is not down
                return Err(if has_head { Problem::Unreachable { reason } } else { self.give_up(host, reason, rules) });
            }
            let pause = self.0.patience.pause(repetition, wait);
            if wait.is_some() {
                // all requests to this host wait, and the time of silence is counted anew
                alive = Instant::now() + pause;
                self.hosts().entry(host.clone()).or_default().until = Some(alive);
            } else {
                pause_for(pause.mul_f64(0.5 + 0.5 * share()), &rules.stop)?;
            }
        }
    }

    /// The problem of a host that is not to be asked at this time.
    fn known(&self, host: &str) -> Option<Problem> {
        let hosts = self.hosts();
        let host = hosts.get(host)?;
        let (until, problem) = host.dead.as_ref()?;
        // the network may have been down, and is up since another host has answered
        let is_old = matches!(problem, Problem::Down { .. }) && host.good.is_none() && self.has_answered();
        (Instant::now() < *until && !is_old).then(|| problem.clone())
    }

    /// Waits until the time that the host named in `Retry-After`.
    fn wait_for(&self, host: &str, rules: &Rules) -> Result<(), Problem> {
        let until = self.hosts().get(host).and_then(|host| host.until);
        until.map_or(Ok(()), |until| pause_for(until.saturating_duration_since(Instant::now()), &rules.stop))
    }

    fn note_answer(&self, host: String, request: &Arc<Request<Vec<u8>>>) {
        let mut hosts = self.hosts();
        if hosts.len() >= MOST_HOSTS && !hosts.contains_key(&host) {
            hosts.clear();
        }
        let host = hosts.entry(host).or_default();
        host.dead = None;
        host.good.get_or_insert_with(|| request.clone());
    }

    /// Finds out whether only this request fails: a request that the host has answered before is sent again.
    fn give_up(&self, host: String, reason: String, rules: &Rules) -> Problem {
        let good = self.hosts().get(&host).and_then(|host| host.good.clone());
        let is_down = match &good {
            Some(good) => self.attempt(good, rules).is_err(),
            None => !self.has_answered(),
        };
        let (problem, time) = match is_down {
            true => (Problem::Down { host: host.clone(), reason }, DOWN),
            false => (Problem::Unreachable { reason }, DEAD),
        };
        if is_down || good.is_none() {
            self.hosts().entry(host).or_default().dead = Some((Instant::now() + time, problem.clone()));
        }
        problem
    }

    /// Sends a request once and follows its redirects. The inner failure is that of a body that broke.
    fn attempt(&self, request: &Arc<Request<Vec<u8>>>, rules: &Rules) -> Result<Result<Answer, Failure>, Failure> {
        let mut hop = request.clone();
        for _ in 0..=MOST_HOPS {
            let (head, body) = self.0.connections.send(&hop)?.into_parts();
            let next = http::redirect(hop.uri(), head.status, &head.headers)?.filter(|_| rules.follow);
            if let Some(next) = next {
                let mut moved = Request::clone(&hop);
                *moved.uri_mut() = next;
                hop = Arc::new(moved);
                continue;
            }
            if let Some(later) = Failure::of_status(head.status, &head.headers) {
                return Err(later);
            }
            self.0.answered.store(true, Ordering::Relaxed);
            return Ok(self.receive(request, head.status, head.headers, body, rules));
        }
        Err(Failure::lasting(format!("the server redirects more than {MOST_HOPS} times")))
    }

    /// The answer with the beginning of its body, or with all of it where the server does not tell its length.
    fn receive(
        &self,
        request: &Arc<Request<Vec<u8>>>,
        status: StatusCode,
        headers: HeaderMap,
        body: ureq::Body,
        rules: &Rules,
    ) -> Result<Answer, Failure> {
        if let Some(encoding) = http::text(&headers, header::CONTENT_ENCODING).filter(|&name| name != "identity") {
            let reason = format!("the server sends it compressed ({encoding}), which was not asked for");
            return Err(Failure::lasting(reason));
        }
        let length = http::text(&headers, header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
        let length = length.filter(|_| !headers.contains_key(header::TRANSFER_ENCODING));
        if request.method() == Method::HEAD {
            return Ok(Answer { status, headers, length, body: Body::held(Vec::new()) });
        }
        let patience = self.0.patience.silence;
        let mut rest = Timed::new(body.into_reader(), length.unwrap_or(UNKNOWN), patience);
        let mut start = Vec::new();
        let mut read = |start: &mut Vec<u8>, most: u64| {
            let result = rest.by_ref().take(most).read_to_end(start);
            result.map_err(|error| {
                Failure::passing(format!("the connection broke after {} bytes ({error})", start.len()))
            })
        };
        if !status.is_success() {
            // the message in the body is of use, but may be incomplete
            read(&mut start, COMPLAINT).ok();
            return Ok(Answer { status, headers, length: Some(start.len() as u64), body: Body::held(start) });
        }
        match length {
            // the caller will not read it
            Some(length) if length > rules.most => {
                Ok(Answer { status, headers, length: Some(length), body: Body::held(Vec::new()) })
            }
            Some(length) => {
                read(&mut start, length.min(BEGINNING))?;
                if (start.len() as u64) < length.min(BEGINNING) {
                    let text = format!("the connection ended after {} of {length} bytes", start.len());
                    return Err(Failure::passing(text));
                }
                let body = if length <= BEGINNING {
                    Body::held(start)
                } else {
                    Body::new(self, request, rules, (start, rest), (&headers, length))
                };
                Ok(Answer { status, headers, length: Some(length), body })
            }
            None => {
                read(&mut start, BEGINNING)?;
                if start.len() as u64 == BEGINNING {
                    // one at a time, since such a body may take up to `rules.most` bytes of memory
                    static LONG: Mutex<()> = Mutex::new(());
                    let _alone = LONG.lock().unwrap_or_else(PoisonError::into_inner);
                    read(&mut start, (rules.most + 1).saturating_sub(BEGINNING))?;
                }
                Ok(Answer { status, headers, length: Some(start.len() as u64), body: Body::held(start) })
            }
        }
    }

    fn hosts(&self) -> MutexGuard<'_, BTreeMap<String, Host>> {
        self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Scheme, host and port.
fn origin(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    // without user and password, since the host is shown in errors
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{}://{}", uri.scheme_str().unwrap_or_default(), host.to_ascii_lowercase())
}

/// A random number in 0..1: requests that failed together are then not repeated together.
fn share() -> f64 {
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}

/// Sleeps until `stop` is set, `pause` at most.
fn pause_for(pause: Duration, stop: &AtomicBool) -> Result<(), Problem> {
    let end = Instant::now() + pause;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(Problem::Stopped);
        }
        match end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            Some(left) => std::thread::sleep(left.min(NOTICE)),
            None => return Ok(()),
        }
    }
}
