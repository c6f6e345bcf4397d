//! Upsamples subsampled components to the size of the picture, as libjpeg's fancy upsampling does (`jdsample.c`).
//!
//! A component of half the size is interpolated: a sample lies in the middle of its pixels, so a pixel is three
//! quarters of the nearer sample and one quarter of the farther one. Beyond the edge the last sample is repeated. Ties
//! are rounded up and down by turns, so that no error accumulates. Components that are reduced in other ways, or that
//! are at most two samples wide, are repeated.

/// The method by which a component is upsampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upsampling {
    None,
    /// Interpolation of a component of half the width, half the height, or both, with libjpeg's names.
    H2V1,
    H1V2,
    H2V2,
    /// Repetition of every sample; the numbers are its pixels across and down.
    Repeat(usize, usize),
}

impl Upsampling {
    /// Chooses the method for a component that is `width` samples wide, where a sample covers `across` × `down` pixels.
    pub(super) fn new(across: usize, down: usize, width: usize) -> Self {
        match (across, down) {
            (1, 1) => Self::None,
            (2, 1) if width > 2 => Self::H2V1,
            (1, 2) => Self::H1V2,
            (2, 2) if width > 2 => Self::H2V2,
            _ => Self::Repeat(across, down),
        }
    }

    /// Returns the nearest row of the component for the picture's row `y`, and the row on its other side where rows are
    /// interpolated. That row may lie beyond the edge, at -1 or at the height.
    pub(super) fn rows(self, y: usize) -> (usize, isize) {
        match self {
            Self::None | Self::H2V1 => (y, y as isize),
            Self::Repeat(_, down) => (y / down, (y / down) as isize),
            Self::H1V2 | Self::H2V2 => {
                let near = (y / 2) as isize;
                (y / 2, if y.is_multiple_of(2) { near - 1 } else { near + 1 })
            }
        }
    }

    /// Makes the picture's row `y` from the rows `near` and `far`. `out` has room for the pixels of all their samples.
    /// `sums` is scratch space of their length.
    #[inline(always)]
    pub(super) fn row(self, y: usize, near: &[u8], far: &[u8], sums: &mut [u16], out: &mut [u8]) {
        match self {
            Self::None => out.copy_from_slice(near),
            Self::H2V1 => {
                sums.iter_mut().zip(near).for_each(|(sum, v)| *sum = u16::from(*v));
                across::<1, 2, 2>(sums, out);
            }
            Self::H1V2 => {
                let bias = if y.is_multiple_of(2) { 1 } else { 2 };
                for ((out, near), far) in out.iter_mut().zip(near).zip(far) {
                    *out = ((u16::from(*near) * 3 + u16::from(*far) + bias) >> 2) as u8;
                }
            }
            Self::H2V2 => {
                for ((sum, near), far) in sums.iter_mut().zip(near).zip(far) {
                    *sum = u16::from(*near) * 3 + u16::from(*far);
                }
                across::<8, 7, 4>(sums, out);
            }
            Self::Repeat(times, _) => {
                for (pixels, sample) in out.chunks_exact_mut(times).zip(near) {
                    pixels.fill(*sample);
                }
            }
        }
    }
}

/// Interpolates along a row. `LEFT` and `RIGHT` are the rounding offsets of a sample's two pixels, which are then
/// shifted right by `DOWN` bits.
#[inline(always)]
fn across<const LEFT: u16, const RIGHT: u16, const DOWN: u32>(samples: &[u16], out: &mut [u8]) {
    let pair = |before: u16, here: u16, after: u16| {
        [((here * 3 + before + LEFT) >> DOWN) as u8, ((here * 3 + after + RIGHT) >> DOWN) as u8]
    };
    let (pairs, _) = out.as_chunks_mut::<2>();
    let &[first, second, .., before_last, last] = samples else { return across_short(samples, pairs, pair) };
    let count = samples.len();
    pairs[0] = pair(first, first, second);
    let inner = pairs[1..count - 1].iter_mut();
    for (((out, before), here), after) in inner.zip(samples).zip(&samples[1..]).zip(&samples[2..]) {
        *out = pair(*before, *here, *after);
    }
    pairs[count - 1] = pair(before_last, last, last);
}

/// Interpolates along a row of fewer than four samples.
fn across_short(samples: &[u16], pairs: &mut [[u8; 2]], pair: impl Fn(u16, u16, u16) -> [u8; 2]) {
    for (i, (out, here)) in pairs.iter_mut().zip(samples).enumerate() {
        let before = samples.get(i.wrapping_sub(1)).unwrap_or(here);
        *out = pair(*before, *here, *samples.get(i + 1).unwrap_or(here));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(upsampling: Upsampling, y: usize, near: &[u8], far: &[u8], width: usize) -> Vec<u8> {
        let mut out = vec![0; width];
        upsampling.row(y, near, far, &mut vec![0; near.len()], &mut out);
        out
    }

    #[test]
    fn halved_rows_are_interpolated_and_ties_go_both_ways() {
        let upsampling = Upsampling::new(2, 1, 5);
        let samples = [0, 2, 100, 101, 255];
        assert_eq!(row(upsampling, 0, &samples, &samples, 10), [0, 1, 1, 27, 75, 100, 101, 140, 216, 255]);
        assert_eq!(row(upsampling, 0, &samples[..3], &samples, 6), [0, 1, 1, 27, 75, 100]);
        let upsampling = Upsampling::new(1, 2, 1);
        assert_eq!((upsampling.rows(0), upsampling.rows(1), upsampling.rows(6)), ((0, -1), (0, 1), (3, 2)));
        assert_eq!((row(upsampling, 0, &[10], &[12], 1), row(upsampling, 1, &[10], &[12], 1)), (vec![10], vec![11]));
        let upsampling = Upsampling::new(2, 2, 3);
        // The sums of the rows are 40, 44 and 1020.
        assert_eq!(row(upsampling, 0, &[10, 11, 255], &[10, 11, 255], 6), [10, 10, 11, 72, 194, 255]);
    }

    #[test]
    fn other_reductions_are_repeated() {
        assert_eq!(Upsampling::new(2, 1, 2), Upsampling::Repeat(2, 1));
        assert_eq!(Upsampling::new(2, 2, 2), Upsampling::Repeat(2, 2));
        let upsampling = Upsampling::new(4, 3, 9);
        assert_eq!((upsampling, upsampling.rows(7)), (Upsampling::Repeat(4, 3), (2, 2)));
        assert_eq!(row(upsampling, 7, &[5, 6], &[], 8), [5, 5, 5, 5, 6, 6, 6, 6]);
    }
}
