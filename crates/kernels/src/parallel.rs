//! One layer computed by several threads (intra-op parallelism), where there are too few pictures to give each thread
//! its own.
//!
//! The threads write different outputs, and no sum is divided between them (there is no split of k). So the order of
//! every sum, and with it the bits of a picture, do not depend on the number of threads.

use std::ops::Range;

/// Runs `part(args, i)` for each `i` below `parts`, side by side on the rayon pool of the calling thread.
///
/// `args` is a parameter, because a closure that named a field of it would capture that field alone, and a raw pointer
/// is not `Sync`.
pub(crate) fn run_parts<A: Sync>(parts: usize, args: &A, part: impl Fn(&A, usize) + Sync) {
    if parts <= 1 {
        return part(args, 0);
    }
    let part = &part;
    rayon::scope(|scope| {
        (1..parts).for_each(|i| scope.spawn(move |_| part(args, i)));
        part(args, 0);
    });
}

/// Returns part `i` of 0..`n`, which is divided into `parts` as equal as possible.
pub(crate) fn split(n: usize, i: usize, parts: usize) -> Range<usize> {
    n * i / parts..n * (i + 1) / parts
}

/// The block of a matrix product that one thread computes: some output positions (m) and some filters (n), which begin
/// with a panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GemmRange {
    pub positions: Range<usize>,
    pub filters: Range<usize>,
}

impl GemmRange {
    /// Returns the block of thread `i` of `threads` in a product of `positions` × `filters`, divided at the edges of
    /// tiles of `tile_rows` × `panel`.
    ///
    /// Positions are divided where each thread gets enough tiles; then each thread reads all weights. Where the
    /// positions are few, the weights are most of the memory traffic, and each thread takes panels of its own.
    pub(crate) fn of(
        i: usize,
        threads: usize,
        [positions, filters]: [usize; 2],
        [tile_rows, panel]: [usize; 2],
    ) -> Self {
        const ENOUGH_TILES: usize = 4;
        let (tiles, panels) = (positions.div_ceil(tile_rows), filters.div_ceil(panel));
        if tiles < ENOUGH_TILES * threads && panels >= threads {
            let panels = split(panels, i, threads);
            let filters = (panels.start * panel).min(filters)..(panels.end * panel).min(filters);
            return Self { positions: 0..positions, filters };
        }
        let tiles = split(tiles, i, threads);
        let positions = (tiles.start * tile_rows).min(positions)..(tiles.end * tile_rows).min(positions);
        Self { positions, filters: 0..filters }
    }
}

/// Panics unless the ranges of `len` values from each of `starts` on are in ascending or descending order and do not
/// overlap, so that threads with different ranges write different values.
pub(crate) fn assert_disjoint(starts: &[u32], len: usize) {
    let rising = starts.windows(2).all(|pair| pair[0] as usize + len <= pair[1] as usize);
    let falling = starts.windows(2).all(|pair| pair[1] as usize + len <= pair[0] as usize);
    assert!(rising || falling, "outputs that several threads write must lie in order, one behind the other");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU8, Ordering};

    #[test]
    fn ranges_cover_everything_once() {
        for (positions, filters) in [(1, 7), (49, 2048), (49, 64), (3136, 64), (13, 33), (0, 5)] {
            for threads in [1, 2, 3, 8] {
                let mut seen = vec![0; positions * filters];
                for i in 0..threads {
                    let range = GemmRange::of(i, threads, [positions, filters], [14, 32]);
                    assert!(range.filters.start.is_multiple_of(32), "{range:?}");
                    range.positions.for_each(|p| range.filters.clone().for_each(|f| seen[p * filters + f] += 1));
                }
                assert!(seen.iter().all(|&n| n == 1), "{positions} × {filters} by {threads}");
            }
        }
        // 49 positions are four tiles: the 2048 filters are divided; 3136 positions are tiles enough
        let (few, many) = (GemmRange::of(1, 2, [49, 2048], [14, 32]), GemmRange::of(1, 2, [3136, 64], [14, 32]));
        assert_eq!(few, GemmRange { positions: 0..49, filters: 1024..2048 });
        assert_eq!(many, GemmRange { positions: 1568..3136, filters: 0..64 });
    }

    #[test]
    fn every_part_runs_once_on_a_pool_and_without() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads");
        let seen: Vec<AtomicU8> = (0..7).map(|_| AtomicU8::new(0)).collect();
        let run = || {
            run_parts(seen.len(), &seen, |seen, i| {
                seen[i].fetch_add(1, Ordering::Relaxed);
            });
        };
        pool.install(run);
        run();
        assert!(seen.iter().all(|n| n.load(Ordering::Relaxed) == 2));
    }
}
