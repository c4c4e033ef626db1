//! `bnn verify` on the reference files of a GPT: passes on every instruction set, and sees one changed value.
#![cfg(feature = "cli")]

mod common;

use bnn::backend::{Cpu, GemmPrecision, Precision};
use bnn::gpt::{Gpt, GptConfig};
use bnn::run::verify::verify_file;
use common::model::TOLERANCE;
use common::{Reference, data, every_cpu};

const FIXTURES: [&str; 3] = [
    "gpt_tiny.safetensors",
    "gpt_bias.safetensors",
    "gpt_odd.safetensors",
];

/// Squares carry twice the relative error.
const FISHER_TOLERANCE: f64 = 2.0 * TOLERANCE;

#[test]
fn verify_passes_on_every_fixture() {
    for cpu in every_cpu() {
        for file in FIXTURES {
            let checks = verify_file(&cpu, &data(file)).unwrap();
            let config = Reference::open(file).metadata("config");
            let config: GptConfig = serde_json::from_value(config).unwrap();
            let tensors = Gpt::new(config).unwrap().layout().tensors().len();
            assert_eq!(checks.len(), 1 + 2 * (1 + tensors) + tensors, "{file}");
            for check in checks {
                assert!(check.pass && check.error <= check.tolerance, "{check:?}");
                let fisher = check.quantity.starts_with("fisher.");
                let tolerance = if fisher { FISHER_TOLERANCE } else { TOLERANCE };
                assert!(check.tolerance <= tolerance, "{check:?}");
                assert_eq!(check.file, file);
            }
        }
    }
}

/// With `medium` the same values hold to what 8 bits leave of them, and not closer where the machine rounds.
#[test]
fn verify_passes_with_rounded_products() {
    for cpu in every_cpu() {
        let cpu = cpu.with_precision(Precision::Medium);
        let rounds = cpu.gemm_precision() == GemmPrecision::Bits7;
        let mut worst = 0.0;
        for file in FIXTURES {
            let checks = verify_file(&cpu, &data(file)).unwrap();
            assert!(checks.iter().all(|c| c.pass), "{file}: {checks:?}");
            worst = checks.iter().map(|c| c.error).fold(worst, f64::max);
        }
        if rounds {
            assert!(worst > 1e-4, "{worst:e}");
        } else {
            assert!(worst < FISHER_TOLERANCE, "{worst:e}");
        }
    }
}

/// On tiles with `high` to 1e-4, with `medium` to 3e-2, and neither as close as f32.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn verify_passes_on_tiles() {
    let Some(isa) = common::amx::isa() else {
        return;
    };
    for (precision, products, least) in [
        (Precision::High, GemmPrecision::Bits15, 2e-6),
        (Precision::Medium, GemmPrecision::Bits7, 1e-4),
    ] {
        let cpu = Cpu::with_isa(2, isa).unwrap().with_precision(precision);
        assert_eq!(cpu.gemm_precision(), products);
        let mut worst = [0.0; 4];
        for file in FIXTURES {
            for check in verify_file(&cpu, &data(file)).unwrap() {
                assert!(check.pass, "{check:?}");
                let kind = ["logits", "loss", "grad", "fisher"]
                    .iter()
                    .position(|k| check.quantity.contains(k))
                    .unwrap();
                worst[kind] = f64::max(worst[kind], check.error);
            }
        }
        println!("{precision:?}: logits, losses, gradients, Fisher diagonals off by {worst:?}");
        assert!(worst[2] > least, "{worst:?}");
    }
}

/// One element in one tensor, far above the tolerance: the check of that quantity fails and no other does.
#[test]
fn verify_fails_on_a_changed_value() {
    let bytes = std::fs::read(data("gpt_odd.safetensors")).unwrap();
    let name = "last.grad.transformer.wpe.weight";
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let part = file.tensor(name).unwrap().data();
    let at = part.as_ptr() as usize - bytes.as_ptr() as usize;
    let mut changed = bytes.clone();
    changed[at..at + 4].copy_from_slice(&9.0f32.to_le_bytes());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.safetensors");
    std::fs::write(&path, changed).unwrap();
    let checks = verify_file(&Cpu::new(1).unwrap(), &path).unwrap();
    let failed: Vec<_> = checks.iter().filter(|c| !c.pass).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].quantity, name);
}
