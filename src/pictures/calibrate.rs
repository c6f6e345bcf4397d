//! Calibration for `int8`: sends some pictures through the network in f32 and records the ranges of its activations.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use thiserror::Error;

use super::source::most_bytes;
use super::{DecodeMemory, Order, Source, Stream, StreamError};
use crate::exec::{Calibration, Device, ExecError, Observed, Ranges};
use crate::network_plan::NetworkPlan;
use crate::progress::Ui;
use featurize_nets::Calibrator;

/// Default number of pictures for a calibration.
pub const PICTURES: usize = 64;

/// Hash of a picture's key, by which pictures are chosen.
pub fn hash(key: &str) -> [u8; 32] {
    *blake3::hash(key.as_bytes()).as_bytes()
}

/// The ranges cannot be found.
#[derive(Debug, Error)]
pub enum CalibrationError {
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("`int8` is calibrated on pictures, and none of {0} can be read: mend them, or give a file of ranges")]
    NoPictures(usize),
}

/// The pictures of a calibration, and the settings for computing them.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    pub source: &'a dyn Source,
    /// The numbers of all candidate pictures in the source.
    pub numbers: &'a [usize],
    /// The number of pictures to use.
    pub count: usize,
    /// The device on which the network will run.
    pub device: &'a Device,
    pub threads: usize,
    pub memory: &'a DecodeMemory,
    pub ui: &'a Ui,
}

impl Sample<'_> {
    /// The ranges of the network's activations over the pictures whose keys have the smallest hashes; pictures that
    /// cannot be read are left out. The result depends neither on the order of the pictures nor on the number of
    /// threads.
    pub fn ranges(&self, plan: &NetworkPlan) -> Result<Ranges, CalibrationError> {
        let mut numbers = self.numbers.to_vec();
        numbers.sort_by_cached_key(|&number| (hash(self.source.entry(number).key), number));
        let calibrator = &Calibrator::open(plan, self.device)?;
        let line = self.ui.work("calibrate", Some(self.count.min(numbers.len()) as u64), "images");
        let (scratches, never) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let spare = || scratches.lock().unwrap_or_else(PoisonError::into_inner);
        let observe = |number: usize| -> Option<Observed> {
            let decoding = calibrator.decoding();
            let opened = self.source.open(number, most_bytes(decoding)).ok()?;
            let bytes = self.memory.read(opened, calibrator.recipe(), decoding, &never).ok()?;
            let picture = calibrator.decode(&bytes).ok()?.image;
            drop(bytes);
            let taken = spare().pop();
            let mut scratch = taken.unwrap_or_else(|| calibrator.scratch());
            let observed = calibrator.observe(&mut scratch, &picture);
            spare().push(scratch);
            Some(observed)
        };
        let mut calibration = Calibration::default();
        let mut rest = numbers.as_slice();
        while calibration.pictures() < self.count && !rest.is_empty() {
            let (wanted, behind) = rest.split_at(rest.len().min(self.count - calibration.pictures()));
            rest = behind;
            let threads = self.threads;
            let stream = Stream { source: self.source, wanted, threads, order: Order::Asked, ui: self.ui };
            stream.each(observe, |_, observed| -> Result<(), CalibrationError> {
                observed.into_iter().for_each(|observed| calibration.add(observed));
                line.inc(1);
                Ok(())
            })?;
        }
        if calibration.pictures() == 0 {
            return Err(CalibrationError::NoPictures(numbers.len()));
        }
        Ok(calibration.finish())
    }
}
