//! Bayesian inference for GPT language models: a model with its own forward and backward pass, samplers that a caller steps
//! one batch at a time, generation that averages over samples, and metrics.
//!
//! A text is loaded; a baseline is trained; a chain samples the posterior around it; the average of the samples predicts and generates
//! text:
//!
//! ```
//! use bnn::backend::Cpu;
//! use bnn::baseline::{Recipe, Trainer};
//! use bnn::data::{Batch, Corpus, Windows};
//! use bnn::generate::{Generator, Options};
//! use bnn::gpt::{Gpt, GptConfig, Objective};
//! use bnn::posterior::{Posterior, Prior};
//! use bnn::samplers::{Chain, ChainConfig, Method, Phase, Preconditioner};
//!
//! # fn main() -> bnn::Result<()> {
//! let cpu = Cpu::new(2)?; // two threads, which change no bit of any result
//! let corpus = Corpus::embedded()?;
//! let gpt = Gpt::new(GptConfig::named("tiny", corpus.tokenizer.vocab_size())?)?;
//! let (b, t) = (8, gpt.config().block_size);
//! let windows = Windows::all(corpus.train.len(), t)?;
//! let mut batch = Batch::new(b, t)?; // x and y: (B, T)
//!
//! // A baseline by AdamW.
//! let recipe = Recipe { iters: 50, ..Recipe::default() };
//! let mut trainer = Trainer::new(&cpu, &gpt, &recipe, b, t)?;
//! for step in 0..recipe.iters {
//!     windows.fill(&corpus.train, 1, 0, step, &mut batch)?;
//!     trainer.step(&batch)?;
//! }
//!
//! // A chain around it: exp((num_data * mean log-likelihood + log prior) / T).
//! let num_data = (corpus.train.len() - 1) as f64;
//! let posterior = Posterior::new(&cpu, &gpt, &Prior::isotropic(1.0), num_data, Objective::All, b, t)?;
//! let mut config = ChainConfig::new(Method::Baoa, 4.5e-3);
//! (config.alpha, config.temperature) = (23.0, 0.1);
//! (config.warmup_steps, config.sampling_steps, config.thinning) = (10, 40, 10);
//! let mass = Preconditioner::Rms { steps: 10, floor: 0.1 };
//! let mut chain = Chain::new(&cpu, posterior, trainer.params(), config, mass)?;
//! let mut samples = Vec::new();
//! while chain.phase() != Phase::Done {
//!     windows.fill(&corpus.train, 1, 1, chain.steps_made(), &mut batch)?;
//!     if chain.step(&batch)?.sample_due {
//!         samples.push(chain.params().clone());
//!     }
//! }
//!
//! // Text from their average, and how uncertain each token is.
//! let mut generator = Generator::new(&cpu, &gpt, samples)?;
//! let prompt = corpus.tokenizer.encode("The ")?;
//! let text = generator.generate(&prompt, &Options::default(), 0, |token| token.entropy.is_finite())?;
//! println!("{}", corpus.tokenizer.decode(&text.tokens)?);
//! # Ok(())
//! # }
//! ```
//!
//! The modules: [`data`] has texts and batches; [`gpt`] the model; [`baseline`] its training; [`posterior`] the target distribution;
//! [`samplers`] the chains; [`settings`] every setting; [`store`] samples on disk; [`generate`](mod@generate) and [`metrics`] use the
//! samples; [`inference`] runs chains and judges their samples; [`backend`] has the devices; [`capi`] the C interface. Below them, [`error`] has the one
//! error type, [`rng`] the random numbers by address, and [`batch_means`] means with their standard errors. `run` is the command `bnn`, with the
//! feature `cli`.
#![deny(unsafe_code)]

pub mod backend;
pub mod baseline;
pub mod batch_means;
mod bf16;
pub mod capi;
pub mod data;
pub mod disk;
pub mod error;
pub mod generate;
pub mod gpt;
pub mod inference;
mod memory;
pub mod metrics;
pub mod posterior;
pub mod rng;
#[cfg(feature = "cli")]
pub mod run;
pub mod samplers;
pub mod settings;
pub mod store;

pub use error::{Error, Result};
