//! A session driven to its end: what stepping by hand gives, wherever it is ended or killed.

mod common;

use bnn::backend::Cpu;
use bnn::data::Order;
use bnn::gpt::{Gpt, Objective};
use bnn::inference::{
    BatchConfig, Inference, MonitorConfig, Passenger, Session, SessionConfig, StepReport, drive,
};
use bnn::samplers::{ChainConfig, GaussianConfig, GaussianMethod, Method, Preconditioner};
use bnn::store::{Dtype, Provenance, Store, params_sha256, previous};
use bnn::{Error, Result};
use common::place::{CAT, Place};
use common::series::state;
use common::{model::small, normals};
use std::path::Path;

fn place() -> Place {
    let start = |gpt: &Gpt| normals(gpt.n_params(), 5).iter().map(|z| 0.2 * z).collect();
    Place::of(CAT, small, start, 0.7)
}

fn settings(inference: Inference) -> SessionConfig {
    SessionConfig {
        inference,
        objective: Objective::All,
        num_data: None,
        likelihood_weight: 1.0,
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

/// 3 steps of the mass, 4 of warm-up, 20 with 4 samples.
fn chain() -> SessionConfig {
    let sampler = ChainConfig {
        temperature: 0.6,
        warmup_steps: 4,
        sampling_steps: 20,
        thinning: 5,
        seed: 11,
        chain: 2,
        alpha: 0.8,
        ..ChainConfig::new(Method::Baoa, 1e-3)
    };
    let preconditioner = Preconditioner::Rms {
        steps: 3,
        floor: 0.1,
    };
    settings(Inference::Chain {
        sampler,
        preconditioner,
        auto_step: None,
    })
}

fn store(p: &Place, name: &str) -> Store {
    let provenance = Provenance {
        config: String::new(),
        model: p.gpt.config().json().unwrap(),
        seed: 11,
        corpus_sha256: p.corpus.sha256,
        baseline_sha256: params_sha256(&p.start),
        vocabulary: p.corpus.tokenizer.vocabulary(),
        dtype: Dtype::F32,
        n_params: p.gpt.n_params() as u64,
    };
    Store::resume(p.dir.path().join(name), provenance).unwrap()
}

fn new_session(p: &Place, c: &SessionConfig) -> Session<Cpu> {
    Session::new(&p.cpu, &p.target(), c).unwrap()
}

/// Steps by hand.
fn by_hand(p: &Place, c: &SessionConfig, file: &Path, store: &mut Store) {
    let mut s = new_session(p, c);
    let mut params = vec![0.0; s.parameters()];
    while s.steps_made() < s.total_steps() {
        if s.step().unwrap().sample_due {
            s.read_params(&mut params).unwrap();
            store.append(2, s.steps_made(), &params).unwrap();
        }
    }
    s.save(file).unwrap();
}

/// Ends the drive before one step, or with an error after one; counts what it sees.
#[derive(Default)]
struct Ends {
    before: Option<u64>,
    after: Option<u64>,
    seen: u64,
    saved: Vec<u64>,
}

impl Passenger<Cpu> for Ends {
    fn before(&mut self, s: &mut Session<Cpu>) -> Result<()> {
        match self.before {
            Some(at) if s.steps_made() == at => Err(Error::Interrupted),
            _ => Ok(()),
        }
    }

    fn after(&mut self, s: &mut Session<Cpu>, report: &StepReport) -> Result<()> {
        self.seen += 1;
        assert_eq!(report.step + 1, s.steps_made());
        match self.after {
            Some(at) if s.steps_made() == at => Err(Error::conflict("enough")),
            _ => Ok(()),
        }
    }

    fn saved(&mut self, s: &Session<Cpu>) -> Result<()> {
        self.saved.push(s.steps_made());
        Ok(())
    }
}

#[test]
fn a_drive_is_its_steps_wherever_it_is_ended() {
    let (p, c) = (place(), chain());
    let file = |name: &str| p.dir.path().join(name);
    let mut want = store(&p, "by hand");
    by_hand(&p, &c, &file("by_hand.bnn"), &mut want);
    assert_eq!(want.len(), 4);

    let (mut got, mut whole) = (store(&p, "driven"), Ends::default());
    let at = file("driven.bnn");
    let drawn = drive(
        &mut new_session(&p, &c),
        Some(&mut got),
        (&at, 10),
        &mut whole,
    )
    .unwrap();
    assert_eq!(
        (drawn, whole.seen, &whole.saved[..]),
        (4, 27, &[10, 20, 27][..])
    );
    assert_eq!(got.hash().unwrap(), want.hash().unwrap());
    assert!(state(&at) == state(&file("by_hand.bnn")));
    assert!(previous(&at).exists());
    // A session that is done stays so.
    let mut done = Session::resume(&p.cpu, &p.target(), &c, &at).unwrap();
    assert_eq!(
        drive(&mut done, Some(&mut got), (&at, 10), &mut ()).unwrap(),
        0
    );

    for end in 0..27 {
        let (name, at) = (format!("ended {end}"), file(&format!("ended_{end}.bnn")));
        let mut got = store(&p, &name);
        let mut ends = Ends {
            before: Some(end),
            ..Ends::default()
        };
        let mut s = new_session(&p, &c);
        let e = drive(&mut s, Some(&mut got), (&at, 0), &mut ends);
        assert!(matches!(e, Err(Error::Interrupted)), "{e:?}");
        assert_eq!((ends.seen, &ends.saved[..]), (end, &[end][..]));
        let mut s = Session::resume(&p.cpu, &p.target(), &c, &at).unwrap();
        assert_eq!(s.steps_made(), end);
        drive(&mut s, Some(&mut got), (&at, 0), &mut ()).unwrap();
        assert_eq!(got.hash().unwrap(), want.hash().unwrap(), "{end}");
    }
}

/// Killed after its checkpoint: the samples since then are drawn again, and compared.
#[test]
fn what_was_lost_since_the_checkpoint_is_drawn_again_and_compared() {
    let (p, c) = (place(), chain());
    let at = p.dir.path().join("killed.bnn");
    let mut got = store(&p, "killed");
    let mut killed = Ends {
        after: Some(26),
        ..Ends::default()
    };
    let e = drive(
        &mut new_session(&p, &c),
        Some(&mut got),
        (&at, 10),
        &mut killed,
    );
    assert!(matches!(e, Err(Error::Conflict(_))), "{e:?}");
    // Samples fell due after 12, 17 and 22 steps; the checkpoint is of step 20.
    assert_eq!((got.len(), &killed.saved[..]), (3, &[10, 20][..]));
    let resumed = || Session::resume(&p.cpu, &p.target(), &c, &at).unwrap();
    assert_eq!(
        drive(&mut resumed(), Some(&mut got), (&at, 0), &mut ()).unwrap(),
        2
    );
    assert_eq!(got.len(), 4);

    // Another sample in a sample's place.
    let mut other = store(&p, "other");
    let mut params = vec![0.0; p.gpt.n_params()];
    got.load(2, &mut params).unwrap();
    params[0] += 1.0;
    other.append(2, 22, &params).unwrap();
    let mut s = Session::resume(&p.cpu, &p.target(), &c, previous(&at)).unwrap();
    assert_eq!(s.steps_made(), 20);
    let e = drive(&mut s, Some(&mut other), (&at, 0), &mut ()).unwrap_err();
    assert!(e.to_string().contains("another sample"), "{e}");
}

/// What a refused write left out is made up for: the sample, and the state of a session that is done.
#[test]
fn what_the_disk_refused_is_owed() {
    struct Moves<'a>(&'a Path, &'a Path);
    impl Passenger<Cpu> for Moves<'_> {
        fn after(&mut self, s: &mut Session<Cpu>, _: &StepReport) -> Result<()> {
            if [12, 27].contains(&s.steps_made()) {
                std::fs::rename(self.0, self.1).unwrap();
            }
            Ok(())
        }
    }
    let (p, c) = (place(), chain());
    let file = |name: &str| p.dir.path().join(name);
    let mut want = store(&p, "by hand");
    by_hand(&p, &c, &file("by_hand.bnn"), &mut want);
    let (mut got, at) = (store(&p, "moved"), file("moved.bnn"));
    let (here, there) = (file("moved"), file("elsewhere"));
    let mut s = new_session(&p, &c);
    for _ in 0..2 {
        // At the first sample, and at the last, which is the last step, too.
        let e = drive(&mut s, Some(&mut got), (&at, 0), &mut Moves(&here, &there));
        assert!(matches!(e, Err(Error::Io { .. })), "{e:?}");
        std::fs::rename(&there, &here).unwrap();
    }
    assert!(!at.exists());
    drive(&mut s, Some(&mut got), (&at, 0), &mut ()).unwrap();
    assert_eq!(got.hash().unwrap(), want.hash().unwrap());
    assert!(state(&at) == state(&file("by_hand.bnn")));
    // No step is made for a file that cannot be.
    let mut s = new_session(&p, &c);
    for bad in ["none/x.bnn", ""] {
        let bad = if bad.is_empty() {
            Path::new("").to_path_buf()
        } else {
            file(bad)
        };
        assert!(drive(&mut s, None, (&bad, 0), &mut ()).is_err());
    }
    // A store of another seed is not this chain's.
    let other = Provenance {
        seed: 12,
        ..store(&p, "moved").provenance().clone()
    };
    let mut other = Store::resume(file("other seed"), other).unwrap();
    let e = drive(&mut s, Some(&mut other), (&at, 0), &mut ());
    assert!(matches!(e, Err(Error::Mismatch { .. })), "{e:?}");
    assert_eq!(s.steps_made(), 0);
}

/// A fit has no sample that falls due; it is driven all the same.
#[test]
fn a_fit_is_driven_too() {
    let p = place();
    let normal = GaussianConfig {
        chain: 2,
        ..GaussianConfig::new(GaussianMethod::Vi, 1)
    };
    let c = settings(Inference::Fit {
        config: normal,
        epochs: 2,
    });
    let at = p.dir.path().join("fit.bnn");
    let (mut s, mut seen) = (new_session(&p, &c), Ends::default());
    assert_eq!(drive(&mut s, None, (&at, 7), &mut seen).unwrap(), 0);
    assert_eq!(seen.seen, s.total_steps());
    assert_eq!(seen.saved.last(), Some(&s.total_steps()));
}
