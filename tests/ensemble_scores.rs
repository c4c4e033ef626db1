//! The scores of an average that accumulate where the logits are: those of the logits brought to the host.

mod common;

use bnn::gpt::{Gelu, Workspace};
use bnn::metrics::{EnsembleScores, PredictiveAccumulator, eval_batch};
use common::every_cpu;
use common::model::*;

/// To the bit, on every instruction set and number of threads: more rows than a thread takes at a time, and a text of several batches.
#[test]
fn scores_on_the_device_are_those_of_the_logits() {
    let (t, v, windows) = (12, 11, 400);
    assert!(windows > eval_batch(t));
    let config = config(SHAPE, true, Gelu::Exact);
    let text = common::tokens(windows * t + 1, v, 5);
    for cpu in every_cpu() {
        let models = [1, 2, 3].map(|what| Model::random(&cpu, &config, 1, 1, what));
        let gpt = &models[0].gpt;
        let mut ws = Workspace::for_prediction(&cpu, &config, eval_batch(t), t).unwrap();
        let mut scores = EnsembleScores::new(&cpu, gpt, windows * t).unwrap();
        let mut plain = PredictiveAccumulator::new(windows * t, v).unwrap();
        for model in &models {
            scores.add(&model.params, &text, t, &mut ws).unwrap();
            for (i, x) in text[..windows * t].chunks(eval_batch(t) * t).enumerate() {
                let y = &text[i * eval_batch(t) * t + 1..][..x.len()];
                let mut logits = vec![0.0; x.len() * v];
                gpt.logits(&cpu, &model.params, x, t, &mut ws, &mut logits)
                    .unwrap();
                plain.add_sample_chunk(&logits, y).unwrap();
            }
        }
        assert_eq!(scores.finish().unwrap(), plain.finish().unwrap(), "{cpu:?}");
    }
}

/// A model whose logits are not numbers is named with the token; fewer tokens than asked for are no scores.
#[test]
fn what_cannot_be_scored_is_refused() {
    let cpu = bnn::backend::Cpu::new(1).unwrap();
    let config = config(SHAPE, true, Gelu::Exact);
    let mut model = Model::random(&cpu, &config, 1, 1, 1);
    let text = common::tokens(25, 11, 6);
    let mut ws = Workspace::for_prediction(&cpu, &config, 2, 12).unwrap();
    let mut scores = EnsembleScores::new(&cpu, &model.gpt, 24).unwrap();
    scores.add(&model.params, &text, 12, &mut ws).unwrap();
    model.params.fill(f32::NAN);
    let text_of = |error: bnn::Error| error.to_string();
    let said = text_of(scores.add(&model.params, &text, 12, &mut ws).unwrap_err());
    assert!(said.contains("sample 1, token 0"), "{said}");
    scores.finish().unwrap();
    let mut scores = EnsembleScores::new(&cpu, &model.gpt, 36).unwrap();
    model.params.fill(0.0);
    scores.add(&model.params, &text, 12, &mut ws).unwrap();
    let said = text_of(scores.finish().unwrap_err());
    assert!(said.contains("sample 0") && said.contains("24"), "{said}");
}
