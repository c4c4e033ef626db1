//! What a run's average is worth on the held-out text, beside the controls: the part that was not chosen by decides.

use super::split_report::{mean, names, not_minus_0};
use crate::data::HeldOut;
use crate::error::Result;
use crate::inference::Paired;
use crate::inference::controls::{Control, best, error_over_chains};
use crate::inference::held_out::HeldOutScores;
use crate::settings::Predictive;
use serde::Serialize;

/// The average's scores on the two parts, and the models that it is compared with.
#[derive(Clone, Debug, Serialize)]
pub struct HeldOutReport {
    /// Tokens of the part to choose by.
    pub choosing_tokens: usize,
    /// Tokens of the part to report on.
    pub reporting_tokens: usize,
    /// What that part is.
    pub reporting: &'static str,
    /// Models that are averaged.
    pub models: usize,
    /// What is averaged: the samples' weights, or the model linearised around the baseline at them.
    #[serde(skip)]
    pub predictive: Predictive,
    /// Loss of the average on the part to choose by, nats per token.
    pub loss_choosing: f64,
    /// Loss of the average on the part to report on.
    pub loss: f64,
    /// The temperature that the part to choose by fits to the average.
    pub temperature: f64,
    /// Loss at that temperature on the part to report on.
    pub loss_scaled: f64,
    /// How well the samples' mutual information tells the part to report on from its tokens in random order; none for one sample.
    pub shuffled_auroc: Option<f64>,
    /// Mean loss of the samples on the part to report on.
    pub loss_mean_of_samples: f64,
    /// Loss of the baseline there.
    pub loss_baseline: f64,
    /// The average's losses minus the baseline's there.
    pub against_baseline: Paired,
    /// Loss of each chain's own average there, where there are several.
    pub loss_of_each_chain: Vec<f64>,
    /// Standard error of their mean: what another seed would change, which the text's errors do not know.
    pub std_error_of_chains: Option<f64>,
    /// What else could be made of as many gradients.
    pub controls: Vec<Control>,
}

impl HeldOutReport {
    /// Returns the report without controls.
    ///
    /// # Errors
    /// Returns the errors of [`Paired::new`].
    pub fn new(
        text: &HeldOut<'_>,
        predictive: Predictive,
        average: &HeldOutScores,
        baseline: &HeldOutScores,
        chains: &[f64],
        seed: u64,
    ) -> Result<Self> {
        let (a, b) = (&average.reporting, &baseline.reporting);
        Ok(Self {
            choosing_tokens: average.choosing.nll.len(),
            reporting_tokens: a.nll.len(),
            reporting: match (text.is_halved, text.is_apart) {
                (false, _) => "test text",
                (true, true) => "second half of the validation split",
                (true, false) => "validation split, which was also chosen by",
            },
            models: a.sample_nll.len(),
            predictive,
            loss_choosing: average.choosing_loss(),
            loss: average.loss(),
            temperature: average.temperature,
            loss_scaled: average.loss_scaled(),
            shuffled_auroc: average.shuffled_auroc,
            loss_mean_of_samples: mean(&a.sample_nll),
            loss_baseline: baseline.loss(),
            against_baseline: Paired::new(&a.nll, &b.nll, seed)?,
            loss_of_each_chain: chains.to_vec(),
            std_error_of_chains: error_over_chains(chains),
            controls: Vec::new(),
        })
    }

    /// Returns the control that the average has to beat.
    pub fn best_control(&self) -> Option<&Control> {
        best(&self.controls)
    }

    /// Returns the report as lines for a person.
    pub fn text(&self) -> String {
        let mut s = format!(
            "  {} tokens to choose by; the {}, {} tokens, to report on:\n",
            self.choosing_tokens, self.reporting, self.reporting_tokens,
        );
        let mut row = |what: &str, cells: [&str; 4], note: &str| {
            let [models, loss, scaled, auroc] = cells;
            let row =
                format!("  {what:<52} {models:>6}  {loss:>7}  {scaled:>7}  {auroc:>6}  {note}");
            s.push_str(row.trim_end());
            s.push('\n');
        };
        let number = |x: Option<f64>| x.map_or(String::new(), |x| format!("{x:.4}"));
        let head = ["models", "loss", "with T", "AUROC"];
        row("", head, "gain of the average, both with T");
        let of_samples = number(Some(self.loss_mean_of_samples));
        let [samples, average] = names(self.predictive);
        row(samples, ["1", &of_samples, "", ""], "");
        let cells = |models: usize, loss: f64, scaled: f64, auroc: Option<f64>| {
            let numbers = [Some(loss), Some(scaled), auroc].map(number);
            (models.to_string(), numbers)
        };
        let (n, [loss, scaled, auroc]) = cells(
            self.models,
            self.loss,
            self.loss_scaled,
            self.shuffled_auroc,
        );
        row(average, [&n, &loss, &scaled, &auroc], "");
        if self.controls.is_empty() {
            let (loss, note) = (
                number(Some(self.loss_baseline)),
                self.against_baseline.gain_text(),
            );
            row("baseline", ["1", &loss, "", ""], &note);
        }
        for c in &self.controls {
            let (n, [loss, scaled, auroc]) =
                cells(c.models, c.loss, c.loss_scaled, c.shuffled_auroc);
            let note = c.average_against_scaled.gain_text();
            row(&c.what, [&n, &loss, &scaled, &auroc], &note);
        }
        if let Some(best) = self.best_control() {
            s.push_str(&format!(
                "  the best control by the choosing part: {} (T {:.3}); the average's gain over it: {}\n",
                best.what,
                best.temperature,
                best.average_against_scaled.gain_text()
            ));
        }
        match self.std_error_of_chains {
            Some(e) => s.push_str(&format!(
                "  errors are over the text; over chains the average's loss has a standard error of {:.4}\n",
                not_minus_0(e)
            )),
            None => s.push_str(
                "  errors are over the text alone: with one chain nobody knows what another seed would give\n",
            ),
        }
        s
    }
}
