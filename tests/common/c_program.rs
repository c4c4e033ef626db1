//! C programs: built against the library that cargo made for the tests, run with it, under valgrind where that is.

use super::ensure;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The folder where cargo puts libbnn.so and libbnn.a for the tests.
pub fn libraries() -> PathBuf {
    let exe = std::env::current_exe().expect("this test");
    let deps = exe.parent().expect("a folder").to_path_buf();
    assert!(
        deps.join("libbnn.so").exists(),
        "cargo builds libbnn.so with the tests"
    );
    deps
}

/// What the static library needs besides itself.
pub const STATIC: &[&str] = &["-lpthread", "-ldl", "-lm", "-lgcc_s", "-lc"];

/// Builds a program of C, or of C++ where the source's name ends so.
pub fn build(source: &Path, to: &Path, shared: bool) {
    let lib = libraries();
    let cpp = source.extension().is_some_and(|e| e == "cpp");
    let mut c = Command::new(if cpp { "g++" } else { "gcc" });
    c.args([
        if cpp { "-std=c++17" } else { "-std=c99" },
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        // Templates take a compiler long.
        if cpp { "-O0" } else { "-O1" },
        "-g",
        "-I",
    ])
    .arg(root().join("include"))
    .arg(source)
    .arg("-o")
    .arg(to);
    if shared {
        c.arg(lib.join("libbnn.so")).args(["-lm", "-lpthread"])
    } else {
        c.arg(lib.join("libbnn.a")).args(STATIC)
    };
    let out = c.output().expect("gcc and g++ are needed for this test");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// Runs a program with the library under its SONAME beside it.
pub fn run(program: &Path, before: &[&str], args: &[&str]) -> Output {
    let dir = program.parent().expect("a folder");
    let soname = dir.join(format!("libbnn.so.{}", bnn::capi::BNN_ABI));
    if !soname.exists() {
        std::os::unix::fs::symlink(libraries().join("libbnn.so"), &soname).expect("a link");
    }
    let mut all = before.to_vec();
    let name = program.to_str().expect("UTF-8");
    all.push(name);
    all.extend(args);
    Command::new(all[0])
        .args(&all[1..])
        .env("LD_LIBRARY_PATH", dir)
        .output()
        .expect("the program starts")
}

pub fn text(out: &Output) -> String {
    let words = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(out.status.success(), "{:?}: {words}", out.status);
    words
}

/// valgrind does not know AVX-512; the plain kernels are the same code.
pub const VALGRIND: &[&str] = &[
    "env",
    "BNN_ISA=portable",
    "valgrind",
    "-q",
    "--error-exitcode=99",
    "--leak-check=full",
    "--errors-for-leak-kinds=definite",
];

/// Builds one of tests/capi and runs it; where valgrind is, under it.
pub fn documented(name: &str, valgrind: bool) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    documented_in(dir.path(), name, valgrind, &[])
}

/// Builds and runs one in a folder that is looked at afterwards.
pub fn documented_in(dir: &Path, name: &str, valgrind: bool, more: &[&str]) -> String {
    let source = root().join("tests/capi").join(name);
    let source = match name {
        "cpp" => source.with_extension("cpp"),
        _ => source.with_extension("c"),
    };
    let program = dir.join(name);
    build(&source, &program, true);
    let folder = dir.to_str().expect("UTF-8");
    let before = if valgrind && ensure::has("valgrind") {
        VALGRIND
    } else {
        &[]
    };
    let args = [&[folder][..], more].concat();
    let out = text(&run(&program, before, &args));
    assert!(out.contains("all as documented"), "{out}");
    out
}
