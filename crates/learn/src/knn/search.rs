//! The search for the rows nearest to one query: candidates by `f32` products, then exact distances.

use super::{Knn, Metric, inverse, length};

/// A row of the table near a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// The distance from the query by the metric of the classifier.
    pub distance: f64,
    /// The number of the row.
    pub row: usize,
}

/// The search for the rows nearest to one query.
pub(super) struct Search<'a> {
    knn: &'a Knn,
    query: &'a [f32],
    /// Length of the query.
    length: f64,
    k: usize,
    /// Twice the rounding error of a distance that was computed from an `f32` product: distances that differ by more
    /// are in the right order.
    slack: f64,
    /// The k smallest distances so far, ascending.
    smallest: Vec<f32>,
    /// Rows that may be among the nearest, with their distances by the product.
    candidates: Vec<(f32, usize)>,
    /// False once a product has overflowed `f32`; then every row is a candidate.
    finite: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(knn: &'a Knn, query: &'a [f32], k: usize) -> Self {
        let length = length(query);
        // The rounding error of a product of d terms is at most d ε ‖a‖ ‖b‖.
        let rounding = 2.0 * (query.len() as f64 + 4.0) * f64::from(f32::EPSILON);
        let slack = match knn.params.metric {
            Metric::Cosine => 2.0 * rounding,
            Metric::Euclidean => 4.0 * rounding * (length + knn.longest).powi(2),
        };
        let (smallest, candidates) = (Vec::with_capacity(k + 1), Vec::new());
        Self { knn, query, length, k, slack, smallest, candidates, finite: true }
    }

    /// Returns the largest distance, computed from a product, at which a row may be among the nearest.
    fn limit(&self) -> f64 {
        match self.smallest.last() {
            Some(&last) if self.smallest.len() >= self.k => f64::from(last) + self.slack,
            _ => f64::INFINITY,
        }
    }

    /// Adds the candidates among the rows from `first` on, by their products with the query.
    pub(super) fn take(&mut self, first: usize, products: &[f32]) {
        self.finite &= products.iter().all(|product| product.is_finite());
        if !self.finite {
            return;
        }
        let own = self.length;
        let inverse = inverse(own);
        let mut limit = self.limit();
        for (row, &product) in (first..).zip(products) {
            let distance = match self.knn.params.metric {
                Metric::Cosine => 1.0 - f64::from(product) * (inverse * self.knn.inverses[row]),
                Metric::Euclidean => {
                    let other = self.knn.lengths[row];
                    own * own + other * other - 2.0 * f64::from(product)
                }
            } as f32;
            if f64::from(distance) > limit {
                continue;
            }
            self.candidates.push((distance, row));
            let full = self.smallest.len() >= self.k;
            if full && self.smallest.last().is_some_and(|&last| distance >= last) {
                continue;
            }
            self.smallest.insert(self.smallest.partition_point(|other| *other <= distance), distance);
            self.smallest.truncate(self.k);
            limit = self.limit();
        }
        self.candidates.retain(|(distance, _)| f64::from(*distance) <= limit);
    }

    /// Returns the nearest rows by their exact distances.
    pub(super) fn finish(self) -> Vec<Neighbour> {
        let Self { knn, query, length, k, candidates, finite, .. } = self;
        let near = |row: usize| Neighbour { distance: knn.distance(query, length, row), row };
        let mut nearest: Vec<Neighbour> = if finite {
            candidates.into_iter().map(|(_, row)| near(row)).collect()
        } else {
            (0..knn.x.rows()).map(near).collect()
        };
        nearest.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row)));
        nearest.truncate(k);
        nearest
    }
}
