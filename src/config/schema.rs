//! The JSON Schema of the YAML, for editors: derived from the structs that are filled, their doc comments, ranges and defaults.
//!
//! What is written in more than one way has its schema here, beside nothing else; its reading stands in [`forms`](super::forms).

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::pipeline::{Channels, Components, Label, LimitPerClass};
use super::train::{BatchSize, Candidate, ClassWeight, InMemory, Train};
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

/// Sentences without line ends; number formats and what serde alone needs are dropped; a section may be there with nothing in it.
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

pub fn hidden(_: &mut SchemaGenerator) -> Schema {
    let whole = json!({"type": "integer", "minimum": 1, "maximum": ranges::UNITS});
    json_schema!({"anyOf": [whole, {"type": "array", "items": whole, "maxItems": ranges::LAYERS}]})
}

/// scikit-learn's own names are read, too.
pub fn aliases_of_mlp(schema: &mut Schema) {
    aliases(schema, &[("hidden_layer_sizes", "hidden"), ("random_state", "seed"), ("nesterovs_momentum", "nesterov")]);
}

/// scikit-learn's other name of logistic regression's key.
pub fn aliases_of_logistic(schema: &mut Schema) {
    aliases(schema, &[("C", "c")]);
}

/// scikit-learn's other name of the neighbours' key.
pub fn aliases_of_knn(schema: &mut Schema) {
    aliases(schema, &[("n_neighbors", "k")]);
}

fn aliases(schema: &mut Schema, names: &[(&str, &str)]) {
    let Some(Value::Object(keys)) = schema.get_mut("properties") else { return };
    for (alias, name) in names {
        if let Some(mut key) = keys.get(*name).cloned() {
            key["description"] = json!(format!("The same as `{name}`."));
            keys.insert((*alias).into(), key);
        }
    }
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
    BatchSize: {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": (ranges::MANY)}]}
    InMemory: {"anyOf": [{"const": "auto"}, {"type": "boolean"}]}
    Components: {"anyOf": [
        {"type": "integer", "minimum": 1, "maximum": (ranges::COMPONENTS)},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        {"const": "mle"}
    ]}
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
    ClassWeight: {"anyOf": [
        {"const": "balanced"},
        {"type": "object", "minProperties": 1, "additionalProperties": {"type": "number", "exclusiveMinimum": 0}},
        {"type": "null"}
    ]}
    Channels: {"enum": [1, 3]}
}

#[cfg(test)]
mod tests;
