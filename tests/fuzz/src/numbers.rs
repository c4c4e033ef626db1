//! Random choices of a mutator, and the numbers that break programs.

/// A generator of 64 bits (SplitMix64).
pub struct Rng(pub u64);

impl Rng {
    /// Returns the next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `n`; 0 where there is none.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// Returns one of several.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Returns true once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Returns a whole number in the place of `old`.
    pub fn whole(&mut self, old: u64) -> u64 {
        match self.below(12) {
            0 => 0,
            1 => 1,
            2 => old.wrapping_add(1),
            3 => old.wrapping_sub(1),
            4 => old.wrapping_mul(2),
            5 => u64::MAX,
            6 => 1 << 63,
            7 => 1 << self.below(64),
            8 => (1 << self.below(64)) - 1,
            9 | 10 => self.next() % 100,
            _ => self.next(),
        }
    }

    /// Returns a real number in the place of `old`.
    pub fn real(&mut self, old: f64) -> f64 {
        match self.below(14) {
            0 => 0.0,
            1 => -0.0,
            2 => 1.0,
            3 => -1.0,
            4 => -old,
            5 => old * 2.0,
            6 => old + 1.0,
            7 => f64::NAN,
            8 => f64::INFINITY,
            9 => f64::MAX,
            10 => f64::MIN_POSITIVE / 4.0,
            11 => 1e30,
            12 => (self.next() % 100) as f64,
            _ => f64::from_bits(self.next()),
        }
    }

    /// Writes another number where a text has one, or returns false where it has none.
    pub fn renumber(&mut self, text: &mut Vec<u8>) -> bool {
        let starts: Vec<usize> = (0..text.len())
            .filter(|&i| text[i].is_ascii_digit() && (i == 0 || !text[i - 1].is_ascii_digit()))
            .collect();
        if starts.is_empty() {
            return false;
        }
        let start = self.pick(&starts);
        let len = text[start..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        let old = std::str::from_utf8(&text[start..start + len])
            .ok()
            .and_then(|t| t.parse().ok());
        let new = match self.below(8) {
            0 => format!("-{}", self.next() % 10),
            1 => format!("{}e{}", self.next() % 10, self.below(400)),
            2 => format!("{}.5", self.next() % 1000),
            _ => self.whole(old.unwrap_or(0)).to_string(),
        };
        text.splice(start..start + len, new.into_bytes());
        true
    }
}
