//! Values of the YAML that may be written in more than one way: a number or a word, one number or a list, a word or
//! keys.
//!
//! [`read_forms`](crate::read_forms) makes a visitor: serde's untagged enums would lose the position and the text of an
//! error.

use std::collections::BTreeMap;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{ParamError, Range};

/// Returns the schema of a value that matches one of `choices`.
pub(crate) fn any_of(choices: &[Value]) -> schemars::Schema {
    schemars::json_schema!({"anyOf": choices})
}

/// Implements the schema of a type that may be written in more than one way; it is inlined where the type is used.
#[macro_export]
macro_rules! inline_schema {
    ($type:ident: $schema:expr) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $schema
            }
        }
    };
}

/// Reads a value that may be written in more than one way. Each arm has a method of serde's `Visitor`, its argument,
/// the variant of serde's `Unexpected` for the argument, and the value, none where it is not `expected`. Further
/// methods follow a semicolon.
#[macro_export]
macro_rules! read_forms {
    ($deserializer:expr, $expected:expr => $type:ty {
        $($visit:ident($v:ident: $from:ty, $unexpected:ident) => $value:expr),* $(; $($other:tt)*)?
    }) => {{
        struct Forms;

        impl<'de> serde::de::Visitor<'de> for Forms {
            type Value = $type;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&$expected)
            }

            $(fn $visit<E: serde::de::Error>(self, $v: $from) -> Result<$type, E> {
                $value.ok_or_else(|| E::invalid_value(serde::de::Unexpected::$unexpected($v), &self))
            })*

            $($($other)*)?
        }

        $deserializer.deserialize_any(Forms)
    }};
}

/// Weights of the classes.
#[derive(Clone, Debug, PartialEq)]
pub enum ClassWeight {
    /// rows / (classes × rows of the class)
    Balanced,
    /// The weights of the named classes, each greater than 0; other classes have the weight 1.
    Classes(BTreeMap<String, f64>),
}

inline_schema!(ClassWeight: any_of(&[
    json!({"const": "balanced"}),
    json!({"type": "object", "minProperties": 1, "additionalProperties": Range::Above(0.0).schema()}),
    json!({"type": "null"}),
]));

impl ClassWeight {
    /// Returns the weight of each of `classes`; balanced weights count the classes `y` of the rows `rows`.
    pub fn of(&self, classes: &[String], y: &[usize], rows: &[usize]) -> Vec<f64> {
        match self {
            Self::Balanced => balanced(y, rows, classes.len()),
            Self::Classes(own) => classes.iter().map(|class| own.get(class).copied().unwrap_or(1.0)).collect(),
        }
    }

    /// Returns an error where a weight is not greater than 0. The names of the classes are checked when the pictures
    /// are listed.
    pub(crate) fn check(&self) -> Result<(), ParamError> {
        let Self::Classes(weights) = self else { return Ok(()) };
        if weights.is_empty() {
            return Err(ParamError::range("class_weight", "`balanced`, or weights of classes", "none"));
        }
        let mut weights = weights.iter();
        weights.try_for_each(|(class, &weight)| Range::Above(0.0).check(&format!("class_weight.{class}"), weight))
    }
}

/// scikit-learn's `class_weight="balanced"`: rows / (classes × rows of the class), over the rows `rows`; 1 for a class
/// without rows.
fn balanced(y: &[usize], rows: &[usize], classes: usize) -> Vec<f64> {
    let mut counts = vec![0_usize; classes];
    for class in rows.iter().filter_map(|&row| y.get(row)) {
        counts.get_mut(*class).into_iter().for_each(|count| *count += 1);
    }
    let present = counts.iter().filter(|&&count| count > 0).count();
    let weight = |count: usize| if count == 0 { 1.0 } else { rows.len() as f64 / (present * count) as f64 };
    counts.into_iter().map(weight).collect()
}

impl Serialize for ClassWeight {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Balanced => serializer.serialize_str("balanced"),
            Self::Classes(weights) => weights.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ClassWeight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_forms!(deserializer, "`balanced`, or weights of classes, `{Banana: 2.0}`" => ClassWeight {
            visit_str(v: &str, Str) => (v == "balanced").then_some(ClassWeight::Balanced);
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ClassWeight, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(ClassWeight::Classes)
            }
        })
    }
}

/// Where a table is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InMemory {
    /// In memory, if it is small enough.
    Auto,
    /// In memory, or on disk.
    Always(bool),
}

inline_schema!(InMemory: any_of(&[json!({"const": "auto"}), json!({"type": "boolean"})]));

impl InMemory {
    /// The size in bytes from which `auto` leaves a table on disk.
    const LIMIT: usize = 2 << 30;

    /// Whether a table of `bytes` bytes is kept in memory.
    pub fn of(self, bytes: usize) -> bool {
        match self {
            Self::Auto => bytes < Self::LIMIT,
            Self::Always(held) => held,
        }
    }
}

impl Serialize for InMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Always(held) => serializer.serialize_bool(*held),
        }
    }
}

impl<'de> Deserialize<'de> for InMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_forms!(deserializer, "`auto`, `true` or `false`" => InMemory {
            visit_bool(v: bool, Bool) => Some(InMemory::Always(v)),
            visit_str(v: &str, Str) => (v == "auto").then_some(InMemory::Auto)
        })
    }
}

/// Reads `auto` (`None`) or a whole number of at least 1.
pub fn auto_or_whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    read_forms!(deserializer, "a whole number of at least 1, or `auto`" => Option<usize> {
        visit_u64(v: u64, Unsigned) => at_least_1(v).map(Some),
        visit_str(v: &str, Str) => (v == "auto").then_some(None)
    })
}

/// Reads a list of whole numbers, or one.
pub(crate) fn whole_or_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<usize>, D::Error> {
    read_forms!(deserializer, "a list of whole numbers of at least 1" => Vec<usize> {
        visit_u64(v: u64, Unsigned) => at_least_1(v).map(|v| vec![v]);
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<usize>, A::Error> {
            std::iter::from_fn(|| items.next_element().transpose()).collect()
        }
    })
}

/// Returns `v`; none where it is 0 or does not fit into a `usize`.
pub fn at_least_1(v: u64) -> Option<usize> {
    usize::try_from(v).ok().filter(|&v| v > 0)
}
