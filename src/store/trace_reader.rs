//! Reading a trace file as far as a checkpoint names it, trusting no byte and no length of it.

use super::dtype::{self, Dtype};
use super::hex;
use super::reader::chunks;
use super::trace::{
    BLOCK_HEAD, DIGEST, HEAD, MAGIC, NAME_MAX, NAMED, SERIES_MAX, TraceEnd, VERSION, code, open,
};
use crate::disk::File;
use crate::memory;
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A trace file whose every byte up to a checkpoint's end has been checked. Its values are read when they are asked for, one series at a time.
#[derive(Debug)]
pub struct TraceReader {
    path: PathBuf,
    file: File,
    end: TraceEnd,
    /// Each series with the number of its values.
    series: Vec<(String, Dtype, u64)>,
}

/// One series' values in one block.
struct Part<'a> {
    name: &'a str,
    dtype: Dtype,
    len: u64,
}

/// What is wrong in a block.
enum Wrong {
    /// It could not be read.
    Unread(Error),
    /// Its bytes are not those that were written.
    Bytes(String),
}

impl From<Error> for Wrong {
    fn from(e: Error) -> Self {
        Self::Unread(e)
    }
}

impl TraceReader {
    /// Opens the trace file at `path` and checks all of it that belongs to `end`; `identity` names the chain that it must be of, where that is known.
    ///
    /// # Errors
    /// [`Error::Data`] when the file is not there, is another chain's, or does not hold every block up to `end`, with what is lost;
    /// [`Error::BadMagic`], [`Error::BadVersion`] and [`Error::Io`]. Nothing is allocated for a length before it is known to fit the file.
    pub fn open(path: &Path, identity: Option<[u8; 32]>, end: &TraceEnd) -> Result<Self> {
        let (mut file, size) = open(path)?;
        let mut sha256 = read_head(path, &mut file, identity)?;
        let (mut at, mut blocks, mut steps) = (HEAD, 0, 0);
        while at < end.bytes && blocks < end.blocks {
            let room = size.min(end.bytes) - at.min(size);
            match check_block(path, &mut file, room, &sha256) {
                Ok((length, to, sha)) => (at, steps, sha256) = (at + length, to, sha),
                Err(Wrong::Unread(e)) => return Err(e),
                Err(Wrong::Bytes(why)) => {
                    return Err(lost(path, (blocks, end.blocks), steps, &why));
                }
            }
            blocks += 1;
        }
        if (at, blocks, sha256) != (end.bytes, end.blocks, end.sha256) {
            let message = format!(
                "its blocks are whole, but not those that the checkpoint names: expected {} bytes with the checksum {}, found {at} with {}; \
                 it was saved with another checkpoint",
                end.bytes,
                hex(&end.sha256),
                hex(&sha256)
            );
            return Err(Error::data(path.display().to_string(), message));
        }
        let mut reader = Self {
            path: path.into(),
            file,
            end: *end,
            series: Vec::new(),
        };
        reader.list()?;
        Ok(reader)
    }

    /// Returns how many values there are of a series.
    pub fn len(&self, name: &str) -> u64 {
        let found = self.series.iter().find(|(n, ..)| n == name);
        found.map_or(0, |(.., len)| *len)
    }

    /// Returns the last `last` values of a series of doubles.
    ///
    /// # Errors
    /// [`Error::BadHeader`] when there are fewer or they are no doubles; [`Error::Data`] for one that is not finite; [`Error::Io`].
    pub fn read_f64(&mut self, name: &str, last: u64) -> Result<Vec<f64>> {
        self.read(name, Dtype::F64, last, |bytes, to| {
            to.extend(dtype::f64s(bytes));
        })
    }

    /// Returns the last `last` values of a series of singles.
    ///
    /// # Errors
    /// Returns the errors of [`TraceReader::read_f64`].
    pub fn read_f32(&mut self, name: &str, last: u64) -> Result<Vec<f32>> {
        self.read(name, Dtype::F32, last, |bytes, to| {
            to.extend(dtype::f32s(bytes));
        })
    }

    fn read<T>(
        &mut self,
        name: &str,
        dtype: Dtype,
        last: u64,
        take: impl Fn(&[u8], &mut Vec<T>),
    ) -> Result<Vec<T>> {
        let found = self.series.iter().find(|(n, ..)| n == name);
        let is = found.map_or((dtype, 0), |(_, d, len)| (*d, *len));
        let Some(mut skip) = is.1.checked_sub(last).filter(|_| is.0 == dtype) else {
            let message = format!(
                "series {name:?}: expected {last} values or more as {dtype:?}, found {} as {:?}",
                is.1, is.0
            );
            return Err(self.bad(message));
        };
        // No more than the file has bytes: its blocks were checked against its size.
        let mut values = memory::room(last as usize, "a series of a trace")?;
        let path = self.path.clone();
        self.parts(|file, part| {
            if part.name != name {
                return Ok(());
            }
            let over = skip.min(part.len);
            skip -= over;
            let passed = (over * dtype.size()) as i64;
            file.seek(SeekFrom::Current(passed))
                .map_err(Error::io(&path))?;
            chunks(&path, file, (part.len - over) * dtype.size(), |bytes| {
                if let Some((_, x)) = dtype.first_non_finite(bytes) {
                    let place = format!("{}: series {name:?}", path.display());
                    let message = format!("expected finite numbers, got {x}");
                    return Err(Error::data(place, message));
                }
                take(bytes, &mut values);
                Ok(())
            })
        })?;
        Ok(values)
    }

    /// Counts the values of each series.
    fn list(&mut self) -> Result<()> {
        let mut series: Vec<(String, Dtype, u64)> = Vec::new();
        let path = self.path.clone();
        self.parts(|_, part| {
            let known = series.len();
            match series.iter_mut().find(|(n, ..)| n == part.name) {
                Some((_, dtype, len)) if *dtype == part.dtype => *len += part.len,
                Some((name, dtype, _)) => {
                    let message = format!(
                        "series {name:?}: expected {dtype:?} in every block, found {:?}",
                        part.dtype
                    );
                    return Err(Error::BadHeader {
                        path: path.clone(),
                        message,
                    });
                }
                None if known == SERIES_MAX => {
                    return Err(Error::BadHeader {
                        path: path.clone(),
                        message: format!("expected at most {SERIES_MAX} series, found more"),
                    });
                }
                None => {
                    let new = (part.name.to_owned(), part.dtype, part.len);
                    memory::push(&mut series, new, "the series of a trace")?;
                }
            }
            Ok(())
        })?;
        self.series = series;
        Ok(())
    }

    /// Visits every series of every block in order, with the file at its first value.
    fn parts(&mut self, mut visit: impl FnMut(&mut File, &Part<'_>) -> Result<()>) -> Result<()> {
        let mut at = HEAD;
        while at < self.end.bytes {
            let head = self.numbers::<3>(at)?;
            let (mut next, end) = (at + BLOCK_HEAD, at + BLOCK_HEAD + head[0]);
            while next < end {
                let (name, dtype, len, values) = self.part(next, end)?;
                self.seek(values)?;
                let part = Part {
                    name: &name,
                    dtype,
                    len,
                };
                visit(&mut self.file, &part)?;
                next = values + len * dtype.size();
            }
            at = end + DIGEST;
        }
        Ok(())
    }

    /// Reads a series' name, type and length at `at` in a payload that ends at `end`; its values begin at the place that comes last.
    fn part(&mut self, at: u64, end: u64) -> Result<(String, Dtype, u64, u64)> {
        let room = end - at;
        let name = match room >= 8 {
            true => self.numbers::<1>(at)?[0],
            false => u64::MAX,
        };
        if name == 0 || name > NAME_MAX || room < 20 + name {
            return Err(self.bad(format!(
                "the block's series at byte {at}: expected a name of 1 to {NAME_MAX} bytes in the {room} that are left, found a length of {name}"
            )));
        }
        let mut bytes = [0; NAME_MAX as usize];
        let bytes = &mut bytes[..name as usize];
        let mut code_of = [0; 4];
        self.fill(bytes)?;
        self.fill(&mut code_of)?;
        let len = self.numbers::<1>(at + 12 + name)?[0];
        let code_of = u32::from_le_bytes(code_of);
        let dtype = [Dtype::F32, Dtype::F64]
            .into_iter()
            .find(|d| code(*d) == code_of);
        let name_of = std::str::from_utf8(bytes).ok().map(str::to_owned);
        let (Some(name_of), Some(dtype)) = (name_of, dtype) else {
            let message = format!(
                "the block's series at byte {at}: expected a name in UTF-8 and the type 0 or 2, found the type {code_of}"
            );
            return Err(self.bad(message));
        };
        let fits = len.checked_mul(dtype.size());
        if fits.is_none_or(|bytes| bytes > room - 20 - name) {
            return Err(self.bad(format!(
                "series {name_of:?} at byte {at}: expected values in the {} bytes that are left of the block, found {len} of {} bytes",
                room - 20 - name,
                dtype.size()
            )));
        }
        Ok((name_of, dtype, len, at + 20 + name))
    }

    fn numbers<const N: usize>(&mut self, at: u64) -> Result<[u64; N]> {
        self.seek(at)?;
        let mut numbers = [0; N];
        for n in &mut numbers {
            let mut bytes = [0; 8];
            self.fill(&mut bytes)?;
            *n = u64::from_le_bytes(bytes);
        }
        Ok(numbers)
    }

    fn seek(&mut self, at: u64) -> Result<()> {
        let sought = self.file.seek(SeekFrom::Start(at));
        sought.map(drop).map_err(Error::io(&self.path))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        (self.file.read_exact(bytes)).map_err(Error::io(&self.path))
    }

    fn bad(&self, message: String) -> Error {
        Error::BadHeader {
            path: self.path.clone(),
            message,
        }
    }
}

/// Checks a file's header and returns its checksum.
fn read_head(path: &Path, file: &mut File, identity: Option<[u8; 32]>) -> Result<[u8; 32]> {
    let mut head = Vec::new();
    file.by_ref()
        .take(HEAD)
        .read_to_end(&mut head)
        .map_err(Error::io(path))?;
    if !head.starts_with(&MAGIC) {
        head.truncate(MAGIC.len());
        return Err(Error::BadMagic {
            path: path.into(),
            expected: MAGIC,
            got: head,
        });
    }
    let Some((named, stored)) = head.split_at_checked(NAMED as usize) else {
        return Err(lost(path, (0, 0), 0, "its header is cut off"));
    };
    let sha256: [u8; 32] = Sha256::digest(named).into();
    if stored != sha256 {
        return Err(lost(path, (0, 0), 0, "the checksum of its header is wrong"));
    }
    let version = u32::from_le_bytes([named[8], named[9], named[10], named[11]]);
    if version != VERSION {
        return Err(Error::BadVersion {
            path: path.into(),
            expected: VERSION,
            got: version,
        });
    }
    match identity {
        Some(of) if of != named[12..] => {
            let message = "it is the trace of another chain: another model, text, seed, number of the chain, or other settings";
            Err(Error::data(path.display().to_string(), message))
        }
        _ => Ok(sha256),
    }
}

/// Checks the block at which the file stands, given the bytes that are left and the checksum before it; returns its length, the steps made at its
/// end, and its checksum.
fn check_block(
    path: &Path,
    file: &mut File,
    room: u64,
    before: &[u8; 32],
) -> std::result::Result<(u64, u64, [u8; 32]), Wrong> {
    let short = |needs: u64| Wrong::Bytes(format!("it needs {needs} bytes, and {room} are left"));
    if room < BLOCK_HEAD + DIGEST {
        return Err(short(BLOCK_HEAD + DIGEST));
    }
    let mut head = [0; BLOCK_HEAD as usize];
    file.read_exact(&mut head).map_err(Error::io(path))?;
    let number = |at: usize| {
        let bytes = head[at..].first_chunk().expect("24 bytes have three");
        u64::from_le_bytes(*bytes)
    };
    let (payload, to) = (number(0), number(16));
    let length = payload.saturating_add(BLOCK_HEAD + DIGEST);
    if length > room {
        return Err(short(length));
    }
    let mut sha = Sha256::new_with_prefix(before);
    sha.update(head);
    chunks(path, file, payload, |bytes| {
        sha.update(bytes);
        Ok(())
    })?;
    let mut stored = [0; DIGEST as usize];
    file.read_exact(&mut stored).map_err(Error::io(path))?;
    let sha256: [u8; 32] = sha.finalize().into();
    if stored == sha256 {
        Ok((length, to, sha256))
    } else {
        let (is, want) = (hex(&sha256), hex(&stored));
        Err(Wrong::Bytes(format!("its checksum is {is}, not {want}")))
    }
}

/// Says from where on a trace is lost.
fn lost(path: &Path, (block, of): (u64, u64), steps: u64, why: &str) -> Error {
    let message = match of {
        0 => format!("{why}: every series in it is lost"),
        of => format!(
            "block {} of {of} is damaged or cut off ({why}): the series after step {steps} are lost",
            block + 1
        ),
    };
    Error::data(path.display().to_string(), message)
}
