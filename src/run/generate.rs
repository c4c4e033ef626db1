//! `bnn generate`: text from a run's samples, averaged, with what each token was worth; kept in the original's JSON.

use super::Context;
use super::config::Config;
use super::folder::RunFolder;
use super::model::Model;
use super::split_report::not_minus_0;
use crate::backend::{Backend, Transfer};
use crate::data::Tokenizer;
use crate::error::{Error, Result};
use crate::generate::{self, Generated, Generator, Options};
use crate::gpt::WeightType;
use crate::inference::text_score::TEXTS_AT_ONCE;
use crate::inference::{describe, spread};
use serde_json::{Value, json};

/// What to generate.
#[derive(Clone, Debug)]
pub struct Request {
    /// The texts to go on from, at least one.
    pub prompts: Vec<String>,
    /// How tokens are drawn.
    pub options: Options,
    /// How many of the samples are used, spread evenly over chains and steps; 0 takes all.
    pub samples: usize,
    /// How many texts after each prompt.
    pub texts: u64,
    /// How the samples' weights are kept.
    pub weights: WeightType,
    /// Whether the baseline alone writes.
    pub baseline: bool,
}

/// Generates, and returns the result as a run keeps it; `on_text` sees each piece of text as it comes.
///
/// # Errors
/// When the run is not whole, or the prompt has a character that the model does not know.
pub fn generate(
    folder: &RunFolder,
    config: &Config,
    request: &Request,
    ctx: &mut Context,
    mut on_text: impl FnMut(&str),
) -> Result<Value> {
    let (model, baseline) = Model::of_run(folder, config, ctx)?;
    let (samples, used) = match request.baseline {
        true => (vec![model.backend.put(&baseline.params)?], Vec::new()),
        false => {
            let store = model.samples(folder.samples(), config, &baseline)?;
            let used = spread(store.ids(), request.samples)?;
            ctx.log.say(&describe(&used, store.len()));
            (model.put_samples(&store, &used, &ctx.stop)?, used)
        }
    };
    let mut generator =
        Generator::with_weights(&model.backend, &model.gpt, samples, request.weights)?;
    let tokenizer = &model.tokenizer;
    let made = write_texts(&mut generator, tokenizer, request, ctx, &mut on_text)?;
    entry(
        folder,
        request,
        &model,
        (generator.num_samples(), &used),
        &made,
    )
}

/// Writes all texts, several at a time, each with the number of its prompt.
fn write_texts<B: Backend>(
    generator: &mut Generator<B>,
    tokenizer: &Tokenizer,
    request: &Request,
    ctx: &mut Context,
    on_text: &mut impl FnMut(&str),
) -> Result<Vec<(Generated, usize)>> {
    let each = request.prompts.iter().map(|p| tokenizer.encode(p));
    let prompts = each.collect::<Result<Vec<_>>>()?;
    if prompts.is_empty() || request.texts == 0 {
        let (prompts, texts) = (prompts.len(), request.texts);
        return Err(Error::conflict(format!(
            "{prompts} prompts and {texts} texts leave nothing to write: give at least one of each"
        )));
    }
    let total = request
        .texts
        .checked_mul(prompts.len() as u64)
        .ok_or_else(|| Error::out_of_range("texts", "fewer than 2^64 in all", request.texts))?;
    let alone = total == 1;
    let mut made = Vec::new();
    let mut first = 0;
    while first < total {
        let end = total.min(first + TEXTS_AT_ONCE as u64);
        // Text i goes on from prompt i / texts.
        let jobs: Vec<usize> = (first..end).map(|i| (i / request.texts) as usize).collect();
        let now: Vec<&[u16]> = jobs.iter().map(|&p| &prompts[p][..]).collect();
        if alone {
            on_text(&request.prompts[jobs[0]]);
        }
        // The first token that cannot be shown ends the text.
        let mut shown = Ok(());
        let stop = &*ctx;
        let these = generator.generate_batch(&now, &request.options, first, |_, t| {
            // Of several texts at once, each is shown when it is whole.
            if alone {
                let piece = tokenizer.decode(&[t.token]);
                shown = piece.map(|piece| on_text(&piece));
            }
            shown.is_ok() && !stop.stopped()
        })?;
        shown?;
        ctx.check_stop()?;
        if alone {
            on_text("\n");
        } else {
            for ((number, g), &p) in (first + 1..).zip(&these).zip(&jobs) {
                let prompt = &request.prompts[p];
                let new = tokenizer.decode(&g.tokens)?;
                on_text(&format!("--- text {number} ---\n{prompt}{new}\n"));
            }
        }
        made.extend(these.into_iter().zip(jobs));
        first = end;
    }
    Ok(made)
}

fn entry(
    folder: &RunFolder,
    request: &Request,
    model: &Model,
    (num_samples, used): (usize, &[usize]),
    made: &[(Generated, usize)], // with the number of its prompt
) -> Result<Value> {
    let o = &request.options;
    let texts: Vec<String> = made
        .iter()
        .map(|(g, p)| {
            let new = model.tokenizer.decode(&g.tokens)?;
            Ok(format!("{}{new}", request.prompts[*p]))
        })
        .collect::<Result<_>>()?;
    let infos: Vec<Value> = made
        .iter()
        .map(|(g, _)| uncertainty(g, num_samples))
        .collect();
    let mut v = json!({
        "generation_params": {
            "max_new_tokens": o.max_new_tokens,
            "temperature": o.temperature,
            "top_k": o.top_k,
            "num_samples": num_samples,
            "samples": used,
            "model_path": folder.path.display().to_string(),
            "has_collected_samples": !request.baseline,
            "seed": o.seed,
            "context": o.context,
            "mode": o.mode,
            "weights": request.weights,
        },
    });
    // One prompt has the original's singular key.
    match &request.prompts[..] {
        [prompt] => v["start_prompt"] = prompt.clone().into(),
        prompts => v["start_prompts"] = prompts.into(),
    }
    // One text has the original's singular keys.
    match (&texts[..], &infos[..]) {
        ([text], [info]) => {
            v["text"] = text.clone().into();
            v["unc_info"] = info.clone();
        }
        _ => {
            v["texts"] = texts.into();
            v["unc_info"] = infos.into();
        }
    }
    Ok(v)
}

/// Returns the uncertainty under the original's keys, then under bnn's: the original's is the entropy of the average, here at temperature 1.
fn uncertainty(g: &Generated, num_samples: usize) -> Value {
    let each = |f: fn(&generate::TokenInfo) -> f64| g.info.iter().map(f).collect::<Vec<f64>>();
    let entropy = each(|t| t.entropy);
    let mean = |x: &[f64]| x.iter().sum::<f64>() / (x.len() as f64).max(1.0);
    let expected = each(|t| t.expected_entropy);
    let mutual = each(|t| t.mutual_information);
    json!({
        "avg_uncertainty": mean(&entropy),
        "max_uncertainty": entropy.iter().copied().fold(0.0, f64::max),
        "num_samples_used": num_samples,
        "avg_expected_entropy": mean(&expected),
        "avg_mutual_information": mean(&mutual),
        "token_uncertainties": entropy,
        "token_expected_entropies": expected,
        "token_mutual_informations": mutual,
        "token_log_probs": each(|t| t.log_prob),
        "token_draw_log_probs": each(|t| t.draw_log_prob),
        "tokens_read_again": g.rereads,
    })
}

/// Returns a line on each text's uncertainty.
pub fn uncertainty_lines(result: &Value) -> Vec<String> {
    let context = result["generation_params"]["context"].as_str();
    let line = |info: &Value| {
        let of = |key: &str| not_minus_0(info[key].as_f64().unwrap_or(f64::NAN));
        format!(
            "uncertainty at T = 1, nats per token: entropy {:.4} (largest {:.4}) = expected {:.4} + mutual information {:.4}; samples averaged {}; {} context, {} tokens read again",
            of("avg_uncertainty"),
            of("max_uncertainty"),
            of("avg_expected_entropy"),
            of("avg_mutual_information"),
            info["num_samples_used"],
            context.unwrap_or_default(),
            info["tokens_read_again"],
        )
    };
    match &result["unc_info"] {
        Value::Array(each) => each.iter().map(line).collect(),
        info => vec![line(info)],
    }
}
