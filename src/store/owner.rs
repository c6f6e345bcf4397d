//! Decides which files of a run folder belong to the run.
//!
//! A file belongs to the run if a record names it. Files that are written before their record are known from
//! `.store/owner.json`: a run writes it before its first file. It has the names that each stage may write, so that a
//! run recognises its own files after it was killed. Only the first stage without a record was at work then, so only
//! its files may lack a record.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::layout::STORE;
use super::{Record, RunDir, StoreError};
use crate::io::{IoError, atomic};
use crate::stage::StageId;

/// The names, relative to the run folder, that the stages may write.
pub type Writes = BTreeMap<StageId, Vec<String>>;

/// The content of `owner.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The name of the pipeline.
    pub name: String,
    pub writes: Writes,
    /// The hash of the extraction's settings, and the number of its shards that existed before it was first started.
    pub extraction: String,
    pub reused: usize,
}

/// The records and claims of a run folder.
#[derive(Debug)]
pub struct Owner {
    dir: RunDir,
    claims: Option<Claims>,
    records: BTreeMap<StageId, Record>,
}

impl Owner {
    /// Reads the records of `dir` and its `owner.json`, which runs of version 0.3.0 do not have.
    pub fn of(dir: &RunDir) -> Self {
        let claims = std::fs::read(dir.owner()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let records = StageId::ALL.into_iter().filter_map(|stage| Some((stage, Record::read(dir, stage)?)));
        Self { dir: dir.clone(), claims, records: records.collect() }
    }

    /// Whether a run of featurize has written to the folder.
    pub fn is_run(&self) -> bool {
        self.claims.is_some() || !self.records.is_empty()
    }

    /// Returns the claims of the run that wrote here last.
    pub fn claims(&self) -> Option<&Claims> {
        self.claims.as_ref()
    }

    /// Returns an error if the folder holds the run of another pipeline.
    pub fn check_name(&self, name: &str) -> Result<(), StoreError> {
        match self.name().filter(|there| there != name) {
            None => Ok(()),
            Some(there) => {
                Err(StoreError::OtherPipeline { dir: self.dir.root().to_path_buf(), there, name: name.to_string() })
            }
        }
    }

    /// Returns the name of the run's pipeline if it is known; a run of version 0.3.0 writes it only at its end.
    fn name(&self) -> Option<String> {
        if let Some(claims) = &self.claims {
            return Some(claims.name.clone());
        }
        let report = self.records.get(&StageId::Report).map(|record| record.settings["name"].clone());
        let run = self.run_json().filter(|_| self.is_run()).map(|run| run["name"].clone());
        [run, report].into_iter().flatten().find_map(|name| name.as_str().map(str::to_string))
    }

    /// Returns `run.json` if featurize wrote it.
    fn run_json(&self) -> Option<Value> {
        let run: Value = serde_json::from_slice(&std::fs::read(self.dir.run_json()).ok()?).ok()?;
        run["featurize"].is_string().then_some(run)
    }

    /// Returns the stage that was at work when the run ended. It may have left files that no record names.
    pub fn in_flight(&self) -> Option<StageId> {
        self.unrecorded(&self.claims.as_ref()?.writes).last().copied()
    }

    /// Returns the stages that may have left files without a record: the first stage without one and, where that is the
    /// scan, the next one, because the extraction writes the record of the scan again.
    fn unrecorded(&self, writes: &Writes) -> Vec<StageId> {
        let mut open = writes.keys().copied().filter(|stage| !self.records.contains_key(stage));
        let first = open.next();
        let second = first.filter(|stage| *stage == StageId::Scan).and_then(|_| open.next());
        first.into_iter().chain(second).collect()
    }

    /// Whether a record names the file. The record of the scan also stands for the manifest, which the extraction
    /// writes again.
    fn is_recorded(&self, name: &str) -> bool {
        let manifest = self.records.contains_key(&StageId::Scan) && name == self.dir.name_of(&self.dir.manifest());
        manifest || self.records.values().flat_map(|record| &record.files).any(|output| output.file == name)
    }

    /// Whether `run.json` belongs to the run. Only a finished run writes it, and no record names it.
    fn has_run_json(&self) -> bool {
        let finished = self.claims.is_some() && self.in_flight().is_none();
        self.is_run() && (finished || self.run_json().is_some())
    }

    /// Returns the names of the files that the run has written by its records and claims; the files may be missing.
    pub fn names(&self) -> BTreeSet<String> {
        let recorded = self.records.values().flat_map(|record| &record.files).map(|output| output.file.clone());
        let mut names: BTreeSet<String> = recorded.chain(self.left_behind().into_iter().flatten()).collect();
        names.extend(self.records.get(&StageId::Scan).map(|_| self.dir.name_of(&self.dir.manifest())));
        names.extend(self.has_run_json().then(|| self.dir.name_of(&self.dir.run_json())));
        names.extend(STORE.map(|file| format!(".store/{file}")));
        names.extend(StageId::ALL.map(|stage| self.dir.name_of(&self.dir.record(stage))));
        names
    }

    /// Returns the names without a record that the stage at the end of the run may have written.
    fn left_behind(&self) -> Option<BTreeSet<String>> {
        let writes = &self.claims.as_ref()?.writes;
        let names = self.unrecorded(writes).into_iter().filter_map(|stage| writes.get(&stage)).flatten();
        Some(names.filter(|name| !self.is_recorded(name)).cloned().collect())
    }

    /// Returns the files that a killed stage has left and that no stage will use again. Feature tables are not among
    /// them, because they are recognised by their content.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let left = self.left_behind().into_iter().flatten().filter(|name| !name.starts_with("features/"));
        left.filter_map(|name| self.dir.own_file(&name)).collect()
    }

    /// Returns an error if one of the files that `stages` of `writes` would write, or `run.json`, belongs to somebody
    /// else. `is_table` recognises the run's feature tables, which need no record.
    pub fn check(
        &self,
        writes: &Writes,
        stages: &[StageId],
        is_table: &dyn Fn(&Path) -> bool,
    ) -> Result<(), StoreError> {
        // A version without claims wrote the same names as this one.
        let claimed = self.claims.as_ref().map_or(writes, |claims| &claims.writes);
        let unrecorded = if self.is_run() { self.unrecorded(claimed) } else { Vec::new() };
        let left = unrecorded.iter().filter_map(|stage| claimed.get(stage)).flatten();
        let left: BTreeSet<&str> = left.map(String::as_str).collect();
        let mut foreign = Vec::new();
        for stage in stages {
            // A damaged record named files of its stage.
            let unreadable = self.is_run() && self.dir.record(*stage).is_file() && !self.records.contains_key(stage);
            for name in writes.get(stage).into_iter().flatten() {
                let path = self.dir.root().join(name);
                let own = |name: &str| self.is_recorded(name) || left.contains(name) || unreadable || is_table(&path);
                foreign.extend(self.obstacle(name, &own));
            }
        }
        let run_json = self.dir.name_of(&self.dir.run_json());
        foreign.extend(self.obstacle(&run_json, &|_| self.has_run_json()));
        if !self.is_run() {
            let more = [self.dir.owner(), self.dir.listing(), self.dir.tables(), self.dir.workers()];
            let paths = StageId::ALL.map(|stage| self.dir.record(stage)).into_iter().chain(more);
            foreign.extend(paths.filter_map(|path| self.obstacle(&self.dir.name_of(&path), &|_| false)));
        }
        foreign.sort();
        foreign.dedup();
        if foreign.is_empty() { Ok(()) } else { Err(StoreError::Foreign(foreign)) }
    }

    /// Returns the path of an obstacle to writing the file `name`: a file that is not `own`, a link, or a folder.
    fn obstacle(&self, name: &str, own: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
        let path = self.dir.root().join(name);
        let folder = path.parent().filter(|folder| folder.exists() && !folder.is_dir());
        let other = || path.exists() && !(path.is_file() && own(name));
        self.dir.link_to(name).or(folder.map(Path::to_path_buf)).or_else(|| other().then(|| path.clone()))
    }

    /// Deletes the files that a killed stage has left and writes `owner.json`; a run calls this before its first file.
    pub fn claim(&self, claims: &Claims) -> Result<(), IoError> {
        for path in self.leftovers() {
            std::fs::remove_file(&path).map_err(IoError::write(&path))?;
        }
        if self.claims.as_ref() == Some(claims) {
            return Ok(());
        }
        atomic::write_json(&self.dir.owner(), claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::OutputFile;

    struct Folder {
        dir: RunDir,
        _temp: tempfile::TempDir,
    }

    impl Folder {
        fn with(files: &[&str]) -> Self {
            let temp = tempfile::tempdir().expect("folder");
            let folder = Self { dir: RunDir::new(temp.path().join("run")), _temp: temp };
            files.iter().for_each(|file| folder.write(file, b"x"));
            folder
        }

        fn write(&self, file: &str, bytes: &[u8]) {
            let path = self.dir.root().join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
            std::fs::write(path, bytes).expect("written");
        }

        fn record(&self, stage: StageId, files: &[&str]) {
            let files = files.iter().map(|file| OutputFile::of(&self.dir, &self.dir.root().join(file)).expect("there"));
            let (name, files) = (stage.name().to_string(), files.collect());
            let record = serde_json::json!({"stage": name, "fingerprint": "f", "settings": {"name": "one"},
                "files": Vec::<u8>::new(), "result": null, "seconds": 0.0});
            let record = Record { files, ..serde_json::from_value(record).expect("a record") };
            record.write(&self.dir, stage).expect("written");
        }

        fn claim(&self, writes: &Writes) {
            let claims = Claims { name: "one".into(), writes: writes.clone(), ..Claims::default() };
            Owner::of(&self.dir).claim(&claims).expect("written");
        }

        fn foreign(&self, writes: &Writes) -> Vec<String> {
            let stages: Vec<StageId> = writes.keys().copied().collect();
            match Owner::of(&self.dir).check(writes, &stages, &|_| false) {
                Ok(()) => Vec::new(),
                Err(StoreError::Foreign(paths)) => paths.iter().map(|path| self.dir.name_of(path)).collect(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn writes(all: &[(StageId, &[&str])]) -> Writes {
        all.iter().map(|(stage, names)| (*stage, names.iter().map(ToString::to_string).collect())).collect()
    }

    #[test]
    fn a_file_is_the_runs_when_a_record_names_it() {
        let all = writes(&[
            (StageId::Scan, &["manifest.parquet"]),
            (StageId::Reduce, &["reduced.parquet"]),
            (StageId::Report, &["report.html", "figures/loss.svg"]),
        ]);
        let folder = Folder::with(&["manifest.parquet", "reduced.parquet", "figures/mine.svg", "notes.txt"]);
        assert_eq!(folder.foreign(&all), ["manifest.parquet", "reduced.parquet"], "nothing says that they are ours");
        folder.record(StageId::Scan, &[]);
        folder.record(StageId::Reduce, &["reduced.parquet"]);
        assert!(folder.foreign(&all).is_empty());
        folder.write("run.json", b"{}");
        std::fs::create_dir_all(folder.dir.report()).expect("a folder");
        assert_eq!(folder.foreign(&all), ["report.html", "run.json"]);
        folder.write("run.json", b"{\"featurize\": \"0.3.0\", \"name\": \"one\"}");
        assert_eq!(folder.foreign(&all), ["report.html"]);
        let owner = Owner::of(&folder.dir);
        assert!(owner.check_name("one").is_ok());
        let text = owner.check_name("two").expect_err("another").to_string();
        assert!(text.contains("`one`") && text.contains("`two`") && text.contains("--out"), "{text}");
        let names = owner.names();
        assert!(names.contains("reduced.parquet") && names.contains("run.json") && !names.contains("figures/mine.svg"));
    }

    #[test]
    fn only_the_stage_at_work_has_files_that_no_record_names() {
        let all = writes(&[
            (StageId::Scan, &["manifest.parquet"]),
            (StageId::Reduce, &["reduced.parquet"]),
            (StageId::Report, &["report.html"]),
        ]);
        let folder = Folder::with(&[]);
        assert!(folder.foreign(&all).is_empty());
        folder.claim(&all);
        folder.write("manifest.parquet", b"x");
        assert!(folder.foreign(&all).is_empty(), "killed before the first record");
        folder.record(StageId::Scan, &[]);
        folder.write("reduced.parquet", b"x");
        folder.write("report.html", b"mine");
        assert_eq!(Owner::of(&folder.dir).in_flight(), Some(StageId::Reduce));
        assert_eq!(folder.foreign(&all), ["report.html"], "the report was not begun");
        assert_eq!(Owner::of(&folder.dir).leftovers(), [folder.dir.reduced()]);
        folder.claim(&writes(&[(StageId::Scan, &["manifest.parquet"])]));
        assert!(!folder.dir.reduced().exists() && folder.dir.report().exists() && folder.dir.manifest().exists());
    }

    #[test]
    fn a_listing_without_a_record_hides_no_file_of_the_extraction() {
        let all = writes(&[
            (StageId::Scan, &["manifest.parquet"]),
            (StageId::Extract, &["manifest.parquet", "features.npy"]),
        ]);
        let folder = Folder::with(&[]);
        folder.claim(&all);
        ["manifest.parquet", "features.npy"].iter().for_each(|name| folder.write(name, b"x"));
        assert_eq!(Owner::of(&folder.dir).in_flight(), Some(StageId::Extract));
        assert!(folder.foreign(&all).is_empty());
    }

    #[test]
    fn a_folder_of_somebody_else_stays_as_it_is() {
        let folder = Folder::with(&[".store/report.json", "features/part-00000.parquet"]);
        let all = writes(&[(StageId::Extract, &["features/part-00000.parquet"])]);
        assert_eq!(folder.foreign(&all), [".store/report.json", "features/part-00000.parquet"]);
        assert!(!Owner::of(&folder.dir).is_run());
    }
}
