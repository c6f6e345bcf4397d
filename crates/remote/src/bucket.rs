//! Buckets of S3, Google Cloud Storage and Azure. Without the feature `cloud` there are none.

#[cfg(not(feature = "cloud"))]
mod absent;
#[cfg(feature = "cloud")]
mod keys;
#[cfg(feature = "cloud")]
mod store;

#[cfg(not(feature = "cloud"))]
pub use absent::Bucket;
#[cfg(feature = "cloud")]
pub use store::Bucket;

use crate::client::Problem;

/// The reason why an object is not requested: the crate `object_store` does not take its key for a path.
pub const NO_PATH: &str =
    "its key has an empty part, `.`, `..` or a control character; an object of such a key is not asked for";

/// An entry of a bucket's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    Object(Object),
    /// The key of an object that is not asked for, see [`NO_PATH`].
    NoPath(String),
}

/// An object and the facts of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub key: String,
    pub bytes: u64,
    /// Nanoseconds since 1970.
    pub modified: u64,
    /// The store's identifier of this version.
    pub etag: Option<String>,
}

/// Why a bucket cannot be listed, or an object not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    #[error("there is no such object")]
    Missing,
    #[error("{0}")]
    Forbidden(String),
    #[error(transparent)]
    Problem(#[from] Problem),
    /// A setting that is missing or wrong, or an answer that cannot be parsed.
    #[error("{0}")]
    Other(String),
}
