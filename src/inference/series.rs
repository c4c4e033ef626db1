//! The series of a session: appended to a trace file when its state is saved, and read back from there.

use super::chain_file;
use super::identity;
use super::monitor::{Monitor, Numbers, Saved};
use super::monitors::{
    DrawRecorder, Draws, ExcessLoss, FitRecorder, FitTrace, Trace, TraceRecorder,
};
use super::session::{Session, progress};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::memory;
use crate::store::{
    Header, Kind, Reader, TensorData, TraceBlock, TraceEnd, TraceReader, TraceStart, append_trace,
    begin_trace, previous_trace, trace_of,
};
use std::path::{Path, PathBuf};

const BYTES: &str = "trace_file.bytes";
const BLOCKS: &str = "trace_file.blocks";
const SHA256: [&str; 4] = [
    "trace_file.sha256.0",
    "trace_file.sha256.1",
    "trace_file.sha256.2",
    "trace_file.sha256.3",
];
/// What stands before a series' name where its values in the trace file are counted.
const COUNTS: &str = "in_trace.";

/// What of a session's series lies in a trace file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    path: PathBuf,
    end: TraceEnd,
    /// Steps that were made when it was last appended to.
    steps: u64,
    /// How many of the file's last values of each series are the session's.
    counts: Vec<(String, u64)>,
}

impl Stored {
    /// Returns how many values of a series there are.
    pub fn count(&self, name: &str) -> u64 {
        let found = self.counts.iter().find(|(n, _)| n == name);
        found.map_or(0, |(_, n)| *n)
    }

    /// Returns the counters by which a checkpoint names it.
    pub fn counters(&self) -> Vec<(String, u64)> {
        let digest = self.end.sha256.as_chunks::<8>().0.iter();
        let digest = SHA256.iter().zip(digest);
        let end = [(BYTES, self.end.bytes), (BLOCKS, self.end.blocks)];
        let end = end.into_iter().map(|(name, n)| (name.to_owned(), n));
        let digest = digest.map(|(name, part)| ((*name).to_owned(), u64::from_le_bytes(*part)));
        let counts = self.counts.iter();
        let counts = counts.map(|(name, n)| (format!("{COUNTS}{name}"), *n));
        end.chain(digest).chain(counts).collect()
    }

    /// Opens the trace file that a checkpoint names, if it names one, and checks all of it that the checkpoint names.
    ///
    /// # Errors
    /// [`Error::Data`] when it is missing, damaged or another chain's, with what to do; [`Error::Io`].
    pub fn open(checkpoint: &Path, reader: &Reader) -> Result<Option<(Self, TraceReader)>> {
        let header = reader.header();
        if !header.counters.iter().any(|(name, _)| name == BYTES) {
            return Ok(None);
        }
        let mut sha256 = [0; 32];
        for (to, name) in sha256.as_chunks_mut::<8>().0.iter_mut().zip(SHA256) {
            *to = reader.counter(name)?.to_le_bytes();
        }
        let end = TraceEnd {
            bytes: reader.counter(BYTES)?,
            blocks: reader.counter(BLOCKS)?,
            sha256,
        };
        let counts = header.counters.iter().filter_map(|(name, n)| {
            let name = name.strip_prefix(COUNTS)?;
            Some((name.to_owned(), *n))
        });
        let (path, opened) = find(checkpoint, header, &end)?;
        let stored = Self {
            path,
            end,
            steps: header.step,
            counts: counts.collect(),
        };
        let more = |(name, n): &&(String, u64)| *n > opened.len(name);
        match stored.counts.iter().find(more) {
            None => Ok(Some((stored, opened))),
            Some((name, n)) => Err(Error::BadHeader {
                path: checkpoint.into(),
                message: format!(
                    "{COUNTS}{name}: expected at most the {} values that its trace has, found {n}",
                    opened.len(name)
                ),
            }),
        }
    }
}

/// Opens a checkpoint's trace file, or the one that another chain's has replaced, where the checkpoint is of that.
fn find(checkpoint: &Path, header: &Header, end: &TraceEnd) -> Result<(PathBuf, TraceReader)> {
    let path = trace_of(checkpoint);
    let identity = Some(identity::of_chain(header));
    let why = match TraceReader::open(&path, identity, end) {
        Ok(opened) => return Ok((path, opened)),
        Err(e @ (Error::Io { .. } | Error::OutOfMemory { .. })) => return Err(e),
        Err(e) => e,
    };
    let kept = previous_trace(&path);
    if let Ok(opened) = TraceReader::open(&kept, identity, end) {
        return Ok((kept, opened));
    }
    let message = format!(
        "its series (log likelihoods, temperatures, draws of the probes) cannot be read: {why}. The two files belong together: put the {} back that was \
         saved with it, or go on from the checkpoint before it; of a run, `bnn check RUN --repair` does that, or lets the chain go on without its series",
        path.display()
    );
    Err(Error::data(checkpoint.display().to_string(), message))
}

/// Reads a checkpoint and its trace whole, and returns the steps that they hold.
///
/// # Errors
/// Returns the errors of [`Reader::open`], and [`Error::Data`] when its trace is missing, damaged or another chain's.
pub fn check_series(checkpoint: &Path) -> Result<u64> {
    let reader = Reader::open(checkpoint, Kind::Chain)?;
    Stored::open(checkpoint, &reader)?;
    Ok(reader.header().step)
}

/// Writes a checkpoint anew without the series that its lost trace had: the chain goes on bit for bit, and its series begin after the steps made.
///
/// # Errors
/// Returns the errors of [`Reader::open`] and [`store::write`](crate::store::write()).
pub fn forget_series(checkpoint: &Path) -> Result<()> {
    let mut reader = Reader::open(checkpoint, Kind::Chain)?;
    let mut header = reader.header().clone();
    let series = ["trace_file.", COUNTS, "trace.", "probe."];
    let of_series = |name: &str| series.iter().any(|start| name.starts_with(start));
    header.counters.retain(|(name, _)| !of_series(name));
    chain_file::rewrite(checkpoint, &mut reader, &header, |name| !of_series(name))
}

/// A checkpoint with its series, wherever they lie.
pub(super) struct SavedChain {
    pub reader: Reader,
    trace: Option<(Stored, TraceReader)>,
}

impl SavedChain {
    /// Opens a chain's file and its trace.
    ///
    /// # Errors
    /// Returns the errors of [`check_series`].
    pub fn open(path: &Path) -> Result<Self> {
        let reader = Reader::open(path, Kind::Chain)?;
        let trace = Stored::open(path, &reader)?;
        Ok(Self { reader, trace })
    }
}

impl Saved for SavedChain {
    fn count(&self, name: &str) -> Option<u64> {
        self.reader.count(name)
    }

    fn f64s(&mut self, name: &str) -> Result<Option<Vec<f64>>> {
        let rest = self.reader.f64s(name)?;
        let trace = self.trace.as_mut();
        joined(
            trace.map(|(s, t)| (&*s, t)),
            name,
            TraceReader::read_f64,
            rest.as_deref(),
        )
    }

    fn f32s(&mut self, name: &str) -> Result<Option<Vec<f32>>> {
        let rest = self.reader.f32s(name)?;
        let trace = self.trace.as_mut();
        joined(
            trace.map(|(s, t)| (&*s, t)),
            name,
            TraceReader::read_f32,
            rest.as_deref(),
        )
    }
}

/// A checkpoint as a session goes on from it: what lies in its trace stays there, and is counted.
pub(super) struct Resumed<'a> {
    pub reader: &'a mut Reader,
    pub stored: Option<&'a Stored>,
}

impl Saved for Resumed<'_> {
    fn count(&self, name: &str) -> Option<u64> {
        self.reader.count(name)
    }

    fn f64s(&mut self, name: &str) -> Result<Option<Vec<f64>>> {
        self.reader.f64s(name)
    }

    fn f32s(&mut self, name: &str) -> Result<Option<Vec<f32>>> {
        self.reader.f32s(name)
    }

    fn stored(&self, name: &str) -> u64 {
        self.stored.map_or(0, |s| s.count(name))
    }
}

/// What a session's monitors have recorded: in the trace file, and since it was last appended to.
struct Recorded<'a> {
    counts: Vec<(&'static str, Numbers<'a>)>,
    trace: Option<(&'a Stored, TraceReader)>,
    rest: Vec<(&'static str, Numbers<'a>)>,
}

impl Saved for Recorded<'_> {
    fn count(&self, name: &str) -> Option<u64> {
        self.counts.iter().find_map(|(n, v)| match v {
            Numbers::Count(count) if *n == name => Some(*count),
            _ => None,
        })
    }

    fn f64s(&mut self, name: &str) -> Result<Option<Vec<f64>>> {
        let rest = self.rest.iter().find_map(|(n, v)| match v {
            Numbers::F64(v) if *n == name => Some(&**v),
            _ => None,
        });
        let trace = self.trace.as_mut();
        joined(
            trace.map(|(s, t)| (*s, t)),
            name,
            TraceReader::read_f64,
            rest,
        )
    }

    fn f32s(&mut self, name: &str) -> Result<Option<Vec<f32>>> {
        let rest = self.rest.iter().find_map(|(n, v)| match v {
            Numbers::F32(v) if *n == name => Some(&**v),
            _ => None,
        });
        let trace = self.trace.as_mut();
        joined(
            trace.map(|(s, t)| (*s, t)),
            name,
            TraceReader::read_f32,
            rest,
        )
    }
}

/// Returns a series: its values in the trace file, then the rest; none where there is neither.
fn joined<T: Clone>(
    trace: Option<(&Stored, &mut TraceReader)>,
    name: &str,
    read: impl FnOnce(&mut TraceReader, &str, u64) -> Result<Vec<T>>,
    rest: Option<&[T]>,
) -> Result<Option<Vec<T>>> {
    let trace = trace.filter(|(stored, _)| stored.count(name) > 0);
    if trace.is_none() && rest.is_none() {
        return Ok(None);
    }
    let mut all = match trace {
        Some((stored, trace)) => read(trace, name, stored.count(name))?,
        None => Vec::new(),
    };
    memory::append(&mut all, rest.unwrap_or_default(), "a session's series")?;
    Ok(Some(all))
}

impl<B: Backend + 'static> Session<B> {
    /// Returns the series of a chain's steps on a model's posterior, from its trace file where it was saved; none of a fit and on gradients of the
    /// caller's.
    ///
    /// # Errors
    /// When the trace file cannot be read or is not the one that this session wrote.
    pub fn trace(&self) -> Result<Option<Trace>> {
        let now = progress(&self.inference, self.steps_made());
        let there = self.monitor::<TraceRecorder>().is_some();
        there
            .then(|| Trace::read(&mut self.recorded()?, now))
            .transpose()
    }

    /// Returns the series of a fit's steps on a model's posterior, as [`Session::trace`].
    ///
    /// # Errors
    /// Returns the errors of [`Session::trace`].
    pub fn fit_trace(&self) -> Result<Option<FitTrace>> {
        let there = self.monitor::<FitRecorder>().is_some();
        there
            .then(|| FitTrace::read(&mut self.recorded()?, self.steps_made()))
            .transpose()
    }

    /// Returns the losses over the start's, nats, one per look; empty where none are looked at.
    ///
    /// # Errors
    /// Returns the errors of [`Session::trace`].
    pub fn excess_losses(&self) -> Result<Vec<f64>> {
        match self.monitor::<ExcessLoss>() {
            Some(_) => ExcessLoss::read(&mut self.recorded()?),
            None => Ok(Vec::new()),
        }
    }

    /// Returns the draws of the probes; none where there are no probes.
    ///
    /// # Errors
    /// Returns the errors of [`Session::trace`].
    pub fn draws(&self) -> Result<Option<Draws>> {
        let there = self.monitor::<DrawRecorder<B>>().is_some();
        there.then(|| Draws::all(&mut self.recorded()?)).transpose()
    }

    fn recorded(&self) -> Result<Recorded<'_>> {
        let open = |s: &'_ Stored| TraceReader::open(&s.path, None, &s.end);
        let trace = self.stored.as_ref().map(|s| Ok((s, open(s)?)));
        Ok(Recorded {
            counts: chain_file::kept(&self.monitors)?,
            trace: trace.transpose()?,
            rest: series(&self.monitors),
        })
    }

    /// Moves what the monitors' series have got since the last time to the trace file beside `checkpoint`, which is made where this session has not
    /// saved there before. Returns whether it was appended to.
    pub(super) fn store_series(&mut self, checkpoint: &Path) -> Result<bool> {
        let path = trace_of(checkpoint);
        let named = series(&self.monitors);
        let tensors: Vec<(&str, TensorData<'_>)> = named
            .iter()
            .filter_map(|(name, v)| match v {
                Numbers::F32(v) if !v.is_empty() => Some((*name, TensorData::F32(v))),
                Numbers::F64(v) if !v.is_empty() => Some((*name, TensorData::F64(v))),
                _ => None,
            })
            .collect();
        let to = self.engine.steps_made();
        let block = TraceBlock {
            from: self.stored.as_ref().map_or(0, |s| s.steps),
            to,
            series: &tensors,
        };
        let block = (!tensors.is_empty()).then_some(&block);
        let here = self.stored.as_ref().is_some_and(|s| s.path == path);
        let end = match (&self.stored, block) {
            (None, None) => return Ok(false),
            (Some(_), None) if here => return Ok(false),
            (Some(s), Some(block)) if here => append_trace(&path, &s.end, block)?,
            (Some(s), block) => begin_trace(&path, &TraceStart::Copy(&s.path, s.end), block)?,
            (None, block) => {
                let identity = identity::of_chain(&self.header);
                begin_trace(&path, &TraceStart::Chain(identity), block)?
            }
        };
        let before = |name: &str| self.stored.as_ref().map_or(0, |s| s.count(name));
        let counts = named
            .iter()
            .map(|(name, v)| ((*name).to_owned(), before(name) + v.len()));
        let counts = counts.filter(|(_, n)| *n > 0).collect();
        self.stored = Some(Stored {
            path,
            end,
            steps: to,
            counts,
        });
        self.monitors.iter_mut().for_each(|m| m.stored());
        Ok(here)
    }
}

/// Returns what the monitors' series have got since they were last stored.
fn series<B: Backend + 'static>(
    monitors: &[Box<dyn Monitor<B>>],
) -> Vec<(&'static str, Numbers<'_>)> {
    monitors.iter().flat_map(|m| m.series()).collect()
}
