//! Pairs the layers of a file with those of the network.
//!
//! Layers with explicit names are paired by name (the current one, or that of the first ResNets). Automatic names
//! depend on the layers that the session built before, so they are not compared: as in Keras, these layers are paired
//! in the order of `model.layers` if their number and all shapes match, else in the order of their numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::network::{Class, Network, Slot, Weighted};
use super::variable::Variable;
use super::{FileLayer, names};

/// For each layer of the file the index of the network's layer, if it has one: for the layers that are `meant`, and for
/// a classifier elsewhere.
pub(super) fn pair(
    file: &[Arc<FileLayer>],
    network: &Network,
    meant: impl Fn(&FileLayer) -> bool,
) -> Vec<Option<usize>> {
    let meant: Vec<bool> = file.iter().map(|layer| meant(layer)).collect();
    let named = by_name(file, network, &meant);
    let mut pairs = named.clone();
    // older files have one order for all layers, newer ones one for each class
    let lanes: BTreeMap<Option<&str>, Vec<usize>> =
        (0..file.len()).filter(|&layer| meant[layer]).fold(BTreeMap::new(), |mut lanes, layer| {
            lanes.entry(file[layer].lane()).or_default().push(layer);
            lanes
        });
    for (lane, members) in lanes {
        let ordered = network.orders.iter().find_map(|order| in_order(file, network, (lane, &members), order, &named));
        match ordered {
            Some(ordered) => {
                members.iter().zip(ordered).for_each(|(&layer, index)| pairs[layer] = index.or(pairs[layer]))
            }
            None => by_number(file, network, &members, &mut pairs),
        }
    }
    last_of_a_class(file, network, &mut pairs);
    pairs
}

fn by_name(file: &[Arc<FileLayer>], network: &Network, meant: &[bool]) -> Vec<Option<usize>> {
    let chosen = |name: &str| names::automatic(name).is_none();
    let index: BTreeMap<&str, usize> = network
        .layers
        .iter()
        .enumerate()
        .filter(|(_, layer)| chosen(&layer.name))
        .map(|(index, layer)| (layer.name.as_str(), index))
        .collect();
    let mut taken = vec![false; network.layers.len()];
    let mut find = |layer: &Arc<FileLayer>| {
        let name = layer.name.as_deref().filter(|name| chosen(name))?;
        let found = index.get(name).or_else(|| index.get(names::modern(name)?.as_str())).copied()?;
        (!std::mem::replace(&mut taken[found], true)).then_some(found)
    };
    file.iter().zip(meant).map(|(layer, meant)| meant.then(|| find(layer)).flatten()).collect()
}

/// The network's layers for the `members` of a lane, if one of Keras' orders matches consecutive members in shapes and
/// names.
fn in_order(
    file: &[Arc<FileLayer>],
    network: &Network,
    (lane, members): (Option<&str>, &[usize]),
    order: &[usize],
    named: &[Option<usize>],
) -> Option<Vec<Option<usize>>> {
    let in_lane = |&index: &usize| lane.is_none_or(|lane| network.layers[index].class.prefix() == lane);
    let order: Vec<usize> = order.iter().copied().filter(in_lane).collect();
    let agree = |(&layer, &index): (&usize, &usize)| {
        fits(&file[layer], &network.layers[index]) && named[layer].is_none_or(|name| name == index)
    };
    if order.is_empty() || members.len() < order.len() {
        return None;
    }
    // layers that prepare the input may come before the network's layers, a head after them
    let first = (0..=members.len() - order.len()).find(|&first| members[first..].iter().zip(&order).all(agree))?;
    let before = std::iter::repeat_n(None, first);
    let found = before.chain(order.into_iter().map(Some)).chain(std::iter::repeat(None));
    Some(found.take(members.len()).collect())
}

/// Whether a layer of the file has the variables of a layer of the network.
fn fits(layer: &FileLayer, expected: &Weighted) -> bool {
    let same =
        |(variable, slot): (&Variable, &Slot)| slot.turned(&variable.shape).is_some_and(|shape| shape == slot.shape);
    layer.variables.len() == expected.slots.len() && layer.variables.iter().zip(&expected.slots).all(same)
}

/// Pairs the k-th number of a class in the file with the k-th in the network, if there are as many; if the file has
/// more, consecutive ones with the shapes of the network's.
fn by_number(file: &[Arc<FileLayer>], network: &Network, members: &[usize], pairs: &mut [Option<usize>]) {
    let mut taken = vec![false; network.layers.len()];
    pairs.iter().flatten().for_each(|&index| taken[index] = true);
    for class in Class::ALL {
        let number = |name: &str| names::automatic(name).filter(|(found, _)| *found == class).map(|(_, number)| number);
        let mut theirs: Vec<(u64, usize)> = members
            .iter()
            .filter(|&&layer| pairs[layer].is_none())
            .filter_map(|&layer| Some((number(file[layer].name.as_deref()?)?, layer)))
            .collect();
        if theirs.is_empty() {
            continue;
        }
        let mut ours: Vec<(u64, usize)> = network
            .layers
            .iter()
            .enumerate()
            .filter(|(index, _)| !taken[*index])
            .filter_map(|(index, layer)| Some((number(&layer.name)?, index)))
            .collect();
        if ours.is_empty() || theirs.len() < ours.len() {
            continue;
        }
        ours.sort_unstable();
        theirs.sort_unstable();
        let fit =
            |(&(_, layer), &(_, index)): (&(u64, usize), &(u64, usize))| fits(&file[layer], &network.layers[index]);
        let mut starts = 0..=theirs.len() - ours.len();
        let first = match theirs.len() == ours.len() {
            true => Some(0),
            false => starts.find(|&first| theirs[first..].iter().zip(&ours).all(fit)),
        };
        let Some(first) = first else { continue };
        theirs[first..].iter().zip(&ours).for_each(|((_, layer), (_, index))| pairs[*layer] = Some(*index));
    }
}

/// A classifier with other classes has an automatic name in some files. If exactly one layer of a class is left on both
/// sides, they are paired, so that an error shows both shapes.
fn last_of_a_class(file: &[Arc<FileLayer>], network: &Network, pairs: &mut [Option<usize>]) {
    let mut taken = vec![false; network.layers.len()];
    pairs.iter().flatten().for_each(|&index| taken[index] = true);
    for class in Class::ALL {
        let of_class = |layer: &FileLayer| {
            layer.lane() == Some(class.prefix())
                || layer.name.as_deref().and_then(names::automatic).is_some_and(|(found, _)| found == class)
        };
        // a dense classifier is the network's only if no other layer with weights is left
        let between = |layer: &FileLayer| {
            let name = layer.lane().or(layer.name.as_deref()).unwrap_or_default();
            class == Class::Dense && !name.starts_with("normalization")
        };
        let left = |index: &usize| network.layers[*index].class == class && !taken[*index];
        let ours: Vec<usize> = (0..network.layers.len()).filter(left).collect();
        let theirs: Vec<usize> = (0..file.len())
            .filter(|&layer| pairs[layer].is_none() && (of_class(&file[layer]) || between(&file[layer])))
            .collect();
        if let (&[index], &[layer]) = (&ours[..], &theirs[..]) {
            pairs[layer] = Some(index);
        }
    }
}
