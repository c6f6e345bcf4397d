//! The features in the format of other programs: `output.npy`.

use std::path::PathBuf;

use super::{ExtractError, Extracted};
use crate::io::features::Key;
use crate::io::npy;
use crate::io::table::Table;
use crate::plan::Plan;
use crate::progress::Ui;
use crate::stages::rows::Shards;
use crate::stages::scan::{Listing, Split};
use crate::store::OutputFile;

/// Writes the array and its index from the tables, shard by shard, if `output.npy` is set.
pub fn run(
    plan: &Plan,
    listing: &Listing,
    (done, tables): (&Extracted, &[OutputFile]),
    ui: &Ui,
) -> Result<Vec<OutputFile>, ExtractError> {
    let dir = &plan.dir;
    let paths: [PathBuf; 2] = [dir.npy(), dir.index()];
    if !plan.pipeline.output.npy {
        return Ok(Vec::new());
    }
    let mut keys: Vec<Key> = Vec::with_capacity(done.ok);
    let size = (done.ok, plan.width());
    let array = npy::write::<ExtractError>(&paths[0], size, plan.pipeline.output.dtype, |put| {
        Shards::of(dir, done.shards, tables).for_each(None, ui, |some, matrix| {
            keys.extend_from_slice(some);
            Ok::<(), ExtractError>(put(matrix)?)
        })
    })?;
    let index = Table::new(keys.len())
        .counts("row", (0..keys.len() as u64).map(Some))
        .keys(&keys, &listing.classes, &Split::WORDS)
        .write(&paths[1], &plan.metadata())?;
    Ok(vec![OutputFile::hashed(dir, &paths[0], array)?, OutputFile::hashed(dir, &paths[1], index)?])
}
