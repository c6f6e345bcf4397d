//! A network that Keras and a PyTorch library both have, with the same layers under different names.

use super::builder::{Builder, Conv};
use super::graph::{Activation, LayerId};
use super::spec::{BuildOptions, Source};

/// Builds the network of one of the two; in the other one Keras' names are aliases.
#[derive(Debug)]
pub(super) struct Twin {
    pub g: Builder,
    /// The library whose network is built.
    pub source: Source,
    pub keras: bool,
    /// Batch-norm epsilon.
    pub eps: f64,
}

impl Twin {
    /// A network for `options`, and its input.
    pub(super) fn new(options: &BuildOptions, eps: f64) -> (Self, LayerId) {
        let (g, x) = Builder::of(options);
        let source = options.source;
        (Self { g, source, keras: source == Source::Keras, eps }, x)
    }

    /// A layer under its name in the library whose network is built.
    pub(super) fn named(
        &mut self,
        keras: &str,
        torch: &str,
        layer: impl FnOnce(&mut Builder, &str) -> LayerId,
    ) -> LayerId {
        let x = layer(&mut self.g, if self.keras { keras } else { torch });
        if !self.keras {
            self.g.alias(keras, x);
        }
        x
    }

    pub(super) fn conv(&mut self, keras: &str, torch: &str, x: LayerId, conv: Conv) -> LayerId {
        self.named(keras, torch, |g, name| g.conv(name, x, conv))
    }

    pub(super) fn norm(&mut self, keras: &str, torch: &str, x: LayerId) -> LayerId {
        let eps = self.eps;
        self.named(keras, torch, |g, name| g.batch_norm(name, x, eps))
    }

    pub(super) fn relu(&mut self, keras: &str, torch: &str, x: LayerId) -> LayerId {
        self.named(keras, torch, |g, name| g.relu(name, x))
    }

    /// Batch norm and ReLU; in timm one module, with the name of the batch norm.
    pub(super) fn norm_relu(&mut self, keras: [&str; 2], torch: [&str; 2], x: LayerId) -> LayerId {
        if self.source == Source::Timm {
            let x = self.g.batch_norm_act(torch[0], x, self.eps, Activation::Relu);
            self.g.alias(keras[1], x);
            return x;
        }
        let x = self.norm(keras[0], torch[0], x);
        self.relu(keras[1], torch[1], x)
    }

    /// An alias for the last layer of a module that Keras does not have.
    pub(super) fn module(&mut self, torch: &str, x: LayerId) {
        if !self.keras {
            self.g.alias(torch, x);
        }
    }

    /// The classifier, in Keras with its softmax; returns the class scores before softmax.
    pub(super) fn classifier(&mut self, torch: &str, x: LayerId, classes: usize) -> LayerId {
        if self.keras {
            return self.g.dense_softmax("predictions", x, classes);
        }
        self.g.dense(torch, x, classes)
    }
}
