//! Requests to HTTP servers and object stores.
//!
//! [`http`] is one request and its answer: proxies, certificates, bounded waits, and the meaning of errors. [`Client`]
//! repeats a request as long as that may help, gives the whole body, and distinguishes a picture that cannot be fetched
//! from a server that is down. With the feature `cloud`, [`bucket`] lists and reads the objects of S3, Google Cloud
//! Storage and Azure by the crate `object_store`, which signs the requests and sends them by the same client.
//!
//! All calls block: the crate has no async runtime, and starts no threads.

#![forbid(unsafe_code)]

mod address;
mod body;
pub mod bucket;
mod client;
pub mod http;
mod time;

pub use address::Address;
pub use body::Body;
pub use client::{Answer, Client, Problem, Rules};

#[cfg(test)]
mod tests;
