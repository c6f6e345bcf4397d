//! The residual of a convolution: a third map that the epilogue adds to the sums before the activation (oneDNN: the
//! post-op `sum` or `binary`).

/// The place of the residual. `T` is the type by which the kernel's arguments describe the place of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual<T> {
    /// The convolution has no residual.
    None,
    /// The residual lies in a slice of its own.
    At(T),
    /// The residual lies where the output is written: the kernel reads each value before it overwrites it.
    InPlace,
}

impl<T> Residual<T> {
    /// A residual that lies `at` a slice of its own, or none.
    pub fn at(at: Option<T>) -> Self {
        at.map_or(Residual::None, Residual::At)
    }

    pub fn as_ref(&self) -> Residual<&T> {
        match self {
            Residual::None => Residual::None,
            Residual::At(at) => Residual::At(at),
            Residual::InPlace => Residual::InPlace,
        }
    }

    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Residual<U> {
        match self {
            Residual::None => Residual::None,
            Residual::At(at) => Residual::At(change(at)),
            Residual::InPlace => Residual::InPlace,
        }
    }

    /// Returns the place of the residual, and the pointer through which a kernel reads it: that of the slice `values`,
    /// or, for a residual in place, the pointer `output` through which the kernel also writes, so that no reference to
    /// that memory exists while it is written.
    pub(crate) fn source<V>(self, values: &[V], output_at: T, output: *mut V) -> (Option<T>, *const V) {
        match self {
            Residual::None => (None, values.as_ptr()),
            Residual::At(at) => (Some(at), values.as_ptr()),
            Residual::InPlace => (Some(output_at), output.cast_const()),
        }
    }
}
