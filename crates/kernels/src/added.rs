//! What a convolution adds to its sums.

/// What is added, and for everything written where that lies: places in elements, as the output's are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added<T> {
    Nothing,
    /// Values apart from the output.
    At(T),
    /// What lies at the output: each value is read before it is written.
    Onto,
}

impl<T> Added<T> {
    /// At its places, where there is something to add.
    pub fn at(places: Option<T>) -> Self {
        places.map_or(Added::Nothing, Added::At)
    }

    pub fn as_ref(&self) -> Added<&T> {
        match self {
            Added::Nothing => Added::Nothing,
            Added::At(places) => Added::At(places),
            Added::Onto => Added::Onto,
        }
    }

    pub fn map<U>(self, places: impl FnOnce(T) -> U) -> Added<U> {
        match self {
            Added::Nothing => Added::Nothing,
            Added::At(at) => Added::At(places(at)),
            Added::Onto => Added::Onto,
        }
    }

    /// Where it lies, and in which memory. What lies at the output is read by the pointer that it is written by: no reference is held to it.
    pub(super) fn read<V>(self, values: &[V], outs: T, output: *mut V) -> (Option<T>, *const V) {
        match self {
            Added::Nothing => (None, values.as_ptr()),
            Added::At(places) => (Some(places), values.as_ptr()),
            Added::Onto => (Some(outs), output.cast_const()),
        }
    }
}
