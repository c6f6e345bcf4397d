//! Samples become the picture, a row of MCUs at a time.

use super::colour;
use super::frame::{Colours, Component, Frame};
use super::idct::{LANES, Samples};
use super::upsample::Upsampling;

/// The last two rows of MCUs of a component. Two, because rows are interpolated across the seam.
pub(super) struct Band {
    samples: Vec<u8>,
    stride: usize,
    /// Samples across and down that a block gives.
    side: usize,
    /// Rows of samples in it.
    rows: usize,
    /// Of the component: samples that come from the picture.
    width: usize,
    height: usize,
    /// Of the picture: pixels that the component gives in a row, the last one perhaps beyond the edge.
    wide: usize,
    upsampling: Upsampling,
}

impl Band {
    /// A band for each component.
    pub(super) fn all(frame: &Frame) -> Vec<Self> {
        let (mcus, _) = frame.mcus();
        let band = |c: &Component| {
            let (across, down) = (frame.max_h * frame.unit / (c.h * c.side), frame.max_v * frame.unit / (c.v * c.side));
            let (stride, rows) = ((mcus * c.h).next_multiple_of(LANES) * c.side, c.v * c.side * 2);
            // libjpeg does not interpolate at an eighth of the size
            let upsampling = match frame.unit {
                1 if (across, down) != (1, 1) => Upsampling::Repeat(across, down),
                _ => Upsampling::new(across, down, c.width),
            };
            Self {
                samples: vec![0; stride * rows],
                side: c.side,
                stride,
                rows,
                width: c.width,
                height: c.height,
                wide: c.width * across,
                upsampling,
            }
        };
        frame.components.iter().map(band).collect()
    }

    /// Puts the samples of a group, whose first block is in column `x` of the component's blocks and in row `y` of those that the row
    /// `mcu_row` of MCUs has.
    #[inline(always)]
    pub(super) fn put(&mut self, mcu_row: usize, x: usize, y: usize, samples: &Samples) {
        let side = self.side;
        let top = mcu_row % 2 * self.rows / 2 + y * side;
        for (i, row) in self.samples.chunks_exact_mut(self.stride).skip(top).take(side).enumerate() {
            let row = &mut row[x * side..];
            match row.first_chunk_mut() {
                Some(place) if side == 8 => *place = *samples.row(i),
                _ => {
                    let blocks = samples.row(i).as_chunks::<8>().0;
                    row.chunks_exact_mut(side)
                        .zip(blocks)
                        .for_each(|(place, block)| place.copy_from_slice(&block[..side]));
                }
            }
        }
    }

    /// The samples of row `y`; beyond the edge, of the last row before it.
    fn row(&self, y: isize) -> &[u8] {
        let y = y.clamp(0, self.height as isize - 1) as usize % self.rows;
        &self.samples[y * self.stride..y * self.stride + self.width]
    }
}

/// The picture under way.
pub(super) struct Picture {
    pub width: usize,
    pub height: usize,
    /// RGB pixels.
    pub data: Vec<u8>,
    /// Rows of pixels that are done.
    done: usize,
    colours: Colours,
    /// The largest sampling factor down.
    max_v: usize,
    /// Rows of pixels that a row of MCUs gives.
    mcu_height: usize,
    /// For each component: a row of the picture's width, and the sums that it is made of.
    rows: Vec<(Vec<u8>, Vec<u16>)>,
}

impl Picture {
    pub(super) fn new(frame: &Frame, colours: Colours, bands: &[Band]) -> Self {
        let (width, height) = frame.made();
        let rows = bands.iter().map(|band| (vec![0; band.wide], vec![0; band.width])).collect();
        Self {
            width,
            height,
            data: vec![0; width * height * 3],
            done: 0,
            colours,
            max_v: frame.max_v,
            mcu_height: frame.max_v * frame.unit,
            rows,
        }
    }

    /// Makes the rows that can be made when `bands` hold the row `mcu_row` of MCUs and the one before it.
    pub(super) fn advance(&mut self, bands: &[Band], mcu_row: usize) {
        let reached = (mcu_row + 1) * self.mcu_height;
        // the rows at the lower edge wait for their neighbours
        let until = if reached >= self.height { self.height } else { reached - self.max_v };
        pulp::Arch::new().dispatch(Advance { picture: self, bands, until });
    }
}

struct Advance<'a> {
    picture: &'a mut Picture,
    bands: &'a [Band],
    until: usize,
}

impl pulp::NullaryFnOnce for Advance<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Picture { width, data, done, colours, rows, .. } = self.picture;
        let lines = data.chunks_exact_mut(*width * 3).enumerate();
        for (y, line) in lines.take(self.until).skip(*done) {
            let mut samples: [&[u8]; 4] = [&[]; 4];
            for ((samples, band), (row, sums)) in samples.iter_mut().zip(self.bands).zip(rows.iter_mut()) {
                let (near, far) = band.upsampling.rows(y);
                let near = band.row(near as isize);
                if band.upsampling == Upsampling::None {
                    *samples = near;
                } else {
                    band.upsampling.row(y, near, band.row(far), sums, row);
                    *samples = &row[..*width];
                }
            }
            colour::row(*colours, &samples, line);
        }
        *done = self.until;
    }
}
