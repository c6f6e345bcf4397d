//! One layer computed by several threads, for pictures that are too few to keep all threads busy with one each.
//!
//! The parts of a layer write different values and change the order of no sum: a picture's bits do not depend on how many threads there are.

use std::ops::Range;

/// Runs `part` for 0 up to `parts`, side by side; called from a thread of the pool that is to do it.
pub fn share(parts: usize, part: impl Fn(usize) + Sync) {
    if parts <= 1 {
        return part(0);
    }
    let part = &part;
    rayon::scope(|scope| {
        (1..parts).for_each(|i| scope.spawn(move |_| part(i)));
        part(0);
    });
}

/// Part `i` of `parts` of 0 up to `n`, as equal as can be.
pub fn range(n: usize, i: usize, parts: usize) -> Range<usize> {
    n * i / parts..n * (i + 1) / parts
}

/// What one thread does of a product: output positions, and filters from the beginning of a panel on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub positions: Range<usize>,
    pub filters: Range<usize>,
}

impl Part {
    /// Part `i` of `threads` of a product of `positions` × `filters`, in tiles of `rows` × `panel`.
    ///
    /// Positions are shared where each thread gets tiles enough; then it reads all weights. Where positions are few the weights are most of what
    /// is read, and each thread takes its own.
    pub fn of(i: usize, threads: usize, [positions, filters]: [usize; 2], [rows, panel]: [usize; 2]) -> Self {
        const ENOUGH: usize = 4;
        let (tiles, panels) = (positions.div_ceil(rows), filters.div_ceil(panel));
        if tiles < ENOUGH * threads && panels >= threads {
            let panels = range(panels, i, threads);
            let filters = (panels.start * panel).min(filters)..(panels.end * panel).min(filters);
            return Self { positions: 0..positions, filters };
        }
        let tiles = range(tiles, i, threads);
        Self { positions: (tiles.start * rows).min(positions)..(tiles.end * rows).min(positions), filters: 0..filters }
    }
}

/// Panics unless every `span` values from each of `outs` on are nobody else's.
pub fn assert_apart(outs: &[u32], span: usize) {
    let rising = outs.windows(2).all(|pair| pair[0] as usize + span <= pair[1] as usize);
    let falling = outs.windows(2).all(|pair| pair[1] as usize + span <= pair[0] as usize);
    assert!(rising || falling, "outputs that several threads write must lie in order, one behind the other");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU8, Ordering};

    #[test]
    fn parts_cover_everything_once() {
        for (positions, filters) in [(1, 7), (49, 2048), (49, 64), (3136, 64), (13, 33), (0, 5)] {
            for threads in [1, 2, 3, 8] {
                let mut seen = vec![0; positions * filters];
                for i in 0..threads {
                    let part = Part::of(i, threads, [positions, filters], [14, 32]);
                    assert!(part.filters.start.is_multiple_of(32), "{part:?}");
                    part.positions.for_each(|p| part.filters.clone().for_each(|f| seen[p * filters + f] += 1));
                }
                assert!(seen.iter().all(|&n| n == 1), "{positions} × {filters} by {threads}");
            }
        }
        // 49 positions are four tiles: the 2048 filters are shared; 3136 are enough
        assert_eq!(Part::of(1, 2, [49, 2048], [14, 32]), Part { positions: 0..49, filters: 1024..2048 });
        assert_eq!(Part::of(1, 2, [3136, 64], [14, 32]), Part { positions: 1568..3136, filters: 0..64 });
    }

    #[test]
    fn every_part_runs_once_on_a_pool_and_without() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads");
        let seen: Vec<AtomicU8> = (0..7).map(|_| AtomicU8::new(0)).collect();
        let run = || {
            share(seen.len(), |i| {
                seen[i].fetch_add(1, Ordering::Relaxed);
            });
        };
        pool.install(run);
        run();
        assert!(seen.iter().all(|n| n.load(Ordering::Relaxed) == 2));
    }
}
