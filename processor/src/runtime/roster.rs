//! The stream threads of an instance: which there are, where each is in its life, and what it last told about itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use super::snapshot::ThreadSnapshot;
use super::state::ThreadState;

/// Threads come and go while the application runs; the place of one that went is the next one's.
pub(crate) struct Roster {
    application_id: Arc<str>,
    places: RwLock<BTreeMap<usize, Arc<ThreadPlace>>>,
}

/// A stream thread's place in its instance. It stays the same when the thread begins anew.
pub(crate) struct ThreadPlace {
    number: usize,
    name: Arc<str>,
    state: Mutex<ThreadState>,
    snapshot: ArcSwap<ThreadSnapshot>,
    restarts: AtomicU64,
    is_removed: AtomicBool,
}

impl Roster {
    pub(crate) fn new(application_id: &Arc<str>, threads: usize) -> Self {
        let roster = Roster { application_id: Arc::clone(application_id), places: RwLock::default() };
        (0..threads).for_each(|_| drop(roster.add()));
        roster
    }

    /// The place of a new thread, with the smallest number that is free.
    pub(crate) fn add(&self) -> Arc<ThreadPlace> {
        let mut places = self.places.write();
        let mut free = 1;
        while places.contains_key(&free) {
            free += 1;
        }
        let place = Arc::new(ThreadPlace::new(&self.application_id, free));
        places.insert(free, Arc::clone(&place));
        place
    }

    /// A thread has ended, and is not one of the instance's any more.
    pub(crate) fn remove(&self, place: &ThreadPlace) {
        self.places.write().remove(&place.number);
    }

    /// By number.
    pub(crate) fn places(&self) -> Vec<Arc<ThreadPlace>> {
        self.places.read().values().cloned().collect()
    }

    pub(crate) fn snapshots(&self) -> Vec<Arc<ThreadSnapshot>> {
        self.places.read().values().map(|place| place.snapshot()).collect()
    }

    /// How many share the instance's memory.
    pub(crate) fn len(&self) -> usize {
        self.places.read().len()
    }

    /// The states of those that count: one that is asked to end alone does not, unless it fails.
    pub(crate) fn states(&self) -> Vec<ThreadState> {
        let counts = |place: &&Arc<ThreadPlace>| !place.is_removed() || place.state() == ThreadState::Failed;
        self.places.read().values().filter(counts).map(|place| place.state()).collect()
    }
}

impl ThreadPlace {
    /// Named as Kafka Streams names its threads.
    fn new(application_id: &str, number: usize) -> Self {
        let name: Arc<str> = format!("{application_id}-StreamThread-{number}").into();
        ThreadPlace {
            number,
            state: Mutex::new(ThreadState::Rebalancing),
            snapshot: ArcSwap::from_pointee(ThreadSnapshot::before_start(Arc::clone(&name))),
            name,
            restarts: AtomicU64::new(0),
            is_removed: AtomicBool::new(false),
        }
    }

    /// From 1 on.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn state(&self) -> ThreadState {
        *self.state.lock()
    }

    pub(super) fn become_state(&self, state: ThreadState) {
        *self.state.lock() = state;
    }

    /// What the thread last told about itself.
    pub(crate) fn snapshot(&self) -> Arc<ThreadSnapshot> {
        self.snapshot.load_full()
    }

    pub(crate) fn tell(&self, snapshot: ThreadSnapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// How often the thread began anew.
    pub(crate) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(super) fn restarts_again(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether this thread alone is asked to end.
    pub(crate) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }

    pub(super) fn ask_to_end(&self) {
        self.is_removed.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_thread_that_went_is_the_next_ones() {
        let roster = Roster::new(&"shop".into(), 2);
        let names = || roster.places().iter().map(|place| place.name().to_string()).collect::<Vec<_>>();
        assert_eq!(names(), ["shop-StreamThread-1", "shop-StreamThread-2"]);
        let first = Arc::clone(&roster.places()[0]);
        first.ask_to_end();
        assert_eq!((roster.len(), roster.states().len()), (2, 1), "it shares the memory until it has ended");
        first.become_state(ThreadState::Failed);
        assert_eq!(roster.states().len(), 2, "a failure is one of the application");
        roster.remove(&first);
        assert_eq!((roster.add().number(), roster.add().number(), roster.len()), (1, 3, 3));
    }
}
