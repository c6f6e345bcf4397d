//! The largest allowed values of integers in the YAML; hyperparameters have their ranges in [`crate::learn`]. A larger
//! number is a typing error, or needs more memory than any machine has.

pub use crate::learn::hyperparameters::MANY;

/// `runtime.threads`.
pub const THREADS: usize = crate::threads::MOST;
/// `runtime.batch_size`.
pub const BATCH: usize = 65_536;
/// `extract.shard_rows`.
pub const SHARD_ROWS: usize = 1_000_000;
/// `image.max_pixels`.
pub const PIXELS: u64 = 10_000_000_000;
/// `train.cv`.
pub const FOLDS: usize = 10_000;
/// `report.samples`.
pub const SAMPLES: usize = 10_000;
