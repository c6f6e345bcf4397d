//! The networks, as data: [`graph`] is the language, one file a family speaks it through `builder`, `registry` lists
//! what there is.

mod alexnet;
pub(crate) mod builder;
mod convnext;
mod densenet;
mod efficientnet;
#[cfg(test)]
mod facts;
mod googlenet;
pub mod graph;
pub mod imagenet;
mod inception;
mod inverted;
mod mnasnet;
mod mobilenet;
mod mobilenet_v1;
mod mobilenet_v3;
pub(crate) mod published;
mod registry;
mod regnet;
mod resnet;
mod resnet_v2;
mod shufflenet;
pub mod spec;
mod squeezenet;
mod twin;
mod vgg;
mod window;
mod xception;

pub use graph::{Graph, GraphError, LayerId, Shape};
pub use registry::{MODELS, find, unknown};
pub use spec::{BuildOptions, ModelSpec, Source, WeightsSpec};
