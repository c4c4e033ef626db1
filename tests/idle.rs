//! A context that has nothing to do takes no processor: an embedded library must not burn a core.

use bnn::backend::Cpu;
use bnn::backend::ops::*;
use bnn::backend::vectors::Vectors;
use std::time::Duration;

/// Clock ticks (10 ms) that the pool's threads have had.
fn ticks() -> u64 {
    let mut sum = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        let read = |name: &str| std::fs::read_to_string(path.join(name)).unwrap();
        if read("comm").starts_with("bnn-") {
            let stat = read("stat");
            let after = &stat[stat.rfind(')').unwrap() + 2..];
            // user and system time are the 14th and 15th fields; the name was the second
            let fields: Vec<u64> = after
                .split(' ')
                .skip(11)
                .take(2)
                .map(|f| f.parse().unwrap())
                .collect();
            sum += fields[0] + fields[1];
        }
    }
    sum
}

#[test]
#[cfg(target_os = "linux")]
fn idle_threads_sleep() {
    let cpu = Cpu::new(4).unwrap();
    let mut x = cpu.zeros(1 << 20).unwrap();
    cpu.fill(&mut x, 1.0).unwrap();
    // Long enough that threads which stay awake would be seen.
    for _ in 0..200 {
        cpu.batch(usize::MAX, || cpu.scale(&mut x, 1.0)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(50));
    let before = ticks();
    std::thread::sleep(Duration::from_secs(1));
    let spent = ticks() - before;
    assert!(spent <= 5, "{spent} ticks of 100 in a second of idling");
}
