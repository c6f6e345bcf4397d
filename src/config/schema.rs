//! The JSON Schema of the YAML, for editors, derived from the configuration structs: their doc comments, ranges and
//! defaults.
//!
//! A value that may be written in several forms has its schema here and its deserialiser in [`values`](super::values).

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::extract::{Calibration, Channels};
use super::input::{Label, LimitPerClass};
use super::train::{Candidate, Train};
use super::{VERSION, ranges, raw};
use crate::learn::inline_schema;
use crate::models::MODELS;
use reference::Entry;

mod reference;

/// JSON Schema (draft 2020-12) of a pipeline's YAML. The description of a key ends with its values and its default.
/// Keys are sorted, so that the text is reproducible.
pub fn schema() -> Value {
    let plain = plain();
    let mut schema = plain.clone();
    describe(&mut schema, &plain);
    for section in schema["$defs"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        describe(section, &plain);
    }
    sorted(schema)
}

/// Replaces the description of each key of `section`, a part of the schema `root`, by the full one.
fn describe(section: &mut Value, root: &Value) {
    let before = section.clone();
    for (name, key) in section.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        if let Some(entry) = Entry::of(root, &before, name) {
            key["description"] = json!(entry.paragraph());
        }
    }
}

/// The schema whose descriptions are only the doc comments.
fn plain() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = Value::from(generator.into_root_schema_for::<raw::Pipeline>());
    let sections = objects(&schema);
    tidy(&mut schema, &sections);
    schema["title"] = json!("featurize pipeline");
    // YAML anchors are defined under keys that begin with `x-`
    schema["patternProperties"] = json!({"^x-": true});
    schema
}

/// `train`: keys and values, `auto`, or a list of classifiers.
pub fn train(generator: &mut SchemaGenerator) -> Schema {
    let (keys, one) = (generator.subschema_for::<Train>(), generator.subschema_for::<Candidate>());
    json_schema!({"anyOf": [keys, {"const": "auto"}, {"type": "array", "items": one}]})
}

/// References to the definitions of sections, which have keys and values.
fn objects(schema: &Value) -> Vec<String> {
    let definitions = schema["$defs"].as_object().into_iter().flatten();
    let is_section = |value: &Value| value["type"] == "object";
    definitions.filter(|(_, value)| is_section(value)).map(|(name, _)| format!("#/$defs/{name}")).collect()
}

/// Removes line breaks from descriptions, and entries that only serde needs, such as number formats. Allows sections to
/// be null.
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

/// Allows a section to be null.
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

/// The schema of a text. The deserialiser also reads the number `007` and the boolean `on` as texts.
#[derive(Debug)]
pub struct Text;

inline_schema!(Text: json_schema!({"type": ["string", "number", "boolean"]}));

pub fn version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"const": VERSION})
}

pub fn model(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<&str> = MODELS.iter().map(|model| model.name).collect();
    json_schema!({"title": "the name of a network", "enum": names})
}

pub fn threads(_: &mut SchemaGenerator) -> Schema {
    let whole = json!({"type": "integer", "minimum": 1, "maximum": ranges::THREADS});
    json_schema!({"anyOf": [{"const": "auto"}, whole, {"type": "null"}]})
}

pub fn auto_or_size(_: &mut SchemaGenerator) -> Schema {
    let pattern = "^[0-9.]+ *([MmGgTt][Ii]?[Bb])?$";
    let size = json!({"title": "a size such as `2GiB`", "type": "string", "pattern": pattern});
    let megabytes = json!({"title": "a number of MB", "type": "integer", "minimum": 1, "maximum": 1_000_000_000});
    json_schema!({"anyOf": [{"const": "auto"}, size, megabytes, {"type": "null"}]})
}

pub fn colour(_: &mut SchemaGenerator) -> Schema {
    let level = json!({"type": "integer", "minimum": 0, "maximum": 255});
    json_schema!({"anyOf": [
        {"enum": ["white", "black"]},
        {"type": "array", "items": level, "minItems": 3, "maxItems": 3}
    ]})
}

inline_schema!(Label: json_schema!({"anyOf": [
    {"enum": ["folder", "parent", "none"]},
    {"title": "`{pattern: …}`", "type": "object", "additionalProperties": false, "required": ["pattern"],
        "properties": {"pattern": {"type": "string", "minLength": 1}}},
    {"title": "a regular expression with a group in parentheses", "type": "string", "pattern": "\\("}
]}));

inline_schema!(LimitPerClass: json_schema!({"anyOf": [
    {"type": "integer", "minimum": 1, "maximum": (ranges::MANY)},
    {"title": "`{train: …, test: …}`", "type": "object", "additionalProperties": false, "properties": {
        "train": {"type": "integer", "minimum": 1, "maximum": (ranges::MANY)},
        "test": {"type": "integer", "minimum": 0, "maximum": (ranges::MANY)}
    }}
]}));

inline_schema!(Channels: json_schema!({"enum": [1, 3]}));

inline_schema!(Calibration: json_schema!({"anyOf": [
    {"type": "integer", "minimum": 1, "maximum": (ranges::MANY)},
    {"title": "a file of ranges", "type": "string", "minLength": 1}
]}));

#[cfg(test)]
mod docs;
#[cfg(test)]
mod tests;
