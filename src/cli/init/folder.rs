//! Finds the splits and the classes in a folder of pictures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{splits, table, words};
use crate::cli::usage;
use crate::error::Error;
use crate::progress::plural;
use crate::stages::scan::{Kind, Role, met, role};

/// The pictures, splits and classes that were found below a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The folder to which paths are relative: the given folder or one inside it.
    pub root: PathBuf,
    pub pictures: usize,
    pub split: SplitRule,
    pub label: LabelRule,
    /// The number of pictures of each class.
    pub classes: BTreeMap<String, usize>,
    /// Whether the pipeline has to list the classes, because the folder has other subfolders, too.
    pub chosen: bool,
    /// The number of train pictures; approximate for a random split.
    pub train: usize,
    /// The number of pictures without a split or a class.
    pub aside: usize,
    /// Remarks for the user, written into the pipeline.
    pub remarks: Vec<String>,
}

/// How pictures are divided into train and test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitRule {
    /// A glob for each split.
    Globs { train: String, test: String },
    /// A table, with the names of its columns where they are not `path`, `label` and `split`. If it has no split, the
    /// test pictures are drawn at random.
    Table { csv: PathBuf, columns: Vec<(&'static str, String)>, split: bool },
    /// A random quarter of each class is test.
    Lot,
    /// Every picture is train.
    None,
}

/// How the class of a picture is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelRule {
    Folder,
    /// A regular expression.
    Pattern(&'static str),
    /// A column of the table.
    Column,
    None,
}

/// A path below the root, folder by folder.
pub type Parts<'a> = Vec<&'a str>;

impl Found {
    /// Lists all files below `dir` by the rules of a run and finds their layout.
    pub fn look(dir: &Path) -> Result<Self, Error> {
        let met = met(dir)?;
        let mut paths: Vec<Parts> = met.candidates.iter().map(|one| one.path.split('/').collect()).collect();
        let locked = met.aside.iter().filter(|one| one.kind == Kind::Unreadable);
        let mut remarks: Vec<String> =
            locked.map(|one| format!("not looked at: {}: {}", one.path, one.reason)).collect();
        if paths.is_empty() {
            let told = remarks.iter().map(|remark| format!("; {remark}")).collect::<String>();
            let text = format!("there is no picture below {}; give the folder that holds them{told}", dir.display());
            return usage(text);
        }
        let mut root = dir.to_path_buf();
        if let Some(found) = table::look(&root, &paths, &mut remarks) {
            return Ok(found.with(remarks));
        }
        // in `data/images/<classes>`, the only subfolder becomes the root
        while let Some(only) = only_folder(&paths) {
            root.push(only);
            paths.iter_mut().for_each(|path| {
                path.remove(0);
            });
        }
        let table = if root == dir { None } else { table::look(&root, &paths, &mut remarks) };
        let found = table.or_else(|| splits::look(&root, &paths)).unwrap_or_else(|| by_class(&root, &paths));
        Ok(found.with(remarks))
    }

    /// Puts `remarks` before the remarks so far, and adds remarks about the counts after them.
    fn with(mut self, remarks: Vec<String>) -> Self {
        self.remarks.splice(0..0, remarks);
        let why = match &self.split {
            SplitRule::Table { csv, .. } => format!(": not in {}", csv.display()),
            SplitRule::Globs { .. } => ": in neither split".to_string(),
            SplitRule::Lot | SplitRule::None => String::new(),
        };
        match self.aside {
            0 => {}
            1 => self.remarks.push(format!("1 picture takes no part{why}")),
            n => self.remarks.push(format!("{n} pictures take no part{why}")),
        }
        if let Some((class, n)) = self.classes.iter().min_by_key(|(_, n)| **n)
            && *n < 4
            && self.can_train()
        {
            self.remarks.push(format!("the smallest class, {class}, has {n} pictures"));
        }
        if !self.can_train() {
            self.remarks.push("no classifier: it needs two classes".to_string());
        }
        self
    }

    /// Whether a classifier can be trained: two classes or more.
    pub fn can_train(&self) -> bool {
        self.classes.len() > 1
    }

    /// One line about the number and the layout of the pictures.
    pub fn describe(&self) -> String {
        let classes = match self.classes.len() {
            0 => "no classes".to_string(),
            1 => "1 class".to_string(),
            n => format!("{n} classes"),
        };
        let named = match self.label {
            LabelRule::Pattern(_) => ", the class in each file's name",
            _ => "",
        };
        let way = match (&self.split, &self.label) {
            (SplitRule::Globs { train, test }, _) => {
                format!("split by folder into {train} ({}) and {test}{named}", self.train)
            }
            (SplitRule::Table { csv, split, .. }, _) => {
                format!("named by {}{}", csv.display(), if *split { ", with splits" } else { "" })
            }
            (_, LabelRule::Folder) => "a folder for each class, no split".to_string(),
            (_, LabelRule::Pattern(_)) => "the class in each file's name, no split".to_string(),
            _ => "no folder tells classes or splits".to_string(),
        };
        format!("{} pictures, {classes}; {way}", self.pictures)
    }
}

/// The layout of a folder with class folders, or of a folder without any.
fn by_class(root: &Path, paths: &[Parts]) -> Found {
    let inside: Vec<&Parts> = paths.iter().filter(|path| path.len() > 1).collect();
    // a few pictures beside the class folders are left out
    if inside.len() * 2 <= paths.len() {
        return flat(root, paths);
    }
    let mut classes = words::tally(inside.iter().map(|path| path[0]));
    let mut remarks = Vec::new();
    // a folder named like a split, with no folders in it, is not a class
    let is_flat = |folder: &str| inside.iter().all(|path| path[0] != folder || path.len() == 2);
    let of_split = |folder: &&String| role(folder).is_some_and(|(_, beside)| beside.is_empty());
    let split: Vec<String> = classes.keys().filter(of_split).cloned().collect();
    let unlabelled = |folder: &&String| is_flat(folder) && !matches!(role(folder), Some((Role::Train, _)));
    let has_train = split.iter().any(|folder| matches!(role(folder), Some((Role::Train, _))));
    let left: Vec<String> = match !has_train && classes.len() > split.len() + 1 {
        true => split.iter().filter(unlabelled).cloned().collect(),
        false => Vec::new(),
    };
    for folder in &left {
        let n = classes.remove(folder).unwrap_or_default();
        remarks.push(splits::without_classes(root, folder, n));
    }
    let taken: Vec<&str> = split.iter().filter(|folder| !left.contains(folder)).map(String::as_str).collect();
    if !taken.is_empty() {
        let text = "named like a split and taken for a class, since folders lie beside it that are none";
        remarks.push(format!("look at this: {}: {text}", taken.join(", ")));
    }
    let pictures: usize = classes.values().sum();
    if inside.iter().any(|path| path.len() > 2 && classes.contains_key(path[0])) {
        remarks.push(DEEPER.to_string());
    }
    Found {
        root: root.to_path_buf(),
        pictures,
        split: SplitRule::Lot,
        label: LabelRule::Folder,
        classes,
        chosen: !left.is_empty(),
        train: pictures - pictures / 4,
        aside: paths.len() - pictures,
        remarks,
    }
}

/// The remark about subfolders of the class folders.
pub const DEEPER: &str = "there are folders below the classes; `label: parent` takes the innermost one";

/// The layout of a folder without class folders; file names may contain the classes.
fn flat(root: &Path, paths: &[Parts]) -> Found {
    let names: Vec<&str> = paths.iter().filter_map(|path| path.last().copied()).collect();
    let (pictures, found) = (paths.len(), words::pattern(&names));
    let (split, label, classes) = match found {
        Some((pattern, classes)) => (SplitRule::Lot, LabelRule::Pattern(pattern), classes),
        None => (SplitRule::None, LabelRule::None, BTreeMap::new()),
    };
    let mut remarks: Vec<String> = from_names(&classes).into_iter().collect();
    let (matched, train) = (classes.values().sum(), pictures - pictures / 4);
    let pictures = if classes.is_empty() { pictures } else { matched };
    let aside = paths.len() - pictures;
    if aside > 0 {
        remarks.push(format!("{} without a class in the name", plural(aside, "picture")));
    }
    Found { root: root.to_path_buf(), pictures, split, label, classes, chosen: false, train, aside, remarks }
}

/// The remark about classes that were found in file names.
pub fn from_names(classes: &BTreeMap<String, usize>) -> Option<String> {
    let some: Vec<&str> = classes.keys().take(8).map(String::as_str).collect();
    let more = if classes.len() > some.len() { ", …" } else { "" };
    let text =
        format!("the names tell these classes: {}{more}; look whether they are the ones you mean", some.join(", "));
    (!classes.is_empty()).then_some(text)
}

/// The only folder that holds all pictures, if there is one.
pub fn only_folder(paths: &[Parts]) -> Option<String> {
    let first = paths.first().filter(|path| path.len() > 1)?[0];
    paths.iter().all(|path| path.len() > 1 && path[0] == first).then(|| first.to_string())
}
