//! The samples of one run: a folder with a file each.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::container::{Header, Kind, TensorInfo, payload, write};
use super::dtype::{self, Dtype, TensorData};
use super::hex;
use super::reader::{Reader, copy_f32};
use super::replace::TEMP_SUFFIX;
use crate::disk;
use crate::{Error, Result};

/// The counter that identifies target and settings; older samples have none.
const TARGET: &str = "target";

/// The name of a sample's only tensor.
const TENSOR: &str = "params";

/// What the samples of one run have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The text of the configuration that made them (TOML or JSON).
    pub config: String,
    /// The model's configuration as JSON.
    pub model: String,
    /// The run's seed.
    pub seed: u64,
    /// SHA-256 of the text that the model was trained on; zeros if there is none.
    pub corpus_sha256: [u8; 32],
    /// SHA-256 that identifies the baseline; zeros if there is none.
    pub baseline_sha256: [u8; 32],
    /// The tokenizer's characters in the order of their tokens; may be empty.
    pub vocabulary: String,
    /// How parameters are stored: [`Dtype::F32`] or [`Dtype::Bf16`].
    pub dtype: Dtype,
    /// How many parameters a sample has, at least 1.
    pub n_params: u64,
}

/// Which sample: the chain and how many steps it had made. Ordered by chain, then step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleId {
    /// The chain, counted from 0.
    pub chain: u32,
    /// How many steps the chain had made.
    pub step: u64,
}

/// The samples of one run in a folder of their own; files of other names there are passed over.
///
/// The order is that of [`SampleId`]; an index counts in it from 0. No call holds the parameters of a sample in
/// memory, but for the caller's own buffer. Several processes may append to a folder as long as each chain has one
/// writer; a store sees what was there when it was opened and what it appended itself.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    provenance: Provenance,
    ids: Vec<SampleId>,
    foreign: Vec<PathBuf>,
    /// What identifies target and settings of the samples; none where no header says it.
    target: Option<u64>,
}

impl Store {
    /// Begins a store in `folder`, which is made where it does not exist.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the folder has samples already ([`Store::resume`] goes on with them); [`Error::OutOfRange`] if `provenance` is
    /// out of range; [`Error::Io`].
    pub fn create(folder: impl Into<PathBuf>, provenance: Provenance) -> Result<Self> {
        let store = Self::resume(folder, provenance)?;
        if !store.is_empty() {
            return Err(Error::conflict(format!(
                "{} has {} samples already: resume the store, or name another folder",
                store.folder.display(),
                store.len()
            )));
        }
        Ok(store)
    }

    /// Goes on with the store in `folder`, or begins one where there are no samples yet.
    ///
    /// # Errors
    ///
    /// Those of [`Store::open`], and [`Error::Mismatch`] with the first file that has another provenance. The
    /// configuration's text may differ, as a run can be resumed with more steps.
    pub fn resume(folder: impl Into<PathBuf>, provenance: Provenance) -> Result<Self> {
        let folder = folder.into();
        if provenance.dtype == Dtype::F64 {
            return Err(Error::out_of_range(
                "data type of samples",
                "F32 or Bf16",
                "F64",
            ));
        }
        if provenance.n_params == 0 {
            return Err(Error::out_of_range("number of parameters", "at least 1", 0));
        }
        disk::make_folders(&folder).map_err(Error::io(&folder))?;
        let found = listed(&folder)?;
        Self::of_one_run(folder, found, provenance)
    }

    /// Opens the samples in `folder`, at least one.
    ///
    /// Every file's header and length are checked, and that all belong to one run. The parameters' checksums are
    /// compared whenever parameters are read, or all at once by [`Store::verify`]. Files that are no samples are passed over:
    /// [`Store::foreign`] names those that are not hidden and do not end in `.tmp` (the leftovers of a killed process).
    ///
    /// # Errors
    ///
    /// [`Error::Data`] if there is no sample; for a damaged file those of
    /// [`Reader::open`]; [`Error::Mismatch`] with the first file that is from another run, or whose name is not that
    /// of its chain and step; [`Error::Io`].
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        let found = listed(&folder)?;
        let Some(&first) = found.ids.first() else {
            let message = "expected samples (files named c<chain>_s<step>.bnn), found none";
            return Err(Error::data(folder.display().to_string(), message));
        };
        let first = open_sample(&folder.join(first.file_name()), first)?;
        Self::of_one_run(folder, found, provenance_of(&first))
    }

    /// Returns the store of these samples, once all are known to be of this provenance.
    fn of_one_run(folder: PathBuf, found: Listed, provenance: Provenance) -> Result<Self> {
        let mut store = Self {
            folder,
            provenance,
            ids: found.ids,
            foreign: found.foreign,
            target: None,
        };
        for i in 0..store.ids.len() {
            let sample = store.sample(store.ids[i])?;
            store.target = store.target.or(target_of(&sample));
        }
        Ok(store)
    }

    /// Says what target and settings the samples have, as one number: samples of another one are refused, and those that are appended carry it.
    /// [`Session::identity`](crate::inference::Session::identity) gives it.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] with the store's folder if the samples there are of another; nothing changes then. Those that do not say it are taken.
    pub fn set_target(&mut self, target: u64) -> Result<()> {
        expect_target(&self.folder, Some(target), self.target)?;
        self.target = Some(target);
        Ok(())
    }

    /// Returns the files in the folder that are no samples, hidden ones and leftovers not among them.
    pub fn foreign(&self) -> &[PathBuf] {
        &self.foreign
    }

    /// Compares the store with what the caller has: all of `expected` but the configuration's text.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] naming the first of seed, model, corpus, baseline, vocabulary, number of parameters and
    /// data type that differs.
    pub fn expect(&self, expected: &Provenance) -> Result<()> {
        compare(&self.folder, expected, &self.provenance)
    }

    /// Checks that a chain's samples belong here, as far as that can be told without its settings.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for another number of parameters, [`Error::Mismatch`] for another seed.
    pub fn expect_chain(&self, n_params: usize, seed: u64) -> Result<()> {
        self.expect_len("parameters of the chain", n_params)?;
        if self.provenance.seed == seed {
            return Ok(());
        }
        Err(Error::Mismatch {
            path: self.folder.clone(),
            what: "seed".into(),
            expected: seed.to_string(),
            got: self.provenance.seed.to_string(),
        })
    }

    /// Returns what the samples have in common.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns how many samples there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns the samples' ids, in order.
    pub fn ids(&self) -> &[SampleId] {
        &self.ids
    }

    /// Adds the parameters of `chain` after `step` steps. The file appears whole or not at all.
    ///
    /// A resumed run may come past samples that it has stored before: if the same parameters are there already,
    /// nothing is written.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if there are not `n_params` parameters; [`Error::NotFinite`] or [`Error::OutOfRange`] as
    /// [`write()`]; [`Error::Mismatch`] if other parameters are stored for this chain and step; [`Error::Io`]. The
    /// store is then as it was.
    pub fn append(&mut self, chain: u32, step: u64, params: &[f32]) -> Result<()> {
        self.expect_len("parameters to append", params.len())?;
        let id = SampleId { chain, step };
        let path = self.folder.join(id.file_name());
        let data = match self.provenance.dtype {
            Dtype::Bf16 => TensorData::Bf16(params),
            _ => TensorData::F32(params),
        };
        if disk::exists(&path).map_err(Error::io(&path))? {
            let expected = payload(step, &[(TENSOR, data)], |_| Ok(()))?;
            let got = self.sample(id)?.scan(|_, _| ())?;
            if got != expected {
                return Err(Error::Mismatch {
                    path,
                    what: "the SHA-256 of the stored parameters".into(),
                    expected: hex(&expected),
                    got: hex(&got),
                });
            }
        } else {
            write(&path, &self.header(id), &[(TENSOR, data)])?;
        }
        if let Err(at) = self.ids.binary_search(&id) {
            self.ids.insert(at, id);
        }
        Ok(())
    }

    /// Copies the parameters of sample `index` to `out`, checking them on the way.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] if there is no such sample, [`Error::Shape`] if `out` has not `n_params` elements, and
    /// those of [`Reader::open`]. What `out` holds after an error is unspecified.
    pub fn load(&self, index: usize, out: &mut [f32]) -> Result<()> {
        self.expect_len("buffer for parameters", out.len())?;
        let &id = self.ids.get(index).ok_or_else(|| {
            let what = format!("{}: sample index", self.folder.display());
            Error::out_of_range(what, format!("below {}", self.len()), index)
        })?;
        let mut rest = out.iter_mut();
        self.sample(id)?
            .scan(|info, bytes| copy_f32(info.dtype, bytes, &mut rest))?;
        Ok(())
    }

    /// Reads and checks all samples.
    ///
    /// # Errors
    ///
    /// Those of [`Store::load`] for the first sample that cannot be loaded.
    pub fn verify(&self) -> Result<()> {
        for &id in &self.ids {
            self.sample(id)?.scan(|_, _| ())?;
        }
        Ok(())
    }

    /// Returns the SHA-256 over the parameters of all samples in order, as little-endian f32s (bf16s widened).
    ///
    /// # Errors
    ///
    /// Those of [`Store::load`].
    pub fn hash(&self) -> Result<[u8; 32]> {
        let mut sha = Sha256::new();
        let mut widened = Vec::new();
        for &id in &self.ids {
            self.sample(id)?.scan(|info, bytes| match info.dtype {
                Dtype::Bf16 => {
                    widened.clear();
                    widened.extend(dtype::bf16s(bytes).flat_map(f32::to_le_bytes));
                    sha.update(&widened);
                }
                _ => sha.update(bytes),
            })?;
        }
        Ok(sha.finalize().into())
    }

    /// Deletes the samples for which `keep` says false, given index and identity, and returns how many those were.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with the file that could not be deleted; those behind it are then still there.
    pub fn thin(&mut self, mut keep: impl FnMut(usize, SampleId) -> bool) -> Result<usize> {
        let ids = std::mem::take(&mut self.ids);
        let mut deleted = 0;
        let mut outcome = Ok(());
        for (index, &id) in ids.iter().enumerate() {
            if outcome.is_ok() && !keep(index, id) {
                let path = self.folder.join(id.file_name());
                outcome = disk::remove(&path).map_err(Error::io(&path));
                if outcome.is_ok() {
                    deleted += 1;
                    continue;
                }
            }
            self.ids.push(id);
        }
        outcome?;
        disk::sync_folder(&self.folder).map_err(Error::io(&self.folder))?;
        Ok(deleted)
    }

    /// Keeps the last `n` samples of each chain; 0 deletes all. Returns how many were deleted.
    ///
    /// # Errors
    ///
    /// Those of [`Store::thin`].
    pub fn keep_last(&mut self, n: usize) -> Result<usize> {
        let ids = self.ids.clone();
        // Sorted by chain: a sample is among the last n if there are fewer than n behind it up to its chain's end.
        self.thin(|index, id| ids.partition_point(|other| other.chain <= id.chain) - index <= n)
    }

    /// Keeps every `k`-th sample of each chain, from its first one on. Returns how many were deleted.
    ///
    /// It counts what is there: after a crash or an error on the way, calling it again gives another spacing.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] if `k` is 0, and those of [`Store::thin`].
    pub fn keep_every(&mut self, k: usize) -> Result<usize> {
        if k == 0 {
            return Err(Error::out_of_range("thinning", "at least 1", k));
        }
        let ids = self.ids.clone();
        self.thin(|index, id| {
            (index - ids.partition_point(|o| o.chain < id.chain)).is_multiple_of(k)
        })
    }

    /// Deletes the samples of `chain` that are later than `step`, as if the run had stopped at a checkpoint there.
    /// Returns how many were deleted.
    ///
    /// # Errors
    ///
    /// Those of [`Store::thin`].
    pub fn truncate_after(&mut self, chain: u32, step: u64) -> Result<usize> {
        self.thin(|_, id| id.chain != chain || id.step <= step)
    }

    /// Opens the file of a sample of this run; its parameters are still to be checked.
    fn sample(&self, id: SampleId) -> Result<Reader> {
        let path = self.folder.join(id.file_name());
        let sample = open_sample(&path, id)?;
        compare(&path, &self.provenance, &provenance_of(&sample))?;
        expect_target(&path, self.target, target_of(&sample))?;
        Ok(sample)
    }

    fn header(&self, id: SampleId) -> Header {
        let run = self.provenance.clone();
        Header {
            config: run.config,
            model: run.model,
            seed: run.seed,
            chain: id.chain,
            step: id.step,
            corpus_sha256: run.corpus_sha256,
            baseline_sha256: run.baseline_sha256,
            vocabulary: run.vocabulary,
            counters: (self.target.iter())
                .map(|&target| (TARGET.to_owned(), target))
                .collect(),
            ..Header::new(Kind::Sample)
        }
    }

    fn expect_len(&self, what: &str, len: usize) -> Result<()> {
        if len as u64 != self.provenance.n_params {
            let what = format!("{}: {what}", self.folder.display());
            return Err(Error::shape(what, [self.provenance.n_params], [len]));
        }
        Ok(())
    }
}

impl SampleId {
    /// Returns the name of the sample's file: the chain with at least 2 digits, the step with at least 8.
    pub fn file_name(&self) -> String {
        format!("c{:02}_s{:08}.bnn", self.chain, self.step)
    }

    /// Returns the sample whose file has that name, if it is a sample's.
    pub(super) fn from_file_name(name: &str) -> Option<Self> {
        let (chain, step) = name
            .strip_prefix('c')?
            .strip_suffix(".bnn")?
            .split_once("_s")?;
        let id = Self {
            chain: chain.parse().ok()?,
            step: step.parse().ok()?,
        };
        // One name a sample: no sign, no further zeros.
        (id.file_name() == name).then_some(id)
    }
}

/// The files in a folder of samples.
pub(super) struct Listed {
    /// The samples, sorted.
    pub ids: Vec<SampleId>,
    /// What is neither a sample nor hidden nor a leftover.
    pub foreign: Vec<PathBuf>,
}

/// Lists the files in a folder of samples.
pub(super) fn listed(folder: &Path) -> Result<Listed> {
    let (mut ids, mut foreign) = (Vec::new(), Vec::new());
    for path in disk::list(folder).map_err(Error::io(folder))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name.ends_with(TEMP_SUFFIX) {
            continue;
        }
        match SampleId::from_file_name(&name) {
            Some(id) => ids.push(id),
            None => foreign.push(path),
        }
    }
    ids.sort_unstable();
    Ok(Listed { ids, foreign })
}

/// Opens a sample's file and checks its header and length.
pub(super) fn open_sample(path: &Path, id: SampleId) -> Result<Reader> {
    let reader = Reader::unscanned(path)?;
    reader.expect_kind(Kind::Sample)?;
    let header = reader.header();
    let got = SampleId {
        chain: header.chain,
        step: header.step,
    };
    if got != id {
        return Err(Error::Mismatch {
            path: path.into(),
            what: "the sample in the file".into(),
            expected: id.file_name(),
            got: got.file_name(),
        });
    }
    match reader.tensors() {
        [TensorInfo { name, dtype, .. }] if name == TENSOR && *dtype != Dtype::F64 => Ok(reader),
        tensors => Err(Error::BadHeader {
            path: path.into(),
            message: format!("expected the one tensor {TENSOR:?} of f32 or bf16, got {tensors:?}"),
        }),
    }
}

/// Returns what identifies the target of an opened sample, where its header says it.
fn target_of(sample: &Reader) -> Option<u64> {
    let counters = &sample.header().counters;
    let of = |(name, target): &(String, u64)| (name == TARGET).then_some(*target);
    counters.iter().find_map(of)
}

fn expect_target(path: &Path, expected: Option<u64>, got: Option<u64>) -> Result<()> {
    match (expected, got) {
        (Some(expected), Some(got)) if expected != got => Err(Error::Mismatch {
            path: path.into(),
            what: "the target and the settings of the chain or fit (as one number)".into(),
            expected: format!("{expected:016x}"),
            got: format!("{got:016x}"),
        }),
        _ => Ok(()),
    }
}

/// Returns the provenance in the header of an opened sample.
fn provenance_of(sample: &Reader) -> Provenance {
    let header = sample.header().clone();
    let TensorInfo { dtype, len, .. } = sample.tensors()[0];
    Provenance {
        config: header.config,
        model: header.model,
        seed: header.seed,
        corpus_sha256: header.corpus_sha256,
        baseline_sha256: header.baseline_sha256,
        vocabulary: header.vocabulary,
        dtype,
        n_params: len,
    }
}

/// Names the first difference that matters: all but the configuration's text.
fn compare(path: &Path, expected: &Provenance, got: &Provenance) -> Result<()> {
    type Field = fn(&Provenance) -> String;
    let fields: [(&str, Field); 7] = [
        ("the seed", |p| p.seed.to_string()),
        ("the model", |p| p.model.clone()),
        ("the corpus's SHA-256", |p| hex(&p.corpus_sha256)),
        ("the baseline's SHA-256", |p| hex(&p.baseline_sha256)),
        ("the vocabulary", |p| format!("{:?}", p.vocabulary)),
        ("the number of parameters", |p| p.n_params.to_string()),
        ("the data type", |p| format!("{:?}", p.dtype)),
    ];
    for (what, field) in fields {
        let (expected, got) = (field(expected), field(got));
        if expected != got {
            return Err(Error::Mismatch {
                path: path.into(),
                what: what.into(),
                expected,
                got,
            });
        }
    }
    Ok(())
}
