//! `atlas`: one table for Apple's Embedding Atlas, with the first two components, the nearest neighbours and the
//! thumbnail of every picture.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use crate::io::atlas::{AtlasWriter, Row};
use crate::io::columns::Columns;
use crate::io::features::FeatureFile;
use crate::io::{IoError, atomic};
use crate::learn::neighbours::{Directions, Neighbours};
use crate::pictures::{DecodeMemory, Listed, Order, Stream, StreamError};
use crate::plan::Plan;
use crate::progress::{Interrupted, Ui, bytes, plural};
use crate::stages::StageId;
use crate::stages::scan::{Listing, Picture};
use crate::store::OutputFile;
use crate::table::FeatureMatrix;

/// Longer side of a thumbnail, in pixels.
const LONGEST: usize = 128;
/// Neighbours of a picture; Embedding Atlas computes as many by default.
const NEIGHBOURS: usize = 15;
/// Multiply-accumulates that the search of the neighbours may take: about a minute on two cores.
const WORK: usize = 2_000_000_000_000;
/// Rows of a row group. All thumbnails of a row group are in memory at the same time.
const TOGETHER: usize = 1024;

/// The result that `atlas` commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawn {
    pub rows: usize,
    /// Neighbours of each picture; 0 where there are too many pictures to compare.
    pub neighbours: usize,
}

/// The atlas cannot be made.
#[derive(Debug, Error)]
pub enum AtlasError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("interrupted")]
    Interrupted(#[from] Interrupted),
}

/// The settings of the atlas.
pub fn settings() -> Value {
    json!({"longest": LONGEST, "neighbours": NEIGHBOURS})
}

/// Reads the components and the predictions, decodes every picture again, and writes `atlas.parquet`.
pub fn run(plan: &Plan, listing: &Listing, ui: &Ui) -> Result<(Drawn, Vec<OutputFile>), AtlasError> {
    let (keys, matrix) = FeatureFile::open(&plan.dir.reduced())?.read()?;
    let line = ui.stage(StageId::Atlas, Some(keys.len() as u64), "images");
    let at: Vec<[f32; 2]> = matrix.iter_rows().map(|row| [row[0], row.get(1).copied().unwrap_or_default()]).collect();
    let neighbours = nearest(matrix, ui)?;
    let count = neighbours.as_ref().and_then(|all| all.first()).map_or(0, |one| one.nearest.len());
    let predicted = predictions(plan)?;
    let path = plan.dir.atlas();
    let digest = atomic::write::<AtlasError>(&path, |file| {
        let mut writer = AtlasWriter::new(file, &path, &plan.metadata())?;
        let mut group = Vec::with_capacity(TOGETHER);
        let mut next = 0;
        for part in listing.parts() {
            let part = listing.part(&part)?.0;
            // pictures that could not be read have no row
            let mut rows = keys[next..].iter().peekable();
            let mut has_row = |picture: &Picture| rows.next_if(|key| key.path == picture.path).is_some();
            let wanted: Vec<usize> = (0..part.pictures.len()).filter(|&i| has_row(&part.pictures[i])).collect();
            thumbnails(plan, &part, &wanted, ui, &mut |image| {
                let key = &keys[next];
                let neighbours = neighbours.as_ref().map(|all| {
                    all[next].nearest.iter().map(|near| (near.row, (1.0 - near.similarity).max(0.0))).collect()
                });
                group.push(Row { key, predicted: predicted.get(&key.path), at: at[next], neighbours, image });
                next += 1;
                line.inc(1);
                if group.len() == TOGETHER {
                    writer.append(&group)?;
                    group.clear();
                }
                Ok(())
            })?;
        }
        if !group.is_empty() {
            writer.append(&group)?;
        }
        Ok(writer.finish()?)
    })?;
    let file = OutputFile::hashed(&plan.dir, &path, digest)?;
    line.finish(&format!("{}, {}", plural(keys.len(), "image"), bytes(file.bytes)));
    Ok((Drawn { rows: keys.len(), neighbours: count }, vec![file]))
}

/// The neighbours of each row by the cosine similarity of the components; none where the search would take too long.
fn nearest(matrix: FeatureMatrix, ui: &Ui) -> Result<Option<Vec<Neighbours>>, Interrupted> {
    let rows = matrix.rows();
    if rows.saturating_mul(rows).saturating_mul(matrix.cols()) > WORK {
        ui.warn(&format!(
            "atlas: the neighbours of {} are not searched, since there are too many",
            plural(rows, "image")
        ));
        return Ok(None);
    }
    let all: Vec<usize> = (0..rows).collect();
    let groups = vec![0; rows];
    Directions::of(matrix).search(&all, NEIGHBOURS, &groups, |_| ui.check()).map(Some)
}

/// The predicted class and its confidence by path; empty where no classifier was trained.
fn predictions(plan: &Plan) -> Result<HashMap<String, (Option<String>, f64)>, IoError> {
    if plan.pipeline.train.is_none() || !plan.dir.predictions().is_file() {
        return Ok(HashMap::new());
    }
    let table = Columns::read(&plan.dir.predictions(), &["path", "predicted", "confidence"])?;
    let said = table.texts("predicted")?.into_iter().zip(table.reals("confidence")?);
    Ok(table.texts("path")?.into_iter().zip(said).filter_map(|(path, said)| Some((path?, said))).collect())
}

/// Makes the thumbnails of the `wanted` pictures with all threads, and hands them over in order.
fn thumbnails(
    plan: &Plan,
    part: &Listing,
    wanted: &[usize],
    ui: &Ui,
    take: &mut dyn FnMut(Option<Vec<u8>>) -> Result<(), AtlasError>,
) -> Result<(), AtlasError> {
    let source = &Listed::new(&plan.pipeline, &part.pictures);
    let memory = DecodeMemory::new(plan.pipeline.decode_memory());
    let stream = Stream { source, wanted, threads: plan.pipeline.threads(), order: Order::Asked, ui };
    let (recipe, decoding) = (&plan.backbone.recipe, &plan.backbone.decoding);
    let one = |number: usize| memory.thumbnail((source, number), recipe, decoding, LONGEST);
    stream.each(one, |_, image| take(image))
}
