//! The table of docs/own-posterior.md: posteriors of posteriordb, sampled through the C interface without anything tuned by hand.
//!
//!     cargo bench --bench posteriordb [-- --steps N] [--warmup N] [--chains N] [--methods baoa,sghmc,sgnht] [--adapt dense] [--tolerance X] [--only NAME]

#[path = "../posteriordb/chains.rs"]
mod chains;
#[path = "../posteriordb/models.rs"]
mod models;

use chains::Ask;
use std::io::{Read, Write};

fn option(name: &str) -> Option<String> {
    let mut words = std::env::args().skip_while(|w| w != name);
    words.next().and_then(|_| words.next())
}

fn number(name: &str, usual: u64) -> u64 {
    option(name).map_or(usual, |v| v.parse().expect(name))
}

/// Answers with log densities and gradients, for programs that sample the same posteriors: u comes in, (1 + n) numbers go out, little-endian doubles, after n
/// itself.
fn serve(p: &models::Posterior) -> std::io::Result<()> {
    let (mut from, mut to) = (std::io::stdin().lock(), std::io::stdout().lock());
    let n = p.names.len();
    to.write_all(&(n as u64).to_le_bytes())?;
    to.flush()?;
    let (mut bytes, mut u, mut grad) = (vec![0; 8 * n], vec![0.0; n], vec![0.0; n]);
    while from.read_exact(&mut bytes).is_ok() {
        let numbers = bytes
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().expect("eight")));
        u.iter_mut().zip(numbers).for_each(|(u, v)| *u = v);
        let log_post = (p.density)(&u, &mut grad);
        let all = [log_post].into_iter().chain(grad.iter().copied());
        to.write_all(&all.flat_map(f64::to_le_bytes).collect::<Vec<_>>())?;
        to.flush()?;
    }
    Ok(())
}

fn main() {
    let all = models::all();
    if std::env::args().any(|w| w == "--list") {
        return all.iter().for_each(|p| println!("{}", p.name));
    }
    if let Some(name) = option("--serve") {
        let p = all.iter().find(|p| p.name == name).expect("a posterior");
        return serve(p).expect("a reader");
    }
    table(&all);
}

fn table(all: &[models::Posterior]) {
    let methods = option("--methods").unwrap_or("baoa,sghmc,sgnht".into());
    let adapts = option("--adapt").unwrap_or("dense".into());
    let only = option("--only").unwrap_or_default();
    let known = ["baoa", "sghmc", "sgnht", "diagonal", "dense", "sgld"];
    let word = |w: &str| {
        *known
            .iter()
            .find(|k| **k == w)
            .expect("a method or an adapt")
    };
    println!(
        "| posterior | n | method | step | z of means | z of sds | sd off | R-hat | ESS | ESS per 1000 gradients |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for p in all.iter().filter(|p| p.name.contains(&only)) {
        for adapt in adapts.split(',') {
            for method in methods.split(',') {
                let ask = Ask {
                    method: word(method),
                    adapt: word(adapt),
                    warmup: number("--warmup", 2000),
                    steps: number("--steps", 50_000),
                    chains: number("--chains", 4) as u32,
                    thinning: number("--thinning", 5),
                    seed: number("--seed", 1),
                    tolerance: option("--tolerance").map(|v| v.parse().expect("--tolerance")),
                };
                let (n, method) = (p.names.len(), format!("{method} {adapt}"));
                let draws = match chains::run(p, &ask) {
                    Ok(draws) => draws,
                    Err(e) => {
                        println!("| {} | {n} | {method} | {e} |", p.name);
                        continue;
                    }
                };
                let w = chains::compare(p, &draws, 0.0);
                let each = w.ess / (draws.chains as u64 * draws.gradients) as f64;
                println!(
                    "| {} | {n} | {method} | {:.3} | {:.1} | {:.1} | {:.2} % | {:.4} | {:.0} | {:.1} |",
                    p.name,
                    draws.step,
                    w.z_mean,
                    w.z_sd,
                    100.0 * w.sd_ratio,
                    w.rhat,
                    w.ess,
                    1000.0 * each
                );
            }
        }
    }
}
