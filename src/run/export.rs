//! Chains' draws as a NetCDF-4 file in ArviZ's layout: `arviz.from_netcdf(FILE)` opens it.

use crate::error::{Error, Result};
use crate::inference::{ChainDraws, RunDraws, check_together, select, shortest};
use crate::metrics::PROJECTIONS;
use crate::store::replace_file;
use netcdf_writer::{
    DimensionId, NcAttrValue, NcFileBuilder, NcWriteFormat, NcWriteOptions, NcWriteType,
};
use std::io::{BufWriter, Write};
use std::path::Path;

/// Writes the draws of runs that belong together, cut to the shortest chain:
///
/// | group | variable | dimensions |
/// |---|---|---|
/// | posterior | `log_prob`, nats, f32 | chain, draw, token |
/// | posterior | `projection`, f64 | chain, draw, direction |
/// | sample_stats | `log_lik` (the batch's mean, nats), `log_prior`, f64 | chain, draw |
/// | sample_stats | `kinetic_temperature`, `configurational_temperature`, f64, where all chains have them | chain, draw |
///
/// The statistics are those of the step that led to the draw. Runs' chains follow each other in the order of `runs`.
///
/// # Errors
/// Returns the errors of [`check_together`], and an error when there is no draw, or the file cannot be written.
pub fn netcdf(runs: &[RunDraws], path: &Path) -> Result<()> {
    check_together(runs)?;
    let (_, chains) = select(runs);
    let n = shortest(&chains);
    if n == 0 {
        return Err(Error::conflict(
            "there are no draws to export: more --sampling-steps, or a smaller --probe-every in a new run, records some",
        ));
    }
    let file = build(runs, &chains, n)
        .map_err(|e| Error::data(path.display().to_string(), e.to_string()))?;
    replace_file(path, |f| {
        let options = NcWriteOptions {
            format: NcWriteFormat::Nc4,
        };
        let mut to = BufWriter::new(f);
        file.write(&mut to, options)
            .map_err(|e| Error::data(path.display().to_string(), e.to_string()))?;
        to.flush().map_err(Error::io(path))
    })
}

/// A group that is being built: its dimensions by name.
struct Group<'a> {
    file: &'a mut NcFileBuilder,
    name: &'static str,
}

type Made<T> = std::result::Result<T, netcdf_writer::Error>;

impl Group<'_> {
    /// Adds a dimension and its coordinate 0, 1, ….
    fn dimension(&mut self, name: &str, len: usize) -> Made<DimensionId> {
        let path = format!("{}/{name}", self.name);
        let id = self.file.add_dimension_path(&path, len as u64)?;
        let places: Vec<i64> = (0..len as i64).collect();
        let variable = self.file.add_variable_path::<i64>(path, &[id])?;
        self.file.write_variable(variable, &places)?;
        Ok(id)
    }

    fn variable<T: NcWriteType>(&mut self, name: &str, of: &[DimensionId], v: &[T]) -> Made<()> {
        let path = format!("{}/{name}", self.name);
        let variable = self.file.add_variable_path::<T>(path, of)?;
        self.file.write_variable(variable, v)
    }
}

fn build(runs: &[RunDraws], chains: &[&ChainDraws], n: usize) -> Made<NcFileBuilder> {
    let mut file = NcFileBuilder::new();
    posterior(&mut file, chains, n)?;
    sample_stats(&mut file, chains, n)?;
    for group in ["posterior", "sample_stats"] {
        attributes(&mut file, group, runs)?;
    }
    Ok(file)
}

fn posterior(file: &mut NcFileBuilder, chains: &[&ChainDraws], n: usize) -> Made<()> {
    let name = "posterior";
    let mut posterior = Group { file, name };
    let tokens = chains[0].draws.tokens();
    let chain = posterior.dimension("chain", chains.len())?;
    let draw = posterior.dimension("draw", n)?;
    let token = posterior.dimension("token", tokens)?;
    let direction = posterior.dimension("direction", PROJECTIONS)?;
    let scores = chains.iter().flat_map(|c| &c.draws.log_prob[..n * tokens]);
    let scores: Vec<f32> = scores.copied().collect();
    posterior.variable("log_prob", &[chain, draw, token], &scores)?;
    let sums = (chains.iter()).flat_map(|c| &c.draws.projection[..n * PROJECTIONS]);
    let sums: Vec<f64> = sums.copied().collect();
    posterior.variable("projection", &[chain, draw, direction], &sums)
}

fn sample_stats(file: &mut NcFileBuilder, chains: &[&ChainDraws], n: usize) -> Made<()> {
    let name = "sample_stats";
    let mut stats = Group { file, name };
    let chain = stats.dimension("chain", chains.len())?;
    let draw = stats.dimension("draw", n)?;
    type Of = fn(&ChainDraws) -> &Vec<f64>;
    let series: [(&str, Of); 4] = [
        ("log_lik", |c| &c.log_lik),
        ("log_prior", |c| &c.log_prior),
        ("kinetic_temperature", |c| &c.kinetic),
        ("configurational_temperature", |c| &c.configurational),
    ];
    for (name, of) in series {
        if chains.iter().all(|c| of(c).len() >= n) {
            let values: Vec<f64> = chains.iter().flat_map(|c| &of(c)[..n]).copied().collect();
            stats.variable(name, &[chain, draw], &values)?;
        }
    }
    Ok(())
}

/// Writes what ArviZ shows of a group, and what its draws are of.
fn attributes(file: &mut NcFileBuilder, group: &str, runs: &[RunDraws]) -> Made<()> {
    let samplers: Vec<&str> = runs.iter().map(|r| r.settings.sampler.name()).collect();
    for (name, value) in [
        ("inference_library", "bnn".to_owned()),
        (
            "inference_library_version",
            env!("CARGO_PKG_VERSION").to_owned(),
        ),
        ("samplers", samplers.join(", ")),
        ("model", runs[0].model.clone()),
    ] {
        file.add_group_attribute(group, name, NcAttrValue::Chars(value))?;
    }
    let steps = NcAttrValue::Int64s(vec![runs[0].settings.probe_every as i64]);
    file.add_group_attribute(group, "sampling_steps_between_draws", steps)?;
    let t = NcAttrValue::Doubles(vec![runs[0].settings.temperature]);
    file.add_group_attribute(group, "temperature", t)
}
