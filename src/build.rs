//! Gives the shared library a SONAME that carries the ABI number, so that programs bind to the ABI and not to a file name; and tells the command how it
//! was built.

/// Where the ABI number stands.
const VERSION: &str = include_str!("capi/version.rs");

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    println!("cargo::rerun-if-changed=src/capi/version.rs");
    for name in ["TARGET", "PROFILE"] {
        let value = std::env::var(name).unwrap_or_default();
        println!("cargo::rustc-env=BNN_{name}={value}");
    }
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = std::process::Command::new(rustc).arg("--version").output();
    let version = version.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    println!("cargo::rustc-env=BNN_RUSTC={}", version.unwrap_or_default());
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if os == "linux" || os == "android" || os.ends_with("bsd") {
        println!(
            "cargo::rustc-cdylib-link-arg=-Wl,-soname,libbnn.so.{}",
            abi()
        );
    }
}

/// Returns `BNN_ABI`.
fn abi() -> u32 {
    let value = VERSION.split("pub const BNN_ABI: u32 = ").nth(1);
    let digits = value.and_then(|v| v.split(';').next());
    digits
        .and_then(|d| d.parse().ok())
        .expect("src/capi/version.rs sets BNN_ABI")
}
