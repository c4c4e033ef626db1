//! Scores of a run's samples on a split: the averaged prediction beside its samples, the baseline and a deterministic model of equal cost.

use super::Context;
use super::config::Config;
use super::folder::{RunFolder, now, write_json};
use super::prepare::{Baseline, Setting};
use super::progress::Progress;
use crate::data::consecutive;
use crate::error::{Error, Result};
use crate::generate::Generator;
use crate::inference::scoring::{
    Comparison, Models, Paired, compare, last_samples, load_samples, score,
};
use crate::inference::text_score::{TextPlan, write_and_score};
use crate::metrics::{Summary, eval_batch};
use crate::store::Store;
use serde::Serialize;
use serde_json::{Map, Value, json};

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
    /// The baseline's loss, nats per token.
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
    /// Creates a report from the scores; texts and the deterministic model of equal cost are not among them.
    fn new(config: &Config, split: &str, c: &Comparison, elapsed_seconds: f64) -> Self {
        let (averaged, base) = (&c.averaged, &c.baseline);
        Self {
            split: split.into(),
            total_tokens: averaged.nll.len(),
            sampler_type: config.sampler.name().into(),
            num_posterior_samples: averaged.sample_nll.len(),
            perplexity: averaged.perplexity,
            bleu: None,
            rouge1: None,
            rouge2: None,
            rouge_l: None,
            examples: None,
            elapsed_seconds,
            perplexity_mean_nll: averaged.gibbs_perplexity,
            perplexity_baseline: base.perplexity,
            loss_baseline: mean(&base.nll),
            loss_mean_of_samples: mean(&averaged.sample_nll),
            loss_averaged_prediction: mean(&averaged.nll),
            loss_of_each_sample: averaged.sample_nll.clone(),
            against_baseline: c.paired,
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
        }
    }

    /// Returns the original's `uncertainty`, bnn's split of it beside.
    pub fn uncertainty(&self) -> Value {
        json!({
            "avg_predictive_entropy": self.predictive_entropy.mean,
            "max_predictive_entropy": self.predictive_entropy.max,
            "min_predictive_entropy": self.predictive_entropy.min,
            "expected_entropy": self.expected_entropy,
            "mutual_information": self.mutual_information,
        })
    }

    /// Returns the scores as lines for a person.
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

/// Returns the front of a split that an evaluation may use.
pub(super) fn limited<'a>(config: &Config, setting: &'a Setting, split: &str) -> &'a [u16] {
    let tokens = setting.split(split);
    let t = setting.gpt.config().block_size;
    let by_windows = config.eval_max_samples.map(|n| n.saturating_mul(t) + 1);
    let by_tokens = config.eval_max_tokens.map(|n| n.saturating_add(1));
    let most = by_windows.into_iter().chain(by_tokens).min();
    &tokens[..most.unwrap_or(tokens.len()).min(tokens.len())]
}

/// Returns the losses and uncertainties of a split, without texts and without the deterministic model of equal cost.
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
    let used = last_samples(store, config.eval_num_posterior_samples);
    let (gpt, models) = (&setting.gpt, Models::Stored(store, used.clone()));
    let work = used.len() * consecutive(tokens, gpt.config().block_size)?.num_windows();
    let mut progress = Progress::new(&format!("eval {split}"), 0, work as u64);
    let compared = compare(
        &setting.backend,
        gpt,
        tokens,
        &models,
        &baseline.params,
        config.seed,
        |done| {
            ctx.check_stop()?;
            progress.at(&mut ctx.log, done as u64, String::new)
        },
    )?;
    let report = SplitReport::new(config, split, &compared, start.elapsed().as_secs_f64());
    Ok((report, compared.averaged.nll))
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

/// Evaluates all that `--eval` asks for, on every split, and writes `bayesian_eval_<time>.json` into the run folder.
///
/// # Errors
/// Returns the errors of [`losses`], and an error when the control's training or a text fails.
pub fn evaluate(
    config: &Config,
    setting: &Setting,
    folder: &RunFolder,
    store: &Store,
    baseline: &Baseline,
    ctx: &mut Context,
) -> Result<Vec<SplitReport>> {
    let control = if config.eval_control {
        let iters = baseline.iters + config.extra_baselines() + setting.gradients(config)?;
        Some(setting.deterministic(config, iters, "control", ctx)?)
    } else {
        None
    };
    let mut reports = Vec::new();
    for split in &config.eval_splits {
        let start = std::time::Instant::now();
        let (mut report, nll) = scored(config, setting, store, baseline, split, ctx)?;
        if let Some(c) = &control {
            let (tokens, one) = (limited(config, setting, split), Models::One(&c.params));
            let scores = score(&setting.backend, &setting.gpt, tokens, &one, |_| Ok(()))?;
            report.loss_deterministic_equal_gradients = Some(mean(&scores.nll));
            report.deterministic_gradients = Some(c.iters);
            report.against_deterministic_equal_gradients =
                Some(Paired::new(&nll, &scores.nll, config.seed)?);
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
        "num_posterior_samples": last_samples(store, config.eval_num_posterior_samples).len(),
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

/// Returns what a run says of its samples at its end: with `--eval` every split that was asked for, else the validation split's losses; and the
/// validation split's report, wherever it was asked for.
///
/// # Errors
/// Returns the errors of [`evaluate`].
pub fn at_the_end(
    config: &Config,
    setting: &Setting,
    folder: &RunFolder,
    store: &Store,
    baseline: &Baseline,
    ctx: &mut Context,
) -> Result<(Vec<SplitReport>, SplitReport)> {
    let mut reports = if config.eval {
        evaluate(config, setting, folder, store, baseline, ctx)?
    } else {
        Vec::new()
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
            let v =
                serde_json::to_value(r).map_err(|e| Error::out_of_range("report", "JSON", e))?;
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
    let count = match config.eval_num_posterior_samples {
        0 => TEXT_SAMPLES,
        n => n,
    };
    let plan = TextPlan {
        texts: config.eval_num_text_samples,
        prompt: config.eval_prompt_length,
        length: config.eval_generation_length,
        temperature: 0.8,
        seed: config.seed,
        split: u32::from(split == "train"),
    };
    let tokens = setting.split(split);
    if plan.starts(tokens.len()).is_none() {
        return Ok(());
    }
    let samples = setting.put_all(load_samples(store, count)?)?;
    let mut generator = Generator::new(&setting.backend, &setting.gpt, samples)?;
    let tokenizer = &setting.corpus.tokenizer;
    let Some(made) = write_and_score(&mut generator, tokenizer, tokens, &plan)? else {
        return Ok(());
    };
    report.bleu = Some(made.bleu);
    report.rouge1 = Some(made.rouge.rouge1);
    report.rouge2 = Some(made.rouge.rouge2);
    report.rouge_l = Some(made.rouge.rouge_l);
    let cut = |s: &String| s.chars().take(100).collect::<String>();
    let pairs = made.references.iter().zip(&made.predictions).take(3);
    let examples = pairs.map(|(r, g)| Example {
        reference: cut(r),
        generated: cut(g),
    });
    report.examples = Some(examples.collect());
    Ok(())
}

/// Scores a run's samples again (`bnn eval RUN`), with other settings of the evaluation if given.
///
/// # Errors
/// Returns the errors of [`evaluate`], and an error when the run's folder is not whole.
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
