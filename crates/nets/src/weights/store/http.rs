//! One answer over HTTP. Redirects are followed here, so that the hub's token is sent only to the hub and no redirect
//! leads to plain http.

use featurize_remote::http::{
    self as remote, Connections, HeaderMap, MOST_HOPS, Patience, Request, Response, StatusCode, Uri, header,
    is_loopback, same_origin,
};
use ureq::Body;

use super::StoreError;
use super::places::{Env, Token};
use super::wanted::{Item, as_sha256};

/// Why a request gave no file.
#[derive(Debug)]
pub(super) enum Failure {
    /// A failure of the server or the network.
    Remote(remote::Failure),
    /// Another failure: a full disk, plain http, a stop by the user.
    Own(StoreError),
}

impl From<remote::Failure> for Failure {
    fn from(failure: remote::Failure) -> Self {
        Self::Remote(failure)
    }
}

/// The part of the file that is requested.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    /// Bytes that were downloaded already.
    pub from: u64,
    /// The ETag or date of their version.
    pub validator: Option<String>,
}

/// The head of an answer, and its unread body.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
    /// The SHA-256 in the hub's headers.
    pub promised: Option<String>,
    /// The commit of the revision on the hub.
    pub commit: Option<String>,
}

impl Answer {
    /// A header's value.
    pub(super) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        remote::text(&self.headers, name)
    }
}

/// Sends requests and keeps connections open, which clones share.
#[derive(Clone, Debug)]
pub(super) struct Client {
    connections: Connections,
    /// The URL of the hub, to which the token may be sent.
    hub: Option<Uri>,
    token: Option<Token>,
}

impl Client {
    /// A client with the proxy, the endpoint and the token of `env`.
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
                // only on the hub itself is an etag of 64 digits always the file's SHA-256
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

/// A failure for which another attempt will not help.
pub(super) fn lasting(reason: String) -> Failure {
    remote::Failure::lasting(reason).into()
}
