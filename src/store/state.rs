//! A sampler's whole state in one checked file: what a caller's own loop saves and goes on from. (A run's checkpoint, which also has
//! the run's traces, is the run's own.)

use super::{Header, Kind, Reader, TensorData, write};
use crate::samplers::{
    AutoStepState, ChainState, LiveMass, NormalConfig, NormalState, SamplerState, Thermostat,
    Values, ValuesMut,
};
use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// The state of a sampler of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum SavedState {
    /// Of a chain; a [`SamplerState`] of its own is one without gradients for the mass.
    Chain(ChainState, Looks),
    /// Of a fit of normals.
    Normal(NormalState),
}

/// What was read off a chain on its way, which goes on with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Looks {
    /// The search for its step size; none without one.
    pub auto_step: Option<AutoStepState>,
    /// Running temperatures: how often they were taken, and the state; none where they are not taken.
    pub temperatures: Option<(u64, Vec<f64>)>,
    /// Losses of batches over those at its start, one a look.
    pub excess_loss: Vec<f64>,
}

/// The name of a search for the step size.
pub const AUTO_STEP: &str = "auto_step";
/// The name of the running temperatures, and of their count.
pub const TEMPERATURES: &str = "temperatures";
/// The name of the losses over those at the start.
pub const EXCESS_LOSS: &str = "trace.excess_loss";

/// How long the run is that goes on from a state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Length {
    /// Where the settings have it: a JSON pointer.
    pub setting: &'static str,
    /// Steps of the whole run, the mass's gradients included.
    pub total: u64,
    /// Why a run of another length makes other steps: then it must be the saved one. `None`: any that holds the steps made.
    pub fixed: Option<&'static str>,
}

impl From<SamplerState> for SavedState {
    fn from(sampler: SamplerState) -> Self {
        let state = ChainState {
            preconditioned: 0,
            squares: None,
            sampler,
        };
        Self::Chain(state, Looks::default())
    }
}

/// Writes a state, and with it what it is of: `header` without its step and counters, its configuration a JSON value.
///
/// # Errors
/// As [`write()`](super::write()).
pub fn write_state(path: impl AsRef<Path>, header: &Header, state: &SavedState) -> Result<()> {
    let mut header = Header {
        kind: Kind::Chain,
        ..header.clone()
    };
    let mut tensors: Vec<(&str, TensorData<'_>)> = Vec::new();
    let (pair, live, search);
    match state {
        SavedState::Chain(c, looks) => {
            let s = &c.sampler;
            header.step = c.preconditioned + s.step;
            header.counters = vec![
                ("sampler_step".into(), s.step),
                ("preconditioned".into(), c.preconditioned),
            ];
            let all = [
                ("params", Some(&s.theta)),
                ("momenta", s.momenta.as_ref()),
                ("mass", s.mass.as_ref()),
                ("center", Some(&s.center)),
                ("squares", c.squares.as_ref()),
                (LIVE_SQUARES, s.live.as_ref().map(|l| &l.squares)),
            ];
            let there = all.into_iter().filter_map(|(n, v)| Some((n, v?)));
            tensors.extend(there.map(|(n, v)| (n, TensorData::F32(v))));
            if let Some(t) = s.thermostat {
                pair = [t.xi, t.kinetic];
                tensors.push(("thermostat", TensorData::F64(&pair)));
            }
            if let Some(l) = &s.live {
                live = [l.floor, l.decay];
                tensors.push((LIVE, TensorData::F64(&live)));
            }
            if let Some(a) = looks.auto_step {
                search = a.numbers();
                tensors.push((AUTO_STEP, TensorData::F64(&search)));
            }
            if let Some((count, t)) = &looks.temperatures {
                header.counters.push((TEMPERATURES.into(), *count));
                tensors.push((TEMPERATURES, TensorData::F64(t)));
            }
            if !looks.excess_loss.is_empty() {
                tensors.push((EXCESS_LOSS, TensorData::F64(&looks.excess_loss)));
            }
        }
        SavedState::Normal(n) => {
            header.step = n.step();
            tensors.extend(normal_tensors(n));
        }
    }
    write(path, &header, &tensors)
}

/// The tensors of a fit's state.
pub fn normal_tensors(state: &NormalState) -> Vec<(&'static str, TensorData<'_>)> {
    let each = state.values().into_iter().map(|(name, v)| match v {
        Values::F32(v) => (name, TensorData::F32(v)),
        Values::F64(v) => (name, TensorData::F64(v)),
    });
    each.collect()
}

/// Reads the tensors of a fit's state into one of their sizes.
///
/// # Errors
/// When one is not there, or has another size.
pub fn read_normal_tensors(r: &mut Reader, state: &mut NormalState) -> Result<()> {
    for (name, v) in state.values_mut() {
        match v {
            ValuesMut::F32(v) => r.read_f32(name, v)?,
            ValuesMut::F64(v) => r.read_f64(name, v)?,
        }
    }
    Ok(())
}

/// Reads a state of `n` parameters: a chain's, or with `normal` that of a fit with the settings, of a model whose head is (V, C). The run that goes on may
/// have another length than the saved one's as far as `length` says.
///
/// # Errors
/// As [`Reader::open`]; [`Error::Mismatch`] when the file is of another configuration (with the first setting that differs), model, seed,
/// chain, text, vocabulary or start than `expected`, of the other kind, or has more steps than the run; [`Error::Shape`] when it has another
/// number of parameters.
pub fn read_state(
    path: impl AsRef<Path>,
    expected: &Header,
    length: Length,
    normal: Option<(&NormalConfig, [usize; 2])>,
    n: usize,
) -> Result<SavedState> {
    let path = path.as_ref();
    let mut r = Reader::open(path, Kind::Chain)?;
    check(path, expected, length, r.header())?;
    // Before there is room for n of them.
    let len = r.tensor("params")?.len;
    if len != n as u64 {
        let what = format!("{}: tensor \"params\"", path.display());
        return Err(Error::shape(what, [n], [len]));
    }
    if let Some((config, head)) = normal {
        let mut state = NormalState::blank(config, n, head, r.header().step);
        read_normal_tensors(&mut r, &mut state)?;
        return Ok(SavedState::Normal(state));
    }
    let names: Vec<String> = r.tensors().iter().map(|t| t.name.clone()).collect();
    let has = |name: &str| names.iter().any(|n| n == name);
    let mut floats = |name: &str| -> Result<Vec<f32>> {
        // Before there is room for them.
        let len = r.tensor(name)?.len;
        if len != n as u64 {
            let what = format!("{}: tensor {name:?}", path.display());
            return Err(Error::shape(what, [n], [len]));
        }
        let mut v = vec![0.0; n];
        r.read_f32(name, &mut v)?;
        Ok(v)
    };
    let mut where_there = |name: &str| has(name).then(|| floats(name)).transpose();
    let (momenta, mass) = (where_there("momenta")?, where_there("mass")?);
    let (squares, live) = (where_there("squares")?, where_there(LIVE_SQUARES)?);
    let (theta, center) = (floats("params")?, floats("center")?);
    let thermostat = match has("thermostat") {
        true => {
            let mut pair = [0.0; 2];
            r.read_f64("thermostat", &mut pair)?;
            let [xi, kinetic] = pair;
            Some(Thermostat { xi, kinetic })
        }
        false => None,
    };
    let live = read_live(&mut r, live)?;
    // No more room than the file has bytes: its lengths were compared with its size.
    let mut doubles = |name: &str| -> Result<Option<Vec<f64>>> {
        if !has(name) {
            return Ok(None);
        }
        let mut v = vec![0.0; r.tensor(name)?.len as usize];
        r.read_f64(name, &mut v)?;
        Ok(Some(v))
    };
    let (temperatures, excess_loss) = (doubles(TEMPERATURES)?, doubles(EXCESS_LOSS)?);
    let mut numbers = [0.0; 6];
    let looks = Looks {
        auto_step: match has(AUTO_STEP) {
            true => {
                r.read_f64(AUTO_STEP, &mut numbers)?;
                Some(AutoStepState::from_numbers(numbers).map_err(Error::of_file(path))?)
            }
            false => None,
        },
        temperatures: match temperatures {
            Some(t) => Some((r.counter(TEMPERATURES)?, t)),
            None => None,
        },
        excess_loss: excess_loss.unwrap_or_default(),
    };
    let (preconditioned, step) = read_steps(&r, path)?;
    let state = ChainState {
        preconditioned,
        squares,
        sampler: SamplerState {
            step,
            theta,
            momenta,
            mass,
            live,
            center,
            thermostat,
        },
    };
    Ok(SavedState::Chain(state, looks))
}

/// A chain's gradients for the mass and its steps since, which together are all that it made.
///
/// # Errors
/// When they are not there, or are not together the header's number of steps.
pub fn read_steps(r: &Reader, path: &Path) -> Result<(u64, u64)> {
    let (preconditioned, step) = (r.counter("preconditioned")?, r.counter("sampler_step")?);
    let made = r.header().step;
    if preconditioned.checked_add(step) != Some(made) {
        return Err(Error::BadHeader {
            path: path.to_path_buf(),
            message: format!(
                "expected {made} steps in all, found {preconditioned} for the mass and {step} since"
            ),
        });
    }
    Ok((preconditioned, step))
}

/// The name of a live mass's mean squares.
pub const LIVE_SQUARES: &str = "live.squares";
/// The name of its floor and its decay.
pub const LIVE: &str = "live";

/// The live mass of these mean squares, if there are any.
///
/// # Errors
/// When its floor and decay are not there.
pub fn read_live(r: &mut Reader, squares: Option<Vec<f32>>) -> Result<Option<LiveMass>> {
    let Some(squares) = squares else {
        return Ok(None);
    };
    let mut pair = [0.0; 2];
    r.read_f64(LIVE, &mut pair)?;
    let [floor, decay] = pair;
    Ok(Some(LiveMass {
        squares,
        floor,
        decay,
    }))
}

fn check(path: &Path, expected: &Header, length: Length, got: &Header) -> Result<()> {
    let mismatch = |what: &str, expected: String, got: String| Error::Mismatch {
        path: path.to_path_buf(),
        what: what.into(),
        expected,
        got,
    };
    let read = |text: &str| {
        serde_json::from_str(text).map_err(|e| Error::BadHeader {
            path: path.to_path_buf(),
            message: format!("settings: {e}"),
        })
    };
    let mut lengths = None;
    if expected.config != got.config {
        let (want, mut is): (Value, Value) = (read(&expected.config)?, read(&got.config)?);
        if let (Some(want), Some(is)) = (
            want.pointer(length.setting),
            is.pointer_mut(length.setting).filter(|v| v.is_u64()),
        ) && want != is
        {
            lengths = Some((
                want.to_string(),
                std::mem::replace(is, want.clone()).to_string(),
            ));
        }
        if let Some((name, want, is)) = difference("", &want, &is) {
            return Err(mismatch(&name, want.to_string(), is.to_string()));
        }
    }
    let hex = |h: &[u8; 32]| super::hex(h);
    let rest = [
        ("model", expected.model.clone(), got.model.clone()),
        ("seed", expected.seed.to_string(), got.seed.to_string()),
        ("chain", expected.chain.to_string(), got.chain.to_string()),
        (
            "corpus",
            hex(&expected.corpus_sha256),
            hex(&got.corpus_sha256),
        ),
        (
            "parameters that the prior refers to",
            hex(&expected.baseline_sha256),
            hex(&got.baseline_sha256),
        ),
        (
            "vocabulary",
            expected.vocabulary.clone(),
            got.vocabulary.clone(),
        ),
    ];
    if let Some((what, want, is)) = rest.into_iter().find(|(_, want, is)| want != is) {
        return Err(mismatch(what, want, is));
    }
    // Last: what else differs says more.
    if let (Some((want, is)), Some(why)) = (lengths, length.fixed) {
        let name = length.setting.trim_start_matches('/').replace('/', ".");
        return Err(mismatch(&format!("{name} ({why})"), want, is));
    }
    if got.step > length.total {
        let want = format!("at most {}, all of the run's", length.total);
        return Err(mismatch(
            "the number of steps made",
            want,
            got.step.to_string(),
        ));
    }
    Ok(())
}

/// The first place at which two JSON values differ, with what stands there.
fn difference(at: &str, a: &Value, b: &Value) -> Option<(String, Value, Value)> {
    if let (Value::Object(x), Value::Object(y)) = (a, b) {
        let keys = x.keys().chain(y.keys());
        return keys.into_iter().find_map(|k| {
            let null = Value::Null;
            let (x, y) = (x.get(k).unwrap_or(&null), y.get(k).unwrap_or(&null));
            let name = match at {
                "" => k.clone(),
                at => format!("{at}.{k}"),
            };
            difference(&name, x, y)
        });
    }
    (a != b).then(|| (at.to_string(), a.clone(), b.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_difference_is_named() {
        let a = json!({"a": 1, "b": {"c": [1, 2], "d": 0.5}});
        assert_eq!(difference("", &a, &a), None);
        let b = json!({"a": 1, "b": {"c": [1, 2], "d": 0.25}, "e": 3});
        let found = difference("", &a, &b).expect("one");
        assert_eq!(found, ("b.d".into(), json!(0.5), json!(0.25)));
        let c = json!({"a": 1, "b": {"c": [1, 2], "d": 0.5}, "e": 3});
        assert_eq!(difference("", &a, &c).expect("one").0, "e");
    }
}
