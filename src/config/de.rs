//! Deserialises the configuration from the tree. Every error of serde gets its place and the full name of its key.
//!
//! A null value counts as absent: `layer: ~` is the same as no `layer`. The null section of a stage (`report:` with
//! nothing below it) is that section with its defaults.

use std::cell::Cell;
use std::fmt::{self, Display};

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::ConfigError;
use super::error::list;
use super::keys;
use super::source::{Place, Source, join};
use super::suggest;
use super::tree::{Key, Kind, Node, Scalar, Value};

/// Deserialises a `T` from the whole tree.
pub fn fill<T: DeserializeOwned>(tree: &Node, source: &Source) -> Result<T, ConfigError> {
    T::deserialize(At { node: tree, path: "", section: tree.place })
        .map_err(|fault| ConfigError::at(source, fault.place.unwrap_or(tree.place), fault.kind.message(&fault.path)))
}

/// An error of serde with its place, once that is known.
#[derive(Debug)]
pub struct Fault {
    kind: FaultKind,
    /// The dotted path of the section for an error about a key, else of the value.
    path: String,
    place: Option<Place>,
}

#[derive(Debug)]
enum FaultKind {
    UnknownKey { key: String, keys: &'static [&'static str] },
    MissingKey(&'static str),
    KeyTwice(&'static str),
    UnknownWord { word: String, words: &'static [&'static str] },
    Expected { expected: String, found: Option<String> },
    Other(String),
}

impl FaultKind {
    fn message(&self, path: &str) -> String {
        match self {
            Self::UnknownKey { key, keys } => keys::unknown(path, key, keys),
            Self::MissingKey(key) => keys::missing(path, key),
            Self::KeyTwice(key) => format!("`{}` is written twice, once under its other name", join(path, key)),
            Self::UnknownWord { word, words } => {
                let meant = suggest(word, words.iter().copied());
                let meant = match meant {
                    Some(meant) => format!("; did you mean `{meant}`?"),
                    // Keras and torch call the number `learning_rate`
                    None if path.ends_with(".learning_rate") && word.parse::<f64>().is_ok() => {
                        "; the number goes into `learning_rate_init`".to_owned()
                    }
                    None => String::new(),
                };
                format!("`{path}`: expected {}, found `{word}`{meant}", list(words, "or"))
            }
            Self::Expected { expected, found } => {
                format!("`{path}`: expected {expected}, found {}", found.as_deref().unwrap_or("something else"))
            }
            Self::Other(message) => format!("`{path}`: {message}"),
        }
    }
}

impl Fault {
    fn new(kind: FaultKind) -> Self {
        Self { kind, path: String::new(), place: None }
    }

    /// Adds the place, the path and the value, unless an inner node has added them.
    fn at(mut self, place: Place, path: &str, node: &Node) -> Self {
        if self.place.is_none() {
            self.place = Some(place);
            path.clone_into(&mut self.path);
            if let FaultKind::Expected { found, .. } = &mut self.kind {
                *found = Some(describe(node));
            }
        }
        self
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind.message(&self.path))
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(FaultKind::Other(message.to_string()))
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(FaultKind::Expected { expected: plain_words(expected.to_string()), found: None })
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::new(FaultKind::Expected { expected: plain_words(expected.to_string()), found: None })
    }

    fn unknown_variant(word: &str, words: &'static [&'static str]) -> Self {
        Self::new(FaultKind::UnknownWord { word: word.to_owned(), words })
    }

    fn unknown_field(key: &str, keys: &'static [&'static str]) -> Self {
        Self::new(FaultKind::UnknownKey { key: key.to_owned(), keys })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(FaultKind::MissingKey(key))
    }

    fn duplicate_field(key: &'static str) -> Self {
        Self::new(FaultKind::KeyTwice(key))
    }
}

/// Replaces the names of Rust types in serde's messages by terms that a user knows.
fn plain_words(expected: String) -> String {
    let words = match expected.as_str() {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a string" => "a text",
        "path string" => "a path",
        _ => {
            return match expected.strip_prefix("an array of length ") {
                Some(length) => format!("a list of {length}"),
                None => expected,
            };
        }
    };
    words.to_owned()
}

/// A short form of the user's value, for "found …".
fn describe(node: &Node) -> String {
    match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::List(items) if items.is_empty() => "an empty list".to_owned(),
        Value::List(items) => format!("a list of {}", items.len()),
        Value::Map(_) => "keys and values".to_owned(),
        Value::Scalar(Scalar { text, kind: Kind::Text }) if text.is_empty() => "an empty text".to_owned(),
        // quotes turn a number or a boolean into a text
        Value::Scalar(Scalar { text, kind: Kind::Text })
            if text.parse::<f64>().is_ok() || text.parse::<bool>().is_ok() =>
        {
            format!("the text \"{text}\"; write it without quotes")
        }
        Value::Scalar(Scalar { text, .. }) => match text.char_indices().nth(60) {
            Some((end, _)) => format!("`{}…`", &text[..end]),
            None => format!("`{text}`"),
        },
    }
}

/// A node as a deserialiser for serde.
struct At<'a> {
    node: &'a Node,
    /// The dotted path of the node.
    path: &'a str,
    /// The place of the node's key, to which an error about a missing key refers.
    section: Place,
}

impl At<'_> {
    fn here(&self, fault: Fault) -> Fault {
        fault.at(self.node.place, self.path, self.node)
    }

    fn expected<T>(&self, visitor: &dyn Expected) -> Result<T, Fault> {
        Err(self.here(de::Error::invalid_type(Unexpected::Unit, visitor)))
    }

    /// Passes the entries to `visitor`, key by key. `fields` are the keys of the struct to fill; empty for a map.
    fn map<'de, V: Visitor<'de>>(
        &self,
        entries: &[(Key, Node)],
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let left_out = |key: &Key, node: &Node| {
            matches!(node.value, Value::Null)
                && fields.contains(&key.name.as_str())
                && !keys::STAGES.contains(&join(self.path, &key.name).as_str())
        };
        let kept: Vec<&(Key, Node)> = entries.iter().filter(|(key, node)| !left_out(key, node)).collect();
        let last = Cell::new(self.section);
        let access = Entries { rest: kept.iter(), value: None, path: self.path, last: &last };
        visitor.visit_map(access).map_err(|fault| match fault.kind {
            FaultKind::MissingKey(_) => fault.at(self.section, self.path, self.node),
            FaultKind::KeyTwice(_) => fault.at(last.get(), self.path, self.node),
            _ => self.here(fault),
        })
    }
}

impl<'de> Deserializer<'de> for At<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let read = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::List(items) => visitor.visit_seq(Items { rest: items.iter(), path: self.path, done: 0 }),
            Value::Map(entries) => return self.map(entries, &[], visitor),
            Value::Scalar(Scalar { text, kind }) => match *kind {
                Kind::Bool(v) => visitor.visit_bool(v),
                Kind::Whole(v) => visitor.visit_u64(v),
                Kind::Negative(v) => visitor.visit_i64(v),
                Kind::Float(v) => visitor.visit_f64(v),
                Kind::Text => visitor.visit_str(text),
            },
        };
        read.map_err(|fault| self.here(fault))
    }

    /// Passes the text as written, so that `007`, `on` and `1.50` are not changed where a text is expected.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Scalar(scalar) => visitor.visit_str(&scalar.text).map_err(|fault| self.here(fault)),
            _ => self.expected(&visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Map(entries) => self.map(entries, fields, visitor),
            Value::Null => self.map(&[], fields, visitor),
            value => {
                let colon = matches!(value, Value::Scalar(scalar) if scalar.text.contains(':'));
                let hint = if colon { ", a space after each colon" } else { "" };
                self.expected(&format!("keys and values ({}){hint}", list(fields, "or")).as_str())
            }
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Scalar(scalar) => {
                visitor.visit_enum(scalar.text.as_str().into_deserializer()).map_err(|fault| self.here(fault))
            }
            _ => self.expected(&list(words, "or").as_str()),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    // the visitor of the target type returns an error for a number out of range
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct map
    }
}

/// The items of a list, one by one.
struct Items<'a> {
    rest: std::slice::Iter<'a, Node>,
    path: &'a str,
    done: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.rest.next() else {
            return Ok(None);
        };
        let path = format!("{}[{}]", self.path, self.done);
        self.done += 1;
        // an error that no visitor returned, such as one of a `FromStr`, has no place yet
        let item = seed.deserialize(At { node, path: &path, section: node.place });
        item.map(Some).map_err(|fault| fault.at(node.place, &path, node))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The keys of a section, one by one.
struct Entries<'a> {
    rest: std::slice::Iter<'a, &'a (Key, Node)>,
    value: Option<&'a (Key, Node)>,
    path: &'a str,
    last: &'a Cell<Place>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some(entry) = self.rest.next() else {
            return Ok(None);
        };
        let (key, node) = entry;
        self.value = Some(entry);
        self.last.set(key.place);
        let name = key.name.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|fault: Fault| fault.at(key.place, self.path, node))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some((key, node)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let path = join(self.path, &key.name);
        let value = seed.deserialize(At { node, path: &path, section: key.place });
        value.map_err(|fault| fault.at(node.place, &path, node))
    }
}
