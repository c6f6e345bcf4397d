//! The JSON Schema of the YAML, for editors: derived from the structs that are filled, their doc comments, ranges and
//! defaults.
//!
//! Types that may be written in more than one way have their schema here; [`forms`](super::forms) reads them.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::pipeline::{Channels, Label, LimitPerClass};
use super::train::{Candidate, Train};
use super::{VERSION, ranges, raw};
use crate::models::MODELS;

/// JSON Schema (draft 2020-12) of a pipeline's YAML; its keys are sorted, so that equal schemas are equal texts.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = Value::from(generator.into_root_schema_for::<raw::Pipeline>());
    let sections = objects(&schema);
    tidy(&mut schema, &sections);
    schema["title"] = json!("featurize pipeline");
    // room for what anchors stand on
    schema["patternProperties"] = json!({"^x-": true});
    sorted(schema)
}

/// `train`: keys and values, or a list of classifiers.
pub fn train(generator: &mut SchemaGenerator) -> Schema {
    let (keys, one) = (generator.subschema_for::<Train>(), generator.subschema_for::<Candidate>());
    json_schema!({"anyOf": [keys, {"type": "array", "items": one}]})
}

/// The definitions that are sections: keys and values.
fn objects(schema: &Value) -> Vec<String> {
    let definitions = schema["$defs"].as_object().into_iter().flatten();
    let is_section = |value: &Value| value["type"] == "object";
    definitions.filter(|(_, value)| is_section(value)).map(|(name, _)| format!("#/$defs/{name}")).collect()
}

/// Sentences without line ends; number formats and what serde alone needs are dropped; a section may be there with
/// nothing in it.
fn tidy(value: &mut Value, sections: &[String]) {
    match value {
        Value::Object(map) => {
            if map.get("format").is_some_and(Value::is_string) {
                map.remove("format");
            }
            map.remove("writeOnly");
            if map.get("default").is_some_and(Value::is_null) {
                map.remove("default");
            }
            if let Some(Value::String(text)) = map.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            if let Some(Value::Object(keys)) = map.get_mut("properties") {
                keys.iter_mut().filter(|(name, _)| *name != "input").for_each(|(_, key)| or_nothing(key, sections));
            }
            map.values_mut().for_each(|inner| tidy(inner, sections));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| tidy(inner, sections)),
        _ => {}
    }
}

fn or_nothing(key: &mut Value, sections: &[String]) {
    let Value::Object(map) = key else { return };
    let is_section = |target: &Value| target.as_str().is_some_and(|target| sections.iter().any(|one| one == target));
    if map.get("$ref").is_some_and(is_section)
        && let Some(target) = map.remove("$ref")
    {
        map.insert("anyOf".into(), json!([{"$ref": target}, {"type": "null"}]));
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, inner)| (key, sorted(inner))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// A text; `007` and `on` are texts where one is wanted.
#[derive(Debug)]
pub struct Text;

impl JsonSchema for Text {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "boolean"]})
    }
}

pub fn version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"const": VERSION})
}

pub fn model(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<&str> = MODELS.iter().map(|model| model.name).collect();
    json_schema!({"enum": names})
}

pub fn threads(_: &mut SchemaGenerator) -> Schema {
    let whole = json!({"type": "integer", "minimum": 1, "maximum": ranges::THREADS});
    json_schema!({"anyOf": [{"const": "auto"}, whole, {"type": "null"}]})
}

pub fn auto_or_size(_: &mut SchemaGenerator) -> Schema {
    let size = json!({"type": "string", "pattern": "^[0-9.]+ *([MmGgTt][Ii]?[Bb])?$"});
    json_schema!({"anyOf": [{"const": "auto"}, size, {"type": "integer", "minimum": 1, "maximum": 1_000_000_000}, {"type": "null"}]})
}

pub fn colour(_: &mut SchemaGenerator) -> Schema {
    let level = json!({"type": "integer", "minimum": 0, "maximum": 255});
    json_schema!({"anyOf": [
        {"enum": ["white", "black"]},
        {"type": "array", "items": level, "minItems": 3, "maxItems": 3}
    ]})
}

/// Implements the schema of a type whose form is its own.
macro_rules! forms {
    ($($type:ident: $schema:tt)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

forms! {
    Label: {"anyOf": [
        {"enum": ["folder", "parent", "none"]},
        {"type": "string", "pattern": "\\("},
        {"type": "object", "additionalProperties": false, "required": ["pattern"], "properties": {
            "pattern": {"type": "string", "minLength": 1}
        }}
    ]}
    LimitPerClass: {"anyOf": [
        {"type": "integer", "minimum": 1, "maximum": (ranges::MANY)},
        {"type": "object", "additionalProperties": false, "properties": {
            "train": {"type": "integer", "minimum": 1, "maximum": (ranges::MANY)},
            "test": {"type": "integer", "minimum": 0, "maximum": (ranges::MANY)}
        }}
    ]}
    Channels: {"enum": [1, 3]}
}

#[cfg(test)]
mod tests;
