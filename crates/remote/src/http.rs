//! One request and its answer. Redirects are returned, since the caller decides to which servers they may lead.

use std::io::ErrorKind;
use std::time::Duration;

pub use ureq::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy, Timeout};

use crate::time;

/// Most redirects in a row.
pub const MOST_HOPS: usize = 10;
/// Most idle connections that are kept open.
const MOST_IDLE: usize = 1024;

/// How long a server may take for each step.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From the request to the head of the answer.
    pub answer: Duration,
    /// From one piece of the body to the next.
    pub read: Duration,
    /// To answer at all, repetitions included; also the time of a body beyond that for its length.
    pub silence: Duration,
    /// The pause before the first repetition; it doubles with each one more.
    pub pause: Duration,
    /// Most repetitions of a request.
    pub repetitions: u32,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        let pause = Duration::from_millis(500);
        Self {
            connect: seconds(10),
            answer: seconds(30),
            read: seconds(30),
            silence: seconds(60),
            pause,
            repetitions: 4,
        }
    }
}

/// The metadata service, which gives machines in a cloud their credentials.
pub(crate) const METADATA: &str = "169.254.169.254";

/// Longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Patience {
    /// The pause before a repetition, counted from 1; `wished` is the pause that the server asks for.
    pub fn pause(&self, repetition: u32, wished: Option<Duration>) -> Duration {
        let own = self.pause * 2_u32.saturating_pow(repetition.saturating_sub(1));
        wished.unwrap_or(own).min(LONGEST_PAUSE)
    }
}

/// Why there is no answer, or none that is of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// To try again may help.
    Passing { reason: String, wait: Option<Duration> },
    /// There is no connection: the network is down, or the name of the host is wrong.
    Unreachable { reason: String },
    /// To try again will not help.
    Lasting { reason: String, hint: Option<&'static str> },
}

impl Failure {
    /// To try again may help.
    pub fn passing(reason: impl Into<String>) -> Self {
        Self::Passing { reason: reason.into(), wait: None }
    }

    /// To try again will not help.
    pub fn lasting(reason: impl Into<String>) -> Self {
        Self::Lasting { reason: reason.into(), hint: None }
    }

    /// The failure for a status that asks the client to try again later.
    pub fn of_status(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let later = matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502..);
        let wait = || time::wait(text(headers, header::RETRY_AFTER)?);
        later.then(|| Self::Passing { reason: format!("the server answers {status}"), wait: wait() })
    }
}

/// Time of the last change, nanoseconds since 1970.
pub fn modified(headers: &HeaderMap) -> Option<u64> {
    time::date(text(headers, header::LAST_MODIFIED)?)?.checked_mul(1_000_000_000)
}

/// The value of a header that is text.
pub fn text(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Keeps connections open. A clone shares them.
#[derive(Clone, Debug)]
pub struct Connections {
    /// Trusts the certificates of the platform.
    agent: Agent,
    /// Trusts Mozilla's certificates, for machines without a list of their own.
    bare: Agent,
}

impl Connections {
    /// Connections by way of a `proxy`.
    pub fn new(proxy: Option<Proxy>, patience: Patience) -> Self {
        let agent = |roots| agent(proxy.clone(), patience, roots);
        Self { agent: agent(RootCerts::PlatformVerifier), bare: agent(RootCerts::WebPki) }
    }

    /// Sends a request and gives the answer, whatever its status.
    pub fn send(&self, request: &Request<Vec<u8>>) -> Result<Response<Body>, Failure> {
        match send(&self.agent, request) {
            Err(ureq::Error::Rustls(error)) if error.to_string().contains(NO_CERTIFICATES) => send(&self.bare, request),
            result => result,
        }
        .map_err(|error| failure(&error))
    }
}

fn send(agent: &Agent, request: &Request<Vec<u8>>) -> Result<Response<Body>, ureq::Error> {
    // on a proxy these addresses name another machine
    let is_local = is_loopback(request.uri()) || request.uri().host() == Some(METADATA);
    let (parts, body) = request.clone().into_parts();
    match body.is_empty() {
        true => agent.run(configured(agent, Request::from_parts(parts, ()), is_local)),
        false => agent.run(configured(agent, Request::from_parts(parts, body), is_local)),
    }
}

/// Sends a request to this machine without a proxy.
fn configured<B: ureq::AsSendBody>(agent: &Agent, request: Request<B>, is_local: bool) -> Request<B> {
    if is_local { agent.configure_request(request).proxy(None).build() } else { request }
}

fn agent(proxy: Option<Proxy>, patience: Patience, roots: RootCerts) -> Agent {
    let config = Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .proxy(proxy)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("featurize/", env!("CARGO_PKG_VERSION")))
        // a compressed answer has neither the length nor the hash of the file
        .accept_encoding("identity")
        .max_idle_connections(MOST_IDLE)
        .max_idle_connections_per_host(MOST_IDLE)
        .timeout_resolve(Some(patience.connect))
        .timeout_connect(Some(patience.connect))
        .timeout_recv_response(Some(patience.answer))
        .timeout_per_read(Some(patience.read))
        .timeout_per_write(Some(patience.read))
        .build();
    config.new_agent()
}

/// Parses an address of http or https.
pub fn parse(url: &str) -> Result<Uri, Failure> {
    let uri: Uri = url.parse().map_err(|error| Failure::lasting(format!("{url} is no address: {error}")))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(uri),
        _ => Err(Failure::lasting(format!("{url} is no address of http or https"))),
    }
}

/// The address to which an answer from `uri` redirects, if it does.
pub fn redirect(uri: &Uri, status: StatusCode, headers: &HeaderMap) -> Result<Option<Uri>, Failure> {
    match text(headers, header::LOCATION) {
        Some(location) if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) => resolve(uri, location).map(Some),
        _ => Ok(None),
    }
}

/// The address of `location`, which may be relative to `uri`.
fn resolve(uri: &Uri, location: &str) -> Result<Uri, Failure> {
    let location = location.split('#').next().unwrap_or_default();
    let scheme = uri.scheme_str().unwrap_or("https");
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let absolute = location.split(['/', '?']).next().is_some_and(|scheme| scheme.ends_with(':'));
    if absolute {
        parse(location)
    } else if let Some(rest) = location.strip_prefix("//") {
        parse(&format!("{scheme}://{rest}"))
    } else if location.starts_with('/') {
        parse(&format!("{scheme}://{authority}{location}"))
    } else {
        let folder = uri.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        parse(&format!("{scheme}://{authority}{folder}/{location}"))
    }
}

/// True where two addresses have scheme, host and port in common.
pub fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    a.scheme() == b.scheme() && host(a) == host(b) && port(a) == port(b)
}

/// True for this machine itself.
pub fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn failure(error: &ureq::Error) -> Failure {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, TimedOut, UnexpectedEof};
    const BROKEN: [ErrorKind; 5] = [ConnectionReset, ConnectionAborted, BrokenPipe, UnexpectedEof, TimedOut];
    let reason = error.to_string();
    match error {
        // errors of TLS have this kind
        ureq::Error::Io(io) if io.kind() == InvalidData => Failure::Lasting { reason, hint: Some(TRUST) },
        ureq::Error::Io(io) if BROKEN.contains(&io.kind()) => Failure::passing(reason),
        // refused, no route, or an unknown name, for which there is no `ErrorKind`
        ureq::Error::Io(_) | ureq::Error::HostNotFound => Failure::Unreachable { reason },
        // a firewall that drops packets, or a proxy that does not answer
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => Failure::Unreachable { reason },
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => Failure::Lasting { reason, hint: Some(TRUST) },
        ureq::Error::Timeout(_) | ureq::Error::Protocol(_) | ureq::Error::ConnectionFailed => Failure::passing(reason),
        _ => Failure::lasting(reason),
    }
}

/// The message of the platform's verifier where there is no list of certificates, as in a bare container.
const NO_CERTIFICATES: &str = "No CA certificates";
const TRUST: &str = "Where a proxy signs for other servers, SSL_CERT_FILE names a file with the certificates to trust.";

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().expect("an address")
    }

    #[test]
    fn redirects_lead_where_they_say() {
        let cases = [
            ("https://cdn.example/x?y=1#part", "https://cdn.example/x?y=1"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("/api/x?y=/z", "https://hub.example:444/api/x?y=/z"),
            ("x.bin", "https://hub.example:444/a/b/x.bin"),
            ("/x?u=https://e.org/", "https://hub.example:444/x?u=https://e.org/"),
            ("x?u=https://e.org/", "https://hub.example:444/a/b/x?u=https://e.org/"),
        ];
        for (location, expected) in cases {
            let found = resolve(&uri("https://hub.example:444/a/b/c?d=/e"), location).expect(location);
            assert_eq!(found.to_string(), expected);
        }
        assert!(resolve(&uri("https://hub.example/"), "ftp://hub.example/x").is_err());
    }

    #[test]
    fn the_token_s_host_is_host_port_and_scheme() {
        let hub = uri("https://hub.example");
        assert!(same_origin(&hub, &uri("https://HUB.example:443/x")));
        for other in ["http://hub.example", "https://hub.example:444", "https://hub.example.evil.example"] {
            assert!(!same_origin(&hub, &uri(other)), "{other}");
        }
    }

    #[test]
    fn this_machine_has_many_names() {
        for address in ["http://localhost:1/x", "http://127.0.0.1/", "http://127.9.9.9/", "http://[::1]:80/"] {
            assert!(is_loopback(&uri(address)), "{address}");
        }
        for address in ["http://localhost.example/", "http://10.0.0.1/", "http://[::2]/", "http://127.0.0.1.example/"] {
            assert!(!is_loopback(&uri(address)), "{address}");
        }
    }

    #[test]
    fn broken_connections_are_repeated_and_unknown_names_are_not() {
        use std::io::{Error, ErrorKind};
        let failed = |error: Error| failure(&ureq::Error::Io(error));
        assert!(matches!(failed(ErrorKind::ConnectionReset.into()), Failure::Passing { .. }));
        assert!(matches!(failed(ErrorKind::ConnectionRefused.into()), Failure::Unreachable { .. }));
        assert!(matches!(failed(Error::other("failed to lookup address")), Failure::Unreachable { .. }));
        assert!(matches!(failed(ErrorKind::InvalidData.into()), Failure::Lasting { hint: Some(_), .. }));
    }
}
