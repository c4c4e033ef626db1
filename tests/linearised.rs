//! The linearised model: its logits beside derivatives in f64, where the network is linear by itself, and the scores of its average.

mod common;

use bnn::Error;
use bnn::backend::{Cpu, GemmPrecision, Precision};
use bnn::gpt::{Gelu, Gpt, GptConfig, Linearised, Workspace};
use bnn::inference::scoring::{Models, score};
use bnn::metrics::predictive_scores;
use common::{bits, distance, model::Model, norm, normals, reference, tokens, wide};

const V: usize = 11;
const T: usize = 7;
const B: usize = 3;

fn config(bias: bool, tie_weights: bool, gelu: Gelu) -> GptConfig {
    GptConfig {
        vocab_size: V,
        block_size: T,
        n_layer: 2,
        n_head: 2,
        n_embd: 8,
        bias,
        dropout: 0.0,
        gelu,
        tie_weights,
    }
}

/// Returns the logits of tokens `x`, (B, T), of the model that is linear around `mean`.
fn linearised(cpu: &Cpu, gpt: &Gpt, mean: &[f32], at: &[f32], x: &[u16]) -> Vec<f32> {
    let mut ws = Workspace::for_prediction(cpu, gpt.config(), B, T).unwrap();
    let mut model = Linearised::new(cpu, gpt, mean, &ws).unwrap();
    model.set(at).unwrap();
    let mut out = vec![0.0; x.len() * V];
    model.logits(x, T, &mut ws, &mut out).unwrap();
    out
}

/// Returns mean + scale z with standard normals z.
fn around(mean: &[f32], scale: f32, what: u64) -> Vec<f32> {
    let z = normals(mean.len(), what);
    mean.iter().zip(z).map(|(m, z)| m + scale * z).collect()
}

/// The product with the Jacobian beside a central difference in f64, whose own error is below 1e-9. Rounding leaves some 5e-5 of a logit
/// however near the parameters are, and what is not linear e^2 / 6 of the third derivative.
#[test]
fn logits_are_linear_in_the_parameters() {
    let cpu = Cpu::new(2).unwrap();
    for (config, what) in [
        (config(true, true, Gelu::Exact), 1),
        (config(false, false, Gelu::Tanh), 2),
    ] {
        let model = Model::random(&cpu, &config, B, T, what);
        let x = tokens(B * T, V, what);
        for scale in [0.003f32, 0.03, 0.3] {
            let at = around(&model.flat, scale, 10 + what);
            let along: Vec<f64> = (wide(&at).iter().zip(wide(&model.flat)))
                .map(|(a, m)| a - m)
                .collect();
            let shifted = |by: f64| -> Vec<f64> {
                let each = wide(&model.flat).into_iter().zip(&along);
                let flat: Vec<f64> = each.map(|(m, d)| m + by * d).collect();
                reference::logits(&model.gpt, &flat, &x, T, None)
            };
            let h = 1e-4 / f64::from(scale / 0.03);
            let (mean, above, below) = (shifted(0.0), shifted(h), shifted(-h));
            let product: Vec<f64> = (above.iter().zip(&below))
                .map(|(a, b)| (a - b) / (2.0 * h))
                .collect();
            let want: Vec<f64> = mean.iter().zip(&product).map(|(m, p)| m + p).collect();
            let got = linearised(&cpu, &model.gpt, &model.flat, &at, &x);
            let error = distance(&got, &want) / (want.len() as f64).sqrt();
            let size = norm(&product) / (want.len() as f64).sqrt();
            println!("scale {scale}: product {size:.3e}, error {error:.3e}");
            assert!(error < 2e-4 + 5e-4 * size, "{scale}: {error:e} of {size:e}");
            // What the network itself says there is something else.
            let network: Vec<f32> = shifted(1.0).iter().map(|&z| z as f32).collect();
            let apart = distance(&network, &want) / (want.len() as f64).sqrt();
            assert!(
                scale < 0.03 || apart > 10.0 * error,
                "{apart:e} beside {error:e}"
            );
        }
    }
}

/// Where the parameters are the mean, and where they differ in the head alone, the model is the network.
#[test]
fn the_head_is_linear_by_itself() {
    let cpu = Cpu::new(1).unwrap();
    let config = config(true, false, Gelu::Exact);
    let mut model = Model::random(&cpu, &config, B, T, 3);
    let x = tokens(B * T, V, 3);
    let mut network = |params: &Vec<f32>| {
        let (ws, mut out) = (&mut model.ws, vec![0.0; x.len() * V]);
        let gpt = &model.gpt;
        gpt.logits(&cpu, params, &x, T, ws, &mut out).unwrap();
        out
    };
    let at_mean = network(&model.flat.clone());
    let mut at = model.flat.clone();
    let head = at.len() - V * 8;
    let z = normals(V * 8, 4);
    at[head..].iter_mut().zip(z).for_each(|(w, z)| *w += z);
    let with_head = network(&at);
    let got = linearised(&cpu, &model.gpt, &model.flat, &model.flat, &x);
    assert_eq!(bits(&got), bits(&at_mean));
    let got = linearised(&cpu, &model.gpt, &model.flat, &at, &x);
    let error = distance(&got, &wide(&with_head)) / (got.len() as f64).sqrt();
    assert!(error < 3e-4, "{error:e}");
    assert!(distance(&at_mean, &wide(&with_head)) > 1.0);
}

/// Scores are those of the logits, batch by batch and whatever the number of threads.
#[test]
fn an_average_of_linearised_models_is_scored() {
    let (windows, cpu) = (2 * B, Cpu::new(1).unwrap());
    let gpt = Gpt::new(config(true, true, Gelu::Exact)).unwrap();
    let mean: Vec<f32> = gpt.layout().init(5).iter().map(|w| 10.0 * w).collect();
    let draws: Vec<Vec<f32>> = (0..4).map(|i| around(&mean, 0.1, 20 + i)).collect();
    let text = tokens(windows * T + 1, V, 6);
    let (x, y) = (&text[..windows * T], &text[1..]);
    let logits: Vec<f32> = (draws.iter())
        .flat_map(|at| x.chunks(B * T).map(move |x| (at, x)))
        .flat_map(|(at, x)| linearised(&cpu, &gpt, &mean, at, x))
        .collect();
    let want = predictive_scores(&logits, y, V).unwrap();
    let each = Models::Each(&draws);
    let models = Models::Linearised {
        mean: &mean,
        draws: &each,
    };
    assert_eq!(models.count(), 4);
    assert!(models.first(2).is_none());
    let mut heard = 0;
    let got = score(&cpu, &gpt, &text, &models, |done| {
        heard = done;
        Ok(())
    });
    let got = got.unwrap();
    assert_eq!(heard, 4 * windows);
    let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(close(&got.nll, &want.nll) && close(&got.sample_nll, &want.sample_nll));
    assert!(close(&got.mutual_information, &want.mutual_information));
    let network = score(&cpu, &gpt, &text, &each, |_| Ok(())).unwrap();
    assert!(!close(&got.sample_nll, &network.sample_nll));
    let threads = Cpu::new(3).unwrap();
    assert_eq!(
        score(&threads, &gpt, &text, &models, |_| Ok(())).unwrap(),
        got
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let cpu = Cpu::new(1).unwrap();
    let gpt = Gpt::new(config(true, true, Gelu::Exact)).unwrap();
    let mean = gpt.layout().init(1);
    let mut ws = Workspace::for_prediction(&cpu, gpt.config(), B, T).unwrap();
    assert!(Linearised::new(&cpu, &gpt, &mean[1..], &ws).is_err());
    let mut model = Linearised::new(&cpu, &gpt, &mean, &ws).unwrap();
    assert!(model.set(&mean[1..]).is_err());
    let mut out = vec![0.0; 2 * T * V];
    let e = model.logits(&tokens(T, V, 1), T, &mut ws, &mut out);
    assert!(matches!(e, Err(Error::Shape { .. })), "{e:?}");
    // A larger workspace than it was made with.
    let mut ws = Workspace::for_prediction(&cpu, gpt.config(), 2 * B, T).unwrap();
    let mut out = vec![0.0; 2 * B * T * V];
    let e = model.logits(&tokens(2 * B * T, V, 1), T, &mut ws, &mut out);
    assert!(matches!(e, Err(Error::OutOfRange { .. })), "{e:?}");
    let rough = cpu.with_precision(Precision::Medium);
    if rough.gemm_precision() != GemmPrecision::F32 {
        let e = Linearised::new(&rough, &gpt, &mean, &ws).err();
        assert!(e.is_some_and(|e| e.to_string().contains("precision = highest")));
    }
}
