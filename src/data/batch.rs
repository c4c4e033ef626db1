//! Windows of a token sequence and the batches they fill: x is a window, y is that window shifted by one token.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::memory;
use crate::rng::{Stream, StreamTag};

/// The inputs and targets of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Input tokens.
    pub x: Vec<u16>, // (B, T)
    /// Targets: the token that follows each input token.
    pub y: Vec<u16>, // (B, T)
    /// Number of windows, B.
    pub b: usize,
    /// Tokens per window, T.
    pub t: usize,
}

impl Batch {
    /// Creates room for `b` windows of `t` tokens, filled with zeros.
    ///
    /// # Errors
    /// Returns [`Error::OutOfRange`] if `b` or `t` is 0, or if there is no memory for that many tokens.
    pub fn new(b: usize, t: usize) -> Result<Self> {
        if b == 0 || t == 0 {
            return Err(Error::out_of_range(
                "batch",
                "at least one window of one token",
                format!("({b}, {t})"),
            ));
        }
        let what = format!("a batch of ({b}, {t}) tokens");
        let n = b.saturating_mul(t);
        Ok(Self {
            x: memory::zeros(n, &what)?,
            y: memory::zeros(n, &what)?,
            b,
            t,
        })
    }

    /// Copies in the windows that begin at `starts`, and sets B to their number.
    fn gather(&mut self, tokens: &[u16], starts: impl ExactSizeIterator<Item = usize>) {
        let t = self.t;
        self.b = starts.len();
        self.x.resize(self.b * t, 0);
        self.y.resize(self.b * t, 0);
        let rows = self.x.chunks_exact_mut(t).zip(self.y.chunks_exact_mut(t));
        for (start, (x, y)) in starts.zip(rows) {
            x.copy_from_slice(&tokens[start..start + t]);
            y.copy_from_slice(&tokens[start + 1..start + t + 1]);
        }
    }

    fn check_t(&self, t: usize) -> Result<()> {
        if self.t != t {
            return Err(Error::shape("batch", (self.b, t), (self.b, self.t)));
        }
        Ok(())
    }
}

/// The windows that batches are drawn from, overlapping ones included.
#[derive(Clone, Debug)]
pub struct Windows {
    n_tokens: usize,
    t: usize,
    /// The start positions in ascending order; `None` for all of them.
    starts: Option<Vec<usize>>,
}

/// The step at which a subset is drawn; the steps of a run count up from 0 and never reach it.
const SUBSET_STEP: u64 = u64::MAX;

impl Windows {
    /// Returns every window of `t` tokens whose targets exist too: the start positions 0..=n_tokens - t - 1.
    ///
    /// # Errors
    /// Returns [`Error::OutOfRange`] if `t` is 0; [`Error::Data`] if there are fewer than `t` + 1 tokens.
    pub fn all(n_tokens: usize, t: usize) -> Result<Self> {
        if t == 0 {
            return Err(Error::out_of_range("window length", "at least 1", t));
        }
        if n_tokens <= t {
            return Err(Error::data(
                "tokens",
                format!(
                    "a window of {t} and the target after it need more than {t}, found {n_tokens}"
                ),
            ));
        }
        Ok(Self {
            n_tokens,
            t,
            starts: None,
        })
    }

    /// Returns `count` distinct windows of [`Windows::all`], every subset equally likely, in O(`count`) memory.
    ///
    /// # Errors
    /// Fails as [`Windows::all`] does, and with [`Error::OutOfRange`] if `count` is 0 or more than there are.
    pub fn subset(n_tokens: usize, t: usize, count: usize, seed: u64) -> Result<Self> {
        let all = Self::all(n_tokens, t)?;
        let n = all.num_windows();
        if count == 0 || count > n {
            return Err(Error::out_of_range(
                "number of windows",
                format!("1 to {n}"),
                count,
            ));
        }
        // Robert Floyd's algorithm (Bentley and Floyd 1987, "A sample of brilliance"): one draw per window.
        let stream = Stream::new(seed, StreamTag::Batch, 0);
        let mut starts = BTreeSet::new();
        for j in n - count..n {
            let drawn = stream.below(j as u64 + 1, SUBSET_STEP, j as u64) as usize;
            if !starts.insert(drawn) {
                starts.insert(j);
            }
        }
        Ok(Self {
            starts: Some(starts.into_iter().collect()),
            ..all
        })
    }

    /// Returns the number of windows.
    pub fn num_windows(&self) -> usize {
        match &self.starts {
            None => self.n_tokens - self.t,
            Some(starts) => starts.len(),
        }
    }

    /// Returns the number of tokens per window, T.
    pub fn window_len(&self) -> usize {
        self.t
    }

    /// Returns whether these are only some of the text's windows.
    pub fn is_subset(&self) -> bool {
        self.starts.is_some()
    }

    /// Returns the start position of window `at`, counted from 0; `None` past the last.
    pub fn start(&self, at: usize) -> Option<usize> {
        match &self.starts {
            None => (at < self.num_windows()).then_some(at),
            Some(starts) => starts.get(at).copied(),
        }
    }

    /// Fills the batch with B windows drawn uniformly with replacement, as a function of (seed, chain, step) alone. Does not allocate.
    ///
    /// # Errors
    /// Returns [`Error::Shape`] if `tokens` or the batch's windows have another length than these, or if B is 0.
    pub fn fill(
        &self,
        tokens: &[u16],
        seed: u64,
        chain: u32,
        step: u64,
        batch: &mut Batch,
    ) -> Result<()> {
        if batch.b == 0 {
            return Err(Error::shape(
                "batch",
                "at least one window",
                (batch.b, batch.t),
            ));
        }
        let stream = Stream::new(seed, StreamTag::Batch, chain);
        let n = self.num_windows();
        let draw = |row| {
            let at = stream.below(n as u64, step, row as u64) as usize;
            self.starts.as_ref().map_or(at, |starts| starts[at])
        };
        let b = batch.b;
        self.gather(tokens, (0..b).map(draw), batch)
    }

    /// Fills the batch with the windows that begin at `starts`.
    pub(super) fn gather(
        &self,
        tokens: &[u16],
        starts: impl ExactSizeIterator<Item = usize>,
        batch: &mut Batch,
    ) -> Result<()> {
        if tokens.len() != self.n_tokens {
            return Err(Error::shape("tokens", self.n_tokens, tokens.len()));
        }
        batch.check_t(self.t)?;
        batch.gather(tokens, starts);
        Ok(())
    }
}

/// The windows of a split one after the other, without overlap, in the order of the text.
#[derive(Clone, Copy, Debug)]
pub struct Consecutive<'a> {
    tokens: &'a [u16],
    t: usize,
}

/// Cuts `tokens` into (n - 1) / `t` windows of `t` tokens; their targets are the tokens 1, 2, 3, … of the split, each once. Tokens that do
/// not fill a last window are left out.
///
/// # Errors
/// Fails as [`Windows::all`] does.
pub fn consecutive(tokens: &[u16], t: usize) -> Result<Consecutive<'_>> {
    Windows::all(tokens.len(), t)?;
    Ok(Consecutive { tokens, t })
}

impl Consecutive<'_> {
    /// Returns the number of windows.
    pub fn num_windows(&self) -> usize {
        (self.tokens.len() - 1) / self.t
    }

    /// Returns the number of targets in all windows together.
    pub fn num_tokens(&self) -> usize {
        self.num_windows() * self.t
    }

    /// Fills the batch with at most `b` windows from `first` on, sets its B and returns it: 0 past the end. Does not allocate if the batch
    /// was made for `b` windows or more.
    ///
    /// ```
    /// # use bnn::data::{consecutive, Batch};
    /// let tokens: Vec<u16> = (0..30).collect();
    /// let (windows, mut batch) = (consecutive(&tokens, 4)?, Batch::new(3, 4)?);
    /// let mut first = 0;
    /// while first < windows.num_windows() {
    ///     first += windows.fill(first, 3, &mut batch)?;
    /// }
    /// assert_eq!((first, batch.b), (7, 1));
    /// # bnn::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// Returns [`Error::OutOfRange`] if `b` is 0; [`Error::Shape`] if the batch's windows have another length.
    pub fn fill(&self, first: usize, b: usize, batch: &mut Batch) -> Result<usize> {
        if b == 0 {
            return Err(Error::out_of_range("windows per batch", "at least 1", b));
        }
        batch.check_t(self.t)?;
        let end = first.saturating_add(b).min(self.num_windows());
        batch.gather(
            self.tokens,
            (first.min(end)..end).map(|window| window * self.t),
        );
        Ok(batch.b)
    }
}
