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
    /// Tensors in modules that the network does not need: heads, projections, other networks.
    strange: usize,
}

impl WeightSet {
    /// A strict check: the set must have every tensor that `taps` need with its shape, and in the modules of these
    /// tensors none that the network does not have. Layers above the taps, or above the last feature map if there are
    /// no taps, may be missing or have any shape, since features do not need them.
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

    /// The number of faults, and the number of tensors that are no faults but not the network's.
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

/// Last parts of the names of buffers in PyTorch's files that the networks here compute or do not need: the batch
/// counter of batch norm, and the tables and masks of windows (torchvision's Swin, timm's older files).
const BUFFERS: [&str; 4] = ["num_batches_tracked", "relative_position_index", "relative_coords_table", "attn_mask"];

/// The names of a network's tensors, against which the names of a file are compared.
pub(super) struct Expected<'a> {
    known: BTreeSet<String>,
    /// The top-level modules of the tensors that are needed.
    modules: BTreeSet<&'a str>,
    /// Prefixes of the names of auxiliary heads.
    dropped: &'a [String],
}

impl<'a> Expected<'a> {
    pub(super) fn new(graph: &'a Graph, needed: &'a [Parameter]) -> Self {
        let known = graph.parameters().into_iter().map(|parameter| parameter.name).collect();
        let modules = needed.iter().map(|parameter| module(&parameter.name)).collect();
        Self { known, modules, dropped: graph.dropped() }
    }

    /// Whether a tensor belongs to the network, or is one that inference does not need: a buffer, an auxiliary head.
    fn has(&self, name: &str) -> bool {
        self.known.contains(name)
            || BUFFERS.contains(&name.rsplit('.').next().unwrap_or(name))
            || self.dropped.iter().any(|prefix| name.starts_with(prefix))
    }

    /// Whether the module of a tensor is one that is needed.
    fn is_around(&self, name: &str) -> bool {
        match name.contains('/') {
            true => keras::is_one_more(name, &self.modules),
            false => self.modules.contains(module(name)),
        }
    }

    /// Whether a tensor belongs to another network of the family: a deeper one has all tensors of a shallower one, and
    /// more.
    pub(super) fn is_exceeded_by(&self, name: &str) -> bool {
        !self.has(name) && self.is_around(name)
    }
}

/// The error that `place` does not have the weights of the network; `list` has the reasons, one a line.
pub(super) fn mismatch(place: &str, list: String) -> WeightError {
    // the name of one of several files, as Hugging Face writes it
    let shard =
        place.contains("-of-0").then_some("\n  it looks like one of several shards: give their index, `….index.json`");
    WeightError::Mismatch { place: place.to_string(), list: list + shard.unwrap_or_default() }
}

/// The top-level module of a tensor.
fn module(name: &str) -> &str {
    name.split(['.', '/']).next().unwrap_or(name)
}

/// The first lines of a kind, and the number of the others by module.
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
