//! Converts rows of components to rows of RGB pixels, with the rounding of libjpeg (`jdcolor.c`; ITU-T T.871, section
//! 7).

use super::frame::ColourSpace;

/// The number of pixels that are converted at a time, which is the number of samples in the widest registers.
const BLOCK: usize = 32;

/// The factors of T.871 with 16 fraction bits: of Cr in red, of Cb and Cr in green, of Cb in blue.
const CR_RED: i32 = 91_881;
const CB_GREEN: i32 = -22_554;
const CR_GREEN: i32 = -46_802;
const CB_BLUE: i32 = 116_130;
const ONE: i32 = 1 << 16;
const HALF: i32 = ONE / 2;

/// Converts a row of pixels into `out`, which has three bytes per pixel. `samples` holds one row for each component of
/// the colour space, as long as the row of pixels.
#[inline(always)]
pub(super) fn row(colours: ColourSpace, samples: &[&[u8]; 4], out: &mut [u8]) {
    let (pixels, _) = out.as_chunks_mut::<3>();
    let [first, second, third, _] = *samples;
    match colours {
        ColourSpace::Grey => pixels.iter_mut().zip(first).for_each(|(pixel, v)| *pixel = [*v; 3]),
        ColourSpace::Rgb => {
            for (pixel, ((r, g), b)) in pixels.iter_mut().zip(first.iter().zip(second).zip(third)) {
                *pixel = [*r, *g, *b];
            }
        }
        ColourSpace::YCbCr => ycbcr_row(first, second, third, pixels),
        ColourSpace::AdobeCmyk => black_row(samples, pixels, adobe_cmyk_to_rgb),
        ColourSpace::TiffCmyk => black_row(samples, pixels, cmyk_to_rgb),
        // YCC gives RGB, which is the inverse of the inks.
        ColourSpace::AdobeYcck => black_row(samples, pixels, |[y, cb, cr], black| {
            adobe_cmyk_to_rgb(ycbcr_to_rgb(y, cb, cr).map(|v| 255 - v), black)
        }),
    }
}

/// Converts a row of three components and black by `to_rgb`.
#[inline(always)]
fn black_row(
    [first, second, third, black]: &[&[u8]; 4],
    pixels: &mut [[u8; 3]],
    to_rgb: impl Fn([u8; 3], u8) -> [u8; 3],
) {
    let samples = first.iter().zip(*second).zip(*third).zip(*black);
    for (pixel, (((a, b), c), black)) in pixels.iter_mut().zip(samples) {
        *pixel = to_rgb([*a, *b, *c], *black);
    }
}

#[inline(always)]
fn ycbcr_row(y: &[u8], cb: &[u8], cr: &[u8], pixels: &mut [[u8; 3]]) {
    let (blocks, rest) = pixels.as_chunks_mut::<BLOCK>();
    let (y, y_rest) = y.as_chunks::<BLOCK>();
    let (cb, cb_rest) = cb.as_chunks::<BLOCK>();
    let (cr, cr_rest) = cr.as_chunks::<BLOCK>();
    for (out, ((y, cb), cr)) in blocks.iter_mut().zip(y.iter().zip(cb).zip(cr)) {
        let [mut r, mut g, mut b] = [[0; BLOCK]; 3];
        for i in 0..BLOCK {
            [r[i], g[i], b[i]] = ycbcr_to_rgb(y[i], cb[i], cr[i]);
        }
        for (pixel, ((r, g), b)) in out.iter_mut().zip(r.iter().zip(&g).zip(&b)) {
            *pixel = [*r, *g, *b];
        }
    }
    for (out, ((y, cb), cr)) in rest.iter_mut().zip(y_rest.iter().zip(cb_rest).zip(cr_rest)) {
        *out = ycbcr_to_rgb(*y, *cb, *cr);
    }
}

/// Converts a pixel in 16-bit arithmetic, of which a register holds twice as many values. The whole part of a factor
/// that does not fit into 16 bits is left out of the product and added afterwards.
#[inline(always)]
fn ycbcr_to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i16::from(y), i16::from(cb) - 128, i16::from(cr) - 128);
    // The product is that of twice the value; half of it is rounded in its last bit.
    let rounded = |double: i16, fraction: i32| (((i32::from(double) * fraction) >> 16) as i16 + 1) >> 1;
    let red = y + cr + rounded(cr * 2, CR_RED - ONE);
    let blue = y + cb * 2 + rounded(cb * 2, CB_BLUE - ONE * 2);
    let green = CB_GREEN * i32::from(cb) + (CR_GREEN + ONE) * i32::from(cr) + HALF;
    let green = y - cr + (green >> 16) as i16;
    [red, green, blue].map(|v| v.clamp(0, 255) as u8)
}

/// Converts CMYK as Adobe stores it (255 is no ink) to RGB, as Pillow's `convert('RGB')`: black leaves some light, and
/// each ink takes a part of it away.
#[inline(always)]
fn adobe_cmyk_to_rgb(inks: [u8; 3], black: u8) -> [u8; 3] {
    let light = i32::from(black);
    inks.map(|v| {
        let product = (255 - i32::from(v)) * light + 128;
        (light - (((product >> 8) + product) >> 8)).clamp(0, 255) as u8
    })
}

/// Converts CMYK (255 is the full ink) to RGB.
#[inline(always)]
pub(crate) fn cmyk_to_rgb(inks: [u8; 3], black: u8) -> [u8; 3] {
    adobe_cmyk_to_rgb(inks.map(|ink| 255 - ink), 255 - black)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_give_what_the_factors_say() {
        for (cb, cr) in (0..=255).flat_map(|cb| (0..=255).map(move |cr| (cb, cr))) {
            let (b, r) = (i32::from(cb) - 128, i32::from(cr) - 128);
            let offsets = [CR_RED * r, CB_GREEN * b + CR_GREEN * r, CB_BLUE * b].map(|v| (v + HALF) >> 16);
            for y in [0, 1, 77, 128, 200, 255] {
                let expected = offsets.map(|v| (i32::from(y) + v).clamp(0, 255) as u8);
                assert_eq!(ycbcr_to_rgb(y, cb, cr), expected, "{y} {cb} {cr}");
            }
        }
    }

    #[test]
    fn rows_of_any_length_are_converted_pixel_by_pixel() {
        let samples: Vec<u8> = (0..400u32).map(|i| (i * 77 % 256) as u8).collect();
        for width in [0, 1, 31, 32, 33, 100] {
            let rows: [&[u8]; 4] = [&samples[..width], &samples[100..100 + width], &samples[200..200 + width], &[]];
            let mut out = vec![0; width * 3];
            row(ColourSpace::YCbCr, &rows, &mut out);
            for (x, pixel) in out.as_chunks::<3>().0.iter().enumerate() {
                assert_eq!(*pixel, ycbcr_to_rgb(rows[0][x], rows[1][x], rows[2][x]), "pixel {x} of {width}");
            }
        }
        assert_eq!(ycbcr_to_rgb(100, 128, 128), [100; 3]);
        assert_eq!(ycbcr_to_rgb(76, 85, 255), [254, 0, 0]);
    }
}
