//! The boxes of a HEIF file (ISO/IEC 14496-12 and 23008-12): its items, what is said of them, and where their bytes lie.

use super::super::decode::DecodeError;
use super::super::exif::Metadata;
use super::{corrupt, truncated, unsupported};
use image::metadata::Orientation;
use std::collections::BTreeMap;

/// Properties that an item may have; usual are five.
const MAX_PROPERTIES: usize = 255;

/// The meta box of a file.
#[derive(Default)]
pub(super) struct Container<'a> {
    bytes: &'a [u8],
    primary: Option<u32>,
    items: BTreeMap<u32, Item>,
    /// By their place: the name and the content.
    properties: Vec<Named<'a>>,
    references: Vec<Reference>,
    /// Data inside the meta box.
    idat: &'a [u8],
}

#[derive(Default)]
struct Item {
    kind: [u8; 4],
    /// Its content type is that of XMP.
    is_xmp: bool,
    /// Where `extents` count from: 0 the file, 1 `idat`.
    origin: u64,
    /// Start and length; a length of 0 reaches to the end.
    extents: Vec<(u64, u64)>,
    /// Places in the container's properties, and whether one must be understood.
    properties: Vec<(usize, bool)>,
}

/// `kind` says what `from` is to each of `to`.
struct Reference {
    kind: [u8; 4],
    from: u32,
    to: Vec<u32>,
}

/// A picture put together of others, row by row.
pub(super) struct Grid {
    pub columns: usize,
    pub rows: usize,
    pub width: usize,
    pub height: usize,
    /// Their items.
    pub tiles: Vec<u32>,
}

/// What a `colr` box says of the samples: the number of the matrix (ISO/IEC 23091-2), and whether they use the full range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colours {
    pub matrix: u16,
    pub full_range: bool,
}

/// A box: its name and its content.
type Named<'a> = ([u8; 4], &'a [u8]);

/// A field after the other, big-endian.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.0.split_at_checked(count).ok_or_else(|| corrupt("a box is too short"))?;
        self.0 = rest;
        Ok(head)
    }

    /// A number of `count` bytes, up to eight; none are 0.
    fn number(&mut self, count: usize) -> Result<u64, DecodeError> {
        Ok(self.bytes(count)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn small(&mut self, count: usize) -> Result<u32, DecodeError> {
        Ok(self.number(count.min(4))? as u32)
    }

    fn kind(&mut self) -> Result<[u8; 4], DecodeError> {
        Ok(self.bytes(4)?.first_chunk().copied().unwrap_or_default())
    }

    /// The version of a full box, and its flags.
    fn version(&mut self) -> Result<(u8, u32), DecodeError> {
        let word = self.small(4)?;
        Ok(((word >> 24) as u8, word & 0xff_ffff))
    }

    /// The next box: its name and content; none at the end. With `cut`, a box that is longer than what is left means a cut file.
    fn next(&mut self, cut: bool) -> Result<Option<Named<'a>>, DecodeError> {
        if self.0.is_empty() || cut && self.0.len() < 8 {
            return Ok(None);
        }
        let (size, kind) = (self.number(4)?, self.kind()?);
        let length = match size {
            0 => self.0.len() as u64,
            1 => self.number(8)?.checked_sub(16).ok_or_else(|| corrupt("a box smaller than its head"))?,
            size => size.checked_sub(8).ok_or_else(|| corrupt("a box smaller than its head"))?,
        };
        match usize::try_from(length).ok().filter(|length| *length <= self.0.len()) {
            Some(length) => Ok(Some((kind, self.bytes(length)?))),
            // the pictures' data may be cut where they are not needed
            None if cut && &kind == b"mdat" => Ok(None),
            None if cut => Err(truncated()),
            None => Err(corrupt("a box is longer than the one around it")),
        }
    }
}

impl<'a> Container<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut container = Self { bytes, ..Self::default() };
        let mut boxes = Fields(bytes);
        while let Some((kind, body)) = boxes.next(true)? {
            if &kind == b"meta" {
                container.meta(body)?;
                return Ok(container);
            }
        }
        match bytes.windows(4).any(|four| four == b"moov") {
            true => Err(unsupported("a sequence and no still picture")),
            false => Err(truncated()),
        }
    }

    fn meta(&mut self, body: &'a [u8]) -> Result<(), DecodeError> {
        let mut boxes = Fields(body);
        boxes.version()?;
        while let Some((kind, body)) = boxes.next(false)? {
            let mut fields = Fields(body);
            match &kind {
                b"pitm" => {
                    let (version, _) = fields.version()?;
                    self.primary = Some(fields.small(if version == 0 { 2 } else { 4 })?);
                }
                b"iinf" => self.infos(fields)?,
                b"iloc" => self.locations(fields)?,
                b"iref" => self.references(fields)?,
                b"iprp" => {
                    while let Some((kind, body)) = fields.next(false)? {
                        match &kind {
                            b"ipco" => {
                                let mut properties = Fields(body);
                                while let Some(property) = properties.next(false)? {
                                    self.properties.push(property);
                                }
                            }
                            b"ipma" => self.associations(Fields(body))?,
                            _ => {}
                        }
                    }
                }
                b"idat" => self.idat = body,
                _ => {}
            }
        }
        Ok(())
    }

    /// What each item is.
    fn infos(&mut self, mut fields: Fields) -> Result<(), DecodeError> {
        let (version, _) = fields.version()?;
        fields.bytes(if version == 0 { 2 } else { 4 })?;
        while let Some((kind, body)) = fields.next(false)? {
            let mut entry = Fields(body);
            let (version, _) = entry.version()?;
            if &kind == b"infe" && version >= 2 {
                let id = entry.small(if version == 2 { 2 } else { 4 })?;
                let protection = entry.small(2)?;
                let kind = entry.kind()?;
                // what is encrypted is no picture to us
                let item = self.items.entry(id).or_default();
                item.kind = if protection == 0 { kind } else { *b"prot" };
                // its name, and the type of its content
                let content = entry.0.split(|byte| *byte == 0).nth(1);
                item.is_xmp = &item.kind == b"mime" && content == Some(b"application/rdf+xml");
            }
        }
        Ok(())
    }

    fn locations(&mut self, mut fields: Fields) -> Result<(), DecodeError> {
        let (version, _) = fields.version()?;
        let sizes = fields.small(2)?;
        let [offset, length, base, index] = [12, 8, 4, 0].map(|shift| (sizes >> shift & 15) as usize);
        if [offset, length, base, index].iter().any(|size| *size > 8) {
            return Err(corrupt("numbers of more than eight bytes"));
        }
        for _ in 0..fields.small(if version < 2 { 2 } else { 4 })? {
            let id = fields.small(if version < 2 { 2 } else { 4 })?;
            let origin = if version == 0 { 0 } else { fields.number(2)? & 15 };
            // in this file or, by another number, in another one
            let origin = if fields.small(2)? == 0 { origin } else { u64::MAX };
            let base = fields.number(base)?;
            let count = fields.small(2)?;
            let item = self.items.entry(id).or_default();
            item.origin = origin;
            for _ in 0..count {
                fields.bytes(if version == 0 { 0 } else { index })?;
                let start = base.checked_add(fields.number(offset)?).ok_or_else(truncated)?;
                item.extents.push((start, fields.number(length)?));
                // of no size at all there could be as many as one likes
                if offset + length == 0 && count > 1 {
                    return Err(corrupt("more than one extent without a place"));
                }
            }
        }
        Ok(())
    }

    fn references(&mut self, mut fields: Fields) -> Result<(), DecodeError> {
        let (version, _) = fields.version()?;
        let wide = if version == 0 { 2 } else { 4 };
        while let Some((kind, body)) = fields.next(false)? {
            let mut entry = Fields(body);
            let from = entry.small(wide)?;
            let to = (0..entry.small(2)?).map(|_| entry.small(wide)).collect::<Result<_, _>>()?;
            self.references.push(Reference { kind, from, to });
        }
        Ok(())
    }

    fn associations(&mut self, mut fields: Fields) -> Result<(), DecodeError> {
        let (version, flags) = fields.version()?;
        for _ in 0..fields.small(4)? {
            let id = fields.small(if version == 0 { 2 } else { 4 })?;
            for _ in 0..fields.small(1)? {
                let wide = if flags & 1 == 0 { 1 } else { 2 };
                let word = fields.small(wide)?;
                let essential = 1 << (wide * 8 - 1);
                let place = (word & (essential - 1)) as usize;
                let Some(place) = place.checked_sub(1) else { continue };
                let properties = &mut self.items.entry(id).or_default().properties;
                if properties.len() == MAX_PROPERTIES {
                    return Err(corrupt(format!("an item of more than {MAX_PROPERTIES} properties")));
                }
                properties.push((place, word & essential != 0));
            }
        }
        Ok(())
    }

    /// Bytes of the file.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The item that is the picture.
    pub(super) fn primary(&self) -> Result<u32, DecodeError> {
        self.primary.ok_or_else(|| corrupt("it does not say which of its items is the picture"))
    }

    /// The contents of the item's properties of this name.
    fn all(&self, item: u32, name: &[u8; 4]) -> impl Iterator<Item = &'a [u8]> {
        let places = self.items.get(&item).map_or(&[][..], |item| &item.properties);
        let named = places.iter().filter_map(|(place, _)| self.properties.get(*place));
        named.filter(move |(kind, _)| kind == name).map(|(_, body)| *body)
    }

    fn property(&self, item: u32, name: &[u8; 4]) -> Option<&'a [u8]> {
        self.all(item, name).next()
    }

    pub(super) fn size(&self, item: u32) -> Result<(usize, usize), DecodeError> {
        let body = self.property(item, b"ispe").ok_or_else(|| corrupt("it does not say how large it is"))?;
        let mut fields = Fields(body);
        fields.version()?;
        let (width, height) = (fields.small(4)? as usize, fields.small(4)? as usize);
        if width == 0 || height == 0 {
            return Err(corrupt(format!("the picture has {width}x{height} pixels")));
        }
        Ok((width, height))
    }

    pub(super) fn colours(&self, item: u32) -> Option<Colours> {
        self.all(item, b"colr").find_map(|body| match body {
            [b'n', b'c', b'l', b'x', _, _, _, _, high, low, range, ..] => {
                Some(Colours { matrix: u16::from_be_bytes([*high, *low]), full_range: range >> 7 == 1 })
            }
            _ => None,
        })
    }

    /// The item that holds the opacity of another, and whether the colours have been multiplied by it.
    pub(super) fn alpha(&self, of: u32) -> Option<(u32, bool)> {
        let found =
            self.references.iter().find(|r| &r.kind == b"auxl" && r.to.contains(&of) && self.is_alpha(r.from))?;
        let alpha = found.from;
        let premultiplied = self.references.iter().any(|r| &r.kind == b"prem" && r.from == of && r.to.contains(&alpha));
        Some((alpha, premultiplied))
    }

    /// The opacity of a picture put together of tiles, each of which has its own.
    pub(super) fn alpha_of_tiles(&self, grid: &Grid) -> Option<Grid> {
        let opacities = self.references.iter().filter(|r| &r.kind == b"auxl" && self.is_alpha(r.from));
        let by_tile: BTreeMap<u32, u32> = opacities.flat_map(|r| r.to.iter().map(|tile| (*tile, r.from))).collect();
        let tiles = grid.tiles.iter().map(|tile| by_tile.get(tile).copied()).collect::<Option<_>>()?;
        Some(Grid { tiles, ..*grid })
    }

    fn is_alpha(&self, item: u32) -> bool {
        const NAMES: [&[u8]; 2] = [b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", b"urn:mpeg:hevc:2015:auxid:1\0"];
        let kind = self.property(item, b"auxC").and_then(|body| body.get(4..));
        kind.is_some_and(|kind| NAMES.iter().any(|name| kind.starts_with(name)))
    }

    /// EXIF and XMP that describe an item.
    pub(super) fn metadata(&self, of: u32) -> Metadata<'static> {
        let mut found = Metadata::default();
        for reference in self.references.iter().filter(|r| &r.kind == b"cdsc" && r.to.contains(&of)) {
            match self.items.get(&reference.from) {
                // before the block stands where in it TIFF begins
                Some(item) if &item.kind == b"Exif" && found.exif.is_none() => {
                    let data = self.extents(reference.from).unwrap_or_default();
                    found.exif = Some(data.get(4..).unwrap_or_default().to_vec().into());
                }
                Some(item) if item.is_xmp && found.xmp.is_none() => {
                    found.xmp = Some(self.extents(reference.from).unwrap_or_default().into());
                }
                _ => {}
            }
        }
        found
    }

    /// Which way up the picture is: it is turned, and then mirrored.
    pub(super) fn orientation(&self, item: u32) -> Orientation {
        let first = |name| self.property(item, name).and_then(|body| body.first());
        let quarters = first(b"irot").map_or(0, |angle| angle & 3);
        let mirror = first(b"imir").map(|axis| axis & 1);
        // as EXIF numbers them; the quarters are counted against the clock
        let exif = match (quarters, mirror) {
            (0, None) => 1,
            (1, None) => 8,
            (2, None) => 3,
            (_, None) => 6,
            (0, Some(1)) | (2, Some(0)) => 2,
            (0, _) | (2, _) => 4,
            (1, Some(0)) | (3, Some(1)) => 5,
            _ => 7,
        };
        Orientation::from_exif(exif).unwrap_or(Orientation::NoTransforms)
    }

    /// The tiles that an item is put together of, if it is.
    pub(super) fn grid(&self, item: u32) -> Result<Option<Grid>, DecodeError> {
        match self.items.get(&item).map(|item| item.kind) {
            Some([b'a', b'v', b'0', b'1']) => return Ok(None),
            Some([b'g', b'r', b'i', b'd']) => {}
            Some(kind) => return Err(unsupported(format!("an item of the kind {:?}", String::from_utf8_lossy(&kind)))),
            None => return Err(corrupt(format!("there is no item {item}"))),
        }
        self.understood(item)?;
        let data = self.extents(item)?;
        let mut fields = Fields(&data);
        let (_, flags) = (fields.small(1)?, fields.small(1)?);
        let (rows, columns) = (fields.small(1)? as usize + 1, fields.small(1)? as usize + 1);
        let wide = if flags & 1 == 0 { 2 } else { 4 };
        let (width, height) = (fields.small(wide)? as usize, fields.small(wide)? as usize);
        let parts = self.references.iter().find(|r| &r.kind == b"dimg" && r.from == item);
        let tiles = parts.map(|r| r.to.clone()).unwrap_or_default();
        if tiles.len() != rows * columns {
            return Err(corrupt(format!("a grid of {columns}x{rows} with {} tiles", tiles.len())));
        }
        Ok(Some(Grid { columns, rows, width, height, tiles }))
    }

    /// The coded data of an item.
    pub(super) fn data(&self, item: u32) -> Result<Vec<u8>, DecodeError> {
        match self.items.get(&item) {
            Some(found) if &found.kind == b"av01" => {}
            _ => return Err(corrupt(format!("the item {item} is no AV1 picture"))),
        }
        self.understood(item)?;
        self.extents(item)
    }

    /// An error if the item has a property that must be understood and is not.
    fn understood(&self, item: u32) -> Result<(), DecodeError> {
        let known = [
            b"av1C", b"ispe", b"pixi", b"colr", b"auxC", b"irot", b"imir", b"clap", b"pasp", b"clli", b"mdcv", b"a1lx",
        ];
        for (place, essential) in self.items.get(&item).map_or(&[][..], |item| &item.properties) {
            let Some((kind, body)) = self.properties.get(*place) else { continue };
            // all layers, the first operating point: what is decoded anyway
            let usual = kind == b"lsel" && body == &[0xff, 0xff] || kind == b"a1op" && body == &[0];
            if *essential && !usual && !known.contains(&kind) {
                return Err(unsupported(format!("the property {:?}", String::from_utf8_lossy(kind))));
            }
        }
        Ok(())
    }

    fn extents(&self, item: u32) -> Result<Vec<u8>, DecodeError> {
        let Some(item) = self.items.get(&item) else { return Err(corrupt(format!("there is no item {item}"))) };
        let source = match item.origin {
            0 => self.bytes,
            1 => self.idat,
            _ => return Err(unsupported("data outside the file")),
        };
        let mut data = Vec::new();
        for (start, length) in &item.extents {
            let rest = usize::try_from(*start).ok().and_then(|start| source.get(start..)).ok_or_else(truncated)?;
            let length = usize::try_from(*length).map_err(|_| truncated())?;
            let piece = if length == 0 { rest } else { rest.get(..length).ok_or_else(truncated)? };
            // pieces that overlap would make much of a small file
            if data.len() + piece.len() > source.len() {
                return Err(corrupt("an item larger than the file"));
            }
            data.extend_from_slice(piece);
        }
        Ok(data)
    }
}
