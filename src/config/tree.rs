//! Reads YAML text as a tree with the place of each key and value. Only this file uses the YAML crate.
//!
//! The tree keeps a plain scalar as written, so that a class named `007` or `on` is not changed; the type that is
//! deserialised decides how to read it. Anchors, aliases and merge keys are resolved here.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, MessageFormatter, Spanned, UserMessageFormatter};

use super::ConfigError;
use super::source::{Place, Source, Span};

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

impl Node {
    /// Removes keys of the top level that begin with `x-`, under which YAML anchors are defined, as in other tools.
    pub fn drop_notes(&mut self) {
        if let Value::Map(entries) = &mut self.value {
            entries.retain(|(key, _)| !key.name.starts_with("x-"));
        }
    }
}

/// A key and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub name: String,
    pub place: Place,
}

/// A value of the YAML subset that a pipeline uses.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `~`, `null` or nothing.
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order of the file, without duplicate keys.
    Map(Vec<(Key, Node)>),
}

/// A scalar: a word, a number or a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// The text as written, without quotes.
    pub text: String,
    /// The type by the rules of YAML.
    pub kind: Kind,
}

/// The type of a scalar by the rules of YAML.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Bool(bool),
    Whole(u64),
    Negative(i64),
    Float(f64),
    /// Text, quoted or not.
    Text,
}

/// Reads the YAML file of `source`: keys and values at the top level.
pub fn read(source: &Source) -> Result<Node, ConfigError> {
    let node = parse(source.text(), None).map_err(|fault| fault.shown(source))?;
    let found = match &node.value {
        Value::Map(_) => return Ok(node),
        Value::Null => {
            let message = "the pipeline is empty; it begins with `version: 1` and needs `input`";
            return Err(ConfigError::at(source, node.place, message));
        }
        Value::List(_) => "a list",
        Value::Scalar(_) => "a single text",
    };
    let message = format!("expected keys and values (`version: 1`, `input: …`) at the top level, found {found}");
    Err(ConfigError::at(source, node.place, message))
}

/// Reads the value of the `--set` with index `n`.
pub fn read_set(source: &Source, n: usize, value: &str) -> Result<Node, ConfigError> {
    parse(value, Some(n)).map_err(|fault| fault.shown(source))
}

/// A mistake in the YAML and its place.
struct Fault {
    place: Place,
    message: String,
}

impl Fault {
    fn shown(self, source: &Source) -> ConfigError {
        ConfigError::at(source, self.place, self.message)
    }
}

/// The deepest nesting that is read. No pipeline needs more; the limit protects the stack.
const DEPTH: usize = 64;

fn parse(text: &str, set: Option<usize>) -> Result<Node, Fault> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: DEPTH },
        // `Reading::entries` finds duplicate keys and names both places
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    let reading = Reading { text, set };
    match serde_saphyr::from_str_with_options::<Spanned<Yaml>>(text, options) {
        Ok(yaml) => reading.node(yaml, false),
        Err(error) => Err(reading.fault(&error)),
    }
}

/// Converts the values of the YAML crate to the tree.
struct Reading<'a> {
    text: &'a str,
    set: Option<usize>,
}

impl Reading<'_> {
    /// `replayed`: the node comes from an alias or a merge, so that its place is where it is defined.
    fn node(&self, yaml: Spanned<Yaml>, replayed: bool) -> Result<Node, Fault> {
        let aliased = yaml.referenced != yaml.defined;
        let place = self.place(if replayed { &yaml.defined } else { &yaml.referenced });
        let value = match yaml.value {
            Yaml::Null => Value::Null,
            Yaml::Text(text) => Value::Scalar(Scalar { text, kind: Kind::Text }),
            Yaml::Plain(kind) => {
                let text = self.written(&yaml.defined).unwrap_or_else(|| match kind {
                    Kind::Bool(v) => v.to_string(),
                    Kind::Whole(v) => v.to_string(),
                    Kind::Negative(v) => v.to_string(),
                    Kind::Float(v) => v.to_string(),
                    Kind::Text => String::new(),
                });
                Value::Scalar(Scalar { text, kind })
            }
            Yaml::List(items) => {
                let items = items.into_iter().map(|item| {
                    let word = self.null_word(&item.defined);
                    let node = self.node(item, replayed || aliased)?;
                    Ok(match (&node.value, word) {
                        (Value::Null, Some(text)) => {
                            Node { value: Value::Scalar(Scalar { text, kind: Kind::Text }), ..node }
                        }
                        _ => node,
                    })
                });
                Value::List(items.collect::<Result<_, _>>()?)
            }
            Yaml::Map(entries) => Value::Map(self.entries(entries)?),
        };
        Ok(Node { place, value })
    }

    fn entries(&self, yaml: Vec<(Spanned<Option<String>>, Spanned<Yaml>)>) -> Result<Vec<(Key, Node)>, Fault> {
        let mut entries: Vec<(Key, Node)> = Vec::with_capacity(yaml.len());
        for (key, value) in yaml {
            let place = self.place(&key.defined);
            let missing = || Fault { place, message: "a key is missing before this `:`".to_owned() };
            let name = key.value.clone().or_else(|| self.null_word(&key.defined)).ok_or_else(missing)?;
            if let Some((first, _)) = entries.iter().find(|(first, _)| first.name == name) {
                let line = match first.place {
                    Place::File(span) => format!("; the first is on line {}", span.line),
                    Place::Set(_) => String::new(),
                };
                return Err(Fault { place, message: format!("`{name}` is written twice{line}") });
            }
            let replayed = key.referenced != key.defined;
            entries.push((Key { name, place }, self.node(value, replayed)?));
        }
        Ok(entries)
    }

    fn place(&self, location: &Location) -> Place {
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).max(1);
        match self.set {
            Some(n) => Place::Set(n),
            None => {
                let len = size(location.span().len());
                Place::File(Span { line: size(location.line()), column: size(location.column()), len })
            }
        }
    }

    /// The word at `location` that YAML reads as null (`null`, `~`). As a key and in a list, where null has no meaning,
    /// it is read as text, since a class may have this name.
    fn null_word(&self, location: &Location) -> Option<String> {
        self.written(location).filter(|text| ["null", "Null", "NULL", "~"].contains(&text.as_str()))
    }

    /// The source text at `location`.
    fn written(&self, location: &Location) -> Option<String> {
        let span = location.span();
        let start = usize::try_from(span.byte_offset()?).ok()?;
        let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
        self.text.get(start..end).map(|text| text.trim().to_owned())
    }

    /// The place and the message of an error of the YAML crate. Frequent mistakes get a clearer message.
    fn fault(&self, error: &serde_saphyr::Error) -> Fault {
        use serde_saphyr::Error;
        let error = error.without_snippet();
        let location = error.location().unwrap_or(Location::UNKNOWN);
        let place = self.place(&location);
        if let Some((place, message)) = self.tab(place) {
            return Fault { place, message };
        }
        let message = match error {
            Error::MultipleDocuments { .. } => {
                "a second YAML document begins here; a pipeline is one document: remove the `---`".to_owned()
            }
            Error::UnknownAnchor { .. } => {
                "no anchor of this name above; put quotes around a text that begins with `*`".to_owned()
            }
            Error::Unexpected { .. } => "a key has to be a single word".to_owned(),
            _ => {
                let said = UserMessageFormatter.format_message(error);
                format!("not valid YAML: {said}{}", hint(&said))
            }
        };
        Fault { place, message }
    }

    /// The place of a tab in the indentation of the line of `place`, with a message.
    fn tab(&self, place: Place) -> Option<(Place, String)> {
        let Place::File(span) = place else { return None };
        let line = self.text.lines().nth(span.line - 1)?;
        let column = 1 + line.chars().take_while(|c| c.is_whitespace()).position(|c| c == '\t')?;
        let message = "a tab in the indentation; YAML is indented by spaces".to_owned();
        Some((Place::File(Span { line: span.line, column, len: 1 }), message))
    }
}

/// A hint for some messages of the YAML crate; empty if the message is clear.
fn hint(said: &str) -> &'static str {
    if said.contains("mapping values are not allowed") {
        "; check the indentation, and put quotes around a text that holds `: `"
    } else if said.contains("simple key expected") {
        "; a key is followed by a colon and a space"
    } else if said.contains("unexpected character") || said.contains("alias") {
        "; put quotes around a text that begins with a sign"
    } else {
        ""
    }
}

/// Any value from the YAML crate.
enum Yaml {
    Null,
    Plain(Kind),
    Text(String),
    List(Vec<Spanned<Yaml>>),
    Map(Vec<(Spanned<Option<String>>, Spanned<Yaml>)>),
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_none<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Yaml, D::Error> {
        Yaml::deserialize(deserializer)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Yaml, E> {
        Ok(Yaml::Plain(Kind::Bool(v)))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Yaml, E> {
        Ok(Yaml::Plain(Kind::Whole(v)))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Yaml, E> {
        Ok(Yaml::Plain(u64::try_from(v).map_or(Kind::Negative(v), Kind::Whole)))
    }

    // larger than any integer in a pipeline
    fn visit_u128<E>(self, v: u128) -> Result<Yaml, E> {
        Ok(Yaml::Plain(Kind::Float(v as f64)))
    }

    fn visit_i128<E>(self, v: i128) -> Result<Yaml, E> {
        Ok(Yaml::Plain(Kind::Float(v as f64)))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Yaml, E> {
        Ok(Yaml::Plain(Kind::Float(v)))
    }

    fn visit_str<E>(self, v: &str) -> Result<Yaml, E> {
        Ok(Yaml::Text(v.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Yaml, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Yaml::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Yaml, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Yaml::Map(map))
    }
}
