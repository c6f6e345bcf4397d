//! Buckets: the crate `object_store` lists them and signs requests; [`Client`] sends these, so that repetitions,
//! waits, proxies and certificates are the same as for every other server.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io::Read;
use std::iter::successors;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{
    ClientConfigKey, ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{Error, GetOptions, ObjectMeta, ObjectStore, RetryConfig};

use super::{BucketError, Listed, NO_PATH, Object, keys};
use crate::body::Body;
use crate::client::{Client, Problem, Rules};
use crate::http::{METADATA, Patience, Request, Uri, header, is_loopback};

/// Most bytes of a page of a list, or of an access token.
const MOST_WORDS: u64 = 64 << 20;
/// Keys on a page of a list, the most that the services give.
const PAGE: usize = 1000;

/// A bucket, or a container of Azure.
#[derive(Debug)]
pub struct Bucket {
    url: String,
    store: Arc<dyn Store>,
}

/// A store whose lists come page by page.
trait Store: ObjectStore + PaginatedListStore {}

impl<S: ObjectStore + PaginatedListStore> Store for S {}

impl Bucket {
    /// Opens `s3://bucket`, `gs://bucket` or `az://container` with the settings in the environment variables `AWS_…`,
    /// `GOOGLE_…`, `AZURE_…`.
    pub fn open(url: &str, client: &Client) -> Result<Self, BucketError> {
        let connector = Connector(client.clone());
        // [`Client`] repeats requests
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let scheme = url.split(':').next().unwrap_or_default();
        let store: Result<Arc<dyn Store>, Error> = match scheme {
            "s3" => AmazonS3Builder::from_env()
                .with_url(url)
                .with_retry(retry)
                .with_http_connector(connector)
                .build()
                .map(|store| Arc::new(store) as _),
            "gs" => GoogleCloudStorageBuilder::from_env()
                .with_url(url)
                .with_retry(retry)
                .with_http_connector(connector)
                .build()
                .map(|store| Arc::new(store) as _),
            _ => MicrosoftAzureBuilder::from_env()
                .with_url(url)
                .with_retry(retry)
                .with_http_connector(connector)
                .build()
                .map(|store| Arc::new(store) as _),
        };
        let store = store.map_err(|error| BucketError::Other(format!("{url} cannot be opened: {}", said(&error))))?;
        Ok(Self { url: url.to_string(), store })
    }

    /// Calls `each` with every object whose key begins with `prefix`, in the order of the store, until it fails. Keys
    /// of a page that cannot be requested follow the other keys of that page.
    pub fn list<E: From<BucketError>>(
        &self,
        prefix: &str,
        rules: &Rules,
        mut each: impl FnMut(Listed) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut page_token = None;
        loop {
            let mut options = PaginatedListOptions { max_keys: Some(PAGE), page_token, ..Default::default() };
            options.extensions.insert(Asked { rules: Rules { most: MOST_WORDS, ..rules.clone() }, is_object: false });
            let prefix = Some(prefix).filter(|prefix| !prefix.is_empty());
            let page = wait(self.store.list_paginated(prefix, options)).map_err(|error| self.error(&error))?;
            let SetAside(keys) = page.result.extensions.get().cloned().unwrap_or_default();
            page.result.objects.into_iter().try_for_each(|object| each(Listed::Object(object.into())))?;
            keys.into_iter().try_for_each(|key| each(Listed::NoPath(key)))?;
            page_token = page.page_token;
            if page_token.is_none() {
                return Ok(());
            }
        }
    }

    /// An object and its bytes.
    pub fn get(&self, key: &str, rules: &Rules) -> Result<(Object, Body), BucketError> {
        let path = Path::parse(key).ok().filter(|_| keys::is_path(key));
        let path = path.ok_or_else(|| BucketError::Other(NO_PATH.into()))?;
        let mut options = GetOptions::default();
        options.extensions.insert(Asked { rules: rules.clone(), is_object: true });
        let mut answer = wait(self.store.get_opts(&path, options)).map_err(|error| self.error(&error))?;
        let body = answer.extensions.remove::<Handed>().and_then(Handed::take);
        let body = body.ok_or_else(|| BucketError::Other("its answer has no body".into()))?;
        Ok((answer.meta.into(), body))
    }

    fn error(&self, error: &Error) -> BucketError {
        let root = error as &(dyn StdError + 'static);
        let of_client = |error: &(dyn StdError + 'static)| error.downcast_ref::<Problem>().cloned();
        match successors(Some(root), |&error| error.source()).find_map(of_client) {
            Some(Problem::Down { host, .. } | Problem::Unreachable { reason: host }) if host.contains(METADATA) => {
                return BucketError::Other(format!("{}: {CREDENTIALS}", self.url));
            }
            Some(problem) => return problem.into(),
            None => {}
        }
        let reason = said(error);
        match error {
            Error::NotFound { .. } => BucketError::Missing,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => BucketError::Forbidden(reason),
            _ => BucketError::Other(format!("{}: {reason}", self.url)),
        }
    }
}

/// The message of the service in one line: that of the last error of the chain.
fn said(error: &Error) -> String {
    let last = successors(Some(error as &(dyn StdError + 'static)), |&error| error.source()).last();
    let text = last.map(ToString::to_string).unwrap_or_default();
    let message = text.split_once("<Message>").and_then(|(_, rest)| rest.split("</Message>").next());
    message.unwrap_or(&text).split_whitespace().collect::<Vec<_>>().join(" ").chars().take(400).collect()
}

impl From<ObjectMeta> for Object {
    fn from(meta: ObjectMeta) -> Self {
        let modified = meta.last_modified.timestamp_nanos_opt().and_then(|time| u64::try_from(time).ok());
        // Azure's lists have it without the quotes of its answers
        let etag = meta.e_tag.map(|etag| etag.trim_matches('"').to_string());
        Self { key: meta.location.into(), bytes: meta.size, modified: modified.unwrap_or(0), etag }
    }
}

const CREDENTIALS: &str = "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (Google: \
                           GOOGLE_APPLICATION_CREDENTIALS, Azure: AZURE_STORAGE_ACCOUNT_NAME and \
                           AZURE_STORAGE_ACCOUNT_KEY), or AWS_SKIP_SIGNATURE=true for a bucket that is open to all";

/// An extension of a request; it tells [`Service`] how to read the answer.
#[derive(Clone)]
struct Asked {
    rules: Rules,
    /// Whether the body is passed on unread, as [`Handed`].
    is_object: bool,
}

/// An extension of an answer: its body, which the caller reads without an async stream.
#[derive(Clone)]
struct Handed(Arc<Mutex<Option<Body>>>);

impl Handed {
    fn take(self) -> Option<Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Comes with a page of a list: the keys that it had and that are no paths.
#[derive(Clone, Default)]
struct SetAside(Vec<String>);

/// Sends the requests of a store.
#[derive(Debug)]
struct Connector(Client);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let is_on = |key| options.get_config_value(&key).is_some_and(|value| value == "true");
        // only for the metadata service of a cloud does `object_store` set 1 s: outside of a cloud it does not exist
        let second = Duration::from_secs(1);
        let is_hasty = options.get_config_value(&ClientConfigKey::ConnectTimeout).is_some_and(|time| time == "1s");
        let hasty = Patience { connect: second, answer: 2 * second, repetitions: 0, ..Patience::default() };
        let client = if is_hasty { Client::new(hasty) } else { self.0.clone() };
        Ok(HttpClient::new(Service { client, allows_http: is_on(ClientConfigKey::AllowHttp) }))
    }
}

#[derive(Debug)]
struct Service {
    client: Client,
    /// Whether requests may go without encryption to other machines.
    allows_http: bool,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.answer(request).map_err(|problem| HttpError::new(HttpErrorKind::Unknown, problem))
    }
}

impl Service {
    fn answer(&self, request: HttpRequest) -> Result<HttpResponse, Problem> {
        let (mut head, body) = request.into_parts();
        let asked = head.extensions.remove::<Asked>();
        self.check(&head.uri)?;
        let request =
            Arc::new(Request::from_parts(head, body.as_bytes().map(|bytes| bytes.to_vec()).unwrap_or_default()));
        let rules = Rules { follow: false, most: MOST_WORDS, stop: Arc::default() };
        let rules = asked.as_ref().map_or(rules, |asked| asked.rules.clone());
        let answer = self.client.ask(&request, &rules)?;
        let is_list = asked.as_ref().is_some_and(|asked| !asked.is_object);
        let is_object = asked.is_some_and(|asked| asked.is_object) && answer.status.is_success();
        let mut words = Vec::new();
        let mut body = answer.body;
        if !is_object {
            let broken = |error: std::io::Error| Problem::Unreachable { reason: error.to_string() };
            body.by_ref().take(MOST_WORDS).read_to_end(&mut words).map_err(broken)?;
        }
        let aside = if is_list && answer.status.is_success() { set_aside(&mut words) } else { SetAside::default() };
        let mut response = HttpResponse::new(HttpResponseBody::from(words));
        response.extensions_mut().insert(aside);
        (*response.status_mut(), *response.headers_mut()) = (answer.status, answer.headers);
        if let Some(length) = answer.length {
            response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
        if is_object {
            response.extensions_mut().insert(Handed(Arc::new(Mutex::new(Some(body)))));
        }
        Ok(response)
    }

    fn check(&self, uri: &Uri) -> Result<(), Problem> {
        if uri.scheme_str() == Some("https") || self.allows_http || is_loopback(uri) {
            return Ok(());
        }
        let host = uri.host().unwrap_or_default();
        let reason =
            format!("{host} is to be asked without encryption; AWS_ALLOW_HTTP=true (AZURE_, GOOGLE_) allows that");
        Err(Problem::Refused { reason })
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Asked").field("is_object", &self.is_object).finish_non_exhaustive()
    }
}

/// Takes the entries from the page of a list that would make it unreadable.
fn set_aside(page: &mut Vec<u8>) -> SetAside {
    let Ok(text) = std::str::from_utf8(page) else { return SetAside::default() };
    let (kept, keys) = keys::set_aside(text);
    *page = kept.into_bytes();
    SetAside(keys)
}

/// Runs a future on this thread. The futures of this module wait only for the client, which blocks, and for each other.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Arc::new(Unpark(thread::current())).into();
    let (mut context, mut future) = (Context::from_waker(&waker), pin!(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
