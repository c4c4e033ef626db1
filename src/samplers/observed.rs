//! A gradient of the log posterior that a fit takes in: the caller's with its value, or a pass's with its scalars in a record.

use crate::backend::Scalars;
use crate::backend::vectors::Vectors;

/// A gradient, and where the value of the log posterior comes from.
pub(super) enum Observed<'a, V: Vectors> {
    /// The caller's: it is not known yet whether it is finite.
    Given { grad: &'a V::Vector, log_post: f64 },
    /// One whose scalars are in a record; `log_post` makes the log posterior of them.
    Recorded {
        grad: &'a V::Vector,
        record: &'a mut V::Record,
        log_post: &'a dyn Fn(&Scalars) -> f64,
    },
}
