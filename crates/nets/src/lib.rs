//! Pretrained networks.

#![forbid(unsafe_code)]

pub mod exec;
pub mod files;
pub mod memory;
pub mod models;
pub mod network_plan;
pub mod suggest;
pub mod threads;
pub mod weights;

use featurize_image as image;
