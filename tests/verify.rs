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

/// A reference file from elsewhere costs no more than its own length. Broken: room for the parameters of a huge shape before its tensors were looked at,
/// an abort in an allocation of 17 GB; a start without a number, "attempt to divide by zero".
#[test]
fn hostile_reference_files_are_refused() {
    use safetensors::tensor::{Dtype, TensorView};
    use std::collections::HashMap;
    let dir = tempfile::tempdir().unwrap();
    let refused =
        |name: &str, key: &str, json: &str, tensors: &[(&str, Dtype, Vec<usize>, usize)]| {
            let path = dir.path().join(name);
            let data: Vec<Vec<u8>> = tensors.iter().map(|t| vec![0; t.3]).collect();
            let views = tensors
                .iter()
                .zip(&data)
                .map(|((name, dtype, shape, _), data)| {
                    (*name, TensorView::new(*dtype, shape.clone(), data).unwrap())
                });
            let metadata: HashMap<String, String> = [(key.to_string(), json.to_string())].into();
            safetensors::serialize_to_file(views, Some(metadata), &path).unwrap();
            verify_file(&Cpu::new(1).unwrap(), &path)
                .unwrap_err()
                .to_string()
        };
    let config = GptConfig {
        n_embd: 65536,
        n_head: 1,
        ..GptConfig::named("tiny", 65536).unwrap()
    };
    let json = serde_json::to_string(&config).unwrap();
    let wte = ("param.transformer.wte.weight", Dtype::F32, vec![1, 1], 4);
    let e = refused("huge.safetensors", "config", &json, &[wte]);
    assert!(e.contains("transformer.wte.weight"), "{e}");
    let e = refused(
        "empty.safetensors",
        "laplace_fisher",
        r#"{"init_prec_diag": 1}"#,
        &[
            ("X", Dtype::F32, vec![2, 0], 0),
            ("y", Dtype::F32, vec![2], 8),
            ("theta0", Dtype::F32, vec![0], 0),
            ("batches", Dtype::I32, vec![1, 1], 4),
        ],
    );
    assert!(e.contains("theta0"), "{e}");
    // Two texts that would take hours.
    let path = dir.path().join("text_scores.json");
    let (text, n) = (
        "a".repeat(400_000),
        r#"{"bleu1":1,"bleu2":1,"bleu4":1,"rouge1":[1],"rouge2":[1],"rougeL":[1]}"#,
    );
    let json =
        format!(r#"{{"references":["{text}"],"predictions":["{text}"],"char":{n},"word":{n}}}"#);
    std::fs::write(&path, json).unwrap();
    let begin = std::time::Instant::now();
    let e = verify_file(&Cpu::new(1).unwrap(), &path)
        .unwrap_err()
        .to_string();
    assert!(e.contains("texts for ROUGE") && e.contains("400000"), "{e}");
    assert!(begin.elapsed().as_secs() < 30, "{:?}", begin.elapsed());
}
