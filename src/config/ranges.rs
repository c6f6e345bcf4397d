//! The most that a whole number in the YAML may be. What is larger is a slip of the keyboard, or takes more memory than there is.

/// Where a larger number would mean the same: everything there is.
pub const MANY: usize = 1_000_000_000;
/// `runtime.threads`.
pub const THREADS: usize = crate::threads::MOST;
/// `runtime.batch_size`.
pub const BATCH: usize = 65_536;
/// `extract.shard_rows`.
pub const SHARD_ROWS: usize = 1_000_000;
/// `image.max_pixels`.
pub const PIXELS: u64 = 10_000_000_000;
/// `reduce.pca.components` and `reduce.svd.components`.
pub const COMPONENTS: usize = 1_000_000;
/// `train.cv`.
pub const FOLDS: usize = 10_000;
/// `train.knn.k`.
pub const NEIGHBOURS: usize = 1_000_000;
/// Units of a hidden layer of `train.mlp`.
pub const UNITS: usize = 65_536;
/// Hidden layers of `train.mlp`.
pub const LAYERS: usize = 64;
/// `report.samples`.
pub const SAMPLES: usize = 10_000;
