//! Convolution and pooling windows as a family's code describes them, before the size of the map is known.

use super::graph::{Pad, Pooling, Window};

/// The padding of a window, before the input size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Padding {
    Fixed(Pad),
    /// TensorFlow's `SAME`: the output has ceil(input / stride) positions; an odd number of zeros has one more at the
    /// bottom and at the right.
    Same,
}

/// A convolution (cross-correlation, as in every framework) without its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conv {
    pub(super) out: Option<usize>,
    pub(super) groups: usize,
    pub(super) kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
    pub(super) bias: bool,
}

impl Conv {
    /// `out` filters of 1 × 1, stride 1, no padding, no bias.
    pub(crate) fn new(out: usize) -> Self {
        let padding = Padding::Fixed(Pad::default());
        Self { out: Some(out), groups: 1, kernel: [1, 1], stride: [1, 1], padding, bias: false }
    }

    /// One filter for each input channel.
    pub(crate) fn depthwise() -> Self {
        Self { out: None, ..Self::new(0) }
    }

    /// Filters in `n` groups; each reads its share of the channels.
    pub(crate) fn groups(mut self, n: usize) -> Self {
        self.groups = n;
        self
    }

    /// A square kernel.
    pub(crate) fn kernel(self, k: usize) -> Self {
        self.kernel2(k, k)
    }

    /// A kernel of `h` rows and `w` columns.
    pub(crate) fn kernel2(mut self, h: usize, w: usize) -> Self {
        self.kernel = [h, w];
        self
    }

    /// The same stride down and across.
    pub(crate) fn stride(mut self, s: usize) -> Self {
        self.stride = [s, s];
        self
    }

    /// `p` zeros on every side, as PyTorch's `padding=p`.
    pub(crate) fn pad(self, p: usize) -> Self {
        self.pad2(p, p)
    }

    /// `v` zeros above and below, `h` left and right, as PyTorch's `padding=(v, h)`.
    pub(crate) fn pad2(mut self, v: usize, h: usize) -> Self {
        self.padding = Padding::Fixed(Pad { top: v, bottom: v, left: h, right: h });
        self
    }

    /// TensorFlow's `padding="same"`.
    pub(crate) fn same(mut self) -> Self {
        self.padding = Padding::Same;
        self
    }

    /// With a bias for each filter.
    pub(crate) fn bias(mut self) -> Self {
        self.bias = true;
        self
    }

    /// The window on a map of `[height, width]`, when it fits.
    pub(super) fn place(&self, size: [usize; 2]) -> Option<Placed> {
        place(size, self.kernel, self.stride, self.padding)
    }
}

/// A pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(super) pooling: Pooling,
    pub(super) kernel: usize,
    stride: usize,
    padding: Padding,
    ceil: bool,
}

impl Pool {
    fn new(pooling: Pooling, kernel: usize) -> Self {
        Self { pooling, kernel, stride: kernel, padding: Padding::Fixed(Pad::default()), ceil: false }
    }

    /// The maximum of a `kernel` × `kernel` window; the stride is the kernel, without padding.
    pub(crate) fn max(kernel: usize) -> Self {
        Self::new(Pooling::Max, kernel)
    }

    /// The mean of the values of a `kernel` × `kernel` window that lie inside the map.
    pub(crate) fn avg(kernel: usize) -> Self {
        Self::new(Pooling::Avg, kernel)
    }

    /// The mean over a `kernel` × `kernel` window, padding counted as zeros: PyTorch's `AvgPool2d` by default.
    pub(crate) fn avg_with_pad(kernel: usize) -> Self {
        Self::new(Pooling::AvgWithPad, kernel)
    }

    pub(crate) fn stride(mut self, s: usize) -> Self {
        self.stride = s;
        self
    }

    /// `p` on every side, as PyTorch's `padding=p`.
    pub(crate) fn pad(mut self, p: usize) -> Self {
        self.padding = Padding::Fixed(Pad { top: p, bottom: p, left: p, right: p });
        self
    }

    /// TensorFlow's `padding="same"`.
    pub(crate) fn same(mut self) -> Self {
        self.padding = Padding::Same;
        self
    }

    /// PyTorch's `ceil_mode=True`: a last window that extends beyond the map is kept if it begins inside the map or its
    /// left padding.
    pub(crate) fn ceil(mut self) -> Self {
        self.ceil = true;
        self
    }

    /// The window on a map of `[height, width]`, when it fits.
    pub(super) fn place(&self, size: [usize; 2]) -> Option<Placed> {
        let mut placed = place(size, [self.kernel; 2], [self.stride; 2], self.padding)?;
        if self.ceil {
            let Pad { top, bottom, left, right } = placed.window.pad;
            placed.out[0] += self.overhang(size[0], [top, bottom], placed.out[0]);
            placed.out[1] += self.overhang(size[1], [left, right], placed.out[1]);
        }
        Some(placed)
    }

    /// PyTorch's rule: one window more if positions are left over, unless it would begin in the padding after the map.
    fn overhang(&self, size: usize, [before, after]: [usize; 2], out: usize) -> usize {
        let left_over = (size + before + after - self.kernel) % self.stride;
        usize::from(left_over > 0 && out * self.stride < size + before)
    }
}

/// A window on a map of known size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub window: Window,
    /// Height and width of the output.
    pub out: [usize; 2],
}

fn place(size: [usize; 2], kernel: [usize; 2], stride: [usize; 2], padding: Padding) -> Option<Placed> {
    let pad = match padding {
        Padding::Fixed(pad) => pad,
        Padding::Same => same_padding(size, kernel, stride),
    };
    let (tall, wide) = (size[0] + pad.top + pad.bottom, size[1] + pad.left + pad.right);
    if tall < kernel[0] || wide < kernel[1] {
        return None;
    }
    let out = [(tall - kernel[0]) / stride[0] + 1, (wide - kernel[1]) / stride[1] + 1];
    Some(Placed { window: Window::new(kernel, stride, pad), out })
}

/// TensorFlow's `SAME`: max((ceil(n / s) − 1) · s + k − n, 0) zeros in total; of an odd number one more at the end.
fn same_padding(size: [usize; 2], kernel: [usize; 2], stride: [usize; 2]) -> Pad {
    let total = |i: usize| ((size[i].div_ceil(stride[i]) - 1) * stride[i] + kernel[i]).saturating_sub(size[i]);
    let (v, h) = (total(0), total(1));
    Pad { top: v / 2, bottom: v - v / 2, left: h / 2, right: h - h / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_puts_the_odd_zero_at_the_end() {
        let pad = same_padding([224, 225], [3, 3], [2, 2]);
        assert_eq!(pad, Pad { top: 0, bottom: 1, left: 1, right: 1 });
        assert_eq!(same_padding([7, 7], [5, 5], [1, 1]), Pad { top: 2, bottom: 2, left: 2, right: 2 });
        assert_eq!(same_padding([8, 8], [1, 1], [2, 2]), Pad::default());
    }

    #[test]
    fn ceil_mode_keeps_a_last_window_that_begins_inside() {
        let out = |pool: Pool, n: usize| pool.place([n, n]).map(|placed| placed.out[0]);
        assert_eq!(out(Pool::max(3).stride(2), 112), Some(55));
        assert_eq!(out(Pool::max(3).stride(2).ceil(), 112), Some(56));
        // torch.nn.MaxPool2d(2, 2, ceil_mode=True) and (3, 2, padding=1, ceil_mode=True)
        assert_eq!(out(Pool::max(2).ceil(), 7), Some(4));
        assert_eq!(out(Pool::max(3).stride(2).pad(1).ceil(), 6), Some(4));
        assert_eq!(out(Pool::max(2).stride(3).pad(1).ceil(), 5), Some(2));
        assert_eq!(out(Pool::max(9), 8), None);
    }
}
