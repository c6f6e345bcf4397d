//! Rows of components become rows of RGB pixels, with libjpeg's rounding.

use super::frame::Colours;

/// Pixels that are converted at a time, as many as the widest registers hold samples.
const BLOCK: usize = 32;

/// T.871's factors with 16 bits behind the point: of Cr in red, of Cb and Cr in green, of Cb in blue.
const CR_RED: i32 = 91_881;
const CB_GREEN: i32 = -22_554;
const CR_GREEN: i32 = -46_802;
const CB_BLUE: i32 = 116_130;
const ONE: i32 = 1 << 16;
const HALF: i32 = ONE / 2;

/// One row of pixels into `out` (three bytes each), of as many rows of samples as the colours have components, as long as the row.
#[inline(always)]
pub(super) fn row(colours: Colours, samples: &[&[u8]; 4], out: &mut [u8]) {
    let (pixels, _) = out.as_chunks_mut::<3>();
    let [first, second, third, fourth] = *samples;
    match colours {
        Colours::Grey => pixels.iter_mut().zip(first).for_each(|(pixel, v)| *pixel = [*v; 3]),
        Colours::Rgb => {
            for (pixel, ((r, g), b)) in pixels.iter_mut().zip(first.iter().zip(second).zip(third)) {
                *pixel = [*r, *g, *b];
            }
        }
        Colours::YCbCr => ycc(first, second, third, pixels),
        Colours::Cmyk => {
            let inks = first.iter().zip(second).zip(third).zip(fourth);
            for (pixel, (((c, m), y), k)) in pixels.iter_mut().zip(inks) {
                *pixel = print_to_rgb([*c, *m, *y], *k);
            }
        }
        Colours::Inks => {
            let inks = first.iter().zip(second).zip(third).zip(fourth);
            for (pixel, (((c, m), y), k)) in pixels.iter_mut().zip(inks) {
                *pixel = print_to_rgb([255 - c, 255 - m, 255 - y], 255 - k);
            }
        }
        Colours::Ycck => {
            let inks = first.iter().zip(second).zip(third).zip(fourth);
            for (pixel, (((y, cb), cr), k)) in pixels.iter_mut().zip(inks) {
                // the three give RGB, which is the light that the inks leave: the inks inverted
                *pixel = print_to_rgb(ycc_to_rgb(*y, *cb, *cr).map(|v| 255 - v), *k);
            }
        }
    }
}

#[inline(always)]
fn ycc(y: &[u8], cb: &[u8], cr: &[u8], pixels: &mut [[u8; 3]]) {
    let (blocks, rest) = pixels.as_chunks_mut::<BLOCK>();
    let (y, y_rest) = y.as_chunks::<BLOCK>();
    let (cb, cb_rest) = cb.as_chunks::<BLOCK>();
    let (cr, cr_rest) = cr.as_chunks::<BLOCK>();
    for (out, ((y, cb), cr)) in blocks.iter_mut().zip(y.iter().zip(cb).zip(cr)) {
        let [mut r, mut g, mut b] = [[0; BLOCK]; 3];
        for i in 0..BLOCK {
            [r[i], g[i], b[i]] = ycc_to_rgb(y[i], cb[i], cr[i]);
        }
        for (pixel, ((r, g), b)) in out.iter_mut().zip(r.iter().zip(&g).zip(&b)) {
            *pixel = [*r, *g, *b];
        }
    }
    for (out, ((y, cb), cr)) in rest.iter_mut().zip(y_rest.iter().zip(cb_rest).zip(cr_rest)) {
        *out = ycc_to_rgb(*y, *cb, *cr);
    }
}

/// In sixteen bits where they have room, which doubles what a register holds: of factors that are too large for it, the whole part is left
/// out and added again.
#[inline(always)]
fn ycc_to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i16::from(y), i16::from(cb) - 128, i16::from(cr) - 128);
    // half of a product by a fraction is rounded in the last bit
    let rounded = |double: i16, fraction: i32| (((i32::from(double) * fraction) >> 16) as i16 + 1) >> 1;
    let red = y + cr + rounded(cr * 2, CR_RED - ONE);
    let blue = y + cb * 2 + rounded(cb * 2, CB_BLUE - ONE * 2);
    let green = CB_GREEN * i32::from(cb) + (CR_GREEN + ONE) * i32::from(cr) + HALF;
    let green = y - cr + (green >> 16) as i16;
    [red, green, blue].map(|v| v.clamp(0, 255) as u8)
}

/// Inks as Adobe stores them (255 = none) to RGB, as Pillow's `convert('RGB')`: for each ink the light that black leaves, less the part
/// which the ink takes away.
#[inline(always)]
fn print_to_rgb(inks: [u8; 3], black: u8) -> [u8; 3] {
    let light = i32::from(black);
    inks.map(|v| {
        let product = (255 - i32::from(v)) * light + 128;
        (light - (((product >> 8) + product) >> 8)).clamp(0, 255) as u8
    })
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
                assert_eq!(ycc_to_rgb(y, cb, cr), expected, "{y} {cb} {cr}");
            }
        }
    }

    #[test]
    fn rows_of_any_length_are_converted_pixel_by_pixel() {
        let samples: Vec<u8> = (0..400u32).map(|i| (i * 77 % 256) as u8).collect();
        for width in [0, 1, 31, 32, 33, 100] {
            let rows: [&[u8]; 4] = [&samples[..width], &samples[100..100 + width], &samples[200..200 + width], &[]];
            let mut out = vec![0; width * 3];
            row(Colours::YCbCr, &rows, &mut out);
            for (x, pixel) in out.as_chunks::<3>().0.iter().enumerate() {
                assert_eq!(*pixel, ycc_to_rgb(rows[0][x], rows[1][x], rows[2][x]), "pixel {x} of {width}");
            }
        }
        assert_eq!(ycc_to_rgb(100, 128, 128), [100; 3]);
        assert_eq!(ycc_to_rgb(76, 85, 255), [254, 0, 0]);
    }
}
