//! Pictures, wherever their bytes lie.

pub mod source;
