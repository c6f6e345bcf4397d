//! Whether a network and the pictures under way fit into the memory there is: asked before they take it.

use super::Extractor;
use crate::backbone::Backbone;
use crate::memory::{self, Limit, NoRoom};

/// Bytes that are taken whatever the threads, and bytes that each of them takes.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    pub fixed: u64,
    pub each: u64,
}

impl Needs {
    /// The most threads that fit into `bytes`.
    pub fn most(self, bytes: u64) -> usize {
        usize::try_from(bytes.saturating_sub(self.fixed) / self.each.max(1)).unwrap_or(usize::MAX)
    }

    /// Bytes of so many threads.
    pub fn of(self, threads: usize) -> u64 {
        self.fixed.saturating_add(self.each.saturating_mul(threads as u64))
    }
}

/// An error where the weights of `backbone` alone are more than there is room for.
pub fn check_weights(backbone: &Backbone) -> Result<(), NoRoom> {
    let needed = backbone.weights_bytes();
    match memory::limit() {
        Some(limit) if needed > limit.bytes => Err(NoRoom {
            subject: format!("`extract.model`: the weights of {}", backbone.model.name),
            needed,
            limit: limit.clone(),
            advice: "take a smaller network".to_string(),
        }),
        _ => Ok(()),
    }
}

impl Extractor {
    /// The memory of the network, and of each thread for its maps and inputs; pictures that are decoded have a budget of their own.
    pub fn needs(&self) -> Needs {
        let values = self.micro_batch() * (self.input_len() + self.width);
        Needs { fixed: self.weights, each: self.network.session_bytes() + (values * size_of::<f32>()) as u64 }
    }

    /// An error at the size of the pictures: one thread is too many.
    pub fn no_room(&self, needs: Needs, limit: &Limit) -> NoRoom {
        let [height, width] = self.recipe.size;
        NoRoom {
            subject: format!("`extract.recipe.size`: the network with pictures of {height}×{width} pixels"),
            needed: needs.of(1),
            limit: limit.clone(),
            advice: "take smaller pictures, or a smaller network".to_string(),
        }
    }

    /// As many of `wanted` threads as there is memory for.
    pub(super) fn fitting(&self, wanted: usize) -> Result<usize, NoRoom> {
        let Some(limit) = memory::limit() else { return Ok(wanted) };
        let needs = self.needs();
        match needs.most(limit.bytes) {
            0 => Err(self.no_room(needs, limit)),
            most => Ok(wanted.min(most)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_threads_fit_as_have_room_beside_the_weights() {
        let needs = Needs { fixed: 100, each: 30 };
        assert_eq!([99, 100, 129, 130, 190, 1000].map(|bytes| needs.most(bytes)), [0, 0, 0, 1, 3, 30]);
        assert_eq!(needs.of(3), 190);
        assert_eq!(Needs { fixed: 0, each: u64::MAX }.of(1000), u64::MAX);
    }
}
