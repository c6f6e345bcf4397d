//! Keras 3's `.weights.h5`, alone or in a `.keras` file (and the first version of them in Keras 2.12).
//!
//! Layers are groups, named by their class and numbered in the order of `model.layers`: `layers/conv2d`,
//! `layers/conv2d_1`, …; variables are `vars/0`, `vars/1`, … in them. A nested model is a group with its own `layers`.
//! Later versions write the layer's name as an attribute of `vars`; before, only the configuration in a `.keras` file
//! has it. The layout is that of `saving_lib.py` in Keras.

use std::collections::{BTreeMap, BTreeSet};

use hdf5_reader::error::Error;
use hdf5_reader::group::Group;
use serde_json::Value;

use super::names::numbered;
use super::network::Class;
use super::variable::Variable;
use super::{FileLayer, Format, MOST_VARIABLES, too_many};

/// Most levels of nested groups.
const DEEPEST: usize = 12;
/// Most groups that are visited; a network of 1000 layers has about 2000.
const MOST_GROUPS: usize = 40_000;
/// Groups at the top of the file with the state of training.
const TRAINING: [&str; 3] = ["optimizer", "metrics", "_optimizer"];

/// The layers with weights: those of nested models first, then by class and number.
pub(super) fn layers(root: &Group, config: Option<&[u8]>) -> Result<Vec<FileLayer>, Error> {
    let mut walk = Walk { layers: Vec::new(), met: BTreeSet::new(), budget: MOST_VARIABLES };
    walk.group(root, "", 0)?;
    let mut layers = walk.layers;
    if let Some(names) = config.and_then(configured_names) {
        for layer in &mut layers {
            if layer.name.is_none() {
                layer.name = names.get(&layer.path).cloned();
            }
        }
    }
    Ok(layers)
}

struct Walk {
    layers: Vec<FileLayer>,
    /// Addresses of the visited groups, since links may be cyclic.
    met: BTreeSet<u64>,
    /// The variables that may still be listed.
    budget: usize,
}

impl Walk {
    fn group(&mut self, group: &Group, path: &str, depth: usize) -> Result<(), Error> {
        if !self.met.insert(group.address()) {
            return Ok(());
        }
        if depth > DEEPEST || self.met.len() > MOST_GROUPS {
            return Err(Error::InvalidData(format!("`{path}`: groups nest too deep, or there are too many of them")));
        }
        let mut children = group.member_names()?.0;
        children.retain(|child| child != "vars" && (depth > 0 || !TRAINING.contains(&child.as_str())));
        children.sort_by(|a, b| numbered(a).cmp(&numbered(b)));
        let mut own = Vec::new();
        for child in children {
            let path = if path.is_empty() { child.clone() } else { format!("{path}/{child}") };
            let group = group.group(&child)?;
            own.extend(layer(&group, &path, &mut self.budget)?);
            self.group(&group, &path, depth + 1)?;
        }
        self.layers.extend(own);
        Ok(())
    }
}

/// The layer of a group, if it has weights of its own.
fn layer(group: &Group, path: &str, budget: &mut usize) -> Result<Option<FileLayer>, Error> {
    let wrong = |error: Error| Error::InvalidData(format!("`{path}`: {error}"));
    let vars = match group.group("vars") {
        Ok(vars) => vars,
        Err(Error::GroupNotFound(_)) => return Ok(None),
        Err(error) => return Err(wrong(error)),
    };
    let mut names = vars.member_names().map_err(wrong)?.1;
    *budget = budget.checked_sub(names.len()).ok_or_else(too_many)?;
    names.sort_by_key(|name| (name.len(), name.clone()));
    let length = vars.storage().len();
    let read = |name: String| Variable::new(format!("vars/{name}"), vars.dataset(&name)?, length);
    let mut variables: Vec<Variable> = names.into_iter().map(read).collect::<Result<_, _>>().map_err(wrong)?;
    if !variables.iter().any(Variable::is_weight) {
        return Ok(None);
    }
    variables.retain(|variable| !variable.shape.is_empty());
    let name = vars.attribute("name").and_then(|name| name.read_string()).ok();
    Ok(Some(FileLayer::new(Format::Native, path.to_string(), name, variables)))
}

/// The layer's name for each group of a layer with weights, from the model's configuration, which lists the layers as
/// `model.layers` does.
fn configured_names(config: &[u8]) -> Option<BTreeMap<String, String>> {
    let config: Value = serde_json::from_slice(config).ok()?;
    let mut counts = BTreeMap::new();
    let mut names = BTreeMap::new();
    for layer in config.get("config")?.get("layers")?.as_array()? {
        let class_name = layer.get("class_name").and_then(Value::as_str);
        let name = layer.get("config").and_then(|config| config.get("name")).and_then(Value::as_str);
        let class = Class::ALL.into_iter().find(|class| Some(class.name()) == class_name);
        if let (Some(class), Some(name)) = (class, name) {
            let count = counts.entry(class).or_insert(0_usize);
            let group = match *count {
                0 => format!("layers/{}", class.prefix()),
                n => format!("layers/{}_{n}", class.prefix()),
            };
            *count += 1;
            names.insert(group, name.to_string());
        }
    }
    Some(names)
}
