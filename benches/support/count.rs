//! An allocator that counts. It holds the only `unsafe` code of the benches, and delegates to the system's allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static BASE: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator with counters.
pub struct Counting;

fn grown(size: usize) {
    ALLOCATIONS.fetch_add(1, Relaxed);
    let held = HELD.fetch_add(size, Relaxed) + size;
    PEAK.fetch_max(held, Relaxed);
}

// SAFETY: every call goes to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.fetch_sub(layout.size(), Relaxed);
        grown(size);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Resets the counters.
pub fn reset() {
    ALLOCATIONS.store(0, Relaxed);
    let held = HELD.load(Relaxed);
    BASE.store(held, Relaxed);
    PEAK.store(held, Relaxed);
}

/// The bytes that are held now.
pub fn held() -> usize {
    HELD.load(Relaxed)
}

/// The number of allocations since the last reset.
pub fn allocations() -> usize {
    ALLOCATIONS.load(Relaxed)
}

/// The most bytes held at once since the last reset, beyond those held then.
pub fn peak() -> usize {
    PEAK.load(Relaxed).saturating_sub(BASE.load(Relaxed))
}
