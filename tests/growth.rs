//! What a long chain costs does not grow with its steps: neither the memory that it holds nor the bytes that a checkpoint writes.
#![allow(unsafe_code)] // an allocator is an unsafe trait

mod common;

use bnn::backend::Cpu;
use bnn::data::Order;
use bnn::gpt::Objective;
use bnn::inference::{BatchConfig, Inference, MonitorConfig, Session, SessionConfig};
use bnn::samplers::{ChainConfig, Method, Preconditioner};
use common::model::smallest;
use common::place::Place;
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Live;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes on to the system's allocator unchanged; the counter allocates nothing.
unsafe impl GlobalAlloc for Live {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the layout is what the caller of this function promises it to be.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `at` came from this allocator, which is the system's, with this layout.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Live = Live;

const STEPS: u64 = 100_000;
const EVERY: u64 = 1000;

/// A chain on about the smallest model there is, with everything that is read off a chain.
fn tiny() -> Session<Cpu> {
    let text = "the cat sat on the mat and the dog sat on the cat. ".repeat(8);
    let place = Place::of(&text, smallest, |gpt| gpt.layout().init(1), 1.0);
    let sampler = ChainConfig {
        warmup_steps: 100,
        sampling_steps: STEPS,
        thinning: EVERY,
        temperature: 0.1,
        ..ChainConfig::new(Method::Sgld, 1e-4)
    };
    let config = SessionConfig {
        inference: Inference::Chain {
            sampler,
            preconditioner: Preconditioner::None,
            auto_step: None,
        },
        objective: Objective::All,
        num_data: None,
        likelihood_weight: 1.0,
        batches: BatchConfig {
            size: 1,
            window: 4,
            order: Order::Independent,
            chosen: None,
        },
        monitors: MonitorConfig {
            temperature_every: 10,
            llc_every: 20,
            probe_tokens: 16,
            probe_every: 20,
        },
    };
    Session::new(&place.cpu, &place.target(), &config).unwrap()
}

/// Bytes that were written since the last look, by length: files that appear anew count whole, those that grow by their growth.
fn written(folder: &Path, before: &mut BTreeMap<String, u64>) -> u64 {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (name, now) = (
            entry.file_name().into_string().unwrap(),
            entry.metadata().unwrap().len(),
        );
        let grows = name.ends_with(".trace");
        let was = before.insert(name, now).filter(|_| grows).unwrap_or(0);
        sum += now - was;
    }
    sum
}

/// Broken: all series in memory and in every checkpoint, 48 bytes a step in memory and 34 in each checkpoint.
#[test]
fn memory_and_checkpoints_stay_flat_over_many_steps() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut before) = (dir.path().join("chain.bnn"), BTreeMap::new());
    let mut session = tiny();
    let (mut live, mut bytes) = (Vec::new(), Vec::new());
    for step in 1..=STEPS {
        session.step().unwrap();
        if step.is_multiple_of(EVERY) {
            session.save(&path).unwrap();
            bytes.push(written(dir.path(), &mut before));
            live.push(LIVE.load(Ordering::Relaxed));
        }
    }
    // The first checkpoints have less: the warm-up, and buffers that find their size.
    let rise = |v: &[u64]| v[v.len() - 1] as f64 - v[9] as f64;
    let live: Vec<u64> = live.iter().map(|&v| v as u64).collect();
    let (more, larger) = (rise(&live), rise(&bytes));
    let steps = (STEPS - 10 * EVERY) as f64;
    println!(
        "memory: {} bytes after {}, {} after {STEPS} steps: {:.3} a step; a checkpoint writes {} and {} bytes: {:.3} a step",
        live[9],
        10 * EVERY,
        live[live.len() - 1],
        more / steps,
        bytes[9],
        bytes[bytes.len() - 1],
        larger / steps,
    );
    println!("written in all: {}", bytes.iter().sum::<u64>());
    // Running means hold 20 to 40 batches, whatever the steps.
    assert!(more < 4096.0, "memory grew by {more} bytes");
    assert!(larger < 4096.0, "a checkpoint grew by {larger} bytes");
}
