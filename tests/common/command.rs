//! The command as the tests run it: in a folder of its own, without the environment's names, on something small.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::time::{Duration, Instant};

/// Settings that make everything small: a model of 10,000 parameters, a few steps.
pub const SMALL: &[&str] = &[
    "--shape",
    "tiny",
    "--n-layer",
    "1",
    "--n-embd",
    "16",
    "--block-size",
    "16",
    "--batch-size",
    "4",
    "--baseline-iters",
    "40",
    "--baseline-warmup-iters",
    "5",
    "--preconditioner-steps",
    "5",
    "--warmup-steps",
    "10",
    "--sampling-steps",
    "40",
    "--thinning",
    "10",
    "--eval-max-tokens",
    "640",
    "--eval-num-text-samples",
    "3",
    "--threads",
    "2",
];

pub fn bnn(dir: &Path) -> Command {
    let path = env!("CARGO_BIN_EXE_bnn");
    let mut c;
    if cfg!(target_os = "linux") {
        // Whoever runs the tests in the background ignores Ctrl-C, and the command would go on ignoring it.
        c = Command::new("env");
        c.args(["--default-signal=INT,HUP,TERM", path]);
    } else {
        c = Command::new(path);
    }
    c.current_dir(dir);
    for name in [
        "BASE_DIR",
        "MODEL_PATH",
        "META_PATH",
        "DATA_DIR",
        "DEVICE",
        "WANDB_AVAILABLE",
        "BNN_ISA",
    ] {
        c.env_remove(name);
    }
    c
}

pub fn run(dir: &Path, args: &[&str]) -> Output {
    bnn(dir).args(args).output().expect("the command starts")
}

/// Standard error, for messages.
pub fn words(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

pub fn json(out: &Output) -> Value {
    assert!(out.status.success(), "{}", words(out));
    serde_json::from_slice(&out.stdout).expect("one JSON object on standard output")
}

pub fn train(dir: &Path, more: &[&str]) -> Output {
    let args: Vec<&str> = ["train", "--json"]
        .iter()
        .chain(SMALL)
        .chain(more)
        .copied()
        .collect();
    run(dir, &args)
}

pub fn run_dir(v: &Value) -> PathBuf {
    v["run_dir"].as_str().expect("run_dir").into()
}

pub fn keys(v: &Value, names: &[&str]) {
    for name in names {
        assert!(!v[name].is_null(), "`{name}` is missing in {v}");
    }
}

pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Waits with a deadline, so that a hung command fails the test.
pub fn end(child: &mut Child, seconds: u64) -> ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(status) = child.try_wait().expect("the child's status") {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().expect("kill");
            panic!("the command was at work after {seconds} s");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal, by the name that `kill` has for it.
pub fn signal(child: &Child, name: &str) {
    let kill = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status();
    assert!(kill.expect("kill").success());
}
