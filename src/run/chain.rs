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
use crate::inference::{ChainEnd, Passenger, Session, StepReport, TrajectoryForecast, drive};
use crate::samplers::{ChainConfig, ExtremeEigenvalues};
use crate::store::Store;

/// What a person sees of a chain that is driven.
struct Seen<'a, 'r> {
    run: &'a Run<'r>,
    progress: Progress,
    /// The step before which the curvature is looked at.
    looks: Option<u64>,
    meter: &'a Meter,
    ctx: &'a mut Context,
}

impl Passenger<Device> for Seen<'_, '_> {
    fn before(&mut self, session: &mut Session<Device>) -> Result<()> {
        self.ctx.check_stop()?;
        match self.looks {
            // Where that is broken off, the state is kept, and the next process looks.
            Some(at) if session.steps_made() == at => self.run.look_at_curvature(session, self.ctx),
            _ => Ok(()),
        }
    }

    fn after(&mut self, session: &mut Session<Device>, report: &StepReport) -> Result<()> {
        let made = session.steps_made();
        if made == session.inference().mass_steps() {
            self.run.say_stability(session, self.ctx)?;
        }
        if made == session.inference().steps_before_sampling() {
            self.run.say_warmed(session, self.ctx)?;
        }
        let line = || self.run.progress_line(report);
        self.progress.at(&mut self.ctx.log, made, line);
        Ok(())
    }

    fn saved(&mut self, session: &Session<Device>) -> Result<()> {
        self.meter.keep(session)
    }
}

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
        let mut seen = Seen {
            run: self,
            progress: Progress::new(&format!("chain {index}"), made, total),
            // At its start, with the mass that it has there, and on its own first batch.
            looks: (index == 0 || self.config.auto_step).then_some(mass_at),
            meter,
            ctx,
        };
        let every = self.config.checkpoint_every;
        let drawn = drive(&mut session, Some(store), (&path, every), &mut seen)?;
        drop(seen);
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
