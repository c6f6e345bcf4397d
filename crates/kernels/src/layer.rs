//! The words in which a layer is described to a kernel: its window, its padding, its pooling and its activation.

/// Zeros put around a map before a window runs over it: top, bottom, left, right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pad {
    pub top: usize,
    pub bottom: usize,
    pub left: usize,
    pub right: usize,
}

impl Pad {
    /// True when nothing is added.
    pub fn is_zero(self) -> bool {
        self == Pad::default()
    }
}

/// A sliding window: kernel and stride in (height, width), and the zeros around the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub pad: Pad,
}

/// What a pooling window makes of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The largest; what is padded never wins.
    Max,
    /// The mean of the values inside the map: TensorFlow's, PyTorch's with `count_include_pad=False`.
    Avg,
    /// The mean over the window with its zeros: PyTorch's `AvgPool2d` by default. What `ceil_mode` adds beyond the padding is not counted.
    AvgWithPad,
}

/// A function that is applied to each value by itself; a kernel applies it to its sums before it writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0)
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
}

impl Activation {
    /// The lower and the upper limit to which the activation cuts a value; none for an activation that does more than that, which no kernel can
    /// apply to its sums.
    pub fn limits(self) -> Option<[f32; 2]> {
        match self {
            Activation::Relu => Some([0.0, f32::INFINITY]),
            Activation::Relu6 => Some([0.0, 6.0]),
        }
    }
}

/// The limits that a kernel applies to its sums.
pub(crate) fn limits(activation: Option<Activation>) -> [f32; 2] {
    activation.and_then(Activation::limits).unwrap_or([f32::NEG_INFINITY, f32::INFINITY])
}
