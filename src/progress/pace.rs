//! Measures the speed of a stage and estimates the time that is left.
//!
//! The speed is that of the last half of the elapsed time, so it follows a machine that becomes slower or faster, but
//! not a single slow picture. The clock starts with the first finished unit, because the work before it (reading
//! weights, starting threads) is done only once.

use std::time::{Duration, Instant};

/// The most marks that are kept; when there are more, every second one is removed.
const MARKS: usize = 64;
/// The least time between two marks.
const APART: Duration = Duration::from_millis(100);
/// The minimum time over which the speed is measured, once that much has passed.
const SPAN: Duration = Duration::from_secs(10);

/// The times at which units were done.
#[derive(Clone, Debug)]
pub struct Pace {
    /// The marks in their order: a time and the units done by then. The first one is that of the first unit.
    marks: Vec<(Instant, u64)>,
    last: Option<(Instant, u64)>,
    apart: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { marks: Vec::with_capacity(MARKS), last: None, apart: APART }
    }
}

impl Pace {
    /// Notes that `done` units are done at `now`.
    pub fn at(&mut self, now: Instant, done: u64) {
        // Threads may call this function in another order than they counted.
        if self.last.is_some_and(|(_, before)| before >= done) {
            return;
        }
        self.last = Some((now, done));
        if self.marks.last().is_some_and(|(time, _)| now.saturating_duration_since(*time) < self.apart) {
            return;
        }
        if self.marks.len() == MARKS {
            let mut place = 0;
            self.marks.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.apart *= 2;
        }
        self.marks.push((now, done));
    }

    /// Returns the units per second; none before the second unit.
    pub fn rate(&self) -> Option<f64> {
        let ((now, done), (first, _)) = (self.last?, *self.marks.first()?);
        let span = (now.saturating_duration_since(first) / 2).max(SPAN);
        let recent = |&&(time, _): &&(Instant, u64)| now.saturating_duration_since(time) <= span;
        let (since, before) = self.marks.iter().find(recent).or(self.marks.first())?;
        let rate = (done - before) as f64 / now.saturating_duration_since(*since).as_secs_f64();
        (rate.is_finite() && rate > 0.0).then_some(rate)
    }

    /// Returns the seconds until `total` units are done.
    pub fn left(&self, total: u64) -> Option<f64> {
        let (_, done) = self.last?;
        Some(total.saturating_sub(done) as f64 / self.rate()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates units that take the seconds `each`, after a start of `before` seconds. Returns at each share of the
    /// work the estimated time left divided by the true one.
    fn said(before: f64, each: &[f64], shares: &[f64]) -> Vec<f64> {
        let start = Instant::now();
        let total = each.len();
        let (mut pace, mut clock, mut told) = (Pace::default(), before, Vec::new());
        for (i, seconds) in each.iter().enumerate() {
            clock += seconds;
            pace.at(start + Duration::from_secs_f64(clock), i as u64 + 1);
            if shares.iter().any(|share| (share * total as f64).ceil() as usize == i + 1) {
                let truth: f64 = each[i + 1..].iter().sum();
                told.push(pace.left(total as u64).expect("known by now") / truth);
            }
        }
        assert_eq!(told.len(), shares.len());
        told
    }

    fn right(ratios: &[f64]) -> bool {
        ratios.iter().all(|ratio| (0.8..=1.2).contains(ratio))
    }

    /// Returns pseudo-random numbers from 0 to 1.
    fn lots(n: usize) -> Vec<f64> {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1u32 << 31)
        };
        (0..n).map(|_| next()).collect()
    }

    const SHARES: [f64; 5] = [0.1, 0.2, 0.5, 0.8, 0.95];

    #[test]
    fn the_time_left_is_right_within_a_fifth_after_a_tenth() {
        for total in [50, 396, 10_000] {
            for seconds in [0.003, 0.2, 4.0] {
                let steady = vec![seconds; total];
                assert!(right(&said(0.0, &steady, &SHARES)), "{total} × {seconds} s");
                // The weights are read before the first picture.
                let late = said(60.0, &steady, &SHARES);
                assert!(right(&late), "{total} × {seconds} s after a minute: {late:?}");
                // Batches of two: the second unit of each is done at once.
                let batches: Vec<f64> = (0..total).map(|i| if i % 2 == 0 { 2.0 * seconds } else { 0.0 }).collect();
                let told = said(1.0, &batches, &SHARES[..4]);
                assert!(right(&told), "{total} × {seconds} s by two: {told:?}");
            }
        }
        // Small and large pictures are mixed.
        for total in [1000, 20_000] {
            let mixed: Vec<f64> = lots(total).iter().map(|lot| 0.02 + 0.3 * lot.powi(3)).collect();
            let told = said(2.0, &mixed, &SHARES);
            assert!(right(&told), "{told:?}");
        }
    }

    #[test]
    fn a_machine_that_becomes_slower_is_believed() {
        let slower: Vec<f64> = (0..1000).map(|i| if i < 300 { 0.1 } else { 0.4 }).collect();
        let told = said(0.0, &slower, &[0.6, 0.8]);
        assert!(right(&told), "{told:?}");
    }

    #[test]
    fn nothing_is_said_before_it_is_known_and_marks_stay_few() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!((pace.rate(), pace.left(10)), (None, None));
        pace.at(start, 1);
        assert_eq!(pace.left(10), None);
        pace.at(start + Duration::from_secs(2), 2);
        assert_eq!((pace.rate(), pace.left(10), pace.left(1)), (Some(0.5), Some(16.0), Some(0.0)));
        for i in 3..100_000 {
            pace.at(start + Duration::from_secs(2 * i), i);
        }
        assert!(pace.marks.len() <= MARKS);
        assert!((pace.left(200_000).expect("known") - 2.0 * 100_001.0).abs() < 10.0);
    }
}
