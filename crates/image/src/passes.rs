//! The two passes of a separable resize, as plain loops over arrays of fixed length that the compiler vectorises.
//!
//! Each pass sums over *lanes* that are independent of each other. In the vertical pass the lanes are neighbouring
//! bytes of a row. In the horizontal pass they are the same byte of [`TILE`] rows, so it transposes tiles before and
//! after. Integer sums do not depend on their order, so every processor gives the same result.

use super::resize::{HALF, PRECISION, Taps};

/// The number of `i32` sums in one array, which is one register of 512 bits.
const LANES: usize = 16;
/// The number of bytes of a row that the vertical pass sums at a time.
const BLOCK: usize = 4 * LANES;
/// The number of rows that the horizontal pass sums at a time.
const TILE: usize = LANES;
/// The number of 8 × 8 byte blocks that are transposed at a time.
const WIDE: usize = 4;

/// Runs a pass that is compiled for the best instruction set of this processor. Its loop over all pixels and the
/// functions that the loop calls must be `inline(always)`.
pub(super) fn vectorised(pass: impl pulp::NullaryFnOnce<Output = Vec<u8>>) -> Vec<u8> {
    pulp::Arch::new().dispatch(pass)
}

/// The pass along the columns; `taps` say which rows make a row of the result.
pub(super) struct Vertical<'a> {
    /// Rows of `stride` bytes.
    pub source: &'a [u8],
    pub stride: usize,
    /// The row of the picture with which `source` begins; `taps` count the rows of the whole picture.
    pub first: usize,
    pub taps: &'a [Taps],
}

impl pulp::NullaryFnOnce for Vertical<'_> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn call(self) -> Vec<u8> {
        let mut out = vec![0; self.taps.len() * self.stride];
        for (line, taps) in out.chunks_exact_mut(self.stride).zip(self.taps) {
            let rows = &self.source[(taps.first - self.first) * self.stride..];
            let rows = || rows.chunks_exact(self.stride).zip(&taps.weights);
            for start in (0..self.stride).step_by(BLOCK) {
                // The last block overlaps the one before it, so that it has the full length.
                let start = start.min(self.stride.saturating_sub(BLOCK));
                if let Some(block) = line[start..].as_chunks_mut::<LANES>().0.first_chunk_mut() {
                    // The four arrays have names, because the compiler keeps a longer array or an array of arrays in
                    // memory.
                    let [mut a, mut b, mut c, mut d] = [[HALF; LANES]; BLOCK / LANES];
                    for (row, weight) in rows() {
                        let weight = keep_scalar(weight);
                        let lanes = row[start..].as_chunks::<LANES>().0.first_chunk();
                        let Some([va, vb, vc, vd]) = lanes else { continue };
                        multiply_add(&mut a, va, weight);
                        multiply_add(&mut b, vb, weight);
                        multiply_add(&mut c, vc, weight);
                        multiply_add(&mut d, vd, weight);
                    }
                    *block = [a, b, c, d].map(|sums| to_bytes(&sums));
                } else {
                    let mut sums = [HALF; BLOCK];
                    for (row, weight) in rows() {
                        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += i32::from(*value) * weight);
                    }
                    line.iter_mut().zip(to_bytes(&sums)).for_each(|(value, byte)| *value = byte);
                }
            }
        }
        out
    }
}

/// The pass along the rows; `taps` say which pixels of a row make a pixel of the result.
pub(super) struct Horizontal<'a> {
    /// Rows of `width` RGB pixels.
    pub source: &'a [u8],
    pub width: usize,
    pub taps: &'a [Taps],
}

impl pulp::NullaryFnOnce for Horizontal<'_> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn call(self) -> Vec<u8> {
        let (stride, out_stride) = (self.width * 3, self.taps.len() * 3);
        let mut out = vec![0; self.source.len() / stride * out_stride];
        let mut tile = vec![[0; TILE]; stride];
        let mut out_tile = vec![[0; TILE]; out_stride];
        for (rows, out) in self.source.chunks(stride * TILE).zip(out.chunks_mut(out_stride * TILE)) {
            rows_to_columns(rows, &mut tile);
            let (pixels, _) = tile.as_chunks::<3>();
            for (out, taps) in out_tile.as_chunks_mut::<3>().0.iter_mut().zip(self.taps) {
                let [mut red, mut green, mut blue] = [[HALF; TILE]; 3]; // arrays with names, as above
                for ([r, g, b], weight) in pixels[taps.first..].iter().zip(&taps.weights) {
                    let weight = keep_scalar(weight);
                    multiply_add(&mut red, r, weight);
                    multiply_add(&mut green, g, weight);
                    multiply_add(&mut blue, b, weight);
                }
                *out = [to_bytes(&red), to_bytes(&green), to_bytes(&blue)];
            }
            columns_to_rows(&out_tile, out);
        }
        out
    }
}

/// Returns the weight in a way that keeps the order of the loops. Otherwise the compiler sometimes vectorises over the
/// taps, and the shuffles make the pass up to four times slower.
#[inline(always)]
fn keep_scalar(weight: &i32) -> i32 {
    std::hint::black_box(*weight)
}

#[inline(always)]
fn multiply_add<const N: usize>(sums: &mut [i32; N], values: &[u8; N], weight: i32) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += i32::from(*value) * weight;
    }
}

#[inline(always)]
fn to_bytes<const N: usize>(sums: &[i32; N]) -> [u8; N] {
    sums.map(|sum| (sum >> PRECISION).clamp(0, 255) as u8)
}

/// Transposes up to [`TILE`] rows: each entry of `tile` takes one byte of every row. Missing rows count as zero.
#[inline(always)]
fn rows_to_columns(rows: &[u8], tile: &mut [[u8; TILE]]) {
    let stride = tile.len();
    let blocks = stride / (8 * WIDE);
    for group in 0..TILE / 8 {
        let lines: [&[u8]; 8] = std::array::from_fn(|i| {
            let start = (group * 8 + i) * stride;
            rows.get(start..start + stride).unwrap_or(&[])
        });
        for block in 0..blocks {
            let at = block * 8 * WIDE;
            let mut words =
                lines.map(|line| match line.get(at..).and_then(|rest| rest.first_chunk::<{ 8 * WIDE }>()) {
                    Some(bytes) => to_words(bytes),
                    None => [0; WIDE],
                });
            transpose(&mut words);
            for (b, columns) in tile[at..at + 8 * WIDE].as_chunks_mut::<8>().0.iter_mut().enumerate() {
                for (column, words) in columns.iter_mut().zip(&words) {
                    column[group * 8..group * 8 + 8].copy_from_slice(&words[b].to_le_bytes());
                }
            }
        }
        for (x, column) in tile.iter_mut().enumerate().skip(blocks * 8 * WIDE) {
            for (i, line) in lines.iter().enumerate() {
                column[group * 8 + i] = line.get(x).copied().unwrap_or(0);
            }
        }
    }
}

/// Transposes `tile` back to rows of `tile.len()` bytes, as many as `rows` holds.
#[inline(always)]
fn columns_to_rows(tile: &[[u8; TILE]], rows: &mut [u8]) {
    let stride = tile.len();
    let (blocks, rest) = tile.as_chunks::<8>();
    for (block, columns) in blocks.iter().enumerate() {
        let mut words = columns.map(|column| to_words::<TILE, { TILE / 8 }>(&column));
        transpose(&mut words);
        for (y, row) in rows.chunks_exact_mut(stride).enumerate() {
            row[block * 8..block * 8 + 8].copy_from_slice(&words[y % 8][y / 8].to_le_bytes());
        }
    }
    for (x, column) in rest.iter().enumerate() {
        for (row, byte) in rows.chunks_exact_mut(stride).zip(column) {
            row[blocks.len() * 8 + x] = *byte;
        }
    }
}

#[inline(always)]
fn to_words<const BYTES: usize, const WORDS: usize>(bytes: &[u8; BYTES]) -> [u64; WORDS] {
    let (chunks, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|i| u64::from_le_bytes(chunks[i]))
}

/// Transposes blocks of 8 × 8 bytes, one in each lane: byte `i` of word `j` changes places with byte `j` of word `i`.
/// It exchanges quarters first, then the quarters of quarters (Hacker's Delight, 7-3).
#[inline(always)]
pub(super) fn transpose<const N: usize>(words: &mut [[u64; N]; 8]) {
    const STEPS: [(usize, u32, u64); 3] =
        [(4, 32, 0x0000_0000_ffff_ffff), (2, 16, 0x0000_ffff_0000_ffff), (1, 8, 0x00ff_00ff_00ff_00ff)];
    for (distance, shift, mask) in STEPS {
        for i in (0..8).filter(|i| i & distance == 0) {
            let (low, high) = (words[i], words[i + distance]);
            let changed: [u64; N] = std::array::from_fn(|lane| ((low[lane] >> shift) ^ high[lane]) & mask);
            words[i] = std::array::from_fn(|lane| low[lane] ^ (changed[lane] << shift));
            words[i + distance] = std::array::from_fn(|lane| high[lane] ^ changed[lane]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::NullaryFnOnce;

    fn bytes(count: usize) -> Vec<u8> {
        (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    #[test]
    fn rows_become_columns_and_rows_again() {
        for (stride, count) in [(3, 1), (96, 16), (99, 16), (250, 9)] {
            let rows = bytes(stride * count);
            let mut tile = vec![[0xaa; TILE]; stride];
            rows_to_columns(&rows, &mut tile);
            for (x, column) in tile.iter().enumerate() {
                let expected: [u8; TILE] = std::array::from_fn(|y| rows.get(y * stride + x).copied().unwrap_or(0));
                assert_eq!(column, &expected, "column {x} of {stride} x {count}");
            }
            let mut back = vec![0; rows.len()];
            columns_to_rows(&tile, &mut back);
            assert_eq!(back, rows, "{stride} x {count}");
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bytes() {
        let (width, height) = (90, 37);
        let source = bytes(width * height * 3);
        let taps = |from: usize| -> Vec<Taps> {
            (0..from - 11)
                .map(|first| Taps { first, weights: vec![-90_000, 1 << 20, 1 << 21, 1 << 20, 90_000, 7] })
                .collect()
        };
        let (columns, rows) = (taps(width), taps(height));
        let horizontal = || Horizontal { source: &source, width, taps: &columns };
        assert_eq!(vectorised(horizontal()), horizontal().call());
        let vertical = || Vertical { source: &source, stride: width * 3, first: 0, taps: &rows };
        assert_eq!(vectorised(vertical()), vertical().call());
    }
}
