//! Where the files of a run lie. Their names are a promise to users and scripts.

use std::path::{Path, PathBuf};

use crate::stage::StageId;

/// The charts of the report, by the names of their files in `figures/`.
pub const CHARTS: [&str; 8] =
    ["network", "confusion_matrix", "calibration", "loss", "validation", "components", "variance_explained", "columns"];
/// The files at the top of a run folder.
const TOP: [&str; 9] = [
    "features.npy",
    "index.parquet",
    "manifest.parquet",
    "metrics.json",
    "predictions.parquet",
    "quality.parquet",
    "reduced.parquet",
    "report.html",
    "run.json",
];
/// The folders beside them.
const FOLDERS: [&str; 3] = ["classifier", "features", "figures"];
/// The names of what can be fitted.
const FITTED: [&str; 6] = ["scale", "pca", "svd", "mlp", "logistic", "knn"];

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

    /// The folder of what is known of each shard.
    pub fn shards(&self) -> PathBuf {
        self.store().join("shards")
    }

    /// What became of each picture of a shard.
    pub fn outcomes(&self, id: &str) -> PathBuf {
        self.shards().join(format!("{id}.json"))
    }

    /// Whose the folder is, and which files the run in it may write.
    pub fn owner(&self) -> PathBuf {
        self.store().join("owner.json")
    }

    /// A feature table on its way to another number.
    pub fn moving(&self, id: &str) -> PathBuf {
        self.shards().join(format!("{id}.parquet"))
    }

    /// Every folder that files are written to.
    pub fn folders(&self) -> [PathBuf; 6] {
        [self.root.clone(), self.features(), self.classifier(), self.figures(), self.store(), self.shards()]
    }

    /// The name of a file in records: relative to the folder, with `/`.
    pub fn name_of(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().replace('\\', "/")
    }

    /// The first link on the way from the folder to `name`, the file itself included.
    pub fn link_to(&self, name: &str) -> Option<PathBuf> {
        let below = Path::new(name).ancestors().filter(|above| !above.as_os_str().is_empty());
        let links = below.map(|above| self.root.join(above)).filter(|path| path.is_symlink());
        links.last()
    }

    /// The file called `name` if it is one that may be deleted when a record names it: a run can write that name, it is a plain file, and no link
    /// leads to it.
    pub fn own_file(&self, name: &str) -> Option<PathBuf> {
        let path = self.root.join(name);
        (is_own(name) && self.link_to(name).is_none() && path.is_file()).then_some(path)
    }

    /// The files of `folder` that a run can have written, sorted.
    pub fn own_files(&self, folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| self.own_file(&self.name_of(&entry.path()))).collect();
        files.sort();
        files
    }

    /// The names at the top of every run folder, folders with `/` at their end; sorted.
    pub fn top() -> Vec<String> {
        let folders = FOLDERS.iter().map(|folder| format!("{folder}/"));
        let mut names: Vec<String> = TOP.iter().map(ToString::to_string).chain(folders).collect();
        names.sort();
        names
    }
}

/// True for the names, relative to the run folder, that a run can write. No other file is ever overwritten or deleted, whatever a record says.
pub fn is_own(name: &str) -> bool {
    let Some((folder, file)) = name.rsplit_once('/') else { return TOP.contains(&name) };
    let (stem, ending) = file.split_once('.').unwrap_or((file, ""));
    match folder {
        "features" => ending == "parquet" && is_part(stem),
        "classifier" => {
            ["columns.parquet", "classifier.json"].contains(&file) || ending == "safetensors" && FITTED.contains(&stem)
        }
        "figures" => CHARTS.contains(&stem) && ["svg", "png"].contains(&ending),
        ".store" => ["lock", "owner.json"].contains(&file) || ending == "json" && StageId::from_name(stem).is_some(),
        ".store/shards" => stem.len() == 32 && stem.bytes().all(|b| b.is_ascii_hexdigit()),
        _ => false,
    }
}

/// `part-00000`, as [`RunDir::shard`] writes it.
fn is_part(stem: &str) -> bool {
    let number = stem.strip_prefix("part-").and_then(|digits| digits.parse::<usize>().ok());
    number.is_some_and(|number| stem == format!("part-{number:05}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_a_run_is_its_own_and_no_other() {
        let dir = RunDir::new("runs/a");
        let mut paths = vec![dir.manifest(), dir.shard(0), dir.shard(123_456), dir.npy(), dir.index(), dir.reduced()];
        paths.extend([dir.predictions(), dir.columns(), dir.card(), dir.metrics(), dir.quality(), dir.report()]);
        paths.extend([
            dir.run_json(),
            dir.lock(),
            dir.owner(),
            dir.outcomes(&"0f".repeat(16)),
            dir.moving(&"a".repeat(32)),
        ]);
        paths.extend(["scale", "pca", "svd"].map(|kind| dir.reduction(kind)));
        paths.extend(crate::stages::train::KINDS.map(|kind| dir.classifier_file(kind)));
        paths.extend(StageId::ALL.map(|stage| dir.record(stage)));
        paths.extend(CHARTS.map(|name| dir.figures().join(format!("{name}.png"))));
        for path in &paths {
            assert!(is_own(&dir.name_of(path)), "{}", path.display());
        }
        for name in [
            "",
            "notes.txt",
            "features",
            "features/mine.parquet",
            "features/part-1.parquet",
            "features/part-000001.parquet",
            "features/part-+0001.parquet",
            "features/part-00000.parquet.bak",
            "features/deep/part-00000.parquet",
            "figures/mine.svg",
            "classifier/mine.safetensors",
            ".store/mine.json",
            ".store/shards/mine.json",
            "../manifest.parquet",
            "/manifest.parquet",
            "./manifest.parquet",
            "figures/../manifest.parquet",
        ] {
            assert!(!is_own(name), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_a_link_leads_to_is_not_the_runs() {
        let folder = tempfile::tempdir().expect("folder");
        let dir = RunDir::new(folder.path().join("run"));
        std::fs::create_dir_all(dir.root()).expect("folder");
        std::fs::create_dir_all(folder.path().join("other")).expect("folder");
        std::fs::write(folder.path().join("other/part-00000.parquet"), b"x").expect("written");
        std::os::unix::fs::symlink("../other", dir.features()).expect("link");
        std::os::unix::fs::symlink("../other/part-00000.parquet", dir.report()).expect("link");
        std::fs::write(dir.manifest(), b"x").expect("written");
        assert_eq!(dir.own_file("features/part-00000.parquet"), None);
        assert_eq!(dir.link_to("features/part-00000.parquet"), Some(dir.features()));
        assert_eq!(dir.own_file("report.html"), None);
        assert_eq!(dir.own_file("manifest.parquet"), Some(dir.manifest()));
        assert_eq!(dir.own_file("metrics.json"), None, "it is not there");
    }
}
