//! Version numbers, as macros and at run time.

use std::ffi::c_char;

/// Major version of the header.
pub const BNN_VERSION_MAJOR: u32 = 0;
/// Minor version of the header.
pub const BNN_VERSION_MINOR: u32 = 1;
/// Patch version of the header.
pub const BNN_VERSION_PATCH: u32 = 0;
/// Number of the binary interface; the shared library's SONAME carries it. Every released change that breaks callers changes it; functions, options,
/// rows of reports and status values may be added without that.
pub const BNN_ABI: u32 = 5;
/// Grows with every addition under one BNN_ABI. A program runs with a library where bnn_abi() == BNN_ABI and bnn_abi_minor() >= BNN_ABI_MINOR.
pub const BNN_ABI_MINOR: u32 = 1;

/// Returns major * 1000000 + minor * 1000 + patch of the library that is linked. Never fails.
#[unsafe(no_mangle)]
pub extern "C" fn bnn_version_number() -> u32 {
    BNN_VERSION_MAJOR * 1_000_000 + BNN_VERSION_MINOR * 1_000 + BNN_VERSION_PATCH
}

/// Returns BNN_ABI of the library that is linked. Never fails.
#[unsafe(no_mangle)]
pub extern "C" fn bnn_abi() -> u32 {
    BNN_ABI
}

/// Returns BNN_ABI_MINOR of the library that is linked. Never fails.
#[unsafe(no_mangle)]
pub extern "C" fn bnn_abi_minor() -> u32 {
    BNN_ABI_MINOR
}

/// Returns the version as text, such as "0.1.0": static, NUL-terminated, not to be freed. Never fails.
#[unsafe(no_mangle)]
pub extern "C" fn bnn_version_string() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
