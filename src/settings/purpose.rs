//! What a setting is for, where not every run asks for it: some methods, or another setting.

use super::choices::{Adapt, BaselineChoice, SamplerChoice};
use super::table::Settings;
use crate::backend::PriorFamily;
use crate::samplers::GaussianMethod::{self, Ekf, Ema, Ivon, Laplace, Snapshots, Swag, Vi};
use crate::samplers::{Method, Preconditioner, Schedule};

/// What a setting is for.
#[derive(Clone, Copy)]
pub struct Purpose {
    /// In words that follow "for".
    pub(super) words: &'static str,
    /// Whether settings ask for it.
    pub(super) is_asked: fn(&Settings) -> bool,
}

const fn of(words: &'static str, is_asked: fn(&Settings) -> bool) -> Option<Purpose> {
    Some(Purpose { words, is_asked })
}

pub(super) const CHAINS: Option<Purpose> = of("chains", |s| s.sampler.chain().is_some());
pub(super) const SEVERAL: Option<Purpose> = of("several chains", |s| {
    s.chains > 1 && s.sampler.chain().is_some()
});
pub(super) const MOMENTA: Option<Purpose> = of("chains with momenta", |s| {
    s.sampler.chain().is_some_and(Method::has_momenta)
});
pub(super) const THERMOSTAT: Option<Purpose> = of("chains with a thermostat", |s| {
    s.sampler.chain().is_some_and(Method::has_thermostat)
});
pub(super) const SEARCH: Option<Purpose> = of("chains with auto_step", |s| {
    s.auto_step && s.sampler.chain().is_some()
});
pub(super) const ADAPTING: Option<Purpose> = of("chains with adapt", |s| {
    s.adapt != Adapt::None && s.sampler.chain().is_some()
});
pub(super) const FITS: Option<Purpose> = of("fits", |s| s.sampler.gaussian().is_some());
pub(super) const SEVERAL_DRAWS: Option<Purpose> = of("fits that draw", |s| {
    s.sampler.gaussian().is_some_and(|m| m != Ema)
});
pub(super) const DRAWS: Option<Purpose> = of("methods that draw", |s| !fits(s, &[Ema, Snapshots]));
pub(super) const STEPS: Option<Purpose> = of("methods with a step size", |s| !fits(s, &[Laplace]));
pub(super) const RATES: Option<Purpose> = of("chains, and fits with a rate", |s| {
    !fits(s, &[Ekf, Laplace])
});
pub(super) const OF_EKF: Option<Purpose> = of("ekf", |s| fits(s, &[Ekf]));
pub(super) const OF_VI: Option<Purpose> = of("vi", |s| fits(s, &[Vi]));
pub(super) const OF_VI_AND_IVON: Option<Purpose> = of("vi and ivon", |s| fits(s, &[Vi, Ivon]));
pub(super) const OF_IVON: Option<Purpose> = of("ivon", |s| fits(s, &[Ivon]));
pub(super) const OF_LAPLACE: Option<Purpose> = of("laplace", |s| fits(s, &[Laplace]));
pub(super) const OF_SWAG: Option<Purpose> = of("swag", |s| fits(s, &[Swag]));
pub(super) const OF_EMA: Option<Purpose> = of("ema", |s| fits(s, &[Ema]));
pub(super) const FALLING: Option<Purpose> = of("linear, cosine and cyclical schedules", |s| {
    scheduled(s, |s| s.depends_on_steps())
});
pub(super) const POLYNOMIAL: Option<Purpose> = of("polynomial schedules", |s| {
    scheduled(s, |s| matches!(s, Schedule::Polynomial { .. }))
});
pub(super) const CYCLICAL: Option<Purpose> = of("cyclical schedules", |s| {
    scheduled(s, |s| matches!(s, Schedule::Cyclical { .. }))
});
pub(super) const MASS: Option<Purpose> = of("a mass", |s| mass(s) != Preconditioner::None);
pub(super) const ESTIMATED_MASS: Option<Purpose> =
    of("a mass from gradients", |s| mass(s).steps() > 0);
pub(super) const FOLLOWING_MASS: Option<Purpose> = of("the adaptive and the live mass", |s| {
    use Preconditioner::{Adaptive, Live};
    matches!(mass(s), Adaptive { .. } | Live { .. })
});
pub(super) const ADAPTIVE_MASS: Option<Purpose> = of("the adaptive mass", |s| {
    matches!(mass(s), Preconditioner::Adaptive { .. })
});
pub(super) const LIVE_MASS: Option<Purpose> = of("the live mass", |s| {
    matches!(mass(s), Preconditioner::Live { .. })
});
pub(super) const STUDENT_T: Option<Purpose> = of("a student_t prior", |s| {
    matches!(s.prior_family(), PriorFamily::StudentT { .. })
});
pub(super) const BEST_BASELINE: Option<Purpose> = of("baseline_choice = best", |s| {
    s.baseline_choice == BaselineChoice::Best
});
pub(super) const EVALUATION: Option<Purpose> = of("runs with eval", |s| s.eval);
pub(super) const CONTROLS: Option<Purpose> = of("runs with eval and eval_control", |s| {
    s.eval && s.eval_control
});

fn fits(s: &Settings, methods: &[GaussianMethod]) -> bool {
    matches!(s.sampler, SamplerChoice::Gaussian(m) if methods.contains(&m))
}

/// Returns how the mass is chosen; fits have none.
fn mass(s: &Settings) -> Preconditioner {
    match s.sampler {
        SamplerChoice::Chain(_) => s.mass(),
        SamplerChoice::Gaussian(_) => Preconditioner::None,
    }
}

/// Returns whether one of the two schedules is of a form.
fn scheduled(s: &Settings, is: fn(&Schedule) -> bool) -> bool {
    [s.schedule, s.temperature_schedule]
        .into_iter()
        .any(|form| is(&s.schedule(form)))
}
