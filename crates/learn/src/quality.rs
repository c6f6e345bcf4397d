//! Finds wrong labels, copies and outliers among pictures by their neighbours.
//!
//! The functions count and sort [`Neighbours`]; the caller gives the thresholds.

use super::neighbours::{Near, Neighbours};

/// The fewest neighbours that must vote on a label.
pub const FEWEST_VOTES: usize = 3;
/// The fewest pictures among which outliers are searched.
pub const FEWEST_ROWS: usize = 20;
/// 1 / Φ⁻¹(3/4): makes the median absolute deviation of a normal distribution its standard deviation.
const MAD_TO_DEVIATION: f64 = 1.482_602_218_505_602;

/// The vote of a picture's neighbours on its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The class of most neighbours; of equally many the lowest.
    pub class: usize,
    /// The number of neighbours of that class.
    pub votes: usize,
    /// The number of neighbours of the picture's own class.
    pub own: usize,
    /// The number of neighbours that voted.
    pub of: usize,
}

/// Returns the vote of the nearest labelled rows on the class of a picture with the label `class`, which `members`
/// pictures have. As many rows vote as there are other pictures of that class, at most `most`; copies of the picture,
/// with a similarity of at least `same`, have no vote. None without enough votes.
pub fn vote(
    nearest: &[Near],
    labels: &[Option<usize>],
    (class, members): (usize, usize),
    most: usize,
    same: f32,
) -> Option<Vote> {
    let of = most.min(members.saturating_sub(1));
    let asked = nearest.iter().filter(|near| near.similarity < same);
    let votes: Vec<usize> = asked.filter_map(|near| labels.get(near.row).copied().flatten()).take(of).collect();
    if votes.len() < FEWEST_VOTES || votes.len() < of {
        return None;
    }
    let count = |class: usize| votes.iter().filter(|&&vote| vote == class).count();
    let winner = votes.iter().copied().max_by_key(|&class| (count(class), std::cmp::Reverse(class)))?;
    Some(Vote { class: winner, votes: count(winner), own: count(class), of: votes.len() })
}

/// Returns the mean distance (1 − similarity) to the `k` nearest rows; NaN without any.
pub fn isolation(neighbours: &Neighbours, k: usize) -> f64 {
    let near = &neighbours.nearest[..neighbours.nearest.len().min(k)];
    near.iter().map(|near| 1.0 - f64::from(near.similarity)).sum::<f64>() / near.len() as f64
}

/// Returns the number of robust standard deviations (from the median absolute deviation) by which each value is above
/// the median of all, on a logarithmic scale: distances are skewed to the right, their logarithms hardly. Returns zeros
/// where the values do not vary, or are too few.
///
/// Source: Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993, where more than 3.5 counts as an outlier.
pub fn robust_scores(values: &[f64]) -> Vec<f64> {
    let logs: Vec<f64> = values.iter().map(|&value| value.max(1e-9).ln()).collect();
    let finite: Vec<f64> = logs.iter().copied().filter(|log| log.is_finite()).collect();
    let Some(centre) = median(finite.clone()).filter(|_| finite.len() >= FEWEST_ROWS) else {
        return vec![0.0; values.len()];
    };
    let deviation = median(finite.iter().map(|log| (log - centre).abs()).collect()).unwrap_or(0.0) * MAD_TO_DEVIATION;
    let score = |log: f64| if deviation > 1e-9 && log.is_finite() { (log - centre) / deviation } else { 0.0 };
    logs.into_iter().map(score).collect()
}

pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[half]),
        _ => Some((values[half - 1] + values[half]) / 2.0),
    }
}

/// Returns the connected components: for each of `n` rows the lowest row of its component.
pub fn components(n: usize, pairs: impl Iterator<Item = (usize, usize)>) -> Vec<usize> {
    let mut parent: Vec<usize> = (0..n).collect();
    for (a, b) in pairs {
        let (a, b) = (root(&mut parent, a), root(&mut parent, b));
        parent[a.max(b)] = a.min(b);
    }
    (0..n).map(|row| root(&mut parent, row)).collect()
}

/// Two rows that are near each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    pub rows: [usize; 2],
    pub similarity: f32,
}

/// Returns the pairs of rows that are among each other's neighbours and have at least the similarity `least`, the most
/// similar first. `found` has the neighbours of `queries`, which are sorted.
pub fn mutual(queries: &[usize], found: &[Neighbours], least: f32) -> Vec<Pair> {
    let of = |row: usize| queries.binary_search(&row).ok().map(|at| &found[at].nearest);
    let knows = |row: usize, other: usize| of(row).is_some_and(|near| near.iter().any(|near| near.row == other));
    let near = queries.iter().zip(found).flat_map(|(&row, found)| {
        found.nearest.iter().map(move |near| Pair { rows: [row, near.row], similarity: near.similarity })
    });
    let mut pairs: Vec<Pair> = near
        .filter(|pair| pair.similarity >= least && pair.rows[0] < pair.rows[1] && knows(pair.rows[1], pair.rows[0]))
        .collect();
    pairs.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.rows.cmp(&b.rows)));
    pairs
}

/// Joins the groups of the two rows of each pair in turn, if `fits` allows the pair a group of the joint size. Returns
/// for each of `n` rows the lowest row of its group.
pub fn groups(n: usize, pairs: &[Pair], fits: impl Fn(&Pair, usize) -> bool) -> Vec<usize> {
    let (mut parent, mut size): (Vec<usize>, _) = ((0..n).collect(), vec![1usize; n]);
    for pair in pairs {
        let [a, b] = pair.rows.map(|row| root(&mut parent, row));
        if a != b && fits(pair, size[a] + size[b]) {
            parent[a.max(b)] = a.min(b);
            size[a.min(b)] += size[a.max(b)];
        }
    }
    (0..n).map(|row| root(&mut parent, row)).collect()
}

fn root(parent: &mut [usize], mut row: usize) -> usize {
    while parent[row] != row {
        parent[row] = parent[parent[row]];
        row = parent[row];
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(rows: &[usize]) -> Vec<Near> {
        rows.iter().enumerate().map(|(i, &row)| Near { row, similarity: 0.9 - 0.01 * i as f32 }).collect()
    }

    #[test]
    fn the_class_of_most_neighbours_wins() {
        let labels = [0, 1, 1, 1, 0, 1].map(Some);
        let all = near(&[1, 2, 4, 3, 5]);
        let vote_of = |members, most| vote(&all, &labels, (0, members), most, 0.99);
        assert_eq!(vote_of(100, 5), Some(Vote { class: 1, votes: 4, own: 1, of: 5 }));
        assert_eq!(
            vote_of(4, 5),
            Some(Vote { class: 1, votes: 2, own: 1, of: 3 }),
            "a class of four fills three places"
        );
        assert_eq!(vote_of(3, 5), None, "two votes are no verdict");
        assert_eq!(vote_of(100, 6), None, "six were to be asked, five answer");
        // Of classes with equally many votes the lowest wins.
        assert_eq!(vote(&near(&[1, 4, 2, 0]), &labels, (1, 9), 4, 0.99).map(|vote| vote.class), Some(0));
    }

    #[test]
    fn copies_and_rows_without_label_have_no_vote() {
        let labels = [Some(0), Some(1), None, Some(1), Some(1)];
        let mut all = near(&[0, 1, 2, 3, 4]);
        all[0].similarity = 1.0;
        assert_eq!(vote(&all, &labels, (0, 4), 3, 0.999), Some(Vote { class: 1, votes: 3, own: 0, of: 3 }));
    }

    #[test]
    fn what_is_far_from_all_stands_out() {
        let mut values: Vec<f64> = (0..99).map(|i| 0.2 + 0.001 * f64::from(i)).collect();
        values.push(0.9);
        let scores = robust_scores(&values);
        assert!(scores[99] > 3.5 && scores[..99].iter().all(|score| score.abs() < 3.5), "{:?}", &scores[95..]);
        // scipy.stats.median_abs_deviation(log(x), scale="normal") of these hundred values is 0.148160788,
        // np.median(log(x)) −1.388298372
        assert!((scores[99] - 8.659_091_714_97).abs() < 1e-9, "{}", scores[99]);
        assert_eq!(robust_scores(&[0.5; 50]), [0.0; 50]);
        assert_eq!(robust_scores(&[0.1, 0.9]), [0.0; 2]);
        assert_eq!(robust_scores(&[f64::NAN; 30]), [0.0; 30]);
    }

    #[test]
    fn pairs_hang_together_over_steps() {
        assert_eq!(components(7, [(4, 2), (6, 4), (1, 5)].into_iter()), [0, 1, 2, 3, 2, 1, 2]);
        let long = components(1000, (0..999).map(|i| (i + 1, i)));
        assert!(long.iter().all(|&row| row == 0));
    }

    #[test]
    fn a_chain_of_neighbours_is_cut_where_it_grows_too_long() {
        let near = |row, similarity| Near { row, similarity };
        let of = |nearest| Neighbours { nearest, across: None };
        // Rows 0 to 3 are a chain of similar pictures; 4 has the neighbour 0, which has nearer ones; 5 is not a query.
        let found = [
            of(vec![near(1, 0.99), near(2, 0.91)]),
            of(vec![near(0, 0.99), near(2, 0.95)]),
            of(vec![near(3, 0.97), near(1, 0.95)]),
            of(vec![near(2, 0.97), near(5, 0.96)]),
            of(vec![near(0, 0.9), near(3, 0.8)]),
        ];
        let rows = |pairs: &[Pair]| pairs.iter().map(|pair| pair.rows).collect::<Vec<_>>();
        let pairs = mutual(&[0, 1, 2, 3, 4], &found, 0.9);
        assert_eq!(rows(&pairs), [[0, 1], [2, 3], [1, 2]]);
        assert_eq!(rows(&mutual(&[0, 1, 2, 3, 4], &found, 0.96)), [[0, 1], [2, 3]]);
        let most = |most: usize| groups(6, &pairs, |_, size| size <= most);
        assert_eq!(most(9), [0, 0, 0, 0, 4, 5]);
        assert_eq!(most(3), [0, 0, 2, 2, 4, 5]);
        assert_eq!(most(1), [0, 1, 2, 3, 4, 5]);
        let copies = groups(6, &pairs, |pair, size| size <= 1 || pair.similarity >= 0.98);
        assert_eq!(copies, [0, 0, 2, 3, 4, 5]);
    }

    #[test]
    fn isolation_is_the_mean_distance() {
        let some = Neighbours { nearest: near(&[1, 2, 3]), across: None };
        assert!((isolation(&some, 2) - 0.105).abs() < 1e-6);
        assert!(isolation(&Neighbours::default(), 2).is_nan());
    }
}
