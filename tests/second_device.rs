//! Another device runs everything, and what is asked of it is bounded: a seam stays a seam.

mod common;
#[path = "common/counted.rs"]
mod counted;

use bnn::backend::Cpu;
use bnn::backend::ops::*;
use bnn::baseline::{Recipe, Trainer};
use bnn::data::{Batch, Windows};
use bnn::generate::{Generator, Mode, Options};
use bnn::gpt::{Gelu, Gpt, GptConfig, Objective, WeightType};
use bnn::metrics::{split_loss, text_scores};
use bnn::posterior::{Posterior, Prior};
use bnn::samplers::{
    Chain, ChainConfig, GaussianConfig, GaussianFit, GaussianMethod, Method, Phase, Preconditioner,
    SwagSnapshots,
};
use common::bits;
use counted::{Counted, Counts};
use std::path::Path;

/// Methods of all traits of the seam.
const METHODS: usize = 45;

/// Arguments of each, beside the device.
const ARGUMENTS: usize = 7;

fn model(dropout: f32) -> Gpt {
    Gpt::new(GptConfig {
        vocab_size: 13,
        block_size: 20,
        n_layer: 2,
        n_head: 2,
        n_embd: 12,
        bias: true,
        dropout,
        gelu: Gelu::Exact,
        tie_weights: true,
    })
    .unwrap()
}

/// A text, its windows, and a batch of 3 of 10 tokens to fill.
fn text() -> (Vec<u16>, Windows, Batch) {
    let tokens = common::tokens(400, 13, 1);
    let windows = Windows::all(tokens.len(), 10).unwrap();
    (tokens, windows, Batch::new(3, 10).unwrap())
}

/// The traits' methods with the number of their arguments, read from the contracts.
fn methods() -> Vec<(String, usize)> {
    let backend = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/backend");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(backend).unwrap() {
        let Ok(text) = std::fs::read_to_string(entry.unwrap().path().join("mod.rs")) else {
            continue;
        };
        let mut inside = false;
        let mut rest = text.as_str();
        while let Some((line, after)) = rest.split_once('\n') {
            inside |= line.starts_with("pub trait ");
            inside &= line != "}";
            if let (true, Some(name)) = (inside, line.strip_prefix("    fn ")) {
                let end = rest.find(['{', ';']).unwrap();
                let arguments = rest[..end].matches(": ").count();
                let name = &name[..name.find(['(', '<']).unwrap()];
                found.push((name.to_string(), arguments));
            }
            rest = after;
        }
    }
    found
}

#[test]
fn the_seam_is_small() {
    let methods = methods();
    assert!(
        methods
            .iter()
            .any(|(name, _)| name == "layer_norm_backward")
    );
    assert!(methods.iter().any(|(name, n)| name == "combine" && *n == 2));
    assert!(methods.len() <= METHODS, "{} {methods:?}", methods.len());
    for (name, arguments) in methods {
        assert!(arguments <= ARGUMENTS, "{name} has {arguments}");
    }
}

/// A chain of each method, and one with each mass: the same bits as on the CPU, the same requests every step, no buffer made in one.
#[test]
fn chains_ask_little() {
    let rms = Preconditioner::Rms {
        steps: 3,
        floor: 0.1,
    };
    let fisher = Preconditioner::Fisher {
        steps: 3,
        floor: 0.1,
    };
    let live = Preconditioner::Live {
        steps: 3,
        floor: 0.1,
        decay: 0.9,
        gamma: false,
    };
    for method in Method::ALL {
        for preconditioner in [Preconditioner::None, rms, fisher, live] {
            if preconditioner.check_method(method).is_err() {
                continue;
            }
            let device = Counted::new(1);
            let mut steps = Vec::new();
            let got = run_chain(&device, method, preconditioner, |step| {
                steps.push(device.during(step).1);
            });
            let want = run_chain(&Cpu::new(1).unwrap(), method, preconditioner, |step| step());
            assert_eq!(bits(&got), bits(&want), "{method}");
            // The first steps make the mass.
            let plain = &steps[preconditioner.steps() as usize..];
            for counts in plain {
                assert_eq!(counts, &plain[0], "{method}");
                assert_eq!(counts.reads, 1, "{method}: {counts:?}");
                assert_eq!(
                    (counts.uploads, counts.made, counts.copied),
                    (2, 0, 0),
                    "{method}"
                );
            }
        }
    }
}

/// Six steps, each handed to `around`; the parameters at the end.
fn run_chain<B: bnn::backend::Backend>(
    backend: &B,
    method: Method,
    preconditioner: Preconditioner,
    mut around: impl FnMut(&mut dyn FnMut()),
) -> Vec<f32> {
    let gpt = model(0.0);
    let (tokens, windows, mut batch) = text();
    let (prior, all) = (Prior::isotropic(0.5), Objective::All);
    let posterior = Posterior::new(backend, &gpt, &prior, 399.0, all, 3, 10).unwrap();
    let mut config = ChainConfig::new(method, 1e-6);
    config.warmup_steps = 2;
    config.sampling_steps = 4;
    config.thinning = 1;
    let start = gpt.layout().init(2);
    let mut chain = Chain::new(backend, posterior, &start, config, preconditioner).unwrap();
    while chain.phase() != Phase::Done {
        windows
            .fill(&tokens, 1, 0, chain.steps_made(), &mut batch)
            .unwrap();
        around(&mut || {
            chain.step(&batch).unwrap();
        });
    }
    backend.get(chain.sampler().params()).unwrap()
}

#[test]
fn training_asks_little() {
    let device = Counted::new(1);
    let (tokens, windows, mut batch) = text();
    let gpt = model(0.2);
    let recipe = Recipe::default();
    let mut trainer = Trainer::new(&device, &gpt, &recipe, 3, 10).unwrap();
    let mut plain = Trainer::new(&Cpu::new(1).unwrap(), &gpt, &recipe, 3, 10).unwrap();
    for step in 0..4 {
        windows.fill(&tokens, 1, 0, step, &mut batch).unwrap();
        let (loss, counts) = device.during(|| trainer.step(&batch).unwrap());
        assert_eq!(loss, plain.step(&batch).unwrap());
        assert_eq!(counts.reads, 1, "{counts:?}");
        assert_eq!((counts.uploads, counts.made, counts.copied), (2, 0, 0));
    }
    let got = device.get(trainer.params()).unwrap();
    assert_eq!(bits(&got), bits(plain.params()));
}

/// Fits of every kind: one read per gradient.
#[test]
fn fits_ask_little() {
    for method in GaussianMethod::ALL {
        let device = Counted::new(1);
        let (gpt, prior) = (model(0.0), Prior::isotropic(0.5));
        let (tokens, windows, mut batch) = text();
        let mut config = GaussianConfig::new(method, 4);
        (config.vi_n_samples, config.learning_rate) = (3, 1e-4);
        config.snapshots = Some(SwagSnapshots { every: 1, rank: 2 });
        config.states = Some(2);
        let draws = match method {
            GaussianMethod::Vi | GaussianMethod::Ivon => 3,
            _ => 1,
        };
        let start = gpt.layout().init(2);
        let all = Objective::All;
        let posterior = Posterior::new(&device, &gpt, &prior, 399.0, all, 3, 10).unwrap();
        let mut fit = GaussianFit::new(&device, posterior, &start, config.clone()).unwrap();
        let cpu = Cpu::new(1).unwrap();
        let posterior = Posterior::new(&cpu, &gpt, &prior, 399.0, all, 3, 10).unwrap();
        let mut plain = GaussianFit::new(&cpu, posterior, &start, config).unwrap();
        for step in 0..4 {
            windows.fill(&tokens, 1, 0, step, &mut batch).unwrap();
            let (report, counts) = device.during(|| fit.step(&batch).unwrap());
            assert_eq!(report, plain.step(&batch).unwrap());
            assert_eq!((counts.reads, counts.made, counts.copied), (draws, 0, 0));
        }
        assert_eq!(bits(&fit.sd().unwrap()), bits(&plain.sd().unwrap()));
    }
}

/// No logits come to the host: of a text there is one read, whatever its length and the number of samples.
#[test]
fn scoring_reads_once() {
    let gpt = model(0.0);
    let tokens = common::tokens(165, 13, 3);
    let device = Counted::new(2);
    let cpu = Cpu::new(2).unwrap();
    let flat: Vec<_> = (0..3).map(|i| gpt.layout().init(i)).collect();
    let samples: Vec<_> = flat.iter().map(|p| device.put(p).unwrap()).collect();
    let (got, counts) =
        device.during(|| text_scores(&device, &gpt, samples.iter().map(Ok), &tokens).unwrap());
    assert_eq!(
        got,
        text_scores(&cpu, &gpt, flat.iter().map(Ok), &tokens).unwrap()
    );
    assert_eq!((counts.reads, counts.copied), (1, 0), "{counts:?}");
    let run = || split_loss(&device, &gpt, &samples[0], &tokens, 20).unwrap();
    let (got, counts) = device.during(run);
    assert_eq!(got, split_loss(&cpu, &gpt, &flat[0], &tokens, 20).unwrap());
    assert_eq!((counts.reads, counts.copied), (1, 0), "{counts:?}");
}

/// A token of all texts by all samples is one read, one upload, and as many operations as by one sample.
#[test]
fn a_token_is_read_once() {
    let gpt = model(0.0);
    let cpu = Cpu::new(1).unwrap();
    let prompts: [&[u16]; 3] = [&[1, 2, 3], &[4], &[5, 6]];
    let write = |samples: u64, mode: Mode| -> Vec<Counts> {
        let options = Options {
            max_new_tokens: 9,
            mode,
            ..Options::default()
        };
        let flat = || {
            (0..samples)
                .map(|i| gpt.layout().init(i))
                .collect::<Vec<_>>()
        };
        let device = Counted::new(1);
        let on_device = flat().iter().map(|p| device.put(p).unwrap()).collect();
        let mut generator =
            Generator::with_weights(&device, &gpt, on_device, WeightType::F32).unwrap();
        let mut plain = Generator::new(&cpu, &gpt, flat()).unwrap();
        // Room for the texts is made once.
        generator
            .generate_batch(&prompts, &options, 0, |_, _| true)
            .unwrap();
        [8, 9]
            .map(|n| {
                let options = Options {
                    max_new_tokens: n,
                    ..options.clone()
                };
                let run = || {
                    generator
                        .generate_batch(&prompts, &options, 0, |_, _| true)
                        .unwrap()
                };
                let (got, counts) = device.during(run);
                let want = plain
                    .generate_batch(&prompts, &options, 0, |_, _| true)
                    .unwrap();
                assert_eq!(got, want);
                counts
            })
            .to_vec()
    };
    for mode in [Mode::Average, Mode::Vote, Mode::Sequence] {
        let (one, many) = (write(1, mode), write(10, mode));
        for counts in [&one, &many] {
            let of = |c: &Counts| [c.reads, c.uploads, c.made, c.copied];
            assert_eq!(of(&counts[0]), [8, 8, 0, 0]);
            assert_eq!(of(&counts[1]), [9, 9, 0, 0]);
        }
        assert_eq!(one, many);
    }
}
