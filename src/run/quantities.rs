//! A row per quantity that `bnn diagnose` judges: its moments, quantiles and diagnostics, with the token's place and text.

use super::folder::{RunFolder, write_text};
use super::prepare::Setting;
use crate::error::{Error, Result};
use crate::inference::Diagnosis;
use crate::metrics::{ChainDiagnostics, probe_places};
use std::path::Path;

/// Characters that a token's text shows of what comes before it.
const BEFORE: usize = 12;

/// One quantity.
struct Quantity<'a> {
    /// `log_prob` or `projection`.
    kind: &'static str,
    /// Its number among those of its kind, from 0.
    index: usize,
    /// The place of the token in the validation split, from 0; none where the text is not there.
    place: Option<usize>,
    /// The characters that end with the token.
    text: String,
    numbers: &'a ChainDiagnostics,
}

/// Every quantity of a diagnosis, in order.
pub struct Quantities<'a> {
    all: Vec<Quantity<'a>>,
}

impl<'a> Quantities<'a> {
    /// Puts the quantities of a diagnosis beside their tokens, which are read from the first run's text where that is there.
    ///
    /// # Errors
    /// When a token cannot be shown.
    pub fn new(of: &'a Diagnosis, run: &Path) -> Result<Self> {
        let mut all = Vec::new();
        let Some(each) = &of.each else {
            return Ok(Self { all });
        };
        let text = Text::of(run, each.log_prob.len());
        for (index, numbers) in each.log_prob.iter().enumerate() {
            let (place, text) = match &text {
                Some(text) => text.token(index)?,
                None => (None, String::new()),
            };
            all.push(Quantity {
                kind: "log_prob",
                index,
                place,
                text,
                numbers,
            });
        }
        let projections = each.projection.iter().enumerate();
        all.extend(projections.map(|(index, numbers)| Quantity {
            kind: "projection",
            index,
            place: None,
            text: String::new(),
            numbers,
        }));
        Ok(Self { all })
    }

    /// Returns a table of the `n` quantities with the largest R-hat, the largest first; empty for 0 and where there is none.
    pub fn table(&self, n: usize) -> String {
        let mut worst: Vec<&Quantity<'_>> = self.all.iter().collect();
        // Constant quantities, whose R-hat is NaN, come last.
        let rhat = |q: &Quantity<'_>| {
            if q.numbers.rhat.is_nan() {
                f64::MIN
            } else {
                q.numbers.rhat
            }
        };
        worst.sort_by(|a, b| rhat(b).total_cmp(&rhat(a)));
        worst.truncate(n);
        if worst.is_empty() {
            return String::new();
        }
        let mut text = format!(
            "the {} of {} quantities with the largest R-hat\n  {:<16}{:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>7}  text\n",
            worst.len(),
            self.all.len(),
            "quantity",
            "mean",
            "MCSE",
            "sd",
            "5 %",
            "50 %",
            "95 %",
            "bulk ESS",
            "tail ESS",
            "R-hat"
        );
        for q in worst {
            let d = q.numbers;
            let name = format!("{}[{}]", q.kind, q.index);
            text.push_str(&format!(
                "  {name:<16}{:>10.4} {:>9.2e} {:>9.2e} {:>9.4} {:>9.4} {:>9.4} {:>8.1} {:>8.1} {:>7.3}  {}\n",
                d.mean, d.mcse_mean, d.sd, d.q05, d.q50, d.q95, d.ess_bulk, d.ess_tail, d.rhat, q.text
            ));
        }
        text
    }

    /// Writes a line per quantity as comma-separated values (RFC 4180) under a line of names.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        let mut text = String::from(
            "quantity,index,place,text,mean,mcse,sd,q05,q50,q95,ess_bulk,ess_tail,rhat\n",
        );
        for q in &self.all {
            let place = q.place.map_or(String::new(), |p| p.to_string());
            let quoted = q.text.replace('"', "\"\"");
            let d = q.numbers;
            text.push_str(&format!(
                "{},{},{place},\"{quoted}\",{},{},{},{},{},{},{},{},{}\n",
                q.kind,
                q.index,
                d.mean,
                d.mcse_mean,
                d.sd,
                d.q05,
                d.q50,
                d.q95,
                d.ess_bulk,
                d.ess_tail,
                d.rhat
            ));
        }
        write_text(path, &text)
    }
}

/// A run's text, with the places of its probe tokens.
struct Text {
    setting: Setting,
    places: Vec<usize>,
}

impl Text {
    /// Reads a run's text; none where it is not there any more, or another one.
    fn of(run: &Path, tokens: usize) -> Option<Self> {
        let (folder, config) = RunFolder::open(run).ok()?;
        let setting = Setting::of_run(&config, &folder).ok()?;
        let t = setting.model.gpt.config().block_size;
        let places = probe_places(&setting.corpus.val, t, tokens).ok()?;
        (places.len() == tokens).then_some(Self { setting, places })
    }

    /// Returns a probe token's place in the validation split, and the characters that end with it: what comes before, then the token in brackets.
    fn token(&self, index: usize) -> Result<(Option<usize>, String)> {
        let at = *self
            .places
            .get(index)
            .ok_or_else(|| Error::out_of_range("probe token", "one of the run's", index))?;
        let split = &self.setting.corpus.val;
        let tokenizer = &self.setting.corpus.tokenizer;
        let before = tokenizer.decode(&split[at.saturating_sub(BEFORE)..at])?;
        let token = tokenizer.decode(&split[at..at + 1])?;
        Ok((Some(at), format!("{}[{}]", shown(&before), shown(&token))))
    }
}

/// Returns text in one line: characters that a terminal would obey are written as Rust writes them.
fn shown(text: &str) -> String {
    let each = text.chars().map(|c| match c.is_control() {
        true => c.escape_debug().to_string(),
        false => c.to_string(),
    });
    each.collect()
}
