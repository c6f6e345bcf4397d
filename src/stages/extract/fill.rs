//! Tables that are being filled: results come in any order, and a table is written when its last picture is in.

use std::collections::BTreeMap;

use super::ExtractError;
use super::shard::{self, Filled, Outcome, Shard};
use crate::plan::Plan;
use crate::stages::scan::{Contents, Listing};

/// What became of a picture.
#[derive(Debug)]
pub struct Settled {
    /// Its number in the listing.
    pub picture: usize,
    pub outcome: Outcome,
    pub contents: Contents,
    /// None where it failed.
    pub features: Option<Vec<f32>>,
}

/// A table that is not full.
struct Open {
    /// By row.
    pictures: Vec<Option<(Outcome, Contents)>>,
    rows: Vec<Option<Vec<f32>>>,
    left: usize,
}

/// The tables that have to be computed.
pub struct Filling<'a> {
    plan: &'a Plan,
    listing: &'a Listing,
    missing: &'a [&'a Shard],
    open: BTreeMap<usize, Open>,
    /// The contents of every picture that has come in.
    contents: Vec<(usize, Contents)>,
}

impl<'a> Filling<'a> {
    /// Of the `missing` shards.
    pub fn new(plan: &'a Plan, listing: &'a Listing, missing: &'a [&'a Shard]) -> Self {
        Self { plan, listing, missing, open: BTreeMap::new(), contents: Vec::new() }
    }

    /// The pictures of all of them, in order.
    pub fn jobs(&self) -> Vec<usize> {
        self.missing.iter().flat_map(|shard| shard.rows.clone()).collect()
    }

    /// Takes what became of a picture, and writes its table when that is full.
    pub fn settle(&mut self, settled: Settled) -> Result<(), ExtractError> {
        self.put(settled);
        self.write_full()
    }

    /// The contents of every picture that has come in.
    pub fn into_contents(self) -> Vec<(usize, Contents)> {
        self.contents
    }

    fn put(&mut self, settled: Settled) {
        let Settled { picture, outcome, contents, features } = settled;
        let which = self.missing.partition_point(|shard| shard.rows.start <= picture) - 1;
        let shard = self.missing[which];
        let row = picture - shard.rows.start;
        let rows = shard.rows.len();
        let open = self.open.entry(which).or_insert_with(|| Open {
            pictures: vec![None; rows],
            rows: vec![None; rows],
            left: rows,
        });
        open.pictures[row] = Some((outcome, contents));
        open.rows[row] = features;
        open.left -= 1;
        self.contents.push((picture, contents));
    }

    fn write_full(&mut self) -> Result<(), ExtractError> {
        while let Some(which) = self.open.iter().find(|(_, open)| open.left == 0).map(|(which, _)| *which) {
            let Some(full) = self.open.remove(&which) else { break };
            let (outcomes, contents): (Vec<Outcome>, Vec<Contents>) = full.pictures.into_iter().flatten().unzip();
            let rows: Vec<&[f32]> = full.rows.iter().flatten().map(Vec::as_slice).collect();
            let filled = Filled { outcomes: &outcomes, contents: &contents, rows: &rows };
            shard::write(self.plan, self.listing, self.missing[which], filled, None)?;
        }
        Ok(())
    }
}
