//! Describes the schema as text: the values of a key, their meanings and its default. The descriptions for editors and
//! the reference in docs/pipelines.md are made from this text, so that a range or a default is written only once, in a
//! struct.

use serde_json::Value;

/// The text about a key of a section.
pub struct Entry {
    /// The doc comment of the key's field.
    pub text: String,
    /// The values that it takes: `a whole number from 1 to 64 or "auto"`.
    pub values: String,
    /// Its words with their meanings, unless `text` explains them itself.
    pub meanings: Vec<(String, String)>,
    /// The default, or the word `required`; none where a key that is left out has no effect.
    pub default: Option<String>,
}

impl Entry {
    /// The key `name` of `section`, which is a part of the schema `root`; none for another spelling of a key.
    pub fn of(root: &Value, section: &Value, name: &str) -> Option<Self> {
        let key = &section["properties"][name];
        let (text, default) = without_default(key["description"].as_str()?);
        if text.starts_with("The same as `") {
            return None;
        }
        let required = section["required"].as_array().is_some_and(|names| names.iter().any(|one| one == name));
        let default = match &key["default"] {
            _ if required => Some("required".to_string()),
            Value::Null | Value::Object(_) => default,
            value => Some(code(value)),
        };
        let meanings = meanings(root, key);
        let told = |(word, _): &(String, String)| text.contains(&format!("`{word}`"));
        let meanings = if meanings.iter().all(told) { Vec::new() } else { meanings };
        Some(Self { values: or(&alternatives(root, key)), text, meanings, default })
    }

    /// Returns the whole description as one paragraph, for editors.
    pub fn paragraph(&self) -> String {
        let Self { text, values, meanings, default } = self;
        let mut all = text.clone();
        for (word, meaning) in meanings {
            all += &format!(" `{word}`: {}", sentence(meaning));
        }
        all += &format!(" Value: {values}.");
        match default.as_deref() {
            None => all,
            Some("required") => all + " Required.",
            Some(default) => all + &format!(" Default: {default}."),
        }
    }
}

/// `text` with a full stop at the end.
pub fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', ':', '!', '?']) { text.to_string() } else { format!("{text}.") }
}

/// A description without its sentence `Default: ….`, and the text of that sentence.
fn without_default(text: &str) -> (String, Option<String>) {
    let Some((before, rest)) = text.split_once(" Default: ") else { return (text.to_string(), None) };
    match rest.split_once(". ") {
        Some((default, after)) => (format!("{before} {after}"), Some(default.to_string())),
        None => (before.to_string(), Some(rest.trim_end_matches('.').to_string())),
    }
}

/// The schema that `schema` refers to, or itself.
pub fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema["$ref"].as_str().and_then(|target| root.pointer(target.trim_start_matches('#')));
    target.unwrap_or(schema)
}

/// The constants of `schema` that have a description.
fn meanings(root: &Value, schema: &Value) -> Vec<(String, String)> {
    let schema = resolved(root, schema);
    let described = |one: &Value| Some((one["const"].as_str()?.to_string(), one["description"].as_str()?.to_string()));
    let words = schema["oneOf"].as_array().into_iter().flatten().filter_map(described);
    let inner = schema["anyOf"].as_array().into_iter().flatten().flat_map(|one| meanings(root, one));
    words.chain(inner).collect()
}

/// The forms of a value of `schema`.
fn alternatives(root: &Value, schema: &Value) -> Vec<String> {
    let schema = resolved(root, schema);
    if let Some(title) = schema["title"].as_str() {
        return vec![title.to_string()];
    }
    if let Some(value) = schema.get("const") {
        return vec![code(value)];
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(code).collect();
    }
    if let Some(several) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        return several.iter().flat_map(|one| alternatives(root, one)).collect();
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => kind.as_str().into_iter().collect::<Vec<_>>(),
    };
    match kinds.first() {
        Some(&"boolean") => vec!["`true`".to_string(), "`false`".to_string()],
        Some(&"integer") => vec![format!("a whole number{}", range(schema))],
        Some(&"number") => vec![format!("a number{}", range(schema))],
        Some(&"string") => vec!["a text".to_string()],
        Some(&"array") => vec![list(root, schema)],
        Some(&"object") => vec![object(root, schema)],
        // an empty choice
        _ => Vec::new(),
    }
}

fn list(root: &Value, schema: &Value) -> String {
    let items = or(&alternatives(root, &schema["items"]));
    let many = items.strip_prefix("a ").map_or(items.clone(), |one| {
        ["number", "text"].iter().fold(one.to_string(), |text, noun| text.replacen(noun, &format!("{noun}s"), 1))
    });
    match (schema["minItems"].as_u64(), schema["maxItems"].as_u64()) {
        (Some(least), Some(most)) if least == most => format!("a list of {most} {many}"),
        (_, Some(most)) => format!("a list of at most {most} {many}"),
        _ => format!("a list of {many}"),
    }
}

fn object(root: &Value, schema: &Value) -> String {
    match &schema["additionalProperties"] {
        value @ Value::Object(_) => format!("names, each with {}", or(&alternatives(root, value))),
        _ => "keys and values".to_string(),
    }
}

/// ` from 1 to 64`, ` greater than 0`; empty without limits.
fn range(schema: &Value) -> String {
    let limit = |name: &str| schema.get(name).filter(|limit| limit.is_number()).map(number);
    let low = limit("minimum").map(|least| (least, true)).or(limit("exclusiveMinimum").map(|least| (least, false)));
    let high = limit("maximum").map(|most| (most, true)).or(limit("exclusiveMaximum").map(|most| (most, false)));
    match (low, high) {
        (Some((low, true)), Some((high, true))) => format!(" from {low} to {high}"),
        (low, high) => {
            let low = low.map(|(low, included)| format!(" {} {low}", if included { "of at least" } else { "above" }));
            let high =
                high.map(|(high, included)| format!(" {} {high}", if included { "of at most" } else { "below" }));
            low.into_iter().chain(high).collect::<Vec<_>>().join(" and")
        }
    }
}

/// The number with thousands separators, `1,000,000`; a fraction is not changed.
fn number(value: &Value) -> String {
    let text = value.to_string();
    if !value.is_u64() {
        return text;
    }
    let groups = text.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

/// A value in the form in which it is written in the YAML.
fn code(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        Value::Number(number) if number.as_f64().is_some_and(|n| n != 0.0 && n.abs() < 1e-4) => {
            format!("`{}`", number.as_f64().unwrap_or_default())
        }
        value => format!("`{}`", value.to_string().replace(',', ", ")),
    }
}

/// `a, b or c`.
fn or(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
