//! The activation ranges of `int8`, from the first source that has them: the user's file, this run, the bundled
//! weights, or else a calibration on some pictures of the listing. The ranges of a run do not change when its pictures
//! do, so that features computed earlier stay valid.

use std::path::Path;

use super::ExtractError;
use crate::config::Calibration;
use crate::exec::{Device, Precision};
use crate::io::{self, Digest, IoError};
use crate::pictures::calibrate::{self, Sample};
use crate::pictures::{DecodeMemory, Listed};
use crate::plan::Plan;
use crate::progress::Ui;
use crate::stage::{Options, StageId};
use crate::stages::scan::{Listing, Picture};
use crate::store::{OutputFile, fingerprint};

/// The calibration may choose among this many times the pictures that it needs, since some may be damaged.
const SPARE: usize = 4;

/// Looks for existing ranges, so that the fingerprint of the extraction is known. Computes none.
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
        _ if !forced => {
            let made_for = made_for(plan)?;
            io::ranges::read(&plan.dir.found_ranges()).ok().filter(|ranges| ranges.made_for() == made_for)
        }
        _ => None,
    };
    if let Some(ranges) = found.or_else(shipped) {
        plan.backbone.keep_ranges(ranges);
    }
    Ok(())
}

/// Does the same as [`find`], and computes the ranges where there are none.
pub fn settle(plan: &Plan, listing: &Listing, options: &Options, ui: &Ui) -> Result<(), ExtractError> {
    find(plan, options)?;
    if plan.backbone.precision != Precision::Int8 || plan.backbone.ranges.get().is_some() {
        return Ok(());
    }
    let device = &Device::open(plan.pipeline.runtime.device())?;
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
        device,
        threads: plan.pipeline.threads(),
        memory: &DecodeMemory::new(plan.pipeline.decode_memory()),
        ui,
    };
    plan.backbone.keep_ranges(sample.ranges(&plan.backbone)?.made(made_for(plan)?));
    Ok(())
}

/// Returns the `count` pictures whose paths have the smallest hashes.
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

/// Writes the ranges into the store, for workers and for the next start.
pub fn note(plan: &Plan) -> Result<(), ExtractError> {
    write(plan, &plan.dir.found_ranges()).map(|_| ())
}

/// Writes the ranges into the classifier's folder, for predictions.
pub fn keep(plan: &Plan) -> Result<Option<OutputFile>, ExtractError> {
    let path = plan.dir.ranges();
    let digest = write(plan, &path)?;
    Ok(digest.map(|digest| OutputFile::hashed(&plan.dir, &path, digest)).transpose()?)
}

/// Writes the ranges, unless the file has them already.
fn write(plan: &Plan, path: &Path) -> Result<Option<Digest>, ExtractError> {
    let Some(ranges) = plan.backbone.ranges.get() else { return Ok(None) };
    Ok(Some(match io::digest(path) {
        Ok(there) if std::fs::read(path).is_ok_and(|bytes| bytes == ranges.to_bytes()) => there,
        _ => io::ranges::write(path, ranges)?,
    }))
}

/// The hash of the settings, apart from the pictures, on which the ranges depend.
fn made_for(plan: &Plan) -> Result<String, serde_json::Error> {
    fingerprint("ranges", &(plan.network_settings(), &plan.pipeline.extract.calibration), &[])
}
