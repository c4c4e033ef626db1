//! Posterior samples, checkpoints and baselines on disk: append, thin, checked load.
//!
//! One container holds all kinds ([`Kind`]): a checked header, then the tensors. [`write()`] makes such a file,
//! [`Reader`] reads it, and [`Store`] keeps the samples of one run, a file each, in a folder of their own. Every
//! file appears whole or not at all ([`replace_file`]), and no byte of it is used before its checksum was compared.
//! `docs/format.md` describes the bytes.
//!
//! ```
//! use bnn::store::{Dtype, Provenance, Store};
//! # fn main() -> bnn::Result<()> {
//! # let folder = std::env::temp_dir().join(format!("bnn-store-example-{}", std::process::id()));
//! let provenance = Provenance {
//!     config: "method = \"baoa\"".into(),
//!     model: "{\"n_layer\":1}".into(),
//!     seed: 42,
//!     corpus_sha256: [0; 32],
//!     baseline_sha256: [0; 32],
//!     vocabulary: "abc".into(),
//!     dtype: Dtype::F32,
//!     n_params: 3,
//! };
//! let mut store = Store::create(folder.join("samples"), provenance.clone())?;
//! store.append(0, 100, &[0.5, -1.0, 2.0])?; // chain 0, step 100
//!
//! let store = Store::open(folder.join("samples"))?;
//! store.expect(&provenance)?;
//! let mut params = [0.0; 3];
//! store.load(0, &mut params)?;
//! assert_eq!(params, [0.5, -1.0, 2.0]);
//! # std::fs::remove_dir_all(&folder).map_err(bnn::Error::io(&folder))?;
//! # Ok(())
//! # }
//! ```

mod ahead;
mod check;
mod codec;
mod container;
mod dtype;
mod link;
mod lock;
mod reader;
mod replace;
mod safetensors;
mod samples;
mod trace;
mod trace_reader;

use sha2::{Digest, Sha256};

pub use check::{StoreCheck, keep_generation, leftovers, previous, put_aside, set_aside};
pub(crate) use check::{keep_aside, unread};
pub use container::{HEADER_MAX, Header, Kind, MAGIC, TensorInfo, VERSION, write};
pub use dtype::{Dtype, Fetch, TensorData};
pub use link::{copy_file, link_file};
pub use lock::{Attempt, FileLock, FolderLock};
pub use reader::{Reader, read_header};
pub use replace::replace_file;
pub use safetensors::{read_safetensors, write_safetensors};
pub use samples::{Provenance, SampleId, Store};
pub use trace::{
    TraceBlock, TraceEnd, TraceStart, append_trace, begin_trace, drop_previous_trace,
    previous_trace, trace_of,
};
pub use trace_reader::TraceReader;

/// Returns the SHA-256 of parameters as little-endian f32s, which is what files name a baseline by.
pub fn params_sha256(params: &[f32]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut bytes = [[0; 4]; 1024];
    for chunk in params.chunks(bytes.len()) {
        for (to, v) in bytes.iter_mut().zip(chunk) {
            *to = v.to_le_bytes();
        }
        hash.update(bytes[..chunk.len()].as_flattened());
    }
    hash.finalize().into()
}

/// How many bytes are converted, hashed and read or written at a time; a multiple of every element's size.
const CHUNK: usize = 256 * 1024;

/// A checksum as messages and reports print it.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
