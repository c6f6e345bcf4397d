//! A build without buckets.

use super::{BucketError, Listed, Object};
use crate::body::Body;
use crate::client::{Client, Rules};

const ABSENT: &str = "this featurize was built without buckets (s3://, gs://, az://): \
                      `cargo build --release --features cloud` builds it with them";

/// A type without values.
#[derive(Clone, Copy, Debug)]
pub enum Bucket {}

impl Bucket {
    /// Fails with an error that names the build with buckets.
    pub fn open(_: &str, _: &Client) -> Result<Self, BucketError> {
        Err(BucketError::Other(ABSENT.into()))
    }

    /// See the build with buckets.
    pub fn list<E: From<BucketError>>(
        &self,
        _: &str,
        _: &Rules,
        _: impl FnMut(Listed) -> Result<(), E>,
    ) -> Result<(), E> {
        match *self {}
    }

    /// See the build with buckets.
    pub fn get(&self, _: &str, _: &Rules) -> Result<(Object, Body), BucketError> {
        match *self {}
    }
}
