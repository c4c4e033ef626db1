//! A session steps, is saved, goes on and grows, bit for bit; its file serves whoever drives it; older files stay readable.

mod common;

use bnn::backend::{Cpu, GemmPrecision, Precision};
use bnn::data::{Batch, Order};
use bnn::gpt::{Gpt, Objective};
use bnn::inference::monitors::TensorTemperatures;
use bnn::inference::{
    AfterStep, BatchConfig, Inference, Monitor, MonitorConfig, Session, SessionConfig, StepReport,
    Target, count_data,
};
use bnn::posterior::Posterior;
use bnn::samplers::{
    AutoStep, Chain, ChainConfig, CurvatureKind, GaussianConfig, GaussianMethod, Method,
    NoiseCorrection, Phase, Preconditioner, Sampler, Schedule, SwagSnapshots, Temperatures,
    Thermostats,
};
use bnn::store::{Kind, Reader, params_sha256};
use bnn::{Error, Result};
use common::place::{CAT, Place};
use common::series::{State, state};
use common::{bits, model::small, normals};

impl Place {
    fn new() -> Self {
        let start = |gpt: &Gpt| normals(gpt.n_params(), 5).iter().map(|z| 0.2 * z).collect();
        Self::of(CAT, small, start, 0.7)
    }

    /// Returns the target as the command has it, which keeps the start in a file of its own.
    fn kept(&self) -> Target<'_> {
        Target {
            start_sha256: Some(params_sha256(&self.start)),
            ..self.target()
        }
    }

    fn new_session(&self, c: &SessionConfig) -> Session<Cpu> {
        Session::new(&self.cpu, &self.target(), c).unwrap()
    }

    fn resumed(&self, c: &SessionConfig, name: &str) -> Result<Session<Cpu>> {
        Session::resume(&self.cpu, &self.target(), c, self.dir.path().join(name))
    }

    fn save(&self, s: &mut Session<Cpu>, name: &str) -> State {
        let path = self.dir.path().join(name);
        s.save(&path).unwrap();
        state(&path)
    }
}

fn sampler(method: Method) -> ChainConfig {
    ChainConfig {
        temperature: 0.6,
        warmup_steps: 4,
        sampling_steps: 20,
        thinning: 5,
        seed: 11,
        chain: 2,
        alpha: if method.has_momenta() { 0.8 } else { 0.0 },
        ..ChainConfig::new(method, 1e-3)
    }
}

/// One that makes up for the noise of its gradients.
fn noisy() -> ChainConfig {
    ChainConfig {
        noise_correction: NoiseCorrection::Diagonal,
        ..sampler(Method::Baoa)
    }
}

/// One whose tensors have a thermostat each, for the noise that its estimate leaves.
fn by_tensor() -> ChainConfig {
    ChainConfig {
        thermostats: Thermostats::Tensor,
        noise_correction: NoiseCorrection::Diagonal,
        ..sampler(Method::Ccadl)
    }
}

fn chain(sampler: ChainConfig, preconditioner: Preconditioner) -> Inference {
    Inference::Chain {
        sampler,
        preconditioner,
        auto_step: None,
    }
}

fn settings(inference: Inference) -> SessionConfig {
    SessionConfig {
        inference,
        objective: Objective::All,
        num_data: None,
        likelihood_weight: 0.9,
        batches: BatchConfig {
            size: 3,
            window: 7,
            order: Order::Symmetric,
            chosen: Some(30),
        },
        monitors: MonitorConfig {
            temperature_every: 2,
            llc_every: 3,
            probe_tokens: 6,
            probe_every: 4,
        },
    }
}

const RMS: Preconditioner = Preconditioner::Rms {
    steps: 3,
    floor: 0.1,
};

fn searched() -> SessionConfig {
    let sampler = ChainConfig {
        warmup_steps: 55,
        ..sampler(Method::Sghmc)
    };
    let auto_step = Some(AutoStep::new(&sampler, 0.2, true).unwrap());
    settings(Inference::Chain {
        sampler,
        preconditioner: RMS,
        auto_step,
    })
}

fn fit(method: GaussianMethod) -> SessionConfig {
    let config = GaussianConfig {
        seed: 11,
        vi_n_samples: 2,
        temperature: 0.6,
        laplace_labels: match method {
            GaussianMethod::Laplace => CurvatureKind::Fisher,
            _ => CurvatureKind::EmpiricalFisher,
        },
        snapshots: (method == GaussianMethod::Swag).then_some(SwagSnapshots { every: 2, rank: 2 }),
        states: (method == GaussianMethod::Snapshots).then_some(2),
        ..GaussianConfig::new(method, 1)
    };
    settings(Inference::Fit { config, epochs: 2 })
}

/// Every kind of session on a model's posterior.
fn kinds() -> Vec<SessionConfig> {
    let live = Preconditioner::Live {
        steps: 3,
        floor: 0.1,
        decay: 0.9,
        gamma: true,
    };
    let adaptive = Preconditioner::Adaptive {
        steps: 2,
        floor: 0.1,
        decay: 0.8,
        every: 2,
    };
    let cyclical = ChainConfig {
        schedule: Schedule::Cyclical {
            cycles: 2,
            exploration: 0.4,
            final_fraction: 0.2,
        },
        ..sampler(Method::Baoa)
    };
    let mut all = vec![
        settings(chain(cyclical, RMS)),
        settings(chain(sampler(Method::Sgld), live)),
        settings(chain(sampler(Method::Baoa), adaptive)),
        settings(chain(sampler(Method::SgnhtEuler), Preconditioner::Prior)),
        settings(chain(noisy(), RMS)),
        settings(chain(noisy(), Preconditioner::None)),
        searched(),
        settings(chain(by_tensor(), RMS)),
    ];
    all.extend(GaussianMethod::ALL.map(fit));
    all
}

fn steps(s: &mut Session<Cpu>, n: u64) -> Vec<StepReport> {
    (0..n).map(|_| s.step().unwrap()).collect()
}

/// Broken at every step: reports, parameters and the whole file are those of the unbroken one. The files hold the traces, the temperatures, the
/// excess losses, the draws and the search.
#[test]
fn a_session_that_was_saved_goes_on_bit_for_bit() {
    let place = Place::new();
    for c in kinds() {
        let mut whole = place.new_session(&c);
        let total = whole.total_steps();
        let reports = steps(&mut whole, total);
        assert_eq!(whole.phase(), Phase::Done);
        let want = place.save(&mut whole, "whole.bnn");
        let mut broken = place.new_session(&c);
        for want in &reports {
            place.save(&mut broken, "broken.bnn");
            broken = place.resumed(&c, "broken.bnn").unwrap();
            assert_eq!(&broken.step().unwrap(), want);
            assert_eq!(broken.last_report().as_ref(), Some(want));
        }
        assert_eq!(bits(broken.params()), bits(whole.params()));
        assert!(place.save(&mut broken, "broken.bnn") == want, "{c:?}");
        assert!(broken.step().is_err(), "it is done");
    }
}

/// The heat that gradient noise leaves is reported over all parameters, and of the tensor that has most of it.
#[test]
fn the_heat_that_gradient_noise_leaves_is_reported() {
    let place = Place::new();
    let cold = ChainConfig {
        temperature: 1e-7,
        ..noisy()
    };
    let mut s = place.new_session(&settings(chain(cold, RMS)));
    assert_eq!(s.gradient_noise().unwrap(), None);
    steps(&mut s, 7);
    let report = s.gradient_noise().unwrap().expect("an estimate");
    let sampler = s.sampler().unwrap();
    let (v, mass) = (sampler.gradient_noise().unwrap(), sampler.mass().unwrap());
    let left = |i: usize| (1e-6 * v[i] as f64 / (4e-7 * mass[i] as f64) - 1.0).max(0.0);
    let mean = |range: std::ops::Range<usize>| {
        let n = range.len() as f64;
        range.map(left).sum::<f64>() / n
    };
    let all = mean(0..v.len());
    assert!(all > 0.0 && (report.all.residual / all - 1.0).abs() < 1e-9);
    let tensors = place.gpt.layout().tensors();
    let each = tensors.iter().map(|t| (mean(t.range.clone()), &t.name));
    let (most, name) = each.max_by(|a, b| a.0.total_cmp(&b.0)).expect("a tensor");
    let (worst, heat) = report.worst.clone().expect("one");
    assert!(worst == *name && (heat / most - 1.0).abs() < 1e-9 && most > all);
    let line = report.line("at the end", 1e-7);
    let short = name.trim_start_matches("transformer.");
    assert!(
        line.contains(short) && line.contains("at the end"),
        "{line}"
    );
}

/// The session's own batches, posterior and chain are those that a caller assembles.
#[test]
fn a_session_is_the_chain_that_a_caller_assembles() {
    let place = Place::new();
    let sampler = sampler(Method::Baoa);
    let c = settings(chain(sampler.clone(), RMS));
    let mut session = place.new_session(&c);
    let n = place.corpus.train.len();
    let batches = c.batches.batches(n, sampler.seed).unwrap();
    assert_eq!(batches.windows().num_windows(), 30);
    let num_data = count_data(Objective::All, batches.windows(), n);
    // 30 windows of 7 tokens overlap in a text of fewer; each target is data once.
    assert_eq!(num_data, (n - 1) as f64);
    assert_eq!(session.num_data(), 0.9 * num_data);
    assert_eq!(count_data(Objective::Last, batches.windows(), n), 30.0);
    let (cpu, gpt) = (&place.cpu, &place.gpt);
    let posterior = Posterior::new(cpu, gpt, &place.prior, num_data, Objective::All, 3, 7)
        .unwrap()
        .with_likelihood_weight(0.9)
        .unwrap();
    let mut chain = Chain::new(cpu, posterior, &place.start, sampler, RMS).unwrap();
    let mut batch = Batch::new(3, 7).unwrap();
    let mut excess = Vec::new();
    let mut temperatures = Vec::new();
    let ranges: Vec<_> = gpt
        .layout()
        .tensors()
        .iter()
        .map(|t| t.range.clone())
        .collect();
    let mut taken = Temperatures::new(2, ranges.clone()).unwrap();
    for step in 0..chain.total_steps() {
        batches
            .fill(&place.corpus.train, 11, 2, step, &mut batch)
            .unwrap();
        let sampled = (step + 1).saturating_sub(3 + 4);
        let due = sampled > 0 && sampled.is_multiple_of(2);
        let look = |s: &Sampler<Cpu>, g: &Vec<f32>| if due { taken.read(s, g) } else { Ok(()) };
        let want = chain.step_observed(&batch, look).unwrap();
        if due {
            taken.keep();
            temperatures.push(taken.count());
        }
        if sampled > 0 && sampled.is_multiple_of(3) {
            excess.push(chain.log_lik_at_start(&batch).unwrap() - want.at.log_lik);
        }
        let got = session.step().unwrap();
        assert_eq!(got.log_post, Some(want.at.log_post));
        assert_eq!(got.log_prior, Some(want.at.log_prior));
        assert_eq!(got.kinetic_temperature, want.kinetic_temperature);
        assert_eq!((got.step, got.phase), (want.step, want.phase));
        assert_eq!(got.sample_due, want.sample_due);
    }
    assert_eq!(bits(session.params()), bits(chain.params()));
    assert_eq!(session.gradients_made(), 27);
    // What was read off on the way.
    assert_eq!(temperatures.len(), 10);
    let watched = session.monitor::<TensorTemperatures>().unwrap().taken();
    assert_eq!(watched, &taken);
    let losses = session.excess_losses().unwrap();
    assert_eq!((&losses[..], losses.len()), (&excess[..], 6));
    let trace = session.trace().unwrap().unwrap();
    assert_eq!((trace.log_lik.len(), trace.kinetic.len()), (27, 20));
    assert!(trace.is_whole());
    let draws = session.draws().unwrap().unwrap();
    assert_eq!((draws.len(), draws.tokens()), (5, 6));
}

/// A monitor of the caller's own: how far the chain is from where it last was.
#[derive(Default)]
struct Path1 {
    before: Vec<f32>,
    lengths: Vec<f32>,
    refuses: bool,
}

impl Monitor<Cpu> for Path1 {
    fn before(&mut self, chain: &Sampler<Cpu>, grad: &Vec<f32>) -> Result<()> {
        assert_eq!(grad.len(), chain.params().len());
        self.before = chain.params().clone();
        if self.refuses {
            Err(Error::Interrupted)
        } else {
            Ok(())
        }
    }

    fn after(&mut self, report: &StepReport, at: &mut AfterStep<'_, Cpu>) -> Result<()> {
        assert_eq!(at.progress().steps, report.step + 1);
        let far = at.params().iter().zip(&self.before);
        self.lengths.push(far.map(|(a, b)| (a - b).abs()).sum());
        Ok(())
    }
}

#[test]
fn a_caller_may_watch_and_refuse_a_step() {
    let place = Place::new();
    let c = settings(chain(sampler(Method::Sgld), Preconditioner::None));
    let (mut plain, mut watched) = (place.new_session(&c), place.new_session(&c));
    watched.watch(Path1::default());
    steps(&mut plain, 5);
    steps(&mut watched, 5);
    assert_eq!(bits(plain.params()), bits(watched.params()));
    let path = watched.monitor::<Path1>().unwrap();
    assert!(path.lengths.len() == 5 && path.lengths.iter().all(|&l| l > 0.0));
    // What is watched is no part of the file.
    assert!(place.save(&mut plain, "a.bnn") == place.save(&mut watched, "b.bnn"));
    watched.unwatch::<Path1>();
    assert!(watched.monitor::<Path1>().is_none());
    watched.watch(Path1 {
        refuses: true,
        ..Path1::default()
    });
    let stopped = watched.step();
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    assert_eq!(bits(plain.params()), bits(watched.params()));
    assert_eq!(watched.steps_made(), 5);
}

/// A run of another length, grown before or after a break, is the run that had the length from the start.
#[test]
fn a_session_grows_where_no_step_depends_on_its_length() {
    let place = Place::new();
    let of = |n| {
        settings(chain(
            ChainConfig {
                sampling_steps: n,
                ..sampler(Method::Baoa)
            },
            RMS,
        ))
    };
    let mut long = place.new_session(&of(30));
    steps(&mut long, 37);
    let want = place.save(&mut long, "long.bnn");
    let mut grown = place.new_session(&of(10));
    steps(&mut grown, 17);
    assert_eq!(grown.phase(), Phase::Done);
    place.save(&mut grown, "short.bnn");
    grown.extend(30).unwrap();
    let mut resumed = place.resumed(&of(30), "short.bnn").unwrap();
    for s in [&mut grown, &mut resumed] {
        assert_eq!((s.phase(), s.total_steps()), (Phase::Sampling, 37));
        steps(s, 20);
        assert!(place.save(s, "grown.bnn") == want);
    }
    // Not below what was made, nor where a schedule looks at the whole length.
    for n in [29, 0] {
        let e = grown.extend(n).unwrap_err().to_string();
        assert!(e.contains("sampling_steps"), "{e}");
    }
    let e = place
        .resumed(&of(10), "grown.bnn")
        .err()
        .unwrap()
        .to_string();
    assert!(e.contains("at most 17"), "{e}");
    let mut cosine = of(10);
    if let Inference::Chain { sampler, .. } = &mut cosine.inference {
        sampler.schedule = Schedule::Cosine {
            final_fraction: 0.5,
        };
    }
    let mut s = place.new_session(&cosine);
    steps(&mut s, 2);
    place.save(&mut s, "cosine.bnn");
    assert!(s.extend(20).unwrap_err().to_string().contains("schedule"));
    if let Inference::Chain { sampler, .. } = &mut cosine.inference {
        sampler.sampling_steps = 20;
    }
    let e = place.resumed(&cosine, "cosine.bnn").err().unwrap();
    assert!(e.to_string().contains("schedule of the step size"), "{e}");
    // A fit's epochs.
    let mut vi = fit(GaussianMethod::Vi);
    if let Inference::Fit { config, .. } = &mut vi.inference {
        config.schedule = Schedule::Constant;
    }
    let mut whole = place.new_session(&vi);
    let total = whole.total_steps();
    steps(&mut whole, total);
    let mut half = vi.clone();
    if let Inference::Fit { epochs, .. } = &mut half.inference {
        *epochs = 1;
    }
    let mut half = place.new_session(&half);
    steps(&mut half, total / 2);
    half.extend(total).unwrap();
    steps(&mut half, total / 2);
    assert!(place.save(&mut half, "half.bnn") == place.save(&mut whole, "whole.bnn"));
}

/// Whoever keeps the start in a file leaves it out of the chain's; each reads the other's, and refuses a chain that began elsewhere.
#[test]
fn one_file_serves_who_keeps_the_start_and_who_does_not() {
    let place = Place::new();
    let c = settings(chain(sampler(Method::Baoa), RMS));
    let (inside, outside) = (place.target(), place.kept());
    let mut want = Session::new(&place.cpu, &inside, &c).unwrap();
    steps(&mut want, 20);
    let at = |name| place.dir.path().join(name);
    for (writes, reads) in [(&inside, &outside), (&outside, &inside)] {
        let mut first = Session::new(&place.cpu, writes, &c).unwrap();
        steps(&mut first, 9);
        first.save(at("chain.bnn")).unwrap();
        let has = Reader::open(at("chain.bnn"), Kind::Chain).unwrap();
        let has = has.tensor("center").is_ok();
        assert_eq!(has, writes.start_sha256.is_none());
        let mut second = Session::resume(&place.cpu, reads, &c, at("chain.bnn")).unwrap();
        steps(&mut second, 11);
        assert_eq!(bits(second.params()), bits(want.params()));
        let trace = |s: &Session<Cpu>| s.trace().unwrap();
        assert_eq!(trace(&second), trace(&want));
        // The prior stays where it was; the chain's start is another.
        let moved: Vec<f32> = place.start.iter().map(|x| x + 0.5).collect();
        let elsewhere = Target {
            start: &moved,
            start_sha256: Some(params_sha256(&moved)),
            ..*reads
        };
        let e = Session::resume(&place.cpu, &elsewhere, &c, at("chain.bnn")).err();
        let e = e.unwrap().to_string();
        assert!(e.contains("start") && e.contains("chain.bnn"), "{e}");
    }
}

/// Each setting that moves the target or the steps is compared; what is only read off may differ.
#[test]
fn a_file_of_other_settings_is_refused_with_what_differs() {
    let place = Place::new();
    let c = settings(chain(sampler(Method::Baoa), RMS));
    let mut s = place.new_session(&c);
    steps(&mut s, 9);
    place.save(&mut s, "chain.bnn");
    type Change = fn(&mut SessionConfig);
    fn of(c: &mut SessionConfig) -> (&mut ChainConfig, &mut Preconditioner) {
        match &mut c.inference {
            Inference::Chain {
                sampler,
                preconditioner,
                ..
            } => (sampler, preconditioner),
            Inference::Fit { .. } => unreachable!("it is a chain"),
        }
    }
    let cases: [(&str, Change); 14] = [
        ("temperature", |c| of(c).0.temperature = 0.5),
        ("method", |c| of(c).0.method = Method::Sghmc),
        ("step_size", |c| of(c).0.step_size = 2e-3),
        ("seed", |c| of(c).0.seed = 12),
        ("chain", |c| of(c).0.chain = 0),
        ("preconditioner", |c| {
            *of(c).1 = Preconditioner::Rms {
                steps: 3,
                floor: 0.2,
            };
        }),
        ("likelihood_weight", |c| c.likelihood_weight = 1.0),
        ("num_data", |c| c.num_data = Some(7.0)),
        ("objective", |c| c.objective = Objective::Last),
        ("batch_order", |c| c.batches.order = Order::Sweep),
        ("batch_size", |c| c.batches.size = 2),
        ("window", |c| c.batches.window = 6),
        ("chosen_windows", |c| c.batches.chosen = Some(31)),
        ("sampler", |c| *c = fit(GaussianMethod::Vi)),
    ];
    for (what, change) in cases {
        let mut other = c.clone();
        change(&mut other);
        let e = place.resumed(&other, "chain.bnn").err().expect(what);
        let text = e.to_string();
        assert!(matches!(e, Error::Mismatch { .. }), "{what}: {e:?}");
        assert!(
            text.contains(what) || text.contains("num_data"),
            "{what}: {text}"
        );
    }
    let mut priors = [
        place.prior.clone(),
        place.prior.clone(),
        place.prior.clone(),
    ];
    priors[0].std = 0.8;
    priors[1].center = None;
    if let Some(center) = &mut priors[2].center {
        center[3] += 0.1;
    }
    for (prior, what) in priors
        .iter()
        .zip(["prior_std", "prior_center", "prior_center_sha256"])
    {
        let target = Target {
            prior,
            ..place.target()
        };
        let path = place.dir.path().join("chain.bnn");
        let e = Session::resume(&place.cpu, &target, &c, path)
            .err()
            .expect(what);
        assert!(e.to_string().contains(what), "{e}");
    }
    let mut seldom = c.clone();
    (seldom.monitors.temperature_every, seldom.monitors.llc_every) = (0, 0);
    seldom.monitors.probe_tokens = 0;
    place.resumed(&seldom, "chain.bnn").unwrap();
}

fn gradient(theta: &[f32]) -> (Vec<f32>, f64) {
    let grad = theta.iter().map(|x| -x).collect();
    let log_post = -theta.iter().map(|x| 0.5 * (x * x) as f64).sum::<f64>();
    (grad, log_post)
}

fn gradient_steps(s: &mut Session<Cpu>, n: u64) {
    let mut theta = vec![0.0; s.parameters()];
    while s.steps_made() < n {
        s.read_params(&mut theta).unwrap();
        let (grad, log_post) = gradient(&theta);
        s.step_with_gradient(&grad, log_post).unwrap();
    }
}

fn own_chain(n: u64) -> Inference {
    let sampler = ChainConfig {
        sampling_steps: n,
        ..sampler(Method::Sghmc)
    };
    chain(sampler, Preconditioner::None)
}

/// Chains, VI and SWAG on gradients of the caller's; a mass of the caller's goes on too.
#[test]
fn a_session_on_gradients_of_the_callers_goes_on_and_grows() {
    let (cpu, dir) = (Cpu::new(1).unwrap(), tempfile::tempdir().unwrap());
    let (path, start) = (dir.path().join("own.bnn"), normals(70, 3));
    let vi = GaussianConfig {
        schedule: Schedule::Constant,
        vi_n_samples: 3,
        ..GaussianConfig::new(GaussianMethod::Vi, 40)
    };
    let own_vi = |steps| Inference::Fit {
        config: GaussianConfig {
            steps,
            ..vi.clone()
        },
        epochs: 1,
    };
    let own_swag = |steps| Inference::Fit {
        config: GaussianConfig {
            snapshots: Some(SwagSnapshots { every: 3, rank: 4 }),
            ..GaussianConfig::new(GaussianMethod::Swag, steps)
        },
        epochs: 1,
    };
    for (short, long) in [
        (own_chain(6), own_chain(36)),
        (own_vi(10), own_vi(40)),
        (own_swag(10), own_swag(40)),
    ] {
        let is_chain = matches!(short, Inference::Chain { .. });
        let new = |inference: &Inference| {
            let mut s = Session::with_gradients(&cpu, inference.clone(), 5.0, &start).unwrap();
            let mass: Vec<f32> = (0..70).map(|i| 1.0 + 0.1 * i as f32).collect();
            assert_eq!(s.set_mass(&mass).is_ok(), is_chain);
            s
        };
        let mut whole = new(&long);
        gradient_steps(&mut whole, 40);
        assert_eq!((whole.phase(), whole.num_data()), (Phase::Done, 5.0));
        let mut part = new(&short);
        gradient_steps(&mut part, 10);
        assert_eq!(part.phase(), Phase::Done);
        part.save(&path).unwrap();
        let on = |n| Session::resume_with_gradients(&cpu, long.clone(), 5.0, n, &path);
        let mut part = on(70).unwrap();
        gradient_steps(&mut part, 40);
        assert_eq!(bits(part.params()), bits(whole.params()));
        assert!(matches!(on(71), Err(Error::Shape { .. })));
        assert_eq!(whole.mean().is_ok(), !is_chain);
    }
}

#[test]
fn calls_of_the_other_kind_are_refused() {
    let place = Place::new();
    let n = place.gpt.n_params();
    let c = settings(chain(sampler(Method::Baoa), RMS));
    let mut model = place.new_session(&c);
    let mut own = Session::with_gradients(&place.cpu, own_chain(9), 1.0, &[0.5, 1.0]).unwrap();
    let mut vi = place.new_session(&fit(GaussianMethod::Vi));
    let zeros = vec![0.0; n];
    let batch = Batch::new(3, 7).unwrap();
    for e in [
        model.step_with_gradient(&zeros, 0.0).err(),
        model.step_with_squares(&zeros, &zeros, 0.0).err(),
        model.set_mass(&vec![1.0; n]).err(),
        model.draw(0).err(),
        model.sd().err(),
        own.step().err(),
        own.step_on(&batch).err(),
        own.find_curvature(1, 1).err(),
        own.step_with_squares(&[0.0; 2], &[0.0; 2], 0.0).err(),
        own.prior_fit().err(),
        vi.sampler().err(),
        vi.find_curvature(1, 1).err(),
        vi.mean_momentum().err(),
    ] {
        let e = e.expect("refused");
        assert!(matches!(e, Error::Conflict(_)), "{e}");
    }
    assert!(matches!(
        own.step_with_gradient(&[0.0; 3], 0.0),
        Err(Error::Shape { .. })
    ));
    let with_mass = Inference::Chain {
        sampler: sampler(Method::Baoa),
        preconditioner: RMS,
        auto_step: None,
    };
    assert!(Session::with_gradients(&place.cpu, with_mass, 1.0, &[0.5]).is_err());
    assert!(model.read_params(&mut [0.0; 3]).is_err());
    // Of -2 x^2 / 2, by differences of f32 gradients.
    let steep = |x: &[f32], g: &mut [f32]| {
        g.iter_mut().zip(x).for_each(|(g, x)| *g = -2.0 * x);
        Ok(())
    };
    let found = own.find_curvature_with(1, steep).unwrap();
    assert!((found.largest - 2.0).abs() < 1e-3, "{found:?}");
    // A search that is stopped leaves nothing behind.
    let mut looks = 0;
    let stopped = model.find_curvature_watched(2, 3, || {
        looks += 1;
        match looks {
            5 => Err(Error::Interrupted),
            _ => Ok(()),
        }
    });
    assert!(matches!(stopped, Err(Error::Interrupted)));
    assert_eq!((looks, model.curvature()), (5, None));
    // A chain's curvature is kept in its file.
    let found = model.find_curvature(2, 3).unwrap();
    place.save(&mut model, "looked.bnn");
    let again = place.resumed(&c, "looked.bnn").unwrap();
    assert_eq!(again.curvature(), Some(found));
}

/// Factors of the caller's stand in place of the schedules', and not beside a search for the step.
#[test]
fn factors_are_the_callers_schedule() {
    use bnn::samplers::Factors;
    let place = Place::new();
    let halved = Some(Factors {
        step_size: 0.5,
        temperature: 1.0,
    });
    let mut s = place.new_session(&settings(chain(
        sampler(Method::Baoa),
        Preconditioner::None,
    )));
    let mut other = sampler(Method::Baoa);
    other.step_size *= 0.5;
    let mut by_hand = place.new_session(&settings(chain(other, Preconditioner::None)));
    s.set_factors(halved).unwrap();
    steps(&mut s, 6);
    steps(&mut by_hand, 6);
    let far = s.params().iter().zip(by_hand.params());
    assert!(far.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 1e-6);
    assert!(place.new_session(&searched()).set_factors(halved).is_err());
    let mut vi = place.new_session(&fit(GaussianMethod::Vi));
    vi.set_factors(halved).unwrap();
    let hot = halved.map(|f| Factors {
        temperature: 2.0,
        ..f
    });
    assert!(vi.set_factors(hot).is_err());
}

/// A step that moves the chain to where nothing can be recorded is an error, and the state without its record is not saved: the file of before stays.
/// Broken: a file with fewer draws than its steps imply, which nothing reads.
#[test]
fn a_step_that_was_not_recorded_is_not_saved() {
    let place = Place::new();
    let mut config = settings(chain(sampler(Method::Baoa), Preconditioner::None));
    config.monitors.probe_every = 1;
    let mut s = place.new_session(&config);
    steps(&mut s, 6);
    place.save(&mut s, "chain.bnn");
    let (file, far) = (
        place.dir.path().join("chain.bnn"),
        place.dir.path().join("far.bnn"),
    );
    common::forged::forge(&file, Kind::Chain, &far, |p| {
        p.singles("momenta").iter_mut().for_each(|m| *m = 1e30);
    });
    std::fs::copy(file.with_extension("trace"), far.with_extension("trace")).unwrap();
    let mut s = place.resumed(&config, "far.bnn").unwrap();
    let before = std::fs::read(&far).unwrap();
    let e = s.step().unwrap_err();
    assert!(e.to_string().contains("probe token"), "{e}");
    assert_eq!(s.steps_made(), 7);
    let e = s.save(&far).unwrap_err();
    assert!(
        matches!(&e, Error::Conflict(m) if m.contains("step 7 was made")),
        "{e}"
    );
    assert_eq!(std::fs::read(&far).unwrap(), before);
    // What a watcher of the caller's refuses is no part of the file.
    struct Refuses;
    impl<B: bnn::backend::Backend + 'static> Monitor<B> for Refuses {
        fn after(&mut self, _: &StepReport, _: &mut AfterStep<'_, B>) -> Result<()> {
            Err(Error::Interrupted)
        }
    }
    let mut s = place.resumed(&config, "chain.bnn").unwrap();
    s.watch(Refuses);
    assert!(matches!(s.step(), Err(Error::Interrupted)));
    place.save(&mut s, "chain.bnn");
    assert_eq!(place.resumed(&config, "chain.bnn").unwrap().steps_made(), 7);
}

/// A chain that began with exact products does not go on with rounded ones in silence; the other way round it does, and back again.
#[test]
fn a_chain_does_not_go_on_with_coarser_products() {
    let place = Place::new();
    let config = settings(chain(sampler(Method::Sgld), Preconditioner::None));
    let coarse = place.cpu.clone().with_precision(Precision::Medium);
    if coarse.gemm_precision() == GemmPrecision::F32 {
        return; // no instructions for it: medium is exact
    }
    let path = place.dir.path().join("chain.bnn");
    let begun = |cpu: &Cpu| {
        let mut session = Session::new(cpu, &place.target(), &config).unwrap();
        session.step().unwrap();
        session.save(&path).unwrap();
    };
    let resume = |cpu: &Cpu| Session::resume(cpu, &place.target(), &config, &path);
    begun(&place.cpu);
    let error = resume(&coarse).err().expect("it is refused").to_string();
    assert!(error.contains("precision of matrix products"), "{error}");
    begun(&coarse);
    let mut finer = resume(&place.cpu).unwrap();
    finer.step().unwrap();
    finer.save(&path).unwrap();
    resume(&coarse).unwrap().step().unwrap();
}
