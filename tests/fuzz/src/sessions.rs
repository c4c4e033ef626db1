//! The sessions whose files are read: one of each kind of chain and of fit, as small as they can be.

use bnn::backend::Cpu;
use bnn::data::Corpus;
use bnn::gpt::Gpt;
use bnn::inference::{Inference, Session, SessionConfig, Target};
use bnn::posterior::Prior;
use bnn::run::config::from_toml;
use bnn::settings::{Settings, TargetKind};
use std::path::Path;
use std::sync::Arc;

/// A text of eight characters.
pub const TEXT: &str =
    "abcabcdabcdefgh\nabcabdacefbgcahdbeacfdbgehcafbdecahgbfdaceghbfadbcgefhacbdgefahc\nab";

/// What all have in common: a model of 300 parameters.
const SMALL: &str = "settings_version = 2\nshape = \"tiny\"\nn_layer = 1\nn_head = 2\nn_embd = 4\nblock_size = 4\nbatch_size = 2\n\
    warmup_steps = 60\nsampling_steps = 40\nthinning = 5\ntemperature_every = 2\nprobe_tokens = 6\nprobe_every = 5\nllc_every = 5\n\
    preconditioner_steps = 3\nprior_center = \"pretrained\"\nnum_data = 70.0\n";

/// Lines of each session's own; with gradients of the caller's, where the first word is `own`. The seed is the place in this list.
const KINDS: [&str; 11] = [
    "sampler = \"sghmc\"\npreconditioner = \"rms\"",
    "sampler = \"sgnht\"\npreconditioner = \"rms\"\nauto_step = true",
    "sampler = \"sgld\"\npreconditioner = \"live\"\nlearning_rate = 1e-4",
    "own sampler = \"baoa\"",
    "sampler = \"vi\"\nepochs = 2\nvi_n_samples = 2",
    "sampler = \"ekf\"\nekf_labels = \"data\"\nepochs = 2",
    "sampler = \"laplace\"\nepochs = 2",
    "sampler = \"laplace\"\nlaplace_structure = \"last_layer_full\"\nepochs = 2",
    "sampler = \"laplace\"\nlaplace_structure = \"last_layer_kfac\"\nepochs = 2",
    "own sampler = \"vi\"",
    "sampler = \"baoa\"\npreconditioner = \"adaptive\"\nauto_step = true\nschedule = \"cyclical\"\nwarmup_steps = 60",
];

/// How many parameters a caller's own model has here.
const OWN: usize = 5;

enum What {
    Model {
        gpt: Gpt,
        config: Box<SessionConfig>,
        start: Vec<f32>,
        prior: Prior,
    },
    Own(Inference),
}

/// All sessions, and what they share.
pub struct Sessions {
    cpu: Cpu,
    corpus: Arc<Corpus>,
    all: Vec<What>,
}

/// Returns settings given as TOML, with those of all sessions.
pub fn settings(place: &Path, more: &str, target: TargetKind) -> Settings {
    let names: Vec<&str> = more.lines().filter_map(|l| l.split(' ').next()).collect();
    let kept = SMALL
        .lines()
        .filter(|l| !names.contains(&l.split(' ').next().expect("a name")));
    let text: String = kept.chain(more.lines()).map(|l| format!("{l}\n")).collect();
    std::fs::write(place, text).expect("a file");
    from_toml(place).expect("settings").defaulted(target)
}

impl Sessions {
    /// Makes them; `place` is a file to write to meanwhile.
    pub fn new(place: &Path) -> Self {
        let corpus = Arc::new(Corpus::from_text("small", TEXT).expect("a text"));
        let make = |(seed, lines): (usize, &&str)| {
            let own = lines.strip_prefix("own ");
            let lines = format!("seed = {seed}\n{}", own.unwrap_or(lines));
            if own.is_some() {
                let s = settings(place, &lines, TargetKind::Own);
                return What::Own(s.on_gradients(0).expect("an inference"));
            }
            let s = settings(place, &lines, TargetKind::Gpt);
            let mut shape = s.model(corpus.tokenizer.vocab_size()).expect("a shape");
            shape.tie_weights &= !s.unties();
            let gpt = Gpt::new(shape).expect("a model");
            let start = gpt.layout().init(1);
            let config = Box::new(s.session(0, gpt.config()).expect("a session"));
            let prior = s.prior(gpt.layout(), &start).expect("a prior");
            What::Model {
                gpt,
                config,
                start,
                prior,
            }
        };
        let all = KINDS.iter().enumerate().map(make).collect();
        Self {
            cpu: Cpu::new(1).expect("a device"),
            corpus,
            all,
        }
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns false.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Begins one, or goes on from a file.
    pub fn open(&self, i: usize, path: Option<&Path>) -> bnn::Result<Session<Cpu>> {
        match &self.all[i] {
            What::Model {
                gpt,
                config,
                start,
                prior,
            } => {
                let target = Target {
                    gpt,
                    corpus: &self.corpus,
                    prior,
                    start,
                    start_sha256: None,
                };
                match path {
                    Some(path) => Session::resume(&self.cpu, &target, config, path),
                    None => Session::new(&self.cpu, &target, config),
                }
            }
            What::Own(inference) => match path {
                Some(path) => {
                    Session::resume_with_gradients(&self.cpu, inference.clone(), 1.0, OWN, path)
                }
                None => Session::with_gradients(&self.cpu, inference.clone(), 1.0, &[0.5; OWN]),
            },
        }
    }

    /// Makes a step.
    pub fn step(&self, s: &mut Session<Cpu>) -> bnn::Result<()> {
        if s.batches().is_some() {
            return s.step().map(drop);
        }
        let mut theta = [0.0; OWN];
        s.read_params(&mut theta)?;
        let log_post = -theta.iter().map(|x| f64::from(x * x) / 2.0).sum::<f64>();
        s.step_with_gradient(&theta.map(|x| -x), log_post).map(drop)
    }
}
