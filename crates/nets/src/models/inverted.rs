//! Inverted residuals, the block of MobileNet v2 and v3, MNASNet and EfficientNet, under the names of each library.

use super::builder::{Builder, Conv};
use super::graph::{Activation, LayerId, Shape};
use super::spec::{BuildOptions, Source};

/// Equal blocks of one resolution; the first of them has the stride.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage {
    pub repeats: usize,
    pub kernel: usize,
    pub stride: usize,
    /// The channels inside a block, as a multiple of those of its input.
    pub expand: usize,
    pub out: usize,
    /// Whether blocks have squeeze-and-excitation, with a quarter of the block's input channels.
    pub squeezes: bool,
    pub fused: bool,
}

/// Blocks with neither squeeze-and-excitation nor fused convolutions.
pub(super) const fn stage(repeats: usize, kernel: usize, stride: usize, expand: usize, out: usize) -> Stage {
    Stage { repeats, kernel, stride, expand, out, squeezes: false, fused: false }
}

/// The sizes of a block: expand 1 × 1 → depthwise → squeeze-and-excitation → project 1 × 1 (linear), and the input
/// added where the shapes agree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub kernel: usize,
    pub stride: usize,
    /// Channels between the two 1 × 1 convolutions; the first is left out where `expands` is false.
    pub inner: usize,
    pub expands: bool,
    pub out: usize,
    /// Channels between the two layers of squeeze-and-excitation.
    pub squeezed: Option<usize>,
    pub activation: Activation,
    /// One full convolution replaces the expansion and the depthwise one, and also the projection where the block does
    /// not expand.
    pub fused: bool,
}

/// The names of a convolution, its batch norm and its activation, and of the module of the PyTorch libraries that holds
/// them. timm holds batch norm and activation in one module, called `norm`.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub conv: String,
    pub norm: String,
    pub activation: String,
    pub module: Option<String>,
    /// Aliases of the first three: their names in another library.
    pub also: Option<[String; 3]>,
}

impl Part {
    pub(super) fn new(conv: &str, norm: &str, activation: &str) -> Self {
        let [conv, norm, activation] = [conv, norm, activation].map(str::to_string);
        Self { conv, norm, activation, ..Self::default() }
    }

    /// A `Sequential` module whose children are numbered from `first` on.
    pub(super) fn sequence(module: &str, first: usize) -> Self {
        let [conv, norm, activation] = [0, 1, 2].map(|i| format!("{module}.{}", first + i));
        Self { conv, norm, activation, ..Self::default() }
    }

    /// The same with a name for the whole module.
    pub(super) fn module(self, module: &str) -> Self {
        Self { module: Some(module.to_string()), ..self }
    }
}

/// The names of squeeze-and-excitation. In Keras an activation may be part of its convolution, see
/// [`Builder::conv_act`].
#[derive(Clone, Debug, Default)]
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
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// The expansion, or the full convolution of a fused block.
    pub expand: Part,
    /// Keras' `ZeroPadding2D` before a depthwise convolution of stride 2; empty where the convolution pads.
    pub pad: String,
    pub depthwise: Part,
    pub squeeze: Squeeze,
    /// The projection; its activation is used only in a fused block that does not expand.
    pub project: Part,
    pub sum: String,
    /// The sum's name in another library.
    pub also: Option<String>,
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
    /// Whether a PyTorch library uses TensorFlow's `SAME` padding.
    pub same: bool,
    /// The activations between the two layers of squeeze-and-excitation, and after them.
    pub squeeze: [Activation; 2],
}

impl Inverted {
    /// A network for `options`, and its input.
    pub(super) fn new(options: &BuildOptions, eps: f64, same: bool, squeeze: [Activation; 2]) -> (Self, LayerId) {
        let (g, x) = Builder::of(options);
        (Self { g, source: options.source, eps, same, squeeze }, x)
    }

    /// The padding of a window of odd size.
    pub(super) fn padded(&self, conv: Conv, kernel: usize) -> Conv {
        if self.same || self.source == Source::Keras { conv.same() } else { conv.pad(kernel / 2) }
    }

    /// Convolution, batch norm and, where there is one, the activation.
    pub(super) fn part(&mut self, names: &Part, x: LayerId, conv: Conv, activation: Option<Activation>) -> LayerId {
        let (g, eps) = (&mut self.g, self.eps);
        let conv = g.conv(&names.conv, x, conv);
        let (norm, x) = match activation {
            Some(activation) if self.source == Source::Timm => {
                let x = g.batch_norm_act(&names.norm, conv, eps, activation);
                (x, x)
            }
            Some(activation) => {
                let norm = g.batch_norm(&names.norm, conv, eps);
                (norm, g.activation(&names.activation, norm, activation))
            }
            None => {
                let norm = g.batch_norm(&names.norm, conv, eps);
                (norm, norm)
            }
        };
        if let Some(also) = &names.also {
            let layers = [conv, norm, x];
            let kept = if activation.is_some() { 3 } else { 2 };
            also.iter().zip(layers).take(kept).for_each(|(name, layer)| g.alias(name, layer));
        }
        if let Some(module) = &names.module {
            g.alias(module, x);
        }
        x
    }

    /// The blocks of all `stages`. `names` gets the stage, the block's number in it, its number among all blocks, and
    /// its sizes.
    pub(super) fn stages(
        &mut self,
        mut x: LayerId,
        stages: &[Stage],
        activation: Activation,
        names: impl Fn([usize; 3], &Block) -> Names,
    ) -> LayerId {
        let mut k = 0;
        for (s, stage) in stages.iter().enumerate() {
            let Stage { kernel, expand, out, fused, .. } = *stage;
            for i in 0..stage.repeats {
                let Shape::Map { c, .. } = self.g.shape(x) else { return x };
                let stride = if i == 0 { stage.stride } else { 1 };
                let (expands, squeezed) = (expand > 1, stage.squeezes.then_some(c / 4));
                let block = Block { kernel, stride, inner: c * expand, expands, out, squeezed, activation, fused };
                x = self.block(&names([s, i, k], &block), x, &block);
                k += 1;
            }
        }
        x
    }

    pub(super) fn block(&mut self, names: &Names, input: LayerId, block: &Block) -> LayerId {
        let mut x = if block.fused { self.fused(names, input, block) } else { self.separable(names, input, block) };
        if block.stride == 1 && self.g.shape(x) == self.g.shape(input) {
            x = self.g.add(&names.sum, x, input);
            if let Some(also) = &names.also {
                self.g.alias(also, x);
            }
        } else if let Some(module) = &names.module {
            self.g.alias(module, x);
        }
        x
    }

    fn fused(&mut self, names: &Names, x: LayerId, block: &Block) -> LayerId {
        let full = |filters: usize| Conv::new(filters).kernel(block.kernel).stride(block.stride);
        if !block.expands {
            let conv = self.padded(full(block.out), block.kernel);
            return self.part(&names.project, x, conv, Some(block.activation));
        }
        let conv = self.padded(full(block.inner), block.kernel);
        let x = self.part(&names.expand, x, conv, Some(block.activation));
        self.part(&names.project, x, Conv::new(block.out), None)
    }

    fn separable(&mut self, names: &Names, mut x: LayerId, block: &Block) -> LayerId {
        let Block { kernel, stride, inner, expands, out, squeezed, activation, .. } = *block;
        if expands {
            x = self.part(&names.expand, x, Conv::new(inner), Some(activation));
        }
        let depthwise = Conv::depthwise().kernel(kernel).stride(stride);
        let depthwise = if !names.pad.is_empty() && stride == 2 {
            x = self.g.correct_pad(&names.pad, x, kernel);
            depthwise
        } else {
            self.padded(depthwise, kernel)
        };
        x = self.part(&names.depthwise, x, depthwise, Some(activation));
        if let Some(squeezed) = squeezed {
            x = self.squeeze(&names.squeeze, x, squeezed);
        }
        self.part(&names.project, x, Conv::new(out), None)
    }

    fn squeeze(&mut self, names: &Squeeze, x: LayerId, squeezed: usize) -> LayerId {
        let Shape::Map { c, .. } = self.g.shape(x) else { return x };
        let [between, gate] = self.squeeze;
        let s = self.g.adaptive_avg_pool(&names.pool, x, 1);
        let s = self.squeeze_layer([&names.reduce, names.activation.as_deref().unwrap_or("")], s, squeezed, between);
        let s = self.squeeze_layer([&names.expand, names.gate.as_deref().unwrap_or("")], s, c, gate);
        self.g.multiply(&names.product, x, s)
    }

    /// A 1 × 1 convolution and its activation, which is part of the convolution's layer where it has no name.
    fn squeeze_layer(&mut self, [conv, own]: [&str; 2], x: LayerId, out: usize, activation: Activation) -> LayerId {
        if own.is_empty() {
            return self.g.conv_act(conv, x, Conv::new(out).bias(), activation);
        }
        let x = self.g.conv(conv, x, Conv::new(out).bias());
        self.g.activation(own, x, activation)
    }
}

/// The names of torchvision's block: a list of modules, in which each but the last is optional.
pub(super) fn torchvision(module: &str, block: &Block) -> Names {
    let mut next = 0;
    let mut at = |there: bool| {
        next += usize::from(there);
        format!("{module}.block.{}", next - usize::from(there))
    };
    let part = |at: String| Part::sequence(&at, 0).module(&at);
    let expand = part(at(block.expands));
    let depthwise = part(at(!block.fused));
    let squeeze = at(block.squeezed.is_some());
    Names {
        expand,
        depthwise,
        squeeze: Squeeze {
            pool: format!("{squeeze}.avgpool"),
            reduce: format!("{squeeze}.fc1"),
            activation: Some(format!("{squeeze}.activation")),
            expand: format!("{squeeze}.fc2"),
            gate: Some(format!("{squeeze}.scale_activation")),
            product: squeeze,
        },
        project: part(at(true)),
        sum: module.to_string(),
        module: Some(module.to_string()),
        ..Names::default()
    }
}

/// The names of timm's `InvertedResidual`, of its `DepthwiseSeparableConv`, which does not expand, of its
/// `EdgeResidual`, which is fused, and of its `ConvBnAct`, which is both.
pub(super) fn timm(module: &str, block: &Block) -> Names {
    let part = |conv: &str, norm: &str| Part::new(&format!("{module}.{conv}"), &format!("{module}.{norm}"), "");
    let [expand, depthwise, project] = match (block.fused, block.expands) {
        (false, true) => [["conv_pw", "bn1"], ["conv_dw", "bn2"], ["conv_pwl", "bn3"]],
        (false, false) => [["", ""], ["conv_dw", "bn1"], ["conv_pw", "bn2"]],
        (true, true) => [["conv_exp", "bn1"], ["", ""], ["conv_pwl", "bn2"]],
        (true, false) => [["", ""], ["", ""], ["conv", "bn1"]],
    }
    .map(|[conv, norm]| part(conv, norm));
    let at = |name: &str| format!("{module}.se.{name}");
    Names {
        expand,
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
        ..Names::default()
    }
}

/// The nearest multiple of eight, at least eight, and at least nine tenths of `channels`: `_make_divisible` and
/// `_depth` of the libraries.
pub(super) fn divisible_by_eight(channels: f64) -> usize {
    let near = nearest_multiple_of_eight(channels);
    if (near as f64) < 0.9 * channels { near + 8 } else { near }
}

/// The nearest multiple of eight, at least eight.
pub(super) fn nearest_multiple_of_eight(channels: f64) -> usize {
    ((channels + 4.0) as usize / 8 * 8).max(8)
}
