//! What the Rust library itself says to the C programs' inputs: the same numbers, to the last bit.

use bnn::backend::Cpu;
use bnn::data::{Batch, Batches, Corpus, Order, Windows};
use bnn::gpt::{Gpt, GptConfig, Objective};
use bnn::metrics::{self, Unit};
use bnn::posterior::{Posterior, Prior};
use bnn::samplers::{
    AutoStep, Chain, ChainConfig, CovarianceStructure, GaussianConfig, GaussianFit, GaussianMethod,
    Method, NoiseCorrection, Phase, Preconditioner, RunningMean, Sampler, Temperatures, stability,
};
use bnn::store::{Kind, Reader};
use std::path::Path;

/// The numbers of the line that begins with `what`.
pub fn printed(out: &str, what: &str) -> Vec<f64> {
    let line = out
        .lines()
        .find_map(|l| l.strip_prefix(&format!("{what} ")));
    let words = line.unwrap_or_else(|| panic!("a line of {what} in {out}"));
    let numbers = words.split_whitespace();
    numbers.map(|w| w.parse().expect("a number")).collect()
}

/// Equal, NaN to NaN.
pub fn same(got: &[f64], want: &[f64], what: &str) {
    let equal = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan());
    let all = got.len() == want.len() && got.iter().zip(want).all(equal);
    assert!(all, "{what}: {got:?}, not {want:?}");
}

fn three(m: Option<RunningMean>) -> [f64; 3] {
    let m = m.expect("a value");
    [m.mean, m.sd.expect("two"), m.std_error.expect("ten")]
}

/// The run of alive.c, from the model that it saved.
pub fn alive(folder: &Path, out: &str) {
    let (mass, warmup, sampling, t) = (20, 120, 300, 0.5);
    let cpu = Cpu::new(1).expect("a device");
    let corpus = match std::env::var_os("BNN_DATA").filter(|p| !p.is_empty()) {
        Some(path) => Corpus::from_file(path).expect("the text"),
        None => Corpus::embedded().expect("the play"),
    };
    let shape = GptConfig::named("tiny", corpus.tokenizer.vocab_size()).expect("a shape");
    let (gpt, len) = (Gpt::new(shape).expect("a model"), 32);
    let (n, d) = (corpus.train.len() - 1, gpt.n_params());
    let mut start = vec![0.0; d];
    let mut file = Reader::open(folder.join("model.bnn"), Kind::Baseline).expect("the model");
    file.read_f32("params", &mut start).expect("its parameters");
    assert_eq!(file.header().step, 2000);

    let prior = Prior {
        center: Some(start.clone()),
        ..Prior::isotropic(0.05)
    };
    let num_data = 0.75 * n as f64;
    let posterior = Posterior::new(&cpu, &gpt, &prior, n as f64, Objective::All, 6, len)
        .and_then(|p| p.with_likelihood_weight(0.75))
        .expect("a posterior");
    let mut config = ChainConfig::new(Method::Baoa, 2e-2);
    config.alpha = stability::alpha_for_momentum(&config, 0.95).expect("a friction");
    (config.temperature, config.seed) = (t, 7);
    (config.warmup_steps, config.sampling_steps, config.thinning) = (warmup, sampling, 40);
    config.noise_correction = NoiseCorrection::Diagonal;
    let auto = AutoStep::new(&config, 0.05, true).and_then(|a| a.at_most(1.5));
    let auto = auto.expect("a search");
    let rms = Preconditioner::Rms {
        steps: mass,
        floor: 0.1,
    };
    let mut chain = Chain::new(&cpu, posterior, &start, config, rms).expect("a chain");
    let tensors = gpt.layout().tensors();
    let ranges = tensors.iter().map(|t| t.range.clone()).collect();
    let mut all = Temperatures::new(4, ranges).expect("temperatures");
    chain.adapt_step(auto).expect("a mass that stays");

    let windows = Windows::all(corpus.train.len(), len).expect("windows");
    let batches = Batches::new(windows, Order::Independent, 6).expect("batches");
    let batch_of = |step| {
        let mut batch = Batch::new(6, len).expect("a batch");
        let filled = batches.fill(&corpus.train, 7, 0, step, &mut batch);
        filled.map(|()| batch).expect("tokens")
    };
    let step_now = |chain: &Chain<Cpu>| {
        let c = chain.sampler().config();
        let pair = stability::optimizer_pair(c, num_data);
        let error = chain.auto_step().expect("a search").state().error;
        let error = if error > 0.0 { error } else { f64::NAN };
        [c.step_size, c.alpha, pair.lr, pair.momentum, error]
    };
    let given = printed(out, "given");
    same(&given, &step_now(&chain), "the step that was given");
    let (mut excess, mut log_post, mut kinetic) = (Vec::new(), Vec::new(), Vec::new());
    let mut found = given.clone();
    while chain.phase() != Phase::Done {
        let step = chain.steps_made();
        if step == mass {
            let two = [batch_of(step), batch_of(step + 1)];
            let c = chain.curvature(&two, 8).expect("a curvature");
            let limit = stability::stability_limit(chain.sampler().config(), c.largest);
            let want = [c.largest, c.residual, c.smallest, limit];
            same(&printed(out, "curvature"), &want, "curvature");
            assert!(c.largest > 0.0 && limit > 0.0, "{c:?}");
        }
        let batch = batch_of(step);
        let s = chain.sampler();
        let sampled = s.step().saturating_sub(warmup);
        let due = chain.phase() == Phase::Sampling && all.due(sampled);
        let look = |s: &Sampler<Cpu>, grad: &Vec<f32>| if due { all.read(s, grad) } else { Ok(()) };
        let r = chain.step_observed(&batch, look).expect("a step");
        if due {
            all.keep();
        }
        if chain.phase() == Phase::Sampling && r.phase == Phase::Warmup {
            found = printed(out, "found");
            same(&found, &step_now(&chain), "the step that was found");
        }
        if r.phase == Phase::Sampling {
            log_post.push(r.at.log_post);
            kinetic.extend(r.kinetic_temperature);
            if log_post.len().is_multiple_of(10) {
                let before = chain.log_lik_at_start(&batch).expect("a loss");
                excess.push(before - r.at.log_lik);
            }
        }
    }
    // The search moved the step and kept the momentum.
    assert!(
        found[0] != given[0] && (found[3] - 0.95).abs() < 1e-9,
        "{found:?}"
    );
    assert!(found[4] > 0.0, "{found:?}");
    for (i, tensor) in tensors.iter().enumerate() {
        let band = t * (2.0 / tensor.range.len() as f64).sqrt();
        let (k, c) = (three(all.kinetic(i)), three(all.configurational(i)));
        let want = [&k[..], &c, &[band, all.count() as f64]].concat();
        let what = format!("tensor {}", tensor.name);
        same(&printed(out, &what), &want, &what);
    }
    let llc = metrics::local_learning_coefficient(&excess, num_data / t).expect("a coefficient");
    let want = [
        llc.value,
        llc.std_error.expect("30 looks"),
        llc.excess_loss,
        llc.n_beta,
        30.0,
    ];
    same(&printed(out, "llc"), &want, "learning coefficient");
    // The start is near enough to a minimum for the chain to lose by leaving it.
    assert!(llc.value > 0.0, "{llc:?}");
    let e = metrics::Energy::new(&log_post, Some(&kinetic), d, t).expect("energies");
    let means = [e.potential, e.kinetic.expect("momenta"), e.total, e.drift];
    let want = [means.map(|m| m.mean), means.map(|m| m.std_error)].concat();
    same(&printed(out, "energy"), &want, "energy");
}

/// The letters that several programs use.
pub fn letters(n: u64) -> Corpus {
    let text: String = (0..n)
        .map(|i| b"abcdefgh"[((i * i / 3 + i) % 8) as usize] as char)
        .collect();
    Corpus::from_text("text", &text).expect("a corpus")
}

pub fn small(width: usize) -> Gpt {
    let named = GptConfig::named("tiny", 8).expect("a shape");
    Gpt::new(GptConfig {
        n_layer: 1,
        n_embd: width,
        block_size: 8,
        ..named
    })
    .expect("a model")
}

/// The fits of looks.c: of all parameters, and of an untied head.
pub fn prior_fit(out: &str) {
    for (name, structure) in [
        ("prior_fit", CovarianceStructure::Diagonal),
        (
            "prior_fit_last_layer_full",
            CovarianceStructure::LastLayerFull,
        ),
        (
            "prior_fit_last_layer_kfac",
            CovarianceStructure::LastLayerKfac,
        ),
    ] {
        prior_fit_of(out, name, structure);
    }
}

fn prior_fit_of(out: &str, name: &str, structure: CovarianceStructure) {
    let (cpu, corpus, gpt) = (Cpu::new(1).expect("a device"), letters(1200), small(8));
    let (head, tied) = (
        structure != CovarianceStructure::Diagonal,
        gpt.layout().init(42),
    );
    let (gpt, start) = if head {
        (gpt.untied(), gpt.untie(&tied).expect("a head"))
    } else {
        (gpt, tied)
    };
    let windows = Windows::all(corpus.train.len(), 8).expect("windows");
    let batches = Batches::new(windows, Order::Sweep, 3).expect("batches");
    let n = (corpus.train.len() - 1) as f64;
    let prior = Prior::isotropic(1.0);
    let posterior = Posterior::new(&cpu, &gpt, &prior, n, Objective::All, 3, 8).expect("one");
    let config = GaussianConfig {
        laplace_fit_prior: true,
        laplace_structure: structure,
        temperature: if head { 0.1 } else { 3e-3 },
        ..GaussianConfig::new(GaussianMethod::Laplace, batches.per_sweep())
    };
    let mut fit = GaussianFit::new(&cpu, posterior, &start, config).expect("a fit");
    let mut batch = Batch::new(3, 8).expect("a batch");
    for step in 0..batches.per_sweep() {
        let filled = batches.fill(&corpus.train, 42, 0, step, &mut batch);
        filled.expect("tokens");
        fit.step(&batch).expect("a step");
    }
    let p = fit.prior_fit().expect("a fit").expect("one");
    let want = [p.precision, p.effective_parameters, p.log_evidence];
    same(&printed(out, name), &want, name);
}

/// The numbers of scores.c.
pub fn scores(out: &str) {
    let mut x = 12345u64;
    let mut uniform = || {
        x = (x * 1_103_515_245 + 12345) % 2_147_483_648;
        x as f64 / 2_147_483_648.0
    };
    let (mut brier, mut confidence, mut correct) = (0.0, Vec::new(), Vec::new());
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for i in 0..300 {
        let u = uniform();
        let v = uniform() * (1.0 - u);
        let outcome = (uniform() * 3.0) as usize;
        brier += metrics::brier_score(&[u, v, 1.0 - u - v], outcome).expect("a score");
        correct.push(uniform() < 0.6);
        confidence.push(0.4 + 0.6 * uniform());
        a.push(uniform() + 0.1 * f64::from(i % 7));
        b.push(uniform() + 0.1 * f64::from(i % 7) + 0.05);
    }
    let ece = metrics::expected_calibration_error(&confidence, &correct, 12).expect("an error");
    let d = metrics::paired_block_bootstrap(&a, &b, 20, 500, 9).expect("a difference");
    let want = [brier / 300.0, ece, d.mean, d.std_error, d.z, d.low, d.high];
    same(&printed(out, "predictions"), &want, "predictions");

    let r = ["the cat sat on the mat by the door", "a b c d e"];
    let p = ["the cat sat on a mat by the door", "a b x d e"];
    let bleu = |unit| metrics::bleu(&r, &p, unit, 3).expect("a score");
    let rouge = |unit| {
        let s = metrics::rouge_mean(&r, &p, unit).expect("scores");
        [s.rouge1, s.rouge2, s.rouge_l]
    };
    let (word, char) = (rouge(Unit::Word), rouge(Unit::Char));
    let want = [&[bleu(Unit::Word), bleu(Unit::Char)][..], &word, &char].concat();
    same(&printed(out, "texts"), &want, "texts");

    // Windows of eight, and the three that are left: their targets' likelihoods averaged over the samples.
    let (cpu, corpus, gpt) = (Cpu::new(1).expect("a device"), letters(2400), small(16));
    let mut params = gpt.layout().init(42);
    let mut samples = vec![params.clone()];
    for _ in 0..2 {
        params.iter_mut().for_each(|v| *v *= -3.0);
        samples.push(params.clone());
    }
    let text = &corpus.val[..28];
    let s = metrics::text_scores(&cpu, &gpt, samples.iter().map(Ok), text).expect("scores");
    let each = (0..27).flat_map(|i| [-s.nll[i], s.entropy[i], s.mutual_information[i]]);
    let want: Vec<f64> = each.collect();
    same(&printed(out, "score"), &want, "tokens");
    let mut logits: Vec<Vec<f32>> = Vec::new();
    for params in &samples {
        let mut all = Vec::new();
        for (first, t) in [(0, 8), (8, 8), (16, 8), (24, 3)] {
            let mut ws =
                bnn::gpt::Workspace::for_prediction(&cpu, gpt.config(), 1, t).expect("room");
            let mut z = vec![0.0; t * 8];
            let window = &text[first..first + t];
            (gpt.logits(&cpu, params, window, t, &mut ws, &mut z)).expect("logits");
            all.extend(z);
        }
        logits.push(all);
    }
    for i in 0..27 {
        let p = |z: &Vec<f32>| {
            let z: Vec<f64> = z[8 * i..8 * i + 8].iter().map(|&z| z.into()).collect();
            let total: f64 = z.iter().map(|z| z.exp()).sum();
            z[text[i + 1] as usize].exp() / total
        };
        let mean = logits.iter().map(p).sum::<f64>() / 3.0;
        assert!((want[3 * i] - mean.ln()).abs() < 1e-5, "token {i}");
    }
    let t = 8;
    let whole = &corpus.val[..(corpus.val.len() - 1) / t * t + 1];
    let s = metrics::text_scores(&cpu, &gpt, samples.iter().map(Ok), whole).expect("scores");
    let want = [
        s.perplexity.ln(),
        s.gibbs_perplexity.ln(),
        s.entropy_summary.mean,
        s.mutual_information_summary.mean,
        s.ece,
        s.brier,
        s.accuracy,
    ];
    same(&printed(out, "evaluate"), &want, "evaluation");
}
