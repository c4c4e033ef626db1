//! The windows of a warm-up that adapts, as Stan has them: a fast one, slow ones that double, and a last fast one.
//!
//! Of every 1000 steps the first 75 find the bulk of the target, the slow windows begin with 25 and double, the last of them reaching to the final 50
//! (Stan Reference Manual, chapter "MCMC Sampling", "Automatic parameter tuning"). Other lengths have the same shares.

/// What a window is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Finds the bulk of the target.
    First,
    /// Estimates the mass, and ends with a new one.
    Slow,
    /// Settles the step size.
    Last,
}

/// A window: its steps are `start..end` of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub kind: Kind,
    pub start: u64,
    pub end: u64,
}

/// Returns the window that a step of a warm-up of so many steps lies in.
pub(super) fn window_at(step: u64, warmup: u64) -> Window {
    let share = |of_1000: u64| (warmup.saturating_mul(of_1000) / 1000).max(1);
    let (first, last) = (share(75), warmup - share(50));
    if step < first {
        let (kind, start, end) = (Kind::First, 0, first);
        return Window { kind, start, end };
    }
    let (mut start, mut len) = (first, share(25));
    while start < last {
        let end = match start + len + 2 * len > last {
            true => last, // the next would not be whole
            false => start + len,
        };
        if step < end {
            let kind = Kind::Slow;
            return Window { kind, start, end };
        }
        (start, len) = (end, 2 * len);
    }
    let (kind, start, end) = (Kind::Last, last, warmup);
    Window { kind, start, end }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_steps_have_stans_windows() {
        let mut ends = Vec::new();
        let mut step = 0;
        while step < 1000 {
            let w = window_at(step, 1000);
            assert_eq!((w.start, window_at(w.end - 1, 1000)), (step, w));
            ends.push((w.kind, w.end - w.start));
            step = w.end;
        }
        use Kind::{First, Last, Slow};
        let slow = [25, 50, 100, 200, 500].map(|n| (Slow, n));
        let want: Vec<_> = [(First, 75)]
            .into_iter()
            .chain(slow)
            .chain([(Last, 50)])
            .collect();
        assert_eq!(ends, want);
    }

    #[test]
    fn other_lengths_are_covered_too() {
        for warmup in [200, 201, 399, 1234, 20_000] {
            let mut step = 0;
            let mut kinds = Vec::new();
            while step < warmup {
                let w = window_at(step, warmup);
                assert!(w.start == step && w.end > step && w.end <= warmup, "{w:?}");
                kinds.push(w.kind);
                step = w.end;
            }
            assert!(kinds.first() == Some(&Kind::First) && kinds.last() == Some(&Kind::Last));
            assert!(kinds.len() >= 5, "{warmup}: {kinds:?}");
        }
    }
}
