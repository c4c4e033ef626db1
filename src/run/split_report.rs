//! The scores of a run's samples on one split, as the original's JSON has them and as text.

use super::config::Config;
use super::held_out_report::HeldOutReport;
use crate::error::{Error, Result};
use crate::inference::text_score::WrittenTexts;
use crate::inference::{Comparison, Paired, counted};
use crate::metrics::Summary;
use crate::settings::Predictive;
use serde::Serialize;
use serde_json::{Map, Value, json};

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
    /// What was averaged: the samples' weights, or the model linearised around the baseline at them.
    pub predictive: Predictive,
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
    /// The validation split's two parts, and the controls on them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOutReport>,
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
    /// From the scores; texts, parts and the time that it took are not among them.
    pub(super) fn new(config: &Config, split: &str, c: &Comparison) -> Self {
        let (averaged, base) = (&c.averaged, &c.baseline);
        Self {
            split: split.into(),
            total_tokens: averaged.nll.len(),
            sampler_type: config.sampler.name().into(),
            num_posterior_samples: averaged.sample_nll.len(),
            predictive: config.predictive,
            perplexity: averaged.perplexity,
            bleu: None,
            rouge1: None,
            rouge2: None,
            rouge_l: None,
            examples: None,
            elapsed_seconds: 0.0,
            perplexity_mean_nll: averaged.gibbs_perplexity,
            perplexity_baseline: base.perplexity,
            loss_baseline: mean(&base.nll),
            loss_mean_of_samples: mean(&averaged.sample_nll),
            loss_averaged_prediction: mean(&averaged.nll),
            loss_of_each_sample: averaged.sample_nll.clone(),
            against_baseline: c.paired,
            held_out: None,
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

    /// Adds what was written on the split.
    pub(super) fn add(&mut self, texts: &WrittenTexts) {
        self.bleu = Some(texts.bleu);
        self.rouge1 = Some(texts.rouge.rouge1);
        self.rouge2 = Some(texts.rouge.rouge2);
        self.rouge_l = Some(texts.rouge.rouge_l);
        let cut = |s: &String| s.chars().take(100).collect::<String>();
        let pairs = texts.references.iter().zip(&texts.predictions).take(3);
        let examples = pairs.map(|(r, g)| Example {
            reference: cut(r),
            generated: cut(g),
        });
        self.examples = Some(examples.collect());
    }

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

    /// Returns the report as lines for a person.
    pub fn text(&self) -> String {
        let mut s = format!(
            "{} split, {} tokens, {} (nats per token; perplexity)\n",
            self.split,
            self.total_tokens,
            counted(self.num_posterior_samples, "sample"),
        );
        let mut row = |what: &str, loss: f64, note: String| {
            s.push_str(&format!(
                "  {what:<38} {loss:.4}  {:.4}{note}\n",
                loss.exp()
            ));
        };
        row("baseline", self.loss_baseline, String::new());
        let mean = self.loss_mean_of_samples;
        let [of_samples, averaged] = names(self.predictive);
        row(of_samples, mean, String::new());
        let p = &self.against_baseline;
        row(
            averaged,
            self.loss_averaged_prediction,
            format!("  (gain {} against the baseline)", p.gain_text()),
        );
        s.push_str(&format!(
            "  entropy {:.4} = {:.4} expected + {:.4} mutual information; accuracy {:.4}, ECE {:.4} (baseline {:.4})\n",
            not_minus_0(self.predictive_entropy.mean),
            not_minus_0(self.expected_entropy),
            not_minus_0(self.mutual_information.mean),
            self.accuracy,
            self.ece,
            self.ece_baseline,
        ));
        if let Some(parts) = &self.held_out {
            s.push_str(&parts.text());
        }
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

/// Returns what the samples' mean loss and their averaged prediction are called.
pub(super) fn names(predictive: Predictive) -> [&'static str; 2] {
    match predictive {
        Predictive::Weights => ["mean of the samples", "averaged prediction"],
        Predictive::Linearised => [
            "mean of the samples, linearised",
            "averaged linearised prediction",
        ],
    }
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

/// Returns a number that is printed with four decimals, without the sign of one that rounds to 0.
pub fn not_minus_0(x: f64) -> f64 {
    if x.abs() < 5e-5 { 0.0 } else { x }
}

/// The mean of losses.
pub(super) fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}
