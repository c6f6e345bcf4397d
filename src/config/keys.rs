//! The sections and their keys, obtained from the structs through serde, for suggestions in error messages.

use std::fmt;

use serde::de::value::Error;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

use super::columns::PictureColumns;
use super::error::list;
use super::extract::Extract;
use super::image::Image;
use super::output::Output;
use super::pipeline::{Reduce, Report, Select};
use super::raw;
use super::runtime::Runtime;
use super::suggest;
use super::train::{Auto, Train};
use crate::image::RecipeOverrides;
use crate::learn::knn::KnnParams;
use crate::learn::logistic::LogisticParams;
use crate::learn::mlp::MlpParams;
use crate::learn::pca::{PcaParams, SvdParams};

/// The sections that switch a stage on if they are written, even if they are empty.
pub const STAGES: [&str; 10] = [
    "select",
    "reduce",
    "reduce.pca",
    "reduce.svd",
    "train",
    "train.auto",
    "train.mlp",
    "train.logistic",
    "train.knn",
    "report",
];

/// The dotted path of each section with its keys, in the order of the reference. The top level has an empty path.
pub fn sections() -> Vec<(&'static str, &'static [&'static str])> {
    vec![
        ("", keys::<raw::Pipeline>()),
        ("input", keys::<raw::Input>()),
        ("input.parquet", keys::<PictureColumns>()),
        ("input.split", keys::<raw::Split>()),
        ("image", keys::<Image>()),
        ("extract", keys::<Extract>()),
        ("extract.recipe", keys::<RecipeOverrides>()),
        ("select", keys::<Select>()),
        ("reduce", keys::<Reduce>()),
        ("reduce.pca", keys::<PcaParams>()),
        ("reduce.svd", keys::<SvdParams>()),
        ("train", keys::<Train>()),
        ("train.auto", keys::<Auto>()),
        ("train.mlp", keys::<MlpParams>()),
        ("train.logistic", keys::<LogisticParams>()),
        ("train.knn", keys::<KnnParams>()),
        ("report", keys::<Report>()),
        ("output", keys::<Output>()),
        ("runtime", keys::<Runtime>()),
    ]
}

/// The message "unknown key …", with the most similar key, the section that has this key, or the known keys.
pub fn unknown(section: &str, key: &str, known: &[&str]) -> String {
    let place = if section.is_empty() { "at the top level".to_owned() } else { format!("in `{section}`") };
    let mut message = format!("unknown key `{key}` {place}");
    let meant = suggest(key, known.iter().copied());
    let homes: Vec<&str> = sections()
        .into_iter()
        .filter(|(path, keys)| *path != section && !path.is_empty() && keys.contains(&key))
        .map(|(path, _)| path)
        .collect();
    if let Some(meant) = &meant {
        message.push_str(&format!("; did you mean `{meant}`?"));
    }
    if !homes.is_empty() {
        message.push_str(&format!("; `{key}` belongs under {}", list(&homes, "or")));
    } else if sections()[0].1.contains(&key) {
        message.push_str(&format!("; `{key}` belongs at the top level"));
    } else if meant.is_none() {
        match elsewhere(key) {
            Some((path, meant)) => message.push_str(&format!("; did you mean `{meant}` under `{path}`?")),
            None => message.push_str(&format!("; the keys there are {}", list(known, "and"))),
        }
    }
    message
}

/// The most similar key in any section, for a key that is misspelt and in the wrong section.
fn elsewhere(key: &str) -> Option<(&'static str, String)> {
    if key.chars().count() < 4 {
        return None;
    }
    let mut below_top = sections().into_iter().filter(|(path, _)| !path.is_empty());
    below_top.find_map(|(path, keys)| Some((path, suggest(key, keys.iter().copied())?)))
}

/// The message "missing key …", with advice.
pub fn missing(section: &str, key: &str) -> String {
    let write = match (section, key) {
        ("", "version") => "; begin the pipeline with `version: 1`",
        ("", "input") => "; write `input: {root: FOLDER}` with the folder of the pictures",
        ("input", "root") => "; write `root: FOLDER` with the folder of the pictures",
        _ => "",
    };
    if section.is_empty() {
        format!("missing key `{key}`{write}")
    } else {
        format!("missing key `{key}` in `{section}`{write}")
    }
}

/// The keys of the struct `T`, obtained through serde; empty if `T` is not a struct.
fn keys<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut keys: &'static [&'static str] = &[];
    // deserialisation always ends in an error, since `Asking` has no values
    let _ = T::deserialize(Asking(&mut keys));
    keys
}

/// A deserialiser without values that records the keys of a struct.
struct Asking<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Asking<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        Err(Error::custom(name))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        struct Expecting<V>(V);
        impl<'de, V: Visitor<'de>> fmt::Display for Expecting<V> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.expecting(f)
            }
        }
        Err(Error::custom(Expecting(visitor)))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
