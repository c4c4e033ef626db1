//! A deterministic model in a file: parameters, shape and characters, and how it was trained.

use super::selection::Chosen;
use crate::error::{Error, Result};
use crate::gpt::{Gpt, GptConfig};
use crate::memory;
use crate::store::{Header, Kind, Reader, TensorData, params_sha256, write};
use std::path::Path;

/// The parameters' name in the file.
const PARAMS: &str = "params";
/// How the state was chosen, in the file: losses, decays, steps between looks.
const CURVE: &str = "curve";
const DECAYS: &str = "decays";
const EVERY: &str = "check_every";
/// The largest whole number up to which f64 has all.
const MOST_STEPS: f64 = (1u64 << 53) as f64;

/// A trained model with what its file says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct BaselineFile {
    /// How it was trained, as text.
    pub config: String,
    /// Its shape.
    pub model: GptConfig,
    /// Its parameters, (n_params).
    pub params: Vec<f32>,
    /// Seed of its training.
    pub seed: u64,
    /// Steps that it was trained for.
    pub steps: u64,
    /// SHA-256 of the text that it was trained on.
    pub corpus_sha256: [u8; 32],
    /// The characters that its tokens are; empty where none are known.
    pub vocabulary: String,
    /// Mean loss of its last steps (at most 50), nats per token; NaN where it is not known.
    pub train_loss: f64,
    /// Loss on the whole validation split, nats per token; NaN until it is computed.
    pub val_loss: f64,
    /// Seconds of training; NaN where they are not known.
    pub seconds: f64,
    /// How its state was chosen; none where the last one was taken.
    pub chosen: Option<Chosen>,
}

impl BaselineFile {
    /// Writes the file, in the place of what may be there; it appears whole or not at all.
    ///
    /// # Errors
    /// Returns the errors of [`write()`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let json = serde_json::to_string(&self.model);
        let mut header = Header {
            config: self.config.clone(),
            model: json.map_err(|e| Error::out_of_range("model", "JSON", e))?,
            seed: self.seed,
            step: self.steps,
            corpus_sha256: self.corpus_sha256,
            vocabulary: self.vocabulary.clone(),
            scalars: vec![
                ("train_loss".into(), self.train_loss),
                ("val_loss".into(), self.val_loss),
                ("seconds".into(), self.seconds),
            ],
            ..Header::new(Kind::Baseline)
        };
        let mut tensors = vec![(PARAMS, TensorData::F32(&self.params))];
        if let Some(chosen) = &self.chosen {
            header.scalars.push((EVERY.into(), chosen.every as f64));
            tensors.push((DECAYS, TensorData::F64(&chosen.decays)));
            tensors.push((CURVE, TensorData::F64(&chosen.curve)));
        }
        write(path.as_ref(), &header, &tensors)
    }

    /// Reads a file, checked against its own shape.
    ///
    /// # Errors
    /// Those of [`Reader::open`]; [`Error::BadHeader`] for a shape that cannot be built, and for another number of characters or parameters than
    /// the shape has.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut r = Reader::open(path, Kind::Baseline)?;
        let bad = |message: String| Error::BadHeader {
            path: path.into(),
            message,
        };
        let model: GptConfig =
            serde_json::from_str(&r.header().model).map_err(|e| bad(format!("model: {e}")))?;
        model.check().map_err(|e| bad(format!("model: {e}")))?;
        let (v, characters) = (model.vocab_size, r.header().vocabulary.chars().count());
        // None are known of tokens of the caller's.
        if characters != v && characters != 0 {
            return Err(bad(format!("{characters} characters, expected {v}")));
        }
        let (n, len) = (model.n_params(), r.tensor(PARAMS)?.len);
        // Before there is room for them.
        if len != n as u64 {
            return Err(bad(format!("{len} parameters, expected {n}")));
        }
        let mut params = memory::zeros(n, &format!("a model's {n} parameters"))?;
        r.read_f32(PARAMS, &mut params)?;
        let (train_loss, val_loss) = (r.scalar("train_loss")?, r.scalar("val_loss")?);
        let chosen = read_chosen(&mut r, path)?;
        let (seconds, h) = (r.scalar("seconds")?, r.header());
        Ok(Self {
            config: h.config.clone(),
            model,
            params,
            seed: h.seed,
            steps: h.step,
            corpus_sha256: h.corpus_sha256,
            vocabulary: h.vocabulary.clone(),
            train_loss,
            val_loss,
            seconds,
            chosen,
        })
    }
}

/// Reads how the state was chosen, where the file says it.
fn read_chosen(r: &mut Reader, path: &Path) -> Result<Option<Chosen>> {
    if r.tensors().iter().all(|t| t.name != CURVE) {
        return Ok(None);
    }
    let bad = |message: String| Error::BadHeader {
        path: path.into(),
        message,
    };
    let (every, steps) = (r.scalar(EVERY)?, r.header().step);
    let (decays, looks) = (r.tensor(DECAYS)?.len, r.tensor(CURVE)?.len);
    if !((1.0..=MOST_STEPS).contains(&every) && every.fract() == 0.0) {
        let message = format!("{every} steps between looks, expected a whole number from 1");
        return Err(bad(message));
    }
    let width = decays.saturating_add(1);
    let expected = steps.div_ceil(every as u64).saturating_mul(width);
    if looks != expected {
        let message = format!("{looks} losses on the held-out text, expected {expected}");
        return Err(bad(message));
    }
    let len = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let mut chosen = Chosen {
        every: every as u64,
        steps,
        decays: memory::zeros(len(decays), "decays of averages")?,
        curve: memory::zeros(len(looks), "losses on the held-out text")?,
    };
    r.read_f64(DECAYS, &mut chosen.decays)?;
    r.read_f64(CURVE, &mut chosen.curve)?;
    Ok(Some(chosen))
}

impl BaselineFile {
    /// Checks that the file is of this model, whose tokens are these characters.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with what differs.
    pub fn check_fits(&self, path: &Path, gpt: &Gpt, vocabulary: &str) -> Result<()> {
        let json = |c: &GptConfig| {
            serde_json::to_string(c).map_err(|e| Error::out_of_range("model", "JSON", e))
        };
        let mismatch = |what: &str, expected: String, got: String| Error::Mismatch {
            path: path.to_path_buf(),
            what: what.into(),
            expected,
            got,
        };
        if &self.model != gpt.config() {
            return Err(mismatch("model", json(gpt.config())?, json(&self.model)?));
        }
        if self.vocabulary != vocabulary {
            let got = format!("{:?}", self.vocabulary);
            return Err(mismatch("vocabulary", format!("{vocabulary:?}"), got));
        }
        Ok(())
    }
}

/// Returns what samples name their baseline by: SHA-256 of the parameters as little-endian f32; of an untied model whose head is still the
/// embedding's copy, of the tied model's.
pub fn baseline_sha256(gpt: &Gpt, params: &[f32]) -> [u8; 32] {
    let c = gpt.config();
    let head = c.vocab_size * c.n_embd;
    if !c.tie_weights && params.len() > head {
        // The embedding comes first, a head of its own last.
        let (before, own) = params.split_at(params.len() - head);
        if before.get(..head) == Some(own) {
            return params_sha256(before);
        }
    }
    params_sha256(params)
}
