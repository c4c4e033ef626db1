//! One file for the state of any chain or fit, whoever steps it: written, and read back with every check.

use super::engine::Engine;
use super::identity::{self, Length};
use super::monitor::{Monitor, Numbers, Saved};
use super::series::{Resumed, Stored};
use crate::backend::{Backend, Transfer, Vectors};
use crate::error::{Error, Result};
use crate::memory;
use crate::samplers::{
    AutoStep, AutoStepState, ChainState, ExtremeEigenvalues, GaussianConfig, GaussianState,
    PsgldMass, Sampler, SamplerState, Thermostat, Values, ValuesMut, Whitened,
};
use crate::store::{self, Dtype, Fetch, Header, Kind, Reader, TensorData, hex, params_sha256};
use std::path::{Path, PathBuf};

/// The counter that names this form of the file; older files have none.
const FORMAT: &str = "chain_format";
/// The form that is written without a trace file: whatever was recorded lies in the file itself.
const WHOLE: u64 = 1;
/// The form that is written with one, and the newest that is read.
const NEWEST: u64 = 2;
/// The counter that says how many bits of each product are right on the device; older files have none, nor have those without a model.
pub(super) const PRECISION: &str = "product_bits";
const AUTO_STEP: &str = "auto_step";
const CURVATURE: &str = "curvature";
const LIVE_SQUARES: &str = "live.squares";
const LIVE: &str = "live";
const GRADIENT_NOISE: &str = "gradient_noise";
const LAST_GRADIENT: &str = "last_gradient";
const GRADIENT_BEFORE: &str = "gradient_before";
const MASS_CENTER: &str = "mass.center";
const MASS_FACTOR: &str = "mass.factor";
const WARMUP: &str = "warmup";
const THERMOSTAT: &str = "thermostat";
const STEP_FOUND: &str = "step_found";

/// What a session writes beside the machine's own state.
pub(super) struct Rest<'a, B: Backend + 'static> {
    pub header: &'a Header,
    /// Whether the parameters that the chain began at are written too.
    pub center: bool,
    pub curvature: Option<ExtremeEigenvalues>,
    pub monitors: &'a [Box<dyn Monitor<B>>],
    /// Where their series lie.
    pub stored: Option<&'a Stored>,
}

/// Writes the state of a chain or a fit.
///
/// # Errors
/// Returns the errors of [`store::write`], and an error when the device cannot be read.
pub(super) fn write<B: Backend + 'static>(
    path: &Path,
    engine: &Engine<B>,
    rest: &Rest<'_, B>,
) -> Result<()> {
    let mut header = Header {
        step: engine.steps_made(),
        ..rest.header.clone()
    };
    let format = rest.stored.map_or(WHOLE, |_| NEWEST);
    header.counters.push((FORMAT.into(), format));
    header
        .counters
        .extend(rest.stored.iter().flat_map(|s| s.counters()));
    match engine {
        Engine::Fit(_) | Engine::GradientFit(_) => write_fit(path, header, engine, rest),
        Engine::Chain(c) => {
            let before = c.steps_made() - c.sampler().step();
            let gradients = c.last_gradients();
            let making = [
                ("squares", c.squares()),
                (LAST_GRADIENT, gradients.last),
                (GRADIENT_BEFORE, gradients.before),
            ];
            write_chain(path, header, engine, (before, &making), rest)
        }
        Engine::GradientChain(c) => {
            let gradients = c.noise.gradients();
            let making = [
                (LAST_GRADIENT, gradients.last),
                (GRADIENT_BEFORE, gradients.before),
            ];
            write_chain(path, header, engine, (0, &making), rest)
        }
    }
}

/// Writes a fit's arrays, and what monitors keep.
fn write_fit<B: Backend + 'static>(
    path: &Path,
    mut header: Header,
    engine: &Engine<B>,
    rest: &Rest<'_, B>,
) -> Result<()> {
    let state = engine.fit_state()?;
    let mut tensors: Vec<(&str, TensorData<'_>)> = Vec::new();
    for (name, v) in state.values() {
        tensors.push((
            name,
            match v {
                Values::F32(v) => TensorData::F32(v),
                Values::F64(v) => TensorData::F64(v),
            },
        ));
    }
    let kept = kept(rest.monitors)?;
    add(&kept, &mut header, &mut tensors);
    store::write(path, &header, &tensors)
}

/// Vectors that are there while something is estimated, by name.
type Making<'a, B> = &'a [(&'static str, Option<&'a <B as Vectors>::Vector>)];

/// Writes a chain's vectors, one at a time on the host, its numbers, and what monitors keep. `making`: gradients that the mass took, and
/// the vectors that are there while something is estimated.
fn write_chain<B: Backend + 'static>(
    path: &Path,
    mut header: Header,
    engine: &Engine<B>,
    (preconditioned, making): (u64, Making<'_, B>),
    rest: &Rest<'_, B>,
) -> Result<()> {
    let s = engine.sampler()?;
    header.counters.extend([
        ("sampler_step".into(), s.step()),
        ("preconditioned".into(), preconditioned),
    ]);
    let live = s.live();
    let vectors: Vec<(&str, &B::Vector)> = [
        ("params", Some(s.params())),
        ("momenta", s.momenta()),
        ("mass", s.mass().filter(|_| live.is_none())),
        ("center", rest.center.then(|| s.center())),
        (LIVE_SQUARES, live.map(|l| &l.squares)),
        (GRADIENT_NOISE, s.gradient_noise()),
    ]
    .into_iter()
    .chain(making.iter().copied())
    .filter_map(|(name, v)| Some((name, v?)))
    .collect();
    let fetch: Vec<_> = (vectors.iter().map(|(_, v)| move || s.vectors().get(v))).collect();
    let mut tensors: Vec<(&str, TensorData<'_>)> = Vec::new();
    for ((name, _), get) in vectors.iter().zip(&fetch) {
        let len = s.len();
        tensors.push((name, TensorData::Fetch(Fetch { len, get })));
    }
    let numbers = numbers(s, engine.auto_step(), rest.curvature);
    let numbers = numbers.iter().map(|(n, v)| (*n, TensorData::F64(v)));
    tensors.extend(numbers);
    let whitened = engine.whitened();
    let warmup = whitened.map_or(Ok(None), Whitened::warmup_numbers)?;
    let found = [s.config().step_size, s.config().alpha];
    if let Some(w) = whitened {
        let (center, factor) = w.affine().numbers();
        let rows = [
            (MASS_CENTER, center),
            (MASS_FACTOR, factor),
            (STEP_FOUND, &found),
        ];
        tensors.extend(rows.map(|(name, v)| (name, TensorData::F64(v))));
    }
    if let Some(v) = &warmup {
        tensors.push((WARMUP, TensorData::F64(v)));
    }
    let kept = kept(rest.monitors)?;
    add(&kept, &mut header, &mut tensors);
    store::write(path, &header, &tensors)
}

/// Returns the short series of a chain's state.
fn numbers<V: Vectors>(
    s: &Sampler<V>,
    auto: Option<&AutoStep>,
    curvature: Option<ExtremeEigenvalues>,
) -> Vec<(&'static str, Vec<f64>)> {
    let of_curvature =
        |c: ExtremeEigenvalues| vec![c.largest, c.residual, c.smallest, c.products as f64];
    let all = [
        (THERMOSTAT, of_thermostats(s.thermostats())),
        (LIVE, s.live().map(|l| vec![l.floor, l.decay])),
        (AUTO_STEP, auto.map(|a| a.state().numbers().to_vec())),
        (CURVATURE, curvature.map(of_curvature)),
    ];
    all.into_iter().filter_map(|(n, v)| Some((n, v?))).collect()
}

/// Returns xi and kinetic temperature of each thermostat, and of several also how many parameters it governs; none where there are none.
fn of_thermostats(all: &[Thermostat]) -> Option<Vec<f64>> {
    match all {
        [] => None,
        [one] => Some(vec![one.xi, one.kinetic]),
        all => {
            let each = |t: &Thermostat| [t.xi, t.kinetic, t.parameters as f64];
            Some(all.iter().flat_map(each).collect())
        }
    }
}

type Kept<'a> = Vec<(&'static str, Numbers<'a>)>;

/// Returns what monitors keep but for their series.
pub(super) fn kept<B: Backend + 'static>(monitors: &[Box<dyn Monitor<B>>]) -> Result<Kept<'_>> {
    let mut all = Vec::new();
    for m in monitors {
        all.extend(m.state()?);
    }
    Ok(all)
}

/// Adds what monitors keep to a file's counters and tensors.
fn add<'a>(kept: &'a Kept<'a>, header: &mut Header, tensors: &mut Vec<(&'a str, TensorData<'a>)>) {
    for (name, numbers) in kept {
        match numbers {
            Numbers::Count(n) => header.counters.push(((*name).into(), *n)),
            Numbers::F32(v) => tensors.push((name, TensorData::F32(v))),
            Numbers::F64(v) => tensors.push((name, TensorData::F64(v))),
        }
    }
}

/// Writes a file anew with another header, and without the tensors whose names `keeps` refuses.
///
/// # Errors
/// Returns the errors of [`store::write`], and an error when the file cannot be read.
pub(super) fn rewrite(
    path: &Path,
    reader: &mut Reader,
    header: &Header,
    keeps: impl Fn(&str) -> bool,
) -> Result<()> {
    let infos = reader.tensors().to_vec();
    let infos: Vec<_> = infos.into_iter().filter(|t| keeps(&t.name)).collect();
    let mut values: Vec<Numbers<'static>> = Vec::new();
    for info in &infos {
        let what = "a tensor of a file that is written anew";
        values.push(match info.dtype {
            Dtype::F64 => {
                let mut v = memory::zeros(info.len as usize, what)?;
                reader.read_f64(&info.name, &mut v)?;
                Numbers::F64(v.into())
            }
            Dtype::F32 | Dtype::Bf16 => {
                let mut v = memory::zeros(info.len as usize, what)?;
                reader.read_f32(&info.name, &mut v)?;
                Numbers::F32(v.into())
            }
        });
    }
    let named = infos.iter().map(|t| t.name.as_str()).zip(&values);
    let tensors: Vec<(&str, TensorData<'_>)> = named
        .filter_map(|(name, v)| match v {
            Numbers::F32(v) => Some((name, TensorData::F32(v))),
            Numbers::F64(v) => Some((name, TensorData::F64(v))),
            Numbers::Count(_) => None,
        })
        .collect();
    store::write(path, header, &tensors)
}

/// A file whose header was found to be of the run that is to go on.
pub(super) struct ChainFile {
    path: PathBuf,
    reader: Reader,
    format: u64,
    stored: Option<Stored>,
}

/// Where a chain began: the parameters, and their checksum where the caller has it.
#[derive(Clone, Copy)]
pub(super) struct Start<'a> {
    /// How many parameters there are.
    pub n: usize,
    /// The parameters; empty for a caller who does not have them.
    pub params: &'a [f32],
    pub sha256: Option<[u8; 32]>,
}

impl ChainFile {
    /// Opens a file and compares what it is of with `expected`.
    ///
    /// # Errors
    /// Returns the errors of [`Reader::open`]; [`Error::Mismatch`] with the first setting that differs, or the model, seed, chain, text or vocabulary, and
    /// when it has more steps than the run; [`Error::BadHeader`] for a newer form than this build reads.
    pub fn open(path: &Path, expected: &Header, length: Length) -> Result<Self> {
        let reader = Reader::open(path, Kind::Chain)?;
        let format = reader.counter(FORMAT).unwrap_or(0);
        let mut file = Self {
            path: path.to_path_buf(),
            reader,
            format,
            stored: None,
        };
        if format > NEWEST {
            return Err(file.bad(format!(
                "{FORMAT} {format}: this build reads files up to {NEWEST}; a newer bnn reads this one"
            )));
        }
        let lengths = file.check_settings(expected, length)?;
        file.check_rest(expected)?;
        file.check_precision(expected)?;
        // Last: what else differs says more.
        if let (Some((want, is)), Some(why)) = (lengths, length.fixed) {
            let name = length.setting.trim_start_matches('/').replace('/', ".");
            let want =
                format!("{want}: go on with the length that it has, or begin anew with this one");
            return Err(file.mismatch(&format!("{name} ({why})"), want, is));
        }
        let made = file.reader.header().step;
        if made > length.total {
            let want = format!("at most {}, all of the run's", length.total);
            return Err(file.mismatch("the number of steps made", want, made.to_string()));
        }
        let stored = Stored::open(path, &file.reader)?;
        file.stored = stored.map(|(stored, _)| stored);
        Ok(file)
    }

    /// Returns where its series lie, if they lie in a trace file.
    pub fn stored(&self) -> Option<&Stored> {
        self.stored.as_ref()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn mismatch(&self, what: &str, expected: String, got: String) -> Error {
        Error::Mismatch {
            path: self.path.clone(),
            what: what.into(),
            expected,
            got,
        }
    }

    fn bad(&self, message: String) -> Error {
        Error::BadHeader {
            path: self.path.clone(),
            message,
        }
    }

    /// Compares the settings; the lengths wanted and found where they differ in that alone.
    fn check_settings(
        &self,
        expected: &Header,
        length: Length,
    ) -> Result<Option<(String, String)>> {
        let header = self.reader.header();
        let Some(mut is) = identity::saved(header, self.format) else {
            if self.format > 0 {
                return Err(self.bad("its settings are no JSON".into()));
            }
            // Method `sgnht` was another then.
            let old = header.config.contains("sampler = \"sgnht\"\n");
            let now = expected.config.contains("\"method\":\"sgnht\"");
            return if old && now && "sgnht_ding".parse::<crate::samplers::Method>().is_ok() {
                Err(self.mismatch("method", "sgnht".into(), "sgnht_ding".into()))
            } else {
                Ok(None)
            };
        };
        let want = serde_json::from_str(&expected.config)
            .map_err(|e| self.bad(format!("settings: {e}")))?;
        let mut lengths = None;
        let found = is.pointer_mut(length.setting).filter(|v| v.is_u64());
        if let (Some(want), Some(is)) = (serde_json::Value::pointer(&want, length.setting), found)
            && want != is
        {
            let is = std::mem::replace(is, want.clone());
            lengths = Some((want.to_string(), is.to_string()));
        }
        match identity::difference("", &want, &is) {
            Some((name, want, is)) => {
                let (what, want) = identity::other_setting(&name, &want);
                Err(self.mismatch(&what, want, is.to_string()))
            }
            None => Ok(lengths),
        }
    }

    fn check_rest(&self, expected: &Header) -> Result<()> {
        let got = self.reader.header();
        let both = |f: fn(&Header) -> String| (f(expected), f(got));
        let rest = [
            ("model", both(|h| h.model.clone())),
            ("seed", both(|h| h.seed.to_string())),
            ("chain", both(|h| h.chain.to_string())),
            ("corpus", both(|h| hex(&h.corpus_sha256))),
            ("vocabulary", both(|h| h.vocabulary.clone())),
        ];
        match rest.into_iter().find(|(_, (want, is))| want != is) {
            Some((what, (want, is))) => Err(self.mismatch(what, want, is)),
            None => Ok(()),
        }
    }

    /// Returns how many bits of each product were right on the device that wrote it, the least of them; none where it does not say.
    pub fn product_bits(&self) -> Option<u64> {
        self.reader.counter(PRECISION).ok()
    }

    /// Refuses products that are coarser than those that the chain began with. Finer ones, as on a machine without the instructions for those that were
    /// asked for, change its steps by less than it has allowed for.
    fn check_precision(&self, expected: &Header) -> Result<()> {
        let now = expected.counters.iter().find(|(name, _)| name == PRECISION);
        match (now, self.reader.counter(PRECISION)) {
            (Some((_, now)), Ok(then)) if *now < then => Err(self.mismatch(
                "precision of matrix products",
                format!("at most {now} bits, as the device computes now"),
                format!("{then} bits; a higher precision goes on with it"),
            )),
            _ => Ok(()),
        }
    }

    /// Reads a fit of `n` parameters, of a model whose head is (V, C), or [0, 0] of a caller's own.
    ///
    /// # Errors
    /// When an array is missing or has another size.
    pub fn fit(
        &mut self,
        config: &GaussianConfig,
        n: usize,
        head: [usize; 2],
    ) -> Result<GaussianState> {
        self.check_len("params", n)?;
        let mut state = GaussianState::blank(config, n, head, self.reader.header().step)?;
        for (name, v) in state.values_mut() {
            match v {
                ValuesMut::F32(v) => self.reader.read_f32(name, v)?,
                ValuesMut::F64(v) => self.reader.read_f64(name, v)?,
            }
        }
        Ok(state)
    }

    /// Reads a chain.
    ///
    /// # Errors
    /// When a tensor is missing or has another size, and when the chain began elsewhere.
    pub fn chain(&mut self, start: Start<'_>) -> Result<ChainState> {
        let n = start.n;
        let (preconditioned, step) = self.steps()?;
        let theta = self.vector("params", n)?;
        let theta =
            theta.ok_or_else(|| self.bad("expected a tensor \"params\", found none".into()))?;
        let center = self.center(start)?;
        let live = self.vector(LIVE_SQUARES, n)?;
        let live = match (live, self.pair(LIVE)?) {
            (Some(squares), Some([floor, decay])) => Some(PsgldMass {
                squares,
                floor,
                decay,
            }),
            (None, _) => None,
            (Some(_), None) => {
                return Err(self.bad(format!("expected a tensor {LIVE:?}, found none")));
            }
        };
        let thermostats = self.thermostats(n)?;
        Ok(ChainState {
            preconditioned,
            squares: self.vector("squares", n)?,
            last_gradient: self.vector(LAST_GRADIENT, n)?,
            gradient_before: self.vector(GRADIENT_BEFORE, n)?,
            sampler: SamplerState {
                step,
                theta,
                momenta: self.vector("momenta", n)?,
                mass: self.vector("mass", n)?,
                live,
                gradient_noise: self.vector(GRADIENT_NOISE, n)?,
                center,
                thermostats,
            },
        })
    }

    /// Reads the thermostats of a chain of `n` parameters: none, one for all, or several.
    fn thermostats(&mut self, n: usize) -> Result<Vec<Thermostat>> {
        if !self.has(THERMOSTAT) {
            return Ok(Vec::new());
        }
        if self.reader.tensor(THERMOSTAT)?.len == 2 {
            let one = self.pair(THERMOSTAT)?.map(|[xi, kinetic]| Thermostat {
                xi,
                kinetic,
                parameters: n,
            });
            return Ok(one.into_iter().collect());
        }
        let numbers = self.reader.f64s(THERMOSTAT)?.unwrap_or_default();
        let (each, rest) = numbers.as_chunks::<3>();
        let is_count = |v: f64| v >= 1.0 && v <= n as f64 && v.fract() == 0.0;
        if each.is_empty() || !rest.is_empty() || !each.iter().all(|t| is_count(t[2])) {
            let what = "three numbers a thermostat: friction, temperature, parameters";
            return Err(self.bad(format!("expected a tensor {THERMOSTAT:?} of {what}")));
        }
        let of = |&[xi, kinetic, parameters]: &[f64; 3]| Thermostat {
            xi,
            kinetic,
            parameters: parameters as usize,
        };
        memory::collect(each.iter().map(of), "a chain's thermostats")
    }

    /// Returns where the chain began: what the file has, or the caller's own parameters if they are those that it names.
    fn center(&mut self, start: Start<'_>) -> Result<Vec<f32>> {
        let what = "the chain's start";
        if let Some(center) = self.vector("center", start.n)? {
            return match start.sha256.map(|want| (want, params_sha256(&center))) {
                Some((want, is)) if want != is => Err(self.mismatch(what, hex(&want), hex(&is))),
                _ => Ok(center),
            };
        }
        let (is, want) = (
            self.reader.header().baseline_sha256,
            start.sha256.unwrap_or_else(|| params_sha256(start.params)),
        );
        if is == want {
            memory::copy(start.params, "a chain's start")
        } else {
            Err(self.mismatch(what, hex(&want), hex(&is)))
        }
    }

    /// Reads the search for the step size, if there is one.
    ///
    /// # Errors
    /// For numbers that no search has.
    pub fn auto_step(&mut self) -> Result<Option<AutoStepState>> {
        let Some(numbers) = self.numbers::<6>(AUTO_STEP)? else {
            return Ok(None);
        };
        let state = AutoStepState::from_numbers(numbers);
        state.map(Some).map_err(Error::of_file(&self.path))
    }

    /// Reads the step size and the friction of a chain whose warm-up finds its mass.
    ///
    /// # Errors
    /// When they are missing.
    pub fn step_found(&mut self) -> Result<(f64, f64)> {
        match self.pair(STEP_FOUND)? {
            Some([step, alpha]) => Ok((step, alpha)),
            None => Err(self.bad(format!("expected a tensor {STEP_FOUND:?}, found none"))),
        }
    }

    /// Reads the coordinates of a mass that adapts or is dense: center (n) and factor, (n) or (n, n).
    ///
    /// # Errors
    /// When one of the two is missing or has another size.
    pub fn coordinates(&mut self, n: usize) -> Result<Option<(Vec<f64>, Vec<f64>)>> {
        if !self.has(MASS_FACTOR) {
            return Ok(None);
        }
        self.check_len(MASS_CENTER, n)?;
        let dense = self.reader.tensor(MASS_FACTOR)?.len != n as u64;
        self.check_len(MASS_FACTOR, if dense { n.saturating_mul(n) } else { n })?;
        let both = (
            self.reader.f64s(MASS_CENTER)?,
            self.reader.f64s(MASS_FACTOR)?,
        );
        Ok(both.0.zip(both.1))
    }

    /// Reads the state of a warm-up that looks for a mass, where it had not ended.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn warmup(&mut self) -> Result<Option<Vec<f64>>> {
        self.reader.f64s(WARMUP)
    }

    /// Says that the coordinates of a mass are missing.
    pub fn without_coordinates(&self) -> Error {
        self.bad(format!("expected a tensor {MASS_FACTOR:?}, found none"))
    }

    /// Reads the curvature that was found at the chain's start, if it was looked for.
    ///
    /// # Errors
    /// When the file has another number of values.
    pub fn curvature(&mut self) -> Result<Option<ExtremeEigenvalues>> {
        let all = self.numbers::<4>(CURVATURE)?;
        Ok(all.map(
            |[largest, residual, smallest, products]| ExtremeEigenvalues {
                largest,
                residual,
                smallest,
                products: products as u64,
            },
        ))
    }

    /// Returns the checksum of where a fit began; zeros where the file does not say, as from before.
    pub fn baseline(&self) -> [u8; 32] {
        self.reader.header().baseline_sha256
    }

    fn has(&self, name: &str) -> bool {
        self.reader.tensors().iter().any(|t| t.name == name)
    }

    /// Compares a length before there is room for it.
    fn check_len(&self, name: &str, n: usize) -> Result<()> {
        let len = self.reader.tensor(name)?.len;
        if len == n as u64 {
            Ok(())
        } else {
            let what = format!("{}: tensor {name:?}", self.path.display());
            Err(Error::shape(what, [n], [len]))
        }
    }

    fn vector(&mut self, name: &str, n: usize) -> Result<Option<Vec<f32>>> {
        if !self.has(name) {
            return Ok(None);
        }
        self.check_len(name, n)?;
        let mut v = memory::zeros(n, "a chain's state")?;
        self.reader.read_f32(name, &mut v)?;
        Ok(Some(v))
    }

    fn numbers<const N: usize>(&mut self, name: &str) -> Result<Option<[f64; N]>> {
        if !self.has(name) {
            return Ok(None);
        }
        let mut v = [0.0; N];
        self.reader.read_f64(name, &mut v)?;
        Ok(Some(v))
    }

    fn pair(&mut self, name: &str) -> Result<Option<[f64; 2]>> {
        self.numbers(name)
    }

    /// Returns the gradients for the mass and the steps since, which together are all that the chain made.
    fn steps(&self) -> Result<(u64, u64)> {
        let r = &self.reader;
        let (mass, step) = (r.counter("preconditioned")?, r.counter("sampler_step")?);
        let made = r.header().step;
        if mass.checked_add(step) == Some(made) {
            Ok((mass, step))
        } else {
            Err(self.bad(format!(
                "expected {made} steps in all, found {mass} for the mass and {step} since"
            )))
        }
    }

    /// Gives the monitors what the file has of them.
    ///
    /// # Errors
    /// Returns the errors of [`Monitor::restore`].
    pub fn restore<B: Backend + 'static>(
        &mut self,
        monitors: &mut [Box<dyn Monitor<B>>],
        progress: super::monitor::Progress,
    ) -> Result<()> {
        let path = self.path.clone();
        let mut saved = Resumed {
            reader: &mut self.reader,
            stored: self.stored.as_ref(),
        };
        (monitors.iter_mut()).try_for_each(|m| match m.restore(&mut saved, progress) {
            Err(e @ (Error::OutOfRange { .. } | Error::Conflict(_) | Error::Shape { .. })) => {
                Err(Error::of_file(&path)(e))
            }
            other => other,
        })
    }
}

impl Saved for Reader {
    fn count(&self, name: &str) -> Option<u64> {
        self.counter(name).ok()
    }

    fn f64s(&mut self, name: &str) -> Result<Option<Vec<f64>>> {
        series(self, name, Reader::read_f64)
    }

    fn f32s(&mut self, name: &str) -> Result<Option<Vec<f32>>> {
        series(self, name, Reader::read_f32)
    }
}

/// Reads a series, if there is one: of no more values than the file has bytes, since its lengths were compared with its size.
fn series<T: Clone + Default>(
    reader: &mut Reader,
    name: &str,
    read: impl FnOnce(&mut Reader, &str, &mut [T]) -> Result<()>,
) -> Result<Option<Vec<T>>> {
    let Some(info) = reader.tensors().iter().find(|t| t.name == name) else {
        return Ok(None);
    };
    let mut v = memory::zeros(info.len as usize, "what a monitor kept")?;
    read(reader, name, &mut v)?;
    Ok(Some(v))
}
