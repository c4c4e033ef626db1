//! How a session is put together: posterior, batches, chain or fit, monitors, new or from a file.

use super::chain_file::{ChainFile, PRECISION, Start};
use super::config::{Inference, SessionConfig, Target, count_data};
use super::engine::Engine;
use super::gradient_chain::GradientChain;
use super::identity::{self, Length};
use super::monitors;
use super::session::{Feed, LlcLooks, Session, progress};
use crate::backend::Backend;
use crate::data::{Batch, Batches, Order, Windows};
use crate::error::{Error, Result};
use crate::posterior::Posterior;
use crate::samplers::{
    Affine, AutoStep, Chain, ChainConfig, ChainState, GaussianApproximation, GaussianConfig,
    GaussianFit, NoiseEstimation, Preconditioner, Sampler, Whitened, gradient_noise,
};
use crate::store::{Header, Kind, hex};
use serde_json::Value;
use std::path::Path;

/// A session on a model's posterior, from its start or from the state at `path`.
pub(super) fn on_model<B: Backend + 'static>(
    backend: &B,
    target: &Target<'_>,
    config: &SessionConfig,
    path: Option<&Path>,
) -> Result<Session<B>> {
    target.check()?;
    let (gpt, tokens) = (target.gpt, &target.corpus.train);
    let (b, t) = (config.batches.size, config.batches.window);
    let (batches, num_data) = match target.corpus.has_text() {
        true => {
            let batches = (config.batches).batches(tokens.len(), config.inference.seed())?;
            let counted = count_data(config.objective, batches.windows(), tokens.len());
            (batches, config.num_data.unwrap_or(counted))
        }
        false => without_text(b, t, config)?,
    };
    let weight = config.likelihood_weight;
    let posterior = Posterior::new(backend, gpt, target.prior, num_data, config.objective, b, t)?
        .with_likelihood_weight(weight)?;
    let config = SessionConfig {
        inference: config.inference.counted(batches.per_sweep()),
        ..config.clone()
    };
    let inference = &config.inference;
    let settings = identity::of_model(target, &config, batches.windows(), num_data)?;
    let mut header = Header {
        model: gpt.config().json()?,
        corpus_sha256: target.corpus.sha256,
        baseline_sha256: target.start_sha256.unwrap_or_default(),
        vocabulary: target.corpus.tokenizer.vocabulary(),
        counters: vec![(PRECISION.into(), backend.gemm_precision().bits().into())],
        ..header(inference, settings)
    };
    let mut file = open(path, &header, inference)?;
    if let Some(then) = file.as_ref().and_then(ChainFile::product_bits) {
        // The coarsest of its steps, so that a device that has those goes on with them again.
        header.counters = vec![(PRECISION.into(), then)];
    }
    let mut monitors = monitors::all(backend, target, &config.monitors, inference)?;
    let engine = match inference {
        Inference::Chain { .. } => {
            let chain = model_chain(backend, posterior, target, inference, file.as_mut())?;
            Engine::Chain(Box::new(chain))
        }
        Inference::Fit { config, .. } => {
            let fit = model_fit(backend, posterior, target, config, file.as_mut())?;
            Engine::Fit(Box::new(fit))
        }
    };
    if let Some(file) = &mut file {
        file.restore(&mut monitors, progress(inference, engine.steps_made()))?;
    }
    let feed = Feed {
        corpus: target.corpus.clone(),
        batches,
        batch: Batch::new(b, t)?,
    };
    let mut session = session(backend, engine, config.inference, header, file)?;
    session.feed = Some(feed);
    session.num_data = weight * num_data;
    session.keeps_center = target.start_sha256.is_none();
    session.monitors = monitors;
    session.llc = LlcLooks {
        centred: target.prior_is_about_the_start(),
        every: config.monitors.llc_every,
    };
    Ok(session)
}

/// Returns batches that are never filled, and the number of data, which only the caller knows: every batch is to be the caller's.
fn without_text(b: usize, t: usize, config: &SessionConfig) -> Result<(Batches, f64)> {
    let num_data = config.num_data.ok_or_else(|| {
        Error::conflict("num_data: without a text nobody counts the data: set how many tokens there are (with objective = last, windows)")
    })?;
    if config.monitors.probe_tokens > 0 {
        return Err(Error::conflict(
            "probe_tokens: without a text there is nothing to probe: set 0",
        ));
    }
    // One window, as if the text were just as long.
    let windows = Windows::all(t.saturating_add(1), t)?;
    Ok((Batches::new(windows, Order::Independent, b)?, num_data))
}

/// A session on gradients of the caller's, from `Ok(start)` or from `Err((n, path))`.
pub(super) fn on_gradients<B: Backend + 'static>(
    backend: &B,
    inference: Inference,
    num_data: f64,
    from: std::result::Result<&[f32], (usize, &Path)>,
) -> Result<Session<B>> {
    let header = header(&inference, identity::of_gradients(&inference)?);
    let path = from.err().map(|(_, path)| path);
    let mut file = open(path, &header, &inference)?;
    let (n, start) = match from {
        Ok(start) => (start.len(), start),
        Err((n, _)) => (n, &[][..]),
    };
    let engine = match &inference {
        Inference::Chain { .. } => {
            let chain = gradient_chain(backend, &inference, (n, start), file.as_mut())?;
            Engine::GradientChain(Box::new(chain))
        }
        Inference::Fit { config, .. } => {
            let normals = match file.as_mut() {
                Some(file) => {
                    let state = file.fit(config, n, [0, 0])?;
                    GaussianApproximation::restore(backend.clone(), config.clone(), &state)
                        .map_err(Error::of_file(file.path()))?
                }
                None => GaussianApproximation::new(backend.clone(), start, config.clone())?,
            };
            Engine::GradientFit(Box::new(normals))
        }
    };
    let mut session = session(backend, engine, inference, header, file)?;
    session.num_data = num_data;
    Ok(session)
}

fn session<B: Backend + 'static>(
    backend: &B,
    engine: Engine<B>,
    inference: Inference,
    header: Header,
    file: Option<ChainFile>,
) -> Result<Session<B>> {
    let (mut file, mut engine) = (file, engine);
    let curvature = file.as_mut().map_or(Ok(None), ChainFile::curvature)?;
    if let Some(found) = &curvature {
        engine.limit_step(found);
    }
    Ok(Session {
        backend: backend.clone(),
        engine,
        feed: None,
        inference,
        num_data: 1.0,
        header,
        keeps_center: true,
        curvature,
        monitors: Vec::new(),
        stored: file.as_ref().and_then(ChainFile::stored).cloned(),
        watchers: Vec::new(),
        grad: Vec::new(),
        llc: LlcLooks::default(),
        last: None,
        unrecorded: None,
    })
}

/// What a file of the session says that it is of.
fn header(inference: &Inference, settings: Value) -> Header {
    Header {
        config: settings.to_string(),
        seed: inference.seed(),
        chain: inference.chain(),
        ..Header::new(Kind::Chain)
    }
}

fn open(path: Option<&Path>, header: &Header, inference: &Inference) -> Result<Option<ChainFile>> {
    path.map(|path| ChainFile::open(path, header, Length::of(inference)))
        .transpose()
}

fn gradient_chain<B: Backend + 'static>(
    backend: &B,
    inference: &Inference,
    (n, start): (usize, &[f32]),
    file: Option<&mut ChainFile>,
) -> Result<GradientChain<B>> {
    let (sampler, preconditioner, auto_step) = of_chain(inference)?;
    if *preconditioner != Preconditioner::None {
        return Err(Error::conflict(
            "preconditioner must be none for gradients of the caller's, who sets a mass by set_mass",
        ));
    }
    gradient_noise::check(sampler, 0)?;
    let (mut config, mut auto_step) = (sampler.clone(), auto_step.clone());
    if config.adapt.is_some() && auto_step.is_some() {
        return Err(Error::conflict(
            "auto_step and adapt each look for the step size: choose one of the two",
        ));
    }
    let Some(file) = file else {
        let (noise, adapt) = (NoiseEstimation::new(&config), config.adapt);
        let mut sampler = Sampler::new(backend.clone(), start, config)?;
        let whitened = adapt.map(|how| Whitened::adapting(&mut sampler, how));
        return Ok(GradientChain {
            whitened: whitened.transpose()?,
            noise,
            sampler,
            auto_step,
        });
    };
    resume_search(file, &mut auto_step, &mut config)?;
    if config.adapt.is_some() {
        (config.step_size, config.alpha) = file.step_found()?;
    }
    let state = file.chain(Start {
        n,
        params: start,
        sha256: None,
    })?;
    of_own_gradients(file, &state)?;
    let of_file = |e| Error::of_file(file.path())(e);
    let sampler = Sampler::restore(backend.clone(), config, &state.sampler).map_err(of_file)?;
    let noise = NoiseEstimation::restore(&sampler, sampler.step(), state.gradients());
    let noise = noise.map_err(of_file)?;
    let whitened = whitened(file, &sampler)?;
    Ok(GradientChain {
        whitened,
        sampler,
        auto_step,
        noise,
    })
}

/// Returns the coordinates of a mass that adapts or is dense, where the file has them.
fn whitened<B: Backend + 'static>(
    file: &mut ChainFile,
    sampler: &Sampler<B>,
) -> Result<Option<Whitened<B>>> {
    let found = file.coordinates(sampler.len())?;
    let warmup = file.warmup()?;
    let of_file = |e| Error::of_file(file.path())(e);
    let adapts = sampler.config().adapt;
    let Some((center, factor)) = found else {
        return match adapts {
            Some(_) => Err(file.without_coordinates()),
            None => Ok(None),
        };
    };
    let affine = Affine::new(center, factor).map_err(of_file)?;
    let state = adapts.zip(warmup.as_deref());
    Whitened::restore(sampler, affine, state)
        .map(Some)
        .map_err(of_file)
}

/// Returns a chain's own settings.
fn of_chain(inference: &Inference) -> Result<(&ChainConfig, &Preconditioner, &Option<AutoStep>)> {
    match inference {
        Inference::Chain {
            sampler,
            preconditioner,
            auto_step,
        } => Ok((sampler, preconditioner, auto_step)),
        _ => Err(Error::conflict(
            "the settings are those of a fit, where a chain is needed",
        )),
    }
}

fn model_chain<B: Backend + 'static>(
    backend: &B,
    posterior: Posterior<B>,
    target: &Target<'_>,
    inference: &Inference,
    file: Option<&mut ChainFile>,
) -> Result<Chain<B>> {
    let (sampler, preconditioner, auto_step) = of_chain(inference)?;
    let (mut config, mut auto) = (sampler.clone(), auto_step.clone());
    let mut chain = match file {
        Some(file) => {
            resume_search(file, &mut auto, &mut config)?;
            let state = file.chain(Start {
                n: target.start.len(),
                params: target.start,
                sha256: target.start_sha256,
            })?;
            Chain::restore(backend, posterior, config, *preconditioner, &state)
                .map_err(Error::of_file(file.path()))?
        }
        None => Chain::new(backend, posterior, target.start, config, *preconditioner)?,
    };
    if let Some(auto) = auto {
        chain.adapt_step(auto)?;
    }
    Ok(chain)
}

fn model_fit<B: Backend + 'static>(
    backend: &B,
    posterior: Posterior<B>,
    target: &Target<'_>,
    config: &GaussianConfig,
    file: Option<&mut ChainFile>,
) -> Result<GaussianFit<B>> {
    let model = target.gpt.config();
    let head = [model.vocab_size, model.n_embd];
    config.check_memory(target.gpt.n_params(), head)?;
    let Some(file) = file else {
        return GaussianFit::new(backend, posterior, target.start, config.clone());
    };
    let (want, is) = (target.start_sha256.unwrap_or_default(), file.baseline());
    if want != is && want != [0; 32] && is != [0; 32] {
        return Err(Error::Mismatch {
            path: file.path().into(),
            what: "baseline".into(),
            expected: hex(&want),
            got: hex(&is),
        });
    }
    let state = file.fit(config, target.gpt.n_params(), head)?;
    GaussianFit::restore(backend, posterior, config.clone(), &state)
        .map_err(Error::of_file(file.path()))
}

/// Lets a search for the step size go on from its state in a file; the settings then have its numbers.
fn resume_search(
    file: &mut ChainFile,
    auto: &mut Option<AutoStep>,
    config: &mut ChainConfig,
) -> Result<()> {
    match (auto, file.auto_step()?) {
        (None, None) => Ok(()),
        (Some(auto), Some(state)) => {
            auto.go_on(state).map_err(Error::of_file(file.path()))?;
            (config.step_size, config.alpha) = (state.step_size, state.alpha);
            Ok(())
        }
        (auto, _) => {
            let words = ["one without", "one with a search for its step size"];
            let has = usize::from(auto.is_some());
            Err(Error::Mismatch {
                path: file.path().into(),
                what: "the chain".into(),
                expected: words[has].into(),
                got: words[1 - has].into(),
            })
        }
    }
}

/// A chain on a model has more in its state, for which a caller's own gradients have no use.
fn of_own_gradients(file: &ChainFile, s: &ChainState) -> Result<()> {
    let more = [
        ("gradients taken for a mass", s.preconditioned > 0),
        ("sums of squares for a mass", s.squares.is_some()),
        ("a live mass", s.sampler.live.is_some()),
    ];
    match more.into_iter().find(|(_, there)| *there) {
        None => Ok(()),
        Some((what, _)) => Err(Error::Mismatch {
            path: file.path().into(),
            what: "the state".into(),
            expected: "one on gradients of the caller's".into(),
            got: format!("one with {what}"),
        }),
    }
}
