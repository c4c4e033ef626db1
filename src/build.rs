//! Gives the shared library a SONAME that carries the ABI number, so that programs bind to the ABI and not to a file name.

/// Keep equal to `BNN_ABI` in `src/capi/version.rs`; `tests/capi.rs` compares the built library with it.
const ABI: u32 = 4;

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if os == "linux" || os == "android" || os.ends_with("bsd") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libbnn.so.{ABI}");
    }
}
