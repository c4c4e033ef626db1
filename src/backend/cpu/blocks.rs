//! Passes over flat vectors in blocks that any thread may take; the tree of their sums does not depend on the threads.

use super::Cpu;
use std::ops::Range;

/// Elements per block: the unit of work and of every sum.
const BLOCK: usize = 4096;
/// The fewest blocks that a thread takes: starting a task costs as much as part of a block.
const GRAIN: usize = 4;
impl Cpu {
    /// Runs `leaf` on each block of `0..n` and on that part of every output (an empty output stays empty), and
    /// joins the results in a tree that depends on `n` alone.
    pub(in crate::backend) fn blocks<const N: usize, R: Send>(
        &self,
        n: usize,
        outs: [&mut [f32]; N],
        leaf: impl Fn(Range<usize>, [&mut [f32]; N]) -> R + Sync,
        join: impl Fn(R, R) -> R + Sync,
    ) -> R {
        if self.threads() == 1 || n < 2 * GRAIN * BLOCK {
            return tree(false, 0..n, outs, &leaf, &join);
        }
        self.run(|| tree(true, 0..n, outs, &leaf, &join))
    }

    /// Returns a sum over all elements, given the sum of each block.
    pub(in crate::backend) fn sum(
        &self,
        n: usize,
        block: impl Fn(Range<usize>) -> f64 + Sync,
    ) -> f64 {
        self.blocks(n, [], |range, []| block(range), |a, b| a + b)
    }
}

fn tree<const N: usize, R: Send>(
    parallel: bool,
    range: Range<usize>,
    outs: [&mut [f32]; N],
    leaf: &(impl Fn(Range<usize>, [&mut [f32]; N]) -> R + Sync),
    join: &(impl Fn(R, R) -> R + Sync),
) -> R {
    let blocks = range.len().div_ceil(BLOCK);
    if blocks <= 1 {
        return leaf(range, outs);
    }
    let left = blocks / 2 * BLOCK;
    let mut right_outs = [const { None }; N];
    let mut slots = right_outs.iter_mut();
    let left_outs = outs.map(|out| {
        let (a, b) = out.split_at_mut(left.min(out.len()));
        if let Some(slot) = slots.next() {
            *slot = Some(b);
        }
        a
    });
    let right_outs = right_outs.map(Option::unwrap_or_default);
    let (l, r) = (
        range.start..range.start + left,
        range.start + left..range.end,
    );
    let (l, r) = if parallel && blocks >= 2 * GRAIN {
        rayon::join(
            || tree(true, l, left_outs, leaf, join),
            || tree(true, r, right_outs, leaf, join),
        )
    } else {
        (
            tree(false, l, left_outs, leaf, join),
            tree(false, r, right_outs, leaf, join),
        )
    };
    join(l, r)
}
