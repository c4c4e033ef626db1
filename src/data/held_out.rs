//! The text that no model is trained on, in two parts: one to choose by, one to report on.

use super::Corpus;

/// The two parts. What is chosen (when to stop, which average of weights, a temperature) is chosen by the first alone, so that figures on the second
/// are of a text that had no say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldOut<'a> {
    /// The tokens to choose by.
    pub choosing: &'a [u16],
    /// The tokens to report on.
    pub reporting: &'a [u16],
    /// Whether the two have no target in common. A validation split of one window is both parts.
    pub is_apart: bool,
    /// Whether the two are the halves of the validation split; else the first is the whole split and the second the test text.
    pub is_halved: bool,
}

impl Corpus {
    /// Returns the two parts for windows of `block` tokens: of a corpus with a test text the validation split and that text, else
    /// [`Corpus::halves`]. `most` limits the windows of both halves together, or of each text; both begin at their fronts.
    pub fn held_out(&self, block: usize, most: Option<usize>) -> HeldOut<'_> {
        HeldOut::new(&self.val, self.test.as_deref(), block, most)
    }

    /// Returns the halves of the validation split, the first of which has the odd window. Their windows of `block` tokens are those of the whole split,
    /// in order.
    pub fn halves(&self, block: usize) -> HeldOut<'_> {
        HeldOut::new(&self.val, None, block, None)
    }
}

impl<'a> HeldOut<'a> {
    /// Returns the number of windows of `block` tokens of each part, the part to choose by first.
    pub fn windows(&self, block: usize) -> [usize; 2] {
        [self.choosing, self.reporting].map(|tokens| windows(tokens, block))
    }

    /// Returns the validation split's tokens, as far as they are among the parts: both halves, or one piece.
    pub fn validation(&self) -> impl Iterator<Item = &'a [u16]> {
        let second = (self.is_apart && self.is_halved).then_some(self.reporting);
        std::iter::once(self.choosing).chain(second)
    }

    fn new(val: &'a [u16], test: Option<&'a [u16]>, block: usize, most: Option<usize>) -> Self {
        let most = most.unwrap_or(usize::MAX).max(1);
        let front = |tokens: &'a [u16], n: usize| match n < windows(tokens, block) {
            true => &tokens[..n * block + 1],
            false => tokens,
        };
        if let Some(test) = test {
            return Self {
                choosing: front(val, most),
                reporting: front(test, most),
                is_apart: true,
                is_halved: false,
            };
        }
        let all = windows(val, block);
        let used = all.min(most);
        if used < 2 {
            let tokens = front(val, used);
            return Self {
                choosing: tokens,
                reporting: tokens,
                is_apart: false,
                is_halved: true,
            };
        }
        let middle = all.div_ceil(2) * block;
        Self {
            choosing: front(&val[..middle + 1], used.div_ceil(2)),
            reporting: front(&val[middle..], used / 2),
            is_apart: true,
            is_halved: true,
        }
    }
}

/// Returns how many windows of `block` tokens, each with the target after it, lie one after the other.
fn windows(tokens: &[u16], block: usize) -> usize {
    tokens.len().saturating_sub(1) / block.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(n: usize, block: usize, most: Option<usize>) -> (Vec<u16>, Vec<u16>, bool) {
        let val: Vec<u16> = (0..n as u16).collect();
        let parts = HeldOut::new(&val, None, block, most);
        // The inputs of each part's windows.
        let of = |t: &[u16]| t[..(t.len() - 1) / block * block].to_vec();
        (of(parts.choosing), of(parts.reporting), parts.is_apart)
    }

    #[test]
    fn the_halves_windows_are_those_of_the_whole() {
        for n in 9..60 {
            let (a, b, apart) = starts(n, 4, None);
            let whole = (n - 1) / 4;
            assert!(apart);
            assert_eq!(
                (a.len() / 4, b.len() / 4),
                (whole.div_ceil(2), whole / 2),
                "{n}"
            );
            let both: Vec<u16> = a.into_iter().chain(b).collect();
            assert_eq!(both, (0..(whole * 4) as u16).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_limit_takes_the_front_of_each_half() {
        let (a, b, _) = starts(41, 4, Some(3));
        assert_eq!((a, b), ((0..8).collect(), (20..24).collect()));
        let (a, b, apart) = starts(41, 4, Some(1));
        assert_eq!((&a, &b, apart), (&vec![0, 1, 2, 3], &a, false));
        let (a, b, apart) = starts(8, 4, None);
        assert_eq!((&a, &b, apart), (&vec![0, 1, 2, 3], &a, false));
    }

    #[test]
    fn a_test_text_reports_and_the_split_chooses() {
        let (val, test) = ((0..20).collect::<Vec<u16>>(), (50..90).collect::<Vec<_>>());
        let parts = HeldOut::new(&val, Some(&test), 4, None);
        assert_eq!((parts.choosing, parts.reporting), (&val[..], &test[..]));
        let parts = HeldOut::new(&val, Some(&test), 4, Some(2));
        assert_eq!((parts.choosing, parts.reporting), (&val[..9], &test[..9]));
    }
}
