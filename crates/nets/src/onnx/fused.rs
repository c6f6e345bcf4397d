//! The operator `Attention` of opset 23: products, softmax and mean of values in one node.
//!
//! Queries, keys and values are (n, heads, positions, channels of a head), or (n, positions, channels) with the number
//! of heads beside them. They become the same scores as single nodes do.

use super::array::{Array, Data};
use super::attention::scores;
use super::network::{Importer, Seen, Value};
use super::node::Node;
use super::scores::{Queries, Vectors};
use super::view::View;

/// Heads before positions, and back.
const HEADS: [usize; 4] = [0, 2, 1, 3];

impl<'a> Importer<'a> {
    pub(super) fn fused_attention(&mut self, node: &'a Node) -> Result<Seen, String> {
        if let Some(refused) = self.refused(node) {
            return Err(format!("{refused}, which is not computed here"));
        }
        let queries = match self.value(node, 0)? {
            Value::Constant(query) => Queries::Constant(with_heads(&query, node)?),
            _ => Queries::Layer(self.vectors_of_heads(node, 0)?),
        };
        let size = match &queries {
            Queries::Constant(query) => query.dims.last().copied(),
            Queries::Layer(queries) => queries.view.dims().last().copied(),
        };
        let (mut keys, values) = (self.vectors_of_heads(node, 1)?, self.vectors_of_heads(node, 2)?);
        keys.view = keys.view.transpose(&[0, 1, 3, 2]).ok_or("its keys have no heads")?;
        let mut scores = scores(queries, keys)?;
        scores.factor = node.float("scale").unwrap_or(1.0 / (size.unwrap_or(1) as f64).sqrt());
        if let Some(mask) = self.mask(node)? {
            scores = scores.with_constant("Add", &mask)?;
        }
        scores.is_softmax = true;
        let mixed = self.attend(node, &scores, &values)?;
        if self.seen(node, 1)?.view.rank() == 4 {
            return Ok(mixed);
        }
        let view = mixed.view.transpose(&HEADS).and_then(|view| {
            let [n, positions, heads, size] = view.dims()[..] else { return None };
            view.reshape(&[n, positions, heads * size])
        });
        mixed.under(view.ok_or("its heads are not known")?)
    }

    /// A part of the operator that no network of pictures has.
    fn refused(&self, node: &Node) -> Option<&'static str> {
        let is_read = |name: &String| self.file.nodes.iter().any(|node| node.reads().contains(&name.as_str()));
        match node {
            _ if (4..7).any(|i| node.input(i).is_some()) => Some("it has keys of the past"),
            _ if node.int("is_causal", 0) != 0 => Some("it hides later positions"),
            _ if node.float("softcap").is_some_and(|cap| cap != 0.0) => Some("it bounds its scores"),
            _ if node.outputs.iter().skip(1).any(is_read) => Some("its keys, values or scores are read"),
            _ => None,
        }
    }

    /// An input as vectors (n, heads, positions, channels of a head).
    fn vectors_of_heads(&mut self, node: &'a Node, i: usize) -> Result<Vectors, String> {
        let vectors = self.vectors(node, i)?;
        let dims = vectors.view.dims();
        if dims.len() == 4 {
            return Ok(vectors);
        }
        if !vectors.held.is_empty() {
            return Err("vectors of length 1, or of a rotary embedding, are cut".to_string());
        }
        let sizes = heads_apart(node, i, &dims)?;
        let view = vectors.view.reshape(&sizes).and_then(|view: View| view.transpose(&HEADS));
        Ok(Vectors { view: view.ok_or_else(|| format!("{dims:?} as {sizes:?} cuts heads"))?, ..vectors })
    }

    /// The numbers that are added to the scores.
    fn mask(&self, node: &Node) -> Result<Option<Array>, String> {
        if node.input(3).is_none() {
            return Ok(None);
        }
        let mask = self.constant(node, 3).ok_or("its mask depends on the picture")?;
        match &mask.data {
            // booleans let all positions be seen, and the same number added to all of them changes no share
            Data::Ints(values) if values.iter().all(|&value| value == 1) => Ok(None),
            Data::Ints(_) => Err("its mask hides positions".to_string()),
            _ => Ok(Some(mask.clone())),
        }
    }
}

/// A constant query as (1, heads, positions, channels of a head).
fn with_heads(query: &Array, node: &Node) -> Result<Array, String> {
    if query.dims.len() == 4 {
        return Ok(query.clone());
    }
    query.with_dims(heads_apart(node, 0, &query.dims)?.to_vec())?.transpose(&HEADS)
}

/// The sizes (n, positions, heads, channels of a head) of input `i`, which has `dims`.
fn heads_apart(node: &Node, i: usize, dims: &[usize]) -> Result<[usize; 4], String> {
    let attribute = if i == 0 { "q_num_heads" } else { "kv_num_heads" };
    let heads = usize::try_from(node.int(attribute, 0)).unwrap_or(0);
    match *dims {
        [n, positions, c] if heads > 0 && c.is_multiple_of(heads) => Ok([n, positions, heads, c / heads]),
        _ => Err(format!("{dims:?} are no vectors of {heads} heads")),
    }
}
