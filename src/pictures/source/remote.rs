//! Pictures on other machines: at URLs, and in buckets.
//!
//! A URL in a table or on a command line is also the key of its picture. A bucket is the root of a listing; a key is
//! the path below it. The crate `featurize-remote` sends the requests, retries temporary errors, and distinguishes a
//! missing picture from a service that is down. The latter is not a failure of a picture, but ends the stream.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use featurize_remote::bucket::{Bucket, BucketError, Listed, NO_PATH, Object};
use featurize_remote::http::{self, HeaderMap, Method, Request, header};
use featurize_remote::{Address, Answer, Client, Problem, Rules};

use super::{Bytes, Failure, Opened, UNREADABLE, too_large};
use crate::image;
use crate::stages::scan::first_eight;

/// The kind of failure of a picture that no server returned, though it may later.
pub const UNREACHABLE: &str = "unreachable";
/// The kind of failure when the service is down.
pub const DOWN: &str = "down";

const FORBIDDEN: &str = "forbidden";
const LATER: &str = "`featurize run --retry-failed` tries again";

/// Opens the picture at an address, if its version has this stamp; 0 allows any version.
pub(super) fn open(
    address: Address,
    stamp: u64,
    most: u64,
    stop: &Arc<AtomicBool>,
) -> Result<Opened<'static>, Failure> {
    let rules = Rules { follow: true, most, stop: stop.clone() };
    match address {
        Address::Url(url) => open_url(url, most, &rules),
        Address::Object { bucket, key } => {
            let (object, body) = of(bucket)?.get(key, &rules)?;
            if ![0, version_of(&object)].contains(&stamp) {
                return Err(Failure::changed());
            }
            opened(object.bytes, body, most)
        }
    }
}

/// Whether the text is a URL and not a path.
pub fn is_url(text: &str) -> bool {
    matches!(Address::of(Path::new(text)), Some(Address::Url(_)))
}

/// The metadata of a remote picture that are known before its bytes; 0 if the server did not send them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub bytes: u64,
    /// Nanoseconds since 1970.
    pub modified: u64,
    /// Hash of everything that identifies a version.
    pub stamp: u64,
}

/// Requests the metadata of the picture at a URL. A server that refuses this may still send the picture.
pub fn look(url: &str, stop: &Arc<AtomicBool>) -> Result<Facts, Problem> {
    let Ok(request) = request(Method::HEAD, url) else { return Ok(Facts::default()) };
    let answer = match client().ask(&request, &Rules { follow: true, most: 0, stop: stop.clone() }) {
        Ok(answer) if answer.status.is_success() => answer,
        Err(problem @ (Problem::Down { .. } | Problem::Stopped)) => return Err(problem),
        _ => return Ok(Facts::default()),
    };
    let words = [header::ETAG, header::LAST_MODIFIED].map(|name| answer.header(name));
    let bytes = answer.length.unwrap_or(0);
    let stamp = if words == [None, None] { 0 } else { version(bytes, &words.map(Option::unwrap_or_default)) };
    Ok(Facts { bytes, modified: http::modified(&answer.headers).unwrap_or(0), stamp })
}

/// Calls `each` with the key of every object below `root`, and with its metadata or the reason why it cannot be read.
pub fn list<E: From<BucketError>>(
    root: &Path,
    stop: &Arc<AtomicBool>,
    mut each: impl FnMut(&str, Result<Facts, &'static str>) -> Result<(), E>,
) -> Result<(), E> {
    let Some(Address::Object { bucket, key }) = Address::of(root) else { return Ok(()) };
    let folder = key.trim_matches('/');
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let rules = Rules { follow: false, most: 0, stop: stop.clone() };
    of(bucket)?.list(&prefix, &rules, |listed| {
        let (key, facts) = match listed {
            Listed::Object(object) => {
                let (bytes, modified, stamp) = (object.bytes, object.modified, version_of(&object));
                (object.key, Ok(Facts { bytes, modified, stamp }))
            }
            Listed::NoPath(key) => (key, Err(NO_PATH)),
        };
        // programs mark a folder by an object without contents
        let key = key.strip_prefix(&prefix).filter(|key| !key.is_empty());
        key.map_or(Ok(()), |key| each(key, facts))
    })
}

/// The client of this process.
fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| Client::new(http::Patience::default()))
}

/// Returns the client of a bucket, which is opened once per process.
fn of(url: &str) -> Result<Arc<Bucket>, BucketError> {
    static BUCKETS: Mutex<BTreeMap<String, Arc<Bucket>>> = Mutex::new(BTreeMap::new());
    let mut buckets = BUCKETS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bucket) = buckets.get(url) {
        return Ok(bucket.clone());
    }
    let bucket = Arc::new(Bucket::open(url, client())?);
    buckets.insert(url.to_string(), bucket.clone());
    Ok(bucket)
}

fn version_of(object: &Object) -> u64 {
    let modified = object.modified.to_string();
    version(object.bytes, &[object.etag.as_deref().unwrap_or(&modified)])
}

fn version(bytes: u64, words: &[&str]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes.to_le_bytes());
    words.iter().for_each(|word| {
        hasher.update(&(word.len() as u64).to_le_bytes()).update(word.as_bytes());
    });
    first_eight(&hasher.finalize()).max(1)
}

fn request(method: Method, url: &str) -> Result<Arc<Request<Vec<u8>>>, Failure> {
    let wrong = |reason: String| Failure::new(UNREADABLE, reason);
    let uri = http::parse(&encoded(url)).map_err(|failure| match failure {
        http::Failure::Lasting { reason, .. }
        | http::Failure::Passing { reason, .. }
        | http::Failure::Unreachable { reason } => wrong(reason),
    })?;
    let request = Request::builder().method(method).uri(uri).body(Vec::new());
    request.map(Arc::new).map_err(|error| wrong(error.to_string()))
}

/// The URL without its fragment. Characters that users write but requests must not contain, such as spaces and accented
/// letters, become `%XX`.
fn encoded(url: &str) -> String {
    let mut encoded = String::with_capacity(url.len());
    for byte in url.split('#').next().unwrap_or_default().bytes() {
        match byte {
            b'!'..=b'~' if !b"\"<>\\^`{|}".contains(&byte) => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn open_url(url: &str, most: u64, rules: &Rules) -> Result<Opened<'static>, Failure> {
    let Answer { status, headers, length, body } = client().ask(&request(Method::GET, url)?, rules)?;
    let kind = match status.as_u16() {
        200..=299 => {
            let mut opened = opened(length.unwrap_or(0), body, most)?;
            check_kind(&headers, &mut opened)?;
            return Ok(opened);
        }
        404 | 410 => "missing",
        401 | 403 | 407 | 451 => FORBIDDEN,
        _ => UNREADABLE,
    };
    Err(Failure::new(kind, format!("the server answers {status}")))
}

fn opened(length: u64, body: featurize_remote::Body, most: u64) -> Result<Opened<'static>, Failure> {
    too_large(length, most)?;
    let bytes = match body.into_held() {
        Ok(bytes) => Bytes::Held(bytes.into()),
        Err(body) => Bytes::Reader(Box::new(body)),
    };
    Ok(Opened { length, bytes })
}

/// Returns a failure if the response is text, such as a login page, and not a picture.
fn check_kind(headers: &HeaderMap, opened: &mut Opened) -> Result<(), Failure> {
    let kind = http::text(headers, header::CONTENT_TYPE).unwrap_or_default();
    match &opened.bytes {
        Bytes::Held(bytes) if kind.starts_with("text/") && image::sniff(bytes).is_err() => {
            let kind = kind.split(';').next().unwrap_or_default();
            Err(Failure::new("not_an_image", format!("the server sends {kind} in the place of a picture")))
        }
        _ => Ok(()),
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Unreachable { reason } => Self::new(UNREACHABLE, format!("{reason}; {LATER}")),
            Problem::Refused { reason } => Self::new(UNREADABLE, reason),
            Problem::Down { .. } => Self::new(DOWN, problem.to_string()),
            Problem::Stopped => Self::new("interrupted", problem.to_string()),
        }
    }
}

impl From<BucketError> for Failure {
    fn from(error: BucketError) -> Self {
        match error {
            BucketError::Missing => Self::new("missing", error.to_string()),
            BucketError::Forbidden(reason) => Self::new(FORBIDDEN, reason),
            BucketError::Problem(problem) => problem.into(),
            BucketError::Other(reason) => Self::new(UNREADABLE, reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_sent_as_requests_may_hold_them() {
        assert_eq!(encoded("https://e.org/ä b.jpg?x=%20|y#part"), "https://e.org/%C3%A4%20b.jpg?x=%20%7Cy");
    }

    #[test]
    fn a_version_is_told_by_every_word() {
        let all = [version(1, &["a", "b"]), version(2, &["a", "b"]), version(1, &["ab", ""]), version(1, &["a"])];
        let different: std::collections::BTreeSet<u64> = all.into_iter().collect();
        assert_eq!((different.len(), different.contains(&0)), (4, false));
    }
}
