//! The command.
use bnn::backend::*;
use bnn::baseline::*;
use bnn::data::*;
use bnn::gpt::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let be = Cpu::new(2).unwrap();
    let c = if a[1] == "play" {
        Corpus::embedded().unwrap()
    } else {
        Corpus::from_file(&a[1]).unwrap()
    };
    let iters: u64 = a[2].parse().unwrap();
    let seed: u64 = a[3].parse().unwrap();
    let g = Gpt::new(GptConfig::named("cpu", c.tokenizer.vocab_size()).unwrap()).unwrap();
    let r = Recipe {
        iters,
        seed,
        ..Recipe::default()
    };
    let mut tr = Trainer::new(&be, &g, &r, 12, 64).unwrap();
    let w = Windows::all(c.train.len(), 64).unwrap();
    let mut b = Batch::new(12, 64).unwrap();
    let s = std::time::Instant::now();
    for i in 0..iters {
        w.fill(&c.train, seed, 0, i, &mut b).unwrap();
        let l = tr.step(&b).unwrap();
        if i % 250 == 0 || i == iters - 1 {
            let (v, _) = bnn::metrics::split_loss(&be, &g, tr.params(), &c.val, 64).unwrap();
            println!("{i} {l:.4} val {v:.4} {:.1}s", s.elapsed().as_secs_f64());
        }
    }
    if a.len() > 4 {
        std::fs::write(
            &a[4],
            tr.params()
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect::<Vec<u8>>(),
        )
        .unwrap();
    }
}
