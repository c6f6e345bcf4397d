//! Reads the boxes of an AVIF file (ISO/IEC 14496-12; HEIF, ISO/IEC 23008-12; AVIF, 1.1): its items, their properties,
//! and the position of their bytes.

use super::super::decode::DecodeError;
use super::super::exif::Metadata;
use super::boxes::{BoxReader, NamedBox};
use super::{corrupt, truncated, unsupported};
use image::metadata::Orientation;
use std::collections::BTreeMap;

/// The number of properties that an item may have; usual items have five.
const MAX_PROPERTIES: usize = 255;

/// The content of a file's meta box.
#[derive(Default)]
pub(super) struct Container<'a> {
    bytes: &'a [u8],
    primary: Option<u32>,
    items: BTreeMap<u32, Item>,
    /// The properties in the order of the `ipco` box.
    properties: Vec<NamedBox<'a>>,
    references: Vec<Reference>,
    /// The content of the `idat` box, where items may have their data.
    idat: &'a [u8],
}

#[derive(Default)]
struct Item {
    kind: [u8; 4],
    /// Whether the content type of the item is that of XMP.
    is_xmp: bool,
    /// The origin of the `extents`: 0 is the file, 1 the `idat` box.
    origin: u64,
    extents: Vec<Extent>,
    properties: Vec<Association>,
}

/// A piece of an item's bytes.
struct Extent {
    start: u64,
    /// The number of bytes; 0 for a piece that reaches to the end.
    length: u64,
}

/// A property that an item has.
struct Association {
    /// Its index in [`Container::properties`].
    index: usize,
    /// Whether a reader that does not know the property must refuse the item.
    essential: bool,
}

/// A reference of the item `from` to the items `to`; `kind` says what it means.
struct Reference {
    kind: [u8; 4],
    from: u32,
    to: Vec<u32>,
}

/// A picture that is composed of tiles, row by row.
pub(super) struct Grid {
    pub columns: usize,
    pub rows: usize,
    pub width: usize,
    pub height: usize,
    /// The items of the tiles.
    pub tiles: Vec<u32>,
}

/// The colour information of a `colr` box of the type `nclx`: the number of the matrix (ISO/IEC 23091-2), and whether
/// the samples use the full range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nclx {
    pub matrix: u16,
    pub full_range: bool,
}

impl<'a> Container<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut container = Self { bytes, ..Self::default() };
        let mut boxes = BoxReader::new(bytes);
        while let Some((kind, body)) = boxes.next(true)? {
            if &kind == b"meta" {
                container.read_meta(body)?;
                return Ok(container);
            }
        }
        match bytes.windows(4).any(|four| four == b"moov") {
            true => Err(unsupported("a sequence and no still picture")),
            false => Err(truncated()),
        }
    }

    fn read_meta(&mut self, body: &'a [u8]) -> Result<(), DecodeError> {
        let mut boxes = BoxReader::new(body);
        boxes.version()?;
        while let Some((kind, body)) = boxes.next(false)? {
            let mut fields = BoxReader::new(body);
            match &kind {
                b"pitm" => {
                    let (version, _) = fields.version()?;
                    self.primary = Some(fields.number32(if version == 0 { 2 } else { 4 })?);
                }
                b"iinf" => self.read_item_infos(fields)?,
                b"iloc" => self.read_locations(fields)?,
                b"iref" => self.read_references(fields)?,
                b"iprp" => {
                    while let Some((kind, body)) = fields.next(false)? {
                        match &kind {
                            b"ipco" => {
                                let mut properties = BoxReader::new(body);
                                while let Some(property) = properties.next(false)? {
                                    self.properties.push(property);
                                }
                            }
                            b"ipma" => self.read_associations(BoxReader::new(body))?,
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

    /// Reads the kinds of the items (`iinf`).
    fn read_item_infos(&mut self, mut fields: BoxReader) -> Result<(), DecodeError> {
        let (version, _) = fields.version()?;
        fields.bytes(if version == 0 { 2 } else { 4 })?;
        while let Some((kind, body)) = fields.next(false)? {
            let mut entry = BoxReader::new(body);
            let (version, _) = entry.version()?;
            if &kind == b"infe" && version >= 2 {
                let id = entry.number32(if version == 2 { 2 } else { 4 })?;
                let protection = entry.number32(2)?;
                let kind = entry.kind()?;
                // An encrypted item is treated as an item of an unknown kind.
                let item = self.items.entry(id).or_default();
                item.kind = if protection == 0 { kind } else { *b"prot" };
                // The entry continues with the item's name and its content type.
                let content = entry.rest().split(|byte| *byte == 0).nth(1);
                item.is_xmp = &item.kind == b"mime" && content == Some(b"application/rdf+xml");
            }
        }
        Ok(())
    }

    fn read_locations(&mut self, mut fields: BoxReader) -> Result<(), DecodeError> {
        let (version, _) = fields.version()?;
        let sizes = fields.number32(2)?;
        let [offset, length, base, index] = [12, 8, 4, 0].map(|shift| (sizes >> shift & 15) as usize);
        if [offset, length, base, index].iter().any(|size| *size > 8) {
            return Err(corrupt("numbers of more than eight bytes"));
        }
        for _ in 0..fields.number32(if version < 2 { 2 } else { 4 })? {
            let id = fields.number32(if version < 2 { 2 } else { 4 })?;
            let origin = if version == 0 { 0 } else { fields.number(2)? & 15 };
            // The data are in this file where the index is 0, and in another file otherwise.
            let origin = if fields.number32(2)? == 0 { origin } else { u64::MAX };
            let base = fields.number(base)?;
            let count = fields.number32(2)?;
            let item = self.items.entry(id).or_default();
            item.origin = origin;
            for _ in 0..count {
                fields.bytes(if version == 0 { 0 } else { index })?;
                let start = base.checked_add(fields.number(offset)?).ok_or_else(truncated)?;
                item.extents.push(Extent { start, length: fields.number(length)? });
                // Extents without fields take no bytes, so a short box could have any number of them.
                if offset + length == 0 && count > 1 {
                    return Err(corrupt("more than one extent without a place"));
                }
            }
        }
        Ok(())
    }

    fn read_references(&mut self, mut fields: BoxReader) -> Result<(), DecodeError> {
        let (version, _) = fields.version()?;
        let wide = if version == 0 { 2 } else { 4 };
        while let Some((kind, body)) = fields.next(false)? {
            let mut entry = BoxReader::new(body);
            let from = entry.number32(wide)?;
            let to = (0..entry.number32(2)?).map(|_| entry.number32(wide)).collect::<Result<_, _>>()?;
            self.references.push(Reference { kind, from, to });
        }
        Ok(())
    }

    fn read_associations(&mut self, mut fields: BoxReader) -> Result<(), DecodeError> {
        let (version, flags) = fields.version()?;
        for _ in 0..fields.number32(4)? {
            let id = fields.number32(if version == 0 { 2 } else { 4 })?;
            for _ in 0..fields.number32(1)? {
                let wide = if flags & 1 == 0 { 1 } else { 2 };
                let word = fields.number32(wide)?;
                let essential = 1 << (wide * 8 - 1);
                let number = (word & (essential - 1)) as usize;
                let Some(index) = number.checked_sub(1) else { continue };
                let properties = &mut self.items.entry(id).or_default().properties;
                if properties.len() == MAX_PROPERTIES {
                    return Err(corrupt(format!("an item of more than {MAX_PROPERTIES} properties")));
                }
                properties.push(Association { index, essential: word & essential != 0 });
            }
        }
        Ok(())
    }

    /// The length of the file in bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the item that is the picture.
    pub(super) fn primary(&self) -> Result<u32, DecodeError> {
        self.primary.ok_or_else(|| corrupt("it does not say which of its items is the picture"))
    }

    /// Returns the contents of the item's properties with this name.
    fn all(&self, item: u32, name: &[u8; 4]) -> impl Iterator<Item = &'a [u8]> {
        let associations = self.items.get(&item).map_or(&[][..], |item| &item.properties);
        let named = associations.iter().filter_map(|property| self.properties.get(property.index));
        named.filter(move |(kind, _)| kind == name).map(|(_, body)| *body)
    }

    fn property(&self, item: u32, name: &[u8; 4]) -> Option<&'a [u8]> {
        self.all(item, name).next()
    }

    pub(super) fn size(&self, item: u32) -> Result<(usize, usize), DecodeError> {
        let body = self.property(item, b"ispe").ok_or_else(|| corrupt("it does not say how large it is"))?;
        let mut fields = BoxReader::new(body);
        fields.version()?;
        let (width, height) = (fields.number32(4)? as usize, fields.number32(4)? as usize);
        if width == 0 || height == 0 {
            return Err(corrupt(format!("the picture has {width}x{height} pixels")));
        }
        Ok((width, height))
    }

    pub(super) fn nclx(&self, item: u32) -> Option<Nclx> {
        self.all(item, b"colr").find_map(|body| match body {
            [b'n', b'c', b'l', b'x', _, _, _, _, high, low, range, ..] => {
                Some(Nclx { matrix: u16::from_be_bytes([*high, *low]), full_range: range >> 7 == 1 })
            }
            _ => None,
        })
    }

    /// Returns the item that holds the opacity of another one, and whether the colours were multiplied by it.
    pub(super) fn alpha(&self, of: u32) -> Option<(u32, bool)> {
        let found =
            self.references.iter().find(|r| &r.kind == b"auxl" && r.to.contains(&of) && self.is_alpha(r.from))?;
        let alpha = found.from;
        let premultiplied = self.references.iter().any(|r| &r.kind == b"prem" && r.from == of && r.to.contains(&alpha));
        Some((alpha, premultiplied))
    }

    /// Returns the grid of opacities for a grid whose tiles each have an opacity of their own.
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

    /// Returns the EXIF and XMP blocks that describe an item.
    pub(super) fn metadata(&self, of: u32) -> Metadata<'static> {
        let mut found = Metadata::default();
        for reference in self.references.iter().filter(|r| &r.kind == b"cdsc" && r.to.contains(&of)) {
            match self.items.get(&reference.from) {
                // The block begins with the offset of its TIFF header.
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

    /// Returns the orientation: the picture is rotated first (`irot`) and then mirrored (`imir`).
    pub(super) fn orientation(&self, item: u32) -> Orientation {
        let first = |name| self.property(item, name).and_then(|body| body.first());
        let quarters = first(b"irot").map_or(0, |angle| angle & 3);
        let mirror = first(b"imir").map(|axis| axis & 1);
        // The values are those of EXIF; `irot` counts quarter turns anticlockwise.
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

    /// Returns the grid of an item that is composed of tiles, and none for a single frame.
    pub(super) fn grid(&self, item: u32) -> Result<Option<Grid>, DecodeError> {
        match self.items.get(&item).map(|item| item.kind) {
            Some([b'a', b'v', b'0', b'1']) => return Ok(None),
            Some([b'g', b'r', b'i', b'd']) => {}
            Some(kind) => return Err(unsupported(format!("an item of the kind {:?}", String::from_utf8_lossy(&kind)))),
            None => return Err(corrupt(format!("there is no item {item}"))),
        }
        self.check_essential_properties(item)?;
        let data = self.extents(item)?;
        let mut fields = BoxReader::new(&data);
        let (_, flags) = (fields.number32(1)?, fields.number32(1)?);
        let (rows, columns) = (fields.number32(1)? as usize + 1, fields.number32(1)? as usize + 1);
        let wide = if flags & 1 == 0 { 2 } else { 4 };
        let (width, height) = (fields.number32(wide)? as usize, fields.number32(wide)? as usize);
        let parts = self.references.iter().find(|r| &r.kind == b"dimg" && r.from == item);
        let tiles = parts.map(|r| r.to.clone()).unwrap_or_default();
        if tiles.len() != rows * columns {
            return Err(corrupt(format!("a grid of {columns}x{rows} with {} tiles", tiles.len())));
        }
        Ok(Some(Grid { columns, rows, width, height, tiles }))
    }

    /// Returns the AV1 data of an item.
    pub(super) fn data(&self, item: u32) -> Result<Vec<u8>, DecodeError> {
        match self.items.get(&item) {
            Some(found) if &found.kind == b"av01" => {}
            _ => return Err(corrupt(format!("the item {item} is no AV1 picture"))),
        }
        self.check_essential_properties(item)?;
        self.extents(item)
    }

    /// Returns an error if the item has an essential property that this crate does not know.
    fn check_essential_properties(&self, item: u32) -> Result<(), DecodeError> {
        let known = [
            b"av1C", b"ispe", b"pixi", b"colr", b"auxC", b"irot", b"imir", b"clap", b"pasp", b"clli", b"mdcv", b"a1lx",
        ];
        for Association { index, essential } in self.items.get(&item).map_or(&[][..], |item| &item.properties) {
            let Some((kind, body)) = self.properties.get(*index) else { continue };
            // All layers and the first operating point are decoded anyway.
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
        for Extent { start, length } in &item.extents {
            let rest = usize::try_from(*start).ok().and_then(|start| source.get(start..)).ok_or_else(truncated)?;
            let length = usize::try_from(*length).map_err(|_| truncated())?;
            let piece = if length == 0 { rest } else { rest.get(..length).ok_or_else(truncated)? };
            // Overlapping extents would make a large item of a small file.
            if data.len() + piece.len() > source.len() {
                return Err(corrupt("an item larger than the file"));
            }
            data.extend_from_slice(piece);
        }
        Ok(data)
    }
}
