//! One answer over HTTP: redirects followed by hand, so that the hub's token stays with the hub and nothing falls back
//! to plain http.

use featurize_remote::http::{
    self as remote, Connections, HeaderMap, MOST_HOPS, Patience, Request, Response, StatusCode, Uri, header,
    is_loopback, same_origin,
};
use ureq::Body;

use super::StoreError;
use super::places::{Env, Token};
use super::wanted::{Item, as_sha256};

/// Why there is no file.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server's, or the network's.
    Remote(remote::Failure),
    /// A failure that is not the server's: a full disk, plain http, a wish to stop.
    Own(StoreError),
}

impl From<remote::Failure> for Failure {
    fn from(failure: remote::Failure) -> Self {
        Self::Remote(failure)
    }
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
        remote::text(&self.headers, name)
    }
}

/// Asks servers; keeps connections open. A clone shares them.
#[derive(Clone, Debug)]
pub(super) struct Client {
    connections: Connections,
    /// The endpoint of the hub, where the token may go.
    hub: Option<Uri>,
    token: Option<Token>,
}

impl Client {
    /// With the proxy, the endpoint and the token of `env`.
    pub(super) fn new(env: &Env, patience: Patience) -> Self {
        let connections = Connections::new(env.proxy.clone(), patience);
        Self { connections, hub: env.endpoint.parse().ok(), token: env.token.clone() }
    }

    /// The answer to GET `url` after all redirects, whatever its status.
    pub(super) fn get(&self, item: &Item, url: &str, rest: Option<&Rest>) -> Result<Answer, Failure> {
        let mut uri = remote::parse(url)?;
        let local = is_loopback(&uri);
        let (mut promised, mut commit) = (None, None);
        for _ in 0..MOST_HOPS {
            let plain = item.expected.is_full() || local && is_loopback(&uri);
            if uri.scheme_str() != Some("https") && !plain {
                return Err(Failure::Own(StoreError::Insecure { url: uri.to_string() }));
            }
            let at_hub = item.hub.is_some() && self.hub.as_ref().is_some_and(|hub| same_origin(hub, &uri));
            let response = self.send(&uri, rest, at_hub)?;
            let text = |name: &str| remote::text(response.headers(), name);
            if at_hub {
                // an etag of 64 digits is the file's SHA-256 on the hub itself; on the machines behind it, it may be
                // anything
                let etag = text("x-linked-etag").or_else(|| text("etag"));
                promised = promised.or_else(|| as_sha256(etag?.trim_matches('"')));
                commit = commit.or_else(|| text("x-repo-commit").map(str::to_string));
            }
            match remote::redirect(&uri, response.status(), response.headers())? {
                Some(next) => uri = next,
                None => {
                    let (head, body) = response.into_parts();
                    return Ok(Answer { status: head.status, headers: head.headers, body, promised, commit });
                }
            }
        }
        Err(lasting(format!("the server redirects more than {MOST_HOPS} times")))
    }

    fn send(&self, uri: &Uri, rest: Option<&Rest>, at_hub: bool) -> Result<Response<Body>, Failure> {
        let mut request = Request::get(uri.clone());
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
        let request = request.body(Vec::new()).map_err(|error| lasting(format!("{uri} cannot be asked: {error}")))?;
        Ok(self.connections.send(&request)?)
    }
}

/// A failure that lasts.
pub(super) fn lasting(reason: String) -> Failure {
    remote::Failure::lasting(reason).into()
}
