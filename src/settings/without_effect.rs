//! Which settings have no effect beside the others, so that nobody waits for what they would do.

use super::defaults::TargetKind;
use super::row::{Reader, Row, Value};
use super::table::{Given, Settings, TABLE};

impl Given {
    /// Returns a sentence for each of these settings that is not at its default and that nothing reads beside the others, of which `settings` has every
    /// value. Sentences say what the setting is for.
    pub fn without_effect(&self, settings: &Settings) -> Vec<String> {
        let case = Given::from(settings).case(TargetKind::Gpt);
        let idle = TABLE.iter().filter_map(|row| {
            let value = row.given(self)?;
            let purpose = missing_purpose(row, settings)?;
            let differs = row.default(&case).as_ref() != Some(&value);
            differs.then(|| {
                let name = row.name;
                format!("{name} = {value} has no effect: it is for {purpose}")
            })
        });
        idle.collect()
    }
}

/// A setting that was given and that an object does not read.
#[derive(Clone, Debug, PartialEq)]
pub struct Unread {
    /// The setting's name.
    pub name: &'static str,
    /// What it was given.
    pub value: Value,
    /// Why it is not read: a sentence's part.
    pub reason: String,
}

impl Given {
    /// Returns the given settings that an object does not read, and those that it reads for a purpose that is not asked for.
    pub fn unread_by(&self, reader: Reader) -> Vec<Unread> {
        let (target, samples) = match reader {
            Reader::Gradients => (TargetKind::Own, true),
            reader => (TargetKind::Gpt, reader == Reader::Sampler),
        };
        let settings = self.clone().defaulted(target);
        let unread = TABLE.iter().filter_map(|row| {
            let value = row.given(self)?;
            let reason = if !row.is_read_by(reader) {
                let all = row.readers.iter().map(|r| r.name());
                format!(
                    "{} does not read it: {}",
                    reader.name(),
                    all.collect::<Vec<_>>().join(", ")
                )
            } else {
                // What a method or another setting asks for concerns samplers alone.
                let purpose = samples.then(|| missing_purpose(row, &settings)).flatten()?;
                format!("it is for {purpose}")
            };
            let name = row.name;
            Some(Unread {
                name,
                value,
                reason,
            })
        });
        unread.collect()
    }
}

/// Returns what a setting is for, where the settings do not ask for that.
fn missing_purpose(row: &Row, settings: &Settings) -> Option<&'static str> {
    let purpose = row.purpose?;
    (!(purpose.is_asked)(settings)).then_some(purpose.words)
}
