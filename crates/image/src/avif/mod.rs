//! Decodes the still picture of an AVIF file, a frame of AV1. `container.rs` finds the frames, rav1d (dav1d in Rust)
//! decodes them, and `colour.rs` converts their planes to RGB as libavif does, with which Pillow reads AVIF.
//!
//! The decoder reads 8, 10 and 12 bits (and keeps 8), every chroma subsampling, grey, alpha as an auxiliary picture,
//! premultiplied alpha, and grids of tiles. A file with a sequence gives its still picture. The container's rotation
//! and mirroring are the orientation; EXIF's orientation has no effect in this format (ISO/IEC 23008-12). Where the
//! container has none, XMP counts, as in Pillow. A clean aperture is ignored, as by Pillow.

mod boxes;
mod colour;
mod container;

use super::decode::{DecodeError, check_size, format_errors};
use colour::Planes;
use container::{Container, Grid};
use image::metadata::Orientation;
use re_rav1d::dav1d::{Decoder, Picture, Settings};
use std::cell::RefCell;

/// The picture as the file stores it, before its orientation and its background are applied.
pub(crate) struct StillPicture {
    pub width: usize,
    pub height: usize,
    /// RGB of 8 bits, or RGBA where `has_alpha`.
    pub samples: Vec<u8>,
    pub has_alpha: bool,
    pub orientation: Orientation,
}

/// The number of frames that the data of one item may have. A still picture has one, a progressive one has a few
/// layers.
const MAX_FRAMES: usize = 8;

/// After a frame of more pixels than this the decoder is dropped, which frees its memory.
const MAX_KEPT_PIXELS: u64 = 1 << 24;

thread_local! {
    /// The decoder of this thread between frames, with its limit of pixels. It is kept because a decoder begins with
    /// aligned blocks of a quarter of a megabyte that glibc does not reuse: a new decoder for each frame would lose
    /// some kilobytes with every file.
    static DECODER: RefCell<Option<(u32, Decoder)>> = const { RefCell::new(None) };
}

/// Decodes the still picture of a file.
pub(crate) fn decode(bytes: &[u8], max_pixels: u64) -> Result<StillPicture, DecodeError> {
    let container = Container::read(bytes)?;
    let primary = container.primary()?;
    let (width, height) = container.size(primary)?;
    check_size(width as u64, height as u64, max_pixels)?;
    let nclx = container.nclx(primary);
    let planes = decode_item(&container, primary, max_pixels)?;
    planes.expect_size(width, height)?;
    let (alpha, premultiplied) = match container.alpha(primary) {
        Some((item, premultiplied)) => (Some(decode_item(&container, item, max_pixels)?), premultiplied),
        None => (alpha_of_tiles(&container, primary, max_pixels)?, false),
    };
    let mut samples = colour::to_rgb(&planes.narrowed_to_8_bits(alpha.is_some()), nclx)?;
    if let Some(planes) = &alpha {
        planes.expect_size(width, height)?;
        samples = colour::with_alpha(&samples, &planes.opacity(), premultiplied);
    }
    let orientation = match container.orientation(primary) {
        Orientation::NoTransforms => container.metadata(primary).orientation_of_xmp(),
        stored => stored,
    };
    Ok(StillPicture { width, height, samples, has_alpha: alpha.is_some(), orientation })
}

/// Returns width and height from the header, before a rotation.
pub(crate) fn dimensions(bytes: &[u8]) -> Result<(usize, usize), DecodeError> {
    let container = Container::read(bytes)?;
    container.size(container.primary()?)
}

/// Decodes the planes of an item, which may be a grid.
fn decode_item(container: &Container, item: u32, max_pixels: u64) -> Result<Planes, DecodeError> {
    match container.grid(item)? {
        Some(grid) => decode_grid(container, &grid, max_pixels),
        None => Planes::of(&decode_frame(container.data(item)?, max_pixels)?),
    }
}

/// Decodes the opacity of a grid whose tiles each have an opacity of their own.
fn alpha_of_tiles(container: &Container, item: u32, max_pixels: u64) -> Result<Option<Planes>, DecodeError> {
    let grid = container.grid(item)?.and_then(|grid| container.alpha_of_tiles(&grid));
    grid.map(|grid| decode_grid(container, &grid, max_pixels)).transpose()
}

/// Decodes the tiles of a grid and pastes them into one picture.
fn decode_grid(container: &Container, grid: &Grid, max_pixels: u64) -> Result<Planes, DecodeError> {
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
        let tile = Planes::of(&decode_frame(data, max_pixels)?)?;
        let whole = match &mut whole {
            Some(whole) => whole,
            None => {
                // Every tile must overlap the picture, so the size of the picture bounds the work that a small file can
                // cause.
                let fits = |side: usize, count: usize, of: usize| side * count >= of && side * (count - 1) < of;
                if !fits(tile.width, columns, width) || !fits(tile.height, rows, height) {
                    let (w, h) = (tile.width, tile.height);
                    return Err(corrupt(format!("{columns}x{rows} tiles of {w}x{h} do not cover {width}x{height}")));
                }
                whole.insert(tile.empty_like(width, height))
            }
        };
        whole.paste_tile(&tile, number % columns, number / columns)?;
    }
    whole.ok_or_else(|| corrupt("a grid without tiles"))
}

/// Decodes the first frame of AV1 data.
fn decode_frame(data: Vec<u8>, max_pixels: u64) -> Result<Picture, DecodeError> {
    let frames = count_frames(&data);
    if frames > MAX_FRAMES {
        return Err(corrupt(format!("a still picture of {frames} frames")));
    }
    if data.is_empty() {
        return Err(corrupt("an item without data"));
    }
    // The decoder reads a limit of 0 as no limit.
    let limit = u32::try_from(max_pixels).unwrap_or(u32::MAX).max(1);
    // The decoder is taken out of the cell, so that a decoder that panics is not used again.
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
    Decoder::with_settings(&settings).map_err(undecodable)
}

fn first_picture(decoder: &mut Decoder, data: Vec<u8>) -> Result<Picture, DecodeError> {
    match decoder.send_data(data, None, None, None) {
        Err(error) if !error.is_again() => return Err(undecodable(error)),
        _ => {}
    }
    decoder.get_picture().map_err(|error| match error.is_again() {
        true => corrupt("its AV1 data hold no picture"),
        false => undecodable(error),
    })
}

fn undecodable(error: re_rav1d::dav1d::Error) -> DecodeError {
    corrupt(format!("its AV1 data cannot be decoded ({error})"))
}

/// Counts the frames in a sequence of OBUs (AV1, 5.3 and 6.2.1), because the decoder would go through all frames that
/// are not shown.
fn count_frames(mut data: &[u8]) -> usize {
    const FRAME_HEADER: u8 = 3;
    const FRAME: u8 = 6;
    let mut frames = 0;
    while let Some((&head, rest)) = data.split_first() {
        frames += usize::from(matches!(head >> 3 & 15, FRAME_HEADER | FRAME));
        let (extended, sized) = (head & 4 != 0, head & 2 != 0);
        let Some(mut rest) = rest.get(usize::from(extended)..) else { break };
        // An OBU without a size field is the last one.
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

format_errors! {
    corrupt: "the AVIF is corrupt: {}",
    unsupported: "AVIF with {} is not supported; convert it to JPEG or PNG",
    truncated: "the file ends early (AVIF)",
}
