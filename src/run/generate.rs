//! `bnn generate`: text from a run's samples, averaged, with what each token was worth; kept in the original's JSON.

use super::config::Config;
use super::folder::{RunFolder, now, write_json};
use super::prepare::Setting;
use super::{Context, check_store, load_samples};
use crate::error::{Error, Result};
use crate::generate::{self, Generated, Generator, Options};
use crate::store::Store;
use serde_json::{Map, Value, json};

/// What to generate.
#[derive(Clone, Debug)]
pub struct Request {
    /// The text to go on from.
    pub prompt: String,
    /// How tokens are drawn.
    pub options: Options,
    /// How many of the last samples are averaged; 0 takes all.
    pub samples: usize,
    /// How many texts.
    pub texts: u64,
    /// Whether the baseline alone writes.
    pub baseline: bool,
}

/// Generates and appends the result to the run's `generation_results.json`; `on_text` sees each piece of text as it comes.
///
/// # Errors
/// When the run is not whole, the prompt has a character that the model does not know, or a file cannot be written.
pub fn generate(
    folder: &RunFolder,
    config: &Config,
    request: &Request,
    ctx: &mut Context,
    mut on_text: impl FnMut(&str) -> Result<()>,
) -> Result<Value> {
    let setting = Setting::new(config)?;
    let baseline = setting.baseline(config, ctx)?;
    let samples = match request.baseline {
        true => vec![baseline.params],
        false => {
            let store = Store::open(folder.samples())?;
            check_store(&setting, &store, &baseline)?;
            load_samples(&setting, &store, request.samples)?
        }
    };
    let tokenizer = &setting.corpus.tokenizer;
    let prompt = tokenizer.encode(&request.prompt)?;
    let mut generator = Generator::new(&setting.backend, &setting.gpt, samples)?;
    let mut made = Vec::new();
    for text in 0..request.texts {
        if request.texts > 1 {
            on_text(&format!("--- text {} ---\n", text + 1))?;
        }
        on_text(&request.prompt)?;
        // The first failure to show a piece ends the text and is given back.
        let mut shown = Ok(());
        let stop = &*ctx;
        let one = generator.generate(&prompt, &request.options, text, |t| {
            shown = tokenizer
                .decode(&[t.token])
                .and_then(|piece| on_text(&piece));
            shown.is_ok() && !stop.stopped()
        })?;
        shown?;
        ctx.check_stop()?;
        on_text("\n")?;
        made.push(one);
    }
    let entry = entry(folder, request, &setting, generator.num_samples(), &made)?;
    let path = folder.file("generation_results.json");
    let mut all: Map<String, Value> = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .map_err(|e| Error::data(path.display().to_string(), e.to_string()))?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Map::new(),
        Err(e) => return Err(Error::io(&path)(e)),
    };
    let id = format!("{}-{}", now(), all.len());
    all.insert(id.clone(), entry.clone());
    write_json(&path, &all)?;
    let mut result = entry;
    result["id"] = id.into();
    result["file"] = path.display().to_string().into();
    Ok(result)
}

fn entry(
    folder: &RunFolder,
    request: &Request,
    setting: &Setting,
    num_samples: usize,
    made: &[Generated],
) -> Result<Value> {
    let o = &request.options;
    let texts: Vec<String> = made
        .iter()
        .map(|g| {
            let new = setting.corpus.tokenizer.decode(&g.tokens)?;
            Ok(format!("{}{new}", request.prompt))
        })
        .collect::<Result<_>>()?;
    let infos: Vec<Value> = made.iter().map(|g| uncertainty(g, num_samples)).collect();
    let mut v = json!({
        "generation_params": {
            "max_new_tokens": o.max_new_tokens,
            "temperature": o.temperature,
            "top_k": o.top_k,
            "num_samples": num_samples,
            "model_path": folder.path.display().to_string(),
            "has_collected_samples": !request.baseline,
            "seed": o.seed,
            "context": o.context,
        },
        "start_prompt": request.prompt,
    });
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

/// The original's keys first: its uncertainty is the entropy of the average, here at temperature 1.
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
        "tokens_read_again": g.rereads,
    })
}
