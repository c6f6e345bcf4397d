//! Where maps lie in memory, and how they are cut into tiles.

use std::ops::Range;

use super::super::added::Added;
use super::Tile;
use super::product::Block;

/// How a map lies in memory, in elements.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// The first pixel of the first picture.
    pub start: usize,
    /// From one pixel to the next, at least the channels.
    pub pixel: usize,
    /// From one row to the next.
    pub row: usize,
    /// From one picture to the next.
    pub picture: usize,
}

/// Where a convolution reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    pub pictures: usize,
    /// The window of output (y, x) begins at pixel (y, x) of this grid: the zeros around the map are part of it.
    pub input: Grid,
    pub output: Grid,
    /// The values to add.
    pub added: Added<Grid>,
    /// Height and width of the output; two more of each can be read in the input.
    pub size: [usize; 2],
}

impl Grid {
    /// True when `h` × `w` pixels of `c` values of each picture lie within `len`.
    pub(super) fn within(&self, pictures: usize, [h, w]: [usize; 2], c: usize, len: usize) -> bool {
        let steps = [(pictures - 1, self.picture), (h - 1, self.row), (w - 1, self.pixel)];
        let last = steps.iter().try_fold(self.start, |at, &(n, step)| n.checked_mul(step)?.checked_add(at));
        last.and_then(|last| last.checked_add(c)).is_some_and(|end| end <= len)
    }

    /// True when no two of these pixels share a value.
    pub(super) fn apart(&self, pictures: usize, [h, w]: [usize; 2], c: usize) -> bool {
        let line = (w - 1) * self.pixel + c;
        let map = (h - 1) * self.row + line;
        (w == 1 || self.pixel >= c) && (h == 1 || self.row >= line) && (pictures == 1 || self.picture >= map)
    }

    pub(super) fn at(&self, spot: &Spot) -> usize {
        self.start + spot.picture * self.picture + spot.at[0] * self.row + spot.at[1] * self.pixel
    }
}

impl Places {
    pub(super) fn is_empty(&self) -> bool {
        self.pictures == 0 || self.size.contains(&0)
    }

    pub(super) fn cut(&self, tile: Tile) -> Cut {
        let outputs = tile.outputs();
        let tiles = self.size.map(|n| n.div_ceil(outputs));
        // two outputs for each pair of points
        let edge = self.size.map(|n| (n - (n.div_ceil(outputs) - 1) * outputs).div_ceil(2));
        Cut { outputs, tiles, edge, size: self.size }
    }
}

/// How maps are cut into tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    outputs: usize,
    /// Tiles of a picture, down and across.
    tiles: [usize; 2],
    /// Pairs of points that the last tile takes, down and across; the others take all.
    edge: [usize; 2],
    size: [usize; 2],
}

/// A tile of a picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub picture: usize,
    /// Its first row and column.
    pub at: [usize; 2],
    /// Its pairs of points, down and across.
    pub pairs: [usize; 2],
    /// Rows and columns of outputs that are there.
    pub there: [usize; 2],
}

impl Cut {
    pub(super) fn count(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    fn spot(&self, index: usize) -> Spot {
        let [down, across] = self.tiles;
        let at = [index / across % down, index % across];
        let last = [at[0] + 1 == down, at[1] + 1 == across];
        let pairs = [0, 1].map(|d| if last[d] { self.edge[d] } else { self.outputs / 2 });
        let at = at.map(|i| i * self.outputs);
        let there = [0, 1].map(|d| self.outputs.min(self.size[d] - at[d]));
        Spot { picture: index / (down * across), at, pairs, there }
    }

    /// The tiles of a block, so ordered that those which take part at a place lie side by side: first those that are short across only, then
    /// the whole ones, then those that are short down only, last those that are both. With them where each kind ends.
    pub(super) fn spots(&self, block: &Block) -> (Vec<Spot>, [usize; 4]) {
        let kind = |spot: &Spot| match [0, 1].map(|d| spot.pairs[d] < self.outputs / 2) {
            [false, true] => 0,
            [false, false] => 1,
            [true, false] => 2,
            [true, true] => 3,
        };
        let mut spots: Vec<Spot> = (block.begin..block.begin + block.tiles).map(|i| self.spot(i)).collect();
        spots.sort_by_key(kind);
        let ends = [0, 1, 2, 3].map(|k| spots.partition_point(|spot| kind(spot) <= k));
        (spots, ends)
    }

    /// The tiles that take part at a place.
    pub(super) fn part(&self, ends: [usize; 4], place: usize) -> Range<usize> {
        let side = self.outputs + 2;
        let pair = [place / side, place % side].map(|i| i / 2);
        // 0, ∞ and the first pair are always taken
        let short = [0, 1].map(|d| pair[d] > self.edge[d]);
        let start = if short[1] { ends[0] } else { 0 };
        let end = match short {
            [true, _] => ends[1],
            [false, true] => ends[2],
            [false, false] => ends[3],
        };
        start..end
    }
}
