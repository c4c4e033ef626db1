//! Series that grow with a chain, in a file beside its checkpoint: blocks that are only ever appended, each with a checksum over all before it.

use super::dtype::{Dtype, TensorData};
use super::reader::chunks;
use super::replace::replace_file;
use crate::disk::{self, File};
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The first bytes of every trace file.
pub(super) const MAGIC: [u8; 8] = *b"BNNTRACE";
/// The version of the form that this build writes and reads.
pub(super) const VERSION: u32 = 1;
/// Bytes of magic, version and identity.
pub(super) const NAMED: u64 = 44;
/// Bytes of the file's header, with its checksum.
pub(super) const HEAD: u64 = NAMED + DIGEST;
/// Bytes of a block before its payload: the payload's length, the steps made before the block and after it.
pub(super) const BLOCK_HEAD: u64 = 24;
/// Bytes of a checksum.
pub(super) const DIGEST: u64 = 32;
/// The most bytes that a series' name takes.
pub(super) const NAME_MAX: u64 = 255;
/// The most series in a file: more would be a forger's.
pub(super) const SERIES_MAX: usize = 64;

/// How much of a trace file belongs to a checkpoint, and its last checksum, which is one over all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceEnd {
    /// Bytes from the file's beginning.
    pub bytes: u64,
    /// Blocks in them.
    pub blocks: u64,
    /// The checksum of the last block.
    pub sha256: [u8; 32],
}

/// What the steps between two checkpoints add to a trace file.
#[derive(Clone, Copy, Debug)]
pub struct TraceBlock<'a> {
    /// Steps that the chain had made before them.
    pub from: u64,
    /// Steps that it has made now.
    pub to: u64,
    /// The values of each series.
    pub series: &'a [(&'a str, TensorData<'a>)],
}

/// Where the first bytes of a trace file come from that is made anew.
#[derive(Clone, Copy, Debug)]
pub enum TraceStart<'a> {
    /// It begins with its first block; this names the chain.
    Chain([u8; 32]),
    /// It begins with a copy of so much of another one.
    Copy(&'a Path, TraceEnd),
}

/// Returns where the trace of a checkpoint lies: beside `x.bnn`, and beside the generation `x.previous.bnn` before it, in `x.trace`. A name that ends
/// otherwise has `.trace` added.
pub fn trace_of(checkpoint: &Path) -> PathBuf {
    let name = checkpoint.file_name().unwrap_or_default().to_os_string();
    let text = name.to_string_lossy();
    let stem = [".previous.bnn", ".bnn"]
        .into_iter()
        .find_map(|end| text.strip_suffix(end));
    match stem {
        Some(stem) => checkpoint.with_file_name(format!("{stem}.trace")),
        None => {
            let mut name = name;
            name.push(".trace");
            checkpoint.with_file_name(name)
        }
    }
}

/// Returns where the trace is kept that another chain's has replaced at `trace`, for the checkpoint that names it.
pub fn previous_trace(trace: &Path) -> PathBuf {
    trace.with_extension("previous.trace")
}

/// Cuts a trace file to `end`, appends a block, and makes it durable.
///
/// # Errors
/// [`Error::Data`] when the file is not there, or does not hold `end`; [`Error::Io`]; [`Error::NotFinite`] for a value that is not. What is behind
/// `end` after an error is no part of it.
pub fn append_trace(path: &Path, end: &TraceEnd, block: &TraceBlock<'_>) -> Result<TraceEnd> {
    let mut file = File::update(path).map_err(|e| missing(path, e))?;
    let size = file.len().map_err(Error::io(path))?;
    let mut last = [0; DIGEST as usize];
    if size >= end.bytes && end.bytes >= HEAD {
        let at = SeekFrom::Start(end.bytes - DIGEST);
        file.seek(at).map_err(Error::io(path))?;
        file.read_exact(&mut last).map_err(Error::io(path))?;
    }
    if last != end.sha256 {
        let message = format!(
            "expected the {} bytes of series that this chain has saved there, found another file's or fewer: does another program save to the same path? \
             Save to another path",
            end.bytes
        );
        return Err(Error::data(path.display().to_string(), message));
    }
    file.cut(end.bytes).map_err(Error::io(path))?;
    file.seek(SeekFrom::End(0)).map_err(Error::io(path))?;
    let end = put_block(path, &mut file, end, block)?;
    file.sync().map_err(Error::io(path))?;
    Ok(end)
}

/// Makes a trace file at `path`, whole or not at all. What was there is kept as [`previous_trace`], since a checkpoint may name it, but where the copy
/// is of that.
///
/// # Errors
/// Returns the errors of [`append_trace`] and [`replace_file`].
pub fn begin_trace(
    path: &Path,
    start: &TraceStart<'_>,
    block: Option<&TraceBlock<'_>>,
) -> Result<TraceEnd> {
    let kept = previous_trace(path);
    let from_kept = matches!(start, TraceStart::Copy(from, _) if *from == kept);
    let mut end = None;
    let mut fill = |file: &mut File| {
        let first = match start {
            TraceStart::Chain(identity) => put_head(path, file, identity)?,
            TraceStart::Copy(from, end) => copy(from, end, path, file)?,
        };
        end = Some(match block {
            Some(block) => put_block(path, file, &first, block)?,
            None => first,
        });
        if !from_kept && disk::exists(path).map_err(Error::io(path))? {
            disk::rename(path, &kept).map_err(Error::io(path))?;
        }
        Ok(())
    };
    replace_file(path, &mut fill)?;
    end.ok_or_else(|| Error::data(path.display().to_string(), "nothing was written"))
}

/// Removes what [`begin_trace`] kept, once no checkpoint names it.
///
/// # Errors
/// [`Error::Io`], but where there is none.
pub fn drop_previous_trace(path: &Path) -> Result<()> {
    let kept = previous_trace(path);
    match disk::remove(&kept) {
        Ok(()) => {
            let folder = disk::folder_of(path);
            disk::sync_folder(folder).map_err(Error::io(folder))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io(&kept)(e)),
    }
}

/// Opens a trace file for reading, with its size.
pub(super) fn open(path: &Path) -> Result<(File, u64)> {
    // Asked before opening, which would wait for a writer on a pipe.
    if !disk::metadata(path)
        .map_err(|e| missing(path, e))?
        .is_file()
    {
        let reason = std::io::Error::new(ErrorKind::InvalidInput, "not a regular file");
        return Err(Error::io(path)(reason));
    }
    let file = File::open(path).map_err(|e| missing(path, e))?;
    let size = file.len().map_err(Error::io(path))?;
    Ok((file, size))
}

/// Says that a file is missing, where that is why it cannot be opened.
fn missing(path: &Path, e: std::io::Error) -> Error {
    if e.kind() != ErrorKind::NotFound {
        return Error::io(path)(e);
    }
    let message = "there is no such file, and the checkpoint's series are in it";
    Error::data(path.display().to_string(), message)
}

/// Writes a file's header.
fn put_head(path: &Path, file: &mut File, identity: &[u8; 32]) -> Result<TraceEnd> {
    let mut head = Vec::with_capacity(HEAD as usize);
    head.extend(MAGIC);
    head.extend(VERSION.to_le_bytes());
    head.extend(identity);
    let sha256 = Sha256::digest(&head).into();
    head.extend(sha256);
    file.write_all(&head).map_err(Error::io(path))?;
    Ok(TraceEnd {
        bytes: HEAD,
        blocks: 0,
        sha256,
    })
}

/// Writes a block behind `end`, where the file stands.
fn put_block(
    path: &Path,
    file: &mut File,
    end: &TraceEnd,
    block: &TraceBlock<'_>,
) -> Result<TraceEnd> {
    let payload: u64 = block.series.iter().map(|(name, v)| length(name, v)).sum();
    let mut sha = Sha256::new_with_prefix(end.sha256);
    let mut put = |bytes: &[u8]| {
        sha.update(bytes);
        file.write_all(bytes).map_err(Error::io(path))
    };
    for number in [payload, block.from, block.to] {
        put(&number.to_le_bytes())?;
    }
    for (name, values) in block.series {
        put(&(name.len() as u64).to_le_bytes())?;
        put(name.as_bytes())?;
        put(&code(values.dtype()).to_le_bytes())?;
        put(&(values.len() as u64).to_le_bytes())?;
        values.encode(block.to, name, &mut put)?;
    }
    let sha256: [u8; 32] = sha.finalize().into();
    file.write_all(&sha256).map_err(Error::io(path))?;
    Ok(TraceEnd {
        bytes: end.bytes + BLOCK_HEAD + payload + DIGEST,
        blocks: end.blocks + 1,
        sha256,
    })
}

/// Copies so much of a trace file whose blocks are checked on the way.
fn copy(from: &Path, end: &TraceEnd, path: &Path, to: &mut File) -> Result<TraceEnd> {
    super::trace_reader::TraceReader::open(from, None, end)?;
    let (mut file, _) = open(from)?;
    chunks(from, &mut file, end.bytes, |bytes| {
        to.write_all(bytes).map_err(Error::io(path))
    })?;
    Ok(*end)
}

/// Bytes that a series takes in a block.
fn length(name: &str, values: &TensorData<'_>) -> u64 {
    8 + name.len() as u64 + 4 + 8 + values.len() as u64 * values.dtype().size()
}

/// The number of a data type, as the container has it.
pub(super) const fn code(dtype: Dtype) -> u32 {
    match dtype {
        Dtype::F32 => 0,
        Dtype::Bf16 => 1,
        Dtype::F64 => 2,
    }
}
