//! The networks, as data: [`graph`] is the language, one file a family speaks it through [`builder`], [`registry`] lists what there is.

pub mod builder;
pub mod efficientnet;
pub mod graph;
pub mod imagenet;
pub mod registry;
pub mod spec;

pub use graph::{Graph, GraphError, LayerId, Shape};
pub use registry::{MODELS, find};
pub use spec::{BuildOptions, ModelSpec, WeightsSpec};
