//! AVIF: still pictures coded as a frame of AV1. `container.rs` finds the frames, rav1d (dav1d in Rust) decodes them, `colour.rs` makes RGB of
//! their planes as libavif does, which Pillow reads AVIF with.
//!
//! Read are 8, 10 and 12 bits (of which 8 are kept), every sampling, grey, alpha as an auxiliary picture, premultiplied alpha, and
//! pictures put together of tiles (`grid`). A file of a sequence gives its still picture. The rotation and the mirroring that the container
//! tells are the orientation; that of EXIF says nothing in this format (ISO/IEC 23008-12). Where neither says anything, Pillow obeys XMP, and
//! so does this. A clean aperture is ignored, as by Pillow.

mod colour;
mod container;

use super::decode::{DecodeError, DecodeErrorKind, check_size};
use colour::Planes;
use container::{Container, Grid};
use image::metadata::Orientation;
use re_rav1d::dav1d::{Decoder, Picture, Settings};
use std::cell::RefCell;

/// A picture as the file has it: not turned, not put on a background.
pub(crate) struct Decoded {
    pub width: usize,
    pub height: usize,
    /// RGB, or RGBA where `has_alpha`; 8 bits.
    pub samples: Vec<u8>,
    pub has_alpha: bool,
    pub orientation: Orientation,
}

/// Frames that the coded data of one item may have. Still pictures have one; layers of a progressive one are a few more.
const MAX_FRAMES: usize = 8;

/// A decoder that has decoded a frame of more pixels is not kept, nor what it holds.
const MAX_KEPT_PIXELS: u64 = 1 << 24;

thread_local! {
    /// This thread's decoder, between frames, and its limit of pixels. A decoder begins with aligned blocks of a quarter of a megabyte, whose
    /// places glibc does not find again: with one for each frame, some kilobytes are lost with every file.
    static DECODER: RefCell<Option<(u32, Decoder)>> = const { RefCell::new(None) };
}

/// Decodes the still picture of a file.
pub(crate) fn decode(bytes: &[u8], max_pixels: u64) -> Result<Decoded, DecodeError> {
    let container = Container::read(bytes)?;
    let primary = container.primary()?;
    let (width, height) = container.size(primary)?;
    check_size(width as u64, height as u64, max_pixels)?;
    let colours = container.colours(primary);
    let planes = planes(&container, primary, max_pixels)?;
    planes.expect_size(width, height)?;
    let (alpha, premultiplied) = match container.alpha(primary) {
        Some((item, premultiplied)) => (Some(self::planes(&container, item, max_pixels)?), premultiplied),
        None => (alpha_of_tiles(&container, primary, max_pixels)?, false),
    };
    let mut samples = colour::to_rgb(&planes.narrowed(alpha.is_some()), colours)?;
    if let Some(planes) = &alpha {
        planes.expect_size(width, height)?;
        samples = colour::with_alpha(&samples, &planes.opacity(), premultiplied);
    }
    let orientation = match container.orientation(primary) {
        Orientation::NoTransforms => container.metadata(primary).orientation_of_xmp(),
        told => told,
    };
    Ok(Decoded { width, height, samples, has_alpha: alpha.is_some(), orientation })
}

/// Width and height in the header, before a rotation.
pub(crate) fn dimensions(bytes: &[u8]) -> Result<(usize, usize), DecodeError> {
    let container = Container::read(bytes)?;
    container.size(container.primary()?)
}

/// The planes of an item, put together where it is a grid.
fn planes(container: &Container, item: u32, max_pixels: u64) -> Result<Planes, DecodeError> {
    match container.grid(item)? {
        Some(grid) => assembled(container, &grid, max_pixels),
        None => Planes::of(&frame(container.data(item)?, max_pixels)?),
    }
}

/// The opacity of a grid that has none itself, of its tiles.
fn alpha_of_tiles(container: &Container, item: u32, max_pixels: u64) -> Result<Option<Planes>, DecodeError> {
    let grid = container.grid(item)?.and_then(|grid| container.alpha_of_tiles(&grid));
    grid.map(|grid| assembled(container, &grid, max_pixels)).transpose()
}

/// The planes of tiles.
fn assembled(container: &Container, grid: &Grid, max_pixels: u64) -> Result<Planes, DecodeError> {
    let &Grid { columns, rows, width, height, ref tiles } = grid;
    check_size(width as u64, height as u64, max_pixels)?;
    let mut whole: Option<Planes> = None;
    let mut coded = 0;
    for (number, tile) in tiles.iter().enumerate() {
        let data = container.data(*tile)?;
        coded += data.len();
        if coded > container.len() {
            return Err(corrupt("tiles larger than the file"));
        }
        let tile = Planes::of(&frame(data, max_pixels)?)?;
        let whole = match &mut whole {
            Some(whole) => whole,
            None => {
                // no tile may lie outside: what a small file can ask for is bounded by the size of the picture
                let fits = |side: usize, count: usize, of: usize| side * count >= of && side * (count - 1) < of;
                if !fits(tile.width, columns, width) || !fits(tile.height, rows, height) {
                    let (w, h) = (tile.width, tile.height);
                    return Err(corrupt(format!("{columns}x{rows} tiles of {w}x{h} do not cover {width}x{height}")));
                }
                whole.insert(tile.canvas(width, height))
            }
        };
        whole.put(&tile, number % columns, number / columns)?;
    }
    whole.ok_or_else(|| corrupt("a grid without tiles"))
}

/// The frame in coded data.
fn frame(data: Vec<u8>, max_pixels: u64) -> Result<Picture, DecodeError> {
    let frames = count_frames(&data);
    if frames > MAX_FRAMES {
        return Err(corrupt(format!("a still picture of {frames} frames")));
    }
    if data.is_empty() {
        return Err(corrupt("an item without data"));
    }
    // 0 stands for no limit
    let limit = u32::try_from(max_pixels).unwrap_or(u32::MAX).max(1);
    // taken: one that panics is gone
    let kept = DECODER.take().filter(|(of, _)| *of == limit);
    let mut decoder = kept.map_or_else(|| new_decoder(limit), |(_, decoder)| Ok(decoder))?;
    let picture = first_picture(&mut decoder, data);
    let pixels = picture.as_ref().map_or(0, |picture| u64::from(picture.width()) * u64::from(picture.height()));
    if pixels <= MAX_KEPT_PIXELS {
        decoder.flush();
        DECODER.set(Some((limit, decoder)));
    }
    picture
}

fn new_decoder(limit: u32) -> Result<Decoder, DecodeError> {
    let mut settings = Settings::new();
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    settings.set_frame_size_limit(limit);
    settings.set_all_layers(false);
    Decoder::with_settings(&settings).map_err(refused)
}

fn first_picture(decoder: &mut Decoder, data: Vec<u8>) -> Result<Picture, DecodeError> {
    match decoder.send_data(data, None, None, None) {
        Err(error) if !error.is_again() => return Err(refused(error)),
        _ => {}
    }
    decoder.get_picture().map_err(|error| match error.is_again() {
        true => corrupt("its AV1 data hold no picture"),
        false => refused(error),
    })
}

fn refused(error: re_rav1d::dav1d::Error) -> DecodeError {
    corrupt(format!("its AV1 data cannot be decoded ({error})"))
}

/// How many frames a sequence of OBUs begins (AV1, 5.3 and 6.2.1): a decoder would go through all of them that are not shown.
fn count_frames(mut data: &[u8]) -> usize {
    const FRAME_HEADER: u8 = 3;
    const FRAME: u8 = 6;
    let mut frames = 0;
    while let Some((&head, rest)) = data.split_first() {
        frames += usize::from(matches!(head >> 3 & 15, FRAME_HEADER | FRAME));
        let (extended, sized) = (head & 4 != 0, head & 2 != 0);
        let Some(mut rest) = rest.get(usize::from(extended)..) else { break };
        // without a size it is the last one
        if !sized {
            break;
        }
        let mut size = 0u64;
        for shift in (0..56).step_by(7) {
            let Some((&byte, after)) = rest.split_first() else { return frames };
            rest = after;
            size |= u64::from(byte & 127) << shift;
            if byte < 128 {
                break;
            }
        }
        let Some(after) = usize::try_from(size).ok().and_then(|size| rest.get(size..)) else { break };
        data = after;
    }
    frames
}

fn corrupt(detail: impl AsRef<str>) -> DecodeError {
    DecodeError::new(DecodeErrorKind::Corrupt, format!("the AVIF is corrupt: {}", detail.as_ref()))
}

fn unsupported(what: impl AsRef<str>) -> DecodeError {
    let detail = format!("AVIF with {} is not supported; convert it to JPEG or PNG", what.as_ref());
    DecodeError::new(DecodeErrorKind::Unsupported, detail)
}

fn truncated() -> DecodeError {
    DecodeError::new(DecodeErrorKind::Truncated, "the file ends early (AVIF)")
}
