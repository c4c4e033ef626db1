//! Probe tokens and random projections: against the model's own logits and loss, and closed forms.

mod common;

use bnn::backend::Cpu;
use bnn::gpt::{Gpt, GptConfig, Workspace};
use bnn::metrics::{PROJECTIONS, Probe, probe_places, random_projections, split_loss};
use common::{bits, normals, tokens, wide};

fn model(v: usize) -> (Cpu, Gpt, Vec<f32>) {
    let mut c = GptConfig::named("tiny", v).unwrap();
    (c.n_layer, c.n_embd, c.n_head, c.block_size) = (1, 16, 2, 16);
    let gpt = Gpt::new(c).unwrap();
    let params = normals(gpt.n_params(), 1).iter().map(|x| 0.3 * x).collect();
    (Cpu::new(2).unwrap(), gpt, params)
}

#[test]
fn probe_tokens_are_spread_and_scored_as_the_model_scores_them() {
    let (cpu, gpt, params) = model(11);
    let (t, v) = (8, 11);
    let split = tokens(205, v, 3); // 25 windows of 8 and 4 more targets
    // 20 tokens in 3 windows: the first, and those at a third and two thirds of the 25.
    let mut probe = Probe::new(&cpu, &gpt, &split, t, 20).unwrap();
    let starts = [0, 8 * t, 16 * t];
    assert_eq!(probe.tokens(), 20);
    let targets: Vec<u16> = starts
        .iter()
        .flat_map(|&s| split[s + 1..=s + t].to_vec())
        .collect();
    assert_eq!(probe.targets(), &targets[..20]);
    let places = probe_places(&split, t, 20).unwrap();
    let there: Vec<u16> = places.iter().map(|&p| split[p]).collect();
    assert_eq!((there, places[8]), (targets[..20].to_vec(), 8 * t + 1));
    let got = wide(probe.log_prob(&cpu, &gpt, &params).unwrap());
    assert_eq!(got.len(), 20);
    let mut ws = Workspace::for_prediction(&cpu, gpt.config(), 1, t).unwrap();
    let mut logits = vec![0.0; t * v];
    for (w, &s) in starts.iter().enumerate() {
        gpt.logits(&cpu, &params, &split[s..s + t], t, &mut ws, &mut logits)
            .unwrap();
        for (i, z) in logits.chunks(v).enumerate().take(20 - w * t) {
            let sum: f64 = z.iter().map(|&z| (z as f64).exp()).sum();
            let want = z[split[s + i + 1] as usize] as f64 - sum.ln();
            // f32 logits of order 1: a few roundings.
            assert!(
                (got[w * t + i] - want).abs() < 2e-6,
                "{} {want}",
                got[w * t + i]
            );
        }
    }
}

#[test]
fn all_probe_tokens_of_a_split_have_its_loss() {
    let (cpu, gpt, params) = model(11);
    // More windows than are run at once, and more tokens asked for than there are.
    let split = tokens(16 * 150 + 3, 11, 4);
    let mut probe = Probe::new(&cpu, &gpt, &split, 16, usize::MAX).unwrap();
    let (loss, count) = split_loss(&cpu, &gpt, &params, &split, 16).unwrap();
    assert_eq!((probe.tokens(), count), (16 * 150, 16 * 150));
    let one = Cpu::new(1).unwrap();
    let alone = Probe::new(&one, &gpt, &split, 16, 16 * 150)
        .unwrap()
        .log_prob(&one, &gpt, &params)
        .map(bits)
        .unwrap();
    let scores = probe.log_prob(&cpu, &gpt, &params).unwrap();
    assert_eq!(bits(scores), alone);
    let mean = -wide(scores).iter().sum::<f64>() / count as f64;
    assert!((mean - loss).abs() < 1e-6 * loss, "{mean} {loss}");
}

#[test]
fn probes_refuse_what_they_cannot_score() {
    let (cpu, gpt, mut params) = model(11);
    let split = tokens(100, 11, 5);
    let says = |r: bnn::Result<Probe<Cpu>>, part: &str| {
        let said = r.err().expect("an error").to_string();
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    };
    says(Probe::new(&cpu, &gpt, &split, 16, 0), "probe tokens");
    says(Probe::new(&cpu, &gpt, &split, 0, 5), "window length");
    says(Probe::new(&cpu, &gpt, &split, 17, 5), "block_size");
    says(Probe::new(&cpu, &gpt, &split[..16], 16, 5), "16");
    let mut probe = Probe::new(&cpu, &gpt, &split, 16, 30).unwrap();
    assert!(probe.log_prob(&cpu, &gpt, &params[1..].to_vec()).is_err());
    params.fill(f32::NAN);
    let said = probe.log_prob(&cpu, &gpt, &params).unwrap_err().to_string();
    assert!(
        said.contains("probe token 0") && said.contains("NaN"),
        "{said}"
    );
}

/// Projections are linear with rows of signs over sqrt(n). Over n = 4,096 the 120 inner products of different rows, and the rows' means, are
/// sums of independent signs: sd 1 / sqrt(n), so 7 of those are passed by chance once in 1e10.
#[test]
fn projections_are_fixed_random_signs() {
    let n = 4099; // not whole blocks
    let root = (n as f64).sqrt();
    let mut unit = vec![0.0f32; n];
    let mut signs = vec![[0.0; PROJECTIONS]; n];
    for i in 0..n {
        unit[i] = 1.0;
        signs[i] = random_projections(&unit).map(|p| p * root);
        unit[i] = 0.0;
        assert!(
            signs[i].iter().all(|s| (s.abs() - 1.0).abs() < 1e-12),
            "{i}"
        );
    }
    let limit = 7.0 * root;
    for j in 0..PROJECTIONS {
        assert!(signs.iter().map(|s| s[j]).sum::<f64>().abs() < limit, "{j}");
        let neighbours = signs.windows(2).map(|w| w[0][j] * w[1][j]).sum::<f64>();
        assert!(neighbours.abs() < limit, "{j}");
        for k in 0..j {
            assert!(
                signs.iter().map(|s| s[j] * s[k]).sum::<f64>().abs() < limit,
                "{j} {k}"
            );
        }
    }
    let theta = normals(n, 7);
    for (j, got) in random_projections(&theta).into_iter().enumerate() {
        let want: f64 = theta
            .iter()
            .zip(&signs)
            .map(|(&v, s)| v as f64 * s[j])
            .sum::<f64>()
            / root;
        assert!((got - want).abs() < 1e-12, "{got} {want}");
    }
    assert_eq!(random_projections(&[]), [0.0; PROJECTIONS]);
}
