//! The inverse DCT of a block to 4 × 4, 2 × 2 or 1 × 1 samples, to the bit as libjpeg's `jidctred.c`: it transforms the
//! lowest frequencies, for pictures that are decoded at 1/2, 1/4 or 1/8 of their size. The passes and their fraction
//! bits are those of `idct.rs`.

use super::idct::{
    BETWEEN_BITS, BlockGroup, CONSTANT_BITS, F_0_765, F_0_899, F_1_847, F_2_562, LANES, Samples, fix, idct,
};

// These are sums of products of cosines, as in libjpeg; negative ones are subtracted.
const F_0_211: i32 = fix(0.211164243);
const F_0_509: i32 = fix(0.509795579);
const F_0_601: i32 = fix(0.601344887);
const F_0_720: i32 = fix(0.720959822);
const F_0_850: i32 = fix(0.850430095);
const F_1_061: i32 = fix(1.061594337);
const F_1_272: i32 = fix(1.272758580);
const F_1_451: i32 = fix(1.451774981);
const F_2_172: i32 = fix(2.172734803);
const F_3_624: i32 = fix(3.624509785);

/// A number for each block.
type Lanes = [i32; LANES];

/// Transforms a group to `side` × `side` samples for each block (8, 4, 2 or 1), in the first rows and columns of the
/// result.
#[inline(always)]
pub(super) fn samples(group: &BlockGroup, steps: &[i16; 64], side: usize) -> Samples {
    match side {
        8 => idct(group, steps),
        4 => passes::<4>(
            group,
            steps,
            four::<{ CONSTANT_BITS - BETWEEN_BITS + 1 }>,
            four::<{ CONSTANT_BITS + BETWEEN_BITS + 4 }>,
        ),
        2 => passes::<2>(
            group,
            steps,
            two::<{ CONSTANT_BITS - BETWEEN_BITS + 2 }>,
            two::<{ CONSTANT_BITS + BETWEEN_BITS + 5 }>,
        ),
        _ => {
            let mut samples = Samples::EMPTY;
            let values = group.dequantised(0, steps);
            (0..LANES).for_each(|lane| samples.set(lane, 0, 0, (values[lane] + 4) >> 3));
            samples
        }
    }
}

#[inline(always)]
fn passes<const N: usize>(
    group: &BlockGroup,
    steps: &[i16; 64],
    columns: impl Fn(&[Lanes; 8]) -> [Lanes; N],
    rows: impl Fn(&[Lanes; 8]) -> [Lanes; N],
) -> Samples {
    let mut between = [[[0; LANES]; 8]; N];
    for column in 0..8 {
        let x = std::array::from_fn(|row| group.dequantised(row * 8 + column, steps));
        for (row, y) in between.iter_mut().zip(columns(&x)) {
            row[column] = y;
        }
    }
    let mut samples = Samples::EMPTY;
    for (y, x) in between.iter().enumerate() {
        for (x, values) in rows(x).iter().enumerate() {
            (0..LANES).for_each(|lane| samples.set(lane, y, x, values[lane]));
        }
    }
    samples
}

/// Returns the sum of four products, which may overflow in broken files.
#[inline(always)]
fn sum(values: [i32; 4], factors: [i32; 4]) -> i32 {
    let [a, b, c, d]: [i32; 4] = std::array::from_fn(|i| values[i].wrapping_mul(factors[i]));
    a.wrapping_add(b).wrapping_add(c.wrapping_add(d))
}

/// Makes four values of eight and shifts them right by `DOWN` bits.
#[inline(always)]
fn four<const DOWN: u32>(x: &[Lanes; 8]) -> [Lanes; 4] {
    let mut y = [[0; LANES]; 4];
    for c in 0..LANES {
        let even = x[0][c] << (CONSTANT_BITS + 1);
        let far = sum([x[2][c], x[6][c], 0, 0], [F_1_847, -F_0_765, 0, 0]);
        let odd = [x[1][c], x[3][c], x[5][c], x[7][c]];
        let inner = sum(odd, [F_1_061, -F_2_172, F_1_451, -F_0_211]);
        let outer = sum(odd, [F_2_562, F_0_899, -F_0_601, -F_0_509]);
        let down = |v: i32| v.wrapping_add(1 << (DOWN - 1)) >> DOWN;
        y[0][c] = down(even.wrapping_add(far).wrapping_add(outer));
        y[3][c] = down(even.wrapping_add(far).wrapping_sub(outer));
        y[1][c] = down(even.wrapping_sub(far).wrapping_add(inner));
        y[2][c] = down(even.wrapping_sub(far).wrapping_sub(inner));
    }
    y
}

/// Makes two values of eight and shifts them right by `DOWN` bits; the even values but the first have no effect.
#[inline(always)]
fn two<const DOWN: u32>(x: &[Lanes; 8]) -> [Lanes; 2] {
    let mut y = [[0; LANES]; 2];
    for c in 0..LANES {
        let even = x[0][c] << (CONSTANT_BITS + 2);
        let odd = sum([x[1][c], x[3][c], x[5][c], x[7][c]], [F_3_624, -F_1_272, F_0_850, -F_0_720]);
        let down = |v: i32| v.wrapping_add(1 << (DOWN - 1)) >> DOWN;
        y[0][c] = down(even.wrapping_add(odd));
        y[1][c] = down(even.wrapping_sub(odd));
    }
    y
}
