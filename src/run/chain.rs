//! One chain of a run, from its start or its file to its end: samples to the store, words to the log.

use super::Context;
use super::config::Value;
use super::progress::Progress;
use super::spent::Meter;
use super::train::{Run, stable};
use crate::backend::Device;
use crate::error::{Error, Result};
use crate::inference::forecast::curvature_lines;
use crate::inference::temperature_band::equilibrium_sd;
use crate::inference::{ChainEnd, Session, StepReport, TrajectoryForecast};
use crate::samplers::{ChainConfig, ExtremeEigenvalues, Phase};
use crate::store::{Store, keep_generation};
use std::path::Path;

impl Run<'_> {
    /// Runs one chain to its end.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when it diverges; [`Error::Interrupted`] when it was stopped, with its state kept; damaged files.
    pub fn chain(
        &self,
        index: u32,
        device: &Device,
        store: &mut Store,
        meter: &Meter,
        ctx: &mut Context,
    ) -> Result<ChainEnd> {
        let path = self.folder.chain(index);
        let before = store.len();
        self.check_begun(index, store, ctx)?;
        let session = self.session(index, device, &path)?;
        store.set_target(session.identity()?)?;
        if index == 0 {
            self.record_config()?;
        }
        // Samples after the checkpoint are drawn again and compared with those that are there.
        let mut session = self.fill_holes(session, device, store, ctx)?;
        meter.begin(&session);
        let mass_at = session.inference().mass_steps();
        if session.steps_made() == 0 && mass_at == 0 {
            self.say_stability(&session, ctx)?;
        }
        let (total, made) = (session.total_steps(), session.steps_made());
        let mut progress = Progress::new(&format!("chain {index}"), made, total);
        let mut params = vec![0.0; session.parameters()];
        let mut drawn = 0;
        while session.phase() != Phase::Done {
            if ctx.stopped() {
                save(&mut session, &path, meter)?;
                return Err(Error::Interrupted);
            }
            // At its start, with the mass that it has there, and on its own first batch.
            let looks = index == 0 || self.config.auto_step;
            if looks && session.steps_made() == mass_at {
                match self.look_at_curvature(&mut session, ctx) {
                    // The state is kept, and the next process looks.
                    Err(Error::Interrupted) => continue,
                    looked => looked?,
                }
            }
            let report = session.step()?;
            let made = session.steps_made();
            if made == mass_at {
                self.say_stability(&session, ctx)?;
            }
            if made == session.inference().steps_before_sampling() {
                self.say_warmed(&session, ctx)?;
            }
            if report.sample_due {
                session.read_params(&mut params)?;
                store
                    .append(index, made, &params)
                    .map_err(drawn_otherwise)?;
                drawn += 1;
            }
            if made.is_multiple_of(self.config.checkpoint_every) || made == total {
                save(&mut session, &path, meter)?;
            }
            progress.at(&mut ctx.log, made, || self.progress_line(&report));
        }
        drop(progress);
        meter.end();
        let again = drawn - (store.len() - before);
        if again > 0 {
            ctx.log.say(&format!(
                "chain {index}: {again} samples were drawn again, and are those that were there"
            ));
        }
        self.say_noise(&session, "at the end", ctx)?;
        session.end()
    }

    /// Says which steps are stable in the prior's stiffest direction, or refuses the step.
    fn say_stability(&self, session: &Session<Device>, ctx: &mut Context) -> Result<()> {
        let (mass, settings) = (session.mass()?, session.sampler()?.config());
        let line = stable(self.config, settings, &self.prior, mass.as_deref())?;
        ctx.log.say(&line);
        Ok(())
    }

    /// Looks for the largest curvature once. It is advice, and a ceiling for a search for the step: a chain that can run does not end for want of it.
    fn look_at_curvature(&self, session: &mut Session<Device>, ctx: &mut Context) -> Result<()> {
        let products = self.config.curvature_iterations;
        if products == 0 || session.curvature().is_some() {
            return Ok(());
        }
        match session.find_curvature_watched(1, products, || ctx.stop.check()) {
            Ok(found) => {
                let lines = self.curvature_lines(&found, session.sampler()?.config());
                lines.iter().for_each(|line| ctx.log.say(line));
            }
            Err(e @ (Error::OutOfRange { .. } | Error::Conflict(_))) => {
                ctx.log
                    .say(&format!("warning: no curvature was found: {e}"));
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    fn curvature_lines(&self, found: &ExtremeEigenvalues, settings: &ChainConfig) -> Vec<String> {
        let (b, t) = self.batch;
        curvature_lines(found, settings, b * t)
    }

    /// Says what the warm-up found: the step, and how noisy the gradients are.
    fn say_warmed(&self, session: &Session<Device>, ctx: &mut Context) -> Result<()> {
        let found = session.sampler()?.config();
        self.say_noise(session, "after the warm-up", ctx)?;
        if !self.config.auto_step {
            return Ok(());
        }
        let line = format!(
            "the step was adapted from {:.3e} to {:.3e}",
            self.config.learning_rate, found.step_size
        );
        let forecast = TrajectoryForecast::new(found, session.num_data());
        let forecast = forecast.lines(found, self.config.mass());
        // The budget is of a mean over parameters; the stiffest direction has its own word.
        let curvature = session.curvature();
        let beyond =
            (curvature.iter()).flat_map(|c| self.curvature_lines(c, found).into_iter().skip(1));
        let lines = std::iter::once(line).chain(forecast).chain(beyond);
        lines.for_each(|line| ctx.log.say(&line));
        Ok(())
    }

    /// Says how noisy the gradients are, where the chain makes up for that.
    fn say_noise(&self, session: &Session<Device>, when: &str, ctx: &mut Context) -> Result<()> {
        if let Some(noise) = session.gradient_noise()? {
            ctx.log.say(&noise.line(when, self.config.temperature));
        }
        Ok(())
    }

    /// Returns a line with one step's values, and how far equilibrium at T lets them stray.
    fn progress_line(&self, report: &StepReport) -> String {
        let band = equilibrium_sd(self.config.temperature, self.setting.model.gpt.n_params());
        let temperature = Value::F64(self.config.temperature);
        let show =
            |what: &str, t: Option<f64>| t.map_or(String::new(), |t| format!("  {what} T {t:.4}"));
        format!(
            "{:?}  loss {:.4}{}{}  (T {temperature} +- {band:.1e})",
            report.phase,
            report.log_lik.map_or(f64::NAN, |l| -l),
            show("kinetic", report.kinetic_temperature),
            show("configurational", report.configurational_temperature),
        )
    }
}

/// Writes a chain's file, and what it has cost; the file before is kept beside it.
pub(super) fn save(session: &mut Session<Device>, path: &Path, meter: &Meter) -> Result<()> {
    keep_generation(path)?;
    session.save(path)?;
    meter.keep(session)
}

/// Says what it means that a stored sample is not the one that the chain has drawn.
fn drawn_otherwise(e: Error) -> Error {
    match e {
        Error::Mismatch { path, what, .. } if what.contains("parameters") => {
            Error::conflict(format!(
                "{} holds another sample than this chain has drawn at that step: was the run begun on another processor, or with another BNN_ISA? \
                 Go on with that one, or move the chain's samples from that step on out of the folder",
                path.display()
            ))
        }
        e => e,
    }
}
