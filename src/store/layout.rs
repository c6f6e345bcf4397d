//! The paths of the files in a run folder. Users and scripts rely on their names, so the names do not change.

use std::path::{Path, PathBuf};

use crate::stage::StageId;

/// The names of the report's charts, which are also the names of their files in `figures/`.
pub const CHARTS: [&str; 9] = [
    "network",
    "confusion_matrix",
    "calibration",
    "coverage",
    "loss",
    "validation",
    "components",
    "variance_explained",
    "columns",
];
/// The files at the top of a run folder.
const TOP: [&str; 11] = [
    "atlas.parquet",
    "features.npy",
    "index.parquet",
    "manifest.parquet",
    "metrics.json",
    "predictions.parquet",
    "quality.parquet",
    "reduced.parquet",
    "relabel.csv",
    "report.html",
    "run.json",
];
/// The files in the store beside the records of the stages.
pub const STORE: [&str; 6] =
    ["lock", "owner.json", "listing.parquet", "ranges.safetensors", "tables.json", "workers.json"];
/// The folders in a run folder that users see.
const FOLDERS: [&str; 3] = ["classifier", "features", "figures"];
/// The digits in the numbers of feature tables, and the digits if there are more tables than five digits can number.
const DIGITS: usize = 5;
const MANY_DIGITS: usize = 7;
const FEW_PARTS: usize = 100_000;
/// The kinds of files with fitted parts.
const FITTED: [&str; 8] = ["ranges", "scale", "pca", "svd", "mlp", "logistic", "knn", "novelty"];

/// The folder of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    root: PathBuf,
}

/// Methods that return the paths of files and folders, each with its parent folder.
macro_rules! places {
    ($($(#[$doc:meta])* $name:ident = $folder:ident / $file:literal;)*) => {
        impl RunDir {$(
            $(#[$doc])*
            pub fn $name(&self) -> PathBuf {
                self.$folder().join($file)
            }
        )*}
    };
}

places! {
    /// The manifest, with a row for every file found: path, label, split, bytes, width, height, status, error.
    manifest = root / "manifest.parquet";
    /// The folder of the feature tables.
    features = root / "features";
    /// The array of all features for numpy.
    npy = root / "features.npy";
    /// The table with path, label and split of the rows of the array.
    index = root / "index.parquet";
    /// The table with path, label, split and the columns of the reduction.
    reduced = root / "reduced.parquet";
    /// The table with path, label, split, predicted class, confidence and the probability of each class.
    predictions = root / "predictions.parquet";
    /// The folder of all fitted parts, which `predict` needs.
    classifier = root / "classifier";
    /// The table of all columns: mean, variance and score over the train split, whether the column was kept, and the
    /// rule that dropped it.
    columns = classifier / "columns.parquet";
    /// The ranges of the network's activations, from which `int8` computes its scales.
    ranges = classifier / "ranges.safetensors";
    /// The train rows for the distance of a picture from the training data.
    novelty = classifier / "novelty.safetensors";
    /// The card that describes the tensors: classes, model, weights, recipe.
    card = classifier / "classifier.json";
    /// The metrics: accuracy, scores of each class, confusion matrix, loss curve.
    metrics = root / "metrics.json";
    /// The table of copies, labels in doubt and outliers, which `compare` finds from the neighbours of each picture.
    quality = root / "quality.parquet";
    /// The labels of all pictures, doubtful ones first, as a table that `input.split` reads.
    relabel = root / "relabel.csv";
    /// The table for Embedding Atlas: components, neighbours and thumbnails.
    atlas = root / "atlas.parquet";
    /// The folder of the report's charts as files.
    figures = root / "figures";
    /// The report.
    report = root / "report.html";
    /// The description of the run: versions, configuration, fingerprints, device, timings.
    run_json = root / "run.json";
    /// The folder of the files for resuming; users need not look into it.
    store = root / ".store";
    /// The lock file.
    lock = store / "lock";
    /// The folder of the outcomes of each shard.
    shards = store / "shards";
    /// The listed pictures, in the order of the shards.
    listing = store / "listing.parquet";
    /// The list of the feature tables that have numbers.
    tables = store / "tables.json";
    /// The maker that the first worker of the run has noted: version, device and kernels.
    workers = store / "workers.json";
    /// The file that says which pipeline the folder belongs to and which files its run may write.
    owner = store / "owner.json";
    /// The ranges of `int8` once they are found, for workers and for the next start.
    found_ranges = store / "ranges.safetensors";
}

impl RunDir {
    /// Names the run folder `root` without creating it.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The path of the run folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of the feature table of shard `i` among `of` shards. All numbers have the same number of digits, so
    /// that sorted names are in numeric order.
    pub fn shard(&self, i: usize, of: usize) -> PathBuf {
        let digits = if of > FEW_PARTS { MANY_DIGITS } else { DIGITS };
        self.features().join(format!("part-{i:0digits$}.parquet"))
    }

    /// The existing feature tables, in the order of their numbers.
    pub fn parts(&self) -> Vec<PathBuf> {
        self.own_files(&self.features())
    }

    /// The file of a fitted reduction (`pca`, `svd` or `scale`) or classifier (`mlp`, `logistic` or `knn`).
    pub fn fitted(&self, kind: &str) -> PathBuf {
        self.classifier().join(format!("{kind}.safetensors"))
    }

    /// The record of a stage.
    pub fn record(&self, stage: StageId) -> PathBuf {
        self.store().join(format!("{}.json", stage.name()))
    }

    /// The commit record of a shard whose table has no number yet.
    pub fn commit(&self, id: &str) -> PathBuf {
        self.shards().join(format!("{id}.commit"))
    }

    /// The record of a shard, with the outcome of each picture.
    pub fn outcomes(&self, id: &str) -> PathBuf {
        self.shards().join(format!("{id}.json"))
    }

    /// The temporary name of a feature table until it has its number.
    pub fn moving(&self, id: &str) -> PathBuf {
        self.shards().join(format!("{id}.parquet"))
    }

    /// Every folder in which a run writes files.
    pub fn folders(&self) -> [PathBuf; 6] {
        [self.root.clone(), self.features(), self.classifier(), self.figures(), self.store(), self.shards()]
    }

    /// Returns the name of a file in records: relative to the run folder, with `/`.
    pub fn name_of(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().replace('\\', "/")
    }

    /// Returns the first symbolic link on the path from the run folder to the file `name`; the file itself may be the
    /// link.
    pub fn link_to(&self, name: &str) -> Option<PathBuf> {
        let below = Path::new(name).ancestors().filter(|above| !above.as_os_str().is_empty());
        let links = below.map(|above| self.root.join(above)).filter(|path| path.is_symlink());
        links.last()
    }

    /// Returns the file `name` if a record that names it allows to delete it: a run can write this name, it is a
    /// regular file, and no symbolic link is on its path.
    pub fn own_file(&self, name: &str) -> Option<PathBuf> {
        let path = self.root.join(name);
        (is_own(name) && self.link_to(name).is_none() && path.is_file()).then_some(path)
    }

    /// Returns the files of `folder` that a run can have written, sorted.
    pub fn own_files(&self, folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| self.own_file(&self.name_of(&entry.path()))).collect();
        files.sort();
        files
    }

    /// Returns the names at the top of every run folder, sorted; folders end with `/`.
    pub fn top() -> Vec<String> {
        let folders = FOLDERS.iter().map(|folder| format!("{folder}/"));
        let mut names: Vec<String> = TOP.iter().map(ToString::to_string).chain(folders).collect();
        names.sort();
        names
    }
}

/// Whether a run can write a file with this name, relative to the run folder. No other file is ever overwritten or
/// deleted, whatever a record says.
pub fn is_own(name: &str) -> bool {
    let Some((folder, file)) = name.rsplit_once('/') else { return TOP.contains(&name) };
    let (stem, ending) = file.split_once('.').unwrap_or((file, ""));
    match folder {
        "features" => ending == "parquet" && is_part(stem),
        "classifier" => {
            ["columns.parquet", "classifier.json"].contains(&file) || ending == "safetensors" && FITTED.contains(&stem)
        }
        "figures" => CHARTS.contains(&stem) && ["svg", "png"].contains(&ending),
        ".store" => STORE.contains(&file) || ending == "json" && StageId::from_name(stem).is_ok(),
        ".store/shards" => stem.len() == 32 && stem.bytes().all(|b| b.is_ascii_hexdigit()),
        _ => false,
    }
}

/// Whether a name is `part-00000` and so on, as [`RunDir::shard`] or an earlier version (for numbers from 100,000 on)
/// writes it.
fn is_part(stem: &str) -> bool {
    let Some(digits) = stem.strip_prefix("part-") else { return false };
    let Ok(number) = digits.parse::<usize>() else { return false };
    [DIGITS, MANY_DIGITS].iter().any(|&width| digits == format!("{number:0width$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_a_run_is_its_own_and_no_other() {
        let dir = RunDir::new("runs/a");
        let mut paths = vec![dir.manifest(), dir.shard(0, 1), dir.shard(123_456, 200_000), dir.npy(), dir.index()];
        paths.extend([dir.reduced(), dir.listing(), dir.tables(), dir.workers(), dir.commit(&"0f".repeat(16))]);
        paths.extend([
            dir.ranges(),
            dir.found_ranges(),
            dir.novelty(),
            dir.predictions(),
            dir.columns(),
            dir.card(),
            dir.metrics(),
            dir.quality(),
            dir.relabel(),
            dir.atlas(),
            dir.report(),
        ]);
        paths.extend([
            dir.run_json(),
            dir.lock(),
            dir.owner(),
            dir.outcomes(&"0f".repeat(16)),
            dir.moving(&"a".repeat(32)),
        ]);
        paths.extend(["scale", "pca", "svd"].map(|kind| dir.fitted(kind)));
        paths.extend(crate::stages::train::KINDS.map(|kind| dir.fitted(kind)));
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
            "features/part-00000001.parquet",
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

    #[test]
    fn names_of_tables_sort_as_their_numbers() {
        let dir = RunDir::new("run");
        for of in [100_000, 100_001, 2_000_000] {
            let names = [0, 9, 10, 99_999, 100_000, 999_999, 1_000_000].map(|i| dir.shard(i, of));
            assert!(names[..if of > 100_000 { 7 } else { 4 }].is_sorted(), "{names:?}");
        }
        assert_eq!(dir.shard(7, 100_000), Path::new("run/features/part-00007.parquet"));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_behind_a_link_does_not_belong_to_the_run() {
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
