//! Goes through the blocks of a scan in their order (T.81, A.2). A scan that holds the whole picture is transformed to
//! samples at once; other scans fill a buffer of coefficients, which is transformed at the end of the file.

use super::frame::{Component, Frame, Scan};
use super::huffman::{EntropyReader, HuffmanTable};
use super::idct::{BlockGroup, LANES};
use super::markers::EntropyData;
use super::picture::{ComponentRows, OutputPicture};
use super::tables::{CodingTables, QuantisationTable};
use super::{DecodeError, progressive, reduced, sequential};

/// The headers and the entropy-coded data of a scan.
pub(super) struct ScanInput<'a> {
    pub frame: &'a Frame,
    pub scan: &'a Scan,
    pub data: &'a EntropyData,
    /// MCUs between two restart markers; 0 where the scan has none.
    pub restart_interval: usize,
}

/// Decodes one component in a sequential scan that holds the whole picture.
struct ComponentDecoder<'a> {
    /// The index of the component in the frame.
    index: usize,
    h: usize,
    /// The samples across and down that a block gives.
    block_side: usize,
    dc_table: &'a HuffmanTable,
    ac_table: &'a HuffmanTable,
    quantisation: QuantisationTable,
    /// The DC coefficient of the component's last block.
    dc_predictor: i32,
    /// For each row of blocks in an MCU, the group of blocks that are not transformed yet.
    groups: Vec<BlockGroup>,
}

/// A block of an MCU: its component, and its column and row among the component's blocks in the MCU.
struct McuBlock {
    component: usize,
    x: usize,
    y: usize,
}

/// Decodes a sequential scan of all components into the picture. Returns whether the data reached to the end of the
/// scan.
pub(super) fn decode_single_scan(
    input: &ScanInput,
    tables: &CodingTables,
    picture: &mut OutputPicture,
    component_rows: &mut [ComponentRows],
) -> Result<bool, DecodeError> {
    let &ScanInput { frame, scan, data, restart_interval } = input;
    let components = scan.components.iter().map(|component| {
        let of = &frame.components[component.index];
        Ok(ComponentDecoder {
            index: component.index,
            h: of.h,
            block_side: of.block_side,
            dc_table: tables.dc(component.dc)?,
            ac_table: tables.ac(component.ac)?,
            quantisation: of.quantisation.unwrap_or([0; 64]),
            dc_predictor: 0,
            groups: vec![BlockGroup::ZERO; of.v],
        })
    });
    let mut components: Vec<ComponentDecoder> = components.collect::<Result<_, DecodeError>>()?;
    let blocks: Vec<McuBlock> = (components.iter().enumerate())
        .flat_map(|(i, decoder)| {
            (0..decoder.groups.len()).flat_map(move |y| (0..decoder.h).map(move |x| McuBlock { component: i, x, y }))
        })
        .collect();
    let (mcus, mcu_rows) = frame.mcus();
    let mut reader = EntropyReader::new(data, restart_interval);
    for row in 0..mcu_rows {
        let (reader, components, blocks) = (&mut reader, components.as_mut_slice(), blocks.as_slice());
        pulp::Arch::new().dispatch(McuRow { reader, components, blocks, component_rows, row, mcus })?;
        reader.check()?;
        picture.emit_rows(component_rows, row);
    }
    Ok(!reader.is_at_end())
}

/// A row of MCUs in a scan that holds the whole picture.
struct McuRow<'a, 'b> {
    reader: &'a mut EntropyReader<'b>,
    components: &'a mut [ComponentDecoder<'b>],
    /// The blocks of an MCU in their order.
    blocks: &'a [McuBlock],
    component_rows: &'a mut [ComponentRows],
    row: usize,
    mcus: usize,
}

impl pulp::NullaryFnOnce for McuRow<'_, '_> {
    type Output = Result<(), DecodeError>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        let Self { reader, components, blocks, component_rows, row, mcus } = self;
        for mcu in 0..mcus {
            if reader.begin_mcu()? {
                components.iter_mut().for_each(|decoder| decoder.dc_predictor = 0);
            }
            let empty = reader.is_at_end();
            for &McuBlock { component, x, y } in blocks {
                let decoder = &mut components[component];
                let (x, group) = (mcu * decoder.h + x, &mut decoder.groups[y]);
                let lane = x % LANES;
                if !empty {
                    let (dc, ac) = (decoder.dc_table, decoder.ac_table);
                    let block = sequential::block(&mut reader.bits, dc, ac, &mut decoder.dc_predictor, group, lane);
                    if block.is_none() {
                        reader.invalid_code()?;
                    }
                }
                if lane == LANES - 1 || x == mcus * decoder.h - 1 {
                    let samples = reduced::samples(group, &decoder.quantisation, decoder.block_side);
                    component_rows[decoder.index].put(row, x - lane, y, &samples);
                    group.clear();
                }
            }
        }
        Ok(())
    }
}

/// The coefficients of all components, in groups; each row of blocks begins with a new group.
pub(super) struct CoefficientBuffer {
    components: Vec<Vec<BlockGroup>>,
}

/// Returns the number of groups in a row of `blocks`.
fn groups(blocks: usize) -> usize {
    blocks.div_ceil(LANES)
}

impl CoefficientBuffer {
    pub(super) fn new(frame: &Frame) -> Self {
        let component = |c: &Component| vec![BlockGroup::ZERO; groups(c.blocks_wide) * c.blocks_high];
        Self { components: frame.components.iter().map(component).collect() }
    }

    /// The bytes of the buffer for `frame`.
    pub(crate) fn bytes(frame: &Frame) -> u64 {
        let component = |c: &Component| (groups(c.blocks_wide) * c.blocks_high * size_of::<BlockGroup>()) as u64;
        frame.components.iter().map(component).sum()
    }

    /// Returns the group that holds the block in column `x` and row `y` of a component; none beyond the last blocks.
    #[inline(always)]
    pub(super) fn group(&mut self, frame: &Frame, component: usize, x: usize, y: usize) -> Option<&mut BlockGroup> {
        let of = &frame.components[component];
        let place = y * groups(of.blocks_wide) + x / LANES;
        self.components[component].get_mut(place).filter(|_| x < of.blocks_wide && y < of.blocks_high)
    }

    /// Decodes a scan. Returns whether the data reached to the end of the scan.
    pub(super) fn decode(&mut self, input: &ScanInput, tables: &CodingTables) -> Result<bool, DecodeError> {
        let &ScanInput { frame, scan, data, restart_interval } = input;
        let codings = scan.components.iter().map(|component| {
            Ok(match (frame.progressive, scan.spectral_start, scan.approximation_high) {
                (false, ..) => BlockCoding::Sequential(tables.dc(component.dc)?, tables.ac(component.ac)?),
                (true, 0, 0) => BlockCoding::DcFirst(tables.dc(component.dc)?),
                (true, 0, _) => BlockCoding::DcRefine,
                (true, _, 0) => BlockCoding::AcFirst(tables.ac(component.ac)?),
                (true, ..) => BlockCoding::AcRefine(tables.ac(component.ac)?),
            })
        });
        let codings: Vec<BlockCoding> = codings.collect::<Result<_, DecodeError>>()?;
        let reader = EntropyReader::new(data, restart_interval);
        pulp::Arch::new().dispatch(BufferedScan { coefficients: self, frame, scan, codings: &codings, reader })
    }

    /// Transforms all coefficients and makes the picture.
    pub(super) fn finish(&self, frame: &Frame, picture: &mut OutputPicture, component_rows: &mut [ComponentRows]) {
        let (_, mcu_rows) = frame.mcus();
        for row in 0..mcu_rows {
            for ((component, all), component_rows) in
                frame.components.iter().zip(&self.components).zip(&mut *component_rows)
            {
                let steps = component.quantisation.unwrap_or([0; 64]);
                let rows = all.chunks_exact(groups(component.blocks_wide)).skip(row * component.v);
                for (y, groups) in rows.take(component.v).enumerate() {
                    pulp::Arch::new().dispatch(RowToSamples {
                        groups,
                        steps: &steps,
                        block_side: component.block_side,
                        component_rows,
                        mcu_row: row,
                        y,
                    });
                }
            }
            picture.emit_rows(component_rows, row);
        }
    }
}

/// The transform of a row of groups of one component.
struct RowToSamples<'a> {
    groups: &'a [BlockGroup],
    steps: &'a QuantisationTable,
    block_side: usize,
    component_rows: &'a mut ComponentRows,
    mcu_row: usize,
    y: usize,
}

impl pulp::NullaryFnOnce for RowToSamples<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (i, group) in self.groups.iter().enumerate() {
            let samples = reduced::samples(group, self.steps, self.block_side);
            self.component_rows.put(self.mcu_row, i * LANES, self.y, &samples);
        }
    }
}

/// How a scan codes the blocks of a component, with its tables.
#[derive(Clone, Copy)]
enum BlockCoding<'a> {
    Sequential(&'a HuffmanTable, &'a HuffmanTable),
    DcFirst(&'a HuffmanTable),
    DcRefine,
    AcFirst(&'a HuffmanTable),
    AcRefine(&'a HuffmanTable),
}

/// The state that the decoder carries from block to block and resets at each restart marker.
#[derive(Default)]
struct DecoderState {
    dc_predictor: i32,
    eob_run: u32,
}

struct BufferedScan<'a, 'b> {
    coefficients: &'a mut CoefficientBuffer,
    frame: &'a Frame,
    scan: &'a Scan,
    codings: &'a [BlockCoding<'a>],
    reader: EntropyReader<'b>,
}

impl pulp::NullaryFnOnce for BufferedScan<'_, '_> {
    type Output = Result<bool, DecodeError>;

    #[inline(always)]
    fn call(mut self) -> Self::Output {
        if let ([component], [coding]) = (self.scan.components.as_slice(), self.codings) {
            self.one_component(component.index, *coding)?;
        } else {
            self.interleaved()?;
        }
        Ok(!self.reader.is_at_end())
    }
}

impl BufferedScan<'_, '_> {
    /// Decodes the blocks of a single component, row by row.
    #[inline(always)]
    fn one_component(&mut self, index: usize, coding: BlockCoding) -> Result<(), DecodeError> {
        let wide = self.frame.components[index].blocks_wide;
        let mut state = DecoderState::default();
        for row in self.coefficients.components[index].chunks_exact_mut(groups(wide)) {
            for x in 0..wide {
                if self.reader.begin_mcu()? {
                    state = DecoderState::default();
                }
                if self.reader.is_at_end() {
                    return Ok(());
                }
                coding.block(&mut self.reader, self.scan, &mut state, &mut row[x / LANES], x % LANES)?;
            }
            self.reader.check()?;
        }
        Ok(())
    }

    /// Decodes the scan MCU by MCU; blocks beyond the edge of a component are discarded.
    #[inline(always)]
    fn interleaved(&mut self) -> Result<(), DecodeError> {
        let (mcus, mcu_rows) = self.frame.mcus();
        let mut state: [DecoderState; 4] = Default::default();
        let mut filling = BlockGroup::ZERO;
        for row in 0..mcu_rows {
            for mcu in 0..mcus {
                if self.reader.begin_mcu()? {
                    state = Default::default();
                }
                if self.reader.is_at_end() {
                    return Ok(());
                }
                for ((component, coding), state) in self.scan.components.iter().zip(self.codings).zip(&mut state) {
                    let of = &self.frame.components[component.index];
                    for place in 0..of.h * of.v {
                        let (x, y) = (mcu * of.h + place % of.h, row * of.v + place / of.h);
                        let group = self.coefficients.group(self.frame, component.index, x, y).unwrap_or(&mut filling);
                        coding.block(&mut self.reader, self.scan, state, group, x % LANES)?;
                    }
                }
            }
            self.reader.check()?;
        }
        Ok(())
    }
}

impl BlockCoding<'_> {
    #[inline(always)]
    fn block(
        self,
        reader: &mut EntropyReader,
        scan: &Scan,
        state: &mut DecoderState,
        group: &mut BlockGroup,
        lane: usize,
    ) -> Result<(), DecodeError> {
        let bits = &mut reader.bits;
        let done = match self {
            Self::Sequential(dc, ac) => sequential::block(bits, dc, ac, &mut state.dc_predictor, group, lane),
            Self::DcFirst(table) => progressive::dc_first(bits, table, scan, &mut state.dc_predictor, group, lane),
            Self::DcRefine => {
                progressive::dc_refine(bits, scan, group, lane);
                Some(())
            }
            Self::AcFirst(table) => progressive::ac_first(bits, table, scan, &mut state.eob_run, group, lane),
            Self::AcRefine(table) => progressive::ac_refine(bits, table, scan, &mut state.eob_run, group, lane),
        };
        if done.is_some() { Ok(()) } else { reader.invalid_code() }
    }
}
