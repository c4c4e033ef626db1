//! A stream's words at one step as a generator of the crate `rand`.

use super::Stream;
use rand::TryRng;
use rand::rand_core::utils::fill_bytes_via_next_word;
use std::convert::Infallible;

/// A generator that `rand` and `rand_distr` draw from: the words of a [`Stream`] at one step, in order. Made by [`Stream::rng`].
#[derive(Clone, Debug)]
pub struct StreamRng {
    stream: Stream,
    step: u64,
    block: u64, // of the next four words
    words: [u32; 4],
    used: usize, // of the words
}

impl Stream {
    /// Returns a generator of the words at (`step`, 0), (`step`, 1), … It begins anew each time, so what it draws is a function of the address, as
    /// everything here is.
    ///
    /// A 64-bit word has its upper half first: as long as only these are drawn, uniforms in [0, 1) are those of [`Stream::uniform`]. Streams for
    /// [`StreamTag::Caller`](super::StreamTag::Caller) share no number with those that the library draws from.
    ///
    /// ```
    /// use bnn::rng::{StreamTag, Stream, rand_distr::{Distribution, StudentT}};
    ///
    /// let mut rng = Stream::new(42, StreamTag::Caller, 0).rng(7);
    /// let heavy: f64 = StudentT::new(4.0)?.sample(&mut rng);
    /// # assert!(heavy.is_finite());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rng(&self, step: u64) -> StreamRng {
        StreamRng {
            stream: *self,
            step,
            block: 0,
            words: [0; 4],
            used: 4,
        }
    }
}

impl StreamRng {
    fn word(&mut self) -> u32 {
        if self.used == 4 {
            self.words = self.stream.words(self.step, self.block);
            self.block = self.block.wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }
}

impl TryRng for StreamRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.word())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok((self.word() as u64) << 32 | self.word() as u64)
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        fill_bytes_via_next_word(to, || self.try_next_u32())
    }
}
