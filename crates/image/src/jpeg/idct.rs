//! The inverse DCT of 8 × 8 blocks in integers, to the bit as libjpeg's slow integer method (`JDCT_ISLOW`,
//! `jidctint.c`).
//!
//! The algorithm is the eight-point one of Loeffler, Ligtenberg and Moschytz ("Practical fast 1-D DCT algorithms with
//! 11 multiplications", ICASSP 1989) in the form with twelve products that do not depend on each other. It goes along
//! the columns first, then along the rows. Constants have 13 fraction bits, and values between the passes have 2. Like
//! the SIMD code of libjpeg-turbo, the factors of a product have 16 bits: values wrap around before the first pass and
//! saturate between the passes. Only broken files have such values.
//!
//! [`LANES`] blocks are transformed at a time, one in each lane of the vectors that the compiler makes of the inner
//! loops, so no values move between lanes before the samples are done. Where no block of a group has high frequencies,
//! the sums over them are left out.

/// The fraction bits of the constants, and of the values between the two passes.
pub(super) const CONSTANT_BITS: u32 = 13;
pub(super) const BETWEEN_BITS: u32 = 2;

/// Returns `value` with [`CONSTANT_BITS`] fraction bits.
pub(super) const fn fix(value: f64) -> i32 {
    (value * (1 << CONSTANT_BITS) as f64 + 0.5) as i32
}

// These are sums and differences of sqrt(2) * cos(k * pi / 16), as in figure 1 of the paper; negative ones are
// subtracted.
const F_0_298: i32 = fix(0.298631336);
const F_0_390: i32 = fix(0.390180644);
const F_0_541: i32 = fix(0.541196100);
pub(super) const F_0_765: i32 = fix(0.765366865);
pub(super) const F_0_899: i32 = fix(0.899976223);
const F_1_175: i32 = fix(1.175875602);
const F_1_501: i32 = fix(1.501321110);
pub(super) const F_1_847: i32 = fix(1.847759065);
const F_1_961: i32 = fix(1.961570560);
const F_2_053: i32 = fix(2.053119869);
pub(super) const F_2_562: i32 = fix(2.562915447);
const F_3_072: i32 = fix(3.072711026);

/// The number of blocks in a group.
pub(super) const LANES: usize = 8;

/// The coefficients of [`LANES`] neighbouring blocks of a row.
#[derive(Clone)]
#[repr(align(64))]
pub(super) struct BlockGroup {
    /// The coefficients by their place in the block (row-major) and by block.
    values: [[i16; LANES]; 64],
    /// The "or" of the places of all coefficients that may not be zero: rows set the bits 3 to 5, columns the bits 0 to
    /// 2.
    extent: u8,
}

impl BlockGroup {
    pub(super) const ZERO: Self = Self { values: [[0; LANES]; 64], extent: 0 };

    /// Sets all coefficients to zero.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.values.fill([0; LANES]);
        self.extent = 0;
    }

    /// Must be called with the "or" of all `places` whose coefficients have become other than zero.
    #[inline(always)]
    pub(super) fn include(&mut self, places: u8) {
        self.extent |= places;
    }

    /// Returns the coefficients at `place` times their quantisation step.
    #[inline(always)]
    pub(super) fn dequantised(&self, place: usize, steps: &[i16; 64]) -> [i32; LANES] {
        let step = steps[place % 64];
        self.values[place % 64].map(|v| i32::from(v.wrapping_mul(step)))
    }

    /// Returns the coefficient at `place` (modulo 64) of the block `lane` (modulo [`LANES`]).
    #[inline(always)]
    pub(super) fn at(&mut self, lane: usize, place: u8) -> &mut i16 {
        &mut self.values[usize::from(place % 64)][lane % LANES]
    }
}

/// The samples of a group, in the order of the picture.
#[repr(align(64))]
pub(super) struct Samples {
    /// The rows; each holds eight samples of every block.
    rows: [[u8; 8 * LANES]; 8],
}

impl Samples {
    pub(super) const EMPTY: Self = Self { rows: [[0; 8 * LANES]; 8] };

    /// Sets a sample to `value` plus the middle of the range, clamped.
    #[inline(always)]
    pub(super) fn set(&mut self, lane: usize, y: usize, x: usize, value: i32) {
        self.rows[y % 8][lane % LANES * 8 + x % 8] = (value.clamp(-128, 127) + 128) as u8;
    }

    /// Returns the row `y` of all blocks.
    #[inline(always)]
    pub(super) fn row(&self, y: usize) -> &[u8; 8 * LANES] {
        &self.rows[y % 8]
    }
}

/// Transforms a group to samples; `steps` are the quantisation steps of the coefficients, row-major.
#[inline(always)]
pub(super) fn idct(group: &BlockGroup, steps: &[i16; 64]) -> Samples {
    if group.extent > 7 && has_extremes(group, steps) {
        return block_by_block(group, steps);
    }
    transformed(group, steps)
}

#[inline(always)]
fn transformed(group: &BlockGroup, steps: &[i16; 64]) -> Samples {
    let rows = match group.extent {
        0 => dc_only(&group.values[0], steps[0]),
        // First the groups with coefficients only in the first row, then those with coefficients only in the upper left
        // quarter.
        1..=7 => passes::<1, 8>(&group.values, steps),
        places if places & 0o44 == 0 => passes::<4, 4>(&group.values, steps),
        _ => passes::<8, 8>(&group.values, steps),
    };
    Samples { rows }
}

/// Whether a value in the first row overflows 16 bits with [`BETWEEN_BITS`] more. The result then depends on whether a
/// block has other rows: the first pass of libjpeg-turbo's SIMD code saturates if it has, and wraps around if it has
/// not.
#[inline(always)]
fn has_extremes(group: &BlockGroup, steps: &[i16; 64]) -> bool {
    const LARGEST: i16 = i16::MAX >> BETWEEN_BITS;
    let mut found = [false; LANES];
    for (values, step) in group.values[..8].iter().zip(steps) {
        for (found, value) in found.iter_mut().zip(values) {
            let product = value.wrapping_mul(*step);
            *found |= !(-LARGEST..=LARGEST).contains(&product);
        }
    }
    found.contains(&true)
}

/// Transforms the blocks of a group one by one, because they need different first passes.
#[cold]
#[inline(never)]
fn block_by_block(group: &BlockGroup, steps: &[i16; 64]) -> Samples {
    let mut samples = Samples::EMPTY;
    for lane in 0..LANES {
        let mut alone = BlockGroup::ZERO;
        for (place, values) in (0..).zip(&group.values) {
            if values[lane] != 0 {
                *alone.at(lane, place) = values[lane];
                alone.include(place);
            }
        }
        for (row, alone) in samples.rows.iter_mut().zip(transformed(&alone, steps).rows) {
            row[lane * 8..lane * 8 + 8].copy_from_slice(&alone[lane * 8..lane * 8 + 8]);
        }
    }
    samples
}

/// Eight values (the columns of a row, or the rows of a column) of each block, a block in each lane.
type Columns = [[i16; LANES]; 8];

/// Transforms blocks whose coefficients are zero outside the first `ROWS` and `COLUMNS`, and returns rows of samples.
#[inline(always)]
fn passes<const ROWS: usize, const COLUMNS: usize>(
    values: &[[i16; LANES]; 64],
    steps: &[i16; 64],
) -> [[u8; 8 * LANES]; 8] {
    let mut between: [Columns; 8] = [[[0; LANES]; 8]; 8];
    for column in 0..COLUMNS {
        let mut x = [[0; LANES]; 8];
        for row in 0..ROWS {
            let step = steps[row * 8 + column];
            x[row] = values[row * 8 + column].map(|v| v.wrapping_mul(step));
        }
        let y = if ROWS == 1 {
            [x[0].map(|v| v << BETWEEN_BITS); 8]
        } else {
            transform::<{ CONSTANT_BITS - BETWEEN_BITS }, ROWS>(&x)
        };
        for (row, y) in between.iter_mut().zip(y) {
            row[column] = y;
        }
    }
    let mut rows = [[0; 8 * LANES]; 8];
    for (row, x) in rows.iter_mut().zip(&between) {
        *row = to_row(&transform::<{ CONSTANT_BITS + BETWEEN_BITS + 3 }, COLUMNS>(x));
    }
    rows
}

/// Transforms blocks that have no coefficient but DC.
#[inline(always)]
fn dc_only(values: &[i16; LANES], step: i16) -> [[u8; 8 * LANES]; 8] {
    const DOWN: u32 = BETWEEN_BITS + 3;
    let value = values.map(|v| {
        let between = i32::from(v.wrapping_mul(step) << BETWEEN_BITS);
        ((between + (1 << (DOWN - 1))) >> DOWN) as i16
    });
    [to_row(&[value; 8]); 8]
}

/// Returns the samples of a row, block after block.
#[inline(always)]
fn to_row(columns: &Columns) -> [u8; 8 * LANES] {
    #[cfg(target_arch = "x86_64")]
    if let Some(sse2) = pulp::core_arch::x86::Sse2::try_new() {
        return interleaved_sse2(sse2, columns);
    }
    scalar_row(columns)
}

#[inline(always)]
fn scalar_row(columns: &Columns) -> [u8; 8 * LANES] {
    let sample = |v: i16| (v.clamp(-128, 127) + 128) as u8;
    std::array::from_fn(|i| sample(columns[i % 8][i / 8]))
}

/// Does the same by SSE2 instructions, which every x86-64 has. The compiler does not find them: it moves the samples
/// one by one.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn interleaved_sse2(sse2: pulp::core_arch::x86::Sse2, columns: &Columns) -> [u8; 8 * LANES] {
    use std::arch::x86_64::__m128i;
    // Two columns go into one vector, narrowed with saturation.
    let pair = |i: usize| sse2._mm_packs_epi16(bytemuck::cast(columns[i]), bytemuck::cast(columns[i + 4]));
    let zip = |a: __m128i, b: __m128i| [sse2._mm_unpacklo_epi8(a, b), sse2._mm_unpackhi_epi8(a, b)];
    let ([c01, c45], [c23, c67]) = (zip(pair(0), pair(1)), zip(pair(2), pair(3)));
    let zip = |a: __m128i, b: __m128i| [sse2._mm_unpacklo_epi16(a, b), sse2._mm_unpackhi_epi16(a, b)];
    let ([left_0, left_4], [right_0, right_4]) = (zip(c01, c23), zip(c45, c67));
    let zip = |a: __m128i, b: __m128i| [sse2._mm_unpacklo_epi32(a, b), sse2._mm_unpackhi_epi32(a, b)];
    let ([b01, b23], [b45, b67]) = (zip(left_0, right_0), zip(left_4, right_4));
    let up = |blocks: __m128i| sse2._mm_xor_si128(blocks, sse2._mm_set1_epi8(-128));
    bytemuck::cast([up(b01), up(b23), up(b45), up(b67)])
}

/// Does one pass in each lane: the transform of eight values of which only the first `COUNT` are not zero. The results
/// are rounded and shifted right by `DOWN` bits.
#[inline(always)]
fn transform<const DOWN: u32, const COUNT: usize>(x: &Columns) -> Columns {
    let mut y = [[0; LANES]; 8];
    for c in 0..LANES {
        let value = |i: usize| if i < COUNT { x[i][c] } else { 0 };
        let input = |i: usize| i32::from(value(i));
        let sum = |i: usize, j: usize| i32::from(value(i).wrapping_add(value(j)));
        let difference = |i: usize, j: usize| i32::from(value(i).wrapping_sub(value(j)));

        // even part
        let (z2, z3) = (input(2), input(6));
        let t2 = z2 * F_0_541 + z3 * (F_0_541 - F_1_847);
        let t3 = z2 * (F_0_541 + F_0_765) + z3 * F_0_541;
        let half = 1 << (DOWN - 1);
        let t0 = (sum(0, 4) << CONSTANT_BITS) + half;
        let t1 = (difference(0, 4) << CONSTANT_BITS) + half;
        let even = [t0 + t3, t1 + t2, t1 - t2, t0 - t3];

        // odd part
        let (t0, t1, t2, t3) = (input(7), input(5), input(3), input(1));
        let (z3, z4) = (sum(7, 3), sum(5, 1));
        let z5 = z3 * (F_1_175 - F_1_961) + z4 * F_1_175;
        let z6 = z3 * F_1_175 + z4 * (F_1_175 - F_0_390);
        let odd = [
            t3 * (F_1_501 - F_0_899) - t0 * F_0_899 + z6,
            t2 * (F_3_072 - F_2_562) - t1 * F_2_562 + z5,
            t1 * (F_2_053 - F_2_562) - t2 * F_2_562 + z6,
            t0 * (F_0_298 - F_0_899) - t3 * F_0_899 + z5,
        ];

        let narrow = |v: i32| (v >> DOWN).clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16;
        for i in 0..4 {
            y[i][c] = narrow(even[i].wrapping_add(odd[i]));
            y[7 - i][c] = narrow(even[i].wrapping_sub(odd[i]));
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes the samples by the definition of the inverse DCT (T.81, A.3.3).
    fn exact(block: &[i16; 64]) -> [f64; 64] {
        let basis = |u: usize, x: usize| {
            let scale = if u == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
            scale * ((2 * x + 1) as f64 * u as f64 * std::f64::consts::PI / 16.0).cos()
        };
        std::array::from_fn(|at| {
            let (y, x) = (at / 8, at % 8);
            (0..64).map(|i| f64::from(block[i]) * basis(i / 8, y) * basis(i % 8, x)).sum::<f64>() / 4.0 + 128.0
        })
    }

    /// Returns random blocks with coefficients only in the first `rows` and `columns`.
    fn blocks(rows: usize, columns: usize, seed: u32) -> [[i16; 64]; LANES] {
        let mut seed = seed;
        std::array::from_fn(|_| {
            std::array::from_fn(|i| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if i / 8 < rows && i % 8 < columns { (seed >> 16) as i16 / 300 } else { 0 }
            })
        })
    }

    fn group(blocks: &[[i16; 64]; LANES]) -> BlockGroup {
        let mut group = BlockGroup::ZERO;
        for (lane, block) in blocks.iter().enumerate() {
            for (place, value) in (0..).zip(block).filter(|(_, value)| **value != 0) {
                *group.at(lane, place) = *value;
                group.include(place);
            }
        }
        group
    }

    #[test]
    fn the_transform_is_the_cosine_transform() {
        for (rows, columns) in [(8, 8), (4, 4), (4, 3), (1, 8), (8, 1), (5, 2), (1, 1), (0, 0)] {
            for seed in 0..20 {
                let blocks = blocks(rows, columns, seed);
                let samples = idct(&group(&blocks), &[1; 64]);
                for (lane, block) in blocks.iter().enumerate() {
                    for (i, exact) in exact(block).iter().enumerate() {
                        let sample = samples.row(i / 8)[lane * 8 + i % 8];
                        let error = (f64::from(sample) - exact.clamp(0.0, 255.0)).abs();
                        assert!(error < 0.6, "{sample} for {exact} at {i} of block {lane}, {rows} x {columns}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_is_the_same_by_every_instruction() {
        for spread in [1, 3, 500] {
            let columns = std::array::from_fn(|x| std::array::from_fn(|lane| ((x * 8 + lane) as i16 - 30) * spread));
            assert_eq!(to_row(&columns), scalar_row(&columns));
        }
    }

    #[test]
    fn leaving_out_zeros_changes_nothing() {
        for (rows, columns) in [(4, 4), (1, 8), (1, 1)] {
            for (seed, step) in (0..).zip([1, 3, 40, 70, -5]) {
                let group = group(&blocks(rows, columns, seed));
                let whole = BlockGroup { extent: 63, ..group.clone() };
                let steps = [step; 64];
                assert_eq!(
                    transformed(&group, &steps).rows,
                    transformed(&whole, &steps).rows,
                    "{rows} x {columns}, {step}"
                );
            }
        }
    }

    #[test]
    fn a_block_does_not_depend_on_its_neighbours() {
        for (seed, step) in (0..).zip([1, 70, 255, 4096, -300]) {
            let (mut all, steps) = (blocks(8, 8, seed), [step; 64]);
            all[1] = blocks(1, 8, seed)[1];
            all[5] = blocks(1, 1, seed)[5];
            all[6] = blocks(3, 2, seed)[6];
            let together = idct(&group(&all), &steps);
            for (lane, block) in all.iter().enumerate() {
                let mut alone = [[0; 64]; LANES];
                alone[lane] = *block;
                let alone = idct(&group(&alone), &steps);
                for (together, alone) in together.rows.iter().zip(alone.rows) {
                    let block = lane * 8..lane * 8 + 8;
                    assert_eq!(together[block.clone()], alone[block], "block {lane}, steps of {step}");
                }
            }
        }
    }
}
