//! Keras' older HDF5 files: those of `keras.applications`, and whole models saved as `.h5`.
//!
//! The attribute `layer_names` lists the layers in the order of `model.layers`; each has a group whose attribute
//! `weight_names` lists its variables. In whole models both are in the group `model_weights`. The layout is that of
//! `legacy_h5_format.py` in Keras.

use std::collections::BTreeMap;

use hdf5_reader::Attribute;
use hdf5_reader::error::Error;
use hdf5_reader::group::Group;

use super::variable::Variable;
use super::{FileLayer, Format, MOST_VARIABLES, too_many};

/// The group with the layers, if the file has this format.
pub(super) fn root(root: Group) -> Result<Option<Group>, Error> {
    if names(&root.attributes()?, "layer_names")?.is_some() {
        return Ok(Some(root));
    }
    match root.group("model_weights") {
        Ok(group) => Ok(Some(group)),
        Err(Error::GroupNotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The layers with weights, in the file's order.
pub(super) fn layers(root: &Group) -> Result<Vec<FileLayer>, Error> {
    let wrong = |reason: String| Error::InvalidData(reason);
    let names_of_layers = names(&root.attributes()?, "layer_names")?
        .ok_or_else(|| wrong("`model_weights` has no attribute `layer_names`".to_string()))?;
    let mut layers = Vec::new();
    let mut budget = MOST_VARIABLES;
    for name in names_of_layers {
        let group = descend(root, &name).map_err(|error| wrong(format!("layer `{name}`: {error}")))?;
        let mut variables =
            variables(&group, &mut budget).map_err(|error| wrong(format!("layer `{name}`: {error}")))?;
        if !variables.iter().any(Variable::is_weight) {
            continue;
        }
        variables.retain(|variable| !variable.shape.is_empty());
        let mut inner = inner_layers(&name, variables);
        if let [only] = &mut inner[..] {
            only.name = Some(name);
        }
        layers.extend(inner);
    }
    Ok(layers)
}

fn variables(group: &Group, budget: &mut usize) -> Result<Vec<Variable>, Error> {
    let names = names(&group.attributes()?, "weight_names")?.unwrap_or_default();
    // a layer without variables counts too
    *budget = budget.checked_sub(names.len().max(1)).ok_or_else(too_many)?;
    names
        .into_iter()
        .map(|name| {
            let dataset = match name.rsplit_once('/') {
                Some((path, last)) => descend(group, path)?.dataset(last)?,
                None => group.dataset(&name)?,
            };
            Variable::new(name, dataset, group.storage().len())
        })
        .collect()
}

/// The layers of one entry of `layer_names`: several if it is a nested model. Variables are named `<layer>/<variable>`,
/// and all trainable ones come before all others.
fn inner_layers(model: &str, variables: Vec<Variable>) -> Vec<FileLayer> {
    let mut layers: Vec<FileLayer> = Vec::new();
    let mut places = BTreeMap::new();
    for variable in variables {
        let path = variable.name.rsplit_once('/').map_or("", |(path, _)| path).to_string();
        let place = *places.entry(path.clone()).or_insert_with(|| {
            let name = path.rsplit('/').next().unwrap_or(&path).to_string();
            layers.push(FileLayer::new(Format::Legacy, model.to_string(), Some(name), Vec::new()));
            layers.len() - 1
        });
        layers[place].variables.push(variable);
    }
    layers
}

/// A group below another; names of layers may have slashes.
fn descend(group: &Group, path: &str) -> Result<Group, Error> {
    path.split('/').filter(|part| !part.is_empty()).try_fold(group.clone(), |group, part| group.group(part))
}

/// The names in an attribute, or in `<attribute>0`, `<attribute>1`, … if they are too long for one.
fn names(attributes: &[Attribute], attribute: &str) -> Result<Option<Vec<String>>, Error> {
    let find = |name: &str| attributes.iter().find(|candidate| candidate.name == name);
    if let Some(whole) = find(attribute) {
        return strings(whole).map(Some);
    }
    let mut all = None;
    for part in 0.. {
        let Some(part) = find(&format!("{attribute}{part}")) else { break };
        all.get_or_insert_with(Vec::new).extend(strings(part)?);
    }
    Ok(all)
}

fn strings(attribute: &Attribute) -> Result<Vec<String>, Error> {
    // numpy writes an empty list with the type float
    match attribute.num_elements()? {
        0 => Ok(Vec::new()),
        _ => attribute.read_strings(),
    }
}
