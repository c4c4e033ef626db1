//! No target: writes the seeds of the others, which are what tiny real runs write. `tests/fuzz.sh seeds` runs it.
#![no_main]

use bnn::gpt::{Gpt, GptConfig};
use bnn::inference::baseline_file::BaselineFile;
use bnn::settings::TargetKind;
use bnn::store::{Dtype, Provenance, Store};
use bnn_fuzz::place::Place;
use bnn_fuzz::sessions::{Sessions, TEXT, settings};
use safetensors::tensor::{Dtype as Type, TensorView};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

struct Seeds {
    folder: PathBuf,
    place: Place,
}

impl Seeds {
    fn write(&self, target: &str, name: &str, bytes: &[u8]) {
        let folder = self.folder.join(target);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(name), bytes).expect("a file");
    }

    /// A state after few and after many steps, of each session.
    fn sessions(&self) {
        let sessions = Sessions::new(&self.place.path("settings.toml"));
        for i in 0..sessions.len() {
            let mut s = sessions.open(i, None).expect("a session");
            for (name, steps) in [("early", 2), ("late", 75)] {
                while s.steps_made() < steps.min(s.total_steps()) {
                    sessions.step(&mut s).expect("a step");
                }
                let path = self.place.path("state.bnn");
                s.save(&path).expect("a file");
                let bytes = std::fs::read(path).expect("a file");
                self.write("chain", &format!("{i}_{name}.bnn"), &bytes);
                if i % 4 == 0 && name == "late" {
                    self.write("container", &format!("chain_{i}_{name}.bnn"), &bytes);
                }
            }
        }
    }

    fn baseline(&self) {
        let s = settings(&self.place.path("settings.toml"), "", TargetKind::Gpt);
        let gpt = Gpt::new(s.model(4).expect("a shape")).expect("a model");
        let file = BaselineFile {
            config: "steps".into(),
            model: gpt.config().clone(),
            params: gpt.layout().init(3),
            seed: 3,
            steps: 9,
            corpus_sha256: [7; 32],
            vocabulary: "abcé".into(),
            train_loss: 1.5,
            val_loss: f64::NAN,
            seconds: 0.25,
            chosen: None,
        };
        let path = self.place.path("baseline.bnn");
        file.write(&path).expect("a file");
        let bytes = std::fs::read(path).expect("a file");
        self.write("baseline", "baseline.bnn", &bytes);
        self.write("container", "baseline.bnn", &bytes);
    }

    fn samples(&self) {
        for dtype in [Dtype::F32, Dtype::Bf16] {
            let of = Provenance {
                config: "T = 1".into(),
                model: "{}".into(),
                seed: 1,
                corpus_sha256: [1; 32],
                baseline_sha256: [2; 32],
                vocabulary: "ab".into(),
                dtype,
                n_params: 9,
            };
            let folder = self.place.path(&format!("{dtype:?}"));
            let mut store = Store::create(&folder, of).expect("a store");
            for (chain, step) in [(0, 10), (0, 20), (1, 20)] {
                store.append(chain, step, &[0.5; 9]).expect("a sample");
                let name = format!("c{chain:02}_s{step:08}.bnn");
                let bytes = std::fs::read(folder.join(&name)).expect("a sample");
                self.write("samples", &format!("{dtype:?}_{name}"), &bytes);
                self.write("container", &format!("{dtype:?}_{name}"), &bytes);
            }
        }
    }

    /// A model's reference with nothing right in it, and a chain's.
    fn verify(&self, data: &Path) {
        let s = settings(&self.place.path("settings.toml"), "", TargetKind::Gpt);
        let config = GptConfig {
            n_embd: 2,
            n_head: 1,
            block_size: 3,
            ..s.model(3).expect("a shape")
        };
        let gpt = Gpt::new(config).expect("a model");
        let mut tensors: Vec<(String, Vec<usize>, Type)> = Vec::new();
        for t in gpt.layout().tensors() {
            for prefix in ["param", "grad", "last.grad", "fisher"] {
                tensors.push((format!("{prefix}.{}", t.name), t.shape.clone(), Type::F32));
            }
        }
        let rest: [(&str, &[usize], Type); 5] = [
            ("idx", &[2, 3], Type::I32),
            ("targets", &[2, 3], Type::I32),
            ("logits", &[2, 3, 3], Type::F32),
            ("loss", &[], Type::F32),
            ("last.loss", &[], Type::F32),
        ];
        tensors.extend(rest.map(|(name, shape, dtype)| (name.into(), shape.to_vec(), dtype)));
        let zeros = [0u8; 4096];
        let views = tensors.iter().map(|(name, shape, dtype)| {
            let bytes = 4 * shape.iter().product::<usize>();
            (
                name,
                TensorView::new(*dtype, shape.clone(), &zeros[..bytes]).expect("a tensor"),
            )
        });
        let config = gpt.config().json().expect("JSON");
        let metadata = HashMap::from([("config".to_string(), config)]);
        let bytes = safetensors::serialize(views, Some(metadata)).expect("a file");
        self.write("verify", "gpt.safetensors", &bytes);
        for name in ["gaussians.safetensors", "text_scores.json"] {
            let bytes = std::fs::read(data.join(name)).expect("a reference");
            self.write("verify", name, &bytes);
        }
        // Two chains of twelve draws.
        let draws: Vec<u8> = (0..24)
            .flat_map(|i| f64::from(i * i % 7).to_le_bytes())
            .collect();
        let view = TensorView::new(Type::F64, vec![2, 12], &draws).expect("a tensor");
        let metadata = HashMap::from([(
            "arviz".to_string(),
            r#"{"a":{"rhat":1.0,"ess_bulk":9.0,"ess_tail":9.0,"ess_mean":9.0,"mcse_mean":0.5}}"#
                .to_string(),
        )]);
        let bytes = safetensors::serialize([("a", view)], Some(metadata)).expect("a file");
        self.write("verify", "chains.safetensors", &bytes);
        self.verify_paths();
    }

    /// Three steps of each method on a target of two coordinates.
    fn verify_paths(&self) {
        let floats: Vec<u8> = (1..=16)
            .flat_map(|i| (i as f32 / 16.0).to_le_bytes())
            .collect();
        let view = |shape: &[usize]| {
            let bytes = 4 * shape.iter().product::<usize>();
            TensorView::new(Type::F32, shape.to_vec(), &floats[..bytes]).expect("a tensor")
        };
        let mut tensors = vec![
            ("A".to_string(), view(&[2, 2])),
            ("b".into(), view(&[2])),
            ("theta0".into(), view(&[2])),
            ("momenta0".into(), view(&[2])),
        ];
        let mut settings = serde_json::Map::new();
        for name in ["sgld", "baoa", "sghmc", "sgnht", "sglrw"] {
            settings.insert(name.into(), serde_json::json!({"lr": 0.01, "alpha": 0.5, "beta": 0.0, "sigma": 1.0, "temperature": 1.0}));
            tensors.push((format!("{name}.noise"), view(&[3, 2])));
            tensors.push((format!("{name}.theta"), view(&[4, 2])));
            tensors.push((format!("{name}.momenta"), view(&[4, 2])));
            tensors.push((format!("{name}.log_posterior"), view(&[3])));
            tensors.push((format!("{name}.xi"), view(&[3])));
        }
        let metadata = HashMap::from([(
            "hyperparameters".to_string(),
            serde_json::Value::Object(settings).to_string(),
        )]);
        let bytes = safetensors::serialize(tensors, Some(metadata)).expect("a file");
        self.write("verify", "samplers.safetensors", &bytes);
    }

    fn texts(&self, data: &Path) {
        for name in ["meta.pkl", "val.bin"] {
            let bytes = std::fs::read(data.join("nanogpt").join(name)).expect("a file");
            let target = if name == "meta.pkl" { "meta" } else { "text" };
            self.write(target, name, &bytes);
        }
        self.write("text", "text.txt", TEXT.as_bytes());
        self.write("text", "wide.txt", "é\r\n\r\u{10ffff}\0 a".as_bytes());
    }

    /// Settings, and a run's folder: its first byte says which file the rest is.
    fn settings(&self) {
        let s = settings(&self.place.path("settings.toml"), "", TargetKind::Gpt);
        let toml = s.to_toml().expect("TOML");
        let bare = toml
            .lines()
            .filter(|l| !l.starts_with('#') && !l.is_empty());
        let bare: String = bare.map(|l| format!("{l}\n")).collect();
        self.write("config", "all.toml", bare.as_bytes());
        self.write(
            "config",
            "few.toml",
            b"sampler = \"sgnht\"\nschedule = \"cyclical\"\ncycles = 3\nmomentum = 0.5\n",
        );
        self.write("run", "config", &[b"0", bare.as_bytes()].concat());
        let sessions = Sessions::new(&self.place.path("settings.toml"));
        let path = self.place.path("state.bnn");
        sessions
            .open(0, None)
            .expect("a session")
            .save(&path)
            .expect("a file");
        self.write(
            "run",
            "chain",
            &[b"1", &std::fs::read(path).expect("a file")[..]].concat(),
        );
        self.write("run", "spent", br#"2{"seconds":1.5,"gradients":30}"#);
        self.write(
            "run",
            "lost",
            br#"3["c00_s00000020.bnn","c00_s00000030.bnn"]"#,
        );
        self.write(
            "run",
            "metrics",
            br#"4{"training_metrics":{"sampling_seconds":2.0,"timed_gradients":40}}"#,
        );
    }
}

fn write() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seeds = Seeds {
        folder: root.join("seeds"),
        place: Place::new("seeds"),
    };
    let data = root.join("../data");
    seeds.sessions();
    seeds.baseline();
    seeds.samples();
    seeds.verify(&data);
    seeds.texts(&data);
    seeds.settings();
    drop(seeds);
    std::process::exit(0);
}

libfuzzer_sys::fuzz_target!(init: write(), |_bytes: &[u8]| {});
