//! Finds folders that are splits: at the top (`train/cat/1.jpg`), inside a folder of the same name
//! (`seg_train/seg_train/cat/1.jpg`), or below the classes (`cat/train/1.jpg`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::folder::{DEEPER, Found, LabelRule, Parts, SplitRule, from_names, only_folder};
use super::words;
use crate::stages::scan::{Role, role};

/// The layout, if names of folders are those of splits.
pub fn look(root: &Path, paths: &[Parts]) -> Option<Found> {
    let level = |level: usize| -> BTreeSet<&str> {
        paths.iter().filter(|path| path.len() > level + 1).map(|path| path[level]).collect()
    };
    at_top(root, paths, &level(0)).or_else(|| below_classes(root, paths, &level(1)))
}

/// The remark about a folder whose pictures have no class.
pub fn without_classes(root: &Path, folder: &str, pictures: usize) -> String {
    format!(
        "{folder}: {pictures} pictures without a class (no folders in it), so they measure nothing; `featurize predict \
         RUN {}` classifies them",
        root.join(folder).display()
    )
}

/// The folders of a data set that are splits.
struct Named<'a> {
    train: &'a str,
    /// The folders in the order of preference.
    tests: Vec<(Role, &'a str)>,
}

/// The folders of one set of splits: `train` and `test`, or `seg_train` and `seg_test`.
fn named<'a>(folders: &BTreeSet<&'a str>) -> Option<Named<'a>> {
    let mut sets: BTreeMap<String, Vec<(Role, &str)>> = BTreeMap::new();
    for folder in folders {
        if let Some((role, beside)) = role(folder) {
            sets.entry(beside).or_default().push((role, folder));
        }
    }
    let mut sets: Vec<Vec<(Role, &str)>> = sets.into_values().collect();
    sets.retain(|set| set.iter().filter(|(role, _)| *role == Role::Train).count() == 1);
    // a class may be called `train station`, so the set with the most splits is used
    sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
    let set = sets.into_iter().next()?;
    let train = set.iter().find(|(role, _)| *role == Role::Train)?.1;
    let mut tests: Vec<(Role, &str)> = set.into_iter().filter(|(role, _)| *role != Role::Train).collect();
    tests.sort_by_key(|(role, _)| std::cmp::Reverse(*role));
    Some(Named { train, tests })
}

/// A folder of pictures; its path includes inner folders that hold all of its pictures.
struct Split<'a> {
    /// `train`, or `seg_train/seg_train`.
    folder: String,
    paths: Vec<Parts<'a>>,
}

impl<'a> Split<'a> {
    fn of(folder: &str, paths: &[Parts<'a>]) -> Self {
        let below = paths.iter().filter(|path| path.len() > 1 && path[0] == folder);
        let mut split = Self { folder: folder.to_string(), paths: below.map(|path| path[1..].to_vec()).collect() };
        while let Some(only) = only_folder(&split.paths) {
            let deeper = split.paths.iter().all(|path| path.len() > 2);
            if !deeper && role(&only).is_none() {
                break;
            }
            split.folder = format!("{}/{only}", split.folder);
            split.paths.iter_mut().for_each(|path| {
                path.remove(0);
            });
        }
        split
    }

    fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether most of the pictures are in class folders.
    fn has_classes(&self) -> bool {
        self.paths.iter().filter(|path| path.len() > 1).count() * 2 > self.len()
    }

    /// The number of pictures of each class.
    fn classes(&self, label: &LabelRule) -> BTreeMap<String, usize> {
        match label {
            LabelRule::Pattern(pattern) => words::classes(pattern, &self.names()),
            LabelRule::Folder => words::tally(self.paths.iter().filter(|path| path.len() > 1).map(|path| path[0])),
            LabelRule::Column | LabelRule::None => BTreeMap::new(),
        }
    }

    fn names(&self) -> Vec<&'a str> {
        self.paths.iter().filter_map(|path| path.last().copied()).collect()
    }

    fn glob(&self) -> String {
        format!("{}/**", self.folder)
    }
}

fn at_top(root: &Path, paths: &[Parts], folders: &BTreeSet<&str>) -> Option<Found> {
    let Named { train, tests } = named(folders)?;
    let train = Split::of(train, paths);
    let tests: Vec<(Role, Split)> = tests.into_iter().map(|(role, folder)| (role, Split::of(folder, paths))).collect();
    let of_split = |folder: &&&str| {
        let folder = format!("{folder}/");
        std::iter::once(&train)
            .chain(tests.iter().map(|(_, split)| split))
            .any(|s| (s.folder.clone() + "/").starts_with(&folder))
    };
    let others: Vec<&str> = folders.iter().filter(|folder| !of_split(folder)).copied().collect();
    let pattern = if train.has_classes() { None } else { words::pattern(&train.names()) };
    let suits = |split: &Split| match pattern {
        None => split.has_classes() == train.has_classes(),
        Some((pattern, _)) => {
            words::classes(pattern, &split.names()).values().sum::<usize>() * 2 > split.len() && !split.has_classes()
        }
    };
    let unlabelled = !train.has_classes() && pattern.is_none();
    let alike = others.iter().any(|other| Split::of(other, paths).has_classes() == train.has_classes());
    if unlabelled && (alike || tests.is_empty()) || tests.is_empty() && alike {
        // it has the same layout as the folders beside it, so it is a class of that name
        return None;
    }
    let test = tests.iter().position(|(_, split)| suits(split));
    let label = match pattern {
        Some((pattern, _)) => LabelRule::Pattern(pattern),
        None if unlabelled => LabelRule::None,
        None => LabelRule::Folder,
    };
    let mut remarks = Vec::new();
    for (role, split) in tests.iter().enumerate().filter(|(i, _)| Some(*i) != test).map(|(_, one)| one) {
        remarks.push(match role {
            _ if !suits(split) => without_classes(root, &split.folder, split.len()),
            Role::Validation => validation(&train, split),
            _ => format!("left out: {} ({} pictures), since another folder is the test", split.folder, split.len()),
        });
    }
    if !others.is_empty() {
        remarks.push(format!("left out: {}, of neither split", others.join(", ")));
    }
    Some(found(root, paths.len(), &train, test.map(|test| &tests[test]), label, remarks))
}

/// The result for the splits `train` and `test`, if there is a test split.
fn found(
    root: &Path,
    all: usize,
    train: &Split,
    test: Option<&(Role, Split)>,
    label: LabelRule,
    mut remarks: Vec<String>,
) -> Found {
    let taken: Vec<&Split> = std::iter::once(train).chain(test.map(|(_, split)| split)).collect();
    let mut classes = BTreeMap::new();
    for (class, n) in taken.iter().flat_map(|split| split.classes(&label)) {
        *classes.entry(class).or_insert(0) += n;
    }
    if let Some((Role::Validation, split)) = test {
        remarks.push(format!("{} is the test, since no other folder is", split.folder));
    }
    if label == LabelRule::Folder && taken.iter().any(|split| split.paths.iter().any(|path| path.len() > 2)) {
        remarks.push(DEEPER.to_string());
    }
    if let LabelRule::Pattern(_) = label {
        remarks.extend(from_names(&classes));
    }
    let pictures: usize = taken.iter().map(|split| split.len()).sum();
    let (root, split, of_train) = match test {
        Some((_, test)) => {
            (root.to_path_buf(), SplitRule::Globs { train: train.glob(), test: test.glob() }, train.len())
        }
        None => (root.join(&train.folder), SplitRule::Lot, pictures - pictures / 4),
    };
    Found { root, pictures, split, label, classes, chosen: false, train: of_train, aside: all - pictures, remarks }
}

/// The remark about validation pictures beside a test split.
fn validation(train: &Split, split: &Split) -> String {
    let text = format!(
        "validation: {} ({} pictures) is not used, neither for training nor as the test",
        split.folder,
        split.len()
    );
    match [train, split].iter().any(|split| split.folder.contains('/')) {
        true => text,
        false => format!("{text}; `train: \"{{{},{}}}/**\"` trains on it, too", train.folder, split.folder),
    }
}

/// The layout in which each class has its own splits: the first folder is the class.
fn below_classes(root: &Path, paths: &[Parts], folders: &BTreeSet<&str>) -> Option<Found> {
    let Named { train, tests } = named(folders)?;
    let (_, test) = *tests.first()?;
    let of = |path: &Parts, split: &str| path.len() > 2 && path[1] == split;
    let taken: Vec<&Parts> = paths.iter().filter(|path| of(path, train) || of(path, test)).collect();
    if taken.len() * 2 < paths.len() {
        return None;
    }
    let classes = words::tally(taken.iter().map(|path| path[0]));
    let mut remarks = Vec::new();
    for (role, folder) in tests.iter().skip(1) {
        let n = paths.iter().filter(|path| of(path, folder)).count();
        remarks.push(match role {
            Role::Validation => format!(
                "validation: {folder} ({n} pictures) is not used, neither for training nor as the test; `train: \
                 \"*/{{{train},{folder}}}/**\"` trains on it, too"
            ),
            _ => format!("left out: {folder} ({n} pictures), since {test} is the test"),
        });
    }
    Some(Found {
        root: root.to_path_buf(),
        pictures: taken.len(),
        split: SplitRule::Globs { train: format!("*/{train}/**"), test: format!("*/{test}/**") },
        label: LabelRule::Folder,
        classes,
        chosen: false,
        train: taken.iter().filter(|path| path[1] == train).count(),
        aside: paths.len() - taken.len(),
        remarks,
    })
}
