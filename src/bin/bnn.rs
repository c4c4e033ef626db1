//! The command.
use bnn::backend::*;
use bnn::data::*;
use bnn::gpt::*;
use bnn::metrics::*;
use bnn::posterior::*;
use bnn::samplers::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let get = |k: &str, d: &str| {
        a.iter()
            .position(|x| x == &format!("--{k}"))
            .map(|i| a[i + 1].clone())
            .unwrap_or(d.to_string())
    };
    let f = |k: &str, d: f64| get(k, &d.to_string()).parse::<f64>().unwrap();
    let be = Cpu::new(f("threads", 2.0) as usize).unwrap();
    let data = get("data", "/work/shared/data/tinyshakespeare.txt");
    let c = if data == "play" {
        Corpus::embedded().unwrap()
    } else {
        Corpus::from_file(&data).unwrap()
    };
    let g = Gpt::new(GptConfig::named("cpu", c.tokenizer.vocab_size()).unwrap()).unwrap();
    let bytes = std::fs::read(get("base", "/tmp/bb/base10k.bin")).unwrap();
    let theta0: Vec<f32> = bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    let method: Method = get("sampler", "baoa").parse().unwrap();
    let lr = f("lr", 3e-5);
    let mom = f("momentum", 0.9);
    let t = f("T", 0.1);
    let seed = f("seed", 42.0) as u64;
    let n = c.train.len() as f64 - 1.0;
    let mut cfg = Config::new(
        method,
        if method == Method::Sgld {
            lr
        } else {
            lr.sqrt()
        },
    );
    cfg.temperature = t;
    cfg.warmup_steps = f("warmup", 200.0) as u64;
    cfg.sampling_steps = f("steps", 2700.0) as u64;
    cfg.thinning = f("thin", 100.0) as u64;
    cfg.seed = seed;
    if method != Method::Sgld {
        cfg.alpha = stability::alpha_for_momentum(&cfg, mom).unwrap();
    }
    let pre = Preconditioner::Rms {
        steps: f("pre", 100.0) as u64,
        floor: f("floor", 0.1),
    };
    let mut prior = Prior::isotropic(f("prior", 1.0) as f32);
    if get("center", "zero") == "pretrained" {
        prior.center = Some(theta0.clone());
    }
    let (b, tt) = (f("batch", 12.0) as usize, 64);
    let post = Posterior::new(&be, &g, &prior, n, Objective::All, b, tt).unwrap();
    let mut chain = Chain::new(&be, post, &theta0, cfg, pre).unwrap();
    let w = Windows::all(c.train.len(), tt).unwrap();
    let mut batch = Batch::new(b, tt).unwrap();
    let val = &c.val;
    let nval = consecutive(val, tt).unwrap().num_tokens();
    let v = c.tokenizer.vocab_size();
    let mut acc = PredictiveAccumulator::new(nval, v).unwrap();
    let mut ws = Workspace::for_prediction(&be, g.config(), EVAL_BATCH, tt).unwrap();
    let s = std::time::Instant::now();
    let (mut ks, mut cs, mut cnt, mut ll) = (0.0, 0.0, 0.0, 0.0);
    let mut first: Option<Vec<f32>> = None;
    let mut last = vec![];
    while chain.phase() != Phase::Done {
        w.fill(&c.train, seed, 0, chain.steps_made(), &mut batch)
            .unwrap();
        let r = match chain.step(&batch) {
            Ok(r) => r,
            Err(e) => {
                println!("FAILED {e}");
                return;
            }
        };
        if r.phase == Phase::Sampling {
            ks += r.kinetic_temperature.unwrap_or(0.0);
            cs += r.configurational_temperature.unwrap();
            ll += r.at.log_lik;
            cnt += 1.0;
        }
        if r.sample_due {
            last = chain.params().clone();
            if first.is_none() {
                first = Some(last.clone());
            }
            for_each_logits(&be, &g, chain.params(), val, tt, &mut ws, |z, y| {
                acc.add_sample_chunk(z, y)
            })
            .unwrap();
        }
    }
    let el = s.elapsed().as_secs_f64();
    let mut base = PredictiveAccumulator::new(nval, v).unwrap();
    for_each_logits(&be, &g, &theta0, val, tt, &mut ws, |z, y| {
        base.add_sample_chunk(z, y)
    })
    .unwrap();
    let base = base.finish().unwrap();
    let sc = acc.finish().unwrap();
    let m = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let bt = paired_block_bootstrap(&sc.nll, &base.nll, DEFAULT_BLOCK, 1000, 1).unwrap();
    let d =
        |x: &[f32]| -> Vec<f64> { x.iter().zip(&theta0).map(|(a, b)| (a - b) as f64).collect() };
    let (d1, d2) = (d(first.as_ref().unwrap()), d(&last));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    println!(
        "{method} lr {lr:.1e} mom {mom} T {t} prior {} steps {} floor {} | base {:.4} samples {:.4} (first {:.4} last {:.4}) avg {:.4} diff {:.4} z {:.1} | train {:.4} Tk {:.4} Tc {:.4} | MI {:.4} | cos {:.3} move {:.4} | {el:.0}s",
        f("prior", 1.0),
        cnt,
        f("floor", 0.1),
        m(&base.nll),
        m(&sc.sample_nll),
        sc.sample_nll[0],
        sc.sample_nll.last().unwrap(),
        m(&sc.nll),
        -bt.mean,
        bt.z,
        -ll / cnt,
        ks / cnt,
        cs / cnt,
        sc.mutual_information_summary.mean,
        dot(&d1, &d2) / (dot(&d1, &d1) * dot(&d2, &d2)).sqrt(),
        (dot(&d2, &d2) / d2.len() as f64).sqrt()
    );
}
