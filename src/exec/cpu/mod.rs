//! Our own kernels. The only room where `unsafe` is allowed, and there only to enter code compiled for CPU features found at run time
//! and to call the matrix product.

#![allow(unsafe_code)]

pub mod conv;
pub mod depthwise;
