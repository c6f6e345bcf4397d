//! The largest values of whole numbers in the YAML, but for hyperparameters, which know their ranges. A larger number
//! is a slip of the keyboard, or takes more memory than there is.

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
