//! Parts of a machine that some tests need. A test skips what a missing part would serve, and fails where `BNN_ENSURE` names that part.
#![allow(dead_code)] // no test file uses all of it

use bnn::backend::cpu::Isa;
use std::process::Command;

/// A part's name, and how it is found.
type Part = (&'static str, fn() -> bool);

/// Every part that `BNN_ENSURE` may name.
const PARTS: [Part; 8] = [
    ("avx2", || Isa::named("avx2").is_ok()),
    ("avx512", || Isa::named("avx512").is_ok()),
    ("avx512_bf16", || Isa::all().into_iter().any(Isa::has_bf16)),
    ("amx", || Isa::named("amx").is_ok()),
    ("thp", || {
        std::fs::exists("/sys/kernel/mm/transparent_hugepage").is_ok_and(|there| there)
    }),
    ("valgrind", || runs("valgrind", &["--version"])),
    ("python", || runs("python3", &["-c", "import ctypes"])),
    ("nightly", || {
        runs("cargo", &["+nightly", "miri", "--version"])
    }),
];

fn runs(program: &str, args: &[&str]) -> bool {
    let out = Command::new(program).args(args).output();
    out.is_ok_and(|out| out.status.success())
}

/// The parts in a list separated by commas; an unknown word is an error that names the known ones.
pub fn parse(list: &str) -> Result<Vec<&'static str>, String> {
    let known = PARTS.map(|(name, _)| name);
    let words = list.split(',').map(str::trim).filter(|w| !w.is_empty());
    words
        .map(|word| {
            let part = known.into_iter().find(|name| *name == word);
            part.ok_or_else(|| format!("expected words of {}, got {word}", known.join(", ")))
        })
        .collect()
}

/// The parts that must be there.
pub fn ensured() -> Vec<&'static str> {
    let list = std::env::var("BNN_ENSURE").unwrap_or_default();
    parse(&list).unwrap_or_else(|e| panic!("BNN_ENSURE: {e}"))
}

/// Whether the machine has a part.
///
/// # Panics
/// When it does not, and `BNN_ENSURE` names the part.
pub fn has(part: &str) -> bool {
    let found = PARTS.iter().find(|(name, _)| *name == part);
    let (_, find) = found.expect("a known part");
    let ensured = ensured().contains(&part);
    let here = find();
    assert!(
        here || !ensured,
        "BNN_ENSURE names {part}, which this machine does not have"
    );
    if !here {
        eprintln!(
            "{part} is missing: what needs it was skipped (BNN_ENSURE={part} makes this a failure)"
        );
    }
    here
}

/// Every instruction set of this machine, the plainest first.
pub fn every_isa() -> Vec<Isa> {
    for part in ["avx2", "avx512", "amx"] {
        has(part);
    }
    Isa::all()
}
