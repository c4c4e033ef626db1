//! A prior that the marginal likelihood fits tensor by tensor: against the closed form of a linear model, and against the evidence itself.

mod common;

use bnn::backend::Cpu;
use bnn::data::{Batches, Order, Windows};
use bnn::gpt::{Gelu, Gpt, GptConfig, Objective};
use bnn::inference::{FitData, FittedPrior};
use bnn::posterior::PriorUnits;
use bnn::{Error, Result};
use common::normals;

fn gpt() -> Gpt {
    let config = GptConfig {
        vocab_size: 11,
        n_layer: 1,
        n_head: 2,
        n_embd: 8,
        block_size: 7,
        bias: true,
        dropout: 0.0,
        gelu: Gelu::Exact,
        tie_weights: true,
    };
    Gpt::new(config).unwrap()
}

/// A linear model of one observation of precision a for each parameter has the curvature a everywhere, its posterior mean y a / (a + p) for an observation y. At the maximum
/// p |theta|^2 = d a / (a + p), so p = (-a + (a^2 + 4 a d / |theta|^2)^1/2) / 2.
fn closed_form(theta: &[f32], a: f64) -> f64 {
    let square: f64 = theta.iter().map(|&t| f64::from(t).powi(2)).sum();
    let p = 0.5 * (-a + (a * a + 4.0 * a * theta.len() as f64 / square).sqrt());
    p.powf(-0.5)
}

/// Parameters whose size differs between tensors, and a curvature that is one number in each.
fn tensors(gpt: &Gpt) -> (Vec<f32>, Vec<f32>) {
    let n = gpt.n_params();
    let (mut theta, mut h) = (normals(n, 1), vec![0.0; n]);
    for (i, t) in gpt.layout().tensors().iter().enumerate() {
        let size = 0.05 * (1.0 + i as f32);
        theta[t.range.clone()].iter_mut().for_each(|x| *x *= size);
        h[t.range.clone()].fill(300.0 / (1.0 + i as f32));
    }
    (theta, h)
}

#[test]
fn it_is_the_closed_form_of_a_linear_model() {
    let gpt = gpt();
    let (theta, h) = tensors(&gpt);
    let found = FittedPrior::new(gpt.layout(), &theta, &h).unwrap();
    let PriorUnits::Each(units) = found.prior(gpt.layout()).unwrap().units else {
        panic!("a scale for each parameter")
    };
    let mut sds = Vec::new();
    for (of, t) in found.tensors.iter().zip(gpt.layout().tensors()) {
        let (own, a) = (&theta[t.range.clone()], f64::from(h[t.range.start]));
        let want = closed_form(own, a);
        assert!((of.sd / want - 1.0).abs() < 1e-9, "{of:?} for {want}");
        assert!(
            (of.sd / closed_form(own, 1.3 * a) - 1.0).abs() > 1e-4,
            "{of:?}: a wrong factor"
        );
        let gamma = own.len() as f64 * a / (a + want.powi(-2));
        assert!((of.effective_parameters / gamma - 1.0).abs() < 1e-9 && !of.clamped);
        assert!(units[t.range.clone()].iter().all(|u| *u == of.sd as f32));
        assert_eq!((&of.name, of.parameters), (&t.name, own.len()));
        sds.push(of.sd);
    }
    assert!(sds.iter().any(|sd| *sd > 3.0 * sds[0]), "{sds:?}");
}

#[test]
fn it_is_the_maximum_of_the_evidence_and_held_to_its_range() {
    let gpt = gpt();
    let (mut theta, _) = tensors(&gpt);
    let mut h: Vec<f32> = normals(theta.len(), 2)
        .iter()
        .map(|z| (3.0 * z).exp())
        .collect();
    let tensors = gpt.layout().tensors();
    let [zero, flat, large] = [2, 3, 4].map(|i| tensors[i].range.clone());
    theta[zero].fill(0.0);
    h[flat].fill(0.0);
    theta[large.clone()].fill(50.0);
    h[large].fill(10.0);
    let found = FittedPrior::new(gpt.layout(), &theta, &h).unwrap();
    for (i, (of, t)) in found.tensors.iter().zip(tensors).enumerate() {
        match i {
            // Parameters of 0 draw their prior in; large ones, and where the data say nothing, push it out.
            2 => assert_eq!((of.sd, of.clamped), (0.01, true), "{of:?}"),
            3 | 4 => assert_eq!((of.sd, of.clamped), (10.0, true), "{of:?}"),
            _ => {
                let evidence = |sd: f64| {
                    let p = sd.powi(-2);
                    let each = theta[t.range.clone()].iter().zip(&h[t.range.clone()]);
                    let terms = each.map(|(&x, &h)| {
                        p.ln() - p * f64::from(x).powi(2) - (f64::from(h) + p).ln()
                    });
                    0.5 * terms.sum::<f64>()
                };
                let best = evidence(of.sd);
                assert!(
                    best >= evidence(1.01 * of.sd) && best >= evidence(of.sd / 1.01),
                    "{of:?}"
                );
                assert!(!of.clamped);
            }
        }
    }
    assert!(
        found.line().contains("held to [0.01, 10]"),
        "{}",
        found.line()
    );
}

/// With the model's own curvature: of some batches, as many data as are said, and the likelihood's power.
#[test]
fn more_data_determine_more_parameters() {
    let (gpt, cpu) = (gpt(), Cpu::new(2).unwrap());
    let tokens: Vec<u16> = (0..600u32).map(|i| (i * i % 11) as u16).collect();
    let batches = Batches::new(
        Windows::all(tokens.len(), 7).unwrap(),
        Order::Independent,
        4,
    )
    .unwrap();
    let params: Vec<f32> = normals(gpt.n_params(), 5).iter().map(|z| 0.2 * z).collect();
    let fit = |num_data: f64, likelihood_weight: f64| {
        let data = FitData {
            tokens: &tokens,
            batches: &batches,
            num_data,
            objective: Objective::All,
            likelihood_weight,
            seed: 3,
        };
        FittedPrior::at(&cpu, &gpt, &params, &data, || Ok(())).unwrap()
    };
    let determined = |p: &FittedPrior| {
        p.tensors
            .iter()
            .map(|t| t.effective_parameters)
            .sum::<f64>()
    };
    let (few, many) = (fit(100.0, 1.0), fit(1e5, 1.0));
    assert!(determined(&many) > 2.0 * determined(&few));
    assert_eq!(fit(100.0, 1.0), few);
    for (a, b) in fit(200.0, 0.5).tensors.iter().zip(&few.tensors) {
        assert!((a.sd / b.sd - 1.0).abs() < 1e-4, "{a:?} {b:?}");
    }
    // Where the data determine nearly all, a tensor's standard deviation is that of its parameters.
    let weights = &many.tensors[0];
    assert!((weights.sd / 0.2 - 1.0).abs() < 0.3, "{weights:?}");
    let text = serde_json::to_string(&many).unwrap();
    assert_eq!(serde_json::from_str::<FittedPrior>(&text).unwrap(), many);
    let data = FitData {
        tokens: &tokens,
        batches: &batches,
        num_data: 100.0,
        objective: Objective::All,
        likelihood_weight: 1.0,
        seed: 3,
    };
    let stop = || -> Result<()> { Err(Error::Interrupted) };
    let stopped = FittedPrior::at(&cpu, &gpt, &params, &data, stop);
    assert!(matches!(stopped, Err(Error::Interrupted)));
}

#[test]
fn what_does_not_fit_is_refused() {
    let gpt = gpt();
    let (theta, h) = tensors(&gpt);
    let new = |theta: &[f32], h: &[f32]| FittedPrior::new(gpt.layout(), theta, h);
    assert!(new(&theta[1..], &h).is_err() && new(&theta, &h[1..]).is_err());
    for bad in [f32::NAN, f32::INFINITY, -1.0] {
        let mut wrong = h.clone();
        wrong[5] = bad;
        assert!(matches!(new(&theta, &wrong), Err(Error::OutOfRange { .. })));
    }
    let good = new(&theta, &h).unwrap();
    let refused = |change: &dyn Fn(&mut FittedPrior)| {
        let mut p = good.clone();
        change(&mut p);
        assert!(matches!(p.prior(gpt.layout()), Err(Error::Data { .. })));
    };
    assert!(good.prior(gpt.layout()).is_ok());
    refused(&|p| p.tensors.truncate(3));
    refused(&|p| p.tensors[1].name.push('x'));
    refused(&|p| p.tensors[1].parameters += 1);
    refused(&|p| p.tensors[1].sd = 0.0);
    refused(&|p| p.tensors[1].sd = f64::NAN);
}
