//! Our own kernels. The only room where `unsafe` is allowed, and there only to enter code compiled for CPU features found at run time.

#![allow(unsafe_code)]

pub mod depthwise;
