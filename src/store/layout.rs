//! Where the files of a run lie. Their names are a promise to users and scripts.

use std::path::{Path, PathBuf};

use crate::stages::StageId;

/// The folder of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// The run folder `root`; nothing is created.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every file met: path, label, split, bytes, width, height, status, error.
    pub fn manifest(&self) -> PathBuf {
        self.root.join("manifest.parquet")
    }

    /// The folder of the feature tables.
    pub fn features(&self) -> PathBuf {
        self.root.join("features")
    }

    /// The `i`th feature table.
    pub fn shard(&self, i: usize) -> PathBuf {
        self.features().join(format!("part-{i:05}.parquet"))
    }

    /// Every feature in one array for numpy.
    pub fn npy(&self) -> PathBuf {
        self.root.join("features.npy")
    }

    /// path, label and split of the rows of the array.
    pub fn index(&self) -> PathBuf {
        self.root.join("index.parquet")
    }

    /// path, label, split and the columns that `reduce` made.
    pub fn reduced(&self) -> PathBuf {
        self.root.join("reduced.parquet")
    }

    /// path, label, split, predicted, confidence and the probability of each class.
    pub fn predictions(&self) -> PathBuf {
        self.root.join("predictions.parquet")
    }

    /// What was fitted: what `predict` needs.
    pub fn classifier(&self) -> PathBuf {
        self.root.join("classifier")
    }

    /// Mean, variance and score of every column over the train split, whether it was kept, and why not.
    pub fn columns(&self) -> PathBuf {
        self.classifier().join("columns.parquet")
    }

    /// The fitted reduction: `pca`, `svd` or `scale`.
    pub fn reduction(&self, kind: &str) -> PathBuf {
        self.classifier().join(format!("{kind}.safetensors"))
    }

    /// What was fitted, by the kind of the classifier: `mlp`, `logistic` or `knn`.
    pub fn classifier_file(&self, kind: &str) -> PathBuf {
        self.classifier().join(format!("{kind}.safetensors"))
    }

    /// Classes, model, weights, recipe: what the tensors mean.
    pub fn card(&self) -> PathBuf {
        self.classifier().join("classifier.json")
    }

    /// Accuracy, scores by class, confusion matrix, loss curve.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.json")
    }

    /// What the neighbours of each picture tell of it: copies, labels in doubt, outliers.
    pub fn quality(&self) -> PathBuf {
        self.root.join("quality.parquet")
    }

    /// The charts of the report as files.
    pub fn figures(&self) -> PathBuf {
        self.root.join("figures")
    }

    /// The report.
    pub fn report(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// Versions, configuration, fingerprints, device, timings.
    pub fn run_json(&self) -> PathBuf {
        self.root.join("run.json")
    }

    /// What resuming needs; users have no business there.
    pub fn store(&self) -> PathBuf {
        self.root.join(".store")
    }

    /// The lock.
    pub fn lock(&self) -> PathBuf {
        self.store().join("lock")
    }

    /// What a stage has committed.
    pub fn record(&self, stage: StageId) -> PathBuf {
        self.store().join(format!("{}.json", stage.name()))
    }

    /// What became of each picture of a shard.
    pub fn outcomes(&self, id: &str) -> PathBuf {
        self.store().join("shards").join(format!("{id}.json"))
    }

    /// A feature table on its way to another number.
    pub fn moving(&self, id: &str) -> PathBuf {
        self.store().join("shards").join(format!("{id}.parquet"))
    }

    /// Every folder that files are written to.
    pub fn folders(&self) -> [PathBuf; 5] {
        [self.root.clone(), self.features(), self.classifier(), self.store(), self.store().join("shards")]
    }
}
