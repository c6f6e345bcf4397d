//! The distance of a row from the train rows. A classifier names one of its classes for any picture; the distance tells
//! which pictures belong to none of them.
//!
//! The distance of a row is the mean cosine distance to its nearest train rows (Sun et al., "Out-of-distribution
//! detection with deep nearest neighbors", 2022), divided by the distance that is usual for train rows of the classes
//! of these neighbours, as the local outlier factor does it (Breunig et al., "LOF", 2000). Without the divisor a class
//! of varied pictures would hide outliers beside a class of uniform ones. The distance of a typical train row is 1. The
//! divisor comes from a whole class, and not from the neighbours alone, because a class has rows enough for a median.
//!
//! The distances of the train rows, each measured without the row itself and its group, are the distribution with which
//! a new distance is compared.

use std::sync::Arc;

use crate::dataset::{DatasetBase, Fit, Labels, Shared};
use crate::knn::{Knn, KnnError, KnnParams, Metric, Neighbour, Weighting};
use crate::quality::median;
use crate::table::FeatureMatrix;

/// The number of neighbours over which a distance is the mean.
pub const NEIGHBOURS: usize = 5;
/// The number of rows whose neighbours are held in memory at a time.
const ROWS: usize = 256;
/// The default rate of false alarms: the share of new pictures of the classes that may count as unknown.
const RATE: f64 = 0.01;
/// The fewest rows for which a class has a usual distance of its own.
const FEWEST: usize = 3;
/// The least usual distance, for classes of copies: about the rounding error of features.
const LEAST: f64 = 1e-6;

/// The train rows and the scales from which the distance of a row is computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Novelty {
    /// (d): the mean of the train rows, which is subtracted from every row.
    mean: Vec<f32>,
    /// The train rows (n, d) less their mean, with their classes.
    table: Knn,
    /// (classes): the usual distance of the rows of each class.
    scale: Vec<f64>,
    /// (n): the distance of each train row from the others.
    own: Vec<f32>,
    /// The values of `own`, ascending.
    sorted: Vec<f32>,
}

/// The numbers that a [`Novelty`] consists of, as they are stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// (d)
    pub mean: Vec<f32>,
    /// (n, d)
    pub rows: FeatureMatrix,
    /// (n)
    pub classes: Vec<usize>,
    /// (classes)
    pub scale: Vec<f64>,
    /// (n)
    pub own: Vec<f32>,
}

/// The distance of a row, and the train rows that it was measured from.
#[derive(Clone, Debug, PartialEq)]
pub struct Distance {
    /// 1 for a typical train row; larger is farther.
    pub value: f32,
    /// The numbers of the nearest train rows, the nearest first.
    pub nearest: Vec<usize>,
}

impl Novelty {
    /// Fits train rows (n, d) with their classes and groups: rows of a row's own group are not its neighbours. None
    /// where a row has fewer than [`NEIGHBOURS`] rows outside its group.
    pub fn fit(
        mut rows: FeatureMatrix,
        classes: Vec<usize>,
        count: usize,
        groups: &[usize],
    ) -> Result<Option<Self>, KnnError> {
        let mean: Vec<f32> = rows.column_means().into_iter().map(|mean| mean as f32).collect();
        centre(&mut rows, &mean);
        let mut sizes = vec![0; groups.iter().max().map_or(0, |last| last + 1)];
        groups.iter().for_each(|&group| sizes[group] += 1);
        if sizes.iter().any(|size| rows.rows() - size < NEIGHBOURS) {
            return Ok(None);
        }
        let table = table(rows, &classes, count)?;
        let mut near = Vec::with_capacity(groups.len());
        // This takes a few rows at a time, because the rows of its group are among the neighbours of a row until they
        // are removed.
        for (start, some) in (0..).step_by(ROWS).zip(groups.chunks(ROWS)) {
            let rows = table.x.select_rows(&(start..start + some.len()).collect::<Vec<_>>());
            let found = table.neighbours(&rows, |i| NEIGHBOURS + sizes[some[i]])?;
            near.extend(found.into_iter().zip(some).map(|(mut near, group)| {
                near.retain(|near| groups[near.row] != *group);
                near.truncate(NEIGHBOURS);
                near
            }));
        }
        let apart: Vec<f64> = near.iter().map(|near| average(near)).collect();
        let usual = median(apart.clone()).unwrap_or(0.0);
        let of_class = |class| {
            let apart: Vec<f64> =
                apart.iter().zip(&classes).filter(|(_, own)| **own == class).map(|(d, _)| *d).collect();
            median(apart.clone()).filter(|_| apart.len() >= FEWEST).unwrap_or(usual).max(LEAST)
        };
        let scale: Vec<f64> = (0..count).map(of_class).collect();
        let own = near.iter().map(|near| relative(near, &classes, &scale)).collect();
        Ok(Some(Self::assemble(mean, table, scale, own)))
    }

    /// Makes the model of stored numbers; returns an error where they contradict each other.
    pub fn of_parts(parts: Parts) -> Result<Self, KnnError> {
        let Parts { mean, rows, classes, scale, own } = parts;
        let (n, d) = (rows.rows(), rows.cols());
        let sound = scale.iter().all(|scale| *scale > 0.0) && own.iter().all(|own| own.is_finite());
        if mean.len() != d || own.len() != n || n < NEIGHBOURS || !sound {
            return Err(KnnError::Shape("the train rows and their distances contradict each other".into()));
        }
        let table = table(rows, &classes, scale.len())?;
        Ok(Self::assemble(mean, table, scale, own))
    }

    fn assemble(mean: Vec<f32>, table: Knn, scale: Vec<f64>, own: Vec<f32>) -> Self {
        let mut sorted = own.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        Self { mean, table, scale, own, sorted }
    }

    /// Returns the numbers to store.
    pub fn parts(&self) -> Parts {
        let (rows, classes) = (self.table.x.as_ref().clone(), self.table.y.clone());
        Parts { mean: self.mean.clone(), rows, classes, scale: self.scale.clone(), own: self.own.clone() }
    }

    /// Returns the number of columns of a row.
    pub fn columns(&self) -> usize {
        self.mean.len()
    }

    /// Returns the distance of each train row from the others, in the order in which they were given.
    pub fn own(&self) -> &[f32] {
        &self.own
    }

    /// Returns the distance of each of `rows` (n, d). A row's result does not depend on the other rows.
    pub fn distances(&self, rows: &FeatureMatrix) -> Result<Vec<Distance>, KnnError> {
        if rows.cols() != self.columns() {
            return Err(KnnError::Shape(format!("{} features where {} are expected", rows.cols(), self.columns())));
        }
        let mut rows = rows.clone();
        centre(&mut rows, &self.mean);
        let near = self.table.neighbours(&rows, |_| NEIGHBOURS)?;
        let distance = |near: &Vec<Neighbour>| Distance {
            value: relative(near, &self.table.y, &self.scale),
            nearest: near.iter().map(|near| near.row).collect(),
        };
        Ok(near.iter().map(distance).collect())
    }

    /// Returns the lowest rate of false alarms for which there are enough train rows.
    pub fn least_rate(&self) -> f64 {
        1.0 / (self.sorted.len() + 1) as f64
    }

    /// Returns the limit where no rate is given: the 0.99 quantile of the distances of the train rows, interpolated
    /// linearly. With few rows [`limit`](Self::limit) would be the farthest of them, which may be an outlier.
    pub fn default_limit(&self) -> f32 {
        let place = (1.0 - RATE) * self.sorted.len().saturating_sub(1) as f64;
        let [below, above] = [place.floor(), place.ceil()].map(|at| self.sorted.get(at as usize));
        let (Some(&below), Some(&above)) = (below, above) else { return f32::INFINITY };
        below + (above - below) * place.fract() as f32
    }

    /// Returns the largest distance of a known row, where a share `rate` of new pictures of the classes may count as
    /// unknown. A row farther away has a p-value of at most `rate` among the train rows (Vovk's conformal prediction).
    /// None where there are too few train rows for so small a rate.
    pub fn limit(&self, rate: f64) -> Option<f32> {
        let beyond = (rate * (self.sorted.len() + 1) as f64 + 1e-9) as usize; // with the row itself
        let at = self.sorted.len().checked_sub(beyond.max(1))?;
        if beyond == 0 { None } else { self.sorted.get(at).copied() }
    }
}

fn table(rows: FeatureMatrix, classes: &[usize], count: usize) -> Result<Knn, KnnError> {
    let params = KnnParams { k: NEIGHBOURS, metric: Metric::Cosine, weights: Weighting::Uniform };
    let names = vec![String::new(); count];
    params.fit(&DatasetBase::new(Shared(Arc::new(rows)), Labels { y: classes, classes: &names }))
}

fn centre(rows: &mut FeatureMatrix, mean: &[f32]) {
    for row in rows.as_mut_slice().chunks_exact_mut(mean.len().max(1)) {
        row.iter_mut().zip(mean).for_each(|(value, mean)| *value -= mean);
    }
}

fn average(near: &[Neighbour]) -> f64 {
    near.iter().map(|near| near.distance).sum::<f64>() / near.len().max(1) as f64
}

/// Returns the mean distance in units of the mean distance that is usual for the classes of the neighbours.
fn relative(near: &[Neighbour], classes: &[usize], scale: &[f64]) -> f32 {
    let usual: f64 = near.iter().map(|near| scale[classes[near.row]]).sum();
    (near.iter().map(|near| near.distance).sum::<f64>() / usual) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns rows around two directions: those of class 0 lie close together, those of class 1 far apart.
    fn rows(each: usize) -> (FeatureMatrix, Vec<usize>) {
        let (mut rows, mut classes) = (FeatureMatrix::with_cols(3), Vec::new());
        for i in 0..2 * each {
            let (class, turn) = (i % 2, (i / 2) as f32 - each as f32 / 2.0);
            let angle = turn * [0.001, 0.02][class];
            let row = [angle.cos(), angle.sin(), 0.1];
            rows.push_row(&if class == 0 { row } else { [-row[0], row[1], row[2]] });
            classes.push(class);
        }
        (rows, classes)
    }

    fn fitted(each: usize) -> Novelty {
        let (rows, classes) = rows(each);
        let groups: Vec<usize> = (0..rows.rows()).collect();
        Novelty::fit(rows, classes, 2, &groups).expect("fitted").expect("rows enough")
    }

    #[test]
    fn a_distance_is_in_units_of_the_class_beside_it() {
        let novelty = fitted(40);
        let middle = median(novelty.own().iter().map(|&d| f64::from(d)).collect()).expect("rows");
        assert!((0.8..1.25).contains(&middle), "{middle}");
        // The second query lies inside the wide class; the first one is far from the narrow class, and the third one
        // from both.
        let query = |angle: f32, side: f32| vec![side * angle.cos(), angle.sin(), 0.1];
        let queries = [query(0.05, 1.0), query(0.35, -1.0), vec![0.0, 0.0, 5.0]].concat();
        let queries = FeatureMatrix::from_vec(3, 3, queries).expect("3 × 3");
        let found = novelty.distances(&queries).expect("three columns");
        let limit = novelty.limit(0.05).expect("rows enough");
        let known: Vec<bool> = found.iter().map(|found| found.value <= limit).collect();
        assert_eq!(known, [false, true, false], "{found:?}, {limit}");
        assert!(found[1].nearest.iter().all(|row| row % 2 == 1) && found[1].nearest.len() == NEIGHBOURS);
        // Stored and read again the model gives the same distances, also for a row alone.
        let again = Novelty::of_parts(novelty.parts()).expect("sound");
        assert!(again == novelty && again.distances(&queries.select_rows(&[2])).expect("found") == found[2..]);
    }

    #[test]
    fn a_rate_is_the_share_of_train_rows_beyond_the_limit() {
        let novelty = fitted(50); // 100 rows
        let beyond = |rate| novelty.limit(rate).map(|limit| novelty.own().iter().filter(|&&own| own > limit).count());
        assert_eq!([0.009, 0.0099, 0.0101, 0.02, 0.5].map(beyond), [None, None, Some(0), Some(1), Some(49)]);
        assert!(novelty.limit(novelty.least_rate()).is_some());
    }

    #[test]
    fn one_outlier_among_few_rows_is_no_limit() {
        let parts = fitted(10).parts();
        let default = |own: Vec<f32>| Novelty::of_parts(Parts { own, ..parts.clone() }).expect("sound").default_limit();
        let mut own: Vec<f32> = (1..=20).map(|n| n as f32).collect();
        // numpy.quantile(own, 0.99)
        assert!((default(own.clone()) - 19.81).abs() < 1e-5);
        own[7] = 120.0;
        own[19] = 8.0;
        assert!((default(own) - 100.81).abs() < 1e-4);
    }

    #[test]
    fn rows_of_a_group_do_not_vouch_for_each_other() {
        let (mut rows, mut classes) = rows(10);
        let mut groups: Vec<usize> = (0..rows.rows()).collect();
        // These are a picture unlike the others and its copies.
        for _ in 0..8 {
            rows.push_row(&[0.0, -1.0, 0.1]);
            classes.push(0);
            groups.push(20);
        }
        let alone = Novelty::fit(rows.clone(), classes.clone(), 2, &(0..28).collect::<Vec<_>>());
        let alone = alone.expect("fitted").expect("rows enough");
        let grouped = Novelty::fit(rows.clone(), classes.clone(), 2, &groups).expect("fitted").expect("rows enough");
        assert!(alone.own()[20] < 0.01 && grouped.own()[20] > 10.0, "{} {}", alone.own()[20], grouped.own()[20]);
        assert_eq!(Novelty::fit(rows, classes, 2, &[0; 28]).expect("fitted"), None);
    }

    #[test]
    fn parts_that_contradict_each_other_are_refused() {
        let parts = fitted(10).parts();
        let wrong = [
            Parts { mean: vec![0.0], ..parts.clone() },
            Parts { own: vec![1.0], ..parts.clone() },
            Parts { scale: vec![0.0, 1.0], ..parts.clone() },
            Parts { scale: vec![1.0], ..parts },
        ];
        for parts in wrong {
            assert!(Novelty::of_parts(parts).is_err());
        }
    }
}
