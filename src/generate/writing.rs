//! Texts written token by token: begin, look, put a token of one's own, advance, finish.

use super::text::{TEXTS, Text};
use super::{ContextOverflow, Generated, Generator, Mode, Options, TokenInfo, writer};
use crate::backend::{Backend, Draw, DrawFrom, Drawn};
use crate::error::{Error, Result};
use crate::gpt::Piece;
use crate::memory;
use crate::rng::{Stream, StreamTag};

/// The texts of one call to [`Generator::begin`].
pub(super) struct Writing {
    options: Options,
    first: u64,
    stream: Stream,
    /// Tokens that each active text has by now.
    step: usize,
    texts: Vec<Text>,
    /// The texts that go on, ascending.
    active: Vec<usize>,
    /// The token that each active text gets next, once its tokens are read.
    drawn: Vec<Drawn>,
    /// The averaged prediction of that token, (active, V), nats; empty unless somebody looks.
    log_probs: Vec<f64>,
}

/// What the average of the samples predicts for a text's next token, at temperature 1 and before top-k.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction<'a> {
    /// Logarithms of the averaged probabilities.
    pub log_probs: &'a [f64], // (V)
    /// Entropy of the averaged prediction, nats.
    pub entropy: f64,
    /// Difference of that and the mean entropy of the samples' predictions: what they disagree about.
    pub mutual_information: f64,
}

impl<B: Backend> Generator<B> {
    /// Begins texts after these prompts; those that were written before are forgotten. Text i is number `first + i` of the seed.
    ///
    /// # Errors
    /// Returns an error when a prompt is empty or has a token out of range, or an option is out of range.
    pub fn begin(&mut self, prompts: &[&[u16]], options: &Options, first: u64) -> Result<()> {
        self.writing = None;
        options.check()?;
        self.check_prompts(prompts)?;
        self.ensemble.make_room(prompts.len().max(1))?;
        (0..self.ensemble.sequences()).for_each(|t| self.ensemble.clear(t));
        let block = self.gpt.config().block_size;
        let new = |prompt: &&[u16]| Text::new(prompt, block, options.max_new_tokens);
        let texts: Vec<Text> = memory::try_collect(prompts.iter().map(new), TEXTS)?;
        self.uniforms.clear();
        memory::grow(&mut self.uniforms, texts.len(), TEXTS)?;
        self.writers.clear();
        memory::grow(&mut self.writers, texts.len(), TEXTS)?;
        self.came.clear();
        memory::grow(&mut self.came, texts.len(), TEXTS)?;
        self.writing = Some(Writing {
            options: options.clone(),
            first,
            stream: Stream::new(options.seed, StreamTag::Generate, 0),
            step: 0,
            active: memory::collect(0..texts.len(), TEXTS)?,
            texts,
            drawn: Vec::new(),
            log_probs: Vec::new(),
        });
        Ok(())
    }

    /// Returns how many texts were begun.
    pub fn texts(&self) -> usize {
        self.writing.as_ref().map_or(0, |w| w.texts.len())
    }

    /// Writes the next token of every text that goes on, and returns them with their texts; none once each has max_new_tokens or was stopped.
    ///
    /// # Errors
    /// Returns [`Error::State`] before [`Generator::begin`], and [`Error::NotFinite`] when a sample's logits are not finite: the texts are then given up.
    pub fn advance(&mut self) -> Result<&[(usize, TokenInfo)]> {
        let mut w = self.take()?;
        self.came.clear();
        if w.goes_on() {
            if w.drawn.is_empty() {
                self.read_and_draw(&mut w, false)?;
            }
            for (&t, drawn) in w.active.iter().zip(&w.drawn) {
                let info = TokenInfo::of(drawn);
                w.texts[t].add(info);
                self.came.push((t, info));
            }
            w.step += 1;
            w.drawn.clear();
            w.log_probs.clear();
        }
        self.writing = Some(w);
        Ok(&self.came)
    }

    /// Returns what is predicted for the next token of a text. It changes no text.
    ///
    /// # Errors
    /// Returns the errors of [`Generator::advance`], and an error for a text that does not go on.
    pub fn predict(&mut self, text: usize) -> Result<Prediction<'_>> {
        let at = self.look(text)?;
        let v = self.gpt.config().vocab_size;
        let w = self.writing.as_ref().ok_or_else(nothing_begun)?;
        let d = &w.drawn[at];
        Ok(Prediction {
            log_probs: &w.log_probs[at * v..(at + 1) * v],
            entropy: d.entropy,
            mutual_information: d.entropy - d.expected_entropy,
        })
    }

    /// Puts a token in place of the one that would be drawn for a text. It is the text's next one; its `draw_log_prob` is 0.
    ///
    /// # Errors
    /// Returns the errors of [`Generator::predict`], and an error for a token out of range.
    pub fn put(&mut self, text: usize, token: u16) -> Result<()> {
        let v = self.gpt.config().vocab_size;
        if token as usize >= v {
            let expected = format!("below vocab_size = {v}");
            return Err(Error::out_of_range("token", expected, token));
        }
        let at = self.look(text)?;
        let w = self.writing.as_mut().ok_or_else(nothing_begun)?;
        let d = &mut w.drawn[at];
        d.token = token.into();
        d.log_prob = w.log_probs[at * v + token as usize];
        d.draw_log_prob = 0.0;
        Ok(())
    }

    /// Ends a text; the others go on. Ending one that has ended already changes nothing.
    ///
    /// # Errors
    /// Returns [`Error::State`] before [`Generator::begin`], and an error when there is no such text.
    pub fn stop(&mut self, text: usize) -> Result<()> {
        let v = self.gpt.config().vocab_size;
        let w = self.writing.as_mut().ok_or_else(nothing_begun)?;
        w.check(text)?;
        if let Ok(at) = w.active.binary_search(&text) {
            w.active.remove(at);
            if !w.drawn.is_empty() {
                w.drawn.remove(at);
                w.log_probs.drain(at * v..(at + 1) * v);
            }
        }
        Ok(())
    }

    /// Returns the tokens that a text has by now, without its prompt.
    ///
    /// # Errors
    /// Returns the errors of [`Generator::stop`].
    pub fn written(&self, text: usize) -> Result<&[u16]> {
        let w = self.writing.as_ref().ok_or_else(nothing_begun)?;
        w.check(text)?;
        let text = &w.texts[text];
        Ok(&text.tokens[text.prompt..])
    }

    /// Ends all texts, and returns them. [`Generator::written`] goes on to give their tokens.
    ///
    /// # Errors
    /// Returns [`Error::State`] before [`Generator::begin`].
    pub fn finish(&mut self) -> Result<Vec<Generated>> {
        let w = self.writing.as_mut().ok_or_else(nothing_begun)?;
        w.active.clear();
        w.drawn.clear();
        w.log_probs.clear();
        memory::try_collect(w.texts.iter_mut().map(Text::generated), TEXTS)
    }

    fn take(&mut self) -> Result<Writing> {
        self.writing.take().ok_or_else(nothing_begun)
    }

    /// Reads and draws where that is still to be done, keeping the predictions; returns where a text is among the active.
    fn look(&mut self, text: usize) -> Result<usize> {
        let w = self.writing.as_ref().ok_or_else(nothing_begun)?;
        w.check(text)?;
        let at = w.active.binary_search(&text).ok().filter(|_| w.goes_on());
        let at = at.ok_or_else(|| {
            Error::state(format!("text {text} has ended: there is no next token"))
        })?;
        if w.drawn.is_empty() {
            let mut w = self.take()?;
            self.read_and_draw(&mut w, true)?;
            self.writing = Some(w);
        }
        Ok(at)
    }

    /// Reads what the active texts have not read, and draws the next token of each; keeps the predictions where that is asked for.
    fn read_and_draw(&mut self, w: &mut Writing, keep: bool) -> Result<()> {
        for &t in &w.active {
            self.slide_window(&mut w.texts[t], t, w.options.context);
        }
        let (step, samples) = (w.step as u64, self.num_samples());
        self.uniforms.clear();
        self.writers.clear();
        for &t in &w.active {
            let number = w.first.wrapping_add(t as u64);
            self.uniforms.push(w.stream.uniform(number, step));
            self.writers.push(writer(w.options.seed, number, samples));
            memory::grow(&mut w.texts[t].info, 1, TEXTS)?;
            memory::grow(&mut w.texts[t].tokens, 1, TEXTS)?;
        }
        let piece = |&t: &usize| Piece {
            sequence: t,
            tokens: &w.texts[t].tokens[w.texts[t].read..],
        };
        let pieces: Vec<Piece> = memory::collect(w.active.iter().map(piece), TEXTS)?;
        memory::resize(&mut w.drawn, pieces.len(), Drawn::default(), TEXTS)?;
        let mut at = 0;
        // As many texts at a time as there is room for.
        while at < pieces.len() {
            let mut rows = 0;
            let fits = pieces[at..].iter().take_while(|p| {
                rows += p.tokens.len();
                rows <= self.ensemble.rows()
            });
            let now = at..at + fits.count();
            self.ensemble.read(&pieces[now.clone()])?;
            let how = Draw {
                from: match w.options.mode {
                    Mode::Average => DrawFrom::Average,
                    Mode::Vote => DrawFrom::Vote,
                    Mode::Sequence => DrawFrom::Member(&self.writers[now.clone()]),
                },
                temperature: w.options.temperature,
                top_k: w.options.top_k,
            };
            let (drawn, u) = (&mut w.drawn[now.clone()], &self.uniforms[now.clone()]);
            if let Some((sample, value)) = self.ensemble.draw(drawn, how, u)? {
                return Err(Error::NotFinite {
                    step,
                    tensor: format!("logits of sample {sample}"),
                    value,
                });
            }
            if keep {
                self.keep_predictions(now.len(), &mut w.log_probs)?;
            }
            at = now.end;
        }
        Ok(())
    }

    /// Adds the averaged prediction after each of the `n` pieces of the last read.
    fn keep_predictions(&mut self, n: usize, log_probs: &mut Vec<f64>) -> Result<()> {
        let (v, members) = (self.gpt.config().vocab_size, self.num_samples());
        memory::resize(&mut self.logits, members * n * v, 0.0, "logits")?;
        self.ensemble.logits(&mut self.logits)?;
        let before = log_probs.len();
        let all = before + n * v;
        memory::resize(log_probs, all, f64::NEG_INFINITY, "predictions")?;
        let rows = log_probs[before..].chunks_exact_mut(v).enumerate();
        for (r, row) in rows {
            for s in 0..members {
                let logits = &self.logits[(s * n + r) * v..][..v];
                add_probabilities(row, logits);
            }
            row.iter_mut().for_each(|lp| *lp -= (members as f64).ln());
        }
        Ok(())
    }

    /// Refuses an empty prompt, and a token out of range, even if it lies before the block and is never read.
    fn check_prompts(&self, prompts: &[&[u16]]) -> Result<()> {
        let v = self.gpt.config().vocab_size;
        for (p, prompt) in prompts.iter().enumerate() {
            let name = |rest: &str| match prompts.len() {
                1 => format!("prompt{rest}"),
                _ => format!("prompt {p}{rest}"),
            };
            if prompt.is_empty() {
                return Err(Error::out_of_range(name(""), "at least one token", "none"));
            }
            if let Some(i) = prompt.iter().position(|&t| t as usize >= v) {
                let expected = format!("a token below vocab_size = {v}");
                return Err(Error::out_of_range(
                    name(&format!("[{i}]")),
                    expected,
                    prompt[i],
                ));
            }
        }
        Ok(())
    }

    /// When the block is full, drops what the context says and lets the rest be read again.
    fn slide_window(&mut self, text: &mut Text, t: usize, context: ContextOverflow) {
        let block = self.gpt.config().block_size;
        let cached = self.ensemble.len(t);
        if cached + (text.tokens.len() - text.read) <= block {
            return;
        }
        let keep = match context {
            ContextOverflow::Exact => block,
            ContextOverflow::Hop => (block / 2).max(1),
        };
        self.ensemble.clear(t);
        text.read = text.tokens.len() - keep;
        text.rereads += keep - 1;
    }
}

impl Writing {
    /// Returns whether any text gets another token.
    fn goes_on(&self) -> bool {
        self.step < self.options.max_new_tokens && !self.active.is_empty()
    }

    fn check(&self, text: usize) -> Result<()> {
        let n = self.texts.len();
        match text < n {
            true => Ok(()),
            false => Err(Error::out_of_range(
                "text",
                format!("below {n}, the number of texts"),
                text,
            )),
        }
    }
}

fn nothing_begun() -> Error {
    Error::state("no text is being written: begin one")
}

/// Adds a model's probabilities, softmax(logits), to those whose logarithms `sums` has; in logarithms, so that the smallest are not lost.
fn add_probabilities(sums: &mut [f64], logits: &[f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let largest = f64::from(largest);
    let each = logits.iter().map(|&z| (f64::from(z) - largest).exp());
    let log_sum = largest + each.sum::<f64>().ln();
    for (sum, &z) in sums.iter_mut().zip(logits) {
        let lp = f64::from(z) - log_sum;
        let (high, low) = (sum.max(lp), sum.min(lp));
        *sum = high + (low - high).exp().ln_1p();
    }
}
