//! How much memory a thread holds: the allocator of the unit tests counts it, each thread by itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    /// Less what was freed of others' memory.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// What `f` returns, and the most that this thread held at once while it ran, besides what it held before.
pub(super) fn peak_of<R>(f: impl FnOnce() -> R) -> (R, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = f();
    (result, usize::try_from(PEAK.get() - before).unwrap_or(0))
}

fn take(bytes: usize) {
    // No layout has more bytes than an isize has.
    let held = HELD.get().wrapping_add(bytes.cast_signed());
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

fn give_back(bytes: usize) {
    HELD.set(HELD.get().wrapping_sub(bytes.cast_signed()));
}

// SAFETY: every call is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        // SAFETY: passed on as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        give_back(layout.size());
        // SAFETY: passed on as it came.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // Both are there while it is copied.
        take(bytes);
        give_back(layout.size());
        // SAFETY: passed on as it came.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn what_is_asked_for_and_freed_at_once_counts() {
    let (kept, held) = peak_of(|| {
        drop(Vec::<u8>::with_capacity(1 << 20));
        Vec::<u8>::with_capacity(1 << 10)
    });
    assert_eq!(held, 1 << 20);
    drop(kept);
}
