//! A step allocates nothing: counted by the allocator, on one thread.
#![allow(unsafe_code)] // an allocator is an unsafe trait

use bnn::backend::Cpu;
use bnn::samplers::{Config, Method, Sampler};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system's allocator unchanged; the counter is the thread's own and allocates
// nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|c| c.set(c.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_step_allocates_nothing() {
    let n = 3 * 4096 + 5;
    let grad = vec![0.1; n];
    for method in Method::ALL {
        let mut config = Config::new(method, 1e-3);
        config.warmup_steps = 2;
        config.seed = 1;
        let mut sampler = Sampler::new(Cpu::new(1).unwrap(), &grad, config).unwrap();
        for with_mass in [false, true] {
            let before = COUNT.with(Cell::get);
            sampler.step_with_gradient(&grad, -1.0).unwrap();
            sampler.step_with_noise(&grad, -1.0, &grad).unwrap();
            assert_eq!(COUNT.with(Cell::get), before, "{method}, mass {with_mass}");
            if !with_mass {
                sampler.set_mass(&vec![2.0; n]).unwrap();
                assert!(COUNT.with(Cell::get) > before, "the counter counts");
            }
        }
    }
}
