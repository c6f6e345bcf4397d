//! How faer divides its work among threads.

use std::num::NonZeroUsize;

use faer::Par;

/// The number of parts that faer divides its work into. The division decides the order of sums, so the number is fixed:
/// the result has the same bits on any number of threads.
const PARTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);

/// faer's parallelism for everything that is fitted.
pub(crate) fn parallelism() -> Par {
    Par::Rayon(PARTS)
}
