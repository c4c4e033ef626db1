//! Reading one file, trusting no byte of it.

use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::container::{DIGEST, HEADER_MAX, Header, Kind, MAGIC, PREFIX, TensorInfo, VERSION};
use super::dtype::{self, Dtype};
use super::{CHUNK, codec, hex};
use crate::disk::{self, File};
use crate::memory;
use crate::{Error, Result};

/// Reads the header and the list of tensors of the file at `path`.
///
/// The tensors themselves are not read: of them, only the length of the file is checked.
///
/// # Errors
///
/// Those of [`Reader::open`], but for the payload's and the kind's.
pub fn read_header(path: impl AsRef<Path>) -> Result<(Header, Vec<TensorInfo>)> {
    let reader = Reader::unscanned(path.as_ref())?;
    Ok((reader.header, reader.tensors))
}

/// An open file whose every byte has been checked.
///
/// It stays on the file that it opened, also when another one is renamed into its place meanwhile.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: File,
    header: Header,
    tensors: Vec<TensorInfo>,
    /// Where the payload begins.
    payload: u64,
}

impl Reader {
    /// Opens the file at `path`, which must be of kind `expected`, and checks all of it.
    ///
    /// # Errors
    ///
    /// In the order of the checks: [`Error::Io`] (also for what is not a regular file), [`Error::BadMagic`],
    /// [`Error::BadVersion`], [`Error::BadLength`] if the file has not exactly the bytes that its lengths add up to,
    /// [`Error::BadChecksum`] of the header, [`Error::BadHeader`], [`Error::Mismatch`] of the kind,
    /// [`Error::BadChecksum`] of the payload, [`Error::Data`] if an element is NaN or infinite. Nothing is allocated
    /// for a length before it is known to fit the file.
    pub fn open(path: impl AsRef<Path>, expected: Kind) -> Result<Self> {
        let mut reader = Self::unscanned(path.as_ref())?;
        reader.expect_kind(expected)?;
        reader.scan(|_, _| ())?;
        Ok(reader)
    }

    /// Opens the file and checks its header and its length; for the payload there is [`Reader::scan`].
    pub(super) fn unscanned(path: &Path) -> Result<Self> {
        let io = || Error::io(path);
        // Asked before opening, which would wait for a writer on a pipe.
        if !disk::metadata(path).map_err(io())?.is_file() {
            let reason = std::io::Error::new(ErrorKind::InvalidInput, "not a regular file");
            return Err(io()(reason));
        }
        let mut file = File::open(path).map_err(io())?;
        let size = file.len().map_err(io())?;
        let bad_length = |what: &str, expected| Error::BadLength {
            path: path.into(),
            what: what.into(),
            expected,
            got: size,
        };
        let bad_header = |message| Error::BadHeader {
            path: path.into(),
            message,
        };

        let mut head = Vec::new();
        file.by_ref()
            .take(PREFIX)
            .read_to_end(&mut head)
            .map_err(io())?;
        if !head.starts_with(&MAGIC) {
            head.truncate(MAGIC.len());
            return Err(Error::BadMagic {
                path: path.into(),
                expected: MAGIC,
                got: head,
            });
        }
        let version = head[8..]
            .first_chunk()
            .map(|b| u32::from_le_bytes(*b))
            .ok_or_else(|| bad_length("format version", 12))?;
        if version != VERSION {
            return Err(Error::BadVersion {
                path: path.into(),
                expected: VERSION,
                got: version,
            });
        }
        let header_len = head[12..]
            .first_chunk()
            .map(|b| u64::from_le_bytes(*b))
            .ok_or_else(|| bad_length("header length", PREFIX))?;

        let payload = header_len.saturating_add(PREFIX + DIGEST);
        if payload.saturating_add(DIGEST) > size {
            return Err(bad_length("header", payload.saturating_add(DIGEST)));
        }
        if header_len > HEADER_MAX {
            let message =
                format!("its header takes {header_len} bytes, at most {HEADER_MAX} are read");
            return Err(bad_header(message));
        }
        memory::resize(
            &mut head,
            (PREFIX + header_len) as usize,
            0,
            "a file's header",
        )?;
        file.read_exact(&mut head[PREFIX as usize..])
            .map_err(io())?;
        let mut stored = [0; DIGEST as usize];
        file.read_exact(&mut stored).map_err(io())?;
        check_digest(path, "header", stored, Sha256::digest(&head).into())?;

        let (header, tensors) = codec::decode(&head[PREFIX as usize..]).map_err(bad_header)?;
        let expected = tensors
            .iter()
            .try_fold(payload + DIGEST, |sum, t| {
                t.len.checked_mul(t.dtype.size())?.checked_add(sum)
            })
            .unwrap_or(u64::MAX);
        if expected != size {
            return Err(bad_length("header and tensors", expected));
        }
        Ok(Self {
            path: path.into(),
            file,
            header,
            tensors,
            payload,
        })
    }

    /// Refuses another kind than `expected`.
    pub(super) fn expect_kind(&self, expected: Kind) -> Result<()> {
        if self.header.kind != expected {
            return Err(self.mismatch(
                "the file's kind",
                format!("{expected:?}"),
                format!("{:?}", self.header.kind),
            ));
        }
        Ok(())
    }

    /// Reads the payload once, in order, and checks it; `visit` gets each chunk with its tensor and must trust
    /// nothing before `scan` has returned. Returns the payload's SHA-256.
    pub(super) fn scan(&mut self, mut visit: impl FnMut(&TensorInfo, &[u8])) -> Result<[u8; 32]> {
        self.seek(self.payload)?;
        let mut sha = Sha256::new();
        let mut non_finite = None;
        for info in &self.tensors {
            let mut first = 0;
            chunks(&self.path, &mut self.file, info.bytes(), |bytes| {
                sha.update(bytes);
                if non_finite.is_none() {
                    let found = info.dtype.first_non_finite(bytes);
                    non_finite = found.map(|(at, x)| (&info.name, first + at, x));
                }
                visit(info, bytes);
                first += bytes.len() / info.dtype.size() as usize;
                Ok(())
            })?;
        }
        let mut stored = [0; DIGEST as usize];
        let end = self.file.read_exact(&mut stored);
        end.map_err(Error::io(&self.path))?;
        let digest = sha.finalize().into();
        check_digest(&self.path, "payload", stored, digest)?;
        // Only now: in a damaged file, the damage is the reason to report.
        match non_finite {
            Some((name, at, x)) => Err(Error::data(
                format!("{}: tensor {name:?}, element {at}", self.path.display()),
                format!("expected a finite number, got {x}"),
            )),
            None => Ok(digest),
        }
    }

    /// Returns the file's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the file's tensors, in the order in which they are stored.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// Returns the tensor of that name.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if there is none.
    pub fn tensor(&self, name: &str) -> Result<&TensorInfo> {
        let names = || self.tensors.iter().map(|t| &t.name);
        let at = names().position(|n| n == name);
        at.map(|at| &self.tensors[at])
            .ok_or_else(|| self.missing("tensor", name, names().collect()))
    }

    /// Returns the scalar of that name.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if there is none.
    pub fn scalar(&self, name: &str) -> Result<f64> {
        self.named("scalar", name, &self.header.scalars)
    }

    /// Returns the counter of that name.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if there is none.
    pub fn counter(&self, name: &str) -> Result<u64> {
        self.named("counter", name, &self.header.counters)
    }

    /// Copies the tensor `name`, stored as f32 or bf16, to `out`.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if there is no such tensor or it holds f64s, [`Error::Shape`] if `out` has not its
    /// length, [`Error::Io`]. What `out` holds after an error is unspecified.
    pub fn read_f32(&mut self, name: &str, out: &mut [f32]) -> Result<()> {
        let info = self.locate(name, &[Dtype::F32, Dtype::Bf16], out.len())?;
        let mut rest = out.iter_mut();
        chunks(&self.path, &mut self.file, info.bytes(), |bytes| {
            copy_f32(info.dtype, bytes, &mut rest);
            Ok(())
        })
    }

    /// Copies the tensor `name`, stored as f64, to `out`.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::read_f32`], with f64 expected.
    pub fn read_f64(&mut self, name: &str, out: &mut [f64]) -> Result<()> {
        let info = self.locate(name, &[Dtype::F64], out.len())?;
        let mut rest = out.iter_mut();
        chunks(&self.path, &mut self.file, info.bytes(), |bytes| {
            dtype::f64s(bytes)
                .zip(&mut rest)
                .for_each(|(x, to)| *to = x);
            Ok(())
        })
    }

    /// Goes to the first element of the tensor `name`, once its type and length are known to fit.
    fn locate(&mut self, name: &str, dtypes: &[Dtype], len: usize) -> Result<TensorInfo> {
        let info = self.tensor(name)?.clone();
        if !dtypes.contains(&info.dtype) {
            let what = format!("the data type of tensor {name:?}");
            let (expected, got) = (format!("one of {dtypes:?}"), format!("{:?}", info.dtype));
            return Err(self.mismatch(what, expected, got));
        }
        if info.len != len as u64 {
            let what = format!("{}: buffer for tensor {name:?}", self.path.display());
            return Err(Error::shape(what, [info.len], [len]));
        }
        // No overflow: these are the lengths that added up to the file's.
        let before = self.tensors.iter().take_while(|t| t.name != name);
        let offset: u64 = before.map(|t| t.len * t.dtype.size()).sum();
        self.seek(self.payload + offset)?;
        Ok(info)
    }

    fn seek(&mut self, at: u64) -> Result<()> {
        let sought = self.file.seek(SeekFrom::Start(at));
        sought.map(drop).map_err(Error::io(&self.path))
    }

    fn named<T: Copy>(&self, what: &str, name: &str, list: &[(String, T)]) -> Result<T> {
        let found = list.iter().find(|(n, _)| n == name);
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| self.missing(what, name, list.iter().map(|(n, _)| n).collect()))
    }

    fn missing(&self, what: &str, name: &str, names: Vec<&String>) -> Error {
        let expected = format!("one that includes {name:?}");
        self.mismatch(
            format!("the list of {what}s"),
            expected,
            format!("{names:?}"),
        )
    }

    fn mismatch(&self, what: impl Into<String>, expected: String, got: String) -> Error {
        Error::Mismatch {
            path: self.path.clone(),
            what: what.into(),
            expected,
            got,
        }
    }
}

/// Widens a chunk of stored f32s or bf16s to the next elements of `out`.
pub(super) fn copy_f32(dtype: Dtype, bytes: &[u8], out: &mut std::slice::IterMut<f32>) {
    match dtype {
        Dtype::Bf16 => dtype::bf16s(bytes).zip(out).for_each(|(x, to)| *to = x),
        _ => dtype::f32s(bytes).zip(out).for_each(|(x, to)| *to = x),
    }
}

/// Reads so many bytes from where `file` stands, at most [`CHUNK`] at a time.
pub(super) fn chunks(
    path: &Path,
    file: &mut File,
    bytes: u64,
    mut visit: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut rest = bytes;
    let mut buffer = memory::zeros(rest.min(CHUNK as u64) as usize, "the buffer of a file")?;
    while rest > 0 {
        let bytes = &mut buffer[..rest.min(CHUNK as u64) as usize];
        file.read_exact(bytes).map_err(Error::io(path))?;
        visit(bytes)?;
        rest -= bytes.len() as u64;
    }
    Ok(())
}

fn check_digest(path: &Path, what: &str, stored: [u8; 32], computed: [u8; 32]) -> Result<()> {
    if stored != computed {
        return Err(Error::BadChecksum {
            path: path.into(),
            what: what.into(),
            expected: hex(&stored),
            got: hex(&computed),
        });
    }
    Ok(())
}
