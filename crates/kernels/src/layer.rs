//! The parameters of a layer that graphs and kernels share: window, padding, pooling and activation.

/// Rows and columns of zeros around a map, as many as a window may reach beyond each of its sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pad {
    pub top: usize,
    pub bottom: usize,
    pub left: usize,
    pub right: usize,
}

impl Pad {
    /// Whether nothing is added.
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
    /// Rows and columns of the map from one value of the kernel to the next. Pools support only 1.
    pub dilation: [usize; 2],
}

impl Window {
    /// Makes a window whose values lie side by side in the map.
    pub fn new(kernel: [usize; 2], stride: [usize; 2], pad: Pad) -> Self {
        Self { kernel, stride, pad, dilation: [1, 1] }
    }

    /// Whether the values of the kernel lie apart in the map.
    pub fn is_dilated(self) -> bool {
        self.dilation != [1, 1]
    }

    /// Returns the rows and columns of the map from the first to the last value of the kernel.
    pub fn reach(self) -> [usize; 2] {
        reach(self.kernel, self.dilation)
    }
}

pub(crate) fn reach(kernel: [usize; 2], dilation: [usize; 2]) -> [usize; 2] {
    [0, 1].map(|i| (kernel[i] - 1) * dilation[i] + 1)
}

/// How a pooling layer reduces the values of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The largest value inside the map; padding never wins.
    Max,
    /// The mean of the values inside the map: TensorFlow's, PyTorch's with `count_include_pad=False`.
    Avg,
    /// The mean over the window with its zeros: PyTorch's `AvgPool2d` by default. Positions that `ceil_mode` adds
    /// beyond the padding do not count.
    AvgWithPad,
}

/// An elementwise function; the epilogue of a kernel applies it to the sums before it writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0)
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
    /// 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// x / (1 + e⁻ˣ), also called swish.
    Silu,
    /// min(max(x + 3, 0), 6) / 6
    HardSigmoid,
    /// x · min(max(x + 3, 0), 6) / 6
    HardSwish,
    /// x · Φ(x), Φ being the distribution function of the normal distribution: `gelu` with the error function.
    Gelu,
    /// x · (1 + tanh(√(2/π) · (x + 0.044715 · x³))) / 2: `gelu` with `approximate="tanh"`, up to 5 · 10⁻⁴ away from it.
    GeluTanh,
    /// x / (1 + e^(−1.702 · x)): the GELU of OpenAI's CLIP.
    QuickGelu,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Self; 9] = [
        Self::Relu,
        Self::Relu6,
        Self::Sigmoid,
        Self::Silu,
        Self::HardSigmoid,
        Self::HardSwish,
        Self::Gelu,
        Self::GeluTanh,
        Self::QuickGelu,
    ];

    /// Returns the lower and the upper bound to which the activation clamps a value; none for an activation that does
    /// more, which [`activation`](crate::activation) applies to the values that a kernel has written.
    pub fn limits(self) -> Option<[f32; 2]> {
        match self {
            Activation::Relu => Some([0.0, f32::INFINITY]),
            Activation::Relu6 => Some([0.0, 6.0]),
            _ => None,
        }
    }
}

/// Returns the lower and the upper bound to which a kernel clamps its sums.
pub(crate) fn clamp_bounds(activation: Option<Activation>) -> [f32; 2] {
    activation.and_then(Activation::limits).unwrap_or([f32::NEG_INFINITY, f32::INFINITY])
}
