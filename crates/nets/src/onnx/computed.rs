//! Constants that need more than a value for each value: products of matrices, copies, and grids of other sizes.

use super::array::{Array, Data, JOINED, changeable};
use super::node::Node;
use super::shape;
use crate::weights::Tensor;
use crate::weights::positions::of_neighbours;

/// Most positions of a resized grid along an axis.
const SIDE: usize = 1 << 12;

/// Multiplications of `MatMul`; none where the sizes do not go together.
pub(super) fn multiplications(a: &Array, b: &Array) -> Option<usize> {
    let [rows, columns] = b.dims[..] else { return None };
    (a.dims.last() == Some(&rows)).then(|| a.len().saturating_mul(columns))
}

/// An array times a matrix.
pub(super) fn product(a: &Array, b: &Array) -> Result<Array, String> {
    if multiplications(a, b).is_none() {
        return Err(format!("a constant of {:?} times one of {:?} is not computed", a.dims, b.dims));
    }
    let (rows, columns) = (b.dims[0], b.dims[1]);
    let mut dims = a.dims.clone();
    dims.pop();
    dims.push(columns);
    let (left, right, count) = (a.numbers_up_to(JOINED)?, b.numbers()?, shape::count(&dims)?);
    if count > JOINED {
        return Err(format!("a constant of {dims:?} is too large to be computed"));
    }
    if rows == 0 {
        return Ok(Array::floats(dims, &vec![0.0; count]));
    }
    let mut values = Vec::with_capacity(count);
    for row in left.chunks_exact(rows) {
        let mut sums = vec![0.0f64; columns];
        for (factor, row) in row.iter().zip(right.chunks_exact(columns.max(1))) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += factor * value);
        }
        values.extend(sums);
    }
    Ok(Array::floats(dims, &values))
}

/// Where the values begin that the rows of `indices` name in an array, and how many follow one another there.
fn places(x: &Array, indices: &Array) -> Result<(Vec<usize>, usize), String> {
    let depth = indices.dims.last().copied().unwrap_or(0);
    if depth == 0 || depth > x.dims.len() {
        return Err(format!("places of {depth} dimensions in {:?}", x.dims));
    }
    let (strides, run) = (shape::strides(&x.dims), x.dims[depth..].iter().product::<usize>());
    let places = indices.to_ints()?.chunks_exact(depth).map(|row| {
        let steps = row.iter().zip(&x.dims).zip(&strides).map(|((&at, &size), stride)| {
            let at = if at < 0 { at.saturating_add(size as i64) } else { at };
            usize::try_from(at).ok().filter(|&at| at < size).map(|at| at * stride)
        });
        steps.sum::<Option<usize>>().ok_or_else(|| format!("there is no place {row:?} in {:?}", x.dims))
    });
    Ok((places.collect::<Result<_, _>>()?, run))
}

/// The values at the places that the rows of `indices` name.
pub(super) fn collected(x: &Array, indices: &Array) -> Result<Array, String> {
    let (places, run) = places(x, indices)?;
    let depth = indices.dims.len() - 1;
    let dims = [&indices.dims[..depth], &x.dims[indices.dims[depth]..]].concat();
    x.picked(dims, move |i| places[i / run] + i % run)
}

/// The array with other values at the places that the rows of `indices` name.
pub(super) fn scattered(x: &Array, indices: &Array, updates: &Array) -> Result<Array, String> {
    let (places, run) = places(x, indices)?;
    if updates.len() != places.len() * run {
        return Err(format!("{} values are put to {} places", updates.len(), places.len() * run));
    }
    if let (Data::Ints(values), Data::Ints(new)) = (&x.data, &updates.data) {
        let mut values = values.clone();
        places.iter().zip(new.chunks(run.max(1))).for_each(|(&at, new)| values[at..at + run].copy_from_slice(new));
        return Ok(Array { dims: x.dims.clone(), data: Data::Ints(values) });
    }
    let (mut values, new) = (x.numbers()?, updates.numbers()?);
    places.iter().zip(new.chunks(run.max(1))).for_each(|(&at, new)| values[at..at + run].copy_from_slice(new));
    Ok(Array::floats(x.dims.clone(), &values))
}

/// So many copies along each dimension.
pub(super) fn tiled(x: &Array, copies: &Array) -> Result<Array, String> {
    let copies = shape::sizes(copies.to_ints()?)?;
    if copies.len() != x.dims.len() {
        return Err(format!("{:?} is copied {copies:?} times", x.dims));
    }
    let pairs = |a: &[usize], b: &[usize]| a.iter().zip(b).flat_map(|(&a, &b)| [a, b]).collect::<Vec<usize>>();
    let ones = vec![1; copies.len()];
    let dims = x.dims.iter().zip(&copies).map(|(size, copies)| size.checked_mul(*copies));
    let dims = dims.collect::<Option<Vec<_>>>().ok_or("a constant is copied too often")?;
    x.with_dims(pairs(&ones, &x.dims))?.expanded(pairs(&copies, &x.dims))?.with_dims(dims)
}

/// A grid `(1, c, h, w)` of another size, by cubic splines.
pub(super) fn resized(node: &Node, x: &Array, inputs: &[Option<&Array>]) -> Result<Array, String> {
    let input = |i: usize| inputs.get(i).copied().flatten().filter(|array| array.len() > 0);
    let [n, c, h, w] = x.dims[..] else { return Err(format!("a constant of {:?} is resized", x.dims)) };
    let (size, scales) = match (input(2), input(3)) {
        (_, Some(sizes)) => (shape::sizes(sizes.to_ints()?)?, None),
        (Some(scales), None) => {
            let scales = scales.numbers()?;
            let size = x.dims.iter().zip(&scales).map(|(&size, scale)| (size as f64 * scale) as usize);
            (size.collect(), Some(scales))
        }
        _ => return Err("its new sizes are missing".to_string()),
    };
    let [more, channels, tall, wide] = size[..] else { return Err(format!("its new sizes are {size:?}")) };
    if (more, channels) != (n, c) || n != 1 || tall.max(wide) > SIDE || [h, w, tall, wide].contains(&0) {
        return Err(format!("a constant of {:?} is resized to {size:?}", x.dims));
    }
    if [tall, wide] == [h, w] && scales.is_none() {
        return Ok(x.clone());
    }
    let coordinates = node.text("coordinate_transformation_mode");
    let known = node.text("mode") == "cubic"
        && ["", "half_pixel", "pytorch_half_pixel"].contains(&coordinates)
        && (node.float("cubic_coeff_a").unwrap_or(-0.75) + 0.75).abs() < 1e-6
        // there ONNX takes the first place, not the middle
        && (coordinates != "pytorch_half_pixel" || ![tall, wide].contains(&1))
        && ["", "stretch"].contains(&node.text("keep_aspect_ratio_policy"))
        && node.int("antialias", 0) == 0
        && node.int("exclude_outside", 0) == 0;
    if !known {
        return Err(format!("a constant is resized by `{}`, `{coordinates}`", node.text("mode")));
    }
    let step = |at: usize, old: usize, new: usize| match &scales {
        Some(scales) => 1.0 / scales[at],
        None => old as f64 / new as f64,
    };
    let rows = of_neighbours(h, tall, step(2, h, tall), false);
    let columns = of_neighbours(w, wide, step(3, w, wide), false);
    let dims = vec![1, c, tall, wide];
    if shape::count(&dims)? > JOINED {
        return Err(format!("a constant of {dims:?} is too large to be computed"));
    }
    let change = move |values: Vec<f32>| {
        let mut out = Vec::with_capacity(c * tall * wide);
        for plane in values.chunks_exact(h * w) {
            let row = |row: &[f32]| -> Vec<f64> {
                columns.iter().map(|terms| terms.iter().map(|&(at, share)| share * f64::from(row[at])).sum()).collect()
            };
            let narrow: Vec<Vec<f64>> = plane.chunks_exact(w).map(row).collect();
            for terms in &rows {
                let mixed = |at: usize| terms.iter().map(|&(row, share)| share * narrow[row][at]).sum::<f64>() as f32;
                out.extend((0..wide).map(mixed));
            }
        }
        out
    };
    let tensor: &Tensor = changeable(x.tensor()?)?;
    Ok(Array { data: Data::Floats(tensor.map(dims.clone(), change)), dims })
}
