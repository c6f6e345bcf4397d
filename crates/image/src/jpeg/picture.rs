//! Upsamples the components and converts them to pixels, one row of MCUs at a time.

use super::colour;
use super::frame::{ColourSpace, Component, Frame};
use super::idct::{LANES, Samples};
use super::upsample::Upsampling;

/// The samples of a component in the last two rows of MCUs; upsampling needs both, because it interpolates across the
/// boundary between them.
pub(super) struct ComponentRows {
    samples: Vec<u8>,
    stride: usize,
    /// The samples across and down that a block gives.
    block_side: usize,
    /// The number of rows of samples that are held.
    rows: usize,
    /// The size of the component in samples that come from the picture.
    width: usize,
    height: usize,
    /// The number of pixels that a row of samples gives; the last one may lie beyond the edge of the picture.
    wide: usize,
    upsampling: Upsampling,
}

impl ComponentRows {
    /// Makes the rows of every component.
    pub(super) fn all(frame: &Frame) -> Vec<Self> {
        let (mcus, _) = frame.mcus();
        let rows_of = |c: &Component| {
            let (across, down) = (
                frame.max_h * frame.min_block_side / (c.h * c.block_side),
                frame.max_v * frame.min_block_side / (c.v * c.block_side),
            );
            let (stride, rows) = ((mcus * c.h).next_multiple_of(LANES) * c.block_side, c.v * c.block_side * 2);
            // libjpeg does not interpolate at an eighth of the size.
            let upsampling = match frame.min_block_side {
                1 if (across, down) != (1, 1) => Upsampling::Repeat(across, down),
                _ => Upsampling::new(across, down, c.width),
            };
            Self {
                samples: vec![0; stride * rows],
                block_side: c.block_side,
                stride,
                rows,
                width: c.width,
                height: c.height,
                wide: c.width * across,
                upsampling,
            }
        };
        frame.components.iter().map(rows_of).collect()
    }

    /// Stores the samples of a group. Its first block is in column `x` of the component's blocks, and in row `y` of the
    /// blocks of the MCU row `mcu_row`.
    #[inline(always)]
    pub(super) fn put(&mut self, mcu_row: usize, x: usize, y: usize, samples: &Samples) {
        let side = self.block_side;
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

    /// Returns the samples of row `y`; beyond the edge, those of the last row before it.
    fn row(&self, y: isize) -> &[u8] {
        let y = y.clamp(0, self.height as isize - 1) as usize % self.rows;
        &self.samples[y * self.stride..y * self.stride + self.width]
    }
}

/// The picture and the state of its conversion.
pub(super) struct OutputPicture {
    pub width: usize,
    pub height: usize,
    /// The RGB pixels.
    pub data: Vec<u8>,
    /// The number of rows that are done.
    done: usize,
    colours: ColourSpace,
    /// The largest vertical sampling factor.
    max_v: usize,
    /// The number of rows that a row of MCUs gives.
    mcu_height: usize,
    /// For each component, a buffer for an upsampled row and one for the sums that the row is computed from.
    rows: Vec<(Vec<u8>, Vec<u16>)>,
}

impl OutputPicture {
    pub(super) fn new(frame: &Frame, colours: ColourSpace, component_rows: &[ComponentRows]) -> Self {
        let (width, height) = frame.output_size();
        let rows = component_rows.iter().map(|component| (vec![0; component.wide], vec![0; component.width])).collect();
        Self {
            width,
            height,
            data: vec![0; width * height * 3],
            done: 0,
            colours,
            max_v: frame.max_v,
            mcu_height: frame.max_v * frame.min_block_side,
            rows,
        }
    }

    /// Makes all rows for which `component_rows` hold the samples, which are those of the MCU row `mcu_row` and of the
    /// one before it.
    pub(super) fn emit_rows(&mut self, component_rows: &[ComponentRows], mcu_row: usize) {
        let reached = (mcu_row + 1) * self.mcu_height;
        // The last rows need the samples below them, so they are made with the next row of MCUs.
        let until = if reached >= self.height { self.height } else { reached - self.max_v };
        pulp::Arch::new().dispatch(EmitRows { picture: self, component_rows, until });
    }
}

struct EmitRows<'a> {
    picture: &'a mut OutputPicture,
    component_rows: &'a [ComponentRows],
    until: usize,
}

impl pulp::NullaryFnOnce for EmitRows<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let OutputPicture { width, data, done, colours, rows, .. } = self.picture;
        let lines = data.chunks_exact_mut(*width * 3).enumerate();
        for (y, line) in lines.take(self.until).skip(*done) {
            let mut samples: [&[u8]; 4] = [&[]; 4];
            for ((samples, component), (row, sums)) in samples.iter_mut().zip(self.component_rows).zip(rows.iter_mut())
            {
                let (near, far) = component.upsampling.rows(y);
                let near = component.row(near as isize);
                if component.upsampling == Upsampling::None {
                    *samples = near;
                } else {
                    component.upsampling.row(y, near, component.row(far), sums, row);
                    *samples = &row[..*width];
                }
            }
            colour::row(*colours, &samples, line);
        }
        *done = self.until;
    }
}
