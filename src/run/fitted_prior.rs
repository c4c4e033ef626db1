//! The prior of a run: that of its settings, or the one that is fitted to its baseline, once, and kept in its folder.

use super::Context;
use super::config::Config;
use super::folder::{RunFolder, read_json, write_json};
use super::prepare::Setting;
use crate::error::{Error, Result};
use crate::inference::{FitData, FittedPrior, count_data};
use crate::posterior::Prior;
use crate::settings::{PriorUnit, Settings};

/// The name of its file.
const FILE: &str = "prior.json";

/// Returns the prior of a run whose chains start at the baseline's parameters, (n_params). A fitted one is fitted where the folder has none yet.
///
/// # Errors
/// When the file is no such prior's, the fit fails, or it is interrupted.
pub(super) fn of_new_run(
    config: &Config,
    setting: &Setting,
    folder: &RunFolder,
    params: &[f32],
    ctx: &mut Context,
) -> Result<Prior> {
    let (model, path) = (&setting.model, folder.file(FILE));
    if config.prior_scale == PriorUnit::Fitted && read_json::<FittedPrior>(&path)?.is_none() {
        let (batches, tokens) = (setting.batches(config)?, &setting.corpus.train[..]);
        let counted = count_data(config.objective, batches.windows(), tokens.len());
        let data = FitData {
            tokens,
            batches: &batches,
            num_data: config.num_data.unwrap_or(counted),
            objective: config.objective,
            likelihood_weight: config.likelihood_weight,
            seed: config.seed,
        };
        let look = || ctx.check_stop();
        let found = FittedPrior::at(&model.backend, &model.gpt, params, &data, look)?;
        write_json(&path, &found)?;
    }
    let prior = of_run(config, setting, folder, params)?;
    if let Some(found) = read_json::<FittedPrior>(&path)? {
        ctx.log.say(&found.line());
    }
    Ok(prior)
}

/// Returns the prior of a run that has begun: [`of_new_run`].
///
/// # Errors
/// When a fitted prior's file is missing or no such prior's.
pub(super) fn of_run(
    config: &Settings,
    setting: &Setting,
    folder: &RunFolder,
    params: &[f32],
) -> Result<Prior> {
    let layout = setting.model.gpt.layout();
    if config.prior_scale != PriorUnit::Fitted {
        return config.prior(layout, params);
    }
    let path = folder.file(FILE);
    let found: FittedPrior = read_json(&path)?.ok_or_else(|| {
        Error::data(
            path.display().to_string(),
            "the run's fitted prior is not there: put the file back, or begin a new run",
        )
    })?;
    found.prior(layout)
}
