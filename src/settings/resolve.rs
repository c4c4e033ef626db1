//! From given settings to every value: defaults, and what a run's record has.

use super::choices::{Adapt, Preset};
use super::defaults::{Case, TargetKind};
use super::row::{Reader, Row};
use super::table::{Given, Settings, TABLE};
use crate::error::{Error, Result};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Gradients before sampling from which on their noise is made up for where nobody says anything of it.
const FEWEST_FOR_NOISE: u64 = 20;

/// Returns the row of a name or an alias, among those that `readers` accepts.
///
/// # Errors
/// When there is none: with the nearest name.
pub fn row(what: &str, name: &str, accepts: impl Fn(&Row) -> bool) -> Result<&'static Row> {
    let rows = || TABLE.iter().filter(|row| accepts(row));
    rows()
        .find(|row| row.name == name)
        .or_else(|| rows().find(|row| row.aliases.contains(&name)))
        .ok_or_else(|| {
            let names = rows().flat_map(|row| row.aliases.iter().copied().chain([row.name]));
            Error::unknown(what, name, names)
        })
}

impl Given {
    /// Returns what the defaults of these settings depend on.
    pub fn case(&self, target: TargetKind) -> Case {
        let usual = Case::usual();
        let mut case = Case {
            target,
            preset: self.preset.unwrap_or(Preset::Default),
            sampler: self.sampler.unwrap_or(usual.sampler),
            shape: self.shape.clone().unwrap_or(usual.shape),
            structure: self.laplace_structure.unwrap_or(usual.structure),
            starts: self.starts.unwrap_or(usual.starts),
            sampling_steps: self.sampling_steps.unwrap_or(usual.sampling_steps),
            adapts: self.adapt.is_some_and(|a| a != Adapt::None),
            friction_given: self.alpha.is_some() || self.momentum.is_some(),
            ..usual
        };
        let all = self.clone().fill(&case);
        let before = all.mass().steps().saturating_add(all.warmup_steps);
        case.knows_noise = before >= FEWEST_FOR_NOISE;
        case
    }

    /// Returns every value, from these and the defaults for a target. What depends on several settings is checked where it is used.
    pub fn defaulted(self, target: TargetKind) -> Settings {
        let case = self.case(target);
        self.fill(&case)
    }

    /// Returns the settings of a run that gives a first answer: a baseline of 500 steps, a chain of 650 gradients with 25 samples, and controls.
    pub fn quick() -> Self {
        Self {
            baseline_iters: Some(500),
            preconditioner_steps: Some(50),
            warmup_steps: Some(100),
            sampling_steps: Some(500),
            thinning: Some(20),
            eval: Some(true),
            eval_splits: Some(vec!["val".into()]),
            ..Self::default()
        }
    }

    /// Returns every value of a run, from these and the defaults.
    ///
    /// # Errors
    /// Returns the errors of [`Settings::check`], and an error for a shape that cannot be built.
    pub fn resolve(mut self) -> Result<Settings> {
        if self.data.is_some() {
            // A text on the command line is not shadowed by a folder in the environment.
            self.data_dir = None;
            self.meta_path = None;
        }
        let settings = self.defaulted(TargetKind::Gpt);
        settings.check()?;
        // Whether a shape can be built does not depend on the text, of which one character is certain.
        settings.model(1)?;
        Ok(settings)
    }

    /// Returns the settings that a run's folder records, in which no default stands in for what is missing: what came after the run was made
    /// is what the run did then.
    ///
    /// # Errors
    /// When a value is missing, and as [`Settings::check`].
    pub fn recorded(mut self) -> Result<Settings> {
        let case = self.case(TargetKind::Gpt);
        for row in TABLE {
            if row.given(&self).is_some() {
                continue;
            }
            let then = match (row.is_recorded(), row.before) {
                (true, Some(before)) => Some(row.parse(before)?),
                (true, None) => None,
                (false, _) => row.default(&case),
            };
            if let Some(value) = then {
                row.set(&mut self, &value)?;
            }
        }
        let missing = |name| Error::out_of_range(name, "a value", "none");
        let settings = self.exact().map_err(missing)?;
        settings.check()?;
        Ok(settings)
    }

    /// Returns what is given, by name, as JSON.
    pub fn json(&self) -> String {
        let each = TABLE
            .iter()
            .filter_map(|row| Some((row.name.to_owned(), serde_json::json!(row.given(self)?))));
        serde_json::Value::Object(each.collect()).to_string()
    }
}

impl Settings {
    /// Returns these settings with those that may be given anew when a reader opens a run.
    ///
    /// # Errors
    /// When another one is given, and as [`Settings::check`].
    pub fn overlaid(&self, given: Given, reader: Reader) -> Result<Self> {
        for row in TABLE {
            if row.given(&given).is_some() && !row.is_read_by(reader) {
                return Err(Error::conflict(format!(
                    "{}: a run keeps the settings that it began with; another value needs a new run",
                    row.name
                )));
            }
        }
        let mut own = Given::from(self);
        if given.data.is_some() || given.data_dir.is_some() {
            // A text that is given anew takes the place of the other, whichever form that had.
            (own.data, own.data_dir, own.meta_path) = (None, None, None);
        }
        given.or(own).recorded()
    }
}

impl Serialize for Settings {
    /// Writes what a run records, by name; what has no value is left out.
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for row in TABLE.iter().filter(|row| row.is_recorded()) {
            if let Some(value) = row.value(self) {
                map.serialize_entry(row.name, &value)?;
            }
        }
        map.end()
    }
}
