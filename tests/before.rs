//! Chains and fits that earlier versions saved go on: `tests/data/before` has files of the command's and of the C interface's, and the parameters that
//! those versions came to.

mod common;

use bnn::backend::Cpu;
use bnn::data::{Corpus, Order};
use bnn::gpt::{Gpt, Objective};
use bnn::inference::monitors::TensorTemperatures;
use bnn::inference::{BatchConfig, Inference, MonitorConfig, Session, SessionConfig, Target};
use bnn::posterior::{Prior, PriorFamily, PriorUnits};
use bnn::samplers::{
    AutoStep, ChainConfig, CurvatureKind, GaussianConfig, GaussianMethod, Method, Phase,
    Preconditioner, Schedule, stability,
};
use bnn::store::{Kind, Reader, params_sha256};
use std::path::PathBuf;
use std::sync::Arc;

fn file(name: &str) -> PathBuf {
    common::data("before").join(name)
}

fn params(name: &str) -> Vec<f32> {
    let mut r = Reader::open(file(name), Kind::Baseline).unwrap();
    let mut v = vec![0.0; r.tensor("params").unwrap().len as usize];
    r.read_f32("params", &mut v).unwrap();
    v
}

/// Other instruction sets round otherwise: a few dozen steps carry that to well below this.
fn check(got: &[f32], want: &[f32], what: &str) {
    let far = got.iter().zip(want).map(|(a, b)| (a - b).abs());
    let far = far.fold(0.0, f32::max);
    assert!(far < 1e-3, "{what}: {far}");
}

struct Place {
    cpu: Cpu,
    gpt: Gpt,
    corpus: Arc<Corpus>,
    start: Vec<f32>,
}

impl Place {
    fn new() -> Self {
        let r = Reader::open(file("baseline.bnn"), Kind::Baseline).unwrap();
        Self {
            cpu: Cpu::new(1).unwrap(),
            gpt: Gpt::new(serde_json::from_str(&r.header().model).unwrap()).unwrap(),
            corpus: Arc::new(Corpus::embedded().unwrap()),
            start: params("baseline.bnn"),
        }
    }

    fn prior(&self, family: PriorFamily, std: f32, centred: bool) -> Prior {
        Prior {
            family,
            std,
            center: centred.then(|| self.start.clone()),
            units: PriorUnits::One,
        }
    }

    fn resume(
        &self,
        config: &SessionConfig,
        prior: &Prior,
        kept: bool,
        name: &str,
    ) -> bnn::Result<Session<Cpu>> {
        let target = Target {
            gpt: &self.gpt,
            corpus: &self.corpus,
            prior,
            start: &self.start,
            start_sha256: kept.then(|| params_sha256(&self.start)),
        };
        Session::resume(&self.cpu, &target, config, file(name))
    }
}

fn settings(inference: Inference, size: usize, order: Order) -> SessionConfig {
    SessionConfig {
        inference,
        objective: Objective::All,
        num_data: None,
        likelihood_weight: 1.0,
        batches: BatchConfig {
            size,
            window: 8,
            order,
            chosen: None,
        },
        monitors: MonitorConfig::default(),
    }
}

/// A chain as both made it, but for its seed and length.
fn searched(seed: u64, chain: u32, sampling_steps: u64) -> SessionConfig {
    let mut sampler = ChainConfig {
        temperature: 0.1,
        warmup_steps: 55,
        sampling_steps,
        thinning: 10,
        seed,
        chain,
        thermostat_mass: 1.0,
        ..ChainConfig::new(Method::Baoa, 4.5e-3)
    };
    sampler.alpha = stability::alpha_for_momentum(&sampler, 0.9).unwrap();
    let inference = Inference::Chain {
        auto_step: Some(AutoStep::new(&sampler, 0.2, true).unwrap()),
        sampler,
        preconditioner: Preconditioner::Rms {
            steps: 5,
            floor: 0.1,
        },
    };
    let mut c = settings(inference, 4, Order::Independent);
    (c.monitors.temperature_every, c.monitors.llc_every) = (4, 5);
    c
}

fn finish(mut session: Session<Cpu>) -> Session<Cpu> {
    while session.phase() != Phase::Done {
        session.step().unwrap();
    }
    session
}

#[test]
fn a_chain_of_the_commands_goes_on_with_all_that_was_read_off_it() {
    let place = Place::new();
    let prior = place.prior(PriorFamily::StudentT { dof: 3.0 }, 1.0, true);
    let mut c = searched(42, 0, 80);
    (c.monitors.probe_tokens, c.monitors.probe_every) = (8, 10);
    // Who keeps the start, and who has it in hand: the file leaves it out.
    for kept in [true, false] {
        let session = place.resume(&c, &prior, kept, "run_chain.bnn").unwrap();
        assert_eq!(
            (session.steps_made(), session.phase()),
            (100, Phase::Sampling)
        );
        assert_eq!(session.curvature().unwrap().products, 2);
        // Saved again it has the form of today, its series in a trace of its own.
        let dir = tempfile::tempdir().unwrap();
        let again = dir.path().join("run_chain.bnn");
        let mut session = session;
        session.save(&again).unwrap();
        assert!(again.with_extension("trace").exists());
        let target = Target {
            gpt: &place.gpt,
            corpus: &place.corpus,
            prior: &prior,
            start: &place.start,
            start_sha256: kept.then(|| params_sha256(&place.start)),
        };
        let session = Session::resume(&place.cpu, &target, &c, &again).unwrap();
        let session = finish(session);
        check(session.params(), &params("after_run_chain.bnn"), "params");
        let trace = session.trace().unwrap().unwrap();
        assert_eq!((trace.log_lik.len(), trace.kinetic.len()), (140, 80));
        assert!(trace.is_whole());
        let taken = session.monitor::<TensorTemperatures>().unwrap().taken();
        assert_eq!(taken.count(), 20);
        let looks = session.excess_losses().unwrap();
        assert_eq!(looks.len(), 16);
        let draws = session.draws().unwrap().unwrap();
        assert_eq!((draws.len(), draws.tokens()), (8, 8));
    }
    let elsewhere = Place {
        start: place.start.iter().map(|x| x + 0.1).collect(),
        ..Place::new()
    };
    let e = elsewhere
        .resume(&c, &prior, true, "run_chain.bnn")
        .err()
        .unwrap();
    assert!(e.to_string().contains("start"), "{e}");
}

#[test]
fn a_chain_of_the_c_interfaces_goes_on() {
    let place = Place::new();
    let student = PriorFamily::StudentT { dof: 3.0 };
    let prior = place.prior(student, 0.5, true);
    let c = searched(7, 3, 40);
    let session = place.resume(&c, &prior, false, "c_chain.bnn").unwrap();
    assert_eq!(session.steps_made(), 80);
    let session = finish(session);
    check(session.params(), &params("after_c_chain.bnn"), "params");
    let looks = session.excess_losses().unwrap();
    let taken = session.monitor::<TensorTemperatures>().unwrap().taken();
    assert_eq!((looks.len(), taken.count()), (8, 10));
    // It has no trace of the steps before the break, and says so.
    let trace = session.trace().unwrap().unwrap();
    assert_eq!((trace.skipped, trace.log_lik.len()), (80, 20));
    for (family, std, centred, what) in [
        (PriorFamily::Normal, 0.5, true, "prior_family"),
        (
            PriorFamily::StudentT { dof: 4.0 },
            0.5,
            true,
            "prior_family",
        ),
        (student, 0.6, true, "prior_std"),
        (student, 0.5, false, "prior_center"),
    ] {
        let prior = place.prior(family, std, centred);
        let e = place
            .resume(&c, &prior, false, "c_chain.bnn")
            .err()
            .unwrap();
        assert!(e.to_string().contains(what), "{e}");
    }
}

/// The method that was `sgnht` then is `sgnht_ding` where that name is known.
#[test]
fn a_thermostat_of_before_is_dings() {
    let place = Place::new();
    let prior = Prior::isotropic(1.0);
    let ding = "sgnht_ding".parse::<Method>();
    let of = |method| {
        let sampler = ChainConfig {
            temperature: 0.1,
            warmup_steps: 2,
            sampling_steps: 8,
            thinning: 2,
            seed: 7,
            alpha: 0.5,
            thermostat_mass: 1.0,
            ..ChainConfig::new(method, 1e-3)
        };
        let inference = Inference::Chain {
            sampler,
            preconditioner: Preconditioner::None,
            auto_step: None,
        };
        settings(inference, 2, Order::Independent)
    };
    let is_known = ding.is_ok();
    let c = of(ding.unwrap_or(Method::Sgnht));
    let session = place.resume(&c, &prior, false, "c_sgnht.bnn").unwrap();
    let session = finish(session);
    check(session.params(), &params("after_c_sgnht.bnn"), "params");
    if is_known {
        let c = of(Method::Sgnht);
        let e = place
            .resume(&c, &prior, false, "c_sgnht.bnn")
            .err()
            .unwrap();
        assert!(e.to_string().contains("sgnht_ding"), "{e}");
    }
}

#[test]
fn fits_of_before_go_on() {
    let place = Place::new();
    let config = GaussianConfig {
        learning_rate: 0.5,
        temperature: 0.1,
        seed: 7,
        ekf_labels: CurvatureKind::EmpiricalFisher,
        ..GaussianConfig::new(GaussianMethod::Ekf, 1)
    };
    let c = settings(Inference::Fit { config, epochs: 1 }, 400, Order::Sweep);
    let prior = Prior::isotropic(1.0);
    let mut session = place.resume(&c, &prior, false, "c_fit.bnn").unwrap();
    assert_eq!(session.steps_made(), 3);
    (0..3).for_each(|_| _ = session.step().unwrap());
    check(session.params(), &params("after_c_fit.bnn"), "ekf");
}

#[test]
fn samplers_on_gradients_of_the_callers_go_on() {
    let cpu = Cpu::new(1).unwrap();
    let sampler = ChainConfig {
        temperature: 0.7,
        warmup_steps: 60,
        sampling_steps: 40,
        thinning: 10,
        seed: 7,
        alpha: 0.5,
        thermostat_mass: 0.5,
        ..ChainConfig::new(Method::SgnhtEuler, 0.05)
    };
    let chain = Inference::Chain {
        sampler,
        preconditioner: Preconditioner::None,
        auto_step: None,
    };
    let vi = Inference::Fit {
        config: GaussianConfig {
            learning_rate: 0.05,
            schedule: Schedule::Constant,
            temperature: 0.7,
            seed: 7,
            vi_n_samples: 2,
            ..GaussianConfig::new(GaussianMethod::Vi, 40)
        },
        epochs: 1,
    };
    for (inference, name, want) in [
        (
            chain,
            "c_gradients.bnn",
            [0.7453525, 0.62038755, 0.24321055],
        ),
        (
            vi,
            "c_gradients_vi.bnn",
            [0.046647124, -0.2551807, 2.2799084],
        ),
    ] {
        let mut s = Session::resume_with_gradients(&cpu, inference, 1.0, 3, file(name)).unwrap();
        let mut theta = [0.0; 3];
        s.read_params(&mut theta).unwrap();
        while s.phase() != Phase::Done {
            let log_post = -theta.iter().map(|x| 0.5 * (x * x) as f64).sum::<f64>();
            s.step_with_gradient(&theta.map(|x| -x), log_post).unwrap();
            s.read_params(&mut theta).unwrap();
        }
        check(&theta, &want, name);
    }
}
