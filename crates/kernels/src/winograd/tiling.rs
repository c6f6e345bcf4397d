//! How maps lie in memory, and how they are divided into tiles.

use std::ops::Range;

use super::super::residual::Residual;
use super::TileSize;
use super::gemm::TileBlock;

/// How the maps of several pictures lie in memory, in elements.
#[derive(Clone, Copy, Debug)]
pub struct BatchLayout {
    /// The first pixel of the first picture.
    pub start: usize,
    /// From one pixel to the next, at least the channels.
    pub pixel_stride: usize,
    pub row_stride: usize,
    pub picture_stride: usize,
}

/// Where a convolution by Winograd reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct WinogradLayout {
    pub pictures: usize,
    /// The window of output (y, x) begins at pixel (y, x) of this layout: the zeros around the map are part of it.
    pub input: BatchLayout,
    pub output: BatchLayout,
    pub residual: Residual<BatchLayout>,
    /// Height and width of the output; two more rows and columns can be read in the input.
    pub size: [usize; 2],
}

impl BatchLayout {
    /// Whether `height` × `width` pixels of `channels` values of each picture lie within a slice of `len`.
    pub(super) fn fits(&self, pictures: usize, [height, width]: [usize; 2], channels: usize, len: usize) -> bool {
        let strides =
            [(pictures - 1, self.picture_stride), (height - 1, self.row_stride), (width - 1, self.pixel_stride)];
        let last = strides.iter().try_fold(self.start, |at, &(n, stride)| n.checked_mul(stride)?.checked_add(at));
        last.and_then(|last| last.checked_add(channels)).is_some_and(|end| end <= len)
    }

    /// Whether no two of these pixels share a value.
    pub(super) fn is_disjoint(&self, pictures: usize, [height, width]: [usize; 2], channels: usize) -> bool {
        let row = (width - 1) * self.pixel_stride + channels;
        let map = (height - 1) * self.row_stride + row;
        (width == 1 || self.pixel_stride >= channels)
            && (height == 1 || self.row_stride >= row)
            && (pictures == 1 || self.picture_stride >= map)
    }

    /// Returns the offset of the first pixel of a tile.
    pub(super) fn tile_start(&self, tile: &PlacedTile) -> usize {
        let [y, x] = tile.at;
        self.start + tile.picture * self.picture_stride + y * self.row_stride + x * self.pixel_stride
    }
}

impl WinogradLayout {
    pub(super) fn is_empty(&self) -> bool {
        self.pictures == 0 || self.size.contains(&0)
    }

    pub(super) fn tiling(&self, tile: TileSize) -> Tiling {
        let outputs = tile.outputs();
        let tiles = self.size.map(|n| n.div_ceil(outputs));
        // There are two outputs for each pair of points.
        let edge_pairs = self.size.map(|n| (n - (n.div_ceil(outputs) - 1) * outputs).div_ceil(2));
        Tiling { outputs, tiles, edge_pairs, size: self.size }
    }
}

/// How the outputs of a picture are divided into tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiling {
    /// Outputs of a tile, along a side.
    outputs: usize,
    /// Tiles of a picture, down and across.
    tiles: [usize; 2],
    /// Pairs of points that the last tile takes, down and across; the other tiles take all pairs.
    edge_pairs: [usize; 2],
    size: [usize; 2],
}

/// A tile of a picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlacedTile {
    pub picture: usize,
    /// The first row and column of the tile.
    pub at: [usize; 2],
    /// The pairs of points that the tile needs, down and across.
    pub pairs: [usize; 2],
    /// The rows and columns of its outputs that lie within the map.
    pub outputs: [usize; 2],
}

/// The tiles of a block, sorted so that those which have a value at a point of the transform lie side by side.
pub(super) struct SortedTiles {
    pub tiles: Vec<PlacedTile>,
    /// Where each kind of tiles ends: those with fewer pairs across only, those with all pairs, those with fewer pairs
    /// down only, those with fewer in both.
    ends: [usize; 4],
}

impl Tiling {
    /// Returns the number of tiles of a picture.
    pub(super) fn count(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    fn tile(&self, index: usize) -> PlacedTile {
        let [down, across] = self.tiles;
        let at = [index / across % down, index % across];
        let is_last = [at[0] + 1 == down, at[1] + 1 == across];
        let pairs = [0, 1].map(|d| if is_last[d] { self.edge_pairs[d] } else { self.outputs / 2 });
        let at = at.map(|i| i * self.outputs);
        let outputs = [0, 1].map(|d| self.outputs.min(self.size[d] - at[d]));
        PlacedTile { picture: index / (down * across), at, pairs, outputs }
    }

    /// The tiles of a block.
    pub(super) fn sorted(&self, block: &TileBlock) -> SortedTiles {
        let kind = |tile: &PlacedTile| match [0, 1].map(|d| tile.pairs[d] < self.outputs / 2) {
            [false, true] => 0,
            [false, false] => 1,
            [true, false] => 2,
            [true, true] => 3,
        };
        let mut tiles: Vec<PlacedTile> = (block.begin..block.begin + block.tiles).map(|i| self.tile(i)).collect();
        tiles.sort_by_key(kind);
        let ends = [0, 1, 2, 3].map(|k| tiles.partition_point(|tile| kind(tile) <= k));
        SortedTiles { tiles, ends }
    }

    /// Returns the tiles of a block that have a value at a point of the transform.
    pub(super) fn tiles_at(&self, tiles: &SortedTiles, point: usize) -> Range<usize> {
        let (side, ends) = (self.outputs + 2, tiles.ends);
        let pair = [point / side, point % side].map(|i| i / 2);
        // Every tile takes 0, ∞ and the first pair.
        let only_whole = [0, 1].map(|d| pair[d] > self.edge_pairs[d]);
        let start = if only_whole[1] { ends[0] } else { 0 };
        let end = match only_whole {
            [true, _] => ends[1],
            [false, true] => ends[2],
            [false, false] => ends[3],
        };
        start..end
    }
}
