//! A context that has nothing to do takes no processor: an embedded library must not burn a core.
#![cfg(target_os = "linux")]

use bnn::backend::Cpu;
use bnn::backend::vectors::{Combine, Vectors};
use std::time::{Duration, Instant};

/// For each thread of the pool, whether it sleeps, and how often it began to run.
fn threads() -> Vec<(bool, u64)> {
    let mut all = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name));
            line.expect(name).trim_start_matches(':').trim().to_string()
        };
        if field("Name").starts_with("bnn-") {
            let switches = ["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"];
            let runs = switches.map(|name| field(name).parse::<u64>().unwrap());
            all.push((field("State").starts_with('S'), runs.iter().sum()));
        }
    }
    all
}

/// A thread that polls is switched to, and one that spins does not sleep, however busy the machine is.
#[test]
fn idle_threads_sleep() {
    let cpu = Cpu::new(4).unwrap();
    let mut x = cpu.zeros(1 << 20).unwrap();
    cpu.combine(&mut x, Combine::Fill(1.0)).unwrap();
    for _ in 0..200 {
        cpu.run(|| cpu.combine(&mut x, Combine::Scale(1.0)))
            .unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let before = threads();
        std::thread::sleep(Duration::from_millis(500));
        let after = threads();
        assert_eq!(after.len(), 4);
        if before == after && after.iter().all(|&(sleeps, _)| sleeps) {
            return;
        }
        assert!(Instant::now() < deadline, "{before:?}, then {after:?}");
    }
}
