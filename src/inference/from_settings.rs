//! What a session is made of, filled from the settings: for the command and for C alike.

use super::{BatchConfig, Inference, MonitorConfig, SessionConfig};
use crate::error::{Error, Result};
use crate::gpt::GptConfig;
use crate::samplers::{GaussianConfig, GaussianMethod, Preconditioner};
use crate::settings::{SamplerChoice, Settings};

impl Settings {
    /// Returns what is inferred: a chain, or a fit whose steps the session counts.
    ///
    /// # Errors
    /// Returns an error when settings contradict each other.
    pub fn inference(&self, chain: u32) -> Result<Inference> {
        match self.sampler {
            SamplerChoice::Chain(_) => self.of_chain(chain, self.mass()),
            SamplerChoice::Gaussian(normal) => Ok(Inference::Fit {
                config: GaussianConfig {
                    chain,
                    ..self.gaussian_config(normal, u64::MAX)
                },
                epochs: self.num_epochs.unwrap_or(1),
            }),
        }
    }

    /// Returns the configuration of a session on the posterior of a model: of one chain of the seed, or of one fit.
    ///
    /// # Errors
    /// When settings contradict each other, or the window is longer than the model's block.
    pub fn session(&self, chain: u32, model: &GptConfig) -> Result<SessionConfig> {
        Ok(SessionConfig {
            inference: self.inference(chain)?,
            objective: self.objective,
            num_data: self.num_data,
            likelihood_weight: self.likelihood_weight,
            batches: self.batches(model)?,
            monitors: MonitorConfig {
                temperature_every: self.temperature_every,
                llc_every: self.llc_every,
                probe_tokens: self.probe_tokens,
                probe_every: self.probe_every,
            },
        })
    }

    /// Returns how windows become batches.
    ///
    /// # Errors
    /// When the window is longer than the model's block.
    pub fn batches(&self, model: &GptConfig) -> Result<BatchConfig> {
        Ok(BatchConfig {
            size: self.batch_size,
            window: self.window(model)?,
            order: self.batch_order,
            // A corpus with fewer windows than the original's 10,000 gives all it has.
            chosen: self.train_samples,
        })
    }

    /// Returns a chain or a fit on gradients of the caller's. Its mass is the caller's to set, or what the warm-up finds; a fit's steps are `sampling_steps`.
    ///
    /// # Errors
    /// When settings contradict each other, or a fit that counts its data is not told how many they are.
    pub fn on_gradients(&self, chain: u32) -> Result<Inference> {
        match self.sampler {
            SamplerChoice::Chain(_) => {
                let mut of_own = self.of_chain(chain, Preconditioner::None)?;
                if let Inference::Chain { sampler, .. } = &mut of_own {
                    sampler.adapt = self.adaptation()?;
                    sampler.validate()?;
                }
                Ok(of_own)
            }
            SamplerChoice::Gaussian(normal) => Ok(Inference::Fit {
                config: GaussianConfig {
                    chain,
                    ..self.fit_on_gradients(normal)?
                },
                epochs: 1,
            }),
        }
    }

    fn of_chain(&self, chain: u32, preconditioner: Preconditioner) -> Result<Inference> {
        let sampler = self.sampler_config(chain)?;
        Ok(Inference::Chain {
            auto_step: self.auto_step(&sampler)?,
            sampler,
            preconditioner,
        })
    }

    fn fit_on_gradients(&self, method: GaussianMethod) -> Result<GaussianConfig> {
        let mut c = self.gaussian_config(method, self.sampling_steps);
        let counts = match method {
            GaussianMethod::Ekf => c.learning_rate == 0.0,
            GaussianMethod::Laplace => true,
            _ => false,
        };
        match self.num_data {
            Some(n) => c.observations = self.likelihood_weight * n,
            None if counts => {
                return Err(Error::conflict(format!(
                    "num_data: {method} counts the observations, and it is unset: set how many the data are"
                )));
            }
            None => {}
        }
        c.validate()?;
        Ok(c)
    }
}
