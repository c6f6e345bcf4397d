//! What a folder of pictures holds: where the splits and the classes are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::config::Columns;
use crate::error::Error;
use crate::stages::scan::{Split, TableError, from_csv, named};

/// What the folders of the two splits are called, in the order of preference.
const TRAIN: [&str; 3] = ["train", "training", "train_set"];
const TEST: [&str; 7] = ["test", "testing", "test_set", "val", "valid", "validation", "eval"];

/// What was found below a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The folder that paths count from: the given one, or the only one in it.
    pub root: PathBuf,
    pub pictures: usize,
    pub shape: Shape,
    /// Pictures by class.
    pub classes: BTreeMap<String, usize>,
    /// Of these so many are train; with a lot, about so many.
    pub train: usize,
    /// Pictures that no split or class takes.
    pub aside: usize,
    /// Folders below the classes.
    pub deeper: bool,
    /// Tables that could name the pictures but for what is wrong in them.
    pub refused: Vec<String>,
}

/// How splits and classes are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A folder for each split, by two globs; the classes lie below, or the splits below the classes.
    Splits { train: String, test: String, others: Vec<String> },
    /// A folder for each class.
    Classes,
    /// A table with the column `path`, and perhaps `label` and `split`.
    Table { csv: PathBuf, label: bool, split: bool },
    /// Neither.
    Flat,
}

impl Found {
    /// Walks `dir` to its bottom by the rules of a run.
    pub fn look(dir: &Path) -> Result<Self, Error> {
        let mut root = dir.to_path_buf();
        let prefix = dir.to_string_lossy().trim_end_matches('/').to_string() + "/";
        let pictures = named(dir)?;
        let below = pictures.iter().map(|one| one.path.strip_prefix(&prefix).unwrap_or(&one.path));
        let mut paths: Vec<Vec<&str>> = below.map(|path| path.split('/').collect()).collect();
        if paths.is_empty() {
            let text = format!("there is no picture below {}; give the folder that holds them", dir.display());
            return Err(Error::Usage(text));
        }
        let mut refused = Vec::new();
        if let Some(found) = Self::by_table(&root, &paths, &mut refused) {
            return Ok(Self { refused, ..found });
        }
        let given = root.clone();
        // data/images/<classes>: one folder more than it needs
        while let Some(only) = only_folder(&paths) {
            root.push(only);
            paths.iter_mut().for_each(|path| {
                path.remove(0);
            });
        }
        let table = if root == given { None } else { Self::by_table(&root, &paths, &mut refused) };
        let found = table.or_else(|| Self::by_split(&root, &paths));
        Ok(Self { refused, ..found.unwrap_or_else(|| Self::by_class(&root, &paths)) })
    }

    /// The first table of the folder, by name, that a run could take its pictures from, read by the run's own rules. A table with the column
    /// `path` that breaks them is told of.
    fn by_table(root: &Path, paths: &[Vec<&str>], refused: &mut Vec<String>) -> Option<Self> {
        let there: BTreeSet<String> = paths.iter().map(|path| path.join("/")).collect();
        let mut tables: Vec<PathBuf> = std::fs::read_dir(root).ok()?.flatten().map(|entry| entry.path()).collect();
        tables.retain(|path| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")));
        tables.sort();
        tables.into_iter().find_map(|csv| {
            let named = match from_csv(root, &csv, &Columns::default()) {
                Ok(named) => named.candidates,
                Err(TableError::NoColumn { .. }) => return None,
                Err(TableError::Wrong(reason)) => {
                    refused.push(format!("not used: {reason}"));
                    return None;
                }
            };
            let rows: Vec<_> = named.into_iter().filter(|row| there.contains(&row.path)).collect();
            let mut classes = BTreeMap::new();
            rows.iter()
                .flat_map(|row| &row.label)
                .for_each(|class| *classes.entry(class.to_string()).or_insert(0) += 1);
            let split = rows.iter().any(|row| row.split.is_some());
            let train = match split {
                true => rows.iter().filter(|row| row.split == Some(Split::Train)).count(),
                false => rows.len() - rows.len() / 4,
            };
            let shape = Shape::Table { csv, label: !classes.is_empty(), split };
            let (root, pictures, aside) = (root.to_path_buf(), rows.len(), paths.len() - rows.len());
            let found = Self { root, pictures, shape, classes, train, aside, deeper: false, refused: Vec::new() };
            (pictures > 0).then_some(found)
        })
    }

    /// Splits at the top (`train/cat/1.jpg`) or below the classes (`cat/train/1.jpg`).
    fn by_split(root: &Path, paths: &[Vec<&str>]) -> Option<Self> {
        [0, 1].into_iter().find_map(|level| {
            let folders: BTreeSet<&str> = paths.iter().filter(|p| p.len() > level + 1).map(|p| p[level]).collect();
            let called = |words: &[&str]| {
                words.iter().find_map(|word| folders.iter().copied().find(|folder| folder.eq_ignore_ascii_case(word)))
            };
            let (train, test) = (called(&TRAIN)?, called(&TEST)?);
            let of = |path: &&Vec<&str>, split: &str| path.len() > level + 1 && path[level] == split;
            let split: Vec<&Vec<&str>> = paths.iter().filter(|p| of(p, train) || of(p, test)).collect();
            let mut classes = BTreeMap::new();
            for path in &split {
                // the class lies below the split, or above it
                let class = if level == 1 { Some(path[0]) } else { path.get(1).filter(|_| path.len() > 2).copied() };
                class.into_iter().for_each(|class| *classes.entry(class.to_string()).or_insert(0) += 1);
            }
            let of_train = split.iter().filter(|path| path[level] == train).count();
            let others = folders.iter().filter(|folder| level == 0 && **folder != train && **folder != test);
            let others = others.map(ToString::to_string).collect();
            let glob = |split: &str| if level == 0 { format!("{split}/**") } else { format!("*/{split}/**") };
            Some(Self {
                root: root.to_path_buf(),
                pictures: split.len(),
                shape: Shape::Splits { train: glob(train), test: glob(test), others },
                classes,
                train: of_train,
                aside: paths.len() - split.len(),
                deeper: split.iter().any(|path| path.len() > 3),
                refused: Vec::new(),
            })
        })
    }

    fn by_class(root: &Path, paths: &[Vec<&str>]) -> Self {
        let inside: Vec<&Vec<&str>> = paths.iter().filter(|path| path.len() > 1).collect();
        // a few strays beside the folders do not make a folder flat
        let shape = if inside.len() * 2 > paths.len() { Shape::Classes } else { Shape::Flat };
        let mut classes = BTreeMap::new();
        if shape == Shape::Classes {
            inside.iter().for_each(|path| *classes.entry(path[0].to_string()).or_insert(0) += 1);
        }
        let deeper = shape == Shape::Classes && inside.iter().any(|path| path.len() > 2);
        let aside = if shape == Shape::Classes { paths.len() - inside.len() } else { 0 };
        let (root, pictures) = (root.to_path_buf(), paths.len());
        Self { root, pictures, shape, classes, train: pictures - pictures / 4, aside, deeper, refused: Vec::new() }
    }

    /// Whether a classifier can be trained: two classes or more.
    pub fn can_train(&self) -> bool {
        self.classes.len() > 1
    }

    /// One line: how many pictures, and how they lie.
    pub fn describe(&self) -> String {
        let classes = match self.classes.len() {
            0 => "no classes".to_string(),
            1 => "1 class".to_string(),
            n => format!("{n} classes"),
        };
        let way = match &self.shape {
            Shape::Splits { train, test, .. } => format!("split by folder into {train} ({}) and {test}", self.train),
            Shape::Classes => "a folder for each class, no split".to_string(),
            Shape::Table { csv, split, .. } => {
                let split = if *split { ", with splits" } else { "" };
                format!("named by {}{split}", csv.display())
            }
            Shape::Flat => "no folder tells classes or splits".to_string(),
        };
        format!("{} pictures, {classes}; {way}", self.pictures)
    }

    /// What a reader of the pipeline should know.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = self.refused.clone();
        if let Shape::Splits { others, .. } = &self.shape
            && !others.is_empty()
        {
            remarks.push(format!("left out: {}, of neither split", others.join(", ")));
        }
        if self.aside > 0 {
            remarks.push(format!("{} pictures take no part", self.aside));
        }
        if self.deeper {
            remarks.push("there are folders below the classes; `label: parent` takes the innermost one".to_string());
        }
        if let Some((class, n)) = self.classes.iter().min_by_key(|(_, n)| **n)
            && *n < 4
            && self.can_train()
        {
            remarks.push(format!("the smallest class, {class}, has {n} pictures"));
        }
        if !self.can_train() {
            remarks.push("no classifier: it needs two classes".to_string());
        }
        remarks
    }
}

/// The folder that all pictures lie in, if there is one and it holds folders or a flat heap.
fn only_folder(paths: &[Vec<&str>]) -> Option<String> {
    let first = paths.first().filter(|path| path.len() > 1)?[0];
    paths.iter().all(|path| path.len() > 1 && path[0] == first).then(|| first.to_string())
}
