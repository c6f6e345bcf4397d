//! Compares a set of tensors with those that a network needs, and lists the faults.

use std::collections::{BTreeMap, BTreeSet};

use super::{WeightError, WeightSet, keras, needed};
use crate::models::graph::{Graph, LayerId, Parameter};

/// Lines of each kind of fault that a message shows.
const SHOWN: usize = 5;

/// The faults, a line each.
#[derive(Default)]
struct Faults {
    missing: Vec<String>,
    misshapen: Vec<String>,
    unexpected: Vec<String>,
    /// Tensors that the network does not have, where none of its own are needed: heads, projections, other networks.
    strange: usize,
}

impl WeightSet {
    /// Strict: every tensor that `taps` need is here in its shape, and among them is nothing that the network has not.
    /// Layers above the taps, or above the last feature map where there is no tap, may be missing or have any shape:
    /// features do not need them.
    pub fn check(&self, graph: &Graph, taps: &[LayerId], place: &str) -> Result<(), WeightError> {
        let Faults { missing, misshapen, unexpected, .. } = self.faults(graph, taps);
        let list: String = [("missing", missing), ("misshapen", misshapen), ("unexpected", unexpected)]
            .into_iter()
            .map(|(kind, lines)| shortened(kind, &lines))
            .collect();
        if list.is_empty() {
            return Ok(());
        }
        Err(mismatch(place, list))
    }

    /// How far the set is from being the network's: faults, and tensors that are none and yet not the network's.
    pub(super) fn differences(&self, graph: &Graph) -> (usize, usize) {
        let faults = self.faults(graph, &[]);
        (faults.missing.len() + faults.misshapen.len() + faults.unexpected.len(), faults.strange)
    }

    fn faults(&self, graph: &Graph, taps: &[LayerId]) -> Faults {
        let mut faults = Faults::default();
        let needed = needed(graph, taps);
        for parameter in &needed {
            let (name, expected) = (&parameter.name, &parameter.shape);
            match self.tensors.get(name).map(|tensor| tensor.shape()) {
                None => faults.missing.push(format!("missing `{name}` {expected:?}")),
                Some(found) if found != expected => {
                    faults.misshapen.push(format!("`{name}` is {found:?}, expected {expected:?}"));
                }
                Some(_) => {}
            }
        }
        let expected = Expected::new(graph, &needed);
        for (name, tensor) in self.tensors.iter().filter(|(name, _)| !expected.has(name)) {
            if expected.is_around(name) {
                faults.unexpected.push(format!("unexpected `{name}` {:?}", tensor.shape()));
            } else {
                faults.strange += 1;
            }
        }
        faults
    }
}

/// Ends of the names of buffers that PyTorch's files hold and the networks here compute or do not need: the number of
/// batches that trained a batch norm, and the tables and masks of windows (torchvision's Swin, timm's older files).
const BUFFERS: [&str; 4] = ["num_batches_tracked", "relative_position_index", "relative_coords_table", "attn_mask"];

/// The names of a network's tensors, and what they say of others.
pub(super) struct Expected<'a> {
    known: BTreeSet<String>,
    /// The parts of the network that are needed.
    modules: BTreeSet<&'a str>,
    /// Beginnings of the names of auxiliary heads.
    dropped: &'a [String],
}

impl<'a> Expected<'a> {
    pub(super) fn new(graph: &'a Graph, needed: &'a [Parameter]) -> Self {
        let known = graph.parameters().into_iter().map(|parameter| parameter.name).collect();
        let modules = needed.iter().map(|parameter| module(&parameter.name)).collect();
        Self { known, modules, dropped: graph.dropped() }
    }

    /// Whether a tensor is the network's, or one of those beside it that no features need.
    fn has(&self, name: &str) -> bool {
        self.known.contains(name)
            || BUFFERS.contains(&name.rsplit('.').next().unwrap_or(name))
            || self.dropped.iter().any(|prefix| name.starts_with(prefix))
    }

    /// Whether the part of the network that a tensor belongs to is one of those that are needed.
    fn is_around(&self, name: &str) -> bool {
        match name.contains('/') {
            true => keras::is_one_more(name, &self.modules),
            false => self.modules.contains(module(name)),
        }
    }

    /// Whether a tensor is that of another network of the family: a deeper one has all that a shallow one needs, and
    /// more between.
    pub(super) fn is_exceeded_by(&self, name: &str) -> bool {
        !self.has(name) && self.is_around(name)
    }
}

/// The error that `place` does not hold the network, with the `list` of its reasons, each on a line of its own.
pub(super) fn mismatch(place: &str, list: String) -> WeightError {
    // Hugging Face's name of one of several files
    let shard =
        place.contains("-of-0").then_some("\n  it looks like one of several shards: give their index, `….index.json`");
    WeightError::Mismatch { place: place.to_string(), list: list + shard.unwrap_or_default() }
}

/// The part of the network that a tensor belongs to.
fn module(name: &str) -> &str {
    name.split(['.', '/']).next().unwrap_or(name)
}

/// The first lines of a kind, and how many more there are in which parts of the network.
fn shortened(kind: &str, lines: &[String]) -> String {
    let mut text: String = lines.iter().take(SHOWN).map(|line| format!("\n  {line}")).collect();
    let mut parts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines.iter().skip(SHOWN) {
        let name = line.split('`').nth(1).unwrap_or_default();
        *parts.entry(module(name)).or_default() += 1;
    }
    if !parts.is_empty() {
        let more = lines.len() - SHOWN;
        let mut told: Vec<String> = parts.iter().map(|(part, count)| format!("`{part}` {count}")).collect();
        if told.len() > SHOWN {
            told.truncate(SHOWN);
            told.push("…".to_string());
        }
        text.push_str(&format!("\n  … and {more} more {kind}: {}", told.join(", ")));
    }
    text
}
