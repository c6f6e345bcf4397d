//! One answer over HTTP: redirects followed by hand, so that the hub's token stays with the hub and nothing falls back
//! to plain http.

use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode, Uri, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy};

use super::StoreError;
use super::places::{Env, Token};
use super::wanted::{Item, as_sha256};

/// Redirects in a row.
const MOST_HOPS: usize = 10;

/// How long a server may take for each step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From the request to the head of the answer.
    pub answer: Duration,
    /// From one piece of the file to the next.
    pub read: Duration,
    /// From one sign of life to the next, repetitions included.
    pub silence: Duration,
    /// Before the first repetition; doubled for each one more.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        let pause = Duration::from_millis(500);
        Self { connect: seconds(10), answer: seconds(30), read: seconds(30), silence: seconds(60), pause }
    }
}

/// Why there is no file.
#[derive(Debug)]
pub(super) enum Failure {
    /// To try again may help.
    Passing { reason: String, wait: Option<Duration> },
    /// Nobody can be reached: the cable is out, or the name is wrong.
    Unreachable { reason: String },
    /// To try again will not help.
    Lasting { reason: String, hint: Option<&'static str> },
    /// A failure that is not the server's: a full disk, plain http, a wish to stop.
    Own(StoreError),
}

/// Which part of the file is asked for.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    /// Bytes that are here already.
    pub from: u64,
    /// The server's name for the version that they belong to.
    pub validator: Option<String>,
}

/// The head of a server's answer, and its body to be read.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
    /// SHA-256 that the hub promises.
    pub promised: Option<String>,
    /// Commit that the hub's revision stands for.
    pub commit: Option<String>,
}

impl Answer {
    /// A header's value.
    pub(super) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Asks servers; keeps connections open. A clone shares them.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// Trusts whom the platform trusts.
    agent: Agent,
    /// Trusts Mozilla's list, for machines that have none.
    bare: Agent,
    /// The endpoint of the hub, where the token may go.
    hub: Option<Uri>,
    token: Option<Token>,
}

impl Client {
    /// With the proxy, the endpoint and the token of `env`.
    pub(super) fn new(env: &Env, patience: Patience) -> Self {
        let agent = |roots| agent(env.proxy.clone(), patience, roots);
        Self {
            agent: agent(RootCerts::PlatformVerifier),
            bare: agent(RootCerts::WebPki),
            hub: env.endpoint.parse().ok(),
            token: env.token.clone(),
        }
    }

    /// The answer to GET `url` after all redirects, whatever its status.
    pub(super) fn get(&self, item: &Item, url: &str, rest: Option<&Rest>) -> Result<Answer, Failure> {
        let mut uri = parse(url)?;
        let local = is_loopback(&uri);
        let (mut promised, mut commit) = (None, None);
        for _ in 0..MOST_HOPS {
            let plain = item.expected.is_full() || local && is_loopback(&uri);
            if uri.scheme_str() != Some("https") && !plain {
                return Err(Failure::Own(StoreError::Insecure { url: uri.to_string() }));
            }
            let at_hub = item.hub.is_some() && self.hub.as_ref().is_some_and(|hub| same_origin(hub, &uri));
            let response = self.send(&uri, rest, at_hub)?;
            let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            if at_hub {
                // an etag of 64 digits is the file's SHA-256 on the hub itself; on the machines behind it, it may be
                // anything
                let etag = text("x-linked-etag").or_else(|| text("etag"));
                promised = promised.or_else(|| as_sha256(etag?.trim_matches('"')));
                commit = commit.or_else(|| text("x-repo-commit").map(str::to_string));
            }
            let status = response.status();
            match text("location") {
                Some(location) if [301, 302, 303, 307, 308].contains(&status.as_u16()) => {
                    uri = resolve(&uri, location)?;
                }
                _ => {
                    let (head, body) = response.into_parts();
                    return Ok(Answer { status, headers: head.headers, body, promised, commit });
                }
            }
        }
        Err(lasting(format!("the server redirects more than {MOST_HOPS} times")))
    }

    fn send(&self, uri: &Uri, rest: Option<&Rest>, at_hub: bool) -> Result<Response<Body>, Failure> {
        match self.send_by(&self.agent, uri, rest, at_hub) {
            Err(ureq::Error::Rustls(error)) if error.to_string().contains(NO_CERTIFICATES) => {
                self.send_by(&self.bare, uri, rest, at_hub)
            }
            result => result,
        }
        .map_err(|error| failure(&error))
    }

    fn send_by(
        &self,
        agent: &Agent,
        uri: &Uri,
        rest: Option<&Rest>,
        at_hub: bool,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request = agent.get(uri.clone());
        if let Some(rest) = rest {
            request = request.header(header::RANGE, format!("bytes={}-", rest.from));
            if let Some(validator) = &rest.validator {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        let encrypted = uri.scheme_str() == Some("https") || is_loopback(uri);
        if let Some(Token(token)) = self.token.as_ref().filter(|_| at_hub && encrypted) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.config();
        // no proxy knows this machine as itself
        let request = if is_loopback(uri) { request.proxy(None) } else { request };
        request.build().call()
    }
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
        .timeout_resolve(Some(patience.connect))
        .timeout_connect(Some(patience.connect))
        .timeout_recv_response(Some(patience.answer))
        .timeout_per_read(Some(patience.read))
        .timeout_per_write(Some(patience.read))
        .build();
    config.new_agent()
}

fn parse(url: &str) -> Result<Uri, Failure> {
    let uri: Uri = url.parse().map_err(|error| lasting(format!("{url} is no address: {error}")))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) => Ok(uri),
        _ => Err(lasting(format!("{url} is no address of http or https"))),
    }
}

/// Where `location` leads from `uri`.
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

fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    a.scheme() == b.scheme() && host(a) == host(b) && port(a) == port(b)
}

/// True for this machine itself.
pub(super) fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A failure that lasts.
pub(super) fn lasting(reason: String) -> Failure {
    Failure::Lasting { reason, hint: None }
}

fn failure(error: &ureq::Error) -> Failure {
    use std::io::ErrorKind as Kind;
    const BROKEN: [Kind; 5] =
        [Kind::ConnectionReset, Kind::ConnectionAborted, Kind::BrokenPipe, Kind::UnexpectedEof, Kind::TimedOut];
    let reason = error.to_string();
    match error {
        // TLS puts its complaints into this kind
        ureq::Error::Io(io) if io.kind() == Kind::InvalidData => Failure::Lasting { reason, hint: Some(TRUST) },
        ureq::Error::Io(io) if BROKEN.contains(&io.kind()) => Failure::Passing { reason, wait: None },
        // refused, no way there, or a name that nobody knows, which has no kind of its own
        ureq::Error::Io(_) | ureq::Error::HostNotFound => Failure::Unreachable { reason },
        // a wall that swallows everything, or a proxy that never answers
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => Failure::Unreachable { reason },
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => Failure::Lasting { reason, hint: Some(TRUST) },
        ureq::Error::Timeout(_) | ureq::Error::Protocol(_) | ureq::Error::ConnectionFailed => {
            Failure::Passing { reason, wait: None }
        }
        _ => lasting(reason),
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
