//! Scores of a run's samples on a split: the averaged prediction beside its samples, the baseline and a deterministic model of equal cost.

use super::Context;
use super::config::Config;
use super::folder::{RunFolder, now, write_json};
use super::generate::TEXTS_AT_ONCE;
use super::prepare::{Baseline, Setting};
use super::progress::Progress;
use crate::data::consecutive;
use crate::error::{Error, Result};
use crate::generate::{Generator, Options};
use crate::gpt::Workspace;
use crate::metrics::{
    self, DEFAULT_BLOCK, PairedDifference, PredictiveAccumulator, PredictiveScores, Summary,
    TokenScores, Unit, eval_batch, for_each_logits, paired_block_bootstrap,
};
use crate::rng::{Purpose, Stream};
use crate::store::Store;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Doubles that a piece of a split may take for its sums of probabilities: 64 MB.
const PIECE: usize = 8 << 20;
/// Resamples of the paired bootstrap.
const RESAMPLES: usize = 2000;
/// Samples that texts are averaged over when all are asked for: the original's number.
const TEXT_SAMPLES: usize = 10;

/// A mean with its extremes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Range {
    /// The mean.
    pub mean: f64,
    /// The largest.
    pub max: f64,
    /// The smallest.
    pub min: f64,
}

impl From<Summary> for Range {
    fn from(s: Summary) -> Self {
        Self {
            mean: s.mean,
            max: s.max,
            min: s.min,
        }
    }
}

/// A paired block bootstrap of per-token losses: averaged prediction minus the other, so below 0 is better.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Paired {
    /// Mean difference, nats a token.
    pub difference: f64,
    /// Its standard error.
    pub std_error: f64,
    /// Minus difference over standard error: above 0 when the averaged prediction is better.
    pub z: f64,
    /// 2.5 % point.
    pub low: f64,
    /// 97.5 % point.
    pub high: f64,
    /// Tokens a block.
    pub block: usize,
    /// Resamples.
    pub resamples: usize,
}

impl Paired {
    fn new(d: PairedDifference, block: usize) -> Self {
        Self {
            difference: d.mean,
            std_error: d.std_error,
            z: -d.z,
            low: d.low,
            high: d.high,
            block,
            resamples: RESAMPLES,
        }
    }
}

/// A text beside what the split has, at most 100 characters each.
#[derive(Clone, Debug, Serialize)]
pub struct Example {
    /// What follows the prompt in the split.
    pub reference: String,
    /// What was generated.
    pub generated: String,
}

/// The scores on one split. The original's keys first.
#[derive(Clone, Debug, Serialize)]
pub struct SplitReport {
    /// `val` or `train`.
    pub split: String,
    /// Tokens scored.
    pub total_tokens: usize,
    /// The sampler.
    pub sampler_type: String,
    /// Samples averaged.
    pub num_posterior_samples: usize,
    /// exp of the averaged prediction's loss.
    pub perplexity: f64,
    /// Character BLEU-4 of generated texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bleu: Option<f64>,
    /// Mean ROUGE-1 F of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rouge1: Option<f64>,
    /// Mean ROUGE-2 F.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rouge2: Option<f64>,
    /// Mean ROUGE-L F.
    #[serde(rename = "rougeL", skip_serializing_if = "Option::is_none")]
    pub rouge_l: Option<f64>,
    /// At most three texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<Vec<Example>>,
    /// Seconds that this took.
    pub elapsed_seconds: f64,

    /// The original's definition: exp of the mean loss over tokens and samples.
    pub perplexity_mean_nll: f64,
    /// exp of the baseline's loss.
    pub perplexity_baseline: f64,
    /// The baseline's loss, nats a token.
    pub loss_baseline: f64,
    /// Mean loss of the samples.
    pub loss_mean_of_samples: f64,
    /// Loss of the averaged prediction.
    pub loss_averaged_prediction: f64,
    /// Each sample's loss, in the store's order.
    pub loss_of_each_sample: Vec<f64>,
    /// Averaged prediction against baseline.
    pub against_baseline: Paired,
    /// Loss of the deterministic model that took as many gradients as baseline and chains together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_deterministic_equal_gradients: Option<f64>,
    /// How many those are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deterministic_gradients: Option<u64>,
    /// Averaged prediction against that model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against_deterministic_equal_gradients: Option<Paired>,
    /// Entropy of the averaged prediction at T = 1, nats.
    pub predictive_entropy: Range,
    /// Mean entropy of the samples' predictions.
    pub expected_entropy: f64,
    /// Their difference: what the samples disagree about.
    pub mutual_information: Range,
    /// Mean Brier score.
    pub brier: f64,
    /// How often the likeliest token came.
    pub accuracy: f64,
    /// Expected calibration error, 15 bins.
    pub ece: f64,
    /// Accuracy of the baseline.
    pub accuracy_baseline: f64,
    /// Expected calibration error of the baseline.
    pub ece_baseline: f64,
}

impl SplitReport {
    /// The original's `uncertainty`, bnn's split of it beside.
    pub fn uncertainty(&self) -> Value {
        json!({
            "avg_predictive_entropy": self.predictive_entropy.mean,
            "max_predictive_entropy": self.predictive_entropy.max,
            "min_predictive_entropy": self.predictive_entropy.min,
            "expected_entropy": self.expected_entropy,
            "mutual_information": self.mutual_information,
        })
    }

    /// As lines for a person.
    pub fn text(&self) -> String {
        let mut s = format!(
            "{} split, {} tokens, {} samples (nats a token; perplexity)\n",
            self.split, self.total_tokens, self.num_posterior_samples
        );
        let mut row = |what: &str, loss: f64, note: String| {
            s.push_str(&format!(
                "  {what:<38} {loss:.4}  {:.4}{note}\n",
                loss.exp()
            ));
        };
        row("baseline", self.loss_baseline, String::new());
        row(
            "mean of the samples",
            self.loss_mean_of_samples,
            String::new(),
        );
        let p = &self.against_baseline;
        row(
            "averaged prediction",
            self.loss_averaged_prediction,
            format!(
                "  ({:+.4} +- {:.4} against the baseline, z {:.1})",
                p.difference, p.std_error, p.z
            ),
        );
        if let (Some(loss), Some(n), Some(p)) = (
            self.loss_deterministic_equal_gradients,
            self.deterministic_gradients,
            &self.against_deterministic_equal_gradients,
        ) {
            row(
                &format!("deterministic, {n} gradients"),
                loss,
                format!(
                    "  (averaged {:+.4} +- {:.4}, z {:.1})",
                    p.difference, p.std_error, p.z
                ),
            );
        }
        s.push_str(&format!(
            "  entropy {:.4} = {:.4} expected + {:.4} mutual information; accuracy {:.4}, ECE {:.4} (baseline {:.4})\n",
            self.predictive_entropy.mean,
            self.expected_entropy,
            self.mutual_information.mean,
            self.accuracy,
            self.ece,
            self.ece_baseline,
        ));
        if let (Some(bleu), Some(r1), Some(r2), Some(rl)) =
            (self.bleu, self.rouge1, self.rouge2, self.rouge_l)
        {
            s.push_str(&format!(
                "  texts: BLEU {bleu:.4}, ROUGE-1 {r1:.4}, ROUGE-2 {r2:.4}, ROUGE-L {rl:.4}\n"
            ));
        }
        s
    }
}

/// The store's samples that an evaluation averages: the last `n`, or all.
fn chosen(store: &Store, n: usize) -> std::ops::Range<usize> {
    let first = match n {
        0 => 0,
        n => store.len().saturating_sub(n),
    };
    first..store.len()
}

/// The front of a split that an evaluation may use.
pub(super) fn limited<'a>(config: &Config, setting: &'a Setting, split: &str) -> &'a [u16] {
    let tokens = setting.split(split);
    let t = setting.gpt.config().block_size;
    let by_windows = config.eval_max_samples.map(|n| n.saturating_mul(t) + 1);
    let by_tokens = config.eval_max_tokens.map(|n| n.saturating_add(1));
    let most = by_windows.into_iter().chain(by_tokens).min();
    &tokens[..most.unwrap_or(tokens.len()).min(tokens.len())]
}

/// What is scored.
enum Models<'a> {
    /// One model.
    One(&'a Vec<f32>),
    /// The average of these samples.
    Samples(&'a Store, std::ops::Range<usize>),
}

impl Models<'_> {
    fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Samples(_, used) => used.len(),
        }
    }

    /// Each in turn, and all of it `times` times.
    fn for_each(&self, times: usize, mut f: impl FnMut(&Vec<f32>) -> Result<()>) -> Result<()> {
        match self {
            Self::One(params) => (0..times).try_for_each(|_| f(params)),
            Self::Samples(store, used) => {
                let indices = (0..times).flat_map(|_| used.clone());
                store.for_each(indices, |_, params| f(params))
            }
        }
    }
}

/// Scores of one model, or of the average of several, over a split, in pieces that fit in memory. `done` hears how many windows times models
/// are scored.
fn score(
    setting: &Setting,
    tokens: &[u16],
    models: &Models<'_>,
    mut done: impl FnMut(usize) -> Result<()>,
) -> Result<PredictiveScores> {
    if models.count() == 0 {
        return Err(Error::invalid("samples to score", "at least one", 0));
    }
    let (be, gpt) = (&setting.backend, &setting.gpt);
    let (t, v) = (gpt.config().block_size, gpt.config().vocab_size);
    let windows = consecutive(tokens, t)?.num_windows();
    // Whole batches a piece, so that the pieces change no batch.
    let rows = eval_batch(t);
    let per_piece = (PIECE / (v * t)).max(rows) / rows * rows;
    let mut ws = Workspace::for_prediction(be, gpt.config(), rows.min(windows), t)?;
    let mut total: Option<TokenScores> = None;
    let count = models.count();
    // How many times a model has scored a piece: all of them the first piece, then the second.
    let (mut made, mut acc) = (0, None);
    models.for_each(windows.div_ceil(per_piece), |params| {
        let first = made / count * per_piece;
        let n = per_piece.min(windows - first);
        let piece = &tokens[first * t..(first + n) * t + 1];
        let sums = match &mut acc {
            Some(sums) => sums,
            none => none.insert(PredictiveAccumulator::new(n * t, v)?),
        };
        for_each_logits(be, gpt, params, piece, t, &mut ws, |z, y| {
            sums.add_sample_chunk(z, y)
        })?;
        done(first * count + (made % count + 1) * n)?;
        made += 1;
        let whole = made % count == 0;
        if let Some(sums) = acc.take_if(|_| whole) {
            let scores = sums.finish_tokens()?;
            match &mut total {
                Some(total) => total.extend(scores)?,
                None => total = Some(scores),
            }
        }
        Ok(())
    })?;
    total
        .ok_or_else(|| Error::data("split", "no window to score"))?
        .scores()
}

/// The losses and uncertainties of a split, without texts and without the deterministic model of equal cost.
///
/// # Errors
/// When a sample cannot be read, or a prediction is not finite.
pub fn losses(
    config: &Config,
    setting: &Setting,
    store: &Store,
    baseline: &Baseline,
    split: &str,
    ctx: &mut Context,
) -> Result<SplitReport> {
    let (report, _) = scored(config, setting, store, baseline, split, ctx)?;
    Ok(report)
}

fn scored(
    config: &Config,
    setting: &Setting,
    store: &Store,
    baseline: &Baseline,
    split: &str,
    ctx: &mut Context,
) -> Result<(SplitReport, Vec<f64>)> {
    let start = std::time::Instant::now();
    let tokens = limited(config, setting, split);
    let used = chosen(store, config.eval_num_posterior_samples);
    let t = setting.gpt.config().block_size;
    let work = used.len() * consecutive(tokens, t)?.num_windows();
    let mut progress = Progress::new(&format!("eval {split}"), 0, work as u64);
    let averaged = score(
        setting,
        tokens,
        &Models::Samples(store, used.clone()),
        |done| {
            ctx.check_stop()?;
            progress.at(&mut ctx.log, done as u64, String::new)
        },
    )?;
    drop(progress);
    let base = one(setting, tokens, &baseline.params)?;
    let against = paired(config, &averaged.nll, &base.nll)?;
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let report = SplitReport {
        split: split.into(),
        total_tokens: averaged.nll.len(),
        sampler_type: config.sampler.name().into(),
        num_posterior_samples: used.len(),
        perplexity: averaged.perplexity,
        bleu: None,
        rouge1: None,
        rouge2: None,
        rouge_l: None,
        examples: None,
        elapsed_seconds: start.elapsed().as_secs_f64(),
        perplexity_mean_nll: averaged.gibbs_perplexity,
        perplexity_baseline: base.perplexity,
        loss_baseline: mean(&base.nll),
        loss_mean_of_samples: mean(&averaged.sample_nll),
        loss_averaged_prediction: mean(&averaged.nll),
        loss_of_each_sample: averaged.sample_nll.clone(),
        against_baseline: against,
        loss_deterministic_equal_gradients: None,
        deterministic_gradients: None,
        against_deterministic_equal_gradients: None,
        predictive_entropy: averaged.entropy_summary.into(),
        expected_entropy: averaged.expected_entropy,
        mutual_information: averaged.mutual_information_summary.into(),
        brier: averaged.brier,
        accuracy: averaged.accuracy,
        ece: averaged.ece,
        accuracy_baseline: base.accuracy,
        ece_baseline: base.ece,
    };
    Ok((report, averaged.nll))
}

fn one(setting: &Setting, tokens: &[u16], params: &Vec<f32>) -> Result<PredictiveScores> {
    score(setting, tokens, &Models::One(params), |_| Ok(()))
}

fn paired(config: &Config, a: &[f64], b: &[f64]) -> Result<Paired> {
    // A split shorter than two blocks still holds two shorter ones.
    let block = DEFAULT_BLOCK.min(a.len() / 2).max(1);
    let d = paired_block_bootstrap(a, b, block, RESAMPLES, config.seed)?;
    Ok(Paired::new(d, block))
}

/// Everything that `--eval` asks for, on every split; `bayesian_eval_<time>.json` is written into the run folder.
///
/// # Errors
/// As [`losses`], and when the control's training or a text fails.
pub fn evaluate(
    config: &Config,
    setting: &Setting,
    folder: &RunFolder,
    store: &Store,
    baseline: &Baseline,
    ctx: &mut Context,
) -> Result<Vec<SplitReport>> {
    let control = match config.eval_control {
        true => {
            let iters = baseline.iters + config.extra_baselines() + setting.gradients(config)?;
            Some(setting.deterministic(config, iters, "control", ctx)?)
        }
        false => None,
    };
    let mut reports = Vec::new();
    for split in &config.eval_splits {
        let start = std::time::Instant::now();
        let (mut report, nll) = scored(config, setting, store, baseline, split, ctx)?;
        if let Some(c) = &control {
            let scores = one(setting, limited(config, setting, split), &c.params)?;
            report.loss_deterministic_equal_gradients =
                Some(scores.nll.iter().sum::<f64>() / scores.nll.len() as f64);
            report.deterministic_gradients = Some(c.iters);
            report.against_deterministic_equal_gradients = Some(paired(config, &nll, &scores.nll)?);
        }
        texts(config, setting, store, split, &mut report)?;
        report.elapsed_seconds = start.elapsed().as_secs_f64();
        ctx.log.say(report.text().trim_end())?;
        reports.push(report);
    }
    let data = match (&config.data, &config.data_dir) {
        (Some(p), _) | (None, Some(p)) => p.display().to_string(),
        (None, None) => setting.corpus.name.clone(),
    };
    let file = json!({
        "config": {
            "data_dir": data,
            "splits": config.eval_splits,
            "batch_size": eval_batch(setting.gpt.config().block_size),
            "max_eval_samples": config.eval_max_samples,
            "num_text_samples": config.eval_num_text_samples,
            "prompt_length": config.eval_prompt_length,
            "generation_length": config.eval_generation_length,
            "max_tokens": config.eval_max_tokens,
        },
        "sampler_type": config.sampler.name(),
        "num_posterior_samples": chosen(store, config.eval_num_posterior_samples).len(),
        "temperature": config.temperature,
        "results": by_split(&reports)?,
        "vocab_size": setting.gpt.config().vocab_size,
    });
    write_json(
        &folder.file(&format!("bayesian_eval_{}.json", now())),
        &file,
    )?;
    Ok(reports)
}

/// What a run says of its samples at its end: with `--eval` every split that was asked for, else the validation split's losses; and the
/// validation split's report, wherever it was asked for.
///
/// # Errors
/// As [`evaluate`].
pub fn at_the_end(
    config: &Config,
    setting: &Setting,
    folder: &RunFolder,
    store: &Store,
    baseline: &Baseline,
    ctx: &mut Context,
) -> Result<(Vec<SplitReport>, SplitReport)> {
    let mut reports = match config.eval {
        true => evaluate(config, setting, folder, store, baseline, ctx)?,
        false => Vec::new(),
    };
    let val = match reports.iter().find(|r| r.split == "val") {
        Some(r) => r.clone(),
        None => losses(config, setting, store, baseline, "val", ctx)?,
    };
    if reports.is_empty() {
        reports.push(val.clone());
    }
    Ok((reports, val))
}

/// Reports under their splits' names.
///
/// # Errors
/// Never in fact: they are plain data.
pub fn by_split(reports: &[SplitReport]) -> Result<Map<String, Value>> {
    reports
        .iter()
        .map(|r| {
            let v = serde_json::to_value(r).map_err(|e| Error::invalid("report", "JSON", e))?;
            Ok((r.split.clone(), v))
        })
        .collect()
}

/// Generates texts as the original does (uniform starts, temperature 0.8, all tokens) and scores them against what follows in the split.
fn texts(
    config: &Config,
    setting: &Setting,
    store: &Store,
    split: &str,
    report: &mut SplitReport,
) -> Result<()> {
    let tokens = setting.split(split);
    let (prompt, length) = (config.eval_prompt_length, config.eval_generation_length);
    let room = tokens.len().saturating_sub(prompt + length);
    let n = config.eval_num_text_samples.min(room / 100);
    if n == 0 {
        return Ok(());
    }
    let count = match config.eval_num_posterior_samples {
        0 => TEXT_SAMPLES,
        n => n,
    };
    let samples = super::load_samples(setting, store, count)?;
    let mut generator = Generator::new(&setting.backend, &setting.gpt, samples)?;
    let options = Options {
        max_new_tokens: length,
        temperature: 0.8,
        seed: config.seed,
        ..Options::default()
    };
    let stream = Stream::new(config.seed, Purpose::Evaluate, u32::from(split == "train"));
    let decode = |tokens: &[u16]| setting.corpus.tokenizer.decode(tokens);
    let starts: Vec<usize> = (0..n as u64)
        .map(|i| stream.below(room as u64, 0, i) as usize)
        .collect();
    let prompts: Vec<&[u16]> = starts.iter().map(|&at| &tokens[at..at + prompt]).collect();
    let mut all = Vec::with_capacity(n);
    for (i, prompts) in (0..).zip(prompts.chunks(TEXTS_AT_ONCE as usize)) {
        let first = i * TEXTS_AT_ONCE;
        all.extend(generator.generate_batch(prompts, &options, first, |_, _| true)?);
    }
    let (mut references, mut predictions) = (Vec::new(), Vec::new());
    for (at, made) in starts.into_iter().zip(&all) {
        references.push(
            decode(&tokens[at + prompt..at + prompt + length])?
                .trim()
                .to_owned(),
        );
        predictions.push(decode(&made.tokens)?.trim().to_owned());
    }
    let rouge = metrics::rouge_mean(&references, &predictions, Unit::Char)?;
    report.bleu = Some(metrics::bleu(&references, &predictions, Unit::Char, 4)?);
    report.rouge1 = Some(rouge.rouge1);
    report.rouge2 = Some(rouge.rouge2);
    report.rouge_l = Some(rouge.rouge_l);
    let cut = |s: &String| s.chars().take(100).collect::<String>();
    report.examples = Some(
        references
            .iter()
            .zip(&predictions)
            .take(3)
            .map(|(r, g)| Example {
                reference: cut(r),
                generated: cut(g),
            })
            .collect(),
    );
    Ok(())
}

/// `bnn eval RUN`: scores a run's samples again, with other settings of the evaluation if given.
///
/// # Errors
/// As [`evaluate`], and when the run's folder is not whole.
pub fn eval_run(
    folder: &RunFolder,
    config: &Config,
    ctx: &mut Context,
) -> Result<Vec<SplitReport>> {
    let setting = Setting::new(config)?;
    let baseline = setting.baseline(config, ctx)?;
    let store = Store::open(folder.samples())?;
    super::check_store(&setting, &store, &baseline)?;
    evaluate(config, &setting, folder, &store, &baseline, ctx)
}
