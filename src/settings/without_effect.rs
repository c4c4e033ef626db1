//! Which settings have no effect beside the others, so that nobody waits for what they would do.

use super::choices::{BaselineChoice, SamplerChoice};
use super::defaults::TargetKind;
use super::row::{Reader, Value};
use super::table::{Given, Settings, TABLE};
use crate::backend::PriorFamily;
use crate::samplers::{GaussianMethod, Method, Preconditioner, Schedule};

impl Given {
    /// Returns a sentence for each of these settings that is not at its default and that nothing reads beside the others, of which `settings` has every
    /// value. Sentences say what the setting is for.
    pub fn without_effect(&self, settings: &Settings) -> Vec<String> {
        let case = Given::from(settings).case(TargetKind::Gpt);
        let idle = TABLE.iter().filter_map(|row| {
            let value = row.given(self)?;
            let purpose = settings.missing_purpose(row.name)?;
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
                let purpose = samples
                    .then(|| settings.missing_purpose(row.name))
                    .flatten()?;
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

impl Settings {
    /// Returns what a setting is for, where that is not asked for.
    fn missing_purpose(&self, name: &str) -> Option<String> {
        let (serves, purpose) = self.purpose(name)?;
        (!serves).then(|| purpose.to_owned())
    }

    /// Returns what a setting is for, and whether that is asked for; none for one that always counts, and for one that an error refuses where it does not.
    fn purpose(&self, name: &str) -> Option<(bool, &'static str)> {
        self.purpose_in_method(name)
            .or_else(|| self.purpose_beside(name))
    }

    /// Returns the purpose of a setting that some methods read.
    fn purpose_in_method(&self, name: &str) -> Option<(bool, &'static str)> {
        use GaussianMethod::{Ekf, Ema, Ivon, Laplace, Snapshots, Swag, Vi};
        let chain = self.sampler.chain();
        let momenta = chain.is_some_and(Method::has_momenta);
        let thermostat = chain.is_some_and(Method::has_thermostat);
        let fit = |methods: &[GaussianMethod]| matches!(self.sampler, SamplerChoice::Gaussian(m) if methods.contains(&m));
        let rate = chain.is_some() || fit(&[Vi, Swag, Ivon, Ema, Snapshots]);
        Some(match name {
            "learning_rate" => (rate || fit(&[Ekf]), "methods with a step size"),
            "schedule" => (rate, "chains, and fits with a rate"),
            "alpha" | "momentum" | "sigma" => (momenta, "chains with momenta"),
            "xi" | "thermostat_mass" => (thermostat, "chains with a thermostat"),
            "chains_at_once"
            | "beta"
            | "noise_correction"
            | "warmup_steps"
            | "sampling_steps"
            | "thinning"
            | "auto_step"
            | "force"
            | "temperature_schedule"
            | "preconditioner" => (chain.is_some(), "chains"),
            "num_epochs" => (chain.is_none(), "fits"),
            "num_samples" => (chain.is_none() && !fit(&[Ema]), "fits that draw"),
            "temperature" => (!fit(&[Ema, Snapshots]), "methods that draw"),
            "init_sd" | "transition_sd" | "ekf_labels" => (fit(&[Ekf]), "ekf"),
            "init_log_scale" | "vi_n_samples" => (fit(&[Vi, Ivon]), "vi and ivon"),
            "stick_the_landing" => (fit(&[Vi]), "vi"),
            "laplace_structure" | "laplace_labels" | "laplace_fit_prior" => {
                (fit(&[Laplace]), "laplace")
            }
            "ivon_decay" => (fit(&[Ivon]), "ivon"),
            "ema_decay" => (fit(&[Ema]), "ema"),
            "swag_every" | "swag_rank" => (fit(&[Swag]), "swag"),
            _ => return None,
        })
    }

    /// Returns the purpose of a setting that another one turns on.
    fn purpose_beside(&self, name: &str) -> Option<(bool, &'static str)> {
        let chain = self.sampler.chain().is_some();
        let mass = if chain {
            self.mass()
        } else {
            Preconditioner::None
        };
        let scheduled = |fits: fn(&Schedule) -> bool| {
            [self.schedule, self.temperature_schedule]
                .map(|form| self.schedule(form))
                .iter()
                .any(fits)
        };
        Some(match name {
            "step_tolerance" | "step_growth" => (chain && self.auto_step, "chains with auto_step"),
            "final_fraction" => (
                scheduled(|s| {
                    matches!(
                        s,
                        Schedule::Linear { .. }
                            | Schedule::Cosine { .. }
                            | Schedule::Cyclical { .. }
                    )
                }),
                "linear, cosine and cyclical schedules",
            ),
            "schedule_delay" | "schedule_power" => (
                scheduled(|s| matches!(s, Schedule::Polynomial { .. })),
                "polynomial schedules",
            ),
            "cycles" | "exploration" => (
                scheduled(|s| matches!(s, Schedule::Cyclical { .. })),
                "cyclical schedules",
            ),
            "preconditioner_steps" => (mass.steps() > 0, "a mass from gradients"),
            "preconditioner_floor" => (mass != Preconditioner::None, "a mass"),
            "preconditioner_decay" => (
                matches!(
                    mass,
                    Preconditioner::Adaptive { .. } | Preconditioner::Live { .. }
                ),
                "the adaptive and the live mass",
            ),
            "preconditioner_every" => (
                matches!(mass, Preconditioner::Adaptive { .. }),
                "the adaptive mass",
            ),
            "preconditioner_gamma" => {
                (matches!(mass, Preconditioner::Live { .. }), "the live mass")
            }
            "prior_dof" => (
                matches!(self.prior_family(), PriorFamily::StudentT { .. }),
                "a student_t prior",
            ),
            "baseline_patience" => (
                self.baseline_choice == BaselineChoice::Best,
                "baseline_choice = best",
            ),
            _ => return None,
        })
    }
}
