//! Declares hyperparameters: one line of `hyperparameters!` gives a field's doc comment, type, default, range and
//! alias.
//!
//! From that line the macro makes the field that the YAML fills, its default, the check of its range, and its entry in
//! the JSON Schema.

mod forms;

use std::fmt::{self, Display};

use schemars::Schema;
use serde_json::{Map, Value, json};
use thiserror::Error;

pub use forms::{ClassWeight, InMemory, at_least_1, auto_or_whole};
pub(crate) use forms::{any_of, whole_or_list};

/// The upper limit of counts that have no other.
pub const MANY: usize = 1_000_000_000;

/// The numbers that a hyperparameter may take. Infinite numbers and NaN are in no range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Range {
    AtLeast(f64),
    Above(f64),
    Between(f64, f64),
    /// The second number is excluded.
    Below(f64, f64),
    Whole(usize, usize),
}

impl Range {
    /// 1 or more.
    pub(crate) const COUNT: Self = Self::Whole(1, MANY);
    /// A share, from 0 to less than 1.
    pub(crate) const SHARE: Self = Self::Below(0.0, 1.0);

    /// Returns an error about the hyperparameter `key` unless its value is in the range.
    pub(crate) fn check(self, key: &str, value: impl Number) -> Result<(), ParamError> {
        let number = value.number();
        let inside = match self {
            Self::AtLeast(least) => number >= least,
            Self::Above(least) => number > least,
            Self::Between(least, most) => (least..=most).contains(&number),
            Self::Below(least, most) => (least..most).contains(&number),
            Self::Whole(least, most) => (least as f64..=most as f64).contains(&number),
        };
        if inside && number.is_finite() { Ok(()) } else { Err(ParamError::range(key, self, value)) }
    }

    /// The keywords of JSON Schema for this range.
    fn keywords(self) -> Vec<(&'static str, f64)> {
        match self {
            Self::AtLeast(least) => vec![("minimum", least)],
            Self::Above(least) => vec![("exclusiveMinimum", least)],
            Self::Between(least, most) => vec![("minimum", least), ("maximum", most)],
            Self::Below(least, most) => vec![("minimum", least), ("exclusiveMaximum", most)],
            Self::Whole(least, most) => vec![("minimum", least as f64), ("maximum", most as f64)],
        }
    }

    /// The schema of a number of this range.
    pub(crate) fn schema(self) -> Value {
        let kind = if matches!(self, Self::Whole(..)) { "integer" } else { "number" };
        let mut schema = Map::from_iter([("type".to_string(), json!(kind))]);
        self.describe(&mut schema);
        Value::Object(schema)
    }

    fn describe(self, schema: &mut Map<String, Value>) {
        for (keyword, number) in self.keywords() {
            let number = if number.fract() == 0.0 { json!(number as u64) } else { json!(number) };
            schema.insert(keyword.to_string(), number);
        }
    }

    /// Adds the range to a property of the schema of a struct.
    pub(crate) fn describe_property(self, schema: &mut Schema, property: &str) {
        if let Some(Value::Object(property)) = schema.pointer_mut(&format!("/properties/{property}")) {
            self.describe(property);
        }
    }
}

impl Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "a number of at least {least}"),
            Self::Above(least) => write!(f, "a number greater than {least}"),
            Self::Between(least, most) => write!(f, "a number from {least} to {most}"),
            Self::Below(least, most) => write!(f, "a number of at least {least} and less than {most}"),
            Self::Whole(least, most) => write!(f, "a whole number from {least} to {most}"),
        }
    }
}

/// A number of a hyperparameter.
pub(crate) trait Number: Copy + Display {
    fn number(self) -> f64;
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for usize {
    fn number(self) -> f64 {
        self as f64
    }
}

/// The error of a hyperparameter that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParamError {
    #[error("`{key}`: expected {expected}, found `{found}`")]
    Range {
        /// The hyperparameter, or one entry of it: `hidden[1]`, `class_weight.Banana`.
        key: String,
        expected: String,
        found: String,
    },
    #[error("`{key}` {reason}")]
    Combination {
        key: &'static str,
        /// The rest of the sentence that begins with the key.
        reason: String,
        /// The hyperparameter to change.
        change: &'static str,
    },
}

impl ParamError {
    pub(crate) fn range(key: &str, expected: impl ToString, found: impl ToString) -> Self {
        Self::Range { key: key.to_string(), expected: expected.to_string(), found: found.to_string() }
    }
}

/// Adds the alias of a property, with the same schema, and names it in the description of the property.
pub(crate) fn describe_alias(schema: &mut Schema, property: &str, alias: &str) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties")
        && let Some(described) = properties.get_mut(property)
    {
        let mut same = described.clone();
        if let Some(Value::String(text)) = described.get_mut("description") {
            *text += &format!(" Also written `{alias}`.");
        }
        same["description"] = json!(format!("The same as `{property}`."));
        properties.insert(alias.to_string(), same);
    }
}

/// Declares a struct of hyperparameters. A field reads `pub alpha: f64 = 1e-4, in Range::AtLeast(0.0), also "l2";`,
/// where `in` is the range and `also` an alias in the YAML.
macro_rules! hyperparameters {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $(
                $(#[$field_meta:meta])*
                pub $field:ident: $type:ty = $default:expr $(, in $range:expr)? $(, also $alias:tt)?;
            )*
        }
    ) => {
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        $(#[$meta])*
        #[schemars(transform = $name::describe)]
        pub struct $name {
            $($(#[$field_meta])* $(#[serde(alias = $alias)])? pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            /// The fields that have an alias in the YAML, with the alias.
            pub const ALIASES: &'static [(&'static str, &'static str)] = &[$($((stringify!($field), $alias),)?)*];

            /// Returns an error about the first field that is not in its range.
            fn check_ranges(&self) -> Result<(), $crate::hyperparameters::ParamError> {
                $($($range.check(stringify!($field), self.$field)?;)?)*
                Ok(())
            }

            /// Completes the schema with the ranges and the aliases.
            fn describe(schema: &mut schemars::Schema) {
                $($($range.describe_property(schema, stringify!($field));)?)*
                for (field, alias) in Self::ALIASES {
                    $crate::hyperparameters::describe_alias(schema, field, alias);
                }
            }
        }
    };
}

pub(crate) use hyperparameters;
