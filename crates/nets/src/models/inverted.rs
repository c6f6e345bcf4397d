//! Inverted residuals with squeeze-and-excitation, the block of EfficientNet and MobileNetV3, under the names of each
//! library.

use super::builder::{Builder, Conv};
use super::graph::{Activation, LayerId, Shape};
use super::spec::{BuildOptions, Source};

/// The sizes of a block: expand 1 × 1 → depthwise → squeeze-and-excitation → project 1 × 1 (linear), and the input
/// added where the shapes agree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub kernel: usize,
    pub stride: usize,
    /// Channels between the two 1 × 1 convolutions; without the first where the input has as many and `expands` is
    /// false.
    pub inner: usize,
    pub expands: bool,
    pub out: usize,
    /// Channels between the two layers of squeeze-and-excitation.
    pub squeezed: Option<usize>,
    pub activation: Activation,
}

/// The names of a convolution, its batch norm and their activation, and of the module that PyTorch's libraries make of
/// them. timm holds batch norm and activation as one module, called `norm`.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub conv: String,
    pub norm: String,
    pub activation: String,
    pub module: Option<String>,
}

/// The names of squeeze-and-excitation; Keras' activations may be parts of convolutions, see [`Builder::conv_act`].
#[derive(Clone, Debug)]
pub(super) struct Squeeze {
    pub pool: String,
    pub reduce: String,
    /// None where the convolution and its activation are one layer.
    pub activation: Option<String>,
    pub expand: String,
    pub gate: Option<String>,
    pub product: String,
}

/// The names of a block.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub expand: Part,
    /// Keras' `ZeroPadding2D` before a depthwise convolution of stride 2.
    pub pad: String,
    pub depthwise: Part,
    pub squeeze: Squeeze,
    /// Its activation is not there.
    pub project: Part,
    pub sum: String,
    /// The block as a module.
    pub module: Option<String>,
}

/// Builds a network of such blocks.
#[derive(Debug)]
pub(super) struct Inverted {
    pub g: Builder,
    pub source: Source,
    /// Batch-norm epsilon.
    pub eps: f64,
    /// TensorFlow's `SAME` padding in a library of PyTorch.
    pub same: bool,
    /// Between the two layers of squeeze-and-excitation, and after them.
    pub squeeze: [Activation; 2],
}

impl Inverted {
    /// A network for `options`, and its input.
    pub(super) fn new(options: &BuildOptions, eps: f64, same: bool, squeeze: [Activation; 2]) -> (Self, LayerId) {
        let [h, w] = options.size;
        let (g, x) = Builder::new(options.channels, h, w);
        (Self { g, source: options.source, eps, same, squeeze }, x)
    }

    /// The padding of a window of odd size.
    pub(super) fn padded(&self, conv: Conv, kernel: usize) -> Conv {
        if self.same || self.source == Source::Keras { conv.same() } else { conv.pad(kernel / 2) }
    }

    /// Convolution, batch norm and, where there is one, the activation.
    pub(super) fn part(&mut self, names: &Part, x: LayerId, conv: Conv, activation: Option<Activation>) -> LayerId {
        let (g, eps) = (&mut self.g, self.eps);
        let x = g.conv(&names.conv, x, conv);
        let x = match activation {
            Some(activation) if self.source == Source::Timm => g.batch_norm_act(&names.norm, x, eps, activation),
            Some(activation) => {
                let x = g.batch_norm(&names.norm, x, eps);
                g.activation(&names.activation, x, activation)
            }
            None => g.batch_norm(&names.norm, x, eps),
        };
        if let Some(module) = &names.module {
            g.alias(module, x);
        }
        x
    }

    pub(super) fn block(&mut self, names: &Names, input: LayerId, block: &Block) -> LayerId {
        let Block { kernel, stride, inner, expands, out, squeezed, activation } = *block;
        let mut x = input;
        if expands {
            x = self.part(&names.expand, x, Conv::new(inner), Some(activation));
        }
        let depthwise = Conv::depthwise().kernel(kernel).stride(stride);
        let depthwise = if self.source == Source::Keras && stride == 2 {
            x = self.correct_pad(&names.pad, x, kernel);
            depthwise
        } else {
            self.padded(depthwise, kernel)
        };
        x = self.part(&names.depthwise, x, depthwise, Some(activation));
        if let Some(squeezed) = squeezed {
            x = self.squeeze(&names.squeeze, x, squeezed);
        }
        x = self.part(&names.project, x, Conv::new(out), None);
        if stride == 1 && self.g.shape(x) == self.g.shape(input) {
            return self.g.add(&names.sum, x, input);
        }
        if let Some(module) = &names.module {
            self.g.alias(module, x);
        }
        x
    }

    fn squeeze(&mut self, names: &Squeeze, x: LayerId, squeezed: usize) -> LayerId {
        let Shape::Map { c, .. } = self.g.shape(x) else { return x };
        let [between, gate] = self.squeeze;
        let s = self.g.adaptive_avg_pool(&names.pool, x, 1);
        let s = self.squeeze_layer([&names.reduce, names.activation.as_deref().unwrap_or("")], s, squeezed, between);
        let s = self.squeeze_layer([&names.expand, names.gate.as_deref().unwrap_or("")], s, c, gate);
        self.g.multiply(&names.product, x, s)
    }

    /// A 1 × 1 convolution and its activation; without a name of its own this is a part of the convolution.
    fn squeeze_layer(&mut self, [conv, own]: [&str; 2], x: LayerId, out: usize, activation: Activation) -> LayerId {
        if own.is_empty() {
            return self.g.conv_act(conv, x, Conv::new(out).bias(), activation);
        }
        let x = self.g.conv(conv, x, Conv::new(out).bias());
        self.g.activation(own, x, activation)
    }

    /// Keras' `correct_pad` for a window of stride 2: above a map of even height one row of zeros less than below, and
    /// so beside it.
    pub(super) fn correct_pad(&mut self, name: &str, x: LayerId, kernel: usize) -> LayerId {
        let Shape::Map { h, w, .. } = self.g.shape(x) else { return x };
        let half = kernel / 2;
        self.g.zero_pad(name, x, [half - (1 - h % 2), half, half - (1 - w % 2), half])
    }
}

/// The names of torchvision's block: a list of modules, with and without the first and the third.
pub(super) fn torchvision(module: &str, block: &Block) -> Names {
    let mut next = 0;
    let mut at = || {
        next += 1;
        format!("{module}.block.{}", next - 1)
    };
    let part = |at: String| Part {
        conv: format!("{at}.0"),
        norm: format!("{at}.1"),
        activation: format!("{at}.2"),
        module: Some(at),
    };
    let expand = if block.expands { at() } else { String::new() };
    let depthwise = at();
    let squeeze = if block.squeezed.is_some() { at() } else { String::new() };
    Names {
        expand: part(expand),
        pad: String::new(),
        depthwise: part(depthwise),
        squeeze: Squeeze {
            pool: format!("{squeeze}.avgpool"),
            reduce: format!("{squeeze}.fc1"),
            activation: Some(format!("{squeeze}.activation")),
            expand: format!("{squeeze}.fc2"),
            gate: Some(format!("{squeeze}.scale_activation")),
            product: squeeze,
        },
        project: part(at()),
        sum: module.to_string(),
        module: Some(module.to_string()),
    }
}

/// The names of timm's `InvertedResidual`, and of its `DepthwiseSeparableConv`, which does not expand.
pub(super) fn timm(module: &str, block: &Block) -> Names {
    let part = |conv: &str, norm: &str| Part {
        conv: format!("{module}.{conv}"),
        norm: format!("{module}.{norm}"),
        activation: String::new(),
        module: None,
    };
    let (depthwise, project) = match block.expands {
        true => (part("conv_dw", "bn2"), part("conv_pwl", "bn3")),
        false => (part("conv_dw", "bn1"), part("conv_pw", "bn2")),
    };
    let at = |name: &str| format!("{module}.se.{name}");
    Names {
        expand: part("conv_pw", "bn1"),
        pad: String::new(),
        depthwise,
        squeeze: Squeeze {
            pool: at("pool"),
            reduce: at("conv_reduce"),
            activation: Some(at("act1")),
            expand: at("conv_expand"),
            gate: Some(at("gate")),
            product: format!("{module}.se"),
        },
        project,
        sum: module.to_string(),
        module: Some(module.to_string()),
    }
}

/// The nearest multiple of eight, at least eight, not smaller by more than a tenth: `_make_divisible` and `_depth` of
/// the libraries.
pub(super) fn divisible_by_eight(channels: f64) -> usize {
    let near = ((channels + 4.0) as usize / 8 * 8).max(8);
    if (near as f64) < 0.9 * channels { near + 8 } else { near }
}
