//! Finds a table that names the pictures of a folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::folder::{Found, LabelRule, Parts, SplitRule};
use super::words;
use crate::config::Columns;
use crate::progress::plural;
use crate::stages::scan::{Kind, Split, TableError, from_csv, header};

/// The first table in the folder, by name, that a run could use. It is read by the rules of a run; a table of pictures
/// that violates them gets a remark.
pub fn look(root: &Path, paths: &[Parts], remarks: &mut Vec<String>) -> Option<Found> {
    let there: BTreeSet<String> = paths.iter().map(|path| path.join("/")).collect();
    let mut tables: Vec<PathBuf> = std::fs::read_dir(root).ok()?.flatten().map(|entry| entry.path()).collect();
    let ending = |path: &Path| path.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase);
    tables.retain(|path| matches!(ending(path).as_deref(), Some("csv" | "tsv")));
    tables.sort();
    tables.iter().find_map(|csv| of_table(root, csv, &there, remarks))
}

fn of_table(root: &Path, csv: &Path, there: &BTreeSet<String>, remarks: &mut Vec<String>) -> Option<Found> {
    let header = match header(csv) {
        Ok(header) => header,
        Err(reason) => {
            remarks.push(format!("not used: {reason}"));
            return None;
        }
    };
    let [paths, labels, splits] = words::columns(&header);
    let mut refused = None;
    let found = paths.iter().find_map(|path| {
        let label = labels.iter().copied().find(|label| label != path).or_else(|| the_other(&header, path, &splits));
        // a column counts as the split only if all its values name splits
        let split = splits.iter().copied().map(Some).chain([None]);
        split.into_iter().find_map(|split| {
            let columns =
                Columns { path: named(path, "path"), label: named_or(label, "label"), split: named_or(split, "split") };
            match of_columns(root, csv, &columns, there) {
                Ok(found) => found,
                Err(TableError::NoColumn { .. }) => None,
                Err(TableError::Wrong(reason)) => {
                    refused.get_or_insert(reason);
                    None
                }
            }
        })
    });
    if found.is_none() {
        remarks.extend(refused.map(|reason| format!("not used: {reason}")));
    }
    found
}

/// The name of a column, if it is not the default name.
fn named(column: &str, usual: &str) -> Option<String> {
    (!column.eq_ignore_ascii_case(usual)).then(|| column.to_string())
}

fn named_or(column: Option<&str>, usual: &str) -> Option<String> {
    column.and_then(|column| named(column, usual))
}

/// The only other column besides those of the paths and the splits.
fn the_other<'a>(header: &'a [String], path: &str, splits: &[&str]) -> Option<&'a str> {
    let mut others =
        header.iter().map(String::as_str).filter(|name| *name != path && !name.is_empty() && !splits.contains(name));
    others.next().filter(|_| others.next().is_none())
}

/// The result for the table; none if it is not about the pictures of the folder.
fn of_columns(
    root: &Path,
    csv: &Path,
    columns: &Columns,
    there: &BTreeSet<String>,
) -> Result<Option<Found>, TableError> {
    let named = from_csv(root, csv, columns)?;
    let lines = named.candidates.len() + named.aside.len();
    let unused = named.aside.iter().filter(|aside| aside.kind == Kind::Split).count();
    let rows: Vec<_> = named.candidates.into_iter().filter(|row| there.contains(&row.path)).collect();
    if rows.is_empty() || columns.path.is_some() && rows.len() * 2 < lines {
        return Ok(None);
    }
    let mut classes = words::tally(rows.iter().flat_map(|row| row.label.as_deref()));
    let mut remarks = Vec::new();
    if unused > 0 {
        remarks.push(format!(
            "validation: {} of {}, not used, neither for training nor as the test",
            plural(unused, "picture"),
            csv.display()
        ));
    }
    let mut columns = columns.clone();
    if classes.len() * 2 > rows.len() && columns.label.is_some() {
        // a column with nearly as many values as pictures has captions or numbers, not classes
        remarks.push(format!("the column `{}` tells no classes", columns.label.take().unwrap_or_default()));
        classes.clear();
    }
    let split = rows.iter().any(|row| row.split.is_some());
    let train = match split {
        true => rows.iter().filter(|row| row.split == Some(Split::Train)).count(),
        false => rows.len() - rows.len() / 4,
    };
    let named = [("path", &columns.path), ("label", &columns.label), ("split", &columns.split)];
    let named: Vec<(&str, String)> =
        named.into_iter().filter_map(|(key, column)| Some((key, column.clone()?))).collect();
    if !named.is_empty() {
        let told: Vec<String> = named.iter().map(|(key, column)| format!("{key} in `{column}`")).collect();
        remarks.push(format!("the columns of {}: {}", csv.display(), told.join(", ")));
    }
    if classes.is_empty() {
        remarks.push(format!("no column of {} tells classes; name one, `label: COLUMN`, beside `csv`", csv.display()));
    }
    Ok(Some(Found {
        root: root.to_path_buf(),
        pictures: rows.len(),
        split: SplitRule::Table { csv: csv.to_path_buf(), columns: named, split },
        label: if classes.is_empty() { LabelRule::None } else { LabelRule::Column },
        classes,
        chosen: false,
        train,
        aside: there.len() - rows.len(),
        remarks,
    }))
}
