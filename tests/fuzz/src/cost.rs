//! What an input may cost: memory by a counting allocator, and time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Bytes of memory that an input may cost for each of its own.
const TIMES: usize = 16;
/// Bytes that any input may cost.
const FREE: usize = 1 << 20;
/// The largest single block that is granted: what asks for more must take no for an answer.
const LARGEST: usize = 1 << 28;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Counts what is allocated, and refuses blocks that no input here needs.
struct Counting;

// SAFETY: hands every call on to the system's allocator, or returns null, which stands for no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST {
            return std::ptr::null_mut();
        }
        grown(layout.size());
        // SAFETY: the caller's layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST {
            return std::ptr::null_mut();
        }
        grown(layout.size());
        // SAFETY: the caller's layout.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's block and layout.
        unsafe { System.dealloc(p, layout) }
    }

    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > LARGEST {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's block, layout and size.
        let new = unsafe { System.realloc(p, layout, size) };
        if !new.is_null() {
            // As if both blocks were there for a moment, which they may be.
            grown(size);
            LIVE.fetch_sub(layout.size(), Relaxed);
        }
        new
    }
}

fn grown(by: usize) {
    let live = LIVE.fetch_add(by, Relaxed) + by;
    PEAK.fetch_max(live, Relaxed);
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Runs `read` on an input of `len` bytes, and panics where it takes more memory than 16 times those and 1 MB, or longer than a second and another
/// one for each MB.
pub fn within<R>(len: usize, read: impl FnOnce() -> R) -> R {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let start = Instant::now();
    let result = read();
    let took = start.elapsed();
    let cost = PEAK.load(Relaxed).saturating_sub(before);
    let most = FREE + TIMES * len;
    assert!(
        cost <= most,
        "{len} bytes cost {cost} bytes of memory, at most {most} are allowed"
    );
    let longest = Duration::from_secs_f64(1.0 + len as f64 / 1e6);
    assert!(
        took <= longest,
        "{len} bytes took {took:?}, at most {longest:?} are allowed"
    );
    result
}
