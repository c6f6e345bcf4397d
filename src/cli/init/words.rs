//! Usual names of columns, and usual forms of file names.

use std::collections::BTreeMap;

use regex::Regex;

use crate::stages::scan::is_one;

/// Names of columns with paths, in the order of preference. Only letters and digits are compared.
const PATHS: &str = "\
    path filepath imagepath imgpath filename file fname imagename imgname imagefile image images img imageid \
    imgid picture photo name id idcode uid";
/// Names of columns with the classes.
const LABELS: &str = "\
    label labels class classname classlabel labelname category categoryname species breed target diagnosis dx \
    variety genus family type tag classid labelid y";
/// Names of columns with the split.
const SPLITS: &str = "split set subset partition fold phase";

/// The columns that may have paths, classes and splits, the most likely first.
pub fn columns(header: &[String]) -> [Vec<&str>; 3] {
    let plain =
        |name: &str| name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let named = |words: &str| -> Vec<&str> {
        let of = |word: &str| header.iter().find(|name| plain(name) == word);
        words.split(' ').filter_map(of).map(String::as_str).collect()
    };
    [named(PATHS), named(LABELS), named(SPLITS)]
}

/// Patterns of file names with a class and a number: `cat.0.jpg`, `Maine_Coon_101.jpg`, `cat_2020_01.jpg`.
const PATTERNS: [&str; 2] = [r"([^/]+?)[._ -]+\(?\d+\)?\.\w+$", r"([^/]*?[^/\d._ -])[._ -]+\d[^/]*$"];
/// Words that cameras and programs put before a number and that are not classes.
const CAMERAS: &str = "\
    img image images imag dsc dscn dscf dscx pxl mvimg pict pic picture photo p gopr wp vid frame scan \
    screenshot file untitled unnamed download";

/// The pattern that finds a class in nearly all names, with the number of pictures of each class; none if no pattern
/// finds two classes.
pub fn pattern(names: &[&str]) -> Option<(&'static str, BTreeMap<String, usize>)> {
    PATTERNS.into_iter().find_map(|pattern| {
        let classes = classes(pattern, names);
        let found: usize = classes.values().sum();
        let letters =
            |class: &str| class.chars().filter(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect::<String>();
        let names_of_things = classes.keys().all(|class| {
            let letters = letters(class);
            !letters.is_empty() && !is_one(CAMERAS, &letters)
        });
        let plausible = classes.len() > 1 && classes.len() * 2 <= names.len() && found * 20 >= names.len() * 19;
        (plausible && names_of_things).then_some((pattern, classes))
    })
}

/// Counts how often each class occurs.
pub fn tally<T: Into<String>>(classes: impl Iterator<Item = T>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    classes.for_each(|class| *counts.entry(class.into()).or_insert(0) += 1);
    counts
}

/// The classes that `pattern` finds in names.
pub fn classes(pattern: &str, names: &[&str]) -> BTreeMap<String, usize> {
    let Ok(regex) = Regex::new(pattern) else { return BTreeMap::new() };
    let class = |name: &&str| Some(regex.captures(name)?.get(1)?.as_str().to_string());
    tally(names.iter().filter_map(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_found_in_names_and_cameras_are_none() {
        let found = |names: &[&str]| pattern(names).map(|(_, classes)| classes.into_keys().collect::<Vec<_>>());
        assert_eq!(
            found(&["cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "dog.1.jpg"]),
            Some(vec!["cat".into(), "dog".into()])
        );
        let pets = ["Maine_Coon_1.jpg", "Maine_Coon_102.jpg", "american_bulldog_1.jpg", "american_bulldog_2.jpg"];
        assert_eq!(found(&pets), Some(vec!["Maine_Coon".into(), "american_bulldog".into()]));
        let dated = ["cat_2020_01.jpg", "cat_2021_02.jpg", "dog_2020_01.jpg", "dog_2021_07.jpg"];
        assert_eq!(found(&dated), Some(vec!["cat".into(), "dog".into()]));
        for none in [
            &["IMG_1.jpg", "IMG_2.jpg", "DSC_1.jpg", "DSC_2.jpg"][..],
            &["1.jpg", "2.jpg", "3.jpg", "4.jpg"],
            &["cat.0.jpg", "cat.1.jpg"],
            &["25_1_2_2017.jpg", "30_0_1_2017.jpg", "25_1_3_2016.jpg", "30_0_1_2018.jpg"],
            &["Banana0.jpg", "Lemon0.jpg", "Banana1.jpg", "Lemon1.jpg"],
            &["a.jpg", "b.jpg", "cat.0.jpg", "dog.0.jpg"],
        ] {
            assert_eq!(found(none), None, "{none:?}");
        }
    }

    #[test]
    fn columns_are_known_by_their_usual_names() {
        let header: Vec<String> = ["lesion_id", "Image ID", "dx", "age", "Set"].map(String::from).into();
        assert_eq!(columns(&header), [vec!["Image ID"], vec!["dx"], vec!["Set"]]);
        let header: Vec<String> = ["id", "file_name", "label"].map(String::from).into();
        assert_eq!(columns(&header), [vec!["file_name", "id"], vec!["label"], vec![]]);
    }
}
