//! Which of a store's samples are used where fewer are asked for: spread evenly over the chains, and over the steps of each.

use crate::error::Result;
use crate::memory;
use crate::store::SampleId;

/// What messages call them.
const INDICES: &str = "indices of samples";
/// Indices that a sentence shows before it leaves some out.
const SHOWN: usize = 3;

/// Returns the indices of `n` of these samples, ascending; of all of them for 0 and where there are no more. `ids` is in the order of a store: by chain, then step.
///
/// The number that each chain gives is as near to its share as can be, and at least one where `n` allows. Within a chain they are evenly spaced,
/// and its last sample is one of them.
///
/// # Errors
/// Returns [`Error::OutOfMemory`](crate::Error::OutOfMemory) where memory does not hold them.
pub fn spread(ids: &[SampleId], n: usize) -> Result<Vec<usize>> {
    if n == 0 || n >= ids.len() {
        return memory::collect(0..ids.len(), INDICES);
    }
    let chains = ids.chunk_by(|a, b| a.chain == b.chain);
    // Of each its samples, and how many of them are used.
    let mut chains: Vec<(usize, usize)> = memory::collect(chains.map(|c| (c.len(), 0)), INDICES)?;
    for _ in 0..n {
        // The chain with the most samples for each that is used, and the first of such: one without any comes before all others.
        let mut next = 0;
        for (c, &(len, used)) in chains.iter().enumerate() {
            let (most, by) = chains[next];
            if len as u128 * (by as u128) > most as u128 * (used as u128) {
                next = c;
            }
        }
        chains[next].1 += 1;
    }
    let mut indices = memory::room(n, INDICES)?;
    let mut first = 0;
    for (len, used) in chains {
        indices.extend((1..=used).map(|i| first + evenly(i, used, len) - 1));
        first += len;
    }
    Ok(indices)
}

/// Returns i len / n, rounded up, without overflow.
fn evenly(i: usize, n: usize, len: usize) -> usize {
    (i as u128 * len as u128).div_ceil(n as u128) as usize
}

/// Says in short which samples of `of` are used.
pub fn describe(used: &[usize], of: usize) -> String {
    let text = |some: &[usize]| {
        some.iter()
            .map(usize::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    match used {
        all if all.len() == of => format!("all {of} samples"),
        [front @ .., last] if front.len() > SHOWN => {
            format!(
                "{} samples of {of}: {}, ... {last}",
                used.len(),
                text(&front[..SHOWN])
            )
        }
        few => format!("{} samples of {of}: {}", few.len(), text(few)),
    }
}
