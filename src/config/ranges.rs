//! The largest values of whole numbers in the YAML. A larger number is a typing error or would take more memory than
//! any machine has.

/// A limit for keys where a larger number would mean the same as this one: all that there is.
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
