//! The ranges of `int8`: the user's file, those of the run, those that ship with the bundled weights, or new ones, from
//! some pictures of the listing. Those of a run stay as they are when its pictures change, so that features which are
//! there stay, too.

use serde_json::json;

use super::ExtractError;
use crate::config::Calibration;
use crate::exec::Precision;
use crate::io::{self, IoError};
use crate::pictures::calibrate::{self, Sample};
use crate::pictures::{DecodeMemory, Listed};
use crate::plan::Plan;
use crate::progress::Ui;
use crate::stage::{Options, StageId};
use crate::stages::scan::{Listing, Picture};
use crate::store::OutputFile;

/// So many times the pictures of a calibration are at hand, since some may be damaged.
const SPARE: usize = 4;

/// Finds the ranges that are there, so that the fingerprint of the extraction is known. It computes nothing.
pub fn find(plan: &Plan, options: &Options) -> Result<(), ExtractError> {
    let backbone = &plan.backbone;
    if backbone.precision != Precision::Int8 || backbone.ranges.get().is_some() {
        return Ok(());
    }
    let shipped = || backbone.shipped_ranges().filter(|_| plan.pipeline.extract.calibration.is_none());
    let forced = options.force.is_some_and(|force| force <= StageId::Extract);
    let found = match &plan.pipeline.extract.calibration {
        Some(Calibration::File(path)) => Some(io::ranges::read(path)?),
        // a file that cannot be read is made again
        _ if !forced => io::ranges::read(&plan.dir.ranges()).ok().filter(|ranges| ranges.made_for() == made_for(plan)),
        _ => None,
    };
    if let Some(ranges) = found.or_else(shipped) {
        plan.backbone.keep_ranges(ranges);
    }
    Ok(())
}

/// The same, and computes the ranges where none are there.
pub fn settle(plan: &Plan, listing: &Listing, options: &Options, ui: &Ui) -> Result<(), ExtractError> {
    find(plan, options)?;
    if plan.backbone.precision != Precision::Int8 || plan.backbone.ranges.get().is_some() {
        return Ok(());
    }
    let count = match plan.pipeline.extract.calibration {
        Some(Calibration::Pictures(count)) => count,
        _ => calibrate::PICTURES,
    };
    let pictures = first(listing, SPARE * count)?;
    let numbers: Vec<usize> = (0..pictures.len()).collect();
    let sample = Sample {
        source: &Listed::new(&plan.pipeline, &pictures),
        numbers: &numbers,
        count,
        threads: plan.pipeline.threads(),
        memory: &DecodeMemory::new(plan.pipeline.decode_memory()),
        ui,
    };
    plan.backbone.keep_ranges(sample.ranges(&plan.backbone)?.made(made_for(plan)));
    Ok(())
}

/// So many pictures of those whose paths have the smallest hashes.
fn first(listing: &Listing, count: usize) -> Result<Vec<Picture>, IoError> {
    let mut all: Vec<([u8; 32], Picture)> = Vec::new();
    listing.for_each(|part| -> Result<(), IoError> {
        all.extend(part.pictures.iter().map(|picture| (calibrate::hash(&picture.path), picture.clone())));
        all.sort_by_key(|(hash, _)| *hash);
        all.truncate(count);
        Ok(())
    })?;
    Ok(all.into_iter().map(|(_, picture)| picture).collect())
}

/// Writes the ranges beside the classifier, for predictions.
pub fn keep(plan: &Plan) -> Result<Option<OutputFile>, ExtractError> {
    let Some(ranges) = plan.backbone.ranges.get() else { return Ok(None) };
    let path = plan.dir.ranges();
    let digest = match io::digest(&path) {
        Ok(there) if std::fs::read(&path).is_ok_and(|bytes| bytes == ranges.to_bytes()) => there,
        _ => io::ranges::write(&path, ranges)?,
    };
    Ok(Some(OutputFile::hashed(&plan.dir, &path, digest)?))
}

/// The settings that ranges depend on beside the pictures.
fn made_for(plan: &Plan) -> String {
    let backbone = &plan.backbone;
    let settings = json!({
        "model": backbone.name,
        "source": backbone.source,
        "weights": plan.weights_id,
        "layer": backbone.layers(),
        "recipe": backbone.recipe,
        "image": backbone.decoding,
        "calibration": plan.pipeline.extract.calibration,
    });
    blake3::hash(settings.to_string().as_bytes()).to_hex().to_string()
}
