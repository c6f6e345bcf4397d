//! `--set key.path=value`: overrides from the command line, applied to the tree before it is checked.

use super::ConfigError;
use super::source::{Place, Source};
use super::tree::{self, Key, Node, Value};

/// Applies the `--set` texts of `source` to `tree`, in their order.
pub fn apply(tree: &mut Node, source: &Source) -> Result<(), ConfigError> {
    for (n, set) in source.sets().iter().enumerate() {
        let wrong = |message: String| ConfigError::at(source, Place::Set(n), message);
        let Some((path, value)) = set.split_once('=') else {
            return Err(wrong("expected `key.path=value`, such as `reduce.pca.components=8`".to_owned()));
        };
        let keys: Vec<&str> = path.trim().split('.').collect();
        if keys.iter().any(|key| key.is_empty() || key.contains(char::is_whitespace)) {
            return Err(wrong(format!(
                "`{path}` is no key; write keys with dots between, such as `reduce.pca.components`"
            )));
        }
        if value.trim().is_empty() {
            return Err(wrong(
                "nothing after the `=`; write `null` to remove the key, `\"\"` for an empty text".to_owned(),
            ));
        }
        let value = tree::read_set(source, n, value)?;
        put(tree, &keys, value).map_err(wrong)?;
    }
    Ok(())
}

/// Sets `value` at `keys`, adding missing sections; null removes the key.
fn put(tree: &mut Node, keys: &[&str], value: Node) -> Result<(), String> {
    let Some((last, sections)) = keys.split_last() else {
        return Ok(());
    };
    let place = value.place;
    let removes = matches!(value.value, Value::Null);
    let mut node = tree;
    for (depth, section) in sections.iter().enumerate() {
        let entries = entries(node, &keys[..depth])?;
        let at = match entries.iter().position(|(key, _)| key.name == *section) {
            Some(at) => at,
            None if removes => return Ok(()),
            None => {
                entries
                    .push((Key { name: (*section).to_owned(), place }, Node { place, value: Value::Map(Vec::new()) }));
                entries.len() - 1
            }
        };
        node = &mut entries[at].1;
    }
    let entries = entries(node, sections)?;
    // a new value replaces the old one in place, so that the order is that of the file
    match entries.iter().position(|(key, _)| key.name == *last) {
        Some(at) if removes => {
            entries.remove(at);
        }
        Some(at) => entries[at] = (Key { name: (*last).to_owned(), place }, value),
        None if removes => {}
        None => entries.push((Key { name: (*last).to_owned(), place }, value)),
    }
    Ok(())
}

/// The entries of a section; null becomes an empty section.
fn entries<'a>(node: &'a mut Node, path: &[&str]) -> Result<&'a mut Vec<(Key, Node)>, String> {
    if matches!(node.value, Value::Null) {
        node.value = Value::Map(Vec::new());
    }
    match &mut node.value {
        Value::Map(entries) => Ok(entries),
        Value::List(_) => Err(format!("`{0}` is a list; set the whole of it: `{0}=[…]`", path.join("."))),
        _ => Err(format!("`{0}` is a single value and has no keys; set it whole: `{0}=…`", path.join("."))),
    }
}
