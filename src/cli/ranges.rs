//! The flag `--ranges` of the commands that calibrate `int8` on their pictures.

use std::path::PathBuf;

use clap::Args;

use super::usage;
use super::workers::WorkerArgs;
use crate::error::Error;
use crate::exec::{Device, Precision};
use crate::io;
use crate::network_plan::NetworkPlan;
use crate::pictures::Named;
use crate::pictures::calibrate::{self, CalibrationError, Sample};
use crate::progress::Ui;
use crate::stages::scan::NamedFile;

/// Where the ranges of `int8` are kept.
#[derive(Debug, Args)]
pub struct RangesArgs {
    /// The file of ranges for `int8`: read where it is there, else written after the calibration on these pictures (64
    /// of them at most).
    #[arg(long, value_name = "FILE")]
    ranges: Option<PathBuf>,
}

impl RangesArgs {
    /// Whether a file is named.
    pub fn is_named(&self) -> bool {
        self.ranges.is_some()
    }

    /// Sets the ranges of `network`, if its precision is `int8`: those of the file, those of the bundled weights unless
    /// `count` is set, or new ones from `count` of the `pictures`.
    pub fn settle(
        &self,
        (network, device): (&NetworkPlan, &Device),
        count: Option<usize>,
        pictures: &[NamedFile],
        workers: &WorkerArgs,
        ui: &Ui,
    ) -> Result<(), Error> {
        if network.precision != Precision::Int8 && self.is_named() {
            return usage("`--ranges` are those of `--precision int8`: give both, or neither");
        }
        if network.precision != Precision::Int8 || network.ranges.get().is_some() {
            return Ok(());
        }
        let there = self.ranges.as_ref().filter(|path| path.exists());
        let ranges = match (there, network.shipped_ranges()) {
            (Some(path), _) => io::ranges::read(path)?,
            (None, Some(shipped)) if self.ranges.is_none() && count.is_none() => shipped,
            (None, _) => {
                let numbers: Vec<usize> = (0..pictures.len()).collect();
                let (source, count, threads) =
                    (&Named(pictures), count.unwrap_or(calibrate::PICTURES), workers.threads());
                let memory = &workers.memory();
                let sample = Sample { source, numbers: &numbers, count, device, threads, memory, ui };
                let ranges = sample.ranges(network)?;
                if let Some(path) = &self.ranges {
                    io::ranges::write(path, &ranges)?;
                }
                ranges
            }
        };
        network.keep_ranges(ranges);
        Ok(())
    }
}

impl From<CalibrationError> for Error {
    fn from(error: CalibrationError) -> Self {
        crate::stages::extract::ExtractError::from(error).into()
    }
}
