//! docs/pipelines.md has a reference of all keys, generated from the schema.

use serde_json::Value;

use super::super::keys;
use super::super::source::join;
use super::plain;
use super::reference::{Entry, resolved, sentence};

#[test]
fn the_reference_of_the_yaml_is_that_of_the_structs() {
    let root = plain();
    let sections = keys::sections();
    let text: Vec<String> = sections.iter().map(|(path, names)| section(&root, path, names)).collect();
    crate::docs::keep("pipelines.md", &[text.join("\n\n")]);
}

/// The schema of `key`; if the key may be null, the schema of its section.
pub(super) fn inner<'a>(root: &'a Value, key: &'a Value) -> &'a Value {
    let any = key["anyOf"].as_array().and_then(|any| any.iter().find(|one| one["$ref"].is_string()));
    resolved(root, any.unwrap_or(key))
}

/// The schema of the section at a dotted path.
pub(super) fn at<'a>(root: &'a Value, path: &str) -> &'a Value {
    let keys = path.split('.').filter(|key| !key.is_empty());
    keys.fold(root, |section, key| inner(root, &section["properties"][key]))
}

/// The heading of a section, its description, and an item for each of its keys.
fn section(root: &Value, path: &str, names: &[&str]) -> String {
    let section = at(root, path);
    let about = section["description"].as_str().unwrap_or_default();
    let about = sentence(about.strip_prefix(&format!("`{path}`: ")).unwrap_or(about));
    let heading = if path.is_empty() { "The top level".to_string() } else { format!("`{path}`") };
    let entries = names.iter().filter_map(|name| Some((name, Entry::of(root, section, name)?)));
    let items: Vec<String> = entries.map(|(name, entry)| item(&linked(path, name), &entry)).collect();
    format!("### {heading}\n\n{}\n\n{}", capitalised(&about), items.join("\n"))
}

/// The key as code; if it is a section, with a link to its heading.
fn linked(path: &str, name: &str) -> String {
    let dotted = join(path, name);
    match keys::sections().iter().any(|(section, _)| *section == dotted) {
        true => format!("[`{name}`](#{})", dotted.replace('.', "")),
        false => format!("`{name}`"),
    }
}

fn item(name: &str, entry: &Entry) -> String {
    let Entry { text, values, meanings, default } = entry;
    let default = default.as_ref().map_or(String::new(), |default| match default.as_str() {
        "required" => "; required".to_string(),
        default => format!("; default: {default}"),
    });
    let meanings = meanings.iter().map(|(word, meaning)| format!("\n  * `{word}`: {}", sentence(meaning)));
    format!("* **{name}**: {values}{default}\\\n  {}{}", sentence(text), meanings.collect::<String>())
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
