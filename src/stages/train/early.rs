//! Errors of the training that are known once the pictures are listed, and so are reported before hours of extraction.

use std::collections::BTreeSet;

use super::{TrainError, calibrate, fit, known, numbers};
use crate::config;
use crate::io::features::Key;
use crate::progress::Ui;
use crate::stages::scan::{Listing, Split};
use crate::terminal::printable;

/// Returns an error where the listed pictures are too few for the classifiers, even if all can be read.
pub fn check(settings: &config::Train, listing: &Listing, ui: &Ui) -> Result<(), TrainError> {
    // a listing that is too large for the memory has enough rows, and `train` checks the rest
    if listing.stored.is_some() {
        return Ok(());
    }
    let keys: Vec<Key> = of(listing, Split::Train);
    let known = known(&keys, &listing.classes)?;
    check_test(listing, &known, ui)?;
    let y = numbers(&keys, &known);
    let rows: Vec<usize> = (0..y.len()).collect();
    settings.passing(|_, one| fit::check_rows(one, &y, &rows, &known))?;
    calibrate::folds(settings, &keys, &y, &known).map(drop)
}

/// Returns an error if no test picture is of a class in the train split, since nothing could be measured; warns if some
/// are not.
fn check_test(listing: &Listing, known: &[String], ui: &Ui) -> Result<(), TrainError> {
    let absent: Vec<&str> = listing.classes.iter().filter(|class| !known.contains(class)).map(String::as_str).collect();
    if absent.is_empty() {
        return Ok(());
    }
    let absent = printable(&absent.join(", ")).into_owned();
    let tested: Vec<Key> = of(listing, Split::Test);
    let tested: BTreeSet<&str> = tested.iter().filter_map(|key| key.label.as_deref()).collect();
    if !tested.is_empty() && !known.iter().any(|class| tested.contains(class.as_str())) {
        return Err(TrainError::Classes(format!(
            "no class of the test split has a train picture: those of train are {}, those of test {absent}; name their \
             folders alike, or look at `input.split`",
            printable(&known.join(", "))
        )));
    }
    ui.warn(&format!("the train split has no picture of {absent}; they cannot be predicted"));
    Ok(())
}

fn of(listing: &Listing, split: Split) -> Vec<Key> {
    let pictures = listing.pictures.iter().filter(|picture| picture.split == split);
    let key = |label: &Option<std::sync::Arc<str>>| label.as_deref().map(str::to_string);
    pictures.map(|one| Key { path: one.path.clone(), label: key(&one.label), split: None }).collect()
}
