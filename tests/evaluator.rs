//! An evaluator's numbers are the model's own, at any batch and after any other; steps on a loss's gradient and without a text are a session's own.

use bnn::backend::vectors::Transfer;
use bnn::backend::{Cpu, Vectors};
use bnn::data::{Batch, Corpus, Order, Tokenizer};
use bnn::gpt::{Gpt, GptConfig, Objective, SquareSums, Squares, TokenBatch, Workspace};
use bnn::inference::{
    At, BatchConfig, Evaluator, Inference, MonitorConfig, Sequences, Session, SessionConfig, Target,
};
use bnn::posterior::Prior;
use bnn::samplers::{ChainConfig, Method, Phase, Preconditioner};
use std::sync::Arc;

fn model() -> Gpt {
    Gpt::new(GptConfig {
        n_embd: 24,
        n_head: 3,
        block_size: 20,
        bias: true,
        ..GptConfig::named("tiny", 31).unwrap()
    })
    .unwrap()
}

/// Broken: a workspace that is kept for another length of sequences; squares that are added to those of the call before.
#[test]
fn an_evaluator_has_the_bits_of_the_model_whatever_came_before() {
    let (cpu, gpt) = (Cpu::new(2).unwrap(), model());
    let n = gpt.n_params();
    let tokens: Vec<u32> = (0..200u32).map(|i| (i * i + i / 3) % 31).collect();
    let narrow: Vec<u16> = tokens.iter().map(|&id| id as u16).collect();
    let mut evaluator = Evaluator::new(&cpu, &gpt);
    let sizes = [(3, 7), (1, 20), (5, 11), (2, 3), (9, 1), (5, 11)];
    for (i, (b, t)) in sizes.into_iter().enumerate() {
        let objective = [Objective::All, Objective::Last][i % 2];
        let params = gpt.layout().init(i as u64);
        let rows = b * t;
        let of = Sequences {
            x: &tokens[..rows],
            y: &tokens[1..=rows],
            t,
            objective,
        };
        let batch = TokenBatch::new(&narrow[..rows], &narrow[1..=rows], t, objective);
        let mut ws = Workspace::for_gradients(&cpu, gpt.config(), b, t).unwrap();
        let (on, mut g) = (cpu.put(&params).unwrap(), cpu.zeros(n).unwrap());
        let (mut q, mut probs, mut z) = (g.clone(), vec![0.0; rows], vec![0.0; rows * 31]);
        let mean = gpt
            .gradient(&cpu, &on, batch, None, &mut ws, &mut g)
            .unwrap();
        let (mut grad, mut squares) = (vec![1.0; n], vec![1.0; n]);
        let loss = evaluator
            .gradient(At::Host(&params), of, &mut grad)
            .unwrap();
        let counted = if objective == Objective::All { rows } else { b };
        assert_eq!(
            (loss.mean, loss.count, &grad),
            (mean, counted, &g),
            "{b} {t}"
        );
        assert!((loss.total() - mean * counted as f64).abs() < 1e-12 * loss.total());
        let device = evaluator.gradient(At::Device(&on), of, &mut grad).unwrap();
        assert_eq!((device, &grad), (loss, &g));
        let sums = SquareSums {
            of: Squares::Gradients,
            to: &mut q,
        };
        (gpt.gradient_and_squares(&cpu, &on, batch, &mut ws, &mut g, sums)).unwrap();
        for _ in 0..2 {
            let at = At::Host(&params);
            evaluator.squares(at, of, &mut grad, &mut squares).unwrap();
            assert_eq!((&grad, &squares), (&g, &q));
        }
        gpt.log_prob(&cpu, &on, batch, &mut ws, &mut probs).unwrap();
        let kept = evaluator.log_probs_kept(At::Host(&params), of).unwrap();
        assert_eq!(kept, probs);
        gpt.logits(&cpu, &on, batch.x, t, &mut ws, &mut z).unwrap();
        let mut logits = vec![0.0; rows * 31];
        evaluator
            .logits(At::Host(&params), of, &mut logits)
            .unwrap();
        assert_eq!(logits, z);
    }
}

fn config(preconditioner: Preconditioner, num_data: Option<f64>) -> SessionConfig {
    let mut sampler = ChainConfig::new(Method::Sghmc, 1e-3);
    (
        sampler.warmup_steps,
        sampler.sampling_steps,
        sampler.thinning,
    ) = (2, 8, 2);
    SessionConfig {
        inference: Inference::Chain {
            sampler,
            preconditioner,
            auto_step: None,
        },
        objective: Objective::All,
        num_data,
        likelihood_weight: 0.7,
        batches: BatchConfig {
            size: 4,
            window: 9,
            order: Order::Independent,
            chosen: None,
        },
        monitors: MonitorConfig::default(),
    }
}

/// Broken: the likelihood's weight left out of a step on a loss's gradient; the loss of the batch before in its report.
#[test]
fn a_step_on_an_evaluators_gradient_has_the_bits_of_a_step_on_the_batch() {
    let (cpu, gpt) = (Cpu::new(1).unwrap(), model());
    let tokens: Vec<u32> = (0..300u32).map(|i| (i * i / 3 + i) % 31).collect();
    let corpus = Arc::new(Corpus::from_tokens("ids", &tokens, &tokens[..50], 31).unwrap());
    let none = Arc::new(Corpus::without_text(Tokenizer::of_ids(31).unwrap()));
    let (start, prior) = (gpt.layout().init(1), Prior::isotropic(0.8));
    let target = |corpus| Target {
        gpt: &gpt,
        corpus,
        prior: &prior,
        start: &start,
        start_sha256: None,
    };
    let rms = Preconditioner::Rms {
        steps: 3,
        floor: 0.1,
    };
    let mut own = Session::new(&cpu, &target(&corpus), &config(rms, None)).unwrap();
    let counted = 299.0; // targets of the text
    assert_eq!(own.num_data(), 0.7 * counted);
    assert!(Session::new(&cpu, &target(&none), &config(rms, None)).is_err());
    let config_of = config(rms, Some(counted));
    let mut outside = Session::new(&cpu, &target(&none), &config_of).unwrap();
    assert!(outside.step().unwrap_err().to_string().contains("no text"));
    let mut evaluator = Evaluator::new(&cpu, &gpt);
    let (mut params, mut grad) = (start.clone(), start.clone());
    let mut batch = Batch::new(4, 9).unwrap();
    while own.phase() != Phase::Done {
        own.batch(own.steps_made(), &mut batch).unwrap();
        let wide = |ids: &[u16]| ids.iter().map(|&id| id.into()).collect::<Vec<u32>>();
        let (x, y) = (wide(&batch.x), wide(&batch.y));
        let of = Sequences {
            x: &x,
            y: &y,
            t: 9,
            objective: Objective::All,
        };
        outside.read_params(&mut params).unwrap();
        let loss = evaluator
            .gradient(At::Host(&params), of, &mut grad)
            .unwrap();
        let there = outside.step_with_loss_gradient(&grad, loss.mean).unwrap();
        assert_eq!(there, own.step().unwrap());
    }
    let mut end = params.clone();
    own.read_params(&mut params).unwrap();
    outside.read_params(&mut end).unwrap();
    assert_eq!(params, end);
    assert!(params != start && own.momenta().unwrap() == outside.momenta().unwrap());
    // A mass from each sequence's gradient needs the batch.
    let fisher = Preconditioner::Fisher {
        steps: 3,
        floor: 0.1,
    };
    let mut own = Session::new(&cpu, &target(&corpus), &config(fisher, None)).unwrap();
    let e = own.step_with_loss_gradient(&grad, 3.0).unwrap_err();
    assert!(e.to_string().contains("preconditioner"), "{e}");
}
