//! What the fuzz targets share: what an input may cost, files with their checksums mended, and the sessions whose files they read.

pub mod cost;
pub mod json_file;
pub mod numbers;
pub mod place;
pub mod sealed;
pub mod sessions;
