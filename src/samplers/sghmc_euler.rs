//! SGHMC by explicit Euler, as posteriors, blackjax and SGMCMCJax have it: to compare with them, not to sample with.
//!
//! **Target.** As [`super::sghmc`], with an error of first order in h: for a unit Gaussian at h = 0.1 and alpha = 1
//! the variance is 1.114, where the semi-implicit form has 1.003.
//!
//! **Update.** Explicit Euler of Chen, Fox & Guestrin 2014, eq. 13, both lines from the old state:
//!
//! ```text
//! theta' = theta + h m / M'
//! m' = m + h grad(theta) - h gamma m + sqrt(h T (2 alpha - h T beta)) sqrt(M) xi,  xi ~ N(0, 1)
//! ```
//!
//! **Hyperparameters.** As [`super::sghmc`]; stable only for h omega^2 < gamma and gamma h < 2, so that a stiff
//! direction (a tight prior) needs strong friction.
//!
//! **State, init.** As [`super::sghmc`].

use super::Config;
use super::sghmc;
use crate::backend::vectors::Rule;
use crate::error::Result;

/// Default friction coefficient.
pub const ALPHA: f64 = sghmc::ALPHA;

pub(super) fn validate(c: &Config) -> Result<()> {
    sghmc::validate(c)
}

pub(super) fn rule(c: &Config, h: f64) -> Rule {
    Rule::SghmcEuler(sghmc::coefficients(c, h))
}
