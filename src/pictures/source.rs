//! Where the bytes of pictures come from.

pub mod archive;
