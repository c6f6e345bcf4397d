//! The windows of convolutions and pools: strides, padding and the rounding of sizes, as ONNX writes them.

use super::node::Node;
use crate::models::graph::{Pad, Window};

/// The largest kernel, stride, padding or dilation along an axis.
const MOST: i64 = 1 << 12;

/// A window on a map, and the height and width of what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub window: Window,
    pub out: [usize; 2],
}

/// The kernel of a pool.
pub(super) fn kernel(node: &Node) -> Result<[usize; 2], String> {
    pair(node, "kernel_shape")?.ok_or_else(|| "its kernel_shape is missing".to_string())
}

/// The window of `node` with that kernel on a map of that height and width.
pub(super) fn place(node: &Node, kernel: [usize; 2], size: [usize; 2]) -> Result<Placed, String> {
    if kernel.contains(&0) || kernel.iter().any(|&side| side as i64 > MOST) {
        return Err(format!("its kernel is {kernel:?}"));
    }
    let stride = pair(node, "strides")?.unwrap_or([1, 1]);
    let dilation = pair(node, "dilations")?.unwrap_or([1, 1]);
    if stride.contains(&0) || dilation.contains(&0) {
        return Err("a stride or a dilation is 0".to_string());
    }
    let mut window = Window { dilation, ..Window::new(kernel, stride, Pad::default()) };
    let reach = window.reach();
    // TensorFlow's rule: the odd zero stands behind, or before for `SAME_LOWER`
    let same = |i: usize, lower: bool| {
        let total = ((size[i].div_ceil(stride[i]) - 1) * stride[i] + reach[i]).saturating_sub(size[i]);
        let (less, more) = (total / 2, total - total / 2);
        if lower { [more, less] } else { [less, more] }
    };
    let [[top, bottom], [left, right]] = match node.text("auto_pad") {
        "" | "NOTSET" => match whole(node.ints("pads").unwrap_or(&[0; 4]))?[..] {
            [top, left, bottom, right] => [[top, bottom], [left, right]],
            _ => return Err("its pads are not four".to_string()),
        },
        "VALID" => [[0; 2]; 2],
        "SAME_UPPER" => [same(0, false), same(1, false)],
        "SAME_LOWER" => [same(0, true), same(1, true)],
        other => return Err(format!("its auto_pad is `{other}`")),
    };
    let ceil = node.int("ceil_mode", 0) == 1;
    let out = |i: usize, before: usize, after: usize| {
        let free = (size[i] + before + after).checked_sub(reach[i])?;
        let out = free / stride[i] + 1;
        // a window more where something is left over, unless it would begin in the padding behind the map
        let more = ceil && free % stride[i] > 0 && out * stride[i] < size[i] + before;
        Some(out + usize::from(more))
    };
    let sizes = out(0, top, bottom).zip(out(1, left, right));
    let too_small = || format!("its window of {reach:?} does not fit a map of {size:?}; is the picture too small?");
    let (h, w) = sizes.ok_or_else(too_small)?;
    window.pad = Pad { top, bottom, left, right };
    Ok(Placed { window, out: [h, w] })
}

fn pair(node: &Node, name: &str) -> Result<Option<[usize; 2]>, String> {
    let Some(values) = node.ints(name) else { return Ok(None) };
    match whole(values)?[..] {
        [h, w] => Ok(Some([h, w])),
        _ => Err(format!("its {name} are {values:?}; two were expected")),
    }
}

fn whole(values: &[i64]) -> Result<Vec<usize>, String> {
    let one = |&value: &i64| usize::try_from(value).ok().filter(|_| value <= MOST);
    values.iter().map(one).collect::<Option<_>>().ok_or_else(|| format!("{values:?} are no sizes of a window"))
}
