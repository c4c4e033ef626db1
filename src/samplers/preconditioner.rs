//! A diagonal mass: what lets one step size serve parameters of very different scales.
//!
//! | choice | M_i |
//! |---|---|
//! | none | 1 |
//! | RMS | rms_i + floor mean(rms): the root mean square of the log posterior's gradient over batches at the start (the RMSprop statistic; Li et al. 2016, "Preconditioned SGLD", eq. 4-5, without its running average) |
//! | adaptive | the same, going on through the warm-up as a running average with its `decay`, set anew every so many steps |
//! | Fisher | h_i + floor mean(h): the diagonal empirical Fisher information of the data at the start, an estimate of the log likelihood's curvature |
//! | live | the same as RMS, but following every step, sampling too: [`super::psgld`], for comparison only |
//! | prior | the curvature of -log prior, 1 / sd_i^2 of a normal one |
//!
//! Each but the live one is frozen before sampling, so the target is unchanged and no correction term is owed (Li et al.'s Gamma).
//!
//! Since the gradient of the log posterior is num_data times that of the mean loss, a step of h in optimiser terms under RMS is
//! lr = h^2 num_data / M_i = h^2 / rms_i(mean loss): the step size is per preconditioned unit, whatever the data's size. Under Fisher and
//! prior M is a curvature, and a step of methods with momenta is stable below about 2.

use super::sampler_state::check_mass;
use super::{ChainConfig, ChainState, Method, PsgldMass, Sampler};
use crate::backend::vectors::{Combine, Transfer, Vectors};
use crate::error::{Error, Result};
use crate::memory;
use serde::{Deserialize, Serialize};

/// How the mass is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preconditioner {
    /// M = 1.
    None,
    /// From the root mean square of `steps` gradients at the chain's start.
    Rms {
        /// How many gradients, at least 1.
        steps: u64,
        /// Added to every rms, as a share of their mean, above 0: a parameter without gradient would have no mass.
        floor: f64,
    },
    /// From squared gradients at the start, then from their running average through the warm-up.
    Adaptive {
        /// How many gradients at the start, at least 1.
        steps: u64,
        /// Added to every root, as a share of their mean, above 0.
        floor: f64,
        /// Weight that a square keeps per step, above 0 and below 1.
        decay: f64,
        /// Steps of warm-up between new masses, at least 1. Each draws the momenta anew.
        every: u64,
    },
    /// From the squared gradients of the sequences of `steps` batches at the chain's start.
    Fisher {
        /// How many batches, at least 1.
        steps: u64,
        /// Added to every element, as a share of their mean, above 0.
        floor: f64,
    },
    /// A root mean square that follows every step, in warm-up and sampling: [`super::psgld`]. For SGLD only; biased, and meant for comparison.
    Live {
        /// How many gradients at the start, at least 1.
        steps: u64,
        /// Added to every root, as a share of the mean of all roots at the start, above 0.
        floor: f64,
        /// Weight that the mean square keeps per step, at least 0 and below 1.
        decay: f64,
        /// Whether the divergence term is added, at the cost of a second gradient per step.
        gamma: bool,
    },
    /// From the prior alone.
    Prior,
}

impl Preconditioner {
    /// Returns how many gradients it takes before the chain moves.
    pub fn steps(&self) -> u64 {
        match self {
            Self::None | Self::Prior => 0,
            Self::Rms { steps, .. }
            | Self::Adaptive { steps, .. }
            | Self::Fisher { steps, .. }
            | Self::Live { steps, .. } => *steps,
        }
    }

    /// Returns what is added to every element of the mass, as a share of the mean.
    fn floor(&self) -> Option<f64> {
        match *self {
            Self::None | Self::Prior => None,
            Self::Rms { floor, .. }
            | Self::Adaptive { floor, .. }
            | Self::Fisher { floor, .. }
            | Self::Live { floor, .. } => Some(floor),
        }
    }

    /// Returns how many gradients each step takes once it moves.
    pub fn gradients_a_step(&self) -> u64 {
        match self {
            Self::Live { gamma: true, .. } => 2,
            _ => 1,
        }
    }

    /// Checks that it goes with the method.
    ///
    /// # Errors
    /// When it is live and the method is not SGLD.
    pub fn check_method(&self, method: Method) -> Result<()> {
        match self {
            Self::Live { .. } if method != Method::Sgld => Err(Error::conflict(format!(
                "the live preconditioner is for sgld, and the method is {method}: choose one that is frozen before sampling"
            ))),
            _ => Ok(()),
        }
    }

    /// Returns whether the mass is still estimated while `warmed` of `warmup` steps of warm-up are made.
    pub(super) fn adapts(&self, warmed: u64, warmup: u64) -> bool {
        matches!(self, Self::Adaptive { .. }) && warmed < warmup
    }

    /// Checks that its settings are in range.
    ///
    /// # Errors
    /// Names the one that is not.
    pub fn check(&self) -> Result<()> {
        let (steps, floor) = match *self {
            Self::None | Self::Prior => return Ok(()),
            Self::Rms { steps, floor } | Self::Fisher { steps, floor } => (steps, floor),
            Self::Adaptive {
                steps,
                floor,
                decay,
                every,
            } => {
                if !(decay > 0.0 && decay < 1.0) {
                    let expected = "above 0 and below 1";
                    return Err(Error::out_of_range("preconditioner_decay", expected, decay));
                }
                if every == 0 {
                    return Err(Error::out_of_range(
                        "preconditioner_every",
                        "at least 1",
                        every,
                    ));
                }
                (steps, floor)
            }
            Self::Live {
                steps,
                floor,
                decay,
                ..
            } => {
                if !(0.0..1.0).contains(&decay) {
                    let expected = "at least 0 and below 1";
                    return Err(Error::out_of_range("preconditioner_decay", expected, decay));
                }
                (steps, floor)
            }
        };
        if steps == 0 {
            return Err(Error::out_of_range(
                "preconditioner_steps",
                "at least 1",
                steps,
            ));
        }
        if !(floor > 0.0 && floor.is_finite()) {
            return Err(Error::out_of_range(
                "preconditioner_floor",
                "above 0",
                floor,
            ));
        }
        Ok(())
    }
}

/// The mass while it is estimated: gradients at the chain's start, and for an adaptive mass those of the warm-up.
pub(super) struct MassEstimation<V: Vectors> {
    kind: Preconditioner,
    taken: u64, // gradients at the start
    sums: Option<Sums<V>>,
}

impl<V: Vectors> MassEstimation<V> {
    /// Creates the estimation of a mass of `n` elements, from its beginning.
    ///
    /// # Errors
    /// Returns the errors of [`Preconditioner::check`] and [`Preconditioner::check_method`].
    pub fn new(vectors: &V, kind: Preconditioner, method: Method, n: usize) -> Result<Self> {
        kind.check()?;
        kind.check_method(method)?;
        let sums = (kind.steps() > 0).then(|| Sums::new(vectors, n));
        Ok(Self {
            kind,
            taken: 0,
            sums: sums.transpose()?,
        })
    }

    /// Goes on from a chain's state, of which each batch had `b` sequences.
    ///
    /// # Errors
    /// Returns the errors of [`MassEstimation::new`], and an error when the state is none that such a chain has.
    pub fn restore(
        vectors: &V,
        kind: Preconditioner,
        config: &ChainConfig,
        state: &ChainState,
        b: usize,
    ) -> Result<Self> {
        kind.check()?;
        kind.check_method(config.method)?;
        let (s, taken) = (&state.sampler, state.preconditioned);
        check_progress(kind, state)?;
        let running = taken < kind.steps();
        let wanted = running || kind.adapts(s.step, config.warmup_steps);
        let Some(squares) = state.squares.as_ref().filter(|_| wanted) else {
            if wanted || state.squares.is_some() {
                let got = state.squares.as_ref().map_or("none", |_| "some");
                return refuse(
                    "sums of squares just while the mass is estimated",
                    format!("{got} after {taken} of {} gradients", kind.steps()),
                );
            }
            let sums = None;
            return Ok(Self { kind, taken, sums });
        };
        let n = s.theta.len();
        if squares.len() != n {
            return Err(Error::shape("sums of squares", [n], [squares.len()]));
        }
        let mut sums = Sums::new(vectors, n)?;
        vectors.upload(&mut sums.squares, squares)?;
        sums.weight = taken as f64;
        match kind {
            Preconditioner::Fisher { .. } => sums.weight *= b as f64,
            // The same roundings as step by step.
            Preconditioner::Adaptive { decay, .. } => {
                (0..s.step).for_each(|_| sums.weight = sums.weight * decay + 1.0);
            }
            _ => {}
        }
        let sums = Some(sums);
        Ok(Self { kind, taken, sums })
    }

    /// Returns whether gradients at the chain's start are still to be taken.
    pub fn is_running(&self) -> bool {
        self.taken < self.kind.steps()
    }

    /// Returns whether the mass goes on following the chain.
    pub fn is_live(&self) -> bool {
        matches!(self.kind, Preconditioner::Live { .. })
    }

    /// Gradients taken at the chain's start.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Gradients at the chain's start in all.
    pub fn steps(&self) -> u64 {
        self.kind.steps()
    }

    /// Returns the running sum of squares.
    pub fn squares(&self) -> Option<&V::Vector> {
        self.sums.as_ref().map(|s| &s.squares)
    }

    /// Refuses a batch of `b` sequences where the mass is made of sequences and each batch is to have `expected`: how many went in is then
    /// known from how many batches did.
    pub fn check_batch(&self, b: usize, expected: usize) -> Result<()> {
        match self.kind {
            Preconditioner::Fisher { .. } if self.is_running() && b != expected => {
                let expected = format!("{expected} while the mass is estimated");
                Err(Error::shape("sequences of a batch", expected, b))
            }
            _ => Ok(()),
        }
    }

    /// Returns where the squared gradients of the next batch's sequences are to be added, where the mass is made of them.
    pub fn of_sequences(&mut self) -> Option<&mut V::Vector> {
        match self.kind {
            Preconditioner::Fisher { .. } => self.sums.as_mut().map(|s| &mut s.squares),
            _ => None,
        }
    }

    /// Counts `b` sequences whose squares were added.
    pub fn count_sequences(&mut self, b: usize) {
        if let (Preconditioner::Fisher { .. }, Some(s)) = (self.kind, &mut self.sums) {
            s.weight += b as f64;
        }
    }

    /// Takes in a gradient at the chain's start; the last one sets the sampler's mass. The data count as `sequences`.
    ///
    /// # Errors
    /// Returns the errors of [`Sums::mass`], and an error when the sampler refuses the mass.
    pub fn take(
        &mut self,
        sampler: &mut Sampler<V>,
        grad: &V::Vector,
        sequences: f64,
    ) -> Result<()> {
        let Some(sums) = &mut self.sums else {
            return Err(Error::conflict(
                "the mass could not be set from its gradients: start the chain anew, with another preconditioner",
            ));
        };
        let form = match self.kind {
            // Its squares are in already.
            Preconditioner::Fisher { .. } => Form::Times(sequences),
            _ => {
                sums.add(sampler.vectors(), grad, 1.0)?;
                Form::Root
            }
        };
        if self.taken + 1 == self.kind.steps() {
            self.finish(sampler, form)?;
        }
        // Only now: a chain whose mass could not be set makes no step without it.
        self.taken += 1;
        Ok(())
    }

    /// Sets the mass; only an adaptive one still needs its sums.
    fn finish(&mut self, sampler: &mut Sampler<V>, form: Form) -> Result<()> {
        let (Some(sums), Some(floor)) = (&mut self.sums, self.kind.floor()) else {
            return Ok(());
        };
        let v = sampler.vectors().clone();
        if let Preconditioner::Live { decay, .. } = self.kind {
            sampler.set_psgld_mass(&sums.live(&v, floor, decay)?)?;
            self.sums = None;
            return Ok(());
        }
        let mass = sums.mass(&v, floor, form)?;
        if self.kind.adapts(0, sampler.config().warmup_steps) {
            return sampler.set_mass(&mass);
        }
        // The sums' buffer becomes the mass's, so that no other room is needed.
        v.upload(&mut sums.squares, &mass)?;
        let buf = self.sums.take().map(|s| s.squares);
        sampler.take_mass(&mass, buf)
    }

    /// Takes the gradient of a step of warm-up into an adaptive mass's running average, sets a new mass where one is due, and ends with the
    /// warm-up.
    ///
    /// # Errors
    /// Returns the errors of [`MassEstimation::take`].
    pub fn adapt(&mut self, sampler: &mut Sampler<V>, grad: &V::Vector) -> Result<()> {
        let (
            Some(sums),
            Preconditioner::Adaptive {
                floor,
                decay,
                every,
                ..
            },
        ) = (&mut self.sums, self.kind)
        else {
            return Ok(());
        };
        sums.add(sampler.vectors(), grad, decay)?;
        let (made, warmup) = (sampler.step(), sampler.config().warmup_steps);
        if made.is_multiple_of(every) || made == warmup {
            let mass = sums.mass(sampler.vectors(), floor, Form::Root)?;
            sampler.set_mass(&mass)?;
        }
        if made == warmup {
            self.sums = None;
        }
        Ok(())
    }
}

fn refuse<T>(expected: &str, got: String) -> Result<T> {
    Err(Error::out_of_range("chain state", expected, got))
}

/// Checks that a state's mass is one that such a chain has after as many gradients.
fn check_progress(kind: Preconditioner, state: &ChainState) -> Result<()> {
    let (s, taken, steps) = (&state.sampler, state.preconditioned, kind.steps());
    if taken > steps {
        let expected = format!("at most {steps} gradients for the mass");
        return refuse(&expected, taken.to_string());
    }
    let running = taken < steps;
    if running && (s.step > 0 || s.mass.is_some() || s.live.is_some()) {
        let got = format!("step {} after {taken} of {steps} gradients", s.step);
        return refuse("no step and no mass while the mass is estimated", got);
    }
    let decay = match kind {
        Preconditioner::Live { decay, .. } if !running => Some(decay),
        _ => None,
    };
    let got = s.live.as_ref().map(|l| l.decay);
    if got != decay {
        let name = |decay: Option<f64>| match decay {
            Some(decay) => format!("a live mass of decay {decay}"),
            None => "no live mass".into(),
        };
        return refuse(&name(decay), name(got));
    }
    let has_mass = (steps > 0 && decay.is_none()) || kind == Preconditioner::Prior;
    if !running && s.mass.is_some() != has_mass {
        let got = s.mass.as_ref().map_or("none", |_| "a mass");
        let got = format!("{got} after {steps}");
        return refuse("a mass just after gradients were taken for it", got);
    }
    Ok(())
}

/// The running sum of squared gradients.
struct Sums<V: Vectors> {
    squares: V::Vector,
    weight: f64, // of which the sum is one of: gradients, or sequences
}

/// From a mean square to a mass.
#[derive(Clone, Copy)]
enum Form {
    /// The root of the mean square.
    Root,
    /// The mean square times a number.
    Times(f64),
}

impl<V: Vectors> Sums<V> {
    fn new(vectors: &V, n: usize) -> Result<Self> {
        Ok(Self {
            squares: vectors.zeros(n)?,
            weight: 0.0,
        })
    }

    /// Takes in one gradient; what is there keeps `decay` of itself.
    fn add(&mut self, vectors: &V, grad: &V::Vector, decay: f64) -> Result<()> {
        if decay != 1.0 {
            vectors.combine(&mut self.squares, Combine::Scale(decay as f32))?;
        }
        self.weight = self.weight * decay + 1.0;
        vectors.combine(&mut self.squares, Combine::AddSquares(grad))
    }

    /// Returns the mass, on the host.
    ///
    /// # Errors
    /// When no gradient was other than 0, or the sums overflowed.
    fn mass(&self, vectors: &V, floor: f64, form: Form) -> Result<Vec<f32>> {
        Ok(self.mass_and_floor(vectors, floor, form)?.0)
    }

    /// Returns what a live mass begins with.
    ///
    /// # Errors
    /// Returns the errors of [`Sums::mass`].
    fn live(&self, vectors: &V, floor: f64, decay: f64) -> Result<PsgldMass> {
        let (_, floor) = self.mass_and_floor(vectors, floor, Form::Root)?;
        let mut squares = vectors.get(&self.squares)?;
        let mean = |v: &mut f32| *v = (*v as f64 / self.weight) as f32;
        squares.iter_mut().for_each(mean);
        Ok(PsgldMass {
            squares,
            floor: floor as f64,
            decay,
        })
    }

    /// Returns the mass, and what was added to every element of it.
    fn mass_and_floor(&self, vectors: &V, floor: f64, form: Form) -> Result<(Vec<f32>, f32)> {
        let mut m = memory::zeros(vectors.len(&self.squares), "a mass")?;
        vectors.download(&self.squares, &mut m)?;
        let mut sum = 0.0f64;
        for m in &mut m {
            let mean = *m as f64 / self.weight;
            *m = match form {
                Form::Root => mean.sqrt(),
                Form::Times(scale) => scale * mean,
            } as f32;
            sum += *m as f64;
        }
        let floor = (floor * sum / m.len() as f64) as f32;
        if !(floor > 0.0 && floor.is_finite()) {
            return Err(Error::out_of_range(
                "preconditioner",
                "gradients that are not all 0, and finite",
                format!("a mean mass of {}", sum / m.len() as f64),
            ));
        }
        m.iter_mut().for_each(|m| *m += floor);
        check_mass(&m, m.len())?;
        Ok((m, floor))
    }
}
