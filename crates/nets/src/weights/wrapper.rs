//! Finds the network in a file. A checkpoint has the state dict among other things, and a network inside another one
//! has a prefix before the names of its tensors: `state_dict.module.encoder_q.conv1.weight` is `conv1.weight` of the
//! network. Any prefix of the needed names counts. Only of several networks, the known words of checkpoints decide
//! which one is used:
//!
//! * the averaged weights (EMA, SWA) rather than those of the last step: timm's `load_state_dict(use_ema=True)`;
//! * the teacher of self-distillation: DINO's `eval_linear.py` (`--checkpoint_key teacher`); the online network of
//!   BYOL;
//! * the trained encoder rather than its moving average: MoCo's `encoder_q` and `base_encoder`, not `encoder_k` and
//!   `momentum_encoder`.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::mismatch::{Expected, mismatch};
use super::{Tensor, WeightError, needed};
use crate::models::graph::{Graph, LayerId, Op, Parameter};

/// Most names in a message.
const SHOWN: usize = 4;
/// Keys of checkpoints in order of preference: the first four are timm's.
const KEYS: [&str; 9] =
    ["state_dict_ema", "model_ema", "state_dict", "model", "model_state_dict", "module", "net", "network", "params"];
/// Words that PyTorch's wrappers insert into the names of the module that they wrap, which may be a part of a network.
const WRAPPERS: [&str; 4] = ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];
/// Words in the prefix of the network that is usually used, and of the one that only serves its training.
const TAKEN: [&str; 7] = ["ema", "swa", "average", "averaged", "avg", "teacher", "online"];
const LEFT: [&str; 5] = ["momentum", "k", "key", "target", "student"];

/// The key of a checkpoint under which the network was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointKey {
    /// The prefix of the names, without the last dot; empty if there is none.
    pub key: String,
    /// Other keys of the file under which the network is found, too.
    pub others: Vec<String>,
}

impl CheckpointKey {
    /// The place in words for the user; none if the network is at the top of the file.
    pub fn told(&self) -> Option<String> {
        let Self { key, others } = self;
        let place = if key.is_empty() { "the top".to_string() } else { format!("`{key}`") };
        match others.is_empty() {
            true if key.is_empty() => None,
            true => Some(format!("taken from {place} in their file")),
            false => {
                let others = listed(others.iter().map(String::as_str));
                Some(format!(
                    "taken from {place} in their file, which holds others under {others} (`extract.weights_key`)"
                ))
            }
        }
    }
}

/// How well a place in the file matches the network: the number of names found, of tensors with the right shape, and of
/// tensors of a deeper network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fit {
    pub names: usize,
    pub shapes: usize,
    pub more: Reverse<usize>,
}

/// A place where the network may be.
#[derive(Clone, Debug)]
struct Place {
    /// The prefix of the names, with the last dot.
    prefix: String,
    fit: Fit,
    spelling: usize,
}

/// The tensors below `key`, or else at the place with most of the tensors that `taps` need, without the prefix of their
/// names.
pub(super) fn unwrap(
    tensors: &BTreeMap<String, Tensor>,
    graph: &Graph,
    taps: &[LayerId],
    key: Option<&str>,
    file: &str,
) -> Result<(BTreeMap<String, Tensor>, CheckpointKey), WeightError> {
    let needed = needed(graph, taps);
    let expected = Expected::new(graph, &needed);
    let spellings = Spellings::new(graph, &needed, &expected);
    let all = places(tensors, &spellings, None);
    let places = match key {
        Some(_) => places(tensors, &spellings, key),
        None => all.clone(),
    };
    if let (Some(key), true) = (key, places.is_empty() && !needed.is_empty()) {
        let known = places_told(tensors, &needed, &all);
        return Err(WeightError::NoKey { place: file.to_string(), key: key.to_string(), known });
    }
    // a few names may be equal by chance
    let whole = |place: &&Place| 2 * place.fit.names > needed.len() || key.is_some();
    let Some(first) = places.first().filter(whole) else {
        if needed.is_empty() {
            return Ok((tensors.clone(), CheckpointKey::default()));
        }
        return Err(mismatch(file, format!("\n  {}", strange(tensors, &needed, &places))));
    };
    let stripped = |place: &Place| -> BTreeMap<String, Tensor> {
        let below = tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(&place.prefix)?, tensor)));
        below.map(|(name, tensor)| (spellings.original(place.spelling, &unwrapped(name)), tensor.clone())).collect()
    };
    let found = stripped(first);
    let equals: Vec<&Place> = places[1..].iter().filter(|place| place.fit == first.fit).collect();
    let rivals = |place: &&&Place| rank(&place.prefix) == rank(&first.prefix);
    let same = |place: &&Place| {
        let other = stripped(place);
        needed.iter().all(|parameter| alike(&found, &other, parameter))
    };
    if first.fit.names == needed.len() && equals.iter().filter(rivals).any(|place| !same(place)) {
        let keys = listed(places.iter().filter(|place| place.fit == first.fit).map(|place| place.key()));
        return Err(WeightError::Ambiguous { place: file.to_string(), keys });
    }
    // among all places, not only those of `key`
    let other = |place: &&Place| place.fit == first.fit && place.prefix != first.prefix;
    let others = all.iter().filter(other).map(|place| place.key().to_string()).collect();
    Ok((found, CheckpointKey { key: first.key().to_string(), others }))
}

impl Place {
    fn key(&self) -> &str {
        self.prefix.strip_suffix('.').unwrap_or(&self.prefix)
    }

    /// Whether `key` names it: all words of its key, or some consecutive ones.
    fn is_called(&self, key: &str) -> bool {
        let words: Vec<&str> = self.key().split('.').collect();
        let wanted: Vec<&str> = key.split('.').collect();
        words.windows(wanted.len()).any(|words| words == wanted)
    }
}

/// The spellings in which files may have the names of the tensors that a network needs.
struct Spellings<'a> {
    needed: &'a [Parameter],
    expected: &'a Expected<'a>,
    /// The network's top-level modules in their order.
    modules: Vec<String>,
    /// The only module with weights that are needed, if there is only one.
    only: Option<String>,
}

impl<'a> Spellings<'a> {
    /// Unchanged, with numbers for modules, without the only module.
    const ALL: [usize; 3] = [0, 1, 2];

    fn new(graph: &Graph, needed: &'a [Parameter], expected: &'a Expected<'a>) -> Self {
        let mut modules: Vec<String> = Vec::new();
        // torchvision's `transform_input` is no module
        for layer in graph.layers().iter().filter(|layer| !matches!(layer.op, Op::Input | Op::Rescale { .. })) {
            let module = layer.name.split('.').next().unwrap_or_default();
            if modules.last().is_none_or(|last| last != module) {
                modules.push(module.to_string());
            }
        }
        let module = |parameter: &Parameter| parameter.name.split_once('.').map(|(module, _)| module.to_string());
        let first = needed.first().and_then(module);
        let only = first.filter(|first| needed.iter().all(|parameter| module(parameter).as_ref() == Some(first)));
        Self { needed, expected, modules, only }
    }

    /// The name of a tensor in a spelling, if it has one: `nn.Sequential(*network.children())` numbers the modules, and
    /// in the state dict of `network.features` the module's name is missing.
    fn spell(&self, spelling: usize, name: &str) -> Option<String> {
        if spelling == 0 {
            return Some(name.to_string());
        }
        let (module, rest) = name.split_once('.')?;
        match spelling {
            1 => self.modules.iter().position(|known| known == module).map(|number| format!("{number}.{rest}")),
            _ => (self.only.as_deref() == Some(module)).then(|| rest.to_string()),
        }
    }

    /// The network's name for a tensor that is called `name` in a spelling.
    fn original(&self, spelling: usize, name: &str) -> String {
        match (spelling, name.split_once('.'), &self.only) {
            (1, Some((number, rest)), _) => {
                match number.parse().ok().and_then(|number: usize| self.modules.get(number)) {
                    Some(module) => format!("{module}.{rest}"),
                    None => name.to_string(),
                }
            }
            (2, _, Some(module)) => format!("{module}.{name}"),
            _ => name.to_string(),
        }
    }
}

/// The places with some of the needed tensors, the preferred one first; with a `key`, only those that it names. The
/// spellings are tried in their order until one finds all names.
fn places(tensors: &BTreeMap<String, Tensor>, spellings: &Spellings, key: Option<&str>) -> Vec<Place> {
    let mut best: Vec<Place> = Vec::new();
    for spelling in Spellings::ALL {
        let mut places = spelt(tensors, spellings, spelling);
        if let Some(key) = key {
            let exact = places.iter().any(|place| place.key() == key);
            places.retain(|place| if exact { place.key() == key } else { place.is_called(key) });
        }
        places.sort_by(|a, b| {
            let order = |place: &Place| (Reverse(place.fit), rank(&place.prefix), place.prefix.len());
            order(a).cmp(&order(b)).then_with(|| a.prefix.cmp(&b.prefix))
        });
        let fit = |places: &[Place]| places.first().map(|place| place.fit);
        if fit(&places) > fit(&best) {
            best = places;
        }
        if best.first().is_some_and(|place| place.fit.names == spellings.needed.len()) {
            break;
        }
    }
    best
}

/// The places of one spelling, sorted by prefix.
fn spelt(tensors: &BTreeMap<String, Tensor>, spellings: &Spellings, spelling: usize) -> Vec<Place> {
    let named = |parameter: &'_ Parameter| spellings.spell(spelling, &parameter.name);
    let names: BTreeMap<String, &Parameter> =
        spellings.needed.iter().filter_map(|parameter| Some((named(parameter)?, parameter))).collect();
    let mut fits: BTreeMap<&str, Fit> = BTreeMap::new();
    for (name, tensor) in tensors {
        let starts = std::iter::once(0).chain(name.match_indices('.').map(|(dot, _)| dot + 1));
        for start in starts {
            let (prefix, rest) = name.split_at(start);
            let rest = unwrapped(rest);
            if let Some(parameter) = names.get(rest.as_ref()) {
                let fit = fits.entry(prefix).or_default();
                fit.names += 1;
                fit.shapes += usize::from(tensor.shape() == parameter.shape);
            } else if spellings.expected.is_exceeded_by(&spellings.original(spelling, &rest)) {
                fits.entry(prefix).or_default().more.0 += 1;
            }
        }
    }
    let place = |(prefix, fit): (&str, Fit)| Place { prefix: prefix.to_string(), fit, spelling };
    fits.into_iter().filter(|(_, fit)| fit.names > 0).map(place).collect()
}

/// A name without the words of wrappers around parts of the network: `features.module.0.weight` is `features.0.weight`.
/// The first word is kept: it is a part of the network or belongs to the prefix.
fn unwrapped(name: &str) -> Cow<'_, str> {
    if !WRAPPERS.iter().any(|wrapper| name.contains(wrapper)) {
        return Cow::Borrowed(name);
    }
    let mut words = name.split('.');
    let first = words.next().unwrap_or_default();
    let rest = words.filter(|word| !WRAPPERS.contains(word));
    Cow::Owned(std::iter::once(first).chain(rest).collect::<Vec<_>>().join("."))
}

/// The preference of a place, lower is better: by `TAKEN` and `LEFT`, then by the key of the checkpoint. Among places
/// of equal rank the user must choose.
fn rank(prefix: &str) -> (i8, usize) {
    let is = |words: &[&str]| {
        let mut all = prefix.split(['.', '_']).map(str::to_ascii_lowercase);
        all.any(|word| words.contains(&word.as_str()))
    };
    let key = prefix.split('.').next().unwrap_or_default();
    let known = KEYS.iter().position(|known| *known == key).unwrap_or(KEYS.len());
    (i8::from(is(&LEFT)) - i8::from(is(&TAKEN)), known)
}

/// Whether two places have the same values of a parameter.
fn alike(a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>, parameter: &Parameter) -> bool {
    let bits = |tensors: &BTreeMap<String, Tensor>| {
        let values = tensors.get(&parameter.name)?.values().ok()?;
        Some(values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
    };
    bits(a).is_some_and(|values| bits(b) == Some(values))
}

/// Keys as a list for a message.
fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let quoted = |word: &str| if word.is_empty() { "the top".to_string() } else { format!("`{word}`") };
    words.map(quoted).collect::<Vec<_>>().join(", ")
}

/// For a message: the places of the network in a file, or the names that the file has instead.
fn places_told(tensors: &BTreeMap<String, Tensor>, needed: &[Parameter], places: &[Place]) -> String {
    let whole: Vec<&Place> = places.iter().filter(|place| place.fit.names == needed.len()).collect();
    match whole.is_empty() {
        true => strange(tensors, needed, places),
        false => format!("they are under {}", listed(whole.into_iter().map(Place::key))),
    }
}

/// The message that the names of a file are not those of the network.
fn strange(tensors: &BTreeMap<String, Tensor>, needed: &[Parameter], places: &[Place]) -> String {
    let some = |names: &mut dyn Iterator<Item = &str>| {
        let some: Vec<String> = names.take(SHOWN).map(|name| format!("`{name}`")).collect();
        some.join(", ")
    };
    let has = some(&mut tensors.keys().map(String::as_str));
    let wants = some(&mut needed.iter().map(|parameter| parameter.name.as_str()));
    let shared = common(tensors);
    let shared = if shared.is_empty() { String::new() } else { format!(", all of them under `{shared}`") };
    let found = places.iter().map(|place| place.fit.shapes).max().unwrap_or(0);
    format!(
        "its {} tensors are called {has}, …{shared}; the network has {wants}, …: {found} of the {} that it needs are \
         there",
        tensors.len(),
        needed.len()
    )
}

/// The prefix of all names.
fn common(tensors: &BTreeMap<String, Tensor>) -> String {
    // the names are sorted: a common prefix of the first and the last is that of all
    let (Some((first, _)), Some((last, _))) = (tensors.first_key_value(), tensors.last_key_value()) else {
        return String::new();
    };
    let words = first.split('.').zip(last.split('.')).take_while(|(a, b)| a == b).map(|(word, _)| word);
    words.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests;
