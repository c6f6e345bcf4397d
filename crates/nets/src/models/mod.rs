//! The networks, as data: [`graph`] is the language, one file a family speaks it through [`builder`], [`registry`] lists what there is.

pub mod alexnet;
pub mod builder;
pub mod densenet;
pub mod efficientnet;
pub mod googlenet;
pub mod graph;
pub mod imagenet;
pub mod inception;
pub mod mobilenet;
pub mod published;
pub mod registry;
pub mod resnet;
pub mod resnet_v2;
pub mod spec;
mod twin;
pub mod vgg;
pub mod window;
pub mod xception;

pub use graph::{Graph, GraphError, LayerId, Shape};
pub use registry::{MODELS, find, unknown};
pub use spec::{BuildOptions, ModelSpec, Source, WeightsSpec};
