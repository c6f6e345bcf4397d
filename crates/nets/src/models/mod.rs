//! The networks as data: [`graph`] holds the layers of a network, each family has a file that builds its graphs with
//! `builder`, and `registry` lists all networks.

mod alexnet;
pub(crate) mod builder;
mod clip_resnet;
mod convnext;
mod densenet;
mod efficientnet;
mod efficientnet_v2;
#[cfg(test)]
mod facts;
mod googlenet;
pub mod graph;
pub mod imagenet;
mod inception;
mod inception_resnet;
mod inverted;
mod mnasnet;
mod mobilenet;
mod mobilenet_v1;
mod mobilenet_v3;
mod nasnet;
mod published;
mod registry;
mod regnet;
mod resnet;
mod resnet_v2;
mod shufflenet;
pub mod spec;
mod squeezenet;
mod swin;
mod tokens;
mod twin;
mod vgg;
mod vit;
mod window;
mod xception;

pub use graph::{Graph, GraphError, LayerId, Shape};
pub use registry::{MODELS, find, unknown};
pub use spec::{BuildOptions, ModelSpec, Source, WeightsSpec};

/// The network of a library for colour pictures, in tests.
#[cfg(test)]
pub(crate) fn built(name: &str, source: Source, size: [usize; 2], classes: usize) -> Graph {
    let model = find(name).expect("registered");
    model.build(&BuildOptions { channels: 3, size, classes, source }).expect("built")
}
