//! The blocks of a scan in their order (T.81, A.2): straight to samples where one scan holds the whole picture, else into a store of
//! coefficients, which become samples at the end.

use super::frame::{Component, Frame, Scan};
use super::huffman::{Huffman, Reader};
use super::idct::{Group, LANES};
use super::markers::EntropyData;
use super::picture::{Band, Picture};
use super::tables::{Quantisation, Tables};
use super::{DecodeError, progressive, reduced, sequential};

/// A component's part in a sequential scan that holds the whole picture.
struct Part<'a> {
    /// Its place in the frame.
    index: usize,
    h: usize,
    /// Samples across and down that a block gives.
    side: usize,
    dc_table: &'a Huffman,
    ac_table: &'a Huffman,
    quantisation: Quantisation,
    /// The DC coefficient of the block before.
    dc: i32,
    /// For each row of blocks in an MCU: the blocks that are not samples yet.
    groups: Vec<Group>,
}

/// Where a block of an MCU belongs: the part, and column and row among its blocks in the MCU.
struct Place {
    part: usize,
    x: usize,
    y: usize,
}

/// Decodes a sequential scan of all components into the picture; says whether its data reached to the end.
pub(super) fn decode_whole(
    frame: &Frame,
    scan: &Scan,
    tables: &Tables,
    data: &EntropyData,
    interval: usize,
    picture: &mut Picture,
    bands: &mut [Band],
) -> Result<bool, DecodeError> {
    let parts = scan.components.iter().map(|component| {
        let of = &frame.components[component.index];
        Ok(Part {
            index: component.index,
            h: of.h,
            side: of.side,
            dc_table: tables.dc(component.dc)?,
            ac_table: tables.ac(component.ac)?,
            quantisation: of.quantisation.unwrap_or([0; 64]),
            dc: 0,
            groups: vec![Group::ZERO; of.v],
        })
    });
    let mut parts: Vec<Part> = parts.collect::<Result<_, DecodeError>>()?;
    let places: Vec<Place> = (parts.iter().enumerate())
        .flat_map(|(i, part)| {
            (0..part.groups.len()).flat_map(move |y| (0..part.h).map(move |x| Place { part: i, x, y }))
        })
        .collect();
    let (mcus, mcu_rows) = frame.mcus();
    let mut reader = Reader::new(data, interval);
    for row in 0..mcu_rows {
        let (reader, parts, places) = (&mut reader, parts.as_mut_slice(), places.as_slice());
        pulp::Arch::new().dispatch(WholeRow { reader, parts, places, bands, row, mcus })?;
        reader.check()?;
        picture.advance(bands, row);
    }
    Ok(!reader.is_at_end())
}

/// A row of MCUs of a scan that holds the whole picture.
struct WholeRow<'a, 'b> {
    reader: &'a mut Reader<'b>,
    parts: &'a mut [Part<'b>],
    /// The blocks of an MCU, in their order.
    places: &'a [Place],
    bands: &'a mut [Band],
    row: usize,
    mcus: usize,
}

impl pulp::NullaryFnOnce for WholeRow<'_, '_> {
    type Output = Result<(), DecodeError>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        let Self { reader, parts, places, bands, row, mcus } = self;
        for mcu in 0..mcus {
            if reader.restarts()? {
                parts.iter_mut().for_each(|part| part.dc = 0);
            }
            let empty = reader.is_at_end();
            for &Place { part, x, y } in places {
                let part = &mut parts[part];
                let (x, group) = (mcu * part.h + x, &mut part.groups[y]);
                let lane = x % LANES;
                if !empty {
                    let (dc, ac) = (part.dc_table, part.ac_table);
                    let block = sequential::block(&mut reader.bits, dc, ac, &mut part.dc, group, lane);
                    if block.is_none() {
                        reader.refuse()?;
                    }
                }
                if lane == LANES - 1 || x == mcus * part.h - 1 {
                    let samples = reduced::samples(group, &part.quantisation, part.side);
                    bands[part.index].put(row, x - lane, y, &samples);
                    group.clear();
                }
            }
        }
        Ok(())
    }
}

/// The coefficients of all components: rows of groups, each row beginning with a new one.
pub(super) struct Store {
    components: Vec<Vec<Group>>,
}

/// Groups in a row of `blocks`.
fn groups(blocks: usize) -> usize {
    blocks.div_ceil(LANES)
}

impl Store {
    pub(super) fn new(frame: &Frame) -> Self {
        let component = |c: &Component| vec![Group::ZERO; groups(c.blocks_wide) * c.blocks_high];
        Self { components: frame.components.iter().map(component).collect() }
    }

    /// Bytes that a store for `frame` takes.
    pub(crate) fn bytes(frame: &Frame) -> u64 {
        let component = |c: &Component| (groups(c.blocks_wide) * c.blocks_high * size_of::<Group>()) as u64;
        frame.components.iter().map(component).sum()
    }

    /// The group with the block in column `x` and row `y` of a component; none where it is beyond the last ones.
    #[inline(always)]
    pub(super) fn group(&mut self, frame: &Frame, component: usize, x: usize, y: usize) -> Option<&mut Group> {
        let of = &frame.components[component];
        let place = y * groups(of.blocks_wide) + x / LANES;
        self.components[component].get_mut(place).filter(|_| x < of.blocks_wide && y < of.blocks_high)
    }

    /// Decodes a scan; says whether its data reached to the end.
    pub(super) fn decode(
        &mut self,
        frame: &Frame,
        scan: &Scan,
        tables: &Tables,
        data: &EntropyData,
        interval: usize,
    ) -> Result<bool, DecodeError> {
        let coders = scan.components.iter().map(|component| {
            Ok(match (frame.progressive, scan.first, scan.high) {
                (false, ..) => Coder::Sequential(tables.dc(component.dc)?, tables.ac(component.ac)?),
                (true, 0, 0) => Coder::DcFirst(tables.dc(component.dc)?),
                (true, 0, _) => Coder::DcRefine,
                (true, _, 0) => Coder::AcFirst(tables.ac(component.ac)?),
                (true, ..) => Coder::AcRefine(tables.ac(component.ac)?),
            })
        });
        let coders: Vec<Coder> = coders.collect::<Result<_, DecodeError>>()?;
        let reader = Reader::new(data, interval);
        pulp::Arch::new().dispatch(StoredScan { store: self, frame, scan, coders: &coders, reader })
    }

    /// Makes the picture of what has been stored.
    pub(super) fn finish(&self, frame: &Frame, picture: &mut Picture, bands: &mut [Band]) {
        let (_, mcu_rows) = frame.mcus();
        for row in 0..mcu_rows {
            for ((component, all), band) in frame.components.iter().zip(&self.components).zip(&mut *bands) {
                let steps = component.quantisation.unwrap_or([0; 64]);
                let rows = all.chunks_exact(groups(component.blocks_wide)).skip(row * component.v);
                for (y, groups) in rows.take(component.v).enumerate() {
                    pulp::Arch::new().dispatch(ToSamples {
                        groups,
                        steps: &steps,
                        side: component.side,
                        band,
                        mcu_row: row,
                        y,
                    });
                }
            }
            picture.advance(bands, row);
        }
    }
}

/// A row of a component's groups.
struct ToSamples<'a> {
    groups: &'a [Group],
    steps: &'a Quantisation,
    side: usize,
    band: &'a mut Band,
    mcu_row: usize,
    y: usize,
}

impl pulp::NullaryFnOnce for ToSamples<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (i, group) in self.groups.iter().enumerate() {
            let samples = reduced::samples(group, self.steps, self.side);
            self.band.put(self.mcu_row, i * LANES, self.y, &samples);
        }
    }
}

/// How the blocks of a component are coded in a scan, with the tables.
#[derive(Clone, Copy)]
enum Coder<'a> {
    Sequential(&'a Huffman, &'a Huffman),
    DcFirst(&'a Huffman),
    DcRefine,
    AcFirst(&'a Huffman),
    AcRefine(&'a Huffman),
}

/// What decoding carries from block to block.
#[derive(Default)]
struct Carried {
    dc: i32,
    empty: u32,
}

struct StoredScan<'a, 'b> {
    store: &'a mut Store,
    frame: &'a Frame,
    scan: &'a Scan,
    coders: &'a [Coder<'a>],
    reader: Reader<'b>,
}

impl pulp::NullaryFnOnce for StoredScan<'_, '_> {
    type Output = Result<bool, DecodeError>;

    #[inline(always)]
    fn call(mut self) -> Self::Output {
        if let ([component], [coder]) = (self.scan.components.as_slice(), self.coders) {
            self.single(component.index, *coder)?;
        } else {
            self.interleaved()?;
        }
        Ok(!self.reader.is_at_end())
    }
}

impl StoredScan<'_, '_> {
    /// The blocks of one component, row by row.
    #[inline(always)]
    fn single(&mut self, index: usize, coder: Coder) -> Result<(), DecodeError> {
        let wide = self.frame.components[index].blocks_wide;
        let mut carried = Carried::default();
        for row in self.store.components[index].chunks_exact_mut(groups(wide)) {
            for x in 0..wide {
                if self.reader.restarts()? {
                    carried = Carried::default();
                }
                if self.reader.is_at_end() {
                    return Ok(());
                }
                coder.block(&mut self.reader, self.scan, &mut carried, &mut row[x / LANES], x % LANES)?;
            }
            self.reader.check()?;
        }
        Ok(())
    }

    /// MCU by MCU; blocks that only fill up the last ones are thrown away.
    #[inline(always)]
    fn interleaved(&mut self) -> Result<(), DecodeError> {
        let (mcus, mcu_rows) = self.frame.mcus();
        let mut carried: [Carried; 4] = Default::default();
        let mut filling = Group::ZERO;
        for row in 0..mcu_rows {
            for mcu in 0..mcus {
                if self.reader.restarts()? {
                    carried = Default::default();
                }
                if self.reader.is_at_end() {
                    return Ok(());
                }
                for ((component, coder), carried) in self.scan.components.iter().zip(self.coders).zip(&mut carried) {
                    let of = &self.frame.components[component.index];
                    for place in 0..of.h * of.v {
                        let (x, y) = (mcu * of.h + place % of.h, row * of.v + place / of.h);
                        let group = self.store.group(self.frame, component.index, x, y).unwrap_or(&mut filling);
                        coder.block(&mut self.reader, self.scan, carried, group, x % LANES)?;
                    }
                }
            }
            self.reader.check()?;
        }
        Ok(())
    }
}

impl Coder<'_> {
    #[inline(always)]
    fn block(
        self,
        reader: &mut Reader,
        scan: &Scan,
        carried: &mut Carried,
        group: &mut Group,
        lane: usize,
    ) -> Result<(), DecodeError> {
        let bits = &mut reader.bits;
        let done = match self {
            Self::Sequential(dc, ac) => sequential::block(bits, dc, ac, &mut carried.dc, group, lane),
            Self::DcFirst(table) => progressive::dc_first(bits, table, scan, &mut carried.dc, group, lane),
            Self::DcRefine => {
                progressive::dc_refine(bits, scan, group, lane);
                Some(())
            }
            Self::AcFirst(table) => progressive::ac_first(bits, table, scan, &mut carried.empty, group, lane),
            Self::AcRefine(table) => progressive::ac_refine(bits, table, scan, &mut carried.empty, group, lane),
        };
        if done.is_some() { Ok(()) } else { reader.refuse() }
    }
}
