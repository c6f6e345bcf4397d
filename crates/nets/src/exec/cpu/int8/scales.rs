//! Decides which values are int8, and chooses the scale and the zero point of each of their channels.

use super::{Quant, is_integer};
use crate::exec::ExecError;
use crate::exec::cpu::map::Map;
use crate::exec::cpu::memory_plan::Fused;
use crate::exec::lower::Kernel;
use crate::exec::ranges::Ranges;

/// The scales of each value; none where it is f32. `names` has the layer that computes each value.
pub(crate) fn scales(
    steps: &[Fused],
    maps: &[Map],
    names: &[Option<String>],
    ranges: &Ranges,
) -> Result<Vec<Option<Quant>>, ExecError> {
    let bytes = bytes(steps, maps);
    let sources = sources(steps, maps);
    let mut own: Vec<Option<Quant>> = vec![None; maps.len()];
    for value in (0..maps.len()).filter(|&value| bytes[value]) {
        for &(source, _) in &sources[value] {
            if own[source].is_some() {
                continue;
            }
            let name = names.get(source).and_then(Option::as_ref);
            let missing = || ExecError::NoRange { layer: name.cloned().unwrap_or_default() };
            let found = name.and_then(|name| ranges.layer(name)).filter(|found| found.low.len() == maps[source].c);
            let found = found.ok_or_else(missing)?;
            let of = if source == 0 { of_picture } else { of_range };
            own[source] = Some(of(&found.low, &found.high));
        }
    }
    let quant = |value: usize| {
        let channel =
            |&(source, c): &(usize, usize)| own[source].as_ref().map(|quant| (quant.scale[c], quant.offset[c]));
        let (scale, offset) = sources[value].iter().filter_map(channel).unzip();
        Quant::new(scale, offset)
    };
    Ok((0..maps.len()).map(|value| bytes[value].then(|| quant(value))).collect())
}

/// For each value whether it is bytes. It is where an integer step reads it or, unless it is a sum, adds it; where its
/// bytes are copied to such a value; and where another term of its concatenation is bytes.
fn bytes(steps: &[Fused], maps: &[Map]) -> Vec<bool> {
    let mut bytes = vec![false; maps.len()];
    let sums = steps.iter().filter(|fused| fused.added.is_some() || matches!(fused.step.kernel, Kernel::Add));
    let sums: Vec<usize> = sums.map(|fused| fused.step.output).collect();
    for fused in steps.iter().filter(|fused| is_integer(fused, maps)) {
        bytes[fused.step.inputs[0]] = true;
        fused.added.iter().filter(|value| !sums.contains(value)).for_each(|&value| bytes[value] = true);
    }
    loop {
        let before = bytes.clone();
        for Fused { step, .. } in steps {
            let (inputs, output) = (&step.inputs, step.output);
            match step.kernel {
                Kernel::Concat => {
                    let any = bytes[output] || inputs.iter().any(|&term| bytes[term]);
                    inputs.iter().chain([&output]).for_each(|&value| bytes[value] = any);
                }
                Kernel::Pool { .. } | Kernel::Slice(_) | Kernel::Shuffle(_) => bytes[inputs[0]] |= bytes[output],
                _ => {}
            }
        }
        if bytes == before {
            return bytes;
        }
    }
}

/// For each channel of each value the value and the channel from which its bytes are copied.
fn sources(steps: &[Fused], maps: &[Map]) -> Vec<Vec<(usize, usize)>> {
    let mut all: Vec<Vec<(usize, usize)>> =
        maps.iter().enumerate().map(|(value, map)| (0..map.c).map(|c| (value, c)).collect()).collect();
    for Fused { step, .. } in steps {
        let (input, output) = (step.inputs[0], step.output);
        let c = maps[output].c;
        match step.kernel {
            Kernel::Concat => all[output] = step.inputs.iter().flat_map(|&term| all[term].clone()).collect(),
            Kernel::Pool { .. } => all[output] = all[input].clone(),
            Kernel::Slice(first) => all[output] = all[input][first..first + c].to_vec(),
            Kernel::Shuffle(groups) => {
                let columns = c / groups;
                all[output] = (0..c).map(|i| all[input][i % groups * columns + i / groups]).collect();
            }
            _ => {}
        }
    }
    all
}

/// Where channels have scales of their own, the range of a channel is multiplied by `MARGIN`, and is at least `LEAST`
/// of the widest range: its values may be larger in other pictures than in those of the calibration.
const MARGIN: f64 = 1.5;
const LEAST: f64 = 0.25;

/// A value that is never negative has one scale for all channels, since some of these are active in few pictures; its
/// zero point is the byte 0, so that no clamp is needed below, and the largest byte is not above the bound of an
/// activation. For any other value each channel has a scale of its own, and the middle of its range is the middle of
/// the bytes.
pub(super) fn of_range(low: &[f32], high: &[f32]) -> Quant {
    let ends: Vec<[f64; 2]> =
        low.iter().zip(high).map(|(&low, &high)| [f64::from(low).min(0.0), f64::from(high).max(0.0)]).collect();
    let range = ends.iter().map(|[low, high]| high - low).fold(0.0, f64::max);
    let positive = ends.iter().all(|[low, _]| *low == 0.0);
    let channel = |[low, high]: &[f64; 2]| {
        let own = if positive { range } else { (MARGIN * (high - low)).clamp(LEAST * range, range) };
        let scale = own.max(f64::from(f32::MIN_POSITIVE) * 1e6) / 255.0;
        let offset = if positive { 0.0 } else { 127.5 - (low + high) / 2.0 / scale };
        (scale as f32, offset as f32)
    };
    let (scale, offset) = ends.iter().map(channel).unzip();
    Quant::new(scale, offset)
}

/// The scales of the picture: the 256 levels of each channel from the darkest to the brightest that calibration has
/// seen.
pub(super) fn of_picture(low: &[f32], high: &[f32]) -> Quant {
    let scale: Vec<f32> =
        low.iter().zip(high).map(|(low, high)| (high - low).max(f32::MIN_POSITIVE * 1e6) / 255.0).collect();
    let offset = low.iter().zip(&scale).map(|(low, scale)| -low / scale).collect();
    Quant::new(scale, offset)
}
