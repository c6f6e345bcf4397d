//! A network that Keras and a library of PyTorch both have, layer for layer, each under names of its own.

use super::builder::{Builder, Conv};
use super::graph::{Activation, LayerId};
use super::spec::{BuildOptions, Source};

/// Builds the network of one of the two; Keras' names are known in the other's, too.
#[derive(Debug)]
pub(super) struct Twin {
    pub g: Builder,
    /// The library whose network it is.
    pub source: Source,
    pub keras: bool,
    /// Batch-norm epsilon.
    pub eps: f64,
}

impl Twin {
    /// A network for `options`, and its input.
    pub(super) fn new(options: &BuildOptions, eps: f64) -> (Self, LayerId) {
        let [h, w] = options.size;
        let (g, x) = Builder::new(options.channels, h, w);
        let source = options.source;
        (Self { g, source, keras: source == Source::Keras, eps }, x)
    }

    /// A layer under its name in the library that is built after.
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

    /// Batch norm and ReLU, in timm one module, which is called after the first.
    pub(super) fn norm_relu(&mut self, keras: [&str; 2], torch: [&str; 2], x: LayerId) -> LayerId {
        if self.source == Source::Timm {
            let x = self.g.batch_norm_act(torch[0], x, self.eps, Activation::Relu);
            self.g.alias(keras[1], x);
            return x;
        }
        let x = self.norm(keras[0], torch[0], x);
        self.relu(keras[1], torch[1], x)
    }

    /// The name of a module of several layers that Keras does not have, for the last of them.
    pub(super) fn module(&mut self, torch: &str, x: LayerId) {
        if !self.keras {
            self.g.alias(torch, x);
        }
    }

    /// The classifier, Keras' with its softmax; gives the class scores.
    pub(super) fn classifier(&mut self, torch: &str, x: LayerId, classes: usize) -> LayerId {
        if self.keras {
            return self.g.dense_softmax("predictions", x, classes);
        }
        self.g.dense(torch, x, classes)
    }
}
