//! Distances of the rows of a run from its train rows, and the train rows nearest to each mistake, which explain it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EvaluateError, TOGETHER};
use crate::io::features::Key;
use crate::learn::classifier::ClassifierError;
use crate::progress::Ui;
use crate::stages::rows::{Source, is_train};
use crate::stages::train::Sample;

/// The most mistakes whose neighbours are kept.
const MISTAKES: usize = 200;
/// Neighbours of a mistake.
const NEAREST: usize = 3;

/// The columns of the predictions about distances; empty where no distances were measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distances {
    /// The distance of each row from the train rows; a train row is not compared with itself.
    pub distance: Vec<f32>,
    /// Whether each row is near enough to the train rows to be of a known class.
    pub known: Vec<bool>,
}

/// A wrong prediction for a test picture, and the train pictures nearest to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    pub path: String,
    pub nearest: Vec<Neighbour>,
}

/// A train picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    pub path: String,
    pub label: Option<String>,
}

/// Measures every row of the tables, whose keys and confidences are given. Returns the columns, and the neighbours of
/// the most confident of the `wrong` rows; both are empty without a sample of the train rows.
pub(super) fn measure(
    sample: Option<Sample>,
    source: Source,
    keys: &[Key],
    wrong: &BTreeMap<usize, f32>,
    ui: &Ui,
) -> Result<(Distances, Vec<Explained>), EvaluateError> {
    let Some(Sample { novelty, numbers }) = sample else { return Ok(Default::default()) };
    let limit = novelty.default_limit();
    let (mut distance, mut near) = (Vec::with_capacity(keys.len()), BTreeMap::new());
    let mut train_rows = 0..;
    source.shards.for_each::<EvaluateError>(source.kept, ui, |some, rows| {
        for first in (0..rows.rows()).step_by(TOGETHER) {
            ui.check()?;
            let places: Vec<usize> = (first..rows.rows().min(first + TOGETHER)).collect();
            let found = novelty.distances(&rows.select_rows(&places)).map_err(ClassifierError::from)?;
            for (key, found) in some[first..].iter().zip(found) {
                let train_row = if is_train(key) { train_rows.next() } else { None };
                let own = train_row.and_then(|row| numbers.binary_search(&row).ok());
                if wrong.contains_key(&distance.len()) {
                    near.insert(distance.len(), found.nearest);
                }
                distance.push(own.map_or(found.value, |own| novelty.own()[own]));
            }
        }
        Ok(())
    })?;
    let mut mistakes: Vec<usize> = near.keys().copied().collect();
    mistakes.sort_by(|a, b| wrong[b].total_cmp(&wrong[a]).then(a.cmp(b)));
    let train: Vec<&Key> = keys.iter().filter(|key| is_train(key)).collect();
    let neighbour = |&row: &usize| {
        let key = train.get(*numbers.get(row)?)?;
        Some(Neighbour { path: key.path.clone(), label: key.label.clone() })
    };
    let explained = |row: usize| Explained {
        path: keys[row].path.clone(),
        nearest: near[&row].iter().take(NEAREST).filter_map(neighbour).collect(),
    };
    let explained = mistakes.into_iter().take(MISTAKES).map(explained).collect();
    let known = distance.iter().map(|&distance| distance <= limit).collect();
    Ok((Distances { distance, known }, explained))
}
