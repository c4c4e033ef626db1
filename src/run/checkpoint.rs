//! A chain's file: its state, and what its steps left behind; written at every checkpoint, read where a run is resumed.

use super::draws::{self, Draws};
use super::train::Run;
use super::{hex, tensors};
use crate::backend::Cpu;
use crate::error::{Error, Result};
use crate::samplers::{
    AutoStepState, Chain, ChainState, Curvature, Method, SamplerState, Temperatures, Thermostat,
};
use crate::store::{self, Header, Kind, Reader, TensorData};
use std::path::Path;

/// What the steps of a chain left behind, one value a step; sampling only for the temperatures.
#[derive(Default)]
pub(super) struct Trace {
    pub log_lik: Vec<f64>,
    pub log_prior: Vec<f64>,
    pub kinetic: Vec<f64>,
    pub configurational: Vec<f64>,
    pub draws: Draws,
    pub excess_loss: Vec<f64>, // every llc_every sampling steps
    pub auto_step: Option<AutoStepState>,
    pub curvature: Option<Curvature>,       // the first chain's
    pub temperatures: Option<Temperatures>, // in the chain's keeping while it runs
}

/// The curvature's name in a chain's file.
const CURVATURE: &str = "curvature";

fn curvature_numbers(c: Curvature) -> [f64; 4] {
    [c.largest, c.residual, c.smallest, c.products as f64]
}

impl Run<'_> {
    /// Writes a chain's state and what it left behind.
    pub fn save_chain(
        &self,
        path: &Path,
        index: u32,
        chain: &Chain<Cpu>,
        trace: &Trace,
    ) -> Result<()> {
        let sampler = chain.sampler();
        let header = Header {
            config: self.config.to_toml()?,
            model: self.setting.model_json()?,
            seed: self.config.seed,
            chain: index,
            step: chain.steps_made(),
            corpus_sha256: self.setting.corpus.sha256,
            baseline_sha256: self.starts[index as usize].1,
            vocabulary: self.setting.vocabulary(),
            counters: vec![
                ("sampler_step".into(), sampler.step()),
                ("preconditioned".into(), chain.steps_made() - sampler.step()),
                (
                    store::TEMPERATURES.into(),
                    chain.temperatures().map_or(0, Temperatures::count),
                ),
            ],
            ..Header::new(Kind::Chain)
        };
        let mut parts = vec![("params", TensorData::F32(sampler.params()))];
        if let Some(m) = sampler.momenta() {
            parts.push(("momenta", TensorData::F32(m)));
        }
        let live = sampler.live().map(|l| [l.floor, l.decay]);
        match (sampler.live(), &live, sampler.mass()) {
            (Some(l), Some(pair), _) => {
                parts.push((store::LIVE_SQUARES, TensorData::F32(&l.squares)));
                parts.push((store::LIVE, TensorData::F64(pair)));
            }
            (_, _, Some(m)) => parts.push(("mass", TensorData::F32(m))),
            (_, _, None) => {}
        }
        let thermostat = sampler.thermostat().map(|t| [t.xi, t.kinetic]);
        if let Some(t) = &thermostat {
            parts.push(("thermostat", TensorData::F64(t)));
        }
        if let Some(s) = chain.squares() {
            parts.push(("squares", TensorData::F32(s)));
        }
        for (name, series) in [
            ("trace.log_lik", &trace.log_lik),
            ("trace.log_prior", &trace.log_prior),
            ("trace.kinetic_temperature", &trace.kinetic),
            ("trace.configurational_temperature", &trace.configurational),
            (store::EXCESS_LOSS, &trace.excess_loss),
        ] {
            parts.push((name, TensorData::F64(series)));
        }
        let temperatures = chain.temperatures().map(Temperatures::state);
        if let Some(t) = &temperatures {
            parts.push((store::TEMPERATURES, TensorData::F64(t)));
        }
        let auto = chain.auto_step().map(|a| a.state().numbers());
        if let Some(a) = &auto {
            parts.push((store::AUTO_STEP, TensorData::F64(a)));
        }
        let curvature = trace.curvature.map(curvature_numbers);
        if let Some(c) = &curvature {
            parts.push((CURVATURE, TensorData::F64(c)));
        }
        if self.config.probe_tokens > 0 {
            parts.extend(trace.draws.tensors());
        }
        store::write(path, &header, &parts)
    }

    /// Whether a checkpoint is of this run.
    pub fn check_header(&self, path: &Path, h: &Header, index: u32) -> Result<()> {
        let model = self.setting.model_json()?;
        let expected = [
            ("model", &model, &h.model),
            ("seed", &self.config.seed.to_string(), &h.seed.to_string()),
            ("chain", &index.to_string(), &h.chain.to_string()),
            (
                "corpus",
                &hex(&self.setting.corpus.sha256),
                &hex(&h.corpus_sha256),
            ),
            (
                "baseline",
                &hex(&self.starts[index as usize].1),
                &hex(&h.baseline_sha256),
            ),
        ];
        for (what, expected, got) in expected {
            if expected != got {
                return Err(Error::Mismatch {
                    path: path.to_path_buf(),
                    what: what.into(),
                    expected: expected.clone(),
                    got: got.clone(),
                });
            }
        }
        Ok(())
    }

    /// Reads them back; `start` is where the chain began.
    pub fn load_chain(
        &self,
        path: &Path,
        index: u32,
        start: &[f32],
    ) -> Result<(ChainState, Trace)> {
        let mut r = Reader::open(path, Kind::Chain)?;
        self.check_header(path, r.header(), index)?;
        let (preconditioned, step) = store::read_steps(&r, path)?;
        let names: Vec<String> = r.tensors().iter().map(|t| t.name.clone()).collect();
        let mut floats = |name: &str| -> Result<Option<Vec<f32>>> {
            if !names.iter().any(|n| n == name) {
                return Ok(None);
            }
            let mut v = vec![0.0; start.len()];
            r.read_f32(name, &mut v)?;
            Ok(Some(v))
        };
        let theta = floats("params")?.ok_or_else(|| Error::BadHeader {
            path: path.to_path_buf(),
            message: "expected a tensor `params`, found none".into(),
        })?;
        let (momenta, mass, squares) = (floats("momenta")?, floats("mass")?, floats("squares")?);
        let live = floats(store::LIVE_SQUARES)?;
        let mut series = |name: &str| -> Result<Vec<f64>> {
            // A series may be as long as the run, no longer.
            let len = r.tensor(name)?.len;
            let total = self.config.chain_gradients();
            if len > total {
                return Err(Error::BadHeader {
                    path: path.to_path_buf(),
                    message: format!("{name}: expected at most {total} values, found {len}"),
                });
            }
            let mut v = vec![0.0; len as usize];
            r.read_f64(name, &mut v)?;
            Ok(v)
        };
        let mut trace = Trace {
            log_lik: series("trace.log_lik")?,
            log_prior: series("trace.log_prior")?,
            kinetic: series("trace.kinetic_temperature")?,
            configurational: series("trace.configurational_temperature")?,
            draws: Draws::default(),
            // A chain's file from before there was such a series has none.
            excess_loss: match names.iter().any(|n| n == store::EXCESS_LOSS) {
                true => series(store::EXCESS_LOSS)?,
                false => Vec::new(),
            },
            auto_step: None,
            curvature: None,
            temperatures: None,
        };
        if self.config.auto_step {
            let mut numbers = [0.0; 6];
            r.read_f64(store::AUTO_STEP, &mut numbers)?;
            trace.auto_step =
                Some(AutoStepState::from_numbers(numbers).map_err(Error::of_file(path))?);
        }
        if names.iter().any(|n| n == CURVATURE) {
            let mut numbers = [0.0; 4];
            r.read_f64(CURVATURE, &mut numbers)?;
            let [largest, residual, smallest, products] = numbers;
            trace.curvature = Some(Curvature {
                largest,
                residual,
                smallest,
                products: products as u64,
            });
        }
        trace.temperatures = tensors::read(self.config, self.setting, step, &mut r, path)?;
        let has_thermostat = |m: Method| m.has_thermostat();
        let thermostat = match self.config.sampler.chain().is_some_and(has_thermostat) {
            true => {
                let mut pair = [0.0; 2];
                r.read_f64("thermostat", &mut pair)?;
                let [xi, kinetic] = pair;
                Some(Thermostat { xi, kinetic })
            }
            false => None,
        };
        let live = store::read_live(&mut r, live)?;
        if self.config.probe_tokens > 0 {
            let due = draws::due(self.config, r.header().step);
            trace.draws = Draws::read(&mut r, path, due)?;
        }
        let state = ChainState {
            preconditioned,
            squares,
            sampler: SamplerState {
                step,
                theta,
                momenta,
                mass,
                live,
                // A chain starts at its baseline, whose hash was compared.
                center: start.to_vec(),
                thermostat,
            },
        };
        Ok((state, trace))
    }
}
